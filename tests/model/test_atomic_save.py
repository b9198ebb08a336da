"""Saving is all or nothing: a full disk, Ctrl-C or a kill leaves no version, or a whole one."""

from __future__ import annotations

import errno
import os
import signal
import threading

import numpy as np
import pytest

from tastemaker.errors import FolderExists, ModelFolderProblem
from tastemaker.model.folder import load, save

KILLED = """
import os, signal, sys
from tastemaker.model.folder import load, save

source, target, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
model, flush = load(source), os.fsync

def flush_or_die(descriptor):
    global calls
    calls -= 1
    if not calls:
        os.kill(os.getpid(), signal.SIGKILL)
    flush(descriptor)

os.fsync = flush_or_die
save(model, target)
"""

FILES = 11  # ten parts and the manifest, each flushed once, then the folder itself, then its parent


def failing_after(calls, error, function):
    """Return a function that works so many times and then raises."""
    left = iter(range(calls))

    def tried(*arguments, **options):
        if next(left, None) is None:
            raise error
        return function(*arguments, **options)

    return tried


@pytest.mark.parametrize("calls", [0, 1, 4])
def test_a_full_disk_leaves_nothing(workshop_model, tmp_path, monkeypatch, calls):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(np, "save", failing_after(calls, error, np.save))
    with pytest.raises(
        ModelFolderProblem, match=r"cannot write the model folder .*/1: No space left on device"
    ):
        save(workshop_model, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("calls", [0, 5, FILES, FILES - 1])
def test_a_disk_that_fails_to_flush_leaves_nothing(workshop_model, tmp_path, monkeypatch, calls):
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    monkeypatch.setattr(os, "fsync", failing_after(calls, error, os.fsync))
    with pytest.raises(ModelFolderProblem, match=r"/1: Input/output error"):
        save(workshop_model, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_saving_leaves_nothing(workshop_model, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing_after(3, KeyboardInterrupt(), os.fsync))
    with pytest.raises(KeyboardInterrupt):
        save(workshop_model, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("calls", [1, 5, FILES, FILES + 1, FILES + 2])
def test_a_kill_leaves_no_version_or_a_whole_one_and_the_next_save_sweeps(
    python, model_folder, workshop_model, tmp_path, calls
):
    ended = python(KILLED, model_folder, tmp_path / "1", calls)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    renamed = calls == FILES + 2  # only the parent's flush was left to do
    assert (tmp_path / "1").exists() == renamed
    assert len(list(tmp_path.iterdir())) == 1
    if renamed:
        load(tmp_path / "1")
    save(workshop_model, tmp_path / "2")
    assert sorted(path.name for path in tmp_path.iterdir()) == (["1", "2"] if renamed else ["2"])


def test_a_kill_does_not_keep_the_version_from_being_written_again(
    python, model_folder, workshop_model, tmp_path
):
    python(KILLED, model_folder, tmp_path / "1", 3)
    load(save(workshop_model, tmp_path / "1"))
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_what_a_living_writer_is_writing_is_left_alone(workshop_model, tmp_path):
    theirs = tmp_path / f".7.writing-{os.getppid()}"
    other = tmp_path / ".7.writing-by-hand"
    theirs.mkdir()
    other.mkdir()
    save(workshop_model, tmp_path / "1")
    assert theirs.is_dir()
    assert other.is_dir()


def test_threads_of_one_process_may_save_side_by_side(workshop_model, tmp_path):
    problems = []

    def write(first):
        try:
            for version in range(first, 13, 4):
                save(workshop_model, tmp_path / str(version))
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(first,)) for first in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(1, 13))
    load(tmp_path / "12")


def test_a_version_that_appears_while_another_is_written_is_kept(workshop_model, tmp_path, monkeypatch):
    flush = os.fsync

    def meanwhile(descriptor):
        (tmp_path / "1").mkdir(exist_ok=True)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(FolderExists):
        save(workshop_model, tmp_path / "1")
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
