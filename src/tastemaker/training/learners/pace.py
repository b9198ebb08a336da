"""`Pace`: how many threads learn a member, found by trying: several where each has a processor, else one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Pace"]

SOON, SELDOM = 2, 16
"""Calls after which the other way is tried once more, since other jobs come and go.

Soon at first where one thread was taken for the faster, as a job of a moment may have slowed the others, then after twice as many
calls each time; seldom where several are.
"""
MARGIN = 0.95
"""Several threads must take less than this share of one's time."""


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
    alone: tuple[float, ...] = ()
    """Seconds of the newest two calls of one thread a member"""
    together: tuple[float, ...] = ()
    """The same of several"""
    wait: int = SOON
    """After how many calls several threads are tried again"""
    trial: int = 2
    """The call that tries the other way"""

    def threads(self, most: int) -> int:
        """Return how many of ``most`` threads learn a member in the next call."""
        if most < 2 or self.calls < 2:
            return 1
        return most if self._several() != (self.calls >= self.trial) else 1

    def tell(self, threads: int, seconds: float) -> None:
        """Remember what a call took."""
        tried = self.calls >= self.trial
        self.calls += 1
        if self.calls == 1:
            return
        if threads == 1:
            self.alone = (*self.alone[-1:], seconds)
        else:
            self.together = (*self.together[-1:], seconds)
        if tried:
            self.wait, self.trial = min(2 * self.wait, SELDOM), self.calls + self.wait
            if self._several():
                self.wait, self.trial = SOON, self.calls + SELDOM

    def _several(self) -> bool:
        """Return whether several threads are the faster; other jobs only slow them, so of two calls the faster one tells."""
        return bool(self.alone and self.together) and min(self.together) < MARGIN * min(self.alone)
