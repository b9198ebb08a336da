"""`Executor`: does a function for each of many tasks, wherever its workers are; results come in the order of the tasks."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

__all__ = ["ATTEMPTS", "Done", "Executor", "Tally", "worker_name"]

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 3
"""How often a task is begun at most: a task that ends its worker each time would end all others, too."""


@dataclass(frozen=True, slots=True)
class Done:
    """A task has ended."""

    task: int
    """Its position among the tasks"""
    worker: str
    """Who did it: ``host:process``"""
    lost: int = 0
    """How many workers were lost with this task before"""


class Executor(Protocol):
    """Does one function for each task. A task is plain values: paths, numbers, arrays; the function is one of a module.

    The result of a task depends on the task alone, so that who does it changes nothing. A task whose worker is lost is done again
    by another, at most `ATTEMPTS` times; then `WorkersLost` is raised. What the function raises is raised, and what has not begun
    by then is left.
    """

    @property
    def threads(self) -> int | None:
        """Return how many threads a worker should use; ``None`` leaves it to the machine."""

    def run(
        self, work: Callable[[T], R], tasks: Sequence[T], *, on_done: Callable[[Done], None] = lambda _: None
    ) -> list[R]:
        """Return the result of each task, in the order of the tasks."""

    def session(self) -> AbstractContextManager[Executor]:
        """Return these workers kept for several runs: what beginning them costs is paid once, and each keeps what it has read."""


@dataclass(slots=True)
class Tally:
    """Who did how much; an ``on_done`` that counts."""

    workers: Counter[str] = field(default_factory=Counter)
    lost: int = 0

    def __call__(self, done: Done) -> None:
        """Count a task that has ended."""
        self.workers[done.worker] += 1
        self.lost += done.lost

    def sentence(self) -> str:
        """Return what each worker did, the busiest first.

        >>> tally = Tally()
        >>> for task in (Done(0, "a:7"), Done(1, "a:7"), Done(2, "b:9", lost=1)):
        ...     tally(task)
        >>> tally.sentence()
        'a:7 did 2, b:9 did 1; 1 was done again after its worker was lost'
        """
        shares = [f"{worker} did {count:,}" for worker, count in self.workers.most_common(8)]
        rest = len(self.workers) - len(shares)
        more = [f"{rest:,} more workers did the rest"] if rest else []
        again = (
            f"; {self.lost:,} {'was' if self.lost == 1 else 'were'} done again after " if self.lost else ""
        )
        whose = "its worker was lost" if self.lost == 1 else "their workers were lost"
        return ", ".join(shares + more) + (again + whose if self.lost else "")


def worker_name() -> str:
    """Return what this process is called among workers."""
    return f"{socket.gethostname()}:{os.getpid()}"
