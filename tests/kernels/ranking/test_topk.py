"""The ranking kernel and its parts against sorting in NumPy."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twins
from tastemaker.kernels.ranking.topk import (
    PANEL,
    keep_best,
    key_of,
    least_to_beat,
    pack_panels,
    range_of,
    rank,
    unpack_keys,
)
from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores, top_k

floats = st.floats(width=32, allow_nan=False)
pairs = st.lists(st.tuples(floats, st.integers(0, 2**31 - 1)), min_size=1, max_size=20)


def keys_of(scores, rows):
    bits = np.array(scores, np.float32).view(np.int32)
    return np.array([key_of(bit, row) for bit, row in zip(bits, rows, strict=True)], np.uint64)


@given(pairs)
@settings(deadline=None, max_examples=200)
def test_keys_order_like_scores_then_rows(world):
    ordered = sorted(world, key=lambda pair: (-pair[0], pair[1]))
    keys = keys_of(*zip(*ordered, strict=True))
    assert (keys[:-1] >= keys[1:]).all()


@given(pairs)
@settings(deadline=None, max_examples=200)
def test_a_key_turns_back_into_its_score_and_row(world):
    scores, rows = zip(*world, strict=True)
    found_rows, found_scores = np.empty(len(world), np.int32), np.empty(len(world), np.float32)
    unpack_keys(keys_of(scores, rows), found_rows, found_scores)
    assert found_rows.tolist() == list(rows)
    assert found_scores.tolist() == list(scores)


def test_minus_zero_ties_with_zero():
    assert keys_of([-0.0], [7]) == keys_of([0.0], [7])


@given(st.sets(st.integers(0, 2**64 - 1), min_size=1, max_size=60), st.data())
@settings(deadline=None, max_examples=200)
def test_the_best_keys_are_moved_to_the_front_and_none_is_lost(keys, data):
    shuffled = np.array(data.draw(st.permutations(sorted(keys))), np.uint64)
    count = data.draw(st.integers(1, len(shuffled)))
    k = data.draw(st.integers(1, count))
    mine, rest = shuffled[:count].copy(), shuffled[count:].copy()
    keep_best(shuffled, count, k)
    assert sorted(shuffled[:k].tolist(), reverse=True) == sorted(mine.tolist(), reverse=True)[:k]
    assert sorted(shuffled[:count].tolist()) == sorted(mine.tolist())
    assert shuffled[count:].tolist() == rest.tolist()


@numba.njit
def beat_and_range(values, k):
    return least_to_beat(values, k), range_of(values)


@given(st.lists(st.floats(width=32), min_size=1, max_size=70), st.integers(1, 80))
@settings(deadline=None, max_examples=200)
def test_the_greatest_are_above_what_is_to_beat_and_what_is_no_number_counts_for_nothing(values, k):
    values = np.array(values, np.float32)
    beat, (low, high) = beat_and_range(values, k)
    finite = values[np.isfinite(values)]
    assert (low > high) if not len(finite) else (low, high) == (finite.min(), finite.max())
    numbers = np.sort(values[~np.isnan(values)])[::-1]
    assert beat == -np.inf or (numbers[:k] > beat).sum() == k


@pytest.mark.parametrize("k", [1, 10, 100])
def test_hardly_more_than_the_greatest_are_above_what_is_to_beat(k):
    values = np.random.default_rng(k).normal(size=900).astype(np.float32)
    assert (values > beat_and_range(values, k)[0]).sum() == k


@pytest.mark.parametrize(
    ("count", "dimensions"), [(1, 1), (5, 4), (1023, 3), (1024, 2), (1025, 2), (2049, 4)]
)
def test_panels_hold_dimension_after_dimension(count, dimensions):
    vectors = np.random.default_rng(0).normal(size=(count, dimensions)).astype(np.float32)
    panels = np.zeros((-(-count // PANEL), dimensions * PANEL), np.float32)
    pack_panels(vectors, panels)
    padded = np.zeros((len(panels) * PANEL, dimensions), np.float32)
    padded[:count] = vectors
    twin = padded.reshape(len(panels), PANEL, dimensions).transpose(0, 2, 1).reshape(len(panels), -1)
    assert np.array_equal(panels, twin)


def ragged(parts, dtype=np.int32):
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    return offsets, np.concatenate([*map(np.asarray, parts), np.zeros(0, dtype)]).astype(dtype)


def world_of(rng, queries, count, dimensions):
    """Whole numbers, so that sums are exact and ties are many."""
    return (
        rng.integers(-2, 3, (queries, dimensions)).astype(np.float32),
        rng.integers(-2, 3, (count, dimensions)).astype(np.float32),
        rng.integers(-1, 2, count).astype(np.float32),
    )


def check(lists, scores, k, excluded):
    assert len(lists) == len(scores)
    for q, (rows, found) in enumerate(lists):
        expected = twins.ranked(scores[q], k, excluded[q])
        assert rows.tolist() == expected.tolist()
        assert found.tolist() == scores[q, expected].tolist()


@pytest.mark.parametrize("count", [1, 2, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("k", [1, 5, 200, "C", "C + 10"])
def test_ranking_equals_sorting_at_the_borders_of_panels(count, k):
    rng = np.random.default_rng(count)
    queries, vectors, bias = world_of(rng, 9, count, 6)
    excluded = [np.flatnonzero(rng.random(count) < share) for share in (0, 0.5, 1, 0, 0.01, 0.99, 0.1, 0, 1)]
    added = [np.flatnonzero(rng.random(count) < share) for share in (0.3, 0, 1, 0.01, 0, 0.1, 0.1, 0, 1)]
    weights = [rng.integers(-3, 4, len(rows)) for rows in added]
    k = {"C": count, "C + 10": count + 10}.get(k, k)
    scores = queries.astype(np.float64) @ vectors.T + bias
    for q, rows in enumerate(added):
        scores[q, rows] += weights[q]
    extra = ExtraScores(*ragged(added), ragged(weights, np.float32)[1])
    found = top_k(
        queries, Candidates.of(vectors, bias), k, exclude=Exclusions(*ragged(excluded)), extra=extra
    )
    check(found, scores, k, excluded)


@pytest.mark.parametrize("dimensions", [0, 1, 3, 4, 50, 64, 100])
@pytest.mark.parametrize("queries", [1, 3, 4, 5, 130])
def test_ranking_equals_sorting_for_any_number_of_dimensions_and_queries(dimensions, queries):
    rng = np.random.default_rng(dimensions)
    world, vectors, bias = world_of(rng, queries, 1500, dimensions)
    found = top_k(world, Candidates.of(vectors, bias), 20)
    check(found, world.astype(np.float64) @ vectors.T + bias, 20, [()] * queries)


def test_an_excluded_candidate_with_an_extra_stays_excluded():
    candidates = Candidates.of(np.float32([[1], [2], [3]]))
    extra = ExtraScores(*ragged([[2]]), np.float32([100]))
    lists = top_k(np.float32([[1]]), candidates, 3, exclude=Exclusions(*ragged([[2]])), extra=extra)
    assert lists.rows.tolist() == [1, 0]


@pytest.mark.parametrize("order", ["ascending", "descending", "equal"])
def test_the_order_in_which_candidates_come_does_not_matter(order):
    """Ascending scores refill the buffer of best ones most often, equal ones never."""
    scores = {"ascending": np.arange(5000), "descending": -np.arange(5000), "equal": np.zeros(5000)}[order]
    lists = top_k(np.float32([[1]]), Candidates.of(scores[:, None].astype(np.float32)), 7)
    check(lists, scores[None].astype(np.float64), 7, [()])


def test_blocks_are_ranked_apart_and_touch_no_other():
    """The kernel itself: only the queries of its blocks are written."""
    rng = np.random.default_rng(4)
    queries, vectors, bias = world_of(rng, 10, 40, 4)
    candidates = Candidates.of(vectors, bias)
    none, rows, extra = np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)
    keys, counts = np.zeros((10, 3), np.uint64), np.full(10, -1, np.int64)
    rank(1, 2, 0, 1, queries, candidates.panels, bias, 4, none, rows, none, rows, extra, keys, counts)
    assert counts.tolist() == [-1] * 4 + [3] * 4 + [-1] * 2
    assert not keys[:4].any()
    assert not keys[8:].any()
    found, scores = np.empty(12, np.int32), np.empty(12, np.float32)
    unpack_keys(keys[4:8].ravel(), found, scores)
    exact = queries.astype(np.float64) @ vectors.T + bias
    assert found.reshape(4, 3).tolist() == [twins.ranked(exact[q], 3).tolist() for q in range(4, 8)]
