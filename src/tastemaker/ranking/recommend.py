"""`recommend`, `recommend_baskets` and `similar`: ids in, ranked ids out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from tastemaker.data.identifiers import IdForm, python_values
from tastemaker.data.past import moment_of
from tastemaker.data.ragged import owners_of, places_in
from tastemaker.data.reading.catalogues import Catalogue
from tastemaker.data.reading.given import AnyIds, ids_given
from tastemaker.data.reading.product_table import ProductTable, empty_table
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.display import card, frame_table
from tastemaker.errors import SettingProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.as_json import (
    API_NAMES,
    COMMAND_LINE,
    Names,
    list_json,
    plain,
    products_json,
    rules_json,
)
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.live.knowing import Facts, asking_of
from tastemaker.ranking.live.standing import packed_at
from tastemaker.ranking.packed import PackedModel, Similarity, pack
from tastemaker.ranking.rank import USERS_AT_ONCE, VisitorList, VisitorLists, rank_neighbours, rank_visitors
from tastemaker.ranking.rules.rule_book import RuleBook, compile_rules, sold_counts
from tastemaker.ranking.rules.rules import NO_RULES, Rules, read_rules
from tastemaker.ranking.visitors import NOTHING, Visitor, Visitors, categories_of
from tastemaker.tabular import Tabular
from tastemaker.types import Rows

__all__ = [
    "AnyRules",
    "Recommendations",
    "Visit",
    "baskets_given",
    "book_of",
    "known_part",
    "recommend",
    "recommend_baskets",
    "recommend_visits",
    "similar",
]

AnyRules: TypeAlias = RuleBook | Rules | Mapping[str, Any] | str | Path
"""Rules as a file (JSON, or TOML by its name), as the table that such a file holds, or as read or compiled before"""


MOST_SHOWN = 50
"""The lines that a notebook shows of lists."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What is known of a visitor; every field may be left out.

    Contexts and attributes are named as the columns that the model learned from, with values as the log holds them.
    """

    user: object = None
    """The id of a user"""
    basket: Iterable[object] = ()
    """Product ids"""
    context: Mapping[str, object] = field(default_factory=dict)
    """What is known of this request: an occasion, a channel"""
    attributes: Mapping[str, object] = field(default_factory=dict)
    """What is known of the user; it overrules what the model knows"""
    viewed: Iterable[object] = ()
    """Products just viewed, the oldest first"""
    at: str | date | None = None
    """When they ask, such as ``2024-06-01``; by default just after all that the model knows"""


@dataclass(frozen=True, slots=True, repr=False)
class Recommendations(Tabular):
    """Ranked lists with ids: list ``i`` answers query ``queries[i]``."""

    queries: pl.Series
    """What was asked: user ids, product ids, or the numbers of baskets from 0; named as its column in a file"""
    lists: RankedLists
    products: Vocabulary
    answer: str = "product_id"
    """The name of the answers' column"""
    found: VisitorLists | None = None
    """How each list came about; ``None`` for products near a product"""
    book: RuleBook | None = None
    """What the rules came to"""
    catalogue: ProductTable | None = None
    """What is known of the products beside their ids"""
    form: IdForm = "plain"
    """How the ids that were asked came; of integers and text each keeps its own kind"""
    unknown: tuple[tuple[object, ...], ...] | None = None
    """For visits: the ids, contexts and attributes of each that the model does not know; they said nothing"""

    def to_frame(self, columns: Sequence[str] | Literal["all"] = ()) -> pl.DataFrame:
        """Return one line for each recommended product: the query, the product, ``rank`` from 1, ``score``.

        ``columns`` of the catalogue that the lists were made with are joined, ``"all"`` of them or those named. Lists made with
        ``explain=True`` have a column ``because``: up to three products of the query that speak for this one, the strongest first.
        Raises `ColumnProblem` for a column that the catalogue lacks.
        """
        offsets = self.lists.offsets
        rank = places_in(offsets) + 1
        answers = self.products.original(self.products.at(self.lists.rows)).alias(self.answer)
        asked = self.queries.gather(pl.Series(owners_of(offsets)))
        frame = pl.DataFrame(
            [asked, answers, pl.Series("rank", rank.astype(np.int32)), pl.Series("score", self.lists.scores)]
        )
        because = self._because()
        if because is not None:
            frame = frame.with_columns(because)
        return frame.hstack(self._joined(columns)) if columns else frame

    def _joined(self, columns: Sequence[str] | Literal["all"]) -> list[pl.Series]:
        """Return columns of the catalogue, a value for each line."""
        table = self.catalogue or empty_table(self.products)
        names = (
            table.frame.columns if columns == "all" else [columns] if isinstance(columns, str) else columns
        )
        places = pl.Series(self.lists.rows.astype(np.int64))
        return [table.column(name).gather(places) for name in names]

    def _because(self) -> pl.Series | None:
        """Return for each line the products of the query that speak for it most, the strongest first."""
        if self.found is None or self.found.reasons is None:
            return None
        spoken = []
        for query in range(len(self.lists)):
            for reason in self.about(query).reasons or ():
                rows = [purchase.row for purchase in reason.purchases[:3] if purchase.weight > 0]
                spoken.append(self._ids(np.array(rows, np.int32)))
        return pl.Series("because", spoken, dtype=pl.List(self.products.ids.dtype))

    def __repr__(self) -> str:
        answers = "similar products" if self.answer == "similar_id" else "recommendations"
        lists = "1 list" if len(self.lists) == 1 else f"{len(self.lists):,} lists"
        return f"Recommendations({lists} of {answers}, {len(self.lists.rows):,} lines)"

    def _repr_html_(self) -> str:
        table = self.catalogue
        parts = (
            [] if table is None else [table.named(part) for part in ("name", "brand", "category", "price")]
        )
        frame = self.to_frame([part for part in parts if part is not None])
        shown = frame.head(MOST_SHOWN)
        rest = f"and {len(frame) - len(shown):,} more: to_frame() has all." if len(frame) > len(shown) else ""
        return card(repr(self)[16:-1], {}, frame_table(shown), rest)

    def of(self, query: int) -> list[tuple[object, float]]:
        """Return (product id, score) pairs of one query, best first."""
        rows, scores = self.lists[query]
        return list(zip(self._ids(rows), scores.tolist(), strict=True))

    def about(self, query: int) -> VisitorList:
        """Return one list with its source, its reasons (with ``explain=True``) and what was removed; products are rows."""
        if self.found is None:
            raise TypeError("products near a product have no source, reasons or removals.")
        return self.found.of(query)

    def to_json(self, names: Names = API_NAMES) -> list[dict[str, Any]]:
        """Return every list as the API writes it: source, products with rank and score, reasons, and what the rules removed.

        ``names`` are other names for some of the fields: with `COMMAND_LINE` those that the command line writes.
        """
        asked, column = python_values(self.queries, self.form), self.queries.name
        name = column if names is COMMAND_LINE else column.removesuffix("_id")
        if self.found is None or self.book is None:
            return [{name: query} | near for query, near in zip(asked, self._neighbours(names), strict=True)]
        return [
            {name: query} | plain(list_json(self.found.of(q), self.book, self._ids), names)
            for q, query in enumerate(asked)
        ]

    def _neighbours(self, names: Names) -> Iterator[dict[str, Any]]:
        """Yield for each product its neighbours, and what the rules came to."""
        near, names = ("products", {"product": self.answer}) if names is COMMAND_LINE else ("similar", names)
        rules = {} if self.book is None else {"rules": plain(rules_json(self.book, self.book.removals))}
        for rows, scores in self.lists:
            products = products_json(self._ids(rows), scores.tolist())
            yield {near: [plain(product, names) for product in products]} | rules

    def _ids(self, rows: Rows) -> list[Any]:
        return python_values(self.products.at(rows), self.products.form)


