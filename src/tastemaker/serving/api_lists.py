"""The API's lists: recommendations for users, baskets and batches, and similar products."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from tastemaker.errors import SettingProblem
from tastemaker.ranking.fallbacks import NOTHING, Answer, Visitor, answer, categories_of, source_of
from tastemaker.ranking.rule_book import Removal, RuleBook
from tastemaker.ranking.ruled import Ruled, best_allowed
from tastemaker.ranking.rules import NO_RULES, Rules
from tastemaker.ranking.top_k import Exclusions
from tastemaker.ranking.why import Buyers, Parts, parts_of, spoken_for
from tastemaker.serving.api_answers import answered, id_of, row_of
from tastemaker.serving.api_bodies import (
    BasketBody,
    BatchBody,
    BodyOfList,
    ListQuery,
    RulesBody,
    SimilarQuery,
)
from tastemaker.serving.api_reading import body_of, query_of
from tastemaker.serving.api_state import ApiState, chosen, state_of
from tastemaker.serving.engine import Engine
from tastemaker.serving.events import EventsProblem
from tastemaker.serving.loaded import Loaded
from tastemaker.serving.problems import Refusal
from tastemaker.serving.products import about
from tastemaker.types import Rows

__all__ = ["Guest", "basket", "batch", "guest_of", "request_rules", "similar", "user"]

log = logging.getLogger("tastemaker.api")

REASONS = 3
"""So many purchases are named as reasons for a product; the rest is summed up."""


@dataclass(frozen=True, slots=True, eq=False)
class Guest:
    """Whom one list is for: what the request named, and what the model knows of it."""

    visitor: Visitor
    asked: dict[str, Any]
    """``user`` and ``basket`` as the answer repeats them"""
    unknown: tuple[object, ...]
    plain: bool
    """Whether the model itself knows all: no live purchases, and not both a user and a basket"""


async def user(request: Request) -> Response:
    """Answer ``GET /api/v1/recommendations/users/{user}``."""
    asked = query_of(request, ListQuery)
    loaded = chosen(request, asked)
    book = state_of(request).rules.book(loaded, _rules_of_query(asked))
    guest = guest_of(state_of(request), loaded, request.path_params["user"], ())
    (listed,) = await _lists(request, loaded, [guest], book, asked)
    return answered(request, {"model": loaded.name, "version": loaded.version, **listed}, loaded)


async def basket(request: Request) -> Response:
    """Answer ``POST /api/v1/recommendations/basket``."""
    asked = body_of(request, await request.body(), BasketBody)
    loaded = chosen(request, asked)
    book = state_of(request).rules.book(loaded, request_rules(asked))
    one = None if asked.user is UNSET else asked.user
    guest = guest_of(state_of(request), loaded, one, asked.basket)
    (listed,) = await _lists(request, loaded, [guest], book, asked)
    return answered(request, {"model": loaded.name, "version": loaded.version, **listed}, loaded)


async def batch(request: Request) -> Response:
    """Answer ``POST /api/v1/batch``."""
    asked = body_of(request, await request.body(), BatchBody)
    most = request.app.state.settings.most_queries
    if len(asked.users) + len(asked.baskets) > most:
        raise Refusal(422, f"the batch has more than {most:,} users and baskets.", limit=most)
    loaded = chosen(request, asked)
    state = state_of(request)
    book = state.rules.book(loaded, request_rules(asked))
    guests = [guest_of(state, loaded, one, ()) for one in asked.users]
    guests += [guest_of(state, loaded, None, one) for one in asked.baskets]
    lists = await _lists(request, loaded, guests, book, asked)
    return answered(request, {"model": loaded.name, "version": loaded.version, "answers": lists}, loaded)


async def similar(request: Request) -> Response:
    """Answer ``GET /api/v1/products/{product}/similar``."""
    asked = query_of(request, SimilarQuery)
    loaded = chosen(request, asked)
    row = row_of(loaded.product_ids, request.path_params["product"])
    if row is None:
        request.app.state.metrics.unknown_ids(loaded.name, "product")
        raise Refusal(404, "the model does not know this product.", missing="product")
    engine: Engine = request.app.state.engine
    book = state_of(request).rules.book(loaded)
    if book.allowed is None:
        # neighbours that are worked out are exact, and as quick
        by_index = loaded.index is not None and loaded.neighbours is None
        ((rows, scores),) = await engine.nearest(
            loaded, [row], asked.k, include_self=asked.include_self, approximate=by_index
        )
    else:
        by_index = False
        rows, scores = await engine.run(_similar_allowed, loaded, row, book, asked.k, asked.include_self)
    products = _products(loaded, rows, scores)
    content = {
        "model": loaded.name, "version": loaded.version,
        "product": id_of(loaded.product_ids, row), "similar": products,
    }  # fmt: skip
    if by_index:
        content["exact"] = False
    if not book.is_empty:
        content["rules"] = _said(loaded, book, book.removals)
    if asked.details:
        content["about"] = about(loaded.catalogue, row)
        _describe(loaded, products, rows)
    return answered(request, content, loaded)


def guest_of(state: ApiState, loaded: Loaded, user: object, basket: Sequence[object]) -> Guest:
    """Return what the model and the live purchases know of a user and of a basket; unknown ids are no error."""
    asked: dict[str, Any] = {}
    unknown: list[object] = []
    row, history, times, live = None, NOTHING, None, False
    if user is not None:
        row = row_of(loaded.user_ids, user)
        asked["user"] = user if row is None else id_of(loaded.user_ids, row)
        if row is not None:
            low, high = loaded.model.histories.offsets[row : row + 2]
            history = np.asarray(loaded.model.histories.products[low:high])
            if loaded.model.history_times is not None:
                times = np.asarray(loaded.model.history_times[low:high])
        newer = _newer(loaded, history, _bought_live(state, str(asked["user"])))
        if newer:
            live = True
            history, times = _longer(history, times, newer)
        elif row is None:
            unknown.append(user)
    places = [(one, row_of(loaded.product_ids, one)) for one in basket]
    held = np.array(sorted({place for _, place in places if place is not None}), np.int32)
    strangers = [one for one, place in places if place is None]
    if user is None or len(basket):
        asked["basket"] = list(basket)
    categories = () if len(history) or len(held) else categories_of(loaded.catalogue, strangers)
    visitor = Visitor(row, history, times, held, categories)
    plain = not live and not (len(held) and user is not None)
    return Guest(visitor, asked, (*unknown, *dict.fromkeys(strangers)), plain)


def _newer(loaded: Loaded, history: Rows, bought: list[tuple[str, int]]) -> list[int]:
    """Return the rows of live purchases that the model has not learned: one of before its training that is in it counts once."""
    if not bought:
        return []
    learned, trained = set(history.tolist()), loaded.created.timestamp() * 1e6
    rows = ((row_of(loaded.product_ids, product), moment) for product, moment in bought)
    return [row for row, moment in rows if row is not None and not (row in learned and moment < trained)]


def _bought_live(state: ApiState, user: str) -> list[tuple[str, int]]:
    """Return the live purchases of a user; none where their file cannot be read, since a list without them is better than none."""
    if state.events is None:
        return []
    try:
        return state.events.purchases_of(user)
    except EventsProblem as error:
        log.error("%s Lists are made without live purchases.", error)
        return []


def request_rules(asked: BodyOfList) -> Rules:
    """Return the rules of a body; refuse (422) those that cannot be."""
    body = RulesBody() if asked.rules is UNSET else asked.rules
    if asked.include_purchased is not UNSET:
        body = msgspec.structs.replace(body, include_purchased=asked.include_purchased)
    return rules_of_body(body)


def rules_of_body(body: RulesBody) -> Rules:
    """Return the rules that a checked body says; refuse (422) those that cannot be."""
    try:
        return Rules.from_json(msgspec.to_builtins(body), label="the rules of the request")
    except SettingProblem as error:
        raise Refusal(422, str(error)) from None


def _rules_of_query(asked: ListQuery) -> Rules:
    if asked.is_plain:
        return NO_RULES
    where: dict[str, list[str]] = {}
    for one in asked.where:
        column, _, value = one.partition(":")
        where.setdefault(column, []).append(value)
    content: dict[str, Any] = {"deny": asked.deny, "pin": asked.pin, "where": where}
    content["at_most"] = {
        column: int(most) for column, _, most in (one.rpartition(":") for one in asked.at_most)
    }
    for name in ("allow", "minimum_price", "include_purchased"):
        value = getattr(asked, name)
        if value is not UNSET:
            content[name] = value
    try:
        return Rules.from_json(content, label="the request")
    except SettingProblem as error:
        raise Refusal(422, str(error)) from None


def _longer(history: Rows, times: Rows | None, newer: list[int]) -> tuple[Rows, Rows]:
    """Return a history with what was bought since, and how often each product was bought."""
    before = np.ones(len(history), np.int32) if times is None else times
    rows, places = np.unique(np.concatenate([history, np.array(newer, np.int32)]), return_inverse=True)
    counts = np.zeros(len(rows), np.int32)
    np.add.at(counts, places, np.concatenate([before, np.ones(len(newer), np.int32)]))
    return rows.astype(np.int32), counts


async def _lists(
    request: Request, loaded: Loaded, guests: list[Guest], book: RuleBook, asked: ListQuery | BodyOfList
) -> list[dict[str, Any]]:
    """Return the lists of some guests: those that the model knows ranked together, the others one by one."""
    engine: Engine = request.app.state.engine
    include = bool(book.include_purchased)
    guests = [_in_category(guest, loaded, book) for guest in guests]
    _note_unknown(request, loaded, guests, asked)
    quick = {
        n for n, guest in enumerate(guests)
        if book.is_empty and not asked.why and guest.plain and source_of(guest.visitor) in ("personal", "basket")
    }  # fmt: skip
    answers: dict[int, Answer] = {}
    by_index = loaded.index is not None
    users = [n for n in quick if len(guests[n].visitor.history)]
    baskets = [n for n in quick if not len(guests[n].visitor.history)]
    if users:
        rows = [guests[n].visitor.user for n in users]
        found = await engine.rank_users(
            loaded,
            [one for one in rows if one is not None],
            asked.k,
            include_purchased=include,
            approximate=by_index,
        )
        answers |= {n: _quick_answer(guests[n], one, include) for n, one in zip(users, found, strict=True)}
    if baskets:
        found = await engine.rank_baskets(
            loaded,
            [guests[n].visitor.basket for n in baskets],
            asked.k,
            include_purchased=include,
            approximate=by_index,
        )
        answers |= {n: _quick_answer(guests[n], one, include) for n, one in zip(baskets, found, strict=True)}
    rest = [n for n in range(len(guests)) if n not in quick]
    reasons: dict[int, list[dict[str, Any]]] = {}
    if rest:
        buyers = state_of(request) if asked.why else None
        for n, (one, why) in zip(
            rest,
            await engine.run(
                _rank_each, loaded, [guests[n].visitor for n in rest], book, asked.k, include, buyers
            ),
            strict=True,
        ):
            answers[n], reasons[n] = one, why
    metrics = request.app.state.metrics
    lists = []
    for n, guest in enumerate(guests):
        metrics.fallback(loaded.name, answers[n].source)
        metrics.empty_answers(loaded.name, int(not len(answers[n].ruled.rows)))
        listed = _listed(loaded, guest, answers[n], book, reasons.get(n), details=asked.details)
        lists.append({**listed, "exact": False} if by_index and n in quick else listed)
    return lists


def _in_category(guest: Guest, loaded: Loaded, book: RuleBook) -> Guest:
    """Return a guest of whom nothing is known as one who cares about the categories that the rules demand."""
    visitor = guest.visitor
    if source_of(visitor) != "best sellers":
        return guest
    column = loaded.catalogue.named("category")
    wanted = next((one.among for one in book.where if one.column == column and one.among), ())
    return replace(guest, visitor=replace(visitor, categories=tuple(map(str, wanted)))) if wanted else guest


def _note_unknown(
    request: Request, loaded: Loaded, guests: list[Guest], asked: ListQuery | BodyOfList
) -> None:
    """Count unknown ids; refuse (404) where the request wants no best sellers in place of what it asked for."""
    for guest in guests:
        strangers = "user" in guest.asked and guest.visitor.user is None and not len(guest.visitor.history)
        request.app.state.metrics.unknown_ids(loaded.name, "user", int(strangers))
        request.app.state.metrics.unknown_ids(loaded.name, "product", len(guest.unknown) - int(strangers))
        nothing = source_of(guest.visitor) not in ("personal", "basket")
        if asked.on_unknown == "error" and guest.unknown and nothing:
            raise Refusal(
                404, "the model knows neither the user nor a product of the basket.",
                unknown=[str(one) for one in guest.unknown[:100]],
            )  # fmt: skip


def _quick_answer(guest: Guest, ranked: tuple[Any, Any], include: bool) -> Answer:
    rows, scores = ranked
    held = guest.visitor.held
    purchased = () if include else (Removal("purchased", len(held)),)
    return Answer(source_of(guest.visitor), Ruled(rows, scores, 0, purchased), held)


def _rank_each(
    loaded: Loaded, visitors: list[Visitor], book: RuleBook, k: int, include: bool, state: ApiState | None
) -> list[tuple[Answer, list[dict[str, Any]]]]:
    """Rank in a thread of the engine; with ``state``, give reasons too."""
    found = []
    for visitor in visitors:
        one = answer(
            loaded.model, loaded.candidates, loaded.catalogue, visitor, book,
            k=k, include_purchased=include, threads=1,
        )  # fmt: skip
        found.append(
            (one, [] if state is None else _reasons(loaded, visitor, one, include, state.buyers(loaded)))
        )
    return found


def _reasons(
    loaded: Loaded, visitor: Visitor, found: Answer, include: bool, buyers: Buyers
) -> list[dict[str, Any]]:
    parts = parts_of(
        loaded.model, found.speakers, found.ruled.rows,
        user=visitor.user, times=visitor.held_times, include_purchased=include,
    )  # fmt: skip
    return [_reason(loaded, parts, place, buyers) for place in range(len(found.ruled.rows))]


def _reason(loaded: Loaded, parts: Parts, place: int, buyers: Buyers) -> dict[str, Any]:
    spoken = spoken_for(parts, place, most=REASONS, buyers=buyers)
    return {
        "popularity": float(parts.popularity[place]),
        "taste": float(parts.own_taste[place]),
        "repeat": float(parts.repeat[place]),
        "purchases": [
            {
                "product": id_of(loaded.product_ids, one.row),
                "taste": one.taste,
                "memory": one.memory,
                "together": one.together,
            }
            for one in spoken
        ],
        "others_taste": float(parts.taste[:, place].sum()) - sum(one.taste for one in spoken),
        "others_memory": float(parts.memory[:, place].sum()) - sum(one.memory for one in spoken),
    }


def _listed(
    loaded: Loaded,
    guest: Guest,
    found: Answer,
    book: RuleBook,
    reasons: list[dict[str, Any]] | None,
    *,
    details: bool,
) -> dict[str, Any]:
    ruled = found.ruled
    products = _products(loaded, ruled.rows, ruled.scores)
    for product in products[: ruled.pinned]:
        product["pinned"] = True
    for product, why in zip(products, reasons or [], strict=False):
        product["reasons"] = why
    if details:
        _describe(loaded, products, ruled.rows)
    return {
        **guest.asked,
        "source": found.source,
        "filled": found.filled,
        "recommendations": products,
        "rules": _said(loaded, book, (*book.removals, *ruled.removals)),
        "unknown": list(guest.unknown),
    }


def _said(loaded: Loaded, book: RuleBook, removals: Sequence[Removal]) -> dict[str, Any]:
    return {
        "candidates": len(loaded.model.products),
        "allowed": book.remaining,
        "removed": [{"rule": one.rule, "removed": one.removed} for one in removals],
        "unknown": list(book.unknown),
    }


def _products(loaded: Loaded, rows: Any, scores: Any) -> list[dict[str, Any]]:
    ids = loaded.product_ids.at(rows)
    ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
    return [
        {"product": one, "rank": rank, "score": score}
        for rank, (one, score) in enumerate(zip(ids, list(scores), strict=True), start=1)
    ]


def _describe(loaded: Loaded, products: list[dict[str, Any]], rows: Any) -> None:
    for product, row in zip(products, rows.tolist(), strict=True):
        product["about"] = about(loaded.catalogue, row)


def _similar_allowed(loaded: Loaded, row: int, book: RuleBook, k: int, include_self: bool) -> tuple[Any, Any]:
    vectors, candidates = loaded.by_dot
    exclude = None if include_self else Exclusions(np.array([0, 1]), np.array([row], np.int32))
    query = np.ascontiguousarray(vectors[row : row + 1])
    return best_allowed(query, candidates, k, book.allowed, exclude=exclude, vectors=vectors, threads=1)[0]
