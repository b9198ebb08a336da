"""Settings that choose themselves where a log tells more than pairs: times, attributes, contexts, other events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.training.learners.beside import ROLES
from tastemaker.training.learners.composed import Composed
from tastemaker.training.loop import EpochRun, run_epochs
from tastemaker.training.progress import Watcher
from tastemaker.training.selection.choose_repeats import LearnedTables
from tastemaker.training.selection.judge import MEASURED_AT, Judge
from tastemaker.training.selection.trial import Trial, trial_of
from tastemaker.training.selection.validation import nearly_best

__all__ = [
    "Judged", "Trials", "choose_in_time", "has_more_than_pairs", "is_left_open", "judged_in_time", "steady", "tells_order",
    "worth_in_time",
]  # fmt: skip

LOOKS, LOOKS_OF_THOROUGH = 4, 8
"""How often the ranking is measured over the horizon; from FIRST_LOOK of it on."""
FIRST_LOOK = 0.4
MODESTY = 0.002
"""The first value of a grid that ranks within this share of the best is taken; grids begin with the most modest."""
STEEP = 0.01
"""Behind a value that ranks worse than the best by this share, or the second in a row by MODESTY, no other is tried."""
PLACES = (0.0, 16.0, 6.6, 3.0, 2.0, 1.0, 0.5)
DAYS = (0.0, 730.0, 365.0, 180.0, 90.0, 30.0)
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
DIAL_COSTS = {"all": 0.015, "known": 0.05}
"""The dial for new products may cost these shares of the ranking of all questions, and of those of known products."""
STRENGTHS = (0.0, 0.25, 0.5, 1.0)
DIALS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5)

GRIDS: Mapping[str, tuple[float, ...]] = {
    "live.half_life": (30.0, 60.0, 120.0, 240.0, 15.0, 7.0, 3.0),
    "live.rate": (1.0, 0.75, 1.25, 0.5),
    "live.young": (0.0, 4.0, 2.0, 1.0, 0.5),
    "live.fold_in": (1.0, 1.5, 0.5, 2.5, 0.0),
    "order.taste_places": PLACES,
    "order.taste_days": DAYS,
    "order.memory_places": PLACES,
    "order.memory_days": DAYS,
    "memory.count_weight": WEIGHTS,
    "memory.ridge_weight": WEIGHTS,
    "memory.directed_weight": (*WEIGHTS, 128.0),
    "memory.spectral_weight": (0.0, 0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    "order.taste_strength": STRENGTHS,
    "order.memory_strength": STRENGTHS,
    "trend.weight": (0.0, 0.15, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0),
}
"""What is tried for each setting."""

RATES = ("live.half_life", "live.young", "live.rate")
MEMORY = (
    "memory.directed_weight", "order.memory_places", "memory.directed_weight", "memory.spectral_weight", "memory.count_weight",
    "memory.ridge_weight", "memory.count_weight", "order.memory_places", "memory.directed_weight",
)  # fmt: skip
QUICK_STEPS = (*RATES, "order.taste_places", "order.taste_days", "live.fold_in", *MEMORY, *RATES)
LIVE_STEPS = (*QUICK_STEPS, "live.fold_in", "memory.directed_weight", "memory.count_weight")
FROZEN_STEPS = (
    "trend.weight", "order.taste_places", "order.taste_days", *MEMORY, "order.taste_places", "trend.weight",
)  # fmt: skip

STRENGTH_STEPS = ("order.taste_strength", "order.memory_strength")

STEADY: Mapping[str, object] = {
    "memory.directed_weight": 0.0,
    "order.taste_places": 0.0,
    "order.taste_days": 0.0,
    "order.memory_places": 0.0,
    "order.memory_days": 0.0,
    "order.taste_strength": 0.0,
    "order.memory_strength": 0.0,
    "live.rate": 0.0,
    "live.half_life": 30.0,
    "live.fold_in": 0.0,
    "live.dial": 0.0,
    "live.young": 0.0,
    "kinds.own": "",
    "kinds.after": "",
    "kinds.taste": "",
    "kinds.places": 0.0,
    "kinds.days": 0.0,
}
"""What nothing chosen means for each setting."""

KIND_GRIDS = {
    "own": (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0),
    "after": WEIGHTS,
    "taste": (0.0, 0.25, 0.5, 1.0),
}
KIND_PLACES, KIND_DAYS = (0.0, 4.0, 2.0, 1.0), (0.0, 30.0, 7.0, 2.0)


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """The later parts of a log that its settings are judged by, the last of the time first."""

    log: Purchases
    seed: int
    every: tuple[Trial, ...]
    judges: dict[tuple[int, str | None], Judge] = field(default_factory=dict)
    """The last judge of each, by the columns that are learned from: what it counted serves every taste"""

    @staticmethod
    def of(log: Purchases, config: Config, seed: int) -> Trials | None:
        """Return the trial of a log, ``None`` where it is too small.

        A thorough training of pairs has that of the part before, too.
        """
        live = has_more_than_pairs(log, config)
        last = trial_of(log, seed, live=live)
        if last is None:
            return None
        two = config.effort == "thorough" and last.by_time and not live
        before = trial_of(last.log, seed, live=False) if two else None
        every = (last,) if before is None or not before.by_time else (last, before)
        return Trials(log, seed, every)

    def judge(self, number: int, learner: Composed, given: Config, pool: ThreadPool) -> Judge:
        """Return the judge of what a learner has now."""
        key = number, given.tokens.columns
        known = self.judges.get(key)
        judge = Judge(self.every[number], learner, given, pool) if known is None else known.of(learner)
        self.judges[key] = judge
        return judge


@dataclass(frozen=True, slots=True)
class Search:
    """The judges, that of the last part first, and the settings that were left to choose."""

    judges: tuple[Judge, ...]
    given: Config
    values: dict[Config, float] = field(default_factory=dict)
    """What was measured, since a setting that is chosen is tried again beside others"""

    @property
    def judge(self) -> Judge:
        """Return the judge of the last part."""
        return self.judges[0]

    def value(self, config: Config) -> float:
        """Return the mean over the parts of their mean ndcg."""
        if config not in self.values:
            self.values[config] = sum(judge.value(config) for judge in self.judges) / len(self.judges)
        return self.values[config]

    def rest(self) -> None:
        """Let the judges go of what can be worked out again."""
        for judge in self.judges:
            judge.rest()

    def is_open(self, path: str) -> bool:
        """Return whether a setting was left to choose."""
        return _value(self.given, path) is None

    def best(self, config: Config, path: str, grid: Sequence[object]) -> Config:
        """Return the settings with the first value of the grid that ranks within a little of the best.

        Of numbers only those are tried that ranking does not fall before.
        """
        if not self.is_open(path):
            return config
        tried = {value: config.changed({path: value}) for value in grid}
        numbers = [value for value in grid if isinstance(value, float)]
        found = walked(numbers, _value(config, path), lambda value: self.value(tried[value]))
        return nearly_best([tried[value] for value in found or grid], self.value, MODESTY)

    def through(self, config: Config, steps: Sequence[str]) -> Config:
        """Choose one setting after another."""
        for path in steps:
            config = self.best(config, path, GRIDS[path])
        return config


def walked(grid: Sequence[float], start: object, worth: Callable[[float], float]) -> list[float]:
    """Return the values of a grid that are worth a look, in its order: from ``start`` on to either side until ranking falls.

    A grid begins with the most modest value and goes away from it, up and down. Ranking has fallen where it is below the best so
    far by a share of `STEEP`, or twice in a row by more than `MODESTY`.

    >>> walked((1.0, 2.0, 4.0, 8.0, 0.5), 1.0, {1.0: 0.5, 2.0: 0.6, 4.0: 0.59, 8.0: 0.58, 0.5: 0.4}.__getitem__)
    [1.0, 2.0, 4.0, 0.5]
    """
    if not grid:
        return []
    line = [
        *(value for value in reversed(grid) if value < grid[0]),
        *(value for value in grid if value >= grid[0]),
    ]
    place = line.index(start) if start in line else line.index(grid[0])
    found = {line[place]: worth(line[place])}
    for side in (line[place + 1 :], line[:place][::-1]):
        fallen = 0
        for value in side:
            found[value] = worth(value)
            best = max(found.values())
            fallen = fallen + 1 if found[value] < best * (1 - MODESTY) else 0
            if fallen == 2 or found[value] < best * (1 - STEEP):
                break
    return [value for value in grid if value in found]


def has_more_than_pairs(log: Purchases, config: Config) -> bool:
    """Return whether attributes, contexts or other events stand beside the pairs, and are to be learned from."""
    columns = log.context is not None or log.user_features is not None or log.product_features is not None
    wants = config.tokens.columns != "" and columns
    return wants or (log.events is not None and log.times is not None and config.kinds.own != "")


def is_left_open(log: Purchases, config: Config) -> bool:
    """Return whether the columns beside a log's pairs, or what its other events say, are left to choose."""
    columns = log.context is not None or log.user_features is not None or log.product_features is not None
    events = log.events is not None and log.times is not None
    return (config.tokens.columns is None and columns) or (config.kinds.own is None and events)


