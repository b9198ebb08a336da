"""Scores of chosen pairs against NumPy, and to the bit against the ranking's; common members against sets."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.kernels.ranking.pairs import count_common, score_pairs
from tastemaker.ranking.top_k import Candidates, ExtraScores, top_k


def scored(queries, vectors, bias, candidates, extra=None):
    none = np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)
    scores = np.full(candidates.shape, np.nan, np.float32)
    middle = len(queries) // 2
    for low, high in [(middle, len(queries)), (0, middle)]:
        score_pairs(low, high, queries, vectors, bias, candidates, *(extra or none), scores)
    return scores


def world_of(rng, queries, count, dimensions):
    return (
        rng.normal(size=(queries, dimensions)).astype(np.float32),
        rng.normal(size=(count, dimensions)).astype(np.float32),
        rng.normal(size=count).astype(np.float32),
    )


def extras(rng, queries, count):
    rows = [np.flatnonzero(rng.random(count) < share) for share in np.linspace(0, 1, queries)]
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in rows]))).astype(np.int64)
    rows = np.concatenate(rows).astype(np.int32)
    return offsets, rows, rng.normal(size=len(rows)).astype(np.float32)


@pytest.mark.parametrize("dimensions", [0, 1, 5, 50])
def test_scores_are_dot_products_plus_bias_plus_extra(dimensions):
    rng = np.random.default_rng(dimensions)
    queries, vectors, bias = world_of(rng, 6, 30, dimensions)
    candidates = rng.integers(0, 30, (6, 11)).astype(np.int32)
    offsets, rows, weights = extras(rng, 6, 30)
    dense = np.zeros((6, 30))
    for q in range(6):
        part = slice(offsets[q], offsets[q + 1])
        dense[q, rows[part]] = weights[part]
    exact = queries.astype(np.float64) @ vectors.T + bias
    plain = scored(queries, vectors, bias, candidates)
    np.testing.assert_allclose(plain, np.take_along_axis(exact, candidates, 1), rtol=1e-4, atol=1e-5)
    added = scored(queries, vectors, bias, candidates, (offsets, rows, weights))
    np.testing.assert_allclose(added, np.take_along_axis(exact + dense, candidates, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dimensions", [0, 1, 2, 3, 4, 7, 50, 64])
def test_a_score_is_to_the_bit_the_number_by_which_the_ranking_orders(dimensions):
    rng = np.random.default_rng(dimensions)
    queries, vectors, bias = world_of(rng, 5, 1500, dimensions)
    extra = extras(rng, 5, 1500)
    lists = top_k(queries, Candidates.of(vectors, bias), 1500, extra=ExtraScores(*extra))
    again = scored(queries, vectors, bias, lists.rows.reshape(5, 1500), extra)
    assert again.tobytes() == lists.scores.tobytes()


# Common members -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_common_members_are_those_of_both_sets(share):
    rng = np.random.default_rng(5)
    lists = [np.flatnonzero(rng.random(60) < part) for part in (0, share / 3, share, 1, share)]
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in lists]))).astype(np.int64)
    firsts, seconds = (places.ravel().astype(np.int32) for places in np.indices((5, 5)))
    counts = np.full(25, -1, np.int32)
    count_common(firsts, seconds, offsets, np.concatenate(lists).astype(np.int32), counts)
    wanted = [
        len(np.intersect1d(lists[first], lists[second]))
        for first, second in zip(firsts, seconds, strict=True)
    ]
    assert counts.tolist() == wanted
