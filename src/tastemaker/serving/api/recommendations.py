"""The API's lists: recommendations for users, baskets and batches, and similar products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

from msgspec import UNSET

from tastemaker.ranking.as_json import Id, Listed, Product, list_json, products_json, rules_json
from tastemaker.ranking.live.knowing import Facts
from tastemaker.ranking.packed import by_tail, by_value, tail_scores, value_scores
from tastemaker.ranking.rank import VisitorList
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.ranking.visitors import Visitor
from tastemaker.serving.answering.batcher import Ranking
from tastemaker.serving.answering.lists import lists_and_rankings, lists_for, neighbours_for
from tastemaker.serving.answering.live_shop import standing_as
from tastemaker.serving.answering.product_search import about
from tastemaker.serving.answering.visitors import count_unknown, visitor_of, visitors_of
from tastemaker.serving.api import schemas as bodies
from tastemaker.serving.api.model_choice import chosen, chosen_for
from tastemaker.serving.api.moments import asked_at
from tastemaker.serving.api.rules import request_rules, rules_of_query
from tastemaker.serving.api.schemas import BodyOfList, ListQuery
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.measuring.exploring import Exploring
from tastemaker.serving.measuring.in_force import Assigned
from tastemaker.serving.measuring.list_ids import list_id
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.answers import spelled
from tastemaker.serving.operations.service import RequestInfo, Service
from tastemaker.types import Rows

__all__ = ["basket", "basket_under", "batch", "similar", "user"]

ListedT = TypeVar("ListedT", bound=Listed)


async def user(request: RequestInfo, query: ListQuery, user: str) -> bodies.Answered:
    """Answer ``GET /api/v1/recommendations/users/{user}``."""
    loaded, (assigned,) = chosen_for(request, query, [user])
    state = request.service.state
    book = state.rules.book(loaded, rules_of_query(query, loaded.catalogue), at=asked_at(query.at))
    held_out = assigned is not None and assigned.arm == "holdout"
    if held_out:
        visitor = _held_out(loaded, user)
    else:
        visitor = await visitor_of(state, loaded, user, (), at=asked_at(query.at))
    (listed,) = await _lists(request.service, loaded, [visitor], book, query, explores=not held_out)
    assert isinstance(listed, bodies.Answered)
    return _in_experiment(listed, assigned)


async def basket(request: RequestInfo, body: bodies.BasketBody) -> bodies.Answered:
    """Answer ``POST /api/v1/recommendations/basket``."""
    loaded, (assigned,) = chosen_for(request, body, [None if body.user is UNSET else body.user])
    book = request.service.state.rules.book(loaded, request_rules(body), at=asked_at(body.at))
    if assigned is not None and assigned.arm == "holdout":
        visitor = _held_out(loaded, body.user, body.basket)
        (answer,) = await _lists(request.service, loaded, [visitor], book, body)
        assert isinstance(answer, bodies.Answered)
    else:
        answer = await basket_under(request, body, loaded, book, explores=True)
    return _in_experiment(answer, assigned)


async def basket_under(
    request: RequestInfo,
    body: bodies.BasketBody,
    loaded: LoadedModel,
    book: RuleBook,
    *,
    explores: bool = False,
) -> bodies.Answered:
    """Return the list of a basket, and perhaps a user, under a book of rules; it may explore only where it is served."""
    state = request.service.state
    facts = Facts(body.context, body.attributes, body.viewed)
    visitor = await visitor_of(
        state, loaded, None if body.user is UNSET else body.user, body.basket, facts, at=asked_at(body.at)
    )
    (listed,) = await _lists(request.service, loaded, [visitor], book, body, explores=explores)
    assert isinstance(listed, bodies.Answered)
    return listed


async def batch(request: RequestInfo, body: bodies.BatchBody) -> bodies.BatchAnswer:
    """Answer ``POST /api/v1/batch``."""
    most = request.service.settings.most_queries
    if len(body.users) + len(body.baskets) > most:
        raise Refusal(422, f"the batch has more than {most:,} users and baskets.", limit=most)
    whom = [*((user, ()) for user in body.users), *((None, basket) for basket in body.baskets)]
    loaded, assigned = chosen_for(request, body, [user for user, _ in whom])
    if not any(assigned):
        lists = await _batch(request, body, loaded, whom)
    else:
        lists = await _batch_in_arms(request, body, loaded, whom, assigned)
    return bodies.BatchAnswer(loaded.name, loaded.version, lists)


Whom: TypeAlias = tuple[Id | None, Sequence[Id]]
"""A user, or none, and a basket"""


async def _batch(
    request: RequestInfo,
    body: bodies.BatchBody,
    loaded: LoadedModel,
    whom: Sequence[Whom],
    *,
    held_out: bool = False,
) -> list[Listed]:
    state, at = request.service.state, asked_at(body.at)
    book = state.rules.book(loaded, request_rules(body), at=at)
    if held_out:
        visitors = [_held_out(loaded, user) for user, _ in whom]
    else:
        visitors = await visitors_of(state, loaded, whom, at=at)
    return await _lists(request.service, loaded, visitors, book, body, explores=not held_out)


async def _batch_in_arms(
    request: RequestInfo,
    body: bodies.BatchBody,
    loaded: LoadedModel,
    whom: Sequence[Whom],
    assigned: Sequence[Assigned | None],
) -> list[Listed]:
    """Return the lists of a batch while an experiment runs: each arm's from its version, which each list then names."""
    found: dict[int, Listed] = {}
    arms = [None if one is None else one.arm for one in assigned]
    for arm in dict.fromkeys(arms):
        places = [place for place, mine in enumerate(arms) if mine == arm]
        first = assigned[places[0]]
        version = loaded if first is None else first.loaded
        lists = await _batch(
            request, body, version, [whom[place] for place in places], held_out=arm == "holdout"
        )
        for place, listed in zip(places, lists, strict=True):
            listed.version = version.version
            found[place] = _in_experiment(listed, first)
    return [found[place] for place in range(len(whom))]


