from __future__ import annotations

import numpy as np
import pytest

from tastemaker.kernels.ranking.placing import place_targets
from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores, padded, top_k


def ragged(rng, queries, candidates, most):
    lists = [
        np.sort(rng.choice(candidates, rng.integers(0, most + 1), replace=False)) for _ in range(queries)
    ]
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in lists]))).astype(np.int64)
    return offsets, np.concatenate(lists).astype(np.int32)


def placed(queries, vectors, biases, bias_of, left_out, extra, targets, moved=None, chunk=8):
    none, nothing = np.zeros(1, np.int64), np.zeros(0, np.int32)
    ranks = np.full(len(targets[1]), -1, np.int32)
    moved = moved or (none, nothing, nothing, np.zeros((0, queries.shape[1]), np.float32))
    place_targets(
        0, -(-len(queries) // chunk), chunk, padded(queries), Candidates.of(vectors).panels, biases, bias_of, *left_out, *extra,
        *moved[:3], padded(moved[3]), *targets, ranks,
    )  # fmt: skip
    return ranks


@pytest.mark.parametrize("candidates", [5, 1024, 2500])
@pytest.mark.parametrize("dimensions", [0, 6])
def test_a_rank_is_the_place_in_the_whole_ranked_list(candidates, dimensions):
    """`top_k` scores to the bit alike, so a list as long as the catalogue holds the target just where its rank says."""
    rng = np.random.default_rng(candidates + dimensions)
    queries = rng.normal(size=(11, dimensions)).astype(np.float32)
    vectors = rng.normal(size=(candidates, dimensions)).astype(np.float32)
    biases = rng.normal(size=(3, candidates)).astype(np.float32)
    bias_of = rng.integers(0, 3, 11).astype(np.int32)
    left_out = ragged(rng, 11, candidates, 3)
    offsets, rows = ragged(rng, 11, candidates, 4)
    extra = (offsets, rows, rng.normal(size=len(rows)).astype(np.float32))
    targets = ragged(rng, 11, candidates, 5)
    ranks = placed(queries, vectors, biases, bias_of, left_out, extra, targets)
    for q in range(11):
        row = slice(q, q + 1)
        left = left_out[1][left_out[0][q] : left_out[0][q + 1]]
        lists = top_k(
            queries[row], Candidates.of(vectors, biases[bias_of[q]]), candidates,
            exclude=Exclusions(np.array([0, len(left)]), left),
            extra=ExtraScores(*extra).take(np.array([q])),
        )  # fmt: skip
        for place in range(targets[0][q], targets[0][q + 1]):
            at = np.flatnonzero(lists.rows == targets[1][place])
            assert ranks[place] == (at[0] + 1 if len(at) else 0)


def test_ties_count_against_the_target():
    biases = np.array([[1, 2, 2, 2, 3]], np.float32)
    none = np.zeros(1, np.int64), np.zeros(0, np.int32)
    queries, vectors = np.zeros((1, 0), np.float32), np.zeros((5, 0), np.float32)
    targets = np.array([0, 5]), np.arange(5, dtype=np.int32)
    ranks = placed(
        queries, vectors, biases, np.zeros(1, np.int32), none, (*none, np.zeros(0, np.float32)), targets
    )
    assert ranks.tolist() == [5, 4, 4, 4, 1]


def test_a_moved_product_is_scored_by_its_other_vector_to_the_bit():
    rng = np.random.default_rng(4)
    queries = rng.normal(size=(5, 7)).astype(np.float32)
    vectors = rng.normal(size=(40, 7)).astype(np.float32)
    biases = rng.normal(size=(1, 40)).astype(np.float32)
    none = np.zeros(1, np.int64), np.zeros(0, np.int32)
    plain = (*none, np.zeros(0, np.float32))
    targets = np.arange(0, 6 * 40, 40), np.tile(np.arange(40, dtype=np.int32), 5)
    elsewhere = vectors.copy()
    elsewhere[[3, 9]] = rng.normal(size=(2, 7)).astype(np.float32)
    rows = np.tile(np.array([3, 9], np.int32), 5)
    moved = (np.arange(0, 12, 2), rows, np.tile(np.array([1, 0], np.int32), 5), elsewhere[[9, 3]])
    bias_of = np.zeros(5, np.int32)
    expected = placed(queries, elsewhere, biases, bias_of, none, plain, targets)
    assert (
        placed(queries, vectors, biases, bias_of, none, plain, targets, moved).tolist() == expected.tolist()
    )
