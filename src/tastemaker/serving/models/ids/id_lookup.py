"""`IdLookup`: ids and rows of a few users or products, as each request needs them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.identifiers import python_values
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.serving.models.ids.id_files import VocabularyInFiles
from tastemaker.types import AnyArray

__all__ = ["IdLookup"]

MOST_AS_OBJECTS = 100_000
"""Up to this many ids are kept as Python objects (about 150 bytes each in every worker); more are searched in the column."""

_INTEGER = re.compile(r"-?[1-9][0-9]{0,19}|0", re.ASCII)


class IdLookup:
    """Looks up a few ids, or gives the ids of a few rows, in microseconds; `Vocabulary` is made for many at once.

    >>> ids = IdLookup(Vocabulary.of(["b", "a"], noun="product"))
    >>> ids.row("b"), ids.row("c"), ids.row(7), list(ids.at(np.array([1, 0])))
    (1, None, None, ['b', 'a'])
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._files = vocabulary.files if isinstance(vocabulary, VocabularyInFiles) else None
        self.is_text = self._files.dtype is None if self._files else vocabulary.ids.dtype == pl.String
        self.is_mixed = vocabulary.form == "integers and text"
        self._few: list[Any] | None = None
        self._rows: dict[Any, int] = {}
        self._numbers: AnyArray | None = None if self.is_text or self._files else vocabulary.ids.to_numpy()
        if self._files is None and len(vocabulary) <= MOST_AS_OBJECTS:
            self._few = python_values(vocabulary.ids, vocabulary.form)
            self._rows = {asked: row for row, asked in enumerate(self._few)}

    @cached_property
    def dtype(self) -> str:
        """Return the type of the ids as TensorFlow names it; integers are ``DT_INT32`` where all fit, as in the notebook.

        Integers mixed with a few texts are ``DT_VARIANT``: numbers and texts are both accepted.
        """
        if self.is_text:
            return "DT_VARIANT" if self.is_mixed else "DT_STRING"
        dtype, least, greatest = self._bounds()
        if least >= -(2**31) and greatest < 2**31:
            return "DT_INT32"
        return "DT_UINT64" if dtype == np.uint64 else "DT_INT64"

    def _bounds(self) -> tuple[np.dtype[Any], int, int]:
        """Return the type of whole numbers, the least and the greatest."""
        if self._files is not None:
            return np.dtype(self._files.dtype), self._files.least or 0, self._files.greatest or 0
        numbers = np.zeros(0, np.int64) if self._numbers is None else self._numbers
        return numbers.dtype, int(numbers.min(initial=0)), int(numbers.max(initial=0))

    def row(self, asked: object) -> int | None:
        """Return the row of an id, ``None`` when it is not known or not of the type of ids here."""
        if self.is_mixed:
            return self._row_of_mixed(asked)
        if type(asked) is not (str if self.is_text else int):
            return None
        if self._few is not None:
            return self._rows.get(asked)
        if self._files is not None:
            return self._files.row(asked)
        if self._numbers is not None:
            return self._row_of_number(self._numbers, asked)
        return self._row_of_text(asked)

    def row_of(self, said: object) -> int | None:
        """Return the row of an id that a client gave as text or as an integer; ``None`` when it is not known."""
        if self.is_text:
            return self.row(str(said))
        if isinstance(said, str):
            return self.row(int(said)) if _INTEGER.fullmatch(said) else None
        return self.row(said)

    def one(self, row: int) -> Any:
        """Return the id at a row, in its own type."""
        if self._few is not None:
            return self._few[row]
        if self._numbers is not None:
            return self._numbers[row].item()
        if self._files is None:
            return python_values(self._vocabulary.ids[row : row + 1], self._vocabulary.form)[0]
        found = self._files.one(row)
        return python_values(pl.Series([found]), self._vocabulary.form)[0] if self.is_mixed else found

    def at(self, rows: AnyArray) -> Sequence[Any] | AnyArray:
        """Return the ids at these rows: an array of integers or a list of texts, which `orjson` writes either way."""
        if self._numbers is not None:  # side by side: no cache holds many objects of Python
            return self._numbers[rows]
        if self._few is not None:
            few = self._few
            return [few[row] for row in rows.tolist()]
        if self._files is not None:
            return [self.one(row) for row in rows.tolist()]
        return python_values(self._vocabulary.at(rows), self._vocabulary.form)

    def _row_of_mixed(self, asked: object) -> int | None:
        """Find an integer or a text; a text in the usual spelling of an integer is that integer."""
        if type(asked) not in (int, str):
            return None
        if self._few is None:
            return self._row_of_text(str(asked)) if self._files is None else self._files.row(str(asked))
        found = self._rows.get(asked)
        if found is None and isinstance(asked, str) and _INTEGER.fullmatch(asked):
            found = self._rows.get(int(asked))
        return found

    def _row_of_number(self, numbers: AnyArray, asked: Any) -> int | None:
        limits = np.iinfo(numbers.dtype)
        if not limits.min <= asked <= limits.max:
            return None
        if not self._vocabulary.is_sorted:
            places = np.flatnonzero(numbers == asked)
            return int(places[0]) if len(places) else None
        place = int(np.searchsorted(numbers, numbers.dtype.type(asked)))
        return place if place < len(numbers) and numbers[place] == asked else None

    def _row_of_text(self, asked: Any) -> int | None:
        ids = self._vocabulary.ids
        if not self._vocabulary.is_sorted:
            return ids.index_of(asked)
        place = int(ids.search_sorted(asked))
        return place if place < len(ids) and ids[place] == asked else None
