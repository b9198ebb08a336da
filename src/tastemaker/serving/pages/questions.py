"""What the page asks beside the API: what the caller may do, and some users."""

from __future__ import annotations

import secrets
from typing import Annotated

import numpy as np
import polars as pl
from msgspec import Meta, Struct

from tastemaker.ranking.as_json import Id
from tastemaker.serving.api.model_choice import chosen
from tastemaker.serving.api.schemas import ModelQuery
from tastemaker.serving.front.api_keys import Role
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.service import RequestInfo
from tastemaker.types import Rows

__all__ = ["session", "users"]

MOST = 200


class UsersQuery(ModelQuery, kw_only=True):
    """Which users the page wants."""

    search: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 8


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
    """Answer ``GET /api/page/users``: users whose id begins with the text; without a text, some random users with purchases."""
    loaded = chosen(request, query)
    rows = await request.service.engine.run(_users, loaded, query.search.strip(), query.limit)
    bought = np.diff(loaded.model.histories.offsets)
    found = [UserFound(loaded.user_ids.one(row), int(bought[row])) for row in rows.tolist()]
    return UsersAnswer(loaded.name, loaded.version, found)


def _users(loaded: LoadedModel, search: str, limit: int) -> Rows:
    if search:
        ids = loaded.model.users.ids.cast(pl.String)
        exact = loaded.user_ids.row_of(search)
        found = ids.str.to_lowercase().str.starts_with(search.lower()).arg_true().head(limit).to_list()
        ordered = [*([] if exact is None else [exact]), *(row for row in found if row != exact)]
        return np.array(ordered[:limit], np.int32)
    some = np.flatnonzero(np.diff(loaded.model.histories.offsets))
    if not len(some):
        return np.zeros(0, np.int32)
    rng = np.random.default_rng(secrets.randbits(64))
    chosen_rows: Rows = rng.choice(some, min(limit, len(some)), replace=False).astype(np.int32)
    return chosen_rows
