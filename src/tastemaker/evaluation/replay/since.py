"""From when on each product is a candidate, as a catalogue says it."""

from __future__ import annotations

import numpy as np

from tastemaker.data.reading.catalogues import Catalogue
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.product_table import read_product_table
from tastemaker.data.reading.values.times import plan_times, replanned, settle_times
from tastemaker.data.summary import TimeUnit
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem
from tastemaker.types import Times

__all__ = ["SINCE", "has_since", "since_of"]

SINCE = "since"
"""The usual name of the column that says since when a product is sold."""

ALWAYS = np.iinfo(np.int64).min


def has_since(catalogue: Catalogue, products: Vocabulary) -> bool:
    """Return whether a catalogue has a column of the usual name."""
    return SINCE in read_product_table(catalogue, products).frame.columns


def since_of(
    catalogue: Catalogue, products: Vocabulary, *, column: str = SINCE, unit: TimeUnit = "calendar"
) -> Times:
    """Return the time in a column of a catalogue, ``int64[P]``; a product without one is always a candidate.

    Raises `ColumnProblem` for a column that is not there, holds no times, or counts something else than ``unit``, and what
    `read_product_table` raises.

    >>> import polars as pl
    >>> shop = pl.DataFrame({"product_id": ["hat", "kilt"], "since": ["1970-01-02", None]})
    >>> since_of(shop, Vocabulary.of(["hat", "kilt", "sock"], noun="product")).tolist() == [86_400_000_000, ALWAYS, ALWAYS]
    True
    """
    table = read_product_table(catalogue, products)
    written, reading = table.column(column).to_frame(), Reading()
    if not written[column].count():
        raise ColumnProblem(
            f"the column {column!r} of {table.label} holds no time for any product of the model."
        )
    frame = written.lazy()
    plan = plan_times(column, frame, label=table.label, reading=reading)
    plan = replanned(plan, frame, written.select(**plan.parts), reading) or plan
    found = settle_times(plan, frame, written.select(**plan.parts), label=table.label, reading=reading)
    if found.unreadable or not found.known.any():
        raise ColumnProblem(
            f"{found.unreadable:,} values of the column {column!r} of {table.label} are no times; mend them, or leave them empty."
        )
    if found.counts_from != unit:
        raise ColumnProblem(
            f"the column {column!r} of {table.label} counts {found.counts_from}, but the times of LATER are {unit}; "
            "both must count the same."
        )
    return np.where(found.known, found.times, ALWAYS)
