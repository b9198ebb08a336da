"""Times of a log, however they are written: one decision for the whole column, said with its evidence."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tastemaker as tm
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.remedies import for_caller, speaking_of_flags
from tastemaker.errors import ColumnProblem, SettingProblem, TimesUndecided

DAY = 86_400_000_000
NOON = 1_293_883_200_000_000  # 2011-01-01 12:00 UTC: 14,975 days and a half after 1970
MIDNIGHT = 14_975 * DAY


def read(values: object, reading: tm.Reading | None = None, **named: str) -> Purchases:
    """Read a log whose times are these; every row is another user's."""
    times = values if isinstance(values, pl.Series) else pl.Series(values, strict=False)
    name = named.pop("name", "time")
    log = pl.DataFrame({"user": range(len(times)), "item": 0, name: times})
    return tm.read_purchases(log, columns=tm.Columns(**named), reading=reading or tm.Reading())


def moments(values: object, reading: tm.Reading | None = None, **named: str) -> list[int]:
    log = read(values, reading, **named)
    assert log.times is not None
    return log.times.tolist()


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2011-01-01", MIDNIGHT),
        ("2011-1-1", MIDNIGHT),
        ("2011-01-01T12:00:00", NOON),
        ("2011-01-01 12:00:00.000001", NOON + 1),
        ("2011-01-01 12:00:00,5", NOON + 500_000),
        ("2011-01-01T12:00:00Z", NOON),
        ("2011-01-01T14:00:00+02:00", NOON),
        ("2011-01-01 14:00:00+0200", NOON),
        ("2011-01-01 14:00 +02", NOON),
        ("2011-01-01 12:00:00 UTC", NOON),
        ("2011-01-01 07:00 EST", NOON),
        ("2011-01-01 13:00:00 CET", NOON),
        ("2011-01-01 13:00:00 Europe/Berlin", NOON),
        ("2011-01-01T12:00", NOON),
        ("2011/01/01 12:00:00", NOON),
        ("2011.01.01", MIDNIGHT),
        ("2011.01.01 12:00", NOON),
        (" 2011-01-01 ", MIDNIGHT),
        ("1-Jan-11", MIDNIGHT),
        ("01-Jan-2011 12:00", NOON),
        ("1 January 2011", MIDNIGHT),
        ("01/Jan/2011:14:00:00 +0200", NOON),
        ("Jan 1, 2011", MIDNIGHT),
        ("Sat, 01 Jan 2011 12:00:00 +0000", NOON),
        ("Sat Jan 01 2011 13:00:00 GMT+0100 (Central European Time)", NOON),
        ("20110101 12:00", NOON),
        ("20110101T120000", NOON),
        ("2011-01", MIDNIGHT),
        ("2011-01-01 12:00 PM", NOON),
        ("2011-01-01 12 pm", NOON),
        ("2011-01-01 12:00:00 p.m.", NOON),
        ("13/1/2011 8:26", MIDNIGHT + 12 * DAY + (8 * 60 + 26) * 60_000_000),
        ("1/13/11 8:26 pm", MIDNIGHT + 12 * DAY + (20 * 60 + 26) * 60_000_000),
        ("13.01.2011, 12:00", NOON + 12 * DAY),
        ("13-01-11", MIDNIGHT + 12 * DAY),
        ("1293883200", NOON),
        ("1293883200.5", NOON + 500_000),
        ("1293883200000", NOON),
        ("20110101", MIDNIGHT),
        ("20110101120000", NOON),
        ("40544", MIDNIGHT),
        ("40544.5", NOON),
        ("201101", MIDNIGHT),
    ],
)
def test_text_is_read_as_the_moment_it_spells(text: str, expected: int):
    assert moments([text]) == [expected]


