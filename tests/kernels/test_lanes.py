"""Sixteen numbers at a time: every operation is NumPy's, lane by lane, and sums are folded in the order that is written."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from tastemaker.kernels.lanes import (
    LANES,
    exponential,
    fused,
    greater,
    greatest,
    hidden,
    load,
    minus,
    nothing,
    over,
    plus,
    spread,
    store,
    times,
    total,
)

RNG = np.random.default_rng(3)
A, B, C = (RNG.normal(size=LANES).astype(np.float32) for _ in range(3))


@numba.njit
def every_operation(a, b, c, rows, row, out):
    one, other = load(a, 0), load(b, 0)
    store(out, 0, plus(one, other))
    store(out, 16, minus(one, other))
    store(out, 32, times(one, other))
    store(out, 48, over(one, other))
    store(out, 64, greater(one, other))
    store(out, 80, fused(one, other, load(c, 0)))
    store(out, 96, spread(a[3]))
    store(out, 112, nothing())
    store(out, 128, hidden(one, rows, 0, row))
    return total(one), greatest(one)


@numba.njit
def powers(x, out):
    for place in range(0, x.shape[0], LANES):
        store(out, place, exponential(load(x, place)))


@numba.njit
def moved(table, first, second):
    store(table, second, load(table, first))


def test_every_operation_is_numpys_lane_by_lane():
    rows = np.arange(LANES, dtype=np.int32) % 5
    out = np.full((9, LANES), 7, np.float32)
    every_operation(A, B, C, rows, np.int32(2), out)
    once = (A.astype(np.float64) * B + C).astype(np.float32)
    expected = [
        A + B, A - B, A * B, A / B, np.maximum(A, B), once, np.full(LANES, A[3]), np.zeros(LANES),
        np.where(rows == 2, np.float32(-1e30), A),
    ]  # fmt: skip
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


def test_lanes_are_summed_by_halves():
    halves = A
    while len(halves) > 1:
        halves = halves[: len(halves) // 2] + halves[len(halves) // 2 :]
    found = every_operation(A, B, C, np.zeros(LANES, np.int32), np.int32(9), np.empty(144, np.float32))
    assert found == (halves[0], A.max())


def test_a_place_counts_numbers_from_the_beginning_of_any_array():
    table = np.arange(60, dtype=np.float32).reshape(3, 20)
    expected = table.copy().ravel()
    expected[31:47] = expected[5:21]
    moved(table, 5, 31)
    np.testing.assert_array_equal(table.ravel(), expected)


@pytest.mark.parametrize("low", [0.0, -1.0, -10.0, -80.0])
def test_exponentials_are_close_to_numpys(low):
    x = np.linspace(low, 0, 1 << 12, dtype=np.float32)
    out = np.empty_like(x)
    powers(x, out)
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(out - exact) <= exact * (3e-7 + 8e-8 * np.abs(x))).all()
    assert out[-1] == 1


def test_what_is_far_below_zero_is_almost_nothing_and_never_less():
    x = np.full(LANES, -1e30, np.float32)
    out = np.empty_like(x)
    powers(x, out)
    assert ((out >= 0) & (out <= 2e-38)).all()
