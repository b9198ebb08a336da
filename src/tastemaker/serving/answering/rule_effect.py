"""`effect_of`: the price of rules before they are published: what they change in the lists of a sample of all customers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tastemaker.data.past import PURCHASE
from tastemaker.data.purchases import Histories
from tastemaker.evaluation.metrics import find_hits, ndcg
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.rank import rank_visitors
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.ranking.visitors import Visitor, Visitors
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import AnyArray, Rows

__all__ = ["Effect", "HeldOut", "effect_of", "sample_of"]

HeldOut: TypeAlias = Literal["purchases since training", "last purchases", "none"]

ENOUGH = 30
"""From how many customers who bought since training what they bought is held out of the model"""


@dataclass(frozen=True, slots=True)
class Effect:
    """How lists under two books of rules differ."""

    customers: int
    changed: int
    """How many of the lists differ in any place"""
    entered: int
    """Products that are in a list only afterwards, over all lists"""
    left: int
    moved: float
    """By how many places a product that stays in a list moves, the mean of all"""
    pinned_shown: float | None
    """The share of pins that are shown, over all lists; ``None`` without a pin"""
    held_out: HeldOut
    questions: int
    """How many customers ask whether what they bought is found"""
    ndcg_before: float | None
    """ndcg@k of what is held out; ``None`` where nothing is"""
    ndcg_after: float | None


def sample_of(loaded: LoadedModel, size: int) -> Rows:
    """Return the rows of some customers with purchases, ``int32``, ascending: the same ones for the same model."""
    known = np.flatnonzero(np.diff(loaded.model.histories.offsets))
    if len(known) > size:
        known = np.random.default_rng(0).choice(known, size, replace=False)
    return np.sort(known).astype(np.int32)


def effect_of(
    loaded: LoadedModel, visitors: Sequence[Visitor], before: RuleBook, after: RuleBook, *, k: int
) -> Effect:
    """Rank the k best for each of some customers under both books, and measure both on what is held out."""
    everyone = Visitors.of(visitors)
    old, new = (_ranked(loaded, everyone, book, k) for book in (before, after))
    pairs = [(first.tolist(), second.tolist()) for (first, _), (second, _) in zip(old, new, strict=True)]
    moves = [
        abs(first.index(row) - place)
        for first, second in pairs
        for place, row in enumerate(second)
        if row in first
    ]
    held_out, baskets, wanted = _questions(loaded, visitors)
    measured = [_ndcg(loaded, baskets, wanted, book, k) for book in (before, after)]
    return Effect(
        customers=len(pairs),
        changed=sum(first != second for first, second in pairs),
        entered=sum(len(set(second) - set(first)) for first, second in pairs),
        left=sum(len(set(first) - set(second)) for first, second in pairs),
        moved=float(np.mean(moves)) if moves else 0.0,
        pinned_shown=_shown(after, pairs),
        held_out=held_out,
        questions=len(wanted),
        ndcg_before=measured[0],
        ndcg_after=measured[1],
    )


def _ranked(loaded: LoadedModel, visitors: Visitors, book: RuleBook, k: int) -> RankedLists:
    return rank_visitors(loaded.packed, visitors, book, k=k, threads=1).lists


def _shown(book: RuleBook, pairs: Sequence[tuple[list[int], list[int]]]) -> float | None:
    pins = book.pinned.tolist() + [None] * len(book.idle)
    if not pins or not pairs:
        return None
    return sum(pin in second for _, second in pairs for pin in pins) / (len(pins) * len(pairs))


def _questions(loaded: LoadedModel, visitors: Sequence[Visitor]) -> tuple[HeldOut, list[Rows], list[Rows]]:
    """Return what each customer is known by and what shall be found: bought since training, else their last purchase.

    A last purchase is left out of what the customer is known by; the model itself has learned from it, so that both measures are
    too high by as much, and their difference is what tells.
    """
    learned = [
        np.zeros(0, np.int32) if visitor.user is None else loaded.bought(visitor.user)[0]
        for visitor in visitors
    ]
    since = [
        np.setdiff1d(visitor.history, known).astype(np.int32)
        for visitor, known in zip(visitors, learned, strict=True)
    ]
    asked = [place for place, rows in enumerate(since) if len(rows)]
    if len(asked) >= ENOUGH:
        return (
            "purchases since training",
            [learned[place] for place in asked],
            [since[place] for place in asked],
        )
    baskets, wanted = [], []
    for visitor, known in zip(visitors, learned, strict=True):
        if visitor.user is None or len(known) < 2:
            continue
        last = _last_of(loaded, visitor.user, known)
        baskets.append(known[known != last])
        wanted.append(np.array([last], np.int32))
    return ("last purchases" if wanted else "none"), baskets, wanted


def _last_of(loaded: LoadedModel, user: int, known: Rows) -> int:
    """Return the product that a customer bought last; any one of them, where the model knows no times."""
    past = loaded.model.past
    if past is not None:
        own = slice(int(past.offsets[user]), int(past.offsets[user + 1]))
        products: AnyArray = np.asarray(past.products[own])
        if past.kinds is not None:
            products = products[np.asarray(past.kinds[own]) == past.names.index(PURCHASE)]
        if len(products) and products[-1] in known:
            return int(products[-1])
    return int(known[np.random.default_rng(user).integers(len(known))])


def _ndcg(
    loaded: LoadedModel, baskets: list[Rows], wanted: list[Rows], book: RuleBook, k: int
) -> float | None:
    if not wanted:
        return None
    lists = _ranked(loaded, Visitors.of_baskets(baskets), book, k)
    return float(np.mean(ndcg(find_hits(lists, Histories.from_lists(wanted)), k)))
