"""`rank_visitors`: the one way from visitors to lists, for Python, the command line, the server and the page alike.

Visitors, rules and options go in; lists come out, and each says what it is made from, what the rules removed, and, if you ask,
why each product is in it. `rank_neighbours` is the same for products near a product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from msgspec import Struct

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import flat_lists, gather_lists, offsets_of
from tastemaker.data.reading.product_table import ProductTable
from tastemaker.errors import SettingProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.approximate import AnyCandidates, best_of, exact_of
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.packed import PackedModel, Similarity, Space
from tastemaker.ranking.queries import Queries, basket_queries, buyers_for_nobody, queries_for, with_repeats
from tastemaker.ranking.rules.rule_book import Removal, RuleBook, open_book
from tastemaker.ranking.rules.ruled import Ruled, best_allowed, rank_ruled
from tastemaker.ranking.top_k import Exclusions, ExtraScores, top_k
from tastemaker.ranking.visitors import (
    BEST_SELLERS,
    CATEGORY,
    CONTEXT,
    NOTHING,
    SOURCES,
    Categories,
    ListSource,
    Visitors,
    demanded_categories,
)
from tastemaker.ranking.why import Reason, reasons_for
from tastemaker.types import AnyArray, Booleans, Floats, Offsets, Rows

__all__ = [
    "VisitorList",
    "VisitorLists",
    "nearest",
    "rank_baskets",
    "rank_neighbours",
    "rank_users",
    "rank_visitors",
]

USERS_AT_ONCE = 1 << 14


class VisitorList(Struct, frozen=True, eq=False):
    """The list of one visitor, and how it came about: a struct, since a server makes thousands a second."""

    rows: Rows
    """``int32[n]``, product rows: the pinned ones, then the others, best first"""
    scores: Floats
    """``float32[n]``, by which they rank, pins aside"""
    source: ListSource
    pinned: int
    """How many products, at the head, are pinned"""
    filled: int
    """How many products, at the end, come from other categories, since the visitor's have no more"""
    removals: tuple[Removal, ...]
    """What was removed for this visitor, beside what the rules removed for everybody: ``purchased``, ``at_most.COLUMN``"""
    exact: bool
    """Whether these are surely the best; an index may have missed some"""
    reasons: tuple[Reason, ...] | None
    """Why each product is in the list, where that was asked for"""


