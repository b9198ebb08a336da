"""The times of a column: planned from its beginning, read with the rows, settled by all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import polars as pl

from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.values.numbers import Numbers, times_of_numbers
from tastemaker.data.reading.values.spellings import (
    Order,
    Spelling,
    read_as,
    recognised,
    spelling_of,
    words_of,
)
from tastemaker.data.summary import TimeUnit
from tastemaker.display import counted, quoted
from tastemaker.errors import ColumnProblem, SettingProblem, TimesUndecided
from tastemaker.types import AnyArray, Booleans, Times

__all__ = ["SettledTimes", "TimePlan", "plan_times", "replanned", "settle_times"]

SAMPLE = 2_000
"""How many values are looked at before the column is read."""

DAY = 86_400_000_000

FILLER_DAYS = (-719_162, -79_257, -25_569, -25_567, 2_932_896)
"""0001-01-01, 1753-01-01, 1899-12-30, 1900-01-01 and 9999-12-31, in days since 1970: dates that stand for *no time*."""

NO_TIME = frozenset(
    {"null", "none", "nan", "nat", "na", "n/a", "\\n", "(null)", "undefined", "-", "0", "-1", "0000-00-00",
     "0000-00-00 00:00:00", "0000-00-00t00:00:00", "00/00/0000", "00.00.0000", "0001-01-01",
     "0001-01-01 00:00:00", "0001-01-01t00:00:00", "0001-01-01t00:00:00z", "-0001-11-30",
     "-0001-11-30 00:00:00", "#n/a"}
)  # fmt: skip
"""Words for *no time*, in lower case."""

FEW_STRAYS = 0.01
"""So small a share of rows that are written in another way is counted and shown; a greater one is a mixture, and refused."""

SPAN = 3
"""Dates that fit with the year first and last are likelier in the order in which they lie this many times closer together."""

MANY = 10
"""One or two rows that fit only one order of day and month are a warning beside this many that fit both."""

RARE = 0.05
"""So small a share of the witnesses may contradict the rest; they are then unreadable."""


@dataclass(frozen=True, slots=True)
class TimePlan:
    """What is read of a time column beside the rows, before it is settled what it means."""

    column: str
    kind: Literal["moments", "written", "either order", "numbers"]
    parts: dict[str, pl.Expr]
    """``time``, or ``time`` with the day first and ``time_month`` and perhaps ``time_year`` with those first."""
    odd: pl.Expr
    """Whether a value is given that the plan cannot read."""
    spellings: tuple[Spelling, ...] = ()


@dataclass(frozen=True, slots=True)
class SettledTimes:
    """The times of all rows, and how the column was understood."""

    times: Times
    """``int64[rows]``; what stands where ``known`` is false means nothing"""
    known: Booleans
    """``bool[rows]``"""
    written_as: str
    unit: str
    counts_from: TimeUnit = "calendar"
    unreadable: int = 0
    """Given values that are no time and no filler."""
    warnings: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    """Some of the unreadable values"""


def plan_times(column: str, frame: pl.LazyFrame, *, label: str, reading: Reading) -> TimePlan:
    """Look at the beginning of a column and plan how all of it is read.

    Raises `ColumnProblem` for a type that holds no times, and `SettingProblem` when the given format is none.
    """
    dtype = frame.collect_schema()[column]
    value = pl.col(column)
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        moment = value.cast(pl.Datetime("us")) if dtype == pl.Date else value
        return TimePlan(column, "moments", {"time": moment.dt.timestamp("us")}, pl.lit(False))
    if dtype == pl.Null:
        return TimePlan(column, "moments", {"time": value.cast(pl.Int64)}, pl.lit(False))
    if dtype in (pl.Categorical, pl.Enum):
        value, dtype = value.cast(pl.String), pl.String()
    if dtype == pl.Binary:
        value, dtype = value.cast(pl.String, strict=False), pl.String()
    if dtype.is_numeric() and reading.time_format is None:
        whole = dtype.is_integer()
        number = value.cast(pl.Int64 if whole else pl.Float64, strict=False)
        return TimePlan(column, "numbers", {"time": number}, value.is_not_null() & number.is_null())
    if dtype.is_numeric():
        value, dtype = value.cast(pl.Int64 if dtype.is_float() else dtype).cast(pl.String), pl.String()
    if dtype != pl.String:
        raise ColumnProblem(
            f"the time column {column!r} of {label} is of type {dtype}; times must be dates, datetimes, text that spells them "
            "or numbers. Name another with --time-column, or none with --time-column ''."
        )
    text = value.str.strip_chars()
    given = frame.select(text.alias("t")).filter(pl.col("t").str.len_bytes() > 0).head(SAMPLE)
    examples = [
        example for example in given.collect().to_series().to_list() if example.lower() not in NO_TIME
    ]
    return _of_examples(column, text, examples, reading)


def replanned(plan: TimePlan, frame: pl.LazyFrame, rows: pl.DataFrame, reading: Reading) -> TimePlan | None:
    """Return a plan that reads what the first one could not, where there is such; it costs a pass over the odd rows alone."""
    if plan.kind == "moments" or not _some_unread(plan, rows):
        return None
    text = _text_of(plan, frame)
    if text is None or reading.time_format is not None:
        return None
    odd = [value for value in _odd_values(plan, frame, rows) if value.lower() not in NO_TIME]
    if plan.kind == "numbers":
        floats = any(_is_number(value) for value in odd)
        return _of_numbers(plan.column, text, whole=False) if floats and _is_whole(plan, rows) else None
    more = [spelling for spelling in recognised(odd) if spelling not in plan.spellings]
    return _of_spellings(plan.column, text, (*plan.spellings, *more), reading) if more else None


def settle_times(
    plan: TimePlan, frame: pl.LazyFrame, rows: pl.DataFrame, *, label: str, reading: Reading
) -> SettledTimes:
    """Decide, from all rows read by the plan, what the column means.

    Raises `TimesUndecided` when nothing tells day from month, and `ColumnProblem` for a mixture of units or of orders.
    """
    odd = _odd_values(plan, frame, rows)
    _refuse_mixture(plan, odd, rows, label, reading)
    if plan.kind == "numbers":
        found = times_of_numbers(
            rows["time"], reading.time_unit, column=plan.column, label=label, remedy="--time-unit"
        )
        missing = int((~found.known & rows["time"].is_not_null().to_numpy()).sum()) - found.fillers
        return _told(_of(found), plan, found.fillers, missing, odd)
    if plan.kind == "either order":
        settled = _in_order(plan, rows, label)
    else:
        said = (
            "dates and times of the file"
            if plan.kind == "moments"
            else _said(plan, "month" if reading.day_first is False else "day")
        )
        settled = _settled(rows["time"], said)
    filler = _fillers(settled)
    return _told(replace(settled, known=settled.known & ~filler), plan, int(filler.sum()), 0, odd)


def _settled(times: pl.Series, said: str, warnings: tuple[str, ...] = ()) -> SettledTimes:
    numbers = times.fill_null(0).to_numpy().astype(np.int64, copy=False)
    return SettledTimes(numbers, times.is_not_null().to_numpy(), said, "calendar", warnings=warnings)


def _refuse_mixture(
    plan: TimePlan, odd: Mapping[str, int], rows: pl.DataFrame, label: str, reading: Reading
) -> None:
    """Raise `ColumnProblem` where dates stand beside numbers in more than a few rows: one writing would lose the other's rows."""
    if reading.time_format is not None or reading.time_unit is not None or plan.kind == "moments":
        return
    numbers = plan.kind == "numbers"
    others = {
        text: many
        for text, many in odd.items()
        if text.lower() not in NO_TIME and _is_time(text, not numbers)
    }
    strays, read = sum(others.values()), int(rows["time"].is_not_null().sum())
    if strays < 2 or strays <= FEW_STRAYS * (strays + read):
        return
    stray = next(iter(others))
    if numbers:
        kinds = [f"as numbers such as {rows['time'].drop_nulls()[0]}", f"as {_words(stray)} such as {stray}"]
    else:
        kinds = [f"as {_said(plan)}", f"as numbers such as {stray}"]
    raise ColumnProblem(
        f"the times in column {plan.column!r} of {label} are written in several ways: {counted(read, 'row')} {kinds[0]}, "
        f"{strays:,} {kinds[1]}; bring them to one, or say which are times with {'--time-unit' if numbers else '--time-format'}."
    )


