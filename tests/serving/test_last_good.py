"""Rules, labels and keys that cannot be read: the last good ones hold, after a restart too; with none, nothing is guessed."""

from __future__ import annotations

import json
import os
import time

import pytest
from api_worlds import api_world
from serving_worlds import client_of, make_model, product_id

from tastemaker.errors import SettingProblem
from tastemaker.model.folder import save
from tastemaker.serving.front.api_keys import WatchedKeys, new_key, remove_key
from tastemaker.serving.models.labels import change_labels
from tastemaker.serving.models.registry import Registry
from tastemaker.storage import good_copy

USER = "/api/v1/recommendations/users/u003?k=160"
TORN = b'{"deny": [10'


@pytest.fixture
def models(tmp_path):
    save(make_model(1), tmp_path / "models" / "recommender" / "1")
    return tmp_path / "models"


def listed(client, path=USER):
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return {one["product"] for one in answer.json()["recommendations"]}


def bans(models, row):
    (models / "recommender" / "rules.json").write_text(json.dumps({"deny": [product_id(row)]}))


def test_a_server_that_starts_on_torn_rules_obeys_the_last_good_ones(models):
    bans(models, 9)
    with client_of(models) as client:
        assert product_id(9) not in listed(client)
    (models / "recommender" / "rules.json").write_bytes(TORN)
    with client_of(models) as client:
        assert product_id(9) not in listed(client)
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert "holds no rules" in ready.json()["models"]["recommender"]["problems"][0]
        assert client.get("/api/v1/rules").json()["rules"] == {"deny": [product_id(9)]}


@pytest.mark.parametrize("spoil", ["torn", "a pipe", "an unknown column"])
def test_without_good_rules_lists_are_refused_and_all_else_answers(models, spoil):
    file = models / "recommender" / "rules.json"
    if spoil == "a pipe":
        os.mkfifo(file)
    else:
        file.write_bytes(TORN if spoil == "torn" else b'{"where": {"shade": "red"}}')
    body = {"signature_name": "recommend_user", "inputs": "u003"}
    with client_of(models) as client:
        asked = {
            "list": client.get(USER),
            "basket": client.post("/api/v1/recommendations/basket", json={"basket": [product_id(1)]}),
            "batch": client.post("/api/v1/batch", json={"users": ["u003"]}),
            "similar": client.get(f"/api/v1/products/{product_id(1)}/similar"),
            "tensorflow": client.post("/v1/models/recommender:predict", json=body),
        }
        assert {name: answer.status_code for name, answer in asked.items()} == dict.fromkeys(asked, 503)
        assert "rules" in asked["list"].json()["detail"]
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert "the rules of recommender cannot be read" in ready.json()["problem"]
        assert client.get("/livez").status_code == 200
        assert client.get("/api/v1/users/u003/history").status_code == 200
        workshop = {"signature_name": "call_item_item", "inputs": {"item": [product_id(1)]}}
        assert client.post("/v1/models/recommender:predict", json=workshop).status_code == 200


def test_without_rules_may_be_asked_for(models):
    (models / "recommender" / "rules.json").write_bytes(TORN)
    with client_of(models, without_rules=True) as client:
        assert listed(client)
        assert client.get("/readyz").status_code == 200


def test_rules_put_anew_or_removed_end_the_refusal(tmp_path):
    world = api_world(tmp_path)
    file = world.folder / "models" / "recommender" / "rules.json"
    settings = world.settings
    file.write_bytes(TORN)
    with client_of(settings.models, catalogue=settings.catalogue, keys=settings.keys) as client:
        client.headers.update(world.headers)
        assert client.get(USER).status_code == 503
        assert client.put("/api/v1/rules", json={"deny": [product_id(9)]}).status_code == 200
        assert product_id(9) not in listed(client)
        assert client.get("/readyz").status_code == 200
    file.unlink()
    with client_of(settings.models, catalogue=settings.catalogue, keys=settings.keys) as client:
        client.headers.update(world.headers)
        assert product_id(9) in listed(client)
        assert not good_copy(file).exists()  # no file means no rules: those of before do not come back


