"""The clean API: lists, fallbacks, reasons, rules, products, histories, and how it refuses."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from api_worlds import NEW, api_world, catalogue
from serving_worlds import PRODUCTS, client_of, make_model, product_id

import tastemaker as tm
from tastemaker.serving.api import schemas as bodies
from tastemaker.serving.api.routes import OPERATIONS

MODEL = make_model(1)
USERS = "/api/v1/recommendations/users"
BASKET = "/api/v1/recommendations/basket"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return api_world(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def api(world):
    settings = world.settings
    with client_of(
        settings.models,
        catalogue=settings.catalogue,
        keys=settings.keys,
        events=settings.events,
        poll_seconds=60,
    ) as client:
        client.headers.update(world.headers)
        yield client


def pairs(answer):
    """Return (product, score) pairs of an answer, the scores as float32, in which JSON wrote them."""
    return [(entry["product"], float(np.float32(entry["score"]))) for entry in answer["recommendations"]]


def products(answer):
    return [entry["product"] for entry in answer["recommendations"]]


def checked(answer, kind):
    """Return the JSON of an answer that is what its declaration says."""
    assert answer.status_code == 200, answer.text
    msgspec.json.decode(answer.content, type=kind)
    return answer.json()


# Lists ------------------------------------------------------------------------------------------------------


def test_a_user_gets_the_list_that_recommend_makes(api):
    for user in ("u003", "u017"):
        for include in (False, True):
            answer = api.get(f"{USERS}/{user}", params={"k": 7, "include_purchased": str(include).lower()})
            found = checked(answer, bodies.Answered)
            expected = tm.recommend(MODEL, [user], k=7, include_purchased=include).of(0)
            assert pairs(found) == expected
            assert [entry["rank"] for entry in found["recommendations"]] == list(range(1, 8))
            assert (found["source"], found["user"], found["model"], found["version"]) == (
                "personal", user, "recommender", 1,
            )  # fmt: skip


def test_a_basket_gets_the_list_that_recommend_baskets_makes(api):
    basket = [product_id(3), product_id(90)]
    found = checked(
        api.post(BASKET, json={"basket": [*basket, "nope", str(basket[0])], "k": 5}), bodies.Answered
    )
    assert pairs(found) == tm.recommend_baskets(MODEL, [basket], k=5).of(0)
    assert (found["source"], found["unknown"]) == ("basket", ["nope"])


def test_a_user_with_a_basket_is_ranked_for_with_both(api):
    body = {"user": "u003", "basket": [product_id(90)], "k": 5}
    found = checked(api.post(BASKET, json=body), bodies.Answered)
    bought = [product_id(3), product_id(6), product_id(90)]
    assert pairs(found) == tm.recommend_baskets(MODEL, [bought], k=5).of(0)
    assert found["source"] == "personal"


def test_an_unknown_user_gets_best_sellers_unless_an_error_is_asked_for(api):
    found = checked(api.get(f"{USERS}/nobody?k=4"), bodies.Answered)
    assert pairs(found) == tm.recommend_baskets(MODEL, [[]], k=4).of(0)
    assert (found["source"], found["unknown"]) == ("best sellers", ["nobody"])
    refused = api.get(f"{USERS}/nobody?on_unknown=error")
    assert (refused.status_code, refused.json()["unknown"]) == (404, ["nobody"])
    assert api.get(f"{USERS}/u003?on_unknown=error").status_code == 200


def test_a_basket_of_new_products_gets_the_best_sellers_of_their_category(api):
    found = checked(api.post(BASKET, json={"basket": [NEW], "k": PRODUCTS, "details": True}), bodies.Answered)
    assert (found["source"], found["filled"]) == ("category best sellers", PRODUCTS // 2)
    categories = [entry["about"]["category"] for entry in found["recommendations"]]
    assert categories == ["x"] * (PRODUCTS // 2) + ["y"] * (PRODUCTS // 2)


def test_a_stranger_in_a_category_gets_its_best_sellers_by_name(api):
    found = checked(api.get(f"{USERS}/nobody?where=category:y&k=3"), bodies.Answered)
    best = [row for row in np.argsort(-MODEL.product_bias, kind="stable") if row % 2][:3]
    assert (found["source"], found["filled"]) == ("category best sellers", 0)
    assert products(found) == [product_id(row) for row in best]


def test_a_batch_gets_what_its_users_and_baskets_get_alone(api):
    body = {"users": ["u001", "zz", "u002"], "baskets": [[product_id(5)], [], [NEW]], "k": 4}
    found = checked(api.post("/api/v1/batch", json=body), bodies.BatchAnswer)
    alone = [api.get(f"{USERS}/{user}?k=4").json() for user in body["users"]]
    alone += [api.post(BASKET, json={"basket": basket, "k": 4}).json() for basket in body["baskets"]]
    assert [{"model": "recommender", "version": 1, **answer} for answer in found["answers"]] == [
        {"model": answer["model"], "version": 1, **answer} for answer in alone
    ]
    assert checked(api.post("/api/v1/batch", json={}), bodies.BatchAnswer)["answers"] == []


def test_a_batch_with_too_many_queries_is_refused(api):
    body = {"users": ["u"] * 200, "baskets": [[]] * 100}
    assert api.post("/api/v1/batch", json=body).status_code == 422
    assert api.post("/api/v1/batch", json={"users": ["u"] * 257}).status_code == 400


def test_similar_products_are_those_of_similar(api):
    found = checked(api.get(f"/api/v1/products/{product_id(4)}/similar?k=6"), bodies.SimilarAnswer)
    expected = tm.similar(MODEL, [product_id(4)], k=6).of(0)
    assert [(entry["product"], float(np.float32(entry["score"]))) for entry in found["similar"]] == expected
    own = api.get(f"/api/v1/products/{product_id(4)}/similar?k=1&include_self=true").json()
    assert (
        own["similar"][0]["product"] == tm.similar(MODEL, [product_id(4)], k=1, include_self=True).of(0)[0][0]
    )
    assert api.get("/api/v1/products/4/similar").status_code == 404
    assert api.get("/api/v1/products/x%2Fy/similar").status_code == 404


# Reasons ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [{"user": "u005", "basket": []}, {"basket": [1000, 1007, 1700, 1735, 1742]}, {"basket": []}]
)
def test_the_reasons_add_up_to_the_score(api, body):
    found = checked(api.post(BASKET, json={**body, "why": True, "k": 20}), bodies.Answered)
    for entry in found["recommendations"]:
        why = entry["reasons"]
        numbers = [why[name] for name in ("popularity", "taste", "repeat", "others_taste", "others_memory")]
        numbers += [part for spoken in why["purchases"] for part in (spoken["taste"], spoken["memory"])]
        assert sum(numbers) == pytest.approx(entry["score"], abs=1e-4)
        weights = [spoken["taste"] + spoken["memory"] for spoken in why["purchases"]]
        assert weights == sorted(weights, reverse=True)
        assert len(weights) <= 3
        assert all(weight > 0 for weight in weights)


def test_reasons_change_no_list(api):
    assert pairs(api.get(f"{USERS}/u009?why=true").json()) == pairs(api.get(f"{USERS}/u009").json())


# Rules ------------------------------------------------------------------------------------------------------


def test_the_rules_of_a_query(api):
    query = [
        ("k", 6),
        ("where", "brand:a"),
        ("where", "brand:b"),
        ("where", "in_stock:true"),
        ("minimum_price", 20),
    ]
    query += [
        ("at_most", "category:3"),
        ("deny", product_id(21)),
        ("pin", product_id(31)),
        ("pin", product_id(32)),
    ]
    found = checked(api.get(f"{USERS}/u003", params=query), bodies.Answered)
    rows = [(id - 1000) // 7 for id in products(found)]
    may = [row for row in range(20, PRODUCTS) if row % 3 < 2 and row % 5 and row != 21]
    assert found["rules"]["allowed"] == len(may)
    assert found["rules"]["candidates"] == PRODUCTS
    assert found["rules"]["removed"][-1]["rule"] == "at_most.category"
    assert rows[0] == 31
    assert found["recommendations"][0]["pinned"]
    assert "pinned" not in found["recommendations"][1]
    everything = [(product - 1000) // 7 for product, _ in tm.recommend(MODEL, ["u003"], k=PRODUCTS).of(0)]
    expected, counts = [], {0: 0, 1: 0}
    for row in [31, *(row for row in everything if row != 31)]:
        if row in may and counts[row % 2] < 3:
            expected.append(row)
            counts[row % 2] += 1
    assert rows == expected


def test_the_rules_of_a_body(api):
    body = {
        "user": "u003",
        "basket": [],
        "k": 500,
        "rules": {"where": {"price": {"min": 10, "max": 19.5}}, "deny": [1084]},
    }
    found = checked(api.post(BASKET, json=body), bodies.Answered)
    assert sorted(products(found)) == [product_id(row) for row in range(10, 20) if row != 12]
    assert found["rules"]["removed"] == [
        {"rule": "deny", "removed": 1},
        {"rule": "where.price", "removed": 150},
        {"rule": "purchased", "removed": 0},
    ]


def test_a_range_in_a_query_is_that_of_a_body(api):
    rules = {"where": {"price": {"min": 10, "max": 19.5}}}
    body = api.post("/api/v1/batch", json={"users": ["u003"], "k": 5, "rules": rules}).json()["answers"][0]
    query = checked(api.get(f"{USERS}/u003?k=5&where=price:10..19.5"), bodies.Answered)
    assert query["rules"] == body["rules"]
    assert query["rules"]["removed"][0] == {"rule": "where.price", "removed": PRODUCTS - 10}
    assert pairs(query) == pairs(body)
    refused = api.get(f"{USERS}/u003?where=price:19..10")
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "where.price in the request goes from 19 to 10; 'min' must not be above 'max'.",
    )


def test_rules_on_columns_that_are_not_there_name_those_that_are(api):
    refused = api.get(f"{USERS}/u003?where=hue:red")
    assert refused.status_code == 422
    assert "no column 'hue'. Its columns are: 'name', 'brand', 'price'" in refused.json()["detail"]


@pytest.fixture
def own_api(tmp_path):
    world = api_world(tmp_path)
    with client_of(
        world.settings.models, catalogue=world.settings.catalogue, keys=world.settings.keys, poll_seconds=60
    ) as client:
        client.headers.update(world.headers)
        yield world, client


def test_a_rules_file_that_is_put_holds_at_once_and_is_kept(own_api):
    world, api = own_api
    file = world.settings.models / "recommender" / "rules.json"
    first = checked(api.get("/api/v1/rules"), bodies.RulesAnswer)
    assert (first["rules"], first["problem"], first["allowed"]) == ({}, None, PRODUCTS)
    best = products(api.get(f"{USERS}/u003").json())[0]
    rules = {"deny": [best, "gone"], "pin": [product_id(9)]}
    found = checked(api.put("/api/v1/rules", json=rules), bodies.RulesAnswer)
    assert (found["rules"], found["unknown"], found["allowed"]) == (rules, ["gone"], PRODUCTS - 1)
    assert json.loads(file.read_text()) == rules
    listed = products(api.get(f"{USERS}/u003").json())
    assert listed[0] == product_id(9)
    assert best not in listed
    near = checked(api.get(f"/api/v1/products/{product_id(9)}/similar?k=500"), bodies.SimilarAnswer)
    assert best not in products({"recommendations": near["similar"]})
    assert near["rules"] == {
        "candidates": PRODUCTS, "allowed": PRODUCTS - 1, "unknown": ["gone"],
        "removed": [{"rule": "deny", "removed": 1}],
    }  # fmt: skip


def test_rules_are_replaced_only_if_they_are_those_that_were_read(own_api):
    _, api = own_api
    read = api.get("/api/v1/rules").headers["etag"]
    assert api.put("/api/v1/rules", json={"deny": [1000]}, headers={"If-Match": read}).status_code == 200
    assert api.put("/api/v1/rules", json={}, headers={"If-Match": read}).status_code == 412
    assert api.get("/api/v1/rules").json()["rules"] == {"deny": [1000]}
    assert api.put("/api/v1/rules", json={}, headers={"If-Match": "*"}).status_code == 200


def test_rules_that_another_worker_just_wrote_are_seen_and_not_overwritten(own_api):
    world, api = own_api  # it looks at its files once in 60 seconds
    file = world.settings.models / "recommender" / "rules.json"
    read = api.get("/api/v1/rules").headers["etag"]
    file.write_text('{"deny": [1001]}')
    assert api.put("/api/v1/rules", json={"deny": [1000]}, headers={"If-Match": read}).status_code == 412
    file.write_text('{"deny": [1002, 1003]}')
    assert api.get("/api/v1/rules").json()["rules"] == {"deny": [1002, 1003]}


def test_rules_that_cannot_hold_are_refused_and_the_former_stay(own_api):
    world, api = own_api
    api.put("/api/v1/rules", json={"deny": [1000]})
    assert api.put("/api/v1/rules", json={"where": {"hue": 1}}).status_code == 422
    assert api.put("/api/v1/rules", json={"ban": [1000]}).status_code == 400
    assert api.get("/api/v1/rules").json()["rules"] == {"deny": [1000]}
    (world.settings.models / "recommender" / "rules.json").write_text("{")
    api.app.state.service.state.rules.look()
    found = api.get("/api/v1/rules").json()
    assert found["rules"] == {"deny": [1000]}
    assert "holds no rules" in found["problem"]
    assert str(world.folder) not in found["problem"]
    assert "holds no rules" in api.get("/api/v1/models").json()["models"][0]["rules_problem"]


def test_only_an_admin_may_change_rules_and_see_or_add_purchases(api, world):
    reader = {"Authorization": f"Bearer {world.reader}"}
    assert api.get("/api/v1/rules", headers=reader).status_code == 200
    for answer in (
        api.put("/api/v1/rules", json={}, headers=reader),
        api.post("/api/v1/events", json={"purchases": [{"user": "u", "product": "p"}]}, headers=reader),
        api.get("/api/v1/events/export", headers=reader),
    ):
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"


# What is served ---------------------------------------------------------------------------------------------


def test_models_say_what_there_is(api):
    (found,) = checked(api.get("/api/v1/models"), bodies.ModelsAnswer)["models"]
    assert (found["name"], found["default"], found["refused"], found["labels"]) == ("recommender", 1, {}, {})
    assert found["versions"][0]["counts"] == {"users": 30, "products": PRODUCTS, "purchases": 59}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (str(product_id(12)), [12]),
        ("hat 77", [77]),
        ("SCRIPT 158", [158]),
        ("no such thing", []),
        ("Hat, [77]", [77]),
    ],
)
def test_products_are_found_by_id_or_words_of_their_name(api, text, rows):
    found = checked(api.get("/api/v1/products", params={"search": text}), bodies.ProductsAnswer)
    assert [entry["product"] for entry in found["products"]] == [product_id(row) for row in rows]


def test_an_empty_search_lists_what_sells_best(api):
    found = checked(api.get("/api/v1/products?limit=200"), bodies.ProductsAnswer)
    buyers = [entry["buyers"] for entry in found["products"]]
    assert (len(buyers), sum(buyers)) == (PRODUCTS, 59)
    assert buyers == sorted(buyers, reverse=True)
    assert found["parts"] == {
        "name": "name", "price": "price", "category": "category", "brand": "brand", "stock": "in_stock",
    }  # fmt: skip
    assert found["columns"]["price"] == "Float64"


def test_one_product_is_what_the_catalogue_says(api):
    (found,) = checked(api.get(f"/api/v1/products/{product_id(11)}"), bodies.ProductsAnswer)["products"]
    expected = {
        name: value for name, value in catalogue().row(11, named=True).items() if name != "product_id"
    }
    assert found["about"] == expected
    assert api.get("/api/v1/products/999").status_code == 404


def test_a_history_is_what_the_user_bought(api):
    found = checked(api.get("/api/v1/users/u004/history?details=true"), bodies.HistoryAnswer)
    assert [(entry["product"], entry["times"], entry["live"]) for entry in found["purchases"]] == [
        (product_id(4), 1, False), (product_id(8), 1, False),
    ]  # fmt: skip
    assert found["purchases"][0]["about"]["name"] == "Hat 4 <script>"
    assert api.get("/api/v1/users/nobody/history").status_code == 404


# Choosing a model -------------------------------------------------------------------------------------------


def test_a_request_may_name_model_version_and_label(client):
    best = [product for product, _ in tm.recommend(make_model(3), ["u003"], k=3).of(0)]
    old = [product for product, _ in tm.recommend(make_model(1), ["u003"], k=3).of(0)]
    named = {"model": "recommender", "k": 3}
    assert products(client.get(f"{USERS}/u003", params=named).json()) == best
    assert products(client.get(f"{USERS}/u003", params={**named, "version": 1}).json()) == old
    canary = client.get(f"{USERS}/u003", params={**named, "label": "canary"})
    assert products(canary.json()) == old
    assert canary.headers["model-version"] == "recommender/1"
    texts = client.get(f"{USERS}/u003", params={"model": "texts"}).json()
    assert texts["recommendations"][0]["product"].startswith("p1")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("model=nope", 404),
        ("model=", 404),
        ("model=recommender&version=2", 404),
        ("model=recommender&label=nope", 404),
        ("model=recommender&label=canary&version=1", 422),
        ("model=../etc", 404),
    ],
)
def test_what_is_not_served_is_refused(client, query, status):
    assert client.get(f"{USERS}/u003?{query}").status_code == status


# How it answers ---------------------------------------------------------------------------------------------


def test_a_client_that_has_the_answer_gets_none_again(api):
    first = api.get(f"{USERS}/u003?k=3")
    again = api.get(f"{USERS}/u003?k=3", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert api.get(f"{USERS}/u003?k=4", headers={"If-None-Match": first.headers["etag"]}).status_code == 200
    assert first.headers["model-version"] == "recommender/1"
    head = api.head(f"{USERS}/u003?k=3")
    assert (head.status_code, head.headers["etag"]) == (200, first.headers["etag"])


@pytest.mark.parametrize(
    "query",
    [
        "k=0", "k=1001", "k=x", "k=1.5", "k=", "k=1&k=2", "k=007", "why=1", "why=True", "kk=1", "version=0",
        "minimum_price=nan", "minimum_price=1e999", "where=brand", "at_most=brand:0", "at_most=brand", "%ff=1", "model=%ff",
        "on_unknown=maybe", "k=" + "9" * 5000,
    ],
)  # fmt: skip
def test_a_wrong_query_is_refused(api, query):
    answer = api.get(f"{USERS}/u003?{query}")
    problem = msgspec.json.decode(answer.content, type=bodies.Problem)
    assert (answer.status_code, problem.status) == (400, 400)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"basket": 3}', b'{"basket": [1.5]}', b'{"basket": [true]}', b'{"basket": [null]}',
        b'{"basket": [], "k": "1"}', b'{"basket": [], "k": 1001}', b'{"basket": [], "colour": 1}', b"{}",
        b'{"basket": [99999999999999999999]}', b'{"basket": ["\xff"]}', b'{"basket": [], "rules": {"ban": []}}',
        b'{"basket": [], "rules": {"at_most": {"brand": 0}}}', b'{"basket": ' + b"[" * 100_000,
        b'{"basket": [' + b"1," * 1000 + b"1]}",
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused(api, body):
    answer = api.post(BASKET, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["status"] == 400


def test_a_body_that_says_it_is_no_json_is_refused(api):
    answer = api.post(BASKET, content=b'{"basket": []}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_an_integer_may_be_written_with_a_point(api):
    found = api.post(BASKET, json={"basket": [1000.0], "k": 3.0}).json()
    assert found == {**api.post(BASKET, json={"basket": [1000], "k": 3}).json()}


def test_a_method_that_is_not_there_is_refused_with_those_that_are(api):
    answer = api.delete("/api/v1/rules")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT"}
    assert api.get("/api/v1/nothing").headers["content-type"] == "application/problem+json"


# The document -----------------------------------------------------------------------------------------------


def test_the_document_and_the_page_need_no_key_and_name_every_operation(api):
    document = api.get("/openapi.json", headers={"Authorization": ""}).json()
    assert document["openapi"] == "3.1.0"
    named = {
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    }
    assert named == {operation.name for operation in OPERATIONS}
    page = api.get("/docs", headers={"Authorization": ""})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert all(f'id="{name}"' in page.text for name in named)


def test_the_document_holds_the_limits_of_this_server(tmp_path):
    world = api_world(tmp_path)
    with client_of(world.settings.models, most_k=17, most_basket=3) as api:
        text = api.get("/openapi.json").text
        assert '"maximum":17' in text
        assert "x-limit" not in text
        assert api.get(f"{USERS}/u003?k=18").status_code == 400
        assert api.get(f"{USERS}/u003?k=17").status_code == 200
        assert api.post(BASKET, json={"basket": [1, 2, 3, 4]}).status_code == 400
        assert api.post("/api/v1/batch", json={"baskets": [[1, 2, 3, 4]]}).status_code == 400
        assert api.post(BASKET, json={"basket": [], "rules": {"deny": [1, 2, 3, 4]}}).status_code == 400


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.wanted, self.there = set(), set()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        assert tag not in ("script", "img", "link", "iframe")
        self.there.add(found.get("id"))
        if found.get("href", "").startswith("#"):
            self.wanted.add(found["href"][1:])


def test_the_page_needs_nothing_from_elsewhere_and_its_links_lead_somewhere(api):
    page = api.get("/docs").text
    links = Links()
    links.feed(page)
    assert links.wanted <= links.there
    assert "http" not in page.replace("http-equiv", "").replace("HTTP", "")
