"""`recommend` and `similar`: ids in, ranked ids out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import owners_of, places_in
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import SettingProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.approximate import AnyCandidates, best_of, exact_of
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.queries import (
    Queries,
    basket_queries,
    buyers_for_nobody,
    histories_of,
    times_of,
    user_queries,
    with_repeats,
)
from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores, top_k
from tastemaker.types import AnyArray, Counts, Floats, Rows

__all__ = [
    "Recommendations",
    "Similarity",
    "known_part",
    "nearest",
    "product_candidates",
    "rank_baskets",
    "rank_users",
    "recommend",
    "recommend_baskets",
    "similar",
    "similarity_candidates",
]

Similarity = Literal["dot", "cosine"]

USERS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True)
class Recommendations:
    """Ranked lists with ids: list ``i`` answers query ``queries[i]``."""

    queries: pl.Series
    """What was asked: user ids, product ids, or the numbers of baskets from 0; named as its column in a file"""
    lists: RankedLists
    products: Vocabulary
    answer: str = "product_id"
    """The name of the answers' column"""

    def to_frame(self) -> pl.DataFrame:
        """Return one line for each recommended product: the query, the product, ``rank`` from 1, ``score``."""
        rank = places_in(self.lists.offsets) + 1
        answers = self.products.original(self.products.at(self.lists.rows)).alias(self.answer)
        asked = self.queries.gather(pl.Series(owners_of(self.lists.offsets)))
        return pl.DataFrame(
            [asked, answers, pl.Series("rank", rank.astype(np.int32)), pl.Series("score", self.lists.scores)]
        )

    def of(self, query: int) -> list[tuple[object, float]]:
        """Return (product id, score) pairs of one query, best first."""
        rows, scores = self.lists[query]
        return list(zip(self.products.at(rows).to_list(), scores.tolist(), strict=True))


def recommend(
    model: TasteModel,
    users: pl.Series | Iterable[object],
    *,
    k: int = 10,
    include_purchased: bool = False,
    candidates: AnyCandidates | None = None,
    threads: int | None = None,
) -> Recommendations:
    """Return the k products that each user would most likely buy next, what they bought left out.

    ``include_purchased`` lets what they bought come again, by how often each bought it, where the model learned that it does.
    Whoever bought nothing gets the best sellers. Newer purchases join a model by `joined`.
    ``users`` are ids. ``candidates`` (of `product_candidates`) saves packing when many calls follow; those of `load_index` are
    found approximately, and the lists say so. Raises `UnknownId` and, for k < 1, `SettingProblem`.
    """
    rows = model.users.rows(users)
    candidates = candidates or product_candidates(model)
    lists = rank_users(model, rows, candidates, k=k, include_purchased=include_purchased, threads=threads)
    return Recommendations(model.users.original(model.users.at(rows)).alias("user_id"), lists, model.products)


def recommend_baskets(
    model: TasteModel,
    baskets: Sequence[Iterable[object]],
    *,
    k: int = 10,
    include_purchased: bool = False,
    candidates: AnyCandidates | None = None,
    threads: int | None = None,
) -> Recommendations:
    """Return the k products that fit each basket best, the basket's own products left out.

    ``include_purchased`` lets them come again; each then counts as bought once. A basket is product ids; its visitor need not be in
    the log. An empty one gets the best sellers. Raises `UnknownId`
    (`known_part` parts the products that the model knows from those that it does not) and `SettingProblem`.
    """
    rows = [np.unique(model.products.rows(basket)) for basket in baskets]
    candidates = candidates or product_candidates(model)
    lists = rank_baskets(model, rows, candidates, k=k, include_purchased=include_purchased, threads=threads)
    return Recommendations(pl.Series("basket", np.arange(len(rows))), lists, model.products)


def known_part(model: TasteModel, basket: Iterable[object]) -> tuple[list[object], list[object]]:
    """Part a basket into the products that the model knows and those that it does not, each in their order.

    >>> import tastemaker as tm
    >>> model = tm.best_sellers(tm.read_purchases(pl.DataFrame({"user": [1], "product": ["hat"]})))
    >>> known_part(model, ["kilt", "hat"])
    (['hat'], ['kilt'])
    """
    ids = list(basket)
    known = model.products.find(ids).is_not_null().to_list()
    return (
        [product for product, here in zip(ids, known, strict=True) if here],
        [product for product, here in zip(ids, known, strict=True) if not here],
    )


