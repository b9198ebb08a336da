"""The trend: products that sold better, or worse, recently than overall."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.types import Floats

__all__ = ["trend_of"]

RECENT = 0.1
"""The last tenth of the time that the log spans is recent."""


def trend_of(log: Purchases) -> Floats:
    """Return ``float32[P]``, the log of each product's recent purchases over those expected; zeros where the log has no times.

    trend_p = log(recent_p + 1) - log(all_p · recent / all + 1)

    >>> import polars as pl
    >>> from tastemaker.data.reading.readers import read_purchases
    >>> days = [f"2024-01-{day:02}" for day in (1, 1, 10, 11, 11)]
    >>> log = read_purchases(pl.DataFrame({"user": list("abcde"), "product": list("xxxyy"), "date": days}))
    >>> [round(float(value), 2) for value in trend_of(log)]
    [-0.34, 0.31]
    """
    products = len(log.products)
    if log.times is None or not len(log):
        return np.zeros(products, np.float32)
    start, end = int(log.times.min()), int(log.times.max())
    recent = log.times >= end - RECENT * (end - start)
    late = np.bincount(log.product_rows[recent], minlength=products)
    ever = np.bincount(log.product_rows, minlength=products)
    trend: Floats = (np.log(late + 1.0) - np.log(ever * recent.mean() + 1.0)).astype(np.float32)
    return trend
