from __future__ import annotations

import json

import polars as pl
import pytest

from tastemaker.data.reading.readers import read_purchases
from tastemaker.data.synthetic.shop import make_shop
from tastemaker.model.folder import save
from tastemaker.training.baselines.best_sellers import best_sellers

TRAIN = [("ann", "hat", 1), ("bob", "hat", 2), ("bob", "sock", 3), ("cid", "tie", 4)]
LATER = [("ann", "sock", 11), ("zoe", "hat", 12), ("zoe", "kilt", 12), ("ann", "hat", 13)]


def frame(rows):
    return pl.DataFrame(rows, schema=["user", "product", "day"], orient="row").select(
        "user", "product", pl.datetime(2024, 1, pl.col("day")).alias("date")
    )


@pytest.fixture
def files(tmp_path):
    frame(LATER).write_parquet(tmp_path / "later.parquet")
    folder = save(best_sellers(read_purchases(frame(TRAIN))), tmp_path / "model")
    return folder, tmp_path / "later.parquet"


def test_evaluate_replays_and_prints_one_object(tastemaker, files):
    ran = tastemaker("evaluate", *files, "--replay", "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert (found["purchases"], found["not_findable"], found["left_out"]) == (3, 1, {"bought before": 1})
    assert set(found["metrics"]) == {f"{name}@{k}" for name in ("hit_rate", "ndcg", "mrr") for k in (10, 100)}
    assert found["metrics"]["hit_rate@10"] == pytest.approx(
        {"mean": 2 / 3, "low": 0.5, "high": 1.0}, abs=0.35
    )
    assert found["segments"]["new user, new product"]["purchases"] == 1
    assert found["baselines"]["recent best sellers"]["half_life_days"] > 0
    assert "the logs tell of no baskets" in found["skipped"].values()


def test_evaluate_replays_in_words(tastemaker, files):
    ran = tastemaker(
        "evaluate", *files, "--replay", "--include-purchased", "--at", "5", "--since", "first-event"
    )
    assert ran.returncode == 0, ran.stderr
    assert (
        "4 questions of 2 users; candidates: each product of the model's catalogue from its first event on (3)"
        in ran.stdout
    )
    assert "1 asks for a product that is no candidate and counts as missed." in ran.stdout
    assert "new user, known product" in ran.stdout
    assert "bought before" in ran.stdout


def test_flags_of_a_replay_without_one_are_a_usage_error(tastemaker, files):
    ran = tastemaker("evaluate", *files, "--frozen")
    assert (ran.returncode, "go with --replay" in ran.stderr) == (2, True)
    ran = tastemaker("evaluate", *files, "--replay", "--since", "ever")
    assert (ran.returncode, "must be first-event" in ran.stderr) == (2, True)


def test_a_column_of_the_catalogue_says_since_when_a_product_is_a_candidate(tastemaker, files, tmp_path):
    catalogue, named = tmp_path / "shop.csv", tmp_path / "named.csv"
    catalogue.write_text("product_id,since\nsock,2024-02-01\nhat,\ntie,2023-01-01\n")
    named.write_text("product_id,launch\nsock,2024-02-01\nhat,\ntie,2023-01-01\n")
    for flags in (["--products", catalogue], ["--products", named, "--since", "launch"]):
        ran = tastemaker("evaluate", *files, "--replay", "--json", *flags)
        assert ran.returncode == 0, ran.stderr
        found = json.loads(ran.stdout)
        assert found["not_findable"] == 2  # the kilt is in no catalogue, the sock not yet sold
        assert "from its time in the column" in found["candidates"]
    ran = tastemaker("evaluate", *files, "--replay", "--json", "--products", catalogue, "--since", "always")
    assert json.loads(ran.stdout)["not_findable"] == 1
    ran = tastemaker("evaluate", *files, "--replay", "--products", named, "--since", "start")
    assert (ran.returncode, "has no column 'start'" in ran.stderr) == (1, True)
    ran = tastemaker("evaluate", *files, "--products", named)
    assert (ran.returncode, "go with --replay" in ran.stderr) == (2, True)


@pytest.fixture(scope="module")
def dated_logs(tmp_path_factory):
    """The synthetic shop, cut in time."""
    log = make_shop(users=120, products=40, purchases=900, seed=3).purchases
    users, products = (
        vocabulary.at(rows)
        for vocabulary, rows in ((log.users, log.user_rows), (log.products, log.product_rows))
    )
    frame = pl.DataFrame(
        {"user": users, "product": products, "time": pl.Series(log.times).cast(pl.Datetime("us"))}
    ).sort("time")
    folder = tmp_path_factory.mktemp("dated")
    frame[:800].write_parquet(folder / "train.parquet")
    frame[800:].write_parquet(folder / "later.parquet")
    return folder / "train.parquet", folder / "later.parquet"


def test_compare_replays_models_and_rules_and_writes_a_page(tastemaker, dated_logs, tmp_path):
    page = tmp_path / "page.html"
    ran = tastemaker(
        "compare",
        *dated_logs,
        "--replay",
        "--model",
        "co-purchase",
        "--model",
        "ease",
        "--report",
        page,
        "--json",
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["chosen"] == "co-purchase"
    assert list(found["models"]) == ["co-purchase", "ease"]
    rivals = {"ease", *found["baselines"]}
    assert {test["other"] for test in found["tests"]} == rivals
    assert found["verdict"].startswith("In ndcg@100, co-purchase is ")
    text = page.read_text()
    assert "The demand, and how much of it is served" in text
    assert "<script" not in text
    for name in rivals:
        assert name in text


def test_compare_replay_refuses_what_it_does_not_do(tastemaker, dated_logs, tmp_path):
    ran = tastemaker("compare", *dated_logs, "--replay", "--by", "country")
    assert (ran.returncode, "neither --by" in ran.stderr) == (2, True)
    ran = tastemaker("compare", *dated_logs, "--replay", "--model", "co-purchase", "--metric", "recall@10")
    assert (ran.returncode, "is no metric of this replay" in ran.stderr) == (1, True)
