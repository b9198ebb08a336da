"""`Lesson`: all that the vectors of a log of pairs are learned from, as arrays to map and numbers to tell."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tastemaker.kernels.learning.composed import Common, Own, common_room, learn_batches, own_room
from tastemaker.kernels.learning.sampling import stream_key
from tastemaker.kernels.meeting import CALLED_OFF, MEETING
from tastemaker.training.learners.learner import Step
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["LONGEST", "Course", "Joint", "Lesson", "Tables", "Terms"]

MEMBER_STREAM = 1_000

LONGEST = 1_000
"""Of a longer history, each epoch learns from an evenly spaced sample of this many products, a different one each time."""
LAST_RATE = 0.05
"""The learning rate falls in a straight line to this share of the first."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What one member learns."""

    vectors: Floats
    """``float32[P, D']``"""
    bias: Floats
    """``float32[P]``"""
    squares: tuple[Floats, Floats, Floats]
    """``float32[P]`` each: sums of squared gradients of the vectors as targets and in baskets, and of the bias"""

    def copy(self) -> Tables:
        """Return tables that change apart from these."""
        first, second, third = self.squares
        return Tables(self.vectors.copy(), self.bias.copy(), (first.copy(), second.copy(), third.copy()))

    def become(self, other: Tables) -> None:
        """Take the numbers of other tables of this size."""
        self.vectors[:] = other.vectors
        self.bias[:] = other.bias
        for squares, new in zip(self.squares, other.squares, strict=True):
            squares[:] = new


@dataclass(frozen=True, slots=True)
class Terms:
    """The numbers of a lesson."""

    seed: int
    shards: int
    """1 where all learn in one piece"""
    batch: int
    """About how many purchases a batch has"""
    sampling: int
    """one of kernels.learning.composed's SHARED, IN_BATCH, ALL"""
    negatives: int
    """S, or P when the whole catalogue competes"""
    damping: float
    learning_rate: float
    horizon: int
    """The epochs over which the rate falls"""

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch."""
        fallen = min(1.0, (epoch - 1) / max(1, self.horizon - 1))
        return self.learning_rate * (1 - (1 - LAST_RATE) * fallen)


@dataclass(frozen=True, slots=True)
class Course:
    """What one member learns from one shard in an epoch."""

    order: Rows
    """``int32[n]``, the shard's users as they come"""
    starts: Offsets
    """The borders of the batches in it"""
    key: np.uint64
    """Decides the draws"""

    @property
    def batches(self) -> int:
        """Return how many batches there are."""
        return len(self.starts) - 1

    def part(self, number: int, of: int) -> tuple[int, int]:
        """Return the batches of the part ``number`` of so many equal parts."""
        return self.batches * number // of, self.batches * (number + 1) // of


@dataclass(frozen=True, slots=True)
class Joint:
    """What the threads share that learn some batches of a member together."""

    threads: int
    meeting: Offsets
    common: Common
    own: tuple[Own, ...]
    """Of each thread"""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What learning reads and never changes."""

    terms: Terms
    offsets: Offsets
    """``int64[U + 1]``, as in `Histories`"""
    products: Rows
    """``int32[pairs]``"""
    shards: Rows | None
    """``int32[U]``, the shard of each user; ``None`` where all learn in one piece"""
    chances: Floats
    """``float32[P]``, as in `Draws`"""
    aliases: Rows
    """``int32[P]``"""
    corrections: Floats
    """``float32[P]``, -log(S · probability); 0 when the whole catalogue competes"""
    decay: Floats
    """``float32[P]``"""

    purchases: int = field(init=False)
    """How many an epoch learns from, repeats not counted; summed over the users once, since each step tells a part of it"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "purchases", int(np.minimum(np.diff(self.offsets), LONGEST).sum()))

    def course(self, epoch: int, member: int, shard: int | None = None) -> Course:
        """Return the order of the users (of a shard), the borders of the batches in it, and the key of the draws."""
        lengths = np.minimum(np.diff(self.offsets), LONGEST)
        stream = 0 if shard is None else shard + 1
        rng = np.random.default_rng([self.terms.seed, member, epoch, 2, *([stream] if stream else [])])
        chosen = (
            lengths > 0 if self.shards is None or shard is None else (lengths > 0) & (self.shards == shard)
        )
        order = rng.permutation(np.flatnonzero(chosen)).astype(np.int32)
        ends = np.cumsum(lengths[order])
        count = max(1, round(ends[-1] / self.terms.batch)) if len(order) else 1
        borders = (
            np.searchsorted(ends, np.arange(1, count) * (ends[-1] / count), side="right") if count > 1 else []
        )
        starts = np.unique(np.concatenate(([0], borders, [len(order)]))).astype(np.int64)
        key = stream_key(self.terms.seed, epoch, MEMBER_STREAM * (1 + stream) + member)
        return Course(order, starts, np.uint64(key))

    def joint(self, tables: Tables, course: Course, part: tuple[int, int], threads: int = 1) -> Joint:
        """Return what so many threads share that learn some batches of a course."""
        starts, negatives = course.starts[part[0] : part[1] + 1], self.terms.negatives
        users = course.order[starts[0] : starts[-1]]
        bought = np.append(0, np.cumsum(np.minimum(self.offsets[users + 1] - self.offsets[users], LONGEST)))
        room = int(np.diff(bought[starts - starts[0]]).max(initial=0))
        most = int(np.diff(starts).max(initial=0))
        own = tuple(own_room(room, most, negatives, tables.vectors) for _ in range(threads))
        common = common_room(room, negatives, tables.vectors.shape[1])
        return Joint(threads, np.zeros(MEETING, np.int64), common, own)

    def learn(
        self, tables: Tables, course: Course, part: tuple[int, int], epoch: int, sums: Doubles, *,
        thread: int = 0, joint: Joint | None = None,
    ) -> None:  # fmt: skip
        """Learn from some batches of a course, changing the tables and adding loss, hits and purchases to ``sums[3]``.

        With ``joint`` as one of several threads, which must all run at the same time: they wait for each other.
        """
        joint = joint or self.joint(tables, course, part)
        try:
            learn_batches(
                thread, joint.threads, joint.meeting, joint.common, joint.own[thread],
                part[0], part[1], course.order, course.starts, self.offsets, self.products, LONGEST,
                tables.vectors, tables.bias, *tables.squares, self.decay, self.terms.sampling, self.terms.negatives,
                self.chances, self.aliases, self.corrections, self.terms.damping, self.terms.rate(epoch), course.key, sums,
            )  # fmt: skip
        except BaseException:
            joint.meeting[CALLED_OFF] = 1  # the others would wait forever
            raise

    def calls(self, courses: list[Course], at_once: int) -> int:
        """Return in how many parts an epoch in one piece is learned, about ``at_once`` purchases each."""
        fewest = min(course.batches for course in courses)
        return max(1, min(fewest, -(-self.purchases // at_once)))

    def step(self, call: int, calls: int, sums: Doubles) -> Step:
        """Return what one part of an epoch in one piece measured, from ``float64[M, 3]``: the mean of the members."""
        loss, hits, count = sums.sum(axis=0)
        now = self.purchases * (call + 1) // calls - self.purchases * call // calls
        return Step(now, float(loss / count) * now, float(hits / count) * now)