@given(
    st.lists(st.datetimes(datetime(1991, 1, 1), datetime(2025, 1, 1)), min_size=1, max_size=6),
    st.sampled_from(["%Y-%m-%d", "%d-%b-%y", "%d %B %Y", "%Y.%m.%d", "%Y%m%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%b %d, %Y"]),
)  # fmt: skip
def test_what_was_written_unambiguously_is_what_is_read(times: list[datetime], form: str):
    expected = [datetime.strptime(each.strftime(form), form).replace(tzinfo=UTC) for each in times]
    assert moments([each.strftime(form) for each in times]) == [
        (each - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for each in expected
    ]


@given(
    st.lists(st.dates(date(1991, 1, 1), date(2025, 1, 1)), min_size=1, max_size=30),
    st.sampled_from(["%d/%m/%y", "%m/%d/%y", "%d.%m.%Y", "%m-%d-%Y"]),
)
def test_two_orders_are_told_by_the_rows_or_asked_for_and_never_guessed(days: list[date], form: str):
    texts = [each.strftime(form) for each in days]
    other = form.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
    expected = [(each - date(1970, 1, 1)).days * DAY for each in days]
    if any(each.day > 12 for each in days) or texts == [each.strftime(other) for each in days]:
        with suppress(TimesUndecided) if form.endswith("%y") else nullcontext():  # the year may stand first
            assert moments(texts) == expected
    else:
        with pytest.raises(ColumnProblem, match=r"day or the month comes first|year comes first or last"):
            read(texts)
        assert moments(texts, tm.Reading(day_first=form.startswith("%d"))) == expected


@given(st.dates(date(2000, 1, 1), date(2026, 1, 1)), st.lists(st.integers(0, 60), min_size=1, max_size=30))
def test_years_of_two_digits_that_stand_first_are_told_by_the_rows_asked_for_or_doubted(first, later):
    days = [first + timedelta(days=many) for many in later]
    texts = [each.strftime("%y.%m.%d") for each in days]
    expected = [(each - date(1970, 1, 1)).days * DAY for each in days]
    with suppress(TimesUndecided):
        log = read(texts)
        doubted = any("year was taken to come last" in warning for warning in log.read.warnings)
        assert doubted or moments(texts) == expected
    assert moments(texts, tm.Reading(time_format="%y.%m.%d")) == expected


@pytest.mark.parametrize(
    ("texts", "first", "written"),
    [
        (
            ["23.01.31 10:00", "23.02.28 11:00"],
            "2023-01-31",
            "YY.MM.DD HH:MM, the year first, as 2 of 2 rows bear out",
        ),
        (
            ["23-01-05", "23-01-06", "22-12-31"],
            "2022-12-31",
            "YY-MM-DD, the year first, as 1 of 3 rows bear out",
        ),
        (["14/01/24", "15/01/24"], "2024-01-14", "DD/MM/YY, the day first, as 2 of 2 rows bear out"),
        (["01/14/24", "01/15/24"], "2024-01-14", "MM/DD/YY, the month first, as 2 of 2 rows bear out"),
    ],
)
def test_the_year_of_two_digits_stands_where_dates_are_of_our_time_and_close_together(texts, first, written):
    told = read(texts).read.time
    assert told is not None
    assert (told.as_dict()["first"][:10], told.written_as) == (first, written)


def test_dates_that_fit_with_the_year_first_and_last_are_asked_for():
    texts = ["23/01/05", "23/01/06", "23/02/07", "23/03/09"]
    with pytest.raises(TimesUndecided, match=r"one may be 2023-01-05 or 2005-01-23.*time_format"):
        read(texts)
    years = [
        datetime.fromtimestamp(each / 1e6, UTC).year
        for each in moments(texts, tm.Reading(time_format="%y/%m/%d"))
    ]
    assert years == [2023] * 4
    with pytest.raises(
        ColumnProblem, match="mixes two orders: 2 dates can only have the year first and 2 only the year last"
    ):
        read(["23.01.31", "23.01.30", "31.01.19", "30.01.19"])
    (doubt,) = read(["14/01/24"]).read.warnings
    assert "taken to come last" in doubt


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["2023-01-01", "1672740000"] * 4, "4 rows as YYYY-MM-DD, 4 as numbers such as 1672740000; bring them to one"),
        (["1672740000", "1672740001", "03/04/2023"] * 2, "4 rows as numbers such as 1672740000, 2 as DD/MM/YYYY such as"),
    ],
)  # fmt: skip
def test_dates_beside_numbers_are_refused_with_examples_and_a_stray_one_is_counted(texts, said):
    with pytest.raises(ColumnProblem, match="written in several ways") as caught:
        read(texts)
    assert said in str(caught.value)
    log = read([*["1672740000"] * 200, "2023-01-01"])
    assert (len(log), log.read.without_time) == (200, 1)


