"""Rows of whole cache lines: the kernels' sums are NumPy's, and in the order that is written, to the bit."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from tastemaker.kernels.lanes import load, store
from tastemaker.kernels.wide_rows import LANES, add_row, add_rows, chain_rows, dot_rows
from tastemaker.training.learners.tables import blocks_of, zero_table


@numba.njit
def dots(queries, begin, table, rows, first, blocks, out, place):
    dot_rows(queries, begin, table, rows, first, blocks, out, place)


@numba.njit
def chained(query, table, rows, first, out):
    store(out, 0, chain_rows(query, table, rows, first, load(out, 0)))


@numba.njit
def weighted(out, place, weights, begin, count, table, rows, first, blocks):
    add_rows(out, place, weights, begin, count, table, rows, first, blocks)


@numba.njit
def added(table, row, weight, source, place, blocks):
    add_row(table, row, weight, source, place, blocks)


def table_of(rng, rows, width):
    out = zero_table(rows, width)
    out[:] = rng.normal(size=(rows, width))
    return out


def fused(one, other, total):
    """Multiply and add with one rounding: the product of two float32 is exact in float64."""
    return (one.astype(np.float64) * other.astype(np.float64) + total.astype(np.float64)).astype(np.float32)


@pytest.mark.parametrize("width", [16, 64, 128])
def test_sixteen_dot_products_are_summed_by_lanes_and_folded(width):
    rng = np.random.default_rng(width)
    table, queries = table_of(rng, 40, width), table_of(rng, 3, width)
    rows = rng.integers(0, 40, LANES + 5).astype(np.int32)
    out = np.full(LANES + 4, 7, np.float32)
    dots(queries, width, table, rows, 5, blocks_of(table), out, 2)
    lanes = np.zeros((LANES, LANES), np.float32)
    for low in range(0, width, LANES):
        lanes = fused(queries[1, low : low + LANES], table[rows[5:], low : low + LANES], lanes)
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    np.testing.assert_array_equal(out, [7, 7, *lanes[:, 0], 7, 7])
    np.testing.assert_allclose(out[2:-2], table[rows[5:]] @ queries[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [1, 15, 16, 40, 128])
def test_sixteen_dot_products_are_chains_over_the_numbers_of_a_row_in_turn(width):
    rng = np.random.default_rng(width)
    table, query = rng.normal(size=(40, width)).astype(np.float32), rng.normal(size=width).astype(np.float32)
    rows = rng.integers(0, 40, LANES + 5).astype(np.int32)
    out = rng.normal(size=LANES).astype(np.float32)
    sums = out.copy()
    for place, number in enumerate(query):
        sums = fused(number, table[rows[5:], place], sums)
    chained(query, table, rows, 5, out)
    np.testing.assert_array_equal(out, sums)


@pytest.mark.parametrize("width", [16, 64])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_weighted_rows_are_added_one_after_another(width, count):
    rng = np.random.default_rng(count)
    table, out = table_of(rng, 9, width), table_of(rng, 2, width)
    rows, weights = rng.integers(0, 9, 10).astype(np.int32), rng.normal(size=10).astype(np.float32)
    expected = out.copy()
    for j in range(count):
        expected[1] = fused(np.full(width, weights[3 + j]), table[rows[2 + j]], expected[1])
    weighted(out, width, weights, 3, count, table, rows, 2, blocks_of(table))
    np.testing.assert_array_equal(out, expected)


def test_one_row_is_added_to_one_and_no_other_changes():
    rng = np.random.default_rng(4)
    table, source = table_of(rng, 5, 48), table_of(rng, 3, 48)
    expected = table.copy()
    expected[3] = fused(np.full(48, np.float32(0.3)), source[2], table[3])
    added(table, 3, np.float32(0.3), source, 2 * 48, blocks_of(table))
    np.testing.assert_array_equal(table, expected)
