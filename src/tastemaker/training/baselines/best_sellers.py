"""The baseline to beat: the products that the most users bought, in one list for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tastemaker.data.past import past_of
from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.reading.given import AnyLog, log_given
from tastemaker.errors import NoPurchases
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.types import Floats

__all__ = ["best_sellers", "buyer_shares", "remembering"]


def best_sellers(purchases: AnyLog) -> TasteModel:
    """Return the model that scores a product by the number of users who bought it, the same for every user.

    It has no dimensions, only a bias: the same value and the same ranking as any other model. Raises `NoPurchases`.

    >>> import polars as pl
    >>> from tastemaker.data.reading.readers import read_purchases
    >>> log = pl.DataFrame({"user_id": [1, 2, 2, 2], "product_id": ["hat", "hat", "sock", "sock"]})
    >>> best_sellers(read_purchases(log)).product_bias.tolist()
    [2.0, 1.0]
    """
    purchases = log_given(purchases)
    if not len(purchases):
        raise NoPurchases("there is no purchase to count.")
    histories = purchases.histories()
    buyers = np.bincount(histories.products, minlength=len(purchases.products)).astype(np.float32)
    return remembering(purchases, histories, None, buyers, {})


def buyer_shares(histories: Histories, products: int) -> Floats:
    """Return each product's buyers over those of the best seller, ``float32[P]``: what breaks ties in other baselines."""
    buyers = np.bincount(histories.products, minlength=products)
    shares: Floats = (buyers / max(buyers.max(initial=0), 1)).astype(np.float32)
    return shares


def remembering(
    purchases: Purchases,
    histories: Histories,
    memory: Memory | None,
    bias: Floats,
    settings: Mapping[str, Any],
) -> TasteModel:
    """Return a model without dimensions: a bias, and perhaps a memory whose entries are added up undamped."""
    return TasteModel(
        users=purchases.users,
        products=purchases.products,
        histories=histories,
        product_vectors=np.zeros((len(purchases.products), 0), np.float32),
        product_bias=bias,
        user_vectors=np.zeros((len(purchases.users), 0), np.float32),
        basket_vectors=None,
        memory=memory,
        record=TrainingRecord(None, 0, purchases.fingerprint(), len(purchases), metrics=settings),
        memory_damping=0.0,
        past=past_of(purchases),
    )
