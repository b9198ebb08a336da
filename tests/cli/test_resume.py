"""``train --checkpoint-every`` and ``--resume`` through the real command line."""

from __future__ import annotations

import hashlib

import pytest

from tastemaker.data.synthetic.shop import write_log

SETTINGS = ["--dimensions", "8", "--epochs", "4"]


@pytest.fixture
def log(split, tmp_path_factory):
    return write_log(split.train, tmp_path_factory.mktemp("log") / "train.parquet")


def vectors_of(folder):
    return hashlib.sha256((folder / "product_vectors.npy").read_bytes()).hexdigest()


def test_a_finished_training_leaves_no_checkpoint_and_is_not_changed_by_it(tastemaker, log, tmp_path):
    for name, more in (("1", []), ("2", ["--checkpoint-every", "1"])):
        assert tastemaker("train", log, "--out", tmp_path / name, *SETTINGS, *more).returncode == 0
    assert vectors_of(tmp_path / "1") == vectors_of(tmp_path / "2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_resuming_from_nothing_is_one_sentence(tastemaker, log, tmp_path):
    ran = tastemaker("train", log, "--out", tmp_path / "1", "--resume", tmp_path, *SETTINGS)
    assert ran.returncode == 1
    assert "holds no checkpoint" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []
