"""What an experiment found so far: differences with intervals, the check of the assignment, power, and a verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tastemaker.errors import DataError
from tastemaker.evaluation.experiments.arms import Arm as Sums
from tastemaker.evaluation.experiments.assignment_check import ratio_p_value
from tastemaker.evaluation.experiments.power import visitors_needed
from tastemaker.evaluation.experiments.sequences import Difference, difference
from tastemaker.evaluation.experiments.verdict import verdict
from tastemaker.serving.measuring.experiments import METRICS, Arm, Experiment, Metric, arm_of
from tastemaker.serving.measuring.outcome_store import Visited

__all__ = ["EFFECT", "Report", "report_of"]

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


def report_of(
    experiment: Experiment, visited: Iterable[Visited], *, at: int, effect: float = EFFECT
) -> Report:
    """Return what visitors, each of whom is given once, say of an experiment at a moment.

    Differences count visitors whose window has passed, and had before the experiment ended. The check of the assignment counts all.
    """
    values: dict[Arm, list[tuple[float, float, float, float]]] = {arm: [] for arm in experiment.shares}
    assigned: dict[Arm, int] = dict.fromkeys(experiment.shares, 0)
    days: dict[int, dict[Arm, list[tuple[float, ...]]]] = defaultdict(lambda: defaultdict(list))
    last = min(at, at if experiment.ended is None else experiment.ended)
    for one in visited:
        arm = arm_of(experiment, one.user)
        did = (float(one.clicked), float(one.bought), one.revenue, one.margin)
        assigned[arm] += 1
        days[one.first // DAY][arm].append(did)
        if one.first + experiment.window <= last:
            values[arm].append(did)
    sums = {arm: _sums(values[arm]) for arm in values}
    ratio = ratio_p_value(list(assigned.values()), list(experiment.shares.values()))
    compared = {
        name: difference(sums["control"][name], sums["treatment"][name], planned=experiment.visitors)
        for name in METRICS
    }
    over = (
        {name: difference(sums["holdout"][name], sums["control"][name], planned=experiment.visitors) for name in METRICS}
        if "holdout" in sums
        else {}
    )  # fmt: skip
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
        experiment, at, assigned, counted, ratio, compared, over, effect, needed, said, list(_daily(days))
    )


def _sums(values: list[tuple[float, float, float, float]]) -> dict[Metric, Sums]:
    table = np.array(values, np.float64).reshape(-1, len(METRICS))
    if not np.isfinite(table).all():
        raise DataError("an outcome's price is too large to be summed; remove it from the file of events.")
    return {
        name: Sums(len(column), float(column.sum()), float(np.square(column).sum()))
        for name, column in zip(METRICS, table.T, strict=True)
    }


def _needed(control: Sums, experiment: Experiment, effect: float) -> int | None:
    if not (control.visitors > 1 and control.variance > 0 and control.mean):
        return None
    return visitors_needed(control.variance, effect * control.mean, share=experiment.share / 100)


def _daily(days: dict[int, dict[Arm, list[tuple[float, ...]]]]) -> Iterator[dict[str, object]]:
    for day in sorted(days):
        arms: dict[str, object] = {
            arm: {
                "visitors": len(did),
                **dict(zip(METRICS, np.mean(np.array(did), axis=0).tolist(), strict=True)),
            }
            for arm, did in sorted(days[day].items())
        }
        yield {"day": str(np.datetime64(day, "D")), **arms}
