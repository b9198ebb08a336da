"""Products by tiles: NumPy's, of any shapes and strides, and each output one chain of multiply-adds, to the bit."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite.binding import get_host_cpu_features

import tastemaker.kernels.products as products
from tastemaker.kernels.products import add_product, dot, multiply_add, total_of, turn_over


@numba.njit
def added(out, out_at, out_row, rows, columns, a, a_at, a_row, a_step, b, b_at, b_row, inner):
    add_product(out, out_at, out_row, rows, columns, a, a_at, a_row, a_step, b, b_at, b_row, inner)


@numba.njit
def turned(source, out):
    turn_over(source, out)


def chained(a, b, c):
    """Each output one chain over the inner index, every step rounded once: products of two float32 are exact in float64."""
    c = c.copy()
    for k in range(a.shape[1]):
        c = (np.outer(a[:, k].astype(np.float64), b[k].astype(np.float64)) + c).astype(np.float32)
    return c


def random(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


@given(
    rows=st.integers(0, 9),
    inner=st.integers(0, 9),
    width=st.integers(0, 19),
    spare=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
@settings(deadline=None, max_examples=150)
def test_multiply_add_adds_the_product_of_any_shapes(rows, inner, width, spare):
    """Whole numbers make every sum exact; what lies beyond ``rows`` and ``inner`` is not touched and takes no part."""
    rng = np.random.default_rng(rows * 100 + inner * 10 + width)
    a, b, c = (
        rng.integers(-9, 10, shape).astype(np.float32)
        for shape in (
            (rows + spare[0], inner + spare[1]),
            (inner + spare[1], width),
            (rows + spare[0], width),
        )
    )
    expected = c.copy()
    expected[:rows] += a[:rows, :inner] @ b[:inner]
    multiply_add(a, b, c, rows, inner)
    assert c.tolist() == expected.tolist()


def test_multiply_add_of_fractions_is_numpys_to_a_few_roundings():
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((131, 67), (67, 50)))
    c = np.zeros((131, 50), np.float32)
    multiply_add(a, b, c, 131, 67)
    np.testing.assert_allclose(c, a.astype(np.float64) @ b, rtol=0, atol=2e-5)


@pytest.mark.parametrize("rows", [1, 6, 13])
@pytest.mark.parametrize("columns", [3, 16, 64, 101])
@pytest.mark.parametrize("inner", [1, 40])
def test_every_output_is_one_chain_whatever_tile_it_lies_in(rows, columns, inner):
    rng = np.random.default_rng(rows * columns + inner)
    a, b, c = random(rng, rows, inner), random(rng, inner, columns), random(rng, rows, columns)
    expected = chained(a, b, c)
    multiply_add(a, b, c, rows, inner)
    np.testing.assert_array_equal(c, expected)


def test_pieces_of_the_inner_index_are_taken_in_order():
    rng = np.random.default_rng(5)
    inner = 2 * products.DEEP + 7
    a, b, c = random(rng, 7, inner), random(rng, inner, 70), np.zeros((7, 70), np.float32)
    expected = chained(a, b, c)
    multiply_add(a, b, c, 7, inner)
    np.testing.assert_array_equal(c, expected)


def test_rows_shared_out_give_the_bytes_of_all_at_once():
    rng = np.random.default_rng(6)
    a, b = random(rng, 29, 33), random(rng, 33, 80)
    whole, parts = np.zeros((29, 80), np.float32), np.zeros((29, 80), np.float32)
    multiply_add(a, b, whole, 29, 33)
    for low, high in ((0, 5), (5, 6), (6, 29)):
        multiply_add(a[low:high], b, parts[low:high], high - low, 33)
    assert whole.tobytes() == parts.tobytes()


def test_a_matrix_may_be_read_turned_around_and_be_a_part_of_a_greater_one():
    rng = np.random.default_rng(7)
    a, b, c = random(rng, 9, 20), random(rng, 12, 50), random(rng, 30, 40)
    expected = c.copy()
    expected[2:10, 1:36] = chained(a[:, 3:11].T, b[2:11, 4:39], c[2:10, 1:36])
    added(c, 2 * 40 + 1, 40, 8, 35, a, 3, 1, 20, b, 2 * 50 + 4, 50, 9)
    np.testing.assert_array_equal(c, expected)
    small, expected = np.zeros((20, 12), np.float32), chained(a.T, a[:, :12], np.zeros((20, 12), np.float32))
    multiply_add(a.T, np.ascontiguousarray(a[:, :12]), small, 20, 9)
    np.testing.assert_array_equal(small, expected)


ANOTHER_PROCESSOR = """
import hashlib
import numpy as np
from tastemaker.kernels import products

rng = np.random.default_rng(8)
a, b = rng.normal(size=(23, 40)).astype(np.float32), rng.normal(size=(40, 90)).astype(np.float32)
c = np.zeros((23, 90), np.float32)
products.multiply_add(a, b, c, 23, 40)
print(products.BROAD, hashlib.sha256(c.tobytes()).hexdigest())
"""


def test_a_processor_with_fewer_registers_gives_the_same_bytes(python, tmp_path):
    """AVX2 alone has other tiles. The name of a processor leaves the features of this one on, so they are given, too."""
    if not get_host_cpu_features().get("fma"):
        pytest.skip("this machine does not run AVX2's fused multiply-adds")
    features = "+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt,+f16c,+sse4.2,+cx16,+64bit"
    broad, digest = python(ANOTHER_PROCESSOR, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split()
    fewer = python(
        ANOTHER_PROCESSOR,
        NUMBA_CACHE_DIR=str(tmp_path),
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES=features,
    )
    assert fewer.stdout.split() == ["1", digest]
    assert broad == ("4" if get_host_cpu_features().get("avx512f") else "1")


@pytest.mark.parametrize("shape", [(16, 16), (48, 32), (32, 128)])
def test_a_table_is_turned_over(shape):
    table = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    out = np.empty(shape[::-1], np.float32)
    turned(table, out)
    np.testing.assert_array_equal(out, table.T)


def side_by_side(a, b):
    """Sixteen chains, folded by halves, then a chain of what is left over; every step rounded once."""
    whole = len(a) // 16 * 16
    chains = np.zeros(16, np.float32)
    for k in range(0, whole, 16):
        chains = (a[k : k + 16].astype(np.float64) * b[k : k + 16] + chains).astype(np.float32)
    while len(chains) > 1:
        chains = chains[: len(chains) // 2] + chains[len(chains) // 2 :]
    found = chains[0]
    for k in range(whole, len(a)):
        found = np.float32(np.float64(a[k]) * b[k] + found)
    return found


@numba.njit(fastmath={"contract"})
def both(a, b):
    return dot(a, b), total_of(a)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 64, 100, 128])
def test_dot_products_and_sums_have_one_order(length):
    rng = np.random.default_rng(length)
    a, b = random(rng, length), random(rng, length)
    found, whole = both(a, b)
    assert found == side_by_side(a, b)
    assert whole == side_by_side(a, np.ones(length, np.float32))
