"""What a purchase tells of taste (a rating, a quantity), and what it is worth (a price, a margin)."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker.data.reading.catalogues import Catalogue
from tastemaker.data.reading.product_table import read_product_table
from tastemaker.data.reading.sources import Source
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem
from tastemaker.types import Floats, Rows

__all__ = ["values_of_products", "weights_of_rows"]


def weights_of_rows(column: pl.Series) -> Floats:
    """Return the ratings or quantities of a column, ``float32[N]``, NaN where nothing is said; raise `ColumnProblem` for text."""
    return _numbers(column, "--weight-column", "ratings or quantities")


def values_of_products(
    catalogue: Catalogue | None, name: str, vocabulary: Vocabulary, log: pl.DataFrame, rows: Rows
) -> Floats:
    """Return what a purchase of each product is worth, ``float32[P]``: the median of its rows in the log, else by the catalogue.

    ``catalogue`` is one of `open_catalogue`.

    NaN where nothing is said, or nothing positive. Raises `ColumnProblem` where neither has the column, or it holds no numbers.
    """
    if name in log.columns:
        numbers = _numbers(log[name], "--value-column", "prices or margins")
        given = pl.DataFrame({"product": rows, "value": numbers}).filter(
            pl.col("value").is_finite() & (pl.col("value") > 0)
        )
        medians = given.group_by("product").agg(pl.col("value").median())
        values = np.full(len(vocabulary), np.nan, np.float32)
        values[medians["product"].to_numpy()] = medians["value"].to_numpy()
        return values
    table = pl.DataFrame()
    if isinstance(catalogue, Source):
        table = read_product_table(catalogue, vocabulary).frame
    if name not in table.columns:
        columns = ", ".join(map(repr, dict.fromkeys((*table.columns, *log.columns)))) or "none"
        raise ColumnProblem(
            f"neither the log nor the catalogue of products has a column {name!r} (--value-column); there are {columns}."
        )
    values = _numbers(table[name], "--value-column", "prices or margins")
    return np.where(values > 0, values, np.float32(np.nan)).astype(np.float32)


def _numbers(column: pl.Series, flag: str, what: str) -> Floats:
    cast = column.cast(pl.Float64, strict=False)
    if cast.null_count() > column.null_count():
        bad = column.filter(cast.is_null() & column.is_not_null())
        raise ColumnProblem(
            f"column {column.name!r} holds {len(bad):,} values that are no numbers, such as {bad[0]!r}; {flag} takes {what}: "
            "mend them, or name another column."
        )
    numbers: Floats = cast.fill_null(float("nan")).to_numpy().astype(np.float32)
    return np.where(np.isfinite(numbers), numbers, np.float32(np.nan))