def _is_time(text: str, number: bool) -> bool:
    return _is_number(text) if number else spelling_of(text) is not None


def _words(text: str) -> str:
    spelling = spelling_of(text)
    return "" if spelling is None else words_of(spelling.ordered("day"))


def _of_examples(column: str, text: pl.Expr, examples: list[str], reading: Reading) -> TimePlan:
    if reading.time_format is not None:
        form = Spelling(reading.time_format)
        unknown = re.sub(
            r"%([-_0]?[YCyqmbBhdeaAwuUWGgVjDxFvHkIlPpMSfRTXrcsZznt]|[.:#]+[a-zA-Z0-9]+|[369]f|\.[369]f|%|\+)",
            "",
            reading.time_format,
        )
        if "%" in unknown or unknown == reading.time_format:
            raise SettingProblem(
                f"--time-format {reading.time_format!r} is no format of times; it names their parts, such as %Y-%m-%d or "
                "'%d/%m/%y %H:%M'."
            )
        try:
            pl.select(read_as(pl.lit(examples[0] if examples else ""), form))
        except pl.exceptions.PolarsError as error:
            raise SettingProblem(
                f"--time-format {reading.time_format!r} is no format of times: {str(error).splitlines()[0]}"
            ) from error
        return _of_spellings(column, text, (form,), reading)
    numbers = [example for example in examples if _is_number(example)]
    if reading.time_unit is not None or 2 * len(numbers) > len(examples):
        return _of_numbers(column, text, whole=all(example.lstrip("+-").isdigit() for example in numbers))
    return _of_spellings(column, text, tuple(recognised(examples)), reading)


