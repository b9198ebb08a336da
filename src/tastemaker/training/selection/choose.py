"""Settings that choose themselves: a part is held out of train, and what ranks it best is taken. No test set is ever seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.repeats import times_bought
from tastemaker.errors import SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.taste_model import Memory
from tastemaker.training.learners.kinds import kind_of
from tastemaker.training.learners.learner import Taste
from tastemaker.training.loop import EpochRun, run_epochs
from tastemaker.training.memory.co_occurrence import added, memories, no_memory
from tastemaker.training.memory.numbers import are_a_shops_own, number_memory, numbers_of
from tastemaker.training.memory.spectral import is_worth_trying, spectral_memory
from tastemaker.training.progress import Watcher
from tastemaker.training.selection.choose_cosine import choose_cosine
from tastemaker.training.selection.choose_repeats import Kept, LearnedTables, choose_repeats, never_again
from tastemaker.training.selection.effort import Chosen, choose_tail, quick, quick_spectral, search
from tastemaker.training.selection.in_time import (
    Judged,
    Trials,
    choose_in_time,
    has_more_than_pairs,
    is_left_open,
    judged_in_time,
    steady,
    tells_order,
    worth_in_time,
)
from tastemaker.training.selection.objective import (
    TRENDS,
    choose_objective,
    choose_spectral,
    computed,
    horizon_for,
    with_objective,
)
from tastemaker.training.selection.validation import (
    MEASURED_AT,
    Validation,
    Weights,
    better,
    hold_out,
    ndcg,
    ndcg_of_taste,
    ndcgs,
    nearly_best,
    remembering,
    taste_scores,
)
from tastemaker.types import Floats

__all__ = ["Settled", "choose_settings", "decay_for", "horizon_for", "settle"]

LOOKS = 8
"""How often the ranking is measured over the horizon; from FIRST_LOOK of it on."""
FIRST_LOOK = 0.4
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
GREATER = (WEIGHTS[-1], 128.0, 256.0)
"""Where the greatest weight is chosen, greater ones are tried, too: on dense histories the regression may say nearly all."""
MODESTY = 0.005
"""Of two weights, the smaller is taken unless the greater ranks better by at least this share, to overfit less."""
SPECTRAL_WEIGHTS = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SPECTRAL_GAIN = 0.01
"""The spectral part must rank better than counts and ridge by at least this share, since it costs more."""
NUMBER_WEIGHTS = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""At 1 a lift counts as the logarithm of a likelihood, which it is."""
NUMBER_GAIN = 0.02
"""Numbers must rank better than without them by at least this share, since they are no purchases."""


def decay_for(log: Purchases) -> float:
    """Return a decay that falls with the users' mean history, .07 · min(1, √(10 / mean)): long histories need less of it."""
    users = np.count_nonzero(np.bincount(log.user_rows, minlength=1))
    return float(0.07 * min(1.0, (10 * users / max(len(log), 1)) ** 0.5))


@dataclass(frozen=True, slots=True)
class Settled:
    """What choosing comes to."""

    config: Config
    """Nothing left to choose"""
    metrics: Mapping[str, Any]
    """What was measured on the way"""
    kept: Kept | None = None
    """Of a long log, what was learned and need not be learned again"""


def choose_settings(
    log: Purchases, config: Config, seed: int, *, pool: ThreadPool, watch: Watcher
) -> tuple[Config, Mapping[str, Any]]:
    """Return the settings with nothing left to choose, and what was measured on the way (`settle`)."""
    settled = settle(log, config, seed, pool=pool, watch=watch)
    return settled.config, settled.metrics


