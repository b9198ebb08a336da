"""`train`: purchases and settings in, a `TasteModel` out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.given import AnyHeldOut, AnyLog, held_out_given, log_given
from tastemaker.data.reading.remedies import told_to_caller
from tastemaker.errors import NoPurchases, SettingProblem, TrainingInterrupted
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config, Effort, preset
from tastemaker.model.record import Epoch, TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.checkpoint import Checkpoint, Checkpoints, Plan, read_checkpoint, write_checkpoint
from tastemaker.training.learners.kinds import kind_of
from tastemaker.training.learners.learner import Learner
from tastemaker.training.learners.tables import LANES
from tastemaker.training.loop import EpochRun, run_epochs
from tastemaker.training.memory.numbers import number_bytes
from tastemaker.training.memory.spectral import spectral_bytes
from tastemaker.training.progress import Watcher
from tastemaker.training.progress_bar import AnyProgress, shown_progress
from tastemaker.training.selection.choose import settle
from tastemaker.training.selection.choose_cosine import cosine_bytes
from tastemaker.training.selection.choose_repeats import Kept
from tastemaker.training.selection.effort import widest
from tastemaker.training.selection.sampled import is_long
from tastemaker.training.selection.validation import MOST_OF_LONG, many_bytes
from tastemaker.training.sharded.crew import Workers, hired
from tastemaker.training.warm_start import as_before, check_old, first_epoch, warm_settings

__all__ = ["Recovery", "estimate_bytes", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What is kept of a training that is interrupted, and what it goes on from."""

    keep_interrupted: bool = False
    """Whether Ctrl-C ends the training with a model of what it has, instead of raising."""
    checkpoints: Checkpoints | None = None
    """Where the state after some epochs is kept."""
    resume: str | Path | None = None
    """The folder of a checkpoint from which the same training goes on."""


def train(
    purchases: AnyLog,
    config: Config | str | None = None,
    *,
    valid: AnyHeldOut | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: AnyProgress = None,
    start_from: TasteModel | None = None,
    recovery: Recovery = Recovery(),
    **settings: object,
) -> TasteModel:
    """Learn a model from a log: a frame, a file, or what `read_purchases` read. The same seed gives the same bytes.

    ``config`` is a preset's name or settings (`preset`), *default* where none is given; further arguments change single settings
    by their names, such as ``epochs=2, dimensions=64`` (``help(tm.Config)`` explains each) or ``effort="quick"``. ``valid`` is
    measured after every epoch and never learned from; it may be all that `evaluate` takes, and what of it the log does not know
    is left out.
    ``progress`` is a bar, shown in terminals and notebooks unless it is False, or a function that is told of every step.

    ``start_from`` is an older model, of a shorter log: what it knows keeps its vectors, and the last three fifths of the epochs
    are run, with its settings unless others are given. ``recovery`` says what Ctrl-C leaves behind; without it Ctrl-C raises
    `TrainingInterrupted`. Any number of ``threads`` gives the same bytes, and so do ``workers="local:4"`` (processes), ``"ray"``
    or ``"ray://HOST:PORT"``, who learn the vectors; with them, a script begins under ``if __name__ == "__main__":``.

    Raises what `read_purchases` raises, `NoPurchases`, `TrainingFailed`, and `SettingProblem` for a setting that there is not or
    that cannot work, or when the checkpoint is of another training or the older model of another kind.

    >>> import polars as pl
    >>> log = pl.DataFrame({"user_id": ["ann", "ann", "bob", "bob", "cat"], "sku": ["hat", "sock", "hat", "sock", "hat"]})
    >>> model = train(log, epochs=2, dimensions=8, seed=1)
    >>> model.dimensions, len(model.users), len(model.record.epochs)
    (8, 3, 2)
    """
    hire = partial(hired, cast("Workers", settings.pop("workers", None)), threads)
    with told_to_caller():
        config = _configured(config, start_from, settings)
        log = log_given(purchases)
        measured = None if valid is None else held_out_given(valid, log.users, log.products).known
        with shown_progress(progress) as watch:
            return _trained(log, config, measured, seed, hire, watch, start_from, recovery)


