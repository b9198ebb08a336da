"""Live purchases: kept before they are acknowledged, in the queries at once, never lost, never twice."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import httpx2 as httpx
import polars as pl
import pytest
from api_worlds import api_world
from serving_worlds import client_of, make_model, product_id

import tastemaker as tm
from tastemaker.errors import EventsFull, EventsProblem, KeyUsedOtherwise
from tastemaker.serving.answering.event_store import (
    Event,
    Events,
    as_bytes,
    read_events,
)

EVENTS = "/api/v1/events"
USERS = "/api/v1/recommendations/users"


@pytest.fixture
def store(tmp_path):
    with contextlib.closing(Events(tmp_path / "events.db")) as events:
        yield events


@pytest.fixture
def world(tmp_path):
    return api_world(tmp_path)


@contextlib.contextmanager
def api_of(world, **changes):
    settings = world.settings
    with client_of(
        settings.models, catalogue=settings.catalogue, keys=settings.keys, events=settings.events, **changes
    ) as client:
        client.headers.update(world.headers)
        yield client


def purchase(user, product, **more):
    return {"purchases": [{"user": user, "product": product, **more}]}


def products(answer):
    assert answer.status_code == 200, answer.text
    return [entry["product"] for entry in answer.json()["recommendations"]]


def bought(store, user):
    return [event.product for event in store.events_of([user]).get(user, [])]


# The file ---------------------------------------------------------------------------------------------------


def test_what_was_added_is_there_after_closing(tmp_path, store):
    store.add([Event("u", "p", 5), Event("u", "p", 6, 2.0), Event("v", "7", 7)])
    store.close()
    with contextlib.closing(Events(tmp_path / "events.db")) as again:
        assert (again.count(), bought(again, "u"), bought(again, "x")) == (3, ["p", "p"], [])


def test_an_idempotency_key_keeps_nothing_twice(store):
    assert store.add([Event("u", "p", 5)], key="k", content=b"1") == (1, False)
    assert store.add([Event("u", "p", 5)], key="k", content=b"1") == (1, True)
    with pytest.raises(KeyUsedOtherwise, match="choose a new one"):
        store.add([Event("u", "q", 5)], key="k", content=b"2")
    assert store.count() == 1


def test_an_idempotency_key_survives_a_clock_that_goes_back_and_is_put_right(store, monkeypatch):
    now = 2_000_000_000
    monkeypatch.setattr(time, "time", lambda: now)
    store.add([Event("u", "p", 5)], key="before", content=b"1")
    now -= 30 * 24 * 3600
    store.add([Event("u", "p", 5)], key="between", content=b"1")
    now += 30 * 24 * 3600 + 10
    store.add([Event("u", "p", 5)], key="after", content=b"1")
    assert [store.add([Event("u", "p", 5)], key=key, content=b"1")[1] for key in ("before", "between")] == [
        True,
        True,
    ]
    now += 8 * 24 * 3600
    store.add([Event("u", "p", 5)], key="a week later", content=b"1")
    assert store.add([Event("u", "p", 5)], key="before", content=b"1") == (1, False)


def test_lists_read_the_newest_thousand_events_of_each_user_in_the_order_of_arrival(store):
    store.add([Event("guest", str(number), 5_000 - number) for number in range(1_500)])
    store.add([Event(f"u{number}", "p", number, kind="view") for number in range(500)])
    store.add([Event("twins", str(number), 7) for number in range(1_200)])
    found = store.events_of(["guest", "nobody", "twins", *(f"u{number}" for number in range(500)), "guest"])
    assert [event.product for event in found["guest"]] == [str(number) for number in range(1_000)]
    assert [event.product for event in found["twins"]] == [str(number) for number in range(200, 1_200)]
    assert all(
        found[f"u{number}"] == [Event(f"u{number}", "p", number, kind="view")] for number in range(500)
    )
    assert "nobody" not in found


def test_a_file_made_before_the_newest_were_read_gets_their_index_and_keeps_its_purchases(tmp_path, store):
    store.add([Event("u", "p", 5)])
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "events.db")) as older:
        older.executescript(
            "DROP INDEX purchases_of_user_in_time; DROP INDEX answered_in_time;"
            "CREATE INDEX purchases_of_user ON purchases (user, product);"
        )
    with contextlib.closing(Events(tmp_path / "events.db")) as again:
        assert bought(again, "u") == ["p"]
        plan = again._reader.execute(
            "EXPLAIN QUERY PLAN SELECT product FROM purchases WHERE user = 'u' ORDER BY time DESC LIMIT 5"
        ).fetchall()
    assert "purchases_of_user_in_time" in plan[0][3]
    assert "TEMP" not in str(plan)


def test_an_export_is_a_log_in_the_order_of_arrival(tmp_path, store):
    store.add([Event("7", "hat", 3_000_000), Event("8", "sock", 1_500_000, 2.5)])
    frame = read_events(tmp_path / "events.db")
    assert frame.rows() == [
        (1, 7, "hat", pl.Series([3_000_000]).cast(pl.Datetime("us", "UTC"))[0], 1.0),
        (2, 8, "sock", pl.Series([1_500_000]).cast(pl.Datetime("us", "UTC"))[0], 2.5),
    ]
    log = tm.read_purchases(frame.drop("number"))
    assert (log.users.ids.to_list(), log.products.ids.to_list(), len(log)) == ([7, 8], ["hat", "sock"], 2)
    assert read_events(tmp_path / "events.db", after=1)["number"].to_list() == [2]
    assert read_events(tmp_path / "events.db", most=1)["number"].to_list() == [1]
    assert read_events(tmp_path / "events.db", after=2).height == 0


def test_ids_that_look_like_formulas_are_harmless_in_a_csv_unless_asked_for_raw(tmp_path, store):
    ids = ["=1+1", "+x", "-x", "@x", "a=b"]
    store.add([Event(user, "-hat", 1) for user in ids])
    frame = read_events(tmp_path / "events.db")

    def written(kind, **how):
        lines = as_bytes(frame, kind, **how).decode().splitlines()
        if kind == "csv":
            return [tuple(line.split(",")[1:3]) for line in lines[1:]]
        return [(row["user_id"], row["product_id"]) for row in map(json.loads, lines)]

    assert written("csv") == [(f"'{user}" if user != "a=b" else user, "'-hat") for user in ids]
    for raw in (written("csv", raw_cells=True), written("jsonl")):
        assert raw == [(user, "-hat") for user in ids]


def test_integers_below_zero_stay_numbers_in_a_csv(tmp_path, store):
    store.add([Event("-7", "8", 1)])
    assert as_bytes(read_events(tmp_path / "events.db"), "csv").decode().splitlines()[1].startswith("1,-7,8,")


def test_a_new_file_of_events_is_its_owners_alone(tmp_path, store):
    store.add([Event("u", "p", 1)])
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob("events.db*")}
    assert modes
    assert set(modes.values()) == {0o600}


def test_numbers_are_never_given_again(tmp_path, store):
    store.add([Event("u", "p", 1)])
    with contextlib.closing(sqlite3.connect(tmp_path / "events.db")) as other, other:
        other.execute("DELETE FROM purchases")
    store.add([Event("u", "p", 1)])
    assert read_events(tmp_path / "events.db")["number"].to_list() == [2]


@pytest.mark.parametrize("content", [b"no database" * 1000, b""])
def test_a_file_that_is_no_database_is_named(tmp_path, content):
    file = tmp_path / "odd.db"
    file.write_bytes(content)
    if not content:  # an empty file is an empty database
        Events(file).close()
        return
    with pytest.raises(EventsProblem, match=r"odd.db cannot be read or written"):
        Events(file)


def test_a_newer_file_and_a_missing_one_are_refused(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "new.db")) as other:
        other.execute("PRAGMA user_version = 9")
    with pytest.raises(EventsProblem, match="format 9"):
        Events(tmp_path / "new.db")
    with pytest.raises(EventsProblem, match="there is no file of events"):
        read_events(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_new_file_on_a_full_disk_is_refused_in_a_sentence(tmp_path, monkeypatch):
    def full(_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(Events, "_open", full)
    with pytest.raises(EventsFull, match=r"^there is no room for the file of events events\.db"):
        Events(tmp_path / "events.db")


def test_a_server_whose_events_cannot_be_kept_says_so_before_it_serves(tastemaker, world, tmp_path):
    ran = tastemaker(
        "serve", world.settings.models, "--port", 0, "--events", tmp_path / "no such folder" / "events.db"
    )
    assert ran.returncode == 1
    assert "the events in events.db cannot be read or written" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


def test_a_full_disk_keeps_nothing_of_a_request_and_all_of_the_former_ones(tmp_path, store):
    store.add([Event("u", "p", 1)])
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(EventsFull, match="nothing of this was kept"):
        store.add([Event(f"user {n}" * 50, "p", 1) for n in range(1000)])
    assert (store.count(), bought(store, "u")) == (1, ["p"])
    store._writer.execute("PRAGMA max_page_count = 1000000")
    store.add([Event("u", "q", 1)])
    assert sorted(bought(store, "u")) == ["p", "q"]


def test_writers_of_several_connections_lose_nothing(tmp_path):
    stores = [Events(tmp_path / "events.db") for _ in range(3)]

    def write(number):
        for count in range(20):
            stores[number].add([Event(f"u{number}", str(count), 1)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [opened.count() for opened in stores] == [60] * 3
    for opened in stores:
        opened.close()


# The API ----------------------------------------------------------------------------------------------------


def test_a_live_purchase_joins_the_query_of_its_user_at_once(world):
    with api_of(world) as api:
        newer = [product_id(90), product_id(91)]
        answer = api.post(
            EVENTS, json={"purchases": [{"user": "u003", "product": product} for product in newer]}
        )
        assert answer.json() == {"accepted": 2, "repeated": False}
        bought = [product_id(3), product_id(6), *newer]
        found = api.get(f"{USERS}/u003?k=8")
        expected = tm.recommend_baskets(make_model(1), [bought], k=8).of(0)
        assert products(found) == [product for product, _ in expected]
        assert found.json()["source"] == "personal"
        history = api.get("/api/v1/users/u003/history").json()["purchases"]
        assert [(entry["product"], entry["live"]) for entry in history] == [
            (newer[0], True), (newer[1], True), (bought[0], False), (bought[1], False),
        ]  # fmt: skip


def test_a_live_purchase_that_the_model_has_learned_since_counts_once(world):
    with api_of(world) as api:
        old, learned = 1_000_000_000, product_id(3)  # u003 bought it, and the model was made after 2001
        api.post(EVENTS, json=purchase("u003", learned, time=old))
        history = api.get("/api/v1/users/u003/history").json()["purchases"]
        assert [(entry["product"], entry["times"], entry["live"]) for entry in history] == [
            (learned, 1, False), (product_id(6), 1, False),
        ]  # fmt: skip
        api.post(EVENTS, json=purchase("u003", learned))  # once more, just now
        api.post(EVENTS, json=purchase("u003", product_id(90), time=old))  # old, but not in the model
        history = api.get("/api/v1/users/u003/history").json()["purchases"]
        assert {entry["product"]: entry["times"] for entry in history} == {
            learned: 2, product_id(6): 1, product_id(90): 1,
        }  # fmt: skip


def test_a_user_whom_the_model_does_not_know_is_their_live_purchases(world):
    with api_of(world) as api:
        assert api.get(f"{USERS}/zoe").json()["source"] == "best sellers"
        api.post(EVENTS, json=purchase("zoe", str(product_id(12))))
        found = api.get(f"{USERS}/zoe?k=5").json()
        assert [(entry["product"]) for entry in found["recommendations"]] == [
            product for product, _ in tm.recommend_baskets(make_model(1), [[product_id(12)]], k=5).of(0)
        ]
        assert (found["source"], found["unknown"]) == ("personal", [])
        api.post(EVENTS, json=purchase("yan", "a product that no model knows"))
        assert api.get(f"{USERS}/yan").json()["source"] == "best sellers"


def test_the_reasons_name_live_purchases_and_still_add_up(world):
    with api_of(world) as api:
        api.post(EVENTS, json=purchase("u003", product_id(90)))
        found = api.get(f"{USERS}/u003?why=true&k=20").json()["recommendations"]
        named = set()
        for entry in found:
            why = entry["reasons"]
            spoken = [part for each in why["purchases"] for part in (each["taste"], each["memory"])]
            total = why["popularity"] + why["others_taste"] + why["others_memory"] + sum(spoken)
            assert total == pytest.approx(entry["score"], abs=1e-4)
            named |= {each["product"] for each in why["purchases"]}
        assert named == {product_id(3), product_id(6), product_id(90)}


def test_every_worker_knows_a_purchase_that_one_of_them_acknowledged(world, start):
    settings = world.settings
    server = start(
        *(settings.models, "--keys", settings.keys, "--events", settings.events, "--workers", 2, "--quiet")
    )
    bought = [product_id(row) for row in range(90, 94)]
    for product in bought:
        answer = httpx.post(
            server.address + EVENTS, json=purchase("u003", product), headers=world.headers, trust_env=False
        )
        assert answer.status_code == 200
        for _ in range(8):
            found = httpx.get(
                f"{server.address}/api/v1/users/u003/history", headers=world.headers, trust_env=False
            )
            assert product in [entry["product"] for entry in found.json()["purchases"]]


def test_processes_that_open_a_new_file_together_all_get_it(tmp_path):
    for turn in range(20):
        together, failures = threading.Barrier(8), []

        def open_it(file=tmp_path / f"{turn}.db", together=together, failures=failures):
            together.wait()
            try:
                Events(file).close()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=open_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_lists_are_served_without_live_purchases_when_their_file_is_damaged(world):
    with api_of(world) as api:
        before = products(api.get(f"{USERS}/u003"))
        store = api.app.state.service.state.events
        api.post(EVENTS, json=purchase("u003", product_id(90)))
        store._reader.close()
        assert products(api.get(f"{USERS}/u003")) == before


def test_live_purchases_survive_a_restart(world):
    with api_of(world) as api:
        api.post(EVENTS, json=purchase("u003", product_id(90)))
        before = products(api.get(f"{USERS}/u003"))
    with api_of(world) as api:
        assert products(api.get(f"{USERS}/u003")) == before


def test_a_request_sent_again_under_its_key_is_kept_once(world):
    with api_of(world) as api:
        key = {"Idempotency-Key": "order-77"}
        body = purchase("u003", product_id(90))
        assert api.post(EVENTS, json=body, headers=key).json() == {"accepted": 1, "repeated": False}
        assert api.post(EVENTS, json=body, headers=key).json() == {"accepted": 1, "repeated": True}
        assert api.post(EVENTS, json=purchase("u003", 1), headers=key).status_code == 422
        assert api.post(EVENTS, json=body, headers={"Idempotency-Key": "a b"}).status_code == 400
        assert len(api.get(f"{EVENTS}/export").text.splitlines()) == 1


def test_exports_come_in_three_formats_and_can_be_gone_on_with(world):
    with api_of(world) as api:
        for number in range(3):
            api.post(EVENTS, json=purchase("u1", number + 1, time=number, quantity=number + 1))
        lines = api.get(f"{EVENTS}/export?limit=2")
        assert lines.headers["last-number"] == "2"
        assert json.loads(lines.text.splitlines()[1]) == {
            "number": 2, "user_id": "u1", "product_id": 2, "time": "1970-01-01T00:00:01.000000Z", "quantity": 2.0,
        }  # fmt: skip
        rest = api.get(f"{EVENTS}/export?format=csv&after=2")
        assert rest.text.splitlines()[1] == "3,u1,3,1970-01-01T00:00:02.000000Z,3.0"
        frame = pl.read_parquet(io.BytesIO(api.get(f"{EVENTS}/export?format=parquet").content))
        assert frame["product_id"].to_list() == [1, 2, 3]
        end = api.get(f"{EVENTS}/export?after=3")
        assert (end.text, end.headers["last-number"]) == ("", "3")
        assert end.headers["content-type"] == "application/x-ndjson"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1700000000, "2023-11-14T22:13:20.000000Z"),
        (1700000000.0, "2023-11-14T22:13:20.000000Z"),
        (1700000000.123456, "2023-11-14T22:13:20.123456Z"),
        (0.000001, "1970-01-01T00:00:00.000001Z"),
        (253402300799, "9999-12-31T23:59:59.000000Z"),
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20.000000Z"),
        ("2023-11-14T23:13:20.5+01:00", "2023-11-14T22:13:20.500000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_is_kept_to_the_microsecond_however_it_is_written(world, given, kept):
    with api_of(world) as api:
        assert api.post(EVENTS, json=purchase("u", "p", time=given)).status_code == 200
        assert json.loads(api.get(f"{EVENTS}/export").text)["time"] == kept
        assert kept in api.get(f"{EVENTS}/export?format=csv").text


@pytest.mark.parametrize(
    "outside", ["1969-12-31T23:59:59Z", "9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+14:00"]
)
def test_a_date_out_of_range_is_refused_and_nothing_of_its_request_kept(world, outside):
    with api_of(world) as api:
        body = {"purchases": [{"user": "u", "product": "p"}, {"user": "u", "product": "q", "time": outside}]}
        refused = api.post(EVENTS, json=body)
        assert refused.status_code == 422
        assert "is not from 1970 to 9999" in refused.json()["detail"]
        assert api.get(f"{EVENTS}/export").text == ""


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"purchases": []},
        {"purchases": [{"user": "u"}]},
        purchase("", "p"),
        purchase("u", "p", quantity=0),
        purchase("u", "p", quantity=-1),
        purchase("u", "p", time=-1),
        purchase("u", "p", time="yesterday"),
        purchase("u", "p", time="2023-11-14T22:13:20"),  # of which zone?
        purchase("u", "p", time="2023-11-14"),
        purchase("u", "p", time=-0.5),
        purchase("u", "p", time=253402300799.5),
        purchase("u", "p", time=True),
        purchase("u", "p", time=None),
        purchase("u", "p", colour="red"),
        purchase(True, "p"),
    ],
)
def test_wrong_purchases_are_refused(world, body):
    with api_of(world) as api:
        assert api.post(EVENTS, json=body).status_code == 400


def test_one_wrong_purchase_keeps_the_others_out(world):
    with api_of(world) as api:
        body = {"purchases": [{"user": "u", "product": "p"}, {"user": "u", "product": None}]}
        assert api.post(EVENTS, json=body).status_code == 400
        assert api.get(f"{EVENTS}/export").text == ""


def test_a_server_without_a_file_of_events_takes_none(world):
    with client_of(world.settings.models, keys=world.settings.keys) as api:
        api.headers.update(world.headers)
        assert api.post(EVENTS, json=purchase("u", "p")).status_code == 404
        assert api.get(f"{EVENTS}/export").status_code == 404
        assert api.get(f"{USERS}/u003").status_code == 200


def test_a_full_disk_is_said_and_lists_are_served_on(world):
    with api_of(world) as api:
        store = api.app.state.service.state.events
        assert api.post(EVENTS, json=purchase("u003", product_id(90))).status_code == 200
        before = products(api.get(f"{USERS}/u003"))
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
        body = {"purchases": [{"user": f"u{n}" * 100, "product": "p"} for n in range(200)]}
        refused = api.post(EVENTS, json=body)
        assert (refused.status_code, refused.json()["title"]) == (507, "Insufficient Storage")
        assert str(world.folder) not in refused.text
        assert products(api.get(f"{USERS}/u003")) == before
        store._writer.execute("PRAGMA max_page_count = 1000000")
        assert api.post(EVENTS, json=body).status_code == 200


# Kill -9 ----------------------------------------------------------------------------------------------------


def test_a_killed_server_has_lost_nothing_that_it_acknowledged(world, start):
    settings = world.settings
    options = ("--keys", settings.keys, "--events", settings.events, "--quiet")
    acknowledged: list[int] = []
    for round_ in range(3):
        server = start(settings.models, *options)
        server.client.headers.update(world.headers)
        threading.Timer(0.25 + 0.1 * round_, server.process.send_signal, (signal.SIGKILL,)).start()
        with contextlib.suppress(httpx.HTTPError):
            for number in range(10_000):
                mine = 10_000 * round_ + number
                answer = server.client.post(EVENTS, json=purchase(f"u{mine}", mine))
                assert answer.status_code == 200
                acknowledged.append(mine)
        assert server.process.wait(10) == -signal.SIGKILL
        server.client.close()
    assert len(acknowledged) > 10
    kept = read_events(settings.events)["product_id"].to_list()
    assert len(kept) == len(set(kept)) <= len(acknowledged) + 3
    assert set(acknowledged) <= set(kept)
    server = start(settings.models, *options)
    server.client.headers.update(world.headers)
    count = len(server.client.get(f"{EVENTS}/export").text.splitlines())
    assert count == len(kept)


KILLED = """
import sys
from pathlib import Path
from tastemaker.serving.answering.event_store import Event, Events
events = Events(Path(sys.argv[1]))
for number in range(100_000):
    events.add([Event("u", f"{number}-{part}", 1) for part in range(7)])
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_whole_requests_only(tmp_path):
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
    kept = read_events(file)["product_id"].to_list()
    assert len(kept) % 7 == 0
    assert {f"{number}-{part}" for number in printed[:-1] for part in range(7)} <= set(kept)


