"""What the page asks beside the API: who is there, some users, and neighbours by cosine."""

from __future__ import annotations

import secrets
from typing import Annotated
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
from msgspec import Meta, Struct

from tastemaker.serving.answering.product_search import about
from tastemaker.serving.api.model_choice import chosen
from tastemaker.serving.api.schemas import Id, ModelQuery, Product, SimilarAnswer
from tastemaker.serving.front.api_keys import Role
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.answers import spelled
from tastemaker.serving.operations.service import RequestInfo
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


class Session(Struct):
    """Whether this server has keys, and what the caller may do."""

    keys: bool
    role: Role | None


class UserFound(Struct):
    """One user, and how many products they bought."""

    user: Id
    purchases: int


class UsersAnswer(Struct):
    """Some users."""

    model: str
    version: int
    users: list[UserFound]


async def session(request: RequestInfo) -> Session:
    """Answer ``GET /api/page/session``."""
    return Session(request.service.settings.keys is not None, request.role)


async def users(request: RequestInfo, query: UsersQuery) -> UsersAnswer:
    """Answer ``GET /api/page/users``: those whose id begins so; without a search, some at random who bought something."""
    loaded = chosen(request, query)
    rows = await request.service.engine.run(_users, loaded, query.search.strip(), query.limit)
    bought = np.diff(loaded.model.histories.offsets)
    found = [UserFound(loaded.user_ids.one(row), int(bought[row])) for row in rows.tolist()]
    return UsersAnswer(loaded.name, loaded.version, found)


async def cosine(request: RequestInfo, query: CosineQuery, product: str) -> SimilarAnswer:
    """Answer ``GET /api/page/cosine/{product}``: the nearest products by cosine, in the shape of the API's ``similar``."""
    loaded = chosen(request, query)
    row = loaded.product_ids.row_of(product)
    if row is None:
        raise Refusal(404, "the model does not know this product.", missing="product")
    allowed = request.service.state.rules.book(loaded).allowed
    rows, scores = await request.service.engine.run(_nearest, loaded, row, allowed, query.k)
    found = [
        Product(loaded.product_ids.one(near), rank, score, about=about(loaded.catalogue, near))
        for rank, (near, score) in enumerate(zip(rows.tolist(), spelled(scores), strict=True), start=1)
    ]
    return SimilarAnswer(loaded.name, loaded.version, loaded.product_ids.one(row), found)


def _users(loaded: LoadedModel, search: str, limit: int) -> Rows:
    if search:
        ids = loaded.model.users.ids.cast(pl.String)
        exact = loaded.user_ids.row_of(search)
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
