"""Settings that choose themselves: a part is held out of train, and what ranks it best is taken. No test set is ever seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.repeats import times_bought
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.taste_model import Memory
from tastemaker.training.learners.composed import Composed, stacked
from tastemaker.training.loop import run_epochs
from tastemaker.training.memory.co_occurrence import memories
from tastemaker.training.progress import Watcher
from tastemaker.training.selection.choose_repeats import Learnt, choose_repeats, never_again
from tastemaker.training.selection.validation import MEASURED_AT, Trial, Weights, hold_out, ndcg, taste_scores
from tastemaker.types import Floats

__all__ = ["choose_settings", "decay_for", "horizon_for"]

LOOKS = 8
"""How often the ranking is measured over the horizon; from FIRST_LOOK of it on."""
FIRST_LOOK = 0.4
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
MODESTY = 0.005
"""Of two weights, the smaller is taken unless the greater ranks better by so large a share: less to overfit with."""
TRENDS = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)


def horizon_for(purchases: int) -> int:
    """Return the epochs to plan for: fewer passes over a longer log, from 32 down to 8."""
    return int(min(32, max(8, round(2.2e6 / max(purchases, 1)))))


def decay_for(log: Purchases) -> float:
    """Return a decay that falls with the mean history of the users, .07 · min(1, √(10 / mean)): long histories say more."""
    users = np.count_nonzero(np.bincount(log.user_rows, minlength=1))
    return float(0.07 * min(1.0, (10 * users / max(len(log), 1)) ** 0.5))


def choose_settings(
    log: Purchases, config: Config, seed: int, *, pool: ThreadPool, watch: Watcher
) -> tuple[Config, Mapping[str, Any]]:
    """Return the settings with nothing left to choose, and what was measured on the way.

    A fifth of the users' purchases, or the last tenth of the days where there are times, is held out of the log; a model is
    learned from the rest and looked at now and then; the epoch that ranks the held-out products best is taken, and then the weights
    of the memory and the trend, one after the other. What repeats weigh is chosen last (`choose_repeats`) and changes none of that.
    A log too small to hold anything out gets the middle of the road.
    """
    if config.decay is None:
        config = dataclasses.replace(config, decay=decay_for(log))
    if config.chooses_repeats and times_bought(log) is None:
        config = never_again(config)
    told: dict[str, Any] = {}
    learnt: Learnt | None = None
    if config.chooses:
        horizon = config.horizon or config.epochs or horizon_for(len(log))
        trial = hold_out(log, seed)
        if trial is None:
            settled = _settled(config, horizon, horizon, (0.0, 0.0, 0.0))
            return never_again(settled), {"chosen": "nothing could be held out of so small a log"}
        planned = dataclasses.replace(config, horizon=horizon, epochs=config.epochs or horizon)
        config, told, learnt = _choose(trial, planned, config, seed, pool, watch)
        learnt = learnt if trial.by_time else None
    if config.chooses_repeats:
        config, repeats = choose_repeats(log, config, seed, learnt, pool=pool, watch=watch)
        told = {**told, **repeats}
    return config, told


def _choose(
    trial: Trial, planned: Config, given: Config, seed: int, pool: ThreadPool, watch: Watcher
) -> tuple[Config, dict[str, Any], Learnt]:
    """Choose the epochs and then the weights; also return what was learned until that epoch."""
    wanted = None if given.epochs is None else planned.epochs
    epoch, curve, (vectors, bias) = _choose_epoch(trial, planned, wanted, seed, pool, watch)
    counts, ridge = planned.count_weight != 0, planned.ridge_weight != 0
    tables = memories(trial.histories, len(trial.log.products), planned, pool, counts=counts, ridge=ridge)
    taste = taste_scores(vectors, bias, trial, planned, pool)
    weights, best = _choose_weights(trial, planned, taste, tables, pool)
    told = {
        "held_out": trial.description,
        "users": len(trial.users),
        "measure": f"ndcg@{MEASURED_AT}",
        "by_epoch": curve,
        "taste": curve[str(epoch)],
        "with_memory": best,
    }
    return _settled(given, planned.horizon, epoch, weights), told, (vectors, bias, tables)


def _choose_epoch(
    trial: Trial, config: Config, wanted: int | None, seed: int, pool: ThreadPool, watch: Watcher
) -> tuple[int, dict[str, float], tuple[Floats, Floats]]:
    """Return the epoch that ranks best, or the one wanted, what each look measured, and the taste's vectors and bias then."""
    learner = Composed.start(trial.histories, len(trial.log.products), config, seed)
    horizon = config.epochs or 1
    curve: dict[str, float] = {}
    best: list[tuple[float, int, tuple[Floats, Floats]]] = []
    every = max(1, horizon // LOOKS)

    def look(epoch: int) -> None:
        last = epoch == horizon
        if not last and (epoch % every or epoch < FIRST_LOOK * horizon):
            return
        table = stacked(learner.members)
        value = ndcg(trial, config, taste_scores(*table, trial, config, pool), None, (0.0, 0.0, 0.0), pool)
        curve[str(epoch)] = value
        if epoch == wanted or (wanted is None and (not best or value > best[0][0])):
            best[:] = [(value, epoch, table)]

    run_epochs(learner, epochs=horizon, watch=watch, pool=pool, stage="choosing", after=look)
    return best[0][1], curve, best[0][2]


def _choose_weights(
    trial: Trial, config: Config, taste: Floats, tables: tuple[Memory, Memory], pool: ThreadPool
) -> tuple[Weights, float]:
    """Return the best weights of counts, ridge and trend and the ndcg with them: one by one, twice around."""
    timed = trial.log.times is not None
    grids = [
        _grid(config.count_weight, WEIGHTS),
        _grid(config.ridge_weight, WEIGHTS),
        _grid(config.trend_weight, TRENDS) if timed else (0.0,),
    ]
    seen: dict[tuple[float, ...], float] = {}

    def worth(counts: float, ridge: float, trend: float) -> float:
        weights = (counts, ridge, trend)
        if weights not in seen:
            seen[weights] = ndcg(trial, config, taste, tables, weights, pool)
        return seen[weights]

    best = [grid[0] for grid in grids]
    for part in (2, 0, 1, 0, 1, 2):
        tried = [[*best[:part], value, *best[part + 1 :]] for value in grids[part]]
        enough = max(worth(*weights) for weights in tried) * (1 - MODESTY)
        best = next(weights for weights in tried if worth(*weights) >= enough)
    counts, ridge, trend = best
    return (counts, ridge, trend), worth(*best)


def _grid(given: float | None, grid: tuple[float, ...]) -> tuple[float, ...]:
    return grid if given is None else (given,)


def _settled(config: Config, horizon: int, epochs: int, weights: Weights) -> Config:
    counts, ridge, trend = weights
    return dataclasses.replace(
        config,
        horizon=horizon,
        epochs=config.epochs or epochs,
        count_weight=counts if config.count_weight is None else config.count_weight,
        ridge_weight=ridge if config.ridge_weight is None else config.ridge_weight,
        trend_weight=trend if config.trend_weight is None else config.trend_weight,
    )
