"""The distinct values of a column of ids, and the place of each row's value among them, without a hash of every text."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl

from tastemaker.data.identifiers import normalise_ids
from tastemaker.data.vocabulary import Noun
from tastemaker.types import AnyArray, Rows

__all__ = ["Distinct", "IdPlan", "distinct_of", "plan_ids"]

ROOM = 4
"""Integers are looked up in a table where their range is at most this many times their number, others by bisection."""

MOST = 0.9
"""So great a share of the sample must be integers, behind one and the same beginning, for a column of texts to be read as such."""

MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class IdPlan:
    """How a column of ids is read: numbers as they are, texts as numbers behind a beginning or as categories."""

    noun: Noun
    parts: dict[str, pl.Expr]
    """The noun: numbers or categories; ``NOUN odd``: the texts that the numbers cannot stand for, as categories"""
    beginning: str | None = None
    """What stands before the number in every text; ``None`` for a column that is not texts read as numbers"""
    digits: int | None = None
    """How many digits each number is written with, where zeros fill them up"""

    def texts_of(self, numbers: pl.Series) -> pl.Series:
        """Return the texts that numbers stand for."""
        texts = numbers.cast(pl.String)
        if self.digits is not None:
            texts = texts.str.zfill(self.digits)
        return pl.Series("id", [self.beginning]) + texts if self.beginning else texts


@dataclass(frozen=True, slots=True)
class Distinct:
    """The distinct values of a column, as they stand there."""

    codes: Rows
    """``int32[rows]``, -1 where there is none"""
    numbers: pl.Series | None
    """The first ones: numbers that stand for texts by the plan; ``None`` where the plan reads none"""
    others: pl.Series
    """The rest, or all of them"""


def plan_ids(name: str, dtype: pl.DataType, noun: Noun, sample: pl.Series) -> IdPlan:
    """Plan how a column of ids is read, by its first values; every row is held against the plan while it is read.

    Texts that are nearly all integers, or nearly all integers behind one beginning (``u17``, ``SKU-004``), are read as those
    numbers, and the others beside them; any other texts as categories. Raises `ColumnProblem` for types that cannot be ids.
    """
    value = pl.col(name)
    if dtype in (pl.Categorical, pl.Enum):
        value, dtype = value.cast(pl.String), pl.String()
    elif dtype == pl.String:
        found = _beginning_of(sample)
        if found is not None:
            return _of_numbers(noun, value, *found)
    if dtype == pl.Binary:
        value, dtype = value.bin.encode("hex"), pl.String()
    if dtype == pl.String:
        return IdPlan(noun, {noun: value.cast(_categories())})
    if not dtype.is_float():
        first = sample if sample.dtype == dtype else pl.Series(name, [], dtype=dtype)
        normalise_ids(first, noun=noun)  # raises for types that cannot be ids
    return IdPlan(noun, {noun: value})


def distinct_of(plan: IdPlan, table: pl.DataFrame) -> Distinct:
    """Return the distinct values of a column read by its plan."""
    column = table[plan.noun]
    if plan.beginning is None:
        codes, values = _distinct(column)
        return Distinct(codes, None, values)
    codes, numbers = _distinct(column)
    odd = table[f"{plan.noun} odd"]
    if odd.null_count() == len(odd):
        return Distinct(codes, numbers, pl.Series("id", [], pl.String))
    rest, others = _distinct(odd)
    return Distinct(np.where(rest >= 0, rest + np.int32(len(numbers)), codes), numbers, others)


def _categories() -> pl.Categorical:
    return pl.Categorical(pl.Categories.random())


def _beginning_of(sample: pl.Series) -> tuple[str, int | None] | None:
    """Return what most texts of a sample begin with before a number, and how many digits zeros fill up."""
    texts = [text for text in sample.drop_nulls().to_list() if text]
    matches = [re.fullmatch(r"(\D*)(\d+)", text) for text in texts]
    found = Counter(match[1] if match[1] != "-" else "" for match in matches if match)
    if not found:
        return None
    ((beginning, _),) = found.most_common(1)
    if beginning != beginning.strip():
        return None
    numbers = [match[2] for match in matches if match and match[1] in (beginning, beginning or "-")]
    lengths = Counter(map(len, numbers))
    digits = None
    if any(len(number) > 1 and number.startswith("0") for number in numbers):
        digits, _ = lengths.most_common(1)[0]
        numbers = [number for number in numbers if len(number) == digits]
    fit = [number for number in numbers if len(number) <= MOST_DIGITS]
    return (beginning, digits) if len(fit) >= MOST * len(texts) else None


def _of_numbers(noun: Noun, text: pl.Expr, beginning: str, digits: int | None) -> IdPlan:
    """Read texts as numbers where number and text stand for each other, ``7`` but neither ``07`` nor ``+7``."""
    body = text.str.strip_prefix(beginning) if beginning else text
    number = body.cast(pl.Int64, strict=False)
    signed = body.str.starts_with("+")
    if digits is None:
        strange = (
            signed | body.str.starts_with("-0") | (body.str.starts_with("0") & (body.str.len_bytes() > 1))
        )
    else:
        strange = signed | body.str.starts_with("-") | (body.str.len_bytes() != digits)
    fits = number.is_not_null() & ~strange
    if beginning:
        fits &= text.str.starts_with(beginning)
    parts = {noun: pl.when(fits).then(number), f"{noun} odd": pl.when(~fits).then(text).cast(_categories())}
    return IdPlan(noun, parts, beginning, digits)


def _distinct(column: pl.Series) -> tuple[Rows, pl.Series]:
    """Return the place of each row's value among the distinct ones, ``int32[rows]``, -1 for null, and the distinct ones."""
    if isinstance(column.dtype, pl.Categorical):
        distinct = column.unique().drop_nulls()
        places = distinct.to_physical().cast(pl.Int64).to_numpy()
        table = np.full(int(places.max(initial=-1)) + 2, -1, np.int32)
        table[places] = np.arange(len(places), dtype=np.int32)
        return table[column.to_physical().fill_null(len(table) - 1).to_numpy()], distinct.cast(pl.String)
    if column.dtype.is_integer() and column.dtype not in (pl.UInt64, pl.Int128, pl.UInt128):
        low, high = column.min(), column.max()
        if low is not None and int(high) - int(low) <= ROOM * len(column) + 1_000_000:  # type: ignore[arg-type]
            return _looked_up(column, int(low), int(high))  # type: ignore[arg-type]
    distinct = column.unique().drop_nulls()
    return _bisected(column, distinct), distinct


