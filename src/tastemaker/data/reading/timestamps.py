"""Times and quantities of a log, however they are written, as numbers."""

from __future__ import annotations

import polars as pl

from tastemaker.errors import ColumnProblem

__all__ = ["moment", "quantity"]

FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f UTC",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M",
)
"""Spellings of a moment in which year, month and day cannot be mistaken for each other."""

SAMPLE = 1_000

MICROSECONDS_OF = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}


def moment(column: str, frame: pl.LazyFrame, *, label: str) -> pl.Expr:
    """Return the expression of a column's times, microseconds since 1970-01-01 UTC, null where there is none.

    Read are dates and datetimes (without a zone they are taken as UTC); ISO text, also with ``/`` or with an
    offset; and numbers, or text of numbers, whose unit is guessed from the largest: up to 10¹¹ seconds (the
    year 5138), up to 10¹⁴ milliseconds, up to 10¹⁷ microseconds, above nanoseconds; but when all are days
    written as ``20110630``, they are that. Raises `ColumnProblem` for any other type.
    """
    dtype = frame.collect_schema()[column]
    value = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        return value.dt.timestamp("us")
    if dtype == pl.Date:
        return value.cast(pl.Datetime("us")).dt.timestamp("us")
    if dtype.is_numeric():
        return _of_number(_finite(value, dtype), frame)
    if dtype == pl.String:
        return _of_text(value.str.strip_chars(), frame)
    if dtype == pl.Null:
        return value.cast(pl.Int64)
    raise ColumnProblem(
        f"the time column {column!r} of {label} is of type {dtype}; times must be dates, datetimes, ISO text "
        "or numbers since 1970. Name another with --time-column, or none with --time-column ''."
    )


def quantity(column: str, frame: pl.LazyFrame, *, label: str) -> pl.Expr:
    """Return the expression of a column's quantities as ``Float32``, null where there is no finite number.

    Raises `ColumnProblem` when the column holds neither numbers nor text.
    """
    dtype = frame.collect_schema()[column]
    if dtype.is_numeric() or dtype == pl.Null:
        return _finite(pl.col(column), dtype).cast(pl.Float32)
    if dtype == pl.String:
        number = pl.col(column).str.strip_chars().cast(pl.Float32, strict=False)
        return pl.when(number.is_finite()).then(number)
    raise ColumnProblem(
        f"the quantity column {column!r} of {label} is of type {dtype}; quantities must be numbers. "
        "Name another with --quantity-column, or none with --quantity-column ''."
    )


def _finite(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return pl.when(value.is_finite()).then(value) if dtype.is_float() else value


def _of_number(number: pl.Expr, frame: pl.LazyFrame) -> pl.Expr:
    low, high = frame.select(low=number.min(), high=number.max()).collect(engine="streaming").row(0)
    if low is None:
        return number.cast(pl.Int64)
    if low >= 1900_01_01 and high <= 2100_12_31:
        days = number.cast(pl.Int64).cast(pl.String).str.to_date("%Y%m%d", strict=False)
        if not frame.select((number.is_not_null() & days.is_null()).any()).collect(engine="streaming").item():
            return days.cast(pl.Datetime("us")).dt.timestamp("us")
    largest = max(abs(low), abs(high))
    if largest > 1e17:
        return (number.cast(pl.Int64) // 1_000).cast(pl.Int64)
    unit = "seconds" if largest <= 1e11 else "milliseconds" if largest <= 1e14 else "microseconds"
    return (number * MICROSECONDS_OF[unit]).cast(pl.Int64)


def _of_text(text: pl.Expr, frame: pl.LazyFrame) -> pl.Expr:
    sample = (
        frame.select(text.alias("text")).filter(pl.col("text").str.len_bytes() > 0).head(SAMPLE).collect()
    )
    number = text.cast(pl.Float64, strict=False)
    numbers = sample.select(pl.col("text").cast(pl.Float64, strict=False).is_not_null().sum()).item()
    if 2 * numbers > len(sample):
        whole = text.cast(pl.Int64, strict=False)
        exact = frame.select((whole.is_null() & number.is_finite()).any()).collect(engine="streaming").item()
        return _of_number(pl.when(number.is_finite()).then(number) if exact else whole, frame)
    if (
        sample.select(pl.col("text").str.contains(r"^\d{1,2}[/.]\d{1,2}[/.]\d{4}").mean().fill_null(0)).item()
        > 0.5
    ):
        return _of_day_or_month_first(text, frame)
    hits = sample.select(_parsed(pl.col("text"), form).count().alias(form) for form in FORMATS).row(0)
    likely = [form for form, count in zip(FORMATS, hits, strict=True) if count]
    if likely:
        first = pl.coalesce([_parsed(text, form) for form in likely])
        left = (
            frame.select(((text.str.len_bytes() > 0) & first.is_null()).any())
            .collect(engine="streaming")
            .item()
        )
        if not left:
            return first
    return pl.coalesce([_parsed(text, form) for form in FORMATS])


def _of_day_or_month_first(text: pl.Expr, frame: pl.LazyFrame) -> pl.Expr:
    """Read ``12/31/2010 8:26`` or ``31.12.2010`` in the order that fits more rows; where both fit alike, none is read."""
    dashed = text.str.replace_all(r"[/.]", "-")
    orders = [
        pl.coalesce([_parsed(dashed, f"{order}-%Y{clock}") for clock in ("", " %H:%M", " %H:%M:%S")])
        for order in ("%m-%d", "%d-%m")
    ]
    months, days = frame.select(m=orders[0].count(), d=orders[1].count()).collect(engine="streaming").row(0)
    if months == days:
        return pl.repeat(None, pl.len(), dtype=pl.Int64)
    return orders[0] if months > days else orders[1]


def _parsed(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_datetime(form, strict=False, time_unit="us").dt.timestamp("us")
