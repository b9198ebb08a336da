"""Outcomes of lists: kept before they are acknowledged, never twice, never lost, gone with their user."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import time

import pytest
from api_worlds import api_world
from serving_worlds import client_of, product_id

from tastemaker.errors import EventsFull, KeyUsedOtherwise
from tastemaker.serving.answering.event_store import Events, copy_events
from tastemaker.serving.measuring.list_ids import is_list_id
from tastemaker.serving.measuring.outcome_store import Outcome, Outcomes, Visited

OUTCOMES = "/api/v1/outcomes"
HOUR = 3_600_000_000
SOON = 2 * 10**15
"""A time after all of these"""


@pytest.fixture
def store(tmp_path):
    with (
        contextlib.closing(Events(tmp_path / "events.db")) as events,
        contextlib.closing(Outcomes(events)) as outcomes,
    ):
        yield outcomes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return api_world(tmp_path_factory.mktemp("outcomes"))


@pytest.fixture(scope="module")
def api(world):
    settings = world.settings
    with client_of(
        settings.models, catalogue=settings.catalogue, keys=settings.keys, events=settings.events
    ) as client:
        client.headers.update(world.headers)
        yield client


def post(api, *outcomes, **headers):
    return api.post(OUTCOMES, json={"outcomes": list(outcomes)}, headers=headers)


def kept(world, user):
    with contextlib.closing(sqlite3.connect(world.settings.events)) as file:
        return file.execute(
            "SELECT kind, product, list, price FROM outcomes WHERE user = ? ORDER BY number", (user,)
        ).fetchall()


# Ids of lists -------------------------------------------------------------------------------------------------


def test_every_list_of_the_api_has_an_id_and_the_same_list_has_the_same(api):
    user = "/api/v1/recommendations/users/u003"
    first, again, other = (
        api.get(user).json(),
        api.get(user).json(),
        api.get("/api/v1/recommendations/users/u004").json(),
    )
    assert first == again
    basket = api.post("/api/v1/recommendations/basket", json={"basket": [product_id(3)]}).json()
    batch = api.post("/api/v1/batch", json={"users": ["u003", "u004"]}).json()["answers"]
    near = api.get(f"/api/v1/products/{product_id(3)}/similar").json()
    assert [one["list_id"] for one in batch] == [first["list_id"], other["list_id"]]
    ids = [first["list_id"], other["list_id"], basket["list_id"], near["list_id"]]
    assert len(set(ids)) == 4
    assert all(map(is_list_id, ids))
    assert not any(is_list_id(made[:3] + "A" * 13) for made in ids)


# What is kept -------------------------------------------------------------------------------------------------


def test_outcomes_are_kept_with_the_list_they_name(api, world):
    list_id = api.get("/api/v1/recommendations/users/a1").json()["list_id"]
    answer = post(
        api,
        {"user": "a1", "kind": "shown", "list_id": list_id},
        {"user": "a1", "kind": "clicked", "product": 1021, "list_id": list_id},
        {"user": "a1", "kind": "bought", "product": 1021, "price": 9.5, "margin": -1},
    )
    assert (answer.status_code, answer.json()) == (
        200,
        {"accepted": 3, "repeated": False, "unknown_lists": 0},
    )
    assert kept(world, "a1") == [
        ("shown", "", list_id, None),
        ("clicked", "1021", list_id, None),
        ("bought", "1021", "", 9.5),
    ]


def test_an_outcome_of_an_unknown_list_is_kept_without_it_and_counted(api, world):
    answer = post(api, {"user": "a2", "kind": "bought", "product": 1021, "list_id": "spring sale"})
    assert answer.json() == {"accepted": 1, "repeated": False, "unknown_lists": 1}
    assert kept(world, "a2") == [("bought", "1021", "", None)]


def test_the_same_outcome_sent_twice_is_kept_once(api, world):
    one = {"user": "a3", "kind": "bought", "product": 1021, "time": "2026-03-01T12:00:00Z", "price": 5}
    later = {**one, "time": "2026-03-01T12:00:01Z"}
    assert [post(api, one).json()["accepted"] for _ in range(2)] == [1, 0]
    assert post(api, one, later).json()["accepted"] == 1
    assert len(kept(world, "a3")) == 2


def test_a_request_sent_again_under_its_key_is_kept_once_and_another_is_refused(api, world):
    one = {"user": "a4", "kind": "shown"}
    answers = [post(api, one, **{"Idempotency-Key": "k1"}).json() for _ in range(2)]
    assert [(answer["accepted"], answer["repeated"]) for answer in answers] == [(1, False), (0, True)]
    assert len(kept(world, "a4")) == 1
    other = post(api, {"user": "a4", "kind": "basket", "product": 1}, **{"Idempotency-Key": "k1"})
    assert other.status_code == 422
    assert "choose a new one" in other.json()["detail"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "bought", "product": 1, "price": "9.50"}, "Expected `float`, got `str` - at `$.outcomes[1].price`"),
        ({"kind": "bought", "product": 1, "price": -1}, "`$.outcomes[1].price`"),
        ({"kind": "sold", "product": 1}, "Invalid enum value 'sold'"),
        ({"kind": "clicked"}, "names no product"),
        ({"kind": "shown", "price": 3}, "only `bought` has them"),
        ({"kind": "shown", "time": "2026-03-01T12:00:00"}, "`$.outcomes[1].time`"),
    ],
)  # fmt: skip
def test_one_wrong_outcome_keeps_all_of_its_request_out(api, world, wrong, said):
    answer = post(api, {"user": "a5", "kind": "shown"}, {"user": "a5", **wrong})
    assert answer.status_code in (400, 422)
    assert said in answer.json()["detail"]
    assert kept(world, "a5") == []


def test_who_may_only_read_posts_no_outcomes_and_a_server_without_a_file_takes_none(api, world):
    reader = {"Authorization": f"Bearer {world.reader}"}
    assert post(api, {"user": "a6", "kind": "shown"}, **reader).status_code == 403
    with client_of(world.settings.models, keys=world.settings.keys) as client:
        answer = post(client, {"user": "a6", "kind": "shown"}, **world.headers)
        assert answer.status_code == 404
        assert "--events" in answer.json()["detail"]


def test_forgetting_a_user_removes_their_outcomes_and_their_bytes(api, world):
    post(api, {"user": "secret-visitor", "kind": "bought", "product": "odd-socks", "price": 3})
    gone = api.delete("/api/v1/users/secret-visitor").json()
    assert gone["live_events"] == 1
    assert kept(world, "secret-visitor") == []
    for file in world.folder.glob("events.db*"):
        assert b"odd-socks" not in file.read_bytes()


def test_a_full_disk_keeps_nothing_of_a_request_and_all_of_the_former_ones(store, tmp_path):
    store.add([Outcome("u", "shown", 5)])
    store._writer.execute("PRAGMA max_page_count = 20")
    many = [Outcome("v", "bought", time, product="p" * 400) for time in range(1_000)]
    with pytest.raises(EventsFull, match="nothing of this was kept"):
        store.add(many)
    assert [one.user for one in store.visited(0, SOON, HOUR)] == ["u"]


def test_a_full_disk_is_status_507(api, monkeypatch):
    def full(*_, **__):
        raise EventsFull("there is no room.")

    monkeypatch.setattr(Outcomes, "add", full)
    assert post(api, {"user": "a7", "kind": "shown"}).status_code == 507


KILLED = """
import sys
from pathlib import Path
from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.measuring.outcome_store import Outcome, Outcomes
outcomes = Outcomes(Events(Path(sys.argv[1])))
for number in range(100_000):
    outcomes.add([Outcome("u", "bought", number, product=str(part)) for part in range(7)])
    print(number, flush=True)
