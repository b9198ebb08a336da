"""`train`: purchases and settings in, a `TasteModel` out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.past import past_of
from tastemaker.data.purchases import Purchases
from tastemaker.data.repeats import times_bought
from tastemaker.errors import NoPurchases, SettingProblem, TrainingInterrupted
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.record import Epoch, TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.checkpoint import Checkpoint, Checkpoints, Plan, read_checkpoint, write_checkpoint
from tastemaker.training.learners.composed import Composed, stacked
from tastemaker.training.learners.free_users import FreeUsers
from tastemaker.training.learners.tables import LANES, trimmed
from tastemaker.training.loop import run_epochs
from tastemaker.training.memory.co_occurrence import remember
from tastemaker.training.memory.trend import trend_of
from tastemaker.training.progress import Watcher, nobody
from tastemaker.training.selection.choose import choose_settings
from tastemaker.training.selection.choose_repeats import repeat_bias
from tastemaker.training.warm_start import check_old, first_epoch, warm_composed, warm_free

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
    checkpoints: Checkpoints | None = None,
    resume: str | Path | None = None,
    start_from: TasteModel | None = None,
) -> TasteModel:
    """Learn a model from a log. The same seed gives the same bytes at any number of threads.

    ``valid`` is measured after every epoch and never learned from; its rows must be of the same vocabularies. Ctrl-C raises
    `TrainingInterrupted`, or ends the training with what it has if ``keep_interrupted``. ``checkpoints`` keeps the state after some
    epochs, and ``resume`` is the folder of one from which the same training goes on. ``start_from`` is an older model, of a shorter
    log: what it knows keeps its vectors, and the last three fifths of the epochs are run (`warm_settings` gives its settings).
    Raises `NoPurchases`, `TrainingFailed`, and `SettingProblem` when the checkpoint is of another training or the older model of
    another kind.
    """
    if not len(purchases):
        raise NoPurchases("there is no purchase to learn from.")
    if not 0 <= seed < 2**63:
        raise SettingProblem(f"seed is {seed}; it must be a whole number from 0 to 2^63 - 1.")
    source = None if resume is None else Path(resume)
    if checkpoints is not None:
        checkpoints.check(source)
    if start_from is not None:
        check_old(start_from, config)
    plan = Plan.of(config, seed, purchases, valid, start_from)
    resumed = None if source is None else read_checkpoint(source, plan)
    with ThreadPool(threads) as pool:
        given = Given(purchases, plan, valid, watch, pool, keep_interrupted, checkpoints, resumed, start_from)
        return _train_free(given) if config.query == "free" else _train_composed(given)


@dataclass(frozen=True, slots=True)
class Given:
    """Everything that one training is given."""

    purchases: Purchases
    plan: Plan
    valid: Purchases | None
    watch: Watcher
    pool: ThreadPool
    keep_interrupted: bool
    checkpoints: Checkpoints | None
    resumed: Checkpoint | None
    old: TasteModel | None

    def begin(self, learner: FreeUsers | Composed) -> tuple[list[Epoch], int]:
        """Set a learner to where learning begins; return the course until then and the first epoch to run."""
        if self.resumed is not None:
            learner.restore(self.resumed.arrays)
            return list(self.resumed.course), self.resumed.course[-1].epoch + 1
        if self.old is None:
            return [], 1
        if isinstance(learner, FreeUsers):
            warm_free(learner, self.old)
        else:
            warm_composed(learner, self.purchases.products, self.old, watch=self.watch, pool=self.pool)
        return [], first_epoch(learner.config)

    def run(
        self, learner: FreeUsers | Composed, config: Config, metrics: Mapping[str, Any]
    ) -> TrainingRecord:
        """Drive a learner through the epochs of the settings, or those that are left of them, and record them."""
        course, first = self.begin(learner)
        resumed = len(course)

        def keep(epoch: int) -> None:
            if self.checkpoints is not None and epoch % self.checkpoints.every == 0:
                state = Checkpoint(self.plan, config, metrics, tuple(course), learner.state())
                write_checkpoint(state, self.checkpoints.folder)

        try:
            _, interrupted = run_epochs(
                learner,
                epochs=config.epochs or 1,
                valid=self.valid,
                watch=self.watch,
                pool=self.pool,
                keep_interrupted=self.keep_interrupted,
                first=first,
                course=course,
                after=keep,
            )
        except TrainingInterrupted as stop:
            raise self._with_hint(stop, course[resumed:]) from None
        plan = self.plan
        if self.old is not None:
            metrics = {**metrics, "started_from": self.old.record.data_fingerprint}
        return TrainingRecord(
            config, plan.seed, plan.data, len(self.purchases), tuple(course), metrics, interrupted
        )

    def _with_hint(self, stop: TrainingInterrupted, learned: list[Epoch]) -> TrainingInterrupted:
        """Say where to go on, if there is a checkpoint."""
        kept = [one.epoch for one in learned if self.checkpoints and one.epoch % self.checkpoints.every == 0]
        if not kept or self.checkpoints is None:
            return stop
        begun = str(stop).partition(";")[0]
        return TrainingInterrupted(
            f"{begun}; no model was written, but a checkpoint of epoch {kept[-1]}: "
            f"go on with --resume {self.checkpoints.folder}."
        )


def _train_free(given: Given) -> TasteModel:
    log, config = given.purchases, given.plan.config
    learner = FreeUsers.start(log, config, given.plan.seed)
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
        past=past_of(log),
    )


def _train_composed(given: Given) -> TasteModel:
    log = given.purchases
    config, chosen = _settled(given)
    histories = log.histories()
    learner = Composed.start(histories, len(log.products), config, given.plan.seed)
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
        memory=remember(histories, len(log.products), config, given.pool),
        record=record,
        damping=config.damping,
        memory_damping=config.memory_damping,
        history_times=times_bought(log),
        repeat_weight=config.repeat_weight or 0.0,
        repeat_bias=repeat_bias(log, config),
        past=past_of(log),
    )


def _settled(given: Given) -> tuple[Config, Mapping[str, Any]]:
    """Return settings with nothing left to choose, and what choosing measured; a checkpoint knows them already."""
    if given.resumed is not None:
        return given.resumed.config, given.resumed.metrics
    plan = given.plan
    return choose_settings(given.purchases, plan.config, plan.seed, pool=given.pool, watch=given.watch)


def estimate_bytes(purchases: Purchases, config: Config) -> int:
    """Return about how many bytes training will need at most: the log, its histories, the tables and a copy to write."""
    width = -(-config.dimensions // LANES) * LANES
    table_rows = len(purchases.users) + len(purchases.products)
    counting = 24 if config.query == "composed" else 0  # how often each user bought each product
    per_purchase = (
        28 + counting + (0 if purchases.times is None else 8) + (0 if purchases.quantities is None else 4)
    )
    ids = sum(int(vocabulary.ids.estimated_size()) for vocabulary in (purchases.users, purchases.products))
    return (
        4 * table_rows * (width + config.dimensions) + per_purchase * len(purchases) + 2 * ids + (120 << 20)
    )
