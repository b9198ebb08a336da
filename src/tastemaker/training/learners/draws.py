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
    """Fill each product's share up to 1 with a part of another product's share, its alias; ``shares[P]`` have the mean 1.

    Products below 1 (small) are filled in order from products above 1 (large), also in order. A large product gives until it is
    itself below 1, and what it lacks then comes from the next large one. Which product fills which follows from running sums alone
    (L. HÜBSCHLE-SCHNEIDER, P. SANDERS 2022): the time is that of a sort, whatever the shares.
    """
    chances, aliases = shares.copy(), np.arange(len(shares))
    small, large = np.flatnonzero(shares < 1), np.flatnonzero(shares >= 1)
    if len(small) and len(large):
        lacks, spares = np.cumsum(1 - shares[small]), np.cumsum(shares[large] - 1)
        before = np.concatenate(([0.0], lacks[:-1]))
        giver = np.searchsorted(spares, before, side="left")
        aliases[small] = large[np.minimum(giver, len(large) - 1)]
        emptied_by = np.searchsorted(lacks, spares[:-1], side="right")
        emptied = np.flatnonzero(emptied_by < len(small))  # the last large one keeps what rounding leaves
        chances[large[emptied]] = 1 + spares[emptied] - lacks[emptied_by[emptied]]
        aliases[large[emptied]] = large[emptied + 1]
    return np.clip(chances, 0, 1).astype(np.float32), aliases.astype(np.int32)
