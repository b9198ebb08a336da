"""A live server moves rates, vectors and what is known of users with every posted event, as the replay does."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import polars as pl
import pytest
from serving_worlds import client_of
from test_what_is_known_served import SETTLED

import tastemaker as tm
from beside_worlds import CATALOGUE, events, log_of
from tastemaker.evaluation.replay.bench import Terms, bench_of
from tastemaker.evaluation.replay.ranks import ranks_of
from tastemaker.model.folder import save
from tastemaker.ranking.live.living import LivingAnswers
from tastemaker.serving.answering import live_shop
from tastemaker.serving.answering.event_store import Event, Events, read_events
from tastemaker.serving.front.api_keys import new_key
from tastemaker.serving.measuring.asked_again import asked_again
from tastemaker.serving.measuring.served_lists import read_served

LIVING = SETTLED | {
    "live.rate": 0.7, "live.half_life": 20.0, "live.fold_in": 2.0, "live.dial": 0.3, "live.young": 5.0,
    "kinds.own": "view=0.8", "kinds.taste": "view=0.4",
    "kinds.days": 30.0, "order.taste_days": 60.0, "order.memory_days": 60.0,
}  # fmt: skip
CUT = 1_704_067_200_000_000 + 165 * 86_400_000_000
PRODUCTS = len(CATALOGUE)
NEW = "wedding-10"
"""Never sold in train"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    frame = events(users=90)
    before, later = (
        frame.filter(which)
        for which in (pl.col("time").dt.epoch("us") < CUT, pl.col("time").dt.epoch("us") >= CUT)
    )
    later = later.with_columns(
        pl.when(pl.int_range(pl.len()) % 5 == 1)
        .then(pl.lit(NEW))
        .otherwise("product_id")
        .alias("product_id"),
        pl.when(pl.int_range(pl.len()) % 7 == 2)
        .then(pl.lit("newcomer"))
        .otherwise("user_id")
        .alias("user_id"),
    )
    model = tm.train(log_of(before), tm.preset("default").changed(LIVING))
    assert model.live is not None
    assert model.live.fold_in is not None
    assert model.kinds is not None
    models = tmp_path_factory.mktemp("living")
    save(model, models / "shop" / "1")
    return model, later, models


