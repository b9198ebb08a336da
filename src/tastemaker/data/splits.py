"""Splits of a log into what a model may see and what is held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from tastemaker.data.leaks import check_no_leak
from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import distinct, offsets_of, pair_keys, places_in
from tastemaker.data.reading.given import AnyLog, log_given
from tastemaker.data.reading.remedies import for_caller
from tastemaker.data.summary import PER_STEP
from tastemaker.display import card, counted, html_table
from tastemaker.errors import DataError, SettingProblem
from tastemaker.types import AnyArray, Booleans, Offsets, Rows, Times

__all__ = [
    "Split",
    "check_no_leak",
    "hold_out_last",
    "hold_out_random",
    "hold_out_time",
    "hold_out_users",
    "hold_out_windows",
]


SHORT_GAP = 0.02
"""A gap up to this share of the time that holds nearly all purchases is time in which purchases happen."""

LONG_GAP = 3
"""So is a gap of up to this many times the median gap,"""

FEW_MOMENTS, LONG_GAP_OF_FEW = 20, 20
"""or this many times where there are fewer moments than the first: among a handful, an outlier cannot be told."""


@dataclass(frozen=True, slots=True, repr=False)
class Split:
    """Two parts of one log, over the same vocabularies, each in the order of the log."""

    train: Purchases
    held_out: Purchases
    description: str
    """How the log was split, in a sentence for people."""
    baskets: Purchases | None = None
    """What the held-out users bought before, where whole users are held out; neither in train nor held out"""

    def __repr__(self) -> str:
        return f"Split(train: {len(self.train):,} purchases, held out: {len(self.held_out):,}. {self.description})"

    def _repr_html_(self) -> str:
        parts = {"train": self.train, "held out": self.held_out, "baskets": self.baskets}
        rows = [
            [name, len(part), len(distinct(part.user_rows)), len(distinct(part.product_rows)), part.span()]
            for name, part in parts.items()
            if part is not None
        ]
        table = html_table(["", "purchases", "users", "products", "times"], rows)
        return card("A log in two parts", {}, self.description, table, self.lost())

    @property
    def users_without_train(self) -> int:
        """Return how many users have held-out purchases but none in train, so that a model cannot know their taste."""
        return _only_in(self.held_out.user_rows, self.train.user_rows)

    @property
    def products_without_train(self) -> int:
        """Return how many held-out products nobody bought in train, so that a model can hardly find them."""
        return _only_in(self.held_out.product_rows, self.train.product_rows)

    def lost(self) -> str:
        """Return in a sentence what cannot be measured well.

        >>> import tastemaker as tm
        >>> log = tm.read_purchases(pl.DataFrame({"user": [1, 1, 2], "product": ["hat", "sock", "kilt"], "time": [1, 2, 9]}))
        >>> hold_out_time(log).lost()
        '1 of 1 user held out has no purchase in train, 1 of 1 product held out was bought by nobody there.'
        """
        users, products = (
            len(distinct(rows)) for rows in (self.held_out.user_rows, self.held_out.product_rows)
        )
        have = "has" if self.users_without_train == 1 else "have"
        were = "was" if self.products_without_train == 1 else "were"
        return (
            f"{self.users_without_train:,} of {counted(users, 'user')} held out {have} no purchase in train, "
            f"{self.products_without_train:,} of {counted(products, 'product')} held out {were} bought by nobody there."
        )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The distinct (user, product) pairs of a log, ascending."""

    users: AnyArray
    """``int64[pairs]``, the user row of each pair."""

    of_purchase: Offsets
    """``int64[N]``, the pair of each purchase."""


def hold_out_last(purchases: AnyLog, n: int = 1) -> Split:
    """Hold out, of each user, the ``n`` products bought last: by time, or in file order where there is none.

    A product is as recent as its last purchase by the user; all its purchases by the user go to one side. Of
    moments alike the one further down the log is later. Every user keeps at least one product in train.

    Raises `SettingProblem` when ``n`` is below 1, and `DataError` when no user has two products.
    """
    if n < 1:
        raise SettingProblem(f"n, the products of each user to hold out, must be 1 or more, not {n}.")
    purchases = log_given(purchases)
    pairs = _pairs(purchases)
    quota = np.full(len(purchases.users), n, dtype=np.int64)
    mask = _first_of_each_user(pairs, -_recency(purchases, pairs), quota)[pairs.of_purchase]
    order = "in file order" if purchases.times is None else "by time"
    what = "the last product" if n == 1 else f"the last {n} products"
    return _split(purchases, mask, f"{what} of each user {order}")


