"""Buying again: how many times a user bought a product, and which products are bought again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import distinct, pair_keys
from tastemaker.types import AnyArray, Booleans, Counts, Offsets

__all__ = ["bought_again", "times_bought"]

DAY = 86_400_000_000
"""Microseconds"""
RECENT = 0.1
"""The last tenth of the time that the log spans is recent."""
LINES_AT_ONCE = 1 << 24
"""About how many lines are sorted together where no times are"""


def times_bought(log: Purchases) -> Counts | None:
    """Return on how many days each user bought each of their products, ``int32[pairs]``, in the order of `Purchases.histories`.

    Two lines of one day are one time. Where the log has no times, each line is one. ``None`` when nothing was bought twice.

    >>> import polars as pl
    >>> from tastemaker.data.reading.readers import read_purchases
    >>> days = ["2024-01-01", "2024-01-01", "2024-01-02"]
    >>> frame = pl.DataFrame({"user": list("aaa"), "product": list("xyx"), "date": days})
    >>> times_bought(read_purchases(frame)).tolist()
    [2, 1]
    """
    if log.times is None:
        return _lines_of_pairs(log)
    pairs = _pairs(log)
    if len(distinct(pairs)) == len(pairs):
        return None
    pairs = pairs[_visits(log)[0]]
    starts = np.flatnonzero(~_as_before(pairs))
    times: Counts = np.diff(np.append(starts, len(pairs))).astype(np.int32)
    return None if (times == 1).all() else times


def bought_again(log: Purchases) -> Counts:
    """Return how many purchases of each product were not the user's first of it, ``int32[P]``; of late only, where there are times.

    Of late is the last tenth of the time that the log spans. Two lines of one day are one purchase.
    """
    if log.times is None and (log.product_rows.max(initial=-1) < len(log.products)):
        lines, pairs = (
            np.bincount(rows, minlength=len(log.products))
            for rows in (log.product_rows, log.histories().products)
        )
        return (lines - pairs).astype(np.int32)
    visits, again = _visits(log)
    chosen = visits[again]
    if log.times is not None and len(log):
        start, end = int(log.times.min()), int(log.times.max())
        chosen = chosen[log.times[chosen] >= end - RECENT * (end - start)]
    return np.bincount(log.product_rows[chosen], minlength=len(log.products)).astype(np.int32)


def _lines_of_pairs(log: Purchases) -> Counts | None:
    """Return how many lines each pair has, a range of users after another; ``None`` where all have one."""
    histories = log.histories()
    if len(histories.products) == len(log):
        return None
    wanted = np.arange(LINES_AT_ONCE, len(histories.products), LINES_AT_ONCE)
    borders = distinct(np.concatenate(([0], np.searchsorted(histories.offsets, wanted), [len(histories)])))
    width, counts = _width(log), list[Counts]()
    for low, high in pairwise(borders.tolist()):
        mine = (log.user_rows >= low) & (log.user_rows < high)
        pairs = pair_keys(log.user_rows[mine], log.product_rows[mine], width)
        pairs.sort()
        starts = np.flatnonzero(~_as_before(pairs))
        counts.append(np.diff(np.append(starts, len(pairs))).astype(np.int32))
    return np.concatenate(counts)


def _visits(log: Purchases) -> tuple[AnyArray, Booleans]:
    """Return the place of one purchase of each user, product and day, in that order, and whether the pair was bought before."""
    pairs = _pairs(log)
    if log.times is None:
        order = np.argsort(pairs, kind="stable")
        pairs = pairs[order]
        return order, _as_before(pairs)
    days = log.times // DAY
    order = np.lexsort((log.times, pairs))
    pairs, days = pairs[order], days[order]
    same = _as_before(pairs)
    kept = ~(same & _as_before(days))
    return order[kept], same[kept]


def _pairs(log: Purchases) -> Offsets:
    return pair_keys(log.user_rows, log.product_rows, _width(log))


def _width(log: Purchases) -> int:
    """Return the number of products; unknown ones are numbered beyond P."""
    return max(len(log.products), int(log.product_rows.max(initial=0)) + 1)


def _as_before(values: Offsets) -> Booleans:
    same = np.zeros(len(values), bool)
    same[1:] = values[1:] == values[:-1]
    return same
