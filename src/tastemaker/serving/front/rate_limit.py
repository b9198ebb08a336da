"""A rate limit for each client: buckets of tokens that fill up with time."""

from __future__ import annotations

import math
from collections import OrderedDict

__all__ = ["RateLimits"]

MOST_CLIENTS = 10_000


class RateLimits:
    """A client may ask ``burst`` times at once, and ``per_second`` times a second in the long run.

    Only the latest 10,000 clients are remembered. Each worker process counts for itself.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second, self._burst = per_second, float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> int:
        """Take a token at the time ``now`` (seconds) and return 0; or return after how many whole seconds there will be one."""
        if not self._per_second:
            return 0
        tokens, then = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - tokens) / self._per_second))
