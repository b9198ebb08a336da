"""Models of an S3-compatible store: fetched whole or not at all, verified, served, and kept for when the store is away."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from database_servers import free_port

sys.path.append(str(Path(__file__).parents[1] / "serving"))

from serving_worlds import make_model, serving

from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.stores import Objects
from tastemaker.errors import DatabaseProblem, ServerProblem
from tastemaker.model.folder import load, save
from tastemaker.serving.model_copy import ModelCopy, cache_of
from tastemaker.serving.models.registry import Registry


class Bucket:
    """A bucket of its own, and how files come into it."""

    def __init__(self, end, name):
        made = urllib.request.Request(f"{end}/{name}", b"", {"content-type": "text/plain"}, method="PUT")
        urllib.request.urlopen(made, timeout=20).close()
        from obstore.store import from_url

        self._store = from_url(f"s3://{name}", client_options={"allow_http": True})
        self.address = f"s3://{name}/shop/models"

    def put(self, path, content):
        import obstore

        obstore.put(self._store, f"shop/models/{path}", content)

    def remove(self, path):
        import obstore

        obstore.delete(self._store, f"shop/models/{path}")

    def upload(self, folder, place, *, without=()):
        for file in sorted(folder.iterdir()):
            if file.name not in without:
                self.put(f"{place}/{file.name}", file.read_bytes())


@pytest.fixture
def bucket(s3, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": s3, "AWS_ACCESS_KEY_ID": "hunter1", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return Bucket(s3, f"models-{uuid.uuid4().hex}")


@pytest.fixture
def versions(tmp_path):
    """Return the folder of a version that was trained elsewhere."""
    return lambda number: save(make_model(number), tmp_path / "trained" / str(number))


@pytest.fixture
def copy(bucket, tmp_path):
    return ModelCopy(Objects(address_of(bucket.address)), tmp_path / "cache" / "models", keep=3)


def served(copy):
    registry = Registry(copy.folder)
    registry.look()
    return {name: list(model.ready) for name, model in registry.models.items()}


def test_a_version_is_fetched_to_the_byte_and_not_again(bucket, versions, copy):
    folder = versions(1)
    bucket.upload(folder, "recommender/1")
    copy.look()
    here = copy.folder / "recommender" / "1"
    for file in folder.iterdir():
        assert (here / file.name).read_bytes() == file.read_bytes()
    before = here.stat().st_ino
    copy.look()
    assert here.stat().st_ino == before
    assert served(copy) == {"recommender": [1]}


@pytest.mark.parametrize("lacks", ["manifest.json", "users.arrow"])
def test_a_version_that_is_half_there_is_not_served_until_the_rest_has_come(
    bucket, versions, copy, lacks, caplog
):
    bucket.upload(versions(1), "recommender/1")
    second = versions(2)
    bucket.upload(second, "recommender/2", without=(lacks,))
    for _ in range(2):
        copy.look()
        assert served(copy) == {"recommender": [1]}
    assert len([one for one in caplog.records if "may be on its way" in one.message]) == (
        lacks != "manifest.json"
    )
    bucket.put(f"recommender/2/{lacks}", (second / lacks).read_bytes())
    copy.look()
    assert served(copy) == {"recommender": [1, 2]}


def test_a_file_of_another_content_or_length_is_never_served(bucket, versions, copy, caplog):
    bucket.upload(versions(1), "recommender/1")
    second = versions(2)
    bucket.upload(second, "recommender/2")
    users = (second / "users.arrow").read_bytes()
    bucket.put("recommender/2/users.arrow", users[:-1] + bytes([users[-1] ^ 1]))
    copy.look()
    assert served(copy) == {"recommender": [1]}
    assert "another SHA-256" in caplog.text
    bucket.put("recommender/2/users.arrow", users[:-9])
    copy.look()
    assert served(copy) == {"recommender": [1]}
    bucket.put("recommender/2/users.arrow", users)
    copy.look()
    assert served(copy) == {"recommender": [1, 2]}


def test_a_manifest_that_names_other_files_or_was_changed_is_refused(
    bucket, versions, copy, tmp_path, caplog
):
    bucket.upload(versions(1), "recommender/1")
    facts = json.loads((versions(2) / "manifest.json").read_text())
    facts["files"]["../../../escaped.npy"] = facts["files"]["users.arrow"]
    bucket.put("recommender/2/manifest.json", json.dumps(facts).encode())
    bucket.put(".escaped/1/manifest.json", b"{}")
    copy.look()
    assert served(copy) == {"recommender": [1]}
    assert "recommender/2 of" in caplog.text
    assert not list(tmp_path.rglob("escaped*"))


def test_labels_and_rules_follow_the_store_and_what_it_drops_goes(bucket, versions, copy):
    for number in range(1, 6):
        bucket.upload(versions(number), f"recommender/{number}")
    bucket.put("recommender/labels.json", b'{"labels": {"stable": 1}, "history": []}')
    bucket.put("recommender/rules.json", b'{"deny": [1]}')
    copy.look()
    # the newest three, and the one with a label
    assert served(copy) == {"recommender": [1, 3, 4, 5]}
    rules = copy.folder / "recommender" / "rules.json"
    rules.write_text('{"deny": [2]}')  # put over HTTP: it stays until the store has other rules
    copy.look()
    assert rules.read_text() == '{"deny": [2]}'
    bucket.put("recommender/rules.json", b'{"deny": [3]}')
    bucket.remove("recommender/labels.json")
    copy.look()
    assert rules.read_text() == '{"deny": [3]}'
    copy.look()
    assert served(copy) == {"recommender": [3, 4, 5]}


def test_a_version_that_was_written_anew_is_fetched_anew(bucket, versions, copy, tmp_path):
    bucket.upload(versions(1), "recommender/1")
    copy.look()
    other = save(make_model(7), tmp_path / "other" / "1")
    bucket.upload(other, "recommender/1")
    copy.look()
    assert (copy.folder / "recommender/1/manifest.json").read_bytes() == (
        other / "manifest.json"
    ).read_bytes()
    load(copy.folder / "recommender" / "1")


def test_a_bucket_without_a_model_or_that_is_not_there_is_one_sentence(bucket, copy, tmp_path):
    with pytest.raises(ServerProblem, match="holds no NAME/VERSION"):
        copy.look()
    with pytest.raises(DatabaseProblem) as caught:
        ModelCopy(Objects(address_of("s3://nowhere/models")), tmp_path, keep=3).look()
    assert "hunter" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DatabaseProblem, match="is no object store"):
        Objects(address_of("postgresql://db/shop"))


def test_an_emptied_store_takes_nothing_away(bucket, versions, copy):
    folder = versions(1)
    bucket.upload(folder, "recommender/1")
    copy.look()
    for file in folder.iterdir():
        bucket.remove(f"recommender/1/{file.name}")
    with pytest.raises(ServerProblem):
        copy.look()
    assert served(copy) == {"recommender": [1]}


def test_a_server_of_a_store_takes_new_versions_and_starts_without_the_store(
    bucket, versions, tmp_path, monkeypatch
):
    bucket.upload(versions(1), "recommender/1")
    flags = ("--models-cache", tmp_path / "kept", "--models-every", 0.2)
    with serving(bucket.address, tmp_path / "log", *flags) as server:
        assert server.announced.startswith("Serving recommender/1")
        bucket.upload(versions(2), "recommender/2")
        until = time.monotonic() + 30
        while server.client.get("/api/v1/models").json()["models"][0]["default"] != 2:
            assert time.monotonic() < until
            time.sleep(0.05)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with serving(bucket.address, tmp_path / "log", *flags) as server:
        assert "recommender/2" in server.announced


def test_the_cache_is_one_folder_an_address():
    assert cache_of("s3://a/models") != cache_of("s3://b/models")
    assert cache_of("s3://a/models/") == cache_of("s3://a/models")
    assert cache_of("s3://a/models").name == "models"
