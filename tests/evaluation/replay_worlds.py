"""Small dated shops with everything a replay must get right, and a slow twin of the replay itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from tastemaker.data.events import Events
from tastemaker.data.past import past_of
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.readers import read_purchases
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import Memory, TasteModel

DAY = 86_400_000_000
START = 1_704_067_200_000_000  # 2024-01-01, day 0 of every log here


def dated(rows, *, products=None):
    """A log of (user, product, day) rows; with ``products``, a catalogue of them."""
    users, bought, days = zip(*rows, strict=True)
    frame = pl.DataFrame({"user": users, "product": bought, "time": [START + DAY * day for day in days]})
    frame = frame.with_columns(pl.col("time").cast(pl.Datetime("us")))
    return read_purchases(frame, products=products)


def random_shop(seed=0, *, train=120, later=90, users=14, products=12):
    """A log to learn from and a later one, of few users, products and days: receipts, repeats, new users, new and unknown products.

    Views and baskets stand beside the purchases of both.
    """
    rng = np.random.default_rng(seed)
    catalogue = pl.DataFrame({"product": [f"p{i:02d}" for i in range(products)]})

    def log(count, first_day, days, first_user, known):
        return [
            (
                f"u{rng.integers(first_user, users):02d}",
                f"p{rng.integers(0, known):02d}",
                first_day + int(rng.integers(0, days)),
            )
            for _ in range(count)
        ]

    early = dated(log(train, 0, 25, 4, products - 3), products=catalogue)
    late = dated(log(later, 25, 12, 0, products + 2))
    return with_events(early, rng, 0, 25), with_events(late, rng, 25, 12)


def with_events(log, rng, first_day, days):
    """The same log with views and baskets of its users and products beside the purchases."""
    count = 2 * len(log)
    events = Events(
        rng.integers(0, len(log.users), count).astype(np.int32),
        rng.integers(0, len(log.products), count).astype(np.int32),
        rng.integers(0, 2, count).astype(np.int16),
        ("view", "cart"),
        (START + DAY * (first_day + rng.integers(0, days, count))).astype(np.int64),
    )
    return replace(log, events=events)


def random_model(log, *, seed=0, dimensions=5, free=False, repeats=False):
    """A model of random numbers: composed (or free) tastes, a bias and a memory."""
    rng = np.random.default_rng(seed)
    products, users = len(log.products), len(log.users)

    def floats(*shape):
        return rng.normal(size=shape).astype(np.float32)

    vectors = floats(products, dimensions)
    memory = Memory(
        np.arange(0, 3 * products + 1, 3, dtype=np.int64),
        np.concatenate([np.sort(rng.choice(products, 3, replace=False)) for _ in range(products)]).astype(
            np.int32
        ),
        floats(3 * products),
    )
    return TasteModel(
        users=log.users,
        products=log.products,
        histories=log.histories(),
        product_vectors=vectors,
        product_bias=np.zeros(products, np.float32) if free else floats(products),
        user_vectors=floats(users, dimensions) if free else None,
        basket_vectors=None if free else vectors,
        memory=memory,
        record=TrainingRecord(None, 0, log.fingerprint(), len(log)),
        damping=0.5,
        memory_damping=0.25,
        repeat_weight=0.7 if repeats else 0.0,
        repeat_bias=floats(products) if repeats else None,
        past=past_of(log),
    )


def rows_of(log: Purchases):
    """The purchases as (user id, product id, time), in the order of the log."""
    users, products = log.users.ids.to_list(), log.products.ids.to_list()
    return [
        (users[u], products[p], int(t))
        for u, p, t in zip(log.user_rows, log.product_rows, log.times, strict=True)
    ]


def slow_scores(model, user, history, include):
    """Every product's score for a user with this history, a list of (product id, time): loops over plain numbers."""
    ids = model.products.ids.to_list()
    bought = sorted({ids.index(product) for product, _ in history if product in ids})
    vectors = model.product_vectors.astype(np.float64)
    table = vectors if model.basket_vectors is None else model.basket_vectors.astype(np.float64)
    query = np.zeros(vectors.shape[1])
    for p in bought:
        query += table[p]
    if bought:
        query /= len(bought) ** (1.0 if model.basket_vectors is None else model.damping)
    known = model.users.ids.to_list()
    if model.user_vectors is not None and user in known:
        row = known.index(user)
        if model.histories.offsets[row + 1] > model.histories.offsets[row]:
            query = model.user_vectors[row].astype(np.float64)
    scores = model.product_bias.astype(np.float64) + vectors @ query
    if not bought and model.basket_vectors is None and not model.product_bias.any():
        scores += np.bincount(model.histories.products, minlength=len(ids))
    if model.memory is not None:
        for p in bought:
            low, high = model.memory.offsets[p], model.memory.offsets[p + 1]
            for q, weight in zip(
                model.memory.products[low:high], model.memory.weights[low:high], strict=True
            ):
                scores[q] += float(weight) * len(bought) ** -model.memory_damping
    if include and (model.repeat_weight or model.repeat_bias is not None):
        for p in bought:
            days = {time // DAY for product, time in history if product == ids[p]}
            scores[p] += model.repeat_weight * np.log1p(len(days))
            scores[p] += 0 if model.repeat_bias is None else float(model.repeat_bias[p])
    return scores, bought


def slow_replay(model, train, later, *, include=False):
    """What a replay asks and finds, as {(user, product, time): rank}: one question after the other, everything anew for each."""
    past = rows_of(train)
    ids = model.products.ids.to_list()
    found = {}
    future = sorted(rows_of(later), key=lambda row: row[2])
    for user, product, time in future:
        history = [(p, t) for u, p, t in past + future if u == user and t < time]
        if not include and product in [p for p, _ in history]:
            continue
        if product not in ids:
            found[user, product, time] = 0
            continue
        scores, bought = slow_scores(model, user, history, include)
        target = scores[ids.index(product)]
        rank = 1
        for p in range(len(ids)):
            if p != ids.index(product) and (include or p not in bought) and scores[p] >= target - 1e-9:
                rank += 1
        found[user, product, time] = rank
    return found
