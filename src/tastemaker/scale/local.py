"""Work on this machine: in this process, or in several that begin anew (*spawn*), so that nothing is inherited."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import TypeVar

from tastemaker.errors import WorkersLost
from tastemaker.scale.executor import ATTEMPTS, Done, Executor, worker_name

__all__ = ["Processes", "ThisProcess"]

LOOK_EVERY = 0.2
"""Seconds between two looks at Ctrl-C: where Polars is imported, it does not interrupt a lock."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ThisProcess:
    """One task after the other, here; a task may use several threads."""

    threads: int | None = None

    def run(
        self, work: Callable[[T], R], tasks: Sequence[T], *, on_done: Callable[[Done], None] = lambda _: None
    ) -> list[R]:
        """Do the tasks in their order."""
        results = []
        for number, task in enumerate(tasks):
            results.append(work(task))
            on_done(Done(number, worker_name()))
        return results

    @contextmanager
    def session(self) -> Iterator[Executor]:
        """There is nothing to keep."""
        yield self


@dataclass(frozen=True, slots=True)
class Processes:
    """Several processes of this machine."""

    processes: int
    threads_each: int | None = None

    @property
    def threads(self) -> int:
        """Return the threads of one process: as given, else its share of the processors."""
        return self.threads_each or max(1, len(os.sched_getaffinity(0)) // self.processes)

    def run(
        self, work: Callable[[T], R], tasks: Sequence[T], *, on_done: Callable[[Done], None] = lambda _: None
    ) -> list[R]:
        """Do the tasks; when a process is killed, the tasks that were not done are begun again in fresh ones."""
        with self.session() as kept:
            return kept.run(work, tasks, on_done=on_done)

    @contextmanager
    def session(self) -> Iterator[Executor]:
        """Keep the processes until the block ends; those that a task needs begin with it."""
        kept = _Kept(self.processes, self.threads)
        try:
            yield kept
        except (
            KeyboardInterrupt
        ):  # what a part was about to write is not waited for, and a second one finds nothing to wait for
            kept.kill()
            raise
        finally:
            kept.end()


@dataclass(slots=True)
class _Kept:
    """Processes that stay from one run to the next; after a loss, fresh ones."""

    processes: int
    threads: int
    pool: ProcessPoolExecutor | None = None
    others: set[BaseProcess] = field(default_factory=set)
    """Children of this process that are not the pool's"""

    def run(
        self, work: Callable[[T], R], tasks: Sequence[T], *, on_done: Callable[[Done], None] = lambda _: None
    ) -> list[R]:
        """Do the tasks, in as many pools as it takes."""
        results: dict[int, R] = {}
        lost = dict.fromkeys(range(len(tasks)), 0)
        while len(results) < len(tasks):
            for number in self._in_one_pool(work, tasks, results, lost, on_done):
                lost[number] += 1
                if lost[number] >= ATTEMPTS:
                    raise WorkersLost(
                        f"part {number + 1:,} of {len(tasks):,} was begun {ATTEMPTS} times and each time its process ended, "
                        "as when memory runs out; what other parts have written is kept. Use fewer processes."
                    )
        return [results[number] for number in range(len(tasks))]

    @contextmanager
    def session(self) -> Iterator[Executor]:
        """Keep them on."""
        yield self

    def kill(self) -> None:
        """End the processes whatever they do."""
        for process in set(multiprocessing.active_children()) - self.others:
            process.kill()

    def end(self) -> None:
        """Let the processes end."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
            self.pool = None

    def _begun(self) -> ProcessPoolExecutor:
        if self.pool is None:
            self.others = set(multiprocessing.active_children())
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(self.processes, mp_context=context, initializer=_begin)
        return self.pool

    def _in_one_pool(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        results: dict[int, R],
        lost: dict[int, int],
        on_done: Callable[[Done], None],
    ) -> list[int]:
        """Do what is left until all is done or a process ends; return the tasks that were at work then."""
        waiting = [number for number in reversed(range(len(tasks))) if number not in results]
        running: dict[Future[tuple[str, R]], int] = {}
        try:
            pool = self._begun()
            while waiting or running:
                # no more than there are processes, so that what a lost process had at work is known
                while waiting and len(running) < self.processes:
                    number = waiting.pop()
                    running[pool.submit(_named, work, tasks[number])] = number
                for future in wait(running, LOOK_EVERY, FIRST_COMPLETED).done:
                    worker, result = future.result()
                    number = running.pop(future)
                    results[number] = result
                    on_done(Done(number, worker, lost[number]))
        except BrokenProcessPool:
            self.end()
            return list(running.values())
        return []


def _named(work: Callable[[T], R], task: T) -> tuple[str, R]:
    return worker_name(), work(task)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
