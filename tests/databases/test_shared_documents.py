"""Rules, labels and keys of several hosts in one real PostgreSQL: the same on all, and as last known while it is away."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from pathlib import Path

import pytest
from database_servers import SPELLED
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "serving"))

from api_worlds import api_world
from serving_worlds import client_of, make_model, product_id

from tastemaker.cli.app import app
from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.held import Held, rows
from tastemaker.errors import ModelFolderProblem, SettingProblem, StateProblem
from tastemaker.model.folder import save
from tastemaker.ranking.rules.rules import Rules, read_rules, write_rules
from tastemaker.serving.answering.rule_history import note, read_history
from tastemaker.serving.front.api_keys import WatchedKeys, new_key, read_keys, remove_key
from tastemaker.serving.models.labels import change_labels, read_labels
from tastemaker.serving.shared import shared_documents
from tastemaker.serving.shared.shared_documents import SharedDocuments

RULES = "/api/v1/rules"
LIST = "/api/v1/recommendations/users/u003?k=160"


@pytest.fixture
def host(uri, tmp_path):
    """Open the documents of several hosts, which follow the database when they are told to."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(contextlib.closing(SharedDocuments(tmp_path / name, uri)))


def changed(uri, statement):
    with contextlib.closing(Held(address_of(uri))) as database, database.transaction() as cursor:
        cursor.execute(statement)


def comes(question):
    """Wait until something holds."""
    until = time.monotonic() + 20
    while not question():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_what_one_host_changes_all_read_and_a_restarted_host_reads_it_without_the_database(
    server, host, tmp_path
):
    a, b = host("a"), host("b")
    folder = tmp_path / "models" / "recommender"
    folder.mkdir(parents=True)
    mine, yours = a.folder("recommender", folder), b.folder("recommender", folder)
    write_rules(mine / "rules.json", Rules(deny=("p1",)), home=a)
    note(mine, Rules(), Rules(deny=("p1",)), "anna", home=a)
    change_labels(mine, lambda labels: labels.moved("stable", 3), home=a)
    _, text = new_key(a.keys_file, "admin", name="anna", home=a)
    b.catch_up()
    assert read_rules(yours / "rules.json") == Rules(deny=("p1",))
    assert [(entry.number, entry.key) for entry in read_history(yours)] == [(1, None), (2, "anna")]
    assert read_labels(yours).versions == {"stable": 3}
    assert read_keys(b.keys_file).find(text).name == "anna"
    assert b.keys_file.stat().st_mode & 0o777 == 0o600
    for name in ("new", "known"):
        (tmp_path / "own" / name).mkdir(parents=True)
        write_rules(tmp_path / "own" / name / "rules.json", Rules(deny=("p7",)))
    write_rules(a.folder("known", folder) / "rules.json", Rules(deny=("p5",)), home=a)
    server.crash()
    try:
        with pytest.raises(StateProblem, match=r"cannot be changed until it does") as refused:
            write_rules(yours / "rules.json", Rules(), home=b)
        assert SPELLED not in str(refused.value)
        assert "as they were last known" in b.problem
        again = host("b")
        assert read_rules(again.folder("recommender", folder) / "rules.json") == Rules(deny=("p1",))
        assert WatchedKeys(again.keys(tmp_path / "none.json")).keys.find(text)
        with pytest.raises(StateProblem, match="no copy of its rules"):
            host("new")
        # a model that is new to a host has the rules of its own folder until the database is asked
        new, known = (b.folder(name, tmp_path / "own" / name) / "rules.json" for name in ("new", "known"))
        assert read_rules(new) == read_rules(known) == Rules(deny=("p7",))
        a.catch_up()
    finally:
        server.start()
    time.sleep(0.6)
    write_rules(mine / "rules.json", Rules(deny=("p2",)), home=a)
    for one in (b, again):
        one.catch_up()
        assert one.problem == ""
        assert read_rules(yours / "rules.json") == Rules(deny=("p2",))
    assert read_rules(known) == Rules(deny=("p5",))
    assert read_rules(a.folder("new", folder) / "rules.json") == Rules(deny=("p7",))


