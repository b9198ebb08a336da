"""`recommend` with newer purchases, and with baskets and users of whom the model knows nothing."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tastemaker.model.folder import load


@pytest.fixture(scope="module")
def model(model_folder):
    return load(model_folder)


@pytest.fixture
def ask(tastemaker, model_folder):
    """Run `recommend` on the model; return its JSON and what it said."""

    def run(*options):
        ran = tastemaker("recommend", model_folder, *options, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout), ran.stderr

    return run


def products_of(answer):
    return [place["product_id"] for place in answer["products"]]


def best_sellers_of(model):
    counts = np.bincount(model.histories.products, minlength=len(model.products))
    return model.products.at(np.argsort(-counts, kind="stable")).to_list()


def test_newer_purchases_join_without_training(ask, model, tmp_path):
    wished = products_of(ask("--user", "c-000001", "--k", 3)[0]["recommendations"][0])
    lines = [f"c-000001,{product}" for product in wished] + [f"zoe,{wished[0]}", "zoe,5", "c-000002,6"]
    (tmp_path / "newer.csv").write_text("\n".join(["user_id,product_id", *lines]) + "\n")
    told, said = ask(
        "--user", "c-000001", "--user", "zoe", "--k", 149, "--with-purchases", tmp_path / "newer.csv"
    )
    first, new = told["recommendations"]
    assert not set(wished) & set(products_of(first))
    assert set(products_of(new)) == set(model.products.ids) - {wished[0]}
    assert (first["best_sellers"], new["best_sellers"]) == (False, False)
    assert told["with_purchases"] == {
        "joined": 4, "new_users": 1, "left_out": 2, "unknown_products": [5, 6],
    }  # fmt: skip
    assert "4 purchases joined the histories, 1 user is new; 2 purchases of 2 products" in said
    assert "left out: 5, 6." in said


def test_all_users_then_include_the_new_ones(tastemaker, model_folder, model, tmp_path):
    newer = pl.DataFrame({"who": ["zoe", "zoe"], "what": model.products.ids[:2]})
    newer.write_parquet(tmp_path / "newer.parquet")
    ran = tastemaker(
        "recommend", model_folder, "--all-users", "--k", 2, "--out", tmp_path / "r.parquet", "--with-purchases",
        tmp_path / "newer.parquet", "--user-column", "who", "--product-column", "what", "--json",
    )  # fmt: skip
    told = json.loads(ran.stdout)
    assert (told["rows"], told["with_purchases"]["new_users"]) == (401 * 2, 1)
    assert pl.read_parquet(tmp_path / "r.parquet")["user_id"].to_list()[-2:] == ["zoe", "zoe"]


def test_a_new_user_without_a_known_purchase_gets_best_sellers_and_it_is_said(ask, model, tmp_path):
    (tmp_path / "newer.csv").write_text("user_id,product_id\nzoe,5\n")
    told, said = ask("--user", "zoe", "--user", "c-000001", "--with-purchases", tmp_path / "newer.csv")
    assert products_of(told["recommendations"][0]) == best_sellers_of(model)[:10]
    assert [answer["best_sellers"] for answer in told["recommendations"]] == [True, False]
    assert "1 of these users have no purchase; they get the best sellers." in said


def test_unknown_products_of_a_basket_are_named_and_the_rest_is_used(ask, model):
    known = str(model.products.ids[4])
    told, said = ask("--basket", f"{known},no-such,77")
    assert "Products 'no-such', '77' are not among the 150 known; the rest is used." in said
    assert told["unknown_products"] == ["no-such", "77"]
    assert told["recommendations"] == ask("--basket", known)[0]["recommendations"]
    assert told["recommendations"][0]["best_sellers"] is False


@pytest.mark.parametrize("basket", ["no-such", "", " , ,"])
def test_a_basket_without_a_known_product_gets_best_sellers_and_it_is_said(ask, model, basket):
    told, said = ask("--basket", basket)
    assert "no product that the model knows; these are the best sellers." in said
    assert products_of(told["recommendations"][0]) == best_sellers_of(model)[:10]
    assert told["recommendations"][0]["best_sellers"] is True
    assert told["unknown_products"] == (["no-such"] if basket == "no-such" else [])


def test_newer_purchases_of_a_basket_are_wrong_usage(tastemaker, model_folder, shop_files):
    ran = tastemaker("recommend", model_folder, "--basket", "1", "--with-purchases", shop_files.purchases)
    assert ran.returncode == 2
    assert "--basket instead" in " ".join(ran.stderr.split())


def test_an_unreadable_file_of_newer_purchases_is_one_sentence(tastemaker, model_folder, tmp_path):
    ran = tastemaker("recommend", model_folder, "--all-users", "--with-purchases", tmp_path / "none.csv")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "Traceback" not in ran.stderr