# Refunds ------------------------------------------------------------------------------------------------------


def history(client, user):
    answer = client.get(f"/api/v1/users/{user}/history")
    if answer.status_code == 404:
        return {}
    return {one["product"]: one["times"] for one in answer.json()["purchases"]}


def refund(client, user, product, **more):
    answer = client.post(EVENTS, json=purchase(user, product, kind="refund", **more))
    assert answer.status_code == 200, answer.text
    assert "unknown_kinds" not in answer.json()


def test_a_live_purchase_and_its_refund_leave_no_trace_in_histories_and_lists(world):
    with api_of(world) as client:
        for user in ("u004", "newcomer"):
            before = history(client, user), client.get(f"{USERS}/{user}?k=20").json()
            client.post(EVENTS, json=purchase(user, product_id(50)))
            assert history(client, user)[product_id(50)] == 1
            refund(client, user, product_id(50))
            after = history(client, user), client.get(f"{USERS}/{user}?k=20").json()
            assert after == before


def test_a_refund_takes_back_the_latest_purchase_and_one_too_many_nothing(world):
    now = time.time()
    with api_of(world) as client:
        for days in (3, 2, 1):
            client.post(EVENTS, json=purchase("zoe", product_id(50), time=now - 86_400 * days))
        assert history(client, "zoe") == {product_id(50): 3}
        refund(client, "zoe", product_id(50), time=now)
        refund(client, "zoe", product_id(60), time=now)  # which she never bought
        refund(client, "zoe", product_id(50), time=now - 86_400 * 9)  # before she bought it
        assert history(client, "zoe") == {product_id(50): 2}
        for _ in range(4):
            refund(client, "zoe", product_id(50), time=now + 1)
        assert history(client, "zoe") == {}


