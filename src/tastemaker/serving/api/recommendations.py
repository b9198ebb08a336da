"""The API's lists: recommendations for users, baskets and batches, and similar products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from tastemaker.ranking.rules.rule_book import Removal, RuleBook
from tastemaker.serving.answering.lists import GuestList, lists_for, neighbours_for
from tastemaker.serving.answering.product_search import about
from tastemaker.serving.answering.state import chosen, state_of
from tastemaker.serving.answering.visitors import Guest, guest_of
from tastemaker.serving.api.explanations import reasons_of
from tastemaker.serving.api.parsing import body_of, query_of
from tastemaker.serving.api.responses import answered, row_of
from tastemaker.serving.api.rules import request_rules, rules_of_query
from tastemaker.serving.api.schemas import BasketBody, BatchBody, BodyOfList, ListQuery, SimilarQuery
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import Floats, Rows

__all__ = ["basket", "batch", "similar", "user"]


async def user(request: Request) -> Response:
    """Answer ``GET /api/v1/recommendations/users/{user}``."""
    asked = query_of(request, ListQuery)
    loaded = chosen(request, asked)
    book = state_of(request).rules.book(loaded, rules_of_query(asked, loaded.catalogue))
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
    book = state_of(request).rules.book(loaded)
    ((rows, scores),), by_index = await neighbours_for(
        [row],
        loaded,
        book,
        request.app.state.engine,
        request.app.state.metrics,
        k=asked.k,
        include_self=asked.include_self,
        approximate=True,
    )
    products = _products(loaded, rows, scores)
    content = {
        "model": loaded.name, "version": loaded.version,
        "product": loaded.product_ids.one(row), "similar": products,
    }  # fmt: skip
    if by_index:
        content["exact"] = False
    if not book.is_empty:
        content["rules"] = _said(loaded, book, book.removals)
    if asked.details:
        content["about"] = about(loaded.catalogue, row)
        _describe(loaded, products, rows)
    return answered(request, content, loaded)


async def _lists(
    request: Request, loaded: LoadedModel, guests: list[Guest], book: RuleBook, asked: ListQuery | BodyOfList
) -> list[dict[str, Any]]:
    """Return the lists of some guests as the answer shows them."""
    state = request.app.state
    guests = [guest.minding(book, loaded) for guest in guests]
    _note_unknown(state.metrics, loaded, guests, refuse=asked.on_unknown == "error")
    include = bool(book.include_purchased)
    explain = partial(reasons_of, loaded, state.api, include) if asked.why else None
    lists = await lists_for(
        guests,
        loaded,
        book,
        state.engine,
        state.metrics,
        k=asked.k,
        include_purchased=include,
        explain=explain,
        approximate=True,
    )
    return [
        _listed(loaded, guest, found, book, details=asked.details)
        for guest, found in zip(guests, lists, strict=True)
    ]


def _note_unknown(metrics: Metrics, loaded: LoadedModel, guests: list[Guest], *, refuse: bool) -> None:
    """Count unknown ids; refuse (404) where the request wants no best sellers in place of what it asked for."""
    for guest in guests:
        guest.count_unknown(metrics, loaded.name)
        if refuse and guest.unknown and guest.source not in ("personal", "basket"):
            raise Refusal(
                404, "the model knows neither the user nor a product of the basket.",
                unknown=[str(one) for one in guest.unknown[:100]],
            )  # fmt: skip


def _listed(
    loaded: LoadedModel, guest: Guest, found: GuestList, book: RuleBook, *, details: bool
) -> dict[str, Any]:
    ruled = found.answer.ruled
    products = _products(loaded, ruled.rows, ruled.scores)
    for product in products[: ruled.pinned]:
        product["pinned"] = True
    for product, why in zip(products, found.reasons or [], strict=False):
        product["reasons"] = why
    if details:
        _describe(loaded, products, ruled.rows)
    listed = {
        **guest.asked,
        "source": found.answer.source,
        "filled": found.answer.filled,
        "recommendations": products,
        "rules": _said(loaded, book, (*book.removals, *ruled.removals)),
        "unknown": list(guest.unknown),
    }
    return {**listed, "exact": False} if found.by_index else listed


def _said(loaded: LoadedModel, book: RuleBook, removals: Sequence[Removal]) -> dict[str, Any]:
    return {
        "candidates": len(loaded.model.products),
        "allowed": book.remaining,
        "removed": [{"rule": one.rule, "removed": one.removed} for one in removals],
        "unknown": list(book.unknown),
    }


def _products(loaded: LoadedModel, rows: Rows, scores: Floats) -> list[dict[str, Any]]:
    ids = loaded.product_ids.at(rows)
    ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
    return [
        {"product": one, "rank": rank, "score": score}
        for rank, (one, score) in enumerate(zip(ids, scores, strict=True), start=1)
    ]


def _describe(loaded: LoadedModel, products: list[dict[str, Any]], rows: Any) -> None:
    for product, row in zip(products, rows.tolist(), strict=True):
        product["about"] = about(loaded.catalogue, row)
