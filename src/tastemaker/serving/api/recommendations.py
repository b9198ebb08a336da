"""The API's lists: recommendations for users, baskets and batches, and similar products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from msgspec import UNSET

from tastemaker.ranking.rules.rule_book import Removal, RuleBook
from tastemaker.serving.answering.lists import GuestList, lists_for, neighbours_for
from tastemaker.serving.answering.product_search import about
from tastemaker.serving.answering.visitors import Guest, guest_of
from tastemaker.serving.api import schemas as bodies
from tastemaker.serving.api.explanations import reasons_of
from tastemaker.serving.api.model_choice import chosen
from tastemaker.serving.api.rules import request_rules, rules_of_query
from tastemaker.serving.api.schemas import BodyOfList, ListQuery
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.answers import spelled
from tastemaker.serving.operations.service import RequestInfo, Service
from tastemaker.types import Floats, Rows

__all__ = ["basket", "batch", "similar", "user"]


async def user(request: RequestInfo, query: ListQuery, user: str) -> bodies.Answered:
    """Answer ``GET /api/v1/recommendations/users/{user}``."""
    loaded = chosen(request, query)
    state = request.service.state
    book = state.rules.book(loaded, rules_of_query(query, loaded.catalogue))
    guest = guest_of(state, loaded, user, ())
    (found,) = await _lists(request.service, loaded, [guest], book, query)
    return _answered(loaded, guest, found, book, query)


async def basket(request: RequestInfo, body: bodies.BasketBody) -> bodies.Answered:
    """Answer ``POST /api/v1/recommendations/basket``."""
    loaded = chosen(request, body)
    state = request.service.state
    book = state.rules.book(loaded, request_rules(body))
    guest = guest_of(state, loaded, None if body.user is UNSET else body.user, body.basket)
    (found,) = await _lists(request.service, loaded, [guest], book, body)
    return _answered(loaded, guest, found, book, body)


async def batch(request: RequestInfo, body: bodies.BatchBody) -> bodies.BatchAnswer:
    """Answer ``POST /api/v1/batch``."""
    most = request.service.settings.most_queries
    if len(body.users) + len(body.baskets) > most:
        raise Refusal(422, f"the batch has more than {most:,} users and baskets.", limit=most)
    loaded = chosen(request, body)
    state = request.service.state
    book = state.rules.book(loaded, request_rules(body))
    guests = [guest_of(state, loaded, user, ()) for user in body.users]
    guests += [guest_of(state, loaded, None, basket) for basket in body.baskets]
    lists = await _lists(request.service, loaded, guests, book, body)
    answers = [_listed(loaded, guest, found, book, body) for guest, found in zip(guests, lists, strict=True)]
    return bodies.BatchAnswer(loaded.name, loaded.version, answers)


async def similar(request: RequestInfo, query: bodies.SimilarQuery, product: str) -> bodies.SimilarAnswer:
    """Answer ``GET /api/v1/products/{product}/similar``."""
    loaded = chosen(request, query)
    service = request.service
    row = loaded.product_ids.row_of(product)
    if row is None:
        service.metrics.unknown_ids(loaded.name, "product")
        raise Refusal(404, "the model does not know this product.", missing="product")
    book = service.state.rules.book(loaded)
    ((rows, scores),), by_index = await neighbours_for(
        [row],
        loaded,
        book,
        service.engine,
        service.metrics,
        k=query.k,
        include_self=query.include_self,
        approximate=True,
    )
    products = _products(loaded, rows, scores)
    if query.details:
        _describe(loaded, products, rows)
    return bodies.SimilarAnswer(
        model=loaded.name,
        version=loaded.version,
        product=loaded.product_ids.one(row),
        similar=products,
        exact=False if by_index else UNSET,
        rules=UNSET if book.is_empty else _said(loaded, book, book.removals),
        about=about(loaded.catalogue, row) if query.details else UNSET,
    )


async def _lists(
    service: Service, loaded: LoadedModel, guests: list[Guest], book: RuleBook, asked: ListQuery | BodyOfList
) -> list[GuestList]:
    """Rank for some guests."""
    guests = [guest.minding(book, loaded) for guest in guests]
    _note_unknown(service.metrics, loaded, guests, refuse=asked.on_unknown == "error")
    include = bool(book.include_purchased)
    return await lists_for(
        guests,
        loaded,
        book,
        service.engine,
        service.metrics,
        k=asked.k,
        include_purchased=include,
        explain=partial(reasons_of, loaded, service.state, include) if asked.why else None,
        approximate=True,
    )


def _note_unknown(metrics: Metrics, loaded: LoadedModel, guests: list[Guest], *, refuse: bool) -> None:
    """Count unknown ids; refuse (404) where the request wants no best sellers in place of what it asked for."""
    for guest in guests:
        guest.count_unknown(metrics, loaded.name)
        if refuse and guest.unknown and guest.source not in ("personal", "basket"):
            raise Refusal(
                404, "the model knows neither the user nor a product of the basket.",
                unknown=[str(one) for one in guest.unknown[:100]],
            )  # fmt: skip


def _answered(
    loaded: LoadedModel, guest: Guest, found: GuestList, book: RuleBook, asked: ListQuery | BodyOfList
) -> bodies.Answered:
    """Return one list, and which model made it."""
    listed = _listed(loaded, guest, found, book, asked)
    return bodies.Answered(
        model=loaded.name,
        version=loaded.version,
        user=listed.user,
        basket=listed.basket,
        source=listed.source,
        filled=listed.filled,
        recommendations=listed.recommendations,
        rules=listed.rules,
        unknown=listed.unknown,
        exact=listed.exact,
    )


def _listed(
    loaded: LoadedModel, guest: Guest, found: GuestList, book: RuleBook, asked: ListQuery | BodyOfList
) -> bodies.Listed:
    """Return one list as the answer shows it."""
    ruled = found.answer.ruled
    products = _products(loaded, ruled.rows, ruled.scores)
    for product in products[: ruled.pinned]:
        product.pinned = True
    for product, why in zip(products, found.reasons or [], strict=False):
        product.reasons = why
    if asked.details:
        _describe(loaded, products, ruled.rows)
    return bodies.Listed(
        user=guest.asked.get("user", UNSET),
        basket=guest.asked.get("basket", UNSET),
        source=found.answer.source,
        filled=found.answer.filled,
        recommendations=products,
        rules=_said(loaded, book, (*book.removals, *ruled.removals)),
        unknown=list(guest.unknown),
        exact=False if found.by_index else UNSET,
    )


def _said(loaded: LoadedModel, book: RuleBook, removals: Sequence[Removal]) -> bodies.RulesSaid:
    return bodies.RulesSaid(
        candidates=len(loaded.model.products),
        allowed=book.remaining,
        removed=[bodies.RemovedBy(removal.rule, removal.removed) for removal in removals],
        unknown=list(book.unknown),
    )


def _products(loaded: LoadedModel, rows: Rows, scores: Floats) -> list[bodies.Product]:
    ids = loaded.product_ids.at(rows)
    ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
    return [
        bodies.Product(product, rank, score)
        for rank, (product, score) in enumerate(zip(ids, spelled(scores), strict=True), start=1)
    ]


def _describe(loaded: LoadedModel, products: list[bodies.Product], rows: Rows) -> None:
    for product, row in zip(products, rows.tolist(), strict=True):
        product.about = about(loaded.catalogue, row)
