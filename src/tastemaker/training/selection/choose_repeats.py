"""What repeats weigh, chosen last: how much a product that a user bought before is lifted in lists in which it may come again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import gather_lists
from tastemaker.data.repeats import bought_again, times_bought
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.record import Epoch
from tastemaker.model.settings import RepeatSettings
from tastemaker.model.taste_model import Memory
from tastemaker.training.cosine.learner import Cosine
from tastemaker.training.learners.composed import Composed
from tastemaker.training.learners.kinds import kind_of
from tastemaker.training.learners.learner import Taste
from tastemaker.training.learners.projected import Projected
from tastemaker.training.loop import EpochRun, run_epochs
from tastemaker.training.memory.co_occurrence import added, memories, no_memory
from tastemaker.training.memory.numbers import number_memory, numbers_of
from tastemaker.training.memory.spectral import spectral_memory
from tastemaker.training.progress import Watcher
from tastemaker.training.selection.validation import (
    MEASURED_AT,
    Validation,
    Weights,
    hold_out_repeats,
    ndcg,
    nearly_best,
    taste_scores,
)
from tastemaker.types import Floats

__all__ = ["Kept", "LearnedTables", "choose_repeats", "never_again"]

GRIDS = (
    (0.0, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0),
    (0.0, 0.5, 1.0, 2.0, 4.0, 8.0),
    (0.0, -1.0, 1.0, -2.0, 2.0, -4.0, 4.0, -8.0, 8.0),
)
"""What is tried for ``repeats.weight``, ``repeats.sales`` and ``repeats.level``, the most modest first."""
ORDER = (0, 1, 0, 1, 2, 0, 1)
"""The order in which they are tried, the others staying as they are."""
MODESTY = 0.001
"""The first that ranks within this share of the best is taken."""


class Kept(NamedTuple):
    """A learner of all but a few purchases, at the epoch chosen: the model goes on from it."""

    state: Mapping[str, Floats]
    course: tuple[Epoch, ...]
    unseen: int
    """How many purchases it has not learned from"""


@dataclass(frozen=True, slots=True)
class LearnedTables:
    """What was learned from the log of a validation."""

    taste: Taste
    tables: tuple[Memory, Memory]
    """Common purchases and regression, unweighted."""
    spectral: Memory | None = None
    kept: Kept | None = None
    """Where a sample was held out of a long log"""
    numbers: Memory | None = None

    def weighed(self, config: Config) -> tuple[tuple[Memory, Memory], Weights]:
        """Return two tables and the weights by which they and the trend add up to what the settings say."""
        memory, trend = config.memory, config.trend.weight or 0.0
        counts, ridge = memory.count_weight or 0.0, memory.ridge_weight or 0.0
        number, products = memory.number_weight or 0.0, len(self.tables[0].offsets) - 1
        beside = [] if self.numbers is None else [(number, self.numbers)]
        if self.spectral is None or not memory.spectral_weight:
            if not beside or not number:
                return self.tables, (counts, ridge, trend)
            both = added([(ridge, self.tables[1]), *beside], products) or no_memory(products)
            return (self.tables[0], both), (counts, 1.0, trend)
        others = added([(counts, self.tables[0]), (ridge, self.tables[1]), *beside], products)
        return (self.spectral, others or no_memory(products)), (memory.spectral_weight, 1.0, trend)


def never_again(config: Config) -> Config:
    """Return the settings with no weight for repeats where it was left open."""
    return config.changed(
        repeats=RepeatSettings(
            weight=config.repeats.weight or 0.0,
            sales=config.repeats.sales or 0.0,
            level=config.repeats.level or 0.0,
        )
    )


def choose_repeats(
    log: Purchases,
    config: Config,
    seed: int,
    earlier: LearnedTables | None,
    held_out: Validation | None = None,
    *,
    pool: ThreadPool,
    watch: Watcher,
) -> tuple[Config, Mapping[str, Any]]:
    """Return the settings with nothing left to choose about repeats, and what was measured.

    All other settings stand already and stay. ``earlier`` is what was learned to choose them, if the last part of the time was held
    out, or a sample of users with those of ``held_out``; it serves here too. Without it a model is learned for this. Where nothing
    can be held out, all weights are 0.
    """
    validation = held_out or hold_out_repeats(log, seed)
    if validation is None:
        return never_again(config), {}
    serves = validation.by_time or held_out is not None
    learned = (earlier if serves else None) or _learn(validation, config, seed, pool, watch)
    taste = taste_scores(learned.taste, validation, config, pool)
    chosen, before, after = _best(validation, config, taste, learned, pool)
    settled = config.changed(repeats=RepeatSettings(weight=chosen[0], sales=chosen[1], level=chosen[2]))
    told = {
        "held_out": validation.description,
        "users": len(validation.users),
        "measure": f"ndcg@{MEASURED_AT}",
        "without": before,
        "with": after,
    }
    return settled, {"repeats": told}


def _learn(
    validation: Validation, config: Config, seed: int, pool: ThreadPool, watch: Watcher
) -> LearnedTables:
    products = len(validation.log.products)
    learner = kind_of(config).start(validation.log, config, seed)
    run = EpochRun(pool, watch, stage="choosing, repeats")
    run_epochs(learner, epochs=config.taste.epochs or 1, run=run)
    counts, ridge = bool(config.memory.count_weight), bool(config.memory.ridge_weight)
    tables = memories(validation.histories, products, config.memory, pool, counts=counts, ridge=ridge)
    spectral = None
    if isinstance(learner, Projected | Cosine):
        spectral = learner.table(pool)
    elif config.memory.spectral_weight:
        spectral = spectral_memory(validation.histories, products, config.memory, pool)
    numbers = numbers_of(validation.log.products) if config.memory.number_weight else None
    by_number = None if numbers is None else number_memory(validation.histories, numbers)
    taste = learner.whole_taste(pool) if isinstance(learner, Composed) else learner.taste()
    return LearnedTables(taste, tables, spectral, numbers=by_number)


def _best(
    validation: Validation, config: Config, taste: Floats, learned: LearnedTables, pool: ThreadPool
) -> tuple[tuple[float, ...], float, float]:
    """Return the best weights, one by one, and the ndcg without and with them."""
    tables, weights = learned.weighed(config)
    times = times_bought(validation.log)
    offsets, places = gather_lists(validation.histories.offsets, validation.users)
    by_times = np.log1p(
        np.ones(offsets[-1], np.float32) if times is None else times[places].astype(np.float32)
    )
    by_sales = np.log1p(bought_again(validation.log).astype(np.float32))[validation.baskets.products]
    seen: dict[tuple[float, ...], float] = {}

    def worth(values: tuple[float, ...]) -> float:
        if values not in seen:
            own = (values[0] * by_times + values[1] * by_sales + values[2]).astype(np.float32)
            seen[values] = ndcg(
                dataclasses.replace(validation, own=own), config, taste, tables, weights, pool
            )
        return seen[values]

    given = (config.repeats.weight, config.repeats.sales, config.repeats.level)
    grids = [grid if value is None else (value,) for value, grid in zip(given, GRIDS, strict=True)]
    best = tuple(grid[0] for grid in grids)
    for part in ORDER:
        tried = [(*best[:part], value, *best[part + 1 :]) for value in grids[part]]
        best = nearly_best(tried, worth, MODESTY)
    return best, worth((0.0, 0.0, 0.0)), worth(best)
