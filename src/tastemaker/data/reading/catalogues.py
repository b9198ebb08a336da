"""Catalogues: lists of all users or of all products, so that those without a purchase have a row too."""

from __future__ import annotations

from typing import Any, TypeAlias

import polars as pl

from tastemaker.data.identifiers import IdForm, normalise_ids, tidied, typed_ids
from tastemaker.data.reading.columns import Columns, find_column
from tastemaker.data.reading.sources import Source, open_source, translated
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import CatalogueMismatch, ColumnProblem, DataError

__all__ = ["Catalogue", "adopt", "id_column", "open_catalogue", "read_catalogue"]

Catalogue: TypeAlias = Any
"""A path, a frame, a series or list of ids, a `Vocabulary`, or a `Source` that is open."""

UUID_TEXT = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


def open_catalogue(catalogue: Catalogue | None) -> Catalogue | None:
    """Return a catalogue that several functions read, opened once; ids alone, and ``None``, as they are."""
    alone = catalogue is None or isinstance(catalogue, (Vocabulary, pl.Series, list, tuple))
    return catalogue if alone else open_source(catalogue)


def read_catalogue(source: Catalogue, *, noun: Noun, column: str | None = None) -> Vocabulary:
    """Read the ids of all users or products, in the order of the file; a repeated id is the same one.

    ``source`` is a path or frame as of `read_purchases`, or a series or list of ids; a `Vocabulary` is
    returned as it is. The ids stand in the column named ``column``, in the one with a usual name, or in the
    only one. CSV ids are text unless all are integers.

    Raises `UnreadableFile`, `ColumnProblem`, and `DataError` when an id is null or empty, or there is none.

    >>> read_catalogue(["u2", "u1", "u2"], noun="user").ids.to_list()
    ['u2', 'u1']
    """
    if isinstance(source, Vocabulary):
        return source
    if isinstance(source, (pl.Series, list, tuple)):
        return Vocabulary.of(source, noun=noun, keep_order=True)
    opened = open_source(source, columns=Columns(**{noun: column}))
    name = id_column(opened, noun, column)
    with translated(opened.label):
        ids = opened.select([name]).collect(engine="streaming").to_series()
    if not len(ids):
        raise DataError(f"{opened.label} names no {noun}.")
    ids, form = normalise_ids(ids, noun=noun)
    if ids.dtype == pl.String:
        ids = tidied(ids).ids
    if opened.is_text:
        ids = ids.drop_nulls() if len(opened.names) == 1 else ids  # a blank line is no id
        if not ids.null_count():
            ids, form = typed_ids(ids)
    vocabulary = Vocabulary.of(ids, noun=noun, keep_order=True)
    return Vocabulary(vocabulary.ids, noun, form, vocabulary.is_sorted)


def id_column(source: Source, noun: Noun, named: str | None) -> str:
    """Return the column of a catalogue that holds the ids: the named one, one with a usual name, or the only one."""
    if named is None and len(source.names) == 1:
        return source.names[0]
    found = find_column(source.names, noun, named, label=source.label)
    if found is None and not source.has_header:
        return source.names[0]
    if found is None:
        raise ColumnProblem(
            f"{source.label} has no column with a usual name for the {noun} id; "
            f"call it {noun}_id. Its columns are {', '.join(map(repr, source.names))}."
        )
    return found


def adopt(catalogue: Vocabulary, ids: pl.Series, form: IdForm) -> Vocabulary:
    """Return the catalogue with its ids in the type and form of a log's distinct ``ids``.

    When an id of the catalogue does not fit the log's type, integers stay as wide as the catalogue's, and
    text (``"85123A"`` beside integers) makes all text. Raises
    `CatalogueMismatch` when the catalogue lacks an id of the log.
    """
    matched = _in_type_of(catalogue, ids, form)
    missing = ids.filter(matched.find(ids).is_null()).sort()
    if len(missing):
        names = ", ".join(map(repr, missing.head(3).to_list())) + (", …" if len(missing) > 3 else "")
        noun = catalogue.noun
        raise CatalogueMismatch(
            f"{len(missing):,} of the {len(ids):,} {noun}s in the log are missing from the catalogue of "
            f"{len(catalogue):,} {noun}s: {names}; add them to it, or leave the catalogue out."
        )
    return matched


def _in_type_of(catalogue: Vocabulary, ids: pl.Series, form: IdForm) -> Vocabulary:
    own = catalogue.ids
    if form == "uuid bytes" and own.dtype == pl.String and not bool(own.str.contains(UUID_TEXT).all()):
        form = "plain"
    if own.dtype != ids.dtype:
        wider = [own.dtype] if own.dtype.is_integer() and ids.dtype.is_integer() else []
        own = next(own.cast(dtype) for dtype in (ids.dtype, *wider, pl.String()) if _fits(own, dtype))
    if own.dtype == pl.String and form == "plain" and ids.dtype != pl.String:
        form = catalogue.form  # integers of the log among integers and text of the catalogue
    if form == "integers and text" and own.dtype != pl.String:
        form = "plain"
    return Vocabulary(own, catalogue.noun, form, bool(own.is_sorted()) and form != "integers and text")


def _fits(ids: pl.Series, dtype: pl.DataType) -> bool:
    there = ids.cast(dtype, strict=False)
    return bool(there.cast(ids.dtype, strict=False).eq_missing(ids).all())
