"""Ragged lists, each function against plain Python."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import (
    find_sorted,
    flat_lists,
    gather_lists,
    held_sorted,
    offsets_of,
    owners_of,
    pair_keys,
    places_in,
)

LISTS = st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=6)


@given(LISTS)
def test_lists_that_are_laid_flat_are_found_again(lists):
    offsets, values = flat_lists(lists)
    assert [values[a:b].tolist() for a, b in itertools.pairwise(offsets)] == lists
    assert (offsets.dtype, values.dtype) == (np.int64, np.int32)
    assert offsets_of([len(part) for part in lists]).tolist() == offsets.tolist()


@given(LISTS)
def test_every_value_knows_its_list_and_its_place_there(lists):
    offsets, _ = flat_lists(lists)
    assert owners_of(offsets).tolist() == [number for number, part in enumerate(lists) for _ in part]
    assert places_in(offsets).tolist() == [place for part in lists for place in range(len(part))]


@given(LISTS, st.data())
def test_lists_are_gathered_in_any_order_and_more_than_once(lists, data):
    chosen = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8)) if lists else []
    offsets, values = flat_lists(lists)
    borders, places = gather_lists(offsets, np.array(chosen, np.int64))
    assert values[places].tolist() == [value for number in chosen for value in lists[number]]
    assert np.diff(borders).tolist() == [len(lists[number]) for number in chosen]


@given(st.lists(st.integers(-9, 9), unique=True).map(sorted), st.lists(st.integers(-12, 12), max_size=9))
def test_values_are_found_in_an_ascending_array(ascending, values):
    places, there = find_sorted(np.array(ascending, np.int64), np.array(values, np.int64))
    assert there.tolist() == [value in ascending for value in values]
    assert [ascending[place] for place in places[there]] == [value for value in values if value in ascending]
    assert held_sorted(np.array(ascending, np.int64), np.array(values, np.int64)).tolist() == there.tolist()


def test_membership_keeps_the_shape_of_what_is_asked():
    asked = np.array([[1, 2], [3, 4]])
    assert held_sorted(np.array([2, 3]), asked).tolist() == [[False, True], [True, False]]
    assert held_sorted(np.zeros(0, np.int64), asked).tolist() == [[False, False], [False, False]]


def test_keys_of_pairs_do_not_overflow_the_type_of_rows():
    keys = pair_keys(np.int32([2_000_000_000]), np.int32([999_999]), 1_000_000)
    assert keys.tolist() == [2_000_000_000 * 1_000_000 + 999_999]


def test_histories_know_their_users_lists_and_pairs():
    histories = Histories.from_lists([[0, 4], [], [2]])
    assert len(histories) == 3
    assert [histories.of(user).tolist() for user in range(3)] == [[0, 4], [], [2]]
    assert histories.owners().tolist() == [0, 0, 2]
    assert histories.keys(5).tolist() == [0, 4, 12]


@pytest.mark.parametrize("lists", [[], [[]], [np.int32([3]), np.int32([])]])
def test_empty_lists_have_offsets_and_types_too(lists):
    offsets, values = flat_lists(lists)
    assert len(offsets) == len(lists) + 1
    assert values.dtype == np.int32
