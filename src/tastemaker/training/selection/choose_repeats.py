"""What repeats weigh, chosen last: how much a product that a user bought before is lifted in lists in which it may come again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import gather_lists
from tastemaker.data.repeats import bought_again, times_bought
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.taste_model import Memory
from tastemaker.training.learners.composed import Composed, stacked
from tastemaker.training.loop import run_epochs
from tastemaker.training.memory.co_occurrence import memories
from tastemaker.training.progress import Watcher
from tastemaker.training.selection.validation import MEASURED_AT, Trial, hold_out_repeats, ndcg, taste_scores
from tastemaker.types import Floats

__all__ = ["Learnt", "choose_repeats", "never_again", "repeat_bias"]

GRIDS = (
    (0.0, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0),
    (0.0, 0.5, 1.0, 2.0, 4.0, 8.0),
    (0.0, -1.0, 1.0, -2.0, 2.0, -4.0, 4.0, -8.0, 8.0),
)
"""What is tried for ``repeat_weight``, ``repeat_sales`` and ``repeat_level``, the most modest first."""
ORDER = (0, 1, 0, 1, 2, 0, 1)
"""Which of them is tried when, with the others as they are."""
MODESTY = 0.001
"""The first is taken that ranks within this share of the best."""

Learnt = tuple[Floats, Floats, tuple[Memory, Memory]]
"""What was learned from a trial's log: vectors, bias, and the two tables of the memory."""


def never_again(config: Config) -> Config:
    """Return the settings with no weight for repeats where it was left open."""
    return dataclasses.replace(
        config,
        repeat_weight=config.repeat_weight or 0.0,
        repeat_sales=config.repeat_sales or 0.0,
        repeat_level=config.repeat_level or 0.0,
    )


def repeat_bias(log: Purchases, config: Config) -> Floats | None:
    """Return what each product adds to its score for users who bought it, ``float32[P]``; ``None`` when none adds anything.

    repeat_level + repeat_sales · log(1 + how often it was bought again of late)
    """
    if not config.repeat_sales and not config.repeat_level:
        return None
    again = np.log1p(bought_again(log).astype(np.float32))
    bias: Floats = np.float32(config.repeat_level) + np.float32(config.repeat_sales) * again
    return bias


def choose_repeats(
    log: Purchases, config: Config, seed: int, by_time: Learnt | None, *, pool: ThreadPool, watch: Watcher
) -> tuple[Config, Mapping[str, Any]]:
    """Return the settings with nothing left to choose about repeats, and what was measured.

    All other settings stand already and stay. ``by_time`` is what was learned to choose them, if the last part of the time was held
    out; it serves here too. Without it a model is learned for this. Where nothing can be held out, nothing weighs anything.
    """
    trial = hold_out_repeats(log, seed)
    if trial is None:
        return never_again(config), {}
    learnt = by_time if trial.by_time else None
    vectors, bias, tables = learnt or _learn(trial, config, seed, pool, watch)
    taste = taste_scores(vectors, bias, trial, config, pool)
    chosen, before, after = _best(trial, config, taste, tables, pool)
    settled = dataclasses.replace(
        config, repeat_weight=chosen[0], repeat_sales=chosen[1], repeat_level=chosen[2]
    )
    told = {
        "held_out": trial.description,
        "users": len(trial.users),
        "measure": f"ndcg@{MEASURED_AT}",
        "without": before,
        "with": after,
    }
    return settled, {"repeats": told}


def _learn(trial: Trial, config: Config, seed: int, pool: ThreadPool, watch: Watcher) -> Learnt:
    products = len(trial.log.products)
    learner = Composed.start(trial.histories, products, config, seed)
    run_epochs(learner, epochs=config.epochs or 1, watch=watch, pool=pool, stage="choosing, repeats")
    counts, ridge = bool(config.count_weight), bool(config.ridge_weight)
    tables = memories(trial.histories, products, config, pool, counts=counts, ridge=ridge)
    return *stacked(learner.members), tables


def _best(
    trial: Trial, config: Config, taste: Floats, tables: tuple[Memory, Memory], pool: ThreadPool
) -> tuple[tuple[float, ...], float, float]:
    """Return the best weights, one by one, and the ndcg without and with them."""
    weights = (config.count_weight or 0.0, config.ridge_weight or 0.0, config.trend_weight or 0.0)
    times = times_bought(trial.log)
    offsets, places = gather_lists(trial.histories.offsets, trial.users)
    by_times = np.log1p(
        np.ones(offsets[-1], np.float32) if times is None else times[places].astype(np.float32)
    )
    by_sales = np.log1p(bought_again(trial.log).astype(np.float32))[trial.baskets.products]
    seen: dict[tuple[float, ...], float] = {}

    def worth(values: tuple[float, ...]) -> float:
        if values not in seen:
            own = (values[0] * by_times + values[1] * by_sales + values[2]).astype(np.float32)
            seen[values] = ndcg(dataclasses.replace(trial, own=own), config, taste, tables, weights, pool)
        return seen[values]

    given = (config.repeat_weight, config.repeat_sales, config.repeat_level)
    grids = [grid if value is None else (value,) for value, grid in zip(given, GRIDS, strict=True)]
    best = tuple(grid[0] for grid in grids)
    for part in ORDER:
        tried = [(*best[:part], value, *best[part + 1 :]) for value in grids[part]]
        enough = max(map(worth, tried)) * (1 - MODESTY)
        best = next(values for values in tried if worth(values) >= enough)
    return best, worth((0.0, 0.0, 0.0)), worth(best)
