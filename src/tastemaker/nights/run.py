"""`run`: one night, from the sources to the version in service, step by step; killed anywhere, the next run goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tastemaker.data.purchases import Purchases
from tastemaker.display import counted
from tastemaker.errors import ModelFolderProblem, TastemakerError
from tastemaker.model.folder import versions_of
from tastemaker.nights.bounds import beyond, figures_of, new_shares, unforeseen
from tastemaker.nights.history import add_line, history_of, last_published
from tastemaker.nights.night_log import read_night
from tastemaker.nights.out import written
from tastemaker.nights.page import write_night_page
from tastemaker.nights.shop_file import ShopFile
from tastemaker.nights.steps import (
    InService,
    Night,
    in_service,
    inputs_of,
    labels_of,
    pruned,
    published,
    receipt,
    relabelled,
    replayed,
    version_of,
)
from tastemaker.nights.watching.watch import watched
from tastemaker.storage import locked, sweep

__all__ = ["Outcome", "Run", "run_night"]

Outcome = Literal["published", "nothing new", "out of bounds", "worse", "rolled back", "failed", "dry run"]

STOPPED: tuple[Outcome, ...] = ("out of bounds", "worse", "rolled back")
"""The outcomes after which the older version serves"""

PATIENCE = 0.5
"""Seconds to wait for another run's lock"""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did, as history keeps it."""

    started: str
    seconds: float
    outcome: Outcome
    why: tuple[str, ...] = ()
    """What stopped it, or what it says of itself"""
    version: int | None = None
    """The version that was published"""
    service: int | None = None
    """The version that answered before"""
    inputs: str = ""
    figures: Mapping[str, Any] | None = None
    replay: Mapping[str, Any] | None = None
    live_events: int = 0
    forgotten_rows: int = 0
    lists: Mapping[str, int] | None = None
    removed: tuple[int, ...] = ()
    receipt: str | None = None
    """The checksum of the version, which `tastemaker receipt --shop` computes again from the log"""

    @property
    def stopped(self) -> bool:
        """Return whether a check kept the older version in service."""
        return self.outcome in STOPPED

    def as_dict(self) -> dict[str, Any]:
        """Return the run as ``--json`` prints it."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return found | {"why": list(self.why), "removed": list(self.removed)}


def run_night(
    shop: ShopFile,
    *,
    say: Callable[[str], None] = lambda _: None,
    dry: bool = False,
    accept: bool = False,
    clock: datetime | None = None,
    at_step: Callable[[str], None] = lambda _: None,
) -> Run:
    """Make one night's version and put it in service, if it may be.

    ``dry`` reads and checks, and says what would follow. ``accept`` lets a log pass that is beyond its bounds. ``at_step`` is told
    the name of every step before it begins. What goes wrong is raised, kept in the history, and leaves the
    older version in service.
    """
    shop.state.mkdir(parents=True, exist_ok=True)
    started, begun = (clock or datetime.now(UTC)).isoformat(timespec="seconds"), time.perf_counter()

    def ended(run: Run) -> Run:
        return replace(run, seconds=round(time.perf_counter() - begun, 1))

    try:
        with locked(shop.state / "run", patience=PATIENCE):
            sweep(shop.state)
            try:
                run = _steps(shop, Run(started, 0.0, "failed"), say, dry, accept, clock, at_step)
            except TastemakerError as error:
                if not dry:
                    add_line(shop, ended(Run(started, 0.0, "failed", (str(error),))).as_dict())
                raise
            run = ended(run)
            if not dry:
                at_step("history")
                file = write_night_page(shop, history_of(shop), run.as_dict())
                add_line(shop, run.as_dict())
                say(f"Wrote {file}.")
                shutil.rmtree(shop.state / "work", ignore_errors=True)
            return run
    except TimeoutError:
        raise ModelFolderProblem(
            f"another run of {shop.path} is at work; this one did nothing. Wait for it, or end it."
        ) from None


# long: the steps of a run in their order, a few lines each
def _steps(
    shop: ShopFile,
    run: Run,
    say: Callable[[str], None],
    dry: bool,
    accept: bool,
    clock: datetime | None,
    at_step: Callable[[str], None],
) -> Run:
    """Do the steps; return the run as it ended."""
    at_step("read")
    log = read_night(shop)
    purchases = log.purchases()
    inputs = inputs_of(shop, purchases)
    figures = figures_of(purchases, log.summary)
    run = replace(run, inputs=inputs, figures=figures, live_events=log.live, forgotten_rows=log.forgotten)
    live = f", {counted(log.live, 'live event')} later than it" if shop.live.events is not None else ""
    say(
        f"{log.summary.sentence()[:-1]}{live}; {counted(len(purchases), 'purchase')} by {counted(figures['users'], 'user')}."
    )
    at_step("bounds")
    service = in_service(shop)
    run = replace(run, service=None if service is None else service.version)
    runs = history_of(shop)
    done = version_of(shop, inputs)
    if done is not None and any(
        earlier["inputs"] == inputs and earlier["outcome"] in ("published", "rolled back") for earlier in runs
    ):
        return replace(
            run, outcome="nothing new", version=done, why=(f"version {done} was made from the same log.",)
        )
    trouble = _trouble(shop, run, purchases, service, runs, clock)
    if trouble and not accept:
        return replace(run, outcome="out of bounds", why=tuple(trouble))
    for sentence in trouble:
        say(f"Accepted: {sentence}")
    night = Night(shop, log, purchases, inputs, say)
    if dry:
        number = done or max(versions_of(shop.folder), default=0) + 1
        against = (
            "" if service is None else f", if it is not significantly worse than version {service.version}"
        )
        return replace(
            run,
            outcome="dry run",
            version=number,
            why=(f"would learn and publish version {number}{against}.",),
        )
    version = done
    if version is None:
        at_step("replay")
        tests = replayed(night, service)
        say(tests.sentence[:1].upper() + tests.sentence[1:])
        run = replace(run, replay=tests.as_dict())
        if not tests.passed:
            return replace(run, outcome="worse", why=(tests.sentence,))
        odd = unforeseen(shop.bounds, tests.new, _qualities(shop, runs))
        if odd is not None and not accept:
            return replace(run, outcome="out of bounds", why=(odd,))
        at_step("publish")
        _hold(shop, service)
        version = published(night, tests)
    run = replace(run, version=version, receipt=receipt(shop, version))
    at_step("promote")
    relabelled(shop, lambda labels: labels.moved(shop.publish.label, version))
    say(f"Version {version} is {shop.publish.label}.")
    at_step("watch")
    if shop.watch.url is not None:
        broken, seen = watched(
            shop.watch,
            model=shop.publish.name,
            version=version,
            events=_events_file(shop),
            state=shop.publish.state,
        )
        say(seen[:1].upper() + seen[1:])
        if broken is not None:
            relabelled(shop, lambda labels: labels.moved_back(shop.publish.label) or labels)
            back = f"{broken}; {shop.publish.label} went back to version {run.service}."
            return replace(run, outcome="rolled back", why=(back,))
    at_step("lists")
    lists = written(shop, version, say)
    at_step("remove")
    return replace(run, outcome="published", lists=lists, removed=tuple(pruned(shop)))


def _events_file(shop: ShopFile) -> Path | None:
    return None if shop.live.events is None else Path(shop.place(shop.live.events))


def _qualities(shop: ShopFile, runs: list[dict[str, Any]]) -> list[float]:
    """Return how well the purchases of the last week of nights were foreseen."""
    tests = [earlier["replay"] for earlier in runs if earlier["outcome"] == "published" and earlier["replay"]]
    same = [test for test in tests if test["metric"] == shop.replay.metric and test["service"] is not None]
    return [test["new"] for test in same[-7:]]


def _hold(shop: ShopFile, service: InService | None) -> None:
    """Give the version that answers the label, so that a newer one waits for its own, and there is one to go back to."""
    if service is not None and shop.publish.label not in labels_of(shop).versions:
        relabelled(shop, lambda labels: labels.moved(shop.publish.label, service.version))


def _trouble(
    shop: ShopFile,
    run: Run,
    purchases: Purchases,
    service: InService | None,
    runs: list[dict[str, Any]],
    clock: datetime | None,
) -> list[str]:
    before = last_published(runs)
    new = None
    if service is not None and service.cut:
        new = new_shares(purchases, service.model, service.cut)
    assert run.figures is not None
    figures = None if before is None else before["figures"]
    if before is not None and figures is not None:
        forgotten = max(run.forgotten_rows - before["forgotten_rows"], 0)  # since then
        figures = {**figures, "purchases": figures["purchases"] - forgotten}
    return beyond(shop.bounds, run.figures, figures, new, clock=clock)