def test_two_digit_years_are_of_our_time():
    log = read(["31/12/99", "05/01/24"])
    assert log.read.time is not None
    assert log.read.as_dict()["time"] == {
        "first": "1999-12-31T00:00:00+00:00",
        "last": "2024-01-05T00:00:00+00:00",
        "written_as": "DD/MM/YY, the day first, as 1 of 2 rows bear out",
        "unit": "calendar",
    }
    assert [datetime.fromtimestamp(each / 1e6, UTC).year for each in moments(["99-12-31", "24-01-05"])] == [1999, 2024]  # fmt: skip


def test_a_question_names_flags_on_the_command_line_and_arguments_in_python():
    with pytest.raises(ColumnProblem) as caught:
        read(["01/02/2024", "03/04/2024"])
    assert "day_first=True or day_first=False" in str(caught.value)
    with speaking_of_flags(), pytest.raises(ColumnProblem, match="--day-first or --month-first"):
        read(["01/02/2024", "03/04/2024"])
    assert for_caller("use --time-column 3, or --no-such-flag") == "use time_column='3', or --no-such-flag"  # fmt: skip


def test_one_witness_against_many_is_a_warning_and_many_are_none():
    vague = ["01/02/2024", "03/04/2024"] * 10
    (warning,) = [warning for warning in read([*vague, "14/02/2024"]).read.warnings if "first" in warning]
    assert "because of 1 of 21 dates, the other 20 fit both orders" in warning
    assert not [
        warning for warning in read([*vague, *["14/02/2024"] * 3]).read.warnings if "first" in warning
    ]
    settled = read([*vague, "14/02/2024"], tm.Reading(day_first=True)).read
    assert not [warning for warning in settled.warnings if "first" in warning]


def test_witnesses_that_contradict_each_other_are_refused():
    with pytest.raises(
        ColumnProblem, match="mixes two orders: 1 dates can only have the day first and 1 only"
    ):
        read(["14/02/2024", "02/14/2024", "01/02/2024"])
    rare = read([*["14/02/2024"] * 40, "02/14/2024"])
    assert rare.read.without_time == 1
    assert any(
        "1 dates of column 'time' fit only with the month first" in warning for warning in rare.read.warnings
    )


def test_several_spellings_may_stand_in_one_column_however_late():
    rare = ["2011-01-01"] * 5_000 + ["2011-01-01T12:00:00Z"]  # the last one lies beyond the sample
    log = read(rare)
    assert log.times is not None
    assert log.times[-2:].tolist() == [MIDNIGHT, NOON]
    assert log.read.time is not None
    assert log.read.time.written_as == "YYYY-MM-DD or YYYY-MM-DDTHH:MMZ".replace("HH:MMZ", "HH:MM:SSZ")


def test_fractions_that_come_late_are_read():
    assert moments(["1293883200"] * 5_000 + ["1293883200.5"])[-2:] == [NOON, NOON + 500_000]


@pytest.mark.parametrize("text", ["yesterday", "2011-13-01", "2011-02-30"])
def test_what_is_no_time_is_counted_and_shown(text: str):
    log = read(["2011-01-01", "2011-01-02", text])
    assert (log.read.without_time, len(log)) == (1, 2)
    assert any(f"1 value of column 'time' is no time ({text!r})" in warning for warning in log.read.warnings)


