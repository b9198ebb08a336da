"""`train`: purchases and settings in, a `TasteModel` out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.errors import NoPurchases, SettingProblem
from tastemaker.kernels.crew import Crew
from tastemaker.model.config import Config
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.choose import choose_settings
from tastemaker.training.composed import Composed, stacked
from tastemaker.training.free_users import FreeUsers
from tastemaker.training.loop import Learner, run_epochs
from tastemaker.training.progress import Watcher, nobody
from tastemaker.training.tables import LANES, trimmed
from tastemaker.training.together import remember
from tastemaker.training.trend import trend_of

__all__ = ["estimate_bytes", "train"]


def train(
    purchases: Purchases,
    config: Config,
    *,
    valid: Purchases | None = None,
    seed: int = 0,
    threads: int | None = None,
    watch: Watcher = nobody,
    keep_interrupted: bool = False,
) -> TasteModel:
    """Learn a model from a log. The same seed gives the same bytes at any number of threads.

    ``valid`` is measured after every epoch and never learned from; its rows must be of the same vocabularies. Ctrl-C raises
    `TrainingInterrupted`, or ends the training with what it has if ``keep_interrupted``. Raises `NoPurchases`, `TrainingFailed`.
    """
    if not len(purchases):
        raise NoPurchases("there is no purchase to learn from.")
    if not 0 <= seed < 2**63:
        raise SettingProblem(f"seed is {seed}; it must be a whole number from 0 to 2^63 - 1.")
    with Crew(threads) as crew:
        given = Given(purchases, config, valid, seed, watch, crew, keep_interrupted)
        return _train_free(given) if config.query == "free" else _train_composed(given)


@dataclass(frozen=True, slots=True)
class Given:
    """Everything that one training is given."""

    purchases: Purchases
    config: Config
    valid: Purchases | None
    seed: int
    watch: Watcher
    crew: Crew
    keep_interrupted: bool

    def run(self, learner: Learner, config: Config, metrics: Mapping[str, Any]) -> TrainingRecord:
        """Drive a learner through the epochs of the settings and record them."""
        epochs, interrupted = run_epochs(
            learner,
            epochs=config.epochs or 1,
            valid=self.valid,
            watch=self.watch,
            crew=self.crew,
            keep_interrupted=self.keep_interrupted,
        )
        log = self.purchases
        return TrainingRecord(
            config, self.seed, log.fingerprint(), len(log), tuple(epochs), metrics, interrupted
        )


def _train_free(given: Given) -> TasteModel:
    log, config = given.purchases, given.config
    learner = FreeUsers.start(log, config, given.seed)
    record = given.run(learner, config, {})
    return TasteModel(
        users=log.users,
        products=log.products,
        histories=log.histories(),
        product_vectors=trimmed(learner.product_vectors, config.dimensions),
        product_bias=np.zeros(len(log.products), np.float32),
        user_vectors=trimmed(learner.user_vectors, config.dimensions),
        basket_vectors=None,
        memory=None,
        record=record,
    )


def _train_composed(given: Given) -> TasteModel:
    log = given.purchases
    config, chosen = choose_settings(log, given.config, given.seed, crew=given.crew, watch=given.watch)
    histories = log.histories()
    learner = Composed.start(histories, len(log.products), config, given.seed)
    record = given.run(learner, config, chosen)
    vectors, bias = stacked(learner.members)
    if config.trend_weight:
        bias = bias + np.float32(config.trend_weight) * trend_of(log)
    return TasteModel(
        users=log.users,
        products=log.products,
        histories=histories,
        product_vectors=vectors,
        product_bias=bias,
        user_vectors=None,
        basket_vectors=vectors,
        memory=remember(histories, len(log.products), config, given.crew),
        record=record,
        damping=config.damping,
        memory_damping=config.memory_damping,
    )


def estimate_bytes(purchases: Purchases, config: Config) -> int:
    """Return about how many bytes training will need at most: the log, its histories, the tables and a copy to write."""
    width = -(-config.dimensions // LANES) * LANES
    table_rows = len(purchases.users) + len(purchases.products)
    per_purchase = 28 + (0 if purchases.times is None else 8) + (0 if purchases.quantities is None else 4)
    ids = sum(int(vocabulary.ids.estimated_size()) for vocabulary in (purchases.users, purchases.products))
    return (
        4 * table_rows * (width + config.dimensions) + per_purchase * len(purchases) + 2 * ids + (120 << 20)
    )