def test_hosts_that_change_at_once_lose_nothing(host):
    hosts = [host(name) for name in "abc"]
    writers = [
        threading.Thread(
            target=lambda one=one, n=n: [
                new_key(one.keys_file, "read", name=f"{n}-{i}", home=one) for i in range(8)
            ]
        )
        for n, one in enumerate(hosts)
    ]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    for one in hosts:
        one.catch_up()
        assert sorted(key.name for key in read_keys(one.keys_file).keys) == [
            f"{n}-{i}" for n in range(3) for i in range(8)
        ]


def test_the_first_content_comes_from_the_folder_whose_files_then_refuse_to_be_changed(host, tmp_path):
    folder, keys = tmp_path / "models" / "recommender", tmp_path / "keys.json"
    folder.mkdir(parents=True)
    write_rules(folder / "rules.json", Rules(deny=("p1",)))
    change_labels(folder, lambda labels: labels.moved("stable", 2))
    _, text = new_key(keys, "admin")
    a = host("a")
    own = a.folder("recommender", folder)
    assert read_rules(own / "rules.json") == Rules(deny=("p1",))
    assert read_labels(own).versions == {"stable": 2}
    assert read_keys(a.keys(keys)).find(text)
    with pytest.raises(
        SettingProblem, match=r"hosts share it in postgresql://127.0.0.1:\d+/postgres; name that with --state"
    ):
        new_key(keys, "read")
    with pytest.raises(ModelFolderProblem, match="hosts share it in postgresql"):
        change_labels(folder, lambda labels: labels.moved("stable", 1))
    b = host("b")  # of another folder, whose rules are others: those of the database hold
    other = tmp_path / "other" / "recommender"
    other.mkdir(parents=True)
    write_rules(other / "rules.json", Rules(deny=("p9",)))
    assert read_rules(b.folder("recommender", other) / "rules.json") == Rules(deny=("p1",))


def test_a_state_of_a_newer_release_another_database_and_a_restored_one_are_refused(host, uri, tmp_path):
    a = host("a")
    new_key(a.keys_file, "admin", home=a)
    new_key(a.keys_file, "admin", home=a)
    changed(uri, "UPDATE tastemaker_documents SET number = 1")
    with pytest.raises(StateProblem, match="restored from an older backup"):
        host("a")
    a.catch_up()
    assert "older backup" in a.problem
    assert len(read_keys(a.keys_file).keys) == 2
    changed(uri, "UPDATE tastemaker_state SET id = 'another'")
    with pytest.raises(StateProblem, match="copies of another database"):
        host("a")
    changed(uri, "UPDATE tastemaker_state SET format = 2")
    with pytest.raises(StateProblem, match=r"newer tastemaker \(format 2, and this one knows 1\); upgrade"):
        host("new")
    a.catch_up()
    assert "newer tastemaker" in a.problem


def test_names_that_lead_out_of_the_copies_are_not_written(host, uri, tmp_path):
    a = host("a")
    for number, name in enumerate(
        ("../out", "models/../rules.json", "models/x/y/rules.json", "models//rules.json", "new.json")
    ):
        changed(uri, f"INSERT INTO tastemaker_documents VALUES ('{name}', {number + 1}, 'x')")
    before = sorted(tmp_path.rglob("*"))
    a.catch_up()
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(StateProblem, match="cannot be shared"):
        a.folder("..", tmp_path)


def test_a_wrong_password_is_said_without_it_and_not_tried_again_at_once(server, tmp_path):
    wrong = server.uri.replace(SPELLED, "hunter2%40")
    with pytest.raises(StateProblem, match="refuses this user or password") as refused:
        SharedDocuments(tmp_path / "a", wrong)
    assert "hunter2" not in str(refused.value)
    with contextlib.closing(Held(address_of(wrong))) as held:
        for _ in range(2):
            with pytest.raises(Exception, match="refuses"), held.transaction():
                pass
        assert held._not_before - time.monotonic() > 3


def test_a_clock_that_differs_is_told_and_decides_nothing(host, monkeypatch):
    a, b = host("a"), host("b")
    real = time.time
    monkeypatch.setattr(shared_documents.time, "time", lambda: real() - 3600)
    new_key(a.keys_file, "admin", name="early", home=a)
    assert "this host's clock is behind the database's by 3600 s" in a.clock
    monkeypatch.undo()
    remove_key_of = new_key(b.keys_file, "read", name="late", home=b)[0].name
    remove_key(b.keys_file, remove_key_of, home=b)
    a.catch_up()
    assert a.clock == ""
    assert [key.name for key in read_keys(a.keys_file).keys] == ["early"]


