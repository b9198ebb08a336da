"""Live purchases of several hosts in one real PostgreSQL: the same on all, never lost, never twice, also while it is away."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "serving"))

from api_worlds import api_world
from serving_worlds import client_of, product_id

from tastemaker.data.databases import held
from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.held import Held, rows
from tastemaker.errors import DatabaseProblem, EventsProblem, KeyUsedOtherwise, StateProblem
from tastemaker.serving.answering.event_store import Event, Events, read_events
from tastemaker.serving.shared.shared_events import SharedEvents
from tastemaker.serving.shared.shared_users import ONE_WRITER

EVENTS = "/api/v1/events"


@pytest.fixture
def host(uri, tmp_path):
    """Open the copies of several hosts, which follow the database when they are told to."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(contextlib.closing(SharedEvents(tmp_path / f"{name}.db", uri)))


def told(store):
    return [(number, event.user, event.product) for number, event in store.after(0, most=10**6)]


def test_what_one_host_keeps_all_have_with_the_same_numbers_and_values(host):
    a, b = host("a"), host("b")
    one = Event("Zoë 'x'", '7"', 1_700_000_000_123_456, 0.1, "view", '{"season": "x\\u0000"}')
    assert a.add([one, Event("v", "q", 2)]) == (2, False)
    assert b.add([Event("w", "r", 3)]) == (1, False)
    a.catch_up()
    assert a.after(0, most=9) == b.after(0, most=9)
    assert a.after(0, most=1) == [(1, one)]
    assert [number for number, _ in a.after(0, most=9)] == [1, 2, 3]


def test_a_host_has_its_own_purchases_at_once_and_others_follow_by_themselves(host):
    a, b = host("a"), host("b")
    b.start()
    a.add([Event("u", "p", 5)])
    assert a.events_of(["u"])
    until = time.monotonic() + 20
    while not b.events_of(["u"]) and time.monotonic() < until:
        time.sleep(0.02)
    assert told(b) == told(a)


def test_a_repetition_is_known_on_every_host(host):
    a, b = host("a"), host("b")
    assert a.add([Event("u", "p", 5)], key="k", content=b"1") == (1, False)
    assert b.add([Event("u", "p", 5)], key="k", content=b"1") == (1, True)
    with pytest.raises(KeyUsedOtherwise):
        b.add([Event("u", "q", 5)], key="k", content=b"2")
    b.catch_up()
    assert told(b) == [(1, "u", "p")]


def test_a_forgotten_user_is_forgotten_on_every_host_and_no_late_answer_brings_them_back(host, tmp_path, uri):
    a, b, c = host("a"), host("b"), host("c")
    a.add([Event("unforgettable", "p", 5), Event("v", "p", 6)])
    b.catch_up()
    assert b.forget("unforgettable") == 1
    for one in (a, b, c):
        one.catch_up()
        assert told(one) == [(2, "v", "p")]
    a.add([Event("w", "p", 7)])
    b.catch_up()
    assert [number for number, *_ in told(b)] == [2, 3]
    for file in tmp_path.glob("*.db*"):
        assert b"unforgettable" not in file.read_bytes(), file
    with contextlib.closing(Held(address_of(uri))) as database, database.transaction() as cursor:
        assert rows(cursor, "SELECT count(*) FROM tastemaker_events WHERE user_id = 'unforgettable'") == [
            (0,)
        ]


