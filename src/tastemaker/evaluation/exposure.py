"""What lists show, regardless of hits: how evenly products are shown, how new they are, how many are best sellers."""

from __future__ import annotations

import numpy as np

from tastemaker.data.ragged import places_in
from tastemaker.errors import DataError
from tastemaker.ranking.lists import RankedLists
from tastemaker.types import AnyArray, Booleans, Counts, Doubles, Offsets, Rows

__all__ = ["best_seller_share", "exposure", "gini", "mean_within", "novelty"]


def exposure(lists: RankedLists, k: int, *, products: int) -> Offsets:
    """Return how many of the lists show each product within their first k places, ``int64[P]``.

    Raises `DataError` when a list shows a product that a catalogue of this size does not have.

    >>> lists = RankedLists(np.int64([0, 2, 4]), np.int32([0, 1, 0, 2]), np.float32([2, 1, 2, 1]))
    >>> exposure(lists, 1, products=4).tolist(), exposure(lists, 2, products=4).tolist()
    ([2, 0, 0, 0], [2, 1, 1, 0])
    """
    if len(lists.rows) and not 0 <= int(lists.rows.min()) <= int(lists.rows.max()) < products:
        raise DataError(
            f"the lists show product rows {lists.rows.min():,} to {lists.rows.max():,}, and the catalogue "
            f"has {products:,} products; pass the number of products that were ranked."
        )
    return np.bincount(_within(lists, k), minlength=products)


def gini(shown: AnyArray) -> float:
    """Return the Gini coefficient of how often each product is shown, from 0 (all alike) to 1 − 1/P (always the same one).

    With the counts ascending, ``x_1 <= … <= x_P``: ``gini = (sum over i of (2i - P - 1) · x_i) / (P · sum of x)``. Products never
    shown count, as 0. Where nothing is shown at all, all are alike: 0. Source: Gini 1912, in the form of Fleder & Hosanagar 2009.

    >>> gini(np.array([3, 3, 3])), gini(np.array([0, 0, 0, 8])), gini(np.array([1, 3]))
    (0.0, 0.75, 0.25)
    """
    ascending = np.sort(np.asarray(shown, np.float64))
    total, products = float(ascending.sum()), len(ascending)
    if not total > 0:
        return 0.0
    weights = 2.0 * np.arange(1, products + 1) - products - 1
    return float((weights * ascending).sum() / (products * total))


def novelty(lists: RankedLists, k: int, *, buyers: Counts, users: int) -> Doubles:
    """Return how surprising the first k products of each list are, in bits, ``float64[Q]``.

    ``novelty@k = mean over the products shown of −log2(max(b(p), 1) / U)``, where b(p) of the U users bought p in train
    (``buyers``, ``int32[P]``): 0 for what everyone bought, 1 more for each halving of the buyers. A product that nobody bought
    counts as if one user had. An empty list says nothing new: 0. Source: Zhou et al. 2010 (mean self-information).

    >>> lists = RankedLists(np.int64([0, 2, 2]), np.int32([0, 1]), np.float32([2, 1]))
    >>> novelty(lists, 2, buyers=np.int32([8, 2]), users=8).tolist()
    [1.0, 0.0]
    """
    bits = np.log2(max(users, 1)) - np.log2(np.maximum(buyers, 1.0))
    return mean_within(lists, k, bits)


def best_seller_share(lists: RankedLists, k: int, *, best: Booleans) -> Doubles:
    """Return the share of the first k products of each list that are best sellers, ``float64[Q]``; of an empty list 0.

    ``best`` is ``bool[P]``: which products are. `evaluate` takes the head of `by_popularity`: the most bought products that make
    up a third of all purchases, so that lists which show best sellers as often as they are bought have 1/3.

    >>> lists = RankedLists(np.int64([0, 4]), np.int32([0, 1, 3, 2]), np.float32([4, 3, 2, 1]))
    >>> best_seller_share(lists, 4, best=np.array([True, False, False, False])).tolist()
    [0.25]
    """
    return mean_within(lists, k, best.astype(np.float64))


def mean_within(lists: RankedLists, k: int, values: Doubles) -> Doubles:
    """Return the mean of ``values``, ``float64[P]``, over the first k products of each list, ``float64[Q]``; 0 for an empty one."""
    counted = np.minimum(lists.lengths, k)
    owners = np.repeat(np.arange(len(lists)), counted)
    sums = np.bincount(owners, weights=values[_within(lists, k)], minlength=len(lists))
    return sums / np.maximum(counted, 1)


def _within(lists: RankedLists, k: int) -> Rows:
    """Return the products in the first k places of each list, one list after another."""
    counted = np.minimum(lists.lengths, k)
    if counted.sum() == len(lists.rows):
        return lists.rows
    chosen: Rows = lists.rows[places_in(lists.offsets) < k]
    return chosen
