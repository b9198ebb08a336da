"""Pictures of a log that was read: its first rows, purchases in time, users by purchases."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.rows import Rows
from tastemaker.data.summary import PER_STEP, REASONS, FirstRow, TimeSummary
from tastemaker.types import AnyArray, Times

__all__ = ["buyers", "first_rows", "over_time"]

SHOWN: Final = 5
"""How many of the first rows are shown,"""

MOST_COLUMNS: Final = 8
"""and how many columns at most."""

MOST_BARS: Final = 24

MOST_DAYS: Final = 1_000_000
"""Days are counted in a table where they span no more."""

STEPS: Final = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, 1000))


def first_rows(rows: Rows) -> tuple[FirstRow, ...]:
    """Return the first rows of a log, as they stand there beside what was understood of them."""
    roles = rows.chosen.present()
    names = list(dict.fromkeys([*roles.values(), *rows.source.names]))[:MOST_COLUMNS]
    try:
        raw = rows.source.select(names).head(SHOWN).collect()
    except (pl.exceptions.PolarsError, TypeError, ValueError):  # columns beside that no frame can hold
        names = list(roles.values())
        raw = rows.source.select(names).head(SHOWN).collect()
    return tuple(
        FirstRow(
            {name: "" if raw[name][place] is None else str(raw[name][place]) for name in names},
            _understood(rows, place),
        )
        for place in range(min(len(raw), len(rows)))
    )


def over_time(log: Purchases) -> tuple[tuple[str, int], ...]:
    """Return how many purchases fell in each month, or year where there are many; of times without a calendar, in each tenth."""
    if log.times is None or not len(log):
        return ()
    if log.time_unit != "calendar":
        counts, edges = np.histogram(log.times, bins=10)
        per = PER_STEP[log.time_unit]
        return tuple(
            (f"{low / per:.4g}–{high / per:.4g}", int(many))
            for low, high, many in zip(edges, edges[1:], counts, strict=False)
        )
    days, bought = _by_day(log.times)
    for unit in ("M", "Y"):
        parts = days.astype("datetime64[D]").astype(f"datetime64[{unit}]")
        found, places = np.unique(parts, return_inverse=True)
        if len(found) <= MOST_BARS:
            break
    counts = np.bincount(places, weights=bought)
    return tuple((str(part), int(many)) for part, many in zip(found, counts, strict=True))[-4 * MOST_BARS :]


def _by_day(times: Times) -> tuple[AnyArray, AnyArray]:
    """Return the days on which something was bought, since 1970, and how many times."""
    day = PER_STEP["days"]
    low, high = int(times.min()) // day, int(times.max()) // day
    if high - low > MOST_DAYS:
        return np.unique(times // day, return_counts=True)
    since = times - low * day
    since //= day
    counts = np.bincount(since)
    found = np.flatnonzero(counts)
    return found + low, counts[found]


def buyers(log: Purchases) -> tuple[tuple[str, int], ...]:
    """Return how many users made one purchase, two, three to five, and so on."""
    bought = np.bincount(log.user_rows, minlength=1)
    bars = []
    for low, high in STEPS:
        many = int(((bought >= low) & (bought <= high)).sum())
        bars.append((f"{low}" if low == high else f"{low}–{high:,}", many))
    bars.append(("more", int((bought > STEPS[-1][1]).sum())))
    while bars and not bars[-1][1]:
        bars.pop()
    return tuple(bars)


def _understood(rows: Rows, place: int) -> dict[str, str]:
    if not rows.bought[place] and not rows.other[place]:
        return {"dropped": _reason(rows, place)}
    found: dict[str, str] = {}
    for noun, ids in rows.ids.items():
        found[noun] = str(ids.ids[int(ids.codes[place])])
    if rows.times is not None:
        told = TimeSummary(0, 0, "", "", rows.times.counts_from)
        found["time"] = told.spell(int(rows.times.times[place]))
    if rows.quantities is not None:
        found["quantity"] = f"{rows.quantities.values[place]:g}"
    if rows.kinds is not None:
        found["event"] = rows.kinds.names[int(rows.kinds.places[place])]
    return found


def _reason(rows: Rows, place: int) -> str:
    if rows.kinds is not None and rows.kinds.places[place] < 0:
        return "an event of another kind"
    for noun, ids in rows.ids.items():
        if ids.codes[place] < 0:
            return REASONS[f"without_{noun}"]
    if rows.times is not None and not rows.times.known[place]:
        return REASONS["without_time"]
    if rows.quantities is not None and not rows.quantities.known[place]:
        return REASONS["unreadable_quantity"]
    strange = rows.quantities is not None and rows.quantities.out_of_range[place]
    return REASONS["quantity_out_of_range" if strange else "non_positive_quantity"]
