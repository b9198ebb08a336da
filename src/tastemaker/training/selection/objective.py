"""The objective that chooses itself: computed vectors or learned ones, by what ranks a held-out part better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import DEFAULT, Config
from tastemaker.training.learners.kinds import kind_of
from tastemaker.training.learners.learner import Taste
from tastemaker.training.learners.projected import Projected
from tastemaker.training.loop import EpochRun, run_epochs
from tastemaker.training.memory.co_occurrence import no_memory
from tastemaker.training.memory.spectral import rank_for
from tastemaker.training.progress import Watcher
from tastemaker.training.selection.choose_cosine import choose_cosine, with_cosine
from tastemaker.training.selection.choose_repeats import LearnedTables
from tastemaker.training.selection.effort import Chosen
from tastemaker.training.selection.in_time import has_more_than_pairs, tells_order
from tastemaker.training.selection.validation import MEASURED_AT, Validation, ndcg, nearly_best, taste_scores

__all__ = ["choose_objective", "choose_spectral", "computed", "with_objective"]

PROBE_EPOCHS, PROBE_PURCHASES = 2, 500_000
"""A taste learned in so few epochs tells whether learning is worth its time; of more purchases than these, one epoch does."""
HOPE = 1.5
"""How much better than such a probe a learned taste may become by all its epochs and the memory."""
SPECTRAL_WEIGHTS = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
"""Beside a bias of weight 1; the greatest within MODESTY of the best is taken, since sales alone flatter long lists."""
MODESTY = 0.005
FEWER, GAIN = 0.5, 0.01
"""Where the catalogue limits the directions, this share of them is tried, too, and must rank better by so much."""
TRENDS = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)


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
    learned in few epochs, and all of ``learn`` only if this probe leaves hope. ``learn`` gets what it has to be better than.
    """
    every = computed(validation, config, seed)
    projected = _fewer_or(every, validation, config, seed, pool)
    best = choose_spectral(validation, projected, pool)
    told: dict[str, Any] = {"spectral": _value(best)}
    if config.effort == "thorough":
        cosine = choose_cosine(validation, config, seed, every.within(pool)[0], pool=pool, watch=watch)
        told["cosine"] = _value(cosine)
        best = cosine if _value(cosine) > _value(best) else best
    softmax = config.changed(objective="softmax")
    told["probe"] = _probe(validation, softmax, seed, pool, watch)
    learned = learn(softmax, _value(best)) if told["probe"] * HOPE > _value(best) else None
    if learned is not None:
        told["softmax"] = _value(learned)
        best = learned if _value(learned) > _value(best) else best
    return best[0], best[1] | {"objective": told}, best[2]


def computed(validation: Validation, config: Config, seed: int) -> Projected:
    """Return what computes vectors from the log of a validation, their weights still open."""
    memory = config.memory
    config = config.changed(
        objective="spectral", members=1, epochs=1, horizon=1, memory_damping=config.taste.damping,
        count_weight=memory.count_weight or 0.0, ridge_weight=memory.ridge_weight or 0.0,
    )  # fmt: skip
    return Projected.start(validation.log, config, seed)


def _fewer_or(
    every: Projected, validation: Validation, config: Config, seed: int, pool: ThreadPool
) -> Projected:
    """Return a computed taste of fewer directions where these rank better, as on few products, or that of all directions.

    Beside vectors that are learned all of them rank better.
    """
    products, given = len(validation.log.products), config.memory
    most = rank_for(products, given)
    if given.spectral_rank != DEFAULT.memory.spectral_rank or most == given.spectral_rank:
        return every

    def worth(projected: Projected) -> float:
        spectrum = projected.within(pool)[0]
        flat = Taste(spectrum.outside, np.zeros(products, np.float32), baskets=spectrum.inside)
        scores = taste_scores(flat, validation, config, pool)
        return ndcg(validation, config, scores, None, (0.0, 0.0, 0.0), pool)

    fewer = computed(validation, config.changed(spectral_rank=round(most * FEWER)), seed)
    return fewer if worth(fewer) > worth(every) * (1 + GAIN) else every


def choose_spectral(validation: Validation, learner: Projected, pool: ThreadPool) -> Chosen:
    """Return the computed taste with the best weights of it and of the trend beside the bias.

    They are chosen by the whole spectral part, to which vectors and table together are close: the scores of the users judged cost
    one product, and a table as much as that of the model.
    """
    config = learner.config
    (spectrum, vectors), bias = learner.within(pool), learner.taste().bias
    nothing = no_memory(len(bias))
    flat = Taste(spectrum.outside, np.zeros_like(bias), baskets=spectrum.inside)
    whole = taste_scores(flat, validation, config, pool)
    scores = np.empty_like(whole)

    @cache
    def worth(weights: tuple[float, float]) -> float:
        """Divided by the weight, all scores rank alike."""
        weight, trend = weights
        np.add(whole, bias / np.float32(weight), out=scores)
        return ndcg(validation, config, scores, None, (0.0, 0.0, trend / weight), pool)

    given = config.memory.spectral_weight
    weights = SPECTRAL_WEIGHTS if not given else (given,)
    timed = config.trend.weight is None and validation.log.times is not None
    trends = TRENDS if timed else (config.trend.weight or 0.0,)
    weight, trend = nearly_best([(each, trends[0]) for each in weights], worth, MODESTY)
    weight, trend = nearly_best([(weight, each) for each in trends], worth, MODESTY)
    weight, trend = nearly_best([(each, trend) for each in weights], worth, MODESTY)
    taste = Taste(vectors * np.float32(weight**0.5), bias)
    alone = ndcg(
        validation, config, taste_scores(taste, validation, config, pool), None, (0.0, 0.0, 0.0), pool
    )
    told = {
        "held_out": validation.description,
        "users": len(validation.users),
        "measure": f"ndcg@{MEASURED_AT}",
        "by_epoch": {"1": alone},
        "taste": alone,
        "with_memory": worth((weight, trend)),
    }
    settled = config.changed(spectral_weight=weight, trend_weight=trend)
    table = learner.table(pool) if validation.by_time else None  # which choosing repeats goes on from
    return settled, told, LearnedTables(taste, (nothing, nothing), table)


def _value(chosen: tuple[Config, Mapping[str, Any], object]) -> float:
    return float(chosen[1]["with_memory"])


def _probe(validation: Validation, config: Config, seed: int, pool: ThreadPool, watch: Watcher) -> float:
    """Return the ndcg of a taste learned in a few epochs."""
    epochs = PROBE_EPOCHS if len(validation.log) <= PROBE_PURCHASES else 1
    config = config.changed(epochs=epochs, horizon=epochs)
    learner = kind_of(config).start(validation.log, config, seed)
    run_epochs(learner, epochs=epochs, run=EpochRun(pool, watch, stage="choosing, probe"))
    scores = taste_scores(learner.taste(), validation, config, pool)
    return ndcg(validation, config, scores, None, (0.0, 0.0, 0.0), pool)
