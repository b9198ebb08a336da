"""What a candidate would earn, estimated from simulated lists that explored: ``python benchmarks/off_policy.py``.

The truth is known: each visitor clicks a product at a place with a chance of their own, and the candidate's lists have a sum of
such chances. Each row is many logs of visitors who see what a server with ``--explore`` shows; for each log both estimates are
made as `tastemaker compare --off-policy` makes them, and the difference from what was shown, by which its verdict goes. Told are
the bias, how often the interval holds the truth, and its width; bias and width as shares of what the candidate earns.
The exit code is 1 where an interval of 95 % that should hold it does in fewer than 93 % of the logs.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np

from common import machine, parser_of
from tastemaker.evaluation.off_policy.estimators import (
    doubly_robust,
    inverse_propensity,
    overlap_of,
    seen,
)
from tastemaker.evaluation.off_policy.logged import AskedLists, LoggedLists
from tastemaker.evaluation.off_policy.means import VisitorSums, estimate_of
from tastemaker.ranking.exploring.swaps import POOL, chances

SHOWN, PRODUCTS, SHOP = 10, 60, 40_000
LOOK = 1 / np.log2(np.arange(SHOWN) + 2)
"""Who looks at a place"""
LEAST = 0.93


@dataclass(frozen=True)
class Case:
    """One row: who explores how much, and what the candidate shows."""

    name: str
    rate: float
    moves: float
    """How far the candidate's ranking is from that of the server, in places"""
    visitors: int = 4_000
    strangers: float = 0.0
    """The share of its places with a product that the server never shows"""
    clip: float = 10_000.0
    fair: bool = True
    """Whether the intervals should hold the truth"""


CASES = (
    Case("the server itself", 0.02, 0.0),
    Case("neighbours swapped", 0.02, 1.0),
    Case("neighbours swapped", 0.02, 1.0, visitors=20_000),
    Case("neighbours swapped", 0.1, 1.0),
    Case("another order", 0.1, 6.0),
    Case("another order, weights clipped at 20", 0.1, 6.0, clip=20.0, fair=False),
    Case("a third of the products never shown", 0.1, 1.0, strangers=0.33, fair=False),
)


@dataclass(frozen=True)
class Shop:
    """All visitors of a shop, of whom each log sees some: what the server ranks for each, and what the candidate shows."""

    ranking: np.ndarray
    """``int32[V, places]``, products"""
    taste: np.ndarray
    """``float64[V, places]``, the chance that the visitor clicks the product of a place of the ranking, where they look"""
    candidate: np.ndarray
    """``int32[V, K]``, products"""
    known: np.ndarray
    """``float64[V, K]``, the chance with which the log shows the candidate's product at its place"""
    truth: float
    """What the candidate's lists earn"""
    shown: float
    """What the lists earn that are shown, exploring included"""


def shop_of(rng: np.random.Generator, case: Case, visitors: int) -> Shop:
    """Return visitors with tastes, the server's rankings (a noisy view of them) and the candidate's."""
    places = POOL * SHOWN
    taste = rng.gamma(1.5, 0.05, PRODUCTS) * rng.lognormal(0, 0.7, (visitors, PRODUCTS))
    taste = np.minimum(taste, 0.6)
    full = np.argsort(-np.log(taste) - rng.normal(0, 0.7, taste.shape), axis=1).astype(np.int32)
    ranking, rows = full[:, :places], np.arange(visitors)[:, None]
    moved = np.arange(places) + rng.normal(0, case.moves, ranking.shape)
    place = np.argsort(moved, axis=1)[:, :SHOWN]
    strange = rng.random(place.shape) < case.strangers
    candidate = np.where(strange, full[:, places : places + SHOWN], ranking[rows, place])
    known = np.where(strange, 0.0, chances(SHOWN, places, rate=case.rate)[place, np.arange(SHOWN)])
    truth = float((taste[rows, candidate] * LOOK).sum(axis=1).mean())
    own = taste[rows, ranking]
    shown = float((own @ chances(SHOWN, places, rate=case.rate) * LOOK).sum(axis=1).mean())
    return Shop(ranking, own, candidate, known, truth, shown)


