"""The ids of a column: read as codes with the rows, made tidy and given their type once for each distinct id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from tastemaker.data.identifiers import IdForm, Tidied, normalise_ids, python_values, tidied, typed_ids
from tastemaker.data.reading.files.limits import LONGEST_ID
from tastemaker.data.reading.values.codes import IdPlan, distinct_of
from tastemaker.data.vocabulary import Noun
from tastemaker.display import quoted
from tastemaker.errors import ColumnProblem
from tastemaker.types import AnyArray, Rows

__all__ = ["CodedIds", "Written", "coded", "typed"]

Written: TypeAlias = Literal["with types", "without types", "mixtures as text"]


@dataclass(frozen=True, slots=True)
class CodedIds:
    """A column of ids as numbers of distinct ones."""

    codes: Rows
    """``int32[rows]``, -1 where there is no id"""
    ids: pl.Series
    """The distinct ids, ``String`` or integers, in no order"""
    form: IdForm
    written: Written
    """Whether integers may stand here as text: always in a file without types, beside texts where JSON mixed both"""
    warnings: tuple[str, ...] = ()


def coded(
    plan: IdPlan,
    table: pl.DataFrame,
    dtype: pl.DataType,
    *,
    name: str,
    written: Written,
    keep_null_words: bool,
) -> CodedIds:
    """Return the codes of all rows and the distinct tidy ids; raise `ColumnProblem` for values that cannot be ids."""
    found = distinct_of(plan, table)
    codes, raw, noun = found.codes, found.others, plan.noun
    if dtype == pl.Binary:
        raw = raw.str.decode("hex")
    ids, form = normalise_ids(raw, noun=noun)
    numbers = found.numbers
    if (
        numbers is not None
        and not len(ids)
        and not plan.beginning
        and not plan.digits
        and written == "without types"
    ):
        return CodedIds(codes, numbers, form, written)
    if ids.dtype != pl.String:
        return CodedIds(codes, ids, form, written)
    longest = ids.str.len_bytes().max()
    if isinstance(longest, int) and longest > LONGEST_ID:
        raise ColumnProblem(
            f"{noun} ids in column {name!r} are up to {longest:,} bytes long; at most {LONGEST_ID:,} are read. "
            f"Name another column with --{noun}-column, or mend the row."
        )
    tidy = tidied(ids, keep_null_words=keep_null_words)
    first = pl.Series("id", [], pl.String) if numbers is None else plan.texts_of(numbers)
    warnings: tuple[str, ...] = ()
    if tidy.ids.null_count() or bool((tidy.ids != ids).any()):
        rows = np.bincount(codes[codes >= len(first)] - len(first), minlength=len(ids))
        warnings = _said(tidy, ids=raw, rows=rows, noun=noun, name=name)
        places, ids = _merged(first.append(tidy.ids.alias("id")))
        codes = places[codes]
    else:
        ids = first.append(ids.alias("id"))
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
    odd = [value for value in python_values(ids, form) if isinstance(value, str)]
    shown = quoted(sorted(odd)[:3])
    s, are = ("", "is") if len(odd) == 1 else ("s", "are")
    note = (
        f"{len(odd):,} of {len(ids):,} {noun} ids in column {name!r} {are} no integer{s} ({shown}); the others stay integers "
        "beside the text, so that numbers and text both find them."
    )
    return ids, form, (note,)


def _merged(ids: pl.Series) -> tuple[Rows, pl.Series]:
    """Return the distinct ids of a series with repeats and nulls, and a table from its places (and -1) to theirs."""
    distinct = ids.unique(maintain_order=True).drop_nulls()
    found = ids.alias("id").to_frame().join(
        pl.DataFrame({"id": distinct, "code": pl.int_range(len(distinct), dtype=pl.Int32, eager=True)}),
        on="id", how="left", maintain_order="left",
    )  # fmt: skip
    table = np.append(found["code"].fill_null(-1).to_numpy(), np.int32(-1)).astype(np.int32)
    return table, distinct


def _said(tidy: Tidied, *, ids: pl.Series, rows: AnyArray, noun: Noun, name: str) -> tuple[str, ...]:
    """Return a sentence for each kind of change, with the number of rows and an example."""

    def said(mask: pl.Series, what: str, so: str, shown: int = 1) -> list[str]:
        if not bool(mask.any()):
            return []
        examples = quoted(ids.filter(mask).sort().head(shown).to_list())
        count = int(rows[mask.to_numpy()].sum())
        return [f"{count:,} {noun} ids in column {name!r} are {what} ({examples}){so}"]

    whole = "; each is read as the integer, one and the same id."
    nothing = " and count as no id; --keep-null-words keeps them."
    return (
        *said(tidy.spaced, "between white space", ", which is taken off."),
        *said(tidy.pointed, "whole numbers with a point", whole),
        *said(tidy.null_words, "words for nothing", nothing, 4),
    )
