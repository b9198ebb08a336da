"""`ProductIndex`: finds products by their id or words of their name, and returns what the catalogue says of them."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.reading.product_table import ProductTable
from tastemaker.model.taste_model import TasteModel
from tastemaker.types import AnyArray, Booleans, Rows

__all__ = ["ProductIndex", "about"]


class ProductIndex:
    """The ids, names and numbers of buyers of a model's products, ready to be searched."""

    def __init__(self, model: TasteModel, table: ProductTable) -> None:
        self._ids = model.products.ids.cast(pl.String).str.to_lowercase()
        name = table.named("name")
        names = self._ids if name is None else table.column(name).cast(pl.String).str.to_lowercase()
        self._names = names.fill_null("")
        self.buyers: AnyArray = np.bincount(model.histories.products, minlength=len(model.products))
        self._best = np.argsort(-self.buyers, kind="stable")

    def find(self, text: str, limit: int) -> Rows:
        """Return the rows of the products that match best.

        The product with this id first, then ids that begin so, then names that hold all the words; within each, what sells best. An
        empty text matches all.
        """
        wanted = text.strip().lower()
        if not wanted:
            return self._best[:limit].astype(np.int32)
        words: Booleans = np.ones(len(self._ids), np.bool_)
        for word in wanted.split():
            words &= self._names.str.contains(word, literal=True).to_numpy()
        grade = words.astype(np.int8)
        grade[self._ids.str.starts_with(wanted).to_numpy()] = 2
        grade[(self._ids == wanted).to_numpy()] = 3
        rows = self._best[grade[self._best] > 0]
        return rows[np.argsort(-grade[rows], kind="stable")][:limit].astype(np.int32)


def about(table: ProductTable, row: int) -> dict[str, Any]:
    """Return what the catalogue says of one product as JSON values, empty cells left out."""
    if not table.frame.width:
        return {}
    cells = table.frame.row(row, named=True)
    return {name: _plain(value) for name, value in cells.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    return value.isoformat() if isinstance(value, date | time) else str(value)
