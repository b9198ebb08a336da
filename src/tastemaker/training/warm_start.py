"""A warm start: learning goes on from an older model, on a log that has grown, with the last part of the course alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.learners.composed import Composed
from tastemaker.training.learners.free_users import FreeUsers
from tastemaker.training.loop import run_epochs
from tastemaker.training.progress import Watcher
from tastemaker.types import Booleans, Rows

__all__ = ["check_old", "first_epoch", "warm_composed", "warm_free", "warm_settings"]

LAST_PART = 0.6
"""A warm start runs this share of the epochs: the last ones, in which the learning rate is lower."""

KEPT_SQUARES = 0.25
"""Of the squares that the epochs left out would have gathered, so much is assumed: what is known must be free to move, too."""

STANDSTILL = 1e-300
"""A learning rate that is allowed, being above 0, and moves nothing, being 0 as float32."""


def warm_settings(old: TasteModel, changes: Mapping[str, object]) -> Config:
    """Return the settings of an older model, what it chose included, with some replaced; raise `SettingProblem` if it has none.

    A setting replaced by None (``auto`` as text) is chosen again, on the longer log.
    """
    if old.record.config is None:
        raise SettingProblem("the model to start from is a baseline and was not trained; train without it.")
    return old.record.config.changed(changes)


def first_epoch(config: Config) -> int:
    """Return the epoch with which a warm start begins.

    >>> from tastemaker.model.config import preset
    >>> first_epoch(preset("workshop"))
    5
    """
    epochs = config.epochs or 1
    return epochs - math.ceil(epochs * LAST_PART) + 1


def check_old(old: TasteModel, config: Config) -> None:
    """Raise `SettingProblem` when the older model's vectors are of another kind than the settings'."""
    before = warm_settings(old, {})
    different = [
        f"{name} {getattr(before, name)} and not {getattr(config, name)}"
        for name in ("query", "dimensions", "members")
        if getattr(before, name) != getattr(config, name)
    ]
    if different:
        raise SettingProblem(
            f"the model to start from has {', '.join(different)}; leave these settings as they are, "
            "or train without it."
        )


def warm_free(learner: FreeUsers, old: TasteModel) -> None:
    """Give users and products that the older model knows the vectors that it has for them."""
    dimensions = learner.config.dimensions
    here, there = _common(learner.log.products, old.products)
    learner.product_vectors[here, :dimensions] = old.product_vectors[there]
    if old.user_vectors is not None:
        here, there = _common(learner.log.users, old.users)
        learner.user_vectors[here, :dimensions] = old.user_vectors[there]


def warm_composed(
    learner: Composed, products: Vocabulary, old: TasteModel, *, watch: Watcher, pool: ThreadPool
) -> None:
    """Give products that the older model knows the vectors that it has for them, and all products their Adagrad squares.

    Where the older training was stopped early, at E of H epochs, because it began to learn its users by heart, going on from the
    same vectors would go on with that: they are shrunk to (E / H)² of their length, which keeps what they say and leaves room to
    learn (after J. ASH, R. ADAMS 2020, "On Warm-Starting Neural Network Training"; the power is ours).

    A model keeps no squares. They are gathered in one epoch that moves nothing, and those of known products are multiplied by a
    quarter of the epochs that a warm start leaves out (and by as much as the vectors): known products then make smaller steps than
    new ones. The bias starts at the log of the buyers, as ever: how well a product sells is counted.
    """
    here, there = _common(products, old.products)
    kept = _kept_length(learner.config)
    scale = np.float32(kept * len(learner.members) ** 0.5)  # the root undoes what `stacked` does
    column = 0
    for member in learner.members:
        part = slice(column, column + member.dimensions)
        member.vectors[here, : member.dimensions] = old.product_vectors[there, part] * scale
        column += member.dimensions
    still = dataclasses.replace(learner.config, learning_rate=STANDSTILL)
    run_epochs(
        dataclasses.replace(learner, config=still), epochs=1, watch=watch, pool=pool, stage="warming up"
    )
    for member in learner.members:
        for squares in member.squares[:2]:
            squares[here] *= np.float32(kept * max(1.0, KEPT_SQUARES * (first_epoch(learner.config) - 1)))


def _kept_length(config: Config) -> float:
    epochs = config.epochs or 1
    return min(1.0, epochs / (config.horizon or epochs)) ** 2


def _common(new: Vocabulary, old: Vocabulary) -> tuple[Rows, Rows]:
    """Return the rows, in both vocabularies, of the ids that are in both."""
    found = new.find(old.ids)
    known: Booleans = found.is_not_null().to_numpy()
    return found.drop_nulls().to_numpy().astype(np.int32), np.flatnonzero(known).astype(np.int32)