def tells_order(log: Purchases, config: Config) -> bool:
    """Return whether a log has times, and what they tell of order is left to choose."""
    paths = ["order.taste_places", "order.memory_places", "memory.directed_weight", "live.rate"]
    if log.weights is not None:
        paths += STRENGTH_STEPS
    return log.times is not None and any(_value(config, path) is None for path in paths)


class Judged(NamedTuple):
    """What was learned with some settings of a taste: the judges of its best epoch, that of the last part first."""

    judges: tuple[Judge, ...]
    epochs: int
    curve: dict[str, float]
    """What each look measured, by the epoch"""


def choose_in_time(
    trials: Trials, config: Config, horizon: int, judged: Judged
) -> tuple[Config, dict[str, Any], LearnedTables | None]:
    """Return the settings with nothing left to choose but repeats, what was measured, and what was learned if that serves again.

    A later part of the log is held out, and its purchases are asked for as they will be asked for. A model of everything was
    learned, and the epoch taken that ranks best (`judged_in_time`); now each weight, half-life and fold-in is chosen in turn, 0
    included; then the columns that help; last the dial for new products. Where there are two parts, both judge.
    """
    trial = trials.every[0]
    search = Search(judged.judges, config)
    start = _search_from(trials, config, horizon).changed(epochs=judged.epochs)
    judge = search.judge
    plain = search.value(start)
    steps = QUICK_STEPS if config.effort == "quick" else LIVE_STEPS
    chosen = search.through(start, steps if trial.is_live else FROZEN_STEPS)
    told: dict[str, Any] = {
        "held_out": trial.description,
        "users": len(np.unique(trial.asked.users)),
        "questions": len(trial.held.products),
        "measure": f"ndcg@{MEASURED_AT}",
        "by_epoch": judged.curve,
        "taste": plain,
    }
    if len(trials.every) > 1:
        told["also_held_out"] = [each.description for each in trials.every[1:]]
    if judge.asking.strengths is not None:
        chosen, told["weight"] = _with_strengths(search, chosen)
    if judge.kinds:
        chosen, told["kinds"] = _with_kinds(search, chosen)
    if judge.beside is not None:
        chosen, told["columns"], judge = _with_columns(search, chosen)
    if trial.is_live:
        chosen, told["dial"] = _with_dial(search, chosen)
    told["with_memory"] = search.value(chosen)
    search.rest()
    return chosen, told, _again(trial, judge)


