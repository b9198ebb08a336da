"""`ProductIndex`: finds products by id and words of any column, typing mistakes forgiven; and what the catalogue says of them."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from datetime import date, time
from difflib import SequenceMatcher
from typing import Any, Final

import numpy as np
import polars as pl

from tastemaker.data.ragged import offsets_of
from tastemaker.data.reading.product_table import ProductTable
from tastemaker.model.taste_model import TasteModel
from tastemaker.types import AnyArray, Doubles, Offsets, Rows

__all__ = ["ProductIndex", "about"]

EXACT, BEGINS, INSIDE, ALIKE = 1.0, 0.9, 0.75, 0.6
"""What a word of a product counts for a word that is sought: the same, one that begins so, one that holds it, one spelled alike"""
LEAST_ALIKE: Final = 0.7
"""From which share of common letters on two words count as spelled alike"""
CANDIDATES: Final = 200
NAMED = 1.25
"""How much more a word of the name counts than a word of another column"""

MEANS_THE_SAME: Final = (
    {"xmas", "christmas"}, {"grey", "gray"}, {"colour", "color"}, {"tshirt", "tee"}, {"pyjama", "pajama"},
    {"jewellery", "jewelry"}, {"trousers", "pants"}, {"sneakers", "trainers"},
)  # fmt: skip
"""Words that shops write in several ways, and that share too few letters to be found by them"""

_WORDS = r"[\p{L}\p{N}]+"


class ProductIndex:
    """The ids, words and numbers of buyers of a model's products, ready to be searched."""

    def __init__(self, model: TasteModel, table: ProductTable) -> None:
        self._ids = model.products.ids.cast(pl.String).str.to_lowercase()
        self.buyers: AnyArray = np.bincount(model.histories.products, minlength=len(model.products))
        self._best = np.argsort(-self.buyers, kind="stable")
        self._words = _WordIndex.of(self._ids, table)

    def find(self, text: str, limit: int) -> Rows:
        """Return the rows of the products that match best, at most ``limit``; an empty text matches all."""
        return self.ranked(text)[:limit]

    def ranked(self, text: str) -> Rows:
        """Return the rows of all products that match, best first.

        The product with this id first, then ids that begin so, then products that hold all the words in any column: as they are
        sought, as a beginning, within a word, or spelled alike; within each, what sells best.
        """
        wanted = text.strip().lower()
        if not wanted:
            return self._best.astype(np.int32)
        grade = self._words.grades(wanted)
        grade[self._ids.str.starts_with(wanted).to_numpy()] = 100
        grade[(self._ids == wanted).to_numpy()] = 101
        rows = self._best[grade[self._best] > 0]
        return rows[np.argsort(-grade[rows], kind="stable")].astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class _WordIndex:
    """Every distinct word of a catalogue, and the products in which it stands."""

    words: pl.Series
    offsets: Offsets
    """``int64[W + 1]``"""
    rows: Rows
    """``int32``, the products of each word"""
    weights: AnyArray
    """``float64``, `NAMED` where the word stands in the name, else 1"""
    count: int
    letters: sqlite3.Connection
    """The words, ``^`` and ``$`` at their ends, by all three letters that follow each other (FTS5)"""
    lock: threading.Lock

    @staticmethod
    def of(ids: pl.Series, table: ProductTable) -> _WordIndex:
        """Read the words of all columns that hold text, and of the ids where the catalogue has none."""
        name = table.named("name")
        image = table.named("image")
        texts = {
            column: table.column(column)
            for column, dtype in table.frame.schema.items()
            if column != image and dtype in (pl.String, pl.Categorical, pl.Enum, pl.List(pl.String))
        } or {"id": ids}
        parts = [
            pl.DataFrame({"row": np.arange(len(ids), dtype=np.int32), "word": _text(values)})
            .with_columns(pl.col("word").str.to_lowercase().str.extract_all(_WORDS))
            .explode("word")
            .drop_nulls()
            .with_columns(weight=pl.lit(NAMED if column == name else 1.0))
            for column, values in texts.items()
        ]
        pairs = pl.concat(parts).group_by("word", "row").agg(pl.col("weight").max()).sort("word", "row")
        runs = pairs.group_by("word", maintain_order=True).len()
        words = runs["word"]
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.execute("create virtual table words using fts5(word, tokenize='trigram', detail='none')")
        connection.executemany(
            "insert into words(rowid, word) values (?, ?)",
            ((number, f"^{word}$") for number, word in enumerate(words, start=1)),
        )
        return _WordIndex(
            words,
            offsets_of(runs["len"].to_numpy()),
            pairs["row"].to_numpy(),
            pairs["weight"].to_numpy(),
            len(ids),
            connection,
            threading.Lock(),
        )

    def grades(self, text: str) -> Doubles:
        """Return how well each product fits a text, ``float64[P]``: the sum over its words, 0 where one of them does not fit."""
        sought = pl.Series([text]).str.extract_all(_WORDS)[0].to_list()
        total = self._grades(sought, forgiving=False)
        return total if total.any() else self._grades(sought, forgiving=True)

    def _grades(self, sought: list[str], *, forgiving: bool) -> Doubles:
        """Return the same, with words that are misspelled although another word holds them where it is ``forgiving``."""
        total = np.zeros(self.count)
        fits = np.full(self.count, bool(sought))
        for word in sought:
            best = np.zeros(self.count)
            for spelled in _spellings(word):
                for number, grade in self._like(spelled, forgiving=forgiving):
                    own = slice(self.offsets[number], self.offsets[number + 1])
                    np.maximum.at(best, self.rows[own], grade * self.weights[own])
            total += best
            fits &= best > 0
        total[~fits] = 0
        return total

    def _like(self, word: str, *, forgiving: bool) -> list[tuple[int, float]]:
        """Return the words that fit one that is sought, and how well; those spelled alike where no other does, or to forgive."""
        inside = self.words.str.contains(word, literal=True).arg_true().to_list()
        if inside and (len(word) > 2 or any(self.words[number].startswith(word) for number in inside)):
            graded = [(number, _grade(word, self.words[number])) for number in inside]
            fitting = [(number, grade) for number, grade in graded if len(word) > 2 or grade > INSIDE]
            return fitting + (self._alike(word) if forgiving else [])
        return self._alike(word)

    def _alike(self, word: str) -> list[tuple[int, float]]:
        if len(word) <= 2 or any(map(str.isdigit, word)):
            return []
        framed = f"^{word}$"
        threes = " OR ".join(f'"{framed[place : place + 3]}"' for place in range(len(framed) - 2))
        with self.lock:
            found = self.letters.execute(
                "select rowid from words where words match ? order by rank limit ?", (threes, CANDIDATES)
            ).fetchall()
        alike = []
        matcher = SequenceMatcher(b=word, autojunk=False)
        for (number,) in found:
            matcher.set_seq1(self.words[number - 1])
            if matcher.real_quick_ratio() >= LEAST_ALIKE and matcher.ratio() >= LEAST_ALIKE:
                alike.append((number - 1, ALIKE * matcher.ratio()))
        return alike


def _text(values: pl.Series) -> pl.Series:
    return values.list.join(" ") if isinstance(values.dtype, pl.List) else values.cast(pl.String)


def _spellings(word: str) -> set[str]:
    return next((same for same in MEANS_THE_SAME if word in same), {word})


def _grade(sought: str, word: str) -> float:
    if word == sought:
        return EXACT
    return BEGINS if word.startswith(sought) else INSIDE


def about(table: ProductTable, row: int) -> dict[str, Any]:
    """Return what the catalogue says of one product as JSON values, empty cells left out."""
    if not table.frame.width:
        return {}
    cells = table.frame.row(row, named=True)
    return {name: _plain(value) for name, value in cells.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    return value.isoformat() if isinstance(value, date | time) else str(value)
