"""`LivingAnswers`: how a model that knows time answers as the shop goes on: histories, rates and vectors move with every event."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker.data.past import Past
from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import offsets_of
from tastemaker.data.tokens.bags import Bags, side_by_side
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.asking import Asking
from tastemaker.model.beside.known import bought_by, seen_by
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.answers import Asked, Moved, Scoring
from tastemaker.ranking.live.asking import answer, vectors_of
from tastemaker.ranking.live.folding import Folding
from tastemaker.ranking.live.rates import Rates
from tastemaker.ranking.live.sales import RatesThrough, Sales
from tastemaker.ranking.live.timeline import Timeline
from tastemaker.ranking.packed import known_sales, worth_of
from tastemaker.ranking.queries import Queries, with_repeats
from tastemaker.ranking.top_k import Candidates
from tastemaker.types import Floats, Offsets, Rows, Times

__all__ = ["LivingAnswers", "rates_of"]

EVENTS_AT_ONCE = 1 << 14
FEW = 256
"""For fewer queries than this, threads cost more than they save."""


class LivingAnswers:
    """A model with rates, age, other events, attributes or contexts, as a replay asks it.

    With ``frozen_at`` rates and vectors stand as they were at that moment, and only histories grow.
    """

    def __init__(
        self,
        model: TasteModel,
        timeline: Timeline,
        later: Purchases,
        *,
        include_purchased: bool = False,
        frozen_at: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.model, self.timeline, self.later = model, timeline, later
        self.include_purchased, self.threads = include_purchased, threads
        self._past = _past_of(timeline, len(model.products))
        self._of_users = users_tokens(model, timeline, later)
        live, count = model.live, len(model.products)
        self._rates: RatesThrough | None = None
        self._folding: Folding | None = None
        if live is not None:
            sales = Sales.of(timeline, count)
            rates = rates_of(model, int(timeline.times[0]) if len(timeline) else 0)
            self._rates = RatesThrough(rates, sales, frozen_at=frozen_at, threads=threads)
            if live.fold_in is not None and frozen_at is None:
                self._folding = Folding(live.fold_in, np.asarray(model.product_vectors))
        bought = (timeline.kinds == 0) & ~timeline.is_learned & (timeline.product_rows < count)
        self._events = np.flatnonzero(bought)
        self._done = 0
        self._stale: list[Rows] = []
        """Products that have moved since they were packed"""
        self._candidates: Candidates | None = None

    def answer(self, asked: Asked) -> Scoring:
        """Return how the queries of a block score every product."""
        model = self.model
        asking = self._asking(asked.users, asked.times, asked.context)
        vectors, extra = answer(model, asking, threads=self.threads)
        if self.include_purchased:
            queries = Queries(vectors, extra)
            queries = with_repeats(model, queries, asked.bought, asked.days, threads=self.threads)
            extra = queries.extra
        if self._rates is None:
            biases, bias_of = np.asarray(model.product_bias)[None, :], np.zeros(len(asked), np.int32)
        else:
            biases, bias_of = self._rates.of(asked)
        candidates, moved = self._moved(asked)
        return Scoring(vectors, candidates, biases, bias_of, extra, moved)

    def _asking(self, users: Rows, times: Times, context: pl.DataFrame | None) -> Asking:
        held, moments, strengths = bought_by(self._past, users, times)
        seen = None if self._past.kinds is None else seen_by(self._past, users, times)
        return Asking(held, moments, times, seen, self._tokens(users, context), strengths)

    def _tokens(self, users: Rows, context: pl.DataFrame | None) -> Bags | None:
        tokens = self.model.tokens
        if tokens is None or self._of_users is None:
            return None
        own = self._of_users.take(users)
        return side_by_side([tokens.context.encode(context, len(users)), own], len(users))

    def _moved(self, asked: Asked) -> tuple[Candidates, Moved | None]:
        """Return the products as of the block's first query, and those that have moved by each later one."""
        folding = self._folding
        if folding is None:
            if self._candidates is None:
                self._candidates = Candidates.of(np.asarray(self.model.product_vectors))
            return self._candidates, None
        self._fold(int(asked.known[0]))
        if self._candidates is None:
            self._candidates = Candidates.of(folding.table())
        elif self._stale:
            rows = np.unique(np.concatenate(self._stale))
            self._candidates.moved(rows, folding.moved(rows))
        self._stale = []
        places: dict[int, int] = {}
        vectors: list[Floats] = []
        rows_of, lists, total = [], [], 0
        last = int(asked.known[0])
        rows, where = np.zeros(0, np.int32), np.zeros(0, np.int32)
        for known in asked.known.tolist():
            if known != last:
                fresh = self._fold(known)
                last = known
                if fresh is not None:
                    vectors.append(folding.moved(fresh))
                    places.update(zip(fresh.tolist(), range(total, total + len(fresh)), strict=True))
                    total += len(fresh)
                    rows = np.array(sorted(places), np.int32)
                    where = np.array([places[row] for row in rows.tolist()], np.int32)
            rows_of.append(rows)
            lists.append(where)
        if not total:
            return self._candidates, None
        offsets = offsets_of([len(moved) for moved in rows_of])
        return self._candidates, Moved(
            offsets, np.concatenate(rows_of), np.concatenate(lists), np.concatenate(vectors)
        )

    def _fold(self, known: int) -> Rows | None:
        """Let the purchases among the first ``known`` events move their products; return which moved, ascending."""
        assert self._folding is not None
        upto = int(np.searchsorted(self._events, known))
        if upto <= self._done:
            return None
        touched = []
        for low in range(self._done, upto, EVENTS_AT_ONCE):
            events = self._events[low : min(low + EVENTS_AT_ONCE, upto)]
            touched.append(self._folding.add(self.timeline.product_rows[events], self._queries_at(events)))
        self._done = upto
        moved = np.unique(np.concatenate(touched)).astype(np.int32)
        self._stale.append(moved)
        return moved

    def _queries_at(self, events: Offsets) -> Floats:
        """Return who bought, as they were just before these events, ``float32[n, D]``."""
        timeline, context = self.timeline, self.later.context
        rows = timeline.later[events]
        if context is not None:
            context = context[pl.Series(rows)]
        asking = self._asking(timeline.user_rows[events], timeline.times[events], context)
        with ThreadPool(1 if len(events) < FEW else self.threads) as pool:
            return vectors_of(self.model, asking, pool)


