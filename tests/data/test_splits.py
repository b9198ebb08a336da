from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data.purchases import Purchases
from tastemaker.data.splits import Split, hold_out_last, hold_out_random, hold_out_time
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import DataError, SettingProblem

USERS, PRODUCTS = 5, 6
logs = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(0, PRODUCTS - 1), st.integers(0, 9)),
    min_size=2,
    max_size=50,
)


def log(rows: list[tuple[int, int, int]], *, timed: bool = True) -> Purchases:
    users, products, times = np.array(rows).T
    return Purchases(
        Vocabulary.of(list(range(USERS)), noun="user"),
        Vocabulary.of(list(range(PRODUCTS)), noun="product"),
        users.astype(np.int32),
        products.astype(np.int32),
        times.astype(np.int64) if timed else None,
    )


def rows_of(purchases: Purchases) -> list[tuple[int, ...]]:
    columns = [purchases.user_rows, purchases.product_rows]
    if purchases.times is not None:
        columns.append(purchases.times)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def tried(split: object, *arguments: object, **options: object) -> Split | None:
    """Return the split, or nothing where nothing can be held out."""
    try:
        return split(*arguments, **options)  # type: ignore[operator]
    except DataError:
        return None


def last_by_hand(rows: list[tuple[int, int, int]], n: int, *, timed: bool) -> list[bool]:
    recency: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    for place, (user, product, time) in enumerate(rows):
        moment = (time if timed else 0, place)
        recency[user][product] = max(moment, recency[user].get(product, moment))
    held = set()
    for user, products in recency.items():
        newest_first = sorted(products, key=lambda product: products[product], reverse=True)
        held |= {(user, product) for product in newest_first[: min(n, len(products) - 1)]}
    return [(user, product) in held for user, product, _ in rows]


@given(logs, st.integers(1, 3), st.booleans())
def test_the_last_products_of_each_user_are_held_out(rows: list[tuple[int, int, int]], n: int, timed: bool):
    purchases = log(rows, timed=timed)
    expected = np.array(last_by_hand(rows, n, timed=timed))
    split = tried(hold_out_last, purchases, n)
    if split is None:
        assert not expected.any()
    else:
        assert rows_of(split.held_out) == rows_of(purchases.take(expected))
        assert rows_of(split.train) == rows_of(purchases.take(~expected))


def test_last_by_hand():
    rows = [(0, 1, 5), (0, 2, 9), (0, 3, 7), (1, 4, 1), (2, 0, 3), (2, 1, 3)]
    split = hold_out_last(log(rows))
    assert rows_of(split.held_out) == [(0, 2, 9), (2, 1, 3)]
    assert split.description == "Held out: the last product of each user by time; 2 of 6 purchases."
    assert rows_of(hold_out_last(log(rows, timed=False)).held_out) == [(0, 3), (2, 1)]
    assert rows_of(hold_out_last(log(rows), 2).held_out) == [(0, 2, 9), (0, 3, 7), (2, 1, 3)]


def test_a_product_bought_again_last_is_held_out_with_all_its_purchases():
    split = hold_out_last(log([(0, 1, 1), (0, 2, 2), (0, 1, 3)]))
    assert rows_of(split.held_out) == [(0, 1, 1), (0, 1, 3)]
    assert rows_of(split.train) == [(0, 2, 2)]


@given(logs, st.floats(0.05, 0.95), st.integers(0, 2**32))
def test_random_parts_share_no_pair_and_every_user_keeps_a_product(
    rows: list[tuple[int, int, int]], share: float, seed: int
):
    purchases = log(rows)
    split = tried(hold_out_random, purchases, share, rng=np.random.default_rng(seed))
    if split is None:
        return
    train, held_out = rows_of(split.train), rows_of(split.held_out)
    assert sorted(train + held_out) == sorted(rows)
    assert not {row[:2] for row in train} & {row[:2] for row in held_out}
    assert {user for user, *_ in held_out} <= {user for user, *_ in train}
    again = hold_out_random(purchases, share, rng=np.random.default_rng(seed))
    assert rows_of(again.held_out) == held_out


def test_the_random_share_holds_on_average():
    rows = [(user, product, 0) for user in range(USERS) for product in range(PRODUCTS)]
    held_out = [
        len(hold_out_random(log(rows), 0.25, rng=np.random.default_rng(seed)).held_out) for seed in range(200)
    ]
    assert set(held_out) <= set(range(5, 11))  # each of 5 users holds out 1 or 2 of 6: 1.5 on average
    assert abs(np.mean(held_out) - 7.5) < 0.3  # 4 standard errors: sqrt(5/4 / 200) = .079


@given(logs, st.floats(0.05, 0.95))
def test_a_split_by_time_puts_all_of_train_before_all_held_out(
    rows: list[tuple[int, int, int]], share: float
):
    split = tried(hold_out_time, log(rows), share)
    times = [time for *_, time in rows]
    if split is None:
        assert len(set(times)) == 1
        return
    train, held_out = rows_of(split.train), rows_of(split.held_out)
    assert max(row[2] for row in train) < min(row[2] for row in held_out)
    assert sorted(train + held_out) == sorted(rows)


def test_time_by_hand_counts_repeats():
    rows = [(0, 1, 0), (0, 2, 80), (1, 1, 89), (0, 1, 91), (2, 3, 100)]
    split = hold_out_time(log(rows), 0.1)
    assert rows_of(split.held_out) == [(0, 1, 91), (2, 3, 100)]
    assert split.description == (
        "Held out: the purchases after 1970-01-01 00:00 UTC, the last 10% of the time spanned "
        "(1 of them repeat a pair of train); 2 of 5 purchases."
    )


def test_both_parts_keep_the_vocabularies():
    purchases = log([(0, 1, 1), (0, 2, 2)])
    split = hold_out_last(purchases)
    assert split.train.users is split.held_out.users is purchases.users
    assert split.train.products is split.held_out.products is purchases.products


def test_nothing_to_hold_out_is_an_error():
    single = log([(0, 1, 1), (1, 1, 1), (1, 1, 1)])
    with pytest.raises(DataError, match="every user has one product only"):
        hold_out_last(single)
    with pytest.raises(DataError, match="every user has one product only"):
        hold_out_random(single, 0.5, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="same moment"):
        hold_out_time(single)
    with pytest.raises(DataError, match="no times"):
        hold_out_time(log([(0, 1, 1)], timed=False))


@pytest.mark.parametrize("share", [0, 1, -0.1, 2, float("nan")])
def test_a_share_outside_nought_and_one_is_refused(share: float):
    with pytest.raises(SettingProblem, match="between 0 and 1"):
        hold_out_random(log([(0, 1, 1), (0, 2, 2)]), share, rng=np.random.default_rng(0))
    with pytest.raises(SettingProblem, match="between 0 and 1"):
        hold_out_time(log([(0, 1, 1), (0, 2, 2)]), share)


def test_fewer_than_one_cannot_be_held_out():
    with pytest.raises(SettingProblem, match="not 0"):
        hold_out_last(log([(0, 1, 1), (0, 2, 2)]), 0)
