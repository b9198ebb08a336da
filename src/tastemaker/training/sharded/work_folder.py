"""`WorkFolder`: where arrays lie that workers map, and what is done of an epoch, so that a training that ended early goes on."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from tastemaker.errors import SettingProblem
from tastemaker.scale.executor import worker_name
from tastemaker.storage import writing
from tastemaker.training.learners.learner import Step
from tastemaker.training.sharded.lesson import Lesson, Tables, Terms
from tastemaker.training.sharded.rounds import Moved
from tastemaker.types import AnyArray

__all__ = [
    "EpochFolder",
    "WorkFolder",
    "mapped",
    "mapped_lesson",
    "mapped_tables",
    "read_moved",
    "write_moved",
]

ARRAYS = ("offsets", "products", "shards", "chances", "aliases", "corrections", "decay")
"""Those of a `Lesson`"""
STATE = "state.json"


@dataclass(slots=True)
class WorkFolder:
    """A folder that the head and all workers see. What lies in it is named by its content: whoever finds it may use it."""

    path: Path
    _known: dict[int, tuple[AnyArray, str]] = field(default_factory=dict)
    """The names of arrays that this process has written, by their identity"""

    def lesson(self, lesson: Lesson) -> dict[str, str]:
        """Write the arrays of a lesson where they are not there yet; return their names."""
        found = {name: getattr(lesson, name) for name in ARRAYS}
        return {name: self._kept(array) for name, array in found.items() if array is not None}

    def epoch(
        self, lesson: Lesson, arrays: dict[str, str], members: Sequence[Tables], epoch: int
    ) -> EpochFolder:
        """Return the folder of an epoch that begins with these tables: a new one, or what an earlier run has left of it."""
        digest = hashlib.sha256(json.dumps([asdict(lesson.terms), arrays, epoch]).encode())
        for tables in members:
            for array in (tables.vectors, tables.bias, *tables.squares):
                digest.update(_bytes_of(array))
        path = self.path / f"epoch-{digest.hexdigest()[:32]}"
        path.mkdir(exist_ok=True)
        return EpochFolder(path).reopened()

    def keep(self, array: AnyArray) -> str:
        """Write an array where it is not there yet; return its name."""
        array = np.ascontiguousarray(array)
        shape = f"{array.dtype.str}{array.shape}".encode()
        name = f"{hashlib.sha256(shape + _bytes_of(array)).hexdigest()[:32]}.npy"
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / name).exists():
            write_array(self.path / name, array, durable=True)
        return name

    def _kept(self, array: AnyArray) -> str:
        if id(array) not in self._known or self._known[id(array)][0] is not array:
            self._known[id(array)] = array, self.keep(array)
        return self._known[id(array)][1]


@dataclass(slots=True)
class EpochFolder:
    """The tables of an epoch, as of the last round that is done, and what its rounds measured."""

    path: Path
    done: int = 0
    """rounds"""
    steps: list[Step] = field(default_factory=list)

    def reopened(self) -> EpochFolder:
        """Return what is there, with the rounds that were done; none where a crash has left other tables than were noted."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            facts = json.loads((self.path / STATE).read_text())
            if any(_check_sum(self.path / name) != noted for name, noted in facts["tables"].items()):
                return self
            return EpochFolder(self.path, int(facts["done"]), [Step(*step) for step in facts["steps"]])
        return self

    def write(self, number: int, member: int, tables: Tables) -> None:
        """Write the tables of a member, as they stand when so many rounds are done."""
        vectors, rest = _files(self.path, number, member)
        write_array(vectors, tables.vectors)
        write_array(rest, np.stack([tables.bias, *tables.squares]))

    def close_round(self, steps: Sequence[Step]) -> None:
        """Note that one more round is done, whose tables are written; remove what only that round needed."""
        self.done, self.steps = self.done + 1, [*self.steps, *steps]
        tables = {
            file.name: _check_sum(file)
            for file in sorted(self.path.glob(f"{self.done}-*.npy"))  # no disk is waited for: the sum tells
        }
        kept = [[step.purchases, step.loss, step.hits] for step in self.steps]
        state = {"done": self.done, "steps": kept, "tables": tables}
        with writing(self.path / STATE, durable=False) as temporary:
            temporary.write_text(json.dumps(state))
        for file in self.path.glob("*.np[yz]"):
            if not file.name.startswith(f"{self.done}-"):
                file.unlink(missing_ok=True)


def mapped_lesson(folder: Path, terms: Terms, arrays: dict[str, str]) -> Lesson:
    """Return a lesson whose arrays are mapped."""
    found = {name: mapped(folder / arrays[name]) if name in arrays else None for name in ARRAYS}
    return Lesson(terms, **found)  # type: ignore[arg-type]


def mapped_tables(folder: Path, number: int, member: int) -> Tables:
    """Return the tables of a member when so many rounds are done; what is written to them stays with this process.

    Only the pages that are written to take memory.
    """
    vectors, rest = (mapped(file) for file in _files(folder, number, member))
    return Tables(vectors, rest[0], (rest[1], rest[2], rest[3]))


def mapped(file: Path, mode: Literal["c", "r"] = "c") -> AnyArray:
    """Return the array of a file without reading it; raise `SettingProblem` where this host does not see it."""
    try:
        # a private copy of what is written to, not read-only: kernels are compiled for arrays that can be written to
        return np.asarray(np.load(file, mmap_mode=mode, allow_pickle=False))
    except FileNotFoundError:
        raise SettingProblem(
            f"the worker {worker_name()} does not find {file}; the folder of the model must be on a file system that all hosts "
            "share, under the same path."
        ) from None


def write_moved(folder: Path, number: int, member: int, shard: int, moved: Moved) -> None:
    """Write what a shard has moved in a round, whole or not at all."""
    with (
        writing(_moved_file(folder, number, member, shard), durable=False) as temporary,
        temporary.open("wb") as file,
    ):
        np.savez(file, rows=moved.rows, vectors=moved.vectors, bias=moved.bias, squares=moved.squares)


def read_moved(folder: Path, number: int, member: int, shard: int) -> Moved:
    """Return what a shard has moved in a round."""
    with np.load(_moved_file(folder, number, member, shard), allow_pickle=False) as found:
        return Moved(found["rows"], found["vectors"], found["bias"], found["squares"])


def write_array(path: Path, array: AnyArray, *, durable: bool = False) -> None:
    """Write an array as ``.npy``, whole or not at all; after a crash of the machine only where it is ``durable``."""
    with writing(path, durable=durable) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _moved_file(folder: Path, number: int, member: int, shard: int) -> Path:
    return folder / f"{number}-moved-{member}-{shard}.npz"


def _files(folder: Path, number: int, member: int) -> tuple[Path, Path]:
    return folder / f"{number}-vectors-{member}.npy", folder / f"{number}-rest-{member}.npy"


def _check_sum(file: Path) -> int:
    with file.open("rb") as reading:
        total = 0
        while part := reading.read(1 << 24):
            total = zlib.crc32(part, total)
    return total


def _bytes_of(array: AnyArray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
