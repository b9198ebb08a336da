"""What a comparison measures of every model, and what all models of it have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.evaluation.metrics import USER_METRICS
from tastemaker.evaluation.segments import Segments
from tastemaker.training.sharded.crew import Crew

__all__ = ["DEFAULT_METRIC", "STANDARD", "Conditions", "Measurement", "measuring"]

DEFAULT_METRIC = "ndcg@10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What is measured of every model; raises `SettingProblem` for a metric that has no value of a single user.

    >>> Measurement(metrics=["mrr@7"], at=[5, 10]).lengths
    (5, 7, 10)
    """

    metrics: Sequence[str] = (DEFAULT_METRIC,)
    """What is tested, as NAME@K; the first one also measures the segments"""
    at: Sequence[int] = (10, 20, 100)
    """The list lengths of each report"""
    include_purchased: bool = False
    """Whether lists may hold what their user bought in train"""
    segments: Sequence[Segments] = ()
    """Parts of all users or all products of TRAIN (`by_column`), measured beside those by history and by popularity"""

    def __post_init__(self) -> None:
        if not self.metrics:
            raise SettingProblem(f"no metric was given to compare by; give one, such as {DEFAULT_METRIC}.")
        for metric in self.metrics:
            name, _, k = metric.partition("@")
            if name not in USER_METRICS or not (k.isascii() and k.isdigit() and int(k)):
                raise SettingProblem(
                    f"{metric!r} is no metric to compare by; write NAME@K, such as {DEFAULT_METRIC}, of {', '.join(USER_METRICS)}."
                )

    @property
    def lengths(self) -> tuple[int, ...]:
        """Return every list length to measure at: those of the reports and those of the metrics."""
        return tuple(sorted({*self.at, *(int(metric.partition("@")[2]) for metric in self.metrics)}))


def measuring(measure: Measurement, changes: Mapping[str, Any]) -> Measurement:
    """Return a measurement with some fields replaced; one metric or length may stand without a list.

    Raises `SettingProblem` for what is no field.

    >>> measuring(Measurement(), {"metrics": "mrr@5", "at": 20}).lengths
    (5, 20)
    """
    known = [field.name for field in fields(Measurement)]
    for name in changes:
        if name not in known:
            raise SettingProblem(
                f"there is nothing to measure called {name!r}; there are {', '.join(known)}."
            )
    single = {
        name: (value,)
        for name, value in changes.items()
        if isinstance(value, str | int) and name in ("metrics", "at")
    }
    return replace(measure, **{**changes, **single})


STANDARD = Measurement()
"""What is measured when nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all models of a comparison have in common."""

    train: Purchases
    held_out: Purchases
    """Those of the users whom every model knows"""
    measure: Measurement
    chosen: str
    """The name of the model that is tested against every other one"""
    seed: int
    threads: int | None
    crew: Crew | None = None
    """Whose workers rank the lists, where not this process"""
