"""What an experiment found so far: differences with intervals, the check of the assignment, power, and a verdict."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tastemaker.errors import DataError
from tastemaker.evaluation.experiments.arms import Arm as Sums
from tastemaker.evaluation.experiments.assignment_check import ratio_p_value
from tastemaker.evaluation.experiments.power import visitors_needed
from tastemaker.evaluation.experiments.sequences import Difference, difference
from tastemaker.evaluation.experiments.verdict import verdict
from tastemaker.serving.measuring.experiments import METRICS, Arm, Experiment, Metric, arm_of
from tastemaker.serving.measuring.outcome_store import KeptOutcomes, Visited
from tastemaker.types import Doubles, Times

__all__ = ["EFFECT", "Report", "as_plain", "plain_report", "report_from", "report_of"]

EFFECT = 0.05
"""The relative effect whose visitors are counted for the power, where none is given"""

DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of an experiment at a moment."""

    experiment: Experiment
    at: int
    """The moment, in microseconds"""
    assigned: dict[Arm, int]
    """All visitors of each arm, also those whose window has not passed"""
    counted: dict[Arm, int]
    """Those whose window has passed"""
    ratio: float
    """The p-value of the assignment (`ratio_p_value`)"""
    differences: dict[Metric, Difference]
    """Treatment − control, for each metric"""
    over_holdout: dict[Metric, Difference]
    """Control − holdout: what lists of one's own bring over best sellers; empty without a holdout"""
    effect: float
    needed: int | None
    """The visitors that an effect of this size takes in the metric of the verdict"""
    verdict: str
    days: list[dict[str, object]] = field(default_factory=list)
    """For each day the visitors of each arm by the day of their first list, and their means so far"""
    looks: list[dict[str, object]] = field(default_factory=list)
    """For each metric the difference and its interval as they stood at the end of each day; the last are those of this report"""


def report_from(outcomes: KeptOutcomes, experiment: Experiment, *, at: int, effect: float = EFFECT) -> Report:
    """Return what kept outcomes say of an experiment at a moment; raise `EventsProblem` where they cannot be read."""
    end = at if experiment.ended is None else min(experiment.ended, at)
    visited = outcomes.visited(experiment.began, end, experiment.window)
    return report_of(experiment, visited, at=at, effect=effect)


def plain_report(found: Report) -> dict[str, Any]:
    """Return a report as JSON has it, for `experiment report --json`, the API and the page; the mean of no visitors is null."""
    plain: dict[str, Any] = _without_nan(asdict(found))
    return {**plain, "experiment": as_plain(found.experiment)}


def as_plain(one: Experiment) -> dict[str, Any]:
    """Return an experiment as JSON has it, with the share of each arm."""
    return {**asdict(one), "shares": dict(one.shares)}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and value != value else value


def report_of(
    experiment: Experiment, visited: Iterable[Visited], *, at: int, effect: float = EFFECT
) -> Report:
    """Return what visitors, each of whom is given once, say of an experiment at a moment.

    Differences count visitors whose window has passed, and had before the experiment ended. The check of the assignment counts all.
    """
    last = min(at, at if experiment.ended is None else experiment.ended)
    firsts, did = _by_arm(experiment, visited)
    passed = {arm: firsts[arm] + experiment.window for arm in firsts}
    values = {arm: did[arm][passed[arm] <= last] for arm in did}
    assigned = {arm: len(did[arm]) for arm in did}
    sums = {arm: _sums(values[arm]) for arm in values}
    ratio = ratio_p_value(list(assigned.values()), list(experiment.shares.values()))
    compared = _differences(sums["control"], sums["treatment"], experiment)
    over = _differences(sums["holdout"], sums["control"], experiment) if "holdout" in sums else {}
    needed = _needed(sums["control"][experiment.metric], experiment, effect)
    counted = {arm: len(values[arm]) for arm in values}
    said = verdict(
        compared[experiment.metric],
        metric=experiment.metric,
        arms=(experiment.control, experiment.treatment),
        ratio=ratio,
        visitors=counted["control"] + counted["treatment"],
        needed=needed,
    )
    if experiment.ended is not None:
        said += f" It ended: {experiment.why}."
    return Report(
        experiment, at, assigned, counted, ratio, compared, over, effect, needed, said,
        list(_daily(firsts, did)), list(_looks(experiment, passed, did, last)),
    )  # fmt: skip


def _by_arm(
    experiment: Experiment, visited: Iterable[Visited]
) -> tuple[dict[Arm, Times], dict[Arm, Doubles]]:
    """Return for each arm the moments of first lists, ``int64[V]``, in their order, and what was done, ``float64[V, metrics]``."""
    firsts: dict[Arm, array[int]] = {arm: array("q") for arm in experiment.shares}
    did: dict[Arm, array[float]] = {arm: array("d") for arm in experiment.shares}
    for one in visited:
        arm = arm_of(experiment, one.user)
        firsts[arm].append(one.first)
        did[arm].extend((one.clicked, one.bought, one.revenue, one.margin))
    return (
        {arm: np.frombuffer(moments, np.int64) for arm, moments in firsts.items()},
        {arm: np.frombuffer(table, np.float64).reshape(-1, len(METRICS)) for arm, table in did.items()},
    )


def _sums(table: Doubles) -> dict[Metric, Sums]:
    if not np.isfinite(table).all():
        raise DataError("an outcome's price is too large to be summed; remove it from the file of events.")
    return {
        name: Sums(len(column), float(column.sum()), float(np.square(column).sum()))
        for name, column in zip(METRICS, table.T, strict=True)
    }


def _differences(
    control: dict[Metric, Sums], treatment: dict[Metric, Sums], experiment: Experiment
) -> dict[Metric, Difference]:
    return {name: difference(control[name], treatment[name], planned=experiment.visitors) for name in METRICS}


def _needed(control: Sums, experiment: Experiment, effect: float) -> int | None:
    if not (control.visitors > 1 and control.variance > 0 and control.mean):
        return None
    return visitors_needed(control.variance, effect * control.mean, share=experiment.share / 100)


def _daily(firsts: dict[Arm, Times], did: dict[Arm, Doubles]) -> Iterator[dict[str, object]]:
    days = {arm: firsts[arm] // DAY for arm in firsts}
    for day in np.unique(np.concatenate(list(days.values()))):
        arms: dict[str, object] = {}
        for arm in sorted(days):
            theirs = did[arm][days[arm] == day]
            if len(theirs):
                means = dict(zip(METRICS, theirs.mean(axis=0).tolist(), strict=True))
                arms[arm] = {"visitors": len(theirs), **means}
        yield {"day": str(np.datetime64(int(day), "D")), **arms}


def _looks(
    experiment: Experiment, passed: dict[Arm, Times], did: dict[Arm, Doubles], last: int
) -> Iterator[dict[str, object]]:
    """Yield what a report at the end of each day would have said, from the day on which the first visitor's window passed."""
    begin = min(
        (int(passed[arm].min()) for arm in ("control", "treatment") if len(passed[arm])), default=last
    )
    ends = [*range((begin // DAY + 1) * DAY, last, DAY), last] if begin < last else []
    for end in ends:
        sums = {arm: _sums(did[arm][passed[arm] <= end]) for arm in ("control", "treatment")}
        found = _differences(sums["control"], sums["treatment"], experiment)
        yield {
            "day": str(np.datetime64(end - 1, "us").astype("datetime64[D]")),
            **{name: {"difference": one.difference, "low": one.low, "high": one.high} for name, one in found.items()},
        }  # fmt: skip