def _looked_up(column: pl.Series, low: int, high: int) -> tuple[Rows, pl.Series]:
    """Do the same for integers that lie close together, by a table of them all."""
    low = 0 if 0 <= low <= high - low else low
    nulls = column.null_count() > 0
    wide = column.cast(pl.Int64) if low or nulls else column
    if nulls:
        wide = wide.fill_null(high + 1)
    offsets = (wide - low if low else wide).to_numpy()
    present = np.zeros(high - low + 2, np.bool_)
    present[offsets] = True
    present[-1] = False  # where the nulls point to
    places = np.cumsum(present, dtype=np.int32)
    places -= 1
    places[-1] = -1
    ids = pl.Series("id", np.flatnonzero(present) + low).cast(column.dtype)
    codes: AnyArray = np.take(places, offsets)
    return codes, ids


def _bisected(column: pl.Series, distinct: pl.Series) -> Rows:
    if not len(distinct):
        return np.full(len(column), -1, np.int32)
    order = distinct.arg_sort().to_numpy()
    ascending = distinct.gather(pl.Series(order))
    places = ascending.search_sorted(column.fill_null(distinct[0])).to_numpy()
    codes: AnyArray = order[places].astype(np.int32)
    codes[column.is_null().to_numpy()] = -1
    return codes
