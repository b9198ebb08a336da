"""Bounds: a night's log against that of the last run; what is beyond them stops a run before anything is learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import distinct
from tastemaker.data.summary import ReadSummary
from tastemaker.model.taste_model import TasteModel
from tastemaker.nights.shop_file import Bounds

__all__ = ["beyond", "figures_of", "new_shares", "unforeseen"]

MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS

NIGHTS = 3
"""So many nights make what is usual."""

FEW = 20
"""Below so many new purchases their shares say nothing."""


def figures_of(log: Purchases, read: ReadSummary) -> dict[str, Any]:
    """Return the figures of a log by which the next run is judged."""
    assert log.times is not None
    return {
        "purchases": len(log),
        "users": len(distinct(log.user_rows)),
        "products": len(distinct(log.product_rows)),
        "dropped": read.dropped / max(read.rows, 1),
        "first": int(log.times.min()),
        "last": int(log.times.max()),
        "user_ids": "integers" if log.users.ids.dtype.is_integer() else "text",
        "product_ids": "integers" if log.products.ids.dtype.is_integer() else "text",
    }


def new_shares(log: Purchases, model: TasteModel, after: int) -> dict[str, float] | None:
    """Return which shares of the purchases since the last run are by unknown users and of unknown products."""
    assert log.times is not None
    new = np.flatnonzero(log.times > after)
    if len(new) < FEW:
        return None
    users = model.users.rows_of(log.users)[log.user_rows[new]]
    products = model.products.rows_of(log.products)[log.product_rows[new]]
    return {"users": float((users < 0).mean()), "products": float((products < 0).mean())}


def beyond(
    bounds: Bounds,
    now: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    new: Mapping[str, float] | None,
    *,
    clock: datetime | None = None,
) -> list[str]:
    """Return a sentence for every bound that a log breaks; ``before`` are the figures of the last run, where there was one."""
    return [
        *_age(bounds, now, clock or datetime.now(UTC)),
        *(_change(bounds, now, before) if before else ()),
        *_new(bounds, new),
    ]


def unforeseen(bounds: Bounds, quality: float | None, earlier: Sequence[float]) -> str | None:
    """Return a sentence where a night's purchases are foreseen far worse than those of the nights before, as scrambled ones are."""
    if quality is None or len(earlier) < NIGHTS:
        return None
    usual = float(np.median(earlier))
    if quality >= bounds.lowest_quality * usual:
        return None
    return (
        f"what was bought since the last run is foreseen with {quality:.4f}, and in the nights before with {usual:.4f} (median): "
        f"less than {bounds.lowest_quality:.0%} of it (lowest_quality); users or products may be scrambled."
    )


def _age(bounds: Bounds, now: Mapping[str, Any], clock: datetime) -> Iterator[str]:
    age = (clock.timestamp() * MICROSECONDS - now["last"]) / DAY
    if bounds.oldest_days is not None and age > bounds.oldest_days:
        yield f"the last purchase is {age:.1f} days old; at most {bounds.oldest_days:g} are allowed (oldest_days)."
    if age < -1:
        yield f"the last purchase lies {-age:.1f} days in the future."


def _change(bounds: Bounds, now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    limits = (
        ("purchases", bounds.fewest_rows, bounds.most_rows, "fewest_rows", "most_rows"),
        ("users", bounds.fewest_users, None, "fewest_users", ""),
        ("products", bounds.fewest_products, bounds.most_products, "fewest_products", "most_products"),
    )
    for what, least, most, least_key, most_key in limits:
        was, found = before[what], now[what]
        if found < least * was:
            yield (
                f"there are {found:,} {what}, and the last run had {was:,}: fewer than {least:.0%} of them ({least_key}); "
                "a source may have lost some."
            )
        elif most is not None and found > most * max(was, 1):
            yield (
                f"there are {found:,} {what}, and the last run had {was:,}: more than {most:g} times as many ({most_key}); "
                "a source may hold some twice."
            )
    if now["dropped"] > before["dropped"] + bounds.most_dropped:
        yield (
            f"{now['dropped']:.1%} of the rows cannot be used, and {before['dropped']:.1%} could not in the last run "
            "(most_dropped); `tastemaker inspect` shows why."
        )
    if now["last"] < before["last"]:
        lost = (before["last"] - now["last"]) / DAY
        yield f"the last purchase is {lost:.1f} days older than that of the last run; a source may have stopped."
    for noun in ("user", "product"):
        was, found = before[f"{noun}_ids"], now[f"{noun}_ids"]
        if was != found:
            yield f"ids of {noun}s are {found} now, and were {was} in the last run; the service's clients would not find them."


def _new(bounds: Bounds, new: Mapping[str, float] | None) -> Iterator[str]:
    if new is None:
        return
    for noun, most in (("users", bounds.most_new_users), ("products", bounds.most_new_products)):
        if new[noun] > most:
            yield (
                f"{new[noun]:.0%} of the purchases since the last run are of {noun} that it did not know; at most {most:.0%} are "
                f"allowed (most_new_{noun})."
            )