def _configured(config: Config | str | None, old: TasteModel | None, settings: dict[str, object]) -> Config:
    """Return the settings that were asked for: those given, else the older model's, else the default preset's, with changes."""
    named = settings.pop("preset", None)
    if config is not None and named is not None:
        raise SettingProblem(f"config and preset={named!r} were given; give one of them.")
    config = config if named is None else str(named)
    effort = settings.pop("effort", None)
    if config is None and old is not None:
        if effort is not None:
            raise SettingProblem(
                f"start_from and effort={effort!r} were given; a warm start takes the older model's settings: give one of them."
            )
        return warm_settings(old, settings)
    if not isinstance(config, Config):
        config = preset("default" if config is None else config)
    if effort is not None:
        config = dataclasses.replace(config, effort=cast("Effort", effort))  # which Config checks
    return config.changed(settings) if settings else config


def _trained(
    purchases: Purchases,
    config: Config,
    valid: Purchases | None,
    seed: int,
    hire: Callable[[], AbstractContextManager[ThreadPool]],
    watch: Watcher,
    start_from: TasteModel | None,
    recovery: Recovery,
) -> TasteModel:
    """Learn a model; all is checked before anything is learned."""
    if not len(purchases):
        raise NoPurchases("there is no purchase to learn from.")
    if not 0 <= seed < 2**63:
        raise SettingProblem(f"seed is {seed}; it must be a whole number from 0 to 2^63 - 1.")
    source = None if recovery.resume is None else Path(recovery.resume)
    if recovery.checkpoints is not None:
        recovery.checkpoints.check(source)
    if start_from is not None:
        config = as_before(start_from, config)
        check_old(start_from, config)
    plan = Plan.of(config, seed, purchases, valid, start_from)
    resumed = None if source is None else read_checkpoint(source, plan)
    with hire() as pool:
        run = EpochRun(pool, watch, keep_interrupted=recovery.keep_interrupted)
        if resumed is None:
            settled = settle(purchases, config, seed, pool=pool, watch=watch)
            learner = kind_of(settled.config).start(purchases, settled.config, seed)
            begin = Checkpoint(plan, settled.config, settled.metrics, (), {})
            if start_from is not None:
                learner.warm_from(start_from, watch=watch, pool=pool)
            elif settled.kept is not None:
                begin = _going_on(learner, begin, settled.kept, valid, pool)
            del settled  # and what it keeps
        else:
            begin = resumed
            learner = kind_of(begin.config).start(purchases, begin.config, seed)
            learner.restore(begin.arrays)
        record = _learn(learner, begin, run, valid=valid, old=start_from, checkpoints=recovery.checkpoints)
        return learner.finish(record, pool)


def _going_on(
    learner: Learner, begin: Checkpoint, kept: Kept, valid: Purchases | None, pool: ThreadPool
) -> Checkpoint:
    """Give a learner what was learned while settings were chosen; return where it then stands."""
    learner.restore(kept.state)
    *course, last = kept.course
    if valid:
        loss, accuracy = learner.measure(valid, last.epoch, pool)
        last = dataclasses.replace(last, valid_loss=loss, valid_accuracy=accuracy)
    metrics = {**begin.metrics, "unseen": kept.unseen}
    return dataclasses.replace(begin, course=(*course, last), metrics=metrics)