def log_of(
    rng: np.random.Generator, shop: Shop, rate: float, visitors: int
) -> tuple[LoggedLists, np.ndarray, AskedLists]:
    """Return one log of some visitors with the server's swaps, which places were clicked, and what the candidate shows."""
    some = rng.integers(len(shop.ranking), size=visitors)
    rows, places = np.arange(visitors), shop.ranking.shape[1]
    order = np.tile(np.arange(places), (visitors, 1))
    for place in range(SHOWN):
        other = np.where(rng.random(visitors) < rate, rng.integers(places, size=visitors), place)
        here, there = order[rows, place].copy(), order[rows, other].copy()
        order[rows, place], order[rows, other] = there, here
    order = order[:, :SHOWN]
    clicked = rng.random(order.shape) < shop.taste[some[:, None], order] * LOOK
    logged = LoggedLists(
        rows.astype(np.int32),
        np.repeat(rows, SHOWN).astype(np.int32),
        np.tile(np.arange(SHOWN), visitors).astype(np.int32),
        shop.ranking[some[:, None], order].ravel(),
        chances(SHOWN, places, rate=rate)[order, np.arange(SHOWN)].ravel(),
    )
    asked = AskedLists(shop.candidate[some].ravel(), shop.known[some].ravel())
    return logged, clicked.ravel().astype(np.float64), asked


@dataclass
class Tally:
    """What many logs gave."""

    means: list[float]
    low: list[float]
    high: list[float]

    def add(self, sums: VisitorSums, **certain: float) -> None:
        """Count what one log gave."""
        found = estimate_of(sums, **certain)
        self.means.append(found.mean)
        self.low.append(float("nan") if found.low is None else found.low)
        self.high.append(float("nan") if found.high is None else found.high)

    def said(self, truth: float, *, whole: float) -> tuple[float, float, float, float]:
        """Return the bias as a share of what the candidate earns, its error, the coverage, and the width as such a share."""
        means, low, high = map(np.array, (self.means, self.low, self.high))
        given = ~np.isnan(low)
        bias = (means - truth) / whole
        if given.mean() < 0.5:
            low, high, given = low + np.nan, high + np.nan, ~given
        held = ((low <= truth) & (truth <= high))[given].mean() if np.isfinite(low[given]).any() else np.nan
        return (
            float(bias.mean()),
            float(bias.std() / np.sqrt(len(bias))),
            float(held),
            float((high - low)[given].mean() / whole),
        )


def main(options: argparse.Namespace) -> int:
    began, good = time.perf_counter(), True
    print(
        "| candidate | explore | visitors that count | never shown | estimate | bias | holds the truth | width |"
    )
    print("| --- | --: | --: | --: | --- | --: | --: | --: |")
    for case in CASES:
        tallies = {name: Tally([], [], []) for name in ("inverse propensity", "doubly robust", "… − shown")}
        effective, never = [], []
        rng = np.random.default_rng(options.seed)
        shop = shop_of(rng, case, SHOP)
        for _ in range(options.runs):
            logged, clicked, asked = log_of(rng, shop, case.rate, case.visitors)
            found = overlap_of(logged, asked, clip=case.clip)
            effective.append(found.effective)
            never.append(found.never)
            events = seen(logged, clicked).events * found.effective / found.visitors
            weighed = inverse_propensity(logged, clicked, asked, clip=case.clip)
            robust = doubly_robust(logged, clicked, asked, clip=case.clip)
            above = robust - seen(logged, clicked)
            for tally, sums in zip(tallies.values(), (weighed, robust, above), strict=True):
                tally.add(sums, effective=found.effective, events=events)
        for name, tally in tallies.items():
            truth = shop.truth - shop.shown if name == "… − shown" else shop.truth
            bias, error, held, width = tally.said(truth, whole=shop.truth)
            good &= not case.fair or not held < LEAST
            told = "no interval | |" if np.isnan(held) else f"{held:.1%} | {width:.1%} |"
            print(
                f"| {case.name} | {case.rate} | {np.mean(effective):,.0f} of {case.visitors:,} | {np.mean(never):.0%} "
                f"| {name} | {bias:+.1%} (± {2 * error:.1%}) | {told}",
                flush=True,
            )
    print(f"\n{options.runs:,} logs a row, {time.perf_counter() - began:.0f} s; {machine()}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(parser_of(__doc__, runs=2_000, seed=1).parse_args()))
