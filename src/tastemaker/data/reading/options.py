"""`Reading`: everything that may be said of how a log is to be read, beside the names of its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from tastemaker.data.reading.columns import Columns
from tastemaker.errors import SettingProblem

__all__ = ["NUMBERED_UNITS", "Features", "Reading", "TimeUnit", "with_flags"]

TimeUnit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds", "days", "steps", "excel"]

NUMBERED_UNITS: tuple[TimeUnit, ...] = (
    "seconds", "milliseconds", "microseconds", "nanoseconds", "days", "steps", "excel",
)  # fmt: skip

Features: TypeAlias = tuple[str, ...] | Literal["auto", "none"]
"""Columns that describe users or products: their names, all that are fit for it, or none."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a log is read where the rows do not tell; each field is a flag of the command line.

    The constructor checks what can be checked without a log and raises `SettingProblem`.

    >>> Reading(day_first=True, time_unit="days")
    Traceback (most recent call last):
        ...
    tastemaker.errors.SettingProblem: day_first speaks of written dates and time_unit='days' of numbers; give one of them.
    """

    header: bool | None = None
    """Whether the first line of a text file names the columns; ``None`` lets the rows tell."""
    where: tuple[str, ...] = ()
    """Conditions that a row must meet, such as ``status = paid``."""
    join: tuple[str, ...] = ()
    """Further files whose columns stand beside those of the log."""
    on: str | None = None
    """The column by which the files of ``join`` are joined."""
    day_first: bool | None = None
    """``True`` reads 01/02/2024 as 1 February, ``False`` as 2 January; ``None`` lets the rows tell."""
    time_format: str | None = None
    """The format of the times, in the words of ``strftime`` (``%d.%m.%y %H:%M``); settles everything."""
    time_unit: TimeUnit | None = None
    """What the numbers of the time column count."""
    keep_null_words: bool = False
    """Whether words such as ``NULL`` and ``nan`` are ids like any other."""
    event_column: str | None = None
    """The column that tells the kind of each row; without it every row is a purchase."""
    events: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The kinds that are read, and the words by which the column names each; *purchase* must be among them."""
    context: tuple[str, ...] = ()
    """Columns of the log that say how each purchase came about."""
    user_features: Features = "none"
    """Columns of the log or of the catalogue of users that describe the users."""
    product_features: Features = "none"
    """Columns of the log or of the catalogue of products that describe the products."""

    weight_column: str | None = None
    """The column of the log that says how much a purchase tells of taste: a rating, a quantity."""
    value_column: str | None = None
    """The column of the log, or of the catalogue of products, that says what a purchase is worth: a price, a margin."""
    query: str | None = None
    """What is read of a database, in its SQL; it can change nothing."""
    table: str | None = None
    """The table of a database that is read whole."""

    def __post_init__(self) -> None:
        if self.time_unit is not None and self.time_unit not in NUMBERED_UNITS:
            raise SettingProblem(
                f"time_unit is {self.time_unit!r}; it must be one of {', '.join(NUMBERED_UNITS)}."
            )
        if self.time_format is not None and "%" not in self.time_format:
            raise SettingProblem(
                f"time_format is {self.time_format!r}; it must spell a time as strftime does, such as '%d.%m.%Y %H:%M'."
            )
        settled = {"time_format": self.time_format, "time_unit": self.time_unit, "day_first": self.day_first}
        said = [f"{name}={value!r}" for name, value in settled.items() if value is not None]
        if self.time_unit is not None and self.day_first is not None:
            raise SettingProblem(
                f"day_first speaks of written dates and time_unit={self.time_unit!r} of numbers; give one of them."
            )
        if self.time_format is not None and len(said) > 1:
            raise SettingProblem(f"{' and '.join(said)} were given; time_format settles everything alone.")
        if bool(self.events) != (self.event_column is not None):
            raise SettingProblem(
                "event_column and events belong together: the column that tells the kind of each row, and the words of each kind."
            )
        words = Counter(word for each in self.events.values() for word in set(each))
        twice = next((word for word, kinds in words.items() if kinds > 1), None)
        if twice is not None:
            kinds = " and ".join(name for name, each in self.events.items() if twice in each)
            raise SettingProblem(f"events says that {twice!r} means {kinds}; a word means one kind.")
        if self.events and "purchase" not in self.events:
            raise SettingProblem(
                f"events names {', '.join(self.events)}, but no purchase; say which words mean one, such as purchase=bought."
            )


_COLUMNS: Final = {f"{part.name}_column": part.name for part in fields(Columns)}
_SEVERAL: Final = ("where", "join", "context", "user_features", "product_features")


def with_flags(columns: Columns, reading: Reading, flags: Mapping[str, Any]) -> tuple[Columns, Reading]:
    """Return how a log is read with arguments named as the command line names its flags; an unknown one is a `SettingProblem`.

    >>> columns, reading = with_flags(Columns(), Reading(), {"user_column": 0, "where": "status = paid"})
    >>> columns.user, reading.where
    ('0', ('status = paid',))
    """
    settings = {part.name for part in fields(Reading)}
    for name in flags:
        if name not in settings and name not in _COLUMNS:
            near = get_close_matches(name, [*_COLUMNS, *sorted(settings)], 1)
            meant = f"; did you mean {near[0]}?" if near else "."
            raise SettingProblem(
                f"there is no argument {name!r} of how a log is read{meant} There are "
                f"{', '.join([*_COLUMNS, *(part.name for part in fields(Reading))])}."
            )
    named = {_COLUMNS[name]: _name_of(value) for name, value in flags.items() if name in _COLUMNS}
    given = {name: _as_tuple(name, value) for name, value in flags.items() if name in settings}
    return replace(columns, **named), replace(reading, **given)


def _name_of(column: object) -> str | None:
    """Return the name of a column, which frames may have as a number."""
    return None if column is None else str(column)


def _words(words: Any) -> tuple[str, ...]:
    """Return the words of a kind of event, of which there may be one, and which may be numbers."""
    return tuple(map(str, words)) if isinstance(words, list | tuple | set | frozenset) else (str(words),)


def _as_tuple(name: str, value: Any) -> Any:
    """Return what a flag may be given several times for as a tuple, and the words of a kind of event as one."""
    if name == "events":
        return {str(kind): _words(words) for kind, words in value.items()}
    if name not in _SEVERAL or value in ("auto", "none"):
        return value
    return (value,) if isinstance(value, str) else tuple(map(str, value))
