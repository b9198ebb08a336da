"""Experiments that are looked at every day: intervals, the check of the assignment, visitors needed, the verdict."""

from __future__ import annotations

from itertools import pairwise
from math import log, sqrt
from statistics import NormalDist

import numpy as np
import pytest

from tastemaker.errors import DataError, SettingProblem
from tastemaker.evaluation.experiments.arms import Arm, arm_of
from tastemaker.evaluation.experiments.assignment_check import ratio_p_value
from tastemaker.evaluation.experiments.power import visitors_needed
from tastemaker.evaluation.experiments.sequences import difference, mixture_factor, mixture_prior
from tastemaker.evaluation.experiments.verdict import verdict


def shares(visitors: int, buyers: int) -> Arm:
    return Arm(visitors, buyers, buyers)


# what confseq 0.0.11 gives for normal_mixture_bound(v, alpha, 10000, alpha, false) / sqrt(v), with its best_rho
CONFSEQ = [
    (100, 0.05, 1260.056098, 9.08437943731),
    (1_000, 0.05, 1260.056098, 3.85505463353),
    (10_000, 0.05, 1260.056098, 3.03520899038),
    (300_000, 0.05, 1260.056098, 3.39358970709),
    (50_000, 0.01, 867.0213511, 3.67594432538),
]


@pytest.mark.parametrize(("visitors", "alpha", "prior", "factor"), CONFSEQ)
def test_the_factor_is_that_of_confseq(visitors: int, alpha: float, prior: float, factor: float) -> None:
    assert float(mixture_factor(visitors, prior, level=1 - alpha)) == pytest.approx(factor, rel=1e-9)


# what savvi 0.3.1 gives as 1 / odds for these counts
SAVVI = [
    ((5_050, 4_950), (0.5, 0.5), 1.0),
    ((5_200, 4_800), (0.5, 0.5), 0.003647864278679712),
    ((5_500, 4_500), (0.5, 0.5), 2.9248540706784596e-21),
    ((4_750, 4_750, 700), (0.475, 0.475, 0.05), 4.3772223709119865e-13),
]


@pytest.mark.parametrize(("visitors", "expected", "p_value"), SAVVI)
def test_the_check_of_the_assignment_is_that_of_savvi(
    visitors: tuple[int, ...], expected: tuple[float, ...], p_value: float
) -> None:
    assert ratio_p_value(visitors, expected) == pytest.approx(p_value, rel=1e-6)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_no_other_prior_gives_a_narrower_interval_at_the_planned_number(level: float) -> None:
    best = float(mixture_factor(10_000, mixture_prior(10_000, level=level), level=level))
    others = [float(mixture_factor(10_000, prior, level=level)) for prior in np.geomspace(10, 1e5, 2_001)]
    assert best <= min(others) + 1e-12
    assert min(others) == pytest.approx(best, abs=1e-4)


def test_an_interval_for_every_day_is_wider_than_one_for_a_single_day() -> None:
    once = NormalDist().inv_cdf(0.975)
    assert (mixture_factor(np.geomspace(1, 1e9, 200), mixture_prior(1e5)) > once).all()


def test_an_interval_is_the_factor_times_the_standard_error() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.exponential(2.0, 900), rng.exponential(2.5, 1_100)
    found = difference(arm_of(first), arm_of(second), planned=5_000)
    error = sqrt(first.var(ddof=1) / 900 + second.var(ddof=1) / 1_100)
    prior = 5_000 / 8.211968062068253  # -W(-0.05² / e) - 1 by scipy.special.lambertw, branch -1
    margin = error * sqrt((1 + prior / 2_000) * (log((2_000 + prior) / prior) + 2 * log(20)))
    assert found.low is not None
    assert found.high is not None
    assert found.low == pytest.approx(second.mean() - first.mean() - margin)
    assert found.high == pytest.approx(second.mean() - first.mean() + margin)


def test_the_unit_of_money_changes_no_outcome() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.exponential(2.0, 900), rng.exponential(2.5, 1_100)
    euros = difference(arm_of(first), arm_of(second), planned=5_000)
    cents = difference(arm_of(first * 100), arm_of(second * 100), planned=5_000)
    assert euros.low is not None
    assert cents.low == pytest.approx(100 * euros.low)
    assert cents.relative == pytest.approx(euros.relative)


def test_exchanging_the_arms_turns_the_difference_round() -> None:
    there = difference(shares(5_000, 250), shares(6_000, 400), planned=10_000)
    back = difference(shares(6_000, 400), shares(5_000, 250), planned=10_000)
    assert there.high is not None
    assert (there.outcome, back.outcome) == ("better", "worse")
    assert back.low == pytest.approx(-there.high)


