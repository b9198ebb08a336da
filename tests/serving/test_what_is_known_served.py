"""Context, attributes and views over HTTP and on the command line: the same lists as in Python, and what is unknown is told."""

from __future__ import annotations

import json

import pytest
from serving_worlds import client_of
from typer.testing import CliRunner

import tastemaker as tm
from beside_worlds import log_of
from tastemaker.cli.app import app
from tastemaker.model.folder import save

SETTLED = {
    "dimensions": 8, "epochs": 6, "tokens.columns": "context:occasion,product:made_for", "kinds.own": "view=5",
    "kinds.after": "", "kinds.taste": "", "kinds.places": 0.0, "kinds.days": 0.0, "live.rate": 1.0, "live.half_life": 240.0,
    "live.fold_in": 0.0, "live.dial": 0.0, "live.young": 0.0,
    "order.taste_places": 8.0, "order.taste_days": 0.0, "order.memory_places": 4.0,
    "order.memory_days": 0.0, "memory.count_weight": 1.0, "memory.ridge_weight": 0.0, "memory.directed_weight": 0.0,
    "memory.spectral_weight": 0.0, "trend.weight": 0.0, "repeats.weight": 0.0, "repeats.sales": 0.0, "repeats.level": 0.0,
}  # fmt: skip
VISIT = {"context": {"occasion": "sport", "moon": "full"}, "viewed": ["office-01", "kite"]}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    model = tm.train(log_of(), tm.preset("default").changed(SETTLED))
    models = tmp_path_factory.mktemp("models")
    save(model, models / "shop" / "1")
    return model, models


def expected(model, user):
    visit = tm.Visit(user=user, context=VISIT["context"], viewed=VISIT["viewed"])
    return [product for product, _ in tm.recommend_visits(model, [visit], k=8).of(0)]


@pytest.mark.parametrize("user", ["u7", None])
def test_a_visit_gets_the_same_list_over_http(shop, user):
    model, models = shop
    body = {"basket": [], "k": 8, "why": True, **VISIT} | ({"user": user} if user else {})
    with client_of(models) as client:
        answer = client.post("/api/v1/recommendations/basket", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [entry["product"] for entry in found["recommendations"]] == expected(model, user)
    assert set(found["unknown"]) == {"kite", "moon=full"}
    assert found["source"] == ("personal" if user else "context")
    facts = [fact for entry in found["recommendations"] for fact in entry["reasons"]["facts"]]
    assert "occasion sport" in {fact["fact"] for fact in facts}
    viewed = {fact["product"] for fact in facts if fact["fact"] == "view"}
    assert viewed == {"office-01"} or (user and not viewed)  # u7 may have bought it since


def test_a_visit_gets_the_same_list_on_the_command_line(shop):
    model, models = shop
    flags = ["--context", "occasion=sport", "--context", "moon=full", "--viewed", "office-01,kite"]
    ran = CliRunner().invoke(
        app, ["recommend", str(models / "shop" / "1"), "--user", "u7", *flags, "--k", "8", "--json"]
    )
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert [entry["product_id"] for entry in found["recommendations"][0]["products"]] == expected(model, "u7")
    assert set(found["unknown"]) == {"kite", "moon=full"}


@pytest.mark.parametrize(
    "flags",
    [["--context", "sport"], ["--context", "a=1", "--context", "a=2"], ["--context", "a=1", "--all-users"]],
)
def test_a_visit_that_is_none_is_a_usage_error(shop, flags):
    ran = CliRunner().invoke(app, ["recommend", str(shop[1] / "shop" / "1"), *flags])
    assert ran.exit_code == 2