def _of_numbers(column: str, text: pl.Expr, *, whole: bool) -> TimePlan:
    number = text.cast(pl.Int64 if whole else pl.Float64, strict=False)
    return TimePlan(column, "numbers", {"time": number}, (text.str.len_bytes() > 0) & number.is_null())


def _of_spellings(column: str, text: pl.Expr, spellings: tuple[Spelling, ...], reading: Reading) -> TimePlan:
    def all_of(order: Order) -> pl.Expr:
        # two-digit years first: %Y would read them as the first century
        ordered = sorted(spellings, key=lambda spelling: "%y" not in spelling.form)
        if order == "year":  # a year of four digits stands last in any case
            ordered = [each for each in ordered if each.may_begin_with_year or not each.has_order]
        return pl.coalesce(
            [read_as(text, spelling.ordered(order)) for spelling in ordered] or [pl.lit(None, pl.Int64)]
        )

    given = text.str.len_bytes() > 0
    if reading.day_first is not None or not any(spelling.has_order for spelling in spellings):
        time = all_of("month" if reading.day_first is False else "day")
        return TimePlan(column, "written", {"time": time}, given & time.is_null(), spellings)
    parts = {"time": all_of("day"), "time_month": all_of("month")}
    if any(spelling.may_begin_with_year for spelling in spellings):
        parts["time_year"] = all_of("year")
    unread = pl.all_horizontal(part.is_null() for part in parts.values())
    return TimePlan(column, "either order", parts, given & unread, spellings)


