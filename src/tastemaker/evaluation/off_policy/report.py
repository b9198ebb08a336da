"""What lists that explored say of other models: estimates of each, how much of it the log has shown, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tastemaker.evaluation.off_policy.estimators import (
    Overlap,
    doubly_robust,
    inverse_propensity,
    overlap_of,
    seen,
)
from tastemaker.evaluation.off_policy.logged import AskedLists, LoggedLists
from tastemaker.evaluation.off_policy.means import Estimate, VisitorSums, estimate_of
from tastemaker.types import Doubles

__all__ = ["MOST_NEVER", "Estimated", "Metric", "OffPolicy", "judged"]

Metric = str
"""``clicks``, ``purchases`` or ``revenue``, each of a list"""

MOST_NEVER = 0.1
"""Beyond this share of places with a product that the log never shows there, no verdict is given"""


@dataclass(frozen=True, slots=True)
class Estimated:
    """What the lists of one model would earn."""

    name: str
    overlap: Overlap
    inverse_propensity: Mapping[Metric, Estimate]
    doubly_robust: Mapping[Metric, Estimate]
    difference: Mapping[Metric, Estimate]
    """Doubly robust − what the logged lists earned, on the same visitors"""


@dataclass(frozen=True, slots=True)
class OffPolicy:
    """Some models beside the lists that were shown."""

    lists: int
    visitors: int
    metric: Metric
    """What the verdict is about"""
    logged: Mapping[Metric, Estimate]
    """What the lists earned that were shown, exploring included"""
    models: tuple[Estimated, ...]
    difference: Mapping[Metric, Estimate] | None
    """The second model − the first, doubly robust; ``None`` for one"""
    verdict: str


def judged(
    logged: LoggedLists,
    rewards: Mapping[Metric, Doubles],
    asked: Sequence[tuple[str, AskedLists]],
    *,
    metric: Metric,
) -> OffPolicy:
    """Return what the log says of one or two models, whose names come with what they show, and a verdict on a metric.

    ``rewards`` has ``float64[S]`` for each metric. Raises `DataError` where a model shows nothing of what was shown.
    """
    base = {name: seen(logged, values) for name, values in rewards.items()}
    robust: list[dict[Metric, VisitorSums]] = []
    models: list[Estimated] = []
    for title, lists in asked:
        overlap = overlap_of(logged, lists)
        robust.append({name: doubly_robust(logged, values, lists) for name, values in rewards.items()})
        weighed = {name: inverse_propensity(logged, values, lists) for name, values in rewards.items()}
        models.append(
            Estimated(
                title,
                overlap,
                {name: _with(weighed[name], base[name], overlap) for name in rewards},
                {name: _with(robust[-1][name], base[name], overlap) for name in rewards},
                {name: _with(robust[-1][name] - base[name], base[name], overlap) for name in rewards},
            )
        )
    between = None
    if len(models) > 1:
        least = min((one.overlap for one in models), key=lambda overlap: overlap.effective)
        between = {name: _with(robust[1][name] - robust[0][name], base[name], least) for name in rewards}
    known = {name: estimate_of(sums) for name, sums in base.items()}
    said = _verdict(models, known, between, metric)
    return OffPolicy(len(logged.visitors), logged.count, metric, known, tuple(models), between, said)


def _with(sums: VisitorSums, base: VisitorSums, overlap: Overlap) -> Estimate:
    """Return an estimate of what the log tells in effect: as many events as its visitors would have had."""
    share = overlap.effective / max(overlap.visitors, 1)
    return estimate_of(sums, effective=overlap.effective, events=base.events * share)


def _verdict(
    models: Sequence[Estimated],
    known: Mapping[Metric, Estimate],
    between: Mapping[Metric, Estimate] | None,
    metric: Metric,
) -> str:
    one = models[-1]
    for each in models:
        if each.overlap.never > MOST_NEVER:
            share = f"{each.overlap.never:.0%}".replace("%", " %")
            return (
                f"Cannot be told: at {share} of its places {each.name} shows a product that the log never shows there; "
                "nothing is known of those. Let visitors decide, in an experiment."
            )
    found = one.difference[metric] if between is None else between[metric]
    rival = "the lists that were shown" if between is None else models[0].name
    mean = known[metric].mean if between is None else models[0].doubly_robust[metric].mean
    if found.low is None or found.high is None:
        counts = min(models, key=lambda each: each.overlap.effective).overlap
        return (
            f"Too early: {counts.visitors:,} visitors tell of {metric} what {counts.effective:,.0f} would who saw {one.name} "
            "itself, or too few of them did anything; log more lists, or explore more."
        )
    relative = f"; {found.mean / mean:+.1%} of {mean:.4g}".replace("%", " %") if mean > 0 else ""
    interval = f"{found.mean:+.4g} a list ({found.low:+.4g} to {found.high:+.4g}{relative})"
    if found.low <= 0 <= found.high:
        return (
            f"Open: {one.name} − {rival} in {metric} is {interval}; more lists, or more exploring, narrow it."
        )
    word = "more" if found.low > 0 else "less"
    return (
        f"{one.name} would earn {word} than {rival} in {metric}: {interval}; confirm it with an experiment."
    )
