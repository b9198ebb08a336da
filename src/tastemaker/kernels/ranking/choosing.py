"""How well some weights rank: ndcg of held-out products for a few users, again and again with other weights."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["ndcg_of_weights"]

BLOCK = 512
"""Products compared before the rank is looked at: past k, the rest of a row tells nothing."""


@kernel()
def ndcg_of_weights(
    low: int,
    high: int,
    taste: Floats,
    basket_offsets: Offsets,
    baskets: Rows,
    held_offsets: Offsets,
    held: Rows,
    counts_offsets: Offsets,
    counts_products: Rows,
    counts_weights: Floats,
    ridge_offsets: Offsets,
    ridge_products: Rows,
    ridge_weights: Floats,
    trend: Floats,
    own: Floats,
    count_weight: float,
    ridge_weight: float,
    trend_weight: float,
    damping: float,
    k: int,
    ndcg: Doubles,
) -> None:
    """Set ``ndcg[q]`` at k of the queries ``low … high - 1`` under three weights.

    score(q, p) = taste[q, p] + trend_weight · trend[p] + n_q^-damping · Σ over b in the basket of
    (count_weight · counts[b, p] + ridge_weight · ridge[b, p])

    and ``own`` of each place in the baskets is added to the score of the product there: -inf leaves it out.

    Each held-out product is ranked against all others; ties count against it.
    """
    row = np.empty(taste.shape[1], np.float32)
    for q in range(low, high):
        # 1. The scores of all products, row[P].
        size = basket_offsets[q + 1] - basket_offsets[q]
        scale = 1.0 if size < 2 else np.float64(size) ** -damping
        for p in range(row.shape[0]):
            row[p] = taste[q, p] + np.float32(trend_weight) * trend[p]
        by_count, by_ridge = np.float32(count_weight * scale), np.float32(ridge_weight * scale)
        for place in range(basket_offsets[q], basket_offsets[q + 1]):
            b = baskets[place]
            if count_weight != 0:
                for entry in range(counts_offsets[b], counts_offsets[b + 1]):
                    row[counts_products[entry]] += by_count * counts_weights[entry]
            if ridge_weight != 0:
                for entry in range(ridge_offsets[b], ridge_offsets[b + 1]):
                    row[ridge_products[entry]] += by_ridge * ridge_weights[entry]
        for place in range(basket_offsets[q], basket_offsets[q + 1]):
            row[baskets[place]] += own[place]
        # 2. The rank of each held-out product, as long as it is at most k.
        gain, ideal = 0.0, 0.0
        for place in range(held_offsets[q], held_offsets[q + 1]):
            score, rank = row[held[place]], 0
            for start in range(0, row.shape[0], BLOCK):
                for p in range(start, min(start + BLOCK, row.shape[0])):
                    rank += row[p] >= score
                if rank > k:
                    break
            if rank <= k:
                gain += 1.0 / np.log2(1.0 + rank)
        for rank in range(1, min(k, held_offsets[q + 1] - held_offsets[q]) + 1):
            ideal += 1.0 / np.log2(1.0 + rank)
        ndcg[q] = gain / ideal if ideal > 0 else 0.0