def _in_order(plan: TimePlan, rows: pl.DataFrame, label: str) -> SettledTimes:
    """Choose what stands first, year, day or month, by the rows that fit one order only."""
    if "time_year" not in plan.parts:
        return _by_day_or_month(plan, rows, label)
    year = rows["time_year"]
    likely = {part: _likely(rows[part]) for part in plan.parts}
    first, last = likely["time_year"], likely["time"] | likely["time_month"]
    only_first, only_last = int((first & ~last).sum()), int((last & ~first).sum())
    total = int((first | last).sum())
    if min(only_first, only_last) > RARE * max(only_first, only_last):
        raise ColumnProblem(
            f"column {plan.column!r} of {label} mixes two orders: {only_first:,} dates can only have the year first and "
            f"{only_last:,} only the year last; mend them, or say how they are written with --time-format."
        )
    if max(only_first, only_last) > RARE * total:
        if only_first > only_last:
            return _settled(
                year, f"{_said(plan, 'year')}, the year first, as {only_first:,} of {total:,} rows bear out"
            )
        return _by_day_or_month(plan, rows, label)
    day, month = rows["time"], rows["time_month"]
    late = day if day.null_count() <= month.null_count() else month
    spans = [_span(year), _span(late)]
    if SPAN * spans[0] < spans[1]:
        raise TimesUndecided(
            f"nothing tells whether the year comes first or last in column {plan.column!r} of {label}: all {total:,} dates fit "
            f"both orders ({_either(year, late)}). Say how they are written with --time-format, such as --time-format '%y-%m-%d', "
            "or that the year comes last with --day-first or --month-first, or read no times with --time-column ''."
        )
    settled = _by_day_or_month(plan, rows, label)
    if not total or SPAN * spans[1] < spans[0]:
        return settled
    doubt = (
        f"the year was taken to come last in column {plan.column!r}, though all {total:,} dates fit with the year first, too; "
        "--time-format settles it."
    )
    return replace(settled, warnings=(*settled.warnings, doubt))


