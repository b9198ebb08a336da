"""The co-purchase baseline: how often products were bought together with what the user has, counted and normalised."""

from __future__ import annotations

import numpy as np

from tastemaker.data.reading.given import AnyLog, log_given
from tastemaker.errors import NoPurchases, SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.training.baselines.best_sellers import buyer_shares, remembering
from tastemaker.training.memory.co_occurrence import count_memory

__all__ = ["co_purchase"]


def co_purchase(
    purchases: AnyLog,
    *,
    power: float = 0.0,
    damping: float = 0.0,
    popularity: float = 0.1,
    partners: int = 1_000,
    threads: int | None = None,
) -> TasteModel:
    """Return the model that scores a product by how often it was bought together with what the user bought.

    score(u, q) = Σ over p in H(u) of w(p, q) + popularity · median(w) · buyers_q / max(buyers)

    w(p, q) = Σ over users v who bought both of n_v^-damping / (buyers_p · buyers_q)^power, w(p, p) = 0

    ``power`` 0 gives counts and ½ cosines (B. Sarwar et al. 2001, "Item-based Collaborative Filtering Recommendation
    Algorithms"); ½ with ``damping`` 1 is the linear filter of graph networks (Y. Shen et al. 2021, "How Powerful is Graph
    Convolution for Recommendation?"). The small ``popularity`` breaks ties, and gives best sellers to users without a history.
    The ``partners`` strongest of each product are kept; users with more than 5,000 products are passed over.

    Raises `NoPurchases`, and `SettingProblem` for a negative setting or less than one partner.

    >>> import polars as pl
    >>> from tastemaker.data.reading.readers import read_purchases
    >>> log = pl.DataFrame({"user": [1, 1, 2, 2, 3], "product": ["hat", "scarf", "hat", "scarf", "sock"]})
    >>> co_purchase(read_purchases(log)).memory.weights.tolist()
    [2.0, 2.0]
    """
    purchases = log_given(purchases)
    if not len(purchases):
        raise NoPurchases("there is no purchase to count.")
    for name, value in (("power", power), ("damping", damping), ("popularity", popularity)):
        if not 0 <= value < np.inf:
            raise SettingProblem(f"{name} is {value}; it must be a finite number, 0 or more.")
    if partners < 1:
        raise SettingProblem(f"partners is {partners}; at least 1 partner of each product must be kept.")
    histories = purchases.histories()
    with ThreadPool(threads) as pool:
        memory = count_memory(
            histories, len(purchases.products), power=power, damping=damping, partners=partners, pool=pool
        )
    bias = np.float32(popularity) * _unit(memory) * buyer_shares(histories, len(purchases.products))
    return remembering(
        purchases,
        histories,
        memory,
        bias,
        {
            "baseline": "co_purchase",
            "power": power,
            "damping": damping,
            "popularity": popularity,
            "partners": partners,
        },
    )


def _unit(memory: Memory) -> np.float32:
    """Return what a weight of the memory amounts to; 1 where nothing was ever bought together."""
    return np.float32(np.median(memory.weights) if len(memory.weights) else 1.0)
