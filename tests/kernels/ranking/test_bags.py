"""Weighted bags against NumPy: sums of vectors, and what a table says."""

from __future__ import annotations

import numpy as np

from tastemaker.data.ragged import offsets_of
from tastemaker.kernels.counting.memory import count_distinct
from tastemaker.kernels.ranking.bags import compose_bags, recall_bags
from tastemaker.kernels.ranking.judging import gains_of_parts

OFFSETS, BAGS = np.array([0, 2, 2, 5]), np.array([1, 3, 0, 1, 2], np.int32)
WEIGHTS = np.array([0.5, 2, 1, 1, 4], np.float32)


def test_a_query_is_the_weighted_sum_and_is_added():
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    queries = np.ones((3, 3), np.float32)
    compose_bags(0, 3, OFFSETS, BAGS, WEIGHTS, vectors, queries)
    sums = [0.5 * vectors[1] + 2 * vectors[3], np.zeros(3), vectors[0] + vectors[1] + 4 * vectors[2]]
    np.testing.assert_array_equal(queries, 1 + np.array(sums))


def test_what_a_table_says_is_weighted_row_by_row():
    table = np.zeros((4, 5), np.float32)
    table[0, 4], table[1, [0, 4]], table[2, 2], table[3, 0] = 3, (1, 2), 5, 7
    offsets = offsets_of((table != 0).sum(axis=1))
    products, weights = np.nonzero(table)[1].astype(np.int32), table[table != 0]
    counts = np.zeros(3, np.int64)
    count_distinct(0, 3, OFFSETS, BAGS, offsets, products, 5, counts)
    borders = offsets_of(counts)
    rows, scores = np.empty(borders[-1], np.int32), np.empty(borders[-1], np.float32)
    recall_bags(0, 3, OFFSETS, BAGS, WEIGHTS, offsets, products, weights, 5, borders, rows, scores)
    for q in range(3):
        expected = np.zeros(5)
        for place in range(OFFSETS[q], OFFSETS[q + 1]):
            expected += WEIGHTS[place] * table[BAGS[place]]
        got = np.zeros(5)
        got[rows[borders[q] : borders[q + 1]]] = scores[borders[q] : borders[q + 1]]
        np.testing.assert_array_equal(got, expected)


def test_gains_of_parts_by_hand():
    """One query of four products: the table's part, weighted by 2, lifts product 3 over the bought 1; product 0 is left out."""
    gains = np.zeros(1)
    borders, zero = np.array([0, 1]), np.zeros(1, np.int32)
    gains_of_parts(
        0, 1, np.array([[9, 2, 1, 0]], np.float32), np.zeros((1, 4), np.float32), zero,
        borders, np.array([0]), np.zeros(1, np.int16), np.ones(1, np.float32), borders,
        np.array([3], np.int32), np.array([2], np.float32),
        np.array([2.0]), borders, zero, np.full(1, -np.inf, np.float32), borders, np.array([1], np.int32), 10, gains,
    )  # fmt: skip
    assert gains[0] == 1 / np.log2(3)
