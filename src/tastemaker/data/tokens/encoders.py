"""`Encoder`: how the values of one column become tokens, learned from the column and saved with the model as JSON."""

from __future__ import annotations

import bisect
import dataclasses
import json
import math
import re
import textwrap
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from tastemaker.data.tokens.bags import Bags, no_bags
from tastemaker.errors import ColumnProblem
from tastemaker.types import AnyArray

__all__ = ["Encoder", "Form", "dates_of", "lists_of", "numbers_of", "words_of"]

Form = Literal["category", "list", "words", "bands", "dates", "vector"]
"""How a column is understood."""

WANTED: Mapping[Form, str] = {
    "category": "single values",
    "list": "lists",
    "words": "text",
    "bands": "numbers",
    "dates": "dates",
    "vector": "lists of numbers",
}

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
WORD = re.compile(r"[^\W\d_]+|\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """One column's tokens, numbered from 0: a value that it does not know, and a missing one, have none.

    ``category``, ``list`` and ``words`` have a token for each of ``values``, then ``buckets`` that what is rare shares by a hash.
    ``bands`` has one more than ``edges``: value x is in band i where i edges are at most x. ``dates`` has 12 months and 7 weekdays,
    and 24 hours where the column tells them. ``vector`` has one token for each of its ``length`` numbers, weighted by them.
    """

    column: str
    form: Form
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    buckets: int = 0
    hours: bool = False
    length: int = 0
    scale: float = 1.0
    """What the numbers of a vector are divided by."""

    @property
    def size(self) -> int:
        """Return how many tokens there are."""
        match self.form:
            case "bands":
                return len(self.edges) + 1
            case "dates":
                return 19 + 24 * self.hours
            case "vector":
                return self.length
            case _:
                return len(self.values) + self.buckets

    def encode(self, column: pl.Series) -> Bags:
        """Return the tokens of each value; raise `ColumnProblem` where the column is of another type than the one learned from."""
        if column.null_count() == len(column):
            return no_bags(len(column))
        try:
            return self._encoded(column)
        except pl.exceptions.PolarsError:  # values of a type that becomes no text, or no number
            raise self._other(column) from None

    def _encoded(self, column: pl.Series) -> Bags:
        match self.form:
            case "bands":
                return self._bands(column)
            case "dates":
                return self._dates(column)
            case "vector":
                return self._vector(column)
            case "category":
                if column.dtype.is_nested():
                    raise self._other(column)
                return self._known(
                    column.cast(pl.String).to_frame("value").with_row_index("owner"), len(column)
                )
            case "list":
                return self._lists(column, lists_of(column))
            case "words":
                return self._lists(column, words_of(column))

    def token_of(self, value: object) -> int | None:
        """Return the token of one category or number at once, -1 where it has none; ``None`` where `encode` must tell."""
        if self.form == "category" and type(value) in (str, int):
            text = str(value)
            if text in self.values:
                return self.values.index(text)
            return len(self.values) + zlib.crc32(text.encode()) % self.buckets if self.buckets else -1
        if self.form == "bands" and (type(value) in (int, float) or NUMBER.fullmatch(str(value))):
            number = float(str(value))
            return bisect.bisect_right(self.edges, number) if math.isfinite(number) else -1
        return None

    def knows(self, value: object) -> bool:
        """Return whether a value has a token of its own."""
        return bool(len(self.encode(pl.Series("value", [value], strict=False)).tokens))

    def label(self, token: int) -> str:
        """Return what a token stands for, in words.

        >>> Encoder(column="price", form="bands", edges=(10.0, 20.0)).label(1)
        'price 10 to 20'
        """
        match self.form:
            case "bands":
                return f"{self.column} {self._band(token)}"
            case "dates":
                names = (*MONTHS, *WEEKDAYS, *(f"{hour} h" for hour in range(24)))
                return f"{self.column} {names[token]}"
            case "vector":
                return f"{self.column}[{token}]"
            case _:
                if token >= len(self.values):
                    return f"{self.column}: a rare value"
                return f"{self.column} {self.values[token]}"

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON values."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Encoder:
        """Return the encoder that `to_json` gave."""
        kept = {**values, "values": tuple(values["values"]), "edges": tuple(values["edges"])}
        return Encoder(**kept)

    def _band(self, token: int) -> str:
        if token == 0:
            return f"below {self.edges[0]:g}" if self.edges else "any"
        if token == len(self.edges):
            return f"{self.edges[-1]:g} or more"
        return f"{self.edges[token - 1]:g} to {self.edges[token]:g}"

    def _bands(self, column: pl.Series) -> Bags:
        numbers = numbers_of(column)
        if numbers is None:
            raise self._other(column)
        return _single(np.searchsorted(np.array(self.edges), numbers, side="right"), np.isfinite(numbers))

    def _dates(self, column: pl.Series) -> Bags:
        dates = dates_of(column)
        if dates is None:
            raise self._other(column)
        there = dates.is_not_null().to_numpy()
        parts = [
            dates.dt.month().cast(pl.Int32) - 1,
            dates.dt.weekday().cast(pl.Int32) + 11,
            *([dates.dt.hour().cast(pl.Int32) + 19] if self.hours else []),
        ]
        tokens = np.stack([part.fill_null(0).to_numpy() for part in parts], axis=1)[there]
        offsets = np.concatenate(([0], np.cumsum(there * len(parts)))).astype(np.int64)
        return Bags(offsets, tokens.reshape(-1).astype(np.int32), np.ones(tokens.size, np.float32))

    def _vector(self, column: pl.Series) -> Bags:
        lengths = column.list.len() if column.dtype == pl.List else None
        if column.dtype == pl.Array:
            column = column.arr.to_list()
            lengths = column.list.len()
        if lengths is None or set(lengths.drop_nulls().unique()) - {self.length}:
            found = (
                "no lists"
                if lengths is None
                else f"lists of {sorted(lengths.drop_nulls().unique().to_list())}"
            )
            raise ColumnProblem(
                f"column {self.column!r} holds {found}, and the model learned from lists of {self.length} numbers; "
                "give embeddings of the same length."
            )
        there = column.is_not_null().to_numpy()
        numbers = column.drop_nulls().explode().cast(pl.Float32).fill_null(0).to_numpy() / np.float32(
            self.scale
        )
        offsets = np.concatenate(([0], np.cumsum(there * self.length))).astype(np.int64)
        tokens = np.tile(np.arange(self.length, dtype=np.int32), int(there.sum()))
        return Bags(offsets, tokens, np.ascontiguousarray(np.nan_to_num(numbers), np.float32))

    def _lists(self, column: pl.Series, lists: pl.Series | None) -> Bags:
        if lists is None:
            raise self._other(column)
        frame = lists.to_frame("value").with_row_index("owner").explode("value")
        return self._known(frame.unique(["owner", "value"], maintain_order=True), len(column))

    def _known(self, frame: pl.DataFrame, count: int) -> Bags:
        """Return the tokens of the values of a frame of ``owner`` and ``value``, in its order."""
        table = pl.DataFrame(
            {
                "value": pl.Series(self.values, dtype=pl.String),
                "token": np.arange(len(self.values), dtype=np.int32),
            }
        )
        frame = frame.drop_nulls("value").join(table, on="value", how="left", maintain_order="left")
        if self.buckets:
            rare = frame.filter(pl.col("token").is_null()).get_column("value").unique()
            hashed = {value: len(self.values) + zlib.crc32(value.encode()) % self.buckets for value in rare}
            buckets = pl.DataFrame(
                {
                    "value": pl.Series(list(hashed), dtype=pl.String),
                    "bucket": pl.Series(list(hashed.values()), dtype=pl.Int32),
                }
            )
            frame = frame.join(buckets, on="value", how="left", maintain_order="left")
            frame = frame.with_columns(pl.coalesce("token", "bucket").alias("token"))
        frame = frame.drop_nulls("token")
        owners = frame.get_column("owner").to_numpy()
        offsets = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(owners, minlength=count), out=offsets[1:])
        return Bags(
            offsets, frame.get_column("token").to_numpy().astype(np.int32), np.ones(len(owners), np.float32)
        )

    def _other(self, column: pl.Series) -> ColumnProblem:
        example = textwrap.shorten(repr(column.drop_nulls().head(1).to_list()[0]), 60, placeholder="…")
        return ColumnProblem(
            f"column {self.column!r} holds {column.dtype} such as {example}, and the model learned from {WANTED[self.form]} there; "
            "give the column as it was at training."
        )


def numbers_of(column: pl.Series) -> AnyArray | None:
    """Return a column of numbers, or of text that is numbers, ``float64[n]`` with NaN for nothing; ``None`` for anything else."""
    if column.dtype == pl.String:
        cast = column.cast(pl.Float64, strict=False)
        if cast.null_count() > column.null_count():
            return None
        column = cast
    if not column.dtype.is_numeric():
        return None
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def dates_of(column: pl.Series) -> pl.Series | None:
    """Return a column of dates, or of text that is dates, as datetimes; ``None`` for anything else."""
    if column.dtype == pl.String:
        text = column.drop_nulls().head(100)
        if not len(text) or not text.str.contains(r"^\d{4}-\d\d-\d\d").all():
            return None
        day = column.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
        clock = column.str.slice(11, 2).cast(pl.Int64, strict=False).fill_null(0)
        return day + pl.Series(clock * 3_600_000_000).cast(pl.Duration("us"))
    return column.cast(pl.Datetime("us")) if column.dtype in (pl.Date, pl.Datetime) else None


def lists_of(column: pl.Series) -> pl.Series | None:
    """Return a column of lists, of ``a|b``, or of JSON arrays as lists of text; ``None`` for anything else.

    >>> lists_of(pl.Series(["red|blue", '["green"]', None])).to_list()
    [['red', 'blue'], ['green'], None]
    """
    if column.dtype == pl.List:
        return column.cast(pl.List(pl.String))
    if column.dtype != pl.String:
        return None

    def parts(text: str) -> list[str]:
        if text.startswith("["):
            try:
                return [str(value) for value in json.loads(text) if value is not None]
            except ValueError:
                pass
        return [part.strip() for part in text.split("|") if part.strip()]

    return pl.Series(
        [None if text is None else parts(text) for text in column.to_list()], dtype=pl.List(pl.String)
    )


def words_of(column: pl.Series) -> pl.Series | None:
    """Return the words of each text, lower case, of two letters or more, or of digits; ``None`` where there is no text."""
    if column.dtype != pl.String:
        return None
    found = [
        None if text is None else " ".join(word for word in WORD.findall(text.lower()) if len(word) > 1)
        for text in column.to_list()
    ]
    return pl.Series(found, dtype=pl.String).str.extract_all(
        r"\S+"
    )  # a list made of lists takes ten times as long


def _single(tokens: AnyArray, there: AnyArray) -> Bags:
    """Return bags of one token each, or none where nothing is there."""
    offsets = np.concatenate(([0], np.cumsum(there))).astype(np.int64)
    return Bags(offsets, tokens[there].astype(np.int32), np.ones(int(there.sum()), np.float32))
