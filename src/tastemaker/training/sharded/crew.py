"""`Crew`: threads of this process, and workers elsewhere who learn what is parted among members and shards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeAlias

import numpy as np

from tastemaker.errors import ModelFolderProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.scale.executor import Executor, Tally
from tastemaker.scale.where import executor_of
from tastemaker.training.learners.learner import Step
from tastemaker.training.sharded import rounds
from tastemaker.training.sharded.lesson import Course, Lesson, Tables, Terms
from tastemaker.training.sharded.rounds import moved_between, put_together, shares
from tastemaker.training.sharded.work_folder import (
    EpochFolder,
    WorkFolder,
    mapped_lesson,
    mapped_tables,
    read_moved,
    write_moved,
)
from tastemaker.types import Doubles

__all__ = ["Crew", "Workers", "hired", "learn_by_crew"]


class Crew(ThreadPool):
    """A `ThreadPool` whose vectors are learned by the workers of an executor; everything else is done by its threads.

    ``folder`` is one that all workers see under this name. Arrays lie there, and what is done of each epoch: a training that ended
    early and is begun again with the same log, settings, seed and folder does only what is missing. Whoever gives the folder
    removes it. A crew may be entered again within its block, as by trainings one after the other.
    """

    def __init__(self, executor: Executor, folder: Path, threads: int | None = None) -> None:
        super().__init__(threads)
        self.tally = Tally()
        self.folder = WorkFolder(folder.absolute())
        self._chosen = executor
        self._open = ExitStack()
        self._depth = 0

    @property
    def executor(self) -> Executor:
        """Return the executor; within the ``with`` block its workers are kept from round to round."""
        return self._chosen

    def __enter__(self) -> Crew:
        self._depth += 1
        if self._depth > 1:
            return self
        try:
            self.folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelFolderProblem(
                f"cannot write to {self.folder.path}: {error.strerror or error}."
            ) from error
        self._chosen = self._open.enter_context(self._chosen.session())
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth:
            return
        super().__exit__(kind, error, trace)
        self._open.__exit__(kind, error, trace)


Workers: TypeAlias = "str | Crew | None"
"""A word of the command line, such as ``local:4`` or ``ray``, or a crew"""


@contextmanager
def hired(workers: Workers, threads: int | None) -> Iterator[ThreadPool]:
    """Yield the pool that a training runs on: threads alone, or a crew; a word's crew has a temporary folder on this machine."""
    if workers is None or workers == "local":
        with ThreadPool(threads) as pool:
            yield pool
        return
    with ExitStack() as opened:
        if isinstance(workers, str):
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="tastemaker-"))
            workers = Crew(executor_of(workers), Path(folder), threads)
        yield opened.enter_context(workers)


class Share(NamedTuple):
    """One task: paths and numbers."""

    work: str
    """The `WorkFolder`"""
    epoch_folder: str
    terms: Terms
    arrays: tuple[tuple[str, str], ...]
    epoch: int
    done: int
    """Rounds that are done"""
    rounds: int
    """In an epoch; 0 where all is learned in one piece"""
    member: int
    shard: int
    calls: int
    """In how many parts one piece is learned"""


def learn_by_crew(
    crew: Crew, lesson: Lesson, members: Sequence[Tables], epoch: int, at_once: int
) -> Iterator[Step]:
    """Learn an epoch, changing the tables to the bytes that one process makes of them.

    On shards there are `ROUNDS`, in each of which every member and shard is a task, and this process merges what they moved. In one
    piece a member is a task, an epoch long. Rounds that an earlier training with this folder has done are taken from there.
    """
    parted = lesson.shards is not None
    of = rounds.ROUNDS if parted else 1
    arrays = crew.folder.lesson(lesson)
    kept = crew.folder.epoch(lesson, arrays, members, epoch)
    calls = 0 if parted else lesson.calls([lesson.course(epoch, m) for m in range(len(members))], at_once)
    yield from kept.steps
    if kept.done:
        _take(kept, members)
    else:
        for m, tables in enumerate(members):
            kept.write(0, m, tables)
    while kept.done < of:
        tasks = [
            Share(
                str(crew.folder.path), str(kept.path), lesson.terms, tuple(arrays.items()), epoch, kept.done,
                of if parted else 0, member, shard, calls,
            )
            for member, shard in shares(lesson, members)
        ]  # fmt: skip
        sums = np.array(crew.executor.run(learn_share, tasks, on_done=crew.tally))
        steps = list(_merged(kept, lesson, members, sums[:, 0]) if parted else _whole(lesson, sums))
        kept.close_round(steps)
        if not parted:
            _take(kept, members)
        yield from steps


def learn_share(task: Share) -> list[list[float]]:
    """Learn the share of one member, and of one shard in one round; return loss, hits and purchases of each part of it."""
    lesson = _lesson(task.work, task.terms, task.arrays)
    folder = Path(task.epoch_folder)
    own = mapped_tables(folder, task.done, task.member)
    sums = np.zeros((max(1, task.calls), 3))
    if task.rounds:
        course = _course(task.work, task.terms, task.arrays, task.epoch, task.member, task.shard)
        lesson.learn(own, course, course.part(task.done, task.rounds), task.epoch, sums[0])
        before = mapped_tables(folder, task.done, task.member)
        write_moved(folder, task.done, task.member, task.shard, moved_between(before, own))
    else:
        course = lesson.course(task.epoch, task.member)
        for call in range(task.calls):
            lesson.learn(own, course, course.part(call, task.calls), task.epoch, sums[call])
        EpochFolder(folder).write(task.done + 1, task.member, own)
    found: list[list[float]] = sums.tolist()
    return found


@lru_cache(maxsize=2)
def _lesson(work: str, terms: Terms, arrays: tuple[tuple[str, str], ...]) -> Lesson:
    return mapped_lesson(Path(work), terms, dict(arrays))


@lru_cache(maxsize=32)
def _course(
    work: str, terms: Terms, arrays: tuple[tuple[str, str], ...], epoch: int, member: int, shard: int
) -> Course:
    """Return a course; a worker that learns from it in the next round, too, has it still."""
    return _lesson(work, terms, arrays).course(epoch, member, shard)


def _merged(kept: EpochFolder, lesson: Lesson, members: Sequence[Tables], sums: Doubles) -> Iterator[Step]:
    """Put together what the shares of a round have moved, and write the tables for the next one."""
    moved = [read_moved(kept.path, kept.done, member, shard) for member, shard in shares(lesson, members)]
    steps = list(put_together(members, moved, sums))
    for m, tables in enumerate(members):
        kept.write(kept.done + 1, m, tables)
    yield from steps


def _whole(lesson: Lesson, sums: Doubles) -> Iterator[Step]:
    """Return the steps of an epoch in one piece from ``sums[M, calls, 3]``."""
    for call in range(sums.shape[1]):
        yield lesson.step(call, sums.shape[1], sums[:, call])


def _take(kept: EpochFolder, members: Sequence[Tables]) -> None:
    for m, tables in enumerate(members):
        tables.become(mapped_tables(kept.path, kept.done, m))
