"""`Config`: everything that changes what is learned, and the presets that name whole settings of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from tastemaker.errors import SettingProblem

__all__ = ["PRESETS", "Config", "preset"]


_AT_LEAST_ONE = (
    "dimensions",
    "epochs",
    "negatives",
    "batch",
    "members",
    "memory_partners",
    "ridge_neighbours",
)
_ABOVE_ZERO = ("learning_rate", "initial_scale", "ridge_penalty")
_NOT_NEGATIVE = (
    "popularity_power",
    "decay",
    "rare_decay",
    "damping",
    "memory_damping",
    "count_weight",
    "count_power",
    "count_damping",
    "ridge_weight",
    "ridge_damping",
    "trend_weight",
    "repeat_weight",
    "repeat_sales",
    "horizon",
)
_ANY = ("repeat_level",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one training. How it runs (threads, progress) is no part of it; the seed is given beside it.

    Raises `SettingProblem` when a value cannot work.
    """

    preset: str = "custom"
    """The preset that these settings began as."""
    query: Literal["free", "composed"]
    """Whether a user has a vector of their own, or is composed of what they bought."""
    dimensions: int
    """D, the length of the vectors."""
    epochs: int | None
    """Passes over the purchases; None lets a part held out of train choose."""
    negatives: int
    """S, the sampled products that a bought one competes with."""
    batch: int
    """B, the purchases whose updates are applied together (about so many, where users are kept whole)."""
    learning_rate: float
    """The step: of plain gradient descent for free users, of Adagrad for composed ones."""
    initial_scale: float
    """Vectors start within ± initial_scale: uniformly for free users, normally with that deviation for composed ones."""
    members: int = 1
    """Composed only: tastes learned side by side from different draws, which share the dimensions and whose scores are averaged."""
    sampling: Literal["shared", "batch", "all"] = "shared"
    """Composed only: a batch's negatives are drawn by popularity, taken from its own purchases, or the whole catalogue."""
    popularity_power: float = 0.0
    """Composed only: shared negatives are drawn in proportion to buyers^popularity_power."""
    decay: float | None = 0.0
    """Composed only: how much of a product's vector is added to its gradient each time it was bought; None: by the histories."""
    rare_decay: float = 0.0
    """Composed only: the same, divided by the product's buyers: what is seldom bought stays near zero."""
    damping: float = 0.5
    """Composed only: a sum of n vectors is divided by n^damping."""
    horizon: int = 0
    """Composed only: the epochs over which the learning rate falls, when training stops before; 0 means ``epochs``."""
    memory_damping: float = 0.25
    """What the memory says of n products is summed and divided by n^memory_damping."""
    count_weight: float | None = 0.0
    """The weight of the common purchases in the memory; None lets a part held out of train choose, 0 keeps none."""
    count_power: float = 0.4
    """Common purchases are divided by (buyers · buyers)^count_power."""
    count_damping: float = 0.25
    """A user of n products counts as n^-count_damping in the common purchases."""
    memory_partners: int = 200
    """M, the partners of a product whose common purchases are kept."""
    ridge_weight: float | None = 0.0
    """The weight of the ridge regression among neighbours in the memory; None lets a part held out of train choose."""
    ridge_penalty: float = 10.0
    """What is added to the diagonal of the regression."""
    ridge_damping: float = 0.5
    """A user of n products counts as n^-ridge_damping in the regression."""
    ridge_neighbours: int = 50
    """The neighbours of a product that explain it."""
    trend_weight: float | None = 0.0
    """The weight of recent popularity in the bias, where there are times; None lets a part held out of train choose."""
    repeat_weight: float | None = 0.0
    """In lists with what a user bought: what log(1 + times bought) weighs; None lets a part held out of train choose."""
    repeat_sales: float | None = 0.0
    """The same for log(1 + how often the product was bought again, by anybody, of late)."""
    repeat_level: float | None = 0.0
    """In lists with what a user bought: what all of it gets, negative where a purchase is seldom made again; None as above."""

    def __post_init__(self) -> None:
        for names, least, wanted in (
            (_AT_LEAST_ONE, 1, "at least 1"),
            (_ABOVE_ZERO, math.ulp(0.0), "a finite number above 0"),
            (_NOT_NEGATIVE, 0, "a finite number, 0 or more"),
            (_ANY, -math.inf, "a finite number"),
        ):
            for name in names:
                value = getattr(self, name)
                if value is not None and not (math.isfinite(value) and value >= least):
                    raise SettingProblem(f"{name} is {value}; it must be {wanted}.")
        if self.query == "free" and self.epochs is None:
            raise SettingProblem("epochs is not given; a model of free users does not choose them.")

    @property
    def chooses(self) -> bool:
        """Return whether some setting of the lists without what a user bought is left to a part held out of train."""
        return None in (self.epochs, self.count_weight, self.ridge_weight, self.trend_weight)

    @property
    def chooses_repeats(self) -> bool:
        """Return whether some setting of the lists with what a user bought is left to a part held out of train."""
        return None in (self.repeat_weight, self.repeat_sales, self.repeat_level)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Config:
        """Return the settings that `to_json` gave."""
        return Config(**values)

    def changed(self, changes: Mapping[str, object]) -> Config:
        """Return these settings with some replaced; text values are parsed to the setting's type.

        Raises `SettingProblem` for a name that is no setting or a text that does not parse.

        >>> preset("workshop").changed({"epochs": "3"}).epochs
        3
        """
        hints = get_type_hints(Config)
        parsed = {}
        for name, value in changes.items():
            if name not in hints or name == "preset":
                known = ", ".join(key for key in hints if key != "preset")
                raise SettingProblem(f"there is no setting {name!r}; the settings are {known}.")
            parsed[name] = _parse(name, value, hints[name]) if isinstance(value, str) else value
        return dataclasses.replace(self, **parsed)  # type: ignore[arg-type]


def _parse(name: str, text: str, kind: Any) -> object:
    if type(None) in get_args(kind):  # a setting that may choose itself
        if text == "auto":
            return None
        kind = next(choice for choice in get_args(kind) if choice is not type(None))
    choices = get_args(kind)
    if kind is str or (choices and text in choices):
        return text
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float):
            return kind(text)
    except (ValueError, KeyError):
        pass
    wanted = (
        " or ".join(map(str, choices))
        or {int: "a whole number", float: "a number", bool: "true or false"}[kind]
    )
    raise SettingProblem(f"{name} is {text!r}; it must be {wanted}.")


WORKSHOP = Config(
    preset="workshop",
    query="free",
    dimensions=50,
    epochs=10,
    negatives=100,
    batch=1024,
    learning_rate=100.0,
    initial_scale=0.05,
)
"""The model of the ASOS workshop of 2020, setting by setting."""

DEFAULT = Config(
    preset="default",
    query="composed",
    dimensions=128,
    epochs=None,
    negatives=128,
    batch=128,
    learning_rate=0.3,
    initial_scale=0.02,
    members=2,
    popularity_power=0.75,
    decay=None,
    rare_decay=3.5,
    damping=0.5,
    count_weight=None,
    ridge_weight=None,
    trend_weight=None,
    repeat_weight=None,
    repeat_sales=None,
    repeat_level=None,
)
"""The model that ranks: docs/model.md says what each part brings."""

PRESETS: Mapping[str, Config] = {"default": DEFAULT, "workshop": WORKSHOP}


def preset(name: str) -> Config:
    """Return a preset's settings; raise `SettingProblem` when there is none of this name."""
    if name not in PRESETS:
        raise SettingProblem(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return PRESETS[name]
