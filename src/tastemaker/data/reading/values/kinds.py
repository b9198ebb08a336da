"""Kinds of events, context and features: what stands beside the pairs of a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tastemaker.data.reading.catalogues import Catalogue, id_column
from tastemaker.data.reading.options import Features, Reading
from tastemaker.data.reading.product_table import as_guessed, read_product_table
from tastemaker.data.reading.remedies import for_caller
from tastemaker.data.reading.sources import Source
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.display import quoted, quoted_few
from tastemaker.errors import ColumnProblem
from tastemaker.types import AnyArray, Rows

__all__ = ["PURCHASE", "KindColumn", "beside", "features", "further_columns", "kinds_of", "not_learned"]

PURCHASE = "purchase"

MOST_VALUES = 5_000
"""*auto* takes columns with at most this many distinct values,"""

SHARE_OF_VALUES = 0.5
"""and at most this many for each user or product that has one: columns with more hold names, not kinds."""


@dataclass(frozen=True, slots=True)
class KindColumn:
    """The kind of each row, as a place in ``names``; -1 for rows of other kinds."""

    names: tuple[str, ...]
    """*purchase* first"""
    places: AnyArray
    """``int16[rows]``"""
    strange: dict[str, int]
    """Words that no kind has, and how many rows have them"""


def further_columns(source: Source, reading: Reading) -> tuple[str, ...]:
    """Return the columns of the log that are read beside those of the roles; raise `ColumnProblem` where one is missing."""
    wanted = [*reading.context, *([reading.event_column] if reading.event_column is not None else [])]
    for name in wanted:
        if name not in source.names:
            flag = "--event-column" if name == reading.event_column else "--context"
            columns = quoted(source.names[:30])
            raise ColumnProblem(f"{source.label} has no column {name!r} ({flag}). Its columns are {columns}.")
    for listed in (reading.user_features, reading.product_features):
        wanted += [name for name in listed if name in source.names] if not isinstance(listed, str) else []
    if reading.weight_column is not None:
        if reading.weight_column not in source.names:
            columns = quoted(source.names[:30])
            raise ColumnProblem(
                f"{source.label} has no column {reading.weight_column!r} (--weight-column). Its columns are {columns}."
            )
        wanted.append(reading.weight_column)
    if reading.value_column in source.names:
        wanted.append(str(reading.value_column))
    return tuple(dict.fromkeys(wanted))


def kinds_of(column: pl.Series, reading: Reading, label: str) -> KindColumn:
    """Tell the kind of each row by the words of ``reading.events``; raise `ColumnProblem` when no row is a purchase."""
    names = (PURCHASE, *(name for name in reading.events if name != PURCHASE))
    exact = {word: place for place, name in enumerate(names) for word in reading.events[name]}
    folded = {word.lower(): place for word, place in reversed(exact.items())}
    texts = column.cast(pl.String).str.strip_chars().fill_null("")
    counts = texts.value_counts(sort=True)
    words = dict(zip(counts[texts.name].to_list(), counts["count"].to_list(), strict=True))
    found = {word: exact.get(word, folded.get(word.lower(), -1)) for word in words}
    places = texts.replace_strict(found, return_dtype=pl.Int16).to_numpy()
    if not (places == 0).any():
        shown = ", ".join(f"{word!r} {many:,}" for word, many in list(words.items())[:8])
        raise ColumnProblem(
            f"no row of {label} is a purchase: column {reading.event_column!r} holds {shown}; say which words mean one with "
            "--event 'purchase=WORD'."
        )
    return KindColumn(names, places, {word: many for word, many in words.items() if found[word] < 0})


def beside(frame: pl.DataFrame, columns: Sequence[str], *, is_text: bool) -> pl.DataFrame | None:
    """Return some columns of the rows kept, numbers and truth values as such where a file has no types; ``None`` for none."""
    if not columns:
        return None
    return pl.DataFrame([as_guessed(frame[name]) if is_text else frame[name] for name in columns])


def features(
    catalogue: Catalogue | None, wanted: Features, vocabulary: Vocabulary, log: pl.DataFrame, rows: Rows
) -> pl.DataFrame | None:
    """Return what describes each user or product, in the order of the vocabulary: from the catalogue, or from the rows of the log.

    ``catalogue`` is one of `open_catalogue`, ``log`` holds the further columns of the rows kept, and ``rows`` says whose each is.
    Of several values in the log the last counts. Raises `ColumnProblem` for a column that neither has.
    """
    if wanted == "none" or not wanted:
        return None
    noun: Noun = vocabulary.noun
    table = pl.DataFrame()
    if isinstance(catalogue, Source):
        table = read_product_table(catalogue, vocabulary).frame
    if isinstance(wanted, str):
        fit = [column for column in table.iter_columns() if _describes(column)]
        return pl.DataFrame(fit) if fit else None
    found = []
    for name in wanted:
        if name in table.columns:
            found.append(table[name])
        elif name in log.columns:
            found.append(_last_of_each(log[name], rows, len(vocabulary)))
        else:
            columns = ", ".join(map(repr, dict.fromkeys((*table.columns, *log.columns)))) or "none"
            raise ColumnProblem(
                f"neither the log nor the catalogue of {noun}s has a column {name!r} (--{noun}-features); there are {columns}."
            )
    return pl.DataFrame(found)


def not_learned(catalogue: Catalogue | None, wanted: Features, noun: Noun) -> str | None:
    """Return a sentence on what a catalogue of `open_catalogue` says if none is learned from; ``None`` where it has none."""
    if wanted != "none" or not isinstance(catalogue, Source):
        return None
    names = [name for name in catalogue.names if name != id_column(catalogue, noun, None)]
    if not names:
        return None
    return for_caller(
        f"Nothing is learned from {quoted_few(names)}, which {catalogue.label} says of {noun}s; "
        f"name what describes them with --{noun}-features."
    )


def _describes(column: pl.Series) -> bool:
    """Tell whether a column parts users or products into kinds: neither all alike, nor all different."""
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        return False
    given = len(column) - column.null_count()
    distinct = column.drop_nulls().n_unique() if given else 0
    if column.dtype.is_float() or column.dtype.is_temporal():
        return distinct > 1
    return 1 < distinct <= min(MOST_VALUES, max(2, SHARE_OF_VALUES * given))


def _last_of_each(column: pl.Series, rows: Rows, count: int) -> pl.Series:
    given = column.is_not_null().to_numpy()
    places = np.full(count, -1, np.int64)
    places[rows[given]] = np.flatnonzero(given)  # of several the last one stays
    index = pl.Series(places)
    return column.gather(index.set(index < 0, None))
