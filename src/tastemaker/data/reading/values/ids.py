"""The ids of a column: read as codes with the rows, made tidy and given their type once for each distinct id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from tastemaker.data.identifiers import IdForm, normalise_ids, python_values, tidied, typed_ids
from tastemaker.data.reading.files.limits import LONGEST_ID
from tastemaker.data.vocabulary import Noun
from tastemaker.errors import ColumnProblem
from tastemaker.types import AnyArray, Rows

__all__ = ["CodedIds", "as_codes", "coded", "typed"]

ROOM = 4
"""Integers whose range is up to so many times their number are looked up in a table, others by bisection."""


@dataclass(frozen=True, slots=True)
class CodedIds:
    """A column of ids as numbers of distinct ones."""

    codes: Rows
    """``int32[rows]``, -1 where there is no id"""
    ids: pl.Series
    """The distinct ids, ``String`` or integers, in no order"""
    form: IdForm
    written: Literal["with types", "without types", "mixtures as text"]
    """Whether integers may stand here as text: always in a file without types, beside texts where JSON mixed both"""
    warnings: tuple[str, ...] = ()


def as_codes(name: str, dtype: pl.DataType, noun: Noun) -> pl.Expr:
    """Return the expression by which a column of ids is read: text as categories, numbers as they are.

    Raises `ColumnProblem` for types that cannot be ids.
    """
    value = pl.col(name)
    if dtype in (pl.Categorical, pl.Enum):
        value, dtype = value.cast(pl.String), pl.String()
    if dtype == pl.Binary:
        value, dtype = value.bin.encode("hex"), pl.String()
    if dtype == pl.String:
        return value.cast(pl.Categorical(pl.Categories.random()))
    if not dtype.is_float():
        normalise_ids(pl.Series(name, [], dtype=dtype), noun=noun)  # raises for types that cannot be ids
    return value


def coded(
    column: pl.Series,
    dtype: pl.DataType,
    *,
    noun: Noun,
    name: str,
    written: Literal["with types", "without types", "mixtures as text"],
    keep_null_words: bool,
) -> CodedIds:
    """Return the codes of all rows and the distinct tidy ids; raise `ColumnProblem` for values that cannot be ids."""
    distinct = column.unique().drop_nulls()
    place_of = _places(column, distinct)
    raw = distinct.cast(pl.String) if isinstance(distinct.dtype, pl.Categorical) else distinct
    if dtype == pl.Binary:
        raw = raw.str.decode("hex")
    ids, form = normalise_ids(raw, noun=noun)
    if ids.dtype != pl.String:
        return CodedIds(place_of(), ids, form, written)
    longest = ids.str.len_bytes().max()
    if isinstance(longest, int) and longest > LONGEST_ID:
        raise ColumnProblem(
            f"{noun} ids in column {name!r} are up to {longest:,} bytes long; at most {LONGEST_ID:,} are read. "
            f"Name another column with --{noun}-column, or mend the row."
        )
    tidy = tidied(ids, keep_null_words=keep_null_words)
    codes = place_of()
    if tidy.ids.null_count() or bool((tidy.ids != ids).any()):
        table, ids = _merged(tidy.ids)
        warnings = _said(tidy.null_words, tidy.pointed, ids=raw, codes=codes, noun=noun, name=name)
        codes = table[codes]
    else:
        warnings = ()
    return CodedIds(codes, ids, form, written, warnings)


def typed(found: CodedIds, used: Rows, noun: Noun, name: str) -> tuple[pl.Series, IdForm, tuple[str, ...]]:
    """Return the ids of the codes that are used, in the type that all of them have, its form, and what should be said of it."""
    ids = found.ids.gather(pl.Series(used.astype(np.int64)))
    if found.written == "with types" or ids.dtype != pl.String:
        return ids, found.form, ()
    texts, (ids, form) = ids, typed_ids(ids)
    if found.written == "mixtures as text" and form != "integers and text":
        return texts, found.form, ()  # a text such as "7" is no number where all are texts
    if form != "integers and text":
        return ids, form if form != "plain" else found.form, ()
    odd = [one for one in python_values(ids, form) if isinstance(one, str)]
    shown = ", ".join(map(repr, sorted(odd)[:3]))
    s, are = ("", "is") if len(odd) == 1 else ("s", "are")
    note = (
        f"{len(odd):,} of {len(ids):,} {noun} ids in column {name!r} {are} no integer{s} ({shown}); the others stay integers "
        "beside the text, so that numbers and text both find them."
    )
    return ids, form, (note,)


def _places(column: pl.Series, distinct: pl.Series) -> Callable[[], Rows]:
    """Return what gives the place of each row's value among the distinct ones, ``int32[rows]``, -1 for null."""
    if isinstance(column.dtype, pl.Categorical):
        own, all_codes = distinct.to_physical().cast(pl.Int64).to_numpy(), column.to_physical()
    elif column.dtype.is_integer() and len(distinct):
        low, high = int(distinct.min()), int(distinct.max())  # type: ignore[arg-type]
        if high - low > ROOM * len(column) + 1_000_000 or column.dtype == pl.UInt64:
            return lambda: _bisected(column, distinct)
        own, all_codes = (distinct.cast(pl.Int64) - low).to_numpy(), column.cast(pl.Int64) - low
    else:
        return lambda: _bisected(column, distinct)
    table = np.full(int(own.max(initial=-1)) + 2, -1, np.int32)
    table[own] = np.arange(len(own), dtype=np.int32)
    return lambda: table[all_codes.fill_null(len(table) - 1).to_numpy()]


def _bisected(column: pl.Series, distinct: pl.Series) -> Rows:
    if not len(distinct):
        return np.full(len(column), -1, np.int32)
    order = distinct.arg_sort().to_numpy()
    ascending = distinct.gather(pl.Series(order))
    places = ascending.search_sorted(column.fill_null(distinct[0])).to_numpy()
    codes: AnyArray = order[places].astype(np.int32)
    codes[column.is_null().to_numpy()] = -1
    return codes


def _merged(ids: pl.Series) -> tuple[Rows, pl.Series]:
    """Return the distinct ids of a series with repeats and nulls, and a table from its places (and -1) to theirs."""
    distinct = ids.unique(maintain_order=True).drop_nulls()
    found = ids.alias("id").to_frame().join(
        pl.DataFrame({"id": distinct, "code": pl.int_range(len(distinct), dtype=pl.Int32, eager=True)}),
        on="id", how="left", maintain_order="left",
    )  # fmt: skip
    table = np.append(found["code"].fill_null(-1).to_numpy(), np.int32(-1)).astype(np.int32)
    return table, distinct


def _said(
    null_words: pl.Series, pointed: pl.Series, *, ids: pl.Series, codes: Rows, noun: Noun, name: str
) -> tuple[str, ...]:
    if not bool(null_words.any()) and not bool(pointed.any()):
        return ()
    rows = np.bincount(codes[codes >= 0], minlength=len(ids))
    warnings = []
    if bool(pointed.any()):
        one = ids.filter(pointed).sort()[0]
        warnings.append(
            f"{int(rows[pointed.to_numpy()].sum()):,} {noun} ids in column {name!r} are whole numbers with a point ({one!r}); each "
            "is read as the integer, one and the same id."
        )
    if bool(null_words.any()):
        words = ", ".join(map(repr, ids.filter(null_words).sort().head(4).to_list()))
        warnings.append(
            f"{int(rows[null_words.to_numpy()].sum()):,} {noun} ids in column {name!r} are words for nothing ({words}) and "
            "count as no id; --keep-null-words keeps them."
        )
    return tuple(warnings)
