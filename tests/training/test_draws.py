"""The alias method's table amounts to the distribution it was made for, whatever its shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from tastemaker.kernels.learning.composed import SHARED, draw_negatives
from tastemaker.training.learners.draws import draws_by_popularity

ROUNDING = 2.0**-24
"""A chance below 1 is off by at most so much in float32."""

# Logs at which the table was once filled in rounds that never ended: the running sums left a product short of 1 by a
# rounding, and nobody with anything to spare. One has 49 products of one to three buyers each.
ENDLESS = [
    "3212312323121331212332333312121211312113232221123",
    "21311332232211323313333222222211131133211211322132133113323131112322231222233212121222322211311312312331233",
]


def amount(draws):
    """What each of the P even draws amounts to for each product: P times its probability."""
    chances = draws.chances.astype(np.float64)
    total = chances.copy()
    np.add.at(total, draws.aliases, 1 - chances)
    return total


def expected_shares(buyers, power):
    weights = [max(count, 0.5) ** power for count in buyers]
    return np.array([len(buyers) * weight / sum(weights) for weight in weights])


def check(buyers, power):
    draws = draws_by_popularity(np.array(buyers, np.float64), power)
    assert (draws.chances.dtype, draws.aliases.dtype) == (np.float32, np.int32)
    assert ((draws.chances >= 0) & (draws.chances <= 1)).all()
    assert ((draws.aliases >= 0) & (draws.aliases < len(buyers))).all()
    expected = expected_shares(buyers, power)
    np.testing.assert_allclose(draws.probabilities * len(buyers), expected, rtol=1e-11)
    roundings = 1 + np.bincount(
        draws.aliases, minlength=len(buyers)
    )  # of its own chance and of each it is the alias of
    assert (np.abs(amount(draws) - expected) <= roundings * ROUNDING + 1e-12 * len(buyers) ** 2).all()


few = st.lists(st.integers(0, 4), min_size=1, max_size=120)
skewed = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 10**9)), min_size=1, max_size=60)
powers = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 2.0])


@given(buyers=st.one_of(few, skewed), power=powers)
@example(buyers=[7], power=0.75)
@example(buyers=[0], power=1.0)
@example(buyers=[0] * 49, power=1.0)  # 49 · (1 / 49) is below 1 in float64
@example(buyers=[0, 10**9], power=1.0)
@example(buyers=[10**9, *[0] * 99], power=1.0)
@example(buyers=[0, *[20] * 99], power=0.75)
@settings(deadline=None, max_examples=300)
def test_chances_and_aliases_add_up_to_the_probabilities(buyers, power):
    check(buyers, power)


@pytest.mark.parametrize("digits", ENDLESS)
@pytest.mark.parametrize("power", [0.5, 0.75, 1.0])
def test_logs_that_once_kept_the_table_from_ending_get_one(digits, power):
    check([int(digit) for digit in digits], power)


def test_equal_products_are_never_exchanged():
    for count in (1, 3, 49, 1000):
        draws = draws_by_popularity(np.full(count, 5.0), 0.75)
        assert draws.chances.tolist() == [1.0] * count


def test_a_rare_product_keeps_its_chance_to_the_last_digits():
    """With one product a million times as popular as another, the rare one's probability has no error of the great one's size."""
    draws = draws_by_popularity(np.array([1e6, 1.0, 1.0, 1.0]), 1.0)
    np.testing.assert_allclose(amount(draws)[1:], 4 / (1e6 + 3), rtol=1e-6)


def test_a_catalogue_of_a_million_that_needs_a_million_handings_on_is_filled_in_one_pass():
    """One unbought product among equals: its lack is handed from each of them to the next."""
    buyers = np.full(1_000_000, 20.0)
    buyers[0] = 0
    draws = draws_by_popularity(buyers, 0.75)
    np.testing.assert_allclose(amount(draws), draws.probabilities * 1_000_000, atol=3e-7)


@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
def test_what_the_kernel_draws_is_distributed_so(power):
    """A chi-square test of 400,000 draws over a long-tailed catalogue; uniform ones fail it by far."""
    buyers = np.array([0, 0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89], np.float64)
    draws = draws_by_popularity(buyers, power)
    counts = np.zeros(len(buyers))
    drawn, coins = np.empty(4_000, np.int32), np.empty(4_000, np.int32)
    for batch in range(100):
        draw_negatives(
            SHARED,
            np.uint64(77),
            batch,
            0.0,
            np.zeros(1, np.int32),
            draws.chances,
            draws.aliases,
            drawn,
            coins,
        )
        counts += np.bincount(drawn, minlength=len(buyers))
    expected = 400_000 / len(buyers) * expected_shares(buyers, power)
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert chi2.ppf(1e-4, len(buyers) - 1) < statistic < chi2.ppf(1 - 1e-4, len(buyers) - 1)
    if power:
        uniform = 400_000 / len(buyers)
        assert ((counts - uniform) ** 2 / uniform).sum() > 10_000
