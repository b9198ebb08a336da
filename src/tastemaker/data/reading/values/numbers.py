"""Times that are numbers: since 1970, digits of a date, Excel's day numbers, days, or steps without a calendar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from tastemaker.data.reading.options import TimeUnit as NumberedUnit
from tastemaker.data.summary import PER_STEP, TimeUnit
from tastemaker.display import counted
from tastemaker.errors import ColumnProblem, TimesUndecided
from tastemaker.types import AnyArray, Booleans

__all__ = ["Numbers", "times_of_numbers"]

MICROSECONDS: dict[str, float] = {
    "seconds": 1e6,
    "milliseconds": 1e3,
    "microseconds": 1.0,
    "nanoseconds": 1e-3,
}

WINDOWS: dict[str, tuple[float, float]] = {
    "seconds": (3.15e7, 4.2e9),
    "milliseconds": (3.15e10, 4.2e12),
    "microseconds": (3.15e13, 4.2e15),
    "nanoseconds": (3.15e16, 4.2e18),
}
"""Where the numbers of 1971 to 2103 lie in each unit; no two windows meet."""

EXCEL_ZERO = -25_569
"""Excel's day 0, 1899-12-30, in days since 1970."""

STAMPS: dict[int, tuple[str, str]] = {
    6: ("%Y%m", "yyyymm"),
    8: ("%Y%m%d", "yyyymmdd"),
    10: ("%Y%m%d%H", "yyyymmddHH"),
    12: ("%Y%m%d%H%M", "yyyymmddHHMM"),
    14: ("%Y%m%d%H%M%S", "yyyymmddHHMMSS"),
}
"""Dates written in digits alone, by how many digits they have."""

SHUFFLED: dict[str, tuple[str, str, str, int]] = {
    "yymmdd": ("first", "second", "last", 100),
    "ddmmyy": ("last", "second", "first", 100),
    "mmddyy": ("last", "first", "second", 100),
    "ddmmyyyy": ("last", "second", "first", 10_000),
    "mmddyyyy": ("last", "first", "second", 10_000),
}
"""Dates in digits in other orders: where year, month and day stand, and what parts the last of them off"""

FORMATS = {
    "yymmdd": "%y%m%d",
    "ddmmyy": "%d%m%y",
    "mmddyy": "%m%d%y",
    "ddmmyyyy": "%d%m%Y",
    "mmddyyyy": "%m%d%Y",
}

FILLERS = (0, -1)
"""Numbers that stand for *no time* where times are counted from 1970."""

FAR = (-2_208_988_800, 253_402_214_400, 253_402_300_799)
"""1900-01-01, 9999-12-31 and its last second, in seconds since 1970."""

FEW_ODD = 0.01
"""So small a share of numbers of another size is counted and shown; a greater one is a mixture, and refused."""

MOST = 0.95
"""So great a share must fit digits of a date, or Excel's days, for a column to be that."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The times of a column of numbers, and how it was understood."""

    times: AnyArray
    """``int64[n]``; what stands where ``known`` is false means nothing"""
    known: Booleans
    """``bool[n]``"""
    fillers: int
    """How many stand for *no time*."""
    unit: str
    written_as: str
    counts_from: TimeUnit = "calendar"


def times_of_numbers(
    values: pl.Series, unit: NumberedUnit | None, *, column: str, label: str, remedy: str
) -> Numbers:
    """Return the times of all numbers of a column, ``Int64`` or ``Float64``, null where there is none, by one decision for all.

    Numbers that are dates in digits, or Excel's days, nearly all of them, are that. Numbers in the window of 1971 to 2103 of
    seconds, milliseconds, micro- or nanoseconds are since 1970; where two units stand in one column it is refused. Any others count
    days, where the column's name says so, or steps. ``remedy`` names the way to say the unit. Raises `ColumnProblem`.
    """
    known = values.is_not_null().to_numpy()
    if values.dtype.is_float():
        numbers = values.fill_null(np.nan).to_numpy()
        known &= np.isfinite(numbers)
        numbers = np.where(known, numbers, 0)
        if len(numbers) and bool((numbers == np.floor(numbers)).all()) and np.abs(numbers).max() < 2**62:
            numbers = numbers.astype(np.int64)
    else:
        numbers = values.fill_null(0).to_numpy()
    if not known.any():
        return Numbers(np.zeros(len(numbers), np.int64), known, 0, "calendar", "nothing")
    if unit is not None:
        return _in_unit(numbers, known, unit)
    plain = _at_a_glance(numbers, known)
    if plain is not None:
        return Numbers(_since_1970(numbers, plain), known, 0, plain, f"{plain} since 1970")
    real = known & ~np.isin(numbers, FILLERS)
    if not real.any():
        return _small(numbers, known, column)
    for decide in (_stamps, _excel):
        found = decide(numbers, known, real)
        if found is not None:
            return found
    since = _unit_since_1970(numbers, real, column=column, label=label, remedy=remedy)
    if since is not None:
        return _in_unit(numbers, known, since)
    return _shuffled(numbers, known, real, column=column, label=label) or _small(numbers, known, column)


