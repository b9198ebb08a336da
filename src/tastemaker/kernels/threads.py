"""`ThreadPool`: a few threads that run kernels side by side.

Kernels release the GIL, so plain threads are enough. Numba's own ``parallel=True`` is not used: code that it has just compiled
and the same code read from its cache are optimised apart (numba issue 10617 saw it in the speed, a test here in the last bits),
which breaks "the same seed, the same bytes"; its threading layers also forbid concurrent calls or forking, which a server needs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import TypeAlias

from tastemaker.errors import SettingProblem

__all__ = ["Task", "ThreadPool", "default_threads"]

Task: TypeAlias = Callable[[int, int], object]
"""``task(low, high)`` does the parts low … high - 1."""

_Order: TypeAlias = tuple[Task, int, int] | None


def default_threads() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThreadPool:
    """``threads`` threads (default: one for each processor), this one among them; a context manager.

    >>> done = [0] * 10
    >>> def work(low, high):
    ...     for part in range(low, high):
    ...         done[part] += 1
    >>> with ThreadPool(3) as pool:
    ...     pool.run(work, 10)
    >>> done
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise SettingProblem(f"threads is {threads}; it must be at least 1.")
        self.threads = threads or default_threads()
        self._inboxes: list[SimpleQueue[_Order]] = []
        self._outbox: SimpleQueue[BaseException | None] = SimpleQueue()

    def __enter__(self) -> ThreadPool:
        for number in range(1, self.threads):
            inbox: SimpleQueue[_Order] = SimpleQueue()
            self._inboxes.append(inbox)
            threading.Thread(
                target=_work, args=(inbox, self._outbox), name=f"tastemaker-{number}", daemon=True
            ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for inbox in self._inboxes:
            inbox.put(None)
        self._inboxes.clear()

    @property
    def running(self) -> int:
        """Return how many parts run at the same time: 1 outside of the pool's block."""
        return len(self._inboxes) + 1

    def run(self, task: Task, parts: int) -> None:
        """Do the parts 0 … parts - 1, each thread a contiguous share; raise what a part raised, after all have ended."""
        members = min(len(self._inboxes) + 1, parts)
        if members <= 1:
            task(0, parts)
            return
        borders = [parts * member // members for member in range(members + 1)]
        for member in range(1, members):
            self._inboxes[member - 1].put((task, borders[member], borders[member + 1]))
        try:
            task(borders[0], borders[1])
        finally:
            errors = [self._outbox.get() for _ in range(1, members)]
        for error in errors:
            if error is not None:
                raise error


def _work(inbox: SimpleQueue[_Order], outbox: SimpleQueue[BaseException | None]) -> None:
    while (order := inbox.get()) is not None:
        task, low, high = order
        try:
            task(low, high)
            outbox.put(None)
        except BaseException as error:
            outbox.put(error)