def recommend(
    model: TasteModel | PackedModel,
    users: AnyIds,
    *,
    k: int = 10,
    include_purchased: bool | None = None,
    rules: AnyRules | None = None,
    catalogue: Catalogue | ProductTable | None = None,
    explain: bool = False,
    threads: int | None = None,
) -> Recommendations:
    """Return the k products that each user would most likely buy next, what they bought left out.

    ``users`` are ids: one, or many in a list, a series or a frame's column. Users without a purchase get the best sellers;
    `fold_in` adds newer purchases to a model. ``include_purchased`` lets what they bought come again, by how often each bought
    it, where the model learned that it does; ``None`` leaves that to the rules. ``rules`` (a file, or the table that such a
    file holds) say what may be listed, and ``catalogue`` is the table of products whose columns they name. With ``explain``,
    `Recommendations.about` says why each product is listed. Many calls are quicker with what `pack` returns in the place of the
    model, which also holds the catalogue, and an index where there is one. Raises `UnknownId`, `SettingProblem`, and
    `ColumnProblem` for a column that the catalogue lacks.

    >>> import tastemaker as tm
    >>> log = pl.DataFrame({"user": ["ann", "ann", "bob"], "product": ["hat", "sock", "hat"]})
    >>> lists = tm.recommend(tm.best_sellers(tm.read_purchases(log)), ["bob"], rules={"deny": ["tie"]}, explain=True)
    >>> lists.of(0), lists.about(0).source, lists.about(0).removals
    ([('sock', 1.0)], 'personal', (Removal(rule='purchased', removed=1),))
    """
    packed = pack(model, catalogue=catalogue)
    model = packed.model
    rows = model.users.rows(ids_given(users, "user"))
    book = book_of(packed, rules)
    parts = [
        rank_visitors(
            packed, Visitors.of_users(model, rows[low : low + USERS_AT_ONCE]), book,
            k=k, include_purchased=include_purchased, explain=explain, threads=threads,
        )
        for low in range(0, max(len(rows), 1), USERS_AT_ONCE)
    ]  # fmt: skip
    found = VisitorLists.joined(parts)
    asked = model.users.original(model.users.at(rows)).alias("user_id")
    return Recommendations(
        asked,
        found.lists,
        model.products,
        found=found,
        book=book,
        catalogue=packed.catalogue,
        form=model.users.form,
    )


