"""What an id may be, and how every spelling of it becomes text or an integer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from uuid import UUID

import polars as pl

from tastemaker.errors import ColumnProblem

__all__ = ["IdForm", "as_form", "integers_if_all", "normalise_ids", "series_of_objects"]

IdForm = Literal["plain", "uuid bytes"]


def normalise_ids(ids: pl.Series | Iterable[object], *, noun: str) -> tuple[pl.Series, IdForm]:
    """Return the ids as ``String`` or integers, and the form in which they came.

    Text and integers stay as they are. Bytes are decoded as UTF-8; where that fails and all are 16 long, they
    are UUIDs and become their canonical text. Categories become text. Floats become integers when all are
    whole (pandas makes floats of integers beside a null). Raises `ColumnProblem` for any other type.
    """
    series = ids if isinstance(ids, pl.Series) else series_of_objects(list(ids))
    dtype = series.dtype
    if dtype == pl.String or dtype.is_integer():
        return series, "plain"
    if dtype == pl.Null:
        return series.cast(pl.String), "plain"
    if dtype == pl.Binary:
        return _decode(series, noun)
    if dtype.is_decimal() and dtype.scale == 0:  # type: ignore[attr-defined]
        return series.cast(pl.Int64), "plain"
    if dtype in (pl.Categorical, pl.Enum):
        return series.cast(pl.String), "plain"
    if dtype.is_float():
        return _whole_floats(series, noun), "plain"
    if dtype == pl.Object:
        return normalise_ids(series.to_list(), noun=noun)
    raise ColumnProblem(f"{noun} ids are of type {dtype}; ids must be text, integers, bytes or UUIDs.")


def integers_if_all(ids: pl.Series) -> pl.Series:
    """Make text ids ``Int64`` if each is the canonical spelling of an integer (``007`` is not).

    >>> [integers_if_all(pl.Series(ids)).to_list() for ids in (["7", "-12"], ["7", "0108"])]
    [[7, -12], ['7', '0108']]
    """
    numbers = ids.cast(pl.Int64, strict=False)
    same = numbers.cast(pl.String).eq_missing(ids)
    return numbers if bool(same.all()) and not ids.null_count() else ids


def as_form(ids: pl.Series, form: IdForm) -> pl.Series:
    """Turn normalised ids back into the form in which they came."""
    if form == "plain":
        return ids
    return ids.str.replace_all("-", "", literal=True).str.decode("hex")


def series_of_objects(values: list[object]) -> pl.Series:
    """Make a series of Python objects: UUIDs, and bytes beside text, become text; NaN becomes null.

    Raises `ColumnProblem` when text stands beside numbers.
    """
    texts = [_plain(value) for value in values]
    if {bytes, str} <= set(map(type, texts)):
        texts = [value.decode() if isinstance(value, bytes) else value for value in texts]
    try:
        return pl.Series("id", texts)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise ColumnProblem(
            "ids of several types stand in one column (text beside numbers?); make them all text."
        ) from error


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    return None if value is None or value != value else value  # NaN and NaT differ from themselves


def _decode(series: pl.Series, noun: str) -> tuple[pl.Series, IdForm]:
    try:
        return series.cast(pl.String), "plain"
    except pl.exceptions.PolarsError as error:
        if not bool((series.bin.size() == 16).all()):
            raise ColumnProblem(
                f"{noun} ids are bytes, but neither UTF-8 text nor all 16 long, as UUIDs are; decode them."
            ) from error
    code = series.bin.encode("hex")
    borders = [(0, 8), (8, 4), (12, 4), (16, 4), (20, 12)]
    parts = [code.str.slice(start, length).alias(str(start)) for start, length in borders]
    return pl.select(pl.concat_str(parts, separator="-").alias(series.name)).to_series(), "uuid bytes"


def _whole_floats(series: pl.Series, noun: str) -> pl.Series:
    series = series.fill_nan(None)
    if not bool((series.is_null() | (series == series.floor())).all()):
        raise ColumnProblem(f"{noun} ids are fractional numbers; ids must be text, integers, bytes or UUIDs.")
    return series.cast(pl.Int64)
