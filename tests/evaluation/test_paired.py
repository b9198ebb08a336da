"""Paired comparison: what is worked out by hand, laws, and how often it errs."""

from __future__ import annotations

from dataclasses import astuple
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_worlds import metric_values

from tastemaker.errors import DataError, SettingProblem
from tastemaker.evaluation import paired
from tastemaker.evaluation.paired import compare_paired, holm, sign_flip_p_value, users_needed


def rng(seed=1):
    return np.random.default_rng(seed)


def exact_p(differences):
    """Every choice of signs, in whole numbers: no rounding."""
    whole = [Fraction(float(value)) for value in differences]
    reached = [abs(sum(s * d for s, d in zip(signs, whole, strict=True))) >= abs(sum(whole))
               for signs in product((1, -1), repeat=len(whole))]  # fmt: skip
    return sum(reached) / len(reached)


# Three users: the first model finds 1, .5 and .5, the second 0, .5 and .25.
FIRST, SECOND = np.array([1.0, 0.5, 0.5]), np.array([0.0, 0.5, 0.25])


def test_means_difference_and_ratio_by_hand():
    found = compare_paired(FIRST, SECOND, rng=rng())
    assert (found.users, found.first, found.second) == (3, 2 / 3, 0.25)
    assert found.difference == pytest.approx(1.25 / 3)
    assert found.relative == pytest.approx((2 / 3) / 0.25 - 1)


def test_the_users_needed_by_hand():
    differences = np.array([1.0, 0.0, 0.25])
    mean, variance = 1.25 / 3, ((1 - 1.25 / 3) ** 2 + (1.25 / 3) ** 2 + (0.25 - 1.25 / 3) ** 2) / 2
    assert users_needed(differences) == int((1.959964 + 0.841621) ** 2 * variance / mean**2) + 1 == 13
    assert users_needed(differences, power=0.9) == int((1.959964 + 1.281552) ** 2 * variance / mean**2) + 1


def test_a_difference_that_all_users_share_needs_but_two():
    assert users_needed(np.full(50, 0.1)) == 2


@pytest.mark.parametrize("values", [np.zeros(20), np.array([0.0, 0.5, 1.0, 0.25])])
def test_a_model_against_itself_differs_in_nothing(values):
    found = compare_paired(values, values, rng=rng())
    assert (found.difference, found.low, found.high, found.p_value, found.users_needed) == (0, 0, 0, 1, None)


@pytest.mark.parametrize("seed", range(6))
def test_the_p_value_is_that_of_all_choices_of_signs(seed):
    # eighths: many sums are alike, and must count as reached
    differences = rng(seed).integers(-3, 5, 11) / 8
    exact = exact_p(differences)
    found = sign_flip_p_value(differences, rng=rng(), resamples=20_000)
    assert abs(found - exact) < 5 * (exact * (1 - exact) / 20_000) ** 0.5 + 1e-4


def test_thirds_and_tenths_that_add_up_alike_count_as_alike():
    differences = np.array([1 / 3, 0.1, 1 / 3, 0.1, 1 / 3, 0.1, -0.1])  # the last one undoes one of three
    by_tenths = [10, 3, 10, 3, 10, 3, -3]
    found = sign_flip_p_value(differences, rng=rng(), resamples=20_000)
    assert found == pytest.approx(exact_p(by_tenths), abs=0.01)


def test_the_p_value_never_is_0():
    assert sign_flip_p_value(np.ones(200), rng=rng(), resamples=99) == 1 / 100


def test_users_who_find_both_models_alike_do_not_change_the_p_value():
    differences = rng(3).integers(-2, 4, 40) / 4
    padded = np.concatenate([np.zeros(500), differences, np.zeros(77)])
    assert sign_flip_p_value(padded, rng=rng()) == sign_flip_p_value(differences, rng=rng())


def test_flips_in_small_blocks_are_flips_all_the_same(monkeypatch):
    differences = rng(4).integers(-3, 5, 11) / 8
    monkeypatch.setattr(paired, "BLOCK", 5)
    exact = exact_p(differences)
    assert sign_flip_p_value(differences, rng=rng(), resamples=4000) == pytest.approx(exact, abs=0.04)


def test_the_other_way_round_the_signs_turn_and_nothing_else():
    first, second = metric_values("ndcg", (300,), rng(5))[0], metric_values("recall", (300,), rng(6))[0]
    one, other = compare_paired(first, second, rng=rng()), compare_paired(second, first, rng=rng())
    assert (one.p_value, one.users_needed) == (other.p_value, other.users_needed)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(0, 2**32))
def test_the_unit_of_a_metric_changes_no_p_value_and_no_ratio(users, seed):
    first, second = rng(seed).integers(0, 4, (2, users)) / 4
    small = compare_paired(first, second, rng=rng(), resamples=200)
    large = compare_paired(8 * first, 8 * second, rng=rng(), resamples=200)
    assert small.p_value == large.p_value
    assert small.users_needed == large.users_needed
    assert (small.relative, small.relative_low) == (large.relative, large.relative_low)
    assert (8 * small.low, 8 * small.high) == (large.low, large.high)


def test_equal_generators_give_equal_bytes():
    first, second = metric_values("ndcg", (200,), rng(7))[0], metric_values("ndcg", (200,), rng(8))[0]
    assert astuple(compare_paired(first, second, rng=rng(2))) == astuple(compare_paired(first, second, rng=rng(2)))  # fmt: skip
    assert astuple(compare_paired(first, second, rng=rng(2))) != astuple(compare_paired(first, second, rng=rng(3)))  # fmt: skip