def settle(log: Purchases, config: Config, seed: int, *, pool: ThreadPool, watch: Watcher) -> Settled:
    """Choose all that is left to choose.

    A fifth of the users' purchases, or the last tenth of the days where there are times, is held out of the log; a model is
    learned from the rest and looked at now and then; the epoch that ranks the held-out products best is taken, and then the weights
    of the memory and the trend, one after the other, and the spectral part where histories are long, or else that of catalogue
    numbers. What repeats weigh is chosen
    last (`choose_repeats`) and changes none of that. A log too small to hold anything out gets medium settings. A quick
    training leaves less to choose, and a thorough one tries several tastes in this way (`effort`). Of a long log without times a
    sample of users is held out of; the taste that is chosen has then been learned, and is kept (`Settled.kept`).
    """
    decay_is_given = config.taste.decay is not None
    if config.effort == "quick":
        config = _quick(log, config)
    if config.taste.decay is None:
        config = config.changed(decay=decay_for(log))
    if config.chooses_repeats and times_bought(log) is None:
        config = never_again(config)
    if config.memory.spectral_weight is None and not is_worth_trying(log):
        config = config.changed(spectral_weight=0.0)
    config = with_numbers(log, with_objective(log, config))
    told: dict[str, Any] = {}
    learned: LearnedTables | None = None
    repeats: Validation | None = None
    horizon = config.taste.horizon or config.taste.epochs or horizon_for(len(log))
    more = has_more_than_pairs(log, config)
    if config.taste.objective in ("spectral", "cosine"):
        config = steady(config)  # which has nothing that fades
    elif tells_order(log, config) or is_left_open(log, config) or (config.chooses and more):
        found = _choose_in_time(log, config, horizon, seed, decay_is_given=decay_is_given, run=(pool, watch))
        if found is not None:
            config, told, learned = found
    if config.chooses:
        many = config.effort == "thorough" and config.taste.objective == "softmax"
        validation = hold_out(log, seed, many=many)
        if validation is None:
            settled = _settled(_unmeasured(config), horizon, horizon, config)
            small = {"chosen": "nothing could be held out of so small a log"}
            return Settled(_with_tail(never_again(steady(settled))), small)

        def learn(open_settings: Config, least: float = 0.0) -> Chosen:
            run, ends = (seed, pool, watch), (horizon, least)
            return _choose_learned(validation, open_settings, ends, run, decay_is_given=decay_is_given)

        config, told, learned = _choose_taste(validation, config, seed, learn, pool=pool, watch=watch)
        repeats = validation.repeats
        learned = learned if validation.by_time or repeats else None
    config = steady(config)
    if config.chooses_repeats:
        config, more_told = choose_repeats(log, config, seed, learned, repeats, pool=pool, watch=watch)
        told = {**told, **more_told}
    if log.weights is not None and log.times is None:
        why = "since ratings and quantities weigh dated purchases, and the log has no times"
        told = {**told, "weight": {"kept": False, "why": why}}
    return Settled(_with_tail(config), told, None if learned is None else learned.kept)


def _with_tail(config: Config) -> Config:
    """Return the settings with the dial of the long tail at 0 where it was left open."""
    return config.changed(popularity_tail=config.popularity.tail or 0.0)


def _choose_taste(
    validation: Validation,
    config: Config,
    seed: int,
    learn: Callable[..., Chosen],
    *,
    pool: ThreadPool,
    watch: Watcher,
) -> Chosen:
    """Choose for the objective of the settings, or the objective, too."""
    if config.taste.objective == "softmax":
        return learn(config)
    if config.taste.objective == "spectral":
        return choose_spectral(validation, computed(validation, config, seed), pool)
    if config.taste.objective == "cosine":
        return choose_cosine(validation, config, seed, pool=pool, watch=watch)
    return choose_objective(validation, config, seed, learn, pool=pool, watch=watch)


def with_numbers(log: Purchases, config: Config) -> Config:
    """Return the settings with no weight for numbers where it is left open and nothing could be chosen.

    Open it stays for learned vectors, on logs of bare pairs with short histories and no times, whose ids are a shop's own numbers
    and whose other weights are open, too. Raises `SettingProblem` for a weight that was given where ids are no numbers.
    """
    memory, given = config.memory, config.memory.number_weight
    if given == 0:
        return config
    numbers = numbers_of(log.products)
    if given is not None:
        if numbers is None:
            raise SettingProblem(
                f"memory.number_weight is {given:g}, but fewer than nine in ten ids of products are numbers; leave it at 0."
            )
        return config
    is_open = memory.count_weight is None and memory.ridge_weight is None and not memory.spectral_weight
    is_bare = (
        log.times is None and not has_more_than_pairs(log, config) and config.taste.objective == "softmax"
    )
    if is_open and is_bare and numbers is not None and are_a_shops_own(numbers) and not is_worth_trying(log):
        return config
    return config.changed(number_weight=0.0)