def worth_in_time(trials: Trials, config: Config, horizon: int, judged: Judged) -> tuple[Config, float]:
    """Return settings of which only the epochs were left to choose, with these, and the mean ndcg; nothing else is told."""
    search = Search(judged.judges, config)
    settled = _search_from(trials, config, horizon).changed(epochs=judged.epochs)
    value = search.value(settled)
    search.rest()
    return settled, value


def judged_in_time(
    trials: Trials, config: Config, horizon: int, *, pool: ThreadPool, watch: Watcher
) -> Judged:
    """Learn from all but the last part, and from all but the one before for as many epochs as rank the last part best."""
    start = _search_from(trials, config, horizon)
    judge, epoch, curve = _learned(trials, start, config, pool, watch)
    start = start.changed(epochs=epoch)
    before = [
        _relearned(trials, number, start, config, pool, watch) for number in range(1, len(trials.every))
    ]
    return Judged((judge, *before), epoch, curve)


def _search_from(trials: Trials, config: Config, horizon: int) -> Config:
    return started(trials.log, config, horizon, live=trials.every[0].is_live)


def _again(trial: Trial, judge: Judge) -> LearnedTables | None:
    """Return what was learned, without the columns that were left out, if it is of all but the last part of the time."""
    if not trial.by_time:
        return None
    taste = replace(judge.taste, vectors=judge.vectors)
    return LearnedTables(taste, judge.tables, judge.spectral)


