"""What a cosine taste needs to be chosen: its members are learned once, and the weights beside them follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.kernels.learning.cosine import GROUPS
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import DEFAULT, Config
from tastemaker.model.memory import Memory
from tastemaker.training.cosine.learner import Cosine, shares_of
from tastemaker.training.learners.learner import Taste
from tastemaker.training.loop import EpochRun, run_epochs
from tastemaker.training.memory.spectral import Spectrum, is_worth_trying
from tastemaker.training.progress import Watcher
from tastemaker.training.selection.effort import Chosen
from tastemaker.training.selection.validation import (
    Validation,
    Weights,
    better,
    ndcg_of_taste,
    nearly_best,
    taste_scores,
    told_of,
    weighing,
)
from tastemaker.types import Floats

__all__ = ["choose_cosine", "cosine_bytes", "with_cosine"]

MEMBERS, NARROWEST, EPOCHS = 4, 32, 12
"""Each member is as wide as the preset's vectors; where dimensions are given, none is narrower than this unless there is one."""
TEMPERATURES = (0.1, 0.15, 0.2)
TRIED_STEPS, TRIED_EPOCHS = 200, (2, EPOCHS)
"""One member tells how well a temperature suits the log, by about so many batches, in at least and at most so many epochs."""
PURCHASES_A_BATCH, NEGATIVES, RATE, SCALE = 10_000, 4_096, 0.01, 0.05
"""What suits this objective; the preset's own values are for softmax."""
SPECTRAL_WEIGHTS = (0.0, 0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BIAS_WEIGHTS = (1.0, 0.8, 0.6, 0.4)
RIDGE_WEIGHTS = (0.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
MODESTY = 0.002
"""Of two weights, the one nearer to the first is taken unless the other ranks better by at least this share."""


def with_cosine(config: Config) -> Config:
    """Return the settings with cosine for the objective, and what suits it wherever the preset's own value stands."""
    taste, own = config.taste, DEFAULT.taste
    members = MEMBERS
    if taste.dimensions != own.dimensions:  # which were given for all of them
        members = min(MEMBERS, max(1, taste.dimensions // NARROWEST))
    parts = (members if taste.members == own.members else taste.members) + (
        config.memory.spectral_weight != 0
    )
    suits = {
        "members": (taste.members, own.members, members),
        "batch": (taste.batch, own.batch, PURCHASES_A_BATCH),
        "negatives": (taste.negatives, own.negatives, NEGATIVES),
        "learning_rate": (taste.learning_rate, own.learning_rate, RATE),
        "initial_scale": (taste.initial_scale, own.initial_scale, SCALE),
        "epochs": (taste.epochs, None, EPOCHS),
        "dimensions": (taste.dimensions, own.dimensions, own.dimensions * parts),
    }
    changes = {name: better for name, (given, preset, better) in suits.items() if given == preset}
    changed = config.changed(changes, objective="cosine", memory_damping=taste.damping)
    return changed.changed(
        horizon=taste.horizon or changed.taste.epochs,
        count_weight=config.memory.count_weight or 0.0,
        ridge_weight=config.memory.ridge_weight or 0.0,
        trend_weight=config.trend.weight or 0.0,
    )


def cosine_bytes(log: Purchases, config: Config) -> int:
    """Return about how many bytes cosines need at most, beside the model's vectors; 0 where nobody asks for them."""
    taste = config.taste
    tried = taste.objective is None and config.effort == "thorough" and config.memory.spectral_weight is None
    if taste.objective != "cosine" and not (tried and is_worth_trying(log)):
        return 0
    taste = with_cosine(config).taste
    pairs, users, products = len(log), len(log.users), len(log.products)
    batch = min(users, -(-users * taste.batch // max(pairs, 1)))
    member = taste.dimensions // taste.members
    return 4 * products * (4 * taste.dimensions + 2 * member + batch) + 4 * GROUPS * batch * member


def choose_cosine(
    validation: Validation,
    config: Config,
    seed: int,
    known: tuple[Spectrum | None, Memory | None] = (None, None),
    *,
    pool: ThreadPool,
    watch: Watcher,
) -> Chosen:
    """Return the cosine taste with the best weights of its bias and of the spectral part beside it.

    They are chosen by the whole spectral part, to which the computed directions and the table together are close. What is
    ``known`` is a spectrum of the same histories, which is not computed again, and a regression, which is weighed beside both.
    """
    spectrum, ridge = known
    config, tried = _with_temperature(validation, with_cosine(config), seed, pool, watch)
    learner = Cosine.start(validation.log, config, seed)
    epochs = config.taste.epochs or 1
    run_epochs(learner, epochs=epochs, run=EpochRun(pool, watch, stage="choosing, cosine"))
    given, bias = config.memory.spectral_weight, config.taste.bias_weight
    spectrum = None if given == 0 else spectrum or learner.projected.within(pool)[0]
    worth = _weighing(validation, config, learner.members_taste(), (spectrum, ridge), pool)
    grids = (
        SPECTRAL_WEIGHTS if given is None else (given,),
        BIAS_WEIGHTS if bias == DEFAULT.taste.bias_weight else (bias,),
        (config.memory.ridge_weight or 0.0,) if ridge is None else RIDGE_WEIGHTS,
    )
    best: Weights = (grids[0][0], grids[1][0], grids[2][0])
    for part in (0, 1, 2, 0, 1, 2):
        best = better(best, part, grids[part], worth, MODESTY)
    spectral, bias, of_ridge = best
    members, together = worth([(0.0, bias, 0.0), best])
    told = told_of(validation, {str(epochs): members}, together) | tried
    width = config.taste.dimensions if spectral or given == 0 else sum(shares_of(config)[:-1])
    settled = config.changed(
        spectral_weight=spectral, bias_weight=bias, ridge_weight=of_ridge, dimensions=width
    )
    return settled, told, None


def _weighing(
    validation: Validation,
    config: Config,
    taste: Taste,
    beside: tuple[Spectrum | None, Memory | None],
    pool: ThreadPool,
) -> Callable[[list[Weights]], list[float]]:
    """Return what measures weights of the spectral part, the bias and the regression in the scores of all members."""
    (spectrum, ridge), flat = beside, np.zeros_like(taste.bias)
    cosines = taste_scores(Taste(taste.vectors, flat, baskets=taste.baskets), validation, config, pool)
    computed = np.zeros_like(cosines)
    if spectrum is not None:
        whole = Taste(spectrum.outside, flat, baskets=spectrum.inside)
        computed = taste_scores(whole, validation, config, pool)
    scores = np.empty_like(cosines)

    def dense(spectral: float, bias: float) -> Floats:
        np.multiply(computed, np.float32(spectral), out=scores)
        scores[:] += cosines
        scores[:] += taste.bias * np.float32(bias / (config.taste.bias_weight or 1.0))
        return scores

    def parted(weights: Weights) -> tuple[tuple[float, ...], Weights]:
        return weights[:2], (0.0, weights[2], 0.0)

    return weighing(validation, config, dense, ridge, parted, pool)


def _with_temperature(
    validation: Validation, config: Config, seed: int, pool: ThreadPool, watch: Watcher
) -> tuple[Config, dict[str, Any]]:
    """Return the settings with the temperature that ranks best by itself, and what each was worth.

    Only a thorough training tries others than the preset's own, each with one member in few epochs.
    """
    if config.effort != "thorough" or config.taste.temperature != DEFAULT.taste.temperature:
        return config, {}
    batches = max(1, round(len(validation.histories.products) / config.taste.batch))
    epochs = min(max(round(TRIED_STEPS / batches), TRIED_EPOCHS[0]), TRIED_EPOCHS[1])
    width = max(1, config.taste.dimensions // config.taste.members)
    few = config.changed(members=1, dimensions=width, epochs=epochs, horizon=epochs, spectral_weight=0.0)
    tried: dict[float, float] = {}
    for temperature in TEMPERATURES:
        learner = Cosine.start(validation.log, few.changed(temperature=temperature), seed)
        run_epochs(learner, epochs=epochs, run=EpochRun(pool, watch, stage="choosing, temperature"))
        tried[temperature] = ndcg_of_taste(validation, few, learner.members_taste(), pool)
    best = nearly_best(TEMPERATURES, tried.__getitem__, MODESTY)
    return config.changed(temperature=best), {"temperatures": {f"{t:g}": worth for t, worth in tried.items()}}
