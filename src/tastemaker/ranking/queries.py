"""Queries: the vectors that users and baskets are ranked for, what the memory adds for each, and what repeats add."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import gather_lists, offsets_of
from tastemaker.kernels.counting.memory import add_up, room_for_sums
from tastemaker.kernels.ranking.baskets import compose_baskets
from tastemaker.kernels.ranking.extras import count_either, sum_either
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.asking import Asking
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.asking import answer, asking_of_users
from tastemaker.ranking.top_k import ExtraScores
from tastemaker.types import AnyArray, Counts, Floats, Rows

__all__ = [
    "Queries",
    "basket_queries",
    "buyers_for_nobody",
    "histories_of",
    "queries_for",
    "repeat_scores",
    "times_of",
    "user_queries",
    "with_repeats",
]


@dataclass(frozen=True, slots=True)
class Queries:
    """What is ranked for: dense vectors, and what is added for each: by the memory, and by repeats after `with_repeats`."""

    vectors: Floats
    """``float32[Q, D]``"""
    extra: ExtraScores | None

    def at(self, place: int) -> Queries:
        """Return one of the queries alone."""
        return self.some(place, place + 1)

    def some(self, low: int, high: int) -> Queries:
        """Return those at the places from ``low`` on, below ``high``."""
        extra = None if self.extra is None else self.extra.take(np.arange(low, high))
        return Queries(self.vectors[low:high], extra)


def histories_of(model: TasteModel, users: AnyArray) -> Histories:
    """Return what the users at these rows bought, ``int[Q]``, one list for each."""
    offsets, places = gather_lists(model.histories.offsets, users)
    return Histories(offsets, np.ascontiguousarray(model.histories.products[places]))


def times_of(model: TasteModel, users: AnyArray) -> Counts | None:
    """Return how many times the users at these rows, ``int[Q]``, bought each product of `histories_of`; ``None`` means once."""
    if model.history_times is None:
        return None
    _, places = gather_lists(model.histories.offsets, users)
    return np.ascontiguousarray(model.history_times[places])


def user_queries(model: TasteModel, users: AnyArray, *, threads: int | None = None) -> Queries:
    """Return the queries of the users at these rows, ``int[Q]``: free vectors, or composed of what they bought.

    A user without a purchase has the zero query, as an empty basket has: their free vector was never learned.
    """
    if not model.is_plain:
        return Queries(*answer(model, asking_of_users(model, users), threads=threads))
    if model.user_vectors is None:
        return basket_queries(model, histories_of(model, users), threads=threads)
    bought = histories_of(model, users)
    vectors = np.array(model.user_vectors[users])
    vectors[bought.lengths() == 0] = 0
    return Queries(vectors, _recall(model, bought, threads))


def queries_for(
    model: TasteModel,
    held: Histories,
    users: Rows,
    *,
    asking: Asking | None = None,
    threads: int | None = None,
) -> Queries:
    """Return the queries of visitors: the user's own vector where the model has one, else what they hold, composed.

    ``held`` has a list for each; ``users``, ``int32[Q]``, is the row of a user, -1 for a visitor without one. ``asking`` is all
    that is known of them, for a model that knows age, other events, attributes or contexts.
    """
    if not model.is_plain:
        return Queries(*answer(model, Asking(held) if asking is None else asking, threads=threads))
    if model.user_vectors is None:
        return basket_queries(model, held, threads=threads)
    offsets = model.histories.offsets
    own = (users >= 0) & (offsets[users + 1] > offsets[users]) & (held.lengths() > 0)
    if own.all():
        return Queries(np.array(model.user_vectors[users]), _recall(model, held, threads))
    queries = basket_queries(model, held, threads=threads)
    queries.vectors[own] = model.user_vectors[users[own]]
    return queries


def buyers_for_nobody(model: TasteModel) -> Floats | None:
    """Return what is added to the scores of a query without purchases: ``float32[P]``, each product's buyers.

    ``None`` where the model has a bias, by which the zero query ranks what sells best; free users have none.
    """
    if model.basket_vectors is not None or np.any(model.product_bias):
        return None
    return np.bincount(model.histories.products, minlength=len(model.products)).astype(np.float32)


def basket_queries(model: TasteModel, baskets: Histories, *, threads: int | None = None) -> Queries:
    """Return the query of each basket; an empty basket has the zero query, which ranks best sellers.

    A model of free users has no basket vectors: there the query is the mean of the product vectors.
    """
    if not model.is_plain:
        return Queries(*answer(model, Asking(baskets), threads=threads))
    vectors = np.empty((len(baskets), model.dimensions), np.float32)
    table, damping = model.basket_table()
    offsets, products = baskets.offsets, baskets.products
    with ThreadPool(threads) as pool:
        pool.run(
            lambda low, high: compose_baskets(low, high, offsets, products, table, damping, vectors),
            len(vectors),
        )
    return Queries(vectors, _recall(model, baskets, threads))


def repeat_scores(model: TasteModel, baskets: Histories, times: Counts | None) -> ExtraScores | None:
    """Return what is added to the score of a basket's own products where they may come again, in the order of the basket.

    repeat(q, p) = repeat_weight · log(1 + times(q, p)) + repeat_bias[p]

    ``times`` stands beside ``baskets.products``; ``None`` means that each was bought once. ``None`` comes back from a model that
    adds nothing.
    """
    if not model.repeat_weight and model.repeat_bias is None:
        return None
    again = np.log1p(np.float32(1) if times is None else times.astype(np.float32)) * np.float32(
        model.repeat_weight
    )
    scores = np.zeros(len(baskets.products), np.float32) + again
    if model.repeat_bias is not None:
        scores += model.repeat_bias[baskets.products]
    return ExtraScores(baskets.offsets, baskets.products, scores)


def with_repeats(
    model: TasteModel,
    queries: Queries,
    baskets: Histories,
    times: Counts | None,
    *,
    threads: int | None = None,
) -> Queries:
    """Return the queries of these baskets for lists in which their own products may come again: `repeat_scores` are added."""
    own = repeat_scores(model, baskets, times)
    if own is None:
        return queries
    if queries.extra is None:
        return Queries(queries.vectors, own)
    return Queries(queries.vectors, _sum(queries.extra, own, threads))


def _sum(first: ExtraScores, second: ExtraScores, threads: int | None) -> ExtraScores:
    """Return what two sparse scores add together."""
    counts = np.zeros(len(first.offsets) - 1, np.int64)
    with ThreadPool(threads) as pool:
        pool.run(
            lambda low, high: count_either(
                low, high, first.offsets, first.rows, second.offsets, second.rows, counts
            ),
            len(counts),
        )
        offsets = offsets_of(counts)
        out = ExtraScores(offsets, np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32))
        pool.run(
            lambda low, high: sum_either(
                low, high, first.offsets, first.rows, first.scores, second.offsets, second.rows, second.scores,
                out.offsets, out.rows, out.scores,
            ),
            len(counts),
        )  # fmt: skip
    return out


def _recall(model: TasteModel, baskets: Histories, threads: int | None) -> ExtraScores | None:
    """Return what the memory adds for each basket: the damped sum of its products' weights."""
    memory = model.memory
    if memory is None:
        return None
    products = len(memory.offsets) - 1
    room = np.empty(len(baskets) + 1, np.int64)
    room_for_sums(baskets.offsets, baskets.products, memory.offsets, products, room)
    counts = np.zeros(len(baskets), np.int64)
    rows, scores = np.empty(room[-1], np.int32), np.empty(room[-1], np.float32)
    parts: list[int] = []

    def fill(low: int, high: int) -> None:
        parts.append(low)
        add_up(
            low, high, baskets.offsets, baskets.products, model.memory_damping,
            memory.offsets, memory.products, memory.weights, products, room[low], counts, rows, scores,
        )  # fmt: skip

    with ThreadPool(threads) as pool:
        pool.run(fill, len(counts))
    offsets = offsets_of(counts)
    borders = [*sorted(parts), len(counts)]
    for low, high in pairwise(borders[1:]):  # the first part has its place; the others move up to it
        begin, end = offsets[low], offsets[high]
        for values in (rows, scores):
            values[begin:end] = values[room[low] : room[low] + end - begin]
    return ExtraScores(offsets, rows[: offsets[-1]], scores[: offsets[-1]])
