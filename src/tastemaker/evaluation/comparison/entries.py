"""`Entry` and `Comparison`: what a comparison found of each model, and of all together."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.reading.given import seen_by
from tastemaker.display import card, drawn_interval, html_table
from tastemaker.evaluation.comparison.cost import Cost
from tastemaker.evaluation.comparison.list_samples import SHOWN, ListSamples, Segmentation, sample_lists
from tastemaker.evaluation.comparison.measurement import Conditions
from tastemaker.evaluation.comparison.verdict import Test, headline, sentences
from tastemaker.evaluation.comparison.workspace import LearnedModel
from tastemaker.evaluation.curves.tail_curve import TailPoint, tail_curve
from tastemaker.evaluation.curves.value_curve import ValuePoint, value_curve
from tastemaker.evaluation.evaluate import rank_held_out, report_on
from tastemaker.evaluation.interval_tables import interval_frame
from tastemaker.evaluation.protocol import Report, those_with_held_out
from tastemaker.model.folder import save
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.export.blocks import rank_blocks
from tastemaker.ranking.lists import RankedLists
from tastemaker.tabular import Tabular

__all__ = ["Comparison", "Entry", "measured_entry", "skipped_entry"]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One model of a comparison: its report and what it cost, or why it was left out."""

    name: str
    report: Report | None = None
    cost: Cost | None = None
    record: TrainingRecord | None = field(default=None, repr=False)
    folder: Path | None = None
    """Where the model is kept"""
    reused: bool = False
    """Whether it was found in the workspace, not learned"""
    samples: ListSamples | None = field(default=None, repr=False)
    model: TasteModel | None = field(default=None, repr=False)
    """The model itself, of the chosen one only"""
    values: tuple[ValuePoint, ...] = ()
    """What the lists of the chosen one earn between most likely and most valuable, where it knows what products are worth"""
    tails: tuple[TailPoint, ...] = ()
    """How its lists rank, and whom they show, as the dial of the tail rises; of the chosen one only"""
    skipped: str | None = None
    """Why it was not measured, in a few words"""
    notes: tuple[str, ...] = ()
    """What makes it unequal to the others"""

    def as_dict(self) -> dict[str, Any]:
        """Return what ``compare --json`` prints of it, as dictionaries."""
        facts: dict[str, Any] = {"name": self.name, "skipped": self.skipped, "notes": list(self.notes)}
        if self.report is None or self.record is None:
            return facts
        return facts | {
            "seconds": None if self.cost is None else self.cost.seconds,
            "peak_memory_bytes": None if self.cost is None else self.cost.peak_memory_bytes,
            "reused": self.reused,
            "folder": None if self.folder is None else str(self.folder),
            "data_fingerprint": self.record.data_fingerprint,
            **self.report.as_dict(),
            **({"value": [asdict(point) for point in self.values]} if self.values else {}),
            **({"tail": [asdict(point) for point in self.tails]} if self.tails else {}),
            "segments": [] if self.samples is None else [way.as_dict() for way in self.samples.segmentations],
        }


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison(Tabular):
    """Several models measured on the same users, and whether the chosen one differs from each of the others."""

    entries: tuple[Entry, ...]
    chosen: str
    """The name of the model that is tested against every other one"""
    tests: tuple[Test, ...]
    """One for each metric and each other model that was measured"""
    metrics: tuple[str, ...]
    """What is tested"""
    at: tuple[int, ...]
    """The list lengths of the reports"""
    notes: tuple[str, ...]
    seed: int
    include_purchased: bool
    fingerprints: tuple[str, str]
    """The SHA-256 of the purchases learned from and of those held out"""

    @property
    def measured(self) -> tuple[Entry, ...]:
        """Return the entries that were not left out."""
        return tuple(entry for entry in self.entries if entry.report is not None)

    def of(self, name: str) -> Entry:
        """Return the entry of this name; raise `KeyError` when there is none."""
        return {entry.name: entry for entry in self.entries}[name]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the metrics of its table: what is tested, recall of short and of long lists, coverage."""
        shortest, longest = self.at[0], self.at[-1]
        wanted = (*self.metrics, f"recall@{shortest}", f"recall@{longest}", f"coverage@{shortest}")
        return tuple(dict.fromkeys(wanted))

    @property
    def segmentations(self) -> tuple[Segmentation, ...]:
        """Return how good the chosen model is for parts of the users and products, or the first model if that was left out."""
        entries = (self.of(self.chosen), *self.measured)
        return next((entry.samples.segmentations for entry in entries if entry.samples is not None), ())

    @property
    def users(self) -> int:
        """Return how many users were measured."""
        return next((entry.report.users for entry in self.entries if entry.report is not None), 0)

    @property
    def headline(self) -> str:
        """Return how the chosen model stands by the first metric, in a few words."""
        if self.of(self.chosen).report is None:
            return f"{self.chosen} was not measured"
        return headline(self.tests, self.chosen, self.metrics[0])

    @property
    def verdict(self) -> str:
        """Return what was found, a sentence for each metric."""
        if self.of(self.chosen).report is None:
            return f"{self.chosen} was not measured: {self.of(self.chosen).skipped}."
        return " ".join(sentences(self.tests, self.chosen, self.metrics))

    def to_frame(self) -> pl.DataFrame:
        """Return a line for each measured model, metric and list length: model, metric, k, mean, low, high."""
        parts = [
            interval_frame(entry.report.metrics).select(pl.lit(entry.name).alias("model"), pl.all())
            for entry in self.measured
            if entry.report is not None
        ]
        return pl.concat(parts) if parts else interval_frame({}).select(pl.lit("").alias("model"), pl.all())

    def __repr__(self) -> str:
        models = ", ".join(entry.name for entry in self.measured)
        return f"Comparison({self.users:,} users; {models}: {self.verdict})"

    def _repr_html_(self) -> str:
        metric = self.metrics[0]
        reports = [(entry, entry.report) for entry in self.measured if entry.report is not None]
        reports.sort(key=lambda pair: -pair[1].metrics[metric].mean)
        top = max((report.metrics[metric].high for _, report in reports), default=0.0)
        rows = []
        for entry, report in reports:
            value = report.metrics[metric]
            others = [report.metrics[name].mean for name in self.columns if name != metric]
            name = f"{entry.name} (chosen)" if entry.name == self.chosen else entry.name
            drawn = drawn_interval(value.mean, value.low, value.high, top=top)
            seconds = "" if entry.cost is None else f"{entry.cost.seconds:.1f} s"
            rows.append([name, value.mean, drawn, *others, seconds])
        head = ["", metric, "", *[name for name in self.columns if name != metric], "learned in"]
        skipped = [f"{entry.name} was left out: {entry.skipped}." for entry in self.entries if entry.skipped]
        return card(self.verdict, {}, html_table(head, rows), *skipped, *self.notes)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``compare --json`` prints, as dictionaries."""
        return {
            "verdict": self.verdict,
            "chosen": self.chosen,
            "users": self.users,
            "models": [entry.as_dict() for entry in self.entries],
            "tests": [test.as_dict() for test in self.tests],
            "notes": list(self.notes),
            "seed": self.seed,
            "include_purchased": self.include_purchased,
            "train_fingerprint": self.fingerprints[0],
            "held_out_fingerprint": self.fingerprints[1],
        }

    def to_json(self) -> str:
        """Return the one line that ``compare --json`` prints."""
        return json.dumps(self.as_dict(), allow_nan=False)


