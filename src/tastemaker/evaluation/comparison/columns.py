"""The columns of catalogues as segments of a comparison: which users and which products a model serves well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.catalogues import Catalogue
from tastemaker.data.reading.sources import open_source
from tastemaker.errors import ColumnProblem, DataError
from tastemaker.evaluation.segments import Segments, by_column

__all__ = ["by_columns", "check_segments"]


def by_columns(
    columns: Sequence[str], log: Purchases, *, users: Catalogue = None, products: Catalogue = None
) -> tuple[Segments, ...]:
    """Group the users or products of a log by columns of their catalogues, as `by_column` does; by both where both have the column.

    Raises `ColumnProblem` for a column that neither has, with the columns there are.

    >>> import polars as pl
    >>> import tastemaker as tm
    >>> log = tm.read_purchases(pl.DataFrame({"user": [1, 2], "product": ["hat", "sock"]}))
    >>> people = pl.DataFrame({"user": [1, 2], "city": ["Leeds", "York"]})
    >>> [(way.noun, way.name, way.codes.tolist()) for way in by_columns(["city"], log, users=people)]
    [('user', 'city', [0, 1])]
    """
    return tuple(found for column in columns for found in _by(column, log, users, products))


def _by(column: str, log: Purchases, users: Catalogue, products: Catalogue) -> Iterator[Segments]:
    columns = {
        noun: open_source(catalogue).names
        for noun, catalogue in (("user", users), ("product", products))
        if catalogue is not None
    }
    if not any(column in names for names in columns.values()):
        there = "; ".join(f"of {noun}s: {', '.join(map(repr, names))}" for noun, names in columns.items())
        raise ColumnProblem(
            f"no catalogue has a column {column!r} to part users or products by; "
            f"{f'there are, {there}' if there else 'give --users or --products, the tables that hold it'}."
        )
    if column in columns.get("user", ()):
        yield by_column(users, column, log.users, noun="user")
    if column in columns.get("product", ()):
        yield by_column(products, column, log.products)


def check_segments(segments: Sequence[Segments], log: Purchases) -> None:
    """Raise `DataError` unless the segments hold a label for each user, or each product, of the log."""
    for way in segments:
        rows = len(log.users if way.noun == "user" else log.products)
        if len(way.codes) != rows:
            raise DataError(
                f"the segments by {way.name} are of {len(way.codes):,} {way.noun}s and the log to learn from has {rows:,}; "
                "make them for all of its rows."
            )
