from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data.reading.timestamps import moment, quantity
from tastemaker.errors import ColumnProblem

NOON = 1_293_883_200_000_000  # 2011-01-01 12:00 UTC: 14,975 days and a half after 1970
MIDNIGHT = 14_975 * 86_400 * 1_000_000


def times(values: pl.Series | list[object]) -> list[int | None]:
    frame = pl.DataFrame({"t": values})
    return frame.select(moment("t", frame.lazy(), label="log")).to_series().to_list()


def quantities(values: list[object]) -> list[float | None]:
    frame = pl.DataFrame({"q": values}, strict=False)
    return frame.select(quantity("q", frame.lazy(), label="log")).to_series().to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2011-01-01", MIDNIGHT),
        ("2011-01-01T12:00:00", NOON),
        ("2011-01-01 12:00:00.000001", NOON + 1),
        ("2011-01-01T12:00:00Z", NOON),
        ("2011-01-01T14:00:00+02:00", NOON),
        ("2011-01-01 14:00:00+0200", NOON),
        ("2011-01-01 12:00:00 UTC", NOON),
        ("2011-01-01T12:00", NOON),
        ("2011-01-01 12:00", NOON),
        ("2011/01/01", MIDNIGHT),
        ("2011/01/01 12:00:00", NOON),
        (" 2011-01-01 ", MIDNIGHT),
        ("1293883200", NOON),
        ("1293883200.5", NOON + 500_000),
        ("1293883200000", NOON),
        ("20110101", MIDNIGHT),
    ],
)
def test_text_is_read_as_the_moment_it_spells(text: str, expected: int):
    assert times([text]) == [expected]


def test_several_spellings_may_stand_in_one_column():
    rare = ["2011-01-01"] * 1_500 + ["2011-01-01T12:00:00Z"]  # the last one lies beyond the sample
    assert times(rare) == [MIDNIGHT] * 1_500 + [NOON]


@pytest.mark.parametrize("text", ["yesterday", "01/02/2011", "2011-13-01", "2011-02-30", ""])
def test_text_that_is_no_moment_or_may_be_two_is_none(text: str):
    assert times(["2011-01-01", text]) == [MIDNIGHT, None]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1_293_883_200, NOON),
        (1_293_883_200_000, NOON),
        (1_293_883_200_000_000, NOON),
        (1_293_883_200_000_000_000, NOON),
        (1_293_883_200.0, NOON),
        (20110101, MIDNIGHT),
        (17, 17_000_000),
        (0, 0),
    ],
)
def test_the_unit_of_a_number_is_guessed_by_its_size(number: float, expected: int):
    assert times([number]) == [expected]


def test_the_largest_number_decides_the_unit_of_all():
    assert times([0, 1_000, 1_293_883_200_000]) == [0, 1_000_000, NOON]


def test_numbers_that_only_look_like_days_are_seconds():
    assert times([20110101, 20111399]) == [20110101_000_000, 20111399_000_000]


@given(st.lists(st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)), min_size=1, max_size=5))
def test_datetimes_without_a_zone_are_utc_and_iso_text_says_the_same(moments: list[datetime]):
    expected = [(each - datetime(1970, 1, 1)) // timedelta(microseconds=1) for each in moments]
    assert times(pl.Series(moments, dtype=pl.Datetime("us"))) == expected
    assert times([each.isoformat(sep=" ") for each in moments]) == expected


def test_zones_are_brought_to_utc():
    zone = timezone(timedelta(hours=2))
    aware = pl.Series([datetime(2011, 1, 1, 14, tzinfo=zone).astimezone(UTC)])
    assert times(aware.dt.convert_time_zone("Europe/Athens")) == [NOON]


def test_dates_nulls_and_other_units_are_read():
    assert times([date(2011, 1, 1), None]) == [MIDNIGHT, None]
    assert times(pl.Series([datetime(2011, 1, 1, 12)], dtype=pl.Datetime("ms"))) == [NOON]
    assert times(pl.Series([datetime(2011, 1, 1, 12)], dtype=pl.Datetime("ns"))) == [NOON]
    assert times(pl.Series([None, None])) == [None, None]
    assert times([float("nan"), float("inf"), 1.5]) == [None, None, 1_500_000]


def test_a_type_that_is_no_time_is_refused():
    with pytest.raises(ColumnProblem, match=r"'t' of log is of type Boolean; .* --time-column"):
        times([True])


def test_quantities_are_numbers_or_text_of_numbers():
    assert quantities([3, -1, None]) == [3.0, -1.0, None]
    assert quantities(["2", " 1.5 ", "many", "", "inf"]) == [2.0, 1.5, None, None, None]
    assert quantities([float("nan"), 2.0]) == [None, 2.0]
    with pytest.raises(ColumnProblem, match="quantities must be numbers"):
        quantities([[1]])


@pytest.mark.parametrize("form", ["12/31/2010 {}", "31/12/2010 {}", "31.12.2010 {}"])
def test_one_day_above_twelve_tells_days_from_months(form: str):
    before = MIDNIGHT - 86_400_000_000  # 2010-12-31
    dates = [form.format(""), form.format("8:26"), form.format("8:26:01"), form.format("never")]
    minutes = (8 * 60 + 26) * 60_000_000
    assert times(dates) == [before, before + minutes, before + minutes + 1_000_000, None]
    first_of_february = "02/01/2011" if form.startswith("12") else "01/02/2011"
    assert times([*dates, first_of_february])[-1] == MIDNIGHT + 31 * 86_400_000_000


def test_days_that_may_be_months_are_not_guessed():
    assert times(["01/02/2011", "03/04/2011"]) == [None, None]
