"""`serve --approximate`: the API says which lists an index found; everything else stays exact."""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest
from serving_worlds import client_of, make_model, product_id

from tastemaker.model.folder import save
from tastemaker.ranking.index.index_folder import build_index, index_folder
from tastemaker.ranking.visitors import Visitor
from tastemaker.serving.answering.batcher import Engine, Ranking
from tastemaker.serving.answering.event_store import Event
from tastemaker.serving.models.registry import Registry, find_versions

pytest.importorskip("faiss", reason="the extra `index` is not installed")

USER = "/api/v1/recommendations/users/u003"
SIMILAR = f"/api/v1/products/{product_id(3)}/similar"


def indexed(models, *, products, wanted):
    """A folder of models: one, with an index that finds the wanted share."""
    model = make_model(1, products=products)
    folder = save(model, models / "recommender" / "1")
    build_index(folder, wanted=wanted)
    return models


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return indexed(tmp_path_factory.mktemp("indexed"), products=600, wanted=1.0)


@pytest.fixture(scope="module")
def client(models):
    with client_of(models, approximate=True) as client:
        yield client


@pytest.fixture(scope="module")
def exact(models):
    with client_of(models) as client:
        yield client


def lists_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_api_says_that_an_index_found_the_products(client, exact):
    found, best = lists_of(client.get(USER)), lists_of(exact.get(USER))
    assert found.pop("exact") is False
    assert found == best  # this index reads what it must to miss none
    near, nearest = lists_of(client.get(SIMILAR)), lists_of(exact.get(SIMILAR))
    assert near.pop("exact") is False
    assert near.keys() == nearest.keys()


def test_a_batch_says_it_of_each_list_that_an_index_found(client):
    asked = {"users": ["u003", "nobody"], "baskets": [[product_id(5)]]}
    answers = lists_of(client.post("/api/v1/batch", json=asked))["answers"]
    assert [answer.get("exact") for answer in answers] == [False, None, False]


def test_lists_under_rules_and_with_reasons_stay_exact(client):
    assert "exact" not in lists_of(client.get(f"{USER}?deny={product_id(9)}"))
    assert "exact" not in lists_of(client.get(f"{USER}?why=true"))


@pytest.fixture(scope="module")
def rough(tmp_path_factory):
    """A server whose index finds other lists than there are."""
    models = indexed(tmp_path_factory.mktemp("rough"), products=6000, wanted=0.05)
    with (
        client_of(models, approximate=True, events=models / "events.db") as client,
        client_of(models) as exact,
    ):
        yield client, exact


def test_every_call_of_the_tensorflow_shaped_routes_stays_exact(rough):
    client, exact = rough
    different = 0
    for number in range(20):
        user, product = f"u{number:03}", product_id(number)
        for signature, inputs in (
            ("call_item_item", {"item": [product]}),
            ("similar_products", {"product": product}),
            ("recommend_user", {"user": user}),
            ("recommend_basket", {"basket": [product]}),
        ):
            asked = {"signature_name": signature, "inputs": inputs}
            url = "/v1/models/recommender:predict"
            assert lists_of(client.post(url, json=asked)) == lists_of(exact.post(url, json=asked))
        path = f"/api/v1/recommendations/users/{user}"
        found, best = lists_of(client.get(path)), lists_of(exact.get(path))
        different += found["recommendations"] != best["recommendations"]
    assert different  # or nothing was shown by the calls above


def test_whoever_bought_since_gets_an_exact_list(rough):
    client, _ = rough
    path = "/api/v1/recommendations/users/u022"
    assert lists_of(client.get(path))["exact"] is False
    client.app.state.service.state.events.add([Event("u022", str(product_id(2000)), time.time_ns() // 1000)])
    assert "exact" not in lists_of(client.get(path))
    asked = {"user": "u021", "basket": [product_id(2000)]}
    assert "exact" not in lists_of(client.post("/api/v1/recommendations/basket", json=asked))


def test_an_index_finds_the_same_in_any_company(rough):
    client, _ = rough
    loaded = client.app.state.service.registry.get("recommender")

    async def ask(lengths):
        engine = Engine(1, 512)
        try:
            how = Ranking(loaded, approximate=True)
            visitor = Visitor(7, *loaded.bought(7))
            return await asyncio.gather(*[engine.rank(how, [visitor], k) for k in lengths])
        finally:
            engine.close()

    (alone,) = asyncio.run(ask([5]))[0]
    for company in ([5, 100], [100, 5, 3000]):
        lists = asyncio.run(ask(company))
        assert lists[company.index(5)][0].rows.tolist() == alone.rows.tolist()


def test_the_document_of_the_api_knows_the_field(client):
    schemas = lists_of(client.get("/openapi.json"))["components"]["schemas"]
    for kind in ("Answered", "Listed", "SimilarAnswer"):
        assert schemas[kind]["properties"]["exact"]["type"] == "boolean"
        assert "exact" not in schemas[kind]["required"]


def test_an_index_of_another_model_is_told_and_the_version_served_exactly(models, tmp_path, caplog):
    folder = save(make_model(2, products=600), tmp_path / "recommender" / "1")
    shutil.copytree(index_folder(models / "recommender" / "1"), index_folder(folder))
    with client_of(tmp_path, approximate=True) as client:
        assert "exact" not in lists_of(client.get(USER))
    assert "the index of another model" in caplog.text


def test_an_index_is_taken_up_when_it_is_built_and_is_no_model_itself(tmp_path):
    model = make_model(1, products=600)
    folder = save(model, tmp_path / "mine")
    shelf = Registry(tmp_path, approximate=True)
    shelf.look()
    assert shelf.get("mine").index is None
    build_index(folder)
    shelf.look()
    assert shelf.get("mine").index is not None
    assert set(find_versions(tmp_path)) == {("mine", 1)}
