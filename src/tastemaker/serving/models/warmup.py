"""`warm`: every kernel that answers requests, compiled or read from its cache before the first one comes."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.kernels.compiling import on_compile
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.ranking.index.narrowed import narrow_copies
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.rank import nearest, rank_baskets, rank_users
from tastemaker.ranking.top_k import Candidates, top_k
from tastemaker.ranking.why import Buyers

__all__ = ["warm"]

log = logging.getLogger("tastemaker.warm")


def warm() -> None:
    """Rank with a tiny model whose arrays are of the types of a loaded one; nothing here starts a thread of Polars."""
    with on_compile(
        lambda: log.warning(
            "compiling the kernels: once on this machine, some seconds; later starts reuse them"
        )
    ):
        for model in (_tiny(free_users=False), _tiny(free_users=True)):
            candidates = product_candidates(model)
            for include in (False, True):
                users, basket = np.array([0, 1], np.int32), np.array([1], np.int32)
                rank_users(model, users, candidates, k=2, include_purchased=include, threads=1)
                rank_users(model, users[:1], candidates, k=2, include_purchased=include, threads=1)
                rank_baskets(model, [basket], candidates, k=2, include_purchased=include, threads=1)
            Buyers(model).together(users, users)
            nearest((model.product_vectors, candidates), basket, k=2, threads=1)
        vectors = np.eye(64, 4, dtype=np.float32)
        for order in (None, np.arange(64, dtype=np.int32)):
            narrow = narrow_copies(vectors, order=order, threads=1)
            top_k(vectors[:1], replace(Candidates.of(vectors), narrow=narrow), 2, threads=1)


def _tiny(*, free_users: bool) -> TasteModel:
    vectors = np.eye(3, 4, dtype=np.float32)
    memory = Memory(
        np.array([0, 1, 2, 2]),
        np.array([1, 0], np.int32),
        np.ones(2, np.float32),
    )
    return TasteModel(
        users=Vocabulary(pl.Series("id", ["a", "b"]), "user"),
        products=Vocabulary(pl.Series("id", ["p", "q", "r"]), "product"),
        histories=Histories(np.array([0, 1, 1]), np.zeros(1, np.int32)),
        product_vectors=vectors,
        product_bias=np.zeros(3, np.float32),
        user_vectors=vectors[:2] if free_users else None,
        basket_vectors=None if free_users else vectors,
        memory=None if free_users else memory,
        record=TrainingRecord(None, 0, "", 1),
    )
