"""What the page asks beside the API: who is there, some users, and neighbours by cosine."""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from tastemaker.serving.answering.product_search import about
from tastemaker.serving.answering.state import chosen, state_of
from tastemaker.serving.api.parsing import query_of
from tastemaker.serving.api.responses import answered, row_of
from tastemaker.serving.api.schemas import ModelQuery
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import Booleans, Floats, Rows

__all__ = ["cosine", "session", "users"]

MOST = 200


class UsersQuery(ModelQuery, kw_only=True):
    """Which users the page wants."""

    search: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 8


class CosineQuery(ModelQuery, kw_only=True):
    """How many products are sought."""

    k: Annotated[int, Meta(ge=1, le=MOST)] = 24


async def session(request: Request) -> Response:
    """Answer ``GET /api/page/session``: whether this server has keys, and what the caller may do."""
    settings = request.app.state.settings
    return answered(request, {"keys": settings.keys is not None, "role": request.scope["state"]["role"]})


async def users(request: Request) -> Response:
    """Answer ``GET /api/page/users``: those whose id begins so; without a search, some at random who bought something."""
    asked = query_of(request, UsersQuery)
    loaded = chosen(request, asked)
    rows = await request.app.state.engine.run(_users, loaded, asked.search.strip(), asked.limit)
    bought = np.diff(loaded.model.histories.offsets)
    content = {
        "model": loaded.name,
        "version": loaded.version,
        "users": [{"user": loaded.user_ids.one(row), "purchases": int(bought[row])} for row in rows.tolist()],
    }
    return answered(request, content, loaded)


async def cosine(request: Request) -> Response:
    """Answer ``GET /api/page/cosine/{product}``: the nearest products by cosine, in the shape of the API's ``similar``."""
    asked = query_of(request, CosineQuery)
    loaded = chosen(request, asked)
    row = row_of(loaded.product_ids, request.path_params["product"])
    if row is None:
        raise Refusal(404, "the model does not know this product.", missing="product")
    allowed = state_of(request).rules.book(loaded).allowed
    rows, scores = await request.app.state.engine.run(_nearest, loaded, row, allowed, asked.k)
    found: list[dict[str, Any]] = [
        {"product": loaded.product_ids.one(one), "rank": rank, "score": score, "about": about(loaded.catalogue, one)}
        for rank, (one, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True), start=1)
    ]  # fmt: skip
    content = {
        "model": loaded.name, "version": loaded.version,
        "product": loaded.product_ids.one(row), "similar": found,
    }  # fmt: skip
    return answered(request, content, loaded)


def _users(loaded: LoadedModel, search: str, limit: int) -> Rows:
    if search:
        ids = loaded.model.users.ids.cast(pl.String)
        exact = row_of(loaded.user_ids, search)
        found = ids.str.to_lowercase().str.starts_with(search.lower()).arg_true().head(limit).to_list()
        ordered = [*([] if exact is None else [exact]), *(one for one in found if one != exact)]
        return np.array(ordered[:limit], np.int32)
    some = np.flatnonzero(np.diff(loaded.model.histories.offsets))
    if not len(some):
        return np.zeros(0, np.int32)
    rng = np.random.default_rng(secrets.randbits(64))
    chosen_rows: Rows = rng.choice(some, min(limit, len(some)), replace=False).astype(np.int32)
    return chosen_rows


def _nearest(loaded: LoadedModel, row: int, allowed: Booleans | None, k: int) -> tuple[Rows, Floats]:
    """Return the k products nearest to one by cosine, ties to the lower row: every product's, and a partition.

    Not a matrix product of BLAS, whose threads would wait, spinning, beside those that rank.
    """
    vectors, lengths = loaded.model.product_vectors, _lengths(loaded)
    scores = np.einsum("pd,d->p", vectors, vectors[row]) / np.maximum(
        lengths * lengths[row], np.float32(1e-30)
    )
    may = np.ones(len(scores), np.bool_) if allowed is None else allowed.copy()
    may[row] = False
    rows = np.flatnonzero(may)
    if len(rows) > k:
        least = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
        rows = rows[scores[rows] >= least]
    order = np.argsort(-scores[rows], kind="stable")[:k]
    return rows[order].astype(np.int32), scores[rows[order]]


_LENGTHS: WeakKeyDictionary[LoadedModel, Floats] = WeakKeyDictionary()


def _lengths(loaded: LoadedModel) -> Floats:
    """Return the length of each product vector, computed once for a version, ``float32[P]``."""
    found = _LENGTHS.get(loaded)
    if found is None:
        vectors = loaded.model.product_vectors
        found = _LENGTHS[loaded] = np.sqrt(np.einsum("pd,pd->p", vectors, vectors))
    return found
