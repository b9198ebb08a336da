"""Lists of several hosts that explored, in one real PostgreSQL: kept once, also after it was away, and read as those of one."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "serving"))

from api_worlds import api_world
from serving_worlds import client_of

from tastemaker.cli.app import app
from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.held import Held, rows
from tastemaker.errors import EventsProblem, StateProblem
from tastemaker.serving.measuring.served_lists import ServedList, ServedLists, read_served
from tastemaker.serving.shared.as_file import log_at
from tastemaker.serving.shared.shared_events import SharedEvents
from tastemaker.serving.shared.shared_lists import SharedLists
from tastemaker.serving.shared.shared_outcomes import SharedOutcomes

USER = "/api/v1/recommendations/users/"
PEOPLE = [f"u{number:03}" for number in range(30)]
DAY = 86_400_000_000


@pytest.fixture
def shared(uri, tmp_path):
    """The tables of hosts that share their state, without a server."""
    with contextlib.closing(SharedEvents(tmp_path / "a.db", uri)) as events:
        yield events


@pytest.fixture
def lists(uri):
    with contextlib.closing(SharedLists(uri)) as lists:
        yield lists


def asked(uri, statement):
    with contextlib.closing(Held(address_of(uri))) as database, database.transaction() as cursor:
        return rows(cursor, statement)


def example(number: int = 0, user: str = "u", age: float = 0) -> ServedList:
    moment = int((time.time() - age) * 1e6)
    return ServedList(
        f"list {number}", user, "m", 1, moment, 0.1, 1, ("a", "Zoë"), (1, 0.9), ("a", "Zoë", "b")
    )


def test_two_hosts_log_each_list_once_and_an_estimate_reads_them_as_those_of_one_file(uri, tmp_path):
    world = api_world(tmp_path)
    one = world.settings

    @contextlib.contextmanager
    def host(name):
        settings = {"catalogue": one.catalogue, "keys": one.keys, "state": uri, "explore": 0.5}
        with client_of(one.models, events=tmp_path / f"{name}.db", **settings) as client:
            client.headers.update(world.headers)
            yield client

    with host("a") as a, host("b") as b:
        answers = [a.get(USER + user).json() for user in PEOPLE]
        assert answers == [b.get(USER + user).json() for user in PEOPLE]
        assert any("explored" in answer for answer in answers)
        outcomes = []
        for answer in answers:
            told = {"user": answer["user"], "list_id": answer["list_id"]}
            first = answer["recommendations"][0]["product"]
            outcomes += [{**told, "kind": "shown"}, {**told, "kind": "clicked", "product": first}]
        # what was shown may not be dated before the list is written: the database dates both
        for client in (a, b):
            client.app.state.service.measuring.exploring.log.flush()
        assert b.post("/api/v1/outcomes", json={"outcomes": outcomes}).json()["unknown_lists"] == 0
    for table in ("lists", "outcomes"):
        with contextlib.closing(Held(address_of(uri))) as database, database.transaction() as cursor:
            cursor.execute(f"UPDATE tastemaker_{table} SET moment = moment - {8 * DAY}")
    with log_at(uri) as file:
        assert (file.name, file.stat().st_mode & 0o777) == ("postgres", 0o600)
        logged = {one.list_id: one for one in read_served(file)}
    assert not file.exists()
    assert set(logged) == {answer["list_id"] for answer in answers}
    for answer in answers:
        one_list = logged[answer["list_id"]]
        assert list(one_list.shown) == [str(one["product"]) for one in answer["recommendations"]]
        assert (one_list.user, one_list.rate, len(one_list.ranking)) == (answer["user"], 0.5, 20)
    done = CliRunner().invoke(
        app,
        [
            "compare",
            "--off-policy",
            uri,
            str(one.models / "recommender"),
            "--products",
            str(one.catalogue),
            "--json",
        ],
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["lists"], found["explore"], found["logged"]["clicks"]["mean"]) == (30, [0.5], 1.0)
    assert found["models"][0]["made_again"] == 1.0


def test_lists_wait_while_the_database_is_away_and_are_kept_when_it_is_back(uri, server, lists, caplog):
    log = ServedLists(lists)
    log.note(example(1))
    log.flush()
    server.crash()
    for number in (2, 3):
        log.note(example(number))
    with pytest.raises(EventsProblem, match="No list can be logged until it does"):
        log.flush()
    time.sleep(1)  # the thread tries again, and says so once
    server.start()
    until = time.monotonic() + 20
    while asked(uri, "SELECT count(*) FROM tastemaker_lists") != [(3,)] and time.monotonic() < until:
        time.sleep(0.1)
    log.close()
    assert asked(uri, "SELECT list FROM tastemaker_lists ORDER BY list") == [
        ("list 1",),
        ("list 2",),
        ("list 3",),
    ]
    said = [one.message for one in caplog.records if one.name == "tastemaker.exploring"]
    assert said[-1] == "Lists that explored are kept again."
    assert len(said) == len(set(said))


def test_a_list_of_several_hosts_has_the_time_when_it_was_first_served_by_the_databases_clock(
    uri, lists, monkeypatch
):
    real = time.time
    now = real()
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    monkeypatch.setattr(time, "time_ns", lambda: int((real() + 3600) * 1e9))
    lists.keep([example(1, age=5), example(1, age=5)])
    lists.keep([example(1, age=60)])
    lists.keep([example(1)])
    ((moment,),) = asked(uri, "SELECT moment FROM tastemaker_lists")
    assert -62 < moment / 1e6 - now < -55


def test_a_forgotten_user_leaves_the_lists(uri, shared, lists):
    assert shared.count_of("u") == 0  # before any host explored
    lists.keep([example(1), example(2), example(3, "v")])
    assert shared.count_of("u") == 2
    assert shared.forget("u") == 2
    assert asked(uri, "SELECT user_id FROM tastemaker_lists") == [("v",)]


def test_a_name_that_a_database_cannot_hold_is_counted_and_holds_up_no_other(uri, lists):
    lost = []
    log = ServedLists(lists, lost.append)
    log.note(example(1, "u\0"))
    log.note(example(2))
    log.close()
    assert lost == [1]
    assert asked(uri, "SELECT list FROM tastemaker_lists") == [("list 2",)]


def test_a_database_without_lists_and_one_that_is_none_of_ours_are_said(uri, lists):
    with pytest.raises(EventsProblem, match="holds no list that explored; serve with --state"), log_at(uri):
        pass
    lists.keep([example()])
    with pytest.raises(EventsProblem, match="holds no list that explored; serve with --state"), log_at(uri):
        pass
    with contextlib.closing(SharedOutcomes(uri)) as outcomes:
        outcomes.add([])
    with (
        pytest.raises(StateProblem, match=r"postgresql://HOST/DATABASE, not in mysql://db/shop"),
        log_at("mysql://db/shop"),
    ):
        pass
    with (
        pytest.raises(EventsProblem, match=r"Nothing was estimated\."),
        log_at("postgresql://127.0.0.1:1/shop"),
    ):
        pass