def test_hosts_that_write_at_once_lose_nothing_and_agree_on_the_order(host):
    hosts = [host(name) for name in "abc"]

    def write(store, name):
        for number in range(40):
            store.add([Event(name, str(number), number)])

    writers = [threading.Thread(target=write, args=(one, str(n))) for n, one in enumerate(hosts * 2)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    for one in hosts:
        one.catch_up()
    assert told(hosts[0]) == told(hosts[1]) == told(hosts[2])
    assert sorted(told(hosts[0])) == told(hosts[0])
    assert len({(user, product) for _, user, product in told(hosts[0])}) == 240


def test_while_the_database_is_away_lists_know_what_is_known_and_purchases_are_refused(
    server, host, tmp_path
):
    a = host("a")
    a.add([Event("u", "p", 5)])
    server.crash()
    try:
        with pytest.raises(EventsProblem, match=r"does not answer|half-way.*send them again"):
            a.add([Event("u", "q", 6)])
        assert "purchases and outcomes are refused" in a.problem
        assert SPELLED_PASSWORD not in a.problem
        assert a.catch_up() is False
        assert told(a) == [(1, "u", "p")]
        # a host may even start: it has its copy; one without a copy says why it cannot
        assert told(host("a")) == [(1, "u", "p")]
        with pytest.raises(EventsProblem, match="no copy of its purchases yet"):
            host("new")
    finally:
        server.start()
    time.sleep(0.6)
    a.catch_up()
    assert a.problem == ""
    assert a.add([Event("u", "q", 6)]) == (1, False)
    assert [product for *_, product in told(a)] == ["p", "q"]


SPELLED_PASSWORD = "s3cr"


def test_nothing_acknowledged_is_lost_or_kept_twice_when_the_database_crashes_under_load(server, host):
    hosts = [host(name) for name in "abc"]
    for one in hosts:
        one.start()
    acknowledged: set[tuple[str, str]] = set()
    ended = threading.Event()

    def write(store, name):
        number = 0
        while not ended.is_set():
            with contextlib.suppress(EventsProblem):  # asked again with the same key, until it is kept
                store.add([Event(name, str(number), number)], key=f"{name}-{number}", content=b"1")
                acknowledged.add((name, str(number)))
                number += 1

    writers = [threading.Thread(target=write, args=(one, str(n))) for n, one in enumerate(hosts)]
    for one in writers:
        one.start()
    for _ in range(2):
        time.sleep(0.5)
        server.crash()
        time.sleep(0.3)
        server.start()
    before = len(acknowledged)
    until = time.monotonic() + 20
    while len(acknowledged) < before + 30 and time.monotonic() < until:
        time.sleep(0.05)
    ended.set()
    for one in writers:
        one.join()
    for one in hosts:
        one.catch_up()
    kept = [(user, product) for _, user, product in told(hosts[0])]
    assert len(acknowledged) >= before + 30
    assert acknowledged <= set(kept)
    assert len(kept) == len(set(kept))
    assert told(hosts[0]) == told(hosts[1]) == told(hosts[2])


def test_a_host_that_is_frozen_while_it_writes_keeps_the_others_waiting_for_seconds_only(host, monkeypatch):
    monkeypatch.setattr(held, "STATEMENT_SECONDS", 1)
    frozen = host("frozen")
    monkeypatch.undo()
    other = host("other")
    with (  # noqa: PT012
        pytest.raises(DatabaseProblem, match=r"idle-in-transaction|half-way"),
        frozen._database.transaction() as cursor,
    ):
        rows(cursor, ONE_WRITER)
        assert other.add([Event("u", "p", 5)]) == (1, False)
        cursor.execute("SELECT 1")
    assert [user for _, user, _ in told(other)] == ["u"]


def test_a_copy_that_is_ahead_of_a_restored_database_is_refused(host, uri):
    a = host("a")
    a.add([Event("u", str(number), 5) for number in range(3)])
    a.forget("u")  # which makes no copy look ahead
    host("a")
    with contextlib.closing(Held(address_of(uri))) as database, database.transaction() as cursor:
        rows(cursor, "SELECT setval('tastemaker_events_number_seq', 2)")
    with pytest.raises(EventsProblem, match="restored from an older backup"):
        host("a")


def test_a_copy_is_held_to_its_database_and_to_its_use(host, uri, tmp_path):
    host("a").add([Event("u", "p", 5)])
    with pytest.raises(EventsProblem, match="is a copy of a database that several hosts share"):
        Events(tmp_path / "a.db")
    assert read_events(tmp_path / "a.db")["product_id"].to_list() == ["p"]
    with contextlib.closing(Events(tmp_path / "own.db")) as own:
        own.add([Event("u", "p", 5)])
    with pytest.raises(EventsProblem, match="holds 1 purchases of its own"):
        host("own")
    with contextlib.closing(Held(address_of(uri))) as database, database.transaction() as cursor:
        cursor.execute("UPDATE tastemaker_state SET id = 'another'")
    with pytest.raises(EventsProblem, match="is a copy of another database"):
        host("a")
    with pytest.raises(StateProblem, match="lives in postgresql"):
        SharedEvents(tmp_path / "x.db", "mysql://db/shop")


def test_a_purchase_sent_to_one_server_moves_the_lists_of_the_other_and_readyz_tells_when_the_database_is_away(
    server, uri, tmp_path
):
    world = api_world(tmp_path)
    shared = {"keys": world.settings.keys, "state": uri}
    with (
        client_of(world.settings.models, events=tmp_path / "a.db", **shared) as a,
        client_of(world.settings.models, events=tmp_path / "b.db", **shared) as b,
    ):
        for client in (a, b):
            client.headers.update(world.headers)
        bought = {"purchases": [{"user": "u000", "product": product_id(9)}]}
        assert a.post(EVENTS, json=bought).status_code == 200
        assert a.post(EVENTS, json={"purchases": [{"user": "u\0", "product": "p"}]}).status_code == 422
        history = "/api/v1/users/u000/history"
        until = time.monotonic() + 20
        while str(product_id(9)) not in b.get(history).text and time.monotonic() < until:
            time.sleep(0.05)
        assert b.get(history).json() == a.get(history).json()
        assert str(product_id(9)) in b.get(history).text
        assert "events" not in a.get("/readyz").json()
        server.crash()
        try:
            refused = a.post(EVENTS, json=bought)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            ready = a.get("/readyz")
            assert ready.status_code == 200
            assert "purchases and outcomes are refused" in ready.json()["events"]
            assert a.get("/api/v1/recommendations/users/u000").status_code == 200
        finally:
            server.start()
        until = time.monotonic() + 20
        while "events" in a.get("/readyz").json() and time.monotonic() < until:
            time.sleep(0.05)
        assert a.post(EVENTS, json=bought).status_code == 200
