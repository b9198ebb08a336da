"""From what a request names to `Visitor`s, as the model, the live purchases and the catalogue know them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tastemaker.data.past import PURCHASE
from tastemaker.errors import EventsProblem
from tastemaker.model.beside.asking import Asking
from tastemaker.ranking.live.knowing import NOTHING_BESIDE, Facts, asking_of
from tastemaker.ranking.visitors import NOTHING, Visitor, categories_of
from tastemaker.serving.answering.event_store import Event
from tastemaker.serving.answering.live_shop import kind_rows, standing_events
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


class _Asked(NamedTuple):
    """What holds for every visitor of a request."""

    loaded: LoadedModel
    facts: Facts
    at: int | None
    """When they ask, in microseconds"""
    clock: int | None
    """The time of the shop's latest event, where time moves anything"""

    @property
    def asks_more(self) -> bool:
        """Return whether more than products bought and held says something."""
        facts = self.facts
        return not self.loaded.model.is_plain or bool(facts.context or facts.attributes or facts.viewed)

    def when(self, live: Sequence[Event]) -> int | None:
        """Return when one asks who did this since training: by default after it, and after all that the shop knows."""
        if self.at is not None or self.clock is None:
            return self.at
        return max([self.clock, *(event.time for event in live)]) + 1


async def visitor_of(
    state: ApiState,
    loaded: LoadedModel,
    user: Id | None,
    basket: Sequence[Id],
    facts: Facts = NOTHING_BESIDE,
    *,
    at: int | None = None,
) -> Visitor:
    """Return what is known of a user (``None`` for none), of a basket and beside them; unknown ids are no error."""
    if state.events is None:
        return _visitor(_Asked(loaded, facts, at, None), *_known(state, loaded, user), basket, ())
    return (await visitors_of(state, loaded, [(user, basket)], facts, at=at))[0]


async def visitors_of(
    state: ApiState,
    loaded: LoadedModel,
    asked: Sequence[tuple[Id | None, Sequence[Id]]],
    facts: Facts = NOTHING_BESIDE,
    *,
    at: int | None = None,
) -> list[Visitor]:
    """Return what is known of users, each with a basket, their live events looked up at once; unknown ids are no error.

    ``facts`` are known of each of them. They ask ``at`` a time, in microseconds; by default after all that is known.
    Where live events are kept, a thread looks them up: the event loop waits for no disk.
    """
    if state.events is None:
        return _visitors(state, loaded, asked, facts, at)
    return await asyncio.to_thread(_visitors, state, loaded, asked, facts, at)


def _visitors(
    state: ApiState,
    loaded: LoadedModel,
    asked: Sequence[tuple[Id | None, Sequence[Id]]],
    facts: Facts,
    at: int | None,
) -> list[Visitor]:
    known = [_known(state, loaded, user) for user, _ in asked]
    live = _live(state, [str(user) for user, _ in known if user is not None])
    shop = None if loaded.model.live is None else state.shop(loaded)
    how = _Asked(loaded, facts, at, None if shop is None else shop.clock)
    return [
        _visitor(how, user, row, basket, live.get(str(user), ()) if live and user is not None else ())
        for (user, row), (_, basket) in zip(known, asked, strict=True)
    ]


def _known(state: ApiState, loaded: LoadedModel, user: Id | None) -> tuple[Id | None, int | None]:
    """Return the id and the row of a user whom the model knows, and may know; of any other the id as it was given."""
    row = None if user is None else loaded.user_ids.row_of(user)
    if row is None:
        return user, None
    found = loaded.user_ids.one(row)
    return (user, None) if state.hidden.hides(loaded, found) else (found, row)


def count_unknown(visitors: Sequence[Visitor], metrics: Metrics, model: str) -> None:
    """Count the ids that the model does not know."""
    for visitor in visitors:
        if visitor.unknown:
            strangers = int(visitor.is_stranger)
            metrics.unknown_ids(model, "user", strangers)
            metrics.unknown_ids(model, "product", len(visitor.unknown) - strangers)


