"""`Bags`: weighted tokens, one ragged list for each thing that they describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tastemaker.data.ragged import gather_lists
from tastemaker.types import AnyArray, Floats, Offsets, Rows

__all__ = ["Bags", "no_bags", "side_by_side"]


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Tokens of n things: those of thing i lie from ``offsets[i]`` to ``offsets[i + 1]``."""

    offsets: Offsets
    """``int64[n + 1]``"""
    tokens: Rows
    """``int32[total]``, rows of a table of token vectors"""
    weights: Floats
    """``float32[total]``, 1 but for the numbers of an embedding"""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: AnyArray) -> Bags:
        """Return the bags of some things, ``int[m]``; a thing may come again."""
        offsets, places = gather_lists(self.offsets, rows)
        return Bags(offsets, self.tokens[places], self.weights[places])

    def without(self, low: int, high: int) -> Bags:
        """Return the bags without the tokens ``low … high - 1``."""
        kept = (self.tokens < low) | (self.tokens >= high)
        offsets = np.concatenate(([0], np.cumsum(kept)))[self.offsets].astype(np.int64)
        return Bags(offsets, self.tokens[kept], self.weights[kept])


def no_bags(count: int) -> Bags:
    """Return this many empty bags."""
    return Bags(np.zeros(count + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))


def side_by_side(parts: Sequence[Bags], count: int) -> Bags:
    """Return for each of ``count`` things the tokens that the parts give it, part after part.

    >>> first = Bags(np.array([0, 1, 1]), np.array([4], np.int32), np.ones(1, np.float32))
    >>> second = Bags(np.array([0, 1, 2]), np.array([7, 8], np.int32), np.ones(2, np.float32))
    >>> both = side_by_side([first, second], 2)
    >>> both.offsets.tolist(), both.tokens.tolist()
    ([0, 2, 3], [4, 7, 8])
    """
    parts = [part for part in parts if len(part.tokens)]
    if not parts:
        return no_bags(count)
    if len(parts) == 1:
        return parts[0]
    owners = np.concatenate([np.repeat(np.arange(count), np.diff(part.offsets)) for part in parts])
    order = np.argsort(owners, kind="stable")
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(owners, minlength=count), out=offsets[1:])
    return Bags(
        offsets,
        np.concatenate([part.tokens for part in parts])[order],
        np.concatenate([part.weights for part in parts])[order],
    )