def _held_out(loaded: LoadedModel, user: object, basket: Sequence[Id] | None = None) -> Visitor:
    """Return a visitor of whom nothing is known, so that their list is best sellers."""
    named: dict[str, object] = {"user": user}
    if basket is not None:
        named["basket"] = list(basket)
    row = loaded.user_ids.row_of(user)
    if row is not None:
        named["user"] = loaded.user_ids.one(row)
    return Visitor(named=named)


def _in_experiment(listed: ListedT, assigned: Assigned | None) -> ListedT:
    if assigned is not None:
        listed.experiment, listed.arm = assigned.experiment, assigned.arm
    return listed


async def similar(request: RequestInfo, query: bodies.SimilarQuery, product: str) -> bodies.SimilarAnswer:
    """Answer ``GET /api/v1/products/{product}/similar``."""
    loaded = chosen(request, query)
    service = request.service
    row = loaded.product_ids.row_of(product)
    if row is None:
        service.metrics.unknown_ids(loaded.name, "product")
        raise Refusal(404, "the model does not know this product.", missing="product")
    book = service.state.rules.book(loaded)
    how = Ranking(loaded, query.include_self, approximate=True, book=book)
    ((rows, scores),), exact = await neighbours_for(
        [row], how, service.engine, service.metrics, k=query.k, similarity=query.similarity
    )
    products = products_json(loaded.product_ids.at(rows), spelled(scores))
    if query.details:
        _describe(loaded, products, rows)
    return bodies.SimilarAnswer(
        model=loaded.name,
        version=loaded.version,
        product=loaded.product_ids.one(row),
        similar=products,
        list_id=list_id(loaded.label, product, rows),
        exact=UNSET if exact else False,
        rules=UNSET if book.is_empty else rules_json(book, book.removals),
        about=about(loaded.catalogue, row) if query.details else UNSET,
    )


