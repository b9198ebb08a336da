"""Which columns become tokens, and how: what each was understood as, and what was left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tastemaker.data.tokens.bags import Bags, no_bags, side_by_side
from tastemaker.data.tokens.encoders import Encoder, dates_of, lists_of, numbers_of, words_of
from tastemaker.types import AnyArray, Rows

__all__ = ["NO_TOKENS", "TokenColumns", "columns_of", "says_too_much"]

FEW_NUMBERS = 64
"""Numbers with at most this many distinct values get a band for each value."""
BANDS = 20
MOST_VALUES, BUCKETS = 20_000, 256
"""The most common categories and words have tokens of their own; the others share this many, by a hash."""
ALL_DIFFERENT = 0.9
"""A column with at least this share of distinct values holds ids, or free text that never repeats."""
TOO_MUCH = 0.5


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """The encoders of some columns of one frame; their tokens are numbered one encoder after another, from ``first`` on."""

    encoders: tuple[Encoder, ...] = ()
    first: int = 0

    @property
    def size(self) -> int:
        """Return how many tokens there are."""
        return sum(encoder.size for encoder in self.encoders)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns' names."""
        return tuple(encoder.column for encoder in self.encoders)

    def span(self, place: int) -> tuple[int, int]:
        """Return the first token of an encoder and the one after its last."""
        low = self.first + sum(encoder.size for encoder in self.encoders[:place])
        return low, low + self.encoders[place].size

    def encode(self, frame: pl.DataFrame | None, count: int) -> Bags:
        """Return the tokens of each of ``count`` rows; columns that the frame lacks say nothing."""
        parts = []
        for place, encoder in enumerate(self.encoders):
            if frame is not None and encoder.column in frame.columns:
                found = encoder.encode(frame.get_column(encoder.column))
                parts.append(Bags(found.offsets, found.tokens + np.int32(self.span(place)[0]), found.weights))
        return side_by_side(parts, count)

    def strange(self, frame: pl.DataFrame | None) -> dict[str, int]:
        """Return how many rows of a frame hold a value that has no token, by column; columns without such a row are left out."""
        counts = {}
        for encoder in self.encoders:
            if frame is not None and encoder.column in frame.columns:
                column = frame.get_column(encoder.column)
                known = np.diff(encoder.encode(column).offsets) > 0
                counts[encoder.column] = int((column.is_not_null().to_numpy() & ~known).sum())
        return {name: count for name, count in counts.items() if count}

    def encode_one(self, name: str, value: object) -> Bags:
        """Return the tokens of one value of the column of this name; raise what `encode` raises."""
        place = self.names.index(name)
        token = self.encoders[place].token_of(value)
        if token is None:
            return self.encode(pl.DataFrame({name: pl.Series(name, [value], strict=False)}), 1)
        if token < 0:
            return no_bags(1)
        tokens = np.array([self.span(place)[0] + token], np.int32)
        return Bags(np.array([0, 1]), tokens, np.ones(1, np.float32))

    def label(self, token: int) -> str | None:
        """Return what a token stands for; ``None`` for one that is not among these."""
        for place, encoder in enumerate(self.encoders):
            low, high = self.span(place)
            if low <= token < high:
                return encoder.label(token - low)
        return None

    def only(self, names: Sequence[str], first: int) -> TokenColumns:
        """Return the encoders of some columns, numbered from ``first`` on."""
        return TokenColumns(tuple(encoder for encoder in self.encoders if encoder.column in names), first)


NO_TOKENS = TokenColumns()


def columns_of(frame: pl.DataFrame | None, first: int = 0) -> tuple[TokenColumns, dict[str, str]]:
    """Return how the columns of a frame become tokens, and why others were left out, by name.

    >>> frame = pl.DataFrame({"colour": ["red", "blue", "red"], "sku": ["a1", "a2", "a3"], "one": [1, 1, 1]})
    >>> columns, left_out = columns_of(frame)
    >>> columns.names, left_out
    (('colour',), {'sku': 'every row has another value', 'one': 'every row has the same value'})
    """
    encoders, left_out = [], {}
    for column in () if frame is None else frame.iter_columns():
        found = _encoder(column)
        if isinstance(found, str):
            left_out[column.name] = found
        else:
            encoders.append(found)
    return TokenColumns(tuple(encoders), first), left_out


