"""How well some weights rank: ndcg of held-out products for a few users, again and again with other weights."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.ranking.topk import count_at_least
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["ndcg_of_weights", "rank_of"]

BLOCK = 512
"""Products compared before the rank is looked at: past k, the rest of a row tells nothing."""


SPARSE = 8
"""Where what the memory speaks of is less than this part of the catalogue, only that is set anew under other weights."""


@kernel(inline=True)
def rank_of(row: Floats, score: np.float32, k: int) -> int:
    """Return how many of ``row[P]`` score at least so much; of more than k, some number above k."""
    rank = 0
    for start in range(0, row.shape[0], BLOCK):
        rank += count_at_least(row[start : min(start + BLOCK, row.shape[0])], score)
        if rank > k:
            break
    return rank


@kernel(inline=True)
def add_entries(
    basket: Rows, offsets: Offsets, products: Rows, weights: Floats, sums: Floats, known: Rows, touched: Rows, count: int
) -> int:  # fmt: skip
    """Add a table's rows of a basket to ``sums[P]``; list what is met for the first time in ``touched``, and return its end."""
    for b in basket:
        for entry in range(offsets[b], offsets[b + 1]):
            p = products[entry]
            sums[p] += weights[entry]
            if known[p] == 0:
                known[p] = 1
                touched[count] = p
                count += 1
    return count


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
    weights: Doubles,
    damping: float,
    k: int,
    ndcg: Doubles,
) -> None:
    """Set ``ndcg[w, q]`` at k of the queries ``low … high - 1`` under each of ``weights[W, 3]``.

    score(q, p) = taste[q, p] + trend_weight · trend[p] + n_q^-damping · Σ over b in the basket of
    (count_weight · counts[b, p] + ridge_weight · ridge[b, p])

    and ``own`` of each place in the baskets is added to the score of the product there: -inf leaves it out.

    Each held-out product is ranked against all others; ties count against it. The sums over a basket are made once for all weights.
    """
    products = taste.shape[1]
    base, row = np.empty(products, np.float32), np.empty(products, np.float32)
    by_count, by_ridge = np.zeros(products, np.float32), np.zeros(products, np.float32)
    known, touched = np.zeros(products, np.int32), np.empty(products, np.int32)
    for q in range(low, high):
        # 1. What each table says, by_count[P] and by_ridge[P], and of which products, touched[count].
        size, count = basket_offsets[q + 1] - basket_offsets[q], 0
        scale = 1.0 if size < 2 else np.float64(size) ** -damping
        basket = baskets[basket_offsets[q] : basket_offsets[q + 1]]
        if np.any(weights[:, 0] != 0):
            count = add_entries(
                basket, counts_offsets, counts_products, counts_weights, by_count, known, touched, count
            )
        if np.any(weights[:, 1] != 0):
            count = add_entries(
                basket, ridge_offsets, ridge_products, ridge_weights, by_ridge, known, touched, count
            )
        ideal = 0.0
        for rank in range(1, min(k, held_offsets[q + 1] - held_offsets[q]) + 1):
            ideal += 1.0 / np.log2(1.0 + rank)
        for w in range(weights.shape[0]):
            # 2. The scores of all products, row[P]; where the trend weighs as before, only those that the memory speaks of change.
            of_counts, of_ridge = np.float32(weights[w, 0] * scale), np.float32(weights[w, 1] * scale)
            if w == 0 or weights[w, 2] != weights[w - 1, 2]:
                for p in range(products):
                    base[p] = taste[q, p] + np.float32(weights[w, 2]) * trend[p]
                for place in range(basket_offsets[q], basket_offsets[q + 1]):
                    base[baskets[place]] += own[place]
                for p in range(products):
                    row[p] = base[p]
            if count * SPARSE < products:
                for i in range(count):
                    p = touched[i]
                    row[p] = base[p] + (of_counts * by_count[p] + of_ridge * by_ridge[p])
            else:
                for p in range(products):
                    row[p] = base[p] + (of_counts * by_count[p] + of_ridge * by_ridge[p])
            # 3. The rank of each held-out product, as long as it is at most k.
            gain = 0.0
            for place in range(held_offsets[q], held_offsets[q + 1]):
                rank = rank_of(row, row[held[place]], k)
                if rank <= k:
                    gain += 1.0 / np.log2(1.0 + rank)
            ndcg[w, q] = gain / ideal if ideal > 0 else 0.0
        for i in range(count):
            p = touched[i]
            by_count[p], by_ridge[p], known[p] = np.float32(0), np.float32(0), np.int32(0)
