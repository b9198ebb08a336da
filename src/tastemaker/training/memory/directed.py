"""Steps: how often a product was bought after another, in the order of time."""

from __future__ import annotations

import numpy as np

from tastemaker.data.past import Past
from tastemaker.data.ragged import offsets_of
from tastemaker.model.taste_model import Memory
from tastemaker.types import AnyArray, Doubles

__all__ = ["followers", "step_memory", "strongest"]

WINDOW = 10
"""At most this many of the events that follow are looked at."""
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
    users, rows = past.users[kept], past.products[kept].astype(np.int64)
    times, bought = past.times[kept], kinds[kept] == 0
    starts = kinds[kept] == kind
    keys: list[AnyArray] = [np.zeros(0, np.int64)]
    weights: list[AnyArray] = [np.zeros(0)]
    for gap in range(1, min(WINDOW, max(len(kept) - 1, 0)) + 1):
        step = (users[gap:] == users[:-gap]) & (times[gap:] > times[:-gap])
        step &= starts[:-gap] & bought[gap:] & (rows[gap:] != rows[:-gap])
        pairs, counts = np.unique(rows[:-gap][step] * products + rows[gap:][step], return_counts=True)
        keys.append(pairs)
        weights.append(counts * fade ** (gap - 1))
    source = np.maximum(np.bincount(rows[starts], minlength=products), 1) ** -FROM_POWER
    target = np.maximum(np.bincount(rows[bought], minlength=products), 1) ** -TO_POWER
    return _table(np.concatenate(keys), np.concatenate(weights), source, target, partners)


def _table(keys: AnyArray, weights: Doubles, source: Doubles, target: Doubles, partners: int) -> Memory:
    products = len(source)
    keys, inverse = np.unique(keys, return_inverse=True)
    total = np.bincount(inverse, weights, minlength=len(keys))
    sources, rows = np.divmod(keys, max(products, 1))
    return strongest(sources, rows, total * source[sources] * target[rows], products, partners)


def strongest(sources: AnyArray, rows: AnyArray, weights: Doubles, products: int, partners: int) -> Memory:
    """Return the ``partners`` entries of the greatest weight of each source, of equals those of the lower row; rows ascend."""
    order = np.lexsort((rows, -weights, sources))
    place = np.arange(len(order)) - np.searchsorted(sources[order], sources[order])
    kept = np.sort(order[place < partners])  # keys ascend, and so do the rows of a source
    offsets = offsets_of(np.bincount(sources[kept], minlength=products))
    return Memory(offsets, rows[kept].astype(np.int32), weights[kept].astype(np.float32))
