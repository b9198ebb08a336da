"""The rules that a request to the API brings, in a body or in a query."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from tastemaker.data.product_table import ProductTable
from tastemaker.errors import SettingProblem
from tastemaker.ranking.rules import NO_RULES, Rules
from tastemaker.serving.api_bodies import BodyOfList, ListQuery, RulesBody
from tastemaker.serving.problems import Refusal

__all__ = ["request_rules", "rules_of_body", "rules_of_query"]


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
    """Return the rules of a query; refuse (422) those that cannot be."""
    if asked.is_plain:
        return NO_RULES
    where: dict[str, list[str]] = {}
    for one in asked.where:
        column, _, value = one.partition(":")
        where.setdefault(column, []).append(value)
    content: dict[str, Any] = {"deny": asked.deny, "pin": asked.pin, "where": where}
    content["at_most"] = {
        column: int(most) for column, _, most in (one.rpartition(":") for one in asked.at_most)
    }
    for name in ("allow", "minimum_price", "include_purchased"):
        value = getattr(asked, name)
        if value is not UNSET:
            content[name] = value
    try:
        return Rules.from_json(content, label="the request")
    except SettingProblem as error:
        raise Refusal(422, str(error)) from None
