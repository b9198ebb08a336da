"""The gate: a model of the same past as the version in service, and that version, asked for what was bought since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.errors import NoPurchases
from tastemaker.evaluation.comparison.verdict import Test, gate
from tastemaker.evaluation.paired import compare_paired
from tastemaker.evaluation.replay.bench import Bench, Terms, bench_of
from tastemaker.evaluation.replay.replay import measure_model
from tastemaker.evaluation.replay.report import Measured, gains
from tastemaker.model.taste_model import TasteModel
from tastemaker.nights.shop_file import Replay
from tastemaker.types import AnyArray, Doubles

__all__ = ["Tested", "tested"]


@dataclass(frozen=True, slots=True)
class Tested:
    """What the replay of the last days says of a night."""

    questions: int
    users: int
    metric: str
    new: float | None
    """Of the model that would be published, had it been learned up to then"""
    service: float | None
    """Of the version in service"""
    passed: bool
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Return what history keeps."""
        return {
            name: getattr(self, name)
            for name in ("questions", "users", "metric", "new", "service", "passed", "sentence")
        }

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Tested:
        """Return what `as_dict` made facts of."""
        return Tested(**facts)


def tested(
    new: TasteModel, service: TasteModel | None, later: Purchases, terms: Replay, *, name: str, seed: int
) -> Tested:
    """Replay what was bought later for both models; the new one fails where it is significantly worse.

    Both have learned the same time, so neither knows an answer. Questions that only one of them has, where rows of the past were
    mended, are left out. With fewer than ``fewest_questions`` nothing is tested, and the night passes.
    """
    length = int(terms.metric.partition("@")[2])
    how = Terms(at=tuple(sorted({10, length})), include_purchased=terms.include_purchased, seed=seed)
    try:
        bench = bench_of(new, later, how)
        other = None if service is None else bench_of(service, later, how)
    except NoPurchases:
        return Tested(
            0,
            0,
            terms.metric,
            None,
            None,
            True,
            "nothing was bought since that could be asked for; nothing was tested.",
        )
    places = np.arange(len(bench.questions))
    theirs_at = places
    if other is not None:
        _, places, theirs_at = np.intersect1d(_asked(bench), _asked(other), return_indices=True)
    users = np.asarray(bench.questions.users)[places]
    asked = len(places)
    measured = measure_model(new, bench)
    values = _gains(measured, how, terms.metric)[places]
    found = float(values.mean()) if asked else None
    facts = (asked, len(np.unique(users)), terms.metric, found)
    if asked < terms.fewest_questions:
        said = f"{asked:,} questions are fewer than {terms.fewest_questions:,} (fewest_questions); nothing was tested."
        return Tested(*facts, None, True, said)
    if service is None or other is None:
        return Tested(*facts, None, True, f"no version is in service; {terms.metric} is {found:.4f}.")
    theirs = _gains(measure_model(service, other), how, terms.metric)[theirs_at]
    paired = compare_paired(_by_user(values, users), _by_user(theirs, users), rng=np.random.default_rng(seed))
    decided = gate(Test(terms.metric, name, paired, paired.p_value))
    return Tested(*facts, float(theirs.mean()), decided.passed, decided.sentence)


def _asked(bench: Bench) -> AnyArray:
    """Return which of the later purchases each question asks for, ``int64[Q]``."""
    rows: AnyArray = np.asarray(bench.timeline.later[bench.questions.places], np.int64)
    return rows


def _gains(measured: Measured, terms: Terms, metric: str) -> Doubles:
    found: Doubles = np.asarray(gains(measured.ranks, terms.at)[metric], np.float64)
    return found


def _by_user(values: Doubles, users: AnyArray) -> Doubles:
    """Return each user's part of the mean over questions, ``float64[users]``; the mean of the parts is that mean."""
    _, numbers = np.unique(users, return_inverse=True)
    sums = np.bincount(numbers, weights=values)
    parts: Doubles = np.asarray(sums * (len(sums) / len(values)), np.float64)
    return parts
