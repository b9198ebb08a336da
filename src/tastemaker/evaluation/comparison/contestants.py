"""Who takes part in a comparison: the default model and the baselines, each under a name, or why one cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.evaluation.comparison.peers import lenskit_als, rectools_svd
from tastemaker.evaluation.comparison.tuned import Setting, tuned
from tastemaker.model.config import preset
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.baselines.als import als
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.baselines.co_purchase import co_purchase
from tastemaker.training.baselines.ease import MOST_PRODUCTS, ease
from tastemaker.training.progress import Watcher
from tastemaker.training.sharded.crew import Crew
from tastemaker.training.train import train

__all__ = ["CONTESTANTS", "FLOOR", "Contestant", "LearningTerms", "contestant", "named", "names"]


@dataclass(frozen=True, slots=True)
class LearningTerms:
    """What every contestant is given beside the log."""

    seed: int
    threads: int | None
    watch: Watcher
    crew: Crew | None = None
    """Who learns the vectors of the default model, where not this process"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model that can be learned from any log, under fixed settings."""

    name: str
    learn: Callable[[Purchases, LearningTerms], TasteModel]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What identifies the model: settings, and the versions of packages that learn it"""
    package: str | None = None
    """The optional package that it needs"""
    most_products: int | None = None
    """The largest catalogue that it can take"""

    def obstacle(self, log: Purchases) -> str | None:
        """Return why it cannot be learned from this log, in a few words, or ``None``."""
        if self.package is not None and _version_of(self.package) is None:
            return f"{self.package} is not installed"
        if self.most_products is not None and len(log.products) > self.most_products:
            return f"more than {self.most_products:,} products"
        return None

    def identity(self) -> dict[str, Any]:
        """Return all that decides what is learned from a given log with a given seed, as JSON values."""
        packages = ("tastemaker", *([] if self.package is None else [self.package]))
        return {
            "name": self.name,
            "settings": dict(self.settings),
            "versions": {name: _version_of(name) for name in packages},
        }


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _of_preset(name: str) -> Contestant:
    config = preset(name)

    def learn(log: Purchases, terms: LearningTerms) -> TasteModel:
        return train(
            log, config, seed=terms.seed, threads=terms.threads, progress=terms.watch, workers=terms.crew
        )

    return Contestant(name, learn, config.to_json())


def _tuned(
    name: str,
    learn: Callable[[Purchases, LearningTerms, Setting], TasteModel],
    grid: Sequence[Setting],
    *,
    package: str | None = None,
    most_products: int | None = None,
) -> Contestant:
    def learn_tuned(log: Purchases, terms: LearningTerms) -> TasteModel:
        def learn_part(part: Purchases, setting: Setting) -> TasteModel:
            return learn(part, terms, setting)

        return tuned(learn_part, grid, log, seed=terms.seed, threads=terms.threads)

    settings = {"grid": [dict(setting) for setting in grid]}
    return Contestant(name, learn_tuned, settings, package, most_products)


def _of_pairs(log: Purchases, terms: LearningTerms, setting: Setting) -> TasteModel:
    return co_purchase(log, threads=terms.threads, **setting)


def _ease(log: Purchases, terms: LearningTerms, setting: Setting) -> TasteModel:
    return ease(log, threads=terms.threads, **setting)


def _als(log: Purchases, terms: LearningTerms, setting: Setting) -> TasteModel:
    return als(log, seed=terms.seed, threads=terms.threads, **setting)


def _lenskit(log: Purchases, terms: LearningTerms, setting: Setting) -> TasteModel:
    return lenskit_als(log, seed=terms.seed, **setting)


def _rectools(log: Purchases, terms: LearningTerms, setting: Setting) -> TasteModel:
    return rectools_svd(log, seed=terms.seed, **setting)


TWO_SIDED = [
    {"power": power, "damping": damping, "popularity": popularity}
    for power in (0.0, 0.2, 0.4, 0.5)
    for damping in (0.0, 0.5, 1.0)
    for popularity in (0.1, 5.0)
]
"""How common purchases are normalised by popularity (power) and by users' activity (damping), from not at all to fully."""

ALS = [
    {"factors": factors, "regularization": regularization, "alpha": alpha, "iterations": 15}
    for factors, regularization, alpha in (
        (128, 0.01, 1.0), (32, 3.0, 6.0), (64, 3.0, 6.0), (128, 3.0, 6.0), (64, 10.0, 20.0), (32, 30.0, 20.0),
    )
]  # fmt: skip
"""implicit's own setting first, then stronger ones that a random search on three shops found (docs/benchmarks.md)."""

LENSKIT = [
    {"factors": factors, "regularization": regularization, "weight": weight, "epochs": 10}
    for factors, regularization, weight in (
        (50, 0.1, 40.0), (32, 3.0, 6.0), (64, 3.0, 6.0), (64, 10.0, 20.0), (32, 30.0, 20.0),
    )
]  # fmt: skip
"""LensKit's own setting first, then those of ALS."""

FLOOR = "best-sellers"
"""The contestant that is always in: a model that does not beat it is worth nothing."""

CONTESTANTS: Mapping[str, Contestant] = {
    entrant.name: entrant
    for entrant in (
        _of_preset("default"),
        Contestant(FLOOR, lambda log, _: best_sellers(log)),
        _tuned("co-purchase", _of_pairs, TWO_SIDED),
        _tuned("cosine", _of_pairs, [{"power": 0.5, "damping": 0.0}]),
        _tuned(
            "ease",
            _ease,
            [{"penalty": penalty} for penalty in (300.0, 50.0, 1_000.0)],
            most_products=MOST_PRODUCTS,
        ),
        _tuned("als", _als, ALS, package="implicit"),
        _tuned("lenskit-als", _lenskit, LENSKIT, package="lenskit"),
        _tuned("rectools-svd", _rectools, [{"factors": n} for n in (10, 32, 64, 128)], package="rectools"),
        _of_preset("workshop"),
    )
}
"""Every model that `compare` can learn by itself, in the order of its table."""


def names() -> tuple[str, ...]:
    """Return the names of all contestants, the default choice first."""
    return tuple(CONTESTANTS)


def contestant(name: str) -> Contestant:
    """Return the contestant of this name; raise `SettingProblem` when there is none."""
    if name not in CONTESTANTS:
        raise SettingProblem(
            f"{name!r} is neither a model folder nor a model that can be trained here; "
            f"those are {', '.join(CONTESTANTS)}."
        )
    return CONTESTANTS[name]


def named(asked: Sequence[str]) -> list[Contestant]:
    """Return these contestants and best sellers, or all of them when no name is given, in the order of the table."""
    wanted = {contestant(name).name for name in asked}
    return [model for name, model in CONTESTANTS.items() if not wanted or name in wanted | {FLOOR}]