@dataclass(frozen=True, slots=True, eq=False)
class VisitorLists:
    """The lists of Q visitors, in their order."""

    lists: RankedLists
    sources: AnyArray
    """``int8[Q]``, a place in `SOURCES`"""
    purchased: Offsets | None
    """``int64[Q]``, how many products were removed that the visitor bought or holds; ``None`` where those may be listed"""
    pinned: Offsets
    """``int64[Q]``"""
    filled: Offsets
    """``int64[Q]``"""
    capped: tuple[tuple[Removal, ...], ...] | None
    """What `at_most` removed for each; ``None`` without such a rule"""
    reasons: tuple[tuple[Reason, ...], ...] | None

    def __len__(self) -> int:
        return len(self.lists)

    def of(self, q: int) -> VisitorList:
        """Return the list of one visitor."""
        return next(self.each([len(self.lists.rows)], first=q))

    def each(self, lengths: Sequence[int], *, first: int = 0) -> Iterator[VisitorList]:
        """Yield the lists of some visitors, from the first on, or their beginnings: of at most so many products each."""
        here = slice(first, first + len(lengths))
        borders = self.lists.offsets[first : first + len(lengths) + 1].tolist()
        sources, pinned, filled = (part[here].tolist() for part in (self.sources, self.pinned, self.filled))
        removed = None if self.purchased is None else self.purchased[here].tolist()
        for place, k in enumerate(lengths):
            low, high = borders[place], min(borders[place + 1], borders[place] + k)
            removals = () if removed is None else (Removal("purchased", removed[place]),)
            if self.capped is not None:
                removals = (*removals, *self.capped[first + place])
            yield VisitorList(
                self.lists.rows[low:high], self.lists.scores[low:high],
                SOURCES[sources[place]], pinned[place], filled[place], removals, self.lists.exact,
                None if self.reasons is None else self.reasons[first + place][:k],
            )  # fmt: skip

    @staticmethod
    def joined(parts: Sequence[VisitorLists]) -> VisitorLists:
        """Put the lists of several batches, made under the same rules and options, one after another."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        return VisitorLists(
            RankedLists.joined([part.lists for part in parts]),
            np.concatenate([part.sources for part in parts]),
            None if first.purchased is None else np.concatenate([part.purchased for part in parts]),
            np.concatenate([part.pinned for part in parts]),
            np.concatenate([part.filled for part in parts]),
            None if first.capped is None else tuple(each for part in parts for each in part.capped or ()),
            None if first.reasons is None else tuple(each for part in parts for each in part.reasons or ()),
        )


def rank_visitors(
    packed: PackedModel,
    visitors: Visitors,
    book: RuleBook | None = None,
    *,
    k: int = 10,
    include_purchased: bool | None = None,
    explain: bool = False,
    threads: int | None = None,
) -> VisitorLists:
    """Return the k best products for each visitor, by the best means there is.

    A visitor who bought or holds a product that the model knows is ranked for by the model. Others get what sells best in the
    categories that they care about (or that the rules demand), then what sells best of all. The rules of ``book`` hold on every
    step. ``include_purchased`` decides whether what was bought may be listed; ``None`` leaves it to the rules, and without any it
    may not. Lists under rules or with reasons are exact, even where ``packed`` has an index. Raises `SettingProblem` for k < 1.
    """
    if k < 1:
        raise SettingProblem(f"k is {k}; a ranked list needs a length of at least 1.")
    book = open_book(len(packed.model.products)) if book is None else book
    include = bool(book.include_purchased if include_purchased is None else include_purchased)
    exact = explain or not book.is_empty
    ahead = k + book.reach
    batch = _Batch(
        packed, book, packed.boosted_by(book) if exact else packed.candidates, ahead, include, threads
    )
    held = visitors.held.lengths()
    empty = held == 0 if visitors.asking is None else visitors.asking.says_nothing()
    if not empty.any():
        found, categories = batch.personal(visitors), None
    else:
        categories = _categories(packed, visitors, book, empty)
        found = batch.all(visitors, empty, categories)
    if book.places is not None:
        found = _moved(found, book.places, k)
    sources = _sources(visitors, empty, categories)
    reasons = _reasons(packed, visitors, found.lists, include, book) if explain else None
    return VisitorLists(
        found.lists, sources, None if include else _purchased(visitors.held, held, book),
        found.pinned, found.filled, found.capped, reasons,
    )  # fmt: skip


# One batch --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """Lists of some visitors, and what became of the rules for each."""

    lists: RankedLists
    pinned: Offsets
    filled: Offsets
    capped: tuple[tuple[Removal, ...], ...] | None

    @staticmethod
    def plain(lists: RankedLists) -> _Part:
        none = np.zeros(len(lists), np.int64)
        return _Part(lists, none, none, None)

    @staticmethod
    def walked(ruled: Sequence[Ruled]) -> _Part:
        """Return the lists of greedy walks under pins and caps."""
        offsets, rows = flat_lists([walk.rows for walk in ruled])
        scores = np.concatenate([*(walk.scores for walk in ruled), np.zeros(0, np.float32)])
        lists = RankedLists(offsets, rows, scores)
        pinned = np.array([walk.pinned for walk in ruled], np.int64)
        capped = tuple(
            tuple(removal for removal in walk.removals if removal.rule != "purchased") for walk in ruled
        )
        return _Part(lists, pinned, np.zeros(len(ruled), np.int64), capped)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What holds for every visitor of one call."""

    packed: PackedModel
    book: RuleBook
    candidates: AnyCandidates
    k: int
    include: bool
    threads: int | None

    def personal(self, visitors: Visitors) -> _Part:
        """Rank for visitors who hold something, all at once."""
        model, held = self.packed.model, visitors.held
        queries = queries_for(model, held, visitors.users, asking=visitors.asking, threads=self.threads)
        if self.include:
            queries = with_repeats(model, queries, held, visitors.times, threads=self.threads)
        if self.book.caps or len(self.book.pinned):
            return _Part.walked(self._walk(queries, held, self.book))
        exclude = None if self.include else Exclusions(held.offsets, held.products)
        return _Part.plain(self._best(queries, exclude))

    def all(self, visitors: Visitors, empty: Booleans, categories: tuple[Categories, ...] | None) -> _Part:
        """Rank for those who hold something, and once for all others who care about the same categories."""
        known = np.flatnonzero(~empty)
        parts = [self.personal(visitors.take(known))] if len(known) else []
        order = np.zeros(len(visitors), np.int64)
        order[known] = np.arange(len(known))
        cares: dict[Categories, int] = {}
        for place in np.flatnonzero(empty).tolist():
            key = () if categories is None else categories[place]
            if key not in cares:
                cares[key] = len(known) + len(cares)
                parts.append(self.nobody(key))
            order[place] = cares[key]
        return _gathered(parts, order)

    def nobody(self, categories: Categories) -> _Part:
        """Rank once for visitors without a known product: what sells best, these categories first."""
        model = self.packed.model
        nothing = Histories(np.zeros(2, np.int64), NOTHING)
        queries = basket_queries(model, nothing, threads=1)
        buyers = buyers_for_nobody(model)
        if buyers is not None:
            if self.book.boosts is not None:  # buyers are counts, not their logarithms
                buyers = (buyers * np.exp(self.book.boosts)).astype(np.float32)
            every = np.arange(len(buyers), dtype=np.int32)
            queries = Queries(queries.vectors, ExtraScores(np.array([0, len(buyers)]), every, buyers))
        preferred = _of_categories(self.packed.catalogue, categories)
        if preferred is not None:
            return self._preferred(queries, nothing, preferred)
        if self.book.caps or len(self.book.pinned):
            return _Part.walked(self._walk(queries, nothing, self.book))
        exact = replace(self, candidates=exact_of(self.candidates))
        return _Part.plain(exact._best(queries, None))

    def _preferred(self, queries: Queries, nothing: Histories, preferred: Booleans) -> _Part:
        """Put the best sellers of some categories before all others, as pins, so that the walk and its caps are the same."""
        book = self.book
        mask = preferred if book.allowed is None else preferred & book.allowed
        best = best_allowed(
            queries.vectors, exact_of(self.candidates), max(int(mask.sum()), 1), mask,
            extra=queries.extra, vectors=self.packed.model.product_vectors, threads=self.threads,
        )[0][0]  # fmt: skip
        first = replace(book, pinned=_distinct(np.concatenate([book.pinned, best])))
        (walk,) = self._walk(queries, nothing, first)
        pins = int(np.isin(walk.rows, book.pinned).sum())
        part = _Part.walked([replace(walk, pinned=pins)])
        return replace(part, filled=np.array([(~preferred[walk.rows[pins:]]).sum()], np.int64))

    def _walk(self, queries: Queries, held: Histories, book: RuleBook) -> list[Ruled]:
        return rank_ruled(
            self.packed.model, queries, held, exact_of(self.candidates), book,
            k=self.k, include_purchased=self.include, threads=self.threads,
        )  # fmt: skip

    def _best(self, queries: Queries, exclude: Exclusions | None) -> RankedLists:
        vectors, extra, book = queries.vectors, queries.extra, self.book
        if book.allowed is None and book.boosts is None:
            return best_of(
                vectors, self.candidates, self.k, exclude=exclude, extra=extra, threads=self.threads
            )
        if not book.leaves_few:
            allowed = self.packed.allowed_by(book)
            return top_k(vectors, allowed, self.k, exclude=exclude, extra=extra, threads=self.threads)
        return best_allowed(
            vectors, exact_of(self.candidates), self.k, book.allowed,
            exclude=exclude, extra=extra, vectors=self.packed.model.product_vectors, threads=self.threads,
        )  # fmt: skip