@pytest.fixture
def settings(tmp_path):
    _, key = new_key(tmp_path / "keys.json", "admin")
    return {"events": tmp_path / "events.db", "keys": tmp_path / "keys.json"}, {
        "Authorization": f"Bearer {key}"
    }


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Follow every event before the next list."""
    monkeypatch.setattr(live_shop, "SHARE", 1.0)


def post(client, rows):
    body = [
        {"user": row["user_id"], "product": row["product_id"], "time": row["time"].timestamp(), "kind": row["event"],
         "context": {"occasion": row["occasion"]}}
        for row in rows
    ]  # fmt: skip
    answer = client.post("/api/v1/events", json={"purchases": body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(client, user, *, k=PRODUCTS, **more):
    answer = client.post("/api/v1/recommendations/basket", json={"user": user, "basket": [], "k": k, **more})
    assert answer.status_code == 200, answer.text
    return [one["product"] for one in answer.json()["recommendations"]]


def test_posting_later_event_by_event_gives_the_lists_of_the_replay(shop, settings):
    model, later, models = shop
    log = log_of(later)
    bench = bench_of(model, log, Terms())
    asked = bench.questions
    answers = LivingAnswers(model, bench.timeline, log)
    ranks = ranks_of(answers, bench.timeline, asked, products=PRODUCTS)
    users, ids = bench.timeline.users.ids.to_list(), model.products.ids.to_list()
    wanted = {}
    for q, (user, product, time, rank) in enumerate(
        zip(asked.users, asked.products, asked.times, ranks, strict=True)
    ):
        occasion = asked.context["occasion"][q]
        wanted.setdefault(int(time), []).append((users[user], ids[product], int(rank), occasion))
    options, headers = settings
    compared = 0
    with client_of(models, **options) as client:
        client.headers.update(headers)
        rows = later.with_columns(pl.col("time").dt.replace_time_zone("UTC"))
        for (now,), there in rows.group_by("time", maintain_order=True):
            moment = round(now.timestamp() * 1e6)
            for user, product, rank, occasion in wanted.get(moment, []):
                served = listed(client, user, at=now.timestamp(), context={"occasion": occasion})
                assert served.index(product) + 1 == rank
                compared += 1
            post(client, there.to_dicts())
    assert compared == len(ranks) > 40
    assert {users[user] for user in asked.users} & {"newcomer"}
    assert NEW in {ids[product] for product in asked.products}


def test_a_product_that_is_bought_rises_for_everybody_and_a_new_users_list_moves(shop, settings):
    model, _, models = shop
    options, headers = settings
    time = pl.Series([model.order.end + 1]).cast(pl.Datetime("us", "UTC"))[0]
    with client_of(models, **options) as client:
        client.headers.update(headers)
        before, stranger = listed(client, "u1"), listed(client, "never seen")
        rows = [
            {
                "user_id": f"fan{number}",
                "product_id": NEW,
                "time": time,
                "event": "purchase",
                "occasion": "wedding",
            }
            for number in range(12)
        ]
        post(client, rows)
        after = listed(client, "u1")
        assert after.index(NEW) < before.index(NEW)
        assert listed(client, "never seen").index(NEW) < stranger.index(NEW)
        assert NEW not in listed(client, "fan3")
        assert len(listed(client, "fan3")) == PRODUCTS - 1


def test_two_workers_follow_the_same_file(shop, settings):
    model, _, models = shop
    options, headers = settings
    time = pl.Series([model.order.end + 1]).cast(pl.Datetime("us", "UTC"))[0]
    with client_of(models, **options) as one, client_of(models, **options) as other:
        one.headers.update(headers)
        other.headers.update(headers)
        before = listed(other, "u1")
        post(
            one,
            [{"user_id": "z", "product_id": NEW, "time": time, "event": "purchase", "occasion": "wedding"}]
            * 9,
        )
        assert listed(one, "u1") == listed(other, "u1") != before


def test_a_view_posted_live_raises_its_product_until_it_is_bought(shop, settings):
    model, _, models = shop
    options, headers = settings
    time = pl.Series([model.order.end + 1]).cast(pl.Datetime("us", "UTC"))[0]
    view = {"user_id": "u2", "product_id": "sport-03", "time": time, "event": "view", "occasion": "sport"}
    with client_of(models, **options) as client:
        client.headers.update(headers)
        before = listed(client, "u5", include_purchased=True)
        said = post(client, [view | {"user_id": "u5"}])
        assert "unknown_kinds" not in said
        after = listed(client, "u5", include_purchased=True)
        assert after.index("sport-03") < before.index("sport-03")
        others = post(client, [view | {"event": "wish"}])
        assert others["unknown_kinds"] == ["wish"]


def test_an_event_dated_far_ahead_moves_nothing_for_others(shop, settings):
    models = shop[2]
    options, headers = settings
    far = pl.Series([4_000_000_000_000_000]).cast(pl.Datetime("us", "UTC"))[0]
    with client_of(models, **options) as client:
        client.headers.update(headers)
        before = listed(client, "u1")
        post(
            client,
            [{"user_id": "z", "product_id": NEW, "time": far, "event": "purchase", "occasion": "wedding"}]
            * 9,
        )
        assert listed(client, "u1") == before
        listed(client, "u1", at=253_402_300_000)  # a question far ahead leaves no trace either
        assert listed(client, "u1") == before


def test_lists_that_explored_are_asked_again_as_they_were_asked_whatever_was_bought_since(shop, settings):
    _, later, models = shop
    options, headers = settings
    rows = later.sort("time").to_dicts()
    middle = rows[len(rows) // 2]["time"]
    before, since = ([row for row in rows if (row["time"] < middle) is which] for which in (True, False))
    with client_of(models, explore=0.5, **options) as client:
        client.headers.update(headers)
        post(client, before)
        knows = {"u2": {"viewed": ["sport-03"]}, "u3": {"context": {"occasion": "wedding"}}}
        for user in [f"u{number}" for number in range(20)]:
            listed(client, user, k=5, **knows.get(user, {}))
        for start in range(0, len(since), 100):
            post(client, since[start : start + 100])
    with sqlite3.connect(options["events"]) as file:
        file.execute("UPDATE lists SET time = ?", (round(middle.timestamp() * 1e6),))
    served = list(read_served(options["events"]))
    assert len(served) == 20
    with asked_again(models / "shop" / "1", options["events"]) as asked:
        again = asked.lists(served)
        assert again == [list(one.ranking[:5]) for one in served]
        late = asked.lists([replace(one, time=4 * 10**15) for one in served])
    assert late != again


def test_a_file_of_purchases_alone_takes_kinds_once_it_is_opened(tmp_path):
    file = tmp_path / "old.db"
    with sqlite3.connect(file) as old:
        old.executescript(
            "CREATE TABLE purchases (number INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, product TEXT NOT NULL, "
            "time INTEGER NOT NULL, quantity REAL NOT NULL) STRICT; CREATE TABLE answered (key TEXT PRIMARY KEY, content BLOB NOT "
            "NULL, accepted INTEGER NOT NULL, moment INTEGER NOT NULL) STRICT, WITHOUT ROWID; "
            "INSERT INTO purchases (user, product, time, quantity) VALUES ('u', 'hat', 5, 1); PRAGMA user_version = 1;"
        )
    assert read_events(file).columns == ["number", "user_id", "product_id", "time", "quantity"]
    store = Events(file)
    store.add([Event("u", "sock", 6, kind="view", context=json.dumps({"occasion": "sport", "size": 4}))])
    store.close()
    frame = read_events(file)
    assert frame["event"].to_list() == ["purchase", "view"]
    assert frame["occasion"].to_list() == [None, "sport"]
    assert frame["size"].to_list() == [None, 4]