def _learn(
    learner: Learner,
    begin: Checkpoint,
    run: EpochRun,
    *,
    valid: Purchases | None,
    old: TasteModel | None,
    checkpoints: Checkpoints | None,
) -> TrainingRecord:
    """Drive a learner through the epochs of its settings, or those that are left of them, and record them."""
    course, plan = list(begin.course), begin.plan
    first = course[-1].epoch + 1 if course else 1 if old is None else first_epoch(learner.config)

    def keep(epoch: int, *, always: bool = False) -> None:
        if checkpoints is not None and (always or epoch % checkpoints.every == 0):
            state = Checkpoint(plan, learner.config, begin.metrics, tuple(course), learner.state())
            write_checkpoint(state, checkpoints.folder)

    if course and not begin.arrays:  # all was learned while settings were chosen
        keep(course[-1].epoch, always=True)
    try:
        _, interrupted = run_epochs(
            learner,
            epochs=learner.config.taste.epochs or 1,
            run=run,
            valid=valid,
            first=first,
            course=course,
            after=keep,
        )
    except TrainingInterrupted as stop:
        raise _with_hint(stop, course[len(begin.course) :], checkpoints) from None
    metrics = begin.metrics
    if old is not None:
        metrics = {**metrics, "started_from": old.record.data_fingerprint}
    read = learner.log.read.as_dict() if learner.log.read.rows else {}
    return TrainingRecord(
        learner.config, plan.seed, plan.data, len(learner.log), tuple(course), metrics, interrupted, read
    )


def _with_hint(
    stop: TrainingInterrupted, learned: list[Epoch], checkpoints: Checkpoints | None
) -> TrainingInterrupted:
    """Say where to go on, if there is a checkpoint."""
    kept = [epoch.epoch for epoch in learned if checkpoints and epoch.epoch % checkpoints.every == 0]
    if not kept or checkpoints is None:
        return stop
    begun = str(stop).partition(";")[0]
    return TrainingInterrupted(
        f"{begun}; no model was written, but a checkpoint of epoch {kept[-1]}: "
        f"go on with --resume {str(checkpoints.folder)!r}."
    )


def estimate_bytes(purchases: Purchases, config: Config) -> int:
    """Return about how many bytes training will need at most: the log, its histories, the tables and a copy to write."""
    dimensions = widest(config)
    width = -(-dimensions // LANES) * LANES
    if is_long(purchases) and config.taste.query == "composed":
        return _bytes_of_long(purchases, config, width)
    table_rows = len(purchases.users) + len(purchases.products)
    per_purchase = (
        28
        + kind_of(config).bytes_per_purchase
        + (0 if purchases.times is None else 8)
        + (0 if purchases.quantities is None else 4)
    )
    vectors = 4 * table_rows * (width + dimensions)
    return vectors + per_purchase * len(purchases) + _bytes_beside(purchases, config)


def _bytes_of_long(purchases: Purchases, config: Config, width: int) -> int:
    """Return what a long log needs: users have no vectors, and tables of the memory and a partition's arrays lie in files.

    A purchase: the rows and the history of what is learned from, and one number of eight bytes while it is counted. A product: its
    vectors as they are learned, as the state that is kept, and three times as a taste; sums of squares; the regression.
    """
    rows = 12 if purchases.kept_histories is None else 0
    per_product = 4 * width * 5 + 2 * 20 * config.taste.members + 16 * config.memory.ridge_neighbours
    return (
        (20 + rows) * len(purchases)
        + 40 * len(purchases.users)
        + per_product * len(purchases.products)
        + 4 * MOST_OF_LONG
        + _bytes_beside(purchases, config)
    )


def _bytes_beside(purchases: Purchases, config: Config) -> int:
    """Return what ids, the parts of the memory that are not always there, and the software need."""
    ids = sum(int(vocabulary.ids.estimated_size()) for vocabulary in (purchases.users, purchases.products))
    return (
        2 * ids
        + spectral_bytes(purchases, config.memory)
        + number_bytes(purchases.products, config.memory)
        + (many_bytes(purchases) if config.effort == "thorough" and config.chooses else 0)
        + cosine_bytes(purchases, config)
        + (120 << 20)
    )