def recommend_baskets(
    model: TasteModel | PackedModel,
    baskets: Iterable[Iterable[object] | object],
    *,
    k: int = 10,
    include_purchased: bool | None = None,
    rules: AnyRules | None = None,
    catalogue: Catalogue | ProductTable | None = None,
    explain: bool = False,
    threads: int | None = None,
) -> Recommendations:
    """Return the k products that fit each basket best, the basket's own products left out.

    A basket is product ids; its visitor need not be in the log. Ids without lists around them are one basket.
    An empty one gets the best sellers, and one of products that only
    the catalogue knows gets those of their categories. ``include_purchased`` lets the basket's own products come again; each then
    counts as bought once. The other options are those of `recommend`. Raises `UnknownId` (`known_part` parts the products that
    the model knows from those that it does not), `SettingProblem` and `ColumnProblem`.
    """
    packed = pack(model, catalogue=catalogue)
    book = book_of(packed, rules)
    visitors = Visitors.of([_with_basket(packed, basket) for basket in baskets_given(baskets)])
    found = rank_visitors(
        packed, visitors, book, k=k, include_purchased=include_purchased, explain=explain, threads=threads
    )
    numbers = pl.Series("basket", np.arange(len(visitors)))
    return Recommendations(
        numbers, found.lists, packed.model.products, found=found, book=book, catalogue=packed.catalogue
    )


def recommend_visits(
    model: TasteModel | PackedModel,
    visits: Sequence[Visit] | Visit,
    *,
    k: int = 10,
    include_purchased: bool | None = None,
    rules: AnyRules | None = None,
    catalogue: Catalogue | ProductTable | None = None,
    explain: bool = False,
    threads: int | None = None,
) -> Recommendations:
    """Return the k products that fit each visit best: a user, a basket, a context, attributes and views, whatever is known.

    What the model does not know says nothing, and `Recommendations.unknown` lists it. Who is new is found by context and
    attributes, where the model learned from some. A visit ``at`` a moment sees what was done before it, and rates of sales as they
    are then, at the earliest as of the last event that the model knows; all that was bought is left out nevertheless. The other
    options are those of `recommend`. Raises `SettingProblem` and `ColumnProblem`.

    >>> import tastemaker as tm
    >>> shop = tm.best_sellers(tm.read_purchases(pl.DataFrame({"user": ["ann"], "product": ["hat"]})))
    >>> lists = recommend_visits(shop, [Visit(user="zoe", context={"occasion": "wedding"})])
    >>> lists.of(0), lists.unknown
    ([('hat', 1.0)], (('zoe', 'occasion=wedding'),))
    """
    packed = pack(model, catalogue=catalogue)
    book = book_of(packed, rules)
    visits = [visits] if isinstance(visits, Visit) else list(visits)
    visitors = [visitor_of_visit(packed.model, visit) for visit in visits]
    moments = [_moment(visit) for visit in visits]
    parts, done = [], 0
    for moment, same in groupby(moments):
        count = len(list(same))
        standing = packed if moment is None else packed_at(packed, moment)
        part = Visitors.of(visitors[done : done + count])
        parts.append(
            rank_visitors(
                standing, part, book,
                k=k, include_purchased=include_purchased, explain=explain, threads=threads,
            )
        )  # fmt: skip
        done += count
    found = VisitorLists.joined(parts) if parts else rank_visitors(packed, Visitors.of([]), book, k=k)
    numbers = pl.Series("visit", np.arange(len(visitors)))
    unknown = tuple(visitor.unknown for visitor in visitors)
    return Recommendations(
        numbers, found.lists, packed.model.products, found=found, book=book, unknown=unknown
    )


