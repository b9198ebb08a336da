"""``tastemaker train --tune`` through the real command line."""

from __future__ import annotations

import json

import pytest

import tastemaker as tm
from tastemaker.data.synthetic.shop import write_log


def test_what_was_measured_while_settings_were_searched_stands_in_the_manifest(tastemaker, split, tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    log = write_log(split.train, tmp_path / "log.parquet")
    asked = ("train", log, "--tune", 0, "--set", "dimensions=8", "--set", "horizon=4")
    ran = tastemaker(*asked, "--out", tmp_path / "model")
    assert ran.returncode == 0, ran.stderr
    assert "Best of 1 trials" in ran.stderr
    assert "Chosen on a part held out of the log" in ran.stderr
    measured = json.loads((tmp_path / "model" / "manifest.json").read_text())["metrics"]
    assert measured["tuning"]["trials"] == 1
    assert 0 < measured["with_memory"] <= 1
    assert measured == dict(tm.load(tmp_path / "model").record.metrics)
    assert str(tmp_path) not in json.dumps(measured)