def hold_out_random(purchases: AnyLog, share: float = 0.2, *, rng: np.random.Generator | int = 0) -> Split:
    """Hold out, of each user, a random ``share`` of the products; the same ``rng``, a seed or a generator, gives the same split.

    Of d products, d · share are held out, rounded up or down at random so that it holds on average; but every
    user keeps at least one in train. All purchases of a product by a user go to one side.

    Raises `SettingProblem` unless 0 < share < 1, and `DataError` when nothing could be held out.
    """
    _check_share(share)
    purchases, rng = log_given(purchases), np.random.default_rng(rng)
    pairs = _pairs(purchases)
    sizes = np.bincount(pairs.users, minlength=len(purchases.users))
    quota = np.floor(sizes * share + rng.random(len(sizes))).astype(np.int64)
    mask = _first_of_each_user(pairs, rng.random(len(pairs.users)), quota)[pairs.of_purchase]
    return _split(purchases, mask, f"a random {share:.0%} of the products of each user")


def hold_out_time(purchases: AnyLog, share: float | str | date = 0.1) -> Split:
    """Hold out every purchase of the last part of the time: a share of it, or all since a moment.

    With first and last moment a and b, a share holds out the purchases after b − share · (b − a). Long gaps between purchases do
    not count as time (`_active`), so that one stray date cannot turn the split over. A date or a time, as text (``"2011-11-01"``,
    in UTC where it has no zone) or as a `datetime.date`, holds out the purchases from then on. Unlike the other splits it may
    hold out pairs that train has too, and users or products that train lacks; the description counts the pairs' purchases.

    Raises `SettingProblem` unless 0 < share < 1 or for text that is no time, and `DataError` when the log has no times or but
    one, or no purchase before that moment or from then on.

    >>> import tastemaker as tm
    >>> log = pl.DataFrame({"user": [1, 1, 2], "product": list("abc"), "date": ["2011-10-30", "2011-11-01", "2011-11-02"]})
    >>> len(hold_out_time(log, "2011-11-01").held_out), len(hold_out_time(log).held_out)
    (2, 1)
    """
    if isinstance(share, str | date):
        return _since(log_given(purchases), share)
    _check_share(share)
    purchases = log_given(purchases)
    times, spell = _spanning_times(purchases)
    first, last = int(times.min()), int(times.max())
    border = last - max(int((last - first) * share), 1)
    said = f"after {spell(border)}, the last {share:.0%} of the time in which purchases happened"
    return _later(purchases, times > border, said)


