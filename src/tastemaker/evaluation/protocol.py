"""The protocol: what is measured of which users, and the `Report` that says it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories
from tastemaker.display import card, counted
from tastemaker.errors import DataError
from tastemaker.evaluation.interval_tables import interval_frame, intervals_table
from tastemaker.evaluation.intervals import Interval, bootstrap_mean
from tastemaker.evaluation.metrics import Measurements, measure
from tastemaker.evaluation.sampled import Workshop
from tastemaker.ranking.lists import RankedLists
from tastemaker.tabular import Tabular
from tastemaker.types import Doubles, Rows

__all__ = ["Report", "report_of", "those_with_held_out"]


@dataclass(frozen=True, slots=True, repr=False)
class Report(Tabular):
    """What a model's lists are worth: a mean with its interval for each metric, and each user's value."""

    users: int
    """How many users were measured: those with at least one held-out product."""
    products: int
    """How many products were ranked (P)."""
    metrics: dict[str, Interval]
    """``{"recall@10": Interval, …}``; coverage and Gini are no means over users: both ends of their intervals equal them."""
    workshop: Workshop | None = None
    """The workshop's sampled accuracy, when it was measured."""
    unknown_user_rows: int = 0
    """Held-out purchases left out because the model does not know their user."""
    unknown_product_rows: int = 0
    """Those of products that the model does not know, which count as missed."""
    queries: Rows = field(default_factory=lambda: np.zeros(0, np.int32), repr=False, compare=False)
    """``int32[users]``, the position among the ranked lists of each measured user."""
    values: dict[str, Doubles] = field(default_factory=dict, repr=False, compare=False)
    """``{"recall@10": float64[users], …}``, for paired comparison with another report on the same users."""

    def to_frame(self) -> pl.DataFrame:
        """Return a line for each metric and list length: metric, k, mean, and low and high of the 95 % interval."""
        return interval_frame(self.metrics)

    def __repr__(self) -> str:
        shown = [name for name in self.metrics if name.startswith(("recall@", "ndcg@"))] or list(self.metrics)
        means = ", ".join(f"{name} {self.metrics[name].mean:.4f}" for name in shown[:4])
        return f"Report({counted(self.users, 'user')}, {counted(self.products, 'product')}: {means})"

    def _repr_html_(self) -> str:
        return card(
            f"{counted(self.users, 'user')} measured, {counted(self.products, 'product')} ranked",
            {},
            self._left_out(),
            intervals_table(self.metrics),
            "Means over users with their 95 % intervals; each metric is drawn from 0.",
        )

    def _left_out(self) -> str:
        said = []
        if self.unknown_user_rows:
            said.append(
                f"{counted(self.unknown_user_rows, 'purchase', 'is', 'are')} of users that the model does not know, and left out."
            )
        if self.unknown_product_rows:
            said.append(
                f"{counted(self.unknown_product_rows, 'purchase', 'is', 'are')} of products that it does not know: missed."
            )
        return " ".join(said)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``evaluate --json`` prints as dictionaries; ``workshop`` is None when not measured."""
        return {
            "users": self.users,
            "products": self.products,
            "metrics": {name: asdict(interval) for name, interval in self.metrics.items()},
            "workshop": None if self.workshop is None else asdict(self.workshop),
        }

    def to_json(self) -> str:
        """Return the one line that ``evaluate --json`` prints."""
        return json.dumps(self.as_dict(), allow_nan=False)


def those_with_held_out(held_out: Histories) -> tuple[Rows, Histories]:
    """Return the rows ``int32[Q]`` of the users with a held-out product, and the products of these Q only.

    >>> rows, theirs = those_with_held_out(Histories(np.int64([0, 0, 2, 2, 3]), np.int32([4, 5, 6])))
    >>> rows.tolist(), theirs.offsets.tolist(), theirs.products.tolist()
    ([1, 3], [0, 2, 3], [4, 5, 6])
    """
    rows = np.flatnonzero(np.diff(held_out.offsets))
    return rows.astype(np.int32), Histories(
        np.append(held_out.offsets[:1], held_out.offsets[rows + 1]), held_out.products
    )


def report_of(
    lists: RankedLists,
    held_out: Histories,
    *,
    at: Sequence[int],
    products: int,
    seed: int,
    workshop: Workshop | None = None,
    bought: Histories | None = None,
) -> Report:
    """Measure Q ranked lists against the held-out products of their Q users, with 95 % intervals over users.

    The lists must have been ranked at least ``max(at)`` long among ``products`` candidates. With ``bought``, all
    that was bought in train, novelty and the share of best sellers are in the report, too. The seed decides
    the bootstrap, so that equal lists give equal reports. Raises `SettingProblem` for an unusable ``at`` and
    `DataError` when lists and users do not match or no user has a held-out product.

    >>> lists = RankedLists(np.int64([0, 2, 4]), np.int32([7, 3, 1, 0]), np.float32([2, 1, 2, 1]))
    >>> held_out = Histories(np.int64([0, 1, 2]), np.int32([3, 1]))
    >>> report = report_of(lists, held_out, at=[2], products=10, seed=1)
    >>> report.users, report.metrics["mrr@2"]
    (2, Interval(mean=0.75, low=0.5, high=1.0))
    """
    measured = measure(lists, held_out, at=at, products=products, bought=bought)
    if not len(measured.queries):
        raise DataError(
            f"none of the {len(lists):,} users has a held-out product to measure against; "
            "hold out purchases of users that the model knows."
        )
    metrics = _intervals(measured, seed)
    return Report(
        len(measured.queries), products, metrics, workshop, queries=measured.queries, values=measured.values
    )


def _intervals(measured: Measurements, seed: int) -> dict[str, Interval]:
    columns = np.stack(list(measured.values.values()), axis=1)
    ends = bootstrap_mean(columns, rng=np.random.default_rng(seed))
    means = {
        name: Interval(float(mean), float(low), float(high))
        for name, mean, low, high in zip(measured.values, *ends, strict=True)
    }
    return means | {name: Interval(whole, whole, whole) for name, whole in measured.wholes.items()}