def visitor_of_visit(model: TasteModel, visit: Visit) -> Visitor:
    """Return the visitor that a visit describes, with what of it the model does not know; raise `SettingProblem`."""
    user = None if visit.user is None else model.users.find([visit.user])[0]
    strangers = [] if visit.user is None or user is not None else [visit.user]
    basket, unknown = known_part(model, _ids(visit.basket))
    viewed, unseen = known_part(model, _ids(visit.viewed))
    held = np.unique(model.products.rows(basket)).astype(np.int32)
    history, times = NOTHING, None
    if user is not None:
        part = slice(int(model.histories.offsets[user]), int(model.histories.offsets[user + 1]))
        history = np.asarray(model.histories.products[part])
        times = None if model.history_times is None else np.asarray(model.history_times[part])
    nothing = (np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int16))
    facts = Facts(_named("context", visit.context), _named("attributes", visit.attributes))
    seen = model.products.rows(viewed).astype(np.int32)
    asking, strange = asking_of(model, user, nothing, held, facts, seen, at=_moment(visit))
    return Visitor(
        user, history, times, held,
        unknown=tuple(map(_spelled, (*strangers, *unknown, *unseen, *strange))),
        asking=None if model.is_plain else asking,
    )  # fmt: skip


def _moment(visit: Visit) -> int | None:
    return None if visit.at is None else moment_of(visit.at)


def _named(what: str, values: object) -> Mapping[str, object]:
    if not isinstance(values, Mapping):
        raise SettingProblem(
            f"{what} is {values!r:.100}; give names and their values, such as {{'occasion': 'wedding'}}."
        )
    return values


def _ids(given: object) -> list[object]:
    """Return product ids; one by itself is a list of one."""
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else [given]


def _spelled(value: object) -> str | int:
    return value if isinstance(value, str | int) else str(value)


def similar(
    model: TasteModel | PackedModel,
    products: AnyIds,
    *,
    k: int = 10,
    similarity: Similarity = "dot",
    include_self: bool = False,
    rules: AnyRules | None = None,
    catalogue: Catalogue | ProductTable | None = None,
    threads: int | None = None,
) -> Recommendations:
    """Return the k products whose vectors are nearest to each product's, by dot product or cosine.

    ``similarity="dot", k=100, include_self=True`` is what the workshop's service answers. Of the rules, `allow`, `deny`,
    `where` and `minimum_price` hold. The other options are those of `recommend`. Raises `UnknownId`, `SettingProblem` and
    `ColumnProblem`.
    """
    packed = pack(model, catalogue=catalogue)
    model = packed.model
    rows = model.products.rows(ids_given(products, "product"))
    book = None if rules is None else book_of(packed, rules)
    lists = rank_neighbours(
        packed, rows, book, k=k, similarity=similarity, include_self=include_self, threads=threads
    )
    asked = model.products.original(model.products.at(rows)).alias("product_id")
    return Recommendations(
        asked,
        lists,
        model.products,
        "similar_id",
        book=book,
        catalogue=packed.catalogue,
        form=model.products.form,
    )


def book_of(packed: PackedModel, rules: AnyRules | None) -> RuleBook:
    """Return what rules come to for a model; raise `SettingProblem` or `ColumnProblem` for those that cannot hold."""
    if isinstance(rules, RuleBook):
        return rules
    if rules is None:
        rules = NO_RULES
    elif isinstance(rules, str | Path):
        rules = read_rules(rules)
    elif not isinstance(rules, Rules):
        rules = Rules.from_json(rules)
    products = packed.model.products
    return compile_rules(
        [rules], products, packed.catalogue or empty_table(products), sold=sold_counts(packed.model, rules)
    )


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


def baskets_given(given: Iterable[Iterable[object] | object]) -> list[list[object]]:
    """Return the baskets; ids that stand in no lists are one."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return [[given]]
    parts = list(given)
    lists = [part for part in parts if isinstance(part, Iterable) and not isinstance(part, str | bytes)]
    if not parts or len(lists) == len(parts):
        return [list(basket) for basket in lists]
    if lists:
        raise SettingProblem(
            "some of the baskets are lists of product ids and some are single ids; give lists."
        )
    return [parts]


def _with_basket(packed: PackedModel, basket: Iterable[object]) -> Visitor:
    """Return a visitor with a basket and nothing else; raise `UnknownId` for a product that not even the catalogue knows."""
    products, ids = packed.model.products, list(basket)
    table = packed.catalogue
    if table is None or not len(table.strangers):
        return Visitor(basket=np.unique(products.rows(ids)).astype(np.int32))
    known, unknown = known_part(packed.model, ids)
    described = set(table.strangers.get_column("id"))
    products.rows([product for product in unknown if str(product) not in described])
    rows = np.unique(products.rows(known)).astype(np.int32)
    return Visitor(basket=rows, categories=() if len(rows) else categories_of(table, unknown))
