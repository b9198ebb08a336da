"""What another model would earn, from lists that a real server showed: the truth is known, and what cannot be is said."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from serving_worlds import make_model, serving
from typer.testing import CliRunner

from tastemaker.cli.app import app
from tastemaker.model.folder import load, save
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.rank import rank_users
from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.front.api_keys import new_key
from tastemaker.serving.measuring.served_lists import ListsInFile, ServedList, ServedLists

VISITORS = 1_500
LOOK = 1 / np.log2(np.arange(10) + 2)
AGED = 8 * 86_400_000_000


def taste(product: int) -> float:
    """The chance that a visitor clicks a product that they look at; the candidate ranks by it more than the server."""
    return 0.05 + 0.5 * (product % 5 == 0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Two versions for 1,500 users: the second lifts the products that are clicked most, a little."""
    folder = tmp_path_factory.mktemp("off_policy")
    first = make_model(1, users=VISITORS)
    lift = np.array([0.4 * (product % 5 == 0) for product in first.products.ids.to_list()], np.float32)
    save(first, folder / "models" / "recommender" / "1")
    save(replace(first, product_bias=first.product_bias + lift), folder / "spare" / "recommender" / "2")
    return folder


@pytest.fixture(scope="module")
def events(shop):
    """The file of a real server: every user was shown a list that explored, and clicked and bought by their taste."""
    _, key = new_key(shop / "keys.json", "admin")
    options = (
        "--keys",
        shop / "keys.json",
        "--events",
        shop / "events.db",
        "--explore",
        "0.5",
        "--workers",
        2,
    )
    with serving(shop / "models", shop / "log", *options) as server:
        server.client.headers["Authorization"] = f"Bearer {key}"
        users = [f"u{number:03}" for number in range(VISITORS)]
        rng = np.random.default_rng(5)
        for low in range(0, VISITORS, 250):
            answers = server.client.post("/api/v1/batch", json={"users": users[low : low + 250]}).json()[
                "answers"
            ]
            outcomes = []
            for one in answers:
                outcomes.append({"user": one["user"], "kind": "shown", "list_id": one["list_id"]})
                for rank, product in enumerate(one["recommendations"]):
                    if rng.random() < taste(product["product"]) * LOOK[rank]:
                        told = {"user": one["user"], "product": product["product"]}
                        outcomes.append({**told, "kind": "clicked", "list_id": one["list_id"]})
                        if rng.random() < 0.5:
                            outcomes.append({**told, "kind": "bought", "price": 10.0})
            for some in range(0, len(outcomes), 250):
                sent = server.client.post("/api/v1/outcomes", json={"outcomes": outcomes[some : some + 250]})
                assert sent.json()["unknown_lists"] == 0
        server.stop()
    return shop / "events.db"


def aged(events, into):
    """Copy a file of events as if all of it had happened eight days before."""
    with (
        contextlib.closing(sqlite3.connect(events)) as source,
        contextlib.closing(sqlite3.connect(into)) as copy,
    ):
        source.backup(copy)
        for table in ("lists", "outcomes"):
            copy.execute(f"UPDATE {table} SET time = time - {AGED}")
        copy.commit()
    return into


@pytest.fixture
def old(events, tmp_path):
    return aged(events, tmp_path / "old.db")


def change(file, statement):
    with contextlib.closing(sqlite3.connect(file)) as opened:
        opened.execute(statement)
        opened.commit()


def run(*arguments, code=0):
    result = CliRunner().invoke(
        app, ["compare", "--off-policy", *map(str, arguments)], env={"COLUMNS": "200"}
    )
    from tastemaker.errors import TastemakerError

    if code == 1:
        assert isinstance(result.exception, TastemakerError)
        return str(result.exception)
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def truth(folder):
    """What the lists of a model earn, ranked without a server."""
    model = load(folder)
    lists = rank_users(model, np.arange(VISITORS, dtype=np.int32), product_candidates(model), k=10)
    ids = model.products.ids.to_numpy()
    return float(
        np.mean(
            [
                sum(map(float, [taste(p) * look for p, look in zip(ids[rows], LOOK, strict=True)]))
                for rows, _ in lists
            ]
        )
    )


def test_estimates_hold_the_truth_that_a_real_servers_log_was_made_of(shop, old):
    first, second = shop / "models" / "recommender" / "1", shop / "spare" / "recommender" / "2"
    found = json.loads(run(old, first, second, "--json"))
    assert (found["lists"], found["visitors"], found["versions"]) == (VISITORS, VISITORS, {"1": VISITORS})
    assert found["models"][0]["made_again"] == 1.0
    assert truth(second) > truth(first) + 0.1
    for model, folder in zip(found["models"], (first, second), strict=True):
        assert model["overlap"]["effective"] > 200
        for estimate in (model["inverse_propensity"]["clicks"], model["doubly_robust"]["clicks"]):
            assert estimate["low"] < truth(folder) < estimate["high"]
            assert estimate["high"] - estimate["low"] < 0.6 * truth(folder)
        assert model["doubly_robust"]["purchases"]["mean"] == pytest.approx(truth(folder) / 2, rel=0.2)
        revenue = model["doubly_robust"]["revenue"]["mean"]
        assert revenue == pytest.approx(10 * model["doubly_robust"]["purchases"]["mean"])
    assert found["models"][1]["name"] in found["verdict"]


def test_the_tables_say_what_the_numbers_are(shop, old):
    said = run(old, shop / "spare" / "recommender", "--metric", "purchases")
    assert "1,500 lists of 1,500 visitors (1,500 of version 1), --explore 0.5, 7 days each." in said
    for part in (
        "inverse propensity",
        "doubly robust",
        "clicks",
        "purchases",
        "revenue",
        "tells as much as",
        "in purchases",
    ):
        assert part in said


