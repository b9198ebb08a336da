"""The workshop's objective: a free vector for every user, uniform negatives, mean softmax cross-entropy, plain SGD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.kernels.crew import Crew
from tastemaker.kernels.sampling import stream_key
from tastemaker.kernels.softmax import CHUNKS, RANGES, apply_batch, learn_chunks, measure_softmax
from tastemaker.model.config import Config
from tastemaker.training.tables import random_table
from tastemaker.types import Floats

__all__ = ["FreeUsers"]

TRAIN_STREAM, VALID_STREAM = 0, 1
"""Numbers of the streams of draws, so that validation never sees the draws of training."""

MEASURED_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class FreeUsers:
    """The tables being trained and the settings that the steps need. The tables change in place."""

    config: Config
    seed: int
    catalogue: int
    """P; draws are uniform over so many products"""
    user_vectors: Floats
    """``float32[U, D']``, padded"""
    product_vectors: Floats
    """``float32[P, D']``, padded"""

    @staticmethod
    def start(purchases: Purchases, config: Config, seed: int) -> FreeUsers:
        """Draw the first vectors: uniform in ± ``config.initial_scale``."""
        rng = np.random.default_rng([seed, 0])
        return FreeUsers(
            config,
            seed,
            len(purchases.products),
            random_table(len(purchases.users), config.dimensions, config.initial_scale, rng),
            random_table(len(purchases.products), config.dimensions, config.initial_scale, rng),
        )

    def learn(self, purchases: Purchases, epoch: int, part: slice, crew: Crew) -> tuple[float, float]:
        """Learn from a part of the log that starts at a whole batch; return its sums of loss and hits."""
        key = np.uint64(stream_key(self.seed, epoch, TRAIN_STREAM))
        batch, width = self.config.batch, 1 + self.config.negatives
        longest = min(batch, part.stop - part.start)
        span = -(-longest // CHUNKS)
        queries, gradients = np.empty((2, longest, self.user_vectors.shape[1]), np.float32)
        rows, places = np.empty((2, CHUNKS, span * width), np.int32)
        weights = np.empty((CHUNKS, span * width), np.float32)
        borders = np.zeros((CHUNKS, RANGES + 1), np.int64)
        sums = np.zeros((CHUNKS, 8))
        for start in range(part.start, part.stop, batch):
            users = purchases.user_rows[start : min(start + batch, part.stop)]
            products = purchases.product_rows[start : min(start + batch, part.stop)]
            with np.errstate(over="ignore"):  # an infinite step makes a NaN loss, which ends the training
                step = np.float32(self.config.learning_rate / len(users))

            def learn(low: int, high: int) -> None:
                learn_chunks(
                    low, high, self.user_vectors, self.product_vectors, users, products, start, self.catalogue,  # noqa: B023
                    width, step, key, queries, gradients, rows, places, weights, borders, sums,  # noqa: B023
                )  # fmt: skip

            def apply(low: int, high: int) -> None:
                apply_batch(
                    low, high, self.user_vectors, self.product_vectors, users, queries, gradients,  # noqa: B023
                    rows, places, weights, borders,
                )  # fmt: skip

            crew.run(learn, CHUNKS)
            crew.run(apply, RANGES)
        return float(sums[:, 0].sum()), float(sums[:, 1].sum())

    def measure(self, held_out: Purchases, epoch: int, crew: Crew) -> tuple[float, float]:
        """Return the mean loss and accuracy on held-out purchases, over the same kind of candidates."""
        losses, hits = np.empty(len(held_out)), np.empty(len(held_out))
        key = np.uint64(stream_key(self.seed, epoch, VALID_STREAM))

        def measure(low: int, high: int) -> None:
            measure_softmax(
                low * MEASURED_AT_ONCE, min(high * MEASURED_AT_ONCE, len(held_out)), self.user_vectors, self.product_vectors,
                held_out.user_rows, held_out.product_rows, self.catalogue, self.config.negatives, key, losses, hits,
            )  # fmt: skip

        crew.run(measure, -(-len(held_out) // MEASURED_AT_ONCE))
        return float(losses.mean()), float(hits.mean())
