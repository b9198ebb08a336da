"""`ReplayReport`: what the ranks of a replay are worth, over questions and over users, by segment, week and history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.summary import TimeUnit
from tastemaker.display import card, html_table
from tastemaker.evaluation.interval_tables import interval_frame, intervals_table
from tastemaker.evaluation.intervals import Interval, bca_ends, resampled_means
from tastemaker.evaluation.replay.questions import SEGMENTS, Questions
from tastemaker.tabular import Tabular
from tastemaker.types import AnyArray, Booleans, Doubles, Floats, Rows

__all__ = ["Measured", "ReplayReport", "ReportPart", "gains", "measured_of", "parts_of"]

DAY = 86_400_000_000
"""Microseconds"""

WEEK = 7 * DAY

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

KNOWN = ((0, 0), (1, 1), (2, 2), (3, 4), (5, 9), (10, 19), (20, 49), (50, None))
"""The bands of how many events of a user are known."""

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class ReportPart:
    """Some of the questions, and what their ranks are worth."""

    label: str
    purchases: int
    users: int
    metrics: dict[str, Interval]
    """Means over the questions, with intervals from resampling users; empty where there is no question"""

    def as_dict(self) -> dict[str, Any]:
        """Return the part as ``--json`` prints it, without its label."""
        metrics = {name: asdict(value) for name, value in self.metrics.items()}
        return {"purchases": self.purchases, "users": self.users, "metrics": metrics}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model or rule is worth in a replay."""

    whole: ReportPart
    over_users: dict[str, Interval]
    """The same metrics, a mean for each user first: five users may ask half of the questions"""
    segments: tuple[ReportPart, ...]
    weeks: tuple[ReportPart, ...] = ()
    """By the day that each week begins with; of times without a calendar by number, and of steps in tenths"""
    by_known: tuple[ReportPart, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen inside train, such as ``half_life_days``"""
    ranks: Rows = field(default_factory=lambda: np.zeros(0, np.int32), repr=False, compare=False)
    """``int32[Q]``, 1 is best and 0 cannot be found, to compare two on the same questions"""

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        found: dict[str, Any] = dict(self.settings)
        found["metrics"] = {name: asdict(value) for name, value in self.whole.metrics.items()}
        found["over_users"] = {name: asdict(value) for name, value in self.over_users.items()}
        found["segments"] = {part.label: part.as_dict() for part in self.segments}
        if self.weeks:
            found["weeks"] = [{"week": part.label, **part.as_dict()} for part in self.weeks]
        if self.by_known:
            found["events_known"] = [{"events": part.label, **part.as_dict()} for part in self.by_known]
        return found


@dataclass(frozen=True, slots=True, repr=False)
class ReplayReport(Tabular):
    """A replay: how many questions there were, what the model's answers are worth, and what simple rules reach."""

    purchases: int
    """Questions"""
    users: int
    not_findable: int
    """Questions of a product that the model does not know, or that was no candidate yet; they count as missed"""
    left_out: dict[str, int]
    """Purchases that are no question, by reason"""
    candidates: str
    """What was ranked, in words"""
    products: int
    frozen: bool
    include_purchased: bool
    model: Measured
    baselines: dict[str, Measured]
    skipped: dict[str, str]
    """Baselines that could not be measured, and why"""
    notes: tuple[str, ...] = ()
    questions: Questions | None = field(default=None, repr=False, compare=False)

    @property
    def metrics(self) -> dict[str, Interval]:
        """Return the model's means over questions."""
        return self.model.whole.metrics

    def to_frame(self) -> pl.DataFrame:
        """Return a line for each model, segment, metric and list length; the segment *all* holds every question."""
        parts = [
            interval_frame(part.metrics).select(
                pl.lit(name).alias("model"),
                pl.lit(label).alias("segment"),
                pl.lit(part.purchases).alias("purchases"),
                pl.all(),
            )
            for name, measured in {"model": self.model, **self.baselines}.items()
            for label, part in (
                ("all", measured.whole),
                *((segment.label, segment) for segment in measured.segments),
            )
        ]
        return pl.concat(parts)

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {value.mean:.4f}" for name, value in list(self.metrics.items())[:4])
        return f"ReplayReport({self.purchases:,} questions of {self.users:,} users: {means})"

    def _repr_html_(self) -> str:
        tables = [intervals_table(self.metrics)]
        rows = [
            [name, *(measured.whole.metrics[metric].mean for metric in self.metrics)]
            for name, measured in {"model": self.model, **self.baselines}.items()
        ]
        tables.append(html_table(["", *self.metrics], rows))
        parts = [
            [part.label, part.purchases, *(interval.mean for interval in part.metrics.values())]
            for part in self.model.segments
        ]
        tables.append(html_table(["segment", "questions", *self.metrics], parts))
        title = f"{self.purchases:,} later purchases of {self.users:,} users, each a question"
        facts = {"not findable": self.not_findable, "ranked": self.candidates}
        return card(title, facts, *tables, *self.notes)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``evaluate --replay --json`` prints."""
        return {
            "purchases": self.purchases,
            "users": self.users,
            "not_findable": self.not_findable,
            "left_out": self.left_out,
            "candidates": self.candidates,
            "products": self.products,
            "frozen": self.frozen,
            "include_purchased": self.include_purchased,
            **self.model.as_dict(),
            "baselines": {name: measured.as_dict() for name, measured in self.baselines.items()},
            "skipped": self.skipped,
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Return the one line that ``evaluate --replay --json`` prints."""
        return json.dumps(self.as_dict(), allow_nan=False)


def gains(ranks: Rows, at: Sequence[int]) -> dict[str, Doubles]:
    """Return what each rank is worth by each metric, ``float64[Q]``; rank 0 is worth nothing.

    hit_rate@k = 1, ndcg@k = 1 / log2(rank + 1), mrr@k = 1 / rank within k, else 0: each question wants one product.

    >>> {name: values.round(2).tolist() for name, values in gains(np.int32([1, 3, 0]), [2, 10]).items()}["ndcg@10"]
    [1.0, 0.5, 0.0]
    """
    values: dict[str, Doubles] = {}
    safe = np.maximum(ranks, 1).astype(np.float64)
    for name, worth in (
        ("hit_rate", np.ones(len(ranks))),
        ("ndcg", 1 / np.log2(safe + 1)),
        ("mrr", 1 / safe),
    ):
        for k in at:
            values[f"{name}@{k}"] = np.where((ranks > 0) & (ranks <= k), worth, 0.0)
    return values


def measured_of(
    ranks: Rows,
    questions: Questions,
    *,
    at: Sequence[int],
    seed: int,
    whole: bool = True,
    settings: Mapping[str, Any] | None = None,
    unit: TimeUnit = "calendar",
    worth: Floats | None = None,
) -> Measured:
    """Return what these ranks are worth, with 95 % intervals over users; weeks and histories only of the ``whole``.

    ``unit`` is what the questions' times count. ``worth``, ``float32[P]``, adds earned@k: the product's worth where it is found.
    """
    values = gains(ranks, at)
    if worth is not None:
        asked = np.append(np.asarray(worth, np.float64), 0.0)[np.minimum(questions.products, len(worth))]
        values |= {f"earned@{k}": values[f"hit_rate@{k}"] * asked for k in at}
    labels = ["all", *SEGMENTS]
    masks: list[Booleans] = [
        np.ones(len(ranks), bool),
        *(questions.segments == i for i in range(len(SEGMENTS))),
    ]
    weeks = _weeks(questions, unit) if whole else []
    known = _known(questions) if whole else []
    for label, mask in (*weeks, *known):
        labels.append(label)
        masks.append(mask)
    parts = parts_of(values, questions.users, labels, masks, seed=seed)
    border = 1 + len(SEGMENTS) + len(weeks)
    return Measured(
        parts[0],
        _over_users(values, questions.users, seed),
        tuple(parts[1 : 1 + len(SEGMENTS)]),
        tuple(parts[1 + len(SEGMENTS) : border]),
        tuple(parts[border:]),
        settings or {},
        ranks,
    )


def parts_of(
    values: Mapping[str, Doubles],
    users: Rows,
    labels: Sequence[str],
    masks: Sequence[Booleans],
    *,
    seed: int,
) -> list[ReportPart]:
    """Return the mean of each metric over each part's questions, with intervals from drawing users with all of their questions.

    mean = Σ over users of their sum / Σ over users of their questions; both sums are resampled together.
    """
    _, numbers = np.unique(users, return_inverse=True)
    count = int(numbers.max(initial=-1)) + 1
    columns = []
    for mask in masks:
        some = numbers[mask]
        weights = [np.ones(len(some)), *(scores[mask] for scores in values.values())]
        columns += [np.bincount(some, weights=weight, minlength=count) for weight in weights]
    table = np.array(columns, np.float64).reshape(len(columns), count)
    drawn = resampled_means(table, np.random.default_rng(seed), RESAMPLES) if count else table.T
    width = len(values) + 1
    parts = []
    for place, label in enumerate(labels):
        sizes = table[place * width]
        metrics = {
            name: _ratio(table[column], sizes, drawn[:, column], drawn[:, place * width])
            for column, name in enumerate(values, place * width + 1)
            if sizes.any()
        }
        parts.append(ReportPart(label, int(sizes.sum()), int((sizes > 0).sum()), metrics))
    return parts


def _ratio(sums: Doubles, sizes: Doubles, drawn_sums: Doubles, drawn_sizes: Doubles) -> Interval:
    mean = float(sums.sum() / sizes.sum())
    there = drawn_sizes > 0
    means = drawn_sums[there] / drawn_sizes[there]
    influences = (sums - mean * sizes)[sizes > 0]
    if len(influences) < 2 or not np.any(influences):
        return Interval(mean, mean, mean)
    low, high = bca_ends(means[:, None], influences[None, :], found=np.array([mean]))
    return Interval(mean, float(low[0]), float(high[0]))


def _over_users(values: Mapping[str, Doubles], users: Rows, seed: int) -> dict[str, Interval]:
    _, numbers, sizes = np.unique(users, return_inverse=True, return_counts=True)
    means = {name: np.bincount(numbers, weights=scores) / sizes for name, scores in values.items()}
    parts = parts_of(
        means, np.arange(len(sizes), dtype=np.int32), ["users"], [np.ones(len(sizes), bool)], seed=seed
    )
    return parts[0].metrics


def _weeks(questions: Questions, unit: TimeUnit) -> list[tuple[str, Booleans]]:
    """Return the questions of each week that has one, from the first day on; of an order alone those of each tenth of it."""
    if not len(questions):
        return []
    times = questions.times
    first = int(times[0]) // DAY * DAY if unit == "calendar" else int(times[0])
    width = WEEK if unit != "steps" else max(-(-(int(times[-1]) - first + 1) // 10), 1)
    numbers = (times - first) // width
    weeks: AnyArray = np.unique(numbers)
    return [(_week_named(int(week), first, unit), numbers == week) for week in weeks]


def _week_named(week: int, first: int, unit: TimeUnit) -> str:
    if unit != "calendar":
        return str(week + 1)
    try:
        return f"{EPOCH + timedelta(microseconds=first + week * WEEK):%Y-%m-%d}"
    except OverflowError:
        return str(week + 1)


def _known(questions: Questions) -> list[tuple[str, Booleans]]:
    """Return the questions by how many events of the user are known."""
    found = []
    for low, high in KNOWN:
        label = str(low) if high == low else f"{low} and more" if high is None else f"{low}–{high}"
        mask = questions.events_known >= low
        found.append((label, mask if high is None else mask & (questions.events_known <= high)))
    return found
