"""A live server and a replay are one: LATER posted event by event gives the lists that the replay speaks of."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from serving_worlds import client_of

from tastemaker.data.past import past_of
from tastemaker.data.reading.readers import read_purchases
from tastemaker.data.repeats import times_bought
from tastemaker.evaluation.replay.bench import Terms, bench_of
from tastemaker.evaluation.replay.ranks import ranks_of
from tastemaker.model.folder import save
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.answers import PlainAnswers
from tastemaker.serving.front.api_keys import new_key

PRODUCTS = 25
START = 1_704_067_200_000_000
HOUR = 3_600_000_000


def log_of(rng, count, first_hour, hours, users):
    frame = pl.DataFrame(
        {
            "user": [f"u{number}" for number in rng.integers(0, users, count)],
            "product": [f"p{number:02d}" for number in rng.integers(0, PRODUCTS, count)],
            "time": pl.Series(START + HOUR * (first_hour + rng.integers(0, hours, count))).cast(
                pl.Datetime("us")
            ),
        }
    )
    catalogue = pl.DataFrame({"product": [f"p{number:02d}" for number in range(PRODUCTS)]})
    return read_purchases(frame, products=catalogue)


def random_model(train, rng, *, free):
    vectors = rng.normal(size=(PRODUCTS, 6)).astype(np.float32)
    return TasteModel(
        users=train.users, products=train.products, histories=train.histories(), product_vectors=vectors,
        product_bias=rng.normal(size=PRODUCTS).astype(np.float32),
        user_vectors=rng.normal(size=(len(train.users), 6)).astype(np.float32) if free else None,
        basket_vectors=None if free else vectors, memory=None, record=TrainingRecord(None, 0, "", len(train)),
        history_times=times_bought(train), repeat_weight=0.8,
        repeat_bias=rng.normal(size=PRODUCTS).astype(np.float32), past=past_of(train),
    )  # fmt: skip


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("free", [False, True])
def test_posting_later_event_by_event_gives_the_lists_of_the_replay(tmp_path, free, include):
    rng = np.random.default_rng(5)
    train, later = log_of(rng, 40, 0, 200, 8), log_of(rng, 60, 200, 150, 12)
    model = random_model(train, rng, free=free)
    save(model, tmp_path / "models" / "shop" / "1")
    bench = bench_of(model, later, Terms(include_purchased=include))
    asked = bench.questions
    answers = PlainAnswers(model, bench.timeline, include_purchased=include)
    ranks = ranks_of(answers, bench.timeline, asked, products=PRODUCTS, include_purchased=include)
    users, ids = bench.timeline.users.ids.to_list(), model.products.ids.to_list()
    wanted = {}
    for user, product, time, rank in zip(asked.users, asked.products, asked.times, ranks, strict=True):
        wanted.setdefault(int(time), []).append((users[user], ids[product], int(rank)))
    _, key = new_key(tmp_path / "keys.json", "admin")
    settings = {"events": tmp_path / "events.db", "keys": tmp_path / "keys.json"}
    with client_of(tmp_path / "models", **settings) as client:
        client.headers.update({"Authorization": f"Bearer {key}"})
        for now in np.unique(later.times):
            for user, product, rank in wanted.get(int(now), []):
                flags = f"k={PRODUCTS}&include_purchased={str(include).lower()}"
                answer = client.get(f"/api/v1/recommendations/users/{user}?{flags}")
                assert answer.status_code == 200, answer.text
                served = [entry["product"] for entry in answer.json()["recommendations"]]
                assert served.index(product) + 1 == rank
            here = np.flatnonzero(later.times == now)
            who = later.users.at(later.user_rows[here]).to_list()
            what = later.products.at(later.product_rows[here]).to_list()
            bought = [
                {"user": user, "product": product, "time": int(now) / 1e6}
                for user, product in zip(who, what, strict=True)
            ]
            assert client.post("/api/v1/events", json={"purchases": bought}).status_code in (200, 201, 202)
    assert len(ranks) > 30