def _quick(log: Purchases, config: Config) -> Config:
    """Return the settings with less left to choose: with nothing, where vectors may be computed."""
    if is_worth_trying(log) and with_objective(log, config).taste.objective is None:
        return quick_spectral(config, len(log.products))
    config = quick(log, config)
    return config if has_more_than_pairs(log, config) else steady(config)


def _unmeasured(config: Config) -> Config:
    """Return the settings with an objective, and a weight for vectors that are computed, where nothing tells a better one."""
    if config.taste.objective == "cosine":
        return config.changed(spectral_weight=config.memory.spectral_weight or 0.0)
    if config.taste.objective != "spectral":
        return config.changed(objective="softmax")
    return config.changed(epochs=1, spectral_weight=config.memory.spectral_weight or 1.0)


def _choose_learned(
    validation: Validation,
    config: Config,
    ends: tuple[int, float],
    run: tuple[int, ThreadPool, Watcher],
    *,
    decay_is_given: bool,
) -> Chosen:
    """Choose for vectors that are learned, up to a horizon; a thorough training tries several tastes if one is worth the least."""
    horizon, least = ends
    planned = config.changed(horizon=horizon, epochs=config.taste.epochs or horizon)
    tables = _tables(validation, planned, run[1])

    def choose(changes: Mapping[str, object]) -> Chosen:
        asked = planned.changed(changes), config.changed(changes)
        return _choose(validation, asked, tables, *run)

    if config.effort == "thorough":
        found = search(config, choose, decay_is_given=decay_is_given, least=least)
        return choose_tail(validation, found, run[1])
    return choose({})


def _choose_in_time(
    log: Purchases,
    config: Config,
    horizon: int,
    seed: int,
    *,
    decay_is_given: bool,
    run: tuple[ThreadPool, Watcher],
) -> Chosen | None:
    """Choose by questions in the order of time.

    A thorough training asks them of several tastes, too, each under the settings that suit the own one; those of the best are
    chosen anew, for what it learned already.
    """
    pool, watch = run
    trials = Trials.of(log, config, seed)
    if trials is None:
        return None

    def learned(given: Config) -> Judged:
        return judged_in_time(trials, given, horizon, pool=pool, watch=watch)

    first = choose_in_time(trials, config, horizon, learned(config))
    if config.effort != "thorough" or not config.chooses:
        return first
    epochs = config.taste.epochs

    def choose(changes: Mapping[str, object]) -> tuple[Config, dict[str, Any], Judged | None]:
        if not changes:
            return first[0], first[1], None
        given = first[0].changed(changes, epochs=epochs)
        judged = learned(given)
        settled, value = worth_in_time(trials, given, horizon, judged)
        return settled, {"with_memory": value}, judged

    broad = is_worth_trying(log)  # where histories are long, a batch holds but a few users
    settled, told, judged = search(config, choose, decay_is_given=decay_is_given, broad=broad)
    best = first
    if judged is not None:
        taste = replace(settled.taste, epochs=epochs, horizon=config.taste.horizon)
        best = choose_in_time(trials, replace(config, taste=taste), horizon, judged)
    return best[0], best[1] | {"tried": told["tried"]}, best[2]


def _tables(validation: Validation, config: Config, pool: ThreadPool) -> Callable[..., LearnedTables]:
    """Return what puts a taste beside the parts of the memory that may weigh something, which no taste changes."""
    memory, histories, catalogue = config.memory, validation.histories, validation.log.products
    counts, ridge = memory.count_weight != 0, memory.ridge_weight != 0
    tables = memories(histories, len(catalogue), memory, pool, counts=counts, ridge=ridge)
    spectral = (
        None if memory.spectral_weight == 0 else spectral_memory(histories, len(catalogue), memory, pool)
    )
    numbers = None if memory.number_weight == 0 else numbers_of(catalogue)
    by_number = None if numbers is None else number_memory(histories, numbers)
    return partial(LearnedTables, tables=tables, spectral=spectral, numbers=by_number)