@pytest.mark.parametrize("filler", ["1900-01-01", "9999-12-31", "0000-00-00", "0", "NULL", "1970-01-01"])
def test_fillers_are_no_time_and_are_no_stain_on_a_named_column(filler: str):
    log = read(["2011-01-01", "2011-01-02", filler], time="time")
    assert (log.read.without_time, len(log)) == (1, 2)
    assert any("1 value of column 'time' stands for no time" in warning for warning in log.read.warnings)


@pytest.mark.parametrize("filler", [0, -1, 253_402_214_400])
def test_numbers_that_stand_for_no_time_are_counted(filler: int):
    log = read([1_293_883_200, 1_293_883_201, filler])
    assert (log.read.without_time, len(log)) == (1, 2)
    assert any("1 value of column 'time' stands for no time" in warning for warning in log.read.warnings)


@pytest.mark.parametrize(
    ("number", "unit"),
    [
        (1_293_883_200, "seconds"),
        (1_293_883_200_000, "milliseconds"),
        (1_293_883_200_000_000, "microseconds"),
        (1_293_883_200_000_000_000, "nanoseconds"),
        (1_293_883_200.0, "seconds"),
    ],
)
def test_the_unit_of_numbers_since_1970_is_told_by_their_size(number: float, unit: str):
    log = read([number, number + 1])
    assert log.times is not None
    assert log.times[0] == NOON
    assert log.read.time is not None
    assert (log.read.time.unit, log.time_unit) == (unit, "calendar")


def test_a_mixture_of_units_is_refused_with_examples():
    with pytest.raises(ColumnProblem) as caught:
        read([1_704_067_200, 1_706_745_600_000])
    assert "1 row as 1704067200 (seconds since 1970)" in str(caught.value)
    assert "1 row as 1706745600000 (milliseconds since 1970)" in str(caught.value)
    with pytest.raises(ColumnProblem, match="2 rows as 17 "):
        read([17, 18, 1_293_883_200, 1_293_883_201])
    stray = read([1_293_883_200] * 200 + [86_400])
    assert any(
        "1 of 201 times in column 'time' lies outside 1990" in warning for warning in stray.read.warnings
    )


@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("day", [1, 2, 90], "days"),
        ("date", [0, 5], "days"),
        ("time", [0, 50, 97], "steps"),
        ("step", [3, 2], "steps"),
    ],
)
def test_small_numbers_are_days_or_steps_without_a_calendar(name: str, values: list[int], unit: str):
    log = read(values, name=name)
    assert log.time_unit == unit
    assert log.times is not None
    assert log.times.tolist() == [each * (DAY if unit == "days" else 1_000_000) for each in values]
    assert log.read.as_dict()["time"]["first"] == str(min(values))
    assert log.take(np.array([0])).time_unit == unit


def test_a_day_of_the_month_beside_its_month_orders_nothing():
    log = pl.DataFrame(
        {"user": [1, 2], "item": [1, 2], "year": [2024, 2024], "month": [1, 2], "day": [31, 1]}
    )
    assert tm.read_purchases(log).times is None


def test_day_numbers_are_split_as_the_same_dates_are(tmp_path: Path):
    days = [1, 3, 3, 10, 30, 45, 60, 61, 64, 70]
    iso = [f"{date(2024, 1, 1) + timedelta(each - 1)}" for each in days]
    excel = [45291 + each for each in days]
    parts = []
    for values in (days, iso, excel):
        lines = "".join(f"{place},{place % 3},{each}\n" for place, each in enumerate(values))
        log = tm.read_purchases(written(tmp_path / "t.csv", f"user,item,date\n{lines}"))
        parts.append(tm.hold_out_time(log).held_out.user_rows.tolist())
    assert parts[0] == parts[1] == parts[2]


