"""Simulated experiments that are looked at every day: ``python benchmarks/experiments.py``.

First 10,000 experiments whose arms do not differ: how many call a difference on any day, by the intervals of tastemaker and,
beside them, by ±1.96 standard errors. Visitors buy or do not, and what a buyer spends is log-normal with a long tail (σ = 1).
Then 10,000 experiments each with 2, 5 and 10 % more buyers: the day on which the interval first leaves out 0. The exit code is 1
where more than 5 % of the experiments without a difference call one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common import machine, parser_of
from tastemaker.evaluation.experiments.power import visitors_needed
from tastemaker.evaluation.experiments.sequences import mixture_factor, mixture_prior

BUYERS = 0.05
DAYS = 60
MOST_FALSE = 0.05
ONCE = 1.96


@dataclass(frozen=True)
class Day:
    """The sums of all experiments after a day, each ``float64[2, experiments]``, control and treatment."""

    visitors: int
    """Of one arm, the same in both"""
    totals: np.ndarray
    squares: np.ndarray

    def z(self) -> np.ndarray:
        """Return the differences in standard errors, ``float64[experiments]``."""
        means = self.totals / self.visitors
        variances = (self.squares - self.totals * means) / (self.visitors - 1)
        error = np.sqrt(variances.sum(axis=0) / self.visitors)
        return (means[1] - means[0]) / np.maximum(error, 1e-300)

    def enough(self) -> np.ndarray:
        """Return which experiments have an interval yet: 100 visitors and 30 effective values that are not 0 in each arm."""
        known = self.totals**2 >= 30 * self.squares
        return (known & (self.squares > 0)).all(axis=0) & (self.visitors >= 100)


def conversions(
    rng: np.random.Generator, runs: int, *, days: int, a_day: int, effect: float = 0.0
) -> Iterator[Day]:
    """Yield every day of experiments in which visitors buy or do not."""
    bought = np.zeros((2, runs))
    chances = np.array([[BUYERS], [BUYERS * (1 + effect)]])
    for day in range(1, days + 1):
        bought += rng.binomial(a_day // 2, chances, (2, runs))
        yield Day(day * (a_day // 2), bought, bought)


def revenues(rng: np.random.Generator, runs: int, *, days: int, a_day: int) -> Iterator[Day]:
    """Yield every day of experiments in which each buyer spends a log-normal amount."""
    totals, squares = np.zeros((2, runs)), np.zeros((2, runs))
    for day in range(1, days + 1):
        buyers = rng.binomial(a_day // 2, BUYERS, (2, runs))
        spent = rng.lognormal(3.0, 1.0, int(buyers.sum()))
        owners = np.repeat(np.arange(2 * runs), buyers.ravel())
        totals += np.bincount(owners, spent, 2 * runs).reshape(2, runs)
        squares += np.bincount(owners, spent**2, 2 * runs).reshape(2, runs)
        yield Day(day * (a_day // 2), totals, squares)


def alarms(days: Iterator[Day], runs: int, prior: float) -> tuple[float, float]:
    """Return the shares of experiments that call a difference on any day: by tastemaker, and by ±1.96 errors."""
    ours, once = np.zeros(runs, bool), np.zeros(runs, bool)
    for day in days:
        far, enough = np.abs(day.z()), day.enough()
        ours |= enough & (far > mixture_factor(2 * day.visitors, prior))
        once |= enough & (far > ONCE)
    return float(ours.mean()), float(once.mean())


def days_to_see(days: Iterator[Day], runs: int, prior: float) -> tuple[np.ndarray, int]:
    """Return the day each experiment first finds the treatment better (infinity: never), and how many first found it worse."""
    found, worse = np.full(runs, np.inf), np.zeros(runs, bool)
    for number, day in enumerate(days, start=1):
        z, factor = day.z(), mixture_factor(2 * day.visitors, prior)
        open_yet = np.isinf(found) & ~worse & day.enough()
        found[open_yet & (z > factor)] = number
        worse |= open_yet & (z < -factor)
    return found, int(worse.sum())


def print_false_alarms(runs: int, seed: int) -> bool:
    print(f"| no difference, {DAYS} looks | visitors a day | false alarms | by ±1.96 errors |")
    print("| --- | --: | --: | --: |")
    good = True
    for a_day in (200, 1_000):
        prior = mixture_prior(a_day * DAYS / 2)
        for what, simulate in (("conversion", conversions), ("revenue", revenues)):
            days = simulate(np.random.default_rng(seed), runs, days=DAYS, a_day=a_day)
            ours, once = alarms(days, runs, prior)
            good &= ours <= MOST_FALSE
            print(f"| {what} | {a_day:,} | {ours:.2%} | {once:.1%} |", flush=True)
    return good


def print_days(runs: int, seed: int, a_day: int) -> None:
    planned = visitors_needed(BUYERS * (1 - BUYERS), BUYERS * 0.05)
    assert planned is not None
    print(
        f"\n| more buyers, {a_day:,} visitors a day | found | day: median | 80 % by | foretold for 80 % | worse |"
    )
    print("| --- | --: | --: | --: | --: | --: |")
    for effect in (0.02, 0.05, 0.10):
        needed = visitors_needed(BUYERS * (1 - BUYERS), BUYERS * effect)
        assert needed is not None
        foretold = needed / a_day
        days = conversions(
            np.random.default_rng(seed), runs, days=int(foretold * 1.5) + 2, a_day=a_day, effect=effect
        )
        found, worse = days_to_see(days, runs, mixture_prior(planned))
        median, most = np.quantile(found, [0.5, 0.8], method="higher")
        seen = np.isfinite(found).mean()
        print(
            f"| {effect:.0%} | {seen:.1%} | {median:.0f} | {most:.0f} | {foretold:.1f} | {worse} |",
            flush=True,
        )


def main(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    good = print_false_alarms(options.runs, options.seed)
    print_days(options.runs, options.seed, options.visitors)
    print(f"\n{options.runs:,} experiments a row, {time.perf_counter() - began:.0f} s; {machine()}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(parser_of(__doc__, runs=10_000, visitors=20_000, seed=1).parse_args()))
