"""Settings that choose themselves: a part is held out of train, and what ranks it best is taken. No test set is ever seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.ragged import gather_lists
from tastemaker.data.splits import Split, hold_out_random, hold_out_time
from tastemaker.errors import DataError
from tastemaker.kernels.baskets import compose_baskets
from tastemaker.kernels.choosing import ndcg_of_weights
from tastemaker.kernels.crew import Crew
from tastemaker.model.config import Config
from tastemaker.model.taste_model import Memory
from tastemaker.training.composed import Composed, stacked
from tastemaker.training.loop import run_epochs
from tastemaker.training.progress import Watcher
from tastemaker.training.together import memories
from tastemaker.training.trend import trend_of
from tastemaker.types import Floats, Rows

__all__ = ["choose_settings", "decay_for", "horizon_for"]

MEASURED_AT = 100
"""Lists are judged by ndcg at this length."""
MOST_SCORES = 60_000_000
"""So many scores (users x products, 4 bytes each) are held while weights are tried."""
MOST_USERS, FEWEST_USERS = 3_000, 30
LOOKS = 8
"""How often the ranking is measured over the horizon; from FIRST_LOOK of it on."""
FIRST_LOOK = 0.4
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
MODESTY = 0.005
"""Of two weights, the smaller is taken unless the greater ranks better by so large a share: less to overfit with."""
TRENDS = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0)


def horizon_for(purchases: int) -> int:
    """Return the epochs to plan for: fewer passes over a longer log, from 32 down to 8."""
    return int(min(32, max(8, round(2.2e6 / max(purchases, 1)))))


def decay_for(log: Purchases) -> float:
    """Return a decay that falls with the mean history of the users, .07 · min(1, √(10 / mean)): long histories say more."""
    users = np.count_nonzero(np.bincount(log.user_rows, minlength=1))
    return float(0.07 * min(1.0, (10 * users / max(len(log), 1)) ** 0.5))


def choose_settings(
    log: Purchases, config: Config, seed: int, *, crew: Crew, watch: Watcher
) -> tuple[Config, Mapping[str, Any]]:
    """Return the settings with nothing left to choose, and what was measured on the way.

    A fifth of the users' purchases, or the last tenth of the days where there are times, is held out of the log; a model is
    learned from the rest and looked at now and then; the epoch that ranks the held-out products best is taken, and then the weights
    of the memory and the trend, one after the other. A log too small to hold anything out gets the middle of the road.
    """
    if config.decay is None:
        config = dataclasses.replace(config, decay=decay_for(log))
    if not config.chooses:
        return config, {}
    horizon = config.horizon or config.epochs or horizon_for(len(log))
    trial = _hold_out(log, seed)
    if trial is None:
        return _settled(config, horizon, horizon, (0.0, 0.0, 0.0)), {
            "chosen": "nothing could be held out of so small a log"
        }
    planned = dataclasses.replace(config, horizon=horizon, epochs=config.epochs or horizon)
    epoch, curve, taste = _choose_epoch(trial, planned, seed, crew, watch)
    weights, before, after = _choose_weights(trial, planned, taste, crew)
    return _settled(config, horizon, epoch, weights), {
        "held_out": trial.description,
        "users": len(trial.users),
        "measure": f"ndcg@{MEASURED_AT}",
        "by_epoch": curve,
        "taste": before,
        "with_memory": after,
    }


@dataclass(frozen=True, slots=True)
class _Trial:
    """A log without its held-out part, and the users whose lists are judged."""

    log: Purchases
    histories: Histories
    users: Rows
    baskets: Histories
    held_out: Histories
    description: str


def _hold_out(log: Purchases, seed: int) -> _Trial | None:
    rng = np.random.default_rng([seed, 3])
    for split in (_by_time, _at_random):
        parts = split(log, rng)
        if parts is not None:
            trial = _trial(parts, rng)
            if len(trial.users) >= (FEWEST_USERS if split is _by_time else 1):
                return trial
    return None


def _by_time(log: Purchases, _: np.random.Generator) -> Split | None:
    if log.times is None:
        return None
    try:
        return hold_out_time(log)
    except DataError:
        return None


def _at_random(log: Purchases, rng: np.random.Generator) -> Split | None:
    try:
        return hold_out_random(log, rng=rng)
    except DataError:
        return None


def _trial(parts: Split, rng: np.random.Generator) -> _Trial:
    """Judge users with a history, by products that they had not bought and that somebody had."""
    histories, later = parts.train.histories(), parts.held_out.histories()
    products = len(parts.train.products)
    users = np.repeat(np.arange(len(later.offsets) - 1), np.diff(later.offsets))
    pairs = users * products + later.products
    known_users = np.repeat(np.arange(len(later.offsets) - 1), np.diff(histories.offsets))
    bought = np.bincount(histories.products, minlength=products) > 0
    fresh = bought[later.products] & (np.diff(histories.offsets) > 0)[users]
    fresh &= ~np.isin(pairs, known_users * products + histories.products)
    judged = np.unique(users[fresh])
    most = max(FEWEST_USERS, min(MOST_USERS, MOST_SCORES // max(products, 1)))
    if len(judged) > most:
        judged = np.sort(rng.choice(judged, most, replace=False))
    wanted = fresh & np.isin(users, judged)
    held_offsets = np.concatenate(
        ([0], np.cumsum(np.bincount(users[wanted], minlength=len(later.offsets) - 1)[judged]))
    )
    offsets, places = gather_lists(histories.offsets, judged)
    return _Trial(
        parts.train,
        histories,
        judged.astype(np.int32),
        Histories(offsets, histories.products[places]),
        Histories(held_offsets.astype(np.int64), later.products[wanted]),
        parts.description,
    )


def _choose_epoch(
    trial: _Trial, config: Config, seed: int, crew: Crew, watch: Watcher
) -> tuple[int, dict[str, float], Floats]:
    """Return the epoch that ranks best, what each look measured, and the taste's scores ``float32[Q, P]`` then."""
    learner = Composed.start(trial.histories, len(trial.log.products), config, seed)
    horizon = config.epochs or 1
    curve: dict[str, float] = {}
    best: list[tuple[float, int, Floats]] = []
    every = max(1, horizon // LOOKS)

    def look(epoch: int) -> None:
        last = epoch == horizon
        if not last and (epoch % every or epoch < FIRST_LOOK * horizon):
            return
        taste = _taste_scores(learner, trial, config, crew)
        value = _ndcg(trial, config, taste, None, (0.0, 0.0, 0.0), crew)
        curve[str(epoch)] = value
        if not best or value > best[0][0]:
            best[:] = [(value, epoch, taste)]

    run_epochs(learner, epochs=horizon, watch=watch, crew=crew, stage="choosing", after=look)
    return best[0][1], curve, best[0][2]


def _taste_scores(learner: Composed, trial: _Trial, config: Config, crew: Crew) -> Floats:
    vectors, bias = stacked(learner.members)
    queries = np.empty((len(trial.users), vectors.shape[1]), np.float32)
    baskets = trial.baskets
    crew.run(
        lambda low, high: compose_baskets(
            low, high, baskets.offsets, baskets.products, vectors, config.damping, queries
        ),
        len(queries),
    )
    scores: Floats = queries @ vectors.T
    scores += bias
    return scores


def _choose_weights(
    trial: _Trial, config: Config, taste: Floats, crew: Crew
) -> tuple[tuple[float, float, float], float, float]:
    """Return the best weights of counts, ridge and trend, the ndcg without and with them: one by one, twice around."""
    tables = memories(trial.histories, len(trial.log.products), config, crew)
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
            seen[weights] = _ndcg(trial, config, taste, tables, weights, crew)
        return seen[weights]

    best = [grid[0] for grid in grids]
    start = worth(*best)
    for part in (2, 0, 1, 0, 1, 2):
        tried = [[*best[:part], value, *best[part + 1 :]] for value in grids[part]]
        enough = max(worth(*weights) for weights in tried) * (1 - MODESTY)
        best = next(weights for weights in tried if worth(*weights) >= enough)
    counts, ridge, trend = best
    return (counts, ridge, trend), start, worth(*best)


def _ndcg(
    trial: _Trial,
    config: Config,
    taste: Floats,
    tables: tuple[Memory, Memory] | None,
    weights: tuple[float, float, float],
    crew: Crew,
) -> float:
    nothing = Memory(np.zeros(taste.shape[1] + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    counts, ridge = tables or (nothing, nothing)
    trend = trend_of(trial.log) if weights[2] else np.zeros(taste.shape[1], np.float32)
    values = np.zeros(len(trial.users))

    def measure(low: int, high: int) -> None:
        ndcg_of_weights(
            low, high, taste, trial.baskets.offsets, trial.baskets.products, trial.held_out.offsets, trial.held_out.products,
            counts.offsets, counts.products, counts.weights, ridge.offsets, ridge.products, ridge.weights,
            trend, *weights, config.memory_damping, MEASURED_AT, values,
        )  # fmt: skip

    crew.run(measure, len(values))
    return float(values.mean())


def _grid(given: float | None, grid: tuple[float, ...]) -> tuple[float, ...]:
    return grid if given is None else (given,)


def _settled(config: Config, horizon: int, epochs: int, weights: tuple[float, float, float]) -> Config:
    counts, ridge, trend = weights
    return dataclasses.replace(
        config,
        horizon=horizon,
        epochs=config.epochs or epochs,
        count_weight=counts if config.count_weight is None else config.count_weight,
        ridge_weight=ridge if config.ridge_weight is None else config.ridge_weight,
        trend_weight=trend if config.trend_weight is None else config.trend_weight,
    )
