"""`Config`: everything that changes what is learned, and the presets that name whole settings of it."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from tastemaker.errors import SettingProblem
from tastemaker.model.settings import (
    KindSettings,
    LiveSettings,
    MemorySettings,
    OrderSettings,
    PopularitySettings,
    RepeatSettings,
    TasteSettings,
    TokenSettings,
    TrendSettings,
)

__all__ = ["EFFORTS", "PRESETS", "Config", "Effort", "is_setting", "preset"]

Effort = Literal["quick", "standard", "thorough"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)

PARTS: Mapping[str, type] = {
    "taste": TasteSettings,
    "memory": MemorySettings,
    "trend": TrendSettings,
    "popularity": PopularitySettings,
    "repeats": RepeatSettings,
    "order": OrderSettings,
    "live": LiveSettings,
    "tokens": TokenSettings,
    "kinds": KindSettings,
}

RENAMED = {
    "memory.damping": "memory_damping",
    "memory.partners": "memory_partners",
    "trend.weight": "trend_weight",
    "popularity.tail": "popularity_tail",
    "repeats.weight": "repeat_weight",
    "repeats.sales": "repeat_sales",
    "repeats.level": "repeat_level",
    "live.rate": "live_rate",
    "live.half_life": "live_half_life",
    "live.kappa": "live_kappa",
    "live.fold_in": "live_fold_in",
    "live.dial": "live_dial",
    "live.young": "live_young",
    "tokens.columns": "token_columns",
    "tokens.decay": "token_decay",
    "tokens.query_decay": "token_query_decay",
    "kinds.own": "kinds_own",
    "kinds.after": "kinds_after",
    "kinds.taste": "kinds_taste",
    "kinds.places": "kinds_places",
    "kinds.days": "kinds_days",
}
"""Settings whose short name is not the last word of their path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one training, in parts: everything that changes what is learned.

    How a training runs (threads, progress) is no part of it, and the seed is given beside it. A setting is written as its path,
    ``memory.count_weight``; the names used before there were parts (``count_weight``, ``memory_damping``, ``repeat_level``) are
    understood, too. Raises `SettingProblem` when a value cannot work.

    >>> preset("default").changed({"memory.count_weight": 4, "epochs": "16"}).memory.count_weight
    4
    >>> preset("default").changed(dimensions=64).taste.dimensions
    64
    """

    preset: str = "custom"
    """The preset that these settings began as."""
    effort: Effort = "standard"
    """How much time choosing settings may take. ``quick`` leaves less to choose, ``thorough`` tries other tastes."""
    taste: TasteSettings
    memory: MemorySettings = field(default_factory=MemorySettings)
    trend: TrendSettings = field(default_factory=TrendSettings)
    popularity: PopularitySettings = field(default_factory=PopularitySettings)
    repeats: RepeatSettings = field(default_factory=RepeatSettings)
    order: OrderSettings = field(default_factory=OrderSettings)
    live: LiveSettings = field(default_factory=LiveSettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    kinds: KindSettings = field(default_factory=KindSettings)

    def __repr__(self) -> str:
        """Return the Python that makes these settings, with no setting that is as the preset has it."""
        if self.preset in PRESETS:
            first = PRESETS[self.preset]
            given = f"{self.preset!r}" + (f", effort={self.effort!r}" if self.effort != "standard" else "")
            changes = {path: at(self) for path, at in SETTINGS.items() if at(self) != at(first)}
            return f"preset({given})" + (f".changed({changes!r})" if changes else "")
        shown = {"preset": self.preset, "effort": self.effort, "taste": self.taste}
        shown |= {
            part: getattr(self, part)
            for part, kind in PARTS.items()
            if part != "taste" and getattr(self, part) != kind()
        }
        return f"Config({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a setting by the name that it had before there were parts."""
            path = SHORT.get(name)
            if path is None:
                raise AttributeError(f"a Config has no setting {name!r}")
            return SETTINGS[path](self)

    def __post_init__(self) -> None:
        if self.taste.query == "free" and (self.chooses or self.chooses_repeats):
            raise SettingProblem(
                "a model of free users chooses no settings; give each a number, or use another preset."
            )
        if self.effort not in EFFORTS:
            raise SettingProblem(
                f"effort is {self.effort!r}; it must be {', '.join(EFFORTS[:-1])} or {EFFORTS[-1]}."
            )
        if self.taste.query == "free" and self.effort != "standard":
            raise SettingProblem(
                f"effort is {self.effort}; a model of free users chooses no settings, so no effort changes it. Leave it out."
            )

    @property
    def chooses(self) -> bool:
        """Return whether some setting of the lists without what a user bought is left to a part held out of train."""
        return None in (
            self.taste.epochs, self.memory.count_weight, self.memory.ridge_weight, self.memory.spectral_weight,
            self.trend.weight,
        )  # fmt: skip

    @property
    def chooses_repeats(self) -> bool:
        """Return whether some setting of the lists with what a user bought is left to a part held out of train."""
        return None in (self.repeats.weight, self.repeats.sales, self.repeats.level)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values, by their names in manifests."""
        values: dict[str, Any] = {"preset": self.preset, "effort": self.effort}
        for path, setting in SETTINGS.items():
            values[NAMES[path]] = setting(self)
        return values

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Config:
        """Return the settings that `to_json` gave, of this version or an older one."""
        parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        for name, value in values.items():
            if name not in ("preset", "effort"):
                part, _, key = _path(name).partition(".")
                parts[part][key] = value
        made = {part: PARTS[part](**fields) for part, fields in parts.items()}
        return Config(preset=values.get("preset", "custom"), effort=values.get("effort", "standard"), **made)

    def changed(self, changes: Mapping[str, object] | None = None, /, **more: object) -> Config:
        """Return these settings with some replaced; text values are parsed to the setting's type.

        A name is a path (``memory.count_weight``), a short name (``count_weight``), or a part with a mapping of its settings.
        Raises `SettingProblem` for a name that is no setting or a text that does not parse.

        >>> preset("workshop").changed({"epochs": "3"}, memory={"partners": 50}).taste.epochs
        3
        """
        parts: dict[str, dict[str, object]] = {part: {} for part in PARTS}
        for name, value in _flattened({**(changes or {}), **more}):
            path = _path(name)
            part, _, key = path.partition(".")
            kind = get_type_hints(PARTS[part])[key]
            parts[part][key] = _parse(path, value, kind) if isinstance(value, str) else value
        made = {
            part: dataclasses.replace(getattr(self, part), **fields)
            for part, fields in parts.items()
            if fields
        }
        return dataclasses.replace(self, **made)


PATHS = tuple(
    f"{part}.{setting.name}" for part, kind in PARTS.items() for setting in dataclasses.fields(kind)
)
"""Every setting."""
SETTINGS = {path: operator.attrgetter(path) for path in PATHS}
"""How each setting is read from a `Config`."""
NAMES = {path: RENAMED.get(path, path.partition(".")[2]) for path in PATHS}
"""The short name of each setting, which manifests and scripts used before there were parts."""
SHORT = {name: path for path, name in NAMES.items()}

Config.__doc__ = "\n\n".join(
    inspect.cleandoc(kind.__doc__ or "") for kind in (Config, *PARTS.values())
)  # so that help(Config) explains every setting


def _path(name: str) -> str:
    """Return the path of a setting; raise `SettingProblem` when there is none of this name."""
    path = SHORT.get(name, name)
    if path not in NAMES:
        known = "; ".join(
            f"{part}: {', '.join(setting.name for setting in dataclasses.fields(kind))}"
            for part, kind in PARTS.items()
        )
        raise SettingProblem(
            f"there is no setting {name!r}{_nearest(name)}; the settings are {known}. Write a setting as PART.NAME, such as "
            "memory.count_weight."
        )
    return path


def is_setting(name: str) -> bool:
    """Return whether a setting has this path or short name."""
    return name in SHORT or name in NAMES


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, [*SHORT, *NAMES], n=1)
    return f" (perhaps {close[0]!r}?)" if close else ""


def _flattened(changes: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield each change by the path or short name of its setting; a part may be given whole or as a mapping."""
    for name, value in changes.items():
        if name not in PARTS:
            yield name, value
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        elif isinstance(value, PARTS[name]):
            yield from (
                (f"{name}.{setting.name}", getattr(value, setting.name))
                for setting in dataclasses.fields(PARTS[name])
            )
        else:
            raise SettingProblem(
                f"{name} is {value!r}; {name} is a part of the settings: give one of its settings, such as "
                f"{name}.{dataclasses.fields(PARTS[name])[0].name}, or a mapping of them."
            )


