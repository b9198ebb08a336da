"""Named rules: a boost is a term of the score, a move is a number of places, and each holds from its day to its day."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tastemaker as tm
from tastemaker.data.reading.product_table import read_product_table
from tastemaker.errors import ColumnProblem, SettingProblem
from tastemaker.ranking.packed import PackedModel
from tastemaker.ranking.rank import rank_visitors
from tastemaker.ranking.rules.rule_book import IdlePin, Removal, compile_rules
from tastemaker.ranking.rules.rules import Rules
from tastemaker.ranking.visitors import Visitors

SHOP = tm.make_shop(users=60, products=50, purchases=500, seed=3)
MODEL = tm.train(SHOP.purchases, epochs=2, dimensions=8)
TABLE = read_product_table(SHOP.catalogue, MODEL.products)
PACKED = PackedModel(MODEL, TABLE)
BRAND = TABLE.column("brand").to_list()
USERS = np.arange(6)


def book(*rules, moment=None):
    return compile_rules(
        [Rules.from_json({"rules": list(rules)})], MODEL.products, TABLE, moment=moment,
        sold=np.bincount(MODEL.histories.products, minlength=len(MODEL.products)),
    )  # fmt: skip


def ranked(wanted, k=10, **options):
    visitors = Visitors.of_users(MODEL, USERS)
    return [rank_visitors(PACKED, visitors, wanted, k=k, **options).of(q) for q in range(len(USERS))]


def whole():
    return ranked(None, k=len(MODEL.products))


# What they do ------------------------------------------------------------------------------------------------


def test_a_factor_adds_its_logarithm_to_the_score_of_its_products_and_ranks_by_the_sum():
    brand = BRAND[0]
    found = ranked(book({"do": "boost", "where": {"brand": brand}, "factor": 3}), explain=True)
    for plain, boosted in zip(whole(), found, strict=True):
        scores = plain.scores + np.array([np.log(3) if BRAND[row] == brand else 0 for row in plain.rows])
        best = np.argsort(-scores, kind="stable")[:10]
        assert boosted.rows.tolist() == plain.rows[best].tolist()
        np.testing.assert_allclose(boosted.scores, scores[best], rtol=1e-5)
        for reason, score in zip(boosted.reasons, boosted.scores, strict=True):
            assert reason.total == pytest.approx(float(score), abs=1e-4)


def test_a_boost_and_a_burial_by_inverse_factors_leave_every_list_as_it_was():
    both = book(
        {"do": "boost", "where": {"brand": BRAND[0]}, "factor": 4},
        {"do": "bury", "where": {"brand": BRAND[0]}, "factor": 0.25},
    )
    for plain, moved in zip(whole(), ranked(both), strict=True):
        assert moved.rows.tolist() == plain.rows[:10].tolist()


def test_a_product_alone_moves_by_exactly_so_many_places_up_or_down():
    plain = whole()[0].rows.tolist()
    names = MODEL.products.ids.to_list()
    up = ranked(book({"do": "boost", "products": [names[plain[12]]], "places": 5}), k=20)[0].rows.tolist()
    assert up == [*plain[:7], plain[12], *plain[7:12], *plain[13:20]]
    down = ranked(book({"do": "bury", "products": [names[plain[3]]], "places": 6}), k=20)[0].rows.tolist()
    assert down == [*plain[:3], *plain[4:10], plain[3], *plain[10:20]]


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.integers(0, 49), st.integers(-12, 12).filter(bool), max_size=8),
    st.integers(1, 20),
    st.booleans(),
)
def test_a_moved_list_is_the_beginning_of_the_whole_ranking_moved(shifts, k, pin):
    names = MODEL.products.ids.to_list()
    rules = [
        {"do": "boost" if by > 0 else "bury", "products": [names[row]], "places": abs(by)}
        for row, by in shifts.items()
    ]
    pins = [names[7]] if pin else []
    found = ranked(book(*rules, *({"do": "pin", "products": pins} for _ in pins)), k=k)
    for plain, moved in zip(whole(), found, strict=True):
        head = [7] if pin and 7 in plain.rows else []
        rest = [row for row in plain.rows.tolist() if row not in head]
        keyed = [
            (place - shifts.get(row, 0), -shifts.get(row, 0), place, row) for place, row in enumerate(rest)
        ]
        assert moved.rows.tolist() == [*head, *(row for *_, row in sorted(keyed))][:k]


def test_a_pin_with_conditions_puts_the_best_sellers_among_them_first():
    sold = np.bincount(MODEL.histories.products, minlength=len(MODEL.products))
    mine = [row for row in np.argsort(-sold, kind="stable").tolist() if BRAND[row] == BRAND[0]]
    pinned = book({"do": "pin", "where": {"brand": BRAND[0]}, "most": 2}).pinned.tolist()
    assert pinned == mine[:2]


def test_bans_and_limits_with_a_name_are_counted_under_it():
    found = book(
        {"do": "ban", "name": "No hats", "where": {"brand": BRAND[0]}},
        {"do": "at_most", "column": "category", "most": 1},
    )
    count = BRAND.count(BRAND[0])
    assert found.removals == (Removal("rules.No hats", count),)
    assert found.remaining == len(MODEL.products) - count
    category = TABLE.column("category").to_list()
    for listed in ranked(found):
        kinds = [category[row] for row in listed.rows]
        assert len(set(kinds)) == len(kinds)


# When they hold ----------------------------------------------------------------------------------------------


def test_a_rule_holds_from_the_beginning_of_its_first_day_to_the_end_of_its_last():
    rule = {"do": "ban", "where": {"brand": BRAND[0]}, "from": "2026-12-01", "to": "2026-12-24"}
    for moment, holds in (
        (datetime(2026, 11, 30, 23, 59, tzinfo=UTC), False),
        (datetime(2026, 12, 1, tzinfo=UTC), True),
        (datetime(2026, 12, 24, 23, 59, tzinfo=UTC), True),
        (datetime(2026, 12, 25, tzinfo=UTC), False),
    ):
        assert (book(rule, moment=moment).allowed is not None) == holds
    assert book({**rule, "paused": True}, moment=datetime(2026, 12, 2, tzinfo=UTC)).is_empty


def test_a_file_of_named_rules_comes_back_as_it_was_written():
    content = {
        "rules": [
            {"name": "Xmas", "do": "boost", "where": {"brand": "a"}, "places": 3, "from": "2026-12-01", "to": "2026-12-24"},
            {"do": "bury", "products": [1, "b"], "factor": 0.5, "paused": True},
            {"do": "at_most", "column": "brand", "most": 2},
        ]
    }  # fmt: skip
    assert Rules.from_json(content).to_json() == content


# What has no effect, and what is wrong -----------------------------------------------------------------------


def test_a_pin_that_reaches_no_list_is_named_with_the_rule_that_removes_it():
    names = MODEL.products.ids.to_list()
    rules = Rules.from_json(
        {
            "allow": [names[1], names[2]],
            "pin": [names[1], names[3], "nobody"],
            "rules": [
                {"do": "ban", "name": "B", "products": [names[2]]},
                {"do": "pin", "products": [names[2]]},
            ],
        }
    )
    found = compile_rules([rules], MODEL.products, TABLE)
    assert found.idle == (
        IdlePin("nobody", None),
        IdlePin(names[3], "allow"),
        IdlePin(names[2], "rules.B"),
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"do": "boost", "products": [1]}, "rule 1 in the rules needs either 'factor' or 'places'"),
        (
            {"do": "boost", "products": [1], "factor": 0},
            "factor of rule 1 .* is 0; it must be greater than 0",
        ),
        ({"do": "bury", "products": [1], "factor": -1}, "is -1; it must be greater than 0"),
        ({"do": "boost", "products": [1], "factor": 0.5}, "to boost it must be above 1"),
        (
            {"do": "boost", "products": [1], "factor": "much"},
            "factor of rule 1 .* is 'much'; it must be a number",
        ),
        (
            {"do": "boost", "products": [1], "places": 0},
            "places of rule 1 .* is 0; it must be an integer from 1",
        ),
        ({"do": "ban"}, "names no product; give 'products', 'where' or both"),
        ({"do": "ban", "products": [1], "places": 2}, "has 'places', which means nothing to 'ban'"),
        ({"do": "at_most", "most": 2}, "needs 'column' and 'most'"),
        ({"do": "lift", "products": [1]}, "do of rule 1 .* is 'lift'; it must be one of pin, ban"),
        ({"do": "ban", "products": [1], "form": "2026-01-01"}, "there is no field 'form'"),
        (
            {"name": "Xmas", "do": "ban", "products": [1], "from": "2026-12-24", "to": "2026-12-01"},
            r"rule 1 \('Xmas'\) in the rules ends 2026-12-01, before it begins 2026-12-24",
        ),
        ({"do": "ban", "products": [1], "from": "soon"}, "from of rule 1 .* is 'soon'; write a date such as"),
        ({"do": "ban", "products": [1], "to": "2026-12-01T10:00"}, "without a zone"),
    ],
)
def test_a_rule_that_cannot_be_says_where_and_what_to_do(rule, message):
    with pytest.raises(SettingProblem, match=message):
        Rules.from_json({"rules": [rule]})


def test_columns_and_values_of_rules_that_do_not_hold_yet_are_checked_too():
    rules = Rules.from_json({"rules": [{"do": "ban", "where": {"colours": "red"}, "from": "2099-01-01"}]})
    assert compile_rules([rules], MODEL.products, TABLE).is_empty
    with pytest.raises(ColumnProblem, match="no column 'colours'"):
        compile_rules([rules.always()], MODEL.products, TABLE)
    text = Rules.from_json({"rules": [{"do": "ban", "where": {"price": "cheap"}}]})
    with pytest.raises(SettingProblem, match="'cheap' is no value of the column 'price'"):
        compile_rules([text], MODEL.products, TABLE)


def test_rules_with_names_hold_for_python_and_are_read_from_toml(tmp_path):
    name = tm.recommend(MODEL, ["c-000001"], k=20).to_json()[0]["recommendations"][19]["product"]
    file = tmp_path / "rules.toml"
    file.write_text(f"[[rules]]\ndo = 'boost'\nproducts = [{name}]\nplaces = 1000\nfrom = 2020-01-01\n")
    first = tm.recommend(MODEL, ["c-000001"], k=3, rules=file, catalogue=SHOP.catalogue)
    assert first.to_json()[0]["recommendations"][0]["product"] == name