def test_a_refund_takes_back_what_the_model_has_learned(world):
    """u004 bought products 4 and 8; without 8 they are a visitor with 4 in their past."""
    with api_of(world) as client:
        assert history(client, "u004") == {product_id(4): 1, product_id(8): 1}
        later = time.time() + 60
        refund(client, "u004", product_id(8), time=later)
        assert history(client, "u004") == {product_id(4): 1}
        client.post(EVENTS, json=purchase("twin", product_id(4)))
        assert products(client.get(f"{USERS}/u004?k=30")) == products(client.get(f"{USERS}/twin?k=30"))
        assert product_id(8) in products(client.get(f"{USERS}/u004?k=159"))


# Many at once -----------------------------------------------------------------------------------------------

BULK = f"{EVENTS}/bulk"


def jsonl(*lines):
    return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()


def bulk(api, content, media="application/x-ndjson", **headers):
    return api.post(BULK, content=content, headers={"Content-Type": media, **headers})


def test_thousands_of_purchases_are_kept_in_one_request_and_are_in_the_lists(world):
    lines = [{"user": f"guest{number % 50}", "product": product_id(number % 160)} for number in range(5_000)]
    with api_of(world) as api:
        answer = bulk(api, jsonl(*lines))
        assert (answer.status_code, answer.json()) == (
            200,
            {"accepted": 5_000, "refused": 0, "repeated": False, "problems": []},
        )
        log = [json.loads(line) for line in api.get(f"{EVENTS}/export").text.splitlines()]
        assert [(one["user_id"], one["product_id"]) for one in log] == [
            (one["user"], one["product"]) for one in lines
        ]
        bought = {one["product"] for one in lines if one["user"] == "guest7"}
        assert not bought & set(products(api.get(f"{USERS}/guest7", params={"k": 100})))


