"""How unlike each other the products within one list are, by vectors or by category."""

from __future__ import annotations

import numpy as np

from tastemaker.data.ragged import offsets_of, owners_of, pair_keys, places_in
from tastemaker.ranking.lists import RankedLists
from tastemaker.types import AnyArray, Doubles, Floats, Rows

__all__ = ["category_diversity", "vector_diversity"]

BLOCK = 1 << 22
"""The numbers (places × dimensions) held at once: 32 MiB."""


def vector_diversity(lists: RankedLists, k: int, *, vectors: Floats) -> Doubles:
    """Return 1 minus the mean cosine of all pairs among the first k products of each list, ``float64[Q]``.

    With n products within k and their vectors scaled to length 1, ``v_1 … v_n``: the sum over the pairs i < j of ``v_i · v_j`` is
    ``(|v_1 + … + v_n|² − n) / 2``, so that no pair has to be formed; ``diversity@k = 1 − (|sum|² − n) / (n (n − 1))``. It is 0
    for products all alike, 1 for unrelated ones, above 1 for opposite ones. ``vectors`` is ``float32[P, D]``; a vector of zeros
    is like no other. A list of fewer than two products has 0.

    A model's own vectors say how unlike *it* holds the products; two models must be measured by the same vectors.
    Source: Ziegler et al. 2005 (intra-list similarity).

    >>> lists = RankedLists(np.int64([0, 3, 4]), np.int32([0, 1, 2, 0]), np.float32([3, 2, 1, 1]))
    >>> vectors = np.float32([[2, 0], [1, 0], [0, 5]])
    >>> vector_diversity(lists, 2, vectors=vectors).tolist(), vector_diversity(lists, 3, vectors=vectors).round(4).tolist()
    ([0.0, 0.0], [0.6667, 0.0])
    """
    lengths = np.sqrt(np.einsum("pd,pd->p", vectors, vectors, dtype=np.float64))
    scale = 1 / np.where(lengths > 0, lengths, 1.0)
    found = np.zeros(len(lists))
    counted = np.minimum(lists.lengths, k)
    at_once = max(1, BLOCK // max(1, k * vectors.shape[1]))
    measured = np.flatnonzero(counted > 1)
    for start in range(0, len(measured), at_once):
        block = measured[start : start + at_once]
        n = counted[block]
        borders = offsets_of(n)[:-1]
        places = np.arange(n.sum()) + np.repeat(lists.offsets[block] - borders, n)
        rows = lists.rows[places]
        units = vectors[rows] * scale[rows, None]
        sums = np.add.reduceat(units, borders, axis=0)
        own = np.add.reduceat((lengths[rows] > 0).astype(np.float64), borders)
        found[block] = 1 - (np.einsum("qd,qd->q", sums, sums) - own) / (n * (n - 1.0))
    return found


def category_diversity(lists: RankedLists, k: int, *, categories: Rows) -> Doubles:
    """Return the share of the pairs among the first k products of each list that are of two categories, ``float64[Q]``.

    With n products within k, n_c of them of category c: ``diversity@k = 1 − (sum over c of n_c (n_c − 1)) / (n (n − 1))``.
    ``categories`` is ``int32[P]`` (`Segments.codes` of `by_column`, or `ProductTable.codes`); a product without a category, -1, is
    like no other. A list of fewer than two products has 0. Source: the Gini–Simpson index, Simpson 1949.

    >>> lists = RankedLists(np.int64([0, 3]), np.int32([0, 1, 2]), np.float32([3, 2, 1]))
    >>> category_diversity(lists, 3, categories=np.int32([7, 7, 4])).round(4).tolist()
    [0.6667]
    """
    owners = owners_of(lists.offsets)
    codes = np.asarray(categories, np.int64)[lists.rows]
    counts = (places_in(lists.offsets) < k) & (codes >= 0)
    width = int(codes.max(initial=0)) + 1
    keys, sizes = np.unique(pair_keys(owners[counts], codes[counts], width), return_counts=True)
    alike = np.bincount(keys // width, weights=sizes * (sizes - 1.0), minlength=len(lists))
    n: AnyArray = np.minimum(lists.lengths, k)
    return np.where(n > 1, 1 - alike / np.maximum(n * (n - 1.0), 1.0), 0.0)
