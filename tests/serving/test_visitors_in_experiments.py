"""Experiments: the same arm for a visitor everywhere, figures that add up, and ends that are said."""

from __future__ import annotations

import contextlib
import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from api_worlds import api_world
from serving_worlds import client_of, make_model
from typer.testing import CliRunner

from tastemaker.cli.app import app
from tastemaker.errors import ModelFolderProblem, SettingProblem
from tastemaker.evaluation.experiments.arms import arm_of as sums_of
from tastemaker.evaluation.experiments.sequences import difference
from tastemaker.model.folder import save
from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.measuring.experiments import Experiment, arm_of, ended, read_experiments, started
from tastemaker.serving.measuring.outcome_store import Outcome, Outcomes, Visited
from tastemaker.serving.measuring.report import report_of
from tastemaker.serving.models.labels import change_labels

DAY = 86_400_000_000
ONE = Experiment("a", "stable", "canary", (1, 2), 50.0, 0.0, "salt", "conversion", 20_000, DAY, 0)


@pytest.fixture
def world(tmp_path):
    made = api_world(tmp_path)
    folder = made.settings.models / "recommender"
    for version in (2, 3):
        save(make_model(version), folder / str(version))
    change_labels(folder, lambda labels: labels.moved("stable", 1).moved("canary", 2))
    return made


@pytest.fixture
def folder(world):
    return world.settings.models / "recommender"


@contextlib.contextmanager
def served(world):
    settings = world.settings
    with client_of(settings.models, keys=settings.keys, events=settings.events, poll_seconds=60) as client:
        client.headers.update(world.headers)
        yield client


