"""One shop, one answer: Python, the command line, both HTTP faces and the page list the same for a visitor under some rules."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from api_worlds import api_world, catalogue
from serving_worlds import client_of, product_id
from typer.testing import CliRunner

import tastemaker as tm
from tastemaker.cli.app import app
from tastemaker.serving.answering.active_rules import FILE

BASKET = [product_id(row) for row in (3, 30, 77)]
RULES = {
    "none": {},
    "a mask": {"deny": BASKET[:1], "where": {"in_stock": True}},
    "few left": {"where": {"price": {"min": 150}}},
    "a category": {"where": {"category": "x"}, "at_most": {"brand": 3}},
    "pins and caps": {"pin": [product_id(9)], "at_most": {"brand": 2, "category": 3}},
    "purchased too": {"include_purchased": True},
}


class Shop:
    """A served model with its catalogue and rules, and every way to ask it."""

    def __init__(self, world, client, rules_file):
        self.world, self.client, self.rules = world, client, rules_file
        self.folder = world.settings.models / "recommender" / "1"
        self.model, self.catalogue = tm.load(self.folder), catalogue()

    def python(self, ask, whom, **options):
        return ask(self.model, whom, rules=self.rules, catalogue=self.catalogue, k=7, **options)

    def command_line(self, *arguments):
        done = CliRunner().invoke(app, [*map(str, arguments), "--k", "7", "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def recommend(self, *whom):
        return self.command_line(
            *("recommend", self.folder, *whom, "--why"),
            *("--rules", self.rules, "--catalogue", self.world.settings.catalogue),
        )["recommendations"][0]

    def api(self, path, body=None):
        method = "GET" if body is None else "POST"
        found = self.client.request(method, path, json=body, headers=self.world.headers)
        assert found.status_code == 200, found.text
        return found.json()

    def tensorflow(self, signature, **inputs):
        body = {"signature_name": signature, "inputs": {**inputs, "k": 7}}
        found = self.api("/v1/models/recommender:predict", body)["outputs"]
        return list(zip(found["product_ids"], map(np.float32, found["scores"]), strict=True))


@pytest.fixture(params=RULES.values(), ids=list(RULES))
def shop(request, tmp_path):
    world = api_world(tmp_path)
    file = world.settings.models / "recommender" / FILE
    file.write_text(json.dumps(request.param))
    settings = world.settings
    with client_of(settings.models, catalogue=settings.catalogue, keys=settings.keys) as client:
        yield Shop(world, client, file)


def essence(answer, *, key="product", products="recommendations"):
    """What every face says of a list: source, products, scores, reasons, what rules removed."""
    listed = answer[products]
    return {
        "source": answer["source"],
        "filled": answer["filled"],
        "removed": answer["rules"]["removed"],
        "counts": (answer["rules"]["candidates"], answer["rules"]["allowed"]),
        "products": [
            (
                product[key],
                product["rank"],
                np.float32(product["score"]),
                product.get("pinned", False),
                *reason(product["reasons"], key),
            )
            for product in listed
        ],
    }


def reason(why, key):
    parts = [why[part] for part in ("popularity", "taste", "repeat", "others_taste", "others_memory")]
    return parts, [(each[key], each["taste"], each["memory"], each["together"]) for each in why["purchases"]]


def plain(answer):
    return [(product["product"], np.float32(product["score"])) for product in answer["recommendations"]]


def test_a_user_gets_one_list_by_every_way(shop):
    for user in ("u004", "u029"):
        python = shop.python(tm.recommend, [user], explain=True).to_json()[0]
        api = shop.api(f"/api/v1/recommendations/users/{user}?k=7&why=true")
        line = shop.recommend("--user", user)
        assert essence(python) == essence(api) == essence(line, key="product_id", products="products")
        # as the page asks, which needs no reasons, and in company on the event loop
        page = shop.api("/api/v1/batch", {"users": ["u001", user], "k": 7, "details": True})["answers"][1]
        assert plain(python) == plain(page) == shop.tensorflow("recommend_user", user=user)
        assert page["rules"] == api["rules"]


def test_a_basket_gets_one_list_by_every_way(shop):
    for basket in (BASKET, [], [5]):  # the model knows no product 5, and the catalogue does
        python = shop.python(tm.recommend_baskets, [basket], explain=True).to_json()[0]
        body = {"basket": basket, "k": 7}
        api = shop.api("/api/v1/recommendations/basket", {**body, "why": True})
        line = shop.recommend("--basket", ",".join(map(str, basket)))
        assert essence(python) == essence(api) == essence(line, key="product_id", products="products")
        page = shop.api("/api/v1/recommendations/basket", {**body, "details": True})
        assert plain(python) == plain(page) == shop.tensorflow("recommend_basket", basket=basket)
        assert page["rules"] == api["rules"]


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_product_has_the_same_neighbours_by_every_way(shop, similarity):
    python = shop.python(tm.similar, [BASKET[0]], similarity=similarity).of(0)
    # the very question of the page
    page = shop.api(f"/api/v1/products/{BASKET[0]}/similar?k=7&similarity={similarity}&details=true")
    served = [(product["product"], np.float32(product["score"])) for product in page["similar"]]
    assert [(product, np.float32(score)) for product, score in python] == served
    if similarity == "dot":
        assert shop.tensorflow("similar_products", product=BASKET[0]) == served
    if json.loads(shop.rules.read_text()) == {}:
        line = shop.command_line("similar", shop.folder, "--product", BASKET[0], "--similarity", similarity)
        listed = line["similar"][0]["products"]
        assert [(each["similar_id"], np.float32(each["score"])) for each in listed] == served


def test_the_page_ranks_nothing_itself(shop):
    """Whatever lists it shows, it asks the API for."""
    shell = shop.client.get("/").text
    scripts = [shop.client.get(name).text for name in re.findall(r'"(/static/\w+/\w+\.js)"', shell)]
    asked = set(re.findall(r"/api/page/\w+", "".join(scripts)))
    assert asked == {
        f"/api/page/{name}" for name in ("browse", "known", "session", "trial", "users")
    }  # of these, a trial alone makes lists, by the one function that makes the API's
