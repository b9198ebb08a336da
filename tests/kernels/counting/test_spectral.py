"""Products with a sparse matrix, Gram matrices, Cholesky factors and weighed partners, each against a NumPy twin."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.data.ragged import offsets_of
from tastemaker.kernels.counting.spectral import (
    COLUMNS,
    ROWS_AT_ONCE,
    add_rows,
    gram_columns,
    inverse_cholesky,
    multiply_rows,
    weigh_partners,
)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def ragged(rng, lists, rows):
    """Random ascending lists of distinct rows, one of them empty, and the same as a matrix of zeros and ones."""
    dense = rng.random((lists, rows)) < 0.3
    dense[1] = False
    return offsets_of(dense.sum(1)), np.nonzero(dense)[1].astype(np.int32), dense.astype(np.float64)


def test_rows_are_added_as_a_product_with_a_scaled_sparse_matrix(rng):
    offsets, rows, dense = ragged(rng, 9, 12)
    scales, weights = rng.random(9).astype(np.float32), rng.random(12).astype(np.float32)
    table, out = rng.standard_normal((12, 20)).astype(np.float32), np.full((9, 20), np.nan, np.float32)
    for low, high in ((0, 4), (4, 9)):
        add_rows(low, high, offsets, rows, scales, weights, table, out)
    np.testing.assert_allclose(
        out, scales[:, None] * dense * weights @ table.astype(np.float64), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("width", [1, COLUMNS, COLUMNS + 5])
@pytest.mark.parametrize("rows", [1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 3])
def test_a_gram_matrix_is_the_table_turned_times_the_table(rng, rows, width):
    table, gram = rng.standard_normal((rows, width)).astype(np.float32), np.full((width, width), np.nan)
    for block in range(-(-width // COLUMNS)):
        gram_columns(block, block + 1, table, gram)
    wide = table.astype(np.float64)
    np.testing.assert_allclose(gram, wide.T @ wide, rtol=1e-4, atol=1e-3)


def test_the_inverse_of_a_cholesky_factor_is_numpys(rng):
    table = rng.standard_normal((40, 7))
    gram, inverse = table.T @ table, np.empty((7, 7))
    expected = np.linalg.inv(np.linalg.cholesky(gram + 0.5 * np.eye(7)))
    inverse_cholesky(gram.copy(), 0.5, inverse)
    np.testing.assert_allclose(inverse, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rows", [3, ROWS_AT_ONCE + 2])
@pytest.mark.parametrize("width", [5, ROWS_AT_ONCE + 9])
def test_rows_are_multiplied_by_a_matrix(rng, rows, width):
    table = rng.standard_normal((rows, width)).astype(np.float32)
    matrix = rng.standard_normal((width, width)).astype(np.float32)
    out = np.full((rows, width), np.nan, np.float32)
    for block in range(-(-rows // ROWS_AT_ONCE)):
        multiply_rows(block, block + 1, table, matrix, out)
    np.testing.assert_allclose(out, table.astype(np.float64) @ matrix, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("most", [1, 3, 50])
def test_of_the_partners_the_greatest_weights_are_kept_in_the_order_of_the_partners(rng, most, signed):
    offsets, partners, dense = ragged(rng, 15, 15)
    inside, outside = (rng.standard_normal((15, 6)).astype(np.float32) for _ in range(2))
    found, weights = np.full((15, most), -1, np.int32), np.full((15, most), np.nan, np.float32)
    counts = np.full(15, -1, np.int64)
    for low, high in ((0, 6), (6, 15)):
        into = found[low:high], weights[low:high], counts[low:high]
        weigh_partners(low, high, offsets, partners, inside, outside, signed, *into)
    scores = inside.astype(np.float64) @ outside.T
    sizes = np.abs(scores) if signed else scores
    for p in range(15):
        able = [r for r in np.flatnonzero(dense[p]) if sizes[p, r] > 0]
        best = sorted(sorted(able, key=lambda r, p=p: -sizes[p, r])[:most])
        assert found[p, : counts[p]].tolist() == best
        np.testing.assert_allclose(weights[p, : counts[p]], scores[p, best], rtol=1e-5, atol=1e-6)
