"""Steps: how often a product was bought after another, in the order of time."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tastemaker.data.past import Past
from tastemaker.data.ragged import offsets_of
from tastemaker.model.taste_model import Memory
from tastemaker.types import AnyArray, Booleans, Doubles, Rows

__all__ = ["followers", "step_memory", "strongest"]

WINDOW = 10
"""At most this many of the events that follow are looked at."""
STARTS_AT_ONCE = 1 << 17
"""About how many events' steps are counted together: those from a range of products, so that all their pairs are never held."""
FROM_POWER, TO_POWER = 0.5, 0.25
"""Steps from p to r are divided by buyers_p^FROM_POWER · buyers_r^TO_POWER."""


def step_memory(past: Past, products: int, *, fade: float, partners: int) -> Memory:
    """Return the steps from each product bought to those bought after it.

    weight(p, r) = Σ over steps from p to r of fade^(events between) / (buyers_p^½ · buyers_r^¼)

    A step leads to one of the next ten purchases of the same user, if it was made later: what is bought at one time has no order.
    The ``partners`` strongest of each product are kept.
    """
    return followers(past, products, kind=0, fade=fade, partners=partners)


def followers(past: Past, products: int, *, kind: int, fade: float, partners: int) -> Memory:
    """Return what was bought after an event of a kind with each product, as `step_memory` does for purchases.

    Steps are counted among the events of this kind and the purchases of a user.
    """
    kinds = past.kinds_of()
    kept = np.flatnonzero((kinds == kind) | (kinds == 0))
    events = _Events(past.users[kept], past.products[kept], past.times[kept], kinds[kept] == 0)
    starts = np.flatnonzero(kinds[kept] == kind)
    starts = starts[np.argsort(events.rows[starts], kind="stable")]
    sold = np.bincount(events.rows[starts], minlength=products)
    source = np.maximum(sold, 1) ** -FROM_POWER
    target = np.maximum(np.bincount(events.rows[events.bought], minlength=products), 1) ** -TO_POWER
    ends = offsets_of(sold)
    cuts = np.searchsorted(ends, np.arange(STARTS_AT_ONCE, len(starts), STARTS_AT_ONCE))
    borders = np.unique(np.concatenate(([0], cuts, [products])))
    tables = [Memory.empty(0)]
    for low, high in pairwise(borders.tolist()):
        keys, weights = _steps(events, starts[ends[low] : ends[high]], products, fade)
        sources, rows = np.divmod(keys, max(products, 1))
        values = weights * source[sources] * target[rows]
        tables.append(strongest(sources - low, rows, values, high - low, partners))
    return Memory.stacked(tables)


class _Events(NamedTuple):
    """Events in the order of users and of time."""

    users: Rows
    rows: Rows
    """Of products"""
    times: AnyArray
    bought: Booleans


def _steps(events: _Events, starts: AnyArray, products: int, fade: float) -> tuple[AnyArray, Doubles]:
    """Return the pairs that steps from some events lead to, as ascending keys p · P + r, and what the steps of each come to."""
    keys: list[AnyArray] = [np.zeros(0, np.int64)]
    weights: list[AnyArray] = [np.zeros(0)]
    count = len(events.users)
    for gap in range(1, min(WINDOW, max(count - 1, 0)) + 1):
        before = starts[starts < count - gap]
        after = before + gap
        step = (events.users[after] == events.users[before]) & (events.times[after] > events.times[before])
        step &= events.bought[after] & (events.rows[after] != events.rows[before])
        before, after = before[step], after[step]
        found = events.rows[before].astype(np.int64) * products + events.rows[after]
        pairs, counts = np.unique(found, return_counts=True)
        keys.append(pairs)
        weights.append(counts * fade ** (gap - 1))
    found, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    total: Doubles = np.bincount(inverse, np.concatenate(weights), minlength=len(found)).astype(np.float64)
    return found, total


def strongest(sources: AnyArray, rows: AnyArray, weights: Doubles, products: int, partners: int) -> Memory:
    """Return the ``partners`` entries of the greatest weight of each source, of equals those of the lower row; rows ascend."""
    order = np.lexsort((rows, -weights, sources))
    place = np.arange(len(order)) - np.searchsorted(sources[order], sources[order])
    kept = np.sort(order[place < partners])  # keys ascend, and so do the rows of a source
    offsets = offsets_of(np.bincount(sources[kept], minlength=products))
    return Memory(offsets, rows[kept].astype(np.int32), weights[kept].astype(np.float32))
