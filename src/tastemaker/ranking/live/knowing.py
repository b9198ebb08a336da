"""What is known of one who asks: their past, what they bought since, what they viewed, their attributes and the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl

from tastemaker.data.past import Past
from tastemaker.data.tokens.bags import Bags, side_by_side
from tastemaker.data.tokens.columns import TokenColumns
from tastemaker.errors import ColumnProblem
from tastemaker.model.beside.asking import Asking
from tastemaker.model.beside.known import bought_by, seen_by
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.asking import last_moment
from tastemaker.types import AnyArray, Booleans, Floats, Rows, Times

__all__ = ["NOTHING_BESIDE", "Facts", "asking_of"]

VIEW = "view"
LONGEST = 100
"""The most letters of a name and value that an answer repeats"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one request beside a user and a basket; values are as the columns of the log hold them."""

    context: Mapping[str, object]
    """By the column's name: an occasion, a channel"""
    attributes: Mapping[str, object]
    """By the column's name: what is known of the user; it overrules what the model knows"""
    viewed: Sequence[str | int] = ()
    """Product ids, the oldest first"""


NOTHING_BESIDE = Facts({}, {})


def asking_of(
    model: TasteModel,
    user: int | None,
    newer: tuple[Rows, Times, AnyArray],
    basket: Rows,
    facts: Facts = NOTHING_BESIDE,
    viewed: Rows | None = None,
    *,
    at: int | None = None,
    taken_back: Mapping[int, int] = MappingProxyType({}),
) -> tuple[Asking, tuple[str, ...]]:
    """Return one query over all that is known of a visitor, and which contexts and attributes the model does not know.

    ``user`` is the row of one whom the model knows, ``newer`` what they did since: products, times and kinds (0 is a purchase),
    ``basket`` what is in the basket now, and ``viewed`` the rows of the products of ``facts.viewed`` that the model knows, the
    oldest first. What is unknown says nothing. Of the products ``taken_back`` so many of the latest purchases that the model knows
    never happened. They ask ``at`` a time, in microseconds; by default just after all that is known of
    them and of the model.
    """
    past, at, unknown = _past(model, user, newer, (basket, viewed), at, taken_back)
    who, moment = np.zeros(1, np.int32), np.array([at])
    held, moments, strengths = bought_by(past, who, moment)
    seen = None if model.kinds is None else seen_by(past, who, moment)
    tokens, strange = _tokens(model, user, facts)
    return Asking(held, moments, moment, seen, tokens, strengths), (*unknown, *strange)


def _past(
    model: TasteModel,
    user: int | None,
    newer: tuple[Rows, Times, AnyArray],
    present: tuple[Rows, Rows | None],
    at: int | None,
    taken_back: Mapping[int, int],
) -> tuple[Past, int, tuple[str, ...]]:
    """Return everything that a visitor did as the past of one user, when they ask, and what cannot be used of it."""
    products, times, kinds = _known(model, user)
    own = _strengths(model, user)
    stay = _standing(products, times, kinds, taken_back)
    products, times = products[stay], times[stay]
    kinds = None if kinds is None else kinds[stay]
    own = None if own is None else own[stay]
    basket, viewed = present
    views = 0 if viewed is None else len(viewed)
    if at is None:
        now = max(int(newer[1].max(initial=0)), last_moment(model)) + 1
        at = now + (views + 1 if views and _knows_views(model) else 1)
    else:
        now = at - 1 - views
    parts: list[tuple[Rows, Times, AnyArray | None]] = [(products, times, kinds), newer]
    unknown: tuple[str, ...] = ()
    names = () if model.kinds is None else model.kinds.names
    if viewed is not None and len(viewed):
        if VIEW in names:
            moments = now + np.arange(len(viewed))
            parts.append((viewed, moments, np.full(len(viewed), 1 + names.index(VIEW), np.int16)))
        else:
            unknown = ("viewed",)
    parts.append((basket, np.full(len(basket), at - 1), None))
    rows = np.concatenate([part[0] for part in parts]).astype(np.int32)
    moments = np.concatenate([part[1] for part in parts])
    which = np.concatenate(
        [np.zeros(len(part[0]), np.int16) if part[2] is None else part[2] for part in parts]
    )
    order = np.argsort(moments, kind="stable")
    strengths = None
    if own is not None:
        strengths = np.pad(own, (0, len(order) - len(own)))[order]
    past = Past(
        np.array([0, len(order)]),
        rows[order],
        moments[order],
        which[order] if names else None,
        ("purchase", *names),
        strengths,
    )
    return past, at, unknown


