"""Browsing and searching the catalogue: what is found, in which order, counted how; and the same as a file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from api_worlds import ApiWorld, api_world
from serving_worlds import PRODUCTS, client_of, make_model, product_id

from tastemaker.data.past import Past
from tastemaker.data.reading.product_table import read_product_table
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.model.folder import save
from tastemaker.serving.answering.product_search import ProductIndex

NAMES = ["Christmas tree", "XMAS stocking", "Jeans, skinny", "Hexa mask", "Mug", "=cmd()", None]


def found(text: str) -> list[str]:
    shop = pl.DataFrame(
        {
            "product_id": [f"p{row}" for row in range(7)],
            "name": NAMES,
            "material": ["wood", "wool", "denim", "cotton", "china", None, "wood"],
            "tags": [["green"], ["red"], ["blue", "summer"], [], ["white"], [], ["green"]],
        }
    )
    model = make_model(products=7, users=3)
    model = replace(model, products=Vocabulary.of([f"p{row}" for row in range(7)], noun="product"))
    index = ProductIndex(model, read_product_table(shop, model.products))
    return sorted(model.products.ids.gather(index.find(text, 10)).to_list())


@pytest.mark.parametrize(
    ("text", "products"),
    [
        ("xmas", ["p0", "p1"]),
        ("chrstmas", ["p0"]),
        ("CHRISTMAS tre", ["p0"]),
        ("jaens", ["p2"]),
        ("denim jeans", ["p2"]),
        ("stock", ["p1"]),
        ("ocking", ["p1"]),
        ("wod", ["p0", "p6"]),
        ("mask wool", ["p1"]),  # a mask there is, but none of wool
        ("summer", ["p2"]),
        ("mug wood", []),
        ("p3", ["p3"]),
        ("(mug)", ["p4"]),
        ("quite another thing", []),
        ("???", []),
    ],
)
def test_products_are_found_by_any_column_by_parts_of_words_and_in_spite_of_mistakes(text, products):
    assert found(text) == products


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ApiWorld:
    return api_world(tmp_path_factory.mktemp("browse"))


@pytest.fixture(scope="module")
def api(world: ApiWorld):
    with client_of(world.settings.models, catalogue=world.settings.catalogue) as client:
        yield client


def browse(client, **query):
    answer = client.get("/api/page/browse", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_whole_catalogue_is_paged_without_a_gap(api):
    pages = [browse(api, page=page, size=50) for page in range(1, 6)]
    seen = [one["product"] for page in pages for one in page["products"]]
    assert sorted(seen) == [product_id(row) for row in range(PRODUCTS)]
    assert [len(page["products"]) for page in pages] == [50, 50, 50, 10, 0]
    assert {page["total"] for page in pages} == {PRODUCTS}


def test_filters_hold_together_and_a_facet_counts_without_its_own(api):
    answer = browse(api, where=["brand:a", "price:30..", "in_stock:true"], size=200)
    rows = [row for row in range(PRODUCTS) if row % 3 == 0 and row >= 30 and row % 5]
    assert sorted(one["product"] for one in answer["products"]) == [product_id(row) for row in rows]
    facets = {one["column"]: one for one in answer["facets"]}
    others = [row for row in range(PRODUCTS) if row >= 30 and row % 5]
    assert {one["value"]: one["count"] for one in facets["brand"]["values"]} == {
        brand: sum("abc"[row % 3] == brand for row in others) for brand in "abc"
    }
    assert {one["value"]: one["count"] for one in facets["category"]["values"]} == {
        "x": sum(row % 2 == 0 for row in rows), "y": sum(row % 2 for row in rows)
    }  # fmt: skip
    assert "name" not in facets
    prices = [row for row in range(PRODUCTS) if row % 3 == 0 and row % 5]
    assert (facets["price"]["least"], facets["price"]["most"]) == (min(prices), max(prices))


def test_products_stand_in_the_order_asked_for(api):
    assert browse(api)["sorts"] == ["best", "sold", "name", "price", "-price"]  # this log has no times
    for sort, key in (("price", 1), ("-price", -1)):
        prices = [one["about"]["price"] * key for one in browse(api, sort=sort, size=200)["products"]]
        assert prices == sorted(prices)
    names = [one["about"]["name"].lower() for one in browse(api, sort="name", size=200)["products"]]
    assert names == sorted(names)
    buyers = [one["buyers"] for one in browse(api, sort="sold", size=200)["products"]]
    assert buyers == sorted(buyers, reverse=True)


def test_recent_sales_count_the_last_four_weeks_of_the_log_and_the_newest_product_is_the_one_first_sold_last(
    tmp_path: Path,
):
    model = make_model(1)
    day = 86_400_000_000
    offsets, products = model.histories.offsets, model.histories.products
    times = np.arange(len(products), dtype=np.int64) * day  # a purchase a day, user by user
    model = replace(model, past=Past(offsets, products, times))
    save(model, tmp_path / "models" / "recommender" / "1")
    with client_of(tmp_path / "models") as client:
        answer = browse(client, sort="recent", size=200)
        late = np.bincount(products[times > times.max() - 28 * day], minlength=PRODUCTS)
        said = {one["product"]: one["recent"] for one in answer["products"]}
        assert said == {product_id(row): int(late[row]) for row in range(PRODUCTS)}
        assert [one["recent"] for one in answer["products"]] == sorted(late.tolist(), reverse=True)
        first = {row: int(times[products == row].min()) for row in set(products.tolist())}
        newest = [one["product"] for one in browse(client, sort="newest", size=200)["products"]]
        assert newest[: len(first)] == [product_id(row) for row in sorted(first, key=lambda row: -first[row])]


def test_what_is_seen_comes_as_a_file_whose_cells_are_no_formulas(tmp_path: Path):
    save(make_model(1, products=3, users=3), tmp_path / "models" / "recommender" / "1")
    shop = {
        "product_id": [product_id(row) for row in range(3)],
        "=name": ["=1+1", "-2", "hat"],
        "tags": [["a", "b"], [], None],
    }
    pl.DataFrame(shop).write_parquet(tmp_path / "shop.parquet")
    with client_of(tmp_path / "models", catalogue=tmp_path / "shop.parquet") as client:
        answer = client.get("/api/page/browse.csv")
        assert answer.headers["content-type"].startswith("text/csv")
        frame = pl.read_csv(io.BytesIO(answer.content)).sort("product_id")
    assert frame["'=name"].to_list() == ["'=1+1", "'-2", "hat"]
    assert frame["tags"].to_list()[0] == "a, b"


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"where": "colour:red"}, 422, "no column 'colour'"),
        ({"where": "price:cheap"}, 422, "'cheap' is no value of the column 'price'"),
        ({"where": "price:9..1"}, 422, "'min' must not be above 'max'"),
        ({"sort": "beauty"}, 400, "sort"),
        ({"page": "0"}, 400, "page"),
    ],
)
def test_what_cannot_be_browsed_by_is_said(api, query, status, said):
    answer = api.get("/api/page/browse", params=query)
    assert answer.status_code == status
    assert said in answer.json()["detail"]
