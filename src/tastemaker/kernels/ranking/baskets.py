"""Queries of baskets: the damped sum of what is in them."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Floats, Offsets, Rows

__all__ = ["compose_baskets"]


@kernel()
def compose_baskets(
    low: int, high: int, offsets: Offsets, baskets: Rows, vectors: Floats, damping: float, queries: Floats
) -> None:
    """Set ``queries[q]`` of the baskets ``low … high - 1`` to Σ over the n products p of ``vectors[p]``, over n^damping.

    Basket q is ``baskets[offsets[q]:offsets[q + 1]]``; an empty one has the zero query.
    """
    for q in range(low, high):
        queries[q, :] = 0
        count = offsets[q + 1] - offsets[q]
        for place in range(offsets[q], offsets[q + 1]):
            row = baskets[place]
            for d in range(queries.shape[1]):
                queries[q, d] += vectors[row, d]
        if count > 1:
            scale = np.float32(np.float64(count) ** -damping)
            for d in range(queries.shape[1]):
                queries[q, d] *= scale
