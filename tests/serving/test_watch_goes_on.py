"""A removed key is refused and SIGTERM ends the server, whatever the watch meets: a library's panic, a pipe in a file's place."""

from __future__ import annotations

import os
import time

import polars as pl
import pytest
from serving_worlds import client_of, make_model, product_id

from tastemaker.model.folder import save
from tastemaker.serving.front.api_keys import new_key, remove_key
from tastemaker.serving.models import loaded_model

BODY = {"signature_name": "call_item_item", "inputs": {"item": [product_id(3)]}}
PREDICT = "/v1/models/recommender:predict"


@pytest.fixture
def models(tmp_path):
    save(make_model(1), tmp_path / "models" / "recommender" / "1")
    return tmp_path / "models"


def until(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_removed_key_is_refused_while_a_catalogue_rewritten_in_place_makes_polars_panic(
    models, tmp_path, monkeypatch
):
    keys, catalogue = tmp_path / "keys.json", tmp_path / "catalogue.csv"
    new_key(keys, "read")
    gone, text = new_key(keys, "read")
    catalogue.write_text(f"product_id,name\n{product_id(3)},three\n")
    panics = []
    with client_of(models, keys=keys, catalogue=catalogue, poll_seconds=0.05) as client:

        def panic(*_, **__):
            panics.append(1)
            raise pl.exceptions.PanicException("index out of bounds")

        def rewrite():
            catalogue.write_text(f"product_id,name\n{product_id(3)},{time.monotonic_ns()}\n")

        def status():
            return client.post(PREDICT, json=BODY, headers={"X-API-Key": text}).status_code

        assert status() == 200
        assert not issubclass(pl.exceptions.PanicException, Exception)
        monkeypatch.setattr(loaded_model, "read_product_table", panic)
        for turn in range(1, 4):
            rewrite()
            until(lambda turn=turn: len(panics) >= turn)
        assert status() == 200  # the version serves on as it was
        remove_key(keys, gone.name)
        rewrite()
        until(lambda: status() == 401)


def test_pipes_in_the_place_of_files_hang_neither_the_watch_nor_the_end(models, tmp_path, start):
    keys, folder = tmp_path / "keys.json", models / "recommender"
    new_key(keys, "read")
    gone, text = new_key(keys, "read")
    server = start(models, "--keys", keys)
    server.client.headers["X-API-Key"] = text
    (folder / "2").mkdir()
    for pipe in (folder / "2" / "manifest.json", folder / "rules.json", folder / "labels.json"):
        os.mkfifo(pipe)
    time.sleep(1.0)  # several looks
    assert server.client.post(PREDICT, json=BODY).status_code == 200
    assert server.client.get("/readyz").status_code in (200, 503)  # it answers
    remove_key(keys, gone.name)
    until(lambda: server.client.post(PREDICT, json=BODY).status_code == 401)
    assert server.stop() == 0  # waits for 30 seconds at most


def test_what_readyz_says_of_a_spoilt_catalogue_or_model_names_no_folder_of_the_machine(models, tmp_path):
    catalogue, scratch = tmp_path / "catalogue.csv", tmp_path / "scratch"
    catalogue.write_text(f"product_id,name\n{product_id(3)},three\n")
    scratch.mkdir()
    with client_of(models, catalogue=catalogue, scratch=scratch, poll_seconds=0.05) as client:

        def refused():
            return client.get("/readyz").json()["models"]["recommender"].get("refused", {}).get("1", "")

        catalogue.unlink()
        os.mkfifo(catalogue)
        until(refused)
        assert refused().startswith("catalogue.csv is a pipe;")
        bias = models / "recommender" / "1" / "product_bias.npy"
        bias.write_bytes(bias.read_bytes()[:-1] + b"x")
        until(lambda: "SHA-256" in refused())
        assert str(tmp_path) not in client.get("/readyz").text


def test_a_server_starts_where_pipes_stand(models, start):
    folder = models / "recommender"
    for pipe in ("rules.json", "labels.json"):
        os.mkfifo(folder / pipe)
    server = start(models, "--without-rules")
    assert server.client.post(PREDICT, json=BODY).status_code == 200
    assert server.stop() == 0
