"""`browse`: the whole catalogue, filtered, sorted and counted by its columns, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import polars as pl

from tastemaker.data.conditions import Condition
from tastemaker.data.past import PURCHASE
from tastemaker.ranking.rules.rule_book import holds
from tastemaker.serving.answering.product_search import ProductIndex
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import AnyArray, Booleans, Rows

__all__ = ["RECENT_DAYS", "SORTS", "Facet", "Shelf", "Sort"]

Sort: TypeAlias = Literal["best", "recent", "sold", "trending", "name", "price", "-price", "newest"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)

RECENT_DAYS: Final = 28
DAY: Final = 86_400_000_000
MOST_VALUES: Final = 200
"""A column with more values is no facet"""
SHOWN: Final = 40
"""How many values of a facet are told, those of most products first"""


@dataclass(frozen=True, slots=True)
class Facet:
    """What one column says of the products shown, its own condition aside."""

    column: str
    values: tuple[tuple[str, int], ...]
    """Each value as text, and how many products have it; empty for a column of numbers"""
    least: float | None = None
    most: float | None = None


class Shelf:
    """The products of one version in all their orders; made once, asked often."""

    def __init__(self, loaded: LoadedModel, index: ProductIndex) -> None:
        self._loaded, self._index = loaded, index
        self._table = loaded.catalogue

    @property
    def buyers(self) -> AnyArray:
        """Return how many users bought each product, ``int[P]``."""
        return self._index.buyers

    def rows(self, text: str, conditions: Sequence[Condition], sort: Sort) -> Rows:
        """Return the products that fit a text and every condition, in order; raise `SettingProblem`, `ColumnProblem`."""
        rows = self._index.ranked(text)
        mask = self._mask(conditions)
        rows = rows if mask is None else rows[mask[rows]]
        if sort == "best" and text.strip():
            return rows
        keys = self._keys(sort)
        return rows if keys is None else rows[np.argsort(keys[rows], kind="stable")]

    def facets(self, text: str, conditions: Sequence[Condition]) -> list[Facet]:
        """Count the values of each column among the products that fit the text and the conditions on other columns."""
        found = self._index.ranked(text)
        facets = []
        for column, values in self._facet_columns.items():
            others = [condition for condition in conditions if condition.column != column]
            mask = self._mask(others)
            facet = self._facet(column, values, found if mask is None else found[mask[found]])
            if facet is not None:
                facets.append(facet)
        return facets

    @property
    def sorts(self) -> tuple[Sort, ...]:
        """Return the orders that the model and the catalogue know enough for."""
        missing: set[str] = set()
        if self.recent is None:
            missing |= {"recent", "trending", "newest"}
        if self._table.named("price") is None:
            missing |= {"price", "-price"}
        return tuple(sort for sort in SORTS if sort not in missing)

    @cached_property
    def recent(self) -> AnyArray | None:
        """Return how often each product was bought in the log's last `RECENT_DAYS` days, ``int[P]``; ``None`` without times."""
        dated = self._dated
        if dated is None:
            return None
        products, times = dated
        late = times > times.max() - RECENT_DAYS * DAY
        return np.bincount(products[late], minlength=len(self._loaded.model.products))

    @cached_property
    def _dated(self) -> tuple[Rows, AnyArray] | None:
        past = self._loaded.model.past
        if past is None or not len(past):
            return None
        products, times = np.asarray(past.products), np.asarray(past.times)
        if past.kinds is not None:
            bought = np.asarray(past.kinds) == past.names.index(PURCHASE)
            products, times = products[bought], times[bought]
        return (products, times) if len(products) else None

    @cached_property
    def _first_sold(self) -> AnyArray:
        first = np.full(len(self._loaded.model.products), np.iinfo(np.int64).min // 2)
        if self._dated is not None:
            products, times = self._dated
            order = np.argsort(-times, kind="stable")
            first[products[order]] = times[order]  # the earliest is written last
        return first

    def _keys(self, sort: Sort) -> AnyArray | None:
        """Return what products are sorted by, ascending; ``None`` for what sold best of all."""
        if sort == "name":
            column = self._table.named("name")
            texts = self._loaded.model.products.ids if column is None else self._table.column(column)
            lower = texts.cast(pl.String).str.to_lowercase()
            ranks: AnyArray = lower.rank("dense").fill_null(len(lower) + 1).to_numpy()
            return ranks
        if sort in ("price", "-price"):
            column = self._table.named("price")
            if column is None or not self._table.column(column).dtype.is_numeric():
                return None
            prices = self._table.column(column).cast(pl.Float64)
            return (prices if sort == "price" else -prices).fill_null(float("inf")).to_numpy()
        if self.recent is None:
            return None
        if sort == "recent":
            return -self.recent
        if sort == "trending":  # of late, as a share of what chance and all sales together lead to expect
            share: AnyArray = (self.recent + 1) / (self._index.buyers + 10)
            return -share
        return -self._first_sold if sort == "newest" else None

    def _mask(self, conditions: Sequence[Condition]) -> Booleans | None:
        mask: Booleans | None = None
        for condition in conditions:
            own = holds(condition, self._table)
            mask = own if mask is None else mask & own
        return mask

    @cached_property
    def _facet_columns(self) -> dict[str, pl.Series]:
        """Return the columns that part the products into few groups, or are numbers."""
        skipped = {self._table.named("name"), self._table.named("image")}
        found = {}
        for column in self._table.frame.columns:
            values = self._table.column(column)
            if column in skipped or values.null_count() == len(values):
                continue
            if values.dtype in (pl.Categorical, pl.Enum):
                values = values.cast(pl.String)
            if values.dtype.is_numeric() or (
                values.dtype in (pl.String, pl.Boolean) and values.n_unique() <= MOST_VALUES
            ):
                found[column] = values
        return found

    def _facet(self, column: str, values: pl.Series, rows: Rows) -> Facet | None:
        shown = values.gather(rows).drop_nulls()
        if values.dtype.is_numeric():
            if not len(shown):
                return None
            return Facet(column, (), float(shown.min()), float(shown.max()))  # type: ignore[arg-type]
        counts = shown.cast(pl.String).value_counts(sort=True)
        counts = counts.sort(["count", counts.columns[0]], descending=[True, False])
        return Facet(column, tuple(counts.head(SHOWN).iter_rows()))
