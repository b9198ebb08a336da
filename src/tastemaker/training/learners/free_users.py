"""The workshop's objective: a free vector for every user, uniform negatives, mean softmax cross-entropy, plain SGD."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tastemaker.data.past import past_of
from tastemaker.data.purchases import Purchases
from tastemaker.kernels.learning.sampling import stream_key
from tastemaker.kernels.learning.softmax import CHUNKS, RANGES, TICKETS, learn_purchases
from tastemaker.kernels.meeting import CALLED_OFF, MEETING
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.learners.learner import Step, Taste
from tastemaker.training.learners.pace import Pace
from tastemaker.training.learners.sampled import sampled_loss
from tastemaker.training.learners.tables import blocks_of, random_table, trimmed
from tastemaker.training.progress import Watcher
from tastemaker.training.warm_start import known_rows
from tastemaker.types import Floats

__all__ = ["FreeUsers", "entry_type"]

TRAIN_STREAM, VALID_STREAM = 0, 1
"""Numbers of the random streams, so that validation never uses the draws of training."""


@dataclass(frozen=True, slots=True)
class FreeUsers:
    """The tables being trained and the settings that the steps need. The tables change in place."""

    log: Purchases
    config: Config
    seed: int
    user_vectors: Floats
    """``float32[U, D']``, padded"""
    product_vectors: Floats
    """``float32[P, D']``, padded"""
    pace: Pace = field(default_factory=Pace)
    """How many threads learn"""

    @staticmethod
    def start(log: Purchases, config: Config, seed: int) -> FreeUsers:
        """Draw the first vectors: uniform in ± ``config.taste.initial_scale``."""
        rng = np.random.default_rng([seed, 0])
        return FreeUsers(
            log,
            config,
            seed,
            random_table(len(log.users), config.taste.dimensions, config.taste.initial_scale, rng),
            random_table(len(log.products), config.taste.dimensions, config.taste.initial_scale, rng),
        )

    def state(self) -> dict[str, Floats]:
        """Return everything that learning changes, by name."""
        tables = {"user_vectors": self.user_vectors, "product_vectors": self.product_vectors}
        return {name: trimmed(table, self.config.taste.dimensions) for name, table in tables.items()}

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Set everything that learning changes to what `state` gave."""
        self.user_vectors[:, : self.config.taste.dimensions] = state["user_vectors"]
        self.product_vectors[:, : self.config.taste.dimensions] = state["product_vectors"]

    def warm_from(self, old: TasteModel, *, watch: Watcher, pool: ThreadPool) -> None:
        """Give users and products that the older model knows the vectors that it has for them."""
        dimensions = self.config.taste.dimensions
        here, there = known_rows(self.log.products, old.products)
        self.product_vectors[here, :dimensions] = old.product_vectors[there]
        if old.user_vectors is not None:
            here, there = known_rows(self.log.users, old.users)
            self.user_vectors[here, :dimensions] = old.user_vectors[there]

    @property
    def purchases(self) -> int:
        """Return how many purchases an epoch learns from."""
        return len(self.log)

    def finite(self) -> bool:
        """Return whether every vector is finite."""
        return bool(np.isfinite(self.product_vectors).all() and np.isfinite(self.user_vectors).all())

    def learn(self, epoch: int, at_once: int, pool: ThreadPool) -> Iterator[Step]:
        """Learn from the log in the order of its file, whole batches at a time."""
        batch = self.config.taste.batch
        step = max(1, at_once // batch) * batch
        for start in range(0, len(self.log), step):
            part = slice(start, min(start + step, len(self.log)))
            loss, hits = self._learn_part(epoch, part, pool)
            yield Step(part.stop - part.start, loss, hits)

    def _learn_part(self, epoch: int, part: slice, pool: ThreadPool) -> tuple[float, float]:
        users, products = self.log.user_rows[part], self.log.product_rows[part]
        key = np.uint64(stream_key(self.seed, epoch, TRAIN_STREAM))
        batch, width = self.config.taste.batch, 1 + self.config.taste.negatives
        longest = min(batch, len(users))
        span = -(-longest // CHUNKS)
        queries, gradients = np.empty((2, longest, self.user_vectors.shape[1]), np.float32)
        entries = np.empty((CHUNKS, span * width), entry_type(len(self.log.products), span))
        weights = np.empty((CHUNKS, span * width), np.float32)
        borders = np.zeros((CHUNKS, RANGES + 1), np.int64)
        sums = np.zeros((CHUNKS, 8))
        threads, meeting = self.pace.threads(pool.running), np.zeros(MEETING, np.int64)
        tickets = np.zeros((-(-len(users) // batch), TICKETS), np.int64)

        def learn(low: int, high: int) -> None:
            try:
                learn_purchases(
                    threads, meeting, tickets, self.user_vectors, self.product_vectors, users, products, part.start, batch,
                    width, self.config.taste.learning_rate, key, blocks_of(self.product_vectors), queries, gradients,
                    entries, weights, borders, sums,
                )  # fmt: skip
            except BaseException:
                meeting[CALLED_OFF] = 1  # the others would wait forever
                raise

        began = time.perf_counter()
        pool.run(learn, threads)
        self.pace.tell(threads, (time.perf_counter() - began) / len(users))
        return float(sums[:, 0].sum()), float(sums[:, 1].sum())

    def measure(self, held_out: Purchases, epoch: int, pool: ThreadPool) -> tuple[float, float]:
        """Return the mean loss and accuracy on held-out purchases, over the same kind of candidates."""
        return sampled_loss(
            self.user_vectors,
            self.product_vectors,
            np.zeros(len(self.log.products), np.float32),
            held_out,
            self.config.taste.negatives,
            np.uint64(stream_key(self.seed, epoch, VALID_STREAM)),
            pool,
        )

    def taste(self) -> Taste:
        """Return the products' vectors; these users have no basket."""
        vectors = trimmed(self.product_vectors, self.config.taste.dimensions)
        return Taste(vectors, np.zeros(len(vectors), np.float32))

    def finish(self, record: TrainingRecord, pool: ThreadPool) -> TasteModel:
        """Return the model: a vector for each user and product, no bias and no memory."""
        taste = self.taste()
        return TasteModel(
            users=self.log.users,
            products=self.log.products,
            histories=self.log.histories(),
            product_vectors=taste.vectors,
            product_bias=taste.bias,
            user_vectors=trimmed(self.user_vectors, self.config.taste.dimensions),
            basket_vectors=None,
            memory=None,
            record=record,
            past=past_of(self.log),
        )


def entry_type(products: int, purchases: int) -> type[np.unsignedinteger[Any]]:
    """Return the type of the kernels' entries: a row of a range of so many products, and a purchase of so many of a chunk.

    >>> entry_type(29_696, 64).__name__, entry_type(10_000_000, 65_536).__name__
    ('uint32', 'uint64')
    """
    row = max((products - 1).bit_length() - (RANGES - 1).bit_length(), 0)
    return np.uint32 if row + (purchases - 1).bit_length() <= 32 else np.uint64
