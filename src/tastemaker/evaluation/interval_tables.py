"""Metrics with their intervals as a frame, and as a table of a notebook that draws them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from tastemaker.display import Markup, drawn_interval, html_table
from tastemaker.evaluation.intervals import Interval

__all__ = ["interval_frame", "intervals_table"]


def interval_frame(metrics: Mapping[str, Interval]) -> pl.DataFrame:
    """Return a line for each metric: its name and list length, the mean, and both ends of its interval.

    >>> interval_frame({"recall@10": Interval(0.5, 0.25, 0.75)}).row(0)
    ('recall', 10, 0.5, 0.25, 0.75)
    """
    rows = [(*name.partition("@")[::2], value.mean, value.low, value.high) for name, value in metrics.items()]
    schema = {"metric": pl.String, "k": pl.String, "mean": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row").with_columns(pl.col("k").cast(pl.Int64))


def intervals_table(metrics: Mapping[str, Interval]) -> Markup:
    """Return a line for each metric and a column for each list length; intervals are drawn, each metric on an axis of its own."""
    names = list(dict.fromkeys(name.partition("@")[0] for name in metrics))
    lengths = sorted({int(name.partition("@")[2]) for name in metrics})
    rows = []
    for name in names:
        there = [metrics.get(f"{name}@{length}") for length in lengths]
        top = max((interval.high for interval in there if interval is not None), default=0.0)
        cells: list[object] = [name]
        for interval in there:
            drawn = (
                ""
                if interval is None or interval.low == interval.high
                else drawn_interval(interval.mean, interval.low, interval.high, top=top)
            )
            cells += ["", ""] if interval is None else [interval.mean, drawn]
        rows.append(cells)
    head = [text for length in lengths for text in (f"@{length}", "")]
    return html_table(["", *head], rows)
