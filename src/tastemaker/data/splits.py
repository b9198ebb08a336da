"""Splits of a log into what a model may see and what is held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.errors import DataError, SettingProblem
from tastemaker.types import AnyArray, Booleans, Offsets

__all__ = ["Split", "hold_out_last", "hold_out_random", "hold_out_time"]


@dataclass(frozen=True, slots=True)
class Split:
    """Two parts of one log, over the same vocabularies, each in the order of the log."""

    train: Purchases
    held_out: Purchases
    description: str
    """How the log was split, in a sentence for people."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The distinct (user, product) pairs of a log, ascending."""

    users: AnyArray
    """``int64[pairs]``, the user row of each pair."""

    of_purchase: Offsets
    """``int64[N]``, the pair of each purchase."""


def hold_out_last(purchases: Purchases, n: int = 1) -> Split:
    """Hold out, of each user, the ``n`` products bought last: by time, or in file order where there is none.

    A product is as recent as its last purchase by the user; all its purchases by the user go to one side. Of
    moments alike the one further down the log is later. Every user keeps at least one product in train.

    Raises `SettingProblem` when ``n`` is below 1, and `DataError` when no user has two products.
    """
    if n < 1:
        raise SettingProblem(f"n, the products of each user to hold out, must be 1 or more, not {n}.")
    pairs = _pairs(purchases)
    moments = np.arange(len(purchases)) if purchases.times is None else purchases.times
    oldest_first = np.argsort(moments, kind="stable")
    recency = np.empty(len(pairs.users), dtype=np.int64)
    recency[pairs.of_purchase[oldest_first]] = np.arange(
        len(purchases)
    )  # of a repeated pair the last one stays
    quota = np.full(len(purchases.users), n, dtype=np.int64)
    mask = _first_of_each_user(pairs, -recency, quota)[pairs.of_purchase]
    order = "in file order" if purchases.times is None else "by time"
    what = "the last product" if n == 1 else f"the last {n} products"
    return _split(purchases, mask, f"{what} of each user {order}")


def hold_out_random(purchases: Purchases, share: float = 0.2, *, rng: np.random.Generator) -> Split:
    """Hold out, of each user, a random ``share`` of the products; the same ``rng`` gives the same split.

    Of d products, d · share are held out, rounded up or down at random so that it holds on average; but every
    user keeps at least one in train. All purchases of a product by a user go to one side.

    Raises `SettingProblem` unless 0 < share < 1, and `DataError` when nothing could be held out.
    """
    _check_share(share)
    pairs = _pairs(purchases)
    sizes = np.bincount(pairs.users, minlength=len(purchases.users))
    quota = np.floor(sizes * share + rng.random(len(sizes))).astype(np.int64)
    mask = _first_of_each_user(pairs, rng.random(len(pairs.users)), quota)[pairs.of_purchase]
    return _split(purchases, mask, f"a random {share:.0%} of the products of each user")


def hold_out_time(purchases: Purchases, share: float = 0.1) -> Split:
    """Hold out every purchase of the last ``share`` of the time that the log spans.

    With first and last moment a and b, purchases after b − share · (b − a) are held out. Unlike the other
    splits it may hold out pairs that train has too, and users or products that train lacks; the description
    counts the pairs' purchases.

    Raises `SettingProblem` unless 0 < share < 1, and `DataError` when the log has no times or but one.
    """
    _check_share(share)
    if purchases.times is None:
        raise DataError("the log has no times to split by; name its column with --time-column.")
    if not len(purchases):
        raise DataError("nothing can be held out of a log without purchases.")
    first, last = int(purchases.times.min()), int(purchases.times.max())
    if first == last:
        raise DataError("nothing can be held out by time: all purchases have the same moment.")
    border = last - max(int((last - first) * share), 1)
    mask = purchases.times > border
    pairs = _pairs(purchases)
    in_train = np.zeros(len(pairs.users), dtype=bool)
    in_train[pairs.of_purchase[~mask]] = True
    repeats = int((in_train[pairs.of_purchase] & mask).sum())
    day = pl.select(pl.lit(border).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M")).item()
    return _split(
        purchases,
        mask,
        f"the purchases after {day} UTC, the last {share:.0%} of the time spanned"
        f" ({repeats:,} of them repeat a pair of train)",
    )


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise SettingProblem(f"the share to hold out must lie between 0 and 1, both excluded, not {share}.")


def _pairs(purchases: Purchases) -> _Pairs:
    width = max(len(purchases.products), 1)
    keys = purchases.user_rows.astype(np.int64) * width + purchases.product_rows
    distinct, of_purchase = np.unique(keys, return_inverse=True)
    return _Pairs(distinct // width, of_purchase)


def _first_of_each_user(pairs: _Pairs, ranks: AnyArray, quota: Offsets) -> Booleans:
    """Choose each user's ``quota[U]`` pairs of lowest rank, but never all of them; return ``bool[pairs]``."""
    order = np.lexsort((ranks, pairs.users))
    sizes = np.bincount(pairs.users, minlength=len(quota))
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(order)) - starts[pairs.users]  # pairs ascend by user, so order does too
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order] = place < np.minimum(quota, sizes - 1)[pairs.users]
    return chosen


def _split(purchases: Purchases, mask: Booleans, what: str) -> Split:
    held_out = int(mask.sum())
    if not held_out:
        raise DataError(
            f"nothing can be held out ({what}): every user has one product only, or the share is too small."
        )
    description = f"Held out: {what}; {held_out:,} of {len(purchases):,} purchases."
    return Split(purchases.take(~mask), purchases.take(mask), description)