def skipped_entry(name: str, why: str) -> Entry:
    """Return the entry of a model that cannot take part."""
    return Entry(name, skipped=why)


def _ranked(made: LearnedModel, held_out: Purchases, conditions: Conditions) -> tuple[RankedLists, Histories]:
    """Rank for everybody who is measured, by the workers of the comparison where there are some."""
    measure, crew = conditions.measure, conditions.crew
    k, purchased = max(*measure.lengths, SHOWN), measure.include_purchased
    if crew is None:
        return rank_held_out(
            made.model, held_out, k=k, include_purchased=purchased, threads=conditions.threads
        )
    users, wanted = those_with_held_out(held_out.histories())
    with TemporaryDirectory(dir=crew.folder.path, prefix="model-") as temporary:
        folder = made.folder or Path(temporary) / "1"
        if made.folder is None:
            save(made.model, folder)
        lists = rank_blocks(
            users, k, folder=folder, executor=crew.executor, include_purchased=purchased, tally=crew.tally
        )
    return lists, wanted


def measured_entry(
    name: str, made: LearnedModel, conditions: Conditions, notes: tuple[str, ...] = ()
) -> Entry:
    """Measure a model exactly as `evaluate` does, and keep samples of its lists."""
    model, measure = made.model, conditions.measure
    held_out = seen_by(conditions.held_out, model.users, model.products)
    lists, wanted = _ranked(made, held_out, conditions)
    report = report_on(
        model,
        held_out,
        lists,
        wanted,
        at=measure.lengths,
        seed=conditions.seed,
        threads=conditions.threads,
    )
    users, _ = those_with_held_out(held_out.histories())
    return Entry(
        name,
        report,
        made.cost,
        model.record,
        made.folder,
        made.reused,
        sample_lists(lists, wanted, users, model, conditions),
        model if name == conditions.chosen else None,
        value_curve(model, held_out, include_purchased=measure.include_purchased, threads=conditions.threads)
        if name == conditions.chosen
        else (),
        tail_curve(model, held_out, include_purchased=measure.include_purchased, threads=conditions.threads)
        if name == conditions.chosen
        else (),
        notes=notes,
    )
