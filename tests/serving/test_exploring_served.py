"""Lists that explore, served: what is drawn, that every rule holds, and that each list is logged with its chances."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import time

import numpy as np
import pytest
from api_worlds import api_world, catalogue
from serving_worlds import client_of, make_model, product_id, serving

from tastemaker.errors import EventsProblem, SettingProblem
from tastemaker.model.folder import save
from tastemaker.ranking.exploring.swaps import chances
from tastemaker.serving.answering.event_store import Events, copy_events
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.measuring.served_lists import ListsInFile, ServedList, ServedLists, read_served

USER = "/api/v1/recommendations/users/"
BASKET = "/api/v1/recommendations/basket"
RATE = 0.5
PEOPLE = [f"u{number:03}" for number in range(30)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return api_world(tmp_path_factory.mktemp("exploring"))


@contextlib.contextmanager
def served(world, **settings):
    one = world.settings
    with client_of(one.models, catalogue=one.catalogue, keys=one.keys, **settings) as client:
        client.headers.update(world.headers)
        yield client


@pytest.fixture(scope="module")
def plain(world):
    with served(world, events=world.folder / "plain.db") as client:
        yield client


@pytest.fixture(scope="module")
def api(world):
    with served(world, events=world.settings.events, explore=RATE) as client:
        yield client


def logged(client, file):
    client.app.state.service.measuring.exploring.log.flush()
    return {one.list_id: one for one in read_served(file)}


def products(answer):
    return [one["product"] for one in answer["recommendations"]]


def test_a_server_without_the_flag_draws_and_logs_nothing(world, plain):
    for user in PEOPLE:
        assert "explored" not in plain.get(USER + user).json()
    assert "explor" not in plain.get("/metrics").text
    with contextlib.closing(sqlite3.connect(world.folder / "plain.db")) as file:
        assert not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'lists'").fetchone()
    with pytest.raises(EventsProblem, match="no list that explored"):
        next(read_served(world.folder / "plain.db"))


def test_each_list_is_drawn_from_the_ranking_and_says_where(api, plain):
    moved = 0
    for user in PEOPLE:
        answer, ranking = (
            api.get(USER + user).json(),
            products(plain.get(USER + user, params={"k": 20}).json()),
        )
        shown = products(answer)
        assert len(set(shown)) == 10
        assert set(shown) <= set(ranking)
        differs = [rank for rank in range(1, 11) if shown[rank - 1] != ranking[rank - 1]]
        assert answer.get("explored", []) == differs
        assert [one["rank"] for one in answer["recommendations"]] == list(range(1, 11))
        moved += len(differs)
    assert 100 < moved < 250  # of 300 places, each of which explores with a chance of one half


def test_scores_and_reasons_are_those_of_the_products(api, plain):
    for user in PEOPLE[:5]:
        answer = api.get(USER + user, params={"why": "true", "details": "true"}).json()
        ranking = plain.get(USER + user, params={"why": "true", "details": "true", "k": 20}).json()
        known = {one["product"]: one for one in ranking["recommendations"]}
        for one in answer["recommendations"]:
            assert {**known[one["product"]], "rank": one["rank"]} == one
        assert products(answer) == products(api.get(USER + user).json())


def test_the_same_list_comes_again_and_in_a_batch(api):
    answers = [api.get(USER + user).json() for user in PEOPLE]
    assert answers == [api.get(USER + user).json() for user in PEOPLE]
    batch = api.post("/api/v1/batch", json={"users": PEOPLE}).json()["answers"]
    assert [one["list_id"] for one in batch] == [one["list_id"] for one in answers]


def test_every_list_is_logged_with_its_exact_chances(api, plain, world):
    answers = {user: api.get(USER + user).json() for user in PEOPLE}
    log = logged(api, world.settings.events)
    table = chances(10, 20, rate=RATE)
    for user, answer in answers.items():
        one = log[answer["list_id"]]
        assert (one.user, one.model, one.version, one.rate, one.pinned) == (user, "recommender", 1, RATE, 0)
        assert list(one.shown) == list(map(str, products(answer)))
        ranking = plain.get(USER + user, params={"k": 20}).json()
        assert list(one.ranking) == list(map(str, products(ranking)))
        places = [one.ranking.index(product) for product in one.shown]
        assert one.chances == pytest.approx(table[places, np.arange(10)])
        assert abs(one.time / 1e6 - time.time()) < 600


def test_a_basket_of_a_named_visitor_explores_and_what_it_knew_is_logged(api, world):
    body = {"basket": [product_id(3)], "user": "session 7"}
    lists = [
        api.post(BASKET, json={"basket": [product_id(row)], "user": f"session {row}"}).json()
        for row in range(9)
    ]
    assert any("explored" in one for one in lists)
    answer = api.post(BASKET, json=body).json()
    assert logged(api, world.settings.events)[answer["list_id"]].asked == {"basket": [product_id(3)]}


@pytest.mark.parametrize(
    "more",
    [
        {"tail": 0.2},
        {"at": "2030-01-01T00:00:00Z"},
        {"include_purchased": "true"},
        {"deny": "1000"},
        {"k": 101},
    ],
)
def test_a_list_that_is_asked_for_in_its_own_way_does_not_explore(api, plain, more):
    for user in PEOPLE[:8]:
        assert api.get(USER + user, params=more).json() == plain.get(USER + user, params=more).json()


def test_a_visitor_without_an_id_and_the_shapes_of_tensorflow_do_not_explore(api, plain):
    for row in range(8):
        body = {"basket": [product_id(row)]}
        assert api.post(BASKET, json=body).json() == plain.post(BASKET, json=body).json()
        asked = {"signature_name": "recommend_user", "inputs": {"user": PEOPLE[row], "k": 10}}
        path = "/v1/models/recommender:predict"
        assert api.post(path, json=asked).json() == plain.post(path, json=asked).json()


def test_rules_hold_in_lists_that_explore(tmp_path):
    world = api_world(tmp_path)
    table = {
        product: (brand, stock)
        for product, brand, stock in catalogue().select("product_id", "brand", "in_stock").rows()
    }
    rules = {
        "pin": [product_id(50)],
        "where": {"in_stock": [True]},
        "at_most": {"brand": 5},
        "deny": [product_id(51)],
    }
    (world.settings.models / "recommender" / "rules.json").write_text(json.dumps(rules))
    moved = 0
    with served(world, events=world.settings.events, explore=RATE) as client:
        for number, user in enumerate(PEOPLE):
            answer = client.get(USER + user).json()
            shown = products(answer)
            assert not {product_id(number), product_id(2 * number)} & set(shown)
            assert product_id(51) not in shown
            assert all(table[product][1] for product in shown)
            brands = [table[product][0] for product in shown]
            assert max(map(brands.count, brands)) <= 5
            moved += len(answer.get("explored", []))
    assert moved > 50


def test_pins_stay_where_they_are(tmp_path):
    world = api_world(tmp_path)
    pins = [product_id(51), product_id(57)]
    (world.settings.models / "recommender" / "rules.json").write_text(f'{{"pin": {pins}}}')
    with served(world, events=world.settings.events, explore=RATE) as client:
        for user in PEOPLE:
            answer = client.get(USER + user).json()
            assert products(answer)[:2] == pins
            assert not {1, 2} & set(answer.get("explored", []))
        log = logged(client, world.settings.events)
    assert all(one.pinned == 2 and one.chances[:2] == (1.0, 1.0) for one in log.values())


def test_those_who_are_held_out_see_best_sellers_as_they_are(tmp_path):
    from tastemaker.serving.measuring.experiments import Experiment, change_experiments, started
    from tastemaker.serving.models.labels import change_labels

    world = api_world(tmp_path)
    folder = world.settings.models / "recommender"
    save(make_model(2), folder / "2")
    for label, version in (("stable", 1), ("canary", 2)):
        change_labels(folder, lambda labels, label=label, version=version: labels.moved(label, version))
    one = Experiment("a", "stable", "canary", (1, 2), 50, 50, "salt", "conversion", 1000, 1, 0)
    change_experiments(folder, lambda before: started(before, one))
    with served(world, events=world.settings.events, explore=RATE) as client:
        answers = [client.get(USER + user).json() for user in PEOPLE]
        log = logged(client, world.settings.events)
    arms = {answer["arm"] for answer in answers if answer["list_id"] in log}
    assert arms == {"control", "treatment"}
    held = [answer for answer in answers if answer["arm"] == "holdout"]
    assert held
    assert not any("explored" in answer for answer in held)


def test_what_explored_is_counted(api):
    api.get(USER + "u001")
    text = api.get("/metrics").text
    assert 'tastemaker_lists_that_explore_total{model="recommender"}' in text
    assert 'tastemaker_explored_places_total{model="recommender"}' in text


def test_forgetting_and_backups_know_the_lists(api, world, tmp_path):
    api.get(USER + "u029")
    before = logged(api, world.settings.events)
    assert any(one.user == "u029" for one in before.values())
    copy_events(world.settings.events, tmp_path / "copy.db")
    assert {one.list_id for one in read_served(tmp_path / "copy.db")} == set(before)
    with contextlib.closing(Events(world.settings.events)) as events:
        assert events.count_of("u029") > 0
        events.forget("u029")
        assert events.count_of("u029") == 0
    assert not any(one.user == "u029" for one in read_served(world.settings.events))


def test_a_list_that_waits_to_be_logged_is_forgotten_with_its_user(tmp_path):
    world = api_world(tmp_path)
    with served(world, events=world.settings.events, explore=RATE) as client:
        for number in range(40):
            client.get(f"{USER}u028", params={"k": number + 1})
        assert client.delete("/api/v1/users/u028").status_code == 200
        client.get(USER + "u027")
        assert {one.user for one in logged(client, world.settings.events).values()} == {"u027"}


def example(number: int = 0) -> ServedList:
    return ServedList(f"list {number}", "u", "m", 1, number, 0.1, 0, ("a",), (0.9,), ("a", "b"))


def test_a_list_is_kept_once_and_what_cannot_be_written_is_written_later(tmp_path, monkeypatch):
    import tastemaker.serving.measuring.served_lists as module

    with contextlib.closing(Events(tmp_path / "events.db")) as events:
        log = ServedLists(ListsInFile(events))
        log.note(example())
        log.note(example())
        log.flush()
        good = module.in_transaction

        def full(connection):
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(module, "in_transaction", full)
        log.note(example(1))
        with pytest.raises(EventsProblem):
            log.flush()
        monkeypatch.setattr(module, "in_transaction", good)
        log.close()
        assert list(read_served(tmp_path / "events.db")) == [example(), example(1)]


def test_lists_beyond_what_may_wait_are_counted(tmp_path, monkeypatch):
    import tastemaker.serving.measuring.served_lists as module

    monkeypatch.setattr(module, "MOST_WAITING", 2)
    monkeypatch.setattr(module, "EVERY_SECONDS", 60)
    lost = []
    with contextlib.closing(Events(tmp_path / "events.db")) as events:
        log = ServedLists(ListsInFile(events), lost.append)
        for number in range(5):
            log.note(example(number))
        log.close()
    assert sum(lost) == 3


def test_what_was_logged_outlives_a_kill_and_another_server_shows_the_same_lists(world, tmp_path):
    file = tmp_path / "events.db"
    options = (
        "--keys",
        world.settings.keys,
        "--catalogue",
        world.settings.catalogue,
        "--events",
        file,
        "--explore",
        RATE,
    )
    with serving(world.settings.models, tmp_path / "log", *options) as server:
        server.client.headers.update(world.headers)
        seen = [server.client.get(USER + user).json()["list_id"] for user in PEOPLE]
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with contextlib.suppress(EventsProblem):
                if len(list(read_served(file))) == len(PEOPLE):
                    break
            time.sleep(0.05)
        server.stop(signal.SIGKILL)
    assert {one.list_id for one in read_served(file)} == set(seen)
    with served(world, events=tmp_path / "other.db", explore=RATE) as client:
        assert [client.get(USER + user).json()["list_id"] for user in PEOPLE] == seen


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"explore": 0.1}, "give --events F"),
        ({"explore": 0.7, "events": "e.db"}, "from 0"),
        ({"explore": -1.0, "events": "e.db"}, "from 0"),
    ],
)
def test_settings_that_cannot_explore_are_refused(tmp_path, settings, said):
    with pytest.raises(SettingProblem, match=said):
        Settings(models=tmp_path, **settings)


def test_a_spoilt_row_is_one_sentence(tmp_path):
    with contextlib.closing(Events(tmp_path / "events.db")) as events:
        ServedLists(ListsInFile(events)).close()
        with contextlib.closing(sqlite3.connect(tmp_path / "events.db")) as file:
            file.execute(
                "INSERT INTO lists VALUES ('x', 'u', 'm', 1, 1, 0.1, 0, '[1]', '[\"a\"]', '[1]', '{}')"
            )
            file.commit()
    with pytest.raises(EventsProblem, match=r"the list x in .* is spoilt"):
        list(read_served(tmp_path / "events.db"))
