"""How negatives are drawn from a distribution that is not uniform: the alias method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.types import Doubles, Floats, Rows

__all__ = ["Draws", "draws_by_popularity"]


@dataclass(frozen=True, slots=True)
class Draws:
    """A distribution over the products: draw a row evenly, keep it with its chance, else take its alias."""

    chances: Floats
    """``float32[P]``"""
    aliases: Rows
    """``int32[P]``"""
    probabilities: Doubles
    """``float64[P]``, what the two amount to"""


def draws_by_popularity(buyers: Doubles, power: float) -> Draws:
    """Return the distribution in proportion to ``buyers[P]^power``; a product that nobody bought counts as half a buyer.

    Source: A. J. WALKER 1977 and M. D. VOSE 1991 (the alias method), here filled by sorting.

    >>> draws_by_popularity(np.array([1.0, 3.0]), 1.0).probabilities.tolist()
    [0.25, 0.75]
    """
    weights = np.maximum(buyers, 0.5) ** power
    probabilities = weights / weights.sum()
    chances, aliases = _alias_table(probabilities * len(probabilities))
    return Draws(chances, aliases, probabilities)


def _alias_table(shares: Doubles) -> tuple[Floats, Rows]:
    """Give each product with a share below 1 a partner above 1, from which it takes what it lacks."""
    chances, aliases = shares.copy(), np.arange(len(shares))
    poor, rich = np.flatnonzero(shares < 1), np.flatnonzero(shares >= 1)
    while len(poor) and len(rich):
        # The running sums say which rich product serves which poor one; a rich one that was drained turns poor.
        lacking, spare = np.cumsum(1 - chances[poor]), np.cumsum(chances[rich] - 1)
        giver = np.searchsorted(spare, lacking - (1 - chances[poor]), side="right")
        served = giver < len(rich)
        poor_now, giver = poor[served], giver[served]
        aliases[poor_now] = rich[giver]
        taken = np.bincount(giver, weights=1 - chances[poor_now], minlength=len(rich))
        left = chances[rich] - taken
        chances[rich] = left
        poor = np.concatenate((poor[~served], rich[left < 1 - 1e-12]))
        rich = rich[left >= 1]
    return np.minimum(chances, 1).astype(np.float32), aliases.astype(np.int32)