def test_a_ban_on_one_server_holds_on_the_other_preconditions_hold_across_both_and_readyz_tells_of_the_database(
    server, uri, tmp_path
):
    world = api_world(tmp_path)
    shared = {
        "keys": world.settings.keys,
        "state": uri,
        "poll_seconds": 60,
        "catalogue": world.settings.catalogue,
    }
    with (
        client_of(world.settings.models, events=tmp_path / "a.db", **shared) as a,
        client_of(world.settings.models, events=tmp_path / "b.db", **shared) as b,
    ):
        for client in (a, b):
            client.headers.update(world.headers)
        before = b.get(RULES)
        assert product_id(9) in {one["product"] for one in b.get(LIST).json()["recommendations"]}
        assert a.put(RULES, json={"deny": [product_id(9)]}).status_code == 200
        comes(lambda: product_id(9) not in {one["product"] for one in b.get(LIST).json()["recommendations"]})
        late = b.put(RULES, json={"deny": []}, headers={"If-Match": before.headers["ETag"]})
        assert late.status_code == 412
        # also where the other host's change has not come here yet
        b.app.state.service.registry.home._ended.set()
        current = b.get(RULES).headers["ETag"]
        assert a.put(RULES, json={"deny": [product_id(8)]}, headers={"If-Match": current}).status_code == 200
        assert b.put(RULES, json={"deny": []}, headers={"If-Match": current}).status_code == 412
        entries = b.get(f"{RULES}/history").json()["published"]
        assert [entry["rules"].get("deny") for entry in entries] == [[product_id(8)], [product_id(9)], None]
        assert len({entry["key"] for entry in entries[:2]} - {None}) == 1
        assert "state" not in a.get("/readyz").json()
        home = a.app.state.service.registry.home
        remove_key(home.keys_file, read_keys(home.keys_file).find(world.reader).name, home=home)
        comes(lambda: a.get(LIST, headers={"Authorization": f"Bearer {world.reader}"}).status_code == 401)
        server.crash()
        try:
            refused = a.put(RULES, json={"deny": []})
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            ready = a.get("/readyz")
            assert ready.status_code == 200
            assert "as they were last known" in ready.json()["state"]
            assert product_id(8) not in {one["product"] for one in a.get(LIST).json()["recommendations"]}
        finally:
            server.start()
        comes(lambda: "state" not in a.get("/readyz").json())
        assert a.put(RULES, json={"deny": []}).status_code == 200


def test_commands_act_on_the_state(uri, tmp_path):
    for version in (1, 2):
        save(make_model(version), tmp_path / "models" / "recommender" / str(version))
    folder = str(tmp_path / "models" / "recommender")

    def run(*arguments, code=0):
        found = CliRunner().invoke(app, list(arguments), standalone_mode=False)
        assert (found.exception is None) == (code == 0), found.exception
        return found

    made = run("key", "new", "--state", uri, "--name", "anna", "--role", "admin").stdout
    run("key", "new", "--state", uri, "--name", "bert")
    run("key", "remove", "bert", "--state", uri)
    assert [line.split()[0] for line in run("key", "list", "--state", uri).stdout.splitlines()] == ["anna"]
    run("promote", folder, "1", "--state", uri)
    run("promote", folder, "2", "--state", uri)
    run("rollback", folder, "--state", uri)
    with contextlib.closing(SharedDocuments(tmp_path / "a", uri)) as home:
        assert read_keys(home.keys_file).find(made.strip())
        assert read_labels(home.folder("recommender", Path(folder))).versions == {"stable": 1}
    assert "hosts share it" in str(run("promote", folder, "2", code=1).exception)
    assert not (tmp_path / "models" / "recommender" / "labels.json").exists()
    assert "either" in str(run("key", "list", code=2).exception)
    with contextlib.closing(Held(address_of(uri))) as held, held.transaction() as cursor:
        assert json.loads(
            rows(cursor, "SELECT content FROM tastemaker_documents WHERE name = 'keys.json'")[0][0]
        )
