"""Folders written by ce4f77a, before settings had parts: they load, and rank to the bytes that they ranked to then.

`older/make.py` made them, with that version installed: the log, the folders of the two presets and their lists.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from llvmlite.binding import get_host_cpu_features

from tastemaker.data.reading.readers import read_purchases
from tastemaker.model.config import preset
from tastemaker.model.folder import load, read_manifest, save
from tastemaker.ranking.recommend import recommend, recommend_baskets, similar
from tastemaker.training.selection.in_time import STEADY
from tastemaker.training.train import train

OLDER = Path(__file__).parent / "older"
SETTINGS = {
    "default": {"dimensions": 16},
    "workshop": {"dimensions": 12, "epochs": 4, "batch": 64, "negatives": 20, "learning_rate": 10.0},
}
same_processor = pytest.mark.skipif(
    not get_host_cpu_features().get("avx512f"),
    reason="the files were made with AVX-512; other vector units add up in another order",
)


def learned_since(name):
    """What is learned to other last digits since: the learning kernels add up in another order. What is counted is not."""
    since = json.loads((OLDER / "learned_since.json").read_text())[name]
    assert not [file for file in since if file.startswith(("history", "memory"))]
    return since


def lists_of(model, name):
    """Return the lists that ``make.py`` kept."""
    found = {
        "users": recommend(model, model.users.ids[:12], k=8),
        "with purchases": recommend(model, model.users.ids[:12], k=8, include_purchased=True),
        "similar": similar(model, model.products.ids[:6], k=5),
    }
    if name == "default":
        found["baskets"] = recommend_baskets(model, [[1000, 1012], [1025]], k=8)
    return found


@same_processor
@pytest.mark.parametrize("name", SETTINGS)
def test_an_older_folder_ranks_to_the_same_bytes(name):
    expected = json.loads((OLDER / f"{name}.json").read_text())
    found = lists_of(load(OLDER / name / "1"), name)
    assert set(found) == set(expected)
    for kind, told in expected.items():
        lists = found[kind].lists
        assert lists.offsets.tolist() == told["offsets"]
        assert lists.rows.tolist() == told["rows"]
        assert lists.scores.tobytes().hex() == told["scores"]


@pytest.mark.parametrize("name", SETTINGS)
def test_an_older_folder_ranks_alike_on_any_processor(name):
    expected = json.loads((OLDER / f"{name}.json").read_text())
    for kind, ranked in lists_of(load(OLDER / name / "1"), name).items():
        scores = np.frombuffer(bytes.fromhex(expected[kind]["scores"]), np.float32)
        np.testing.assert_allclose(ranked.lists.scores, scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_settings_of_an_older_folder_are_read_into_parts_and_written_by_the_same_names(name, tmp_path):
    model = load(OLDER / name / "1")
    config = model.record.config
    before = read_manifest(OLDER / name / "1")["config"]
    assert config.preset == name
    assert config.taste.dimensions == SETTINGS[name]["dimensions"]
    assert config.memory.damping == before["memory_damping"]
    assert config.repeats.sales == before["repeat_sales"]
    written = read_manifest(save(model, tmp_path / "1"))["config"]
    assert written | before == written  # no name of old is lost, no value changed


@same_processor
@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_log_of_an_older_folder_is_learned_to_the_same_bytes_at_any_number_of_threads(
    name, threads, tmp_path
):
    log = read_purchases(OLDER / "log.csv")
    unordered = STEADY if name == "default" else {}  # its times were read for the trend alone
    model = train(log, preset(name).changed(SETTINGS[name] | unordered), seed=5, threads=threads)
    written = save(model, tmp_path / "1")
    before = read_manifest(OLDER / name / "1")["files"]
    expected = {file: facts["sha256"] for file, facts in before.items() if file.endswith(".npy")}
    assert expected.keys() <= {path.name for path in written.glob("*.npy")}
    expected |= learned_since(name)
    for file in sorted(expected):
        assert hashlib.sha256((written / file).read_bytes()).hexdigest() == expected[file], file
        np.testing.assert_allclose(
            np.load(written / file), np.load(OLDER / name / "1" / file), rtol=0, atol=1e-4, err_msg=file
        )


@same_processor
def test_a_log_of_pairs_alone_is_learned_to_the_bytes_that_are_told(tmp_path):
    log = read_purchases(pl.read_csv(OLDER / "log.csv").drop("date"))
    written = save(train(log, preset("default").changed(SETTINGS["default"]), seed=5), tmp_path / "1")
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in written.glob("*.npy")}
    expected = json.loads((OLDER / "pairs.json").read_text())
    assert "product_vectors.npy" in learned_since("pairs")
    assert found == expected | learned_since("pairs")