"""


def test_a_killed_writer_has_lost_nothing_that_it_acknowledged(tmp_path):
    file = tmp_path / "events.db"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, file], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    first = process.stdout.readline()
    time.sleep(0.2)
    process.kill()
    printed = [int(line) for line in (first + process.stdout.read()).split("\n") if line]
    process.wait()
    process.stdout.close()
    with contextlib.closing(sqlite3.connect(file)) as again:
        counts = dict(again.execute("SELECT time, count(*) FROM outcomes GROUP BY time"))
    assert set(counts.values()) == {7}
    assert set(printed[:-1]) <= set(counts)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_backup_of_the_events_holds_the_outcomes(store, tmp_path):
    store.add([Outcome("u", "shown", 5)])
    copy_events(tmp_path / "events.db", tmp_path / "copy.db")
    with contextlib.closing(Outcomes.read(tmp_path / "copy.db")) as copy:
        assert [one.user for one in copy.visited(0, SOON, HOUR)] == ["u"]


def test_a_key_of_purchases_is_no_key_of_outcomes(store, tmp_path):
    with contextlib.closing(Events(tmp_path / "events.db")) as events:
        events.add([], key="k", content=b"1")
    with pytest.raises(KeyUsedOtherwise):
        store.add([Outcome("u", "shown", 5)], key="k", content=b"2")


# What is counted ----------------------------------------------------------------------------------------------


def test_a_visitor_counts_from_their_first_list_until_their_window_has_passed(store):
    store.add(
        [
            Outcome("u", "bought", 9 * HOUR, product="before", price=100.0),
            Outcome("u", "shown", 10 * HOUR),
            Outcome("u", "shown", 11 * HOUR),
            Outcome("u", "clicked", 11 * HOUR, product="a"),
            Outcome("u", "bought", 12 * HOUR, product="a", quantity=2.0, price=3.0, margin=1.0),
            Outcome("u", "bought", 13 * HOUR - 1, product="b", price=4.0),
            Outcome("u", "bought", 13 * HOUR, product="late", price=50.0),
            Outcome("v", "bought", 10 * HOUR, product="a", price=7.0),
            Outcome("w", "shown", 12 * HOUR),
            Outcome("x", "shown", 20 * HOUR),
        ]
    )
    assert list(store.visited(10 * HOUR, 20 * HOUR, 3 * HOUR)) == [
        Visited("u", 10 * HOUR, clicked=True, basket=False, bought=True, revenue=10.0, margin=2.0),
        Visited("w", 12 * HOUR, clicked=False, basket=False, bought=False, revenue=0.0, margin=0.0),
    ]


def test_a_purchase_belongs_to_the_list_it_names_or_to_the_last_click_on_its_product_within_the_window(store):
    store.add(
        [
            Outcome("u", "clicked", 1 * HOUR, product="a", list="L1"),
            Outcome("u", "bought", 2 * HOUR, product="a", price=1.0),
            Outcome("u", "bought", 2 * HOUR, product="b", price=10.0),
            Outcome("u", "bought", 2 * HOUR, product="c", list="L2", price=100.0),
            Outcome("u", "bought", 9 * HOUR, product="a", price=1_000.0),
            Outcome("v", "bought", 2 * HOUR, product="a", price=10_000.0),
        ]
    )
    bought = [one for one in store.of_lists(3 * HOUR) if one.kind == "bought"]
    assert sorted((one.list, one.price) for one in bought) == [("L1", 1.0), ("L2", 100.0)]
