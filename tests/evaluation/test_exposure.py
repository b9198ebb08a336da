"""What lists show: exposure, Gini, novelty, best sellers, diversity; by hand, by brute force, and laws."""

from __future__ import annotations

from itertools import combinations
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranked_worlds import held_of, lists_of, random_world, worlds

from tastemaker.errors import DataError
from tastemaker.evaluation import diversity
from tastemaker.evaluation.diversity import category_diversity, vector_diversity
from tastemaker.evaluation.exposure import best_seller_share, exposure, gini, novelty
from tastemaker.evaluation.metrics import measure


def test_exposure_counts_the_lists_that_show_a_product_within_k():
    lists = lists_of([[0, 1, 2], [0, 3], []])
    assert exposure(lists, 1, products=5).tolist() == [2, 0, 0, 0, 0]
    assert exposure(lists, 2, products=5).tolist() == [2, 1, 0, 1, 0]
    assert exposure(lists, 9, products=5).tolist() == [2, 1, 1, 1, 0]


def test_a_product_outside_the_catalogue_is_refused():
    with pytest.raises(DataError, match="catalogue has 3 products"):
        exposure(lists_of([[3]]), 1, products=3)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12))
def test_gini_is_half_the_mean_absolute_difference_over_the_mean(shown):
    if not any(shown):
        assert gini(np.array(shown)) == 0
        return
    differences = [abs(a - b) for a in shown for b in shown]
    expected = np.mean(differences) / (2 * np.mean(shown))
    assert gini(np.array(shown)) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 30), st.integers(1, 9))
def test_gini_of_equals_is_0_and_of_one_alone_nearly_1(products, times):
    assert gini(np.full(products, times)) == pytest.approx(0, abs=1e-12)
    alone = np.zeros(products)
    alone[0] = times
    assert gini(alone) == pytest.approx(1 - 1 / products)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.integers(2, 5))
def test_gini_knows_no_unit_and_no_order(shown, times):
    counts = np.array(shown)
    assert gini(counts * times) == pytest.approx(gini(counts), abs=1e-12)
    assert gini(counts[::-1]) == gini(counts)


def test_novelty_by_hand():
    # of 16 users 16, 4, 1 and 0 bought the products: 0, 2, 4 and (as if one had) 4 bits
    buyers = np.int32([16, 4, 1, 0])
    found = novelty(lists_of([[0, 1, 2], [3], [], [1]]), 2, buyers=buyers, users=16)
    assert found.tolist() == [1.0, 4.0, 0.0, 2.0]


def test_the_share_of_best_sellers_by_hand():
    best = np.array([True, False, True, False])
    found = best_seller_share(lists_of([[0, 1, 2, 3], [2], [], [1, 0]]), 3, best=best)
    assert found.tolist() == pytest.approx([2 / 3, 1, 0, 1 / 2])


def unit(vector):
    length = np.sqrt((vector**2).sum())
    return vector / length if length else vector


@settings(deadline=None)
@given(worlds(), st.integers(1, 12), st.integers(0, 2**32))
def test_diversity_by_vectors_is_that_of_all_pairs(world, k, seed):
    shown, _, products = world
    vectors = np.random.default_rng(seed).integers(-2, 3, (products, 3)).astype(np.float32)
    expected = []
    for rows in shown:
        cosines = [unit(vectors[a]) @ unit(vectors[b]) for a, b in combinations(rows[:k], 2)]
        expected.append(1 - np.mean(cosines) if cosines else 0)
    found = vector_diversity(lists_of(shown), k, vectors=vectors)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@settings(deadline=None)
@given(worlds(), st.integers(1, 12), st.data())
def test_diversity_by_category_is_that_of_all_pairs(world, k, data):
    shown, _, products = world
    categories = np.int32([data.draw(st.integers(-1, 2)) for _ in range(products)])
    expected = []
    for rows in shown:
        pairs = list(combinations(rows[:k], 2))
        unlike = [categories[a] != categories[b] or categories[a] == -1 for a, b in pairs]
        expected.append(np.mean(unlike) if pairs else 0)
    found = category_diversity(lists_of(shown), k, categories=categories)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_products_all_alike_have_no_diversity_and_opposite_ones_have_the_most():
    vectors = np.float32([[1, 0], [3, 0], [-2, 0], [0, 0]])
    found = vector_diversity(lists_of([[0, 1], [0, 2], [0, 3], [3]]), 9, vectors=vectors)
    assert found.tolist() == pytest.approx([0, 2, 1, 0])


def test_small_blocks_change_no_diversity(monkeypatch):
    shown, _, products = random_world(np.random.default_rng(2), users=40, products=15, longest=9, most_held=1)
    vectors = np.random.default_rng(3).normal(size=(products, 4)).astype(np.float32)
    whole = vector_diversity(lists_of(shown), 5, vectors=vectors)
    monkeypatch.setattr(diversity, "BLOCK", 50)
    assert vector_diversity(lists_of(shown), 5, vectors=vectors).tobytes() == whole.tobytes()


@settings(deadline=None)
@given(worlds(), st.integers(1, 12))
def test_a_report_says_what_is_shown_of_those_who_are_measured(world, k):
    shown, held, products = world
    even = set(range(0, products, 2))
    bought = held_of(
        [sorted(even), [0], []]
    )  # product 0 by both of the two who bought, each other even one by one
    found = measure(lists_of(shown), held_of(held), at=[k], products=products, bought=bought)
    bits = [log2(2 / (2 if p == 0 else 1)) for p in range(products)]
    # all that stands above the others is product 0 with its 2 pairs: less than a third from 7 pairs on
    best = even if len(even) + 1 >= 7 else {0}
    for place, query in enumerate(found.queries.tolist()):
        top = shown[query][:k]
        new = np.mean([bits[p] for p in top]) if top else 0
        share = np.mean([p in best for p in top]) if top else 0
        assert found.values[f"novelty@{k}"][place] == pytest.approx(new)
        assert found.values[f"best_sellers@{k}"][place] == pytest.approx(share)
    counts = exposure(lists_of(shown), k, products=products)
    assert found.wholes[f"gini@{k}"] == gini(counts)
    assert found.wholes[f"coverage@{k}"] == (counts > 0).mean()
