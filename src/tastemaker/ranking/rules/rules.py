"""`Rules`: what a shop, or one request, allows to be recommended; read from JSON or TOML, and watched for changes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tastemaker.data.conditions import (
    Condition,
    Value,
    check_text,
    condition_of_json,
    finite_number,
    shortened,
)
from tastemaker.errors import SettingProblem, TastemakerError
from tastemaker.ranking.rules.named import Id, NamedRule, ids_of_json
from tastemaker.storage import IN_FOLDERS, Home, keep_good, mark_of, read_or_good, read_regular

__all__ = ["NO_RULES", "Condition", "Id", "Rules", "RulesFile", "Value", "read_rules", "write_rules"]

MOST_NAMED = 1_000
"""Most named rules of one file"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which products may be recommended, and how many alike. A product must satisfy every rule.

    >>> rules = Rules.from_json({"where": {"brand": "Hexa", "price": {"max": 30}}, "at_most": {"style": 2}})
    >>> [condition.column for condition in rules.where], rules.at_most
    (['brand', 'price'], (('style', 2),))
    """

    allow: tuple[Id, ...] | None = None
    """Only these ids; ``None`` allows all"""
    deny: tuple[Id, ...] = ()
    """None of these ids"""
    where: tuple[Condition, ...] = ()
    minimum_price: float | None = None
    """The least value of the catalogue's column of prices"""
    at_most: tuple[tuple[str, int], ...] = ()
    """(column, n): at most n products of a list have the same value there; a product without a value is never limited"""
    pin: tuple[Id, ...] = ()
    """First of all, in this order; only what the other rules let through"""
    include_purchased: bool | None = None
    """Whether a list may hold what its user bought; ``None`` leaves it to the request"""
    named: tuple[NamedRule, ...] = ()
    """Rules of merchandisers, each with its products and its time; they hold beside all others"""

    @staticmethod
    def from_json(content: object, *, label: str = "the rules") -> Rules:
        """Read rules as JSON or TOML hold them; raise `SettingProblem`, which says what is wrong and where."""
        given = _mapping(content, label)
        unknown = set(given) - _KEYS
        if unknown:
            raise SettingProblem(
                f"{label}: there is no rule {sorted(map(str, unknown))[0]!r}; there are {', '.join(sorted(_KEYS))}."
            )
        for key in [key for key, value in given.items() if value is None]:
            del given[key]
        include = given.get("include_purchased")
        if include is not None and not isinstance(include, bool):
            raise SettingProblem(f"include_purchased in {label} is {include!r}; it must be true or false.")
        price = given.get("minimum_price")
        return Rules(
            allow=ids_of_json(given["allow"], f"allow in {label}") if "allow" in given else None,
            deny=ids_of_json(given.get("deny", []), f"deny in {label}"),
            where=tuple(
                condition_of_json(column, wanted, f"where.{column} in {label}")
                for column, wanted in _mapping(given.get("where", {}), f"where in {label}").items()
            ),
            minimum_price=None if price is None else finite_number(price, f"minimum_price in {label}"),
            at_most=tuple(
                (column, _count(most, f"at_most.{column} in {label}"))
                for column, most in _mapping(given.get("at_most", {}), f"at_most in {label}").items()
            ),
            pin=ids_of_json(given.get("pin", []), f"pin in {label}"),
            include_purchased=include,
            named=_named(given.get("rules", []), label),
        )

    def standing(self, moment: datetime | None = None) -> Rules:
        """Return the rules of a moment, by default of now: without those that are paused, not begun or over."""
        if not self.named:
            return self
        moment = datetime.now(UTC) if moment is None else moment
        return replace(
            self,
            named=tuple(
                replace(rule, since=None, until=None) for rule in self.named if rule.holds_at(moment)
            ),
        )

    @property
    def pins_by_condition(self) -> bool:
        """Return whether a rule pins the best sellers among some products."""
        return any(rule.do == "pin" and not rule.products for rule in self.named)

    def always(self) -> Rules:
        """Return the rules without schedules and pauses: what must hold for all to be sound at any time."""
        return replace(
            self, named=tuple(replace(rule, since=None, until=None, paused=False) for rule in self.named)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the rules as they are written in a file, empty ones left out."""
        content: dict[str, Any] = {
            "allow": None if self.allow is None else list(self.allow),
            "deny": list(self.deny) or None,
            "where": {condition.column: condition.to_json() for condition in self.where} or None,
            "minimum_price": self.minimum_price,
            "at_most": dict(self.at_most) or None,
            "pin": list(self.pin) or None,
            "include_purchased": self.include_purchased,
            "rules": [rule.to_json() for rule in self.named] or None,
        }
        return {key: value for key, value in content.items() if value is not None}


_KEYS = frozenset(Rules.__dataclass_fields__) - {"named"} | {"rules"}
NO_RULES = Rules()


def read_rules(file: str | Path) -> Rules:
    """Read a file of rules, TOML by its name and JSON otherwise; raise `SettingProblem` when it holds none."""
    path = Path(file)
    try:
        content = read_regular(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    return _decoded(content, path)


def _decoded(content: bytes, path: Path) -> Rules:
    try:
        text = content.decode()
        found = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingProblem(f"{path.name} holds no rules ({error}); mend it.") from error
    return Rules.from_json(found, label=path.name)


def _unreadable(path: Path, error: OSError) -> SettingProblem:
    return SettingProblem(f"cannot read the rules {path.name}: {error.strerror or error}.")


def write_rules(
    file: str | Path,
    rules: Rules,
    *,
    check: Callable[[], object] = lambda: None,
    home: Home = IN_FOLDERS,
) -> None:
    """Write rules as JSON; the file is replaced whole or not at all. Raises `SettingProblem` when the disk refuses.

    Where hosts share them (``home``), raises `StateProblem` while the database is away.

    ``check`` is called while no other writer can come between it and the writing; what it raises leaves the file as it is.
    """
    path = Path(file)
    text = json.dumps(rules.to_json(), indent=1, ensure_ascii=False).encode()

    def changed(_: bytes | None) -> bytes:
        check()
        return text

    try:
        home.update(path, changed)
    except OSError as error:
        raise SettingProblem(f"cannot write the rules {path.name}: {error.strerror or error}.") from error


class RulesFile:
    """The rules of a file, read again when it changes; a file that became unusable leaves the last good rules in force.

    Those are kept beside it, so that they outlive a restart. No file means no rules. ``check`` may raise a `TastemakerError`
    about rules that cannot hold, such as of an unknown column.
    """

    def __init__(self, file: Path, check: Callable[[Rules], object] = lambda _: None) -> None:
        self._file, self._check = file, check
        self._mark: object = ()
        self.rules = NO_RULES
        self.problem: str | None = None
        """What is wrong with the file as it stands, ``None`` when its rules are in force"""
        self.lost = False
        """Whether the file is unusable and no good rules are known: which products are banned, nobody can say"""
        self._known = False
        """Whether good rules were read, or there was no file"""
        self.look()

    def look(self, *, again: bool = False) -> bool:
        """Read the file if it changed since, or ``again`` where what ``check`` knows did; return whether it was read."""
        mark = mark_of(self._file)
        if mark == self._mark and not again:
            return False
        if mark is None and self._known and not self._file.parent.is_dir():
            return False  # the whole folder was unmounted or moved: better the former rules than none
        self._mark = mark
        if mark is None:
            self._hold(NO_RULES)
            keep_good(self._file, None)
            return True
        try:
            rules, problem = read_or_good(self._file, self._usable)
        except OSError as error:
            self._fail(str(_unreadable(self._file, error)))
        except TastemakerError as error:
            self._fail(str(error))
        else:
            if problem is None:
                self._hold(rules)
            else:
                self._fail(
                    str(_unreadable(self._file, problem) if isinstance(problem, OSError) else problem), rules
                )
        return True

    def _usable(self, content: bytes) -> Rules:
        rules = _decoded(content, self._file)
        self._check(rules)
        return rules

    def _hold(self, rules: Rules) -> None:
        self.rules, self.problem, self.lost, self._known = rules, None, False, True

    def _fail(self, problem: str, good: Rules | None = None) -> None:
        if not self._known and good is not None:
            self.rules, self._known = good, True
        self.problem, self.lost = problem, not self._known


def _mapping(content: object, label: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise SettingProblem(f"{label} is {shortened(content)}; it must be a table of names and values.")
    for key in content:
        check_text(key, label)
    return dict(content)


def _named(content: object, label: str) -> tuple[NamedRule, ...]:
    if not isinstance(content, list | tuple):
        raise SettingProblem(f"rules in {label} is {shortened(content)}; it must be a list of rules.")
    if len(content) > MOST_NAMED:
        raise SettingProblem(f"rules in {label} has {len(content):,} entries; it may have {MOST_NAMED:,}.")
    rules = []
    for place, each in enumerate(content, start=1):
        name = each.get("name") if isinstance(each, Mapping) else None
        said = f"rule {place}" + (f" ({shortened(name)})" if name else "")
        rules.append(NamedRule.from_json(each, f"{said} in {label}"))
    return tuple(rules)


def _count(wanted: object, label: str) -> int:
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise SettingProblem(f"{label} is {shortened(wanted)}; it must be an integer of at least 1.")
    return wanted
