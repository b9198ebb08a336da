"""Learning in rounds on shards: each moves a copy of the tables, and what they moved is put together in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tastemaker.kernels.threads import ThreadPool
from tastemaker.training.learners.learner import Step
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = ["ROUNDS", "Course", "Moved", "Tables", "learn_in_rounds", "merge", "moved_by"]

ROUNDS = 16
"""Rounds in an epoch. More: closer to learning in one piece, and more bytes to move."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What one member learns."""

    vectors: Floats
    """``float32[P, D']``"""
    bias: Floats
    """``float32[P]``"""
    squares: tuple[Floats, Floats, Floats]
    """``float32[P]`` each, as in `Member`"""

    def copy(self) -> Tables:
        """Return tables that change apart from these."""
        first, second, third = self.squares
        return Tables(self.vectors.copy(), self.bias.copy(), (first.copy(), second.copy(), third.copy()))


@dataclass(frozen=True, slots=True)
class Moved:
    """What a shard moved in a round: T rows, and by how much."""

    rows: Rows
    """``int32[T]``, ascending"""
    vectors: Floats
    """``float32[T, D']``"""
    bias: Floats
    """``float32[T]``"""
    squares: Floats
    """``float32[3, T]``, what each sum of squares has grown by"""

    @property
    def bytes(self) -> int:
        """Return what of it is sent between hosts."""
        return sum(array.nbytes for array in (self.rows, self.vectors, self.bias, self.squares))


@dataclass(frozen=True, slots=True)
class Course:
    """What one member learns from one shard in an epoch."""

    member: int
    order: Rows
    """``int32[n]``, the shard's users as they come"""
    starts: Offsets
    """The borders of the batches in it"""
    key: np.uint64
    """Decides the draws"""

    def part(self, number: int) -> tuple[int, int]:
        """Return the batches of a round."""
        last = len(self.starts) - 1
        return last * number // ROUNDS, last * (number + 1) // ROUNDS


Learn: TypeAlias = Callable[[Course, Tables, tuple[int, int], Doubles], None]
"""Learns from some batches of a course, changing the tables and adding loss, hits and purchases to ``float64[3]``"""


def learn_in_rounds(
    members: Sequence[Tables], courses: Sequence[Course], learn: Learn, pool: ThreadPool
) -> Iterator[Step]:
    """Learn an epoch in `ROUNDS`: in each, all courses learn from the tables as they stand, and `merge` moves the tables.

    Who works on which course changes nothing. Rounds without a purchase, as small shards have, yield no step.
    """
    for number in range(ROUNDS):
        sums = np.zeros((len(courses), 3))
        moved: dict[int, Moved] = {}

        def work(low: int, high: int) -> None:
            for c in range(low, high):
                course = courses[c]
                begin, part = members[course.member], course.part(number)  # noqa: B023
                moved[c] = moved_by(begin, lambda own: learn(course, own, part, sums[c]))  # noqa: B023

        pool.run(work, len(courses))
        for m, tables in enumerate(members):
            merge(tables, [moved[c] for c, course in enumerate(courses) if course.member == m])
        loss, hits, count = sums.sum(axis=0) / len(members)
        if round(count):
            yield Step(round(count), float(loss), float(hits))


def moved_by(tables: Tables, learn: Callable[[Tables], None]) -> Moved:
    """Let a shard learn on a copy of the tables; return what it moved."""
    own = tables.copy()
    learn(own)
    grown = np.stack([after - before for after, before in zip(own.squares, tables.squares, strict=True)])
    rows = np.flatnonzero(grown.any(axis=0)).astype(np.int32)
    return Moved(
        rows,
        own.vectors[rows] - tables.vectors[rows],
        own.bias[rows] - tables.bias[rows],
        np.ascontiguousarray(grown[:, rows]),
    )


def merge(tables: Tables, parts: Sequence[Moved]) -> None:
    """Move the tables by what the shards moved, in the order of the shards.

    A shard s that moved a row by Δ_s divided its steps by the root of its own sum of squares Q + G_s. One that had seen the
    squares of all shards would have divided by the root of Q + Σ G, so that

        v += Σ_s Δ_s · √((Q + G_s) / (Q + Σ_s G_s)),   Q += Σ_s G_s

    With Q great beside G that is the sum of what the shards moved; at the start it is their sum divided by the root of their
    number, as far as Adagrad's own steps would have gone.
    """
    before = [squares.copy() for squares in tables.squares]
    for part in parts:
        for squares, grown in zip(tables.squares, part.squares, strict=True):
            squares[part.rows] += grown
    for part in parts:
        own = [old[part.rows] + grown for old, grown in zip(before, part.squares, strict=True)]
        whole = [squares[part.rows] for squares in tables.squares]
        tables.vectors[part.rows] += part.vectors * _share(own[0] + own[1], whole[0] + whole[1])[:, None]
        tables.bias[part.rows] += part.bias * _share(own[2], whole[2])


def _share(own: AnyArray, whole: AnyArray) -> Floats:
    tiny = np.finfo(np.float32).tiny
    ratio: Doubles = np.sqrt(np.maximum(own, tiny) / np.maximum(whole, tiny))
    return ratio.astype(np.float32)
