"""A batch of the cosine objective: whole users, their histories parted, among thousands of candidates; one step of Adam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.kernels.learning import cosine as kernels
from tastemaker.kernels.learning.sampling import stream_key
from tastemaker.kernels.threads import ThreadPool
from tastemaker.training.learners.draws import Draws
from tastemaker.training.sharded.lesson import LAST_RATE, LONGEST
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["INPUTS", "CosineMember", "CosineTerms", "Room"]

INPUTS = 0.5
"""The share of a history that makes the query; the rest are its targets."""
PARTED, DRAWN = 5_000, 6_000
"""Streams of draws, the first of a hundred for each member: how histories are parted, and what competes."""


@dataclass(frozen=True, slots=True)
class CosineMember:
    """One taste: tables that change in place."""

    number: int
    vectors: Floats
    """``float32[P, D]``, of any length"""
    bias: Floats
    """``float32[P]``"""
    moments: tuple[Floats, Floats, Floats, Floats]
    """Adam's means of gradients and of their squares, of the vectors ``float32[P, D]`` and of the bias ``float32[P]``"""

    @staticmethod
    def start(number: int, dimensions: int, scale: float, buyers: Doubles, seed: int) -> CosineMember:
        """Draw the first vectors, and start the bias at the log of the buyers."""
        rng, shape = np.random.default_rng([seed, number, 1]), (len(buyers), dimensions)
        vectors = rng.standard_normal(shape, np.float32) * np.float32(scale)
        bias = np.log(buyers + 0.5) - np.log(np.mean(buyers + 0.5))
        wide, narrow = np.zeros((2, *shape), np.float32), np.zeros((2, len(buyers)), np.float32)
        return CosineMember(
            number, vectors, bias.astype(np.float32), (wide[0], wide[1], narrow[0], narrow[1])
        )


@dataclass(frozen=True, slots=True)
class CosineTerms:
    """What an epoch of a member reads and never changes."""

    histories: Histories
    draws: Draws
    corrections: Floats
    """``float32[P]``"""
    negatives: int
    temperature: float
    learning_rate: float
    horizon: int
    """The epochs over which the rate falls"""
    seed: int
    epoch: int

    def rate(self, batch: int, of: int) -> float:
        """Return the learning rate of a batch: it falls in a straight line over all batches of the horizon."""
        steps = max(1, self.horizon * of - 1)
        fallen = min(1.0, ((self.epoch - 1) * of + batch) / steps)
        return self.learning_rate * (1 - (1 - LAST_RATE) * fallen)


