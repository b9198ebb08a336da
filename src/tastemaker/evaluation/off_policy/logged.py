"""`LoggedLists` and `AskedLists`: what was shown with which chance, and what a candidate shows the same visitors instead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.errors import DataError
from tastemaker.types import Doubles, Rows

__all__ = ["AskedLists", "LoggedLists"]


@dataclass(frozen=True, slots=True, eq=False)
class LoggedLists:
    """L lists that were shown, as S places one list after another."""

    visitors: Rows
    """``int32[L]``, whose list each is, numbered from 0"""
    lists: Rows
    """``int32[S]``, the list of each place, ascending"""
    ranks: Rows
    """``int32[S]``, which place of its list it is, from 0"""
    products: Rows
    """``int32[S]``, what was shown there, numbered from 0"""
    chances: Doubles
    """``float64[S]``, the chance with which that product was shown there, over all that exploring could have drawn"""

    def __post_init__(self) -> None:
        """Refuse what no server can have logged."""
        places = len(self.lists)
        if not (places == len(self.ranks) == len(self.products) == len(self.chances)):
            raise DataError(
                "the places of logged lists need one list, rank, product and chance each; pass arrays of one length."
            )
        good = (self.chances > 0) & (self.chances <= 1)
        if not good.all():
            place = int(np.flatnonzero(~good)[0])
            raise DataError(
                f"the list {self.lists[place]} shows a product with the chance {self.chances[place]}; what was shown has a chance "
                "above 0, and at most 1. Pass the chances that were logged."
            )

    @property
    def count(self) -> int:
        """Return how many visitors there are."""
        return int(self.visitors.max(initial=-1)) + 1

    @property
    def owners(self) -> Rows:
        """Return the visitor of each place, ``int32[S]``."""
        return self.visitors[self.lists]

    def by_visitor(self, values: Doubles) -> Doubles:
        """Return the sums of a value of each place, ``float64[S]``, over the lists of each visitor, ``float64[V]``."""
        sums: Doubles = np.bincount(self.owners, values, self.count).astype(np.float64)
        return sums


@dataclass(frozen=True, slots=True, eq=False)
class AskedLists:
    """What a candidate shows at the same S places."""

    products: Rows
    """``int32[S]``, numbered as those logged; -1 where its list is shorter"""
    chances: Doubles
    """``float64[S]``, the chance with which the log shows that product there; 0 where it never does"""