def test_a_share_of_nothing_does_not_exist():
    found = compare_paired(np.array([0.5, 0.0]), np.zeros(2), rng=rng())
    assert (found.relative, found.relative_low, found.relative_high) == (None, None, None)
    rare = compare_paired(np.array([0.5, 0.0, 0.0]), np.array([0.0, 0.0, 1.0]), rng=rng())
    assert rare.relative == -0.5  # but some draws leave out the only user whom the second model serves
    assert (rare.relative_low, rare.relative_high) == (None, None)


@pytest.mark.parametrize(
    ("kind", "users"), [("hit_rate", 2000), ("mrr", 300), ("ndcg", 300), ("recall", 300)]
)
def test_of_two_models_worth_the_same_one_in_twenty_is_called_different(kind, users):
    """Two models of equal worth for every user: p <= 5 % in 4 to 6 % of 5,000 worlds (.31 % standard error).

    With 40,000 worlds: hit_rate 4.50 %, mrr 5.09 %, ndcg 4.90 %, recall 4.69 % (.11 % standard error). A hit rate is coarse: with
    300 users, 54 of whom only one model serves, sums that are alike leave 3.69 %; never more than 5 %.
    """
    generator = rng(21)
    one, other = (metric_values(kind, (5000, users), generator)[0] for _ in range(2))
    p = [sign_flip_p_value(world, rng=generator, resamples=399) for world in one - other]
    assert 0.04 <= np.mean(np.array(p) <= 0.05) <= 0.06


def test_of_two_models_with_alike_means_and_unlike_values_one_in_twenty_is_called_different():
    """The first model serves twice as many users half as well: alike in the mean alone, and the differences are skewed.

    With 40,000 worlds of 1,000 users: 4.82 %.
    """
    generator = rng(22)
    found = rng(23).random((5000, 1000))
    differences = 0.25 * (found < 0.2) - 0.5 * (found > 0.9)
    p = [sign_flip_p_value(world, rng=generator, resamples=399) for world in differences]
    assert 0.04 <= np.mean(np.array(p) <= 0.05) <= 0.06


def test_as_many_users_as_are_needed_see_the_difference_four_times_in_five():
    """80 %, within 3; with 20,000 worlds: 78.6 %."""
    generator = rng(24)
    found = generator.random(200_000)
    population = 0.5 * (found < 0.12) - 0.5 * (found > 0.9)
    needed = users_needed(population)
    worlds = generator.choice(population, (2000, needed))
    p = [sign_flip_p_value(world, rng=generator, resamples=399) for world in worlds]
    assert 0.77 <= np.mean(np.array(p) <= 0.05) <= 0.83


def test_intervals_of_difference_and_ratio_hold_the_truth_in_95_of_100_worlds():
    """93 to 97 % of 1,000 worlds of 400 users (.7 % standard error). With 20,000 worlds: difference 94.3 %, ratio 94.7 %."""
    generator = rng(25)
    both, theirs, mine = (metric_values("ndcg", (1000, 400), generator) for _ in range(3))
    first = both[0] * 0.5 + mine[0]  # the two models often serve the same users
    second = both[0] * 0.5 + theirs[0] * 0.5
    difference, ratio = mine[1] - theirs[1] / 2, (both[1] / 2 + mine[1]) / (both[1] / 2 + theirs[1] / 2) - 1
    held = []
    for one, other in zip(first, second, strict=True):
        found = compare_paired(one, other, rng=generator, resamples=1000)
        held.append((found.low <= difference <= found.high, found.relative_low <= ratio <= found.relative_high))  # fmt: skip
    shares = np.mean(held, axis=0)
    assert ((shares >= 0.93) & (shares <= 0.97)).all()


def test_holm_by_hand():
    # ascending .005 .01 .02 .04 times 4 3 2 1: .02 .03 .04 .04
    assert holm([0.01, 0.04, 0.005, 0.02]).tolist() == pytest.approx([0.03, 0.04, 0.02, 0.04])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([0.03]).tolist() == [0.03]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), max_size=12), st.randoms(use_true_random=False))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p, random):
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p))).all()
    ranked = adjusted[np.argsort(p, kind="stable")]
    assert (np.diff(ranked) >= 0).all()
    order = random.sample(range(len(p)), len(p))
    assert holm([p[place] for place in order]).tolist() == adjusted[order].tolist()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_stepping_down_rejects(p, level):
    rejected, ascending = set(), sorted(range(len(p)), key=lambda place: p[place])
    for step, place in enumerate(ascending):
        if p[place] * (len(p) - step) > level:
            break
        rejected.add(place)
    assert set(np.flatnonzero(holm(p) <= level).tolist()) == rejected


@pytest.mark.parametrize("p", [[-0.1], [1.2], [float("nan")]])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(DataError, match="between 0 and 1"):
        holm(p)


@pytest.mark.parametrize(
    ("first", "second"), [([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])], ids=["none", "unlike", "table"]
)
def test_values_that_cannot_be_paired_are_refused(first, second):
    with pytest.raises(DataError, match="cannot be paired"):
        compare_paired(np.array(first), np.array(second), rng=rng())


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="not finite"):
        compare_paired(np.array([np.nan, 1]), np.ones(2), rng=rng())


def test_no_resamples_are_refused():
    with pytest.raises(SettingProblem, match="at least one"):
        compare_paired(np.ones(2), np.zeros(2), rng=rng(), resamples=0)
