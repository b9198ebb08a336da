"""`GET /api/v1/experiment`: what the command reports, and what the day brought; computed beside all other requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time

import pytest
from api_worlds import api_world
from serving_worlds import client_of, make_model
from typer.testing import CliRunner

from tastemaker.cli.app import app
from tastemaker.errors import EventsProblem
from tastemaker.model.folder import save
from tastemaker.serving.front.api_keys import new_key
from tastemaker.serving.measuring.experiments import Experiment, arm_of, read_experiments
from tastemaker.serving.measuring.figures import Figures, Found, day_by_arm
from tastemaker.serving.measuring.outcome_store import Done
from tastemaker.serving.models.labels import change_labels

PATH = "/api/v1/experiment"


@pytest.fixture
def world(tmp_path):
    made = api_world(tmp_path)
    folder = made.settings.models / "recommender"
    save(make_model(2), folder / "2")
    change_labels(folder, lambda labels: labels.moved("stable", 1).moved("canary", 2))
    return made


@contextlib.contextmanager
def served(world, **options):
    settings = world.settings
    with client_of(settings.models, keys=settings.keys, poll_seconds=60, **options) as client:
        client.headers.update(world.headers)
        yield client


def run(*arguments):
    done = CliRunner().invoke(app, ["experiment", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def named(*figures):
    names = ("visitors", "lists", "shown", "clicked", "basket", "bought", "revenue")
    return dict(zip(names, figures, strict=True))


def asked(client):
    answer = client.get(PATH)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_answer_is_the_report_of_the_command_and_the_day_by_arm(world):
    folder, events = world.settings.models / "recommender", world.settings.events
    sides = ("--control", "stable", "--treatment", "canary", "--window", "0.000001")
    run("start", folder, "--name", "spring", *sides, "--holdout", "10")
    (one,) = read_experiments(folder)
    with served(world, events=events) as client:
        outcomes = []
        for number in range(240):
            user, listed = f"u{number}", f"list{number}"
            outcomes.append({"user": user, "kind": "shown", "list_id": listed})
            if number % 3 == 0:
                outcomes.append({"user": user, "kind": "clicked", "product": "p"})
            if number % 4 == 0:
                outcomes += [{"user": user, "kind": "bought", "product": "p", "price": 2.5, "quantity": 2}]
        for low in range(0, len(outcomes), 200):
            posted = client.post("/api/v1/outcomes", json={"outcomes": outcomes[low : low + 200]})
            assert posted.status_code == 200, posted.text
        time.sleep(0.5)  # until the window has passed
        found = asked(client)
    printed = json.loads(run("report", folder, "--events", events, "--json"))
    for report in (found["report"], printed):
        report.pop("at")
        report["looks"][-1].pop("day")  # the clock may have passed midnight
    assert found["report"] == printed
    assert found["experiment"]["name"] == "spring"
    assert found["report"]["verdict"] == printed["verdict"] != ""
    assert found["problem"] == ""
    assert 0 <= found["age_seconds"] < 60
    arms = {f"u{number}": arm_of(one, f"u{number}") for number in range(240)}
    for arm in ("control", "treatment", "holdout"):
        theirs = [number for number in range(240) if arms[f"u{number}"] == arm]
        bought = sum(number % 4 == 0 for number in theirs)
        today = found["today"][arm]
        assert (today["visitors"], today["shown"]) == (len(theirs), len(theirs))
        assert today["clicked"] == sum(number % 3 == 0 for number in theirs)
        assert (today["bought"], today["revenue"]) == (bought, 5.0 * bought)


def test_without_an_experiment_the_day_is_told_of_all_and_without_events_why_it_is_not(world):
    with served(world, events=world.settings.events) as client:
        client.post("/api/v1/outcomes", json={"outcomes": [{"user": "u", "kind": "shown"}]})
        found = asked(client)
        assert (found["experiment"], found["report"], found["problem"]) == (None, None, "")
        assert found["today"] == {"all": named(1, 0, 1, 0, 0, 0, 0.0)}
    with served(world) as client:
        found = asked(client)
        assert (found["report"], found["today"]) == (None, None)
        assert "--events" in found["problem"]


def test_a_key_that_only_posts_sees_no_figures(world):
    key = new_key(world.settings.keys, "events")[1]
    with served(world, events=world.settings.events) as client:
        assert client.get(PATH, headers={"Authorization": f"Bearer {key}"}).status_code == 403


def test_a_day_is_parted_by_arm_and_lists_without_an_id_are_shown_only():
    one = Experiment("a", "stable", "canary", (1, 2), 50.0, 0.0, "salt", "conversion", 9, 1, 0)
    done = [Done("u1", 1, 2, 0, 0, 1, 4.5), Done("u2", 0, 1, 1, 1, 0, 0.0), Done("7", 1, 1, 0, 0, 1, 1.0)]
    assert [arm_of(one, each.user) for each in done] == ["control", "treatment", "treatment"]
    found = day_by_arm(done, one)
    assert found["control"] == named(1, 1, 2, 0, 0, 1, 4.5)
    assert found["treatment"] == named(2, 1, 2, 1, 1, 1, 1.0)
    assert day_by_arm(done, None)["all"]["visitors"] == 3


def test_who_asks_while_figures_are_computed_gets_the_former_ones_and_nobody_waits(tmp_path):
    going, opened = threading.Event(), []

    def slow():
        opened.append(1)
        going.wait(20)
        raise EventsProblem("the disk is away.")

    async def asks():
        figures = Figures(slow)
        figures._kept["m"] = former = Found(at=7)
        loop, began = asyncio.get_running_loop(), time.monotonic()
        found = await asyncio.gather(*(figures.of("m", tmp_path) for _ in range(5)))
        assert found == [former] * 5
        assert loop.time() - began < 15  # the reading ends in 20 seconds alone
        going.set()
        while figures._computing:
            await asyncio.sleep(0.01)
        return await figures.of("m", tmp_path)

    found = asyncio.run(asks())
    assert len(opened) == 1
    assert found.problem == "the disk is away."
    assert (found.report, found.today) == (None, None)


def test_figures_outlive_a_database_that_is_away_with_their_age(tmp_path):
    def away():
        raise EventsProblem("the database is away.")

    async def asked_after(kept):
        figures = Figures(away)
        figures._kept["m"] = kept
        await figures.of("m", tmp_path)
        while figures._computing:
            await asyncio.sleep(0.01)
        return await figures.of("m", tmp_path)

    good = Found(at=7, today={"all": named(1, 0, 1, 0, 0, 0, 0.0)})
    found = asyncio.run(asked_after(good))
    assert (found.at, found.today, found.problem) == (7, good.today, "the database is away.")
    of_another = Found(at=7, experiment={"name": "former"}, report={"verdict": "Open"}, today={})
    found = asyncio.run(asked_after(of_another))
    assert (found.report, found.today, found.problem) == (None, None, "the database is away.")
