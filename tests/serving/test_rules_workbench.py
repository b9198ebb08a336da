"""What a merchandiser asks of rules: their price before they are published, who published what, and one after another."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from api_worlds import api_world
from serving_worlds import PRODUCTS, client_of, product_id

USER = "u003"


@pytest.fixture
def bench(tmp_path: Path):
    world = api_world(tmp_path)
    settings = {
        name: getattr(world.settings, name) for name in ("catalogue", "keys", "events", "poll_seconds")
    }
    with client_of(world.settings.models, **settings) as client:
        client.headers.update(world.headers)
        yield client, world


def ids(answer) -> list[int]:
    return [entry["product"] for entry in answer.json()["recommendations"]]


def lists(client, rules=None) -> dict[str, list[int]]:
    users = [f"u{number:03}" for number in range(30)]
    if rules is None:
        answer = client.post("/api/v1/batch", json={"users": users})
        found = answer.json()["answers"]
        return {one["user"]: [entry["product"] for entry in one["recommendations"]] for one in found}
    return {
        user: ids(client.post("/api/page/trial", json={"user": user, "basket": [], "instead": rules}))
        for user in users
    }


def test_the_price_of_rules_is_the_difference_between_the_lists_of_the_api(bench):
    client, _ = bench
    rules = {
        "pin": [product_id(9), "gone"],
        "rules": [
            {"do": "bury", "where": {"brand": "a"}, "places": 4},
            {"do": "ban", "where": {"in_stock": False}},
        ],
    }
    before, after = lists(client), lists(client, rules)
    answer = client.post("/api/v1/rules/effect", json={"rules": rules})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    pairs = [(before[user], after[user]) for user in before]
    moves = [abs(old.index(one) - place) for old, new in pairs for place, one in enumerate(new) if one in old]
    assert said["customers"] == len(pairs)
    assert said["changed"] == sum(old != new for old, new in pairs)
    assert said["entered"] == sum(len(set(new) - set(old)) for old, new in pairs)
    assert said["moved"] == pytest.approx(np.mean(moves))
    shown = sum(product_id(9) in new for _, new in pairs) / (
        2 * len(pairs)
    )  # the product that is gone counts, too
    assert said["pinned_shown"] == pytest.approx(shown)
    assert said["idle_pins"] == [{"product": "gone", "rule": None}]
    assert said["allowed"] == sum(row % 5 > 0 for row in range(PRODUCTS))
    assert client.get("/api/v1/rules").json()["rules"] == {}  # nothing was written


def test_rules_that_hide_what_customers_buy_cost_ndcg_and_none_cost_nothing(bench):
    client, _ = bench
    free = client.post("/api/v1/rules/effect", json={"rules": {}, "k": 100}).json()
    assert (free["changed"], free["entered"], free["moved"]) == (0, 0, 0)
    assert free["held_out"] == "last purchases"
    assert free["ndcg_before"] == free["ndcg_after"] > 0
    nothing = client.post("/api/v1/rules/effect", json={"rules": {"allow": []}, "k": 100}).json()
    assert (nothing["ndcg_after"], nothing["allowed"], nothing["changed"]) == (0, 0, 30)


def test_what_was_bought_since_training_is_held_out_where_there_is_enough_of_it(bench):
    client, _ = bench
    bought = [{"user": f"u{number:03}", "product": product_id(100 + number)} for number in range(30)]
    assert client.post("/api/v1/events", json={"purchases": bought}).status_code == 200
    said = client.post("/api/v1/rules/effect", json={"rules": {}, "k": 100}).json()
    assert (said["held_out"], said["questions"]) == ("purchases since training", 30)


def test_a_trial_shows_what_would_be_gone_and_what_would_come_back(bench):
    client, _ = bench
    usual = ids(client.get(f"/api/v1/recommendations/users/{USER}"))
    assert client.put("/api/v1/rules", json={"deny": usual[:1]}).status_code == 200
    assert ids(client.post("/api/page/trial", json={"user": USER, "basket": [], "instead": {}})) == usual
    assert ids(client.get(f"/api/v1/recommendations/users/{USER}"))[0] == usual[1]


def test_the_history_tells_who_published_what_and_the_former_rules_can_be_put_back(bench):
    client, world = bench
    name = json.loads(world.settings.keys.read_text())["keys"][0]["name"]
    file = world.settings.models / "recommender" / "rules.json"
    file.write_text('{"deny": [1000]}')  # by hand, before anybody published
    assert client.get("/api/v1/rules").json()["rules"] == {"deny": [1000]}
    for rules in ({"pin": [1007]}, {"rules": [{"do": "ban", "products": [1014]}]}):
        assert client.put("/api/v1/rules", json=rules).status_code == 200
    found = client.get("/api/v1/rules/history").json()["published"]
    assert [(one["number"], one["key"], one["rules"]) for one in found] == [
        (3, name, {"rules": [{"do": "ban", "products": [1014]}]}),
        (2, name, {"pin": [1007]}),
        (1, None, {"deny": [1000]}),
    ]
    assert client.put("/api/v1/rules", json=found[1]["rules"]).json()["rules"] == {"pin": [1007]}
    (file.parent / "rules.history.json").write_text("[{")  # a damaged history stops nobody
    assert client.get("/api/v1/rules/history").json()["published"] == []
    assert client.put("/api/v1/rules", json={}).status_code == 200


def test_two_people_publish_one_after_the_other_and_a_change_of_the_catalogue_is_no_conflict(bench):
    client, _ = bench
    read = client.get("/api/v1/rules").json()["mark"]
    assert client.put("/api/v1/rules", json={"deny": [1000]}, headers={"If-Match": read}).status_code == 200
    late = client.put("/api/v1/rules", json={"pin": [1007]}, headers={"If-Match": read})
    assert (late.status_code, late.json()["detail"]) == (
        412,
        "the rules were changed since; read them again.",
    )
    soon = {"rules": [{"do": "ban", "where": {"in_stock": False}, "from": "2099-01-01"}]}
    mark = client.put("/api/v1/rules", json=soon).json()["mark"]
    assert client.put("/api/v1/rules", json={}, headers={"If-Match": mark}).status_code == 200


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"do": "ban", "where": {"colour": "red"}, "from": "2099-01-01"}, "has no column 'colour'. Its columns are: 'name'"),
        ({"do": "ban", "where": {"price": "cheap"}}, "'cheap' is no value of the column 'price'"),
        ({"do": "boost", "products": [1000], "factor": -1}, "factor of rule 1 .* is -1; it must be greater than 0"),
        ({"do": "ban", "products": [1000], "from": "2026-12-24", "to": "2026-12-01"}, "before it begins"),
        ({"do": "boost", "products": [1000], "factor": 0}, "factor of rule 1 .* is 0; it must be greater than 0"),
        ({"do": "bury", "products": [1000], "factor": "half"}, "factor of rule 1"),
        ({"do": "boost", "products": [1000], "places": 0}, "places of rule 1"),
        ({"do": "ban", "where": {"price": {"min": "cheap"}}}, "price"),
        ({"do": "at_most", "column": "colour", "most": 2}, "has no column 'colour'"),
        ({"do": "ban", "products": [1000], "from": "soon"}, "soon"),
    ],
)  # fmt: skip
def test_rules_that_cannot_hold_are_refused_where_they_are_wrong_and_nothing_is_half_done(bench, rule, said):
    client, _ = bench
    assert client.put("/api/v1/rules", json={"deny": [1000]}).status_code == 200
    for answer in (
        client.put("/api/v1/rules", json={"rules": [rule]}),
        client.post("/api/v1/rules/effect", json={"rules": {"rules": [rule]}}),
        client.post("/api/page/trial", json={"basket": [], "instead": {"rules": [rule]}}),
    ):
        assert answer.status_code == 422
        assert re.search(said, answer.json()["detail"])
    assert client.get("/api/v1/rules").json()["rules"] == {"deny": [1000]}
    assert len(client.get("/api/v1/rules/history").json()["published"]) == 2


def test_a_pin_of_an_unknown_product_is_published_and_named_as_without_effect(bench):
    client, _ = bench
    answer = client.put("/api/v1/rules", json={"pin": ["gone", product_id(150)]})
    assert (answer.status_code, answer.json()["unknown"]) == (200, ["gone"])
    assert answer.json()["idle_pins"] == [{"product": "gone", "rule": None}]
    assert all(found[0] == product_id(150) for found in lists(client).values())


def test_of_many_who_publish_at_once_one_wins_and_the_others_are_told(bench):
    client, _ = bench
    mark = client.get("/api/v1/rules").json()["mark"]

    def publish(number):
        return client.put("/api/v1/rules", json={"deny": [1000 + 7 * number]}, headers={"If-Match": mark})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(publish, range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    winner = next(answer for answer in answers if answer.status_code == 200)
    assert client.get("/api/v1/rules").json()["rules"] == winner.json()["rules"]
    assert len(client.get("/api/v1/rules/history").json()["published"]) == 2


def test_a_catalogue_that_lost_a_column_of_a_rule_holds_lists_back_until_it_is_mended(bench):
    client, world = bench
    ban = {"rules": [{"do": "ban", "where": {"brand": "a"}}]}
    assert client.put("/api/v1/rules", json=ban).status_code == 200
    file = world.settings.catalogue
    whole = pl.read_parquet(file)
    whole.drop("brand").write_parquet(file)
    settings = {"catalogue": file, "keys": world.settings.keys, "poll_seconds": 0.05}
    with client_of(world.settings.models, **settings) as again:
        again.headers.update(world.headers)
        refused = again.get(f"/api/v1/recommendations/users/{USER}")
        assert (refused.status_code, "are not known" in refused.text or "cannot be read" in refused.text) == (
            503,
            True,
        )
        ready = again.get("/readyz")
        assert ready.status_code == 503
        assert "has no column 'brand'" in ready.text
        said = again.get("/api/v1/rules").json()
        assert "has no column 'brand'" in said["problem"]
        whole.write_parquet(file)
        end = time.monotonic() + 30
        while again.get("/readyz").status_code != 200:
            assert time.monotonic() < end, again.get("/readyz").text
            time.sleep(0.05)
        listed = ids(again.get(f"/api/v1/recommendations/users/{USER}", params={"k": 100}))
        brands = dict(whole.select("product_id", "brand").iter_rows())
        assert {brands[one] for one in listed} == {"b", "c"}
