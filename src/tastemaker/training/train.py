"""`train`: purchases and settings in, a `TasteModel` out."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.errors import NoPurchases, SettingProblem
from tastemaker.kernels.crew import Crew
from tastemaker.model.config import Config
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.free_users import FreeUsers
from tastemaker.training.loop import run_epochs
from tastemaker.training.progress import Watcher, nobody
from tastemaker.training.tables import LANES, trimmed

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
    learner = FreeUsers.start(purchases, config, seed)
    with Crew(threads) as crew:
        epochs, interrupted = run_epochs(
            learner,
            purchases,
            epochs=config.epochs,
            batch=config.batch,
            valid=valid,
            watch=watch,
            crew=crew,
            healthy=lambda: _finite(learner),
            keep_interrupted=keep_interrupted,
        )
    return TasteModel(
        users=purchases.users,
        products=purchases.products,
        histories=purchases.histories(),
        product_vectors=trimmed(learner.product_vectors, config.dimensions),
        product_bias=np.zeros(len(purchases.products), np.float32),
        user_vectors=trimmed(learner.user_vectors, config.dimensions),
        basket_vectors=None,
        memory=None,
        record=TrainingRecord(
            config, seed, purchases.fingerprint(), len(purchases), tuple(epochs), {}, interrupted
        ),
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


def _finite(learner: FreeUsers) -> bool:
    return bool(np.isfinite(learner.product_vectors).all() and np.isfinite(learner.user_vectors).all())
