"""Work for tests of executors, of a module that workers can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from tastemaker.errors import UnknownId


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
