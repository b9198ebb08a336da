"""``DELETE /api/v1/users/{user}``: gone at once from every answer of every worker, and after a restart."""

from __future__ import annotations

import shutil
import time

import httpx2 as httpx
import pytest
from api_worlds import api_world
from serving_worlds import client_of, make_model, product_id, serving

from tastemaker.model.folder import load, read_manifest, save
from tastemaker.model.forgotten import remember_to_forget
from tastemaker.model.manifest import receipt_of
from tastemaker.serving.answering.hidden import Hidden
from tastemaker.serving.forgetting import forget_user
from tastemaker.serving.models.registry import Registry

USER = "u007"
GONE = f"/api/v1/users/{USER}"
HISTORY = f"{GONE}/history"
LIST = f"/api/v1/recommendations/users/{USER}"


@pytest.fixture
def world(tmp_path):
    return api_world(tmp_path)


@pytest.fixture
def api(world):
    settings = world.settings
    with client_of(settings.models, keys=settings.keys, events=settings.events, poll_seconds=60) as client:
        client.headers.update(world.headers)
        yield client


def post(api, user, product, **more):
    answer = api.post("/api/v1/events", json={"purchases": [{"user": user, "product": product, **more}]})
    assert answer.status_code == 200, answer.text


def is_known(api):
    """Whether any answer knows the user."""
    tensorflow = api.post(
        "/v1/models/recommender:predict",
        json={"signature_name": "recommend_user", "inputs": {"user": [USER, "nobody"], "k": 5}},
    ).json()["outputs"]["product_ids"]
    found = {
        api.get(HISTORY).status_code == 200,
        api.get(LIST).json()["source"] != api.get(LIST.replace(USER, "nobody")).json()["source"],
        api.post("/api/v1/batch", json={"users": [USER]}).json()["answers"][0]["unknown"] == [],
        api.get("/api/page/users", params={"search": USER}).json()["users"] != [],
        tensorflow[0] != tensorflow[1],
    }
    assert len(found) == 1, found
    return found.pop()


def test_a_forgotten_user_is_in_no_answer_and_no_file(api, world):
    post(api, USER, product_id(3))
    assert is_known(api)
    answer = api.delete(GONE)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    folder = world.settings.models / "recommender" / "1"
    emptied = [{"version": 1, "receipt": receipt_of(read_manifest(folder))}]
    assert said == {
        "user": USER, "live_events": 1, "again": False,
        "models": [{"model": "recommender", "emptied": emptied, "removed": [], "left": [], "unreadable": []}],
    }  # fmt: skip
    assert not is_known(api)
    assert USER not in api.get("/api/v1/events/export").text
    held = [path for path in world.folder.rglob("*") if path.is_file() and USER.encode() in path.read_bytes()]
    assert held == []
    assert len(load(folder).users) == 29
    assert (
        api.get(HISTORY.replace(USER, "u008")).status_code == 200
    )  # rows have moved, and nobody else's history


def test_the_others_histories_and_lists_stay(api):
    def asked():
        return [
            api.get(f"/api/v1/users/u{number:03}/history").json()["purchases"] for number in (1, 6, 8, 29)
        ] + [
            api.get(f"/api/v1/recommendations/users/u{number:03}?k=9").json()["recommendations"]
            for number in (1, 6, 8, 29)
        ]

    before = asked()
    assert api.delete(GONE).status_code == 200
    assert asked() == before


def test_a_worker_that_has_not_looked_yet_hides_the_user_at_once(api, world):
    assert is_known(api)
    folder = world.settings.models / "recommender"
    forget_user(folder, USER)  # as another worker, or the command
    assert not is_known(api)
    service = api.app.state.service
    assert service.registry.get("recommender").user_ids.row_of(USER) is not None  # it holds them still
    service.registry.look()
    assert service.registry.get("recommender").user_ids.row_of(USER) is None


def test_a_list_of_the_forgotten_that_is_spoilt_shows_nobody_again(api, world):
    folder = world.settings.models / "recommender"
    forget_user(folder, USER)
    assert not is_known(api)
    (folder / "forgotten.json").write_text("{")
    assert not is_known(api)