def test_lists_whose_days_have_not_passed_do_not_count(shop, events):
    said = run(events, shop / "models" / "recommender", code=1)
    assert "none of the 1,500 lists" in said
    assert "7 days have not passed" in said


def test_a_file_without_lists_or_without_outcomes_is_said(shop, old, tmp_path):
    assert "there is no file of events" in run(tmp_path / "none.db", shop / "models" / "recommender", code=1)
    Events(tmp_path / "empty.db").close()
    assert "holds no list that explored" in run(
        tmp_path / "empty.db", shop / "models" / "recommender", code=1
    )
    change(old, "UPDATE outcomes SET list = ''")
    assert "no outcome that names a list" in run(old, shop / "models" / "recommender", code=1)


def test_a_chance_of_0_and_a_price_of_text_are_said(shop, old):
    change(old, "UPDATE lists SET chances = '[0' || substr(chances, instr(chances, ',')) WHERE user = 'u007'")
    assert "with the chance 0;" in run(old, shop / "models" / "recommender", code=1)
    change(old, "DELETE FROM lists WHERE user = 'u007'")
    change(old, "CREATE TABLE loose AS SELECT * FROM outcomes")
    change(old, "DROP TABLE outcomes")
    change(old, "ALTER TABLE loose RENAME TO outcomes")
    change(old, "CREATE INDEX outcomes_in_time ON outcomes (time)")
    change(old, "UPDATE outcomes SET price = 'ten' WHERE kind = 'bought'")
    assert "has the price 'ten'" in run(old, shop / "models" / "recommender", code=1)


def test_a_model_of_another_shop_is_said(shop, old, tmp_path):
    save(make_model(1, text=True), tmp_path / "other" / "recommender" / "1")
    assert "knows none of the" in run(old, tmp_path / "other" / "recommender", code=1)
    assert "holds no model" in run(old, tmp_path / "nothing", code=1)


def test_a_model_that_shows_what_the_log_never_shows_gets_no_verdict(shop, old, tmp_path):
    save(make_model(9, users=VISITORS), tmp_path / "far" / "recommender" / "3")
    said = run(old, tmp_path / "far" / "recommender" / "3")
    assert "Cannot be told: at" in said
    assert "never shows there" in said


def test_lists_of_several_models_are_told_apart(shop, old, tmp_path):
    change(old, "UPDATE lists SET model = 'other', version = 9 WHERE user < 'u500'")
    found = json.loads(run(old, shop / "models" / "recommender", "--json"))
    assert found["left_out"]["of other models"] + found["lists"] == VISITORS
    change(old, "UPDATE lists SET model = 'third' WHERE model = 'recommender'")
    assert "holds lists of other, third, and none of recommender" in run(
        old, shop / "models" / "recommender", code=1
    )


def test_lists_of_a_version_that_is_gone_count(shop, old):
    change(old, "UPDATE lists SET version = 77")
    found = json.loads(run(old, shop / "models" / "recommender", "--json"))
    assert found["versions"] == {"77": VISITORS}
    assert found["models"][0]["made_again"] is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--metric", "ndcg@10"), "one of clicks"),
        (("--window", "0"), "above 0"),
        (("--replay",), "leave out --replay"),
        (("--by", "country"), "leave out --by"),
        (("--user-column", "who"), "leave out the flags of reading"),
    ],
)
def test_flags_that_do_not_go_together_are_a_usage_error(shop, tmp_path, flags, said):
    assert said in " ".join(
        run(tmp_path / "e.db", shop / "models" / "recommender", *flags, code=2).replace("│", " ").split()
    )


def test_a_purchase_without_a_list_belongs_to_the_last_click(shop, tmp_path):
    """By hand: two lists of one visitor, a click on each, then a purchase: the later one's."""
    from tastemaker.serving.measuring.off_policy import estimated
    from tastemaker.serving.measuring.outcome_store import Outcome, Outcomes

    hour = 3_600_000_000
    model = load(shop / "models" / "recommender" / "1")
    rows, _ = rank_users(model, np.array([1], np.int32), product_candidates(model), k=2)[0]
    best = tuple(str(model.products.ids[row]) for row in rows.tolist())
    with contextlib.closing(Events(tmp_path / "e.db")) as events:
        log, outcomes = ServedLists(ListsInFile(events)), Outcomes(events)
        for number in (1, 2):
            listed = ServedList(
                f"l{number}",
                "u001",
                "recommender",
                1,
                number * hour,
                0.5,
                0,
                best[:1],
                (0.75,),
                best,
            )
            log.note(listed)
            outcomes.add(
                [
                    Outcome("u001", "shown", number * hour + 1, list=f"l{number}"),
                    Outcome("u001", "clicked", number * hour + 2, best[0], f"l{number}"),
                ]
            )
        outcomes.add([Outcome("u001", "bought", 3 * hour, best[0], price=4.0, quantity=3)])
        log.close()
        outcomes.close()
    found = estimated(tmp_path / "e.db", [shop / "models" / "recommender"], metric="clicks", window=24 * hour)
    assert {name: one.mean for name, one in found.found.logged.items()} == {
        "clicks": 1.0,
        "purchases": 0.5,
        "revenue": 6.0,
    }
    short = estimated(tmp_path / "e.db", [shop / "models" / "recommender"], metric="clicks", window=hour // 2)
    assert short.found.logged["purchases"].mean == 0.0
