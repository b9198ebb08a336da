"""How long a server waits before it replaces a worker that ended: the first at once, those that end soon after ever later."""

from __future__ import annotations

__all__ = ["HEALTHY_SECONDS", "LONGEST_PAUSE", "Restarts"]

HEALTHY_SECONDS = 60.0
"""A worker that lived so long did not end because of how it started"""

LONGEST_PAUSE = 60.0
"""Seconds"""


class Restarts:
    """Counts workers that ended soon after their start."""

    def __init__(self) -> None:
        self._failures = 0

    def pause_after(self, lived: float) -> float:
        """Return the seconds to wait before a worker that lived so many is replaced.

        >>> restarts = Restarts()
        >>> [restarts.pause_after(lived) for lived in (3600, 0.1, 0.1, 0.1, 0.1)]
        [0.0, 0.0, 1.0, 2.0, 4.0]
        """
        if lived >= HEALTHY_SECONDS:
            self._failures = 0
            return 0.0
        self._failures += 1
        return 0.0 if self._failures == 1 else min(2.0 ** (self._failures - 2), LONGEST_PAUSE)
