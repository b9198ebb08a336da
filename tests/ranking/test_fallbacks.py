"""Fallbacks: personal, basket, category best sellers, best sellers; rules hold on each step."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import tastemaker as tm
from tastemaker.data.reading.product_table import empty_table, read_product_table
from tastemaker.ranking.packed import pack
from tastemaker.ranking.rank import rank_visitors
from tastemaker.ranking.recommend import recommend, recommend_baskets
from tastemaker.ranking.rules.rule_book import compile_rules
from tastemaker.ranking.rules.rules import NO_RULES, Rules
from tastemaker.ranking.visitors import Visitor, Visitors, categories_of


@pytest.fixture(scope="module")
def composed_model(split):
    return tm.train(split.train, tm.preset("default").changed({"dimensions": 16, "epochs": 3}), seed=2)


@pytest.fixture(params=["composed", "free"])
def model(request, composed_model, workshop_model):
    return composed_model if request.param == "composed" else workshop_model


@pytest.fixture(scope="module")
def catalogue(shop):
    new = shop.catalogue.head(2).with_columns(
        pl.Series("product_id", [7, 8]), pl.Series("category", ["dresses", "jeans"])
    )
    return pl.concat([shop.catalogue, new])


@pytest.fixture
def table(model, catalogue):
    return read_product_table(catalogue, model.products)


def asked(model, table, visitor, rules=NO_RULES, **options):
    book = compile_rules([rules], model.products, table)
    return rank_visitors(
        pack(model, catalogue=table), Visitors.of([visitor]), book, **({"k": 10} | options)
    ).of(0)


def pairs(model, found):
    return list(zip(model.products.at(found.rows).to_list(), found.scores.tolist(), strict=True))


def buyers(model):
    return np.bincount(model.histories.products, minlength=len(model.products))


@pytest.mark.parametrize("include", [False, True])
def test_a_user_with_purchases_gets_what_recommend_gives_them(model, table, include):
    for user in (0, 7, 91):
        found = asked(model, table, Visitor(user, model.histories.of(user)), k=12, include_purchased=include)
        expected = recommend(model, [model.users.ids[user]], k=12, include_purchased=include).of(0)
        assert (found.source, pairs(model, found)) == ("personal", expected)


def test_a_basket_gets_what_recommend_baskets_gives_it(model, table):
    basket = np.array([4, 60, 61], np.int32)
    found = asked(model, table, Visitor(basket=basket))
    expected = recommend_baskets(model, [model.products.at(basket)]).of(0)
    assert (found.source, pairs(model, found)) == ("basket", expected)


def test_a_user_with_a_basket_gets_neither_what_they_bought_nor_what_they_hold(model, table):
    basket = np.array([4, 60, 61], np.int32)
    visitor = Visitor(7, model.histories.of(7), basket=basket)
    found = asked(model, table, visitor, k=1000)
    assert found.source == "personal"
    assert set(found.rows.tolist()) == set(range(150)) - set(model.histories.of(7).tolist()) - {
        4,
        60,
        61,
    }


def test_a_stranger_gets_best_sellers(model, table):
    found = asked(model, table, Visitor(), k=5)
    assert found.source == "best sellers"
    if model.user_vectors is not None:
        best = buyers(model)[found.rows]
        assert best.tolist() == sorted(buyers(model).tolist(), reverse=True)[:5]
    assert pairs(model, found) == recommend_baskets(model, [[]], k=5).of(0)


def test_a_basket_of_products_that_only_the_catalogue_knows_gets_the_best_sellers_of_their_categories(
    model, table, catalogue
):
    categories = categories_of(table, ["7", 9, 7])
    assert categories == ("dresses",)
    inside = np.flatnonzero((table.column("category") == "dresses").to_numpy())
    best = asked(model, table, Visitor(), k=150).rows.tolist()
    wanted = [row for row in best if row in inside] + [row for row in best if row not in inside]
    found = asked(model, table, Visitor(categories=categories), k=len(inside) + 3)
    assert (found.source, found.filled, found.pinned) == ("category best sellers", 3, 0)
    assert found.rows.tolist() == wanted[: len(inside) + 3]


def test_rules_hold_among_the_best_sellers_of_categories_too(model, table):
    dresses = np.flatnonzero((table.column("category") == "dresses").to_numpy())
    other = int(np.flatnonzero((table.column("category") != "dresses").to_numpy())[0])
    ids = model.products.ids.to_list()
    rules = Rules.from_json({"deny": [ids[dresses[0]]], "pin": [ids[other]], "at_most": {"brand": 1}})
    found = asked(model, table, Visitor(categories=("dresses",)), rules, k=12)
    rows = found.rows.tolist()
    assert (rows[0], found.pinned, len(rows)) == (other, 1, 12)
    assert dresses[0] not in rows
    brands = table.column("brand").gather(rows).to_list()
    assert len(set(brands)) == 12
    inside = [row in dresses for row in rows[1:]]
    assert inside == sorted(inside, reverse=True)
    assert found.filled == inside.count(False)


def test_categories_need_a_catalogue_that_names_them(model, table):
    assert categories_of(empty_table(model.products), [7]) == ()
    assert categories_of(table, []) == ()
    assert categories_of(table, [9]) == ()
    found = asked(model, empty_table(model.products), Visitor(categories=("dresses",)), k=4)
    assert found.rows.tolist() == asked(model, table, Visitor(), k=4).rows.tolist()
