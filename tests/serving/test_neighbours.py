"""The table of neighbours: the same answers as without it, to the bit; made once; never in the way."""

from __future__ import annotations

import fcntl
import logging
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from serving_worlds import PRODUCTS, client_of, make_model, product_id

from tastemaker.model.folder import read_manifest, save
from tastemaker.ranking.packed import similarity_candidates
from tastemaker.ranking.rank import nearest
from tastemaker.serving.models import background
from tastemaker.serving.models import neighbour_table as neighbours
from tastemaker.serving.models.neighbour_table import make_table, make_table_aside, read_table

SLEEP = "import signal, time; signal.signal(2, signal.SIG_DFL); print(1, flush=True); time.sleep(60)"


@pytest.mark.parametrize("products", [3, 101, PRODUCTS])
@pytest.mark.parametrize("include_self", [False, True])
def test_the_table_answers_what_the_search_answers(tmp_path, products, include_self):
    space = similarity_candidates(make_model(4, products=products))
    make_table(space, tmp_path, "key")
    table = read_table(tmp_path, "key")
    for k in (1, 10, 100):
        lists = nearest(space, np.arange(products, dtype=np.int32), k=k, include_self=include_self)
        for product in range(products):
            rows, scores = table.of(product, k, include_self=include_self)
            assert rows.tolist() == lists[product][0].tolist()
            assert scores.tobytes() == lists[product][1].tobytes()


def test_a_longer_list_than_the_table_knows_is_not_guessed(tmp_path):
    make_table(similarity_candidates(make_model(4)), tmp_path, "key")
    table = read_table(tmp_path, "key")
    assert table.of(0, 101, include_self=True) is None


def test_one_process_makes_it_and_the_others_wait_for_nothing(tmp_path):
    folder = save(make_model(4), tmp_path / "1")
    with (tmp_path / "key.neighbours.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        make_table_aside(folder, tmp_path, "key", lambda _: False)
        assert read_table(tmp_path, "key") is None


def test_work_that_is_stopped_leaves_nothing(tmp_path):
    folder = save(make_model(4), tmp_path / "1")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    make_table_aside(folder, scratch, "key", lambda _: True)
    assert read_table(scratch, "key") is None
    assert [path.name for path in scratch.iterdir()] == ["key.neighbours.lock"]


def test_a_server_answers_alike_before_and_after_its_table_is_there(tmp_path):
    save(make_model(3), tmp_path / "models" / "recommender" / "1")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def ask(client):
        bodies = [
            {"signature_name": "call_item_item", "instances": [product_id(5)]},
            {
                "signature_name": "similar_products",
                "inputs": {"product": [product_id(5), product_id(9)], "k": 120},
            },
            {"signature_name": "similar_products", "inputs": {"product": [product_id(5)], "k": 3}},
        ]
        return [client.post("/v1/models/recommender:predict", json=body).json() for body in bodies]

    with client_of(tmp_path / "models") as client:
        before = ask(client)
    with client_of(tmp_path / "models", scratch=scratch) as client:
        while client.app.state.service.registry.get("recommender").neighbours is None:
            time.sleep(0.01)
        assert ask(client) == before


def test_a_version_whose_table_fails_keeps_no_other_from_its_own(tmp_path, monkeypatch):
    for version in ("1", "2"):
        save(make_model(int(version)), tmp_path / "models" / "recommender" / version)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def fails_for_the_newest(folder, *arguments):
        if read_manifest(folder)["version"] == 2:
            raise RuntimeError("no memory")
        make_table_aside(folder, *arguments)

    monkeypatch.setattr(background, "make_table_aside", fails_for_the_newest)
    with client_of(tmp_path / "models", scratch=scratch) as client:
        shelf = client.app.state.service.registry
        while shelf.get("recommender", 1).neighbours is None:
            time.sleep(0.01)
        assert shelf.get("recommender", 2).neighbours is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_work_that_is_ended_with_the_server_is_no_error_and_is_not_begun_anew(
    tmp_path, monkeypatch, caplog, number
):
    save(make_model(3), tmp_path / "models" / "recommender" / "1")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    begun = []

    class Ended(subprocess.Popen):
        """A process that gets a signal as it begins, as from a service manager that ends all of a service."""

        def __init__(self, command, **options):
            super().__init__([sys.executable, "-S", "-c", SLEEP], stdout=subprocess.PIPE, **options)
            self.stdout.read(1)
            self.stdout.close()
            begun.append(self)
            self.send_signal(number)

    monkeypatch.setattr(neighbours.subprocess, "Popen", Ended)
    monkeypatch.setattr(background, "SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    with client_of(tmp_path / "models", scratch=scratch) as client:
        while "work ahead was ended from outside" not in caplog.messages:
            time.sleep(0.01)
        time.sleep(0.1)
        assert client.app.state.service.registry.get("recommender").neighbours is None
    assert [-process.returncode for process in begun] == [number]
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_what_is_made_for_a_version_that_was_removed_meanwhile_is_removed_too(tmp_path, monkeypatch):
    folder = tmp_path / "models" / "recommender"
    for version in ("1", "2"):
        save(make_model(int(version)), folder / version)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    removed: list[str] = []

    def removes_the_newest(made, *arguments):
        make_table_aside(made, *arguments)
        if read_manifest(made)["version"] == 2:
            (folder / "2").rename(tmp_path / "gone")
            removed.append(client.app.state.service.registry.get("recommender", 2).key)
            client.app.state.service.registry.look()

    monkeypatch.setattr(background, "make_table_aside", removes_the_newest)
    with client_of(tmp_path / "models", scratch=scratch) as client:
        while client.app.state.service.registry.get("recommender", 1).neighbours is None:
            time.sleep(0.01)
        assert removed
        assert not [path.name for path in scratch.iterdir() if path.name.startswith(removed[0])]
