"""The strongest singular vectors of a sparse matrix: products with it, and an orthonormal basis, in sums of a fixed order.

NumPy's products and LAPACK add up in an order that depends on their threads. Here each output is one sum in one order, whoever
computes it: rows are shared out, sums are not.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.products import dot, multiply_add
from tastemaker.kernels.ranking.topk import keep_best, key_of
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["COLUMNS", "add_rows", "gram_columns", "inverse_cholesky", "multiply_rows", "weigh_partners"]

COLUMNS = 32
"""Columns of a Gram matrix that are summed at once, the unit of parallel work."""

ROWS_AT_ONCE = 256
"""Rows of a table that stay in the cache while they are multiplied."""


@kernel()
def add_rows(
    low: int,
    high: int,
    offsets: Offsets,
    rows: Rows,
    scales: Floats,
    weights: Floats,
    table: Floats,
    out: Floats,
) -> None:
    """Set ``out[i] = scales[i] · Σ weights[r] · table[r]`` over the list i of rows, for the lists ``low … high - 1``.

    This is a product of a sparse matrix of scaled ones with ``table[R, K]``; ``out`` is ``float32[lists, K]``.
    """
    width = table.shape[1]
    for i in range(low, high):
        mine = out[i]
        mine[:] = 0
        for place in range(offsets[i], offsets[i + 1]):
            weight = weights[rows[place]]
            source = table[rows[place]]
            for k in range(width):
                mine[k] += weight * source[k]
        for k in range(width):
            mine[k] *= scales[i]


@kernel()
def gram_columns(low: int, high: int, table: Floats, gram: Doubles) -> None:
    """Set the rows ``low · COLUMNS … high · COLUMNS - 1`` of ``gram[K, K] = tableᵀ table``; ``table`` is ``float32[R, K]``.

    A few hundred rows are added up in float32, their sums in float64.
    """
    width = table.shape[1]
    turned = np.empty((COLUMNS, ROWS_AT_ONCE), np.float32)
    part = np.empty((COLUMNS, width), np.float32)
    for block in range(low, high):
        first = block * COLUMNS
        count = min(COLUMNS, width - first)
        gram[first : first + count, :] = 0
        for start in range(0, table.shape[0], ROWS_AT_ONCE):
            size = min(ROWS_AT_ONCE, table.shape[0] - start)
            for r in range(size):  # turned[columns, rows], so that the product reads rows of both
                for c in range(count):
                    turned[c, r] = table[start + r, first + c]
            part[:] = 0
            multiply_add(turned, table[start : start + size], part, count, size)
            for c in range(count):
                for k in range(width):
                    gram[first + c, k] += part[c, k]


@kernel()
def inverse_cholesky(gram: Doubles, shift: float, inverse: Doubles) -> None:
    """Set ``inverse[K, K] = L⁻¹``, lower triangular, for the Cholesky factor L of ``gram + shift · I``; ``gram`` becomes L."""
    n = gram.shape[0]
    for i in range(n):
        for j in range(i + 1):
            total = gram[i, j]
            if i == j:
                total += shift
            for k in range(j):
                total -= gram[i, k] * gram[j, k]
            gram[i, j] = np.sqrt(max(total, 1e-300)) if i == j else total / gram[j, j]
    inverse[:] = 0
    for i in range(n):  # row i of L⁻¹ = (e_i - Σ_{k < i} L_ik · row k) / L_ii
        inverse[i, i] = 1.0
        for k in range(i):
            factor = gram[i, k]
            for j in range(k + 1):
                inverse[i, j] -= factor * inverse[k, j]
        for j in range(i + 1):
            inverse[i, j] /= gram[i, i]


@kernel()
def multiply_rows(low: int, high: int, table: Floats, matrix: Floats, out: Floats) -> None:
    """Set the blocks ``low … high - 1`` of ROWS_AT_ONCE rows of ``out[R, D] = table[R, K] @ matrix[K, D]``."""
    inner = matrix.shape[0]
    for block in range(low, high):
        start = block * ROWS_AT_ONCE
        size = min(ROWS_AT_ONCE, table.shape[0] - start)
        mine = out[start : start + size]
        mine[:] = 0
        for k in range(
            0, inner, ROWS_AT_ONCE
        ):  # a slice of the matrix stays in the cache for all rows of the block
            part = min(ROWS_AT_ONCE, inner - k)
            multiply_add(table[start : start + size, k : k + part], matrix[k : k + part], mine, size, part)


@kernel()
def weigh_partners(
    low: int,
    high: int,
    offsets: Offsets,
    partners: Rows,
    inside: Floats,
    outside: Floats,
    signed: bool,
    found: Rows,
    weights: Floats,
    counts: Offsets,
) -> None:
    """Keep for each product ``low … high - 1`` its partners of the greatest weight, ``inside[p] · outside[r]``.

    Product p has the partners ``partners[offsets[p]:offsets[p + 1]]``. Of those with a weight above 0, as many as ``found`` is wide
    are kept, the greatest, of equals the earlier; they stand in ``found[p - low, :counts[p - low]]`` in the order of ``partners``.
    ``signed`` keeps those farthest from 0, below it or above.
    """
    longest = 1 if offsets.shape[0] < 2 else np.max(offsets[1:] - offsets[:-1])
    keys = np.empty(longest, np.uint64)
    scores = np.empty(longest, np.float32)
    bits = scores.view(np.int32)
    for p in range(low, high):
        start, size = offsets[p], offsets[p + 1] - offsets[p]
        count = 0
        for i in range(size):
            scores[i] = dot(inside[p], outside[partners[start + i]])
            if scores[i] > 0:
                keys[count] = key_of(bits[i], i)
                count += 1
            elif signed and scores[i] < 0:
                keys[count] = key_of(bits[i] & np.int32(0x7FFFFFFF), i)
                count += 1
        kept = min(count, found.shape[1])
        keep_best(keys, count, kept)
        places = found[p - low]
        for i in range(kept):
            places[i] = np.int32(np.uint32(0xFFFFFFFF) - np.uint32(keys[i] & np.uint64(0xFFFFFFFF)))
        places[:kept].sort()
        for i in range(kept):
            weights[p - low, i] = scores[places[i]]
            places[i] = partners[start + places[i]]
        counts[p - low] = kept
