"""What was known of users at some moments: the events before, and the products bought by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tastemaker.data.past import Past
from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import find_sorted, offsets_of, owners_of, pair_keys
from tastemaker.kernels.counting.known import last_of_each, spans_before
from tastemaker.types import AnyArray, Booleans, Floats, Offsets, Rows, Times

__all__ = ["Seen", "bought_by", "seen_by"]


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


def bought_by(past: Past, users: Rows, times: Times) -> tuple[Histories, Times, Floats | None]:
    """Return the distinct products that each user had bought before a time, ascending, when each was bought last, and its strength.

    >>> past = Past(np.array([0, 3]), np.array([4, 2, 4], np.int32), np.array([10, 20, 30]))
    >>> histories, moments, _ = bought_by(past, np.array([0]), np.array([31]))
    >>> histories.products.tolist(), moments.tolist()
    ([2, 4], [20, 30])
    """
    last = _last_of_each(past, _spans_before(past, users, times), purchases=True)
    held = Histories(last.offsets, np.asarray(past.products)[last.places])
    strengths = None if past.strengths is None else np.asarray(past.strengths)[last.places]
    return held, np.asarray(past.times)[last.places], strengths


def seen_by(past: Past, users: Rows, times: Times) -> Seen:
    """Return the events of other kinds of each user before a time, without those whose product was bought at or after them."""
    if past.kinds is None:
        return Seen.nothing(len(users))
    spans = _spans_before(past, users, times)
    events = _last_of_each(past, spans, purchases=False)
    kept = ~_bought_since(past, events, _last_of_each(past, spans, purchases=True))
    places = events.places[kept]
    return Seen(
        offsets_of(np.bincount(owners_of(events.offsets)[kept], minlength=len(users))),
        np.asarray(past.products)[places],
        (np.asarray(past.kinds)[places] - 1).astype(np.int16),
        np.asarray(past.times)[places],
    )


class _Places(NamedTuple):
    """Events of a past, a list for each of Q queries."""

    offsets: Offsets
    """``int64[Q + 1]``"""
    places: Offsets
    """``int64[total]``"""


def _spans_before(past: Past, users: Rows, times: Times) -> tuple[Offsets, Offsets]:
    """Return where the events of each user, ``int[Q]``, strictly before a time each begin and end in the past, ``int64[Q]``."""
    low, high = np.empty((2, len(users)), np.int64)
    # one signature of the kernel, so that it is compiled when a model is loaded
    who, when = np.asarray(users, np.int64), np.asarray(times, np.int64)
    spans_before(np.asarray(past.offsets), np.asarray(past.times), who, when, low, high)
    return low, high


def _last_of_each(past: Past, spans: tuple[Offsets, Offsets], *, purchases: bool) -> _Places:
    """Return the last purchase of each product within each span, or the last of the other events of each kind and product."""
    low, high = spans
    kinds = np.zeros(0, np.int16) if past.kinds is None else np.asarray(past.kinds)
    counts, places = np.empty(len(low), np.int64), np.empty(int((high - low).sum()), np.int64)
    last_of_each(low, high, np.asarray(past.products), kinds, purchases, counts, places)
    offsets = offsets_of(counts)
    return _Places(offsets, places[: offsets[-1]])


def _bought_since(past: Past, events: _Places, bought: _Places) -> Booleans:
    """Return whether the product of each event was bought at its moment or later."""
    products, times = np.asarray(past.products), np.asarray(past.times)
    width = 1 + int(max(products[part.places].max(initial=0) for part in (events, bought)))
    own, pairs = (
        pair_keys(owners_of(part.offsets), products[part.places], width) for part in (events, bought)
    )
    place, there = find_sorted(pairs, own)
    gone: Booleans = there.copy()
    gone[there] = times[bought.places[place[there]]] >= times[events.places[there]]
    return gone
