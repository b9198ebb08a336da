"""`tastemaker index`, and `--approximate` where an index is and where none is."""

from __future__ import annotations

import json
import shutil

import pytest

from tastemaker.data.synthetic import make_shop
from tastemaker.model.config import preset
from tastemaker.model.folder import save
from tastemaker.training.train import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    shop = make_shop(users=300, products=1_200, purchases=4_000, seed=2)
    model = train(shop.purchases, preset("workshop").changed({"epochs": 2, "dimensions": 8}), seed=1)
    return save(model, tmp_path_factory.mktemp("models") / "recommender" / "1")


@pytest.fixture(scope="module")
def indexed(folder, tastemaker):
    pytest.importorskip("faiss", reason="the extra `index` is not installed")
    ran = tastemaker("index", folder, "--json")
    assert ran.returncode == 0, ran.stderr
    return folder, json.loads(ran.stdout)


def test_index_tells_what_it_measured_and_where_it_wrote(indexed):
    folder, told = indexed
    assert told["index"] == f"{folder}.index"
    assert told["recall"]["10"] >= 0.95
    assert told["recall"]["users"] == 300
    assert {"exact", "approximate", "build"} <= told["seconds"].keys()


def test_recommend_and_similar_say_that_an_index_found_their_lists(indexed, tastemaker, tmp_path):
    folder, _ = indexed
    everybody = tastemaker("recommend", folder, "--all-users", "--approximate", "--json")
    assert json.loads(everybody.stdout)["exact"] is False
    exact = tastemaker("recommend", folder, "--all-users", "--json")
    assert "exact" not in json.loads(exact.stdout)
    near = tastemaker("similar", folder, "--all-products", "--approximate", "--json")
    assert json.loads(near.stdout)["exact"] is False
    written = tastemaker(
        "recommend", folder, "--all-users", "--approximate", "--out", tmp_path / "lists.parquet", "--json"
    )
    assert json.loads(written.stdout)["rows"] == 3_000


def test_approximate_goes_with_dot_products_and_without_rules(indexed, tastemaker):
    folder, _ = indexed
    for command in (
        ("similar", folder, "--all-products", "--approximate", "--similarity", "cosine"),
        ("recommend", folder, "--all-users", "--approximate", "--why"),
    ):
        ran = tastemaker(*command)
        assert ran.returncode == 2
        assert "--approximate" in ran.stderr


def test_without_an_index_the_command_that_builds_it_is_named(folder, tastemaker, tmp_path):
    pytest.importorskip("faiss", reason="the extra `index` is not installed")
    copy = tmp_path / "1"
    shutil.copytree(folder, copy)
    for command in (("recommend", copy, "--all-users"), ("similar", copy, "--all-products")):
        ran = tastemaker(*command, "--approximate")
        assert ran.returncode == 1
        assert f"tastemaker index {copy}" in ran.stderr


def test_an_index_that_is_there_is_not_built_over(indexed, tastemaker):
    folder, _ = indexed
    ran = tastemaker("index", folder)
    assert ran.returncode == 1
    assert "remove it" in ran.stderr
