"""How good ranked lists are: one number per user for each metric and each k, from the hits alone.

Every metric of a user is a function ``(hits, k) -> float64[M]`` over the M users with at least one held-out
product. In the formulas of this file, for one user: ``H`` is the set of held-out products, ``r_1 < r_2 < …``
are the places, counted from 1, at which the list shows one of them (the *hits*), and sums run over the hits
with ``r_i <= k``. A list shorter than k is what it is: the places that it lacks hold no hit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.errors import DataError, SettingProblem
from tastemaker.evaluation.exposure import best_seller_share, exposure, gini, novelty
from tastemaker.evaluation.popularity import popularity
from tastemaker.ranking.lists import RankedLists
from tastemaker.types import AnyArray, Doubles, Rows

__all__ = [
    "USER_METRICS",
    "Hits",
    "Measurements",
    "average_precision",
    "check_cutoffs",
    "coverage",
    "find_hits",
    "hit_rate",
    "measure",
    "ndcg",
    "precision",
    "recall",
    "reciprocal_rank",
]


@dataclass(frozen=True, slots=True)
class Hits:
    """The places at which ranked lists show held-out products, for the M users who have any held out.

    Hits stand in order of user, then of rank. Build it with `find_hits`; the constructor only stores.
    """

    queries: Rows
    """``int32[M]``, which of the Q lists belong to a user with a held-out product, ascending"""
    held: Rows
    """``int32[M]``, how many held-out products each of these users has, at least 1"""
    users: Rows
    """``int32[H]``, the user of each hit, as a position in ``queries``"""
    ranks: Rows
    """``int32[H]``, the place of each hit in its list, counted from 1"""

    def ordinals(self) -> Rows:
        """Return the ordinal of each hit within its list, ``int32[H]``: 1 for a list's first hit, 2 for its second."""
        starts = np.searchsorted(self.users, self.users, side="left")
        return (np.arange(len(self.users)) - starts + 1).astype(np.int32)

    def add_up(self, k: int, weights: Doubles | None = None) -> Doubles:
        """Return for each user the sum of the ``float64[H]`` weights (default: 1) of the hits within k."""
        within = self.ranks <= k
        chosen = None if weights is None else weights[within]
        sums = np.bincount(self.users[within], weights=chosen, minlength=len(self.queries))
        return sums.astype(np.float64, copy=False)


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured of Q ranked lists: a value per user for some metrics, one number for others."""

    queries: Rows
    """``int32[M]``, the position among the Q lists of each user with at least one held-out product"""
    values: dict[str, Doubles]
    """``{"recall@10": float64[M], …}``: the value of each of these users"""
    wholes: dict[str, float]
    """``{"coverage@10": x, …}``: what is measured of all lists together"""


def recall(hits: Hits, k: int) -> Doubles:
    """Return the share of each user's held-out products that stand within the first k places, ``float64[M]``.

    ``recall@k = |{i : r_i <= k}| / |H|``. A user with more than k held-out products cannot reach 1.

    Four products held out, found at the places 2 and 5:

    >>> hits = Hits(np.int32([0]), np.int32([4]), np.int32([0, 0]), np.int32([2, 5]))
    >>> recall(hits, 3).tolist(), recall(hits, 5).tolist(), recall(hits, 100).tolist()
    ([0.25], [0.5], [0.5])
    """
    return hits.add_up(k) / hits.held


def precision(hits: Hits, k: int) -> Doubles:
    """Return the share of the first k places that hold a held-out product, ``float64[M]``.

    ``precision@k = |{i : r_i <= k}| / k``. A list shorter than k is still divided by k: places left empty are
    no hits.

    >>> hits = Hits(np.int32([0]), np.int32([4]), np.int32([0, 0]), np.int32([2, 5]))
    >>> precision(hits, 4).tolist(), precision(hits, 5).tolist()
    ([0.25], [0.4])
    """
    return hits.add_up(k) / k


def ndcg(hits: Hits, k: int) -> Doubles:
    """Return each user's normalised discounted cumulative gain within the first k places, ``float64[M]``.

    ``ndcg@k = (sum of 1 / log2(1 + r_i)) / (sum over r = 1 … min(k, |H|) of 1 / log2(1 + r))``: a hit gains
    1, and the ideal list shows min(k, held out) hits first, so that 1 can be reached whatever is held out.
    Source: Järvelin & Kekäläinen 2002, with binary gain and a discount at every place.

    Two products held out, found at the places 1 and 3: ``(1 + 1/2) / (1 + 1/log2(3))``.

    >>> hits = Hits(np.int32([0]), np.int32([2]), np.int32([0, 0]), np.int32([1, 3]))
    >>> ndcg(hits, 1).tolist(), ndcg(hits, 10).round(4).tolist()
    ([1.0], [0.9197])
    """
    most: Rows = np.minimum(hits.held, k)
    ideal: Doubles = np.cumsum(1 / np.log2(1.0 + np.arange(1, most.max(initial=0) + 1)))
    return hits.add_up(k, 1 / np.log2(1.0 + hits.ranks)) / ideal[most - 1]


def average_precision(hits: Hits, k: int) -> Doubles:
    """Return each user's average precision within the first k places, ``float64[M]``.

    ``map@k`` is its mean. ``ap@k = (sum of i / r_i) / min(k, |H|)``: the precision at each hit, added up,
    divided by the number of hits that the ideal list would show. (trec_eval and ranx divide by ``|H|``
    instead, which no list can bring to 1 when ``|H| > k``.)

    Three products held out, found at the places 1 and 4: ``(1/1 + 2/4) / 3``.

    >>> hits = Hits(np.int32([0]), np.int32([3]), np.int32([0, 0]), np.int32([1, 4]))
    >>> average_precision(hits, 10).tolist(), average_precision(hits, 1).tolist()
    ([0.5], [1.0])
    """
    return hits.add_up(k, hits.ordinals() / hits.ranks) / np.minimum(hits.held, k)


def reciprocal_rank(hits: Hits, k: int) -> Doubles:
    """Return ``1 / r_1`` for each user, or 0 without a hit within the first k places, ``float64[M]``.

    ``mrr@k`` is its mean.

    >>> hits = Hits(np.int32([0]), np.int32([3]), np.int32([0, 0]), np.int32([4, 5]))
    >>> reciprocal_rank(hits, 3).tolist(), reciprocal_rank(hits, 10).tolist()
    ([0.0], [0.25])
    """
    return hits.add_up(k, np.where(hits.ordinals() == 1, 1 / hits.ranks, 0.0))


def hit_rate(hits: Hits, k: int) -> Doubles:
    """Return 1 for each user with a hit within the first k places and 0 for the others, ``float64[M]``.

    >>> hits = Hits(np.int32([0]), np.int32([3]), np.int32([0, 0]), np.int32([4, 5]))
    >>> hit_rate(hits, 3).tolist(), hit_rate(hits, 4).tolist(), hit_rate(hits, 5).tolist()
    ([0.0], [1.0], [1.0])
    """
    return (hits.add_up(k) > 0).astype(np.float64)


USER_METRICS: dict[str, Callable[[Hits, int], Doubles]] = {
    "recall": recall,
    "precision": precision,
    "ndcg": ndcg,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "hit_rate": hit_rate,
}
"""The metrics that give each user a value, in the order of a report."""


def coverage(lists: RankedLists, k: int, *, products: int) -> float:
    """Return the share of the catalogue that stands within the first k places of at least one list.

    ``coverage@k = |union over all lists of their first k products| / P``. All lists count, also those of
    users with nothing held out. Raises `DataError` when a list shows a product that a catalogue of this size
    does not have.

    >>> lists = RankedLists(np.int64([0, 2, 4]), np.int32([0, 1, 0, 2]), np.float32([2, 1, 2, 1]))
    >>> coverage(lists, 1, products=4), coverage(lists, 2, products=4)
    (0.25, 0.75)
    """
    return float((exposure(lists, k, products=products) > 0).mean()) if products else 0.0


def find_hits(lists: RankedLists, held_out: Histories) -> Hits:
    """Find the places of the Q lists at which a product stands that is held out for the same query.

    Held-out rows beyond the catalogue stand for products that the model does not know: never found, they
    count as missed. Raises `DataError` when lists and held-out products are not of equally many users, or
    when a list shows a hit twice.

    >>> lists = RankedLists(np.int64([0, 2, 4]), np.int32([7, 3, 1, 0]), np.float32([2, 1, 2, 1]))
    >>> hits = find_hits(lists, Histories(np.int64([0, 2, 2]), np.int32([3, 9])))
    >>> hits.queries.tolist(), hits.held.tolist(), hits.users.tolist(), hits.ranks.tolist()
    ([0], [2], [0], [2])
    """
    from tastemaker.kernels.ranking.hits import hit_flags

    if len(lists) != len(held_out.offsets) - 1:
        raise DataError(
            f"there are {len(lists):,} ranked lists and held-out products of {len(held_out.offsets) - 1:,} "
            "users; pass one list for each user, in the same order."
        )
    flags = np.zeros(len(lists.rows), dtype=np.bool_)
    hit_flags(lists.offsets, lists.rows, held_out.offsets, held_out.products, flags)
    places = np.flatnonzero(flags)
    owners = np.searchsorted(lists.offsets, places, side="right") - 1
    _refuse_repeated_hits(owners, lists.rows[places])
    held = np.diff(held_out.offsets)
    queries = np.flatnonzero(held)
    return Hits(
        queries.astype(np.int32),
        held[queries].astype(np.int32),
        np.searchsorted(queries, owners).astype(np.int32),
        (places - lists.offsets[owners] + 1).astype(np.int32),
    )


def measure(
    lists: RankedLists,
    held_out: Histories,
    *,
    at: Sequence[int],
    products: int,
    bought: Histories | None = None,
) -> Measurements:
    """Measure Q ranked lists against what their Q users really bought, at every k of ``at``.

    Names are ``metric@k``, metric by metric and k ascending. With ``bought``, all that was bought in train,
    `novelty` and the share of best sellers (`best_seller_share`) are measured too, of the users only who have
    something held out; coverage and Gini speak of all lists. Users with nothing held out have no value; they
    are left out, not counted as 0. The lists must have been ranked at least ``max(at)`` long: what was cut
    off cannot be told from what was missed. Raises `SettingProblem` when ``at`` is empty or holds a k below
    1, and `DataError` as `find_hits` and `coverage` do.

    >>> lists = RankedLists(np.int64([0, 2, 4]), np.int32([7, 3, 1, 0]), np.float32([2, 1, 2, 1]))
    >>> measured = measure(lists, Histories(np.int64([0, 2, 3]), np.int32([3, 9, 1])), at=[1, 2], products=10)
    >>> measured.values["recall@1"].tolist(), measured.values["recall@2"].tolist(), measured.wholes
    ([0.0, 1.0], [0.5, 1.0], {'coverage@1': 0.2, 'coverage@2': 0.4, 'gini@1': 0.8, 'gini@2': 0.6})
    """
    cutoffs = check_cutoffs(at)
    hits = find_hits(lists, held_out)
    values = {f"{name}@{k}": metric(hits, k) for name, metric in USER_METRICS.items() for k in cutoffs}
    if bought is not None:
        values |= _what_is_shown(lists, hits.queries, cutoffs, bought, products)
    shown = {k: exposure(lists, k, products=products) for k in cutoffs}
    wholes = {f"coverage@{k}": float((counts > 0).mean()) if products else 0.0 for k, counts in shown.items()}
    wholes |= {f"gini@{k}": gini(counts) for k, counts in shown.items()}
    return Measurements(hits.queries, values, wholes)


def _what_is_shown(
    lists: RankedLists, queries: Rows, cutoffs: Sequence[int], bought: Histories, products: int
) -> dict[str, Doubles]:
    buyers = np.bincount(bought.products, minlength=products).astype(np.int32)
    best, users = popularity(buyers) == 0, int(np.count_nonzero(np.diff(bought.offsets)))
    new = {f"novelty@{k}": novelty(lists, k, buyers=buyers, users=users)[queries] for k in cutoffs}
    return new | {f"best_sellers@{k}": best_seller_share(lists, k, best=best)[queries] for k in cutoffs}


def check_cutoffs(at: Sequence[int]) -> list[int]:
    """Return the distinct list lengths, ascending; raise `SettingProblem` when there is none or one is no whole number from 1."""
    cutoffs = sorted(set(at))
    if not cutoffs or not all(isinstance(k, int | np.integer) and k >= 1 for k in cutoffs):
        raise SettingProblem(
            f"metrics were asked for at {list(at)}; "
            "give at least one list length k, each a whole number from 1, as in at=[10, 100]."
        )
    return cutoffs


def _refuse_repeated_hits(queries: AnyArray, rows: AnyArray) -> None:
    order = np.lexsort((rows, queries))
    queries, rows = queries[order], rows[order]
    repeated = np.flatnonzero((queries[1:] == queries[:-1]) & (rows[1:] == rows[:-1]))
    if len(repeated):
        query, row = int(queries[repeated[0]]), int(rows[repeated[0]])
        raise DataError(
            f"the list of query {query:,} shows product row {row:,} twice; "
            "each product may stand in a list once."
        )