def _gathered(parts: Sequence[_Part], order: AnyArray) -> _Part:
    """Put the lists of several parts in an order; several visitors may get the same list."""
    whole = RankedLists.joined([part.lists for part in parts])
    offsets, places = gather_lists(whole.offsets, order)
    capped = None
    if any(part.capped is not None for part in parts):
        each = [removals for part in parts for removals in part.capped or [()] * len(part.lists)]
        capped = tuple(each[place] for place in order.tolist())
    return _Part(
        RankedLists(offsets, whole.rows[places], whole.scores[places], whole.exact),
        np.concatenate([part.pinned for part in parts])[order],
        np.concatenate([part.filled for part in parts])[order],
        capped,
    )


def _categories(
    packed: PackedModel, visitors: Visitors, book: RuleBook, empty: Booleans
) -> tuple[Categories, ...] | None:
    """Return the categories each visitor cares about: their own or, for an unknown visitor, those that the rules demand."""
    demanded = demanded_categories(book, packed.catalogue)
    if not demanded:
        return visitors.categories
    own = visitors.categories or ((),) * len(visitors)
    return tuple(
        (mine or demanded) if nothing else mine for mine, nothing in zip(own, empty.tolist(), strict=True)
    )


def _sources(visitors: Visitors, empty: Booleans, categories: tuple[Categories, ...] | None) -> AnyArray:
    """Return a place in `SOURCES` for each visitor, ``int8[Q]``; ``empty`` says of whom nothing is known."""
    sources = (~visitors.bought).view(np.int8)  # bought is personal, 0; else basket, 1
    if visitors.asking is not None:
        sources[visitors.asking.held.lengths() == 0] = CONTEXT  # by the moment of asking
    if empty.any():
        sources[empty] = BEST_SELLERS
        if categories is not None:
            cares = np.array([bool(mine) for mine in categories], np.bool_)
            sources[empty & cares] = CATEGORY
    return sources


