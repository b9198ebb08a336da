"""`Config`: everything that changes what is learned, and the presets that name whole settings of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from tastemaker.errors import SettingProblem

__all__ = ["PRESETS", "Config", "preset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one training. How it runs (threads, progress) is no part of it; the seed is given beside it.

    Raises `SettingProblem` when a value cannot work.
    """

    preset: str = "custom"
    """The preset that these settings began as."""
    dimensions: int
    """D, the length of the vectors."""
    epochs: int
    """Passes over the purchases."""
    negatives: int
    """S, the sampled products that a bought one competes with."""
    batch: int
    """B, the purchases whose updates are applied together."""
    learning_rate: float
    """The step of plain gradient descent on the mean loss of a batch."""
    initial_scale: float
    """Vectors start uniformly in (-initial_scale, initial_scale)."""

    def __post_init__(self) -> None:
        for name in ("dimensions", "epochs", "negatives", "batch"):
            value = getattr(self, name)
            if value < 1:
                raise SettingProblem(f"{name} is {value}; it must be at least 1.")
        for name in ("learning_rate", "initial_scale"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise SettingProblem(f"{name} is {value}; it must be a finite number above 0.")

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
    dimensions=50,
    epochs=10,
    negatives=100,
    batch=1024,
    learning_rate=100.0,
    initial_scale=0.05,
)
"""The model of the ASOS workshop of 2020, setting by setting."""

PRESETS: Mapping[str, Config] = {"workshop": WORKSHOP}


def preset(name: str) -> Config:
    """Return a preset's settings; raise `SettingProblem` when there is none of this name."""
    if name not in PRESETS:
        raise SettingProblem(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return PRESETS[name]