def test_hosts_and_days_add_up() -> None:
    values = np.random.default_rng(7).exponential(3.0, 1_000)
    whole, added = arm_of(values), arm_of(values[:300]) + arm_of(values[300:])
    assert added.visitors == whole.visitors
    assert added.mean == pytest.approx(values.mean())
    assert added.variance == pytest.approx(values.var(ddof=1))


@pytest.mark.parametrize("few", [Arm(0, 0, 0), shares(50, 45), shares(5_000, 29), Arm(5_000, 1_000.0, 1e6)])
def test_there_is_no_interval_from_too_little(few: Arm) -> None:
    found = difference(few, shares(5_000, 500), planned=10_000)
    assert (found.low, found.high, found.outcome) == (None, None, "open")


@pytest.mark.parametrize("sums", [(-1, 0.0, 0.0), (10, float("nan"), 1.0), (10, 10.0, 5.0), (0, 1.0, 1.0)])
def test_sums_that_no_visitors_can_have_are_refused(sums: tuple[int, float, float]) -> None:
    with pytest.raises(DataError, match="cannot"):
        Arm(*sums)


def false_alarms(values: np.ndarray, looks: list[int], planned: int) -> tuple[float, float]:
    """Return how many experiments without an effect call one at any look: by our intervals, and by ±1.96 errors."""
    ours = theirs = np.zeros(len(values), bool)
    for look in looks:
        both = values[:, :look].reshape(len(values), -1, 2)
        gap = both[:, :, 1].mean(axis=1) - both[:, :, 0].mean(axis=1)
        error = np.sqrt(both.var(axis=1, ddof=1).sum(axis=1) / both.shape[1])
        ours = ours | (np.abs(gap) > error * mixture_factor(look, mixture_prior(planned)))
        theirs = theirs | (np.abs(gap) > error * 1.96)
    return float(ours.mean()), float(theirs.mean())


def test_looking_every_day_raises_a_false_alarm_in_at_most_five_percent() -> None:
    bought = (np.random.default_rng(8).random((600, 12_000)) < 0.2).astype(np.float64)
    ours, once = false_alarms(bought, list(range(400, 12_001, 400)), 6_000)
    assert ours <= 0.05
    assert once > 0.15  # the same looks by an interval that is meant for one


def test_the_visitors_needed_show_the_effect_as_often_as_promised() -> None:
    needed = visitors_needed(0.2 * 0.8, 0.04)
    assert needed is not None
    rng, each = np.random.default_rng(9), needed // 2
    bought = rng.binomial(each, [[0.18], [0.22]], (2, 2_000)) / each
    error = np.sqrt((bought * (1 - bought)).sum(axis=0) / each)
    seen = bought[1] - bought[0] > error * mixture_factor(needed, mixture_prior(needed))
    assert seen.mean() == pytest.approx(0.8, abs=0.03)


def test_a_smaller_effect_and_less_even_arms_take_more_visitors() -> None:
    needed = [visitors_needed(0.05, effect) or 0 for effect in (0.01, 0.005, 0.001)]
    assert all(more > less for less, more in pairwise(needed))
    assert (visitors_needed(0.05, 0.01, share=0.1) or 0) > needed[0]
    assert visitors_needed(0.05, 0.0) is None


@pytest.mark.parametrize(
    ("visitors", "expected"), [([10], [1.0]), ([10, 10], [0.5]), ([10, 10], [0.6, 0.6]), ([1, 1], [1.0, 0.0])]
)
def test_an_assignment_needs_two_arms_whose_shares_sum_to_one(
    visitors: list[int], expected: list[float]
) -> None:
    with pytest.raises(SettingProblem):
        ratio_p_value(visitors, expected)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_is_between_0_and_1(level: float) -> None:
    with pytest.raises(SettingProblem, match="between 0 and 1"):
        difference(shares(5_000, 250), shares(5_000, 250), planned=10_000, level=level)


def test_a_broken_assignment_comes_before_any_gain() -> None:
    found = difference(shares(50_000, 2_500), shares(50_000, 4_000), planned=100_000)
    said = verdict(
        found, metric="conversion", arms=("stable", "canary"), ratio=1e-9, visitors=100_000, needed=None
    )
    assert said.startswith("The assignment is broken")
    assert "better" not in said


def test_an_open_experiment_says_how_many_visitors_it_takes() -> None:
    found = difference(shares(5_000, 250), shares(5_000, 260), planned=100_000)
    said = verdict(
        found, metric="conversion", arms=("stable", "canary"), ratio=1.0, visitors=10_000, needed=114_000
    )
    assert said.startswith("Open: canary − stable in conversion is +0.002 a visitor (")
    assert said.endswith("the planned effect takes about 114,000 visitors, 10,000 have come.")