def _standing(
    products: Rows, times: Times, kinds: AnyArray | None, taken_back: Mapping[int, int]
) -> Booleans:
    """Return which events stay, ``bool[n]``, where so many of the latest purchases of each product are taken back."""
    stay = np.ones(len(products), np.bool_)
    for row, often in taken_back.items():
        bought = np.flatnonzero((products == row) & (True if kinds is None else kinds == 0))
        stay[bought[np.argsort(times[bought], kind="stable")][len(bought) - min(often, len(bought)) :]] = (
            False
        )
    return stay


def _strengths(model: TasteModel, user: int | None) -> Floats | None:
    """Return how much each event of a user tells, in the order of `_known`; ``None`` where all tell as much."""
    past = model.past
    if past is None or past.strengths is None or user is None:
        return None
    part = slice(int(past.offsets[user]), int(past.offsets[user + 1]))
    strengths = np.asarray(past.strengths[part])
    if past.kinds is not None and model.kinds is None:
        strengths = strengths[np.asarray(past.kinds[part]) == 0]
    return strengths


def _knows_views(model: TasteModel) -> bool:
    return model.kinds is not None and VIEW in model.kinds.names


def _known(model: TasteModel, user: int | None) -> tuple[Rows, Times, AnyArray | None]:
    """Return the events of a user that the model knows; those without a time all happened before any other."""
    past = model.past
    if user is None:
        return np.zeros(0, np.int32), np.zeros(0, np.int64), None
    if past is None:
        rows = np.asarray(model.histories.of(user))
        return rows, np.full(len(rows), -1, np.int64), None
    part = slice(int(past.offsets[user]), int(past.offsets[user + 1]))
    kinds = None if past.kinds is None else np.asarray(past.kinds[part])
    rows, times = np.asarray(past.products[part]), np.asarray(past.times[part])
    if kinds is not None and model.kinds is None:
        bought = kinds == 0
        rows, times, kinds = rows[bought], times[bought], None
    return rows, times, kinds


def _tokens(model: TasteModel, user: int | None, facts: Facts) -> tuple[Bags | None, tuple[str, ...]]:
    tokens = model.tokens
    if tokens is None:
        return None, tuple(
            _spelled(name, value)
            for given in (facts.context, facts.attributes)
            for name, value in given.items()
        )
    parts, unknown = [], []
    if user is not None and user < len(tokens.of_users):
        own = tokens.of_users.take(np.array([user]))
        for name in facts.attributes:
            if name in tokens.users.names:
                own = own.without(*tokens.users.span(tokens.users.names.index(name)))
        parts.append(own)
    for columns, given in ((tokens.context, facts.context), (tokens.users, facts.attributes)):
        for name, value in given.items():
            bags = _encoded(columns, name, value)
            if bags is None:
                unknown.append(_spelled(name, value))
            else:
                parts.append(bags)
    return side_by_side(parts, 1), tuple(unknown)


def _spelled(name: str, value: object) -> str:
    """Return ``name=value`` as answers name what is unknown; of a long one its beginning."""
    text = f"{name}={value}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _encoded(columns: TokenColumns, name: str, value: object) -> Bags | None:
    """Return the tokens of one value, or ``None`` where the model knows neither it nor its column."""
    if name not in columns.names or value is None:
        return None
    try:
        bags = columns.encode_one(name, value)
    except (ColumnProblem, pl.exceptions.PolarsError):
        return None
    return bags if len(bags.tokens) else None