def test_a_model_that_has_just_come_is_never_listed_without_its_rules(models):
    with client_of(models, poll_seconds=60) as client:
        save(make_model(2), models / "other" / "1")
        (models / "other" / "rules.json").write_text(json.dumps({"deny": [product_id(9)]}))
        client.app.state.service.registry.look()
        assert product_id(9) not in listed(client, f"{USER}&model=other")


def test_a_put_takes_as_many_ids_as_a_file_holds_and_a_request_as_many_as_a_basket(tmp_path):
    world = api_world(tmp_path)
    settings = world.settings
    with client_of(
        settings.models, catalogue=settings.catalogue, keys=settings.keys, body_bytes=1 << 22
    ) as client:
        client.headers.update(world.headers)
        many = list(range(100_000))
        assert client.put("/api/v1/rules", json={"deny": many}).status_code == 200
        assert len(client.get("/api/v1/rules").json()["rules"]["deny"]) == 100_000
        answer = client.put("/api/v1/rules", json={"deny": [*many, 1]})
        assert (answer.status_code, "100000" in answer.text) == (400, True)
        asked = {"basket": [], "rules": {"deny": many[:1001]}}
        assert client.post("/api/v1/recommendations/basket", json=asked).status_code == 400


def test_the_last_good_labels_hold_after_a_restart(models):
    save(make_model(2), models / "recommender" / "2")
    change_labels(models / "recommender", lambda labels: labels.moved("stable", 1))
    (models / "recommender" / "labels.json").write_text('{"labels": {"stable": 1e400}, "history": []}')
    with client_of(models) as client:
        assert client.get("/api/v1/models").json()["models"][0]["default"] == 1
        problems = client.get("/readyz").json()["models"]["recommender"]["problems"]
        assert "labels.json is not a file of labels" in problems[0]
    assert str(models) not in problems[0]


def test_labels_that_never_were_good_are_told_and_the_largest_version_answers(models):
    save(make_model(2), models / "recommender" / "2")
    (models / "recommender" / "labels.json").write_text("[")
    registry = Registry(models)
    registry.look()
    assert registry.models["recommender"].default == 2
    assert registry.models["recommender"].labels_problem
    (models / "recommender" / "labels.json").unlink()
    registry.look()
    assert registry.models["recommender"].labels_problem is None


def test_the_last_good_keys_hold_after_a_restart_and_a_removed_one_does_not_come_back(tmp_path):
    file = tmp_path / "keys.json"
    gone, gone_text = new_key(file, "admin")
    _, text = new_key(file, "read")
    remove_key(file, gone.name)
    assert good_copy(file).stat().st_mode & 0o777 == 0o600
    file.write_bytes(b'{"keys": [')
    watched = WatchedKeys(file)
    assert watched.problem is not None
    assert "is not a keys file" in watched.problem
    assert watched.keys.find(text) is not None
    assert watched.keys.find(gone_text) is None


def test_readyz_says_that_the_keys_are_spoilt_and_not_where_they_are(models, tmp_path):
    file = tmp_path / "keys.json"
    _, text = new_key(file, "read")
    headers = {"Authorization": f"Bearer {text}"}
    with client_of(models, keys=file, poll_seconds=0.02) as client:
        assert "keys" not in client.get("/readyz").json()
        file.write_bytes(b'{"keys": [')
        end = time.monotonic() + 30
        while "keys" not in client.get("/readyz").json():
            assert time.monotonic() < end
            time.sleep(0.02)
        answer = client.get("/readyz")
        assert (answer.status_code, str(tmp_path) in answer.text) == (200, False)
        assert client.get(USER, headers=headers).status_code == 200
        assert client.get(USER).status_code == 401


def test_keys_that_never_were_good_start_no_server(tmp_path):
    file = tmp_path / "keys.json"
    file.write_bytes(b'{"keys": [')
    with pytest.raises(SettingProblem, match="is not a keys file"):
        WatchedKeys(file)
    with pytest.raises(SettingProblem, match="there is no keys file"):
        WatchedKeys(tmp_path / "no.json")