@dataclass(frozen=True, slots=True)
class Room:
    """Arrays that the batches of a member's epoch fill one after the other."""

    terms: CosineTerms
    member: CosineMember
    lists: tuple[Rows, Rows, Rows, Rows, Rows]
    """Inputs and targets by user, and of what is a user's own: slot, user and place among the targets"""
    offsets: tuple[Offsets, Offsets]
    """Of the inputs and the targets, ``int64[B + 1]``"""
    slots: Rows
    """``int32[P]``, the place of each product in the batch, else -1"""
    rows: Rows
    """``int32[P]``, the products of the batch: those that compete, and then inputs"""
    tables: tuple[Floats, Floats]
    """``float32[P, D]``, of each slot its unit vector and its gradient"""
    numbers: tuple[Floats, Floats]
    """``float32[P]``, of each slot its vector's length and its bias's gradient"""
    scores: Floats
    pulls: Floats
    logits: Floats
    """The score of each target"""

    @staticmethod
    def of(terms: CosineTerms, member: CosineMember, users: int) -> Room:
        """Make room for batches of at most so many users."""
        (products, width), histories = member.vectors.shape, terms.histories
        sizes = np.sort(np.diff(histories.offsets))[::-1][:users]
        most = max(1, int(sizes.sum()))
        own = np.empty((5, most), np.int32)
        return Room(
            terms, member, (own[0], own[1], own[2], own[3], own[4]),
            (np.zeros(users + 1, np.int64), np.zeros(users + 1, np.int64)),
            np.full(products, -1, np.int32), np.empty(products, np.int32),
            (np.empty((products, width), np.float32), np.empty((products, width), np.float32)),
            (np.empty(products, np.float32), np.empty(products, np.float32)),
            np.empty(products * users, np.float32), np.empty(kernels.GROUPS * users * width, np.float32),
            np.empty(most, np.float32),
        )  # fmt: skip

    def learn(self, users: Rows, batch: int, of: int, pool: ThreadPool) -> tuple[float, float]:
        """Learn from these users, batch number ``batch`` of the epoch; return the mean loss and hits of its targets."""
        count, (units, gradients), (lengths, pushes) = len(users), self.tables, self.numbers
        competing, taking_part = self._draw(users, batch)
        inputs, targets = self.offsets[0][: count + 1], self.offsets[1][: count + 1]
        member, warmth = self.member, np.float32(1 / self.terms.temperature)
        queries, sizes, turned = self._compose(inputs, warmth, pool)
        own = self._own(inputs, targets, competing)
        scores = self.scores[: competing * count].reshape(competing, count)
        some, corrections = self.rows[:competing], self.terms.corrections
        highest = np.float32(warmth + (member.bias[some] + corrections[some]).max())
        blocks = len(own[0]) - 1
        totals, tops = np.empty((blocks, count)), np.empty((blocks, count), np.float32)

        def score(low: int, high: int) -> None:
            kernels.score_blocks(
                low, high, self.rows, competing, member.vectors, member.bias, corrections, turned, highest,
                *own, units, lengths, scores, totals, tops, self.logits,
            )  # fmt: skip

        pool.run(score, blocks)
        total, asked = np.maximum(totals.sum(axis=0), 1e-300), np.diff(targets)
        weights = (np.maximum(asked, 1) ** -0.5 / count).astype(np.float32)
        shares = (weights * asked / total).astype(np.float32)
        scaled, moves = queries * shares[:, None], np.empty_like(queries)
        pulls = self.pulls[: kernels.GROUPS * queries.size].reshape(kernels.GROUPS, *queries.shape)

        def turn(low: int, high: int) -> None:
            kernels.turn_blocks(
                low, high, competing, scores, units, lengths, queries, scaled, shares, weights, *own, gradients,
                pushes, pulls,
            )  # fmt: skip

        def turn_queries(low: int, high: int) -> None:
            kernels.turn_queries(
                low, high, targets, self.lists[1], self.slots, units, pulls, queries, sizes, shares, weights, warmth,
                moves,
            )  # fmt: skip

        pool.run(turn, kernels.GROUPS)
        pool.run(turn_queries, count)
        kernels.add_moves(inputs, self.lists[0], self.slots, moves, gradients[:taking_part], competing)
        self._step(competing, taking_part, (batch, of), pool)
        return self._measured(targets, np.log(total) + highest, tops.max(axis=0), weights)

    def _draw(self, users: Rows, batch: int) -> tuple[int, int]:
        """Part the histories and draw candidates; return how many compete, and how many rows take part."""
        terms, number = self.terms, self.member.number
        (inputs, targets), histories = self.offsets, terms.histories
        count, (heard, asked, *_) = len(users), self.lists
        parted, drawn = (
            np.uint64(stream_key(terms.seed, terms.epoch, stream + number)) for stream in (PARTED, DRAWN)
        )
        kernels.part_histories(
            users,
            histories.offsets,
            histories.products,
            parted,
            INPUTS,
            LONGEST,
            inputs,
            heard,
            targets,
            asked,
        )
        return kernels.gather_candidates(
            drawn, batch, terms.negatives, terms.draws.chances, terms.draws.aliases, heard[: inputs[count]],
            asked[: targets[count]], self.slots, self.rows,
        )  # fmt: skip

    def _compose(
        self, inputs: Offsets, warmth: np.float32, pool: ThreadPool
    ) -> tuple[Floats, Floats, Floats]:
        """Return the queries ``[B, D]``, the lengths of their sums, and the queries turned, ``[D, B]``."""
        count, vectors = len(inputs) - 1, self.member.vectors
        queries, sizes = np.empty((count, vectors.shape[1]), np.float32), np.empty(count, np.float32)
        turned = np.empty((vectors.shape[1], count), np.float32)

        def compose(low: int, high: int) -> None:
            kernels.compose_parted(low, high, inputs, self.lists[0], vectors, warmth, queries, turned, sizes)

        pool.run(compose, count)
        return queries, sizes, turned

    def _own(self, inputs: Offsets, targets: Offsets, competing: int) -> tuple[Offsets, Rows, Rows, Rows]:
        """Return what of the candidates is a user's own, by block."""
        borders = np.empty(-(-competing // kernels.BLOCK) + 1, np.int64)
        heard, asked, *own = self.lists
        kernels.mark_own(inputs, heard, targets, asked, self.slots, competing, borders, *own)
        return borders, own[0], own[1], own[2]

    def _step(self, competing: int, count: int, part: tuple[int, int], pool: ThreadPool) -> None:
        """Move every row that took part by one step of Adam."""
        terms, member = self.terms, self.member
        number = (terms.epoch - 1) * part[1] + part[0] + 1
        rises = (np.float32(1 / (1 - 0.9**number)), np.float32(1 / (1 - 0.999**number)))
        rate = np.float32(terms.rate(*part))

        def step(low: int, high: int) -> None:
            kernels.step_rows(
                low, high, self.rows, competing, self.tables[1], self.numbers[1], rate, rises, member.vectors,
                member.bias, *member.moments, self.slots,
            )  # fmt: skip

        pool.run(step, count)

    def _measured(
        self, targets: Offsets, logarithms: Doubles, tops: Floats, weights: Floats
    ) -> tuple[float, float]:
        """Return the mean loss of the targets, and the share that scores above all that is not the user's own."""
        logits = self.logits[: targets[-1]]
        owners = np.repeat(np.arange(len(targets) - 1), np.diff(targets))
        whole = max(float(weights[owners].sum(dtype=np.float64)), 1e-300)
        losses, hits = logarithms[owners] - logits, logits > tops[owners]
        return float(losses @ weights[owners].astype(np.float64)) / whole, float(
            hits @ weights[owners]
        ) / whole
