"""The baseline to beat: the products that the most users bought, in one list for everybody."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.errors import NoPurchases
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel

__all__ = ["best_sellers"]


def best_sellers(purchases: Purchases) -> TasteModel:
    """Return the model that scores a product by the number of users who bought it, whoever asks.

    It has no dimensions, only a bias: the same value and the same ranking as any other model. Raises `NoPurchases`.

    >>> import polars as pl
    >>> from tastemaker.data.readers import read_purchases
    >>> log = pl.DataFrame({"user_id": [1, 2, 2, 2], "product_id": ["hat", "hat", "sock", "sock"]})
    >>> best_sellers(read_purchases(log)).product_bias.tolist()
    [2.0, 1.0]
    """
    if not len(purchases):
        raise NoPurchases("there is no purchase to count.")
    histories = purchases.histories()
    buyers = np.bincount(histories.products, minlength=len(purchases.products)).astype(np.float32)
    return TasteModel(
        users=purchases.users,
        products=purchases.products,
        histories=histories,
        product_vectors=np.zeros((len(purchases.products), 0), np.float32),
        product_bias=buyers,
        user_vectors=np.zeros((len(purchases.users), 0), np.float32),
        basket_vectors=None,
        memory=None,
        record=TrainingRecord(None, 0, purchases.fingerprint(), len(purchases)),
    )
