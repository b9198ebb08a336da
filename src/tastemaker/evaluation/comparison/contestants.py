"""Who takes part in a comparison: the default model and the baselines, each under a name, or why one cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.model.config import preset
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.als import als
from tastemaker.training.best_sellers import best_sellers
from tastemaker.training.co_purchase import co_purchase
from tastemaker.training.ease import MOST_PRODUCTS, ease
from tastemaker.training.progress import Watcher
from tastemaker.training.train import train

__all__ = ["CONTESTANTS", "FLOOR", "Contestant", "Terms", "contestant", "named", "names"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What every contestant is given beside the log."""

    seed: int
    threads: int | None
    watch: Watcher


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model that can be learned from any log, under fixed settings."""

    name: str
    learn: Callable[[Purchases, Terms], TasteModel]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What would make another model of it: settings, and the versions of packages that learn it"""
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

    def learn(log: Purchases, terms: Terms) -> TasteModel:
        return train(log, config, seed=terms.seed, threads=terms.threads, watch=terms.watch)

    return Contestant(name, learn, config.to_json())


def _of_pairs(name: str, *, power: float, damping: float) -> Contestant:
    def learn(log: Purchases, terms: Terms) -> TasteModel:
        return co_purchase(log, power=power, damping=damping, threads=terms.threads)

    return Contestant(name, learn, {"power": power, "damping": damping, "popularity": 0.1})


FLOOR = "best-sellers"
"""The contestant that is always in: a model that does not beat it is worth nothing."""

CONTESTANTS: Mapping[str, Contestant] = {
    one.name: one
    for one in (
        _of_preset("default"),
        Contestant(FLOOR, lambda log, _: best_sellers(log)),
        _of_pairs("co-purchase", power=0.5, damping=1.0),
        _of_pairs("cosine", power=0.5, damping=0.0),
        Contestant(
            "ease",
            lambda log, terms: ease(log, threads=terms.threads),
            {"penalty": 300.0},
            most_products=MOST_PRODUCTS,
        ),
        Contestant(
            "als",
            lambda log, terms: als(log, seed=terms.seed, threads=terms.threads),
            {"factors": 128, "regularization": 0.01, "alpha": 1.0, "iterations": 15},
            package="implicit",
        ),
        _of_preset("workshop"),
    )
}
"""Every model that `compare` can learn by itself, in the order of its table, under its own default settings."""


def names() -> tuple[str, ...]:
    """Return the names of all contestants, the one that is chosen without a word first."""
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
    return [one for one in CONTESTANTS.values() if not wanted or one.name in wanted | {FLOOR}]
