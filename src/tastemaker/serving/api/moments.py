"""Moments of requests and events, as numbers of microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import UNSET, UnsetType

from tastemaker.serving.front.problems import Refusal

__all__ = ["asked_at", "microseconds_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = 253_402_300_800 * 1_000_000  # the year 10000, which no date knows


def asked_at(seconds: float | UnsetType) -> int | None:
    """Return when a visitor asks, in microseconds; ``None`` where the request does not say."""
    return None if seconds is UNSET else microseconds_of(seconds)


def microseconds_of(moment: float | datetime) -> int:
    """Return microseconds since 1970-01-01 UTC; refuse (422) a date out of the range that numbers have."""
    if isinstance(moment, datetime):
        found = (moment - _EPOCH) // timedelta(microseconds=1)
        if not 0 <= found < _END:
            raise Refusal(422, f"the time {moment.isoformat()} is not from 1970 to 9999 (UTC).")
        return found
    # whole seconds apart: in the far future a float holds these to the microsecond, and not their product
    return int(moment) * 1_000_000 if moment.is_integer() else round(moment * 1_000_000)
