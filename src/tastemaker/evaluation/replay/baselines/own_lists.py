"""Rules that begin a list with what the user did before: *bought before*, and *in the basket, not yet bought*."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tastemaker.data.past import PURCHASE
from tastemaker.evaluation.replay.baselines.recent import RecentBestSellers
from tastemaker.ranking.live.answers import Asked, Scoring
from tastemaker.ranking.live.timeline import Timeline
from tastemaker.ranking.top_k import ExtraScores
from tastemaker.types import AnyArray

__all__ = ["BASKET_KINDS", "VIEW_KINDS", "OwnFirst"]

BASKET_KINDS = ("cart", "basket")
"""Kinds of events that put a product in the basket."""

VIEW_KINDS = ("view",)

REST = np.float32(1e-3)
"""What the rate of a best seller weighs: less than one place in the list before."""


class OwnFirst:
    """Ranks products of the user's own past first, then what sells of late.

    ``"bought before"``: most often first (by days), of equals the newest. ``"basket"``: what lies in the basket and was not bought
    since, newest first, then what was viewed and not bought since, newest first.
    """

    def __init__(
        self, timeline: Timeline, rest: RecentBestSellers, rule: Literal["bought before", "basket"]
    ) -> None:
        self.timeline, self.rest, self.rule = timeline, rest, rule
        basket = [place for place, name in enumerate(timeline.names) if name in BASKET_KINDS]
        viewed = [place for place, name in enumerate(timeline.names) if name in VIEW_KINDS]
        self._rank = np.zeros(len(timeline.names), np.int64)
        self._rank[basket], self._rank[viewed] = 2, 1

    def answer(self, asked: Asked) -> Scoring:
        """Return how the queries of a block score every product."""
        plain = self.rest.answer(asked)
        products = plain.biases.shape[1]
        queries, rows, keys = self._own(asked, products)
        order = np.lexsort((*keys, queries))  # worst first within a query
        scores = np.empty(len(order), np.float32)
        starts = np.searchsorted(queries[order], np.arange(len(asked)))
        scores[order] = 1.0 + np.arange(len(order)) - starts[queries[order]]
        by_row = np.lexsort((rows, queries))
        offsets = np.searchsorted(queries[by_row], np.arange(len(asked) + 1)).astype(np.int64)
        extra = ExtraScores(offsets, rows[by_row].astype(np.int32), scores[by_row])
        return Scoring(plain.vectors, plain.candidates, REST * plain.biases, plain.bias_of, extra)

    def _own(self, asked: Asked, products: int) -> tuple[AnyArray, AnyArray, tuple[AnyArray, ...]]:
        """Return the distinct (query, product) pairs of the list's beginning, and by what they stand, least important first."""
        timeline = self.timeline
        known = timeline.of(asked.users, asked.known)
        known = known.only(timeline.product_rows[known.places] < products)
        queries, places = known.queries, known.places
        pairs = queries * products + timeline.product_rows[places]
        kinds = timeline.kinds[places]
        distinct, which = np.unique(pairs, return_inverse=True)
        bought_at = _last(which, places, kinds == timeline.names.index(PURCHASE), len(distinct))
        if self.rule == "bought before":
            kept = bought_at >= 0
            counts = np.zeros(len(distinct), np.int64)
            own = (
                np.repeat(np.arange(len(asked)), np.diff(asked.bought.offsets)) * products
                + asked.bought.products
            )
            counts[np.searchsorted(distinct, own)] = asked.days
            keys: tuple[AnyArray, ...] = (bought_at, counts)
        else:
            put_at = _last(which, places, self._rank[kinds] == 2, len(distinct))
            viewed_at = _last(which, places, self._rank[kinds] == 1, len(distinct))
            there, seen = put_at > bought_at, viewed_at > bought_at
            kept = there | seen
            keys = (np.where(there, put_at, viewed_at), there)
        return distinct[kept] // products, distinct[kept] % products, tuple(key[kept] for key in keys)


def _last(which: AnyArray, places: AnyArray, chosen: AnyArray, count: int) -> AnyArray:
    """Return the last chosen event of each pair, ``int64[count]``; -1 where there is none."""
    last = np.full(count, -1, np.int64)
    np.maximum.at(last, which[chosen], places[chosen])
    return last