def _choose(
    validation: Validation,
    asked: tuple[Config, Config],
    tables: Callable[..., LearnedTables],
    seed: int,
    pool: ThreadPool,
    watch: Watcher,
) -> Chosen:
    """Choose the epochs and then the weights, for settings as planned and as given."""
    planned, given = asked
    wanted = None if given.taste.epochs is None else planned.taste.epochs
    curve, learned, kept = _choose_epoch(validation, planned, wanted, seed, pool, watch)
    epoch = learned.epoch
    whole = tables(learned.taste, kept=kept)
    weighed, worth = _choose_weights(validation, planned, whole, learned.scores, pool)
    told = {
        "held_out": validation.description,
        "users": len(validation.users),
        "measure": f"ndcg@{MEASURED_AT}",
        "by_epoch": curve,
        "taste": curve[str(epoch)],
        **worth,
    }
    if validation.wide is not None:  # more users looked at the epochs than choose weights
        alone = ndcg_of_taste(replace(validation, wide=None), planned, learned.taste, pool)
        told |= {"taste": alone, "users_of_epochs": len(validation.wide.users)}
    return _settled(given, planned.taste.horizon, epoch, weighed), told, whole


@dataclass(frozen=True, slots=True)
class Look:
    """What the learner has at the end of an epoch."""

    value: float
    epoch: int
    taste: Taste
    state: Mapping[str, Floats] | None
    """Kept where next to nothing was held out"""
    scores: Floats | None = None
    """``float32[Q, P]``, of the judged users, kept where it is the only look"""


