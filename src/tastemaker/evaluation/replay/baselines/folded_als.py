"""*ALS, users folded in*: a factorisation that solves a user's factors anew at each question, from their purchases so far."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.answers import Asked, Scoring
from tastemaker.ranking.packed import product_candidates
from tastemaker.types import Doubles, Floats

__all__ = ["FoldedFactors", "folded_users"]


class FoldedFactors:
    """Answers with the vector that ALS gives a history, for known users and for new ones."""

    def __init__(self, model: TasteModel, *, regularization: float, alpha: float) -> None:
        self._model, self._alpha = model, alpha
        vectors = np.asarray(model.product_vectors, np.float64)
        self._plain: Doubles = np.einsum("pi,pj->ij", vectors, vectors) + regularization * np.eye(
            model.dimensions
        )
        self._candidates = product_candidates(model)

    def answer(self, asked: Asked) -> Scoring:
        """Return how the queries of a block score every product."""
        vectors = folded_users(self._model, asked.bought, self._plain, self._alpha)
        biases = np.asarray(self._model.product_bias, np.float32)[None, :]
        return Scoring(vectors, self._candidates, biases, np.zeros(len(asked), np.int32))


def folded_users(model: TasteModel, bought: Histories, plain: Doubles, alpha: float) -> Floats:
    """Return the vector of each history, ``float32[Q, D]``: (VᵀV + λI + (α - 1) Σ v vᵀ)⁻¹ α Σ v over its products.

    ``plain`` is VᵀV + λI. An empty history has the zero vector. Source: Y. Hu, Y. Koren, C. Volinsky 2008, eq. 4.
    """
    users: Floats = np.zeros((len(bought.offsets) - 1, model.dimensions), np.float32)
    for query in np.flatnonzero(np.diff(bought.offsets)):
        rows = bought.products[bought.offsets[query] : bought.offsets[query + 1]]
        vectors = np.asarray(model.product_vectors[rows], np.float64)
        system = plain + (alpha - 1) * (vectors.T @ vectors)
        users[query] = np.linalg.solve(system, alpha * vectors.sum(axis=0))
    return users
