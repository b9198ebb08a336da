"""What a candidate would have earned: estimates by hand, by law and on simulated truth."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from tastemaker.errors import DataError, SettingProblem
from tastemaker.evaluation.off_policy.estimators import (
    doubly_robust,
    inverse_propensity,
    overlap_of,
    seen,
    weights_of,
)
from tastemaker.evaluation.off_policy.guesses import FOLDS, guesses
from tastemaker.evaluation.off_policy.logged import AskedLists, LoggedLists
from tastemaker.evaluation.off_policy.means import VisitorSums, _student, estimate_of
from tastemaker.evaluation.off_policy.report import OffPolicy, judged

# two visitors; the second has two lists of two places
LOGGED = LoggedLists(
    np.array([0, 1, 1], np.int32),
    np.array([0, 0, 1, 1, 2, 2], np.int32),
    np.array([0, 1, 0, 1, 0, 1], np.int32),
    np.array([4, 5, 4, 6, 7, 5], np.int32),
    np.array([0.5, 0.5, 0.5, 0.25, 0.2, 0.5]),
)
ASKED = AskedLists(np.array([4, 6, 5, 6, 7, -1], np.int32), np.array([0.5, 0.25, 0.0, 0.25, 0.2, 0.0]))
CLICKS = np.array([1.0, 0, 0, 1, 0, 1])


def random_log(rng: np.random.Generator, visitors: int = 300) -> tuple[LoggedLists, np.ndarray, AskedLists]:
    """Each visitor has a list of two: products 0 and 1 in either order; the candidate shows them as they are."""
    swapped = rng.random(visitors) < 0.25
    shown = np.where(swapped[:, None], [1, 0], [0, 1])
    logged = LoggedLists(
        np.arange(visitors, dtype=np.int32),
        np.repeat(np.arange(visitors), 2).astype(np.int32),
        np.tile([0, 1], visitors).astype(np.int32),
        shown.ravel().astype(np.int32),
        np.repeat(np.where(swapped, 0.25, 0.75), 2),
    )
    asked = AskedLists(np.tile([1, 0], visitors).astype(np.int32), np.full(2 * visitors, 0.25))
    return logged, (rng.random(2 * visitors) < 0.3).astype(float), asked


def test_what_lists_earned_is_a_mean_of_lists() -> None:
    found = seen(LOGGED, CLICKS)
    assert found.earned.tolist() == [1, 2]
    assert found.mean == 1.0  # three clicks of three lists


def test_a_place_weighs_one_over_its_chance_where_both_show_the_same() -> None:
    assert weights_of(LOGGED, ASKED).tolist() == [2, 0, 0, 4, 5, 0]
    assert weights_of(LOGGED, ASKED, clip=3).tolist() == [2, 0, 0, 3, 3, 0]


def test_inverse_propensity_is_what_it_is_by_hand() -> None:
    # five places in three lists; of the weights 2 + 4 + 5 the first two were clicked
    assert inverse_propensity(LOGGED, CLICKS, ASKED).mean == pytest.approx(5 / 3 * (2 + 4) / 11)


def test_doubly_robust_is_what_it_is_by_hand_where_guesses_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    import tastemaker.evaluation.off_policy.estimators as module

    monkeypatch.setattr(module, "guesses", lambda logged, rewards, products: 0.25 * (products >= 0))
    # five places are guessed at 0.25; three of them are put right: 2 · 0.75, 4 · 0.75, 5 · −0.25
    assert doubly_robust(LOGGED, CLICKS, ASKED).mean == pytest.approx((5 * 0.25 + 1.5 + 3.0 - 1.25) / 3)


def test_a_guess_is_what_it_is_by_hand() -> None:
    """Ten visitors in five folds, one place, product 0 or 1; those of fold 0 are guessed from the eight others."""
    visitors = np.arange(10, dtype=np.int32)
    products = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], np.int32)
    rewards = np.array([0.0, 2, 2, 0, 0, 2, 0, 0, 0, 0])
    logged = LoggedLists(visitors, visitors, np.zeros(10, np.int32), products, np.ones(10))
    mean, size = 4 / 8, 12 / 6  # of the eight others; a reward that is not 0 is 2
    first = mean * (4 + 5 * size) / (4 * mean + 5 * size)
    second = mean * (0 + 5 * size) / (4 * mean + 5 * size)
    assert guesses(logged, rewards, products)[[0, 5]] == pytest.approx([first, second])
    assert guesses(logged, rewards, np.full(10, -1, np.int32)).tolist() == [0] * 10
    assert guesses(logged, rewards, np.full(10, 99, np.int32))[0] == pytest.approx(
        mean
    )  # of a product never shown


def test_no_visitors_own_rewards_are_in_their_guess() -> None:
    logged, rewards, _ = random_log(np.random.default_rng(1))
    before = guesses(logged, rewards, logged.products)
    fold = logged.owners % FOLDS == 2
    sizes = np.where(
        fold, 1 - rewards, rewards
    )  # as many rewards may be, but of others; their size is the same
    assert np.array_equal(guesses(logged, sizes, logged.products)[fold], before[fold])


def test_the_overlap_is_counted() -> None:
    found = overlap_of(LOGGED, ASKED, clip=4.5)
    assert found.visitors == 2
    assert found.effective == pytest.approx((2 + 8.5) ** 2 / (2**2 + 8.5**2))  # weights 2, and 4 + 4.5
    assert (found.never, found.hardly, found.clipped) == (1 / 5, 0, 1)


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_estimates_scale_with_rewards_and_no_order_of_visitors_matters(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    logged, rewards, asked = random_log(rng, 60)
    for how in (inverse_propensity, doubly_robust):
        found = how(logged, rewards, asked)
        assert how(logged, rewards * factor, asked).mean == pytest.approx(found.mean * factor)
        assert found.earned.sum() / found.lists.sum() == pytest.approx(found.mean)
    turned = LoggedLists(
        logged.visitors, logged.lists, logged.ranks, logged.products[::-1].copy(), logged.chances[::-1].copy()
    )
    back = AskedLists(asked.products[::-1].copy(), asked.chances[::-1].copy())
    assert inverse_propensity(turned, rewards[::-1].copy(), back).mean == pytest.approx(
        inverse_propensity(logged, rewards, asked).mean
    )


@given(st.integers(0, 1000))
def test_a_candidate_that_shows_what_was_shown_for_sure_earns_what_was_earned(seed: int) -> None:
    logged, rewards, _ = random_log(np.random.default_rng(seed), 60)
    sure = LoggedLists(logged.visitors, logged.lists, logged.ranks, logged.products, np.ones(120))
    same = AskedLists(logged.products, np.ones(120))
    for how in (inverse_propensity, doubly_robust):
        assert how(sure, rewards, same).mean == pytest.approx(rewards.sum() / 60)
    assert overlap_of(sure, same).effective == pytest.approx(60)


def test_estimates_hit_a_truth_that_is_known() -> None:
    """Product 1 is clicked twice as often as 0, the first place twice as often as the second: the candidate earns 0.5."""
    chance = np.array([[0.2, 0.1], [0.4, 0.2]])
    rng = np.random.default_rng(7)
    means: dict[str, list[float]] = {"ips": [], "dr": []}
    for _ in range(200):
        logged, _, asked = random_log(rng)
        clicked = (rng.random(600) < chance[logged.products, logged.ranks]).astype(float)
        means["ips"].append(inverse_propensity(logged, clicked, asked).mean)
        means["dr"].append(doubly_robust(logged, clicked, asked).mean)
    for found in means.values():
        assert np.mean(found) == pytest.approx(0.5, abs=4 * np.std(found) / 200**0.5)
        assert abs(np.mean(found) - 0.45) > 0.02  # what the log itself earned is told apart


def test_the_interval_of_even_values_is_that_of_students_t() -> None:
    values = np.tile([0.0, 1.0], 5_000)
    found = estimate_of(VisitorSums(values, np.ones(10_000)))
    assert found.low is not None
    assert found.high is not None
    error = 0.5 / 100
    assert (found.mean - found.low) / error == pytest.approx(NormalDist().inv_cdf(0.975), rel=1e-3)
    assert found.high - found.mean == pytest.approx(found.mean - found.low)


@pytest.mark.parametrize("degrees", [3, 5, 10, 30, 300])
def test_students_quantile_is_that_of_scipy(degrees: int) -> None:
    assert _student(NormalDist().inv_cdf(0.975), degrees) == pytest.approx(
        student.ppf(0.975, degrees), rel=0.01
    )


@given(st.integers(0, 100), st.integers(2, 5))
def test_lists_of_one_visitor_count_as_one(seed: int, copies: int) -> None:
    """The same lists several times, by the same visitors, tell no more."""
    values = np.random.default_rng(seed).poisson(1, 400).astype(float)
    once = estimate_of(VisitorSums(values, np.ones(400)))
    often = estimate_of(VisitorSums(values * copies, np.full(400, float(copies))))
    assert (often.mean, often.low, often.high) == pytest.approx((once.mean, once.low, once.high))


def test_too_little_gives_no_interval() -> None:
    values = VisitorSums(np.ones(500), np.ones(500))
    assert estimate_of(values).low == 1.0
    assert estimate_of(values, effective=199).low is None
    assert estimate_of(values, events=29).low is None
    assert estimate_of(VisitorSums(np.zeros(500), np.ones(500))).low is None


def test_a_difference_is_one_of_the_same_visitors() -> None:
    rng = np.random.default_rng(3)
    base = VisitorSums(rng.poisson(3, 1_000).astype(float), np.ones(1_000))
    more = VisitorSums(base.earned + (np.arange(1_000) % 2), base.lists)
    apart = estimate_of(more - base)
    assert apart.mean == pytest.approx(0.5)
    assert apart.high is not None
    assert apart.high - 0.5 < 0.04  # what both share is no error


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match=r"with the chance 0\.0"):
        LoggedLists(LOGGED.visitors, LOGGED.lists, LOGGED.ranks, LOGGED.products, np.zeros(6))
    with pytest.raises(DataError, match="one length"):
        LoggedLists(LOGGED.visitors, LOGGED.lists, LOGGED.ranks, LOGGED.products, np.ones(5))
    with pytest.raises(DataError, match="finite"):
        seen(LOGGED, np.array([1.0, 0, 0, np.nan, 0, 0]))
    with pytest.raises(DataError, match="explore more"):
        inverse_propensity(LOGGED, CLICKS, AskedLists(np.full(6, 99, np.int32), np.zeros(6)))
    with pytest.raises(SettingProblem, match="at least 1"):
        weights_of(LOGGED, ASKED, clip=0.5)
    with pytest.raises(SettingProblem, match="between 0 and 1"):
        estimate_of(seen(LOGGED, CLICKS), level=1.0)


# The verdict ---------------------------------------------------------------------------------------------------


def judged_by(
    chance_first: float, chance_second: float, *, visitors: int = 4_000, never: float = 0.0, **more: bool
) -> OffPolicy:
    """Products 0 and 1 are clicked with these chances; the log swaps them in a quarter, the candidate shows 1 first."""
    rng = np.random.default_rng(11)
    logged, _, asked = random_log(rng, visitors)
    clicked = (rng.random(2 * visitors) < np.where(logged.products == 0, chance_first, chance_second)).astype(
        float
    )
    clicked *= 1 - 0.9 * logged.ranks  # hardly anybody looks at the second place
    same = AskedLists(np.tile([0, 1], visitors).astype(np.int32), np.full(2 * visitors, 0.75))
    hidden = rng.random(2 * visitors) < never
    asked = AskedLists(
        np.where(hidden, 99, asked.products).astype(np.int32), np.where(hidden, 0.0, asked.chances)
    )
    models = [("new", asked)] if not more else [("old", same), ("new", asked)]
    return judged(logged, {"clicks": clicked, "revenue": 10 * clicked}, models, metric="clicks")


def test_a_model_that_earns_more_or_less_is_told_and_by_how_much() -> None:
    better, worse = judged_by(0.1, 0.5), judged_by(0.5, 0.1)
    assert better.verdict.startswith("new would earn more than the lists that were shown in clicks: +0.2")
    assert worse.verdict.startswith("new would earn less than the lists that were shown in clicks: -0.2")
    assert better.models[0].difference["revenue"].mean == pytest.approx(
        10 * better.models[0].difference["clicks"].mean
    )
    both = judged_by(0.1, 0.5, both=True)
    assert both.difference is not None
    assert both.difference["clicks"].mean == pytest.approx(0.36, abs=0.1)
    assert both.verdict.startswith("new would earn more than old in clicks")


def test_what_is_alike_unknown_or_too_little_is_said() -> None:
    assert judged_by(0.3, 0.3).verdict.startswith("Open: new − the lists that were shown in clicks is ")
    assert (
        "at 30 % of its places new shows a product that the log never shows"
        in judged_by(0.3, 0.3, never=0.3).verdict
    )
    assert judged_by(0.3, 0.5, visitors=300).verdict.startswith(
        "Too early: 300 visitors tell of clicks what "
    )