def test_each_line_is_kept_wholly_or_refused_by_its_number(world):
    good, more = (
        {"user": "u", "product": product_id(1)},
        {"user": "v", "product": product_id(2), "kind": "gift"},
    )
    spoilt = jsonl(
        good, "", '{"user": "u"}', "no JSON", '{"user": "u", "product": 7, "quantity": -1}', more, "[" * 50
    )
    with api_of(world) as api:
        answer = bulk(api, spoilt + b"\r\n\xff\n").json()
        assert (answer["accepted"], answer["refused"], answer["unknown_kinds"]) == (2, 5, ["gift"])
        assert [problem["line"] for problem in answer["problems"]] == [3, 4, 5, 7, 8]
        details = [problem["detail"] for problem in answer["problems"]]
        for detail, said in zip(
            details,
            ["missing required field `product`", "is not JSON", ">= 1e-09", "nests deeper", "is not JSON"],
            strict=True,
        ):
            assert said in detail
        assert api.get(f"{EVENTS}/export").text.count("\n") == 2


def test_a_bulk_sent_again_under_its_key_is_kept_once(world):
    content = jsonl({"user": "u", "product": 7}, "spoilt")
    with api_of(world) as api:
        named = {"Idempotency-Key": "till-7"}
        first, again = bulk(api, content, **named).json(), bulk(api, content, **named).json()
        assert (first["accepted"], first["refused"], first["repeated"]) == (1, 1, False)
        assert again == first | {"repeated": True}
        assert bulk(api, content + b"\n", **named).status_code == 422
        assert api.get(f"{EVENTS}/export").text.count("\n") == 1


