"""The API's views of what is served: models, products, histories, and the rules of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tastemaker.errors import SettingProblem
from tastemaker.ranking.rules.rules import Rules, write_rules
from tastemaker.serving.answering.active_rules import FILE
from tastemaker.serving.answering.product_search import about
from tastemaker.serving.answering.state import chosen, state_of
from tastemaker.serving.answering.visitors import guest_of
from tastemaker.serving.api.parsing import body_of, query_of
from tastemaker.serving.api.responses import answered, etag_of, row_of
from tastemaker.serving.api.rules import rules_of_body
from tastemaker.serving.api.schemas import HistoryQuery, ModelQuery, RulesBody, SearchQuery
from tastemaker.serving.front.middleware import require_admin
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Registry, Served

__all__ = ["history", "models", "product", "products", "put_rules", "rules"]


async def models(request: Request) -> Response:
    """Answer ``GET /api/v1/models``."""
    shelf: Registry = request.app.state.shelf
    state = state_of(request)
    content = [
        {
            "name": name,
            "default": served.default,
            "versions": [_version(one) for one in served.ready.values()],
            "labels": dict(served.labels),
            "refused": {str(version): why for version, why in served.refused.items()},
            "rules_problem": state.rules.problem(name),
        }
        for name, served in shelf.models.items()
    ]
    return answered(request, {"models": content})


async def products(request: Request) -> Response:
    """Answer ``GET /api/v1/products``."""
    asked = query_of(request, SearchQuery)
    loaded = chosen(request, asked)
    state = state_of(request)

    def find() -> list[dict[str, Any]]:
        index = state.index(loaded)
        return [
            _found(loaded, row, int(index.buyers[row]))
            for row in index.find(asked.search, asked.limit).tolist()
        ]

    found = await request.app.state.engine.run(find)
    return answered(
        request,
        {"model": loaded.name, "version": loaded.version, "products": found, **_columns(loaded)},
        loaded,
    )


async def product(request: Request) -> Response:
    """Answer ``GET /api/v1/products/{product}``."""
    loaded = chosen(request, query_of(request, ModelQuery))
    row = row_of(loaded.product_ids, request.path_params["product"])
    if row is None:
        request.app.state.metrics.unknown_ids(loaded.name, "product")
        raise Refusal(404, "the model does not know this product.", missing="product")
    index = await request.app.state.engine.run(state_of(request).index, loaded)
    found = [_found(loaded, row, int(index.buyers[row]))]
    return answered(
        request,
        {"model": loaded.name, "version": loaded.version, "products": found, **_columns(loaded)},
        loaded,
    )


async def history(request: Request) -> Response:
    """Answer ``GET /api/v1/users/{user}/history``."""
    asked = query_of(request, HistoryQuery)
    loaded = chosen(request, asked)
    guest = guest_of(state_of(request), loaded, request.path_params["user"], ())
    visitor = guest.visitor
    if visitor.user is None and not len(visitor.history):
        request.app.state.metrics.unknown_ids(loaded.name, "user")
        raise Refusal(404, "the model does not know this user.", missing="user")
    known = () if visitor.user is None else loaded.model.histories.of(visitor.user).tolist()
    times = np.ones(len(visitor.history), np.int32) if visitor.times is None else visitor.times
    trained = set(known)
    rows = sorted(visitor.history.tolist(), key=lambda row: (row in trained, row))  # the newest first
    bought = dict(zip(visitor.history.tolist(), times.tolist(), strict=True))
    purchases = [
        {"product": loaded.product_ids.one(row), "times": bought[row], "live": row not in trained}
        | ({"about": about(loaded.catalogue, row)} if asked.details else {})
        for row in rows
    ]
    content = {
        "model": loaded.name,
        "version": loaded.version,
        "user": guest.asked["user"],
        "purchases": purchases,
    }
    return answered(request, content, loaded)


async def rules(request: Request) -> Response:
    """Answer ``GET /api/v1/rules``."""
    loaded = chosen(request, query_of(request, ModelQuery))
    await run_in_threadpool(state_of(request).rules.look)  # another worker may just have written them
    return answered(request, _rules(request, loaded), loaded)


async def put_rules(request: Request) -> Response:
    """Answer ``PUT /api/v1/rules``: write the file, and let it be in force at once here, and at the next look elsewhere."""
    require_admin(request)
    asked = query_of(request, ModelQuery)
    body = body_of(request, await request.body(), RulesBody)
    loaded = chosen(request, asked)
    state = state_of(request)
    wanted = rules_of_body(body)
    state.rules.check(loaded, wanted)
    known = request.headers.get("if-match", "*").strip()

    def check() -> None:
        state.rules.look()
        if known not in ("*", etag_of(_rules(request, loaded))):
            raise Refusal(412, "the rules were changed since; read them again.")

    served: Served = request.app.state.shelf.models[loaded.name]
    try:
        await run_in_threadpool(write_rules, served.folder / FILE, wanted, check=check)
    except SettingProblem as error:
        raise Refusal(507, str(error)) from None
    await run_in_threadpool(state.rules.look)
    return answered(request, _rules(request, loaded, wanted), loaded)


def _rules(request: Request, loaded: LoadedModel, written: Rules | None = None) -> dict[str, Any]:
    """Return what the rules of a model come to: those in force, or those just written, whoever came after."""
    state = state_of(request)
    stated = state.rules.of(loaded.name) if written is None else written
    book = state.rules.compiled(loaded, (stated,))
    return {
        "model": loaded.name,
        "rules": stated.to_json(),
        "problem": state.rules.problem(loaded.name) if written is None else None,
        "unknown": list(book.unknown),
        "candidates": len(loaded.model.products),
        "allowed": book.remaining,
        "removed": [{"rule": one.rule, "removed": one.removed} for one in book.removals],
    }


def _version(loaded: LoadedModel) -> dict[str, Any]:
    manifest = loaded.manifest
    return {
        "version": loaded.version,
        "created": manifest["created"],
        "counts": manifest["counts"],
        "checksum": loaded.etag,
        "preset": (manifest["config"] or {}).get("preset"),
        "metrics": manifest["metrics"],
    }


def _found(loaded: LoadedModel, row: int, buyers: int) -> dict[str, Any]:
    return {
        "product": loaded.product_ids.one(row),
        "buyers": buyers,
        "about": about(loaded.catalogue, row),
    }


def _columns(loaded: LoadedModel) -> dict[str, Any]:
    table = loaded.catalogue
    parts = {part: table.named(part) for part in ("name", "price", "image", "category", "brand", "stock")}
    return {
        "columns": {name: str(dtype) for name, dtype in table.frame.schema.items()},
        "parts": {part: name for part, name in parts.items() if name is not None},
    }
