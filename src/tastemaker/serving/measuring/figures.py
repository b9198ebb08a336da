"""`Figures`: what an experiment found and what the day brought, computed beside the requests and kept for a while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tastemaker.errors import TastemakerError
from tastemaker.serving.measuring.experiments import Experiment, arm_of, read_experiments
from tastemaker.serving.measuring.outcome_store import Done, KeptOutcomes
from tastemaker.serving.measuring.report import DAY, as_plain, plain_report, report_from

__all__ = ["Figures", "Found", "day_by_arm"]

FRESH_SECONDS = 5.0
SHARE = 0.05
"""At most this part of a worker's time goes into figures: what took a second to compute is kept for twenty"""

COUNTED = ("lists", "shown", "clicked", "basket", "bought", "revenue")


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a model at a moment."""

    at: int
    """The moment, in microseconds, as JSON has all that follows"""
    experiment: dict[str, Any] | None = None
    """The running experiment, else the last"""
    report: dict[str, Any] | None = None
    """What `experiment report --json` prints"""
    today: dict[str, dict[str, float]] | None = None
    """By arm, ``all`` where no experiment runs, what happened since the day began in UTC"""
    problem: str = ""
    """Why there are no figures, or none newer"""
    tried: int = 0
    """When it was last tried to compute newer ones, in microseconds"""
    seconds: float = 0.0
    """How long it took"""

    def is_fresh(self, now: int) -> bool:
        """Return whether it need not be computed anew."""
        return (now - max(self.at, self.tried)) / 1e6 < max(FRESH_SECONDS, self.seconds / SHARE)


@dataclass(slots=True)
class Figures:
    """The figures of each model. One thread at a time computes those of a model, and opens the outcomes for itself alone.

    So neither the event loop nor who posts outcomes waits for a report. Whoever asks meanwhile gets the former figures.
    """

    opened: Callable[[], KeptOutcomes] | None = None
    """``None`` where the server keeps no outcomes"""
    _kept: dict[str, Found] = field(default_factory=dict)
    _computing: dict[str, asyncio.Task[Found]] = field(default_factory=dict)

    async def of(self, name: str, folder: Path) -> Found:
        """Return the figures of a model whose experiments lie in ``folder``: those kept, while fresh or others are made."""
        kept = self._kept.get(name)
        if kept is not None and kept.is_fresh(_now()):
            return kept
        if name not in self._computing:
            task = asyncio.create_task(asyncio.to_thread(_found, folder, self.opened))
            task.add_done_callback(lambda done: self._keep(name, done))
            self._computing[name] = task
        if kept is None:
            return await asyncio.shield(self._computing[name])
        await asyncio.wait([self._computing[name]], timeout=0.5)  # mostly it is quicker than that
        return self._kept.get(name, kept)

    def _keep(self, name: str, done: asyncio.Task[Found]) -> None:
        del self._computing[name]
        if done.cancelled() or done.exception() is not None:
            return
        found, kept = done.result(), self._kept.get(name)
        if (
            found.problem
            and kept is not None
            and kept.today is not None
            and kept.experiment == found.experiment
        ):
            found = replace(kept, problem=found.problem, tried=found.at)  # old figures say more than none
        self._kept[name] = found


def day_by_arm(done: Iterable[Done], experiment: Experiment | None) -> dict[str, dict[str, float]]:
    """Return sums of what visitors were shown and did, by the arm of an experiment that runs, else for ``all``."""
    arms: list[str] = ["all"] if experiment is None else list(experiment.shares)
    sums = {arm: {"visitors": 0.0, **dict.fromkeys(COUNTED, 0.0)} for arm in arms}
    for one in done:
        arm = sums["all" if experiment is None else arm_of(experiment, one.user)]
        arm["visitors"] += 1
        for name in COUNTED:
            arm[name] += getattr(one, name)
    return sums


def _found(folder: Path, opened: Callable[[], KeptOutcomes] | None) -> Found:
    at, began = _now(), time.perf_counter()
    try:
        experiments = read_experiments(folder)
    except TastemakerError as error:
        return Found(at, problem=str(error))
    one = experiments[-1] if experiments else None
    plain = None if one is None else as_plain(one)
    if opened is None:
        return Found(at, plain, problem="this server keeps no outcomes; start it with --events FILE.")
    try:
        with contextlib.closing(opened()) as outcomes:
            report = None if one is None else plain_report(report_from(outcomes, one, at=at))
            runs = one if one is not None and one.ended is None else None
            today = day_by_arm(outcomes.done(at // DAY * DAY, at + 1), runs)
    except TastemakerError as error:
        return Found(at, plain, problem=str(error), seconds=time.perf_counter() - began)
    return Found(at, plain, report, today, seconds=time.perf_counter() - began)


def _now() -> int:
    return int(time.time() * 1_000_000)
