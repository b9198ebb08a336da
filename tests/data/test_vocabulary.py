from __future__ import annotations

from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data.vocabulary import MOST_ONE_BY_ONE, Vocabulary
from tastemaker.errors import ColumnProblem, DataError, UnknownId

texts = st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=2 * MOST_ONE_BY_ONE)
integers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=2 * MOST_ONE_BY_ONE)


@given(st.one_of(texts, integers))
def test_every_id_finds_its_row_and_every_row_its_id(ids: list[object]):
    vocabulary = Vocabulary.of(ids, noun="user")
    rows = vocabulary.rows(ids)
    assert vocabulary.at(rows).to_list() == ids
    assert sorted(set(rows.tolist())) == list(range(len(set(ids))))


@given(st.one_of(texts, integers))
def test_without_a_catalogue_the_ids_are_sorted_and_the_order_of_the_log_is_forgotten(ids: list[object]):
    there = Vocabulary.of(ids, noun="user")
    back = Vocabulary.of(ids[::-1], noun="user")
    assert there.ids.to_list() == back.ids.to_list()
    assert there.ids.to_list() == sorted(set(ids), key=lambda i: i.encode() if isinstance(i, str) else i)


@given(texts)
def test_a_kept_order_is_that_of_first_appearance(ids: list[str]):
    assert Vocabulary.of(ids, noun="user", keep_order=True).ids.to_list() == list(dict.fromkeys(ids))


@given(texts, texts)
def test_few_and_many_are_looked_up_alike(known: list[str], asked: list[str]):
    vocabulary = Vocabulary.of(known, noun="user", keep_order=True)
    rows = {name: row for row, name in enumerate(dict.fromkeys(known))}
    expected = [rows.get(name) for name in asked]
    assert vocabulary.find(asked).to_list() == expected
    assert vocabulary.find(asked * (MOST_ONE_BY_ONE + 1)).to_list() == expected * (MOST_ONE_BY_ONE + 1)


@given(st.lists(st.uuids(), min_size=1, max_size=20))
def test_uuids_of_16_bytes_are_text_inside_and_bytes_again_outside(uuids: list[UUID]):
    came = pl.Series([uuid.bytes for uuid in uuids] + [UUID(int=2**128 - 1).bytes])  # ff… is never UTF-8
    vocabulary = Vocabulary.of(came, noun="user")
    rows = vocabulary.rows(came)
    assert vocabulary.at(rows).to_list()[:-1] == [str(uuid) for uuid in uuids]
    assert vocabulary.original(vocabulary.at(rows)).to_list() == came.to_list()


def test_integers_keep_their_width():
    for dtype in (pl.Int8, pl.UInt16, pl.Int32, pl.UInt64):
        assert Vocabulary.of(pl.Series([3, 1, 3], dtype=dtype), noun="product").ids.dtype == dtype


def test_text_meets_integers_and_integers_meet_text():
    numbers = Vocabulary.of(pl.Series([7, 12], dtype=pl.Int32), noun="product")
    assert numbers.find(["12", "007", "x", "99999999999", "7"]).to_list() == [1, None, None, None, 0]
    assert Vocabulary.of(["12", "7"], noun="product").find([7, 12, 8]).to_list() == [1, 0, None]


def test_wide_integers_that_do_not_fit_are_unknown_rather_than_wrapped():
    small = Vocabulary.of(pl.Series([44], dtype=pl.Int8), noun="product")
    assert small.find([44, 300]).to_list() == [0, None]  # 300 mod 256 is 44


def test_nothing_is_found_in_an_empty_vocabulary():
    empty = Vocabulary.of(pl.Series([], dtype=pl.String), noun="user")
    assert len(empty) == 0
    assert empty.find(["a"] * (MOST_ONE_BY_ONE + 1)).to_list() == [None] * (MOST_ONE_BY_ONE + 1)
    with pytest.raises(UnknownId, match="not among the 0 users"):
        empty.rows(["a"])


def test_an_unknown_id_says_which_how_many_and_what_an_id_looks_like():
    vocabulary = Vocabulary.of(["u1", "u2"], noun="user")
    with pytest.raises(UnknownId) as caught:
        vocabulary.rows(["u1", "v", "w", "x", "y", "v"])
    assert str(caught.value) == (
        "users 'v', 'w', 'x' and 1 more are not among the 2 users known. An id here looks like 'u1'."
    )
    assert caught.value.ids == ("v", "w", "x", "y")


def test_a_null_or_empty_id_is_refused():
    with pytest.raises(DataError, match="2 of 3 user ids are null or empty"):
        Vocabulary.of(["a", None, ""], noun="user")


@pytest.mark.parametrize("ids", [[True], [1.5], ["a", 1.5], [[1]]])
def test_what_cannot_be_an_id_is_refused(ids: list[object]):
    with pytest.raises(ColumnProblem):
        Vocabulary.of(ids, noun="user")


@given(st.lists(st.integers(-50, 2_050), max_size=100), st.booleans())
def test_few_of_very_many_are_looked_up_as_all_are(asked: list[int], as_text: bool):
    known = [f"{number:05}" if as_text else number for number in range(0, 2_000, 2)]
    wanted = [f"{number:05}" if as_text else number for number in asked]
    expected = [number // 2 if 0 <= number < 2_000 and number % 2 == 0 else None for number in asked]
    assert Vocabulary.of(known, noun="user").find(wanted).to_list() == expected
    assert Vocabulary.of(known, noun="user").find([None, *wanted]).to_list() == [None, *expected]
    backwards = Vocabulary.of(known[::-1], noun="user", keep_order=True)
    assert backwards.find(wanted).to_list() == [None if row is None else 999 - row for row in expected]
