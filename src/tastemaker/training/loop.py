"""The training loop: epochs, measurements, interruptions; it knows no mathematics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

from tastemaker.data.purchases import Purchases
from tastemaker.errors import TrainingFailed, TrainingInterrupted
from tastemaker.kernels.compiling import on_compile
from tastemaker.kernels.crew import Crew
from tastemaker.model.record import Epoch
from tastemaker.training.progress import Progress, Watcher

__all__ = ["Learner", "run_epochs"]

PURCHASES_PER_CALL = 1 << 15
"""About so many purchases are learned from between two looks at the clock and at Ctrl-C."""


class Learner(Protocol):
    """What the loop drives."""

    def learn(self, purchases: Purchases, epoch: int, part: slice, crew: Crew) -> tuple[float, float]:
        """Learn from a part of the log; return its sums of loss and hits."""

    def measure(self, held_out: Purchases, epoch: int, crew: Crew) -> tuple[float, float]:
        """Return the mean loss and accuracy on held-out purchases."""


def run_epochs(
    learner: Learner,
    purchases: Purchases,
    *,
    epochs: int,
    batch: int,
    valid: Purchases | None,
    watch: Watcher,
    crew: Crew,
    healthy: Callable[[], bool],
    keep_interrupted: bool = False,
) -> tuple[list[Epoch], bool]:
    """Run the epochs; return what each measured, and whether the user interrupted them.

    Raises `TrainingFailed` when a loss or a vector is no longer finite (``healthy`` says whether the vectors are), and
    `TrainingInterrupted` on Ctrl-C unless ``keep_interrupted``.
    """
    course: list[Epoch] = []
    epoch = 1
    try:
        for epoch in range(1, epochs + 1):
            began = time.perf_counter()
            loss, accuracy = _one_epoch(learner, purchases, epoch, epochs, batch, watch, crew)
            if not math.isfinite(loss) or not healthy():
                raise _failed(epoch)
            seconds = time.perf_counter() - began
            valid_loss, valid_accuracy = (None, None) if not valid else learner.measure(valid, epoch, crew)
            course.append(Epoch(epoch, loss, accuracy, valid_loss, valid_accuracy, seconds))
    except KeyboardInterrupt:
        if not keep_interrupted:
            raise TrainingInterrupted(
                f"interrupted in epoch {epoch} of {epochs}; nothing was written. "
                "Add --keep-interrupted to keep what was learned so far."
            ) from None
        if not healthy():
            raise _failed(epoch) from None
        return course, True
    return course, False


def _failed(epoch: int) -> TrainingFailed:
    return TrainingFailed(
        f"the loss of epoch {epoch} is not finite: the steps are too large for these data. "
        "Nothing was written; train with a lower --learning-rate."
    )


def _one_epoch(
    learner: Learner, purchases: Purchases, epoch: int, epochs: int, batch: int, watch: Watcher, crew: Crew
) -> tuple[float, float]:
    step = max(1, PURCHASES_PER_CALL // batch) * batch
    loss, hits, count = 0.0, 0.0, len(purchases)
    watch(Progress(epoch, epochs, 0, count, math.nan, math.nan))
    for start in range(0, count, step):
        part = slice(start, min(start + step, count))
        with on_compile(lambda: watch(Progress(epoch, epochs, 0, count, math.nan, math.nan, compiling=True))):
            more_loss, more_hits = learner.learn(purchases, epoch, part, crew)
        loss, hits = loss + more_loss, hits + more_hits
        watch(Progress(epoch, epochs, part.stop, count, loss / part.stop, hits / part.stop))
    return loss / count, hits / count
