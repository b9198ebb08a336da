"""``train --start-from`` through the real command line."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tastemaker.data.synthetic.shop import write_log


@pytest.fixture(scope="module")
def longer(shop, tmp_path_factory):
    return write_log(shop.purchases, tmp_path_factory.mktemp("log") / "longer.parquet")


def test_a_warm_start_takes_settings_and_vectors_of_the_older_model(
    tastemaker, model_folder, longer, tmp_path
):
    frame = pl.read_parquet(longer)
    stranger = frame.head(1).with_columns(pl.lit("zoe").cast(frame["user_id"].dtype).alias("user_id"))
    pl.concat([frame, stranger]).write_parquet(tmp_path / "log.parquet")
    ran = tastemaker(
        "train", tmp_path / "log.parquet", "--start-from", model_folder, "--out", tmp_path / "4", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    assert [epoch["epoch"] for epoch in json.loads(ran.stdout)["epochs"]] == [4, 5, 6, 7, 8]
    assert f"Going on from {model_folder}:" in ran.stderr
    manifest = json.loads((tmp_path / "4" / "manifest.json").read_text())
    before = json.loads((model_folder / "manifest.json").read_text())
    assert manifest["config"] == before["config"]
    assert manifest["metrics"]["started_from"] == before["data_fingerprint"]
    assert manifest["counts"]["users"] == 401


def test_settings_that_do_not_fit_the_older_model_are_one_sentence(
    tastemaker, model_folder, longer, tmp_path
):
    out = tmp_path / "1"
    ran = tastemaker("train", longer, "--start-from", model_folder, "--out", out, "--dimensions", 5)
    assert (ran.returncode, out.exists()) == (1, False)
    assert "the model to start from has dimensions 12 and not 5" in ran.stderr
    ran = tastemaker("train", longer, "--start-from", tmp_path, "--out", out)
    assert (ran.returncode, out.exists()) == (1, False)
    assert "it is no model folder" in ran.stderr


@pytest.mark.parametrize("more", [("--preset", "default"), ("--tune", "1")])
def test_what_would_choose_other_settings_is_wrong_usage(tastemaker, model_folder, longer, tmp_path, more):
    ran = tastemaker("train", longer, "--start-from", model_folder, "--out", tmp_path / "1", *more)
    assert ran.returncode == 2
    assert "without --preset, --effort and --tune" in " ".join(ran.stderr.replace("│", " ").split())
