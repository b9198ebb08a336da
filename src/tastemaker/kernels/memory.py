"""The memory: which products are bought together, and what that adds to the score of a basket."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.topk import keep_best, key_of
from tastemaker.types import Booleans, Floats, Offsets, Rows

__all__ = ["add_up", "count_distinct", "strongest_partners"]


@kernel()
def strongest_partners(
    low: int,
    high: int,
    buyer_offsets: Offsets,
    buyers: Rows,
    history_offsets: Offsets,
    histories: Rows,
    user_weights: Floats,
    product_weights: Floats,
    scale: float,
    partners: Rows,
    strengths: Floats,
    counts: Offsets,
) -> None:
    """Find for each product ``low … high - 1`` the products most strongly bought with it.

    strength(p, q) = log(1 + scale · product_weights[p] · product_weights[q] · Σ over users u who bought both of user_weights[u])

    Writes the strongest ``partners[p - low, :counts[p - low]]``, ascending rows, with their ``strengths``, both as wide as the most
    kept; of equal strengths the lower row is kept. Users of weight 0 are passed over.
    """
    products = buyer_offsets.shape[0] - 1
    together = np.zeros(products, np.float32)
    touched = np.empty(products, np.int32)
    keys = np.empty(products, np.uint64)
    value = np.empty(1, np.float32)
    bits = value.view(np.int32)
    for p in range(low, high):
        found = 0
        for place in range(buyer_offsets[p], buyer_offsets[p + 1]):
            user = buyers[place]
            weight = user_weights[user]
            if weight == 0:
                continue
            for other in range(history_offsets[user], history_offsets[user + 1]):
                q = histories[other]
                if together[q] == 0:
                    touched[found] = q
                    found += 1
                together[q] += weight
        count = 0
        for i in range(found):
            q = touched[i]
            if q != p:
                value[0] = np.float32(
                    np.log1p(scale * product_weights[p] * product_weights[q] * np.float64(together[q]))
                )
                together[q] = value[0]
                keys[count] = key_of(bits[0], q)
                count += 1
        kept = min(count, partners.shape[1])
        keep_best(keys, count, kept)
        for i in range(kept):
            touched_row = np.uint32(0xFFFFFFFF) - np.uint32(keys[i] & np.uint64(0xFFFFFFFF))
            partners[p - low, i] = np.int32(touched_row)
        partners[p - low, :kept].sort()
        for i in range(kept):
            strengths[p - low, i] = together[partners[p - low, i]]
        counts[p - low] = kept
        for i in range(found):
            together[touched[i]] = 0


@kernel()
def count_distinct(
    low: int,
    high: int,
    basket_offsets: Offsets,
    baskets: Rows,
    memory_offsets: Offsets,
    memory_products: Rows,
    products: int,
    counts: Offsets,
) -> None:
    """Set ``counts[q]`` to how many distinct products the memory knows with the basket of each query ``low … high - 1``."""
    seen: Booleans = np.zeros(products, np.bool_)
    touched = np.empty(products, np.int32)
    for q in range(low, high):
        found = 0
        for place in range(basket_offsets[q], basket_offsets[q + 1]):
            p = baskets[place]
            for entry in range(memory_offsets[p], memory_offsets[p + 1]):
                row = memory_products[entry]
                if not seen[row]:
                    seen[row] = True
                    touched[found] = row
                    found += 1
        counts[q] = found
        for i in range(found):
            seen[touched[i]] = False


@kernel()
def add_up(
    low: int,
    high: int,
    basket_offsets: Offsets,
    baskets: Rows,
    memory_offsets: Offsets,
    memory_products: Rows,
    memory_weights: Floats,
    products: int,
    offsets: Offsets,
    rows: Rows,
    scores: Floats,
) -> None:
    """Set, for the queries ``low … high - 1``, the products that the memory knows and what it adds to their scores.

    scores(q, r) = Σ over p in basket q of memory[p, r]

    Query q's products stand ascending in ``rows[offsets[q]:offsets[q + 1]]``, a space counted by `count_distinct`.
    """
    total = np.zeros(products, np.float32)
    seen: Booleans = np.zeros(products, np.bool_)
    for q in range(low, high):
        start = offsets[q]
        found = start
        for place in range(basket_offsets[q], basket_offsets[q + 1]):
            p = baskets[place]
            for entry in range(memory_offsets[p], memory_offsets[p + 1]):
                row = memory_products[entry]
                total[row] += memory_weights[entry]
                if not seen[row]:
                    seen[row] = True
                    rows[found] = row
                    found += 1
        rows[start:found].sort()
        for place in range(start, found):
            row = rows[place]
            scores[place] = total[row]
            total[row] = 0
            seen[row] = False
