"""Queries: the vectors that users and baskets are ranked for, and what the memory adds for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import gather_lists
from tastemaker.kernels.baskets import compose_baskets
from tastemaker.kernels.crew import Crew
from tastemaker.kernels.memory import add_up, count_distinct
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.top_k import ExtraScores
from tastemaker.types import AnyArray, Floats

__all__ = ["Queries", "basket_queries", "buyers_for_nobody", "histories_of", "user_queries"]


@dataclass(frozen=True, slots=True)
class Queries:
    """What is ranked for: dense vectors, and what the memory adds for each."""

    vectors: Floats
    """``float32[Q, D]``"""
    extra: ExtraScores | None


def histories_of(model: TasteModel, users: AnyArray) -> Histories:
    """Return what the users at these rows bought, ``int[Q]``, one list for each."""
    offsets, places = gather_lists(model.histories.offsets, users)
    return Histories(offsets, np.ascontiguousarray(model.histories.products[places]))


def user_queries(model: TasteModel, users: AnyArray, *, threads: int | None = None) -> Queries:
    """Return the queries of the users at these rows, ``int[Q]``: free vectors, or composed of what they bought.

    A user without a purchase has the zero query, as an empty basket has: their free vector was never learned.
    """
    if model.user_vectors is None:
        return basket_queries(model, histories_of(model, users), threads=threads)
    bought = histories_of(model, users)
    vectors = np.array(model.user_vectors[users])
    vectors[np.diff(bought.offsets) == 0] = 0
    return Queries(vectors, _recall(model, bought, threads))


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
    vectors = np.empty((len(baskets.offsets) - 1, model.dimensions), np.float32)
    table, damping = model.basket_vectors, model.damping
    if table is None:
        table, damping = model.product_vectors, 1.0
    offsets, products = baskets.offsets, baskets.products
    with Crew(threads) as crew:
        crew.run(
            lambda low, high: compose_baskets(low, high, offsets, products, table, damping, vectors),
            len(vectors),
        )
    return Queries(vectors, _recall(model, baskets, threads))


def _recall(model: TasteModel, baskets: Histories, threads: int | None) -> ExtraScores | None:
    """Return what the memory adds for each basket: the damped sum of its products' weights."""
    memory = model.memory
    if memory is None:
        return None
    count, products = len(baskets.offsets) - 1, len(memory.offsets) - 1
    distinct = np.zeros(count, np.int64)

    def find(low: int, high: int) -> None:
        count_distinct(
            low, high, baskets.offsets, baskets.products, memory.offsets, memory.products, products, distinct
        )

    def fill(low: int, high: int) -> None:
        add_up(
            low, high, baskets.offsets, baskets.products, model.memory_damping,
            memory.offsets, memory.products, memory.weights, products, offsets, rows, scores,
        )  # fmt: skip

    with Crew(threads) as crew:
        crew.run(find, count)
        offsets = np.concatenate(([0], np.cumsum(distinct))).astype(np.int64)
        rows, scores = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
        crew.run(fill, count)
    return ExtraScores(offsets, rows, scores)