def _since(purchases: Purchases, since: str | date) -> Split:
    _spanning_times(purchases)  # there are some, and more than one
    if purchases.time_unit != "calendar":
        raise SettingProblem(
            f"{since} is a date, but the times of the log are {purchases.time_unit}; give a share, such as 0.1."
        )
    try:
        moment = datetime.fromisoformat(since.strip() if isinstance(since, str) else since.isoformat())
    except ValueError:
        raise SettingProblem(
            f"{since!r} is no time; write a date such as 2011-11-01, a time such as 2011-11-01T12:00, or a share such as 0.1."
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    border = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert purchases.times is not None
    later = purchases.times >= border
    if later.all() or not later.any():
        first, last = (_day(int(end)) for end in (purchases.times.min(), purchases.times.max()))
        raise DataError(
            f"no purchase is {'from' if not later.any() else 'before'} {since}; the log goes from {first} to {last} UTC."
        )
    return _later(purchases, later, f"from {since} on")


def _later(purchases: Purchases, mask: Booleans, said: str) -> Split:
    """Hold out the purchases under a mask of time."""
    pairs = _pairs(purchases)
    in_train = np.zeros(len(pairs.users), dtype=bool)
    in_train[pairs.of_purchase[~mask]] = True
    repeats = int((in_train[pairs.of_purchase] & mask).sum())
    return _split(purchases, mask, f"the purchases {said} ({repeats:,} of them repeat a pair of train)")


def hold_out_windows(
    purchases: AnyLog, windows: int = 3, share: float = 0.1, *, memory: float | None = None
) -> tuple[Split, ...]:
    """Hold out the last ``windows`` stretches of time, one in each split, the earliest first.

    They tell what would have been, had one trained anew at each border.
    Each stretch is ``share`` of the time in which purchases happened, as in `hold_out_time`. With first and last moment a and b,
    and w windows, split i of 0 … w − 1 holds out what was bought after ``b − (w − i) · share · (b − a)`` and not after the next
    border, and its train is all that was bought before, or with ``memory`` the last ``memory`` of the span before. The last split
    is that of `hold_out_time`.
    A window in which nothing was bought, or before which nothing was, gives no split.

    Raises `SettingProblem` unless ``0 < windows · share < 1`` and ``memory`` is above 0, and `DataError` when the log has no
    times or but one, or no window holds a purchase.

    >>> import tastemaker as tm
    >>> log = tm.read_purchases(pl.DataFrame({"user": [1] * 5, "product": list("abcde"), "time": [0, 50, 75, 90, 100]}))
    >>> for split in hold_out_windows(log, 2, 0.2):
    ...     print(split.train.product_rows, split.held_out.product_rows)
    [0 1] [2]
    [0 1 2] [3 4]
    """
    if not (windows >= 1 and share > 0 and windows * share < 1):
        raise SettingProblem(
            f"{windows} windows of a share of {share} each were asked for; there must be at least one, "
            "and together they must be less than all of the time spanned."
        )
    if memory is not None and not memory > 0:
        raise SettingProblem(f"memory, the share of time to learn from, must be above 0, not {memory}.")
    purchases = log_given(purchases)
    times, spell = _spanning_times(purchases)
    first, last = int(times.min()), int(times.max())
    borders = [last - max(int((last - first) * share * left), left) for left in range(windows, -1, -1)]
    since = [first - 1 if memory is None else border - int((last - first) * memory) for border in borders]
    splits = []
    for place, (start, stop) in enumerate(pairwise(borders)):
        train, held = (times <= start) & (times > since[place]), (times > start) & (times <= stop)
        if train.any() and held.any():
            what = f"the purchases after {spell(start)}, not after {spell(stop)}, window {place + 1} of {windows}"
            splits.append(_parted(purchases, train, held, what))
    if not splits:
        raise DataError(
            f"nothing can be held out in {windows} windows of {share:.0%} of the time: no purchase falls in one "
            "with another before it; make the windows longer."
        )
    return tuple(splits)


def hold_out_users(
    purchases: AnyLog, share: float = 0.1, *, basket: float = 0.5, rng: np.random.Generator | int = 0
) -> Split:
    """Hold out whole users, a random ``share`` of those with two products or more: visitors whom the model has never seen.

    The products that each of them bought first, ``basket`` of their d distinct products (rounded up, at least one, at most d −
    1), are their basket; the rest is held out. *First* is by time, or in file order, by the last purchase of a product as in
    `hold_out_last`. Train has none of their purchases; ``baskets`` has the first part. A model trained on train takes them up
    without training: ``evaluate(fold_in(model, split.baskets), split.held_out)``.

    Raises `SettingProblem` unless both shares lie between 0 and 1, and `DataError` when no user is left to hold out, or none to
    learn from.

    >>> import tastemaker as tm
    >>> log = tm.read_purchases(pl.DataFrame({"user": [1, 1, 1, 2], "product": list("abca")}))
    >>> split = hold_out_users(log, 0.5, rng=np.random.default_rng(2))
    >>> split.train.user_rows.tolist(), split.baskets.product_rows.tolist(), split.held_out.product_rows.tolist()
    ([1], [0, 1], [2])
    """
    _check_share(share)
    _check_share(basket, "the share of each history that is the basket")
    purchases, rng = log_given(purchases), np.random.default_rng(rng)
    pairs = _pairs(purchases)
    sizes = np.bincount(pairs.users, minlength=len(purchases.users))
    eligible = np.flatnonzero(sizes >= 2)
    if not len(eligible) or np.count_nonzero(sizes) < 2:
        raise DataError(
            "no user can be held out whole: it takes two users, one of them with two products or more."
        )
    many = min(max(1, round(len(eligible) * share)), int(np.count_nonzero(sizes)) - 1)
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[rng.choice(eligible, many, replace=False)] = True
    quota = np.where(chosen, sizes - np.ceil(basket * sizes).astype(np.int64), 0)
    quota[chosen] = np.maximum(quota[chosen], 1)
    held = _first_of_each_user(pairs, -_recency(purchases, pairs), quota)[pairs.of_purchase]
    theirs = chosen[purchases.user_rows]
    what = f"{many:,} whole users, of each the last products after {basket:.0%} of the history, which is the basket"
    split = _parted(purchases, ~theirs, held, what)
    return replace(split, baskets=purchases.take(theirs & ~held))


def _check_share(share: float, what: str = "the share to hold out") -> None:
    if not 0 < share < 1:
        raise SettingProblem(f"{what} must lie between 0 and 1, both excluded, not {share}.")


def _spanning_times(purchases: Purchases) -> tuple[Times, Callable[[int], str]]:
    """Return the times without long gaps, ``int64[N]``, and how a moment of them is said to people."""
    if purchases.times is None:
        raise DataError(for_caller("the log has no times to split by; name its column with --time-column."))
    if not len(purchases):
        raise DataError("nothing can be held out of a log without purchases.")
    if int(purchases.times.min()) == int(purchases.times.max()):
        raise DataError("nothing can be held out by time: all purchases have the same moment.")
    times, active = purchases.times, _active(purchases.times)

    def spell(moment: int) -> str:
        """Say a moment; of times whose gaps were shortened it is the last one not after it."""
        if active is not times:
            moment = int(times[active <= moment].max())
        if purchases.time_unit != "calendar":
            return f"{purchases.time_unit.removesuffix('s')} {moment / PER_STEP[purchases.time_unit]:g}"
        return f"{_day(moment)} UTC"

    return active, spell


def _active(times: Times) -> Times:
    """Return the times with every gap between purchases shortened to ``cap``; the times themselves where no gap is longer.

    ``cap`` is the greater of 2 % of the time that holds all but the first and last half per cent of the purchases, and ``LONG_GAP``
    times the median gap between moments: nights, holidays and thin logs keep their gaps, a stray date loses its own.
    """
    moments = distinct(times)
    gaps = np.diff(moments)
    edge = max(1, len(times) // 200)
    ends = np.partition(times, (edge, len(times) - 1 - edge)) if len(times) > 2 * edge else moments
    span = int(ends[len(ends) - 1 - edge] - ends[edge]) if len(times) > 2 * edge else 0
    long = LONG_GAP if len(moments) >= FEW_MOMENTS else LONG_GAP_OF_FEW
    cap = max(int(SHORT_GAP * max(span, 0)), int(long * np.median(gaps)), 1)
    if int(gaps.max()) <= cap:
        return times
    shortened = np.concatenate(([0], np.cumsum(np.minimum(gaps, cap)))) + int(moments[0])
    active: Times = shortened[np.searchsorted(moments, times)]
    return active


def _day(moment: int) -> str:
    return str(pl.select(pl.lit(moment).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M")).item())


def _recency(purchases: Purchases, pairs: _Pairs) -> Offsets:
    """Return for each pair the place of its last purchase among all purchases, oldest first, ``int64[pairs]``."""
    moments = np.arange(len(purchases)) if purchases.times is None else purchases.times
    oldest_first = np.argsort(moments, kind="stable")
    recency = np.empty(len(pairs.users), dtype=np.int64)
    recency[pairs.of_purchase[oldest_first]] = np.arange(
        len(purchases)
    )  # of a repeated pair the last one stays
    return recency


def _only_in(some: Rows, others: Rows) -> int:
    """Return how many distinct rows there are that the others lack."""
    return len(np.setdiff1d(distinct(some), distinct(others), assume_unique=True))


def _pairs(purchases: Purchases) -> _Pairs:
    width = max(len(purchases.products), 1)
    keys = pair_keys(purchases.user_rows, purchases.product_rows, width)
    distinct, of_purchase = np.unique(keys, return_inverse=True)
    return _Pairs(distinct // width, of_purchase)


def _first_of_each_user(pairs: _Pairs, ranks: AnyArray, quota: Offsets) -> Booleans:
    """Choose each user's ``quota[U]`` pairs of lowest rank, but never all of them; return ``bool[pairs]``."""
    order = np.lexsort((ranks, pairs.users))
    sizes = np.bincount(pairs.users, minlength=len(quota))
    place = places_in(offsets_of(sizes))  # pairs ascend by user, so order does too
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order] = place < np.minimum(quota, sizes - 1)[pairs.users]
    return chosen


def _split(purchases: Purchases, mask: Booleans, what: str) -> Split:
    if not mask.any():
        raise DataError(
            f"nothing can be held out ({what}): every user has one product only, or the share is too small."
        )
    return _parted(purchases, ~mask, mask, what)


def _parted(purchases: Purchases, train: Booleans, held_out: Booleans, what: str) -> Split:
    description = f"Held out: {what}; {int(held_out.sum()):,} of {len(purchases):,} purchases."
    return Split(purchases.take(train), purchases.take(held_out), description)
