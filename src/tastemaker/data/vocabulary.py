"""`Vocabulary`: the ids of all users, or of all products, and the rows they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from tastemaker.data.identifiers import IdForm, as_form, normalise_ids, series_of_objects
from tastemaker.errors import DataError, UnknownId
from tastemaker.types import AnyArray, Rows

__all__ = ["Noun", "Vocabulary"]

Noun = Literal["user", "product"]

MOST_ONE_BY_ONE = 64
"""The most ids that are looked up one by one; more are joined, which hashes the whole vocabulary."""

RARE = 16
"""Sorted ids are bisected where at most one in this many is wanted, or those wanted ascend; else hashing them all costs less."""


@dataclass(frozen=True, slots=True, repr=False)
class Vocabulary:
    """The ids of one kind of thing, in row order: ``ids[row]`` is the id of ``row``.

    Without a catalogue the ids are sorted, so that the rows depend on the set of ids alone, never on the order
    of the log or on the number of threads. With a catalogue they stand in the catalogue's order.

    Build one with `Vocabulary.of`; the constructor only stores.

    >>> shops = Vocabulary.of(["b", "a", "b"], noun="user")
    >>> shops.ids.to_list(), shops.rows(["b"]).tolist(), shops.find(["a", "x"]).to_list()
    (['a', 'b'], [1], [0, None])
    """

    ids: pl.Series
    """The distinct ids, ``String`` or an integer type, length n."""

    noun: Noun
    """What the ids name, for messages."""

    form: IdForm = "plain"
    """How the ids came: plainly, or as 16-byte UUIDs, which are text here and bytes again in files."""

    is_sorted: bool = True
    """Whether ``ids`` ascend, so that one id is found by bisection."""

    @classmethod
    def of(cls, ids: pl.Series | Iterable[object], *, noun: Noun, keep_order: bool = False) -> Vocabulary:
        """Collect the distinct ids, sorted or (``keep_order``) in the order of their first appearance.

        Raises `ColumnProblem` when the values cannot be ids, and `DataError` when one is null or empty.
        """
        series, form = normalise_ids(ids, noun=noun)
        missing = series.null_count() + (int((series == "").sum()) if series.dtype == pl.String else 0)
        if missing:
            raise DataError(
                f"{missing:,} of {len(series):,} {noun} ids are null or empty; drop those rows, or name them."
            )
        distinct = series.unique(maintain_order=True) if keep_order else series.unique().sort()
        return cls(distinct.alias("id"), noun, form, bool(distinct.is_sorted()))

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        shown = ", ".join(repr(id) for id in self.ids.head(3).to_list())
        return f"Vocabulary({len(self):,} {self.noun}s: {shown}{', …' if len(self) > 3 else ''})"

    def find(self, ids: pl.Series | Iterable[object]) -> pl.Series:
        """Return the row of each id, ``Int32[n]``, null where the id is unknown.

        Text is accepted for integer ids and the reverse, so that a command line and a CSV meet a Parquet file.
        """
        wanted = self._coerce(ids)
        if self.is_sorted and (RARE * len(wanted) <= len(self) or (len(self) > 0 and wanted.is_sorted())):
            return self._bisect(wanted)
        if len(wanted) <= MOST_ONE_BY_ONE:
            return pl.Series("row", [self._find_one(value) for value in wanted.to_list()], dtype=pl.Int32)
        table = pl.DataFrame({"id": self.ids, "row": pl.int_range(len(self), dtype=pl.Int32, eager=True)})
        found = wanted.alias("id").to_frame().join(table, on="id", how="left", maintain_order="left")
        return found.get_column("row")

    def rows(self, ids: pl.Series | Iterable[object] | object) -> Rows:
        """Return the row of each id, or of one id, ``int32[n]``; raise `UnknownId` when one is not here."""
        if isinstance(ids, str | bytes) or not isinstance(ids, pl.Series | Iterable):
            ids = [ids]  # one id; the letters of a text are none
        series = ids if isinstance(ids, pl.Series) else series_of_objects(list(ids))
        found = self.find(series)
        if found.null_count():
            unknown = series.filter(found.is_null()).unique(maintain_order=True)
            raise UnknownId(self._unknown_message(unknown), unknown.head(1000).to_list())
        return found.to_numpy().astype(np.int32, copy=False)

    def rows_of(self, others: Vocabulary) -> Rows:
        """Return the row here of each id of another vocabulary, ``int32[n]``, -1 where it has none."""
        if others is self or others.ids.equals(self.ids):
            return np.arange(len(others), dtype=np.int32)
        return self.find(others.ids).fill_null(-1).to_numpy().astype(np.int32)

    def at(self, rows: AnyArray) -> pl.Series:
        """Return the ids that stand at ``rows[n]``, as text or integers."""
        return self.ids.gather(pl.Series(np.asarray(rows, dtype=np.int64)))

    def original(self, ids: pl.Series) -> pl.Series:
        """Give ids of this vocabulary the type in which they came (16-byte UUIDs become bytes again)."""
        return as_form(ids, self.form)

    def _coerce(self, ids: pl.Series | Iterable[object]) -> pl.Series:
        if self.form == "integers and text" and not isinstance(ids, pl.Series):
            ids = [None if value is None else str(value) for value in ids]
        series, _ = normalise_ids(ids, noun=self.noun)
        if series.dtype == self.ids.dtype:
            return series
        if self.ids.dtype == pl.String:
            return series.cast(pl.String)
        if series.dtype == pl.String:  # only the canonical spelling of an integer names it: "007" is not 7
            number = series.cast(pl.Int64, strict=False)
            series = number.set(number.cast(pl.String) != series, None)
        return series.cast(self.ids.dtype, strict=False)

    def _bisect(self, wanted: pl.Series) -> pl.Series:
        place = self.ids.search_sorted(wanted, side="left").cast(pl.Int32)
        there = self.ids.gather(place.clip(upper_bound=len(self) - 1))
        return place.set(~(there == wanted).fill_null(False), None).alias("row")

    def _find_one(self, value: object) -> int | None:
        return None if value is None else self.ids.index_of(value)  # type: ignore[arg-type]

    def _unknown_message(self, unknown: pl.Series) -> str:
        names = ", ".join(repr(value) for value in unknown.head(3).to_list())
        more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
        are, s = ("is", "") if len(unknown) == 1 else ("are", "s")
        example = f" An id here looks like {self.ids[0]!r}." if len(self) else ""
        return f"{self.noun}{s} {names}{more} {are} not among the {len(self):,} {self.noun}s known.{example}"
