"""`Asking`: Q queries with the age of all that is known of them, and how it becomes weights of vectors and of memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import gather_lists, offsets_of, owners_of
from tastemaker.data.tokens.bags import Bags, no_bags
from tastemaker.kernels.ranking.bags import compose_bags
from tastemaker.kernels.threads import Task, ThreadPool
from tastemaker.model.beside.known import Seen
from tastemaker.model.beside.order import Fading, Kinds, ages_of, places_of
from tastemaker.model.beside.sums import token_sums
from tastemaker.types import AnyArray, Booleans, Floats, Times

__all__ = ["Asking"]


@dataclass(eq=False)
class Asking:
    """Q queries: what each holds and since when, what was seen of them, and the tokens of their context and attributes.

    Places and ages are computed when first needed.
    """

    held: Histories
    moments: Times | None = None
    """``int64[total]``, when each product held was bought last; ``None`` where no time is known"""
    at: Times | None = None
    """``int64[Q]``, when each query asks"""
    seen: Seen | None = None
    tokens: Bags | None = None
    strengths: Floats | None = None
    """``float32[total]``, how much each purchase held tells (`Past.strengths`); ``None`` where all tell as much"""
    _kept: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        return len(self.held)

    @cached_property
    def places(self) -> AnyArray:
        """Return how many later moments each query holds than each product's."""
        if self.moments is None:
            return np.zeros(len(self.held.products), np.int64)
        return places_of(self.held.offsets, self.moments)

    @cached_property
    def ages(self) -> AnyArray:
        """Return the age of each product held, in days."""
        if self.moments is None or self.at is None:
            return np.zeros(len(self.held.products))
        return ages_of(self.held.offsets, self.moments, self.at)

    @cached_property
    def seen_ages(self) -> tuple[AnyArray, AnyArray]:
        """Return the place of each event among those of its kind, and its age in days."""
        seen = self.seen
        if seen is None or self.at is None:
            return np.zeros(0, np.int64), np.zeros(0)
        owners = owners_of(seen.offsets).astype(np.int64)
        width = int(seen.kinds.max(initial=0)) + 1
        keys = owners * width + seen.kinds
        order = np.argsort(keys, kind="stable")
        offsets = np.searchsorted(keys[order], np.arange(len(self) * width + 1))
        places = np.empty(len(keys), np.int64)
        places[order] = places_of(offsets, seen.moments[order])
        return places, ages_of(seen.offsets, seen.moments, self.at)

    def token_vectors(self, tokens: Floats) -> Floats:
        """Return what the tokens add to each query, kept for the table asked for last."""
        if self._kept is None or self._kept[0] is not tokens:
            assert self.tokens is not None
            self._kept = (tokens, token_sums(self.tokens, tokens))
        return self._kept[1]

    def take(self, queries: AnyArray) -> Asking:
        """Return some of the queries, ``int[n]``."""
        offsets, places = gather_lists(self.held.offsets, queries)
        seen = None
        if self.seen is not None:
            seen = self.seen.take(*gather_lists(self.seen.offsets, queries))
        return Asking(
            Histories(offsets, np.ascontiguousarray(self.held.products[places])),
            None if self.moments is None else self.moments[places],
            None if self.at is None else self.at[queries],
            seen,
            None if self.tokens is None else self.tokens.take(queries),
            None if self.strengths is None else self.strengths[places],
        )

    @staticmethod
    def joined(parts: Sequence[Asking]) -> Asking:
        """Return the queries of several, one after another; where one knows no time, all that it holds is equally old."""
        lengths = [np.diff(part.held.offsets) for part in parts]
        held = Histories(
            offsets_of(np.concatenate(lengths)), np.concatenate([part.held.products for part in parts])
        )
        moments = at = None
        if any(part.moments is not None for part in parts):
            moments = np.concatenate([_or_zeros(part.moments, len(part.held.products)) for part in parts])
            at = np.concatenate([_or_zeros(part.at, len(part)) for part in parts])
        seen = None
        if any(part.seen is not None for part in parts):
            seen = Seen.joined(
                [Seen.nothing(len(part)) if part.seen is None else part.seen for part in parts]
            )
        tokens = None
        if any(part.tokens is not None for part in parts):
            bags = [no_bags(len(part)) if part.tokens is None else part.tokens for part in parts]
            tokens = Bags(
                offsets_of(np.concatenate([np.diff(bag.offsets) for bag in bags])),
                np.concatenate([bag.tokens for bag in bags]),
                np.concatenate([bag.weights for bag in bags]),
            )
        strengths = None
        if any(part.strengths is not None for part in parts):
            strengths = np.concatenate(
                [
                    np.zeros(len(part.held.products), np.float32)
                    if part.strengths is None
                    else part.strengths
                    for part in parts
                ]
            )
        return Asking(held, moments, at, seen, tokens, strengths)

    def says_nothing(self) -> Booleans:
        """Return which queries hold nothing, saw nothing and have no token, ``bool[Q]``."""
        empty: Booleans = np.diff(self.held.offsets) == 0
        if self.seen is not None:
            empty &= np.diff(self.seen.offsets) == 0
        if self.tokens is not None:
            empty &= np.diff(self.tokens.offsets) == 0
        return empty

    def without(self, low: int, high: int) -> Asking:
        """Return the queries without the tokens ``low … high - 1``."""
        other = copy.copy(self)  # with the places and ages that are known already
        other.tokens = None if self.tokens is None else self.tokens.without(low, high)
        other._kept = None
        return other

    def weights(self, fading: Fading, damping: float) -> Floats:
        """Return the weight of each product held: faded, and divided by n^damping where n are held."""
        lengths = np.maximum(np.diff(self.held.offsets), 1)
        scales = np.repeat(lengths ** -float(damping), np.diff(self.held.offsets))
        weights: Floats = (fading.weights(self.places, self.ages, self.strengths) * scales).astype(np.float32)
        return weights

    def seen_weights(self, fading: Fading) -> Floats:
        """Return the weight of each event seen."""
        return fading.weights(*self.seen_ages)

    def vectors(
        self,
        table: Floats,
        *,
        damping: float,
        taste: Fading,
        kinds: Kinds | None,
        tokens: Floats | None,
        pool: ThreadPool,
    ) -> Floats:
        """Return the query vectors ``float32[Q, D]``: Σ of weights times ``table[P, D]``, of events likewise, and of tokens."""
        queries = np.zeros((len(self), table.shape[1]), np.float32)
        parts = [(self.held.offsets, self.held.products, self.weights(taste, damping))]
        if self.seen is not None and kinds is not None and any(kinds.taste):
            shares = np.array(kinds.taste, np.float32)[self.seen.kinds] * self.seen_weights(kinds.fading)
            parts.append((self.seen.offsets, self.seen.products, shares))
        for offsets, rows, weights in parts:
            pool.run(_composing(offsets, rows, weights, table, queries), len(queries))
        if self.tokens is not None and tokens is not None:
            queries += self.token_vectors(tokens)
        return queries


def _or_zeros(times: Times | None, count: int) -> Times:
    return np.zeros(count, np.int64) if times is None else times


def _composing(offsets: AnyArray, rows: AnyArray, weights: Floats, table: Floats, queries: Floats) -> Task:
    return lambda low, high: compose_bags(low, high, offsets, rows, weights, table, queries)
