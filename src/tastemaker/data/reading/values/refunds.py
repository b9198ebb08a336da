"""Refunds and cancellations: rows that take an earlier purchase back, as if it had never been made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tastemaker.data.reading.values.kinds import KindColumn
from tastemaker.types import AnyArray, Booleans, Times

__all__ = ["REFUND", "taken_back", "without_refunds"]

REFUND = "refund"
"""The kind of event that takes a purchase back."""


def taken_back(
    users: AnyArray, products: AnyArray, times: Times | None, purchases: Booleans, refunds: Booleans
) -> tuple[Booleans, int]:
    """Return which purchases are taken back, ``bool[rows]``, and how many refunds found none.

    A refund takes back the latest purchase of its user and product that was made before it or at its time, and that no other
    refund has taken. Without times the order of the rows is the order of time. ``users`` and ``products`` are codes of the rows.

    >>> bought = np.array([True, True, False, True, False])
    >>> taken_back(np.zeros(5, int), np.array([7, 7, 7, 9, 8]), None, bought, ~bought)
    (array([False,  True, False, False, False]), 1)
    """
    gone = np.zeros(len(users), np.bool_)
    concerned = np.flatnonzero(purchases | refunds)
    keys = users[concerned].astype(np.int64) * (int(products.max(initial=0)) + 2) + products[concerned]
    asked = np.isin(keys, keys[refunds[concerned]])
    concerned, keys = concerned[asked], keys[asked]
    moments = concerned if times is None else times[concerned]
    order = np.lexsort((concerned, refunds[concerned], moments, keys))  # of one time purchases come first
    lost, key = 0, None
    standing: list[int] = []
    for row, own in zip(concerned[order].tolist(), keys[order].tolist(), strict=True):
        if own != key:
            key, standing = own, []
        if purchases[row]:
            standing.append(row)
        elif standing:
            gone[standing.pop()] = True
        else:
            lost += 1
    return gone, lost


def without_refunds(kinds: KindColumn, refunds: Booleans) -> KindColumn:
    """Return the kinds without that of refunds, whose rows are of no kind."""
    place = kinds.names.index(REFUND)
    places = np.where(refunds, -1, kinds.places - (kinds.places > place)).astype(np.int16)
    return replace(kinds, names=tuple(name for name in kinds.names if name != REFUND), places=places)
