"""The objective that chooses itself: computed vectors or learned ones, by what ranks a held-out part better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import DEFAULT, Config
from tastemaker.model.memory import Memory
from tastemaker.training.learners.composed import with_directions
from tastemaker.training.learners.kinds import kind_of
from tastemaker.training.learners.learner import Taste
from tastemaker.training.learners.projected import Projected
from tastemaker.training.loop import EpochRun, run_epochs
from tastemaker.training.memory.co_occurrence import memories, no_memory
from tastemaker.training.memory.spectral import rank_for
from tastemaker.training.progress import Watcher
from tastemaker.training.selection.choose_cosine import choose_cosine, with_cosine
from tastemaker.training.selection.choose_repeats import LearnedTables
from tastemaker.training.selection.effort import Chosen, choose_tail
from tastemaker.training.selection.in_time import has_more_than_pairs, tells_order
from tastemaker.training.selection.validation import (
    Validation,
    Weights,
    better,
    ndcg,
    ndcgs,
    taste_scores,
    told_of,
    weighing,
)
from tastemaker.types import Floats

__all__ = ["TRENDS", "choose_objective", "choose_spectral", "computed", "horizon_for", "with_objective"]

PROBE_EPOCHS, PROBE_PURCHASES = 2, 500_000
"""A taste learned in so few epochs tells whether learning is worth its time; of more purchases than these, one epoch does."""
HOPE = 1.1
"""How much better than such a probe, the regression beside it, a learned taste may become by all its epochs and the counts."""
SPECTRAL_WEIGHTS = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
"""Beside a bias of weight 1; the greatest within MODESTY of the best is taken, since sales alone flatter long lists."""
MODESTY = 0.005
FEWER, GAIN = (0.5, 0.25), 0.01
"""On few products these shares of the directions are tried, too, and must rank better by so much than the share before."""
RIDGE_WEIGHTS = (0.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0)
"""Of the regression among neighbours beside them; the smallest within MODESTY of the best is taken."""
FINER = 0.002
"""MODESTY where the regression stands beside other parts."""
BRINGS, EPOCHS = 0.005, 6
"""On few products a softmax taste must rank better by this share than what is computed, and by GAIN than cosines, which gain more
from the purchases held out. It has so many epochs, since the other parts say much already; a thorough training takes all."""
BESIDE = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0)
"""Weights of the spectral part beside a learned taste"""
TRENDS = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Of the trend beside what is learned or computed"""


def with_objective(log: Purchases, config: Config) -> Config:
    """Return the settings with softmax for the objective where it is left open and nothing else can be chosen.

    Open it stays for logs of bare pairs whose spectral part, epochs and memory are open, too: a setting that was given is for
    what is learned. Where vectors are computed, the memory is damped as they are, since it goes on where they end.
    """
    if config.taste.objective == "spectral":
        return config.changed(memory_damping=config.taste.damping)
    if config.taste.objective == "cosine":
        return with_cosine(config)
    if config.taste.objective is not None:
        return config
    left = (config.memory.spectral_weight, config.memory.count_weight, config.memory.ridge_weight)
    is_open = left == (None, None, None) and config.taste.epochs is None
    if is_open and not has_more_than_pairs(log, config) and not tells_order(log, config):
        return config
    return config.changed(objective="softmax")


def horizon_for(purchases: int) -> int:
    """Return the epochs to plan for: fewer passes over a longer log, from 32 down to 8."""
    return int(min(32, max(8, round(2.2e6 / max(purchases, 1)))))


def choose_objective(
    validation: Validation,
    config: Config,
    seed: int,
    learn: Callable[[Config, float], Chosen],
    *,
    pool: ThreadPool,
    watch: Watcher,
) -> Chosen:
    """Return the computed taste, or the learned one where that ranks better.

    What is computed costs seconds, so it comes first; a thorough training learns a cosine taste next. Then a softmax taste is
    learned in few epochs, and all of ``learn`` only if this probe leaves hope. ``learn`` gets what it has to be better than. The
    regression stands beside what is computed and cosines; on few products also beside a softmax taste, with all directions.
    """
    few = has_few_products(validation.log, config)
    every = computed(validation, _as_wide(validation.log, config), seed)
    projected = _fewer_or(every, validation, config, seed, pool) if few else every
    ridge = _regression(validation, config, pool)
    best = choose_spectral(validation, projected, pool, ridge)
    told: dict[str, Any] = {"spectral": _value(best)}
    if config.effort == "thorough":
        cosine = choose_cosine(
            validation, config, seed, (every.within(pool)[0], ridge), pool=pool, watch=watch
        )
        told["cosine"] = _value(cosine)
        best = cosine if _value(cosine) > _value(best) else best
    softmax = config.changed(objective="softmax")
    if few:
        beside = _learned_beside(validation, softmax, seed, (projected, ridge), pool=pool, watch=watch)
        told["softmax"] = _value(beside)
        if _value(beside) > _value(best) * (1 + (BRINGS if best[0].taste.objective == "spectral" else GAIN)):
            best = choose_tail(validation, beside, pool) if config.effort == "thorough" else beside
        return best[0], best[1] | {"objective": told}, best[2]
    told["probe"] = _probe(validation, softmax, seed, ridge, pool=pool, watch=watch)
    if told["probe"] * HOPE > _value(best):
        learned = learn(softmax, _value(best))
        told["softmax"] = _value(learned)
        best = learned if _value(learned) > _value(best) else best
    return best[0], best[1] | {"objective": told}, best[2]


