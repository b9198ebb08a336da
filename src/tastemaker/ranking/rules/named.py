"""`NamedRule`: one rule of a merchandiser: what it does, to which products, and from when to when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias, cast

from tastemaker.data.conditions import (
    LONGEST,
    Condition,
    check_text,
    condition_of_json,
    finite_number,
    shortened,
)
from tastemaker.errors import SettingProblem

__all__ = ["DOES", "MOST_PLACES", "Does", "Id", "NamedRule", "ids_of_json", "moment_of_json"]

Id: TypeAlias = str | int

Does: TypeAlias = Literal["pin", "ban", "only", "boost", "bury", "at_most"]
DOES: Final[tuple[Does, ...]] = ("pin", "ban", "only", "boost", "bury", "at_most")

MOST_PLACES: Final = 1_000
"""Most places by which a rule moves a product"""
MOST_FACTOR: Final = 1e6
"""Greatest factor of a boost, and the inverse of the least"""

_KEYS: Final = {
    "name", "do", "products", "where", "factor", "places", "column", "most", "from", "to", "paused",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRule:
    """One rule; its products are those listed, or those that satisfy every condition, or both where it has both.

    >>> rule = NamedRule.from_json({"do": "boost", "where": {"brand": "Hexa"}, "places": 3, "to": "2026-12-24"}, "rule 1")
    >>> rule.holds_at(datetime(2026, 12, 24, 23, tzinfo=UTC)), rule.holds_at(datetime(2026, 12, 25, tzinfo=UTC))
    (True, False)
    """

    do: Does
    name: str = ""
    products: tuple[Id, ...] = ()
    where: tuple[Condition, ...] = ()
    factor: float | None = None
    """Of a boost or a burial: above 1 or below 1; the logarithm of it is added to the score"""
    places: int | None = None
    """Of a boost or a burial: by how many places of the list"""
    column: str | None = None
    """Of `at_most`: products with the same value here are alike"""
    most: int | None = None
    """Of `at_most`: how many alike a list may have. Of a pin with conditions: how many products it puts first"""
    since: str | None = None
    """When it begins, as it was written: a date or a time of RFC 3339; ``None`` means always"""
    until: str | None = None
    """When it ends, the last day included"""
    paused: bool = False
    """Whether it is kept without being in force"""

    @staticmethod
    def from_json(content: object, label: str) -> NamedRule:
        """Read one rule; raise `SettingProblem`, which names the rule and the field."""
        if not isinstance(content, Mapping):
            raise SettingProblem(f"{label} is {shortened(content)}; it must be a table of names and values.")
        given = {key: value for key, value in content.items() if value is not None}
        strange = set(given) - _KEYS
        if strange:
            raise SettingProblem(
                f"{label}: there is no field {sorted(map(str, strange))[0]!r}; there are {', '.join(sorted(_KEYS))}."
            )
        name = given.get("name", "")
        if not isinstance(name, str) or len(name) > 200:
            raise SettingProblem(
                f"name of {label} is {shortened(name)}; it must be a text of at most 200 letters."
            )
        check_text(name, f"name of {label}")
        if given.get("do") not in DOES:
            raise SettingProblem(
                f"do of {label} is {shortened(given.get('do'))}; it must be one of {', '.join(DOES)}."
            )
        where = given.get("where", {})
        if not isinstance(where, Mapping):
            raise SettingProblem(f"where of {label} is {shortened(where)}; it must be a table of columns.")
        paused = given.get("paused", False)
        if not isinstance(paused, bool):
            raise SettingProblem(f"paused of {label} is {shortened(paused)}; it must be true or false.")
        rule = NamedRule(
            do=cast(Does, given["do"]),
            name=name,
            products=ids_of_json(given.get("products", []), f"products of {label}"),
            where=tuple(
                condition_of_json(str(column), wanted, f"where.{column} of {label}")
                for column, wanted in where.items()
            ),
            factor=_number(given, "factor", label),
            places=_whole(given, "places", MOST_PLACES, label),
            column=_text(given, "column", label),
            most=_whole(given, "most", 1_000_000, label),
            since=_text(given, "from", label),
            until=_text(given, "to", label),
            paused=paused,
        )
        rule._check(label)
        return rule

    def to_json(self) -> dict[str, Any]:
        """Return the rule as it is written in a file, empty fields left out."""
        content: dict[str, Any] = {
            "name": self.name or None,
            "do": self.do,
            "products": list(self.products) or None,
            "where": {condition.column: condition.to_json() for condition in self.where} or None,
            "factor": self.factor,
            "places": self.places,
            "column": self.column,
            "most": self.most,
            "from": self.since,
            "to": self.until,
            "paused": self.paused or None,
        }
        return {key: value for key, value in content.items() if value is not None}

    @property
    def has_schedule(self) -> bool:
        """Return whether it begins or ends."""
        return self.since is not None or self.until is not None

    def holds_at(self, moment: datetime) -> bool:
        """Return whether the rule is in force at a moment."""
        if self.paused:
            return False
        if self.since is not None and moment < moment_of_json(self.since, "from"):
            return False
        return self.until is None or moment < moment_of_json(self.until, "to", end=True)

    def title(self, place: int) -> str:
        """Return what answers call the rule, which is the ``place``-th, from 1."""
        return self.name or f"{self.do} {place}"

    def _check(self, label: str) -> None:
        """Raise `SettingProblem` where fields do not fit what the rule does."""
        if self.do == "at_most":
            if self.column is None or self.most is None:
                raise SettingProblem(f"{label} limits how many are alike; it needs 'column' and 'most'.")
            self._refuse(label, "products", "where", "factor", "places")
        else:
            if not self.products and not self.where:
                raise SettingProblem(f"{label} names no product; give 'products', 'where' or both.")
            self._refuse(label, "column", *(() if self.do == "pin" else ("most",)))
        if self.do in ("boost", "bury"):
            self._check_strength(label)
        else:
            self._refuse(label, "factor", "places")
        begins = None if self.since is None else moment_of_json(self.since, f"from of {label}")
        ends = None if self.until is None else moment_of_json(self.until, f"to of {label}", end=True)
        if begins is not None and ends is not None and ends <= begins:
            raise SettingProblem(
                f"{label} ends {self.until}, before it begins {self.since}; swap 'from' and 'to'."
            )

    def _check_strength(self, label: str) -> None:
        if (self.factor is None) == (self.places is None):
            raise SettingProblem(f"{label} needs either 'factor' or 'places'.")
        if self.factor is None:
            return
        if not self.factor > 0:
            raise SettingProblem(
                f"factor of {label} is {self.factor:g}; it must be greater than 0: 2 is twice as likely, 0.5 half."
            )
        if not 1 / MOST_FACTOR <= self.factor <= MOST_FACTOR:
            raise SettingProblem(f"factor of {label} is {self.factor:g}; it must be from 1e-06 to 1e+06.")
        if (self.factor > 1) != (self.do == "boost") or self.factor == 1:
            side = "above 1" if self.do == "boost" else "below 1"
            raise SettingProblem(f"factor of {label} is {self.factor:g}; to {self.do} it must be {side}.")

    def _refuse(self, label: str, *fields: str) -> None:
        for name in fields:
            if getattr(self, name) not in (None, ()):
                raise SettingProblem(
                    f"{label} has {name!r}, which means nothing to '{self.do}'; take it out."
                )


def ids_of_json(content: object, label: str) -> tuple[Id, ...]:
    """Read a list of product ids; raise `SettingProblem`."""
    if not isinstance(content, list | tuple):
        raise SettingProblem(f"{label} is {shortened(content)}; it must be a list of product ids.")
    if len(content) > LONGEST:
        raise SettingProblem(
            f"{label} has {len(content):,} entries; it may have {LONGEST:,}: use a column instead."
        )
    for product in content:
        if isinstance(product, bool) or not isinstance(product, str | int):
            raise SettingProblem(f"{label} holds {shortened(product)}; ids are texts or integers.")
        check_text(product, label)
    return tuple(content)


def moment_of_json(text: str, label: str, *, end: bool = False) -> datetime:
    """Return the moment that a date or a time names: a date begins at 00:00 UTC, and as an end it is included.

    >>> moment_of_json("2026-12-24", "to", end=True).isoformat()
    '2026-12-25T00:00:00+00:00'

    Raises `SettingProblem`.
    """
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            found = datetime(day.year, day.month, day.day, tzinfo=UTC)
            return found + timedelta(days=1) if end else found
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise SettingProblem(
            f"{label} is {shortened(text)}; write a date such as 2026-12-24, or a time such as 2026-12-24T18:00:00Z."
        ) from None
    if found.tzinfo is None:
        raise SettingProblem(
            f"{label} is {shortened(text)}, without a zone; end it with Z or an offset such as +01:00."
        )
    return found


def _number(given: Mapping[str, Any], key: str, label: str) -> float | None:
    return finite_number(given[key], f"{key} of {label}") if key in given else None


def _whole(given: Mapping[str, Any], key: str, most: int, label: str) -> int | None:
    if key not in given:
        return None
    value = given[key]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise SettingProblem(
            f"{key} of {label} is {shortened(value)}; it must be an integer from 1 to {most:,}."
        )
    return value


def _text(given: Mapping[str, Any], key: str, label: str) -> str | None:
    if key not in given:
        return None
    value = given[key]
    if isinstance(value, date):  # TOML has dates of its own
        value = value.isoformat()
    if not isinstance(value, str) or not value:
        raise SettingProblem(f"{key} of {label} is {shortened(value)}; it must be a text.")
    check_text(value, f"{key} of {label}")
    return value
