"""``tastemaker demo`` through the real command line: what it prints, what it keeps, and that what it keeps can be used."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tastemaker.model.folder import load

PRODUCTS, USERS, PURCHASES = 1_200, 4_000, 40_000


@pytest.fixture(scope="module")
def kept(tastemaker, tmp_path_factory):
    """The demo with its files kept, and its numbers as JSON."""
    out = tmp_path_factory.mktemp("demo") / "shop"
    return tastemaker("demo", "--json", "--out", out, "--threads", 2), out


def test_it_prints_one_json_object_with_a_report_of_both_models(kept):
    ran, out = kept
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("\n") == 1
    told = json.loads(ran.stdout)
    assert set(told) == {"seconds", "folder", "reports"}
    assert told["folder"] == str(out / "models" / "demo" / "1")
    assert 0 < told["seconds"] < 300
    assert set(told["reports"]) == {"best sellers", "tastemaker"}
    for report in told["reports"].values():
        for measure in ("recall@10", "ndcg@10", "recall@100", "coverage@10"):
            value = report["metrics"][measure]
            assert 0 <= value["low"] <= value["mean"] <= value["high"] <= 1


def test_ours_is_far_better_than_best_sellers_beyond_both_intervals(kept):
    reports = json.loads(kept[0].stdout)["reports"]
    ours, theirs = reports["tastemaker"]["metrics"], reports["best sellers"]["metrics"]
    for measure in ("recall@10", "ndcg@10"):
        assert ours[measure]["mean"] > 2 * theirs[measure]["mean"]
        assert ours[measure]["low"] > theirs[measure]["high"]
    assert ours["coverage@10"]["mean"] > 5 * theirs["coverage@10"]["mean"]


def test_the_shops_files_are_kept(kept):
    out = kept[1]
    files = {path.relative_to(out).as_posix() for path in out.glob("*")}
    assert files == {
        "purchases.parquet", "products.parquet", "users.parquet", "train.parquet", "held_out.parquet", "models",
    }  # fmt: skip
    frames = {path.stem: pl.read_parquet(path) for path in out.glob("*.parquet")}
    assert frames["purchases"].height == PURCHASES
    assert frames["products"].height == PRODUCTS
    assert frames["users"].height == USERS
    for name in ("purchases", "train", "held_out"):
        assert frames[name].columns == ["user_id", "product_id", "time", "quantity"]
    both = pl.concat([frames["train"], frames["held_out"]])
    columns = ["user_id", "product_id", "time", "quantity"]
    assert both.sort(columns).equals(frames["purchases"].sort(columns))


def test_the_model_that_is_kept_learned_from_the_train_file_alone(kept):
    out = kept[1]
    model = load(out / "models" / "demo" / "1")
    assert (len(model.users), len(model.products)) == (USERS, PRODUCTS)
    assert model.record.config.preset == "default"
    assert not model.record.config.chooses
    assert model.memory is not None
    bought = pl.read_parquet(out / "train.parquet").select("user_id", "product_id").unique()
    users = np.repeat(np.arange(USERS), np.diff(model.histories.offsets))
    known = pl.DataFrame(
        {
            "user_id": model.users.at(users),
            "product_id": model.products.at(np.asarray(model.histories.products)),
        }
    )
    assert known.sort("user_id", "product_id").equals(
        bought.sort("user_id", "product_id").select(known.columns)
    )


def test_the_other_commands_work_on_what_is_kept_and_meet_the_same_numbers(kept, tastemaker):
    ran, out = kept
    folder = out / "models" / "demo" / "1"
    listed = tastemaker("recommend", folder, "--user", "c-000001", "--json")
    assert listed.returncode == 0, listed.stderr
    measured = tastemaker("evaluate", folder, out / "held_out.parquet", "--json")
    assert measured.returncode == 0, measured.stderr
    mine = json.loads(ran.stdout)["reports"]["tastemaker"]["metrics"]
    again = json.loads(measured.stdout)
    again = again.get("report", again)["metrics"]
    for measure in ("recall@10", "ndcg@100"):
        assert again[measure]["mean"] == pytest.approx(mine[measure]["mean"], rel=1e-9)


def test_a_second_demo_into_the_same_folder_is_refused_and_changes_nothing(kept, tastemaker):
    out = kept[1]
    before = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}
    ran = tastemaker("demo", "--out", out)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1  # said before any work is done
    assert "models/demo/1 exists already" in ran.stderr
    assert {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))} == before


def test_for_people_it_shows_a_customer_neighbours_and_the_quality(tastemaker):
    """Another seed is another shop, without a file kept."""
    ran = tastemaker("demo", "--seed", 5)
    assert ran.returncode == 0, ran.stderr
    for words in ("would buy next", "nearest neighbours", "recall@10", "best sellers", "tastemaker", "£"):
        assert words in ran.stdout
    assert "4,000 customers" in ran.stderr
    assert "Next: tastemaker demo --out DIR" in ran.stderr
    assert "Traceback" not in ran.stderr
