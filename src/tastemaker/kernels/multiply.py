"""A product of two matrices, added to a third, in sums of a fixed order."""

from __future__ import annotations

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Floats

__all__ = ["multiply_add"]


@kernel(fast=True, inline=True)
def multiply_add(a: Floats, b: Floats, c: Floats, rows: int, inner: int) -> None:
    """Add ``a[rows, inner] @ b[inner, n]`` to ``c[rows, n]``, four rows and four inner steps at a time."""
    n = c.shape[1]
    whole_rows, whole_inner = rows - rows % 4, inner - inner % 4
    for i in range(0, whole_rows, 4):
        c0, c1, c2, c3 = c[i], c[i + 1], c[i + 2], c[i + 3]
        for k in range(0, whole_inner, 4):
            b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
            a00, a01, a02, a03 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
            a10, a11, a12, a13 = a[i + 1, k], a[i + 1, k + 1], a[i + 1, k + 2], a[i + 1, k + 3]
            a20, a21, a22, a23 = a[i + 2, k], a[i + 2, k + 1], a[i + 2, k + 2], a[i + 2, k + 3]
            a30, a31, a32, a33 = a[i + 3, k], a[i + 3, k + 1], a[i + 3, k + 2], a[i + 3, k + 3]
            for d in range(n):
                v0, v1, v2, v3 = b0[d], b1[d], b2[d], b3[d]
                c0[d] += (a00 * v0 + a01 * v1) + (a02 * v2 + a03 * v3)
                c1[d] += (a10 * v0 + a11 * v1) + (a12 * v2 + a13 * v3)
                c2[d] += (a20 * v0 + a21 * v1) + (a22 * v2 + a23 * v3)
                c3[d] += (a30 * v0 + a31 * v1) + (a32 * v2 + a33 * v3)
        for k in range(whole_inner, inner):
            for d in range(n):
                c0[d] += a[i, k] * b[k, d]
                c1[d] += a[i + 1, k] * b[k, d]
                c2[d] += a[i + 2, k] * b[k, d]
                c3[d] += a[i + 3, k] * b[k, d]
    for i in range(whole_rows, rows):
        for k in range(inner):
            for d in range(n):
                c[i, d] += a[i, k] * b[k, d]
