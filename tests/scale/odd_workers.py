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
from tastemaker.ranking.export.blocks import Block
from tastemaker.ranking.index import by_workers
from tastemaker.scale.local import ThisProcess
from tastemaker.training.sharded.crew import Share


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


def work_or_be_killed(task, *, work, marks):
    """Do a task; be killed before, once in the third round of each epoch, in each table of the memory, in lists and an index."""
    if isinstance(task, Share):
        mark = f"killed-{task.epoch}" if (task.done, task.shard, task.member) == (2, 1, 0) else None
    elif isinstance(task, by_workers.IndexPart):
        mark = "killed-part" if task.low else None
    elif isinstance(task, by_workers.TimedLists):
        mark = f"killed-lists-{task.k}"
    elif isinstance(task, Block):
        mark = f"killed-{Path(task.folder).parent.name}" if task.users[0] else None
    else:
        mark = f"killed-{task.work}" if task.low else None
    if mark and not Path(marks, mark).exists():
        Path(marks, mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(task)


@dataclass
class Deadly:
    """Workers of another executor, some of whom are killed: see `work_or_be_killed`."""

    executor: object
    marks: str
    threads: int = 1

    def run(self, work, tasks, *, on_done=lambda _: None):
        return self.executor.run(
            partial(work_or_be_killed, work=work, marks=self.marks), tasks, on_done=on_done
        )

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


@dataclass
class AfterEach:
    """This process, which loses its head after so many tasks."""

    tasks: int
    threads: int = 1

    def run(self, work, tasks, *, on_done=lambda _: None):
        found = []
        for task in tasks:
            if not self.tasks:
                raise WorkersLost("the head was lost.")
            self.tasks -= 1
            found += ThisProcess().run(work, [task], on_done=on_done)
        return found

    @contextmanager
    def session(self):
        yield self


def check_same_model(folder: Path) -> None:
    """Fail unless the models ``here`` and ``there`` have the same files of the same bytes, the manifest aside."""
    here, there = (
        {file.name: file.read_bytes() for file in (folder / name).iterdir() if file.name != "manifest.json"}
        for name in ("here", "there")
    )
    assert here == there
    assert len(here) > 4