def started(log: Purchases, config: Config, horizon: int, *, live: bool) -> Config:
    """Return the settings with the most modest value for each that is left to choose."""
    paths = ("memory.count_weight", "memory.ridge_weight", "memory.spectral_weight", "trend.weight")
    changes: dict[str, object] = {path: 0.0 for path in paths if _value(config, path) is None}
    changes["taste.horizon"] = horizon
    if config.taste.epochs is None:
        changes["taste.epochs"] = horizon
    if live and log.times is not None and config.live.rate is None:
        changes["live.rate"] = 1.0
    return steady(config.changed(changes))


def steady(config: Config) -> Config:
    """Return the settings with nothing faded, live or beside the pairs where that was left open; columns stay open."""
    changes = {path: value for path, value in STEADY.items() if _value(config, path) is None}
    return config.changed(changes)


def _value(config: Config, path: str) -> object:
    part, _, name = path.partition(".")
    return getattr(getattr(config, part), name)


def _learned(
    trials: Trials, start: Config, given: Config, pool: ThreadPool, watch: Watcher
) -> tuple[Judge, int, dict[str, float]]:
    """Return the judge of the epoch that ranks the last part best, that epoch, and what each look measured."""
    learner = Composed.start(trials.every[0].log, start, trials.seed)
    horizon = start.taste.epochs or 1
    every = max(1, horizon // (LOOKS_OF_THOROUGH if given.effort == "thorough" else LOOKS))
    best: list[tuple[float, int, Judge]] = []
    curve: dict[str, float] = {}

    def look(epoch: int) -> None:
        last = epoch == horizon
        if not last and (given.taste.epochs is not None or epoch % every or epoch < FIRST_LOOK * horizon):
            return
        judge = trials.judge(0, learner, given, pool)
        value = judge.value(start)
        curve[str(epoch)] = value
        if not best or value > best[0][0]:
            best[:] = [(value, epoch, judge)]

    run_epochs(learner, epochs=horizon, run=EpochRun(pool, watch, stage="choosing"), after=look)
    return best[0][2], best[0][1], curve


def _relearned(
    trials: Trials, number: int, start: Config, given: Config, pool: ThreadPool, watch: Watcher
) -> Judge:
    """Return the judge of an earlier part, which learned from what lies before it for as many epochs."""
    learner = Composed.start(trials.every[number].log, start, trials.seed)
    run_epochs(learner, epochs=start.taste.epochs or 1, run=EpochRun(pool, watch, stage="choosing"))
    return trials.judge(number, learner, given, pool)


def _with_kinds(search: Search, config: Config) -> tuple[Config, dict[str, Any]]:
    """Choose what events of each kind say, and report what each brings."""
    for _ in range(2):
        for kind in reversed(search.judge.kinds):
            for name, grid in KIND_GRIDS.items():
                settings = config.kinds
                texts = [settings.with_one(name, kind, value) for value in grid]
                config = search.best(config, f"kinds.{name}", texts)
        config = search.best(config, "kinds.places", KIND_PLACES)
        config = search.best(config, "kinds.days", KIND_DAYS)
    told = {}
    every = search.judge.each(config)
    for kind in search.judge.kinds:
        settings = config.kinds
        without = config.changed({f"kinds.{name}": settings.with_one(name, kind, 0.0) for name in KIND_GRIDS})
        told[kind] = _gain(every, search.judge.each(without))
    return config, told


def _with_strengths(search: Search, config: Config) -> tuple[Config, dict[str, Any]]:
    """Heed ratings or quantities where that surely helps, and report what it brings."""
    heeding = search.through(config, STRENGTH_STEPS)
    told = _gain(search.judge.each(heeding), search.judge.each(config))
    kept = heeding != config and told["low"] > 0
    left_open = all(search.is_open(path) for path in STRENGTH_STEPS)
    return (heeding if kept or not left_open else config), told | {"kept": kept}


def _with_columns(search: Search, config: Config) -> tuple[Config, dict[str, Any], Judge]:
    """Keep the columns whose removal makes ranking worse, report what each brings, and return the judge of those kept.

    The column that brings least is tried first, beside those still kept; of two that say the same, one stays.
    """
    judge, beside = search.judge, search.judge.beside
    assert beside is not None
    names = [
        f"{role}:{name}" for role, part in zip(ROLES, beside.columns, strict=True) for name in part.names
    ]
    every, told = judge.each(config), {}
    alone = {name: judge.without(name).each(config) for name in names}
    for name in names:
        told[name] = _gain(every, alone[name]) | {"kept": True}
    for name in (
        sorted(names, key=lambda column: told[column]["gain"]) if search.is_open("tokens.columns") else ()
    ):
        less = judge.without(name)
        fewer = alone[name] if judge is search.judge else less.each(config)
        gain = _gain(every, fewer)
        if gain["low"] > 0:
            told[name] = gain | {"kept": True}
        else:
            told[name]["kept"] = False
            judge, every = less, fewer
    kept = [name for name in names if told[name]["kept"]]
    told.update({name: {"kept": False, "why": why} for name, why in beside.left_out.items()})
    return config.changed({"tokens.columns": ",".join(kept)}), told, judge


def _with_dial(search: Search, config: Config) -> tuple[Config, list[dict[str, float]]]:
    """Take the greatest dial for new products that costs no more than `DIAL_COSTS`, and report its curve."""
    if not search.is_open("live.dial"):
        return config, []
    new = ~search.judge.trial.sold[search.judge.trial.held.products]
    curve = []
    for dial in DIALS:
        each = search.judge.each(config.changed({"live.dial": dial}))
        known = float(each[~new].mean()) if (~new).any() else 0.0
        fresh = float(each[new].mean()) if new.any() else 0.0
        curve.append({"dial": dial, "all": float(each.mean()), "known": known, "new": fresh})
    least = {
        part: max(point[part] for point in curve) * (1 - cost) - 1e-12 for part, cost in DIAL_COSTS.items()
    }
    cheap = [point["dial"] for point in curve if all(point[part] >= least[part] for part in least)]
    chosen = max(cheap, default=0.0) if new.any() else 0.0
    return config.changed({"live.dial": chosen}), curve


def _gain(with_it: np.ndarray, without: np.ndarray) -> dict[str, Any]:
    """Return how much better it ranks with something than without, as a share, and one standard error to either side."""
    base = max(float(without.mean()), 1e-9)
    difference = with_it - without
    error = float(difference.std()) / max(len(difference), 1) ** 0.5
    mean = float(difference.mean())
    return {"gain": mean / base, "low": (mean - error) / base, "high": (mean + error) / base}
