"""SIGINT and SIGTERM while `train` runs: nothing is written, or a whole model on request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tastemaker.model.folder import load

ENDLESS = ["--preset", "workshop", "--epochs", "1000000", "--dimensions", "8", "--learning-rate", "1"]


def started(shop_files, out, *options, until):
    """Start an endless training and return it when its stderr has shown ``until``, with a bar as on a terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tastemaker", "train", shop_files.purchases, "--out", out, *ENDLESS, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"FORCE_COLOR": "1", "COLUMNS": "150"},
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # even where the tests run in the background
    )
    seen = b""
    while until not in seen:
        read = os.read(process.stderr.fileno(), 4096)
        assert read, seen.decode()
        seen += read
    return process


def interrupted(process, number):
    process.send_signal(number)
    try:
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    return stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_writes_nothing(shop_files, tmp_path, number):
    process = started(shop_files, tmp_path / "models" / "1", until=b"loss")
    stderr = interrupted(process, number)
    assert process.returncode == 1
    assert "tastemaker: interrupted in epoch" in stderr
    assert "--keep-interrupted" in stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_is_kept_when_told(shop_files, tmp_path, number):
    out = tmp_path / "models" / "1"
    process = started(shop_files, out, "--keep-interrupted", until=b"loss")
    stderr = interrupted(process, number)
    assert process.returncode == 0, stderr
    assert "Interrupted: kept" in stderr
    model = load(out)
    assert model.record.interrupted
    assert len(model.record.epochs) < 1_000_000
    assert model.finite()
    assert [path.name for path in out.parent.iterdir()] == ["1"]


@pytest.mark.parametrize("delay", [0.25, 0.5])
def test_a_training_interrupted_before_it_began_says_one_line(shop_files, tmp_path, delay):
    """Wherever it is (imports, reading): at once, without a traceback."""
    process = started_early(shop_files, tmp_path / "models" / "1")
    time.sleep(delay)
    stderr = interrupted(process, signal.SIGINT)
    assert process.returncode == 1
    assert "tastemaker: interrupted" in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def started_early(shop_files, out):
    """Start a training and return it as soon as the command line listens to signals."""
    code = (
        "import sys; from tastemaker.cli.terminal.interrupts import end_at_once; end_at_once(); print(flush=True);"
        "from tastemaker.cli import main; sys.argv[0] = 'tastemaker'; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", shop_files.purchases, "--out", out, *ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    process.stdout.readline()
    return process


def test_a_killed_training_leaves_no_version(shop_files, tmp_path):
    process = started(shop_files, tmp_path / "models" / "1", until=b"loss")
    interrupted(process, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "models" / "1").exists()
