"""What a replay and a server ask of anything that ranks, and how a plain model answers as histories grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.timeline import Known, Timeline
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.queries import Queries, basket_queries, buyers_for_nobody, with_repeats
from tastemaker.ranking.top_k import Candidates, ExtraScores
from tastemaker.types import Counts, Floats, Offsets, Rows, Times

__all__ = ["Answers", "Asked", "Moved", "PlainAnswers", "Scoring", "asked_of", "distinct_of"]

DAY = 86_400_000_000
"""Microseconds"""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A block of Q queries of one replay, in the order of time: who asks, when, and how many events are known then."""

    users: Rows
    """``int32[Q]``, rows of the timeline's users"""
    times: Times
    """``int64[Q]``, ascending"""
    known: Offsets
    """``int64[Q]``, ascending"""
    bought: Histories
    """The distinct products of the model that each user had bought by then, ascending"""
    days: Counts
    """``int32[pairs]``, on how many days each was bought"""
    context: pl.DataFrame | None = None
    """Q rows: the context columns of LATER"""

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """Products whose vectors have moved since a block began: query q finds ``rows[offsets[q]:offsets[q + 1]]`` elsewhere."""

    offsets: Offsets
    """``int64[Q + 1]``"""
    rows: Rows
    """``int32[total]``, ascending within a query"""
    places: Rows
    """``int32[total]``, rows of ``vectors``"""
    vectors: Floats
    """``float32[n, D]``"""


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """How Q queries score every product: score(q, p) = biases[bias_of[q], p] + vectors[q] · v_p + extra(q, p)."""

    vectors: Floats
    """``float32[Q, D]``"""
    candidates: Candidates
    """The products' vectors as of the block's first query; their bias is not used"""
    biases: Floats
    """``float32[R, P]``; minus infinity is no candidate"""
    bias_of: Rows
    """``int32[Q]``, rows of ``biases``"""
    extra: ExtraScores | None = None
    moved: Moved | None = None


class Answers(Protocol):
    """Anything that ranks in time. Blocks come in the order of time; what is asked of one block may use only what is known."""

    def answer(self, asked: Asked) -> Scoring:
        """Return how the queries of a block score every product."""
        ...


class PlainAnswers:
    """A model without time: histories grow, and nothing else moves.

    A user's query is what `rank_users` makes of the history so far; users who are new are answered by their basket. In a model of
    free users, who had bought something in train keeps the learned vector.
    """

    def __init__(
        self,
        model: TasteModel,
        timeline: Timeline,
        *,
        include_purchased: bool = False,
        threads: int | None = None,
    ) -> None:
        self.model, self.timeline = model, timeline
        self.include_purchased, self.threads = include_purchased, threads
        self._candidates = product_candidates(model)
        buyers = buyers_for_nobody(model)
        bias = np.asarray(model.product_bias, np.float32)[None, :]
        self._biases = bias if buyers is None else np.concatenate([bias, buyers[None, :]])

    def answer(self, asked: Asked) -> Scoring:
        """Return how the queries of a block score every product."""
        queries = self._with_own(asked.users, asked.bought)
        if self.include_purchased:
            queries = with_repeats(self.model, queries, asked.bought, asked.days, threads=self.threads)
        nobody = np.diff(asked.bought.offsets) == 0
        bias_of = nobody.astype(np.int32) if len(self._biases) > 1 else np.zeros(len(asked), np.int32)
        return Scoring(queries.vectors, self._candidates, self._biases, bias_of, queries.extra)

    def _with_own(self, users: Rows, baskets: Histories) -> Queries:
        """Return the queries of baskets, and the learned vectors of those who have one."""
        model = self.model
        queries = basket_queries(model, baskets, threads=self.threads)
        if model.user_vectors is None:
            return queries
        learned = np.zeros(len(self.timeline.users), bool)
        learned[: len(model.users)] = np.diff(model.histories.offsets) > 0
        own = np.flatnonzero(learned[users])
        queries.vectors[own] = model.user_vectors[users[own]]
        return queries


def asked_of(
    timeline: Timeline, users: Rows, times: Times, *, products: int, context: pl.DataFrame | None = None
) -> Asked:
    """Return the queries of these users at these ascending times, for a catalogue of this many products."""
    known = timeline.known_at(times)
    bought = timeline.of(users, known)
    is_purchase = timeline.kinds[bought.places] == 0
    bought = bought.only(is_purchase & (timeline.product_rows[bought.places] < products))
    return Asked(users, times, known, *distinct_of(timeline, bought), context)


def distinct_of(timeline: Timeline, known: Known) -> tuple[Histories, Counts]:
    """Return the distinct products of each query, ascending, and on how many days each was bought, ``int32[pairs]``.

    Of what a model learned without times, each purchase is a day of its own.
    """
    places = known.places
    days = timeline.times[places] // DAY
    if timeline.undated:
        days = np.where(timeline.is_learned[places], -1 - places, days)
    order = np.lexsort((days, timeline.product_rows[places], known.queries))
    queries, products, days = known.queries[order], timeline.product_rows[places][order], days[order]
    first = np.ones(len(order), bool)
    first[1:] = (queries[1:] != queries[:-1]) | (products[1:] != products[:-1])
    another = first.copy()
    another[1:] |= days[1:] != days[:-1]
    starts = np.flatnonzero(first)
    counts = np.add.reduceat(another, starts, dtype=np.int32) if len(starts) else np.zeros(0, np.int32)
    offsets = np.zeros(len(known.offsets), np.int64)
    np.cumsum(np.bincount(queries[starts], minlength=len(offsets) - 1), out=offsets[1:])
    return Histories(offsets, np.ascontiguousarray(products[starts])), counts
