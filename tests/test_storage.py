"""Storage: whole or not at all, one writer at a time, nothing lost, and what killed writers leave is swept."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from tastemaker.storage import (
    locked,
    mark_of,
    read_regular,
    replace_bytes,
    replace_text,
    sweep,
    update,
    writing,
    writing_folder,
)

ADD = """
import json, sys, threading
from pathlib import Path
from tastemaker.storage import update

file, name, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def add(thread):
    for number in range(rounds):
        update(file, lambda before: json.dumps([*json.loads(before or b"[]"), f"{name}.{thread}.{number}"]).encode())

threads = [threading.Thread(target=add, args=(thread,)) for thread in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

ENDLESS = """
import sys
from pathlib import Path
from tastemaker.storage import replace_bytes, update, writing_folder

target, number = Path(sys.argv[1]), 0
print("begun", flush=True)
while True:
    number += 1
    update(target / "state", lambda _: b"%09d" % number * 20_000)
    with writing_folder(target / str(number)) as folder:
        (folder / "a").write_bytes(b"a" * 100_000)
        (folder / "b").write_bytes(b"b" * 100_000)
"""

HOLD = """
import sys, time
from pathlib import Path
from tastemaker.storage import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def started(code, *arguments):
    """Return a process that has said its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    return process


def killed(process):
    process.kill()
    process.wait()
    process.stdout.close()


def names(folder):
    hidden = (".lock", ".good")
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(hidden))


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "state"
    replace_text(file, "Grüße")
    replace_bytes(file, b"after")
    assert (file.read_bytes(), names(tmp_path)) == (b"after", ["state"])


