"""Learning in rounds on shards: each moves a copy of the tables, and what they moved is put together in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tastemaker.kernels.threads import ThreadPool
from tastemaker.training.learners.learner import Step
from tastemaker.training.sharded.lesson import Lesson, Tables
from tastemaker.types import AnyArray, Doubles, Floats, Rows

__all__ = ["ROUNDS", "Moved", "learn_in_rounds", "merge", "moved_between", "put_together", "shares"]

ROUNDS = 16
"""Rounds in an epoch. More: closer to learning in one piece, and more bytes to move."""


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


def learn_in_rounds(
    members: Sequence[Tables], lesson: Lesson, epoch: int, pool: ThreadPool
) -> Iterator[Step]:
    """Learn an epoch in `ROUNDS`: in each, all shards learn from the tables as they stand, and `merge` moves the tables.

    Members and shards all learn at the same time. Which thread works on which changes nothing.
    """
    pairs = shares(lesson, members)
    courses = [lesson.course(epoch, member, shard) for member, shard in pairs]
    for number in range(ROUNDS):
        sums = np.zeros((len(pairs), 3))
        moved: dict[int, Moved] = {}

        def work(low: int, high: int) -> None:
            for c in range(low, high):
                begin, course = members[pairs[c][0]], courses[c]
                own = begin.copy()
                lesson.learn(own, course, course.part(number, ROUNDS), epoch, sums[c])  # noqa: B023
                moved[c] = moved_between(begin, own)  # noqa: B023

        pool.run(work, len(pairs))
        yield from put_together(members, [moved[c] for c in range(len(pairs))], sums)


def shares(lesson: Lesson, members: Sequence[Tables]) -> list[tuple[int, int]]:
    """Return who learns in a round, in the order in which it is put together: pairs of a member and a shard."""
    return [(member, shard) for member in range(len(members)) for shard in range(lesson.terms.shards)]


def put_together(members: Sequence[Tables], moved: Sequence[Moved], sums: Doubles) -> Iterator[Step]:
    """Merge what the shares of a round have moved; a round without a purchase, as small shards have, yields no step."""
    shards = len(moved) // len(members)
    for m, tables in enumerate(members):
        merge(tables, moved[m * shards : (m + 1) * shards])
    loss, hits, count = sums.sum(axis=0) / len(members)
    if round(count):
        yield Step(round(count), float(loss), float(hits))


def moved_between(before: Tables, after: Tables) -> Moved:
    """Return what a shard that learned on a copy of the tables has moved."""
    grown = np.stack([new - old for new, old in zip(after.squares, before.squares, strict=True)])
    rows = np.flatnonzero(grown.any(axis=0)).astype(np.int32)
    return Moved(
        rows,
        after.vectors[rows] - before.vectors[rows],
        after.bias[rows] - before.bias[rows],
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
