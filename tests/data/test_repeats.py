"""Buying again: counted by hand and by brute force."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data.purchases import Purchases
from tastemaker.data.repeats import DAY, bought_again, times_bought
from tastemaker.data.vocabulary import Vocabulary

USERS, PRODUCTS = 4, 3

lines = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(0, PRODUCTS - 1), st.integers(0, 30)), max_size=25
)
"""(user, product, a moment in tenths of a day)"""


def log_of(bought, *, timed=True):
    users, products, tenths = np.array(bought, np.int64).reshape(-1, 3).T
    return Purchases(
        Vocabulary.of([f"u{row}" for row in range(USERS)], noun="user"),
        Vocabulary.of([f"p{row}" for row in range(PRODUCTS)], noun="product"),
        users.astype(np.int32),
        products.astype(np.int32),
        tenths * (DAY // 10) if timed else None,
    )


@given(bought=lines)
def test_times_are_the_days_on_which_a_user_bought_a_product(bought):
    log = log_of(bought)
    days = Counter((user, product) for user, product, _ in {(u, p, t // 10) for u, p, t in bought})
    expected = [days[pair] for pair in sorted(days)]
    times = times_bought(log)
    assert (expected if max(expected, default=1) > 1 else None) == (
        times if times is None else times.tolist()
    )
    assert len(expected) == len(log.histories().products)


@given(bought=lines)
def test_without_times_every_line_is_one_time(bought):
    counts = Counter((user, product) for user, product, _ in bought)
    expected = [counts[pair] for pair in sorted(counts)]
    times = times_bought(log_of(bought, timed=False))
    assert (expected if max(expected, default=1) > 1 else None) == (
        times if times is None else times.tolist()
    )


@given(bought=lines, timed=st.booleans())
def test_again_is_every_purchase_but_the_first_and_of_late_where_there_are_times(bought, timed):
    expected = np.zeros(PRODUCTS, int)
    if not timed:
        for (_, product), count in Counter((u, p) for u, p, _ in bought).items():
            expected[product] += count - 1
    elif bought:
        moments = [moment for *_, moment in bought]
        border = max(moments) - (max(moments) - min(moments)) / 10
        first = {}
        for user, product, moment in sorted(bought, key=lambda line: line[2]):
            day = moment // 10
            before = first.setdefault((user, product), set())
            if before and day not in before and moment >= border:
                expected[product] += 1
            before.add(day)
    assert bought_again(log_of(bought, timed=timed)).tolist() == expected.tolist()


def test_two_lines_of_a_receipt_are_one_time():
    receipt = [(1, 2, 3), (1, 2, 3), (1, 2, 4)]
    assert times_bought(log_of(receipt)) is None
    assert bought_again(log_of(receipt)).tolist() == [0, 0, 0]
    assert times_bought(log_of([*receipt, (1, 2, 12)])).tolist() == [2]
    assert bought_again(log_of([*receipt, (1, 2, 12)])).tolist() == [0, 0, 1]


def test_the_order_of_the_file_changes_nothing():
    rng = np.random.default_rng(2)
    bought = list(zip(*rng.integers(0, [[USERS], [PRODUCTS], [30]], (3, 40)).tolist(), strict=True))
    mixed = [bought[place] for place in rng.permutation(len(bought))]
    assert times_bought(log_of(mixed)).tolist() == times_bought(log_of(bought)).tolist()
    assert bought_again(log_of(mixed)).tolist() == bought_again(log_of(bought)).tolist()
