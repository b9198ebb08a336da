"""`lists_for` and `neighbours_for`: a request's lists, ranked in a batch with others where that is quick, else alone."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import numpy as np
from msgspec.structs import replace

from tastemaker.ranking.packed import Similarity
from tastemaker.ranking.rank import VisitorList, rank_neighbours
from tastemaker.ranking.visitors import Visitor, demanded_categories
from tastemaker.serving.answering.batcher import Engine, Ranked, Ranking, rank_alone
from tastemaker.serving.front.metrics import Metrics

__all__ = ["lists_and_rankings", "lists_for", "neighbours_for"]


async def lists_for(
    visitors: Sequence[Visitor], how: Ranking, engine: Engine, metrics: Metrics, *, k: int
) -> list[VisitorList]:
    """Return the list of each visitor, and count what each rests on.

    Where ``how`` allows the version's index, it finds the lists of users of the model, without rules and reasons;
    all others are exact.
    """
    lists = await _found(visitors, how, engine, k)
    name = how.loaded.name
    for found in lists:
        metrics.fallback(name, found.source)
        if not len(found.rows):
            metrics.empty_answers(name)
    return lists


async def lists_and_rankings(
    visitors: Sequence[Visitor], how: Ranking, engine: Engine, metrics: Metrics, *, k: int, reach: int
) -> list[tuple[VisitorList, VisitorList]]:
    """Return what `lists_for` does, and the first ``reach`` places of each ranking, of which the list is the beginning.

    A rule that moves products may give the two another beginning; where an index finds them, the ranking's is the list's.
    """
    if not how.is_quick or _care_about_categories(visitors, how):
        lists = await lists_for(visitors, how, engine, metrics, k=k)
        return list(zip(lists, await _found(visitors, how, engine, reach), strict=True))
    rankings = await lists_for(visitors, how, engine, metrics, k=reach)
    return [(replace(one, rows=one.rows[:k], scores=one.scores[:k]), one) for one in rankings]


def _found(visitors: Sequence[Visitor], how: Ranking, engine: Engine, k: int) -> Awaitable[list[VisitorList]]:
    if how.approximate and (how.loaded.index is None or how.explain or not how.has_no_rules):
        how = how.exactly()
    return (_partly_by_index if how.approximate else _lists)(visitors, how, engine, k)


async def neighbours_for(
    products: list[int],
    how: Ranking,
    engine: Engine,
    metrics: Metrics,
    *,
    k: int,
    similarity: Similarity = "dot",
) -> tuple[list[Ranked], bool]:
    """Return the nearest products that may be shown of each product, and whether they are surely the nearest.

    Where ``how`` allows the version's index, it finds neighbours by dot product, without rules, until the table of all
    neighbours is ready.
    """
    loaded, book = how.loaded, how.book
    if similarity != "dot" or (book is not None and book.allowed is not None):
        lists, exact = await engine.run(_nearest_alone, how, products, k, similarity), True
    else:
        by_index = how.approximate and loaded.index is not None and loaded.neighbours is None
        lists = await engine.nearest(Ranking(loaded, how.include_own, approximate=by_index), products, k)
        exact = not by_index
    metrics.empty_answers(loaded.name, sum(not len(rows) for rows, _ in lists))
    return lists, exact


def _nearest_alone(how: Ranking, products: list[int], k: int, similarity: Similarity) -> list[Ranked]:
    found = rank_neighbours(
        how.loaded.packed, np.array(products, np.int32), how.book,
        k=k, similarity=similarity, include_self=how.include_own, threads=1,
    )  # fmt: skip
    return list(found)


async def _partly_by_index(
    visitors: Sequence[Visitor], how: Ranking, engine: Engine, k: int
) -> list[VisitorList]:
    by_index = [visitor.is_learned and len(visitor.held) > 0 for visitor in visitors]
    known = [visitor for visitor, found in zip(visitors, by_index, strict=True) if found]
    others = [visitor for visitor, found in zip(visitors, by_index, strict=True) if not found]
    found_lists = iter(await _lists(known, how, engine, k) if known else ())
    exact_lists = iter(await _lists(others, how.exactly(), engine, k) if others else ())
    return [next(found_lists if found else exact_lists) for found in by_index]


def _lists(visitors: Sequence[Visitor], how: Ranking, engine: Engine, k: int) -> Awaitable[list[VisitorList]]:
    if how.is_quick and not _care_about_categories(visitors, how):
        return engine.rank(how, visitors, k)
    return engine.run(rank_alone, how, visitors, k)


def _care_about_categories(visitors: Sequence[Visitor], how: Ranking) -> bool:
    """Return whether any visitor gets best sellers of categories: a shorter list needs less filling than a longer one."""
    nobody = [visitor for visitor in visitors if not len(visitor.history) and not len(visitor.basket)]
    if not nobody:
        return False
    demanded = how.book is not None and bool(demanded_categories(how.book, how.loaded.catalogue))
    return demanded or any(visitor.categories for visitor in nobody)
