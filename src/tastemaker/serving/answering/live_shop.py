"""`LiveShop`: a version as the live events have moved it, followed from their file by each worker on its own."""

from __future__ import annotations

import copy
import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.past import PURCHASE, Past
from tastemaker.data.ragged import offsets_of
from tastemaker.data.reading.values.refunds import REFUND
from tastemaker.data.tokens.bags import Bags, side_by_side
from tastemaker.errors import ColumnProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.standing import Bought, Standing
from tastemaker.ranking.top_k import Candidates
from tastemaker.serving.answering.event_store import Event, Events
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import Floats

__all__ = ["LiveShop", "kind_rows", "standing_events"]

log = logging.getLogger("tastemaker.live")

SHARE = 0.05
"""Most of its time that a worker spends on following events: what took a second is not done again for twenty"""
AT_ONCE = 10_000
"""Most events that one look follows"""
AHEAD = 86_400_000_000
"""Events dated so much later than now, in microseconds, move nothing: one wrong clock would age all that is known"""


class LiveShop:
    """What lists are made from now. Events that the model has learned move nothing twice: those up to its last count as learned."""

    def __init__(self, loaded: LoadedModel, events: Events) -> None:
        self._loaded, self._events = loaded, events
        self._standing = Standing(loaded.model)
        self._busy = threading.Lock()
        self._number = 0
        self._next_look = 0.0
        self._now = loaded
        self._clock = self._standing.clock

    @property
    def clock(self) -> int:
        """Return the time of the latest event, in microseconds."""
        return self._clock

    def wants_a_look(self) -> bool:
        """Return whether there are new events, and time for them."""
        return time.monotonic() >= self._next_look and self._events.last_number() > self._number

    def look(self) -> None:
        """Follow the events that have arrived. Whoever comes while another looks does not wait; raise `EventsProblem`."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            began = time.monotonic()
            arrived = self._events.after(self._number, most=AT_ONCE)
            if arrived:
                self._follow([event for _, event in arrived])
                self._number = arrived[-1][0]
                self._now, self._clock = self._moved(), self._standing.clock
            ended = time.monotonic()
            share = 0.5 if len(arrived) == AT_ONCE else SHARE  # what has piled up is caught up with
            self._next_look = ended + (ended - began) * (1 / share - 1)
        finally:
            self._busy.release()

    def now(self) -> LoadedModel:
        """Return the version as of the latest event that was followed."""
        return self._now

    def at(self, moment: int) -> LoadedModel:
        """Return the same with the rates of a moment, in microseconds."""
        with self._busy:
            bias, now = self._standing.bias(moment), self._now
        model = replace(now.model, product_bias=bias)
        return standing_as(now, model, replace(now.candidates, bias=bias))

    def _moved(self) -> LoadedModel:
        model = self._standing.as_model(self._standing.clock + 1)
        bias = np.asarray(model.product_bias)
        if model.product_vectors is self._loaded.model.product_vectors:
            candidates = replace(self._loaded.candidates, bias=bias)
        else:
            candidates = Candidates.of(np.asarray(model.product_vectors), bias)
        return standing_as(self._loaded, model, candidates)

    def _follow(self, arrived: Sequence[Event]) -> None:
        loaded = self._loaded
        latest = time.time_ns() // 1000 + AHEAD
        news = [
            (event, row)
            for event in arrived
            if event.kind == PURCHASE
            and loaded.learned_until < event.time <= latest
            and (row := loaded.product_ids.row_of(event.product)) is not None
        ]
        if not news:
            return
        buyers = {user: place for place, user in enumerate(dict.fromkeys(event.user for event, _ in news))}
        past = self._past(list(buyers))
        users = np.array([buyers[event.user] for event, _ in news], np.int32)
        self._standing.follow(
            Bought(
                np.array([row for _, row in news], np.int32),
                np.array([event.time for event, _ in news], np.int64),
                users,
                past,
                self._tokens([event for event, _ in news]),
            )
        )

    def _past(self, users: Sequence[str]) -> Past:
        """Return all that these users did, as the model and the file know it."""
        loaded, known = self._loaded, self._loaded.model.past
        live = self._events.events_of(users)
        names = (PURCHASE,) if loaded.model.kinds is None else (PURCHASE, *loaded.model.kinds.names)
        products, times, kinds, lengths = [], [], [], []
        strengths: list[Floats] = []
        for user in users:
            own = loaded.user_ids.row_of(user)
            rows, moments, which = kind_rows(loaded, standing_events(loaded, own, live.get(user, []))[0])
            tells = np.zeros(len(rows), np.float32)
            if known is not None and own is not None:
                part = slice(int(known.offsets[own]), int(known.offsets[own + 1]))
                learned = (
                    np.zeros(part.stop - part.start, np.int16) if known.kinds is None else known.kinds[part]
                )
                kept = learned < len(names)
                rows = np.concatenate([known.products[part][kept], rows])
                moments = np.concatenate([known.times[part][kept], moments])
                which = np.concatenate([learned[kept], which])
                if known.strengths is not None:
                    tells = np.concatenate([known.strengths[part][kept], tells])
                else:
                    tells = np.zeros(len(rows), np.float32)
            order = np.argsort(moments, kind="stable")
            products.append(rows[order])
            times.append(moments[order])
            kinds.append(which[order])
            lengths.append(len(order))
            strengths.append(tells[order])
        return Past(
            offsets_of(lengths),
            np.concatenate(products).astype(np.int32),
            np.concatenate(times).astype(np.int64),
            np.concatenate(kinds) if len(names) > 1 else None,
            names,
            None if known is None or known.strengths is None else np.concatenate(strengths),
        )

    def _tokens(self, events: Sequence[Event]) -> Bags | None:
        tokens = self._loaded.model.tokens
        if tokens is None:
            return None
        contexts = [json.loads(event.context) if event.context else {} for event in events]
        parts = [tokens.context.encode(_frame(contexts, name), len(events)) for name in tokens.context.names]
        rows = [self._loaded.user_ids.row_of(event.user) for event in events]
        known = np.array([-1 if row is None else row for row in rows], np.int64)
        attributes = tokens.for_users(len(tokens.of_users) + 1).of_users.take(
            np.where(known < 0, len(tokens.of_users), known)
        )
        return side_by_side([*parts, attributes], len(events))


def standing_events(
    loaded: LoadedModel, user: int | None, events: Sequence[Event]
) -> tuple[list[Event], dict[int, int]]:
    """Return the live events of a user that no refund took back, without refunds, and what they took of the learned ones.

    ``user`` is a row of the model. A refund takes back the latest purchase of its product until then that no other took:
    one that the model has not learned, else a learned one, unless the model has learned the refund, too. How many of the learned
    ones are taken back comes second, by the product's row.
    """
    if not any(event.kind == REFUND for event in events):
        return list(events), {}
    learned = set() if user is None else set(loaded.bought(user)[0].tolist())
    standing: dict[int, list[int]] = {}
    gone: set[int] = set()
    taken: dict[int, int] = {}
    order = sorted(range(len(events)), key=lambda place: (events[place].time, events[place].kind == REFUND))
    for place in order:
        event = events[place]
        row = loaded.product_ids.row_of(event.product)
        if row is None:
            continue
        before = event.time <= loaded.learned_until
        if event.kind == PURCHASE and not (row in learned and before):
            standing.setdefault(row, []).append(place)
        elif event.kind == REFUND and standing.get(row):
            gone.add(standing[row].pop())
        elif event.kind == REFUND and row in learned and not before:
            taken[row] = taken.get(row, 0) + 1
    left = [event for place, event in enumerate(events) if place not in gone and event.kind != REFUND]
    return left, taken


def kind_rows(loaded: LoadedModel, events: Sequence[Event]) -> tuple[Any, Any, Any]:
    """Return the products, times and kinds (0 is a purchase) of those events that say something to a model."""
    kinds = loaded.model.kinds
    places = {PURCHASE: 0} | ({} if kinds is None else {name: 1 + k for k, name in enumerate(kinds.names)})
    found = [
        (row, event.time, places[event.kind])
        for event in events
        if event.kind in places and (row := loaded.product_ids.row_of(event.product)) is not None
    ]
    table = np.array(found, np.int64).reshape(-1, 3)
    return table[:, 0].astype(np.int32), table[:, 1], table[:, 2].astype(np.int16)


def _frame(contexts: Sequence[dict[str, Any]], name: str) -> pl.DataFrame | None:
    """Return one column of contexts; ``None`` where none of them names it, or the values are of no one type."""
    values = [context.get(name) for context in contexts]
    if all(value is None for value in values):
        return None
    try:
        return pl.DataFrame({name: pl.Series(name, values, strict=False)})
    except (TypeError, ColumnProblem, pl.exceptions.PolarsError):
        return None


def standing_as(loaded: LoadedModel, model: TasteModel, candidates: Candidates) -> LoadedModel:
    """Return a version that ranks with another model over the same ids; all else that was made of it is kept."""
    moved = copy.copy(loaded)
    for made in ("packed", "packed_with_index", "by_dot", "index_by_dot"):
        moved.__dict__.pop(made, None)
    moved.model, moved.candidates, moved.index = model, candidates, None
    return moved
