"""`Guest`: whom a list is for, as the model, the live purchases and the catalogue know them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tastemaker.ranking.fallbacks import NOTHING, Source, Visitor, categories_of, source_of
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.serving.answering.event_store import EventsProblem
from tastemaker.serving.answering.state import ApiState
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import Rows

__all__ = ["Guest", "guest_of"]

log = logging.getLogger("tastemaker.guests")


@dataclass(frozen=True, slots=True, eq=False)
class Guest:
    """Whom one list is for: what the request named, and what the model knows of it."""

    visitor: Visitor
    source: Source
    """What the list is made from"""
    asked: dict[str, Any]
    """``user`` and ``basket`` as the answer repeats them"""
    unknown: tuple[str | int, ...]
    plain: bool
    """Whether the model itself knows all: no live purchases, and not both a user and a basket"""

    @property
    def is_stranger(self) -> bool:
        """Return whether a user was named of whom nothing is known."""
        return "user" in self.asked and self.visitor.user is None and not len(self.visitor.history)

    def count_unknown(self, metrics: Metrics, model: str) -> None:
        """Count the ids that the model does not know."""
        if self.unknown:
            strangers = int(self.is_stranger)
            metrics.unknown_ids(model, "user", strangers)
            metrics.unknown_ids(model, "product", len(self.unknown) - strangers)

    def minding(self, book: RuleBook, loaded: LoadedModel) -> Guest:
        """Return a guest of whom nothing is known as one who cares about the categories that the rules demand."""
        if self.source != "best sellers" or not book.where:
            return self
        column = loaded.catalogue.named("category")
        wanted = next((one.among for one in book.where if one.column == column and one.among), ())
        if not wanted:
            return self
        visitor = replace(self.visitor, categories=tuple(map(str, wanted)))
        return replace(self, visitor=visitor, source=source_of(visitor))


def guest_of(
    state: ApiState, loaded: LoadedModel, user: str | int | None, basket: Sequence[str | int]
) -> Guest:
    """Return what the model and the live purchases know of a user and of a basket; unknown ids are no error."""
    asked: dict[str, Any] = {}
    unknown: list[str | int] = []
    strangers: list[str | int] = []
    row, history, times, live, held = None, NOTHING, None, False, NOTHING
    if user is not None:
        row = loaded.user_ids.row_of(user)
        asked["user"] = user if row is None else loaded.user_ids.one(row)
        if row is not None:
            history, times = loaded.bought(row)
        newer = _newer(loaded, history, _bought_live(state, str(asked["user"])))
        if newer:
            live = True
            history, times = _longer(history, times, newer)
        elif row is None:
            unknown.append(user)
    if user is None or len(basket):
        asked["basket"] = list(basket)
        places = [(one, loaded.product_ids.row_of(one)) for one in basket]
        held = np.array(sorted({place for _, place in places if place is not None}), np.int32)
        strangers = list(dict.fromkeys(one for one, place in places if place is None))
    categories: tuple[str, ...] = ()
    if not len(history) and not len(held):
        categories = categories_of(loaded.catalogue, strangers)
    visitor = Visitor(row, history, times, held, categories)
    plain = not live and not (len(held) and user is not None)
    return Guest(visitor, source_of(visitor), asked, (*unknown, *strangers), plain)


def _bought_live(state: ApiState, user: str) -> list[tuple[str, int]]:
    """Return the live purchases of a user; none where their file cannot be read, since a list without them is better than none."""
    if state.events is None:
        return []
    try:
        return state.events.purchases_of(user)
    except EventsProblem as error:
        log.error("%s Lists are made without live purchases.", error)
        return []


def _newer(loaded: LoadedModel, history: Rows, bought: list[tuple[str, int]]) -> list[int]:
    """Return the rows of live purchases that the model has not learned: one of before its training that is in it counts once."""
    if not bought:
        return []
    learned, trained = set(history.tolist()), loaded.created.timestamp() * 1e6
    rows = ((loaded.product_ids.row_of(product), moment) for product, moment in bought)
    return [row for row, moment in rows if row is not None and not (row in learned and moment < trained)]


def _longer(history: Rows, times: Rows | None, newer: list[int]) -> tuple[Rows, Rows]:
    """Return a history with what was bought since, and how often each product was bought."""
    before = np.ones(len(history), np.int32) if times is None else times
    rows, places = np.unique(np.concatenate([history, np.array(newer, np.int32)]), return_inverse=True)
    counts = np.zeros(len(rows), np.int32)
    np.add.at(counts, places, np.concatenate([before, np.ones(len(newer), np.int32)]))
    return rows.astype(np.int32), counts