def has_few_products(log: Purchases, config: Config) -> bool:
    """Return whether the catalogue limits the directions: then they, the regression and a learned taste may stand side by side."""
    given = config.memory.spectral_rank
    return given == DEFAULT.memory.spectral_rank and rank_for(len(log.products), config.memory) < given


def computed(validation: Validation, config: Config, seed: int) -> Projected:
    """Return what computes vectors from the log of a validation, their weights still open."""
    memory = config.memory
    config = config.changed(
        objective="spectral", members=1, epochs=1, horizon=1, memory_damping=config.taste.damping,
        count_weight=memory.count_weight or 0.0, ridge_weight=memory.ridge_weight or 0.0,
    )  # fmt: skip
    return Projected.start(validation.log, config, seed)


def _regression(validation: Validation, config: Config, pool: ThreadPool) -> Memory:
    products = len(validation.log.products)
    return memories(validation.histories, products, config.memory, pool, counts=False)[1]


def _fewer_or(
    every: Projected, validation: Validation, config: Config, seed: int, pool: ThreadPool
) -> Projected:
    """Return a computed taste of fewer directions where these rank better, as on few products, or that of all directions.

    Beside cosines all of them rank better.
    """
    most = rank_for(len(validation.log.products), config.memory)
    best, value = every, _worth(every, validation, pool)
    for share in FEWER:
        some = config.changed(spectral_rank=max(1, round(most * share)))
        fewer = computed(validation, _as_wide(validation.log, some), seed)
        found = _worth(fewer, validation, pool)
        if found <= value * (1 + GAIN):
            break
        best, value = fewer, found
    return best


def _as_wide(log: Purchases, config: Config) -> Config:
    """Return the settings of vectors as wide as there are directions, with no table beside them, unless a width was given."""
    preset = DEFAULT.taste.dimensions, DEFAULT.memory.spectral_partners
    if (config.taste.dimensions, config.memory.spectral_partners) != preset:
        return config
    rank = rank_for(len(log.products), config.memory)
    return config.changed(spectral_rank=rank, dimensions=rank, spectral_partners=0)


def _worth(projected: Projected, validation: Validation, pool: ThreadPool) -> float:
    """Return the ndcg of the whole spectral part by itself."""
    return _mean(_whole(projected, validation, pool), validation, projected.config, pool)


def _mean(scores: Floats, validation: Validation, config: Config, pool: ThreadPool) -> float:
    return ndcg(validation, config, scores, None, (0.0, 0.0, 0.0), pool)


def _whole(projected: Projected, validation: Validation, pool: ThreadPool) -> Floats:
    """Return the scores of the whole spectral part."""
    spectrum = projected.within(pool)[0]
    flat = np.zeros(len(spectrum.outside), np.float32)
    taste = Taste(spectrum.outside, flat, baskets=spectrum.inside)
    return taste_scores(taste, validation, projected.config, pool)


def _weighing(
    validation: Validation, config: Config, own: Floats, whole: Floats, ridge: Memory | None, pool: ThreadPool
) -> Callable[[list[Weights]], list[float]]:
    """Return what measures weights of the spectral part ``whole``, the regression and the trend beside ``own`` scores."""
    scores = np.empty_like(whole)

    def dense(spectral: float) -> Floats:
        np.multiply(whole, np.float32(spectral), out=scores)
        return np.add(scores, own, out=scores)

    def parted(weights: Weights) -> tuple[tuple[float, ...], Weights]:
        return weights[:1], (0.0, *weights[1:])

    return weighing(validation, config, dense, ridge, parted, pool)


