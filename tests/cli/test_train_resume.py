"""A training that is killed after a checkpoint, and resumed through the command line."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time

import pytest

SETTINGS = {
    "workshop": ["--preset", "workshop", "--dimensions", "8", "--epochs", "60", "--negatives", "200"],
    "default": ["--dimensions", "16", "--epochs", "60", "--set", "count_weight=1", "--set", "ridge_weight=1"],
}


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.npy")}


def killed_after_a_checkpoint(arguments, checkpoint):
    process = subprocess.Popen(
        [sys.executable, "-m", "tastemaker", *map(str, arguments)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (checkpoint / "checkpoint.json").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait()


@pytest.mark.parametrize("preset", SETTINGS)
def test_a_killed_training_is_resumed_to_the_same_bytes(tastemaker, shop_files, tmp_path, preset):
    command = ["train", shop_files.purchases, *SETTINGS[preset], "--seed", 4]
    whole = tastemaker(*command, "--out", tmp_path / "whole" / "1")
    assert whole.returncode == 0, whole.stderr
    out, checkpoint = tmp_path / "models" / "1", tmp_path / "models" / ".1.checkpoint"
    code = killed_after_a_checkpoint([*command, "--out", out, "--checkpoint-every", 1], checkpoint)
    assert code == -signal.SIGKILL
    assert [path.name for path in out.parent.iterdir()] == [".1.checkpoint"]

    again = tastemaker(*command, "--out", out, "--checkpoint-every", 1)
    assert (again.returncode, out.exists()) == (1, False)
    assert f"go on with it by --resume {checkpoint}" in again.stderr
    other = tastemaker(*command, "--out", out, "--resume", checkpoint, "--seed", 5)
    assert (other.returncode, out.exists()) == (1, False)
    assert "the seed 4 and not 5" in other.stderr

    resumed = tastemaker(*command, "--out", out, "--resume", checkpoint, "--checkpoint-every", 7)
    assert resumed.returncode == 0, resumed.stderr
    assert digests(out) == digests(tmp_path / "whole" / "1") != {}
    assert [path.name for path in out.parent.iterdir()] == ["1"]  # a whole model needs no checkpoint
