"""The trend by hand."""

from __future__ import annotations

import math

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.training.memory.trend import trend_of


def log_of(products, times, catalogue=3):
    return Purchases(
        Vocabulary.of(["u"], noun="user"),
        Vocabulary.of([f"p{row}" for row in range(catalogue)], noun="product"),
        np.zeros(len(products), np.int32),
        np.array(products, np.int32),
        None if times is None else np.array(times, np.int64),
    )


def test_the_trend_is_the_log_of_recent_purchases_over_those_expected():
    """The log spans 0 to 100, so that 90 and later is recent: 3 of 8 purchases."""
    trend = trend_of(log_of([0, 0, 0, 0, 1, 0, 1, 1], [0, 10, 20, 89, 50, 90, 95, 100]))
    assert trend.dtype == np.float32
    expected = [
        math.log(1 + 1) - math.log(5 * 3 / 8 + 1),
        math.log(2 + 1) - math.log(3 * 3 / 8 + 1),
        0.0,  # never bought, never expected
    ]
    np.testing.assert_allclose(trend, expected, rtol=1e-6)
    assert trend[0] < 0 < trend[1]


def test_the_order_of_the_log_does_not_matter():
    products, times = np.array([0, 1, 2, 0, 1, 0]), np.array([5, 9, 1, 4, 10, 0])
    order = np.array([3, 1, 5, 0, 2, 4])
    assert (
        trend_of(log_of(products, times)).tobytes()
        == trend_of(log_of(products[order], times[order])).tobytes()
    )


def test_products_that_sell_as_ever_have_no_trend():
    """Twenty purchases of each at even times: two of each are recent, as expected."""
    times = np.repeat(np.arange(20), 2)
    trend = trend_of(log_of([0, 1] * 20, times))
    np.testing.assert_allclose(trend, 0, atol=1e-6)


def test_without_times_or_purchases_or_a_span_there_is_none():
    for log in (log_of([0, 1, 1], None), log_of([], []), log_of([0, 1, 1], [7, 7, 7])):
        assert trend_of(log).tolist() == [0.0, 0.0, 0.0]
