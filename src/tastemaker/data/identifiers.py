"""What an id may be, and how every spelling of it becomes text or an integer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import numpy as np
import polars as pl

from tastemaker.errors import ColumnProblem

__all__ = [
    "NULL_WORDS",
    "IdForm",
    "Tidied",
    "as_form",
    "integers_if_all",
    "is_integer_text",
    "normalise_ids",
    "python_values",
    "series_of_objects",
    "sorted_ids",
    "tidied",
    "typed_ids",
]

IdForm = Literal["plain", "uuid bytes", "integers and text"]
"""How ids came: as they are; as 16 bytes; or as integers among which a few are text, kept as ``String``, in which every id that is
the canonical spelling of an integer is that integer."""

NULL_WORDS = (
    "", "NULL", "Null", "null", "None", "none", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "<NA>", "NaT", "\\N", "(null)",
    "undefined", "#N/A",
)  # fmt: skip
"""Texts that databases, spreadsheets and programs write where there is no id."""

FEWEST_INTEGERS = 0.5
"""At least so great a share of ids are integers where a few texts among them leave them integers."""

MOST_CODES = 0.01
"""More texts that begin with a digit (``85123A``, ``007``) than this share say that the integers are codes, too: all is text."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """Distinct texts after hygiene, and what it changed."""

    ids: pl.Series
    """``String[n]``, null where a text is no id"""
    null_words: pl.Series
    """``Boolean[n]``, where a word such as ``NULL`` stood"""
    pointed: pl.Series
    """``Boolean[n]``, where ``.0`` was taken off"""
    spaced: pl.Series
    """``Boolean[n]``, where white space was taken off an id"""


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
    if dtype.is_nested():
        what = "objects" if isinstance(dtype, pl.Struct) else "lists"
        example = next((value for value in series.head(100).to_list() if value is not None), None)
        shown = "" if example is None else f" (such as {str(example)[:60]})"
        raise ColumnProblem(
            f"{noun} ids are {what}{shown}; ids must be text, integers, bytes or UUIDs: "
            "write the id alone into a column of its own."
        )
    raise ColumnProblem(f"{noun} ids are of type {dtype}; ids must be text, integers, bytes or UUIDs.")


def integers_if_all(ids: pl.Series) -> pl.Series:
    """Make text ids ``Int64`` if each is the canonical spelling of an integer (``007`` is not).

    >>> [integers_if_all(pl.Series(ids)).to_list() for ids in (["7", "-12"], ["7", "0108"])]
    [[7, -12], ['7', '0108']]
    """
    numbers = ids.cast(pl.Int64, strict=False)
    same = numbers.cast(pl.String).eq_missing(ids)
    return numbers if bool(same.all()) and not ids.null_count() else ids


def tidied(texts: pl.Series, *, keep_null_words: bool = False) -> Tidied:
    """Bring distinct texts into the shape of ids: without white space around them, ``n.0`` as ``n``, words for *nothing* as null.

    ``.0`` is taken off where every text that looks like a number with a point is whole: beside ``1.5`` it may be a version.

    >>> tidied(pl.Series([" a", "17850.0", "NULL", "007"])).ids.to_list()
    ['a', '17850', None, '007']
    """
    ids = stripped = texts.str.strip_chars()
    pointed = ids.str.contains(r"^-?\d+\.\d+$").fill_null(False)
    whole = ids.str.contains(r"^-?\d+\.0+$").fill_null(False)
    if bool(whole.any()) and bool((whole == pointed).all()):
        ids = ids.set(whole, None).fill_null(ids.str.replace(r"\.0+$", ""))
    else:
        whole = pl.Series([False]).new_from_index(0, len(ids))
    words = list(NULL_WORDS[:1] if keep_null_words else NULL_WORDS)
    nothing = ids.is_in(words).fill_null(False)
    spaced = (stripped != texts).fill_null(False) & ~nothing
    return Tidied(ids.set(nothing, None), nothing & (stripped != ""), whole, spaced)


def typed_ids(texts: pl.Series) -> tuple[pl.Series, IdForm]:
    """Return the ids of a file without types as integers where all are, as integers and text where nearly all are, else as text.

    >>> typed_ids(pl.Series(["1", "2", "guest-7"]))[1], typed_ids(pl.Series(["85123A", "71053"]))[1]
    ('integers and text', 'plain')
    """
    ids = integers_if_all(texts)
    if ids.dtype != pl.String or not len(ids):
        return ids, "plain"
    integers = is_integer_text(ids)
    codes = ids.str.contains(r"^[+-]?\d").fill_null(False) & ~integers
    few = integers.sum() >= FEWEST_INTEGERS * len(ids) and codes.sum() <= MOST_CODES * len(ids)
    return ids, "integers and text" if few else "plain"


def is_integer_text(ids: pl.Series) -> pl.Series:
    """Tell which texts are the canonical spelling of an integer of 64 bits, ``Boolean[n]``."""
    return (ids.cast(pl.Int64, strict=False).cast(pl.String) == ids).fill_null(False)


def sorted_ids(ids: pl.Series, form: IdForm) -> pl.Series:
    """Sort ids; of integers and text the integers come first, in their own order, so that a text among them moves none."""
    if form != "integers and text":
        return ids.sort()
    number = ids.cast(pl.Int64, strict=False).set(~is_integer_text(ids), None)
    table = pl.DataFrame([ids.alias("id"), number.alias("number")])
    return table.sort("number", "id", nulls_last=True).get_column("id")


def python_values(ids: pl.Series, form: IdForm) -> list[Any]:
    """Return ids as Python's ``int`` and ``str``, each of its own kind.

    >>> python_values(pl.Series(["7", "guest-7"]), "integers and text")
    [7, 'guest-7']
    """
    values = ids.to_list()
    if form != "integers and text":
        return values
    return [
        int(text) if integer else text
        for text, integer in zip(values, is_integer_text(ids).to_list(), strict=True)
    ]


def as_form(ids: pl.Series, form: IdForm) -> pl.Series:
    """Turn normalised ids back into the form in which they came; of integers and text no column holds both, so they stay text."""
    if form != "uuid bytes":
        return ids
    return ids.str.replace_all("-", "", literal=True).str.decode("hex")


def series_of_objects(values: list[object]) -> pl.Series:
    """Make a series of Python objects: UUIDs, and bytes or whole numbers beside text, become text; NaN becomes null.

    Raises `ColumnProblem` when text stands beside anything else.

    >>> series_of_objects([7, 3.0, "guest", None]).to_list()
    ['7', '3.0', 'guest', None]
    """
    texts = [_plain(value) for value in values]
    types = set(map(type, texts)) - {type(None)}
    whole = all(value.is_integer() for value in texts if isinstance(value, float))
    if str in types <= {int, float, str} and whole:
        texts = [str(value) if isinstance(value, int | float) else value for value in texts]
    if {bytes, str} <= types:
        texts = [value.decode() if isinstance(value, bytes) else value for value in texts]
    try:
        return pl.Series("id", texts)
    except UnicodeEncodeError as error:
        raise ColumnProblem(
            f"{error.object!r} holds half of a letter (a surrogate without its other half), which is no text; mend it."
        ) from None
    except (TypeError, pl.exceptions.PolarsError) as error:
        kinds = ", ".join(sorted(kind.__name__ for kind in types))
        raise ColumnProblem(
            f"values of several types stand in one column ({kinds}); make them all text."
        ) from error


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, np.integer | np.floating | np.str_):
        value = value.item()
    return None if isinstance(value, float) and value != value else value  # NaN differs from itself


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
