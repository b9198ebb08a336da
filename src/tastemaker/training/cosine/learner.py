"""The cosine objective: only directions are learned, from whole users against thousands of shared negatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.ragged import gather_lists
from tastemaker.errors import SettingProblem
from tastemaker.kernels.learning.sampling import stream_key
from tastemaker.kernels.ranking.baskets import compose_baskets
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.memory import Memory
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.cosine.batches import INPUTS, CosineMember, CosineTerms, Room
from tastemaker.training.learners.composed import VALID_STREAM
from tastemaker.training.learners.draws import Draws, draws_by_popularity
from tastemaker.training.learners.learner import Step, Taste
from tastemaker.training.learners.projected import Projected
from tastemaker.training.learners.sampled import sampled_loss
from tastemaker.training.memory.remember import remember
from tastemaker.training.progress import Watcher
from tastemaker.training.sharded.lesson import LONGEST
from tastemaker.training.warm_start import known_rows
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["Cosine", "shares_of"]

MOMENTS = ("means", "squares", "bias_means", "bias_squares")
MEASURED = 5_000
"""A member's typical length is taken of about so many users."""


def shares_of(config: Config) -> list[int]:
    """Return the width of each member, and of the computed directions beside them: the dimensions in equal parts."""
    parts = config.taste.members + (1 if config.memory.spectral_weight != 0 else 0)
    whole = config.taste.dimensions
    return [whole * (m + 1) // parts - whole * m // parts for m in range(parts)]


@dataclass(frozen=True, slots=True)
class Cosine:
    """Members learned one after the other, each by all threads, and the strongest directions of the purchases beside them.

    A member scores cos(Σ of the inputs' vectors, v_p) / τ + bias while it learns. As a model its baskets are summed and damped
    like any others: dividing by n^γ in the place of the sum's length ranks as well, and keeps a list one dot product.
    """

    projected: Projected
    """The log, its histories and the computed directions, as wide as a member"""
    config: Config
    seed: int
    members: tuple[CosineMember, ...]
    draws: Draws
    corrections: Floats
    """``float32[P]``, -log of the chance to compete in a batch; 0 where all of the catalogue does"""

    @staticmethod
    def start(log: Purchases, config: Config, seed: int) -> Cosine:
        """Raise `SettingProblem` where more than pairs is to be learned from, in shards, or with fewer dimensions than parts."""
        taste, shares = config.taste, shares_of(config)
        if taste.shards != 1:
            raise SettingProblem(
                f"taste.shards is {taste.shards}; with taste.objective cosine all learn in one piece: leave it at 1."
            )
        if not shares[0]:
            raise SettingProblem(
                f"taste.dimensions is {taste.dimensions}; with taste.objective cosine {len(shares)} parts share them: give more."
            )
        projected = Projected.start(log, config.changed(dimensions=shares[-1]), seed)
        histories, products = projected.composed.histories, len(log.products)
        buyers = np.bincount(histories.products, minlength=products).astype(np.float64)
        draws = draws_by_popularity(buyers, taste.popularity_power)
        corrections = np.zeros(products)
        if taste.negatives < products:
            batches = max(1, round(len(histories.products) / taste.batch))
            drawn = (1 - draws.probabilities) ** taste.negatives
            asked = np.exp(-(1 - INPUTS) * buyers / batches)
            corrections = -np.log(np.maximum(1 - drawn * asked, 1e-9))
        return Cosine(
            projected, config, seed,
            tuple(
                CosineMember.start(m, width, taste.initial_scale, buyers, seed)
                for m, width in enumerate(shares[: taste.members])
            ),
            draws, corrections.astype(np.float32),
        )  # fmt: skip

    @property
    def log(self) -> Purchases:
        """Return the log that is learned from."""
        return self.projected.log

    @property
    def histories(self) -> Histories:
        """Return what each user bought."""
        return self.projected.composed.histories

    @property
    def purchases(self) -> int:
        """Return how many purchases an epoch learns from, repeats not counted."""
        return int(np.minimum(np.diff(self.histories.offsets), LONGEST).sum())

    def learn(self, epoch: int, at_once: int, pool: ThreadPool) -> Iterator[Step]:
        """Learn from all users in random order, each member in an order and with draws of its own."""
        if self.config.memory.spectral_weight:
            self.projected.within(pool)  # which `taste` puts beside the members
        whole, done = self.purchases, 0
        courses = [self._course(epoch, member) for member in range(len(self.members))]
        batches = sum(len(starts) - 1 for _, starts in courses)
        for member, (order, starts) in zip(self.members, courses, strict=True):
            room = Room.of(self.terms(epoch), member, int(np.diff(starts).max(initial=0)))
            for batch in range(len(starts) - 1):
                users = order[starts[batch] : starts[batch + 1]]
                loss, hits = room.learn(users, batch, len(starts) - 1, pool)
                done += 1
                count = whole * done // batches - whole * (done - 1) // batches
                yield Step(count, loss * count, hits * count)

    def terms(self, epoch: int) -> CosineTerms:
        """Return what every member's epoch reads."""
        taste = self.config.taste
        return CosineTerms(
            self.histories, self.draws, self.corrections, taste.negatives, taste.temperature, taste.learning_rate,
            taste.horizon or taste.epochs or 1, self.seed, epoch,
        )  # fmt: skip

    def _course(self, epoch: int, member: int) -> tuple[Rows, Offsets]:
        """Return the users with a purchase in random order, and the borders of the batches."""
        lengths = np.minimum(np.diff(self.histories.offsets), LONGEST)
        rng = np.random.default_rng([self.seed, member, epoch, 2])
        order = rng.permutation(np.flatnonzero(lengths)).astype(np.int32)
        count = max(1, min(len(order), round(self.purchases / self.config.taste.batch)))
        return order, np.linspace(0, len(order), count + 1).astype(np.int64)

    def measure(self, held_out: Purchases, epoch: int, pool: ThreadPool) -> tuple[float, float]:
        """Return the mean loss and accuracy on held-out purchases among uniformly drawn candidates."""
        taste, histories = self.taste(), self.histories
        queries = np.empty((len(histories), taste.vectors.shape[1]), np.float32)
        damping = self.config.taste.damping

        def compose(low: int, high: int) -> None:
            compose_baskets(low, high, histories.offsets, histories.products, taste.heard, damping, queries)

        pool.run(compose, len(queries))
        key = np.uint64(stream_key(self.seed, epoch, VALID_STREAM))
        negatives = min(self.config.taste.negatives, len(taste.bias))
        return sampled_loss(queries, taste.vectors, taste.bias, held_out, negatives, key, pool)

    def finite(self) -> bool:
        """Return whether every number of every member is finite."""
        return all(np.isfinite(m.vectors).all() and np.isfinite(m.bias).all() for m in self.members)

    def state(self) -> Mapping[str, Floats]:
        """Return everything that learning changes, by name."""
        arrays: dict[str, Floats] = {}
        for m in self.members:
            arrays[f"vectors_{m.number}"], arrays[f"bias_{m.number}"] = m.vectors.copy(), m.bias.copy()
            for name, moments in zip(MOMENTS, m.moments, strict=True):
                arrays[f"{name}_{m.number}"] = moments.copy()
        return arrays

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Set everything that learning changes to what `state` gave."""
        for m in self.members:
            m.vectors[:], m.bias[:] = state[f"vectors_{m.number}"], state[f"bias_{m.number}"]
            for name, moments in zip(MOMENTS, m.moments, strict=True):
                moments[:] = state[f"{name}_{m.number}"]

    def warm_from(self, old: TasteModel, *, watch: Watcher, pool: ThreadPool) -> None:
        """Give products that the older model knows its basket vectors, at the mean length of a start; the bias starts anew."""
        here, there = known_rows(self.log.products, old.products)
        column = 0
        for member in self.members:
            width = member.vectors.shape[1]
            known = np.array(old.basket_table()[0][there, column : column + width])
            lengths = np.linalg.norm(known, axis=1)
            begun = self.config.taste.initial_scale * width**0.5
            member.vectors[here] = known * np.float32(begun / max(float(lengths.mean()), 1e-12))
            column += width

    def taste(self) -> Taste:
        """Return the members as they stand, and behind them the computed directions once they are found."""
        taste, weight = self.members_taste(), self.config.memory.spectral_weight
        if not weight or not self.projected.found:
            return taste
        computed = self.projected.found[0][1] * np.float32(weight**0.5)
        vectors, baskets = np.hstack((taste.vectors, computed)), np.hstack((taste.heard, computed))
        return Taste(vectors, taste.bias, baskets=baskets)

    def members_taste(self) -> Taste:
        """Return the members as they stand, side by side; their scores are averaged."""
        warmth = 1 / (self.config.taste.temperature * len(self.members))
        found: list[Floats] = []
        heard: list[Floats] = []
        for m in self.members:
            lengths = np.maximum(np.linalg.norm(m.vectors, axis=1, keepdims=True), 1e-6)
            found.append((m.vectors / lengths).astype(np.float32))
            heard.append(m.vectors * np.float32(warmth * self._scale(m)))
        bias: Doubles = np.mean(np.stack([m.bias for m in self.members]), axis=0, dtype=np.float64)
        bias = bias * self.config.taste.bias_weight
        return Taste(np.hstack(found), bias.astype(np.float32), baskets=np.hstack(heard))

    def table(self, pool: ThreadPool) -> Memory:
        """Return what the spectral part says beyond the computed directions, unweighted."""
        return self.projected.table(pool)

    def finish(self, record: TrainingRecord, pool: ThreadPool) -> TasteModel:
        """Return the model; its memory holds what the spectral part says beyond the computed directions."""
        products, settings = self.log.products, self.config.memory
        memory = remember(self.histories, products, settings, pool, spectral=self.table)
        return self.projected.composed.with_memory(memory, record, pool, self.taste())

    def _scale(self, member: CosineMember) -> float:
        """Return what a damped sum of a member's vectors is multiplied by to have the typical length 1."""
        histories, vectors = self.histories, member.vectors
        users = np.flatnonzero(np.diff(histories.offsets))
        users = users[:: max(1, len(users) // MEASURED)]
        offsets, places = gather_lists(histories.offsets, users)
        sums = np.empty((len(users), vectors.shape[1]), np.float32)
        damping = self.config.taste.damping
        compose_baskets(0, len(users), offsets, histories.products[places], vectors, damping, sums)
        lengths = np.maximum(np.linalg.norm(sums, axis=1), 1e-12)
        return float(np.exp(-np.log(lengths).mean())) if len(users) else 1.0
