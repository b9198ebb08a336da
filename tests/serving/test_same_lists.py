"""One shop, one answer: the TensorFlow-shaped routes and the clean API list the same, under rules and with live purchases."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from api_worlds import api_world
from serving_worlds import client_of, make_model, product_id

from tastemaker.model.folder import save
from tastemaker.ranking.rank import rank_visitors
from tastemaker.ranking.visitors import Visitor, Visitors
from tastemaker.serving.answering.active_rules import FILE

PREDICT = "/v1/models/recommender:predict"
USERS = "/api/v1/recommendations/users"
DENIED = [product_id(row) for row in (5, 17, 40, 41, 42)]

RULES = {
    "none": {},
    "a mask": {"deny": DENIED, "where": {"in_stock": True}},
    "few left": {"where": {"price": {"min": 150}}},
    "pins and caps": {"pin": [product_id(9)], "at_most": {"brand": 4}},
    "purchased too": {"deny": DENIED, "include_purchased": True},
}


@pytest.fixture
def world(tmp_path):
    return api_world(tmp_path)


def client_with(world, rules):
    (world.settings.models / "recommender" / FILE).write_text(json.dumps(rules))
    settings = world.settings
    return client_of(
        settings.models, catalogue=settings.catalogue, events=settings.events, keys=settings.keys
    )


def predicted(client, world, signature, **inputs):
    found = client.post(PREDICT, json={"signature_name": signature, "inputs": inputs}, headers=world.headers)
    assert found.status_code == 200, found.text
    return found.json()["outputs"]


def asked(client, world, path, body=None):
    found = client.request("GET" if body is None else "POST", path, json=body, headers=world.headers)
    assert found.status_code == 200, found.text
    return found.json()


def as_columns(products):
    return {
        "product_ids": [entry["product"] for entry in products],
        "scores": [entry["score"] for entry in products],
    }


@pytest.mark.parametrize("rules", RULES.values(), ids=list(RULES))
def test_both_kinds_of_routes_list_the_same_for_users_baskets_and_products(world, rules):
    basket = [product_id(row) for row in (3, 30, 77)]
    with client_with(world, rules) as client:
        for user in ("u004", "u029", "nobody"):
            listed = asked(client, world, f"{USERS}/{user}?k=7")
            assert predicted(client, world, "recommend_user", user=user, k=7) == as_columns(
                listed["recommendations"]
            )
        listed = asked(client, world, "/api/v1/recommendations/basket", {"basket": basket, "k": 7})
        assert predicted(client, world, "recommend_basket", basket=basket, k=7) == as_columns(
            listed["recommendations"]
        )
        listed = asked(client, world, f"/api/v1/products/{basket[0]}/similar?k=7")
        assert predicted(client, world, "similar_products", product=basket[0], k=7) == as_columns(
            listed["similar"]
        )


@pytest.mark.parametrize("rules", RULES.values(), ids=list(RULES))
def test_what_is_ranked_in_company_is_what_the_library_ranks_alone(world, rules):
    """A mask, live purchases and a basket beside a user are all ranked with other requests, by the same sums."""
    with client_with(world, rules) as client:
        loaded = client.app.state.service.registry.get("recommender")
        book = client.app.state.service.state.rules.book(loaded)
        rows = np.array([4, 8], np.int32)
        basket = np.array([3, 30], np.int32)
        visitor = Visitor(4, rows, None, basket)
        expected = rank_visitors(loaded.packed, Visitors.of([visitor]), book, k=9).of(0)
        body = {"user": "u004", "basket": [product_id(row) for row in (30, 3)], "k": 9}
        listed = asked(client, world, "/api/v1/recommendations/basket", body)
        assert [entry["product"] for entry in listed["recommendations"]] == [
            product_id(row) for row in expected.rows
        ]
        scores = np.array([entry["score"] for entry in listed["recommendations"]], np.float32)
        assert scores.tolist() == expected.scores.tolist()
        removed = {removal["rule"]: removal["removed"] for removal in listed["rules"]["removed"]}
        assert {removal.rule: removal.removed for removal in expected.removals}.items() <= removed.items()


def test_a_ban_holds_on_every_route_but_the_notebooks_own(world):
    with client_with(world, {"deny": DENIED}) as client:
        found = predicted(client, world, "recommend_user", user=["u001", "nobody"], k=160)
        assert not set(DENIED) & set(found["product_ids"][0] + found["product_ids"][1])
        assert not set(DENIED) & set(
            predicted(client, world, "similar_products", product=product_id(5), k=160)["product_ids"]
        )
        # the workshop's clients get what they always got: the product itself first of all
        assert product_id(5) in predicted(client, world, "call_item_item", item=[product_id(5)])["output_0"]


def test_a_request_that_says_so_overrules_the_file_on_purchased_products(world):
    bought = {product_id(4), product_id(8)}
    with client_with(world, {"include_purchased": True}) as client:
        for said, listed in ((None, bought), (True, bought), (False, set())):
            inputs = {"user": "u004", "k": 160} | ({} if said is None else {"include_purchased": said})
            found = predicted(client, world, "recommend_user", **inputs)
            assert bought & set(found["product_ids"]) == listed
            rows = predicted_rows(client, world, "recommend_user", inputs)
            assert rows["product_ids"] == found["product_ids"]


def predicted_rows(client, world, signature, instance):
    found = client.post(
        PREDICT, json={"signature_name": signature, "instances": [instance]}, headers=world.headers
    )
    assert found.status_code == 200, found.text
    return found.json()["predictions"][0]


def test_a_stranger_and_a_product_with_the_same_id_are_two(world):
    """Product 5 is in the catalogue only, and no user is called so."""
    with client_with(world, {}) as client:
        for user in (5, 6):
            listed = asked(client, world, "/api/v1/recommendations/basket", {"user": user, "basket": [5]})
            assert listed["source"] == "category best sellers"
            assert listed["unknown"] == [user, 5]


def test_a_live_purchase_joins_its_users_query_on_every_route(world):
    with client_with(world, {}) as client:
        before = predicted(client, world, "recommend_user", user="u004", k=5)
        bought = before["product_ids"][0]
        kept = client.post(
            "/api/v1/events",
            json={"purchases": [{"user": "u004", "product": bought}]},
            headers=world.headers,
        )
        assert kept.status_code == 200, kept.text
        after = predicted(client, world, "recommend_user", user="u004", k=5)
        assert bought not in after["product_ids"]
        listed = asked(client, world, f"{USERS}/u004?k=5")
        assert after == as_columns(listed["recommendations"])
        basket = predicted(
            client, world, "recommend_basket", basket=[product_id(4), product_id(8), bought], k=5
        )
        assert basket == after


def test_a_user_with_a_vector_of_their_own_keeps_it_when_they_bought_since(tmp_path):
    """Only users who are what they bought may be ranked as a basket of it."""
    world = api_world(tmp_path)
    model = make_model(1)
    own = np.random.default_rng(8).normal(size=(len(model.users), 8)).astype(np.float32)
    save(replace(model, user_vectors=own, basket_vectors=None), world.settings.models / "recommender" / "2")
    with client_with(world, {}) as client:
        loaded = client.app.state.service.registry.get("recommender")
        assert loaded.version == 2
        kept = client.post(
            "/api/v1/events",
            json={"purchases": [{"user": "u004", "product": product_id(70)}]},
            headers=world.headers,
        )
        assert kept.status_code == 200, kept.text
        expected = loaded.model.product_vectors.astype(np.float64) @ own[4] + loaded.model.product_bias
        expected[[4, 8, 70]] = -np.inf
        listed = asked(client, world, f"{USERS}/u004?k=5")
        assert [entry["product"] for entry in listed["recommendations"]] == [
            product_id(row) for row in np.argsort(-expected, kind="stable")[:5]
        ]
