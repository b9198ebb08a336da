"""`Standing`: rates and products' vectors of a shop as its events arrive; what a replay reads off a timeline, a server is told."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np

from tastemaker.data.past import Past
from tastemaker.data.tokens.bags import Bags
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.asking import Asking
from tastemaker.model.beside.known import bought_by, seen_by
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.asking import last_moment, vectors_of
from tastemaker.ranking.live.folding import Folding
from tastemaker.ranking.live.living import rates_of
from tastemaker.ranking.packed import PackedModel
from tastemaker.types import Floats, Rows, Times

__all__ = ["Bought", "Standing", "packed_at"]


@dataclass(frozen=True, slots=True, eq=False)
class Bought:
    """Purchases that have just arrived, n of them, and what was known of their buyers."""

    products: Rows
    """``int32[n]``"""
    times: Times
    """``int64[n]``, microseconds since 1970-01-01 UTC"""
    buyers: Rows
    """``int32[n]``, users of ``past``"""
    past: Past
    """What the buyers did, these purchases included: each query sees what lies before its time"""
    tokens: Bags | None = None
    """Of each purchase: its context and its buyer's attributes"""

    def take(self, places: Rows) -> Bought:
        """Return some of the purchases, ``int[m]``."""
        tokens = None if self.tokens is None else self.tokens.take(places)
        return Bought(self.products[places], self.times[places], self.buyers[places], self.past, tokens)


class Standing:
    """The rates and the products' vectors of a model with `live`, from the end of its training on.

    It is the replay's `Rates` and `Folding`: the same events give the same numbers. Not for several threads at once.
    """

    __slots__ = ("clock", "folding", "model", "rates")

    def __init__(self, model: TasteModel) -> None:
        """Count what the model remembers; raise `AssertionError` for a model that nothing moves in."""
        assert model.live is not None
        self.model = model
        self.clock = last_moment(model)
        """The time of the latest event, in microseconds"""
        self.rates = rates_of(model, self.clock)
        if model.past is not None:
            sold = np.flatnonzero(model.past.kinds_of() == 0)
            times = np.asarray(model.past.times)[sold]
            order = np.argsort(times, kind="stable")
            self._count(np.asarray(model.past.products)[sold][order], times[order])
        fold_in = model.live.fold_in
        self.folding = None if fold_in is None else Folding(fold_in, np.asarray(model.product_vectors))

    def follow(self, bought: Bought) -> None:
        """Let purchases move the rates and vectors of their products."""
        if not len(bought.products):
            return
        self._count(bought.products, bought.times)
        self.clock = max(self.clock, int(bought.times.max()))
        if self.folding is not None:
            self.folding.add(bought.products, _queries(self.model, bought))

    def bias(self, moment: int) -> Floats:
        """Return the rates at a moment in the place of the learned bias, ``float32[P]``; nothing is kept of the question.

        What was counted cannot be taken back: a moment before the latest event has the rates of just after it.
        """
        moment = max(moment, self.clock + 1)
        rates = copy.copy(self.rates)  # a question far ahead would move the origin for all
        rates.counts, rates.born = self.rates.counts.copy(), self.rates.born.copy()
        return rates.at(moment)

    def vectors(self) -> Floats:
        """Return the products' vectors as they are now, ``float32[P, D]``: the model's own array where none has moved."""
        if self.folding is None or not len(self.folding.rows):
            return self.model.product_vectors
        return self.folding.table()

    def as_model(self, moment: int) -> TasteModel:
        """Return the model as it stands at a moment. Queries are made from what was learned, as in a replay."""
        table, _ = self.model.basket_table()
        basket = table if self.model.basket_vectors is not None else None
        return replace(
            self.model,
            product_vectors=self.vectors(),
            product_bias=self.bias(moment),
            basket_vectors=basket,
        )

    def _count(self, products: Rows, times: Times) -> None:
        steps = np.array([0, len(products)], np.int64)
        self.rates.through(
            np.ascontiguousarray(products, np.int32),
            np.ascontiguousarray(times, np.int64),
            steps,
            np.zeros(0, np.int64),
            threads=1,
        )


def packed_at(packed: PackedModel, moment: int) -> PackedModel:
    """Return a model as it ranks at a moment, in microseconds: with the rates of then, where it has some."""
    model = packed.model
    if model.live is None:
        return packed
    bias = Standing(model).bias(moment)
    return PackedModel(replace(model, product_bias=bias), packed.catalogue, replace(packed.exact, bias=bias))


def _queries(model: TasteModel, bought: Bought) -> Floats:
    """Return the buyers as they were just before they bought, ``float32[n, D]``."""
    held, moments, strengths = bought_by(bought.past, bought.buyers, bought.times)
    seen = None
    if model.kinds is not None and bought.past.kinds is not None:
        seen = seen_by(bought.past, bought.buyers, bought.times)
    asking = Asking(held, moments, bought.times, seen, bought.tokens, strengths)
    with ThreadPool(1) as pool:
        return vectors_of(model, asking, pool)
