"""Times without a calendar: steps and days are replayed in their own units, and never beside dates."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from replay_worlds import dated

import tastemaker as tm
from tastemaker.errors import ColumnProblem

STEPS = 1_000


def stepped(rows, column="step"):
    """A log of (user, product, number) rows."""
    return tm.read_purchases(
        pl.DataFrame(rows, schema=["user", "product", column], orient="row"), columns=tm.Columns(time=column)
    )


@pytest.fixture(scope="module")
def fashion():
    """A thousand steps of 30 products; in each hundred of them one product sells most, the next one in the next."""
    rng = np.random.default_rng(0)
    rows = []
    for step in range(STEPS):
        product = (step // 100) if rng.random() < 0.6 else int(rng.integers(30))
        rows.append((f"u{step}", f"p{product:02d}", step))
    return rows


def test_half_lives_of_an_order_alone_are_chosen_in_steps(fashion):
    train, later = stepped(fashion[:900]), stepped(fashion[900:])
    assert (train.time_unit, later.time_unit) == ("steps", "steps")
    report = tm.replay(
        tm.best_sellers(train), later, beside=["recent best sellers", "session neighbours"], at=(1, 5)
    )
    recent = report.baselines["recent best sellers"]
    assert set(recent.settings) == {"half_life_steps"}
    assert recent.settings["half_life_steps"] < 900 / 4  # what sells changes every hundred steps
    assert recent.whole.metrics["hit_rate@1"].mean > report.metrics["hit_rate@1"].mean
    assert "neighbours_half_life_steps" in report.baselines["session neighbours"].settings


def test_steps_are_reported_in_tenths_and_days_in_weeks(fashion):
    by_step = tm.replay(tm.best_sellers(stepped(fashion[:900])), stepped(fashion[900:]), beside=[])
    assert [part.label for part in by_step.model.weeks] == [str(tenth) for tenth in range(1, 11)]
    by_day = tm.replay(
        tm.best_sellers(stepped(fashion[:900], "day")), stepped(fashion[900:], "day"), beside=[]
    )
    assert [part.label for part in by_day.model.weeks] == [str(week) for week in range(1, 16)]  # 100 days


def test_an_order_alone_does_not_stand_beside_dates(fashion):
    model = tm.best_sellers(dated([("ann", "p01", 0), ("bob", "p02", 1)]))
    with pytest.raises(ColumnProblem, match="learned from dates and the times of LATER are steps"):
        tm.replay(model, stepped(fashion[900:]), beside=[])
    with pytest.raises(ColumnProblem, match="learned from steps and the times of LATER are dates"):
        tm.replay(tm.best_sellers(stepped(fashion[:900])), dated([("ann", "p01", 0)]), beside=[])
