"""The training loop: epochs, measurements and interruptions; learners hold the mathematics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from tastemaker.data.purchases import Purchases
from tastemaker.errors import TrainingFailed, TrainingInterrupted
from tastemaker.kernels.compiling import on_compile
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.record import Epoch
from tastemaker.training.learners.learner import Learner
from tastemaker.training.progress import Progress, Watcher, nobody

__all__ = ["EpochRun", "run_epochs"]

PURCHASES_PER_CALL = 1 << 15
"""About how many purchases are learned between two looks at the clock and at Ctrl-C."""


@dataclass(frozen=True, slots=True)
class EpochRun:
    """How epochs run: nothing here changes what is learned."""

    pool: ThreadPool
    watch: Watcher = nobody
    stage: str = "learning"
    """What watchers are told these epochs are for."""
    keep_interrupted: bool = False
    """Whether Ctrl-C ends the epochs with what they have, instead of raising."""


def run_epochs(
    learner: Learner,
    *,
    epochs: int,
    run: EpochRun,
    valid: Purchases | None = None,
    first: int = 1,
    course: list[Epoch] | None = None,
    after: Callable[[int], None] = lambda _: None,
) -> tuple[list[Epoch], bool]:
    """EpochRun the epochs ``first … epochs``; return what each measured, and whether the user interrupted them.

    ``course`` holds what earlier epochs measured and grows in place. ``after`` is called with the number of each epoch that has
    ended, and Ctrl-C waits for it.

    Raises `TrainingFailed` when a loss or a vector is no longer finite, and `TrainingInterrupted` on Ctrl-C unless
    ``run.keep_interrupted``.
    """
    course = [] if course is None else course
    epoch = first
    try:
        for epoch in range(first, epochs + 1):
            began = time.perf_counter()
            loss, accuracy = _one_epoch(learner, epoch, epochs, run)
            if not math.isfinite(loss) or not learner.finite():
                raise _failed(epoch)
            seconds = time.perf_counter() - began
            valid_loss, valid_accuracy = (
                (None, None) if not valid else learner.measure(valid, epoch, run.pool)
            )
            course.append(Epoch(epoch, loss, accuracy, valid_loss, valid_accuracy, seconds))
            after(epoch)
    except KeyboardInterrupt:
        if not run.keep_interrupted:
            raise TrainingInterrupted(
                f"interrupted in epoch {epoch} of {epochs}; nothing was written. "
                "Add --keep-interrupted to keep what was learned so far."
            ) from None
        if not learner.finite():
            raise _failed(epoch) from None
        return course, True
    return course, False


def _failed(epoch: int) -> TrainingFailed:
    return TrainingFailed(
        f"the loss of epoch {epoch} is not finite: the steps are too large for these data. "
        "Nothing was written; train with a lower --learning-rate."
    )


def _one_epoch(learner: Learner, epoch: int, epochs: int, run: EpochRun) -> tuple[float, float]:
    loss, hits, done, count = 0.0, 0.0, 0, learner.purchases

    def tell(mean_loss: float, accuracy: float, *, compiling: bool = False) -> None:
        run.watch(Progress(epoch, epochs, done, count, mean_loss, accuracy, run.stage, compiling))

    tell(math.nan, math.nan)
    with on_compile(lambda: tell(math.nan, math.nan, compiling=True)):
        for step in learner.learn(epoch, PURCHASES_PER_CALL, run.pool):
            loss, hits, done = loss + step.loss, hits + step.hits, done + step.purchases
            tell(loss / done, hits / done)
    return loss / count, hits / count
