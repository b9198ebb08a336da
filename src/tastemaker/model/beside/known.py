"""What was known of users at some moments: the events before, and the products bought by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tastemaker.data.past import Past
from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import offsets_of, owners_of, pair_keys
from tastemaker.types import AnyArray, Floats, Offsets, Rows, Times

__all__ = ["Seen", "bought_by", "events_before", "seen_by"]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Events of other kinds than purchases, a list for each of Q queries: the last of each kind and product."""

    offsets: Offsets
    """``int64[Q + 1]``"""
    products: Rows
    """``int32[total]``"""
    kinds: AnyArray
    """``int16[total]``, from 0: purchases are not among them"""
    moments: Times
    """``int64[total]``"""

    @staticmethod
    def nothing(count: int) -> Seen:
        """Return empty lists for this many queries."""
        rows = np.zeros(0, np.int32)
        return Seen(np.zeros(count + 1, np.int64), rows, rows.astype(np.int16), rows.astype(np.int64))

    @staticmethod
    def joined(parts: Sequence[Seen]) -> Seen:
        """Return the lists of several, one after another."""
        return Seen(
            offsets_of(np.concatenate([np.diff(part.offsets) for part in parts])),
            np.concatenate([part.products for part in parts]),
            np.concatenate([part.kinds for part in parts]),
            np.concatenate([part.moments for part in parts]),
        )

    def take(self, offsets: Offsets, places: AnyArray) -> Seen:
        """Return the events at these places, under new offsets."""
        return Seen(offsets, self.products[places], self.kinds[places], self.moments[places])


def events_before(past: Past, users: Rows, times: Times) -> tuple[Offsets, Offsets]:
    """Return the events of each user, ``int[Q]``, strictly before a time each: offsets ``int64[Q + 1]`` and places in the past."""
    known = users < len(past.offsets) - 1
    rows = np.where(known, users, 0)
    low, high = past.offsets[rows].copy(), past.offsets[rows + 1].copy()
    high = np.where(known, high, low)
    starts = low.copy()
    while (low < high).any():  # bisection, for all at once
        middle = (low + high) // 2
        open_ = low < high
        earlier = open_ & (past.times[np.minimum(middle, max(len(past) - 1, 0))] < times)
        low = np.where(earlier, middle + 1, low)
        high = np.where(open_ & ~earlier, middle, high)
    offsets = offsets_of(low - starts)
    return offsets, np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], np.diff(offsets))


def bought_by(past: Past, users: Rows, times: Times) -> tuple[Histories, Times, Floats | None]:
    """Return the distinct products that each user had bought before a time, ascending, when each was bought last, and its strength.

    >>> past = Past(np.array([0, 3]), np.array([4, 2, 4], np.int32), np.array([10, 20, 30]))
    >>> histories, moments, _ = bought_by(past, np.array([0]), np.array([31]))
    >>> histories.products.tolist(), moments.tolist()
    ([2, 4], [20, 30])
    """
    offsets, places = events_before(past, users, times)
    owners = owners_of(offsets)
    if past.kinds is not None:
        kept = np.asarray(past.kinds)[places] == 0
        owners, places = owners[kept], places[kept]
    products, moments = np.asarray(past.products)[places], np.asarray(past.times)[places]
    last = _last_places(owners, products)
    held = Histories(
        offsets_of(np.bincount(owners[last], minlength=len(users))), products[last].astype(np.int32)
    )
    strengths = None if past.strengths is None else np.asarray(past.strengths)[places[last]]
    return held, moments[last], strengths


def seen_by(past: Past, users: Rows, times: Times) -> Seen:
    """Return the events of other kinds of each user before a time, without those whose product was bought at or after them."""
    width = int(np.asarray(past.products).max(initial=0)) + 1
    if past.kinds is None:
        return Seen.nothing(len(users))
    offsets, places = events_before(past, users, times)
    owners, kinds = owners_of(offsets), np.asarray(past.kinds)[places]
    products, moments = np.asarray(past.products)[places].astype(np.int64), np.asarray(past.times)[places]
    other = kinds > 0
    keys = (kinds[other].astype(np.int64) - 1) * width + products[other]
    events = _last(owners[other], keys, moments[other])
    bought = _last(owners[~other], products[~other], moments[~other])
    return _not_bought_since(events, bought, width, len(users))


def _not_bought_since(
    events: tuple[AnyArray, AnyArray, AnyArray],
    bought: tuple[AnyArray, AnyArray, AnyArray],
    width: int,
    count: int,
) -> Seen:
    """Drop events (owner, kind · width + product, moment) whose owner bought the product at that moment or later."""
    owners, keys, moments = events
    kinds, products = np.divmod(keys, width)
    pairs, own = bought[0].astype(np.int64) * width + bought[1], owners.astype(np.int64) * width + products
    place = np.minimum(np.searchsorted(pairs, own), max(len(pairs) - 1, 0))
    gone = np.zeros(len(own), bool)
    if len(pairs):
        gone = (pairs[place] == own) & (bought[2][place] >= moments)
    kept = ~gone
    offsets = offsets_of(np.bincount(owners[kept], minlength=count))
    return Seen(offsets, products[kept].astype(np.int32), kinds[kept].astype(np.int16), moments[kept])


def _last(owners: AnyArray, keys: AnyArray, moments: Times) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Return the last event of each owner and key, in that order, of events in the order of `events_before`."""
    last = _last_places(owners, keys)
    return owners[last], keys[last], moments[last]


def _last_places(owners: AnyArray, keys: AnyArray) -> Offsets:
    """Return the place of the last event of each owner and key, ordered by both; each owner's events stand in order of time."""
    pairs = pair_keys(owners, keys, int(keys.max(initial=0)) + 1)
    order = np.argsort(pairs, kind="stable")
    ascending = pairs[order]
    last = np.ones(len(order), bool)
    last[:-1] = ascending[1:] != ascending[:-1]
    places: Offsets = order[last]
    return places