def _visitor(
    how: _Asked, user: Id | None, row: int | None, basket: Sequence[Id], live: Sequence[Event]
) -> Visitor:
    loaded = how.loaded
    named: dict[str, Any] = {} if user is None else {"user": user}
    unknown: list[Id] = []
    strangers: list[Id] = []
    history, times, held = NOTHING, None, NOTHING
    if row is not None:
        history, times = loaded.bought(row)
    newer: list[int] = []
    taken: Mapping[int, int] = {}
    others = False
    if live:
        live, taken = standing_events(loaded, row, live)
        history, times = _without(history, times, taken)
        bought = [(event.product, event.time) for event in live if event.kind == PURCHASE]
        newer, others = _newer(loaded, history, bought), _others(loaded, live)
        if newer:
            history, times = _longer(history, times, newer)
    if user is not None and row is None and not newer and not others:
        unknown.append(user)
    if user is None or len(basket):
        named["basket"] = list(basket)
        places = [(product, loaded.product_ids.row_of(product)) for product in basket]
        held = np.array(sorted({place for _, place in places if place is not None}), np.int32)
        strangers = list(dict.fromkeys(product for product, place in places if place is None))
    nothing = not len(history) and not len(held)
    asking: Asking | None = None
    strange: tuple[Id, ...] = ()
    if how.asks_more:
        asking, strange = _asking(how, row, live if newer or others else [], held, taken)
    return Visitor(
        row, history, times, held, categories_of(loaded.catalogue, strangers) if nothing else (),
        live=bool(newer or taken) or others, named=named, unknown=(*unknown, *strangers, *strange), asking=asking,
    )  # fmt: skip


def _others(loaded: LoadedModel, live: Sequence[Event]) -> bool:
    """Return whether there are events of other kinds, of which the model has learned what they say."""
    kinds = loaded.model.kinds
    return kinds is not None and any(
        event.kind in kinds.names and loaded.product_ids.row_of(event.product) is not None for event in live
    )


def _asking(
    how: _Asked, row: int | None, live: Sequence[Event], held: Rows, taken: Mapping[int, int]
) -> tuple[Asking | None, tuple[Id, ...]]:
    """Return all that is known, for a model that knows more than what is held, and what of it the model does not know."""
    loaded, facts = how.loaded, how.facts
    viewed = [(product, loaded.product_ids.row_of(product)) for product in facts.viewed]
    asking, strange = asking_of(
        loaded.model,
        row,
        kind_rows(loaded, live),
        held,
        facts,
        np.array([place for _, place in viewed if place is not None], np.int32),
        at=how.when(live),
        taken_back=taken,
    )
    unknown: tuple[Id, ...] = (*strange, *(product for product, place in viewed if place is None))
    return None if loaded.model.is_plain else asking, unknown


def _live(state: ApiState, users: Sequence[str]) -> dict[str, list[Event]]:
    """Return the live events of users; none where their file cannot be read, since a list without them is better than none."""
    if state.events is None or not users:
        return {}
    try:
        return state.events.events_of(users)
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


def _without(history: Rows, times: Counts | None, taken: Mapping[int, int]) -> tuple[Rows, Counts | None]:
    """Return a history without the purchases that were taken back, and how often each product was bought then."""
    if not taken:
        return history, times
    counts = np.ones(len(history), np.int32) if times is None else times.copy()
    for row, often in taken.items():
        counts[np.searchsorted(history, row)] -= often
    kept = counts > 0
    return history[kept], counts[kept]


def _longer(history: Rows, times: Counts | None, newer: list[int]) -> tuple[Rows, Counts]:
    """Return a history with what was bought since, and how often each product was bought."""
    before = np.ones(len(history), np.int32) if times is None else times
    rows, places = np.unique(np.concatenate([history, np.array(newer, np.int32)]), return_inverse=True)
    counts = np.zeros(len(rows), np.int32)
    np.add.at(counts, places, np.concatenate([before, np.ones(len(newer), np.int32)]))
    return rows.astype(np.int32), counts