def _likely(times: pl.Series) -> Booleans:
    """Return which times are read and lie between 1970 and the end of next year, as dates of purchases do."""
    end = int(datetime(datetime.now(UTC).year + 2, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    likely: Booleans = ((times >= 0) & (times < end)).fill_null(False).to_numpy()
    return likely


def _span(times: pl.Series) -> int:
    """Return between which times nine tenths lie, in microseconds."""
    low, high = times.quantile(0.05, "nearest"), times.quantile(0.95, "nearest")
    return 0 if low is None or high is None else int(high - low)


def _by_day_or_month(plan: TimePlan, rows: pl.DataFrame, label: str) -> SettledTimes:
    """Choose day or month first by the rows that fit one order only."""
    day, month = rows["time"], rows["time_month"]
    fits_day, fits_month = day.is_not_null().to_numpy(), month.is_not_null().to_numpy()
    days, months = int((fits_day & ~fits_month).sum()), int((fits_month & ~fits_day).sum())
    both = fits_day & fits_month
    differ = int((both & (day.fill_null(0).to_numpy() != month.fill_null(0).to_numpy())).sum())
    total = days + months + int(both.sum())
    if not days and not months and differ:
        example = _either(day, month)
        raise TimesUndecided(
            f"nothing tells whether the day or the month comes first in column {plan.column!r} of {label}: all "
            f"{total:,} dates fit both orders ({example}). Say it with --day-first or --month-first, or read no times with "
            "--time-column ''."
        )
    if min(days, months) > RARE * max(days, months):
        raise ColumnProblem(
            f"column {plan.column!r} of {label} mixes two orders: {days:,} dates can only have the day first and {months:,} only "
            "the month first; mend them, or choose with --day-first or --month-first."
        )
    first = days >= months
    word: Order = "day" if first else "month"
    other, witnesses = ("month", days) if first else ("day", months)
    warnings = []
    flags = "--day-first or --month-first settles it"
    if 0 < witnesses <= 2 and differ >= MANY:
        warnings.append(
            f"the {word} was taken to come first in column {plan.column!r} because of {witnesses:,} of {total:,} dates, the other "
            f"{total - witnesses:,} fit both orders: a typing error would decide; {flags}."
        )
    if min(days, months):
        warnings.append(
            f"{min(days, months):,} dates of column {plan.column!r} fit only with the {other} first, against {witnesses:,} with "
            f"the {word} first; they cannot be read. {flags.capitalize()}."
        )
    said = f"{_said(plan, word)}, the {word} first, as {witnesses:,} of {total:,} rows bear out"
    return _settled(day if first else month, said, tuple(warnings))


def _either(one: pl.Series, other: pl.Series) -> str:
    """Show the first value that is another date in each of two orders."""
    place = (one != other).fill_null(False).arg_max() or 0
    first, second = (datetime.fromtimestamp(int(times[place]) / 1e6, UTC).date() for times in (one, other))
    return f"one may be {first} or {second}"


def _fillers(settled: SettledTimes) -> Booleans:
    times, known = settled.times, settled.known
    some = times if known.all() else times[known]
    nothing = np.zeros(len(times), np.bool_)
    if not len(some) or (some.min() > 0 and some.max() < FILLER_DAYS[-1] * DAY):
        return nothing
    filler: Booleans = known & (np.isin(times // DAY, FILLER_DAYS) | (times == 0))
    return filler


def _told(
    settled: SettledTimes, plan: TimePlan, fillers: int, unreadable: int, odd: Mapping[str, int]
) -> SettledTimes:
    """Add what is said of values that stand for no time, and of those that are none; ``odd`` the plan did not read."""
    bad = {word: many for word, many in odd.items() if word.lower() not in NO_TIME}
    unreadable += sum(bad.values())
    fillers += sum(odd.values()) - sum(bad.values())
    warnings = list(settled.warnings)
    if fillers:
        stand, have = ("stands", "its row has") if fillers == 1 else ("stand", "their rows have")
        warnings.append(
            f"{counted(fillers, 'value')} of column {plan.column!r} {stand} for no time (such as 1900-01-01, 9999-12-31, 0 or -1); "
            f"{have} no time."
        )
    if unreadable:
        shown = f" ({quoted(list(bad)[:3])})" if bad else ""
        are = "is no time" if unreadable == 1 else "are no times"
        warnings.append(
            f"{counted(unreadable, 'value')} of column {plan.column!r} {are}{shown}; --time-format says how they are written."
        )
    return replace(settled, unreadable=unreadable, warnings=tuple(warnings), examples=tuple(bad)[:3])


def _of(found: Numbers) -> SettledTimes:
    times: AnyArray = found.times.astype(np.int64, copy=False)
    return SettledTimes(times, found.known, found.written_as, found.unit, found.counts_from)


def _said(plan: TimePlan, order: Order = "day") -> str:
    """Name the spellings in words, the most frequent first."""
    words = dict.fromkeys(words_of(spelling.ordered(order)) for spelling in plan.spellings[:4])
    return " or ".join(words) or "nothing that is a time"


def _some_unread(plan: TimePlan, rows: pl.DataFrame) -> bool:
    unread = rows.select(pl.all_horizontal(pl.col(name).is_null() for name in plan.parts).any())
    return bool(unread.item())


def _odd_values(plan: TimePlan, frame: pl.LazyFrame, rows: pl.DataFrame) -> dict[str, int]:
    """Return the given values that the plan did not read and how often each stands there, the most frequent first."""
    if plan.kind == "moments" or not _some_unread(plan, rows):
        return {}
    text = _text_of(plan, frame)
    shown = pl.col(plan.column).cast(pl.String) if text is None else text
    odd = frame.filter(plan.odd).select(shown.alias("odd")).group_by("odd").len()
    found = odd.collect(engine="streaming").sort(["len", "odd"], descending=[True, False])
    return dict(zip(found["odd"].to_list(), found["len"].to_list(), strict=True))


def _text_of(plan: TimePlan, frame: pl.LazyFrame) -> pl.Expr | None:
    dtype = frame.collect_schema()[plan.column]
    if dtype.is_numeric() or dtype == pl.Null:
        return None
    return pl.col(plan.column).cast(pl.String, strict=False).str.strip_chars()


def _is_whole(plan: TimePlan, rows: pl.DataFrame) -> bool:
    return rows["time"].dtype.is_integer()


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) is not None