def _parse(name: str, text: str, kind: Any) -> object:
    if type(None) in get_args(kind):  # a setting that may choose itself
        if text == "auto":
            return None
        kind = next(choice for choice in get_args(kind) if choice is not type(None))
    choices = get_args(kind)
    if kind is str or (choices and text in choices):
        return text
    try:
        if kind in (int, float):
            return kind(text)
    except ValueError:
        pass
    wanted = " or ".join(map(str, choices)) or {int: "a whole number", float: "a number"}[kind]
    raise SettingProblem(f"{name} is {text!r}; it must be {wanted}.")


WORKSHOP = Config(
    preset="workshop",
    taste=TasteSettings(
        query="free",
        dimensions=50,
        epochs=10,
        negatives=100,
        batch=1024,
        learning_rate=100.0,
        initial_scale=0.05,
    ),
)
"""The model of the ASOS workshop of 2020, setting by setting."""

DEFAULT = Config(
    preset="default",
    taste=TasteSettings(
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
        objective=None,
    ),
    memory=MemorySettings(
        count_weight=None, ridge_weight=None, spectral_weight=None, number_weight=None, directed_weight=None
    ),
    trend=TrendSettings(weight=None),
    popularity=PopularitySettings(tail=None),
    repeats=RepeatSettings(weight=None, sales=None, level=None),
    order=OrderSettings(
        taste_places=None,
        taste_days=None,
        memory_places=None,
        memory_days=None,
        taste_strength=None,
        memory_strength=None,
    ),
    live=LiveSettings(rate=None, half_life=None, fold_in=None, dial=None, young=None),
    tokens=TokenSettings(columns=None, query_decay=0.005),
    kinds=KindSettings(own=None, after=None, taste=None, places=None, days=None),
)
"""The model that ranks: docs/model.md says what each part brings."""

PRESETS: Mapping[str, Config] = {"default": DEFAULT, "workshop": WORKSHOP}


def preset(name: str, *, effort: Effort = "standard") -> Config:
    """Return a preset's settings, at an effort; raise `SettingProblem` when there is none of this name, or no such effort."""
    if name not in PRESETS:
        raise SettingProblem(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return dataclasses.replace(PRESETS[name], effort=effort)
