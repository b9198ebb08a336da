"""``tastemaker train --effort`` through the real command line."""

from __future__ import annotations

import json

import pytest

from tastemaker.data.synthetic.shop import make_shop, write_log


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    shop = make_shop(users=150, products=90, purchases=1_200)
    return write_log(shop.purchases, tmp_path_factory.mktemp("effort") / "log.parquet")


@pytest.mark.parametrize(
    ("effort", "said"), [("quick", "effort quick, 8 dimensions"), ("thorough", "The best of 5 tastes there")]
)
def test_an_effort_is_said_and_stands_in_the_manifest(tastemaker, log, tmp_path, effort, said):
    asked = ("train", log, "--effort", effort, "--dimensions", 8, "--set", "horizon=2")
    ran = tastemaker(*asked, "--out", tmp_path / "model")
    assert ran.returncode == 0, ran.stderr
    assert said in " ".join(ran.stderr.split())
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["config"]["effort"] == effort


def test_an_effort_that_cannot_be_kept_is_refused(tastemaker, log, tmp_path):
    refused = tastemaker("train", log, "--effort", "quick", "--preset", "workshop", "--out", tmp_path / "m")
    assert refused.returncode == 1
    assert "a model of free users chooses no settings" in " ".join(refused.stderr.split())
    twice = tastemaker("train", log, "--effort", "thorough", "--tune", 1, "--out", tmp_path / "m")
    assert twice.returncode == 2
    assert "--effort thorough and --tune" in " ".join(twice.stderr.replace("│", " ").split())
