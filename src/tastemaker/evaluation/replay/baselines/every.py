"""All baselines of a replay, each under the name that the report gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from tastemaker.data.summary import TimeUnit
from tastemaker.errors import SettingProblem
from tastemaker.evaluation.replay.baselines.folded_als import FoldedFactors
from tastemaker.evaluation.replay.baselines.own_lists import BASKET_KINDS, OwnFirst
from tastemaker.evaluation.replay.baselines.recent import (
    RecentBestSellers,
    choose_half_life,
    half_life_said,
    half_lives_of,
)
from tastemaker.evaluation.replay.baselines.session_neighbours import (
    SessionNeighbours,
    choose_neighbours,
    grid_of,
)
from tastemaker.evaluation.replay.bench import Bench
from tastemaker.evaluation.replay.report import Measured
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.answers import PlainAnswers
from tastemaker.ranking.live.timeline import Timeline
from tastemaker.training.baselines.als import als
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.baselines.co_purchase import co_purchase

__all__ = ["BASELINES", "SharedWork", "baselines"]

ALS = {"factors": 64, "regularization": 3.0, "alpha": 6.0, "iterations": 15}
"""Settings of ALS in the middle of what `compare` tries: a replay does not tune it."""


class SharedWork:
    """What several baselines share: the half-life of recent best sellers, chosen once."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @cached_property
    def train(self) -> Timeline:
        """Return what was learned from, as a timeline of its own."""
        return self.bench.timeline.learned_part()

    @property
    def unit(self) -> TimeUnit:
        """Return what the times count."""
        return self.bench.later.time_unit

    @cached_property
    def half_life(self) -> float:
        """Return the half-life, in days, that was best inside train."""
        bench, terms = self.bench, self.bench.terms
        return choose_half_life(
            self.train,
            bench.products,
            include_purchased=terms.include_purchased,
            half_lives=half_lives_of(self.train, self.unit),
            threads=terms.threads,
        )

    def recent(self) -> RecentBestSellers:
        """Return recent best sellers, from the beginning of the timeline."""
        bench = self.bench
        return RecentBestSellers(
            bench.timeline,
            bench.products,
            half_life=self.half_life,
            frozen_at=bench.frozen_at,
            threads=bench.terms.threads,
        )


def _plain(beside: SharedWork, model: TasteModel) -> Measured:
    bench, terms = beside.bench, beside.bench.terms
    answers = PlainAnswers(
        model, bench.timeline, include_purchased=terms.include_purchased, threads=terms.threads
    )
    return bench.measured(answers)


def _best_sellers(beside: SharedWork) -> Measured:
    return _plain(beside, best_sellers(beside.bench.train))


def _recent(beside: SharedWork) -> Measured:
    return beside.bench.measured(
        beside.recent(), whole=True, settings=half_life_said(beside.half_life, beside.unit)
    )


def _bought_before(beside: SharedWork) -> Measured:
    bench = beside.bench
    if not bench.terms.include_purchased:
        raise SettingProblem("what was bought before is no question here")
    return bench.measured(OwnFirst(bench.timeline, beside.recent(), "bought before"))


def _basket(beside: SharedWork) -> Measured:
    bench = beside.bench
    if not set(BASKET_KINDS) & set(bench.timeline.names):
        raise SettingProblem("the logs tell of no baskets")
    return bench.measured(OwnFirst(bench.timeline, beside.recent(), "basket"))


def _neighbours(beside: SharedWork) -> Measured:
    bench, terms = beside.bench, beside.bench.terms
    if terms.frozen:
        raise SettingProblem("it is nothing but what others did of late")
    settings = choose_neighbours(
        beside.train,
        bench.products,
        half_life=beside.half_life,
        include_purchased=terms.include_purchased,
        grid=grid_of(beside.train, beside.unit),
        threads=terms.threads,
    )
    rule = SessionNeighbours(bench.timeline, beside.recent(), bench.products, settings, threads=terms.threads)
    return bench.measured(rule, settings=settings.as_dict(beside.unit))


def _co_purchase(beside: SharedWork) -> Measured:
    return _plain(beside, co_purchase(beside.bench.train, threads=beside.bench.terms.threads))


def _als(beside: SharedWork) -> Measured:
    bench, terms = beside.bench, beside.bench.terms
    model = als(bench.train, **ALS, seed=terms.seed, threads=terms.threads)  # type: ignore[arg-type]
    rule = FoldedFactors(model, regularization=float(ALS["regularization"]), alpha=float(ALS["alpha"]))
    return bench.measured(rule, settings=ALS)


BASELINES: Mapping[str, Callable[[SharedWork], Measured]] = {
    "best sellers": _best_sellers,
    "recent best sellers": _recent,
    "bought before": _bought_before,
    "in the basket, not yet bought": _basket,
    "session neighbours": _neighbours,
    "co-purchase": _co_purchase,
    "als, users folded in": _als,
}
"""Every baseline, in the order of the report."""


def baselines(bench: Bench, names: Sequence[str] | None = None) -> tuple[dict[str, Measured], dict[str, str]]:
    """Return what each baseline is worth on these questions, and why others could not be measured.

    Raises `SettingProblem` for a name that is none of `BASELINES`.
    """
    wanted = list(BASELINES if names is None else names)
    for name in wanted:
        if name not in BASELINES:
            raise SettingProblem(f"{name!r} is no baseline of a replay; those are {', '.join(BASELINES)}.")
    beside = SharedWork(bench)
    found: dict[str, Measured] = {}
    skipped: dict[str, str] = {}
    for name in wanted:
        try:
            found[name] = BASELINES[name](beside)
        except SettingProblem as obstacle:
            skipped[name] = str(obstacle).rstrip(".")
    return found, skipped
