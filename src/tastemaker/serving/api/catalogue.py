"""The API's views of what is served: models, products, histories, and the rules of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import UNSET

from tastemaker.serving.answering.product_search import about
from tastemaker.serving.answering.visitors import visitor_of
from tastemaker.serving.api import schemas as bodies
from tastemaker.serving.api.model_choice import chosen
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.service import RequestInfo

__all__ = ["history", "models", "product", "products"]


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