def test_excels_serials_are_dates_and_ends_of_its_calendar_are_none():
    log = read([45292, 45293.25, 1, 2_958_465])
    assert log.times is not None
    assert [str(datetime.fromtimestamp(each / 1e6, UTC)) for each in log.times.tolist()] == [
        "2024-01-01 00:00:00+00:00",
        "2024-01-02 06:00:00+00:00",
    ]


def test_the_unit_may_be_said():
    assert moments([17, 18], tm.Reading(time_unit="seconds")) == [17_000_000, 18_000_000]
    assert moments(["17", "18"], tm.Reading(time_unit="days")) == [17 * DAY, 18 * DAY]
    assert moments([40544], tm.Reading(time_unit="excel")) == [MIDNIGHT]
    with pytest.raises(SettingProblem, match="must be one of seconds"):
        tm.Reading(time_unit="weeks")  # type: ignore[arg-type]


def test_the_format_settles_everything():
    assert moments(["01|02|11", "05|06|11"], tm.Reading(time_format="%m|%d|%y"))[0] == MIDNIGHT + DAY
    assert moments([20110101, 20110102], tm.Reading(time_format="%Y%d%m"))[1] == MIDNIGHT + 31 * DAY
    with pytest.raises(SettingProblem, match="settles everything"):
        tm.Reading(time_format="%Y", day_first=True)
    with pytest.raises(SettingProblem, match="must spell a time"):
        tm.Reading(time_format="iso")


@given(st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2026, 1, 1)), min_size=1, max_size=5))
def test_datetimes_without_a_zone_are_utc(times: list[datetime]):
    expected = [(each - datetime(1970, 1, 1)) // timedelta(microseconds=1) for each in times]
    assert moments(pl.Series(times, dtype=pl.Datetime("us"))) == expected
    assert moments([each.isoformat(sep=" ") for each in times]) == expected


def test_zones_dates_and_units_of_typed_columns_are_brought_to_utc():
    zone = timezone(timedelta(hours=2))
    aware = pl.Series([datetime(2011, 1, 1, 14, tzinfo=zone).astimezone(UTC)])
    assert moments(aware.dt.convert_time_zone("Europe/Athens")) == [NOON]
    assert moments([date(2011, 1, 1)]) == [MIDNIGHT]
    for unit in ("ms", "ns"):
        assert moments(pl.Series([datetime(2011, 1, 1, 12)], dtype=pl.Datetime(unit))) == [NOON]


def test_times_outside_our_time_and_far_from_all_others_are_counted_and_shown():
    days = [f"2024-01-{day:02}" for day in range(1, 29)]
    outside = read([*days, "2201-01-01"]).read.warnings
    assert any(
        "1 of 29 times in column 'time' lies outside 1990" in warning and "2201-01-01" in warning
        for warning in outside
    )
    far = read([*days, "1999-01-01"]).read.warnings
    assert any(
        "1 of 29 times in column 'time' lies far from all others (1999-01-01)" in warning for warning in far
    )
    assert not [warning for warning in read(days).read.warnings if "lie" in warning]


def test_a_type_that_is_no_time_is_refused():
    with pytest.raises(ColumnProblem, match=r"'time' of the Polars DataFrame is of type Boolean"):
        read([True])


def test_who_needs_no_times_is_not_asked_for_their_order():
    log = pl.DataFrame({"user": ["a"], "item": ["x"], "date": ["01/02/2024"]})
    model = tm.read_purchases(log, columns=tm.Columns(time=""))
    held = tm.read_held_out(log, model.users, model.products, needs_times=False).purchases
    assert held.times is None
    assert any("no times are read, for nothing tells" in warning for warning in held.read.warnings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sat Jan  1 12:00:00 2011", NOON),
        ("Sat Jan 01 12:00:00 UTC 2011", NOON),
        ("Sat Jan 01 07:00:00 EST 2011", NOON),
        ("Sat Jan 01 14:00:00 +0200 2011", NOON),
        ("Jan-01-2011", MIDNIGHT),
        ("2011-01-01 12.00.00", NOON),
        ("2011-01-01 14:00 GMT+2", NOON),
        ("01-JAN-11 12.00.00.500000 PM", NOON + 500_000),
        ("20110101T120000.5Z", NOON + 500_000),
        ("2011-01-01 14:00 UTC+02:00", NOON),
    ],
)
def test_times_of_other_programs_are_read(text: str, expected: int):
    assert moments([text, text]) == [expected] * 2
    assert moments(["13. 1. 2011", "1. 1. 2011"]) == [MIDNIGHT + 12 * DAY, MIDNIGHT]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("%y%m%d", "yymmdd"),
        ("%d%m%Y", "ddmmyyyy"),
        ("%m%d%Y", "mmddyyyy"),
        ("%d%m%y", "ddmmyy"),
        ("%m%d%y", "mmddyy"),
    ],
)
def test_dates_in_digits_are_no_steps_in_whatever_order(form: str, name: str):
    days = [date(2023, 1, 5) + timedelta(days=3 * place) for place in range(100)]
    log = read([day.strftime(form) for day in days])
    assert log.times is not None
    assert log.times.tolist() == [(day - date(1970, 1, 1)).days * DAY for day in days]
    assert log.read.time is not None
    assert log.read.time.written_as.startswith(f"{name}, as ")


