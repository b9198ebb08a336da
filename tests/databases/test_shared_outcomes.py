"""Outcomes and experiments of several hosts in one real PostgreSQL: as one host alone keeps them, and the same on all."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "serving"))

from api_worlds import api_world
from serving_worlds import client_of, make_model

from tastemaker.cli.app import app
from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.held import Held, rows
from tastemaker.errors import EventsProblem, KeyUsedOtherwise
from tastemaker.model.folder import save
from tastemaker.nights.watching.clicks import Clicks, clicks_in_state
from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.measuring.experiments import Experiment, arm_of
from tastemaker.serving.measuring.outcome_store import Outcome, Outcomes
from tastemaker.serving.shared.shared_documents import SharedDocuments
from tastemaker.serving.shared.shared_events import SharedEvents
from tastemaker.serving.shared.shared_outcomes import SharedOutcomes

OUTCOMES = "/api/v1/outcomes"
HOUR = 3_600_000_000


@pytest.fixture
def host(uri):
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(SharedOutcomes(uri)))


SOME = [
    Outcome("u", "shown", 1 * HOUR, list="L1"),
    Outcome("v", "clicked", 1 * HOUR, "p"),  # before a list was shown: counts nothing
    Outcome("u", "clicked", 2 * HOUR, "p", "L1"),
    Outcome("v", "shown", 2 * HOUR),
    Outcome("v", "shown", 3 * HOUR),
    Outcome("u", "bought", 3 * HOUR, "p", quantity=2, price=9.95, margin=0.1),
    Outcome("u", "bought", 4 * HOUR, "q", price=0.2),
    Outcome("u", "bought", 30 * HOUR, "r", "L9", price=7),  # after the window
    Outcome("Zoë 'x'", "shown", 2 * HOUR),
    Outcome("Zoë 'x'", "basket", 4 * HOUR, '7"\\'),
]


def test_a_database_says_of_visitors_and_of_what_was_bought_what_a_file_says(host, uri, tmp_path):
    with (
        contextlib.closing(Events(tmp_path / "events.db")) as events,
        contextlib.closing(Outcomes(events)) as file,
    ):
        shared = host()
        for one in (file, shared):
            assert one.add(SOME) == (10, False)
            assert one.add(SOME[2:4]) == (0, False)
        for begin, end, window in ((0, 99 * HOUR, 24 * HOUR), (2 * HOUR, 3 * HOUR, HOUR), (0, 1, 5)):
            found = [list(one.visited(begin, end, window)) for one in (file, shared)]
            assert found[0] == found[1]
            assert list(file.done(begin, end)) == list(shared.done(begin, end))
        assert len(list(shared.visited(0, 99 * HOUR, 24 * HOUR))) == 3
    assert shared.shown_and_clicked(0, 99 * HOUR) == (4, 2)
    assert shared.shown_and_clicked(2 * HOUR, 3 * HOUR) == (2, 1)
    assert clicks_in_state(uri, 0, 99 * HOUR) == Clicks(4, 2)
    assert clicks_in_state("postgresql://127.0.0.1:1/nowhere", 0, 1) is None


def test_a_repetition_is_known_on_every_host_and_a_key_belongs_to_one_request(host):
    a, b = host(), host()
    assert a.add(SOME[:2], key="k", content=b"1") == (2, False)
    assert b.add(SOME[:2], key="k", content=b"1") == (0, True)
    with pytest.raises(KeyUsedOtherwise):
        b.add(SOME[3:], key="k", content=b"2")
    assert len(list(b.visited(0, 99 * HOUR, HOUR))) == 1


def test_hosts_that_write_the_same_at_once_lose_nothing_and_keep_nothing_twice(host, uri):
    many = [Outcome(f"u{n % 7}", "shown", n) for n in range(120)]
    new = []

    def write(store, step):
        for low in range(0, 120, 20):
            part = many[low : low + 20][::step]
            new.append(store.add(part, key=f"{low}", content=b"same")[0])

    writers = [threading.Thread(target=write, args=(host(), (-1) ** n)) for n in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert sum(new) == 120
    with contextlib.closing(Held(address_of(uri))) as database, database.transaction() as cursor:
        assert rows(cursor, "SELECT count(*) FROM tastemaker_outcomes") == [(120,)]


def test_without_a_server_of_several_hosts_there_are_no_outcomes_which_is_said(host):
    with pytest.raises(EventsProblem, match="holds no outcomes; a server with `--state`"):
        list(host().visited(0, 1, 1))


def test_a_forgotten_user_leaves_the_outcomes_and_nobody_needs_a_copy_to_forget_them(uri, tmp_path):
    model = tmp_path / "models" / "recommender"
    save(make_model(1), model / "1")
    with (
        contextlib.closing(SharedEvents(tmp_path / "a.db", uri)) as a,
        contextlib.closing(SharedOutcomes(uri)) as outcomes,
    ):
        outcomes.add(SOME)
        assert a.count_of("v") == 3
        assert a.forget("v") == 3
        assert [one.user for one in outcomes.visited(0, 99 * HOUR, HOUR)] == ["u", "Zoë 'x'"]
        done = CliRunner().invoke(app, ["forget", str(model), "--user", "Zoë 'x'", "--state", uri, "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.output)["forgotten"][0]["live_events"] == 2
        assert [one.user for one in outcomes.visited(0, 99 * HOUR, HOUR)] == ["u"]
        assert a.count_of("u\0") == 0


def test_ids_of_any_length_are_kept_once(host):
    a = host()
    long = Outcome("u" * 5_000, "clicked", 5, "p" * 5_000)
    assert [a.add([long]) for _ in range(2)] == [(1, False), (0, False)]


def test_moments_are_the_databases_where_a_hosts_clock_is_an_hour_ahead(host, uri, tmp_path, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    monkeypatch.setattr(time, "time_ns", lambda: int((real() + 3600) * 1e9))
    a = host()
    a.add([Outcome("u", "shown", None)])
    with contextlib.closing(SharedDocuments(tmp_path / "copies", uri)) as home:
        moments = [one.first for one in a.visited(0, 2**62, 5)] + [home.now()]
        assert "an hour" in home.clock or "3600" in home.clock
    assert all(abs(moment / 1e6 - real()) < 60 for moment in moments)


def test_without_the_database_that_hosts_share_experiments_are_not_changed(uri, tmp_path):
    folder = tmp_path / "models" / "recommender"
    save(make_model(1), folder / "1")
    with contextlib.closing(SharedDocuments(tmp_path / "copies", uri)) as home:
        home.folder("recommender", folder)
    code, said = run("experiment", "list", folder)
    assert code == 1
    assert "name that with --state" in said


# Through servers ------------------------------------------------------------------------------------------------


def run(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    return done.exit_code, done.output + str(done.exception or "")


def comes(question):
    until = time.monotonic() + 20
    while not question():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_an_experiment_started_once_holds_on_every_host_and_is_reported_of_all(server, uri, tmp_path):
    world = api_world(tmp_path)
    settings = world.settings
    folder = settings.models / "recommender"
    save(make_model(9), folder / "9")
    with contextlib.ExitStack() as stack:
        a, b = (
            stack.enter_context(
                client_of(settings.models, keys=settings.keys, events=tmp_path / f"{name}.db", state=uri)
            )
            for name in "ab"
        )
        for one in (a, b):
            one.headers.update(world.headers)
        versions = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        for label, version in (("stable", versions[0]), ("canary", 9)):
            assert run("promote", folder, version, "--label", label, "--state", uri)[0] == 0
        start = [
            "experiment",
            "start",
            folder,
            "--name",
            "spring",
            "--control",
            "stable",
            "--treatment",
            "canary",
        ]
        assert run(*start, "--state", uri)[0] == 0
        code, said = run(*start[:4], "autumn", *start[5:], "--state", uri)
        assert code == 1
        assert "'spring' runs" in said
        listed = json.loads(run("experiment", "list", folder, "--state", uri, "--json")[1])["experiments"]
        assert run("experiment", "list", folder, "--json")[1].count('"name"') == 0
        one = Experiment(
            **{name: value for name, value in listed[0].items() if name not in ("shares", "versions")},
            versions=tuple(listed[0]["versions"]),
        )

        def arms(client):
            answers = [
                client.get(f"/api/v1/recommendations/users/u{n:03}", params={"model": "recommender"}).json()
                for n in range(12)
            ]
            return [answer.get("arm") for answer in answers], [answer["version"] for answer in answers]

        wanted = [arm_of(one, f"u{n:03}") for n in range(12)]
        for client in (a, b):
            comes(lambda client=client: arms(client)[0] == wanted)
        assert arms(a) == arms(b)
        assert set(arms(a)[1]) == {versions[0], 9}
        for n in range(12):
            client = (a, b)[n % 2]
            posted = client.post(OUTCOMES, json={"outcomes": [{"user": f"u{n:03}", "kind": "shown"}]})
            assert (posted.status_code, posted.json()["accepted"]) == (200, 1)
        spoilt = a.post(OUTCOMES, json={"outcomes": [{"user": "u\0", "kind": "shown"}]})
        assert spoilt.status_code == 422
        assert "U+0000" in spoilt.json()["detail"]
        found = json.loads(run("experiment", "report", folder, "--state", uri, "--json")[1])
        assert sum(found["assigned"].values()) == 12
        for client in (a, b):
            figures = client.get("/api/v1/experiment?model=recommender").json()
            assert figures["report"]["assigned"] == found["assigned"]
            assert sum(arm["shown"] for arm in figures["today"].values()) == 12

        server.crash()
        try:
            refused = a.post(OUTCOMES, json={"outcomes": [{"user": "u000", "kind": "clicked", "product": 1}]})
            assert refused.status_code == 503
            assert "send" in refused.json()["detail"] or "until it does" in refused.json()["detail"]
            assert arms(a)[0] == wanted  # as last known
            comes(lambda: "outcomes are refused" in a.get("/readyz").json()["events"])
        finally:
            server.start()
        comes(lambda: run("experiment", "stop", folder, "--promote", "--state", uri)[0] == 0)
        for client in (a, b):
            comes(lambda client=client: arms(client) == ([None] * 12, [9] * 12))


def test_a_rolled_back_treatment_ends_the_experiment_on_all_hosts(uri, tmp_path):
    folder = tmp_path / "models" / "recommender"
    for version in (1, 2):
        save(make_model(version), folder / str(version))
    for label, version in (("stable", 1), ("canary", 2)):
        assert run("promote", folder, version, "--label", label, "--state", uri)[0] == 0
    start = ["experiment", "start", folder, "--name", "a", "--control", "stable", "--treatment", "canary"]
    assert run(*start, "--state", uri)[0] == 0
    assert run("promote", folder, 1, "--label", "canary", "--state", uri)[0] == 0
    code, said = run("experiment", "list", folder, "--state", uri, "--json")
    assert code == 0
    assert json.loads(said)["experiments"][0]["why"] == "canary moved from version 2 to 1"
    code, said = run("experiment", "report", folder)
    assert code == 1
    assert "name where the outcomes are" in said
