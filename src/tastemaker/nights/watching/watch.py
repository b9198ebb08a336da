"""The watch after a switch: the service's own figures, from its /metrics, against the bounds of the shop's file."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tastemaker.nights.shop_file import Watch
from tastemaker.nights.watching.clicks import WEEK, Clicks, clicks_between, clicks_in_state, too_few_clicks

__all__ = ["Figures", "broken", "figures", "watched"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a service has counted so far."""

    requests: float = 0.0
    """Answers of one version of the model"""
    errors: float = 0.0
    """Those with a status of 500 and above"""
    empty: float = 0.0
    """Lists of the model without a product"""
    slow: tuple[tuple[float, float], ...] = ()
    """Seconds, and how many requests took no longer"""

    def since(self, before: Figures) -> Figures:
        """Return what was counted since."""
        earlier = dict(before.slow)
        slow = tuple((end, count - earlier.get(end, 0.0)) for end, count in self.slow)
        return Figures(
            self.requests - before.requests, self.errors - before.errors, self.empty - before.empty, slow
        )

    @property
    def p99_ms(self) -> float | None:
        """Return the end of the bucket that holds the slowest hundredth, in milliseconds."""
        total = max((count for _, count in self.slow), default=0.0)
        if total <= 0:
            return None
        return 1000 * next(end for end, count in sorted(self.slow) if count >= 0.99 * total)


def figures(text: str, *, model: str, version: int) -> Figures:
    """Return what a page of metrics says of a version."""
    from prometheus_client.parser import text_string_to_metric_families

    requests = errors = empty = 0.0
    slow: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "tastemaker_requests_total" and labels.get("model") == model:
                if labels.get("version") == str(version):
                    requests += sample.value
                    errors += sample.value if labels["status"].startswith("5") else 0.0
            elif sample.name == "tastemaker_empty_answers_total" and labels.get("model") == model:
                empty += sample.value
            elif sample.name == "tastemaker_request_seconds_bucket":
                end = float(labels["le"])
                slow[end] = slow.get(end, 0.0) + sample.value
    return Figures(requests, errors, empty, tuple(sorted(slow.items())))


def broken(found: Figures, watch: Watch) -> str | None:
    """Return which bound the figures break, in a sentence, or nothing; with few requests none is broken."""
    if found.requests < watch.fewest_requests:
        return None
    errors, empty = found.errors / found.requests, found.empty / found.requests
    if errors > watch.most_errors:
        return f"{errors:.1%} of {found.requests:,.0f} answers were errors, at most {watch.most_errors:.1%} may be (most_errors)"
    if empty > watch.most_empty:
        return f"{empty:.1%} of {found.requests:,.0f} answers were empty, at most {watch.most_empty:.1%} may be (most_empty)"
    p99 = found.p99_ms
    if watch.most_p99_ms is not None and p99 is not None and p99 > watch.most_p99_ms:
        return f"the slowest hundredth took {p99:g} ms and more; at most {watch.most_p99_ms:g} may be (most_p99_ms)"
    return None


def watched(
    watch: Watch,
    *,
    model: str,
    version: int,
    events: Path | None = None,
    state: str | None = None,
    pause: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[str | None, str]:
    """Watch a service; return which bound it broke, or nothing, and what was seen, in a sentence.

    ``events`` is the server's file of events, or ``state`` the database that hosts share; its outcomes tell the click rate.
    """
    end = clock() + 60 * watch.minutes
    clicks = _ClickRate(watch, events, state, time.time_ns() // 1000)
    first: Figures | None = None
    found = Figures()
    while True:
        page = _page(watch)
        if page is None:
            away = f"{watch.url} does not answer"
            if clock() >= end:
                return (away, away) if first is not None else (None, f"{away}; it was not watched.")
        else:
            now = figures(page, model=model, version=version)
            first = first or now
            found = now.since(first)
            trouble = broken(found, watch) or clicks.trouble()
            if trouble is not None:
                return trouble, trouble
        left = end - clock()
        if left <= 0:
            p99 = "" if found.p99_ms is None else f", p99 within {found.p99_ms:g} ms"
            counts = f"{found.requests:,.0f} answers, {found.errors:,.0f} errors{p99}{clicks.said()}"
            return None, f"watched {watch.minutes:g} minutes: {counts}."
        sleep(min(pause, left))


class _ClickRate:
    """The click rate since the switch beside that of the week before."""

    def __init__(self, watch: Watch, events: Path | None, state: str | None, switched: int) -> None:
        self._watch, self._file, self._state, self._switched = watch, events, state, switched
        self._watches = watch.least_clicks is not None and (events is not None or state is not None)
        self._before = self._between(switched - WEEK, switched) if self._watches else None

    def trouble(self) -> str | None:
        """Return which bound is broken."""
        after = self._after()
        if self._before is None or after is None or self._watch.least_clicks is None:
            return None
        return too_few_clicks(self._before, after, self._watch.least_clicks, self._watch.fewest_requests)

    def said(self) -> str:
        """Return what was seen of clicks, to end a sentence."""
        if not self._watches:
            return ""
        after = self._after()
        if self._before is None or after is None:
            return ", no outcomes, so the click rate was not watched"
        return f", click rate {after.rate:.1%} of {after.shown:,} shown, before {self._before.rate:.1%}"

    def _after(self) -> Clicks | None:
        return self._between(self._switched, 1 << 62) if self._watches else None

    def _between(self, begin: int, end: int) -> Clicks | None:
        if self._state is not None:
            return clicks_in_state(self._state, begin, end)
        return None if self._file is None else clicks_between(self._file, begin, end)


def _page(watch: Watch) -> str | None:
    request = urllib.request.Request(f"{str(watch.url).rstrip('/')}/metrics")
    key = os.environ.get(watch.key)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError, ValueError):
        return None
