"""The API's views of what is served: models, products, histories, and the rules of a model."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from starlette.concurrency import run_in_threadpool

from tastemaker.errors import SettingProblem
from tastemaker.ranking.as_json import removals_json
from tastemaker.ranking.rules.rules import Rules, write_rules
from tastemaker.serving.answering.active_rules import FILE
from tastemaker.serving.answering.product_search import about
from tastemaker.serving.answering.visitors import visitor_of
from tastemaker.serving.api import schemas as bodies
from tastemaker.serving.api.model_choice import chosen
from tastemaker.serving.api.rules import rules_of_body
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.answers import etag_of
from tastemaker.serving.operations.service import RequestInfo, Service

__all__ = ["history", "models", "product", "products", "put_rules", "rules"]


async def models(request: RequestInfo) -> bodies.ModelsAnswer:
    """Answer ``GET /api/v1/models``."""
    state = request.service.state
    return bodies.ModelsAnswer(
        [
            bodies.ModelAnswer(
                name=name,
                default=served.default,
                versions=[_version(loaded) for loaded in served.ready.values()],
                labels=dict(served.labels),
                refused={str(version): why for version, why in served.refused.items()},
                rules_problem=state.rules.problem(name),
            )
            for name, served in request.service.registry.models.items()
        ]
    )


async def products(request: RequestInfo, query: bodies.SearchQuery) -> bodies.ProductsAnswer:
    """Answer ``GET /api/v1/products``."""
    loaded = chosen(request, query)
    state = request.service.state

    def find() -> list[bodies.Found]:
        index = state.index(loaded)
        rows = index.find(query.search, query.limit).tolist()
        return [_found(loaded, row, int(index.buyers[row])) for row in rows]

    return _products(loaded, await request.service.engine.run(find))


async def product(request: RequestInfo, query: bodies.ModelQuery, product: str) -> bodies.ProductsAnswer:
    """Answer ``GET /api/v1/products/{product}``."""
    loaded = chosen(request, query)
    row = loaded.product_ids.row_of(product)
    if row is None:
        request.service.metrics.unknown_ids(loaded.name, "product")
        raise Refusal(404, "the model does not know this product.", missing="product")
    index = await request.service.engine.run(request.service.state.index, loaded)
    return _products(loaded, [_found(loaded, row, int(index.buyers[row]))])


async def history(request: RequestInfo, query: bodies.HistoryQuery, user: str) -> bodies.HistoryAnswer:
    """Answer ``GET /api/v1/users/{user}/history``."""
    loaded = chosen(request, query)
    visitor = await visitor_of(request.service.state, loaded, user, ())
    if visitor.user is None and not len(visitor.history):
        request.service.metrics.unknown_ids(loaded.name, "user")
        raise Refusal(404, "the model does not know this user.", missing="user")
    known = () if visitor.user is None else loaded.model.histories.of(visitor.user).tolist()
    times = np.ones(len(visitor.history), np.int32) if visitor.times is None else visitor.times
    trained = set(known)
    rows = sorted(visitor.history.tolist(), key=lambda row: (row in trained, row))  # the newest first
    bought = dict(zip(visitor.history.tolist(), times.tolist(), strict=True))
    return bodies.HistoryAnswer(
        model=loaded.name,
        version=loaded.version,
        user=visitor.named["user"],
        purchases=[
            bodies.Purchased(
                product=loaded.product_ids.one(row),
                times=bought[row],
                live=row not in trained,
                about=about(loaded.catalogue, row) if query.details else UNSET,
            )
            for row in rows
        ],
    )


async def rules(request: RequestInfo, query: bodies.ModelQuery) -> bodies.RulesAnswer:
    """Answer ``GET /api/v1/rules``."""
    loaded = chosen(request, query)
    await run_in_threadpool(request.service.state.rules.look)  # another worker may just have written them
    return _rules(request.service, loaded)


async def put_rules(
    request: RequestInfo, query: bodies.ModelQuery, body: bodies.RulesOfModel
) -> bodies.RulesAnswer:
    """Answer ``PUT /api/v1/rules``: write the file; it is in force here at once, in other processes at their next look."""
    loaded = chosen(request, query)
    state = request.service.state
    wanted = rules_of_body(body)
    await run_in_threadpool(state.rules.check, loaded, wanted)
    known = (request.headers["If-Match"] or "*").strip()

    def check() -> None:
        state.rules.look()
        if known not in ("*", etag_of(_rules(request.service, loaded))):
            raise Refusal(412, "the rules were changed since; read them again.")

    served = request.service.registry.models[loaded.name]
    try:
        await run_in_threadpool(write_rules, served.folder / FILE, wanted, check=check)
    except SettingProblem as error:
        raise Refusal(507, str(error)) from None
    await run_in_threadpool(state.rules.look)
    return _rules(request.service, loaded, wanted)


def _rules(service: Service, loaded: LoadedModel, written: Rules | None = None) -> bodies.RulesAnswer:
    """Return what the rules of a model come to: those in force, or those just written even if they were replaced since."""
    rules = service.state.rules
    stated = rules.of(loaded.name) if written is None else written
    book = rules.compiled(loaded, (stated,))
    return bodies.RulesAnswer(
        model=loaded.name,
        rules=_body_of(stated),
        problem=rules.problem(loaded.name) if written is None else None,
        unknown=list(book.unknown),
        candidates=len(loaded.model.products),
        allowed=book.remaining,
        removed=removals_json(book.removals),
    )


def _body_of(rules: Rules) -> bodies.RulesOfModel:
    """Return rules as a body that would set them."""
    return bodies.RulesOfModel(
        allow=UNSET if rules.allow is None else list(rules.allow),
        deny=list(rules.deny),
        where={condition.column: condition.to_json() for condition in rules.where},
        minimum_price=UNSET if rules.minimum_price is None else rules.minimum_price,
        at_most=dict(rules.at_most),
        pin=list(rules.pin),
        include_purchased=UNSET if rules.include_purchased is None else rules.include_purchased,
        rules=msgspec.convert([rule.to_json() for rule in rules.named], list[bodies.NamedRuleBody]),
    )


def _version(loaded: LoadedModel) -> bodies.VersionAnswer:
    manifest = loaded.manifest
    return bodies.VersionAnswer(
        version=loaded.version,
        created=manifest["created"],
        counts=manifest["counts"],
        checksum=loaded.etag,
        preset=(manifest["config"] or {}).get("preset"),
        metrics=manifest["metrics"],
    )


def _found(loaded: LoadedModel, row: int, buyers: int) -> bodies.Found:
    return bodies.Found(loaded.product_ids.one(row), buyers, about(loaded.catalogue, row))


def _products(loaded: LoadedModel, found: list[bodies.Found]) -> bodies.ProductsAnswer:
    table = loaded.catalogue
    parts: dict[str, Any] = {
        part: table.named(part) for part in ("name", "price", "image", "category", "brand", "stock")
    }
    return bodies.ProductsAnswer(
        model=loaded.name,
        version=loaded.version,
        products=found,
        columns={name: str(dtype) for name, dtype in table.frame.schema.items()},
        parts={part: name for part, name in parts.items() if name is not None},
    )