def test_what_they_do_later_is_new(api):
    assert api.delete(GONE).status_code == 200
    post(api, USER, product_id(50))
    bought = api.get(HISTORY).json()["purchases"]
    assert [(one["product"], one["live"]) for one in bought] == [(product_id(50), True)]


def test_an_unknown_user_is_a_sentence_and_again_is_no_mistake(api):
    answer = api.delete("/api/v1/users/nobody")
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "no version of any model and no live event knows this user.",
    )
    assert api.delete("/api/v1/users/nobody?in_advance=true").status_code == 200
    assert api.delete(GONE).json()["again"] is False
    assert api.delete(GONE).json()["again"] is True
    assert api.delete(f"{GONE}?model=none").status_code == 404


def test_a_history_is_nothing_that_can_be_deleted(api):
    answer = api.delete(HISTORY)
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert is_known(api)


def test_only_an_admin_forgets(api, world):
    reader = {"Authorization": f"Bearer {world.reader}"}
    assert api.delete(GONE, headers=reader).status_code == 403
    assert is_known(api)


def test_older_versions_go_where_that_is_asked_for(api, world):
    folder = world.settings.models / "recommender"
    save(make_model(2), folder / "2")
    api.app.state.service.registry.look()
    said = api.delete(GONE).json()["models"][0]
    assert (said["emptied"][0]["version"], said["left"]) == (2, ["1"])
    said = api.delete(f"{GONE}?everywhere=true").json()["models"][0]
    assert (said["removed"], said["left"]) == (["1"], [])
    assert not (folder / "1").exists()


def test_an_index_of_the_version_goes_with_it(api, world):
    folder = world.settings.models / "recommender"
    (folder / "1.index").mkdir()
    assert api.delete(GONE).json()["models"][0]["removed"] == ["1.index"]
    assert not (folder / "1.index").exists()


def test_a_model_without_numbered_versions_is_refused(tmp_path):
    world = api_world(tmp_path)
    save(make_model(1), tmp_path / "alone" / "shop")
    shutil.rmtree(world.settings.models)
    with client_of(tmp_path / "alone", keys=world.settings.keys) as client:
        answer = client.delete(GONE, headers=world.headers)
        assert answer.status_code == 422
        assert "holds no numbered versions" in answer.json()["detail"]
        assert str(tmp_path) not in answer.text


def test_every_worker_knows_it_at_once_and_after_a_restart(tmp_path):
    world = api_world(tmp_path)
    settings = world.settings
    options = ["--workers", 2, "--keys", settings.keys, "--events", settings.events]
    with serving(settings.models, tmp_path / "log", *options) as server:
        server.client.headers.update(world.headers)

        def statuses(count):
            """Ask on connections of their own, so that both workers are asked."""
            found = set()
            for _ in range(count):
                with httpx.Client(base_url=server.address, headers=world.headers, trust_env=False) as client:
                    found.add(client.get(HISTORY).status_code)
            return found

        assert statuses(10) == {200}
        assert server.client.delete(GONE).status_code == 200
        assert statuses(30) == {404}
    with serving(settings.models, tmp_path / "log", *options) as server:
        server.client.headers.update(world.headers)
        assert server.client.get(HISTORY).status_code == 404


def test_whoever_looked_a_moment_before_knows_when_it_is_said_to_be_done(tmp_path):
    models = tmp_path / "models"
    save(make_model(1), models / "recommender" / "1")
    registry = Registry(models)
    registry.look()
    loaded, hidden = registry.get("recommender"), Hidden(registry)
    assert not hidden.hides(loaded, USER)
    remember_to_forget(models / "recommender", [USER])
    assert hidden.hides(loaded, USER)
    assert not hidden.hides(loaded, "u008")


def test_nobody_looks_at_the_file_again_within_a_hundredth_of_a_second(tmp_path, monkeypatch):
    models = tmp_path / "models"
    save(make_model(1), models / "recommender" / "1")
    registry = Registry(models)
    registry.look()
    loaded, hidden = registry.get("recommender"), Hidden(registry)
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    assert not hidden.hides(loaded, USER)
    remember_to_forget(models / "recommender", [USER])
    clock[0] += 0.0099
    assert not hidden.hides(loaded, USER)
    clock[0] += 0.0002
    assert hidden.hides(loaded, USER)
