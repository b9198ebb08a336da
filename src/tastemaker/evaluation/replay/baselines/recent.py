"""*Recent best sellers*: what sells of late, live, with the half-life that served train best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tastemaker.data.summary import PER_STEP, TimeUnit
from tastemaker.evaluation.replay.questions import Questions, questions_of
from tastemaker.evaluation.replay.ranks import ranks_of
from tastemaker.ranking.live.answers import Asked, Scoring
from tastemaker.ranking.live.rates import Rates
from tastemaker.ranking.live.sales import RatesThrough, Sales
from tastemaker.ranking.live.timeline import Timeline
from tastemaker.ranking.top_k import Candidates
from tastemaker.types import Rows

__all__ = [
    "HALF_LIVES",
    "RecentBestSellers",
    "choose_half_life",
    "half_life_said",
    "half_lives_of",
    "last_questions",
    "ndcg_of",
]

DAY = 86_400_000_000
"""Microseconds"""

HALF_LIVES = (1.0, 3.0, 7.0, 14.0, 30.0, 60.0, 120.0, 365.0, 1_095.0)
"""Days"""

SHARES = (1 / 256, 1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 4.0)
"""Half-lives where only the order of events is known, of all that train spans."""

LAST = 0.1
"""Settings are chosen on the last tenth of the time that train spans."""

MOST_QUESTIONS = 20_000

MOST_SCORES = 150_000_000
"""Settings are chosen on at most this many questions, evenly spread, and this many scores of products."""


def half_lives_of(train: Timeline, unit: TimeUnit) -> tuple[float, ...]:
    """Return the half-lives to choose among, in days of 86.4e9: those of a calendar, or of an order alone some of its length.

    ``train`` holds nothing but what a model learned from.
    """
    span = int(train.times[-1] - train.times[0]) / DAY if len(train) else 0.0
    return HALF_LIVES if unit != "steps" or not span else tuple(share * span for share in SHARES)


def half_life_said(half_life: float, unit: TimeUnit, name: str = "half_life") -> dict[str, float]:
    """Return a half-life as the report says it: in days, or in steps where only the order is known."""
    return (
        {f"{name}_steps": half_life * DAY / PER_STEP[unit]}
        if unit == "steps"
        else {f"{name}_days": half_life}
    )


class RecentBestSellers:
    """Ranks by the decayed count of purchases, the same for every user."""

    def __init__(
        self,
        timeline: Timeline,
        products: int,
        *,
        half_life: float,
        frozen_at: int | None = None,
        threads: int | None = None,
    ) -> None:
        origin = (
            int(timeline.times[0]) if len(timeline) else 0
        )  # not the last: what is to come decides no bit
        rates = Rates(products, half_life=half_life, origin=origin)
        sales = Sales.of(timeline, products)
        self._through = RatesThrough(rates, sales, frozen_at=frozen_at, threads=threads)
        self._candidates = Candidates.of(np.zeros((products, 0), np.float32))

    def answer(self, asked: Asked) -> Scoring:
        """Return how the queries of a block score every product."""
        biases, bias_of = self._through.of(asked)
        return Scoring(np.zeros((len(asked), 0), np.float32), self._candidates, biases, bias_of)


def choose_half_life(
    train: Timeline,
    products: int,
    *,
    include_purchased: bool = False,
    half_lives: Sequence[float] = HALF_LIVES,
    threads: int | None = None,
) -> float:
    """Return the half-life, in days, with the best ndcg@100 on the last tenth of train, replayed; of equals the longer one.

    ``train`` holds nothing but what a model learned from.
    """
    asked = last_questions(train, products, include_purchased=include_purchased)
    best, found = -1.0, max(half_lives)
    for half_life in sorted(half_lives, reverse=True):
        if not len(asked):
            break
        rule = RecentBestSellers(train, products, half_life=half_life, threads=threads)
        ranks = ranks_of(
            rule, train, asked, products=products, include_purchased=include_purchased, threads=threads
        )
        if ndcg_of(ranks) > best:
            best, found = ndcg_of(ranks), half_life
    return found


def last_questions(
    train: Timeline, products: int, *, include_purchased: bool, most: int = MOST_QUESTIONS
) -> Questions:
    """Return the questions of the last tenth of the time that train spans; of many, some that are evenly spread."""
    purchases = np.flatnonzero((train.kinds == 0) & (train.product_rows < products))
    times = train.times[purchases]
    last = purchases[times > times[-1] - LAST * (times[-1] - times[0])] if len(times) else purchases
    most = min(most, max(MOST_SCORES // max(products, 1), 1))
    if len(last) > most:
        last = last[np.linspace(0, len(last) - 1, most).astype(np.int64)]
    sold = np.ones(products, np.bool_)
    return questions_of(train, last, products=products, sold=sold, include_purchased=include_purchased)


def ndcg_of(ranks: Rows, k: int = 100) -> float:
    """Return the mean of 1 / log2(rank + 1) within k; rank 0 is worth nothing."""
    inside = (ranks > 0) & (ranks <= k)
    return float(np.sum(1 / np.log2(ranks[inside] + 1.0)) / max(len(ranks), 1))
