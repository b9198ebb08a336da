"""`Purchases`: who bought what, as rows of two vocabularies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.events import Events
from tastemaker.data.ragged import flat_lists, offsets_of, owners_of, pair_keys
from tastemaker.data.summary import ReadSummary, TimeSummary, TimeUnit
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.display import Markup, card, counted, frame_table
from tastemaker.tabular import Tabular
from tastemaker.types import Floats, Offsets, Rows, Times

__all__ = ["Histories", "KeptHistories", "Purchases"]


@dataclass(frozen=True, slots=True)
class Histories:
    """The distinct products of each user, ascending: those of user u lie from ``offsets[u]`` to ``offsets[u + 1]``."""

    offsets: Offsets
    """``int64[U + 1]``"""

    products: Rows
    """``int32[pairs]``, product rows"""

    @staticmethod
    def from_lists(lists: Iterable[Sequence[int] | Rows]) -> Histories:
        """Return the histories of users who bought these product rows, each list ascending and distinct.

        >>> Histories.from_lists([[0, 4], [], [2]]).offsets.tolist()
        [0, 2, 2, 3]
        """
        return Histories(*flat_lists(lists))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, user: int) -> Rows:
        """Return the product rows of the user at this row."""
        return self.products[self.offsets[user] : self.offsets[user + 1]]

    def lengths(self) -> Offsets:
        """Return how many products each list has, ``int64[n]``."""
        return self.offsets[1:] - self.offsets[:-1]

    def owners(self) -> Rows:
        """Return the user of each pair, ``int32[pairs]``."""
        return owners_of(self.offsets)

    def keys(self, products: int) -> Offsets:
        """Return one number for each (user, product) pair, ``int64[pairs]``, ascending; ``products`` is P."""
        return pair_keys(self.owners(), self.products, products)


@dataclass(frozen=True, slots=True)
class KeptHistories:
    """Histories that were made before, and of which rows: they are those of a log that has these very arrays."""

    user_rows: Rows
    product_rows: Rows
    histories: Histories


@dataclass(frozen=True, slots=True, repr=False)
class Purchases(Tabular):
    """A log of purchases in the order of its file, with the ids of all users and products it may speak of.

    A repeated (user, product) pair is a purchase made again and is kept.
    """

    users: Vocabulary
    products: Vocabulary
    user_rows: Rows
    """``int32[N]``"""
    product_rows: Rows
    """``int32[N]``"""
    times: Times | None = None
    """``int64[N]``, microseconds since 1970-01-01 UTC, when the log has times."""
    quantities: Floats | None = None
    """``float32[N]``, positive, when the log has quantities."""
    summary: ReadSummary = field(default_factory=ReadSummary)
    """What reading counted and dropped."""
    context: pl.DataFrame | None = None
    """``N`` rows: columns that say how each purchase came about (occasion, channel), as the log holds them."""
    events: Events | None = None
    """Events of other kinds (views, baskets), when the log tells kinds apart."""
    user_features: pl.DataFrame | None = None
    """``U`` rows, in the order of ``users``: what is known of each user."""
    product_features: pl.DataFrame | None = None
    """``P`` rows, in the order of ``products``: what is known of each product."""
    time_unit: TimeUnit = "calendar"
    """What ``times`` count: *calendar* from 1970, *days* without a date (a day is 86.4e9, too), or *steps*, an order alone."""
    weights: Floats | None = None
    """``float32[N]``, a rating or a quantity of each purchase, NaN where nothing is said: how much it tells (`Past.strengths`)."""
    product_values: Floats | None = None
    """``float32[P]``, what one purchase of each product is worth (price, margin), NaN where nothing is said."""
    kept_histories: KeptHistories | None = None
    """What `histories` returns, where a partition on disk holds it (`partition_log`)."""

    def __len__(self) -> int:
        return len(self.user_rows)

    def __getitem__(self, chosen: Any) -> Purchases:
        """Return the purchases at positions, under a mask, or of a slice: what scikit-learn parts a log by."""
        if isinstance(chosen, tuple) and len(chosen) == 2 and chosen[1] is Ellipsis:
            chosen = chosen[0]
        return self.take(np.arange(len(self))[chosen].reshape(-1))

    @property
    def shape(self) -> tuple[int, int]:
        """Return (N, 2): a log is a table of users and products."""
        return len(self), 2

    def to_frame(self) -> pl.DataFrame:
        """Return a line for each purchase: user_id, product_id, and time, quantity and context where the log has them.

        An unknown product, of a row of P or above, has no id. Times of a log without dates stay numbers.
        """
        beyond = self.product_rows >= len(self.products)
        places = pl.Series(self.product_rows.astype(np.int64))
        products = self.products.ids.gather(places.set(pl.Series(beyond), None))
        columns = [
            self.users.original(self.users.at(self.user_rows)).alias("user_id"),
            self.products.original(products).alias("product_id"),
        ]
        if self.times is not None:
            times = pl.Series("time", self.times)
            columns.append(times.cast(pl.Datetime("us")) if self.time_unit == "calendar" else times)
        if self.quantities is not None:
            columns.append(pl.Series("quantity", self.quantities))
        frame = pl.DataFrame(columns)
        return frame if self.context is None else frame.hstack(self.context.drop(frame.columns, strict=False))

    def span(self) -> str:
        """Return the first and the last day of the log, or of its order, in words; empty where it has no times."""
        if self.times is None or not len(self):
            return ""
        ends = TimeSummary(int(self.times.min()), int(self.times.max()), "", "", self.time_unit)
        first, last = (
            ends.spell(end).removesuffix("T00:00:00+00:00")[:10] for end in (ends.first, ends.last)
        )
        return f"{first} to {last}"

    def __repr__(self) -> str:
        span = self.span()
        sizes = ((len(self), "purchase"), (len(self.products), "product"), (len(self.users), "user"))
        purchases, products, users = (counted(many, noun) for many, noun in sizes)
        return f"Purchases({purchases} of {products} by {users}{f', {span}' if span else ''})"

    def _repr_html_(self) -> str:
        shown = self.take(np.arange(min(len(self), 5))).to_frame()
        rows = frame_table(shown, caption="The first purchases")
        return card(f"A log of {repr(self)[10:-1]}", {}, rows, Markup(self.summary._repr_html_()))

    def histories(self) -> Histories:
        """Return each user's distinct products, ascending; users without a purchase have none."""
        if (kept := self._kept()) is not None:
            return kept
        width = self._width()
        pairs = self._sorted_pairs(width)
        if len(pairs):
            pairs = pairs[np.concatenate(([True], pairs[1:] != pairs[:-1]))]
        users, products = np.divmod(pairs, width)
        offsets = offsets_of(np.bincount(users, minlength=len(self.users)))
        return Histories(offsets, products.astype(np.int32))

    def pairs(self) -> int:
        """Return how many distinct pairs of a user and a product there are."""
        if (kept := self._kept()) is not None:
            return len(kept.products)
        pairs = self._sorted_pairs(self._width())
        return int(np.count_nonzero(pairs[1:] != pairs[:-1])) + bool(len(pairs))

    def _kept(self) -> Histories | None:
        kept = self.kept_histories
        mine = (
            kept is not None and kept.user_rows is self.user_rows and kept.product_rows is self.product_rows
        )
        return kept.histories if kept is not None and mine else None

    def _width(self) -> int:
        """Return the number of products; unknown ones are numbered beyond P."""
        return max(len(self.products), int(self.product_rows.max(initial=0)) + 1)

    def _sorted_pairs(self, width: int) -> Offsets:
        pairs = pair_keys(self.user_rows, self.product_rows, width)
        pairs.sort()
        return pairs

    def take(self, chosen: np.ndarray) -> Purchases:
        """Return the purchases at these positions (or under this mask), over the same vocabularies; events and features stay."""
        return Purchases(
            self.users,
            self.products,
            self.user_rows[chosen],
            self.product_rows[chosen],
            None if self.times is None else self.times[chosen],
            None if self.quantities is None else self.quantities[chosen],
            self.summary,
            None if self.context is None else _rows_of(self.context, chosen),
            self.events,
            self.user_features,
            self.product_features,
            self.time_unit,
            None if self.weights is None else self.weights[chosen],
            self.product_values,
        )

    @property
    def read(self) -> ReadSummary:
        """Return the summary of `tastemaker inspect`, which a notebook shows as a page."""
        return self.summary

    def fingerprint(self) -> str:
        """Return the SHA-256 of the ids and the rows: equal logs over equal vocabularies have equal ones."""
        digest = hashlib.sha256()
        for vocabulary in (self.users, self.products):
            digest.update(f"{vocabulary.noun}:{len(vocabulary)}:{vocabulary.ids.dtype}".encode())
            _digest_texts(digest, vocabulary.ids.cast(pl.String))
        for array in (self.user_rows, self.product_rows, self.times, self.quantities):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).view(np.uint8).data)
        for array in (self.weights, self.product_values):
            if array is not None:
                digest.update(b"further" + np.ascontiguousarray(array).tobytes())
        for frame in (self.context, self.user_features, self.product_features):
            if frame is not None:
                for column in frame.iter_columns():
                    _digest_values(digest, column)
        if self.events is not None:
            digest.update(repr(self.events.names).encode())
            for array in (
                self.events.user_rows,
                self.events.product_rows,
                self.events.kinds,
                self.events.times,
            ):
                digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _digest_values(digest: hashlib._Hash, column: pl.Series) -> None:
    """Feed a column by its values, not by what a library makes of them: the digest outlives versions."""
    digest.update(f"{column.name}:{len(column)}:".encode())
    digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if column.dtype.is_nested():
        digest.update("\0".join(map(repr, column.to_list())).encode())
    elif column.dtype.is_integer() or column.dtype == pl.Boolean:
        digest.update(b"integer" + column.fill_null(0).cast(pl.Int64).to_numpy().tobytes())
    elif column.dtype.is_float():
        digest.update(b"float" + column.fill_null(0).cast(pl.Float64).to_numpy().tobytes())
    else:
        _digest_texts(digest, column.cast(pl.String, strict=False).fill_null(""))


def _digest_texts(digest: hashlib._Hash, texts: pl.Series) -> None:
    for part in texts.to_frame().iter_slices(1_000_000):
        some = part.to_series()
        digest.update(some.str.len_bytes().to_numpy().tobytes())
        digest.update(some.str.join().item().encode())


def _rows_of(frame: pl.DataFrame, chosen: np.ndarray) -> pl.DataFrame:
    return frame.filter(pl.Series(chosen)) if chosen.dtype == np.bool_ else frame[chosen]
