"""`recommend --rules`, `recommend --why` and `events export`, as a user types them."""

from __future__ import annotations

import json

import polars as pl
import pytest

import tastemaker as tm
from tastemaker.model.folder import load
from tastemaker.serving.answering.event_store import Event, Events, read_events


def answer(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_lists_under_a_file_of_rules(tastemaker, model_folder, shop, shop_files, tmp_path):
    prices = dict(shop.catalogue.select("product_id", "price").iter_rows())
    brands = dict(shop.catalogue.select("product_id", "brand").iter_rows())
    rules = tmp_path / "rules.toml"
    rules.write_text("deny = [1]\n[where]\nprice = {max = 60}\n[at_most]\nbrand = 1\n")
    done = tastemaker(
        *("recommend", model_folder, "--user", "c-000002", "--k", 8, "--rules", rules),
        *("--catalogue", shop_files.products, "--json"),
    )
    found = answer(done)
    products = [entry["product_id"] for entry in found["recommendations"][0]["products"]]
    everything = tm.recommend(load(model_folder), ["c-000002"], k=150).of(0)
    expected, seen = [], set()
    for product, _ in everything:
        if prices[product] <= 60 and brands[product] not in seen and len(expected) < 8:
            expected.append(product)
            seen.add(brands[product])
    assert products == expected
    cheap = sum(price <= 60 for price in prices.values())
    assert found["rules"] == {
        "candidates": 150,
        "allowed": cheap,
        "removed": [{"rule": "deny", "removed": 0}, {"rule": "where.price", "removed": 150 - cheap}],
        "unknown": [1],
    }
    assert f"The rules leave {cheap} of 150 products" in done.stderr
    assert "does not know 1 of the ids in the rules: 1" in done.stderr


def test_lists_under_rules_go_into_a_file(tastemaker, model_folder, shop_files, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text('{"pin": [1000005]}')
    out = tmp_path / "lists.parquet"
    done = tastemaker("recommend", model_folder, "--all-users", "--k", 3, "--rules", rules, "--out", out)
    assert done.returncode == 0, done.stderr
    frame = pl.read_parquet(out)
    assert frame.columns == ["user_id", "product_id", "rank", "score"]
    model = load(model_folder)
    held = [
        user
        for user in model.users.ids
        if 1000005 in set(model.products.at(model.histories.of(model.users.rows([user])[0])))
    ]
    firsts = frame.filter(pl.col("rank") == 1)
    assert set(firsts.filter(pl.col("product_id") != 1000005)["user_id"]) == set(held)


def test_rules_on_a_column_without_a_catalogue_say_so_in_one_line(tastemaker, model_folder, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text('{"where": {"brand": "x"}}')
    done = tastemaker("recommend", model_folder, "--user", "c-000002", "--rules", rules)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the catalogue has no column 'brand'. Its columns are: none; give a catalogue." in done.stderr


@pytest.mark.parametrize("whom", [["--user", "c-000002"], ["--basket", "1000003,1000017"]])
def test_reasons_add_up_and_are_printed(tastemaker, model_folder, whom):
    found = answer(tastemaker("recommend", model_folder, *whom, "--k", 3, "--why", "--json"))
    for entry in found["recommendations"][0]["products"]:
        why = entry["reasons"]
        total = why["popularity"] + why["taste"] + why["repeat"]
        total += sum(part["taste"] + part["memory"] for part in why["purchases"])
        assert total == pytest.approx(entry["score"], abs=1e-4)
    printed = tastemaker("recommend", model_folder, *whom, "--k", 3, "--why")
    assert "because of" in printed.stdout
    assert "popularity 0.00" in printed.stdout


@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.jsonl"])
def test_exported_events_are_a_log_that_can_be_recommended_with(tastemaker, model_folder, tmp_path, name):
    store = Events(tmp_path / "events.db")
    store.add(
        [
            Event("zoe", "1000003", 1_700_000_000_000_000),
            Event("c-000002", "1000017", 1_700_000_100_000_000, 2),
        ]
    )
    out = tmp_path / name
    done = tastemaker("events", "export", tmp_path / "events.db", "--out", out)
    store.close()
    assert done.stderr.strip().endswith("the last one number 2.")
    log = tm.read_purchases(out)
    assert (len(log), log.users.ids.to_list(), log.times.tolist()[0]) == (
        2,
        ["c-000002", "zoe"],
        1_700_000_000_000_000,
    )
    found = answer(tastemaker("recommend", model_folder, "--user", "zoe", "--with-purchases", out, "--json"))
    assert found["with_purchases"]["joined"] == 2


def test_an_export_goes_on_where_the_last_one_ended(tastemaker, tmp_path):
    store = Events(tmp_path / "events.db")
    store.add([Event("u", str(number), 1) for number in range(5)])
    store.close()
    assert (
        tastemaker(
            "events", "export", tmp_path / "events.db", "--out", tmp_path / "a.csv", "--after", 3
        ).returncode
        == 0
    )
    assert pl.read_csv(tmp_path / "a.csv")["product_id"].to_list() == [3, 4]
    assert read_events(tmp_path / "events.db").height == 5


@pytest.mark.parametrize(
    ("file", "out", "message"),
    [
        ("none.db", "a.csv", "there is no file of events"),
        ("none.db", "a.txt", "must end in .parquet, .csv or .jsonl"),
    ],
)
def test_exports_that_cannot_be_say_why(tastemaker, tmp_path, file, out, message):
    done = tastemaker("events", "export", tmp_path / file, "--out", tmp_path / out)
    assert done.returncode == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