def test_what_fails_leaves_the_file_as_it_was(tmp_path):
    file = tmp_path / "state"
    replace_text(file, "before")
    with pytest.raises(ZeroDivisionError), writing(file) as temporary:
        temporary.write_text(str(1 / 0))
    assert (file.read_text(), names(tmp_path)) == ("before", ["state"])


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_file_as_it_was(tmp_path, monkeypatch, failing):
    file = tmp_path / "state"
    replace_text(file, "before")

    def refused(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, refused)
    with pytest.raises(OSError, match="No space left"):
        replace_text(file, "after")
    monkeypatch.undo()
    assert (file.read_text(), names(tmp_path)) == ("before", ["state"])


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def flushed(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(*names, **options):
        calls.append("rename")
        replace(*names, **options)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    replace_text(tmp_path / "state", "content")
    assert calls == ["file", "rename", "folder"]


def test_a_new_file_has_the_mode_that_was_asked_for_and_a_replaced_one_keeps_its_own(tmp_path):
    secret, shared = tmp_path / "secret", tmp_path / "shared"
    replace_text(secret, "s", mode=0o600)
    replace_text(shared, "s")
    shared.chmod(0o640)
    replace_text(shared, "t")
    assert [stat.S_IMODE(file.stat().st_mode) for file in (secret, shared)] == [0o600, 0o640]


def test_every_replacement_has_another_mark_however_soon_it_comes(tmp_path):
    file = tmp_path / "state"
    marks = []
    for _ in range(300):  # of one size, many in one tick of the clock, and inodes come again
        replace_bytes(file, b"same size")
        marks.append(mark_of(file))
    assert len(set(marks)) == 300
    file.unlink()
    assert mark_of(file) is None


def test_threads_and_processes_lose_no_update(tmp_path):
    file, rounds = tmp_path / "state", 15
    writers = [
        subprocess.Popen([sys.executable, "-c", ADD, file, str(name), str(rounds)]) for name in range(3)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    expected = {f"{w}.{t}.{n}" for w in range(3) for t in range(3) for n in range(rounds)}
    found = json.loads(file.read_bytes())
    assert len(found) == len(expected)
    assert set(found) == expected
    assert names(tmp_path) == ["state"]


def test_update_returns_what_it_wrote_whoever_writes_next(tmp_path):
    file, mine = tmp_path / "state", []

    def write(name):
        for _ in range(30):
            mine.append(update(file, lambda _: name) == name)

    threads = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"bb", b"ccc")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mine == [True] * 90


def test_of_many_who_state_the_same_precondition_one_wins(tmp_path):
    file, won, barrier = tmp_path / "state", [], threading.Barrier(6)
    replace_text(file, "0")

    def write(number):
        def change(before):
            if before != b"0":
                raise ValueError("somebody was first")
            return str(number).encode()

        barrier.wait()
        with contextlib.suppress(ValueError):
            won.append(update(file, change))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [file.read_bytes()]


def test_a_change_that_raises_leaves_the_file_and_frees_the_lock(tmp_path):
    file = tmp_path / "state"

    def refused(before):
        assert before is None
        raise KeyError("no")

    with pytest.raises(KeyError):
        update(file, refused)
    assert update(file, lambda _: b"yes", patience=0) == b"yes"


def test_who_holds_a_lock_keeps_others_out_until_it_dies(tmp_path):
    file = tmp_path / "state"
    holder = started(HOLD, file)
    try:
        with pytest.raises(TimeoutError, match=r"held its lock for more than 0\.1 seconds"):
            update(file, lambda _: b"mine", patience=0.1)
        assert not file.exists()
    finally:
        killed(holder)
    assert update(file, lambda _: b"mine", patience=5) == b"mine"


def test_a_thread_waits_for_a_thread(tmp_path):
    with locked(tmp_path / "state"):
        problems = []

        def wait():
            try:
                update(tmp_path / "state", lambda _: b"", patience=0.05)
            except TimeoutError as error:
                problems.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert len(problems) == 1


def test_a_lock_is_of_the_file_and_not_of_the_name_it_is_reached_by(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").symlink_to(tmp_path / "here")
    with (
        locked(tmp_path / "here" / "state"),
        pytest.raises(TimeoutError),
        locked(tmp_path / "there" / "state", patience=0),
    ):
        pass


def test_writers_that_are_killed_leave_whole_content_and_their_litter_is_swept(tmp_path):
    for pause in (0.01, 0.02, 0.03, 0.05, 0.08):
        writer = started(ENDLESS, tmp_path)
        time.sleep(pause)
        killed(writer)
        if (tmp_path / "state").exists():
            content = (tmp_path / "state").read_bytes()
            assert content == content[:9] * 20_000
        for folder in tmp_path.glob("[0-9]*"):
            assert [len(path.read_bytes()) for path in sorted(folder.iterdir())] == [100_000, 100_000]
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
    replace_text(tmp_path / "last", "")
    assert set(names(tmp_path)) <= {"state", "last"}


def test_a_killed_writers_file_and_folder_are_swept_by_the_next_writer(tmp_path, python):
    code = """
import os, signal, sys
from pathlib import Path
from tastemaker.storage import writing, writing_folder
with writing(Path(sys.argv[1]) / "file"), writing_folder(Path(sys.argv[1]) / "folder") as folder:
    (folder / "part").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert python(code, tmp_path).returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    assert (sweep(tmp_path), names(tmp_path)) == (2, [])


def test_what_others_are_writing_is_left_alone(tmp_path):
    other_host = tmp_path / ".state.writing-00000000-1-0"
    by_hand = tmp_path / ".state.writing-by-hand"
    for path in (other_host, by_hand):
        path.write_text("")
    with writing(tmp_path / "state") as mine:
        assert sweep(tmp_path) == 0
        assert mine.exists()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(other_host, (long_ago, long_ago))
    os.utime(by_hand, (long_ago, long_ago))
    assert (sweep(tmp_path), names(tmp_path)) == (1, [by_hand.name, "state"])


def test_a_folder_never_takes_the_place_of_another(tmp_path):
    with pytest.raises(FileExistsError), writing_folder(tmp_path / "1"):
        (tmp_path / "1").mkdir()
    assert names(tmp_path) == ["1"]
    assert list((tmp_path / "1").iterdir()) == []


def test_only_regular_files_are_read_and_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"not a regular file|directory"):
        read_regular(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    assert read_regular(tmp_path / "file") == b"content"
