from __future__ import annotations

import numpy as np
import pytest

from tastemaker.errors import SettingProblem
from tastemaker.model.beside.live import Live, counts_at_moments, decayed_counts, rate_bias
from tastemaker.ranking.live.rates import DAY, Rates


def slow_rates(events, moments, products, half_life, kappa, prior, first, young=0.0):
    """The formula, written out: every purchase before each moment."""
    rates = np.zeros((len(moments), products))
    for m, now in enumerate(moments):
        for p in range(products):
            count = sum(
                0.5 ** ((now - time) / DAY / half_life)
                for product, time in events
                if product == p and time < now
            )
            days = max(now - first, 0) / DAY
            tau = half_life / np.log(2) * (1 - 0.5 ** (days / half_life)) if kappa else 1.0
            if young:
                began = min([time for product, time in events if product == p and time < now], default=now)
                sold = half_life / np.log(2) * (1 - 0.5 ** ((now - began) / DAY / half_life))
                count /= (sold + young) / (tau + young)
            rates[m, p] = np.log((count + 1e-12 + kappa * prior) / (tau + kappa))
    return rates


def world(seed=0, span=40):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, span * DAY, 60))
    products = rng.integers(0, 7, 60).astype(np.int32)
    moments = np.sort(rng.integers(0, span * DAY, 9))
    known = np.concatenate(([0], np.searchsorted(times, moments), [60])).astype(np.int64)
    return products, times, moments, known


@pytest.mark.parametrize(("half_life", "kappa"), [(3.0, 0.0), (0.02, 2.0), (30.0, 40.0)])
def test_rates_are_the_decayed_counts_of_what_was_bought_before(half_life, kappa):
    products, times, moments, known = world()
    rates = Rates(7, half_life=half_life, origin=5 * DAY, kappa=kappa, prior=0.3)
    found = rates.through(products, times, known, moments, threads=2)
    expected = slow_rates(
        list(zip(products, times, strict=True)), moments, 7, half_life, kappa, 0.3, times[0]
    )
    if kappa:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:  # counts below a trillionth of a purchase all are about that
        assert np.abs(np.exp(found) - np.exp(expected)).max() < 1e-4


@pytest.mark.parametrize("half_life", [3.0, 0.02])
def test_the_count_of_what_began_to_sell_lately_is_raised_as_if_it_had_always_sold(half_life):
    products, times, moments, known = world()
    rates = Rates(7, half_life=half_life, origin=5 * DAY, kappa=2.0, prior=0.3, young=1.5)
    found = rates.through(products, times, known, moments, threads=2)
    events = list(zip(products, times, strict=True))
    expected = slow_rates(events, moments, 7, half_life, 2.0, 0.3, times[0], 1.5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_rates_of_training_are_those_of_a_replay():
    products, times, _, _ = world()
    moment = int(times[-1]) + 1
    live = Live(4.0, 0.8, 7 * 0.3, 0.0, young=1.5)
    rates = Rates(
        7, half_life=4.0, origin=0, kappa=1.0, prior=0.3, scaled=(0.8, np.zeros(7, np.float32)), young=1.5
    )
    known = np.array([0, len(times), len(times)])
    row = rates.through(products, times, known, np.array([moment]))[0]
    other = rate_bias(live, products, times, moment, 7)
    np.testing.assert_allclose(row - row[0], other - other[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("young", [0.0, 1.5])
def test_counts_at_many_moments_are_those_at_each(young):
    products, times, moments, known = world()
    live = Live(3.0, 1.0, 1.0, 0.0, young=young)
    mixed = np.random.default_rng(1).permutation(known[3])  # what was known at first stands in any order
    products[: known[3]], times[: known[3]] = products[mixed], times[mixed]
    found = counts_at_moments(live, products, times, known[3:-1], moments[2:], 7)
    for row, upto, moment in zip(found, known[3:-1], moments[2:], strict=True):
        expected = decayed_counts(live, products[:upto], times[:upto], int(moment), 7)
        np.testing.assert_allclose(row, expected, rtol=1e-12)


def test_one_purchase_after_the_other_gives_the_bytes_of_many_at_once():
    products, times, moments, known = world(1, span=4_000)
    together = Rates(7, half_life=3.0, origin=0, kappa=1.0, young=2.0)
    rows = together.through(products, times, known, moments)
    alone = Rates(7, half_life=3.0, origin=0, kappa=1.0, young=2.0)
    seen = 0
    for m, now in enumerate(moments):
        for place in range(seen, known[m + 1]):
            alone.observe(int(products[place]), int(times[place]))
        seen = known[m + 1]
        assert alone.at(int(now)).tobytes() == rows[m].tobytes()


def test_what_is_added_to_a_rate_and_what_it_weighs():
    base = np.array([1, 2], np.float32)
    plain = Rates(2, half_life=2.0, origin=0, kappa=1.0)
    more = Rates(2, half_life=2.0, origin=0, kappa=1.0, scaled=(0.5, base))
    for rates in (plain, more):
        rates.observe(0, DAY)
    np.testing.assert_allclose(more.at(3 * DAY), base + 0.5 * plain.at(3 * DAY), rtol=1e-6)


@pytest.mark.parametrize(("half_life", "kappa"), [(0.0, 1.0), (-1.0, 1.0), (np.inf, 1.0), (1.0, -1.0)])
def test_a_half_life_that_cannot_work_is_refused(half_life, kappa):
    with pytest.raises(SettingProblem, match="half-life"):
        Rates(2, half_life=half_life, origin=0, kappa=kappa)
