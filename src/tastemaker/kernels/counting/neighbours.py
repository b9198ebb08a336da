"""Nearest neighbours among histories, as of a moment: users who lately did similar things, and what they did."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.ranking.topk import keep_best, key_of
from tastemaker.types import Floats, Offsets, Rows, Times

__all__ = ["neighbour_scores"]


@kernel()
def neighbour_scores(
    low: int,
    high: int,
    asking: Rows,
    known: Offsets,
    moments: Times,
    own_offsets: Offsets,
    own: Rows,
    own_weights: Floats,
    event_users: Rows,
    event_products: Rows,
    event_times: Times,
    product_offsets: Offsets,
    product_places: Offsets,
    user_offsets: Offsets,
    user_places: Offsets,
    recent: int,
    neighbours: int,
    longest: int,
    half_life: float,
    products: int,
    rows: Rows,
    scores: Floats,
    counts: Offsets,
) -> None:
    """Score, for the queries ``low … high - 1``, the products of the users whose histories are most like the asking user's.

    likeness(v) = n_v^-½ · Σ over own products that v touched of their ``own_weights``, for the last ``recent`` events of each

    score(r) = Σ over the ``neighbours`` most alike v, over their last ``longest`` events with r: likeness(v) · ½^(age / half_life)

    n_v is how many events of v are looked at. Only the first ``known[q]`` events are seen; ``half_life`` in microseconds.
    Query q's products stand ascending in ``rows[q, :counts[q]]``. Source: D. Jannach, M. Ludewig 2017, "When Recurrent Neural
    Networks meet the Neighborhood for Session-Based Recommendation"; D. Garg et al. 2019 (STAN), for the weights by age.
    """
    users = user_offsets.shape[0] - 1
    like = np.zeros(users, np.float32)
    touched = np.empty(users, np.int32)
    last = np.full(users, -1, np.int64)
    keys = np.empty(users, np.uint64)
    total = np.zeros(products, np.float64)
    value = np.empty(1, np.float32)
    bits = value.view(np.int32)
    for q in range(low, high):
        found = 0
        for i in range(own_offsets[q], own_offsets[q + 1]):
            start, end = product_offsets[own[i]], product_offsets[own[i] + 1]
            end = start + np.searchsorted(product_places[start:end], known[q])
            for at in range(end - 1, max(start, end - recent) - 1, -1):
                v = event_users[product_places[at]]
                if v == asking[q] or last[v] == i:
                    continue
                if like[v] == 0:
                    touched[found] = v
                    found += 1
                like[v] += own_weights[i]
                last[v] = i
        for i in range(found):
            v = touched[i]
            start, end = user_offsets[v], user_offsets[v + 1]
            end = start + np.searchsorted(user_places[start:end], known[q])
            value[0] = like[v] / np.sqrt(np.float32(min(end - start, longest)))
            keys[i] = key_of(bits[0], v)
        kept = min(found, neighbours)
        keep_best(keys, found, kept)
        keys[:kept].sort()
        count = 0
        for i in range(kept - 1, -1, -1):
            v = np.int32(np.uint32(0xFFFFFFFF) - np.uint32(keys[i] & np.uint64(0xFFFFFFFF)))
            start, end = user_offsets[v], user_offsets[v + 1]
            end = start + np.searchsorted(user_places[start:end], known[q])
            weight = like[v] / np.sqrt(np.float64(min(end - start, longest)))
            for at in range(max(start, end - longest), end):
                place = user_places[at]
                r = event_products[place]
                if r >= products:
                    continue
                if total[r] == 0:
                    rows[q, count] = r
                    count += 1
                total[r] += weight * 0.5 ** (np.float64(moments[q] - event_times[place]) / half_life) + 1e-30
        rows[q, :count].sort()
        for i in range(count):
            scores[q, i] = total[rows[q, i]]
            total[rows[q, i]] = 0
        counts[q] = count
        for i in range(found):
            like[touched[i]] = 0
            last[touched[i]] = -1
