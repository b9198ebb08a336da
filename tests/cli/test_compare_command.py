"""``tastemaker compare`` through the real command line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

import tastemaker as tm
from tastemaker.data.synthetic.shop import write_log


@pytest.fixture(scope="module")
def logs(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    return write_log(split.train, folder / "train.parquet"), write_log(
        split.held_out, folder / "held.parquet"
    )


@pytest.fixture(scope="module")
def shuffled(split, tmp_path_factory):
    """A folder of a model that ranks at random: worse than anything."""
    model = tm.best_sellers(split.train)
    model.product_bias[:] = np.random.default_rng(4).permutation(len(model.products))
    return tm.save(model, tmp_path_factory.mktemp("random") / "1")


QUICK = ("--model", "co-purchase", "--model", "best-sellers", "--at", 10)


def test_it_prints_a_table_a_test_of_each_pair_and_a_verdict(tastemaker, logs):
    ran = tastemaker(
        "compare", *logs, *QUICK, "--model", "cosine", "--metric", "ndcg@10", "--metric", "recall@10"
    )
    assert ran.returncode == 0, ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert lines[1][:4] == ["ndcg@10", "recall@10", "coverage@10", "seconds"]
    assert [line[0] for line in lines[2:5]] == ["best-sellers", "co-purchase", "cosine"]
    assert "co-purchase against the others" in ran.stdout
    verdict = ran.stdout.splitlines()[-1]
    assert verdict.startswith("In ndcg@10, co-purchase is better than best-sellers by ")
    assert "In recall@10, co-purchase is better than best-sellers by " in verdict
    assert "co-purchase: ndcg@10 0." in ran.stderr


def test_the_json_is_one_object_and_agrees_with_evaluate(tastemaker, logs, model_folder):
    train, held = logs
    ran = tastemaker("compare", train, held, "--model", model_folder, *QUICK[2:], "--json", "--seed", 7)
    assert ran.returncode == 0, ran.stderr
    printed = json.loads(ran.stdout)
    assert printed["chosen"] == str(model_folder)
    models = {model["name"]: model for model in printed["models"]}
    alone = tastemaker("evaluate", model_folder, held, "--at", 10, "--seed", 7, "--json")
    single = json.loads(alone.stdout)
    assert {
        name: models[str(model_folder)][name] for name in ("users", "products", "metrics", "workshop")
    } == {name: single[name] for name in ("users", "products", "metrics", "workshop")}
    [test] = printed["tests"]
    assert (test["other"], test["metric"]) == ("best-sellers", "ndcg@10")
    assert test["first"] == single["metrics"]["ndcg@10"]["mean"]
    assert (
        printed["verdict"]
        in tastemaker("compare", train, held, "--model", model_folder, *QUICK[2:], "--seed", 7).stdout
    )


def test_a_workspace_learns_once(tastemaker, logs, tmp_path):
    first = tastemaker("compare", *logs, *QUICK, "--workspace", tmp_path / "work", "--json")
    again = tastemaker("compare", *logs, *QUICK, "--workspace", tmp_path / "work", "--json")
    assert again.returncode == 0, again.stderr
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert [model["reused"] for model in one["models"]] == [False, False]
    assert [model["reused"] for model in two["models"]] == [True, True]
    for model in (*one["models"], *two["models"]):
        del model["reused"]
    assert one == two


def test_a_worse_model_does_not_pass(tastemaker, logs, shuffled, model_folder):
    ran = tastemaker("compare", *logs, "--model", shuffled, "--fail-if-worse-than", model_folder)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith(f"The new model is worse than {model_folder} by ")
    assert "Traceback" not in ran.stderr


def test_a_better_model_passes_and_says_why(tastemaker, logs, shuffled, model_folder):
    ran = tastemaker(
        "compare",
        *logs,
        "--model",
        model_folder,
        "--fail-if-worse-than",
        shuffled,
        "--metric",
        "recall@10",
        "--json",
    )
    assert ran.returncode == 0, ran.stderr
    gate = json.loads(ran.stdout)["gate"]
    assert gate["passed"] is True
    assert gate["sentence"].startswith(f"the new model is better than {shuffled} by ")
    assert [model["name"] for model in json.loads(ran.stdout)["models"]] == [
        "best-sellers",
        str(model_folder),
        str(shuffled),
    ]


def test_the_same_model_under_another_name_passes(tastemaker, logs, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "same")
    ran = tastemaker("compare", *logs, "--model", tmp_path / "same", "--fail-if-worse-than", model_folder)
    assert ran.returncode == 0, ran.stderr
    assert "is not significantly worse than" in ran.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--model", "nobody"), "'nobody' is neither a model folder nor a model that can be trained here"),
        (("--metric", "coverage@10"), "'coverage@10' is no metric to compare by; write NAME@K"),
        (("--fail-if-worse-than", "nowhere"), "the model folder nowhere does not exist"),
        (("--report", "nowhere/page.html"), "to write page.html in; make it first"),
        (("--at", "0"), "metrics were asked for at [0"),
    ],
)
def test_what_cannot_work_is_one_sentence(tastemaker, logs, more, words):
    ran = tastemaker("compare", *logs, "--model", "best-sellers", *more)
    assert ran.returncode == 1
    assert ran.stdout == ""
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("tastemaker: ")
    assert words in last
    assert "Traceback" not in ran.stderr


def test_a_model_is_not_compared_with_itself(tastemaker, logs, model_folder):
    ran = tastemaker("compare", *logs, "--model", model_folder, "--fail-if-worse-than", model_folder)
    assert ran.returncode == 1
    assert "cannot be compared with itself" in ran.stderr


def test_strangers_only_are_one_sentence(tastemaker, logs, tmp_path):
    pl.DataFrame({"user_id": ["nobody"], "product_id": [1]}).write_parquet(tmp_path / "held.parquet")
    ran = tastemaker("compare", logs[0], tmp_path / "held.parquet", *QUICK)
    assert ran.returncode == 1
    assert "no user with held-out purchases is known to all" in ran.stderr.splitlines()[-1]


def test_a_report_is_one_page_and_is_not_overwritten(tastemaker, logs, shop_files, tmp_path):
    page = tmp_path / "page.html"
    ran = tastemaker("compare", *logs, *QUICK, "--products", shop_files.products, "--report", page)
    assert ran.returncode == 0, ran.stderr
    assert f"Wrote {page}." in ran.stderr
    text = page.read_text(encoding="utf-8")
    assert "co-purchase beats the other model in ndcg@10" in text
    assert f"tastemaker compare {logs[0]}" in text
    again = tastemaker("compare", *logs, *QUICK, "--report", page)
    assert (again.returncode, page.read_text(encoding="utf-8")) == (1, text)
    assert "exists already" in again.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_half_way_it_goes_on_where_it_was(tastemaker, logs, tmp_path):
    work = tmp_path / "work"
    asked = [
        "compare",
        *map(str, logs),
        "--model",
        "co-purchase",
        "--model",
        "workshop",
        "--workspace",
        str(work),
        "--json",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "tastemaker", *asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(work.glob("co-purchase-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    kept = [folder.name for folder in work.iterdir() if not folder.name.startswith(".")]
    assert [tm.load(work / name).record.purchases for name in kept] == [
        len(tm.read_purchases(logs[0]))
    ] * len(kept)
    ran = tastemaker(*asked)
    assert ran.returncode == 0, ran.stderr
    reused = {model["name"]: model["reused"] for model in json.loads(ran.stdout)["models"]}
    assert reused == {name: any(folder.startswith(f"{name}-") for folder in kept) for name in reused}
    assert reused["co-purchase"]


def test_parts_by_columns_of_catalogues_are_printed_drawn_and_in_the_json(
    tastemaker, logs, shop_files, shop, split, tmp_path
):
    people = shop.purchases.users.ids
    cities = ["Leeds" if place % 3 else "York" for place in range(len(people))]
    pl.DataFrame({"user_id": people, "city": cities}).write_parquet(tmp_path / "people.parquet")
    catalogues = ("--products", shop_files.products, "--users", tmp_path / "people.parquet")
    asked = (*catalogues, "--by", "city", "--by", "category")
    ran = tastemaker("compare", *logs, *QUICK, *asked, "--report", tmp_path / "page.html")
    assert ran.returncode == 0, ran.stderr
    measured = set(split.held_out.user_rows.tolist())
    lines = ran.stdout.splitlines()
    start = lines.index("ndcg@10 by city of the user:")
    assert lines[start + 1].split() == ["users", "best-sellers", "co-purchase"]
    for line, city in zip(lines[start + 2 : start + 4], ("Leeds", "York"), strict=True):
        assert line.split()[:2] == [city, f"{sum(cities[row] == city for row in measured)}"]
    assert "recall@10 by category of the product:" in lines
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "ndcg@10 by city of the user" in page
    assert "recall@10 by category of the product bought" in page
    told = json.loads(tastemaker("compare", *logs, *QUICK, *asked, "--json").stdout)
    ways = {way["by"]: way for way in told["models"][1]["segments"]}
    assert list(ways) == ["products bought before", "popularity of the product", "city", "category"]
    whole = told["models"][1]["metrics"]["ndcg@10"]["mean"]
    parts = ways["city"]["parts"]
    assert sum(part["users"] * (part["mean"] or 0) for part in parts) / told["users"] == pytest.approx(whole)


@pytest.mark.parametrize("catalogue", [(), ("--products",)])
def test_a_column_that_no_catalogue_has_is_one_sentence_before_anything_is_learned(
    tastemaker, logs, shop_files, catalogue
):
    more = (*catalogue, shop_files.products) if catalogue else ()
    ran = tastemaker("compare", *logs, *QUICK, *more, "--by", "continent")
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    assert "no catalogue has a column 'continent'" in last
    assert ("'category'" if catalogue else "give --users or --products") in last
    assert "learning" not in ran.stderr


def test_the_catalogue_of_a_report_need_not_name_its_column_as_the_log_does(
    tastemaker, split, shop_files, tmp_path
):
    logs = []
    for name, part in (("train", split.train), ("held", split.held_out)):
        log = pl.read_parquet(write_log(part, tmp_path / f"{name}.own.parquet"))
        log.rename({"product_id": "thing"}).write_parquet(tmp_path / f"{name}.parquet")
        logs.append(tmp_path / f"{name}.parquet")
    ran = tastemaker(
        "compare", *logs, *QUICK, "--product-column", "thing", "--products", shop_files.products, "--report", tmp_path / "page.html"
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "page.html").exists()


def test_a_workspace_that_is_a_file_is_refused_before_anything_is_learned(tastemaker, logs, tmp_path):
    (tmp_path / "work").write_text("")
    ran = tastemaker("compare", *logs, *QUICK, "--workspace", tmp_path / "work")
    assert ran.returncode == 1
    assert "is a file; give a folder" in ran.stderr.splitlines()[-1]
    assert "learning" not in ran.stderr


def test_the_gate_says_that_a_model_has_seen_what_is_held_out(tastemaker, logs, shop, tmp_path):
    older = tm.save(tm.best_sellers(shop.purchases), tmp_path / "older" / "1")  # of train and held out alike
    ran = tastemaker("compare", *logs, "--model", "co-purchase", "--fail-if-worse-than", older)
    assert ran.returncode == 0
    assert f"Beware: {older} has seen 100% of what is held out" in ran.stderr.splitlines()[-1]


def test_what_is_kept_is_not_said_to_be_learned(tastemaker, logs, tmp_path):
    asked = ("compare", *logs, *QUICK, "--workspace", tmp_path / "work")
    assert "co-purchase: learning" in tastemaker(*asked).stderr
    again = tastemaker(*asked).stderr
    assert "learning …" not in again
    assert "(kept from before)" in again


def test_evaluate_says_that_a_model_has_seen_what_it_is_measured_with(tastemaker, logs, model_folder):
    train, held = logs
    assert "has seen 100.0% of the pairs held out" in tastemaker("evaluate", model_folder, train).stderr
    assert "has seen" not in tastemaker("evaluate", model_folder, held).stderr
