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

    Source: A. J. WALKER 1977 and M. D. VOSE 1991 (the alias method).

    >>> draws_by_popularity(np.array([1.0, 3.0]), 1.0).probabilities.tolist()
    [0.25, 0.75]
    """
    weights = np.maximum(buyers, 0.5) ** power
    probabilities = weights / weights.sum()
    chances, aliases = _alias_table(probabilities * len(probabilities))
    return Draws(chances, aliases, probabilities)


def _alias_table(shares: Doubles) -> tuple[Floats, Rows]:
    """Give each product with a share below 1 a partner above 1, from which it takes what it lacks.

    The poor are served in turn by the rich in turn, each rich one until it falls below 1; what it then lacks itself it takes from
    the next. Who serves whom follows from the running sums alone (L. HÜBSCHLE-SCHNEIDER, P. SANDERS 2022), so that a million
    products cost a sort's time whatever their shares.
    """
    chances, aliases = shares.copy(), np.arange(len(shares))
    poor, rich = np.flatnonzero(shares < 1), np.flatnonzero(shares >= 1)
    if len(poor) and len(rich):
        lacked, spare = np.cumsum(1 - shares[poor]), np.cumsum(shares[rich] - 1)
        before = np.concatenate(([0.0], lacked[:-1]))
        giver = np.searchsorted(spare, before, side="left")
        aliases[poor] = rich[np.minimum(giver, len(rich) - 1)]
        drained_by = np.searchsorted(lacked, spare[:-1], side="right")
        drained = np.flatnonzero(drained_by < len(poor))  # the last of the rich keeps what roundings leave
        chances[rich[drained]] = 1 + spare[drained] - lacked[drained_by[drained]]
        aliases[rich[drained]] = rich[drained + 1]
    return np.clip(chances, 0, 1).astype(np.float32), aliases.astype(np.int32)
