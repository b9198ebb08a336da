"""Lists that explore: with a small chance a place is swapped with one of the ranking's first places, drawn evenly.

All products come from one ranking under the rules: what is not allowed in it is in no list that explores, and a rule that allows so
many alike holds in every part of it. Nothing is shown twice.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np

from tastemaker.errors import SettingProblem
from tastemaker.types import Doubles, Rows

__all__ = ["LONGEST", "MOST", "POOL", "chances", "check_rate", "drawn"]

POOL = 2
"""The first places of the ranking that explore are so many times those shown: what is next after the list is tried, too"""

LONGEST = 100
"""Longer lists do not explore."""

MOST = 0.5
"""The largest rate"""

SCALE = 2**64


def check_rate(rate: float) -> None:
    """Raise `SettingProblem` for a rate of exploring that is not from 0 to `MOST`."""
    if not 0 <= rate <= MOST:
        raise SettingProblem(
            f"explore is {rate}; it must be from 0 (no list explores) to {MOST}, the chance with which each place explores."
        )


def drawn(shown: int, places: int, *, rate: float, pinned: int = 0, seed: str) -> Rows:
    """Return which place of the ranking stands at each place of the list, ``int32[K]``: the same for the same seed, everywhere.

    The list begins as the ranking's first ``shown`` of ``places``. From the first place after those pinned to the last shown, each
    is, with the chance ``rate``, swapped with one drawn evenly of all places after those pinned (with itself, too).

    >>> drawn(4, 8, rate=0.5, pinned=1, seed="a").tolist(), drawn(4, 8, rate=0.0, seed="a").tolist()
    ([0, 1, 2, 4], [0, 1, 2, 3])
    """
    order = np.arange(places, dtype=np.int32)
    for place in range(pinned, min(shown, places)):
        digest = blake2b(f"{place}:{seed}".encode(), digest_size=16).digest()
        if int.from_bytes(digest[:8]) < rate * SCALE:
            other = pinned + int.from_bytes(digest[8:]) * (places - pinned) // SCALE
            order[place], order[other] = order[other], order[place]
    return order[:shown]


@lru_cache(maxsize=256)
def chances(shown: int, places: int, *, rate: float, pinned: int = 0) -> Doubles:
    """Return the exact chance that the product of each place of the ranking stands at each of the list, ``float64[places, K]``.

    Where a product stands is a Markov chain over the m places that are not pinned. The step of place i moves its chances v to::

        v_i ← (1 − ε) v_i + ε / m        v_p ← (1 − ε / m) v_p + (ε / m) v_i   for p ≠ i

    Each row sums to at most 1 (the product may be in no place shown), each column to 1. The array is shared and read-only.

    >>> chances(1, 2, rate=0.5).tolist()
    [[0.75], [0.25]]
    """
    shown = min(shown, places)
    table = np.eye(places)
    free = places - pinned
    for place in range(pinned, shown):
        here = table[pinned:, place].copy()
        table[pinned:, pinned:] *= 1 - rate / free
        table[pinned:, pinned:] += (rate / free * here)[:, None]
        table[pinned:, place] = (1 - rate) * here + rate / free
    table = np.ascontiguousarray(table[:, :shown])
    table.flags.writeable = False
    return table