def says_too_much(bags: Bags, products: Rows) -> bool:
    """Return whether a context column tells the product itself: it is known only once the purchase is made.

    Each value's commonest product among every other row is looked for in the rest: it is found in half of them, where the
    commonest product of all is not.
    """
    owners = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
    pairs = pl.DataFrame({"value": bags.tokens, "product": products[owners], "even": owners % 2 == 0})
    if not pairs.height:
        return False
    counts = pairs.filter("even").group_by("value", "product").len()
    best = counts.sort(["value", "len", "product"], descending=[False, True, False]).unique(
        "value", keep="first"
    )
    asked = pairs.filter(~pl.col("even")).join(best, on="value", how="inner", suffix="_guess")
    if asked.height < 30:
        return False
    right = float((asked.get_column("product") == asked.get_column("product_guess")).sum()) / asked.height
    commonest = float(np.bincount(products).max() / max(len(products), 1))
    return right > max(TOO_MUCH, 2 * commonest)


def _encoder(column: pl.Series) -> Encoder | str:
    """Return how a column becomes tokens, or why it does not."""
    there = column.drop_nulls()
    name = column.name
    if not len(there):
        return "every row is empty"
    if column.dtype in (pl.List, pl.Array):
        return _of_lists(name, there)
    different = there.n_unique()
    if different == 1:
        return "every row has the same value"
    dates = dates_of(column)
    if dates is not None:
        return Encoder(column=name, form="dates", hours=bool((dates.dt.hour() != 0).any()))
    all_different = different > ALL_DIFFERENT * len(there) and len(there) > 2
    numbers = numbers_of(column)
    if numbers is not None:
        whole = bool((numbers[np.isfinite(numbers)] % 1 == 0).all())
        if all_different and whole and different > FEW_NUMBERS:
            return "every row has another value"
        return _bands(name, numbers[np.isfinite(numbers)])
    if column.dtype != pl.String:
        there = there.cast(pl.String)
    if there.str.contains(r"\||^\[").mean() > 0.05:  # type: ignore[operator]
        return _of_values(name, "list", lists_of(there).explode())  # type: ignore[union-attr]
    spaces = float((there.str.count_matches(r"\s") > 0).sum()) / len(there)
    if spaces > 0.5 and different > max(100, 0.05 * len(there)):
        return _of_values(name, "words", words_of(there).explode())  # type: ignore[union-attr]
    if all_different:
        return "every row has another value"
    return _of_values(name, "category", there)


def _of_lists(name: str, column: pl.Series) -> Encoder | str:
    if column.dtype == pl.Array:
        column = column.arr.to_list()
    lengths = column.list.len()
    values = column.explode()
    if values.dtype.is_float():
        if lengths.n_unique() != 1:
            return "its embeddings are of several lengths"
        numbers = values.cast(pl.Float64).fill_null(0).to_numpy().reshape(len(column), -1)
        scale = float(np.sqrt(np.mean(np.nan_to_num(np.sum(numbers * numbers, axis=1)))))
        return Encoder(column=name, form="vector", length=int(numbers.shape[1]), scale=scale or 1.0)
    return _of_values(name, "list", values.cast(pl.String))


def _of_values(name: str, form: str, values: pl.Series) -> Encoder | str:
    """Give the values that occur twice and more a token each, the commonest first, and the others buckets."""
    counts = (
        values.drop_nulls()
        .alias("value")
        .value_counts(sort=False)
        .sort(["count", "value"], descending=[True, False])
    )
    often = counts.filter(pl.col("count") > 1).head(MOST_VALUES)
    if not often.height:
        return "no value occurs twice"
    rare = counts.height - often.height
    return Encoder(
        column=name,
        form=form,  # type: ignore[arg-type]
        values=tuple(often.get_column("value").to_list()),
        buckets=min(BUCKETS, max(1, rare // 4)) if rare else 0,
    )


def _bands(name: str, numbers: AnyArray) -> Encoder | str:
    edges = np.unique(numbers)[1:]
    if len(edges) >= FEW_NUMBERS:
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BANDS + 1)[1:-1]))
    return Encoder(column=name, form="bands", edges=tuple(float(edge) for edge in edges))
