"""`Pace`: how many threads learn a member, found by trying: several where each has a processor, else one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Pace"]

AGAIN = 16
"""After so many calls the other way is tried once more, since other jobs come and go."""
MARGIN = 0.95
"""Several threads must take less than this share of one's time."""
NEWEST = 0.5
"""The weight of the newest measurement beside those before."""


@dataclass(slots=True)
class Pace:
    """Chooses between one thread and several by the seconds that calls of equal work took. No byte depends on the choice.

    Threads that learn together meet twice a batch. Where another job holds a processor, each would wait for the one that has none.

    >>> pace = Pace()
    >>> for seconds in (9.0, 1.0, 0.6):  # the first call may have compiled, and tells nothing
    ...     pace.tell(pace.threads(2), seconds)
    >>> pace.threads(2)
    2
    """

    calls: int = 0
    alone: float | None = None
    """Seconds of a call of one thread a member; ``None`` before there was one"""
    together: float | None = None
    """Seconds of a call of several"""

    def threads(self, most: int) -> int:
        """Return how many of ``most`` threads learn a member in the next call."""
        if most < 2 or self.calls < 2:
            return 1
        if self.alone is None or self.together is None:
            return most
        several = self.together < MARGIN * self.alone
        if self.calls % AGAIN == 0:
            several = not several
        return most if several else 1

    def tell(self, threads: int, seconds: float) -> None:
        """Remember what a call took."""
        self.calls += 1
        if self.calls == 1:
            return
        if threads == 1:
            self.alone = _newest(self.alone, seconds)
        else:
            self.together = _newest(self.together, seconds)


def _newest(before: float | None, now: float) -> float:
    return now if before is None else before + NEWEST * (now - before)