def _best_weights(
    spectrals: Sequence[float],
    validation: Validation,
    config: Config,
    ridge: Memory | None,
    worth: Callable[[list[Weights]], list[float]],
) -> Weights:
    """Return the best weights of the spectral part, of the regression if there is one, and of an open trend if there are times."""
    timed = config.trend.weight is None and validation.log.times is not None
    grids = (
        spectrals,
        (config.memory.ridge_weight or 0.0,) if ridge is None else RIDGE_WEIGHTS,
        TRENDS if timed else (config.trend.weight or 0.0,),
    )
    best: Weights = (grids[0][0], grids[1][0], grids[2][0])
    for part in (0, 2, 1, 0, 1):
        best = better(best, part, grids[part], worth, MODESTY if ridge is None else FINER)
    return best


def choose_spectral(
    validation: Validation, learner: Projected, pool: ThreadPool, ridge: Memory | None = None
) -> Chosen:
    """Return the computed taste with the best weights of it, of the trend, and of a regression if there is one, beside the bias.

    They are chosen by the whole spectral part, to which vectors and table together are close: the scores of the users judged cost
    one product, and a table as much as that of the model.
    """
    config, bias = learner.config, learner.taste().bias
    worth = _weighing(validation, config, bias, _whole(learner, validation, pool), ridge, pool)
    given = config.memory.spectral_weight
    best = _best_weights((given,) if given else SPECTRAL_WEIGHTS, validation, config, ridge, worth)
    taste = learner.weighed(best[0], pool)
    if config.memory.spectral_partners:
        alone = _mean(taste_scores(taste, validation, config, pool), validation, config, pool)
    else:
        alone = worth([(best[0], 0.0, 0.0)])[0]
    settled = config.changed(spectral_weight=best[0], ridge_weight=best[1], trend_weight=best[2])
    nothing = no_memory(len(bias))
    table = learner.table(pool) if validation.by_time else None  # which choosing repeats goes on from
    tables = LearnedTables(taste, (nothing, ridge or nothing), table)
    return settled, told_of(validation, {"1": alone}, worth([best])[0]), tables


def _learned_beside(
    validation: Validation,
    config: Config,
    seed: int,
    parts: tuple[Projected, Memory | None],
    *,
    pool: ThreadPool,
    watch: Watcher,
) -> Chosen:
    """Return a softmax taste with the best weights of the spectral part behind its vectors and of the regression beside them."""
    (projected, ridge), planned = parts, config.taste.horizon or horizon_for(len(validation.log))
    epochs = min(planned, EPOCHS) if config.effort == "standard" else planned
    rank = projected.config.memory.spectral_rank
    config = config.changed(
        epochs=epochs, horizon=epochs, count_weight=0.0, spectral_rank=rank, spectral_partners=0
    )
    learner = kind_of(config).start(validation.log, config, seed)
    run_epochs(learner, epochs=epochs, run=EpochRun(pool, watch, stage="choosing"))
    taste, whole = learner.taste(), _whole(projected, validation, pool)
    worth = _weighing(validation, config, taste_scores(taste, validation, config, pool), whole, ridge, pool)
    best = _best_weights(BESIDE, validation, config, ridge, worth)
    alone, together = worth([(0.0, 0.0, 0.0), best])
    settled = config.changed(spectral_weight=best[0], ridge_weight=best[1], trend_weight=best[2])
    nothing, spectrum = no_memory(len(taste.bias)), projected.within(pool)[0]
    tables = LearnedTables(with_directions(taste, spectrum, best[0]), (nothing, ridge or nothing))
    return settled, told_of(validation, {str(epochs): alone}, together), tables


def _value(chosen: tuple[Config, Mapping[str, Any], object]) -> float:
    return float(chosen[1]["with_memory"])


def _probe(
    validation: Validation, config: Config, seed: int, ridge: Memory, *, pool: ThreadPool, watch: Watcher
) -> float:
    """Return the ndcg of a taste learned in a few epochs, with the best weight of the regression beside it."""
    epochs = PROBE_EPOCHS if len(validation.log) <= PROBE_PURCHASES else 1
    config = config.changed(epochs=epochs, horizon=epochs)
    learner = kind_of(config).start(validation.log, config, seed)
    run_epochs(learner, epochs=epochs, run=EpochRun(pool, watch, stage="choosing, probe"))
    scores = taste_scores(learner.taste(), validation, config, pool)
    tables = no_memory(scores.shape[1]), ridge
    weights = [(0.0, weight, 0.0) for weight in RIDGE_WEIGHTS]
    return max(ndcgs(validation, config, scores, tables, weights, pool))