def _purchased(held: Histories, counts: Offsets, book: RuleBook) -> Offsets:
    """Return how many products that may be shown each visitor bought or holds, ``int64[Q]``."""
    if book.allowed is None:
        return counts
    running = offsets_of(book.allowed[held.products])
    ends = running[held.offsets]
    return ends[1:] - ends[:-1]


def _moved(part: _Part, places: Rows, k: int) -> _Part:
    """Move the products of each list, those pinned and those filled in aside, up and down by so many places, and cut it at k."""
    lists, scores, kept, filled = [], [], [], []
    for q, (rows, values) in enumerate(part.lists):
        head, tail = int(part.pinned[q]), len(rows) - int(part.filled[q])
        shift = places[rows]
        shift[:head], shift[tail:] = 0, 0
        where = np.arange(len(rows), dtype=np.int64)
        part_of = (where >= head).view(np.int8) + (where >= tail).view(np.int8)
        # of two that meet at one place, the one that came from further below stands first
        order = np.lexsort((where, -shift, where - shift, part_of))[:k]
        lists.append(rows[order])
        scores.append(values[order])
        kept.append(min(head, k))
        filled.append(int((order >= tail).sum()))
    offsets, rows = flat_lists(lists)
    ranked = RankedLists(offsets, rows, np.concatenate([*scores, np.zeros(0, np.float32)]))
    return _Part(ranked, np.array(kept, np.int64), np.array(filled, np.int64), part.capped)


def _reasons(
    packed: PackedModel, visitors: Visitors, lists: RankedLists, include: bool, book: RuleBook
) -> tuple[tuple[Reason, ...], ...]:
    found = _reasons_without_rules(packed, visitors, lists, include)
    boosts = book.boosts
    if boosts is None:
        return found
    return tuple(
        tuple(
            replace(reason, rules=float(boosts[row]))
            for reason, row in zip(reasons, rows.tolist(), strict=True)
        )
        for reasons, (rows, _) in zip(found, lists, strict=True)
    )


