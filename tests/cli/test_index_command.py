"""`tastemaker index`, and `--approximate` where an index is and where none is."""

from __future__ import annotations

import json
import shutil

import pytest

from tastemaker.cli.lists.index import index
from tastemaker.data.synthetic.shop import make_shop
from tastemaker.model.config import preset
from tastemaker.model.folder import save
from tastemaker.ranking.index import index_folder
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


@pytest.fixture
def measured(folder, monkeypatch, tmp_path, capsys):
    """Run the command as if its index had been measured so; return what stands on stdout and on stderr."""

    def run(recall_10, recall_100, *, wanted=0.97, probes=4, over=2, as_json=False):
        facts = {
            "parameters": {"cells": 8, "probes": probes, "over": over, "wanted": wanted},
            "recall": {"10": recall_10, "100": recall_100, "users": 9},
            "seconds": {"build": 1.0, "users": 9, "exact": 2.0, "approximate": 1.0},
        }
        (tmp_path / "1.index").mkdir(exist_ok=True)
        monkeypatch.setattr(index_folder, "build_index", lambda *_, **__: facts)
        monkeypatch.setattr(index_folder, "index_folder", lambda _: tmp_path / "1.index")
        index(folder, wanted=wanted, as_json=as_json)
        told = capsys.readouterr()
        return told.out, told.err

    return run


def test_a_recall_that_misses_what_was_wanted_is_said_in_one_sentence(measured, tmp_path):
    _, told = measured(0.98, 0.96996)
    said = "The recall at 100 is 0.9699, which misses the --wanted 0.97; "
    assert f"{said}remove {tmp_path / '1.index'} and ask for a higher --wanted.\n" in told
    _, told = measured(0.5, 0.98)
    assert "The recall at 10 is 0.5000, which misses the --wanted 0.97; " in told


def test_a_recall_that_misses_is_said_on_stderr_beside_json_on_stdout(measured):
    out, told = measured(0.98, 0.96, as_json=True)
    assert json.loads(out)["recall"]["100"] == 0.96
    assert told.startswith("The recall at 100 is 0.9600, which misses the --wanted 0.97; ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(("probes", "over", "wanted"), [(8, 64, 0.97), (4, 2, 1.0)])
def test_where_no_more_can_be_read_no_more_is_advised(measured, probes, over, wanted):
    _, told = measured(0.98, 0.96, probes=probes, over=over, wanted=wanted)
    assert f"misses the --wanted {wanted:g}; no more of the index can be read.\n" in told


def test_a_recall_that_is_what_was_wanted_is_not_warned_of(measured):
    assert "misses" not in measured(0.97, 0.98)[1]
    assert measured(0.97, 0.98, as_json=True)[1] == ""
