"""`lists_for`: the lists of some guests, under rules: those that the model knows ranked together, the others one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np

from tastemaker.ranking.fallbacks import Answer, Visitor, answer
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.rules.rule_book import Removal, RuleBook
from tastemaker.ranking.rules.ruled import Ruled, best_allowed
from tastemaker.ranking.top_k import Exclusions
from tastemaker.serving.answering.batcher import Engine, Ranked, Ranking
from tastemaker.serving.answering.visitors import Guest
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import Booleans, Floats, Rows

__all__ = ["Explain", "GuestList", "Reasons", "lists_for", "neighbours_for"]

Reasons: TypeAlias = list[Any]
"""Why each product of a list is in it"""
Explain: TypeAlias = Callable[[Visitor, Answer], Reasons]


@dataclass(frozen=True, slots=True, eq=False)
class GuestList:
    """One list, and how it came about."""

    answer: Answer
    reasons: Reasons | None
    by_index: bool
    """Whether an approximate index found it"""


async def lists_for(
    guests: list[Guest],
    loaded: LoadedModel,
    book: RuleBook,
    engine: Engine,
    metrics: Metrics,
    *,
    k: int,
    include_purchased: bool,
    explain: Explain | None = None,
    approximate: bool = False,
) -> list[GuestList]:
    """Return the list of each guest, and its reasons where they are wanted; count what each rests on.

    ``approximate`` allows that lists without rules, reasons and live purchases are found by the version's index where it has one.
    """
    by_index = approximate and loaded.index is not None and book.allowed is None
    quick = [
        explain is None and _is_quick(guest, loaded, book, include_purchased, by_index) for guest in guests
    ]
    rest = [guest.visitor for guest, one in zip(guests, quick, strict=True) if not one]
    known = [guest for guest, one in zip(guests, quick, strict=True) if one]
    found = iter(await _ranked(known, loaded, book, engine, k, include_purchased, by_index) if known else ())
    slow = iter(
        await engine.run(_rank_each, loaded, rest, book, k, include_purchased, explain) if rest else ()
    )
    lists = [next(found) if one else next(slow) for one in quick]
    for one in lists:
        metrics.fallback(loaded.name, one.answer.source)
        metrics.empty_answers(loaded.name, int(not len(one.answer.ruled.rows)))
    return lists


def _is_quick(guest: Guest, loaded: LoadedModel, book: RuleBook, include: bool, by_index: bool) -> bool:
    """Return whether a guest's list is the plain ranking for a user or a basket, under a mask at most.

    Whoever bought more since, or has a basket too, is a basket of all that, unless the user has a vector of their own or how often
    they bought counts. Of whom nothing is known, an empty basket.
    """
    if book.caps or len(book.pinned) or book.leaves_few or guest.source == "category best sellers":
        return False
    if guest.source == "best sellers":
        return not by_index
    return guest.plain or (loaded.model.user_vectors is None and not include and not by_index)


async def neighbours_for(
    products: list[int],
    loaded: LoadedModel,
    book: RuleBook,
    engine: Engine,
    metrics: Metrics,
    *,
    k: int,
    include_self: bool,
    approximate: bool = False,
) -> tuple[list[Ranked], bool]:
    """Return the nearest products that may be shown of each product, and whether an approximate index found them."""
    if book.allowed is not None:
        found = await engine.run(_nearest_allowed, loaded, products, book.allowed, k, include_self)
        lists, by_index = [found[number] for number in range(len(products))], False
    else:
        # neighbours that are worked out are exact, and as quick
        by_index = approximate and loaded.index is not None and loaded.neighbours is None
        lists = await engine.nearest(Ranking(loaded, include_self, by_index), products, k)
    metrics.empty_answers(loaded.name, sum(not len(rows) for rows, _ in lists))
    return lists, by_index


async def _ranked(
    guests: list[Guest],
    loaded: LoadedModel,
    book: RuleBook,
    engine: Engine,
    k: int,
    include: bool,
    by_index: bool,
) -> list[GuestList]:
    """Rank for users and baskets together with what other requests ask for."""
    how = Ranking(loaded, include, by_index, None if book.allowed is None else book)
    users = [cast(int, guest.visitor.user) for guest in guests if _is_user(guest)]
    baskets = [guest.visitor.held for guest in guests if not _is_user(guest)]
    of_users = iter(await engine.rank_users(how, users, k) if users else ())
    of_baskets = iter(await engine.rank_baskets(how, baskets, k) if baskets else ())
    return [
        _plain(guest, *next(of_users if _is_user(guest) else of_baskets), book, include, by_index)
        for guest in guests
    ]


def _is_user(guest: Guest) -> bool:
    """Return whether the model ranks for the row of a user, not for a basket."""
    return guest.plain and guest.source == "personal"


def _plain(
    guest: Guest, rows: Rows, scores: Floats, book: RuleBook, include: bool, by_index: bool
) -> GuestList:
    held = guest.visitor.held
    removals: tuple[Removal, ...] = ()
    if not include:
        gone = len(held) if book.allowed is None else int(book.allowed[held].sum())
        removals = (Removal("purchased", gone),)
    return GuestList(Answer(guest.source, Ruled(rows, scores, 0, removals), held), None, by_index)


def _rank_each(
    loaded: LoadedModel,
    visitors: list[Visitor],
    book: RuleBook,
    k: int,
    include: bool,
    explain: Explain | None,
) -> list[GuestList]:
    """Rank in a thread of the engine, and give reasons where they are wanted."""
    found = []
    for visitor in visitors:
        one = answer(
            loaded.model, loaded.candidates, loaded.catalogue, visitor, book,
            k=k, include_purchased=include, threads=1,
        )  # fmt: skip
        found.append(GuestList(one, None if explain is None else explain(visitor, one), False))
    return found


def _nearest_allowed(
    loaded: LoadedModel, products: list[int], allowed: Booleans, k: int, include_self: bool
) -> RankedLists:
    vectors, candidates = loaded.by_dot
    own = np.array(products, np.int32)
    exclude = None if include_self else Exclusions(np.arange(len(own) + 1), own)
    queries = np.ascontiguousarray(vectors[own])
    return best_allowed(queries, candidates, k, allowed, exclude=exclude, vectors=vectors, threads=1)