def rates_of(model: TasteModel, origin: int) -> Rates:
    """Return the rates of a model without any purchase counted; raise `AssertionError` where it has none.

    Where `by_value` or `by_tail` made the model, its dial stays beside the rates.
    """
    live, count = model.live, len(model.products)
    assert live is not None
    sold = np.bincount(model.histories.products, minlength=count) > 0
    base = np.float32(live.dial) * (~sold).astype(np.float32)
    if live.value_dial:
        base += (live.value_dial * worth_of(model)).astype(np.float32)
    if live.tail:
        base -= (live.tail * known_sales(model)).astype(np.float32)
    return Rates(
        count,
        half_life=live.half_life,
        origin=origin,
        kappa=1.0,
        prior=live.kappa / max(count, 1),
        scaled=(live.weight, base),
        young=live.young,
    )


def users_tokens(model: TasteModel, timeline: Timeline, later: Purchases) -> Bags | None:
    """Return the tokens of the timeline's users: of the model's, and of new ones where LATER describes them."""
    tokens = model.tokens
    if tokens is None:
        return None
    known, count = tokens.of_users, len(timeline.users)
    if later.user_features is not None and count > len(known):
        ids = timeline.users.ids[len(known) :]
        fresh = later.users.find(ids).fill_null(-1).to_numpy()
        described = tokens.users.encode(later.user_features, len(later.users))
        lengths = np.diff(described.offsets)[np.maximum(fresh, 0)] * (fresh >= 0)
        some = described.take(fresh[fresh >= 0])
        return Bags(
            np.concatenate([known.offsets, known.offsets[-1] + np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([known.tokens, some.tokens]),
            np.concatenate([known.weights, some.weights]),
        )
    end = np.full(count - len(known), known.offsets[-1])
    return Bags(np.concatenate([known.offsets, end]).astype(np.int64), known.tokens, known.weights)


def _past_of(timeline: Timeline, products: int) -> Past:
    """Return a timeline as the past of its users; events of products that the model does not know are left out."""
    places = timeline.places
    kept = timeline.product_rows[places] < products
    offsets = np.concatenate(([0], np.cumsum(kept)))[timeline.offsets].astype(np.int64)
    places = places[kept]
    kinds = timeline.kinds[places] if len(timeline.names) > 1 else None
    strengths = None if timeline.strengths is None else timeline.strengths[places]
    return Past(
        offsets, timeline.product_rows[places], timeline.times[places], kinds, timeline.names, strengths
    )