def test_bulks_that_cannot_be_are_refused_whole(world):
    line = {"user": "u", "product": 7}
    with api_of(world, most_lines=3, body_bytes=500) as api:
        assert bulk(api, jsonl(line, line, line) + b"\n").json()["accepted"] == 3
        for content, status, said in (
            (jsonl(line, line, line, line), 400, "4 lines; it may have 3"),
            (b"", 400, "it is empty"),
            (b"\n \n", 400, "it is empty"),
            (jsonl("x", "y"), 400, "line 1: the line is not JSON"),
            (jsonl({**line, "user": "u" * 600}), 413, "500 bytes"),
        ):
            answer = bulk(api, content)
            assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
        assert bulk(api, jsonl(line), media="application/json").status_code == 415
        assert bulk(api, jsonl(line), Authorization=f"Bearer {world.reader}").status_code == 403
        assert api.get(f"{EVENTS}/export").text.count("\n") == 3


def test_two_hundred_and_fifty_six_purchases_fit_a_request_and_one_more_does_not(world):
    one = {"user": "u", "product": 7}
    with api_of(world) as api:
        assert api.post(EVENTS, json={"purchases": [one] * 256}).json()["accepted"] == 256
        answer = api.post(EVENTS, json={"purchases": [one] * 257})
        assert (answer.status_code, "257 entries; it may have 256" in answer.text) == (400, True)