async def _lists(
    service: Service,
    loaded: LoadedModel,
    visitors: list[Visitor],
    book: RuleBook,
    asked: ListQuery | BodyOfList,
    *,
    explores: bool = False,
) -> list[Listed]:
    """Return the lists of some visitors as the answer shows them, `Answered` but for those of a batch.

    They may explore where they are served as the model learned.
    """
    count_unknown(visitors, service.metrics, loaded.name)
    if asked.on_unknown == "error":
        _refuse_unknown(visitors)
    standing = await service.state.standing(loaded, asked_at(asked.at))
    if asked.tail:
        bias = standing.candidates.bias + tail_scores(standing.model, asked.tail)
        model = by_tail(standing.model, asked.tail)
        standing = standing_as(standing, model, replace(standing.candidates, bias=bias))
    if asked.objective == "revenue":
        standing = _valued(standing, asked.value_dial)
    by_index = standing.index is not None
    how = Ranking(standing, bool(book.include_purchased), approximate=by_index, book=book, explain=asked.why)
    exploring = service.measuring.exploring if explores else None
    reach = exploring.reach(asked.k) if exploring is not None and asked.is_as_learned else None
    if exploring is not None and reach is not None:
        both = await lists_and_rankings(
            visitors, how, service.engine, service.metrics, k=asked.k, reach=reach
        )
        return [
            _explored(service, exploring, loaded, visitor, *found, book, asked)
            for visitor, found in zip(visitors, both, strict=True)
        ]
    lists = await lists_for(visitors, how, service.engine, service.metrics, k=asked.k)
    return [
        _listed(loaded, visitor, found, book, asked) for visitor, found in zip(visitors, lists, strict=True)
    ]


def _explored(
    service: Service,
    exploring: Exploring,
    loaded: LoadedModel,
    visitor: Visitor,
    found: VisitorList,
    ranking: VisitorList,
    book: RuleBook,
    asked: ListQuery | BodyOfList,
) -> Listed:
    """Return a visitor's list as exploring draws it, which is logged."""
    drawn = exploring.drawn(loaded, visitor, found, ranking)
    if drawn is None:
        return _listed(loaded, visitor, found, book, asked)
    listed = _listed(loaded, visitor, drawn.found, book, asked)
    assert isinstance(listed.list_id, str)
    if drawn.ranks:
        listed.explored = drawn.ranks
    known = _known_beside(asked) if isinstance(asked, bodies.BasketBody) else {}
    exploring.keep(loaded, visitor, drawn, ranking, list_id=listed.list_id, asked=known)
    service.metrics.explored(loaded.name, len(drawn.ranks))
    return listed


def _known_beside(asked: bodies.BasketBody) -> dict[str, object]:
    """Return what a request knew beside the user, without what it left out."""
    given = {name: getattr(asked, name) for name in ("basket", "context", "attributes", "viewed")}
    return {name: value for name, value in given.items() if value}


def _valued(loaded: LoadedModel, dial: float) -> LoadedModel:
    """Return a version that ranks by expected value; refuse (422) one that does not know what its products are worth."""
    if loaded.model.product_values is None:
        raise Refusal(422, "the model does not know what its products are worth; objective=revenue needs it.")
    model = by_value(loaded.model, dial)
    bias = loaded.candidates.bias + value_scores(loaded.model, dial)
    return standing_as(loaded, model, replace(loaded.candidates, bias=bias))


def _refuse_unknown(visitors: Sequence[Visitor]) -> None:
    """Refuse (404) a visitor of whom nothing is known where the request does not accept best sellers instead."""
    for visitor in visitors:
        if visitor.unknown and visitor.source not in ("personal", "basket", "context"):
            raise Refusal(
                404, "the model knows neither the user nor a product, context or attribute of the request.",
                unknown=[str(stranger) for stranger in visitor.unknown[:100]],
            )  # fmt: skip


def _listed(
    loaded: LoadedModel, visitor: Visitor, found: VisitorList, book: RuleBook, asked: ListQuery | BodyOfList
) -> Listed:
    answer: Callable[..., Listed] = Listed
    if not isinstance(asked, bodies.BatchBody):  # which names the version once
        answer = partial(bodies.Answered, model=loaded.name, version=loaded.version)
    listed = list_json(found, book, loaded.product_ids.at, visitor=visitor, scores=spelled, answer=answer)
    listed.list_id = list_id(loaded.label, visitor.named.get("user", ""), found.rows)
    if asked.details:
        _describe(loaded, listed.recommendations, found.rows)
    return listed


def _describe(loaded: LoadedModel, products: list[Product], rows: Rows) -> None:
    for product, row in zip(products, rows.tolist(), strict=True):
        product.about = about(loaded.catalogue, row)