def _choose_epoch(
    validation: Validation, config: Config, wanted: int | None, seed: int, pool: ThreadPool, watch: Watcher
) -> tuple[dict[str, float], Look, Kept | None]:
    """Return what each look measured, and the one of the epoch that ranks best, or that is wanted."""
    learner = kind_of(config).start(validation.log, config, seed)
    horizon = config.taste.epochs or 1
    curve: dict[str, float] = {}
    best: list[Look] = []
    every = max(1, horizon // LOOKS)

    def look(epoch: int) -> None:
        last = epoch == horizon
        if not last and (config.effort == "quick" or epoch % every or epoch < FIRST_LOOK * horizon):
            return
        taste, scores = learner.taste(), None
        if config.effort == "quick" and validation.wide is None:
            scores = taste_scores(taste, validation, config, pool)
            value = ndcg(validation, config, scores, None, (0.0, 0.0, 0.0), pool)
        else:
            value = ndcg_of_taste(validation, config, taste, pool)
        curve[str(epoch)] = value
        if epoch == wanted or (wanted is None and (not best or value > best[0].value)):
            best.clear()  # before the next state is copied
            state = None if validation.unseen is None else learner.state()
            best.append(Look(value, epoch, taste, state, scores))

    run = EpochRun(pool, watch, stage="choosing")
    course, _ = run_epochs(learner, epochs=horizon, run=run, after=look)
    state, unseen = best[0].state, validation.unseen
    kept = None if state is None or unseen is None else Kept(state, tuple(course[: best[0].epoch]), unseen)
    return curve, best[0], kept


def _choose_weights(
    validation: Validation, config: Config, learned: LearnedTables, scores: Floats | None, pool: ThreadPool
) -> tuple[Config, dict[str, Any]]:
    """Return the settings with the best weights of the memory and the trend, and the ndcg with them.

    ``scores`` are those of the taste, if they are there.

    Where histories are long, the spectral part is tried in the place of counts and ridge, not beside them: held-out parts flatter
    a sum of many parts.
    """
    taste = taste_scores(learned.taste, validation, config, pool) if scores is None else scores
    weights, best = _choose_sparse(validation, config, taste, learned.tables, pool)
    found = config.changed(
        count_weight=weights[0], ridge_weight=weights[1], trend_weight=weights[2], number_weight=0.0
    )
    if learned.numbers is not None and learned.spectral is None:
        return _choose_number(validation, config, found.changed(spectral_weight=0.0), learned, taste, pool)
    if learned.spectral is None:
        return found.changed(spectral_weight=0.0), {"with_memory": best}
    given = config.memory.spectral_weight
    alone = config.changed(
        count_weight=config.memory.count_weight or 0.0,
        ridge_weight=config.memory.ridge_weight or 0.0,
        trend_weight=weights[2],
        number_weight=config.memory.number_weight or 0.0,
    )
    spectrals = SPECTRAL_WEIGHTS if given is None else (given,)
    mixed = [learned.weighed(alone.changed(spectral_weight=weight)) for weight in spectrals]
    values = ndcgs(validation, config, taste, mixed[0][0], [weights for _, weights in mixed], pool)
    tried = dict(zip(spectrals, values, strict=True))
    if given is None and max(tried.values()) < best * (1 + SPECTRAL_GAIN):
        return found.changed(spectral_weight=0.0), {"with_memory": best}
    chosen = nearly_best(list(tried), tried.__getitem__, MODESTY)
    return alone.changed(spectral_weight=chosen), {"with_memory": tried[chosen]}


def _choose_number(
    validation: Validation,
    config: Config,
    found: Config,
    learned: LearnedTables,
    taste: Floats,
    pool: ThreadPool,
) -> tuple[Config, dict[str, Any]]:
    """Return ``found``, whose other weights are chosen, with the best weight of numbers, and the ndcg without and with them."""
    products, given = taste.shape[1], config.memory.number_weight
    parts = [
        (found.memory.count_weight or 0.0, learned.tables[0]),
        (found.memory.ridge_weight or 0.0, learned.tables[1]),
    ]
    others, numbers = added(parts, products) or no_memory(products), learned.numbers or no_memory(products)

    grid = NUMBER_WEIGHTS if given is None else (0.0, given)
    weights = [(1.0, number, found.trend.weight or 0.0) for number in grid]
    values = ndcgs(validation, config, taste, (others, numbers), weights, pool)
    tried = dict(zip(grid, values, strict=True))
    chosen = nearly_best(list(tried), tried.__getitem__, MODESTY) if given is None else given
    if given is None and tried[chosen] < tried[0.0] * (1 + NUMBER_GAIN):
        chosen = 0.0
    told = {"with_memory": tried[chosen], "without_numbers": tried[0.0]}
    return found.changed(number_weight=chosen), told


def _choose_sparse(
    validation: Validation, config: Config, taste: Floats, tables: tuple[Memory, Memory], pool: ThreadPool
) -> tuple[Weights, float]:
    """Return the best weights of counts, ridge and trend and the ndcg with them: one by one, twice around."""
    timed = validation.log.times is not None
    grids = [
        _grid(config.memory.count_weight, WEIGHTS),
        _grid(config.memory.ridge_weight, WEIGHTS),
        _grid(config.trend.weight, TRENDS) if timed else (0.0,),
    ]
    worth = remembering(lambda tried: ndcgs(validation, config, taste, tables, tried, pool))
    best: Weights = (grids[0][0], grids[1][0], grids[2][0])
    for part in (2, 0, 1, 0, 1, 2):
        best = better(best, part, grids[part], worth, MODESTY)
    for part in (0, 1):
        if grids[part] == WEIGHTS and best[part] == WEIGHTS[-1]:
            best = better(best, part, GREATER, worth, MODESTY)
    return best, worth([best])[0]


def _grid(given: float | None, grid: tuple[float, ...]) -> tuple[float, ...]:
    return grid if given is None else (given,)


def _settled(given: Config, horizon: int, epochs: int, found: Config) -> Config:
    """Return the settings with what was found for each that was left open, and 0 where nothing was."""
    memory, better = given.memory, found.memory
    return given.changed(
        horizon=horizon,
        epochs=given.taste.epochs or epochs,
        count_weight=(better.count_weight or 0.0) if memory.count_weight is None else memory.count_weight,
        ridge_weight=(better.ridge_weight or 0.0) if memory.ridge_weight is None else memory.ridge_weight,
        trend_weight=(found.trend.weight or 0.0) if given.trend.weight is None else given.trend.weight,
        spectral_weight=(better.spectral_weight or 0.0)
        if memory.spectral_weight is None
        else memory.spectral_weight,
        number_weight=(better.number_weight or 0.0) if memory.number_weight is None else memory.number_weight,
    )
