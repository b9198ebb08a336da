"""From personal to best sellers: whoever comes gets a list, and the list says what it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories
from tastemaker.data.reading.product_table import ProductTable
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.queries import Queries, basket_queries, buyers_for_nobody, with_repeats
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.ranking.rules.ruled import Ruled, best_allowed, rank_ruled
from tastemaker.ranking.top_k import Candidates, ExtraScores
from tastemaker.ranking.why import own_vector
from tastemaker.types import Booleans, Counts, Rows

__all__ = ["NOTHING", "Answer", "Source", "Visitor", "answer", "categories_of", "query_of", "source_of"]

Source: TypeAlias = Literal["personal", "basket", "category best sellers", "best sellers"]
"""What a list is made from: the user's purchases, a basket, or neither, when what sells best is shown"""

NOTHING: Rows = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Visitor:
    """Who is recommended to, as far as the model knows them."""

    user: int | None = None
    """The row of a user whom the model knows"""
    history: Rows = field(default_factory=lambda: NOTHING)
    """What they bought, ``int32[n]``, ascending; newer purchases included"""
    times: Counts | None = None
    """``int32[n]``, how often; ``None`` means once"""
    basket: Rows = field(default_factory=lambda: NOTHING)
    """What is in the basket now, ``int32[m]``, ascending"""
    categories: tuple[str, ...] = ()
    """What they care about in place of products that the model knows: values of the catalogue's category column"""

    @property
    def held(self) -> Rows:
        """Return what they bought and have in the basket, ascending."""
        return np.union1d(self.history, self.basket).astype(np.int32) if len(self.basket) else self.history

    @property
    def held_times(self) -> Counts | None:
        """Return how often each of ``held`` was bought, ``int32``; what is only in the basket counts once. ``None`` means once."""
        if self.times is None or not len(self.basket):
            return self.times
        times = np.ones(len(self.held), np.int32)
        times[np.searchsorted(self.held, self.history)] = self.times
        return times


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A list and where it comes from."""

    source: Source
    ruled: Ruled
    speakers: Rows
    """The products that stand for the visitor, ``int32[n]``"""
    filled: int = 0
    """How many products at the end of the list come from other categories, since the visitor's have no more"""


def answer(
    model: TasteModel,
    candidates: Candidates,
    table: ProductTable,
    visitor: Visitor,
    book: RuleBook,
    *,
    k: int,
    include_purchased: bool = False,
    threads: int | None = None,
) -> Answer:
    """Return k products for a visitor by the best means there is: personal, basket, category best sellers, best sellers.

    A user with purchases, or a basket with a product that the model knows, is ranked for by the model. Anybody else gets what
    sells best in the categories that they care about, then what sells best of all. Rules hold on every step.
    """
    source = source_of(visitor)
    held = visitor.held
    queries = query_of(model, visitor, include_purchased=include_purchased, threads=threads)
    bought = _one(held)
    preferred = _of_categories(table, visitor.categories) if source == "category best sellers" else None
    if preferred is None:
        (ruled,) = rank_ruled(
            model, queries, bought, candidates, book,
            k=k, include_purchased=include_purchased, threads=threads,
        )  # fmt: skip
        return Answer(source, ruled, held)
    mask = preferred if book.allowed is None else preferred & book.allowed
    best = best_allowed(
        queries.vectors,
        candidates,
        max(int(mask.sum()), 1),
        mask,
        extra=queries.extra,
        vectors=model.product_vectors,
        threads=threads,
    )[0][0]
    # their best sellers stand before all others, as pins do: the walk is the same, and so are its caps
    first = replace(book, pinned=_distinct(np.concatenate([book.pinned, best])))
    (ruled,) = rank_ruled(
        model, queries, bought, candidates, first,
        k=k, include_purchased=include_purchased, threads=threads,
    )  # fmt: skip
    pins = int(np.isin(ruled.rows, book.pinned).sum())
    filled = int((~preferred[ruled.rows[pins:]]).sum())
    return Answer(source, replace(ruled, pinned=pins), held, filled)


def source_of(visitor: Visitor) -> Source:
    """Return what the visitor's list is made from."""
    if len(visitor.history):
        return "personal"
    if len(visitor.basket):
        return "basket"
    return "category best sellers" if visitor.categories else "best sellers"


def query_of(
    model: TasteModel, visitor: Visitor, *, include_purchased: bool = False, threads: int | None = None
) -> Queries:
    """Return the one query of a visitor: their own vector where the model has one, else their purchases and basket together."""
    held = _one(visitor.held)
    queries = basket_queries(model, held, threads=threads)
    learned = own_vector(model, visitor.user) if len(held.products) else None
    if learned is not None:
        queries = Queries(np.array(learned[None, :]), queries.extra)
    if not len(held.products):
        buyers = buyers_for_nobody(model)
        if buyers is not None:
            every = np.arange(len(buyers), dtype=np.int32)
            return Queries(queries.vectors, ExtraScores(np.array([0, len(buyers)]), every, buyers))
    if include_purchased:
        queries = with_repeats(model, queries, held, visitor.held_times, threads=threads)
    return queries


def categories_of(table: ProductTable, ids: Sequence[object]) -> tuple[str, ...]:
    """Return the categories of products that the catalogue knows and the model does not, in the order of ``ids``."""
    column = table.named("category")
    if column is None or not len(table.strangers) or not ids:
        return ()
    wanted = pl.DataFrame({"id": [str(one) for one in ids]})
    found = wanted.join(table.strangers.select("id", column), on="id", how="inner", maintain_order="left")
    return tuple(dict.fromkeys(found.get_column(column).drop_nulls().cast(pl.String).to_list()))


def _of_categories(table: ProductTable, categories: tuple[str, ...]) -> Booleans | None:
    column = table.named("category")
    if column is None:
        return None
    mask: Booleans = table.column(column).cast(pl.String).is_in(list(categories)).fill_null(False).to_numpy()
    return mask if mask.any() else None


def _one(rows: Rows) -> Histories:
    return Histories(np.array([0, len(rows)], np.int64), np.asarray(rows, np.int32))


def _distinct(rows: Rows) -> Rows:
    _, first = np.unique(rows, return_index=True)
    return np.ascontiguousarray(rows[np.sort(first)])
