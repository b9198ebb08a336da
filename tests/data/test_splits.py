from __future__ import annotations

import warnings
from collections import defaultdict
from itertools import pairwise
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data.leaks import LeakWarning, check_no_leak
from tastemaker.data.purchases import Purchases
from tastemaker.data.splits import (
    Split,
    hold_out_last,
    hold_out_random,
    hold_out_time,
    hold_out_users,
    hold_out_windows,
)
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
        "Held out: the purchases after 1970-01-01 00:00 UTC, the last 10% of the time in which purchases happened "
        "(1 of them repeat a pair of train); 2 of 5 purchases."
    )


def test_one_stray_date_does_not_turn_a_split_by_time_over():
    day = 86_400_000_000
    rows = [(place % USERS, place % PRODUCTS, place * day) for place in range(200)]
    clean = rows_of(hold_out_time(log(rows), 0.1).held_out)
    assert len(clean) == 20
    for stray in (200 + 400, 27_000, -19_000):
        split = hold_out_time(log([*rows, (0, 0, stray * day)]), 0.1)
        held = rows_of(split.held_out)
        assert 15 <= len(held) <= 25
        assert set(held) - {(0, 0, stray * day)} <= set(rows[-25:])
        assert f"{len(held)} of 201 purchases" in split.description


def test_nights_and_a_long_closing_are_time_like_any_other_where_they_are_usual():
    hour = 3_600_000_000
    rows = [(0, place % 6, (24 * (place // 8) + place % 8) * hour) for place in range(8 * 100)]
    times = np.array([row[2] for row in rows])
    held = rows_of(hold_out_time(log(rows), 0.1).held_out)
    assert len(held) == int((times > times.max() - int((times.max() - times.min()) * 0.1)).sum())


# Windows in time --------------------------------------------------------------------------------------------


def windows_by_hand(rows, windows, share, memory=None):
    """Return (train, held out) of each window that has both."""
    first, last = min(row[2] for row in rows), max(row[2] for row in rows)
    borders = [last - max(int((last - first) * share * left), left) for left in range(windows, 0, -1)] + [
        last
    ]
    parts = []
    for start, stop in pairwise(borders):
        since = first - 1 if memory is None else start - int((last - first) * memory)
        train = [row for row in rows if since < row[2] <= start]
        held = [row for row in rows if start < row[2] <= stop]
        if train and held:
            parts.append((train, held))
    return parts


@given(logs, st.integers(1, 4), st.floats(0.05, 0.24), st.one_of(st.none(), st.floats(0.1, 1.0)))
def test_windows_are_those_by_hand(rows, windows, share, memory):
    splits = tried(hold_out_windows, log(rows), windows, share, memory=memory)
    expected = windows_by_hand(rows, windows, share, memory)
    found = [] if splits is None else [(rows_of(split.train), rows_of(split.held_out)) for split in splits]
    assert found == (expected if len({row[2] for row in rows}) > 1 else [])


@given(logs, st.integers(1, 4), st.floats(0.05, 0.24))
def test_each_train_ends_before_its_window_and_holds_the_window_before(rows, windows, share):
    for split in tried(hold_out_windows, log(rows), windows, share) or ():
        assert split.train.times.max() < split.held_out.times.min()
    splits = tried(hold_out_windows, log(rows), windows, share) or ()
    for earlier, later in pairwise(splits):
        assert len(later.train) >= len(earlier.train) + len(earlier.held_out)
        assert later.held_out.times.min() > earlier.held_out.times.max()


def test_the_last_window_is_that_of_a_split_by_time():
    rows = [(place % USERS, place % PRODUCTS, 10 * place) for place in range(30)]
    last = hold_out_windows(log(rows), 3, 0.2)[-1]
    by_time = hold_out_time(log(rows), 0.2)
    assert rows_of(last.held_out) == rows_of(by_time.held_out)
    assert rows_of(last.train) == rows_of(by_time.train)


def test_a_window_says_when_it_was():
    rows = [(0, 0, 0), (0, 1, 86_400_000_000 * 6), (1, 1, 86_400_000_000 * 10)]
    first, second = hold_out_windows(log(rows), 2, 0.3)
    assert first.description == (
        "Held out: the purchases after 1970-01-05 00:00 UTC, not after 1970-01-08 00:00 UTC, window 1 of 2; "
        "1 of 3 purchases."
    )
    assert rows_of(second.held_out) == [rows[2]]


def test_windows_with_a_memory_forget_what_is_older():
    rows = [(0, product, time) for product, time in enumerate([0, 40, 60, 80, 100])]
    (split,) = hold_out_windows(log(rows), 1, 0.3, memory=0.3)  # from 70; train after 40
    assert [row[2] for row in rows_of(split.train)] == [60]
    assert [row[2] for row in rows_of(split.held_out)] == [80, 100]


@pytest.mark.parametrize(
    "options", [{"windows": 0}, {"share": 0.0}, {"windows": 4, "share": 0.25}, {"share": float("nan")}]
)
def test_windows_that_cannot_be_are_refused(options):
    with pytest.raises(SettingProblem, match="less than all of the time"):
        hold_out_windows(log([(0, 1, 1), (0, 2, 9)]), **options)
    with pytest.raises(SettingProblem, match="memory"):
        hold_out_windows(log([(0, 1, 1), (0, 2, 9)]), memory=0.0)


def test_windows_need_times_and_a_purchase_in_one_with_another_before():
    with pytest.raises(DataError, match="no times"):
        hold_out_windows(log([(0, 1, 1)], timed=False))
    with pytest.raises(DataError, match="make the windows longer"):
        hold_out_windows(log([(0, 1, 0), (0, 2, 100)]), 1, 0.3, memory=0.1)


# Whole users ------------------------------------------------------------------------------------------------


@given(logs, st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.integers(0, 2**32))
def test_whole_users_leave_train_and_keep_the_first_part_of_their_history_as_basket(rows, share, basket, seed):  # fmt: skip
    split = tried(hold_out_users, log(rows), share, basket=basket, rng=np.random.default_rng(seed))
    products = {user: {row[1] for row in rows if row[0] == user} for user, *_ in rows}
    if split is None:
        assert len(products) < 2 or max(map(len, products.values())) < 2
        return
    assert split.baskets is not None
    train, first, held = (rows_of(part) for part in (split.train, split.baskets, split.held_out))
    assert sorted(train + first + held) == sorted(rows)
    users = {user for user, *_ in held}
    assert users == {user for user, *_ in first}
    assert not users & {user for user, *_ in train}
    assert train
    by_time = list(enumerate(sorted(rows, key=lambda row: row[2])))
    for user in users:
        kept, theirs = ({row[1] for row in part if row[0] == user} for part in (first, held))
        assert not kept & theirs
        size = len(products[user])
        assert len(kept) == min(max(1, ceil(basket * size)), size - 1)
        last = {q: place for place, (u, q, _) in by_time if u == user}
        assert max(last[p] for p in kept) < min(last[p] for p in theirs)


@given(logs, st.integers(0, 2**32))
def test_the_same_generator_holds_out_the_same_users(rows, seed):
    one, other = (tried(hold_out_users, log(rows), 0.4, rng=np.random.default_rng(seed)) for _ in range(2))
    if one is not None and other is not None:
        assert rows_of(one.held_out) == rows_of(other.held_out)


def test_as_many_users_are_held_out_as_were_asked_for():
    rows = [(user, product, product) for user in range(USERS) for product in range(1 + (user > 0))]
    split = hold_out_users(log(rows), 0.5, rng=np.random.default_rng(3))  # 4 of 5 users have two products
    assert len(np.unique(split.held_out.user_rows)) == 2
    assert 0 not in split.held_out.user_rows
    assert split.description == (
        "Held out: 2 whole users, of each the last products after 50% of the history, which is the basket; "
        "2 of 9 purchases."
    )


@pytest.mark.parametrize(
    "rows", [[(0, 1, 1), (0, 2, 2)], [(0, 1, 1), (1, 2, 2)]], ids=["one user", "one product each"]
)
def test_whole_users_need_two_users_and_two_products(rows):
    with pytest.raises(DataError, match="no user can be held out whole"):
        hold_out_users(log(rows), rng=np.random.default_rng(0))


@pytest.mark.parametrize("share", [0, 1, float("nan")])
def test_shares_of_users_and_of_histories_outside_nought_and_one_are_refused(share):
    with pytest.raises(SettingProblem, match="share to hold out"):
        hold_out_users(log([(0, 1, 1)]), share, rng=np.random.default_rng(0))
    with pytest.raises(SettingProblem, match="basket"):
        hold_out_users(log([(0, 1, 1)]), basket=share, rng=np.random.default_rng(0))


# What is lost, and what all have in common ------------------------------------------------------------------


def test_a_split_counts_users_and_products_that_train_lacks():
    rows = [(0, 1, 0), (1, 2, 50), (0, 3, 95), (2, 1, 96), (3, 4, 100), (3, 3, 100)]
    split = hold_out_time(log(rows), 0.1)
    assert split.users_without_train == 2  # 2 and 3
    assert split.products_without_train == 2  # 3 and 4
    assert split.lost() == (
        "2 of 3 users held out have no purchase in train, "
        "2 of 3 products held out were bought by nobody there."
    )


@given(logs, st.integers(0, 2**32))
def test_no_split_leaks(rows, seed):
    generator = np.random.default_rng(seed)
    for split in (
        tried(hold_out_last, log(rows)),
        tried(hold_out_random, log(rows), 0.3, rng=generator),
        tried(hold_out_users, log(rows), 0.3, rng=generator),
        tried(hold_out_time, log(rows)),
        *(tried(hold_out_windows, log(rows), 2, 0.2) or ()),
    ):
        if split is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LeakWarning)  # the first three lie side by side in time
                check_no_leak(split.train, split.held_out)


@given(logs)
def test_splits_by_time_have_no_future_in_train(rows):
    for split in (tried(hold_out_time, log(rows)), *(tried(hold_out_windows, log(rows), 2, 0.2) or ())):
        if split is not None:
            check_no_leak(split.train, split.held_out)  # a warning is an error here


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
