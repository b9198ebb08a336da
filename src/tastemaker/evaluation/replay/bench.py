"""`Bench`: one replay's questions and settings, on which a model and every rule beside it are measured alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from tastemaker.data.events import Events
from tastemaker.data.purchases import Purchases
from tastemaker.errors import ColumnProblem, NoPurchases, SettingProblem
from tastemaker.evaluation.replay.questions import Questions, questions_of
from tastemaker.evaluation.replay.ranks import ranks_of
from tastemaker.evaluation.replay.report import Measured, measured_of
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.answers import Answers
from tastemaker.ranking.live.timeline import Timeline, timeline_of
from tastemaker.types import Booleans, Floats, Times

__all__ = ["FIRST_EVENT", "Bench", "Terms", "bench_of", "learned_log"]

FIRST_EVENT: Literal["first event"] = "first event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a replay asks."""

    at: Sequence[int] = (10, 100)
    """List lengths"""
    include_purchased: bool = False
    """Whether what the user bought before is a question, too"""
    frozen: bool = False
    """Whether all but the user's own history stands still from the end of train on"""
    since: Times | Literal["first event"] | None = None
    """``int64[P]``, from when on each product is a candidate, or from its first event on; ``None`` is always"""
    since_said: str = "its time in `since`"
    """What ``since`` was made from, in words"""
    worth: Floats | None = None
    """``float32[P]``, what each product is worth, where what lists earn is measured, too"""
    seed: int = 0
    threads: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What every contestant of a replay is asked."""

    train: Purchases
    """What was learned from, over the model's vocabularies"""
    timeline: Timeline
    questions: Questions
    terms: Terms
    cut: int
    """The time of the last event that was learned from"""
    since: Times | None
    """``int64[P]``, from when on each product is a candidate"""
    candidates: str
    """What is ranked, in words"""
    later: Purchases
    """What is asked"""

    @property
    def products(self) -> int:
        """Return P."""
        return len(self.train.products)

    @property
    def frozen_at(self) -> int | None:
        """Return the moment at which everything but histories stands still."""
        return self.cut if self.terms.frozen else None

    def measured(
        self, answers: Answers, *, whole: bool = False, settings: Mapping[str, Any] | None = None
    ) -> Measured:
        """Ask every question and measure the answers."""
        terms = self.terms
        ranks = ranks_of(
            answers,
            self.timeline,
            self.questions,
            products=self.products,
            include_purchased=terms.include_purchased,
            since=self.since,
            threads=terms.threads,
        )
        return measured_of(
            ranks,
            self.questions,
            at=terms.at,
            seed=terms.seed,
            whole=whole,
            settings=settings,
            unit=self.later.time_unit,
            worth=terms.worth,
        )


def bench_of(model: TasteModel, later: Purchases, terms: Terms) -> Bench:
    """Return the questions that LATER asks of a model; raise `NoPurchases` where there is none."""
    if not terms.at or min(terms.at) < 1:
        raise SettingProblem(
            f"lists of the lengths {list(terms.at)} were asked for; give lengths of at least 1."
        )
    _check_units(model, later)
    timeline = timeline_of(model, later)
    places = np.flatnonzero(timeline.later >= 0)
    products = len(model.products)
    train = learned_log(model)
    sold: Booleans = np.bincount(train.product_rows, minlength=products) > 0
    context = later.context
    if context is not None:
        context = context[pl.Series(timeline.later[places])]
    questions = questions_of(
        timeline,
        places,
        products=products,
        sold=sold,
        include_purchased=terms.include_purchased,
        context=context,
    )
    if not len(questions):
        raise NoPurchases(
            f"none of the {len(later):,} later purchases is a question: "
            f"{', '.join(f'{count:,} were {reason}' for reason, count in questions.left_out.items())}; "
            "rank what was bought before, too (--include-purchased), or give a log with others."
        )
    cut = int(train.times.max(initial=0)) if train.times is not None else int(timeline.times[places[0]]) - 1
    since, candidates = _since(terms, timeline, products)
    return Bench(train, timeline, questions, terms, cut, since, candidates, later)


OLDEST_DATE = 315_532_800_000_000
"""1980-01-01: what a shop sold has a date after it, and steps do not reach it."""


def _check_units(model: TasteModel, later: Purchases) -> None:
    """Refuse times that cannot stand beside the model's: an order alone beside dates."""
    past = model.past
    if past is None or not len(past) or later.times is None or not len(later):
        return
    is_dated = int(np.max(past.times)) > OLDEST_DATE
    if (is_dated and later.time_unit == "steps") or (
        not is_dated and later.time_unit == "calendar" and int(later.times.min()) > OLDEST_DATE
    ):
        learned, asked = ("dates", "steps") if is_dated else ("steps", "dates")
        raise ColumnProblem(
            f"the model learned from {learned} and the times of LATER are {asked}, so that neither tells what came first; "
            "give both with the same kind of times (--time-column, --time-unit)."
        )


def _since(terms: Terms, timeline: Timeline, products: int) -> tuple[Times | None, str]:
    """Return from when on each product is a candidate, and that in words."""
    if terms.since is None:
        return None, "every product of the model's catalogue, at any time"
    if not isinstance(terms.since, str):
        if terms.since.shape != (products,):
            raise SettingProblem(
                f"since has the shape {terms.since.shape}; it needs a time for each of the {products:,} products."
            )
        return terms.since, f"each product of the model's catalogue from {terms.since_said} on"
    first = np.full(products, np.iinfo(np.int64).max)
    known = timeline.product_rows < products
    np.minimum.at(first, timeline.product_rows[known], timeline.times[known])
    return first, "each product of the model's catalogue from its first event on"


def learned_log(model: TasteModel) -> Purchases:
    """Return the log that a model learned from, as far as it remembers it: purchases by user and time, and other events."""
    past = model.past
    if past is None:
        users = np.repeat(np.arange(len(model.users), dtype=np.int32), np.diff(model.histories.offsets))
        return Purchases(model.users, model.products, users, np.asarray(model.histories.products))
    users, times = past.users, np.asarray(past.times)
    products = np.asarray(past.products)
    if past.kinds is None:
        return Purchases(model.users, model.products, users, products, times)
    bought, other = past.kinds == 0, past.kinds != 0
    events = Events(
        users[other],
        products[other],
        (past.kinds[other] - 1).astype(np.int16),
        past.names[1:],
        times[other],
    )
    return Purchases(
        model.users, model.products, users[bought], products[bought], times[bought], events=events
    )
