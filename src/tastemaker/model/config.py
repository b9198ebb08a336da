"""`Config`: everything that changes what is learned, and the presets that name whole settings of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from tastemaker.errors import SettingProblem

__all__ = ["PRESETS", "Config", "preset"]


_NOT_NEGATIVE = (
    "popularity_power",
    "decay",
    "rare_decay",
    "damping",
    "memory_weight",
    "memory_power",
    "memory_damping",
)


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
    epochs: int
    """Passes over the purchases."""
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
    popularity_power: float = 0.0
    """Composed only: negatives are drawn in proportion to buyers^popularity_power."""
    decay: float = 0.0
    """Composed only: how much of a product's vector is added to its gradient each time it was bought."""
    rare_decay: float = 0.0
    """Composed only: the same, divided by the product's buyers: what is seldom bought stays near zero."""
    damping: float = 0.5
    """Composed only: a sum of n vectors is divided by n^damping."""
    memory_weight: float = 0.0
    """What the memory's strengths are multiplied with in the score; 0 keeps no memory."""
    memory_power: float = 0.0
    """The memory's counts are divided by (buyers · buyers)^memory_power."""
    memory_damping: float = 0.0
    """A user counts for the memory as n^-memory_damping."""
    memory_partners: int = 200
    """M, the strongest partners that the memory keeps of a product."""

    def __post_init__(self) -> None:
        for name in ("dimensions", "epochs", "negatives", "batch", "members", "memory_partners"):
            value = getattr(self, name)
            if value < 1:
                raise SettingProblem(f"{name} is {value}; it must be at least 1.")
        for name in ("learning_rate", "initial_scale"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise SettingProblem(f"{name} is {value}; it must be a finite number above 0.")
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise SettingProblem(f"{name} is {value}; it must be a finite number, 0 or more.")

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
    epochs=16,
    negatives=128,
    batch=128,
    learning_rate=0.3,
    initial_scale=0.02,
    members=2,
    popularity_power=0.75,
    decay=0.1,
    rare_decay=2.0,
    damping=0.5,
    memory_weight=0.25,
)
"""The model that ranks: docs/model.md says what each part brings."""

PRESETS: Mapping[str, Config] = {"default": DEFAULT, "workshop": WORKSHOP}


def preset(name: str) -> Config:
    """Return a preset's settings; raise `SettingProblem` when there is none of this name."""
    if name not in PRESETS:
        raise SettingProblem(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return PRESETS[name]
