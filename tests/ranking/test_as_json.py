"""Lists as JSON: what is written is what is declared, and the command line's names stand in the places of the API's."""

from __future__ import annotations

import msgspec
import pytest

import tastemaker as tm
from tastemaker.ranking.as_json import COMMAND_LINE, Listed, Product, RulesSaid, plain


@pytest.fixture
def lists(split):
    model = tm.co_purchase(split.train)
    users = model.users.ids.head(3)
    return tm.recommend(model, users, k=4, rules={"deny": ["no such product"]}, explain=True)


def keys(value):
    """All keys of nested dictionaries, in their order."""
    if isinstance(value, list):
        return [key for entry in value for key in keys(entry)]
    if isinstance(value, dict):
        return [key for name, entry in value.items() for key in (name, *keys(entry))]
    return []


def test_every_list_fits_its_declaration(lists):
    for content in lists.to_json():
        found = msgspec.convert(
            content, msgspec.defstruct("Strict", [], bases=(Listed,), forbid_unknown_fields=True)
        )
        assert len(found.recommendations) == 4
        assert found.rules.unknown == ["no such product"]
        assert found.recommendations[0].reasons.purchases


def test_the_command_line_writes_other_names_and_the_same_numbers(lists):
    names = {"product": "product_id", "recommendations": "products", "user": "user_id"}
    for ours, theirs in zip(lists.to_json(), lists.to_json(COMMAND_LINE), strict=True):
        assert keys(theirs) == [names.get(key, key) for key in keys(ours)]
        assert theirs["products"][0]["score"] == ours["recommendations"][0]["score"]
        assert theirs["products"][0]["reasons"]["taste"] == ours["recommendations"][0]["reasons"]["taste"]


def test_what_was_not_asked_for_is_not_written():
    assert plain(Product("hat", 1, 0.5)) == {"product": "hat", "rank": 1, "score": 0.5}
    assert plain(RulesSaid(3, 2, [], [])) == {"candidates": 3, "allowed": 2, "removed": [], "unknown": []}
