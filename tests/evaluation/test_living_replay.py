"""A model with contexts, age, views, live rates and a fold-in, replayed: it uses what is known, and nothing that comes later."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

import tastemaker as tm
from beside_worlds import CATALOGUE, READING, events
from tastemaker.errors import ColumnProblem
from tastemaker.evaluation.replay.bench import Terms, bench_of
from tastemaker.evaluation.replay.replay import measure_model

SETTLED = {
    "dimensions": 8, "epochs": 2, "tokens.columns": "context:occasion,product:made_for", "kinds.own": "view=5",
    "kinds.after": "", "kinds.taste": "", "kinds.places": 0.0, "kinds.days": 0.0, "live.rate": 1.0, "live.half_life": 20.0,
    "live.fold_in": 2.0, "live.dial": 1.0, "live.young": 0.0,
    "order.taste_places": 8.0, "order.taste_days": 0.0, "order.memory_places": 4.0,
    "order.memory_days": 0.0, "memory.count_weight": 1.0, "memory.ridge_weight": 0.0, "memory.directed_weight": 1.0,
    "memory.spectral_weight": 0.0, "trend.weight": 0.0, "repeats.weight": 0.0, "repeats.sales": 0.0, "repeats.level": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def parts():
    """The shop's events before and after a moment; after it, products sell that never sold before."""
    rows = events(users=60)
    later = rows[-120:].with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0)
        .then(pl.col("product_id").str.replace(r"-\d\d$", "-11"))
        .otherwise(pl.col("product_id"))
        .alias("product_id"),
        pl.when(pl.int_range(pl.len()) % 4 == 0)
        .then(pl.col("user_id") + "-new")
        .otherwise(pl.col("user_id"))
        .alias("user_id"),
    )
    return rows[:-120], later


@pytest.fixture(scope="module")
def model(parts):
    found = tm.train(
        tm.read_purchases(parts[0], products=CATALOGUE, reading=READING),
        tm.preset("default").changed(SETTLED),
    )
    assert found.live is not None
    assert found.live.fold_in is not None
    assert found.tokens.context.names == ("occasion",)
    return found


@pytest.fixture(scope="module")
def later(parts):
    return tm.read_purchases(parts[1], reading=replace(READING, product_features="none"))


def ranked(model, later, **terms):
    """{(user, product, time): rank} of a replay."""
    bench = bench_of(model, later, Terms(include_purchased=True, **terms))
    ranks = measure_model(model, bench).ranks.tolist()
    users = bench.timeline.users.ids.to_list()
    rows = bench.timeline.later[bench.questions.places]
    products = later.products.ids.gather(later.product_rows[rows].tolist()).to_list()
    times = bench.questions.times.tolist()
    return dict(
        zip(
            zip([users[user] for user in bench.questions.users], products, times, strict=True),
            ranks,
            strict=True,
        )
    )


def until(log, moment):
    """What a log holds up to a moment, the moment included."""
    seen = log.events.take(log.events.times <= moment)
    return replace(log.take(log.times <= moment), events=seen)


def test_the_shop_asks_for_what_a_living_model_needs(model, later):
    found = ranked(model, later)
    fresh = {key: rank for key, rank in found.items() if key[1].endswith("-11")}
    assert len(found) > 50
    assert len(fresh) > 10
    first, second = (list(fresh.values())[part] for part in (slice(None, 5), slice(-5, None)))
    assert sum(second) < sum(first)  # new products are found better once somebody bought them


def test_a_replay_equals_one_whose_log_ends_with_the_question(model, later):
    found = ranked(model, later)
    for moment in np.unique(later.times)[::6]:
        cut = ranked(model, until(later, int(moment)))
        assert cut == {key: rank for key, rank in found.items() if key[2] <= moment}


