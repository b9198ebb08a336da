"""`Memory`: the sparse part of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tastemaker.data.ragged import offsets_of
from tastemaker.types import Floats, Offsets, Rows

__all__ = ["Memory"]


@dataclass(frozen=True, slots=True)
class Memory:
    """A sparse table of what is bought together: row p lists products and what each adds to a score when p is in the basket."""

    offsets: Offsets
    """``int64[P + 1]``"""
    products: Rows
    """``int32[entries]``, ascending within a row"""
    weights: Floats
    """``float32[entries]``"""

    @staticmethod
    def empty(rows: int) -> Memory:
        """Return a table of this many empty rows."""
        return Memory(np.zeros(rows + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))

    @staticmethod
    def stacked(tables: Sequence[Memory]) -> Memory:
        """Return tables one below the other."""
        lengths = np.concatenate([np.diff(table.offsets) for table in tables])
        return Memory(
            offsets_of(lengths),
            np.concatenate([table.products for table in tables]),
            np.concatenate([table.weights for table in tables]),
        )
