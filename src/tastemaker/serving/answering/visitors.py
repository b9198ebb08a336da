"""From what a request names to `Visitor`s, as the model, the live purchases and the catalogue know them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tastemaker.errors import EventsProblem
from tastemaker.model.beside.asking import Asking
from tastemaker.ranking.live.knowing import NOTHING_BESIDE, Facts, asking_of
from tastemaker.ranking.visitors import NOTHING, Visitor, categories_of
from tastemaker.serving.answering.state import ApiState
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import Counts, Rows

__all__ = ["count_unknown", "visitor_of", "visitors_of"]

DAY = 86_400_000_000
"""Microseconds in a day: a product bought twice on one day counts as one purchase."""

log = logging.getLogger("tastemaker.visitors")

Id: TypeAlias = str | int
Bought: TypeAlias = list[tuple[str, int]]
"""Live purchases: the product and the time, in microseconds since 1970"""


def visitor_of(
    state: ApiState,
    loaded: LoadedModel,
    user: Id | None,
    basket: Sequence[Id],
    facts: Facts = NOTHING_BESIDE,
) -> Visitor:
    """Return what is known of a user (``None`` for none), of a basket and beside them; unknown ids are no error."""
    return visitors_of(state, loaded, [(user, basket)], facts)[0]


def visitors_of(
    state: ApiState,
    loaded: LoadedModel,
    asked: Sequence[tuple[Id | None, Sequence[Id]]],
    facts: Facts = NOTHING_BESIDE,
) -> list[Visitor]:
    """Return what is known of users, each with a basket, their live purchases looked up at once; unknown ids are no error.

    ``facts`` are known of each of them.
    """
    rows = [None if user is None else loaded.user_ids.row_of(user) for user, _ in asked]
    ids = [
        user if row is None else loaded.user_ids.one(row) for (user, _), row in zip(asked, rows, strict=True)
    ]
    live = _bought_live(state, [str(user) for user in ids if user is not None])
    return [
        _visitor(loaded, user, row, basket, live.get(str(user), []) if user is not None else [], facts)
        for user, row, (_, basket) in zip(ids, rows, asked, strict=True)
    ]


def count_unknown(visitors: Sequence[Visitor], metrics: Metrics, model: str) -> None:
    """Count the ids that the model does not know."""
    for visitor in visitors:
        if visitor.unknown:
            strangers = int(visitor.is_stranger)
            metrics.unknown_ids(model, "user", strangers)
            metrics.unknown_ids(model, "product", len(visitor.unknown) - strangers)


def _visitor(
    loaded: LoadedModel, user: Id | None, row: int | None, basket: Sequence[Id], bought: Bought, facts: Facts
) -> Visitor:
    named: dict[str, Any] = {} if user is None else {"user": user}
    unknown: list[Id] = []
    strangers: list[Id] = []
    history, times, held = NOTHING, None, NOTHING
    if row is not None:
        history, times = loaded.bought(row)
    newer = _newer(loaded, history, bought)
    if newer:
        history, times = _longer(history, times, newer)
    elif user is not None and row is None:
        unknown.append(user)
    if user is None or len(basket):
        named["basket"] = list(basket)
        places = [(product, loaded.product_ids.row_of(product)) for product in basket]
        held = np.array(sorted({place for _, place in places if place is not None}), np.int32)
        strangers = list(dict.fromkeys(product for product, place in places if place is None))
    nothing = not len(history) and not len(held)
    asking, strange = _asking(loaded, row, bought if newer else [], held, facts)
    return Visitor(
        row, history, times, held, categories_of(loaded.catalogue, strangers) if nothing else (),
        live=bool(newer), named=named, unknown=(*unknown, *strangers, *strange), asking=asking,
    )  # fmt: skip


def _asking(
    loaded: LoadedModel, row: int | None, bought: Bought, held: Rows, facts: Facts
) -> tuple[Asking | None, tuple[Id, ...]]:
    """Return all that is known, for a model that knows more than what is held, and what of it the model does not know."""
    given = facts.context or facts.attributes or facts.viewed
    if loaded.model.is_plain and not given:
        return None, ()
    places = [(loaded.product_ids.row_of(product), time) for product, time in bought]
    newer = [(place, time) for place, time in places if place is not None]
    viewed = [(product, loaded.product_ids.row_of(product)) for product in facts.viewed]
    asking, strange = asking_of(
        loaded.model,
        row,
        (np.array([place for place, _ in newer], np.int32), np.array([time for _, time in newer], np.int64)),
        held,
        facts,
        np.array([place for _, place in viewed if place is not None], np.int32),
    )
    unknown: tuple[Id, ...] = (*strange, *(product for product, place in viewed if place is None))
    return None if loaded.model.is_plain else asking, unknown


def _bought_live(state: ApiState, users: Sequence[str]) -> dict[str, Bought]:
    """Return the live purchases of users; none where their file cannot be read, since a list without them is better than none."""
    if state.events is None or not users:
        return {}
    try:
        return state.events.purchases_of(users)
    except EventsProblem as error:
        log.error("%s Lists are made without live purchases.", error)
        return {}


def _newer(loaded: LoadedModel, history: Rows, bought: Bought) -> list[int]:
    """Return the rows of live purchases that the model has not learned, one for each product and day.

    A live purchase from before the model's last one that is also in its history was learned, and counts once.
    """
    if not bought:
        return []
    learned, until = set(history.tolist()), loaded.learned_until
    rows = ((loaded.product_ids.row_of(product), time) for product, time in bought)
    days = (
        (row, time // DAY) for row, time in rows if row is not None and not (row in learned and time <= until)
    )
    return [row for row, _ in dict.fromkeys(days)]


def _longer(history: Rows, times: Counts | None, newer: list[int]) -> tuple[Rows, Counts]:
    """Return a history with what was bought since, and how often each product was bought."""
    before = np.ones(len(history), np.int32) if times is None else times
    rows, places = np.unique(np.concatenate([history, np.array(newer, np.int32)]), return_inverse=True)
    counts = np.zeros(len(rows), np.int32)
    np.add.at(counts, places, np.concatenate([before, np.ones(len(newer), np.int32)]))
    return rows.astype(np.int32), counts
