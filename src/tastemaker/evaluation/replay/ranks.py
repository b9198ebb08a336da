"""The rank of what was bought, for every question of a replay."""

from __future__ import annotations

import numpy as np

from tastemaker.evaluation.replay.questions import Questions
from tastemaker.kernels.ranking.placing import place_targets
from tastemaker.kernels.ranking.topk import STEP
from tastemaker.kernels.threads import ThreadPool
from tastemaker.ranking.live.answers import Answers, Asked, Moved, Scoring
from tastemaker.ranking.live.timeline import Timeline
from tastemaker.ranking.top_k import no_extra, padded
from tastemaker.types import AnyArray, Floats, Offsets, Rows, Times

__all__ = ["ranks_of"]

HELD_SCORES = 1 << 19
"""About how many scores a thread holds at once: 2 MiB."""

BIASES = 1 << 22
"""How many biases are held for a block of queries: 16 MiB."""

MOST_QUERIES = 512
"""Queries of a block, whose sparse scores are held together."""


def ranks_of(
    answers: Answers,
    timeline: Timeline,
    questions: Questions,
    *,
    products: int,
    include_purchased: bool = False,
    since: Times | None = None,
    threads: int | None = None,
) -> Rows:
    """Return the rank of each question's product among all candidates, ``int32[Q]``; 0 where it cannot be found.

    rank = 1 + the number of other candidates with a score as high or higher: ties count against the purchase. Candidates are all
    ``products``, without what the user bought before (unless ``include_purchased``); with ``since``, ``int64[P]``, each from
    that moment on. The same ranks come for any number of threads.
    """
    ranks = np.zeros(len(questions), np.int32)
    queries = len(questions.offsets) - 1
    at_once = max(STEP, min(MOST_QUERIES, BIASES // max(products, 1)))
    with ThreadPool(threads) as pool:
        for low in range(0, queries, at_once):
            high = min(low + at_once, queries)
            asked = questions.asked(timeline, low, high, products)
            scoring = answers.answer(asked)
            if since is not None:
                scoring = _not_before(scoring, asked, since)
            first, last = questions.offsets[low], questions.offsets[high]
            offsets = questions.offsets[low : high + 1] - first
            rows = questions.products[first:last]
            ranks[first:last] = _placed(
                scoring, asked, offsets, rows, products, exclude=not include_purchased, pool=pool
            )
    return ranks


def _placed(
    scoring: Scoring,
    asked: Asked,
    offsets: Offsets,
    targets: Rows,
    products: int,
    *,
    exclude: bool,
    pool: ThreadPool,
) -> Rows:
    """Return the rank of each target of a block; those that the model does not know have rank 0."""
    candidates, count = scoring.candidates, len(asked)
    findable = targets < products
    borders = np.concatenate(([0], np.cumsum(findable)))[offsets].astype(np.int64)
    found = np.zeros(int(findable.sum()), np.int32)
    wanted = np.ascontiguousarray(targets[findable])
    queries = padded(scoring.vectors)
    extra = scoring.extra or no_extra()
    moved = scoring.moved or _unmoved(scoring.vectors)
    none = np.zeros(1, np.int64)
    left_out = (asked.bought.offsets, asked.bought.products) if exclude else (none, np.zeros(0, np.int32))
    chunk = max(STEP, min(4 * STEP, HELD_SCORES // max(products, 1) // STEP * STEP))

    def some(low: int, high: int) -> None:
        place_targets(
            low, high, chunk, queries, candidates.panels, scoring.biases, scoring.bias_of, *left_out,
            extra.offsets, extra.rows, extra.scores, moved.offsets, moved.rows, moved.places, padded(moved.vectors),
            borders, wanted, found,
        )  # fmt: skip

    pool.run(some, -(-count // chunk))
    ranks = np.zeros(len(targets), np.int32)
    ranks[findable] = found
    return ranks


def _not_before(scoring: Scoring, asked: Asked, since: Times) -> Scoring:
    """Take products out of the candidates of questions asked before the product was there."""
    biases = np.where(since <= asked.times[:, None], scoring.biases[scoring.bias_of], np.float32(-np.inf))
    every = np.arange(len(asked), dtype=np.int32)
    return Scoring(scoring.vectors, scoring.candidates, biases, every, scoring.extra, scoring.moved)


def _unmoved(vectors: Floats) -> Moved:
    nothing: AnyArray = np.zeros(0, np.int32)
    return Moved(np.zeros(1, np.int64), nothing, nothing, np.zeros((0, vectors.shape[1]), np.float32))
