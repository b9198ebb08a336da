"""Queries of baskets against sums in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.kernels.ranking.baskets import compose_baskets


def composed(baskets, vectors, damping, parts=None):
    offsets = np.concatenate(([0], np.cumsum([len(basket) for basket in baskets]))).astype(np.int64)
    held = np.array([row for basket in baskets for row in basket], np.int32)
    queries = np.full((len(baskets), vectors.shape[1]), np.nan, np.float32)
    for low, high in parts or [(0, len(baskets))]:
        compose_baskets(low, high, offsets, held, vectors, damping, queries)
    return queries


@given(
    baskets=st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8),
    dimensions=st.integers(0, 20),
    damping=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
@settings(deadline=None, max_examples=100)
def test_a_query_is_the_damped_sum_of_its_basket(baskets, dimensions, damping):
    vectors = np.random.default_rng(dimensions).normal(size=(10, dimensions)).astype(np.float32)
    found = composed(baskets, vectors, damping)
    for query, basket in zip(found, baskets, strict=True):
        expected = vectors[basket].astype(np.float64).sum(axis=0) / max(len(basket), 1) ** damping
        np.testing.assert_allclose(query, expected, rtol=1e-5, atol=1e-6)


def test_a_single_products_query_is_its_vector_to_the_bit():
    vectors = np.random.default_rng(1).normal(size=(6, 11)).astype(np.float32)
    assert composed([[row] for row in range(6)], vectors, 0.7).tobytes() == vectors.tobytes()


def test_an_empty_basket_has_the_zero_query():
    vectors = np.ones((3, 5), np.float32)
    assert composed([[], [1, 2], []], vectors, 0.5)[[0, 2]].tolist() == [[0.0] * 5] * 2


@pytest.mark.parametrize("parts", [[(0, 3), (3, 9)], [(8, 9), (0, 8)], [(q, q + 1) for q in range(9)]])
def test_queries_composed_in_parts_are_those_composed_at_once(parts):
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(30, 17)).astype(np.float32)
    baskets = [rng.integers(0, 30, rng.integers(0, 40)).tolist() for _ in range(9)]
    assert composed(baskets, vectors, 0.5, parts).tobytes() == composed(baskets, vectors, 0.5).tobytes()
