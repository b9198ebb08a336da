"""Tables of vectors laid out for the kernels: rows of whole cache lines, aligned to them."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.wide_rows import LANES
from tastemaker.types import Floats

__all__ = ["LANES", "blocks_of", "random_table", "trimmed", "zero_table"]

_ROWS_AT_ONCE = 1 << 16


def zero_table(rows: int, dimensions: int) -> Floats:
    """Return ``float32[rows, D']`` of zeros, D' being D rounded up to whole cache lines (16 floats), starting at one."""
    width = -(-dimensions // LANES) * LANES
    store = np.zeros(rows * width * 4 + 64, np.uint8)
    skip = -store.ctypes.data % 64
    return store[skip : skip + rows * width * 4].view(np.float32).reshape(rows, width)


def random_table(rows: int, dimensions: int, scale: float, rng: np.random.Generator) -> Floats:
    """Return a table whose first D columns are uniform in (-scale, scale)."""
    table = zero_table(rows, dimensions)
    for low in range(0, rows, _ROWS_AT_ONCE):
        part = table[low : low + _ROWS_AT_ONCE, :dimensions]
        part[:] = (rng.random(part.shape, dtype=np.float32) * 2 - 1) * np.float32(scale)
    return table


def blocks_of(table: Floats) -> tuple[int, ...]:
    """Return the cache lines of a row as `kernels.wide_rows` takes them: a tuple of that length."""
    return tuple(0 for _ in range(table.shape[1] // LANES))


def trimmed(table: Floats, dimensions: int) -> Floats:
    """Return the table without its padding, ``float32[rows, D]``."""
    return np.ascontiguousarray(table[:, :dimensions])
