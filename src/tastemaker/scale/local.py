"""Work on this machine: in this process, or in several that begin anew (*spawn*), so that nothing is inherited."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from tastemaker.errors import WorkersLost
from tastemaker.scale.executor import ATTEMPTS, Done, worker_name

__all__ = ["Processes", "ThisProcess"]

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
        results: dict[int, R] = {}
        lost = dict.fromkeys(range(len(tasks)), 0)
        while len(results) < len(tasks):
            left = [number for number in lost if number not in results]
            for number in _one_pool(self.processes, work, tasks, left, results, lost, on_done):
                lost[number] += 1
                if lost[number] >= ATTEMPTS:
                    raise WorkersLost(
                        f"part {number + 1:,} of {len(tasks):,} was begun {ATTEMPTS} times and each time its process ended, "
                        "as when memory runs out; what other parts have written is kept. Use fewer processes."
                    )
        return [results[number] for number in range(len(tasks))]


def _one_pool(
    processes: int,
    work: Callable[[T], R],
    tasks: Sequence[T],
    left: Sequence[int],
    results: dict[int, R],
    lost: dict[int, int],
    on_done: Callable[[Done], None],
) -> list[int]:
    """Do what is left until all is done or a process ends; return the tasks that were at work then."""
    context = multiprocessing.get_context("spawn")
    others, waiting = set(multiprocessing.active_children()), list(reversed(left))
    pool = ProcessPoolExecutor(min(processes, len(left)), mp_context=context, initializer=_begin)
    running: dict[Future[tuple[str, R]], int] = {}
    try:
        while waiting or running:
            # no more than there are processes, so that what a lost process had at work is known
            while waiting and len(running) < processes:
                number = waiting.pop()
                running[pool.submit(_named, work, tasks[number])] = number
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, result = future.result()
                number = running.pop(future)
                results[number] = result
                on_done(Done(number, worker, lost[number]))
    except BrokenProcessPool:
        return list(running.values())
    except (
        KeyboardInterrupt
    ):  # what a part was about to write is not waited for, and a second one finds nothing to wait for
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
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