def test_digits_that_two_orders_fit_are_a_question_and_small_numbers_steps():
    with pytest.raises(
        TimesUndecided, match=r"are ddmmyyyy or mmddyyyy: 2 of 2 rows fit both .* time_unit='steps'"
    ):
        read(["05012023", "07022023"])
    assert moments(["05012023", "07022023"], tm.Reading(time_format="%d%m%Y"))[0] == 19_362 * DAY
    for numbers in (range(100_000, 100_300), [239_901, 239_902]):
        log = read(list(numbers))
        assert log.read.time is not None
        assert log.read.time.unit == "steps"


def test_years_of_two_digits_in_front_beside_years_of_four_behind_are_refused():
    with pytest.raises(ColumnProblem, match="mixes two orders"):
        read(["23-01-28", "23-02-28", "28-01-2023", "27-02-2023"] * 10)


def test_a_column_with_many_unreadable_times_is_refused_with_examples_and_a_few_are_counted():
    good, bad = ["2023-01-05 13:00"] * 6, ["13:00 PM 2023"] * 2
    with pytest.raises(
        ColumnProblem, match=r"in 2 of 8 rows .* holds a value that is no time \('13:00 PM 2023'\)"
    ):
        read(good + bad)
    assert read(good + bad[:1]).read.without_time == 1
    with pytest.raises(ColumnProblem, match=r"\('2023-01-05 13:00'\) in the format %d.%m.%Y"):
        read(good, tm.Reading(time_format="%d.%m.%Y"))
    with pytest.raises(SettingProblem, match="is no format of times"):
        read(good, tm.Reading(time_format="%Q"))


def test_times_that_most_rows_lack_are_not_read_unless_they_are_named():
    late = [None, None, None, "2023-01-05"]
    log = read(late)
    assert (len(log), log.times) == (4, None)
    assert "column 'time' was found by its name, but 1 of 4 rows has one" in " ".join(log.read.warnings)
    assert len(read(late, time="time")) == 1


@pytest.mark.parametrize(
    "filler", ["0001-01-01T00:00:00", "1753-01-01 00:00:00", "0001-01-01", "-0001-11-30", "#N/A"]
)
def test_the_first_dates_of_databases_stand_for_no_time(filler: str):
    log = read(["2023-01-05", filler, "2023-01-06"], time="time")
    assert log.read.without_time == 1
    assert "stands for no time" in " ".join(log.read.warnings)
