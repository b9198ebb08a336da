"""What the page asks beside the API: what the caller may do, and some users."""

from __future__ import annotations

import secrets
from typing import Annotated, Literal

import numpy as np
import polars as pl
from msgspec import Meta, Struct

from tastemaker.data.tokens.encoders import Encoder
from tastemaker.ranking.as_json import Id
from tastemaker.ranking.live.knowing import VIEW
from tastemaker.serving.api.model_choice import chosen
from tastemaker.serving.api.moments import asked_at
from tastemaker.serving.api.recommendations import basket_under
from tastemaker.serving.api.rules import request_rules, rules_of_body
from tastemaker.serving.api.schemas import Answered, BasketBody, ModelQuery, RulesOfModel
from tastemaker.serving.front.api_keys import Role
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.service import RequestInfo
from tastemaker.types import Rows

__all__ = ["known", "session", "trial", "users"]

MOST = 200
MANY = 0.9
"""Which quantile of customers, by purchases, has many"""
NEW = "a new customer"
"""The id under which the page shows what somebody gets whom the model does not know"""


class UsersQuery(ModelQuery, kw_only=True, frozen=True):
    """Which users the page wants."""

    search: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 8
    segment: Literal["any", "many", "one", "new"] = "any"


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


class Field(Struct):
    """One column that the model learned from, and what may be said of a visitor by it."""

    name: str
    values: list[str]
    """The most frequent values, in the order of the alphabet; of numbers, dates, words and vectors none"""


class KnownAnswer(Struct):
    """What the model understands of a visitor beside purchases."""

    model: str
    version: int
    context: list[Field]
    attributes: list[Field]
    viewed: bool
    """Whether it learned from views"""


async def known(request: RequestInfo, query: ModelQuery) -> KnownAnswer:
    """Answer ``GET /api/page/known``: the contexts and attributes that the model learned from."""
    loaded = chosen(request, query)
    model = loaded.model
    tokens = model.tokens
    parts = () if tokens is None else (tokens.context, tokens.users)
    fields = [[_field(encoder) for encoder in part.encoders] for part in parts] or [[], []]
    views = model.kinds is not None and VIEW in model.kinds.names
    return KnownAnswer(loaded.name, loaded.version, fields[0], fields[1], views)


def _field(encoder: Encoder) -> Field:
    listed = encoder.form in ("category", "list")
    return Field(encoder.column, sorted(encoder.values[:MOST]) if listed else [])


async def session(request: RequestInfo) -> Session:
    """Answer ``GET /api/page/session``."""
    return Session(request.service.settings.keys is not None, request.role)


class TrialBody(BasketBody, kw_only=True, frozen=True):
    """A list under rules that stand in the place of those in force."""

    instead: RulesOfModel


async def trial(request: RequestInfo, body: TrialBody) -> Answered:
    """Answer ``POST /api/page/trial``: a list as it would be if these rules were published; they are published nowhere."""
    loaded = chosen(request, body)
    wanted = rules_of_body(body.instead)
    rules = request.service.state.rules
    rules.check(loaded, wanted)  # a rule that begins later is wrong today already
    book = rules.compiled(loaded, (wanted, request_rules(body)), at=asked_at(body.at))
    return await basket_under(request, body, loaded, book)


async def users(request: RequestInfo, query: UsersQuery) -> UsersAnswer:
    """Answer ``GET /api/page/users``: users whose id begins with the text; without a text, some random users with purchases."""
    loaded = chosen(request, query)
    if query.segment == "new" and not query.search.strip():
        return UsersAnswer(loaded.name, loaded.version, [UserFound(NEW, 0)])
    rows = await request.service.engine.run(_users, loaded, query.search.strip(), query.limit, query.segment)
    bought = np.diff(loaded.model.histories.offsets)
    found = [UserFound(loaded.user_ids.one(row), int(bought[row])) for row in rows.tolist()]
    hidden = request.service.state.hidden
    shown = [user for user in found if not hidden.hides(loaded, user.user)]
    return UsersAnswer(loaded.name, loaded.version, shown)


def _users(loaded: LoadedModel, search: str, limit: int, segment: str) -> Rows:
    if search:
        ids = loaded.model.users.ids.cast(pl.String)
        exact = loaded.user_ids.row_of(search)
        found = ids.str.to_lowercase().str.starts_with(search.lower()).arg_true().head(limit).to_list()
        ordered = [*([] if exact is None else [exact]), *(row for row in found if row != exact)]
        return np.array(ordered[:limit], np.int32)
    bought = np.diff(loaded.model.histories.offsets)
    some = np.flatnonzero(bought)
    if segment == "one":
        some = np.flatnonzero(bought == 1)
    elif segment == "many" and len(some):
        some = some[bought[some] >= np.quantile(bought[some], MANY)]
    if not len(some):
        return np.zeros(0, np.int32)
    rng = np.random.default_rng(secrets.randbits(64))
    chosen_rows: Rows = rng.choice(some, min(limit, len(some)), replace=False).astype(np.int32)
    return chosen_rows