def run(*arguments, code=0):
    done = CliRunner().invoke(app, ["experiment", *map(str, arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done


def start(folder, *more, name="spring", code=0):
    return run(
        "start", folder, "--name", name, "--control", "stable", "--treatment", "canary", *more, code=code
    )


def recommended(client, user, **query):
    answer = client.get(f"/api/v1/recommendations/users/{user}", params=query)
    assert answer.status_code == 200, answer.text
    return answer


# Who gets what ------------------------------------------------------------------------------------------------


def test_a_visitor_has_one_arm_and_the_arms_have_their_shares():
    one = replace(ONE, share=30.0, holdout=10.0)
    drawn = [arm_of(one, f"u{number}") for number in range(40_000)]
    assert drawn == [arm_of(one, f"u{number}") for number in range(40_000)]
    assert one.shares == {"control": pytest.approx(0.63), "treatment": pytest.approx(0.27), "holdout": 0.1}
    for arm, share in one.shares.items():
        assert abs(drawn.count(arm) / 40_000 - share) < 4 * math.sqrt(share * (1 - share) / 40_000)
    salted = [arm_of(replace(one, salt="other"), f"u{number}") for number in range(40_000)]
    both = np.mean([mine == other for mine, other in zip(drawn, salted, strict=True)])
    assert abs(both - sum(share**2 for share in one.shares.values())) < 0.02  # independent


def test_each_arm_gets_its_version_and_the_answer_says_which(world, folder):
    start(folder, "--holdout", 20)
    (one,) = read_experiments(folder)
    with served(world) as client:
        seen = {}
        for number in range(30):
            user = f"u{number:03}"
            answer = recommended(client, user)
            found = answer.json()
            arm = arm_of(one, user)
            seen.setdefault(arm, []).append(user)
            assert (found["experiment"], found["arm"], found["user"]) == ("spring", arm, user)
            assert found["version"] == (2 if arm == "treatment" else 1)
            assert answer.headers["model-version"] == f"recommender/{found['version']}"
            if arm == "holdout":
                assert found["source"] == "best sellers"
            else:
                plain = recommended(client, user, version=found["version"]).json()
                assert "arm" not in plain
                assert plain["recommendations"] == found["recommendations"]
        assert set(seen) == {"control", "treatment", "holdout"}
        users = [f"u{number:03}" for number in range(30)]
        batch = client.post("/api/v1/batch", json={"users": users, "baskets": [[1021]]}).json()["answers"]
        assert [entry.get("arm") for entry in batch] == [*(arm_of(one, user) for user in users), None]
        for user, entry in zip(users, batch, strict=False):
            single = recommended(client, user).json()
            assert {name: single[name] for name in ("version", "recommendations", "list_id")} == {
                name: entry[name] for name in ("version", "recommendations", "list_id")
            }
        held = client.post(
            "/api/v1/recommendations/basket", json={"basket": [1021], "user": seen["holdout"][0]}
        ).json()
        assert (held["arm"], held["source"]) == ("holdout", "best sellers")


def test_a_treatment_that_is_rolled_back_ends_the_experiment_and_everybody_gets_what_labels_say(
    world, folder
):
    start(folder)
    with served(world) as client:
        assert "arm" in recommended(client, "u001").json()
        change_labels(folder, lambda labels: labels.moved("canary", 3))
        service = client.app.state.service
        service.registry.look()
        for number in range(10):  # before the experiments are looked at, too
            found = recommended(client, f"u{number:03}").json()
            assert "arm" not in found
            assert found["version"] == 1
        service.measuring.experiments.look()
    (one,) = read_experiments(folder)
    assert one.why == "canary moved from version 2 to 3"
    assert one.ended >= one.began
    (listed,) = json.loads(run("list", folder, "--json").stdout)["experiments"]
    assert listed["why"] == one.why
    assert "spring" in run("list", folder).output
    start(folder, name="again")  # about versions 1 and 3


def test_a_running_server_follows_and_a_spoilt_file_leaves_what_was_read(world, folder):
    with served(world) as client:
        experiments = client.app.state.service.measuring.experiments
        assert "arm" not in recommended(client, "u001").json()
        start(folder)
        experiments.look()
        assert "arm" in recommended(client, "u001").json()
        (folder / "experiments.json").write_text("{")
        (folder / ".experiments.json.good").write_text("{")
        experiments.look()
        assert "arm" in recommended(client, "u001").json()
        with pytest.raises(ModelFolderProblem, match="is not a file of experiments"):
            read_experiments(folder)
        (folder / "experiments.json").unlink()
        experiments.look()
        assert "arm" not in recommended(client, "u001").json()


# The file and the commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"share": 100.0}, "must be above 0 and below 100"),
        ({"share": 150.0}, "must be above 0 and below 100"),
        ({"share": 0.0}, "must be above 0 and below 100"),
        ({"holdout": 100.0}, "from 0 to below 100"),
        ({"treatment": "stable"}, "needs two arms"),
        ({"versions": (2, 2)}, "needs two arms"),
        ({"name": "a b"}, "is no name"),
        ({"metric": "joy"}, "must be one of click rate, conversion, revenue, margin"),
        ({"window": 0}, "window above 0"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused_in_a_sentence(change, said):
    with pytest.raises(SettingProblem, match=said):
        started((), replace(ONE, **change))


def test_one_model_has_one_running_experiment_and_names_are_used_once():
    running = started((), ONE)
    with pytest.raises(SettingProblem, match=r"'a' runs, and one model has one at a time"):
        started(running, replace(ONE, name="b"))
    over = ended(running, "a", at=5, why="stopped")
    assert started(over, replace(ONE, name="b"))[-1].name == "b"
    with pytest.raises(SettingProblem, match="choose another name"):
        started(over, ONE)
    assert ended(over, "a", at=9, why="again") == over
    with pytest.raises(SettingProblem, match="there are: a"):
        ended(over, "x", at=9, why="")


def test_stopping_with_promote_gives_everybody_the_treatment(world, folder):
    start(folder, "--share", 20)
    assert run("stop", folder, "--promote").exit_code == 0
    (one,) = read_experiments(folder)
    assert one.why == "stopped, canary promoted"
    with served(world) as client:
        assert recommended(client, "u001").json()["version"] == 2
    assert "has ended" in str(run("stop", folder, code=1).exception)


def test_a_label_that_is_not_there_is_named(folder):
    wrong = run("start", folder, "--name", "x", "--control", "stable", "--treatment", "next", code=1)
    assert "no label 'next' (there are: canary, stable)" in str(wrong.exception)
    assert "has no experiment" in str(run("stop", folder, code=1).exception)


# The report ---------------------------------------------------------------------------------------------------


def test_the_report_compares_visitors_whose_window_has_passed():
    one = replace(ONE, holdout=10.0)
    rng = np.random.default_rng(3)
    visited, by_arm = [], {"control": [], "treatment": [], "holdout": []}
    for number in range(9_000):
        user, first = f"u{number}", number * DAY // 1_000
        arm = arm_of(one, user)
        bought = rng.random() < {"control": 0.10, "treatment": 0.15, "holdout": 0.05}[arm]
        revenue = float(bought) * float(rng.integers(1, 9))
        visited.append(Visited(user, first, bought, False, bought, revenue, revenue / 2))
        if first + DAY <= 8 * DAY:
            by_arm[arm].append((float(bought), revenue))
    found = report_of(one, visited, at=8 * DAY)
    assert found.counted == {arm: len(values) for arm, values in by_arm.items()}
    assert sum(found.assigned.values()) == 9_000 > sum(found.counted.values())
    sums = {
        arm: [sums_of(np.array(each)) for each in zip(*values, strict=True)] for arm, values in by_arm.items()
    }
    for place, metric in ((0, "conversion"), (1, "revenue")):
        pairs = (("control", "treatment", found.differences), ("holdout", "control", found.over_holdout))
        for before, after, differences in pairs:
            by_hand = difference(sums[before][place], sums[after][place], planned=20_000)
            assert differences[metric].low == pytest.approx(by_hand.low, rel=1e-9)
            assert differences[metric].high == pytest.approx(by_hand.high, rel=1e-9)
    assert found.differences["margin"].low == pytest.approx(found.differences["revenue"].low / 2)
    assert found.ratio > 0.001
    assert found.verdict.startswith("canary is better than stable in conversion")
    assert [day["day"] for day in found.days] == [f"1970-01-0{day}" for day in range(1, 10)]
    assert sum(day["control"]["visitors"] for day in found.days) == found.assigned["control"]


def test_the_interval_of_each_day_is_what_a_report_of_that_day_said():
    one = replace(ONE, ended=6 * DAY + 5, why="stopped")
    rng = np.random.default_rng(3)
    visited = [
        Visited(f"u{n}", n * DAY // 1_000, False, False, bool(rng.random() < 0.2), 1.0, 0.5)
        for n in range(5_500)
    ]
    found = report_of(one, visited, at=30 * DAY)
    assert [look["day"] for look in found.looks] == [f"1970-01-0{day}" for day in range(2, 8)]
    for number, look in enumerate(found.looks[:-1]):
        end = (number + 2) * DAY
        then = report_of(replace(one, ended=None), [v for v in visited if v.first < end], at=end)
        for metric, known in then.differences.items():
            assert look[metric] == {"difference": known.difference, "low": known.low, "high": known.high}
    last = found.differences["conversion"]
    assert found.looks[-1]["conversion"]["low"] == last.low is not None
    widths = [look["conversion"]["high"] - look["conversion"]["low"] for look in found.looks]
    assert widths == sorted(widths, reverse=True)


def test_after_its_end_visitors_count_whose_window_had_passed_by_then():
    visited = [
        Visited(f"u{number}", number * DAY // 100, False, False, True, 1.0, 0.0) for number in range(400)
    ]
    over = replace(ONE, ended=3 * DAY, why="canary moved from version 2 to 1")
    found = report_of(over, visited, at=30 * DAY)
    assert sum(found.counted.values()) == 201  # first shown on day 2 at the latest
    assert found.verdict.endswith("It ended: canary moved from version 2 to 1.")


def test_a_broken_assignment_is_the_only_verdict():
    all_ = [Visited(f"u{number}", 0, True, False, True, 1.0, 0.0) for number in range(4_000)]
    half = [
        one for number, one in enumerate(all_) if arm_of(ONE, one.user) == "control" or number % 2
    ]  # of the treatment every second is lost
    found = report_of(ONE, half, at=9 * DAY)
    assert found.ratio < 0.001
    assert found.verdict.startswith("The assignment is broken")


def test_the_command_reports_what_was_posted(world, folder):
    start(folder, "--window", 0.00001)
    (one,) = read_experiments(folder)
    now = int(time.time() * 1_000_000)
    with (
        contextlib.closing(Events(world.settings.events)) as events,
        contextlib.closing(Outcomes(events)) as store,
    ):
        users = [f"u{number}" for number in range(400)]
        store.add([Outcome(user, "shown", one.began + 1) for user in users])
        store.add([Outcome(user, "bought", one.began + 2, product="p", price=2.0) for user in users[:200]])
        store.add([Outcome(users[0], "bought", now + 10**9, product="late", price=2.0)])
    time.sleep(0.9)
    found = json.loads(run("report", folder, "--events", world.settings.events, "--json").stdout)
    arms = [arm_of(one, user) for user in users]
    assert found["counted"] == {arm: arms.count(arm) for arm in ("control", "treatment")}
    expected = {
        arm: np.mean([n < 200 for n, mine in enumerate(arms) if mine == arm])
        for arm in ("control", "treatment")
    }
    conversion = found["differences"]["conversion"]
    assert (conversion["control"], conversion["treatment"]) == (expected["control"], expected["treatment"])
    assert found["differences"]["revenue"]["control"] == 2 * expected["control"]
    assert conversion["low"] < 0 < conversion["high"]
    text = run("report", folder, "--events", world.settings.events).output
    assert "Open: canary − stable in conversion" in text
    assert "an effect of 5 % in conversion takes about" in text


def test_a_report_without_visitors_is_too_early(world, folder):
    start(folder)
    Events(world.settings.events).close()
    found = json.loads(run("report", folder, "--events", world.settings.events, "--json").stdout)
    assert found["differences"]["revenue"]["control"] is None
    assert found["verdict"].startswith("Too early")
