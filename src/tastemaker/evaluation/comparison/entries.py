"""`Entry` and `Comparison`: what a comparison found of each model, and of all together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.evaluation.comparison.cost import Cost
from tastemaker.evaluation.comparison.verdict import Test, sentences
from tastemaker.evaluation.comparison.workspace import Learned
from tastemaker.evaluation.evaluate import rank_held_out, workshop_accuracy
from tastemaker.evaluation.metrics import find_hits, recall
from tastemaker.evaluation.protocol import Report, report_of, those_with_held_out
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.lists import RankedLists
from tastemaker.types import AnyArray, Doubles, Offsets, Rows

__all__ = ["Comparison", "Entry", "Lists", "measured_entry", "skipped_entry"]

SHOWN = 10
"""So many places count as what a user is shown."""

EXAMPLES = 6


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """What is kept of a model's lists when they have been measured, for the report's pictures."""

    user_rows: Rows
    """``int32[users]``, the rows of the measured users among those of TRAIN, -1 for none"""
    recall: Doubles
    """``float64[longest]``: recall at 1, 2, …, the mean over users"""
    shown: Offsets
    """``int64[P]``, how often each product of TRAIN stands among the first 10 of a list"""
    examples: Mapping[int, tuple[object, ...]]
    """The first products that a few users are shown, as ids, by the users' rows in TRAIN"""


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
    lists: Lists | None = field(default=None, repr=False)
    model: TasteModel | None = field(default=None, repr=False)
    """The model itself, of the chosen one only"""
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
        }


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
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
    def users(self) -> int:
        """Return how many users were measured."""
        return next((entry.report.users for entry in self.entries if entry.report is not None), 0)

    @property
    def verdict(self) -> str:
        """Return what was found, a sentence for each metric."""
        if self.of(self.chosen).report is None:
            return f"{self.chosen} was not measured: {self.of(self.chosen).skipped}."
        return " ".join(sentences(self.tests, self.chosen, self.metrics))

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


def measured_entry(
    name: str,
    made: Learned,
    held_out: Purchases,
    train: Purchases,
    *,
    at: Sequence[int],
    include_purchased: bool,
    seed: int,
    threads: int | None,
    notes: tuple[str, ...],
    keep_model: bool,
) -> Entry:
    """Measure a model exactly as `evaluate` does, and keep of its lists what pictures need."""
    model = made.model
    lists, wanted = rank_held_out(
        model, held_out, k=max(*at, SHOWN), include_purchased=include_purchased, threads=threads
    )
    workshop = workshop_accuracy(model, held_out, seed, threads)
    report = report_of(lists, wanted, at=at, products=len(model.products), seed=seed, workshop=workshop)
    users, _ = those_with_held_out(held_out.histories())
    return Entry(
        name,
        report,
        made.cost,
        model.record,
        made.folder,
        made.reused,
        _kept(lists, wanted, users, model, train),
        model if keep_model else None,
        notes=notes,
    )


def _kept(lists: RankedLists, wanted: Histories, users: Rows, model: TasteModel, train: Purchases) -> Lists:
    hits = find_hits(lists, wanted)
    longest = int(lists.lengths.max(initial=1))
    curve = np.array([recall(hits, k).mean() for k in range(1, longest + 1)])
    user_rows = _rows_in(train.users, model.users, users)
    product_rows = _rows_in(train.products, model.products, np.arange(len(model.products)))
    places = np.arange(len(lists.rows)) - np.repeat(lists.offsets[:-1], lists.lengths)
    shown = product_rows[lists.rows[places < SHOWN]]
    examples = {}
    for user in _examples(user_rows, train):
        rows = lists[int(np.flatnonzero(user_rows == user)[0])][0][:SHOWN]
        examples[user] = tuple(model.products.at(rows).to_list())
    counts = np.bincount(shown[shown >= 0], minlength=len(train.products))
    return Lists(user_rows, curve, counts, examples)


def _rows_in(known: Vocabulary, asked: Vocabulary, rows: AnyArray) -> Rows:
    if known is asked:
        return np.asarray(rows, np.int32)
    return known.find(asked.at(rows)).fill_null(-1).to_numpy().astype(np.int32)


def _examples(user_rows: Rows, train: Purchases) -> list[int]:
    """Return the rows of a few users, of short and of long histories, the same for every model of one comparison."""
    known = np.unique(user_rows[user_rows >= 0])
    lengths = np.diff(train.histories().offsets)[known]
    fit = known[(lengths >= 3) & (lengths <= 30)]
    fit = fit if len(fit) else known
    order = fit[np.argsort(np.diff(train.histories().offsets)[fit], kind="stable")]
    places = np.linspace(0, len(order) - 1, min(EXAMPLES, len(order))).astype(int)
    return [int(user) for user in order[np.unique(places)]]
