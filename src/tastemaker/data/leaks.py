"""Whether two parts of a log are really two: no purchase on both sides, and no future in train."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import DataError
from tastemaker.types import Booleans

__all__ = ["LeakWarning", "check_no_leak"]


class LeakWarning(UserWarning):
    """Train is later than what is held out: a model may have learned from the future."""


def check_no_leak(train: Purchases, held_out: Purchases, *, repeats: bool = False) -> None:
    """Refuse parts that overlap, and warn of a train that reaches past the first moment held out.

    Where both have times, a purchase is a (user, product, time): the same one on both sides is a leak. The same product bought
    again at another time is none. Where one has no times, purchases of one pair cannot be told apart, and a pair on both sides is
    taken for a leak; say ``repeats=True`` if products are bought again, and it passes: then nothing can be checked. Within one
    part any row may repeat. The two may have vocabularies of their own: ids are what counts. A product unknown to train
    (`read_held_out`) cannot overlap.

    Raises `DataError` with the number of purchases held out that train has, too, and the first of them. Warns `LeakWarning` with
    the number of train's purchases after the first moment held out: expected of `hold_out_last` and `hold_out_random`, whose parts
    lie side by side; in a split by time a mistake.

    >>> import tastemaker as tm
    >>> log = tm.read_purchases(pl.DataFrame({"user": [1, 1, 2], "product": ["hat", "sock", "hat"], "time": [1, 2, 9]}))
    >>> check_no_leak(log.take(np.array([0, 1])), log.take(np.array([2])))
    >>> check_no_leak(log.take(np.array([0, 1])), log.take(np.array([1, 2])))
    Traceback (most recent call last):
    tastemaker.errors.DataError: 1 of the 2 purchases held out stand in train, too, the first that of product 'sock' by user 1; \
a model must not see what it is measured with: take them out of one side.
    """
    timed = train.times is not None and held_out.times is not None
    if timed or not repeats:
        shared = _shared(train, held_out, timed=timed)
        if shared.any():
            raise DataError(_overlap(held_out, shared, timed=timed))
    if train.times is None or held_out.times is None or not len(held_out):
        return
    later = int(np.count_nonzero(train.times > held_out.times.min()))
    if later:
        are = "is" if later == 1 else "are"
        warnings.warn(
            f"{later:,} of the {len(train):,} purchases in train {are} later than the first one held out; "
            "if this is to be a split by time, train must end before.",
            LeakWarning,
            stacklevel=2,
        )


def _shared(train: Purchases, held_out: Purchases, *, timed: bool) -> Booleans:
    """Return whether each purchase held out stands in train, too, ``bool[N]``."""
    users, products = train.users, train.products
    seen = pl.DataFrame([_rows(train.user_rows, None, users), _rows(train.product_rows, None, products)])
    asked = pl.DataFrame(
        [
            _rows(held_out.user_rows, held_out.users, users),
            _rows(held_out.product_rows, held_out.products, products),
        ]
    )
    if timed:
        seen = seen.with_columns(pl.Series("time", train.times))
        asked = asked.with_columns(pl.Series("time", held_out.times))
    found = asked.join(
        seen.unique().with_columns(shared=True), on=asked.columns, how="left", maintain_order="left"
    )
    return found.get_column("shared").fill_null(False).to_numpy()


def _rows(rows: np.ndarray, own: Vocabulary | None, others: Vocabulary) -> pl.Series:
    """Return the rows as those of the other vocabulary; null where it has none."""
    given = pl.Series(others.noun, rows)
    if own is None or own is others or own.ids.equals(others.ids):
        return given
    known = given.set(given >= len(own), None)
    return others.find(own.ids).gather(known).alias(others.noun)


def _overlap(held_out: Purchases, shared: Booleans, *, timed: bool) -> str:
    first = int(np.flatnonzero(shared)[0])
    user = held_out.users.at(held_out.user_rows[first : first + 1])[0]
    product = held_out.products.at(held_out.product_rows[first : first + 1])[0]
    advice = (
        "take them out of one side."
        if timed
        else "take them out of one side, or say repeats=True if they were bought again."
    )
    return (
        f"{int(shared.sum()):,} of the {len(held_out):,} purchases held out stand in train, too, the first that of "
        f"product {product!r} by user {user!r}; a model must not see what it is measured with: {advice}"
    )