def _reasons_without_rules(
    packed: PackedModel, visitors: Visitors, lists: RankedLists, include: bool
) -> tuple[tuple[Reason, ...], ...]:
    held, times = visitors.held, visitors.times
    return tuple(
        reasons_for(
            packed.model,
            held.of(q),
            rows,
            packed.buyers,
            user=None if visitors.users[q] < 0 else int(visitors.users[q]),
            times=None if times is None else times[held.offsets[q] : held.offsets[q + 1]],
            include_purchased=include,
            asking=None if visitors.asking is None else visitors.asking.take(np.array([q])),
        )
        for q, (rows, _) in enumerate(lists)
    )


def _of_categories(table: ProductTable | None, categories: Categories) -> Booleans | None:
    column = None if table is None or not categories else table.named("category")
    if table is None or column is None:
        return None
    mask: Booleans = table.column(column).cast(pl.String).is_in(list(categories)).fill_null(False).to_numpy()
    return mask if mask.any() else None


def _distinct(rows: Rows) -> Rows:
    _, first = np.unique(rows, return_index=True)
    return np.ascontiguousarray(rows[np.sort(first)])


# Whole shops, and no rules ----------------------------------------------------------------------------------


def rank_users(
    model: TasteModel,
    users: AnyArray,
    candidates: AnyCandidates,
    *,
    k: int,
    include_purchased: bool = False,
    threads: int | None = None,
) -> RankedLists:
    """Rank for the users at these rows, without rules, in blocks, so that no more than one block's queries are held."""
    packed = PackedModel(model, packed=candidates)
    parts = []
    for low in range(0, max(len(users), 1), USERS_AT_ONCE):
        block = Visitors.of_users(model, users[low : low + USERS_AT_ONCE])
        parts.append(
            rank_visitors(packed, block, k=k, include_purchased=include_purchased, threads=threads).lists
        )
    return parts[0] if len(parts) == 1 else RankedLists.joined(parts)


def rank_baskets(
    model: TasteModel,
    baskets: Sequence[Rows],
    candidates: AnyCandidates,
    *,
    k: int,
    include_purchased: bool = False,
    threads: int | None = None,
) -> RankedLists:
    """Rank for baskets of distinct, ascending product rows, without rules."""
    packed, visitors = PackedModel(model, packed=candidates), Visitors.of_baskets(baskets)
    return rank_visitors(packed, visitors, k=k, include_purchased=include_purchased, threads=threads).lists


# Products near a product ------------------------------------------------------------------------------------


def rank_neighbours(
    packed: PackedModel,
    products: Rows,
    book: RuleBook | None = None,
    *,
    k: int = 10,
    similarity: Similarity = "dot",
    include_self: bool = False,
    threads: int | None = None,
) -> RankedLists:
    """Return the k products nearest to each of those at these rows, ``int32[Q]``, of all that the rules let through.

    Pins, and rules about how many alike, are for visitors: they change no neighbours.
    """
    space = packed.space(similarity)
    if book is None or book.allowed is None:
        return nearest(space, products, k=k, include_self=include_self, threads=threads)
    vectors, candidates = space
    own = np.asarray(products, np.int32)
    exclude = None if include_self else Exclusions(np.arange(len(own) + 1), own)
    queries = np.ascontiguousarray(vectors[own])
    return best_allowed(
        queries, exact_of(candidates), k, book.allowed, exclude=exclude, vectors=vectors, threads=threads
    )


def nearest(
    space: Space,
    products: Rows,
    *,
    k: int,
    include_self: bool = False,
    threads: int | None = None,
) -> RankedLists:
    """Rank the products of `similarity_candidates` by nearness to those at these rows."""
    vectors, candidates = space
    exclude = (
        None if include_self else Exclusions(np.arange(len(products) + 1), np.asarray(products, np.int32))
    )
    return best_of(np.ascontiguousarray(vectors[products]), candidates, k, exclude=exclude, threads=threads)
