"""`Condition`: what a column must hold; one grammar for rules of recommendation and for the rows of a log that are read."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tastemaker.errors import SettingProblem

__all__ = [
    "LONGEST",
    "Condition",
    "Value",
    "check_text",
    "condition_of_json",
    "finite_number",
    "parse_condition",
    "shortened",
]

Value: TypeAlias = str | int | float | bool

LONGEST: Final = 100_000
"""Most ids, and most values, of one list in a rule"""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a column must hold: one of some values, none of some values, or a number within bounds. An empty cell never does."""

    column: str
    among: tuple[Value, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    excluded: tuple[Value, ...] | None = None

    def to_json(self) -> Any:
        """Return the condition as it is written in a file of rules."""
        if self.among is not None:
            return self.among[0] if len(self.among) == 1 else {"in": list(self.among)}
        if self.excluded is not None:
            return {"not": list(self.excluded)}
        bounds = {"min": self.minimum, "max": self.maximum}
        return {key: bound for key, bound in bounds.items() if bound is not None}


def condition_of_json(column: str, wanted: object, label: str) -> Condition:
    """Read a condition as JSON or TOML hold it: a value, a list, or a table of ``in``, ``not``, or ``min`` and ``max``.

    Raises `SettingProblem`.

    >>> condition_of_json("price", {"max": 30}, "where.price")
    Condition(column='price', among=None, minimum=None, maximum=30.0, excluded=None)
    """
    if isinstance(wanted, list | tuple):
        return Condition(column, among=_values(wanted, label))
    if not isinstance(wanted, Mapping):
        return Condition(column, among=(_value(wanted, label),))
    keys = set(wanted)
    if keys == {"in"}:
        return Condition(column, among=_values(wanted["in"], label))
    if keys == {"not"}:
        given = wanted["not"]
        return Condition(
            column, excluded=_values(given if isinstance(given, list | tuple) else [given], label)
        )
    if not keys or not keys <= {"min", "max"}:
        raise SettingProblem(
            f"{label} has {', '.join(sorted(map(repr, keys))) or 'nothing'}; "
            "it must be a value, or have 'in', 'not', or 'min', 'max' or both."
        )
    low, high = (finite_number(wanted[key], label) if key in wanted else None for key in ("min", "max"))
    if low is not None and high is not None and low > high:
        raise SettingProblem(f"{label} goes from {low:g} to {high:g}; 'min' must not be above 'max'.")
    return Condition(column, minimum=low, maximum=high)


FORM: Final = re.compile(
    r"""\s*(?P<column>"[^"]+"|.+?)\s*(?:(?P<sign>>=|<=|!=|==|=|>|<)|\s(?P<word>not\s+in|in)\s)\s*(?P<value>.*?)\s*""",
    re.IGNORECASE | re.DOTALL,
)


def parse_condition(text: str) -> Condition:
    """Read a condition as a command line holds it; raise `SettingProblem`, which shows the forms.

    The forms are ``COLUMN = VALUE``, ``COLUMN in VALUE, VALUE``, ``COLUMN != VALUE``, ``COLUMN not in VALUE, VALUE``,
    ``COLUMN >= NUMBER`` (``<=``, ``>``, ``<``) and ``COLUMN = LOW..HIGH``. A name or a value that holds a sign or a comma
    stands in double quotes.

    >>> parse_condition("status = paid").among, parse_condition("status not in cancelled, refunded").excluded
    (('paid',), ('cancelled', 'refunded'))
    >>> parse_condition("price >= 1").minimum, parse_condition("price = 10..60").maximum
    (1.0, 60.0)
    """
    match = FORM.fullmatch(text)
    if match is None or not match["value"]:
        raise SettingProblem(
            f"the condition {shortened(text)} cannot be read; write 'COLUMN = VALUE', 'COLUMN != VALUE', "
            "'COLUMN in VALUE, VALUE', 'COLUMN >= NUMBER' or 'COLUMN = LOW..HIGH'."
        )
    column, value = match["column"].strip('"'), match["value"]
    sign = (match["sign"] or " ".join(match["word"].lower().split())).replace("==", "=")
    if sign in ("in", "not in"):
        values = tuple(_listed(value))
        return Condition(column, among=values) if sign == "in" else Condition(column, excluded=values)
    if sign == "!=":
        return Condition(column, excluded=(_unquoted(value),))
    if sign == "=":
        bounds = re.fullmatch(rf"({_NUMBER})?\.\.({_NUMBER})?", value)
        if bounds and any(bounds.groups()):
            low, high = (None if bound is None else float(bound) for bound in bounds.groups())
            return condition_of_json(
                column,
                {k: v for k, v in (("min", low), ("max", high)) if v is not None},
                f"the condition {text!r}",
            )
        return Condition(column, among=(_unquoted(value),))
    if not re.fullmatch(_NUMBER, value):
        raise SettingProblem(
            f"the condition {shortened(text)} compares with {shortened(value)}; {sign} needs a number."
        )
    number = float(value)
    if sign in (">", "<"):
        number = math.nextafter(number, math.inf if sign == ">" else -math.inf)
    return Condition(column, minimum=number) if sign[0] == ">" else Condition(column, maximum=number)


_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def _listed(text: str) -> list[str]:
    cells = next(csv.reader([text.strip("()[]")], skipinitialspace=True), [])
    return [cell.strip() for cell in cells]


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _values(wanted: object, label: str) -> tuple[Value, ...]:
    if not isinstance(wanted, list | tuple):
        raise SettingProblem(f"{label} is {shortened(wanted)}; it must be a list of values.")
    if len(wanted) > LONGEST:
        raise SettingProblem(
            f"{label} has {len(wanted):,} entries; it may have {LONGEST:,}: use a column instead."
        )
    return tuple(_value(value, label) for value in wanted)


def _value(wanted: object, label: str) -> Value:
    if isinstance(wanted, float) and not math.isfinite(wanted):
        raise SettingProblem(f"{label} is {wanted}; numbers must be finite.")
    if not isinstance(wanted, str | int | float):
        raise SettingProblem(f"{label} is {shortened(wanted)}; a value is a text, a number, true or false.")
    check_text(wanted, label)
    return wanted


def check_text(value: object, label: str) -> None:
    """Raise `SettingProblem` for a text with half a character in it, which no file can hold."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise SettingProblem(f"{label} holds {shortened(value)}, which is not Unicode text.") from error


def finite_number(wanted: object, label: str) -> float:
    """Return a number of JSON as a float; raise `SettingProblem` where it is none, or not finite."""
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        raise SettingProblem(f"{label} is {shortened(wanted)}; it must be a number.")
    try:
        number = float(wanted)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SettingProblem(f"{label} is {shortened(wanted)}; numbers must be finite.")
    return number


def shortened(value: object) -> str:
    """Return how a value is shown in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
