"""Other libraries' models as contestants: learned by them, ranked and measured like all others.

Both are factorisations, so that a `TasteModel` holds them whole: score(u, p) = v_u · v_p, as their own scores are.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.errors import NoPurchases
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.baselines.als import factorised
from tastemaker.types import AnyArray, Floats

__all__ = ["lenskit_als", "rectools_svd"]


def lenskit_als(
    purchases: Purchases,
    *,
    factors: int = 50,
    regularization: float = 0.1,
    weight: float = 40.0,
    epochs: int = 10,
    seed: int = 0,
) -> TasteModel:
    """Return the factorisation that LensKit's ALS for implicit feedback learns (``ImplicitMFScorer``), its defaults by default.

    Its vectors are what LensKit calls embeddings. Raises `NoPurchases`, and ImportError without LensKit.
    """
    _check(purchases)
    learner, data, training = (import_module(f"lenskit.{name}") for name in ("als", "data", "training"))
    log = data.from_interactions_df(_pairs(purchases, "user_id", "item_id"))
    scorer = learner.ImplicitMFScorer(
        embedding_size=factors, regularization=regularization, weight=weight, epochs=epochs
    )
    scorer.train(log, training.TrainingOptions(rng=seed))
    users, products = scorer.users.ids().astype(np.int64), scorer.items.ids().astype(np.int64)
    settings = {"factors": factors, "regularization": regularization, "weight": weight, "epochs": epochs}
    return factorised(
        purchases,
        _placed(scorer.user_embeddings, users, len(purchases.users)),
        _placed(scorer.item_embeddings, products, len(purchases.products)),
        seed,
        {"baseline": "lenskit_als"} | settings,
    )


def rectools_svd(purchases: Purchases, *, factors: int = 10, seed: int = 0) -> TasteModel:
    """Return the truncated singular value decomposition that RecTools learns (``PureSVDModel``).

    Raises `NoPurchases`, and ImportError without RecTools.
    """
    _check(purchases)
    data, rivals = import_module("rectools.dataset"), import_module("rectools.models")
    frame = _pairs(purchases, "user_id", "item_id")
    frame["weight"], frame["datetime"] = 1.0, np.datetime64("2000-01-01", "ns")
    log = data.Dataset.construct(frame)
    most = min(log.user_id_map.size, log.item_id_map.size) - 1
    model = rivals.PureSVDModel(factors=max(1, min(factors, most)))
    model.fit(log)
    users, products = log.user_id_map.external_ids, log.item_id_map.external_ids
    return factorised(
        purchases,
        _placed(model.user_factors, users.astype(np.int64), len(purchases.users)),
        _placed(model.item_factors, products.astype(np.int64), len(purchases.products)),
        seed,
        {"baseline": "rectools_svd", "factors": factors},
    )


def _check(purchases: Purchases) -> None:
    if not len(purchases):
        raise NoPurchases("there is no purchase to learn from.")


def _pairs(purchases: Purchases, user: str, product: str) -> Any:
    """Return the distinct pairs as a pandas frame of rows, which both libraries read."""
    pandas = import_module("pandas")
    histories = purchases.histories()
    return pandas.DataFrame(
        {user: histories.owners().astype(np.int64), product: histories.products.astype(np.int64)}
    )


def _placed(vectors: AnyArray, rows: AnyArray, length: int) -> Floats:
    """Put vectors at their rows; all other rows are zero."""
    table = np.zeros((length, vectors.shape[1]), np.float32)
    table[rows] = vectors
    return table