def _at_a_glance(numbers: AnyArray, known: Booleans) -> NumberedUnit | None:
    """Return the unit since 1970 if all numbers lie in its window and none could be a filler or a date in digits."""
    some = numbers if known.all() else numbers[known]
    low, high = some.min(), some.max()
    fits: list[NumberedUnit] = [unit for unit, (start, end) in WINDOWS.items() if start <= low and high < end]  # type: ignore[misc]
    stamps = [(1900 * 10 ** (digits - 4), 2101 * 10 ** (digits - 4)) for digits in STAMPS]
    far = [(number, number) for sentinel in FAR for number in (sentinel, 1_000 * sentinel)]
    if not fits or any(low <= last and first <= high for first, last in stamps + far):
        return None
    return fits[0]


def _unit_since_1970(
    numbers: AnyArray, real: Booleans, *, column: str, label: str, remedy: str
) -> NumberedUnit | None:
    sizes = np.abs(numbers.astype(np.float64))
    fillers = np.isin(numbers, FAR) | np.isin(numbers, [1_000 * far for far in FAR])
    real = real & ~fillers
    inside = {unit: real & (sizes >= low) & (sizes < high) for unit, (low, high) in WINDOWS.items()}
    counts = {unit: int(mask.sum()) for unit, mask in inside.items() if mask.any()}
    total, all_real = sum(counts.values()), int(real.sum())
    if not counts or 2 * total < all_real:
        return None
    outside = real & ~np.logical_or.reduce(list(inside.values()))
    if len(counts) > 1 or outside.sum() > FEW_ODD * all_real:
        groups = {f"{unit} since 1970": inside[unit] for unit in counts}
        if outside.any():
            groups["neither"] = outside
        examples = "; ".join(
            f"{counted(int(mask.sum()), 'row')} as {numbers[np.flatnonzero(mask)[0]]} ({name})"
            for name, mask in groups.items()
        )
        raise ColumnProblem(
            f"the times in column {column!r} of {label} are in several units: {examples}; "
            f"bring them to one unit, or say it with {remedy}."
        )
    (unit,) = counts
    return unit  # type: ignore[return-value]


def _in_unit(numbers: AnyArray, known: Booleans, unit: NumberedUnit) -> Numbers:
    if unit == "excel":
        return _excel_days(numbers, known)
    if unit in ("days", "steps"):
        return _counted(numbers, known, unit)
    factor = MICROSECONDS[unit]
    filler = known & np.isin(numbers, FILLERS)
    far = np.isin(numbers, [int(sentinel * 1e6 / factor) for sentinel in FAR])
    filler |= known & far
    bound = int(min(9e18, 9e18 / factor))
    times = _since_1970(np.clip(numbers, -bound, bound), unit)
    return Numbers(times, known & ~filler, int(filler.sum()), unit, f"{unit} since 1970")


def _since_1970(numbers: AnyArray, unit: NumberedUnit) -> AnyArray:
    """Return numbers of a unit in microseconds, to the nearest."""
    factor = MICROSECONDS[unit]
    times: AnyArray
    if numbers.dtype.kind == "f":
        times = np.round(numbers * factor).astype(np.int64)
    else:
        times = numbers // 1_000 if unit == "nanoseconds" else numbers * int(factor)
    return times


