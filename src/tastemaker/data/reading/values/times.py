"""The times of a column: planned from its beginning, read with the rows, settled by all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import polars as pl

from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.values.numbers import Numbers, times_of_numbers
from tastemaker.data.reading.values.spellings import Spelling, read_as, recognised, words_of
from tastemaker.data.summary import TimeUnit
from tastemaker.errors import ColumnProblem, SettingProblem, TimesUndecided
from tastemaker.types import AnyArray, Booleans, Times

__all__ = ["SettledTimes", "TimePlan", "plan_times", "replanned", "settle_times"]

SAMPLE = 2_000
"""How many values are looked at before the column is read."""

DAY = 86_400_000_000

FILLER_DAYS = (-719_162, -25_569, -25_567, 2_932_896)
"""0001-01-01, 1899-12-30, 1900-01-01 and 9999-12-31, in days since 1970: dates that stand for *no time*."""

NO_TIME = frozenset(
    {"null", "none", "nan", "nat", "na", "n/a", "\\n", "(null)", "undefined", "-", "0", "-1", "0000-00-00",
     "0000-00-00 00:00:00", "0000-00-00t00:00:00", "00/00/0000", "00.00.0000"}
)  # fmt: skip
"""Words for *no time*, in lower case."""

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
    """``time``, or ``time`` with the day first and ``time_month`` with the month first."""
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
    odd = [value for value in _odd_values(plan, frame, text) if value.lower() not in NO_TIME]
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
    if plan.kind == "numbers":
        found = times_of_numbers(
            rows["time"], reading.time_unit, column=plan.column, label=label, remedy="--time-unit"
        )
        missing = int((~found.known & rows["time"].is_not_null().to_numpy()).sum()) - found.fillers
        words, odd, examples = _unread(plan, frame, rows)
        return _told(_of(found), plan, found.fillers + words, missing + odd, examples)
    if plan.kind == "either order":
        settled = _in_order(plan, rows, label)
    else:
        column = rows["time"]
        said = (
            "dates and times of the file"
            if plan.kind == "moments"
            else _said(plan, reading.day_first is not False)
        )
        settled = SettledTimes(
            column.fill_null(0).to_numpy().astype(np.int64, copy=False), column.is_not_null().to_numpy(), said, "calendar"
        )  # fmt: skip
    filler = _fillers(settled)
    words, odd, examples = _unread(plan, frame, rows)
    fillers = int(filler.sum()) + words
    return _told(replace(settled, known=settled.known & ~filler), plan, fillers, odd, examples)


def _of_examples(column: str, text: pl.Expr, examples: list[str], reading: Reading) -> TimePlan:
    if reading.time_format is not None:
        form = Spelling(reading.time_format)
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
    def all_of(day_first: bool) -> pl.Expr:
        # two-digit years first: %Y would read them as the first century
        ordered = sorted(spellings, key=lambda spelling: "%y" not in spelling.form)
        return pl.coalesce(
            [read_as(text, spelling.ordered(day_first)) for spelling in ordered] or [pl.lit(None, pl.Int64)]
        )

    given = text.str.len_bytes() > 0
    if reading.day_first is not None or not any(spelling.has_order for spelling in spellings):
        time = all_of(reading.day_first is not False)
        return TimePlan(column, "written", {"time": time}, given & time.is_null(), spellings)
    parts = {"time": all_of(True), "time_month": all_of(False)}
    unread = pl.all_horizontal(part.is_null() for part in parts.values())
    return TimePlan(column, "either order", parts, given & unread, spellings)


def _in_order(plan: TimePlan, rows: pl.DataFrame, label: str) -> SettledTimes:
    """Choose day or month first by the rows that fit one order only."""
    day, month = rows["time"], rows["time_month"]
    fits_day, fits_month = day.is_not_null().to_numpy(), month.is_not_null().to_numpy()
    days, months = int((fits_day & ~fits_month).sum()), int((fits_month & ~fits_day).sum())
    both = fits_day & fits_month
    differ = int((both & (day.fill_null(0).to_numpy() != month.fill_null(0).to_numpy())).sum())
    total = days + months + int(both.sum())
    if not days and not months and differ:
        example = _example_of(plan, rows, day)
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
    word, other, witnesses = ("day", "month", days) if first else ("month", "day", months)
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
    chosen, fits = (day, fits_day) if first else (month, fits_month)
    return SettledTimes(
        chosen.fill_null(0).to_numpy().astype(np.int64, copy=False),
        fits,
        f"{_said(plan, first)}, the {word} first, as {witnesses:,} of {total:,} rows bear out",
        "calendar",
        warnings=tuple(warnings),
    )


def _example_of(plan: TimePlan, rows: pl.DataFrame, day: pl.Series) -> str:
    place = (day != rows["time_month"]).fill_null(False).arg_max() or 0
    first, second = (
        datetime.fromtimestamp(int(rows[name][place]) / 1e6, UTC).date() for name in ("time", "time_month")
    )
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
    settled: SettledTimes, plan: TimePlan, fillers: int, unreadable: int, examples: tuple[str, ...]
) -> SettledTimes:
    warnings = list(settled.warnings)
    if fillers:
        warnings.append(
            f"{fillers:,} values of column {plan.column!r} stand for no time (such as 1900-01-01, 9999-12-31, 0 or -1); their rows "
            "have no time."
        )
    if unreadable:
        shown = f" ({', '.join(map(repr, examples[:3]))})" if examples else ""
        warnings.append(
            f"{unreadable:,} values of column {plan.column!r} are no times{shown}; --time-format says how they are written."
        )
    return replace(settled, unreadable=unreadable, warnings=tuple(warnings))


def _of(found: Numbers) -> SettledTimes:
    times: AnyArray = found.times.astype(np.int64, copy=False)
    return SettledTimes(times, found.known, found.written_as, found.unit, found.counts_from)


def _said(plan: TimePlan, day_first: bool = True) -> str:
    """Name the spellings in words, the most frequent first."""
    words = dict.fromkeys(words_of(spelling.ordered(day_first)) for spelling in plan.spellings[:4])
    return " or ".join(words) or "nothing that is a time"


def _some_unread(plan: TimePlan, rows: pl.DataFrame) -> bool:
    unread = rows.select(pl.all_horizontal(pl.col(name).is_null() for name in plan.parts).any())
    return bool(unread.item())


def _unread(plan: TimePlan, frame: pl.LazyFrame, rows: pl.DataFrame) -> tuple[int, int, tuple[str, ...]]:
    """Return how many given values are words for no time, how many others cannot be read, and examples, the most frequent first."""
    if plan.kind == "moments" or not _some_unread(plan, rows):
        return 0, 0, ()
    text = _text_of(plan, frame)
    counts = _odd_values(plan, frame, pl.col(plan.column).cast(pl.String) if text is None else text)
    bad = {word: many for word, many in counts.items() if word.lower() not in NO_TIME}
    return sum(counts.values()) - sum(bad.values()), sum(bad.values()), tuple(bad)[:3]


def _odd_values(plan: TimePlan, frame: pl.LazyFrame, text: pl.Expr) -> dict[str, int]:
    odd = frame.filter(plan.odd).select(text.alias("odd")).group_by("odd").len()
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
