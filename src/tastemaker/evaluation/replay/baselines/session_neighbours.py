"""*Session neighbours*: scores products by what the users with the most similar histories did, as of the moment of asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from tastemaker.data.ragged import offsets_of, places_in
from tastemaker.data.summary import TimeUnit
from tastemaker.evaluation.replay.baselines.recent import (
    RecentBestSellers,
    half_life_said,
    last_questions,
    ndcg_of,
)
from tastemaker.evaluation.replay.ranks import ranks_of
from tastemaker.kernels.counting.neighbours import neighbour_scores
from tastemaker.kernels.threads import ThreadPool
from tastemaker.ranking.live.answers import Asked, Scoring
from tastemaker.ranking.live.timeline import Timeline
from tastemaker.ranking.top_k import ExtraScores
from tastemaker.types import Floats, Offsets, Rows

__all__ = ["NeighbourSettings", "SessionNeighbours", "choose_neighbours", "grid_of"]

DAY = 86_400_000_000
"""Microseconds"""

RECENT = 500
"""At most this many of the latest events with a product are looked at."""

LONGEST = 50
"""A history is at most this many of a user's latest events."""

OWN = 20
"""At most this many of the asking user's latest products are compared."""

REST = np.float32(1e-6)
"""Weight of the rate of best sellers: it breaks ties, and ranks for users without a history."""


@dataclass(frozen=True, slots=True)
class NeighbourSettings:
    """What is chosen inside train."""

    place_decay: float = 0.8
    """What a product of the user's own weighs beside the next newer one"""
    neighbours: int = 100
    half_life: float = 365.0
    """Days after which what a neighbour did counts half"""

    def as_dict(self, unit: TimeUnit = "calendar") -> dict[str, float]:
        """Return the settings as the report says them."""
        return {
            "place_decay": self.place_decay,
            "neighbours": self.neighbours,
            **half_life_said(self.half_life, unit, "neighbours_half_life"),
        }


def grid_of(train: Timeline, unit: TimeUnit) -> tuple[NeighbourSettings, ...]:
    """Return the settings to choose among; where only the order is known, half-lives are shares of its length."""
    half_lives = (30.0, 3_650.0)
    if unit == "steps" and len(train):
        span = max(int(train.times[-1] - train.times[0]), 1) / DAY
        half_lives = (span / 10, 10 * span)
    return tuple(
        NeighbourSettings(decay, neighbours, half_life)
        for decay, neighbours, half_life in product((0.8, 1.0), (100, 500), half_lives)
    )


class SessionNeighbours:
    """Ranks by what the users with the most similar histories did, older events counting less; then by recent best sellers."""

    def __init__(
        self,
        timeline: Timeline,
        rest: RecentBestSellers,
        products: int,
        settings: NeighbourSettings,
        *,
        threads: int | None = None,
    ) -> None:
        self.timeline, self.rest, self.products = timeline, rest, products
        self.settings, self.threads = settings, threads
        rows = timeline.product_rows
        known = np.flatnonzero(rows < products)
        self._places = known[np.argsort(rows[known], kind="stable")]
        self._offsets = offsets_of(np.bincount(rows[known], minlength=products))

    def answer(self, asked: Asked) -> Scoring:
        """Return how the queries of a block score every product."""
        plain = self.rest.answer(asked)
        timeline, settings = self.timeline, self.settings
        own_offsets, own, weights = self._own(asked)
        width = min(settings.neighbours * LONGEST, self.products)
        rows = np.empty((len(asked), width), np.int32)
        scores, counts = np.empty((len(asked), width), np.float32), np.zeros(len(asked), np.int64)

        def some(low: int, high: int) -> None:
            neighbour_scores(
                low, high, asked.users, asked.known, asked.times, own_offsets, own, weights,
                timeline.user_rows, timeline.product_rows, timeline.times, self._offsets, self._places,
                timeline.offsets, timeline.places, RECENT, settings.neighbours, LONGEST, settings.half_life * DAY,
                self.products, rows, scores, counts,
            )  # fmt: skip

        with ThreadPool(self.threads) as pool:
            pool.run(some, len(asked))
        there = np.arange(width) < counts[:, None]
        extra = ExtraScores(offsets_of(counts), rows[there], scores[there])
        return Scoring(plain.vectors, plain.candidates, REST * plain.biases, plain.bias_of, extra)

    def _own(self, asked: Asked) -> tuple[Offsets, Rows, Floats]:
        """Return the latest distinct products of each asking user, newest first, and what each weighs."""
        timeline = self.timeline
        known = timeline.of(asked.users, asked.known)
        known = known.only(timeline.product_rows[known.places] < self.products)
        pairs = known.queries.astype(np.int64) * self.products + timeline.product_rows[known.places]
        _, newest = np.unique(pairs[::-1], return_index=True)
        chosen = len(pairs) - 1 - newest
        queries, places = known.queries[chosen], known.places[chosen]
        order = np.lexsort((-places, queries))
        queries, places = queries[order], places[order]
        turn = places_in(offsets_of(np.bincount(queries, minlength=len(asked))))
        kept = turn < OWN
        offsets = offsets_of(np.bincount(queries[kept], minlength=len(asked)))
        weights = (self.settings.place_decay ** turn[kept]).astype(np.float32)
        return offsets, timeline.product_rows[places[kept]], weights


def choose_neighbours(
    train: Timeline,
    products: int,
    *,
    half_life: float,
    include_purchased: bool = False,
    grid: Sequence[NeighbourSettings] | None = None,
    threads: int | None = None,
) -> NeighbourSettings:
    """Return the settings with the best ndcg@100 on the last tenth of train, replayed; of equals the first."""
    grid = grid_of(train, "calendar") if grid is None else grid
    asked = last_questions(train, products, include_purchased=include_purchased, most=2_000)
    best, found = -1.0, grid[0]
    for settings in grid:
        if not len(asked):
            break
        rest = RecentBestSellers(train, products, half_life=half_life, threads=threads)
        rule = SessionNeighbours(train, rest, products, settings, threads=threads)
        ranks = ranks_of(
            rule, train, asked, products=products, include_purchased=include_purchased, threads=threads
        )
        if ndcg_of(ranks) > best:
            best, found = ndcg_of(ranks), settings
    return found
