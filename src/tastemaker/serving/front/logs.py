"""Logs as JSON, one object a line on stderr. They hold no key, no header, no query string and no body."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

__all__ = ["OnceASecond", "log_in_json", "now_said", "write_line"]

MOST_REMEMBERED = 100


def now_said(seconds: float | None = None) -> str:
    """Return a time, by default now, as every line of the log has it: RFC 3339 with milliseconds, in UTC."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {
            "time": now_said(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            facts["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(facts, default=str).decode()


class OnceASecond(logging.Filter):
    """Lets the same warning or error pass once a second, and then says how often it came meanwhile."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged; note in it how many like it were not."""
        if record.levelno < logging.WARNING:
            return True
        facts = getattr(record, "facts", {})
        said = (record.name, record.getMessage(), repr(facts.get("error") or facts.get("model")))
        now = self._clock()
        last, repeated = self._seen.pop(said, (-2.0, 0))
        passes = now - last >= 1
        self._seen[said] = (now, 0) if passes else (last, repeated + 1)
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)
        if passes and repeated:
            record.facts = {**facts, "repeated": repeated}
        return passes


def log_in_json() -> None:
    """Send every log of this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    handler.addFilter(OnceASecond())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def write_line(facts: dict[str, Any]) -> None:
    """Write one JSON line to stderr at once: the quick way for the log of requests."""
    try:
        os.write(2, orjson.dumps(facts, default=str) + b"\n")
    except OSError:  # a log that nobody reads must not stop the service
        return
