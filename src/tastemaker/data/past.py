"""`Past`: what each user did and when, as a model remembers it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.types import AnyArray, Floats, Offsets, Rows, Times

__all__ = ["PURCHASE", "Past", "joined_past", "moment_of", "past_of", "strengths_of"]

PURCHASE = "purchase"
"""The kind of event that lists are measured by; always the first of a past's kinds."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """The events of each user, oldest first: those of user u lie from ``offsets[u]`` to ``offsets[u + 1]``."""

    offsets: Offsets
    """``int64[U + 1]``"""
    products: Rows
    """``int32[E]``"""
    times: Times
    """``int64[E]``, microseconds since 1970-01-01 UTC"""
    kinds: AnyArray | None = None
    """``int16[E]``, places in ``names``; ``None`` means that all are purchases"""
    names: tuple[str, ...] = (PURCHASE,)
    """The kinds; place 0 is the purchase."""
    strengths: Floats | None = None
    """``float32[E]``, how much each purchase tells, in powers of two (`strengths_of`); ``None`` where all tell as much"""

    def __len__(self) -> int:
        return len(self.products)

    @property
    def users(self) -> Rows:
        """Return the user of each event, ``int32[E]``."""
        return np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), np.diff(self.offsets))

    def kinds_of(self) -> AnyArray:
        """Return the kind of each event, ``int16[E]``, where all are purchases, too."""
        return np.zeros(len(self), np.int16) if self.kinds is None else np.asarray(self.kinds)

    def strengths_of(self) -> Floats:
        """Return how much each event tells, ``float32[E]``, where all tell as much, too."""
        return np.zeros(len(self), np.float32) if self.strengths is None else np.asarray(self.strengths)


def moment_of(given: str | date) -> int:
    """Return a date, or a time, as microseconds since 1970-01-01 UTC; raise `SettingProblem` for a text that is neither.

    >>> moment_of("1970-01-02"), moment_of("1970-01-01T00:00:01+00:00")
    (86400000000, 1000000)
    """
    try:
        moment = datetime.fromisoformat(given.strip() if isinstance(given, str) else given.isoformat())
    except (ValueError, AttributeError):
        raise SettingProblem(
            f"{given!r} is no moment; write a date such as 2024-06-01, or a time such as 2024-06-01T12:00."
        ) from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def past_of(log: Purchases) -> Past | None:
    """Return the dated purchases and other events of a log, or ``None`` where it has no times.

    Events of one user and time stand in the order of the log, events of other kinds before purchases: what was looked at and
    bought at one time was looked at first.

    >>> import polars as pl
    >>> from tastemaker.data.reading.readers import read_purchases
    >>> days = ["2024-01-03", "2024-01-01", "2024-01-02"]
    >>> past = past_of(read_purchases(pl.DataFrame({"user": list("aba"), "product": list("xyz"), "date": days})))
    >>> past.offsets.tolist(), past.products.tolist()
    ([0, 2, 3], [2, 0, 1])
    """
    if log.times is None:
        return None
    users, products, times = log.user_rows, log.product_rows, log.times
    kinds = None
    strengths = None if log.weights is None else strengths_of(log.weights)
    names: tuple[str, ...] = (PURCHASE,)
    others = log.events
    if others is not None and others.times is not None:
        names += others.names
        kinds = np.concatenate([others.kinds + 1, np.zeros(len(users), np.int16)]).astype(np.int16)
        users = np.concatenate([others.user_rows, users])
        products = np.concatenate([others.product_rows, products])
        times = np.concatenate([others.times, times])
        if strengths is not None:
            strengths = np.concatenate([np.zeros(len(others), np.float32), strengths])
    return _by_user(len(log.users), users, products, times, kinds, names, strengths)


def strengths_of(weights: Floats) -> Floats:
    """Return how much each purchase tells by its rating or quantity, ``float32[N]``; nothing said, NaN, is typical.

    strength = log2(weight / median), from -2 to 2; what is not positive has -2

    >>> strengths_of(np.float32([1, 2, 2, 4, 100, 0, np.nan])).tolist()
    [-1.0, 0.0, 0.0, 1.0, 2.0, -2.0, 0.0]
    """
    given = np.asarray(weights, np.float64)
    said = given[np.isfinite(given) & (given > 0)]
    typical = float(np.median(said)) if len(said) else 1.0
    strengths: Floats = np.log2(np.clip(given / typical, 0.25, 4.0)).astype(np.float32)
    return np.nan_to_num(strengths, nan=0.0)


def joined_past(past: Past | None, newer: Purchases) -> Past | None:
    """Return a past with newer purchases and events, whose users begin with the past's; ``None`` where one of both has no times."""
    more = past_of(newer)
    if past is None or more is None:
        return None
    names = past.names + tuple(name for name in more.names if name not in past.names)
    places = np.array([names.index(name) for name in more.names], np.int16)
    kinds = None
    if len(names) > 1:
        kinds = np.concatenate([past.kinds_of(), places[more.kinds_of()]])
    strengths = None
    if past.strengths is not None or more.strengths is not None:
        strengths = np.concatenate([past.strengths_of(), more.strengths_of()])
    return _by_user(
        len(newer.users),
        np.concatenate([past.users, more.users]),
        np.concatenate([past.products, more.products]),
        np.concatenate([past.times, more.times]),
        kinds,
        names,
        strengths,
    )


def _by_user(
    count: int,
    users: Rows,
    products: Rows,
    times: Times,
    kinds: AnyArray | None,
    names: tuple[str, ...],
    strengths: Floats | None,
) -> Past:
    order = np.lexsort((times, users))
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(users, minlength=count), out=offsets[1:])
    kinds = None if kinds is None else kinds[order]
    strengths = None if strengths is None else strengths[order]
    return Past(offsets, products[order].astype(np.int32), times[order], kinds, names, strengths)
