"""Metrics: laws that hold for every ranking."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranked_worlds import held_of, lists_of, worlds

from tastemaker.data.purchases import Histories
from tastemaker.evaluation.metrics import USER_METRICS, Measurements, measure
from tastemaker.ranking.lists import RankedLists


def measured(world) -> Measurements:
    shown, held, products = world
    return measure(lists_of(shown), held_of(held), at=range(1, products + 3), products=products)


def nearly(left, right) -> bool:
    return np.allclose(left, right, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(worlds())
def test_every_value_lies_between_0_and_1(world):
    found = measured(world)
    for value in [*found.values.values(), *map(np.asarray, found.wholes.values())]:
        assert (value >= 0).all()
        assert (value <= 1 + 1e-12).all()


@settings(deadline=None)
@given(worlds(), st.sampled_from(["recall", "mrr", "hit_rate"]))
def test_recall_mrr_hit_rate_and_coverage_never_fall_with_k(world, name):
    found = measured(world)
    for k in range(1, world[2] + 2):
        assert (found.values[f"{name}@{k}"] <= found.values[f"{name}@{k + 1}"]).all()
        assert found.wholes[f"coverage@{k}"] <= found.wholes[f"coverage@{k + 1}"]


@settings(deadline=None)
@given(worlds(), st.integers(1, 12), st.sampled_from(list(USER_METRICS)))
def test_what_stands_behind_place_k_changes_nothing(world, k, name):
    shown, held, products = world
    cut = [rows[:k] for rows in shown]
    whole = measure(lists_of(shown), held_of(held), at=[k], products=products)
    short = measure(lists_of(cut), held_of(held), at=[k], products=products)
    assert nearly(whole.values[f"{name}@{k}"], short.values[f"{name}@{k}"])
    assert whole.wholes == short.wholes


@settings(deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_permuting_users_permutes_their_values(world, random):
    shown, held, products = world
    order = random.sample(range(len(shown)), len(shown))
    before, after = measured(world), measured(([shown[u] for u in order], [held[u] for u in order], products))
    for name in before.values:
        known = dict(zip(before.queries.tolist(), before.values[name].tolist(), strict=True))
        for query, value in zip(after.queries.tolist(), after.values[name].tolist(), strict=True):
            assert value == pytest.approx(known[order[query]], abs=1e-12)
    assert before.wholes == after.wholes


@settings(deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_renaming_products_changes_nothing(world, random):
    shown, held, products = world
    new = random.sample(range(products), products)
    renamed = measured(
        ([[new[p] for p in rows] for rows in shown], [[new[p] for p in rows] for rows in held], products)
    )
    before = measured(world)
    assert all((before.values[name] == renamed.values[name]).all() for name in before.values)
    assert before.wholes == renamed.wholes


@settings(deadline=None)
@given(worlds())
def test_many_users_at_once_give_what_each_gives_alone(world):
    shown, held, products = world
    together = measured(world)
    alone = [measured(([rows], [theirs], products)) for rows, theirs in zip(shown, held, strict=True)]
    for name in together.values:
        assert nearly(together.values[name], np.concatenate([rows.values[name] for rows in alone]))


@settings(deadline=None)
@given(worlds(), st.sampled_from(list(USER_METRICS)), st.data())
def test_a_held_out_product_moved_or_added_to_place_1_never_lowers_a_metric(world, name, data):
    shown, held, products = world
    better = []
    for rows, theirs in zip(shown, held, strict=True):
        first = [data.draw(st.sampled_from(theirs))] if theirs else []
        better.append([*first, *[product for product in rows if product not in first]])
    before, after = measured(world), measured((better, held, products))
    for k in range(1, products + 1):
        assert (after.values[f"{name}@{k}"] >= before.values[f"{name}@{k}"] - 1e-12).all()


@settings(deadline=None)
@given(worlds())
def test_the_same_list_one_place_lower_never_raises_a_metric(world):
    """Whatever stands in front of a list, be it nobody's, only takes places away."""
    shown, held, products = world
    stranger = products  # a product that nobody bought
    before = measured((shown, held, products + 1))
    after = measured(([[stranger, *rows] for rows in shown], held, products + 1))
    assert all((after.values[name] <= before.values[name] + 1e-12).all() for name in before.values)


@settings(deadline=None)
@given(worlds(), st.integers(1, 12))
def test_a_perfect_ranking_is_1_exactly(world, k):
    _, held, products = world
    best = [[*theirs, *(p for p in range(products) if p not in theirs)] for theirs in held]
    values = measure(lists_of(best), held_of(held), at=[k, 100], products=products).values
    for name in ("ndcg", "map", "mrr", "hit_rate"):
        assert (values[f"{name}@{k}"] == 1).all()
    assert (values["recall@100"] == 1).all()


@settings(deadline=None)
@given(worlds())
def test_a_ranking_without_a_hit_is_0(world):
    shown, held, products = world
    missed = [[p for p in rows if p not in theirs] for rows, theirs in zip(shown, held, strict=True)]
    assert all((value == 0).all() for value in measured((missed, held, products)).values.values())


def test_random_rankings_meet_their_expectations():
    """Hypergeometric: in a random order each place holds one of the h held-out products with chance h / P."""
    users, products, bought, k = 20_000, 40, 3, 10
    rng = np.random.default_rng(11)
    orders = rng.permuted(np.tile(np.arange(products, dtype=np.int32), (users, 1)), axis=1)
    lists = RankedLists(
        np.arange(users + 1, dtype=np.int64) * products,
        orders.ravel(),
        np.zeros(users * products, np.float32),
    )
    held = Histories(
        np.arange(users + 1, dtype=np.int64) * bought, np.tile(np.arange(bought, dtype=np.int32), users)
    )
    values = measure(lists, held, at=[k], products=products).values
    first_hit = [comb(products - r, bought - 1) / comb(products, bought) for r in range(1, k + 1)]
    gains = 1 / np.log2(1.0 + np.arange(1, k + 1))
    expected = {
        "recall": k / products,
        "precision": bought / products,
        "hit_rate": 1 - comb(products - bought, k) / comb(products, k),
        "mrr": sum(share / r for r, share in enumerate(first_hit, start=1)),
        "ndcg": (bought / products) * gains.sum() / gains[:bought].sum(),
        # a hit at place r has (r − 1) (h − 1) / (P − 1) others before it
        "map": sum((1 + (r - 1) * (bought - 1) / (products - 1)) / r for r in range(1, k + 1)) / products,
    }
    for name, expectation in expected.items():
        value = values[f"{name}@{k}"]
        assert abs(value.mean() - expectation) < 5 * value.std() / users**0.5, name
