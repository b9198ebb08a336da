"""ndcg under weights against a brute force that sorts the whole catalogue."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.kernels.ranking.choosing import ndcg_of_weights


def ragged(lists):
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in lists]))).astype(np.int64)
    return offsets, np.array([value for part in lists for value in part], np.int32)


def sparse(table):
    """A dense table as offsets, columns and weights of what is not 0."""
    offsets, columns = ragged([np.flatnonzero(row).tolist() for row in table])
    return offsets, columns, np.array([value for row in table for value in row if value], np.float32)


def measured(taste, baskets, held, counts, ridge, trend, weights, damping, k, parts=None, own=-np.inf):
    """Under one triple of weights, or under each of several."""
    ndcg = np.full((np.size(weights) // 3, len(taste)), np.nan)
    own = np.full(sum(map(len, baskets)), own, np.float32)
    for low, high in parts or [(0, len(taste))]:
        ndcg_of_weights(
            low, high, taste, *ragged(baskets), *ragged(held), *sparse(counts), *sparse(ridge), trend, own,
            np.array(weights, float).reshape(-1, 3), damping, k, ndcg,
        )  # fmt: skip
    return ndcg if np.ndim(weights) > 1 else ndcg[0]


def brute_force(taste, baskets, held, counts, ridge, trend, weights, damping, k, own=-np.inf):
    """Score everything, put every held-out product behind all that score the same, and add up gains by rank."""
    found = []
    for q, (basket, wanted) in enumerate(zip(baskets, held, strict=True)):
        scores = taste[q].astype(np.float64) + weights[2] * trend
        for b in basket:
            scores += (weights[0] * counts[b] + weights[1] * ridge[b]) / len(basket) ** damping
        scores[basket] += own
        gain = 0.0
        for product in wanted:
            rank = sum(other >= scores[product] for other in scores.tolist())
            gain += 1 / math.log2(1 + rank) if rank <= k else 0.0
        ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(k, len(wanted)) + 1))
        found.append(gain / ideal if ideal else 0.0)
    return found


quarters = st.integers(-8, 8).map(lambda number: number / 4)


@st.composite
def worlds(draw):
    """Scores in quarters and baskets whose damping is exact, so that ties are many and fall the same way in float32."""
    products, queries = draw(st.integers(1, 8)), draw(st.integers(0, 4))
    table = st.lists(quarters, min_size=products, max_size=products)

    def tables(rows):
        filled = draw(st.lists(table, min_size=rows, max_size=rows))
        return np.array(filled, np.float32).reshape(rows, products)

    baskets, held = [], []
    for _ in range(queries):
        order = draw(st.permutations(range(products)))
        size = draw(st.sampled_from([n for n in (0, 1, 2, 4) if n <= products]))
        baskets.append(sorted(order[:size]))
        held.append(sorted(order[size : size + draw(st.integers(0, products - size))]))
    taste, counts, ridge, trend = tables(queries), tables(products), tables(products), tables(1)[0]
    weights = tuple(draw(st.sampled_from([0.0, 0.25, 1.0, 2.0])) for _ in range(3))
    return (
        taste,
        baskets,
        held,
        counts,
        ridge,
        trend,
        weights,
        draw(st.sampled_from([0.0, 1.0])),
        draw(st.integers(1, 9)),
    )


@given(world=worlds())
@settings(deadline=None, max_examples=200)
def test_ndcg_is_that_of_a_full_sort_with_ties_counted_against_it(world):
    np.testing.assert_allclose(measured(*world), brute_force(*world), rtol=1e-12)


@given(world=worlds(), own=quarters, data=st.data())
@settings(deadline=None, max_examples=200)
def test_what_is_in_the_basket_is_ranked_with_what_is_added_to_it(world, own, data):
    """Held out may then be anything, products of the basket too."""
    products = world[0].shape[1]
    held = [sorted(data.draw(st.sets(st.integers(0, products - 1)))) for _ in world[1]]
    world = (*world[:2], held, *world[3:])
    np.testing.assert_allclose(measured(*world, own=own), brute_force(*world, own=own), rtol=1e-12)


def test_each_place_in_the_baskets_has_an_addition_of_its_own():
    """Of the basket (0, 2), 2 gets 3 and passes 1; of the basket (2), it gets nothing and stays behind."""
    taste, nothing, ndcg = (
        np.array([[0, 2, 0]] * 2, np.float32),
        np.zeros((3, 3), np.float32),
        np.zeros((1, 2)),
    )
    own = np.array([0, 3, 0], np.float32)
    ndcg_of_weights(
        0, 2, taste, *ragged([[0, 2], [2]]), *ragged([[2], [2]]), *sparse(nothing), *sparse(nothing),
        np.zeros(3, np.float32), own, np.zeros((1, 3)), 0.5, 1, ndcg,
    )  # fmt: skip
    assert ndcg.tolist() == [[1.0, 0.0]]


@given(world=worlds(), more=st.lists(st.tuples(*[st.sampled_from([0.0, 0.5, 2.0])] * 3), max_size=4))
@settings(deadline=None, max_examples=200)
def test_weights_tried_together_measure_what_each_measures_alone(world, more):
    tried = [world[6], *more]
    together = measured(*world[:6], tried, *world[7:])
    for weights, values in zip(tried, together, strict=True):
        assert values.tolist() == measured(*world[:6], weights, *world[7:]).tolist()


def test_what_the_memory_says_of_a_few_of_many_products_is_set_anew_under_each_weight():
    rng = np.random.default_rng(4)
    taste, table = rng.normal(size=(6, 200)).astype(np.float32), np.zeros((2, 200, 200), np.float32)
    for part in table:
        part[rng.integers(0, 200, 300), rng.integers(0, 200, 300)] = rng.random(300)
    orders = [rng.permutation(200).tolist() for _ in taste]
    tried = [(0.0, 0.0, 0.0), (8.0, 1.0, 0.0), (1.0, 8.0, 0.5), (0.0, 2.0, 0.5), (4.0, 0.0, 0.0)]
    world = (
        taste,
        [order[:3] for order in orders],
        [order[3:40] for order in orders],
        *table,
        rng.normal(size=200).astype(np.float32),
    )
    found = measured(*world, tried, 0.5, 100)
    for weights, values in zip(tried, found, strict=True):
        np.testing.assert_allclose(values, brute_force(*world, weights, 0.5, 100), rtol=1e-12)


def test_ndcg_by_hand():
    """Held out are products 1 and 4. 3 scores most; 1 and 2 tie, so that 1 is third; 0 is in the basket; 4 is last of four."""
    taste = np.array([[9, 2, 2, 5, 1]], np.float32)
    nothing = np.zeros((5, 5), np.float32)
    world = taste, [[0]], [[1, 4]], nothing, nothing, np.zeros(5, np.float32), (0.0, 0.0, 0.0), 0.5
    ideal = 1 + 1 / math.log2(3)
    assert measured(*world, 100)[0] == pytest.approx((1 / 2 + 1 / math.log2(5)) / ideal)
    assert measured(*world, 3)[0] == pytest.approx((1 / 2) / ideal)
    assert measured(*world, 2)[0] == 0
    assert measured(*world, 1)[0] == 0


def test_each_weight_reaches_its_own_part_damped_by_the_basket():
    """Each part alone lifts its own product to the first place."""
    taste, trend = np.zeros((1, 6), np.float32), np.array([0, 0, 0, 0, 0, 1], np.float32)
    counts, ridge = np.zeros((6, 6), np.float32), np.zeros((6, 6), np.float32)
    counts[0, 3], ridge[1, 4] = 1, 1
    for place, product in enumerate((3, 4, 5)):
        weights = tuple(1.0 if part == place else 0.0 for part in range(3))
        arguments = taste, [[0, 1]], [[product]], counts, ridge, trend, weights
        assert measured(*arguments, 0.5, 1).tolist() == [1.0]
        others = tuple(1.0 if part != place else 0.0 for part in range(3))
        assert measured(*arguments[:6], others, 0.5, 1).tolist() == [0.0]
    barely = (1.5, 0.0, 1.0)  # 1.5 / √2 is above 1, 1.5 / 2 below
    assert measured(taste, [[0, 1]], [[3]], counts, ridge, trend, barely, 0.5, 1).tolist() == [1.0]
    assert measured(taste, [[0, 1]], [[3]], counts, ridge, trend, barely, 1.0, 1).tolist() == [0.0]


def test_queries_measured_in_parts_are_those_measured_at_once():
    rng = np.random.default_rng(6)
    taste = rng.normal(size=(20, 30)).astype(np.float32)
    tables = [(rng.random((30, 30)) * (rng.random((30, 30)) < 0.2)).astype(np.float32) for _ in range(2)]
    orders = [rng.permutation(30).tolist() for _ in range(20)]
    world = (
        taste, [order[:5] for order in orders], [order[5:8] for order in orders], *tables,
        rng.normal(size=30).astype(np.float32), (0.7, 1.3, 0.2), 0.25, 10,
    )  # fmt: skip
    whole = measured(*world)
    assert measured(*world, parts=[(12, 20), (0, 1), (1, 12)]).tolist() == whole.tolist()
    np.testing.assert_allclose(whole, brute_force(*world), rtol=1e-12)


def test_a_catalogue_of_several_blocks_is_ranked_to_its_end():
    """Many tie, and what is held out stands at every depth, around k too."""
    rng = np.random.default_rng(3)
    products = 1_300
    taste = rng.integers(0, 200, (3, products)).astype(np.float32)
    orders = [rng.permutation(products).tolist() for _ in taste]
    nothing = np.zeros((products, products), np.float32)
    world = (
        taste, [order[:9] for order in orders], [order[9:400] for order in orders], nothing, nothing,
        np.zeros(products, np.float32), (0.0, 0.0, 0.0), 0.5, 150,
    )  # fmt: skip
    np.testing.assert_allclose(measured(*world), brute_force(*world), rtol=1e-12)
