from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tastemaker as tm
from tastemaker.data.identifiers import as_form, integers_if_all, normalise_ids
from tastemaker.errors import ColumnProblem


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_bytes_are_the_same_ids_as_their_text(ids: list[str]):
    came = pl.Series([name.encode() for name in ids], dtype=pl.Binary)
    assert normalise_ids(came, noun="user")[0].to_list() == ids


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_canonical_integers_become_integers(ids: list[int]):
    assert integers_if_all(pl.Series([str(number) for number in ids])).to_list() == ids


@pytest.mark.parametrize("odd", ["007", "+7", "7.0", " 7", "-0", "7e2", "", "x", "9223372036854775808", "٧"])
def test_one_id_that_is_no_canonical_integer_keeps_all_text(odd: str):
    assert integers_if_all(pl.Series(["1", odd])).to_list() == ["1", odd]


def test_uuid_objects_become_canonical_text():
    uuid = UUID("0123ABCD-4567-89AB-CDEF-0123456789AB")
    assert normalise_ids([uuid], noun="user")[0].to_list() == ["0123abcd-4567-89ab-cdef-0123456789ab"]


def test_sixteen_bytes_go_there_and_back():
    came = pl.Series([bytes(range(240, 256))])
    ids, form = normalise_ids(came, noun="user")
    assert ids.to_list() == ["f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff"]
    assert as_form(ids, form).to_list() == came.to_list()


def test_bytes_that_are_neither_text_nor_uuids_are_refused():
    with pytest.raises(ColumnProblem, match="neither UTF-8 text nor all 16 long"):
        normalise_ids(pl.Series([b"\xff\xfe"]), noun="user")


def test_categories_whole_floats_and_decimals_are_ids():
    assert normalise_ids(pl.Series(["b", "a"], dtype=pl.Categorical), noun="user")[0].to_list() == ["b", "a"]
    assert normalise_ids(pl.Series([17850.0, None]), noun="user")[0].to_list() == [17850, None]
    assert normalise_ids(pl.Series([Decimal(12)], dtype=pl.Decimal(10, 0)), noun="user")[0].to_list() == [12]


def test_text_beside_bytes_is_text():
    assert normalise_ids(["a", b"b", None], noun="user")[0].to_list() == ["a", "b", None]


@pytest.mark.parametrize("beginning", ["", "u", "SKU-", "Ä "])
@pytest.mark.parametrize("digits", [None, 5])
def test_ids_with_numbers_are_the_texts_that_they_are_wherever_one_is_written_otherwise(
    tmp_path, beginning, digits
):
    rng = np.random.default_rng(0)
    numbers = [
        str(number) if digits is None else f"{number:0{digits}}" for number in rng.integers(0, 400, 3_000)
    ]
    texts = [beginning + number for number in numbers]
    words = f"7 007 +7 -7 -07 u7 u07 u+7 SKU7 SKU--7 x 7x 00007 +0007 u00007 ٣ {'9' * 25}"
    odd = words.split()
    odd += [beginning + text for text in odd]
    for place, text in enumerate(odd):
        texts[2_100 + 20 * place] = text  # beyond the sample
    texts[2_990] = ""
    frame = pl.DataFrame({"user_id": ["a"] * 3_000, "product_id": texts})
    frame.write_csv(tmp_path / "log.csv")
    for log in (frame, tmp_path / "log.csv"):
        read = tm.read_purchases(log)
        expected = [text for text in texts if text]
        assert read.products.ids.gather(pl.Series(read.product_rows)).to_list() == [
            text.strip() for text in expected
        ]
        assert read.summary.dropped == 1


def test_integers_far_apart_or_missing_are_the_integers_that_they_are():
    for values in ([5, None, 2**62, -3, 5], [7, 7, None, 9], [-2, -5, -2], [2**63 - 1, -(2**63)], [None, 3]):
        log = pl.DataFrame({"user_id": ["a"] * len(values), "product_id": pl.Series(values, dtype=pl.Int64)})
        read = tm.read_purchases(log)
        assert read.products.ids.gather(pl.Series(read.product_rows)).to_list() == [
            value for value in values if value is not None
        ]
