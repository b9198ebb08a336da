"""Work for tests of executors, of a module that workers can import."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tastemaker.errors import UnknownId, WorkersLost
from tastemaker.scale.local import ThisProcess
from tastemaker.training.sharded.crew import learn_share


class Task(NamedTuple):
    number: int
    folder: str = ""
    killed: int = 0
    """How many workers this task ends before it is done"""
    seconds: float = 0.0


def square(task: Task) -> int:
    return task.number**2


def square_or_be_killed(task: Task) -> int:
    """Note that the task was begun; be killed as often as it says."""
    begun = Path(task.folder, f"{task.number}-{os.getpid()}-{time.monotonic_ns()}")
    begun.touch()
    if len(list(begun.parent.glob(f"{task.number}-*"))) <= task.killed:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(task.seconds)
    return task.number**2


def refuse(task: Task) -> int:
    raise UnknownId(f"task {task.number} is unknown.", [task.number])


def hang_on_doomed_host(task: Task) -> int:
    """On the node of Ray that the folder calls doomed, say so and do not end; elsewhere, end when that has happened."""
    import ray

    node = Path(task.folder, ray.get_runtime_context().get_node_id())
    begun = node.with_name("begun")
    if node.exists():
        begun.touch()
        time.sleep(60)
    while not begun.exists():
        time.sleep(0.02)
    return task.number**2


def learn_or_be_killed(share, *, marks):
    """Learn a share of a training; in the third round be killed before, once."""
    if share.done == 2 and share.shard == 1 and share.member == 0:
        mark = Path(marks, f"killed-{share.epoch}")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return learn_share(share)


@dataclass
class Deadly:
    """Workers of another executor, of whom one is killed in each epoch of a training."""

    executor: object
    marks: str
    threads: int = 1

    def run(self, work, tasks, *, on_done=lambda _: None):
        return self.executor.run(partial(learn_or_be_killed, marks=self.marks), tasks, on_done=on_done)

    @contextmanager
    def session(self):
        with self.executor.session() as kept:
            yield Deadly(kept, self.marks)


@dataclass
class LostAfter:
    """This process, which loses its head after so many runs."""

    runs: int
    done: list = field(default_factory=list)
    threads: int = 1

    def run(self, work, tasks, *, on_done=lambda _: None):
        if len(self.done) >= self.runs:
            raise WorkersLost("the head was lost.")
        self.done.append(len(tasks))
        return ThisProcess().run(work, tasks, on_done=on_done)

    @contextmanager
    def session(self):
        yield self