def similar(
    model: TasteModel,
    products: pl.Series | Iterable[object],
    *,
    k: int = 10,
    similarity: Similarity = "dot",
    include_self: bool = False,
    space: tuple[Floats, AnyCandidates] | None = None,
    threads: int | None = None,
) -> Recommendations:
    """Return the k products whose vectors are nearest to each product's, by dot product or cosine.

    ``similarity="dot", k=100, include_self=True`` is what the workshop's service answers. ``space`` (of
    `similarity_candidates`) saves packing, and decides in the place of ``similarity``. Raises `UnknownId`, `SettingProblem`.
    """
    rows = model.products.rows(products)
    space = space or similarity_candidates(model, similarity)
    lists = nearest(space, rows, k=k, include_self=include_self, threads=threads)
    asked = model.products.original(model.products.at(rows)).alias("product_id")
    return Recommendations(asked, lists, model.products, "similar_id")


def product_candidates(model: TasteModel) -> Candidates:
    """Pack a model's products for `top_k`."""
    return Candidates.of(model.product_vectors, model.product_bias)


def rank_users(
    model: TasteModel,
    users: AnyArray,
    candidates: AnyCandidates,
    *,
    k: int,
    include_purchased: bool = False,
    threads: int | None = None,
) -> RankedLists:
    """Rank for the users at these rows, in blocks, so that no more than one block's queries are held."""
    parts = []
    for low in range(0, max(len(users), 1), USERS_AT_ONCE):
        block = users[low : low + USERS_AT_ONCE]
        parts.append(
            _rank(
                model,
                user_queries(model, block, threads=threads),
                histories_of(model, block),
                times_of(model, block) if include_purchased else None,
                candidates,
                k=k,
                include_purchased=include_purchased,
                threads=threads,
            )
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
    """Rank for baskets of distinct, ascending product rows."""
    held = Histories.from_lists(baskets)
    return _rank(
        model,
        basket_queries(model, held, threads=threads),
        held,
        None,
        candidates,
        k=k,
        include_purchased=include_purchased,
        threads=threads,
    )


def similarity_candidates(model: TasteModel, similarity: Similarity = "dot") -> tuple[Floats, Candidates]:
    """Return the product vectors among which neighbours are sought, scaled to length 1 for cosine, and packed."""
    vectors = np.asarray(model.product_vectors)
    if similarity == "cosine":
        lengths = np.sqrt(np.einsum("pd,pd->p", vectors, vectors, dtype=np.float64))
        vectors = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]).astype(np.float32)
    elif similarity != "dot":
        raise SettingProblem(f"similarity is {similarity!r}; it must be 'dot' or 'cosine'.")
    return vectors, Candidates.of(vectors)


def nearest(
    space: tuple[Floats, AnyCandidates],
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


def _rank(
    model: TasteModel,
    queries: Queries,
    baskets: Histories,
    times: Counts | None,
    candidates: AnyCandidates,
    *,
    k: int,
    include_purchased: bool,
    threads: int | None,
) -> RankedLists:
    """Rank for queries that stand for these baskets; the empty ones of a model without a bias share one list of best sellers."""
    if include_purchased:
        queries = with_repeats(model, queries, baskets, times, threads=threads)
    exclude = None if include_purchased else _leave_out(baskets)
    lists = best_of(queries.vectors, candidates, k, exclude=exclude, extra=queries.extra, threads=threads)
    empty = np.flatnonzero(np.diff(baskets.offsets) == 0)
    buyers = buyers_for_nobody(model) if len(empty) else None
    if buyers is None:
        return lists
    extra = ExtraScores(np.array([0, len(buyers)]), np.arange(len(buyers), dtype=np.int32), buyers)
    best = top_k(queries.vectors[empty[:1]], exact_of(candidates), k, extra=extra, threads=threads)
    places = lists.offsets[empty][:, None] + np.arange(len(best.rows))  # nothing is left out of these lists
    lists.rows[places], lists.scores[places] = best.rows, best.scores
    return lists


def _leave_out(bought: Histories) -> Exclusions:
    return Exclusions(bought.offsets, bought.products)
