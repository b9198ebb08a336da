"""Versions are copied and tried apart: what kills whoever loads it kills a child; files in service cannot be changed under it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from serving_worlds import make_model, product_id

from tastemaker.errors import DamagedModel, TryLater
from tastemaker.model.folder import save
from tastemaker.serving.models import registry as registry_module
from tastemaker.serving.models import tryout
from tastemaker.serving.models.private_copy import private_copy
from tastemaker.serving.models.registry import Registry
from tastemaker.serving.models.tryout import can_try

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
from hostile_folders import reseal

TRYING = """
import sys
from pathlib import Path
from tastemaker.serving.models.tryout import Tryout
from tastemaker.serving.models.warmup import warm
warm()
with Tryout(Path(sys.argv[1]), idle=float(sys.argv[2])) as trying:
    print(trying.process, flush=True)
    sys.stdin.read()
"""

BODY = {"signature_name": "call_item_item", "inputs": {"item": [product_id(3)]}}
PREDICT = "/v1/models/recommender:predict"


@contextlib.contextmanager
def trying(scratch, *, idle=20.0):
    """The process that tries versions, forked as from a server: not from this process, which has threads; yields its number."""
    command = [sys.executable, "-c", TRYING, scratch, str(idle)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        number = int(server.stdout.readline())
        yield number
        server.stdin.close()
        assert server.wait(timeout=30) == 0
    until(lambda: not Path(f"/proc/{number}").exists())


@pytest.fixture
def models(tmp_path):
    save(make_model(1), tmp_path / "models" / "recommender" / "1")
    return tmp_path / "models"


def dies(_):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(_):
    time.sleep(60)


def raises(_):
    raise DamagedModel("it holds nonsense.")


@pytest.mark.parametrize(
    ("probe", "seconds", "said"),
    [
        (dies, 60, "1 was tried and ended by SIGSEGV; train the model again."),
        (hangs, 0.3, "1 was tried and took more than 0.3 s; train the model again."),
        (raises, 60, "it holds nonsense."),
        (lambda _: None, 60, None),
    ],
)
def test_whatever_happens_to_a_child_is_said_and_happens_to_it_alone(
    monkeypatch, models, probe, seconds, said
):
    monkeypatch.setattr(tryout, "_probe", probe)
    assert tryout._outcome(models / "recommender" / "1", seconds) == said


def test_a_version_is_tried_once_and_a_bad_one_is_refused_with_its_reason(models, tmp_path):
    bad = models / "recommender" / "2"
    save(make_model(2), bad)
    vectors = np.load(bad / "product_vectors.npy")
    vectors[0, 0] = np.nan
    np.save(bad / "product_vectors.npy", vectors)
    reseal(bad)
    good = models / "recommender" / "1"
    copy, tried = private_copy(good, tmp_path)
    assert not tried  # nobody is there who tries
    with trying(tmp_path):
        assert private_copy(good, tmp_path) == (copy, True)
        for _ in range(2):
            with pytest.raises(DamagedModel, match="not finite"):
                private_copy(bad, tmp_path)
    assert not can_try(tmp_path)
    assert private_copy(good, tmp_path) == (copy, True)
    with pytest.raises(DamagedModel, match="not finite"):  # remembered
        private_copy(bad, tmp_path)
    assert [path for path in tmp_path.glob("*.copy") if path != copy] == []


def test_a_repaired_folder_is_copied_and_tried_anew(models, tmp_path):
    folder = models / "recommender" / "1"
    bias = folder / "product_bias.npy"
    whole = bias.read_bytes()
    with trying(tmp_path):
        bias.write_bytes(whole[:-1])
        with pytest.raises(DamagedModel, match="is not whole"):
            private_copy(folder, tmp_path)
        bias.write_bytes(whole[:-1] + b"x")
        with pytest.raises(DamagedModel, match="SHA-256"):
            private_copy(folder, tmp_path)
        bias.write_bytes(whole)
        copy, tried = private_copy(folder, tmp_path)
        assert tried
        assert (copy / "product_bias.npy").read_bytes() == whole


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux tells a process's arguments")
def test_the_process_gives_its_memory_back_when_idle_and_tries_the_next_version_all_the_same(
    models, tmp_path
):
    with trying(tmp_path, idle=0.1) as number:
        assert tryout.try_version(tmp_path, models / "recommender" / "1") is None
        arguments = Path(f"/proc/{number}/cmdline")
        end = time.monotonic() + 60
        while b"tastemaker.serving.models.tryout" not in arguments.read_bytes().split(b"\0"):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert tryout.try_version(tmp_path, models / "recommender" / "1") is None
        assert arguments.exists()


def test_a_deep_scratch_folder_has_a_socket_too(models, tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with trying(deep):
        _, tried = private_copy(models / "recommender" / "1", deep)
        assert tried


def test_without_the_process_that_tries_a_version_is_tried_all_the_same(models, tmp_path):
    bad = models / "recommender" / "2"
    save(make_model(2), bad)
    (bad / "users.arrow").write_bytes(b"no ids")
    reseal(bad)
    with trying(tmp_path) as number:
        os.kill(number, signal.SIGKILL)
        _, tried = private_copy(models / "recommender" / "1", tmp_path)
        assert tried
        with pytest.raises(DamagedModel, match="holds no ids"):
            private_copy(bad, tmp_path)


def test_a_version_that_cannot_be_tried_is_tried_later_and_ever_more_rarely(models, tmp_path, monkeypatch):
    calls = []

    def busy(*_):
        calls.append(1)
        raise TryLater("no room.")

    monkeypatch.setattr("tastemaker.serving.models.loaded_model.private_copy", busy)
    now = [1000.0]
    monkeypatch.setattr(registry_module.time, "monotonic", lambda: now[0])
    found = Registry(models, scratch=tmp_path)
    for seconds, expected in ((0, 1), (29, 1), (2, 2), (59, 2), (2, 3), (119, 3), (2, 4)):
        now[0] += seconds
        found.look()
        assert len(calls) == expected


def test_a_librarys_panic_ends_neither_the_look_nor_the_watch(models, monkeypatch):
    class Panic(BaseException):
        pass

    def panics(*_, **__):
        raise Panic("a library's own")

    found = Registry(models)
    monkeypatch.setattr(registry_module, "load_version", panics)
    found.look()
    assert found.models["recommender"].refused == {1: "a library's own"}

    seen = []

    def chore():
        seen.append(1)
        raise Panic

    found.with_each_look(chore)
    found.watch(0.02)
    end = time.monotonic() + 20
    while len(seen) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    found.close()
    assert len(seen) >= 3


def test_a_look_that_hangs_makes_the_server_not_ready_and_keeps_no_other_from_looking(models, monkeypatch):
    monkeypatch.setattr(registry_module, "STALE_SECONDS", 0.3)
    found, hang, looks = Registry(models), threading.Event(), itertools.count()
    found.look()
    found.with_each_look(hang.wait)
    found.with_each_look(lambda: next(looks))
    assert not found.stale
    found.watch(0.01)
    try:
        until(lambda: found.stale)
        before = next(looks)
        until(lambda: next(looks) > before + 20)
    finally:
        hang.set()
    until(lambda: not found.stale)
    found.close()


def test_a_look_that_fails_again_and_again_makes_the_server_not_ready(models, monkeypatch):
    monkeypatch.setattr(registry_module, "STALE_SECONDS", 0.3)
    found = Registry(models)
    found.look()
    monkeypatch.setattr(registry_module, "find_versions", lambda _: 1 / 0)
    found.watch(0.01)
    until(lambda: found.stale)
    found.close()


def until(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("pipe", ["manifest.json", "labels.json", "rules.json"])
def test_a_pipe_in_the_place_of_a_file_hangs_nothing(models, pipe):
    found = Registry(models)
    found.look()
    folder = models / "recommender"
    if pipe == "manifest.json":
        folder = folder / "2"
        folder.mkdir()
    os.mkfifo(folder / pipe)
    found.look()
    assert list(found.models["recommender"].ready) == [1]


def overwrite(path):
    path.write_bytes(bytes(path.stat().st_size))


def truncate(path):
    os.truncate(path, 0)


def unreadable(path):
    path.chmod(0)


@pytest.mark.parametrize("harm", [overwrite, truncate, Path.unlink, unreadable])
def test_files_that_are_harmed_in_service_change_no_answer_and_readyz_says_so(models, start, harm):
    server = start(models, "--workers", 2)
    before = server.client.post(PREDICT, json=BODY).json()
    workers = server.workers()
    for path in sorted((models / "recommender" / "1").glob("*.npy")):
        harm(path)
    said = {}

    def told():
        ready = server.client.get("/readyz")
        assert ready.status_code == 200
        said.update(ready.json()["models"]["recommender"].get("refused") or {})
        return bool(said)

    if harm is not unreadable or os.geteuid():  # root may read everything
        until(told)
        assert "1" in said
    for _ in range(20):
        assert server.client.post(PREDICT, json=BODY).json() == before
    assert server.workers() == workers


def test_a_second_version_that_kills_is_refused_and_the_first_serves_on_at_a_restart_too(
    models, start, monkeypatch
):
    bad = models / "recommender" / "2"
    save(make_model(2), bad)
    rows = np.load(bad / "history_products.npy")
    rows[0] = 2**31 - 1
    np.save(bad / "history_products.npy", rows)
    reseal(bad)
    for _ in range(2):
        server = start(models, "--workers", 2)
        ready = server.client.get("/readyz").json()["models"]["recommender"]
        assert (ready["default"], ready["ready"]) == (1, [1])
        assert "holds the row 2147483647" in ready["refused"]["2"]
        assert server.client.post(PREDICT, json=BODY).status_code == 200
        assert server.stop() == 0
