"""`score`: what the model thinks of given products for given users, without ranking the catalogue."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from tastemaker.kernels.ranking.pairs import score_pairs
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.queries import (
    buyers_for_nobody,
    histories_of,
    times_of,
    user_queries,
    with_repeats,
)
from tastemaker.ranking.top_k import no_extra
from tastemaker.types import Floats, Rows

__all__ = ["score", "score_each", "score_rows"]

AnyIds = pl.Series | Iterable[object]


def score(model: TasteModel, users: AnyIds, products: AnyIds, *, include_purchased: bool = False) -> Floats:
    """Return the score of every given product for every given user, ``float32[Q, C]``; raises `UnknownId`.

    A score is the very number by which `recommend` ranks, given the same ``include_purchased``.
    """
    rows = model.products.rows(products)
    user_rows = model.users.rows(users)
    candidates = np.ascontiguousarray(np.broadcast_to(rows, (len(user_rows), len(rows))))
    return score_rows(model, user_rows, candidates, include_purchased=include_purchased)


def score_each(
    model: TasteModel, users: AnyIds, products: AnyIds, *, include_purchased: bool = False
) -> Floats:
    """Return the score of each (user, product) pair of two lists of one length, ``float32[n]``; raises `UnknownId`."""
    user_rows, rows = model.users.rows(users), model.products.rows(products)
    return score_rows(model, user_rows, rows[:, None], include_purchased=include_purchased)[:, 0]


def score_rows(
    model: TasteModel,
    users: Rows,
    candidates: Rows,
    *,
    include_purchased: bool = False,
    threads: int | None = None,
) -> Floats:
    """Return the scores of the product rows ``candidates[Q, W]`` for the users at the rows ``users[Q]``, ``float32[Q, W]``.

    With ``include_purchased`` they are those of lists in which what a user bought may come again.
    """
    distinct, which = np.unique(users, return_inverse=True)
    queries = user_queries(model, distinct)
    if include_purchased:
        queries = with_repeats(model, queries, histories_of(model, distinct), times_of(model, distinct))
    extra = no_extra() if queries.extra is None else queries.extra.take(which)
    vectors = np.ascontiguousarray(queries.vectors[which])
    scores = np.empty(candidates.shape, np.float32)

    def score_block(low: int, high: int) -> None:
        score_pairs(
            low, high, vectors, model.product_vectors, model.product_bias, candidates,
            extra.offsets, extra.rows, extra.scores, scores,
        )  # fmt: skip

    with ThreadPool(threads) as pool:
        pool.run(score_block, len(users))
    empty = np.diff(model.histories.offsets)[users] == 0
    buyers = buyers_for_nobody(model) if empty.any() else None
    if buyers is not None:
        scores[empty] += buyers[candidates[empty]]
    return scores