def test_what_happens_after_a_moment_changes_no_answer_of_a_living_model_before_it(model, later):
    moment = int(np.median(later.times))
    rng = np.random.default_rng(1)
    rows = later.product_rows.copy()
    late = np.flatnonzero(later.times > moment)
    rows[late] = rng.permutation(rows[late])
    seen = later.events.product_rows.copy()
    after = np.flatnonzero(later.events.times > moment)
    seen[after] = rng.permutation(seen[after])
    dealt = replace(later, product_rows=rows, events=replace(later.events, product_rows=seen))
    before, changed = (
        {key: rank for key, rank in ranked(model, log).items() if key[2] <= moment} for log in (later, dealt)
    )
    assert before == changed
    assert ranked(model, later) != ranked(model, dealt)


def test_the_order_of_lines_and_the_number_of_threads_change_nothing(model, later):
    order = np.random.default_rng(0).permutation(len(later))
    found = ranked(model, later)
    assert ranked(model, later.take(order)) == found
    assert ranked(model, later, threads=3) == ranked(model, later, threads=1) == found


def test_purchases_of_one_time_do_not_see_each_other_in_rates_and_vectors(model, parts):
    receipt = pl.DataFrame(
        {"user_id": ["a", "b", "c"], "product_id": ["sport-11"] * 3, "time": [parts[1]["time"].max()] * 3}
    )
    found = ranked(model, tm.read_purchases(receipt))
    assert len(set(found.values())) == 1


def test_frozen_moves_nothing_but_histories(model, parts):
    first = parts[1]["time"].max()
    strangers = pl.DataFrame(
        {
            "user_id": list("abcdef"),
            "product_id": ["sport-11"] * 6,
            "time": [first + timedelta(days=d) for d in range(6)],
        }
    )
    log = tm.read_purchases(strangers)
    living, frozen = list(ranked(model, log).values()), list(ranked(model, log, frozen=True).values())
    assert len(set(frozen)) == 1
    assert living[-1] < frozen[-1]


def test_contexts_that_the_model_learned_are_read_without_being_named(model, parts):
    bought = parts[1].filter(pl.col("event") == "purchase").drop("event")
    named = tm.read_purchases(bought, reading=tm.Reading(context=["occasion"]))
    plain = tm.replay(model, bought, beside=[])
    assert plain.model.ranks.tolist() == tm.replay(model, named, beside=[]).model.ranks.tolist()
    assert plain.notes == ()
    without = tm.replay(model, bought.drop("occasion"), beside=[])
    assert without.model.ranks.tolist() != plain.model.ranks.tolist()
    assert without.notes == (
        "LATER has no context occasion, from which the model learned: nothing is known of it.",
    )


def test_a_catalogue_says_since_when_a_product_is_sold(model, later):
    moment = later.times.max() + 1
    day = pl.lit(int(moment)).cast(pl.Datetime("us"))
    sold = pl.when(pl.col("product_id") == "sport-11").then(day).otherwise(None)
    report = tm.replay(model, later, beside=[], since=CATALOGUE.with_columns(sold.alias("since")))
    missed = report.questions.products == model.products.ids.to_list().index("sport-11")
    assert missed.sum() == report.not_findable > 0
    assert (report.model.ranks[missed] == 0).all()
    assert (report.model.ranks[~missed] > 0).all()
    assert report.candidates == "each product of the model's catalogue from its time in `since` on"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["soon"] * len(CATALOGUE), "are no times"),
        ([None] * len(CATALOGUE), "holds no time"),
        (list(range(1, len(CATALOGUE) + 1)), "counts steps, but the times of LATER are calendar"),
    ],
)
def test_a_since_that_is_no_time_is_refused(model, later, values, said):
    with pytest.raises(ColumnProblem, match=said):
        tm.replay(model, later, beside=[], since=CATALOGUE.with_columns(pl.Series("since", values)))
    with pytest.raises(ColumnProblem, match="has no column 'since'"):
        tm.replay(model, later, beside=[], since=CATALOGUE)
