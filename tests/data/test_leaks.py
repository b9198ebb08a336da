"""Leaks: parts that overlap are refused, a train that knows the future is told of."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tastemaker as tm
from tastemaker.data.leaks import LeakWarning, check_no_leak
from tastemaker.data.reading.readers import read_held_out
from tastemaker.errors import DataError


def log(*rows):
    """Purchases of (user, product) or (user, product, time)."""
    names = ["user", "product", "time"][: len(rows[0])]
    return tm.read_purchases(pl.DataFrame(list(map(list, rows)), schema=names, orient="row"))


def test_the_same_purchase_on_both_sides_is_refused_and_counted():
    train = log(("ann", "hat", 1), ("ann", "sock", 2), ("bob", "hat", 3))
    held = log(("ann", "sock", 2), ("bob", "hat", 3), ("bob", "kilt", 9))
    says = "2 of the 3 purchases held out stand in train, too, the first that of product 'sock' by user 'ann'"
    with pytest.raises(DataError, match=says):
        check_no_leak(train, held)


def test_a_product_bought_again_later_is_no_leak():
    check_no_leak(log(("ann", "hat", 1)), log(("ann", "hat", 2)))


def test_repeats_within_one_side_are_no_leak():
    check_no_leak(log(("ann", "hat", 1), ("ann", "hat", 1)), log(("ann", "sock", 2), ("ann", "sock", 2)))


@pytest.mark.parametrize("timed", ["train", "held out", "neither"])
def test_without_times_on_both_sides_a_pair_on_both_is_taken_for_a_leak_unless_products_are_bought_again(timed):  # fmt: skip
    train = log(("ann", "hat", 1) if timed == "train" else ("ann", "hat"))
    held = log(("ann", "hat", 2) if timed == "held out" else ("ann", "hat"))
    with pytest.raises(DataError, match="repeats=True"):
        check_no_leak(train, held)
    check_no_leak(train, held, repeats=True)


def test_repeats_do_not_excuse_one_purchase_on_both_sides():
    with pytest.raises(DataError, match="1 of the 1"):
        check_no_leak(log(("ann", "hat", 1)), log(("ann", "hat", 1)), repeats=True)


def test_a_train_that_reaches_past_the_first_moment_held_out_is_told_of():
    train = log(("ann", "hat", 1), ("bob", "hat", 5), ("bob", "sock", 6))
    with pytest.warns(LeakWarning, match="2 of the 3 purchases in train are later than the first one held out"):  # fmt: skip
        check_no_leak(train, log(("ann", "sock", 4), ("bob", "kilt", 9)))


def test_a_train_that_ends_at_the_moment_at_which_the_held_out_begin_is_no_trouble():
    check_no_leak(log(("ann", "hat", 4)), log(("ann", "sock", 4)))


def test_parts_with_vocabularies_of_their_own_are_compared_by_id():
    train = log(("ann", "hat"), ("bob", "sock"))  # hat is 0, sock is 1
    check_no_leak(train, log(("ann", "sock"), ("zoe", "hat")))  # ann is 0, zoe is 1; hat and sock as above
    with pytest.raises(DataError, match=r"1 of the 2 .* product 'sock' by user 'bob'"):
        check_no_leak(train, log(("bob", "sock"), ("zoe", "sock")))


def test_products_that_train_does_not_know_cannot_overlap():
    train = log(("ann", "hat"), ("bob", "sock"))
    frame = pl.DataFrame({"user": ["ann", "bob"], "product": ["sock", "vest"]})
    check_no_leak(train, read_held_out(frame, train.users, train.products).purchases)


rows = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 3)), min_size=1, max_size=8)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(rows, rows)
def test_what_is_refused_is_what_a_set_finds(one, other):
    later = [(user, product, time + 10) for user, product, time in other]
    check_no_leak(log(*one), log(*later))
    shared = set(one) & set(other)
    if shared:
        with pytest.raises(
            DataError, match=f"^{sum(row in shared for row in other)} of the {len(other)} purch"
        ):
            check_no_leak(log(*one), log(*other))
    elif max(row[2] for row in one) > min(row[2] for row in other):
        with pytest.warns(LeakWarning):
            check_no_leak(log(*one), log(*other))
    else:
        check_no_leak(log(*one), log(*other))
