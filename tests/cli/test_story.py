"""The main job through the command line: train, evaluate, recommend, similar, and what they print and write."""

from __future__ import annotations

import hashlib
import json

import polars as pl
import pytest

from tastemaker.model.folder import load, read_manifest

SMALL = ["--preset", "workshop", "--dimensions", 8, "--epochs", 3, "--set", "batch=256", "--negatives", 20]
LISTS = {"product_id": pl.Int32, "rank": pl.Int32, "score": pl.Float32}


@pytest.fixture(scope="module")
def logs(split, tmp_path_factory):
    """The shop's purchases to learn from, and those held out, as two files."""
    folder = tmp_path_factory.mktemp("logs")
    for name, log in (("train", split.train), ("held_out", split.held_out)):
        frame = pl.DataFrame(
            {"user_id": log.users.at(log.user_rows), "product_id": log.products.at(log.product_rows)}
        )
        frame.write_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def trained(tastemaker, logs, shop_files, tmp_path_factory):
    """What `train` printed, and the folder that it wrote."""
    out = tmp_path_factory.mktemp("models") / "recommender" / "1"
    catalogues = ["--users", shop_files.users, "--products", shop_files.products]
    ran = tastemaker(
        "train", logs / "train.parquet", "--out", out, *catalogues, "--valid", logs / "held_out.parquet",
        *SMALL, "--seed", 7, "--json",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran, out


def printed(ran):
    """The one JSON object on stdout."""
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("\n") == 1
    return json.loads(ran.stdout)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.npy")}


def test_train_prints_its_course_as_json(trained, logs):
    ran, out = trained
    told = printed(ran)
    assert told["folder"] == str(out)
    assert told["peak_memory_bytes"] > 10**7
    assert set(told["seconds"]) == {"read", "train", "write"}
    assert [epoch["epoch"] for epoch in told["epochs"]] == [1, 2, 3]
    for epoch in told["epochs"]:
        assert set(epoch) >= {"epoch", "loss", "accuracy", "valid_loss", "valid_accuracy", "seconds"}
        assert 0 < epoch["loss"] < 5
        assert 0 <= epoch["valid_accuracy"] <= 1
    assert told["interrupted"] is False
    assert told["summary"]["rows"] == pl.read_parquet(logs / "train.parquet").height


def test_train_says_first_what_it_will_do(trained, split):
    stderr = trained[0].stderr
    assert f"{len(split.train):,} rows read" in stderr
    assert f"{len(split.train):,} purchases of 150 products by 400 users" in stderr
    assert "preset workshop, 8 dimensions" in stderr
    assert "MiB of memory" in stderr
    assert "threads" in stderr


def test_train_shows_a_table_of_epochs_and_the_next_command(tastemaker, logs, tmp_path):
    ran = tastemaker("train", logs / "train.parquet", "--out", tmp_path / "1", *SMALL)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert "accuracy" in ran.stderr
    assert "valid accuracy" not in ran.stderr  # nothing was held out
    assert f"Next: tastemaker recommend {tmp_path / '1'} --user c-000001" in ran.stderr


def test_the_folder_holds_the_model_that_was_asked_for(trained):
    model = load(trained[1])
    assert (len(model.users), len(model.products), model.dimensions) == (400, 150, 8)
    config = model.record.config
    assert (config.preset, config.taste.epochs, config.taste.batch, config.taste.negatives) == (
        "workshop",
        3,
        256,
        20,
    )
    assert (model.record.seed, read_manifest(trained[1])["name"]) == (7, "recommender")


def test_the_same_seed_gives_the_same_bytes_at_any_number_of_threads(
    tastemaker, trained, logs, shop_files, tmp_path
):
    ran = tastemaker(
        "train", logs / "train.parquet", "--out", tmp_path / "1", *SMALL, "--seed", 7, "--threads", 3,
        "--users", shop_files.users, "--products", shop_files.products,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert digests(tmp_path / "1") == digests(trained[1])


@pytest.mark.parametrize("how", ["last", "random", "time"])
def test_a_part_can_be_held_out_of_the_log(tastemaker, shop_files, tmp_path, how):
    ran = tastemaker(
        "train", shop_files.purchases, "--out", tmp_path / "1", *SMALL, "--hold-out", how, "--json"
    )
    assert all(epoch["valid_loss"] > 0 for epoch in printed(ran)["epochs"])
    assert "Held out" in ran.stderr
    assert read_manifest(tmp_path / "1")["counts"]["purchases"] < 4000


def test_evaluate_prints_its_measures_as_json(tastemaker, trained, logs, split):
    told = printed(tastemaker("evaluate", trained[1], logs / "held_out.parquet", "--json"))
    assert told["users"] == len(set(split.held_out.user_rows.tolist()))
    assert told["products"] == 150
    wanted = {
        f"{name}@{k}" for name in ("recall", "ndcg", "mrr", "hit_rate", "coverage") for k in (10, 20, 100)
    }
    assert wanted <= set(told["metrics"])
    for name in wanted:
        value = told["metrics"][name]
        assert set(value) == {"mean", "low", "high"}
        assert 0 <= value["low"] <= value["mean"] <= value["high"] <= 1
    assert set(told["workshop"]) == {"negatives", "categorical_accuracy", "loss"}
    assert told["workshop"]["negatives"] == 100


def test_evaluate_at_chosen_lengths_prints_a_table(tastemaker, trained, logs):
    ran = tastemaker("evaluate", trained[1], logs / "held_out.parquet", "--at", 3, "--at", 7)
    assert ran.returncode == 0
    for word in ("recall", "ndcg", "mrr", "hit_rate", "coverage", "@3", "@7", "1 bought against 100"):
        assert word in ran.stdout


def test_recommend_prints_json_for_users_and_for_a_basket(tastemaker, trained, split):
    told = printed(
        tastemaker("recommend", trained[1], "--user", "c-000001", "--user", "c-000009", "--k", 4, "--json")
    )
    lists = told["recommendations"]
    assert [answer["user_id"] for answer in lists] == ["c-000001", "c-000009"]
    for answer in lists:
        assert [place["rank"] for place in answer["products"]] == [1, 2, 3, 4]
        scores = [place["score"] for place in answer["products"]]
        assert scores == sorted(scores, reverse=True)
    basket = [place["product_id"] for place in lists[0]["products"][:2]]
    told = printed(tastemaker("recommend", trained[1], "--basket", ",".join(map(str, basket)), "--json"))
    found = [place["product_id"] for place in told["recommendations"][0]["products"]]
    assert len(found) == 10
    assert not set(found) & set(basket)


def test_recommend_writes_parquet_for_all_users(tastemaker, trained, split, tmp_path):
    ran = tastemaker("recommend", trained[1], "--all-users", "--k", 5, "--out", tmp_path / "r.parquet")
    assert (ran.returncode, ran.stdout) == (0, "")
    frame = pl.read_parquet(tmp_path / "r.parquet")
    assert frame.schema == pl.Schema(
        {"user_id": pl.String} | LISTS | {"product_id": split.train.products.ids.dtype}
    )
    assert frame.height == 400 * 5
    assert frame["user_id"].unique(maintain_order=True).to_list() == split.train.users.ids.to_list()
    log = split.train
    bought = pl.DataFrame(
        {"user_id": log.users.at(log.user_rows), "product_id": log.products.at(log.product_rows)}
    )
    assert frame.join(bought, on=["user_id", "product_id"]).height == 0


def test_recommend_answers_the_users_of_a_file(tastemaker, trained, tmp_path):
    (tmp_path / "users.csv").write_text("user_id\nc-000005\nc-000002\n")
    ran = tastemaker("recommend", trained[1], "--users", tmp_path / "users.csv", "--k", 1, "--json")
    assert [answer["user_id"] for answer in printed(ran)["recommendations"]] == ["c-000005", "c-000002"]
    told = printed(
        tastemaker(
            "recommend",
            trained[1],
            "--users",
            tmp_path / "users.csv",
            "--out",
            tmp_path / "r.parquet",
            "--json",
        )
    )
    assert told == {"out": str(tmp_path / "r.parquet"), "rows": 20}


def test_k_above_the_catalogue_gives_shorter_lists(tastemaker, trained):
    ran = tastemaker("recommend", trained[1], "--user", "c-000001", "--k", 10**6, "--json")
    assert len(printed(ran)["recommendations"][0]["products"]) < 150
    ran = tastemaker(
        "recommend", trained[1], "--user", "c-000001", "--k", 10**6, "--include-purchased", "--json"
    )
    assert len(printed(ran)["recommendations"][0]["products"]) == 150


def test_similar_prints_and_writes_neighbours(tastemaker, trained, split, tmp_path):
    product = str(split.train.products.ids[3])
    told = printed(
        tastemaker("similar", trained[1], "--product", product, "--k", 3, "--include-self", "--json")
    )
    assert [str(entry["product_id"]) for entry in told["similar"]] == [product]
    assert set(told["similar"][0]["products"][0]) == {"similar_id", "rank", "score"}
    ran = tastemaker(
        "similar",
        trained[1],
        "--all-products",
        "--similarity",
        "cosine",
        "--k",
        2,
        "--out",
        tmp_path / "s.parquet",
    )
    assert ran.returncode == 0, ran.stderr
    frame = pl.read_parquet(tmp_path / "s.parquet")
    assert frame.columns == ["product_id", "similar_id", "rank", "score"]
    assert frame.dtypes == [split.train.products.ids.dtype] * 2 + [pl.Int32, pl.Float32]
    assert frame.height == 300
    assert (frame["product_id"] != frame["similar_id"]).all()


def test_lists_are_printed_for_people(tastemaker, trained, split):
    assert "c-000001" in tastemaker("recommend", trained[1], "--user", "c-000001", "--k", 2).stdout
    product = str(split.train.products.ids[0])
    assert product in tastemaker("similar", trained[1], "--product", product, "--k", 2).stdout


def test_the_real_purchases_from_bytes_and_csv_catalogues(tastemaker, asos, tmp_path):
    out = tmp_path / "asos" / "1"
    told = printed(
        tastemaker(
            "train", asos.train, "--users", asos.users, "--products", asos.products, "--out", out, "--preset",
            "workshop", "--epochs", 1, "--json",
        )
    )  # fmt: skip
    assert told["epochs"][0]["loss"] == pytest.approx(4.6151, rel=0.015)
    ran = tastemaker("recommend", out, "--user", "pmfkU4BNZhmtLgJQwJ7x", "--k", 3, "--json")
    products = printed(ran)["recommendations"][0]["products"]
    assert [type(place["product_id"]) for place in products] == [int] * 3
