"""The rules that a request to the API brings, in a body or in a query."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET

from tastemaker.data.conditions import Condition
from tastemaker.data.reading.product_table import ProductTable
from tastemaker.errors import SettingProblem
from tastemaker.ranking.rules.rules import NO_RULES, Rules
from tastemaker.serving.api.schemas import BodyOfList, ListQuery, RulesBody
from tastemaker.serving.front.problems import Refusal

__all__ = ["conditions_of", "request_rules", "rules_of_body", "rules_of_query"]

RANGE = ".."
"""Stands between the bounds of a range in a query"""

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)


def request_rules(asked: BodyOfList) -> Rules:
    """Return the rules of a body; refuse (422) those that cannot be."""
    body = RulesBody() if asked.rules is UNSET else asked.rules
    if asked.include_purchased is not UNSET:
        body = msgspec.structs.replace(body, include_purchased=asked.include_purchased)
    return rules_of_body(body)


def rules_of_body(body: RulesBody) -> Rules:
    """Return the rules that a checked body says; refuse (422) those that cannot be."""
    try:
        return Rules.from_json(msgspec.to_builtins(body), label="the rules of the request")
    except SettingProblem as error:
        raise Refusal(422, str(error)) from None


def rules_of_query(asked: ListQuery, table: ProductTable) -> Rules:
    """Return the rules of a query; refuse (422) those that cannot be.

    ``table`` tells ranges from values: ``1..5`` is a range of a column of numbers, and a value of any other.
    """
    if asked.is_plain:
        return NO_RULES
    content: dict[str, Any] = {"deny": asked.deny, "pin": asked.pin, "where": _where(asked.where, table)}
    content["at_most"] = {
        column: int(most) for column, _, most in (text.rpartition(":") for text in asked.at_most)
    }
    for name in ("allow", "minimum_price", "include_purchased"):
        value = getattr(asked, name)
        if value is not UNSET:
            content[name] = value
    try:
        return Rules.from_json(content, label="the request")
    except SettingProblem as error:
        raise Refusal(422, str(error)) from None


def conditions_of(conditions: list[str], table: ProductTable) -> tuple[Condition, ...]:
    """Return what the parameters ``where`` of a query demand; refuse (422) those that cannot be."""
    try:
        return Rules.from_json({"where": _where(conditions, table)}, label="the request").where
    except SettingProblem as error:
        raise Refusal(422, str(error)) from None


def _where(conditions: list[str], table: ProductTable) -> dict[str, Any]:
    """Return for each column its values, or its bounds as a body has them."""
    found: dict[str, Any] = {}
    for column, _, value in (text.partition(":") for text in conditions):
        if RANGE in value and _holds_numbers(column, table):
            if column in found:
                raise _two_conditions(column)
            found[column] = _bounds(column, value)
        elif isinstance(found.setdefault(column, []), dict):
            raise _two_conditions(column)
        else:
            found[column].append(value)
    return found


def _holds_numbers(column: str, table: ProductTable) -> bool:
    return column in table.frame.columns and table.column(column).dtype.is_numeric()


def _bounds(column: str, text: str) -> dict[str, float]:
    low, _, high = text.partition(RANGE)
    given = {key: bound for key, bound in (("min", low), ("max", high)) if bound}
    if not given or not all(map(_NUMBER.fullmatch, given.values())):
        raise Refusal(
            422,
            f"where gives {column[:100]!r} the range {text[:100]!r}; write LOW..HIGH, LOW.. or ..HIGH with numbers.",
        )
    return {key: float(bound) for key, bound in given.items()}


def _two_conditions(column: str) -> Refusal:
    return Refusal(
        422,
        f"where gives {column[:100]!r} a range and something else; it may have one range, or values, but not both.",
    )
