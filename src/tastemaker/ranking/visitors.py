"""`Visitor`: whom a list is for. `Visitors`: many of them as flat arrays, ranked in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import gather_lists
from tastemaker.data.reading.product_table import ProductTable
from tastemaker.model.beside.asking import Asking
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.asking import asking_of_users
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.types import AnyArray, Booleans, Counts, Rows

__all__ = [
    "NOTHING",
    "SOURCES",
    "Categories",
    "ListSource",
    "Visitor",
    "Visitors",
    "categories_of",
    "demanded_categories",
]

ListSource: TypeAlias = Literal["personal", "basket", "category best sellers", "best sellers", "context"]
"""What a list is made from: the user's purchases, a basket, else attributes, context or views, else what sells best"""

SOURCES: Final[tuple[ListSource, ...]] = (
    "personal",
    "basket",
    "category best sellers",
    "best sellers",
    "context",
)
PERSONAL, BASKET, CATEGORY, BEST_SELLERS, CONTEXT = range(5)

Categories: TypeAlias = tuple[str, ...]
"""Values of the catalogue's category column"""

NOTHING: Rows = np.zeros(0, np.int32)


class Visitor(Struct, frozen=True, eq=False):
    """Whom one list is for: what was named, and what the model, the log since, and the catalogue know of it.

    A struct, which is made sooner than a dataclass: a server makes one for each list.

    Whatever else is to be known of a visitor (the time of asking, events of other kinds, context, attributes) is one more field
    here and one more column of `Visitors`.
    """

    user: int | None = None
    """The row of a user whom the model knows"""
    history: Rows = msgspec.field(default_factory=lambda: NOTHING)
    """What they bought, ``int32[n]``, ascending; newer purchases included"""
    times: Counts | None = None
    """``int32[n]``, how often each was bought; ``None`` means once"""
    basket: Rows = msgspec.field(default_factory=lambda: NOTHING)
    """What is in the basket now, ``int32[m]``, ascending"""
    categories: Categories = ()
    """What they care about where the model knows none of their products"""
    live: bool = False
    """Whether the history holds purchases that the model has not learned from"""
    named: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """``user`` and ``basket`` as an answer repeats them"""
    unknown: tuple[str | int, ...] = ()
    """The ids, and the contexts and attributes, among them that the model does not know"""
    asking: Asking | None = None
    """All that is known of them, as one query over ``held``, for a model that knows age, other events, attributes or contexts"""

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

    @property
    def source(self) -> ListSource:
        """Return what their list is made from."""
        if len(self.history):
            return "personal"
        if len(self.basket):
            return "basket"
        if self.asking is not None and not self.asking.says_nothing()[0]:
            return "context"
        return "category best sellers" if self.categories else "best sellers"

    @property
    def is_learned(self) -> bool:
        """Return whether the model itself knows all: no live purchases, and not both a user and a basket."""
        return not self.live and not (len(self.basket) and "user" in self.named)

    @property
    def is_stranger(self) -> bool:
        """Return whether the named user is unknown: not in the model, and without a live purchase."""
        return "user" in self.named and self.user is None and not len(self.history)


@dataclass(frozen=True, slots=True, eq=False)
class Visitors:
    """Q visitors as flat arrays, so that all are ranked in one batch."""

    held: Histories
    """What each bought and has in the basket: Q lists"""
    users: Rows
    """``int32[Q]``, the row of a user of the model; -1 for any other visitor"""
    times: Counts | None
    """``int32``, how often each of ``held.products`` was bought; ``None`` means once"""
    bought: Booleans
    """``bool[Q]``, whether they bought anything that the model knows"""
    categories: tuple[Categories, ...] | None = None
    """What each cares about; ``None`` means nothing for all"""
    asking: Asking | None = None
    """All that is known of each, for a model that knows age, other events, attributes or contexts"""

    def __len__(self) -> int:
        return len(self.users)

    @staticmethod
    def of(visitors: Sequence[Visitor]) -> Visitors:
        """Put visitors together, in their order."""
        lists = [visitor.held for visitor in visitors]
        categories = [visitor.categories for visitor in visitors]
        return Visitors(
            Histories.from_lists(lists),
            np.array([-1 if visitor.user is None else visitor.user for visitor in visitors], np.int32),
            _times(visitors, lists),
            np.array([len(visitor.history) > 0 for visitor in visitors], np.bool_),
            tuple(categories) if any(categories) else None,
            _askings(visitors, lists),
        )

    @staticmethod
    def of_users(model: TasteModel, users: AnyArray) -> Visitors:
        """Return the users at these rows, ``int[Q]``, each with what they bought."""
        offsets, places = gather_lists(model.histories.offsets, users)
        asking = None if model.is_plain else asking_of_users(model, users)
        times = None if model.history_times is None else np.ascontiguousarray(model.history_times[places])
        held = Histories(offsets, np.ascontiguousarray(model.histories.products[places]))
        return Visitors(held, np.asarray(users, np.int32), times, np.diff(offsets) > 0, asking=asking)

    @staticmethod
    def of_baskets(baskets: Sequence[Rows]) -> Visitors:
        """Return visitors with a basket and nothing else: distinct, ascending product rows."""
        held = Histories.from_lists(baskets)
        nobody = np.full(len(baskets), -1, np.int32)
        return Visitors(held, nobody, None, np.zeros(len(baskets), np.bool_))

    def take(self, places: AnyArray) -> Visitors:
        """Return the visitors at these places, ``int[n]``."""
        offsets, inside = gather_lists(self.held.offsets, places)
        return Visitors(
            Histories(offsets, self.held.products[inside]),
            self.users[places],
            None if self.times is None else self.times[inside],
            self.bought[places],
            None if self.categories is None else tuple(self.categories[place] for place in places.tolist()),
            None if self.asking is None else self.asking.take(places),
        )


def categories_of(table: ProductTable, ids: Sequence[object]) -> Categories:
    """Return the categories of products that the catalogue knows and the model does not, in the order of ``ids``."""
    column = table.named("category")
    if column is None or not len(table.strangers) or not ids:
        return ()
    wanted = pl.DataFrame({"id": [str(product) for product in ids]})
    found = wanted.join(table.strangers.select("id", column), on="id", how="inner", maintain_order="left")
    return tuple(dict.fromkeys(found.get_column(column).drop_nulls().cast(pl.String).to_list()))


def demanded_categories(book: RuleBook, table: ProductTable | None) -> Categories:
    """Return the categories that the rules demand: the best assumption about an unknown visitor."""
    if not book.where or table is None:
        return ()
    column = table.named("category")
    wanted = next((rule.among for rule in book.where if rule.column == column and rule.among), ())
    return tuple(map(str, wanted))


def _askings(visitors: Sequence[Visitor], lists: Sequence[Rows]) -> Asking | None:
    if all(visitor.asking is None for visitor in visitors):
        return None
    return Asking.joined(
        [
            Asking(Histories.from_lists([rows])) if visitor.asking is None else visitor.asking
            for visitor, rows in zip(visitors, lists, strict=True)
        ]
    )


def _times(visitors: Sequence[Visitor], lists: Sequence[Rows]) -> Counts | None:
    if all(visitor.times is None for visitor in visitors):
        return None
    each = [visitor.held_times for visitor in visitors]
    return np.concatenate(
        [
            np.ones(len(rows), np.int32) if times is None else times
            for times, rows in zip(each, lists, strict=True)
        ]
    )
