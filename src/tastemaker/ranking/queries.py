"""Queries: the vectors that users, baskets and products are ranked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.errors import SettingProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.top_k import ExtraScores
from tastemaker.types import AnyArray, Floats

__all__ = ["Queries", "basket_queries", "user_queries"]


@dataclass(frozen=True, slots=True)
class Queries:
    """What is ranked for: dense vectors, and what the memory adds for each."""

    vectors: Floats
    """``float32[Q, D]``"""
    extra: ExtraScores | None


def user_queries(model: TasteModel, users: AnyArray) -> Queries:
    """Return the queries of the users at these rows, ``int[Q]``."""
    if model.user_vectors is None:
        raise SettingProblem("this model has no user vectors.")
    return Queries(np.ascontiguousarray(model.user_vectors[users]), None)


def basket_queries(model: TasteModel, baskets: Histories) -> Queries:
    """Return the query of each basket: the mean of its products' vectors; an empty basket has the zero query."""
    vectors = np.zeros((len(baskets.offsets) - 1, model.dimensions), np.float32)
    for q in range(len(vectors)):
        products = baskets.of(q)
        if len(products):
            vectors[q] = model.product_vectors[products].mean(axis=0)
    return Queries(vectors, None)