def _stamps(numbers: AnyArray, known: Booleans, real: Booleans) -> Numbers | None:
    if numbers.dtype.kind == "f":
        return None
    digits = len(str(abs(int(numbers[np.flatnonzero(real)[0]]))))
    if digits not in STAMPS:
        return None
    low, high = 1900 * 10 ** (digits - 4), 2101 * 10 ** (digits - 4)
    filler = known & (
        np.isin(numbers, FILLERS)
        | (numbers // 10 ** (digits - 4) == 9999)
        | (numbers // 10 ** max(digits - 8, 0) == (19000101 if digits >= 8 else 190001))
    )
    likely = known & ~filler & (numbers >= low) & (numbers < high)
    rest = known & ~filler
    if not likely.any() or likely.sum() < MOST * rest.sum():
        return None
    times, fits = _of_digits(numbers, digits)
    fits &= likely
    years = numbers // 10 ** (digits - 4)
    recent = fits & (years >= 1980) & (years <= _this_year() + 1)
    if fits.sum() < MOST * rest.sum() or (digits != 8 and recent.sum() < MOST * rest.sum()):
        return None
    return Numbers(times, fits, int(filler.sum()), "calendar", STAMPS[digits][1])


def _of_digits(numbers: AnyArray, digits: int) -> tuple[AnyArray, Booleans]:
    """Return the times that dates in digits mean, and which of them are dates."""
    parts: list[AnyArray] = []
    rest: AnyArray = np.maximum(numbers, 0)
    for _ in range((digits - 4) // 2):
        rest, part = np.divmod(rest, 100)
        parts.insert(0, part)
    zero = np.zeros_like(rest)
    parts += [zero + 1, zero, zero, zero][len(parts) - 1 :]
    month, day, clock = parts[0], parts[1], parts[2:]
    fits = (rest >= 1) & (rest <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    fits &= (clock[0] < 24) & (clock[1] < 60) & (clock[2] < 60)
    months = (np.clip(rest, 1, 9999) - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    following = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    fits &= day <= following - first
    seconds = ((first + day - 1) * 24 + clock[0]) * 3600 + clock[1] * 60 + clock[2]
    return seconds * 1_000_000, fits


def _shuffled(
    numbers: AnyArray, known: Booleans, real: Booleans, *, column: str, label: str
) -> Numbers | None:
    """Read dates in digits that do not begin with a year of four (``230131``, ``31012023``), in the order that the rows bear out.

    Taken for steps they would be in a wrong order. Raises `TimesUndecided` where two orders fit the same rows.
    """
    if numbers.dtype.kind == "f" or numbers[real].min() < 10_100 or numbers[real].max() >= 10**8:
        return None
    found = {}
    for name, (*power, divisor) in SHUFFLED.items():
        if (numbers[real] >= 100**3).all() != (divisor == 10_000):
            continue
        rest, last = np.divmod(np.maximum(numbers, 0), divisor)
        first, second = np.divmod(rest, 100)
        parts = {"first": first, "second": second, "last": last}
        year, month, day = (parts[part] for part in power)
        year = np.where(year < 100, year + np.where(year < 69, 2000, 1900), year)
        times, fits = _of_digits(year * 10_000 + month * 100 + day, 8)
        fits &= real & (year >= 1990) & (year <= _this_year() + 1) & (month < 100) & (day < 100)
        if fits.sum() >= MOST * real.sum():
            found[name] = (int(fits.sum()), times, fits)
    if not found:
        return None
    (name, (most, times, fits)), *others = sorted(found.items(), key=lambda one: -one[1][0])
    total = int(real.sum())
    if others and others[0][1][0] == most:
        other, (_, times_too, _) = others[0]
        place = np.flatnonzero(fits & (times != times_too))
        if len(place):
            one, two = (str(np.datetime64(int(each[place[0]]), "us"))[:10] for each in (times, times_too))
            raise TimesUndecided(
                f"nothing tells whether the times in column {column!r} of {label} are {name} or {other}: {most:,} of {total:,} "
                f"rows fit both ({numbers[place[0]]} may be {one} or {two}). Say it with --time-format '{FORMATS[name]}' or "
                f"'{FORMATS[other]}', or that they are plain numbers with --time-unit 'steps'."
            )
    only = most - max((count for _, (count, _, _) in others), default=0)
    told = f"{name}, as {only:,} of {total:,} rows bear out"
    return Numbers(times, fits, int((known & ~real).sum()), "calendar", told)


def _excel(numbers: AnyArray, known: Booleans, real: Booleans) -> Numbers | None:
    last = (datetime(_this_year() + 2, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days - EXCEL_ZERO
    far = np.isin(np.floor(numbers), (1, 2, 2_958_465))
    inside = real & (numbers >= 32_874) & (numbers < last)  # from 1990-01-01
    if not inside.any() or inside.sum() < MOST * (real & ~far).sum():
        return None
    return _excel_days(numbers, known)


def _excel_days(numbers: AnyArray, known: Booleans) -> Numbers:
    filler = known & np.isin(np.floor(numbers), (0, -1, 1, 2, 2_958_465))
    days = np.clip(numbers, -1e8, 1e8) + EXCEL_ZERO
    times = (
        np.round(days * 86_400).astype(np.int64) * 1_000_000
    )  # to the second: more is the rounding of Excel
    return Numbers(times, known & ~filler, int(filler.sum()), "days", "Excel's day numbers (from 1899-12-30)")


def _small(numbers: AnyArray, known: Booleans, column: str) -> Numbers:
    return _counted(numbers, known, "days" if re.search(r"da(y|te)|tag", column.lower()) else "steps")


def _counted(numbers: AnyArray, known: Booleans, unit: TimeUnit) -> Numbers:
    filler = (
        known & (numbers == -1) if known.any() and (numbers[known & (numbers != -1)] >= 0).all() else None
    )
    if filler is None or filler.sum() == known.sum():
        filler = np.zeros(len(numbers), np.bool_)
    per = PER_STEP[unit]
    bound = 9 * 10**18 // per
    known = known & ~filler & (np.abs(numbers) <= bound)
    if numbers.dtype.kind == "f":
        times = np.round(np.where(known, numbers, 0) * per).astype(np.int64)
    else:
        times = np.where(known, numbers, 0).astype(np.int64) * per
    low = numbers[known].min() if known.any() else 0
    return Numbers(
        times, known, int(filler.sum()), unit, f"{unit}, counted from {low:g}, without a calendar", unit
    )


def _this_year() -> int:
    return datetime.now(UTC).year
