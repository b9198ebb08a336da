"""What callers give for a log, for what is held out, and for ids: every form of it that means the same."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.catalogues import id_column
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import HeldOut, read_held_out, read_purchases
from tastemaker.data.reading.sources import Readable, open_source
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import DataError, NoPurchases

__all__ = [
    "AnyHeldOut",
    "AnyIds",
    "AnyLog",
    "Measurable",
    "ReadingWarning",
    "held_out_given",
    "ids_given",
    "later_given",
    "log_given",
    "seen_by",
]

AnyLog: TypeAlias = Purchases | Readable
"""A log that was read, or what `read_purchases` reads"""

AnyHeldOut: TypeAlias = Purchases | HeldOut | Readable
"""Purchases of any vocabularies, or what `read_held_out` reads"""

AnyIds: TypeAlias = Any
"""One id, ids in a list, array or series, a frame with a column of them, or a log"""


class ReadingWarning(UserWarning):
    """A log that was read on the way, without `read_purchases`, has something that its reader should know."""


@dataclass(frozen=True, slots=True)
class Measurable:
    """Purchases as rows of a model's vocabularies, and how many it could not know."""

    purchases: Purchases
    """Those of users whom the model knows; an unknown product has a row of P or above"""
    unknown_user_rows: int
    """Purchases left out because the model does not know their user"""
    unknown_product_rows: int
    """Purchases of known users whose product the model does not know"""

    @property
    def known(self) -> Purchases:
        """Return those whose product the model knows, too."""
        return self.purchases.take(self.purchases.product_rows < len(self.purchases.products))


def log_given(
    given: AnyLog,
    *,
    reading: Reading = Reading(),  # noqa: B008  (a frozen value)
) -> Purchases:
    """Return a log as it was read, or read it as `read_purchases` does; its warnings are then warnings of Python.

    >>> len(log_given(pl.DataFrame({"user": [1, 2], "product": ["hat", "hat"]})))
    2
    """
    if isinstance(given, Purchases):
        beyond = int((given.product_rows >= len(given.products)).sum())
        if beyond:
            raise DataError(
                f"{beyond:,} of these purchases are of products that the model does not know (`HeldOut.purchases` holds them, "
                "to be measured as missed); give HeldOut.known, or a log that read_purchases read."
            )
        return given
    if isinstance(getattr(given, "train", None), Purchases):
        raise DataError("a split holds two logs, train and held_out; give one of them, such as split.train.")
    if isinstance(given, HeldOut):
        raise DataError(
            "what read_held_out reads is to measure with, and knows no new users; read a log with read_purchases."
        )
    log = read_purchases(given, reading=reading)
    for warning in log.summary.warnings:
        warnings.warn(warning, ReadingWarning, stacklevel=3)
    return log


def later_given(
    given: AnyHeldOut,
    *,
    reading: Reading = Reading(),  # noqa: B008  (a frozen value)
) -> Purchases:
    """Return what came later over its own vocabularies, new users and products included; a split gives its held-out part."""
    part = getattr(given, "held_out", None)
    return part if isinstance(part, Purchases) else log_given(given, reading=reading)


def held_out_given(given: AnyHeldOut, users: Vocabulary, products: Vocabulary) -> Measurable:
    """Return held-out purchases as rows of these vocabularies, whatever they were read with; ids are what counts.

    A split gives its held-out part. Raises `NoPurchases` when no user is known, and what `read_held_out` raises.

    >>> later = read_purchases(pl.DataFrame({"user": [2, 3, 2], "product": ["sock", "hat", "kilt"]}))
    >>> model = read_purchases(pl.DataFrame({"user": [1, 2], "product": ["hat", "sock"]}))
    >>> seen = held_out_given(later, model.users, model.products)
    >>> seen.purchases.user_rows.tolist(), seen.purchases.product_rows.tolist(), seen.unknown_user_rows
    ([1, 1], [1, 3], 1)
    """
    counted = None
    part = getattr(given, "held_out", None)
    if isinstance(part, Purchases):
        given = part
    elif not isinstance(given, Purchases | HeldOut):
        given = read_held_out(given, users, products, needs_times=False)
    if isinstance(given, HeldOut):
        counted, given = given.unknown_user_rows, given.purchases
    purchases = seen_by(given, users, products)
    strangers = len(given) - len(purchases)
    if strangers and not len(purchases):
        raise NoPurchases(
            f"the model knows none of the users of the {len(given):,} purchases held out; a user there is "
            f"{given.users.ids.first()!r}, one of the model {users.ids.first()!r}."
        )
    unknown = int((purchases.product_rows >= len(products)).sum())
    return Measurable(purchases, strangers + (counted or 0), unknown)


def seen_by(purchases: Purchases, users: Vocabulary, products: Vocabulary) -> Purchases:
    """Return purchases as rows of other vocabularies.

    Those of unknown users are left out; unknown products get rows of P and above, each its own.

    >>> held = read_purchases(pl.DataFrame({"user": [1, 2, 2], "product": ["hat", "hat", "sock"]}))
    >>> model = read_purchases(pl.DataFrame({"user": [2], "product": ["sock"]}))
    >>> seen = seen_by(held, model.users, model.products)
    >>> seen.user_rows.tolist(), seen.product_rows.tolist()
    ([0, 0], [1, 0])
    """
    if purchases.users is users and purchases.products is products:
        return purchases
    user_of = users.rows_of(purchases.users)
    kept = purchases.take(user_of[purchases.user_rows] >= 0)
    known = products.rows_of(purchases.products)
    known[known < 0] = len(products) + np.flatnonzero(known < 0)
    beyond = np.arange(len(known), int(purchases.product_rows.max(initial=-1)) + 1) + len(products)
    product_of = np.concatenate((known, beyond)).astype(np.int32)
    return Purchases(
        users,
        products,
        user_of[kept.user_rows],
        product_of[kept.product_rows],
        kept.times,
        kept.quantities,
        purchases.summary,
        kept.context,
        time_unit=kept.time_unit,
        weights=kept.weights,
    )


def ids_given(given: AnyIds, noun: Noun) -> pl.Series | Iterable[object]:
    """Return the ids that were meant: one id is a list of one; a frame's are those of its column of ids, each once.

    >>> ids_given("85123A", "product"), ids_given(17850, "user")
    (['85123A'], [17850])
    >>> ids_given(pl.DataFrame({"user_id": [7, 7, 9], "sku": ["a", "b", "c"]}), "user").to_list()
    [7, 9]
    """
    if isinstance(given, Purchases):
        vocabulary, rows = (
            (given.users, given.user_rows) if noun == "user" else (given.products, given.product_rows)
        )
        return vocabulary.at(np.unique(rows))
    if isinstance(given, Vocabulary):
        return given.ids
    if isinstance(given, pl.DataFrame | pl.LazyFrame) or hasattr(given, "columns"):
        source = open_source(given)
        name = id_column(source, noun, None)
        return source.select([name]).collect().to_series().drop_nulls().unique(maintain_order=True)
    if isinstance(given, pl.Series):
        return given
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return [given]
    return given
