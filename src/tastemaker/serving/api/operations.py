"""The clean API under ``/api/v1``: its operations, declared once; requests are checked and OpenAPI is written from them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import groupby

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tastemaker.serving.api import catalogue as api_shop
from tastemaker.serving.api import events as api_events
from tastemaker.serving.api import recommendations as api_lists
from tastemaker.serving.api import schemas as bodies

__all__ = ["OPERATIONS", "Endpoint", "Operation", "routes"]

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    answer: type[Struct] | None
    """``None`` for answers that are no JSON"""
    query: type[Struct] | None = None
    body: type[Struct] | None = None
    refusals: tuple[int, ...] = ()
    """Statuses beside those that any request may meet"""
    admin: bool = False
    headers: tuple[str, ...] = ()
    """Names of the request headers that it heeds"""
    media: tuple[str, ...] = field(default=("application/json",))


# in the order in which their paths are tried: first what is asked for most
OPERATIONS = (
    Operation(
        "GET", "/api/v1/recommendations/users/{user:path}", "recommend_user", "What a user would buy next",
        api_lists.user, bodies.Answered, query=bodies.ListQuery, refusals=(404, 422),
    ),
    Operation(
        "GET", "/api/v1/products/{product:path}/similar", "similar_products", "Products near a product",
        api_lists.similar, bodies.SimilarAnswer, query=bodies.SimilarQuery, refusals=(404, 422),
    ),
    Operation(
        "POST", "/api/v1/recommendations/basket", "recommend_basket", "What goes with a basket",
        api_lists.basket, bodies.Answered, body=bodies.BasketBody, refusals=(404, 413, 415, 422),
    ),
    Operation(
        "POST", "/api/v1/batch", "recommend_batch", "Lists for several users and baskets",
        api_lists.batch, bodies.BatchAnswer, body=bodies.BatchBody, refusals=(404, 413, 415, 422),
    ),
    Operation(
        "GET", "/api/v1/models", "models", "Models, their versions, labels and problems",
        api_shop.models, bodies.ModelsAnswer,
    ),
    Operation(
        "GET", "/api/v1/products/{product:path}", "product", "What the catalogue says of one product",
        api_shop.product, bodies.ProductsAnswer, query=bodies.ModelQuery, refusals=(404, 422),
    ),
    Operation(
        "GET", "/api/v1/products", "products", "Find products by id or name",
        api_shop.products, bodies.ProductsAnswer, query=bodies.SearchQuery, refusals=(404, 422),
    ),
    Operation(
        "GET", "/api/v1/users/{user:path}/history", "history", "What a user bought",
        api_shop.history, bodies.HistoryAnswer, query=bodies.HistoryQuery, refusals=(404, 422),
    ),
    Operation(
        "GET", "/api/v1/rules", "rules", "The rules in force for a model",
        api_shop.rules, bodies.RulesAnswer, query=bodies.ModelQuery, refusals=(404, 422),
    ),
    Operation(
        "PUT", "/api/v1/rules", "put_rules", "Replace the rules of a model",
        api_shop.put_rules, bodies.RulesAnswer, query=bodies.ModelQuery, body=bodies.RulesBody,
        refusals=(404, 412, 413, 415, 422, 507), admin=True, headers=("If-Match",),
    ),
    Operation(
        "POST", "/api/v1/events", "add_events", "Keep live purchases; they join their users' queries at once",
        api_events.add, bodies.EventsAnswer, body=bodies.EventsBody,
        refusals=(404, 413, 415, 422, 507), admin=True, headers=("Idempotency-Key",),
    ),
    Operation(
        "GET", "/api/v1/events/export", "export_events", "Live purchases as a log for the next training",
        api_events.export, None, query=bodies.ExportQuery, refusals=(404,), admin=True,
        media=tuple(api_events.TYPES.values()),
    ),
)  # fmt: skip


def routes() -> list[Route]:
    """Return the routes of the API, of ``/openapi.json`` and of ``/docs``."""
    from tastemaker.serving.api import openapi

    paths = sorted(OPERATIONS, key=lambda one: one.path)
    grouped = {path: list(of_path) for path, of_path in groupby(paths, key=lambda one: one.path)}
    order = {one.path: None for one in OPERATIONS}
    found = [_route(path, grouped[path]) for path in order]
    return [
        *found,
        Route("/openapi.json", openapi.document, methods=["GET"]),
        Route("/docs", openapi.page, methods=["GET"]),
    ]


def _route(path: str, operations: list[Operation]) -> Route:
    handlers = {one.method: one.handler for one in operations}
    if "GET" in handlers:
        handlers["HEAD"] = handlers["GET"]

    return Route(path, Endpoint(handlers), methods=list(handlers))


class Endpoint:
    """What a path answers, as an ASGI application: the gate answers errors, and Starlette need not watch for them once more."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = await self._handlers[scope["method"]](Request(scope, receive))
        await answer(scope, receive, send)
