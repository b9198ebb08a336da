"""New products join a model by their attributes alone: in Python, on the command line and by the server's catalogue."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import tastemaker as tm
from beside_worlds import CATALOGUE, log_of
from tastemaker.cli.app import app
from tastemaker.errors import ColumnProblem, SettingProblem
from tastemaker.model.beside.sums import token_sums
from tastemaker.model.folder import load, save

SETTLED = {
    "dimensions": 8, "epochs": 4, "tokens.columns": "context:occasion,product:made_for", "kinds.own": "view=5",
    "kinds.after": "view=1",
    "kinds.taste": "", "kinds.places": 0.0, "kinds.days": 0.0, "live.rate": 1.0, "live.half_life": 240.0, "live.fold_in": 1.0,
    "live.dial": 0.5, "live.young": 3.0,
    "order.taste_places": 8.0, "order.taste_days": 0.0, "order.memory_places": 4.0, "order.memory_days": 0.0,
    "memory.count_weight": 1.0, "memory.ridge_weight": 0.0, "memory.directed_weight": 0.0, "memory.spectral_weight": 0.0,
    "trend.weight": 0.0, "repeats.weight": 0.0, "repeats.sales": 0.0, "repeats.level": 0.0,
}  # fmt: skip
NEW = pl.DataFrame(
    {
        "product_id": ["veil", "wedding-00", "kite", "plain"],
        "made_for": ["wedding", "beach", "beach", None],
        "price": [1, 2, 3, 4],
    }
)


@pytest.fixture(scope="module")
def model():
    return tm.train(log_of(), tm.preset("default").changed(SETTLED))


@pytest.fixture(scope="module")
def longer(model):
    return tm.add_products(model, NEW)[0]


def best(model, occasion, k=60):
    return [
        product
        for product, _ in tm.recommend_visits(model, [tm.Visit(context={"occasion": occasion})], k=k).of(0)
    ]


def test_a_new_product_is_its_attributes_and_the_rate_of_what_never_sold(model, longer):
    assert longer.products.ids.to_list() == [*model.products.ids.to_list(), "veil", "kite", "plain"]
    rows = {name: longer.products.rows(name)[0] for name in ("wedding-11", "veil", "plain")}
    tokens = model.tokens
    wedding = token_sums(tokens.of_products.take(model.products.rows("wedding-11")), tokens.vectors)[0]
    np.testing.assert_array_equal(longer.product_vectors[rows["veil"]], wedding)
    assert not longer.product_vectors[rows["plain"]].any()
    never = longer.product_bias[rows["wedding-11"]]  # never sold in train
    np.testing.assert_allclose(longer.product_bias[[rows["veil"], rows["plain"]]], never, rtol=1e-5)


def test_known_products_stay_as_they_were_learned(model, longer):
    first = len(model.products)
    np.testing.assert_array_equal(longer.product_vectors[:first], model.product_vectors)
    np.testing.assert_array_equal(longer.product_bias[:first], model.product_bias)
    user = tm.recommend(model, ["u3"], k=first, include_purchased=True).of(0)
    fewer = [
        pair
        for pair in tm.recommend(longer, ["u3"], k=first + 3, include_purchased=True).of(0)
        if pair[0] not in ("veil", "kite", "plain")
    ]
    assert [product for product, _ in fewer] == [product for product, _ in user]
    np.testing.assert_allclose([score for _, score in fewer], [score for _, score in user], rtol=1e-5)


def test_a_new_product_is_found_under_its_occasion(longer):
    for product, occasion, other in (("veil", "wedding", "beach"), ("kite", "beach", "wedding")):
        assert best(longer, occasion).index(product) < best(longer, other).index(product)


def test_a_longer_model_is_saved_and_loaded(longer, tmp_path):
    again = load(save(longer, tmp_path / "1"))
    assert again.products.ids.equals(longer.products.ids)
    assert best(again, "wedding") == best(longer, "wedding")


def test_the_order_of_the_catalogue_changes_no_list(model):
    mixed = tm.add_products(model, NEW.reverse())[0]
    straight = tm.add_products(model, NEW)[0]
    assert set(best(mixed, "wedding", 8)) == set(best(straight, "wedding", 8))


def test_what_joined_is_told(model):
    _, added = tm.add_products(model, NEW)
    assert (added.products, added.silent, added.columns, added.absent) == (3, 1, ("made_for",), ())
    _, added = tm.add_products(model, NEW.select("product_id", "price"))
    assert (added.products, added.silent, added.absent) == (3, 3, ("made_for",))
    _, added = tm.add_products(model, CATALOGUE)
    assert added.products == 0


def test_the_dial_lifts_all_that_never_sold_and_nothing_else(model):
    lifted, _ = tm.add_products(model, NEW, dial=2.0)
    before, _ = tm.add_products(model, NEW)
    sold = np.bincount(model.histories.products, minlength=len(lifted.products)) > 0
    np.testing.assert_allclose(lifted.product_bias - before.product_bias, np.where(sold, 0, 1.5), atol=1e-5)


def test_a_model_without_attributes_or_a_dial_says_so(model):
    plain = tm.best_sellers(log_of())
    with pytest.raises(SettingProblem, match="no column that describes products"):
        tm.add_products(plain, NEW)
    with pytest.raises(SettingProblem, match="from 0 to 100"):
        tm.add_products(model, NEW, dial=-1)


def test_ids_of_another_type_and_no_ids_are_refused(model):
    with pytest.raises(ColumnProblem):
        tm.add_products(model, NEW.drop("product_id"))


def test_the_command_writes_the_next_version(model, longer, tmp_path):
    save(model, tmp_path / "models" / "shop" / "1")
    NEW.write_csv(tmp_path / "new.csv")
    ran = CliRunner().invoke(
        app, ["add-products", str(tmp_path / "models" / "shop" / "1"), str(tmp_path / "new.csv"), "--json"]
    )
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert (Path(told["folder"]).name, told["products"], told["silent"], told["dial"]) == ("2", 3, 1, 0.5)
    assert best(load(tmp_path / "models" / "shop" / "2"), "wedding") == best(longer, "wedding")
    ran = CliRunner().invoke(
        app, ["add-products", str(tmp_path / "models" / "shop" / "1"), str(tmp_path / "new.csv")]
    )
    assert ran.exit_code == 0, ran.output
    assert "Added 3 products to 48 by made_for" in " ".join(ran.output.split())
    assert "nothing of 1 of them" in " ".join(ran.output.split())


def test_a_product_in_the_servers_catalogue_is_served_without_a_new_version(model, longer, tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
    from serving_worlds import client_of

    save(model, tmp_path / "models" / "shop" / "1")
    new = NEW.drop("price").filter(pl.col("product_id") != "wedding-00")
    pl.concat([CATALOGUE, new]).write_csv(tmp_path / "all.csv")
    with client_of(tmp_path / "models", catalogue=tmp_path / "all.csv") as client:
        body = {"basket": [], "k": 60, "context": {"occasion": "wedding"}}
        answer = client.post("/api/v1/recommendations/basket", json=body)
        assert answer.status_code == 200, answer.text
        assert [one["product"] for one in answer.json()["recommendations"]] == best(longer, "wedding")
        assert client.get("/api/v1/products/veil/similar").json()["similar"]
