"""Kinds of files: whatever a log lies in is read the same, or refused in a sentence."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import json
import lzma
import os
import zipfile
from pathlib import Path

import polars as pl
import pytest

from tastemaker.data.reading.files import limits
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import read_purchases
from tastemaker.data.reading.sources import Source, open_source
from tastemaker.errors import ColumnProblem, SettingProblem, TastemakerError, UnreadableFile

ROWS = [("u1", "10", "1.5"), ("u2", "11", "2"), ("ü3", "10", "")]
CSV = "user_id,product_id,price\nu1,10,1.5\nu2,11,2\nü3,10,\n"
NAMES = ["user_id", "product_id", "price"]
needs_excel = pytest.mark.skipif(
    importlib.util.find_spec("fastexcel") is None, reason="needs the extra excel"
)


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(source: object, wanted: list[str] = NAMES, reading: Reading = Reading()) -> list[tuple[str, ...]]:  # noqa: B008
    """Return the rows as text, whatever their types; whole floats as integers, null as nothing."""
    opened = source if isinstance(source, Source) else open_source(source, reading=reading, asks=True)
    return [tuple(map(spelled, row)) for row in opened.select(wanted).collect().rows()]


def spelled(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell)


def refusal(source: object, **reading: object) -> str:
    def read() -> None:
        opened = open_source(source, reading=Reading(**reading), asks=True)
        opened.select(opened.names).collect()

    with pytest.raises(TastemakerError) as raised:
        read()
    return str(raised.value)


# What packs and encodes text


def zstandard(content: bytes) -> bytes:
    zstd = pytest.importorskip("backports.zstd")
    packed: bytes = zstd.compress(content)
    return packed


def zipped(content: bytes, name: str = "log.csv") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._log.csv", b"\0\1")
        archive.writestr(name, content)
    return out.getvalue()


PACKINGS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard, "zip": zipped}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", ["log.csv", "log"])
def test_a_packed_file_is_read_as_the_file_in_it(tmp_path: Path, packing: str, name: str):
    path = written(tmp_path / f"{name}.{packing}", PACKINGS[packing](CSV.encode()))
    assert rows(path) == ROWS


def test_packed_parquet_and_packed_json_are_read(tmp_path: Path):
    frame = pl.DataFrame(ROWS, schema=NAMES, orient="row")
    frame.write_parquet(tmp_path / "plain.parquet")
    packed = written(tmp_path / "log.parquet.gz", gzip.compress((tmp_path / "plain.parquet").read_bytes()))
    assert rows(packed) == ROWS
    lines = "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ROWS)
    assert rows(written(tmp_path / "log.jsonl.gz", gzip.compress(lines.encode()))) == ROWS


def test_a_zip_of_several_files_is_a_log_of_several_parts(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("b.csv", "user_id,product_id,price\nu2,11,2\nü3,10,\n")
        archive.writestr("a.csv", "price,product_id,user_id\n1.5,10,u1\n")
    opened = open_source(tmp_path / "log.zip")
    assert rows(opened) == ROWS
    assert opened.files == ("log.zip/a.csv", "log.zip/b.csv")


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst", "zip"])
def test_what_is_packed_and_cut_says_so(tmp_path: Path, packing: str):
    whole = PACKINGS[packing](CSV.encode() * 1000)
    text = refusal(written(tmp_path / f"log.csv.{packing}", whole[: len(whole) // 2]))
    assert "log.csv" in text
    assert "damaged or cut" in text


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "::"])
def test_every_separator_line_end_and_encoding_gives_the_same_rows(
    tmp_path: Path, separator: str, encoding: str, ends: str
):
    text = CSV.replace(",", separator).replace("\n", ends)
    with (tmp_path / "log.csv").open("w", encoding=encoding, newline="") as file:
        file.write(text)
    assert rows(tmp_path / "log.csv") == ROWS


def test_a_line_that_tells_the_separator_is_no_row(tmp_path: Path):
    assert rows(written(tmp_path / "log.csv", "sep=;\n" + CSV.replace(",", ";"))) == ROWS
    assert rows(written(tmp_path / "log.csv", "\ufeffsep=;\r\n" + CSV.replace(",", ";"))) == ROWS


def test_comments_are_passed_over_and_counted_wherever_they_stand(tmp_path: Path):
    first = open_source(written(tmp_path / "a.csv", "# made by the till\n#\n" + CSV))
    assert rows(first) == ROWS
    assert first.notes == ("2 lines of a.csv that begin with # were passed over.",)
    head, body = CSV.split("\n", 1)
    late = open_source(written(tmp_path / "b.csv", f"{head}\n# to be, or not, to be, that\n{body}# end\n"))
    assert rows(late) == ROWS
    assert late.notes == ("2 lines of b.csv that begin with # were passed over.",)
    both = open_source(written(tmp_path / "c.csv", f"# top\n{head}\n# a, b, c\n{body}"))
    assert rows(both) == ROWS


def test_ids_that_begin_with_a_hash_are_ids(tmp_path: Path):
    assert rows(written(tmp_path / "a.csv", "user_id,product_id\n#1,#2\nb,#3\n"), NAMES[:2]) == [
        ("#1", "#2"),
        ("b", "#3"),
    ]


def test_a_row_that_may_be_a_comment_among_comments_is_refused(tmp_path: Path):
    assert rows(written(tmp_path / "a.csv", "#u1,p1\n#u2,p2\nu3,p3\n"), ["1", "2"], Reading(header=False))[
        0
    ] == ("#u1", "p1")
    text = "# made by the till\nuser_id,product_id\n#7,10\nb,11\n"
    assert "'#7,10'; take the comments out" in refusal(written(tmp_path / "b.csv", text))


def test_a_header_behind_a_hash_is_a_header(tmp_path: Path):
    assert rows(written(tmp_path / "a.csv", "# user_id,product_id,price\n" + CSV.split("\n", 1)[1])) == ROWS


# Quotes


def test_quotes_enclose_fields_and_stand_in_them(tmp_path: Path):
    text = 'user_id,product_id,price\n"a,1",12" vinyl,"1\n2"\nb,7" x,"say ""hi"""\n'
    assert rows(written(tmp_path / "a.csv", text)) == [
        ("a,1", '12" vinyl', "1\n2"),
        ("b", '7" x', 'say "hi"'),
    ]


def test_a_space_before_a_quoted_field_is_no_part_of_it(tmp_path: Path):
    text = 'user_id, product_id, price\nu1, "10", "1.5"\nu2, "11", "2"\n"ü3", "10", ""\n'
    assert [tuple(cell.strip() for cell in row) for row in rows(written(tmp_path / "a.csv", text))] == ROWS


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('a,1\nb,"2\nc,3\n', "the row of line 3 that never closes"),
        ('a,"1"x\nb,2\n', "the row of line 2 that stands alone"),
        ('a,1\n"b,2\nc",3,4\n', "line 3 has 3 fields where the first has 2"),
        ("a,1\nb\n", "line 3 has 1 fields where the first has 2"),
    ],
)
def test_a_broken_row_is_refused_with_its_line(tmp_path: Path, body: str, says: str):
    assert says in refusal(written(tmp_path / "a.csv", "user_id,product_id\n" + body))
    many = "user_id,product_id\n" + "x,9\n" * 2_000_000 + body
    shifted = int("".join(filter(str.isdigit, says.split("line ")[1].split()[0]))) + 2_000_000
    assert f"line {shifted:,}" in refusal(written(tmp_path / "b.csv", many))


# Headers


def test_a_repeated_header_is_dropped_and_counted(tmp_path: Path):
    opened = open_source(written(tmp_path / "a.csv", CSV + "\ufeff" + CSV + CSV))
    assert rows(opened) == ROWS * 3
    assert opened.dropped == {"repeating the header": 2}
    unusual = open_source(written(tmp_path / "b.csv", "u,i\n1,2\nu,i\n3,4\n"))
    assert (rows(unusual, ["u", "i"]), unusual.dropped) == (
        [("1", "2"), ("3", "4")],
        {"repeating the header": 1},
    )


def test_another_header_in_the_middle_is_refused_with_its_line(tmp_path: Path):
    text = CSV + "product_id,user_id,price\n10,u1,1\n"
    assert "another header in line 5" in refusal(written(tmp_path / "a.csv", text))


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n3,4\n5,6\n", "user1,item1\n1,2\n3,4\n", "kunde,ware\nu1,p1\nu22,p2\n"]
)
def test_a_header_of_unknown_names_is_found_by_what_stands_below(tmp_path: Path, text: str):
    assert open_source(written(tmp_path / "a.csv", text), asks=True).has_header


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01,ann\n2024-01-02,bob\n",
        "u1,p1\nu2,p2\n",
        "guest,10\n1,11\n2,10\n",
        "1,2\n3,4\n",
        "ann,ink\nbob,ink\nann,tea\n",
    ],
)
def test_a_first_line_like_the_others_is_a_row_and_that_is_said(tmp_path: Path, text: str):
    opened = open_source(written(tmp_path / "a.csv", text), asks=True)
    assert not opened.has_header
    assert "has no header: its first line" in opened.notes[0]


def test_without_evidence_the_header_is_asked_for_and_a_flag_settles_it(tmp_path: Path):
    path = written(tmp_path / "a.csv", "u,i\nalice,soap\nbob,tea\n")
    assert "--header or --no-header" in refusal(path)
    assert rows(path, ["u", "i"], Reading(header=True)) == [("alice", "soap"), ("bob", "tea")]
    assert rows(path, ["1", "2"], Reading(header=False))[0] == ("u", "i")


# JSON

RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "values", "table"])
@pytest.mark.parametrize("indent", [None, 2])
def test_every_orient_of_pandas_is_read(tmp_path: Path, orient: str, indent: int | None):
    pd = pytest.importorskip("pandas")
    pd.DataFrame(RECORDS).to_json(tmp_path / "log.json", orient=orient, indent=indent)
    assert rows(tmp_path / "log.json", ["1", "2", "3"] if orient == "values" else NAMES) == ROWS


def lines(records: list[dict[str, object]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("other", "what"), [({"x": 1}, "an object"), ([1, 2], "a list")])
def test_a_column_of_json_lines_that_holds_objects_beside_plain_values_is_named(
    tmp_path: Path, late: bool, other: object, what: str
):
    lines = [{"user_id": 1, "product_id": "a"}] * (10_001 if late else 1)
    lines.append({"user_id": other, "product_id": "b"})
    file = tmp_path / "log.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UnreadableFile) as caught:
        read_purchases(file)
    assert str(caught.value) == (
        f"log.jsonl holds a plain value in column 'user_id' in line 1 and {what} in line {len(lines):,}; "
        "write values of one kind."
    )


def test_half_a_letter_and_a_key_given_twice_are_refused_with_their_line(tmp_path: Path):
    good = '{"user_id":"\\ud83d\\ude00","product_id":"\\\\ud800"}\n'  # a letter of two halves, and no letter but a backslash
    assert len(rows(written(tmp_path / "good.jsonl", good * 2), NAMES[:2])) == 2
    half = refusal(
        written(tmp_path / "half.jsonl", good * 3 + '{"user_id":"\\uD800","product_id":"p"}\n' + good)
    )
    assert half.startswith("half.jsonl is broken: line 4 holds \\uD800, half of a letter")
    twice = refusal(
        written(tmp_path / "twice.jsonl", good * 3 + '{"user_id":1,"user_id":2,"product_id":"p"}\n')
    )
    assert twice.startswith("twice.jsonl is broken: line 4 has 'user_id' twice in one object")
    spaced = refusal(
        written(tmp_path / "spaced.jsonl", '{"user_id" : 1, "user_id" : 2, "product_id" : "p"}\n')
    )
    assert spaced.startswith("spaced.jsonl is broken: line 1 has 'user_id' twice")
    assert "half of a letter" in refusal(
        written(tmp_path / "half.json", '[{"user_id":"\\ud800","product_id":"p"}]')
    )
    double = '[{"user_id":1,"user_id":2,"product_id":"p"}]'
    assert refusal(written(tmp_path / "twice.json", double)).startswith(
        "twice.json has 'user_id' twice in one object"
    )


def test_keys_of_objects_within_objects_are_no_keys_given_twice(tmp_path: Path):
    nested = '{"id":1,"user_id":5,"at":{"id":2},"all":[{"id":3},{"id":4}],"product_id":"p"}\n'
    assert len(rows(written(tmp_path / "nested.jsonl", nested * 3), NAMES[:2])) == 3


@pytest.mark.parametrize(
    ("ids", "what"),
    [
        ([{"id": 1}, {"id": 2}], "user ids are objects (such as {'id': 1})"),
        ([[1], [2]], "user ids are lists (such as [1])"),
    ],
)
def test_objects_and_lists_are_no_ids_in_any_file(tmp_path: Path, ids, what: str):
    records = [{"user_id": user, "product_id": "p"} for user in ids]
    files = [
        written(tmp_path / "a.jsonl", "".join(json.dumps(record) + "\n" for record in records)),
        written(tmp_path / "a.json", json.dumps(records)),
        tmp_path / "a.parquet",
    ]
    pl.DataFrame(records).write_parquet(files[2])
    for file in files:
        with pytest.raises(ColumnProblem) as caught:
            read_purchases(file)
        assert str(caught.value).startswith(
            f"{what}; ids must be text, integers, bytes or UUIDs: write the id alone"
        )
    mixed = written(
        tmp_path / "mixed.json", '[{"user_id":{"id":1},"product_id":"p"},{"user_id":3,"product_id":"p"}]'
    )
    with pytest.raises(ColumnProblem, match="user ids are objects"):
        read_purchases(mixed)


def test_types_and_columns_of_json_lines_may_come_late(tmp_path: Path):
    early: list[dict[str, object]] = [{"user_id": n, "product_id": n % 7} for n in range(12_000)]
    late: list[dict[str, object]] = [{"user_id": "guest", "product_id": 3, "price": 1.5}]
    opened = open_source(written(tmp_path / "a.jsonl", lines(early + late)))
    found = rows(opened)
    assert (found[0], found[-1], len(found)) == (("0", "0", ""), ("guest", "3", "1.5"), 12_001)
    assert opened.select(["product_id"]).collect_schema()["product_id"] == pl.Int64
    spaced = lines(early + late).replace('":', '" :')
    assert rows(written(tmp_path / "b.jsonl", spaced))[-1] == ("guest", "3", "1.5")


def test_json_of_other_programs_is_read_or_its_fault_is_named(tmp_path: Path):
    lines = '{"user":1,"item":"ä"}\n{"user":2,"item":"b"}\n'
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-16")
    assert len(read_purchases(tmp_path / "a.jsonl")) == 2
    odd = written(tmp_path / "b.jsonl", '{"user":1,"item":1}\n' * 9 + '{"user":true,"item":2}\n')
    assert read_purchases(odd).users.ids.to_list() == ["1", "true"]
    nan = written(tmp_path / "c.jsonl", '{"user":1,"item":2,"quantity":NaN}\n')
    assert "line 1 is not one whole JSON object, for JSON has no NaN" in refusal(nan)
    twice = written(tmp_path / "d.json", '{"columns":["user","item","item"],"data":[[1,2,3]]}')
    with pytest.raises(ColumnProblem, match="2 columns called 'item'"):
        read_purchases(twice)
    assert "holds JSON, whatever its name says" in refusal(written(tmp_path / "e.csv", lines))


def test_keys_within_nested_objects_and_texts_are_no_columns(tmp_path: Path):
    record = {"user_id": 1, "product_id": 2, "meta": {"user": 5, "tags": ['"x":']}, "note": 'a "y": b'}
    opened = open_source(written(tmp_path / "a.jsonl", lines([record] * 3)))
    assert opened.names == ("user_id", "product_id", "meta", "note")


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ('{"user_id":2,"product_i', "is not one whole JSON object"),
        ('{"user_id":1,"product_id":2}{"user_id":3,"product_id":4}', "is not one whole JSON object"),
        ("[1,2]", "no JSON object"),
        ('{"user_id":NaN,"product_id":2}', "is not one whole JSON object"),
        ('{"user_id":' + "[" * 2000 + "]" * 2000 + "}", "nested too deeply"),
    ],
)
def test_a_broken_line_of_json_is_named(tmp_path: Path, broken: str, what: str):
    good = '{"user_id":1,"product_id":2}\n'
    for count in (1, 11_000):
        text = refusal(written(tmp_path / "a.jsonl", "\ufeff" + good * count + broken + "\n" + good))
        assert f"line {count + 1:,}" in text
        assert what in text


def test_a_document_that_is_cut_or_of_another_form_is_refused(tmp_path: Path):
    assert "no whole JSON document" in refusal(written(tmp_path / "a.json", '[{"user_id":1},\n{"user'))
    assert "within another object (under 'orders')" in refusal(
        written(tmp_path / "b.json", '{"orders":[{"user_id":1}],\n"n":1}')
    )
    assert "nested too deeply" in refusal(written(tmp_path / "c.json", "[" * 100_000))
    assert "is ragged: row 2 has 1 values" in refusal(written(tmp_path / "d.json", "[[1,2],[3]]"))


# Files with types


def test_arrow_files_and_streams_are_read(tmp_path: Path):
    frame = pl.DataFrame(ROWS, schema=NAMES, orient="row")
    frame.write_ipc(tmp_path / "a.feather")
    frame.write_ipc_stream(tmp_path / "b.arrow")
    frame.write_ipc(tmp_path / "c.arrow", compression="zstd")
    assert [rows(tmp_path / name) for name in ("a.feather", "b.arrow", "c.arrow")] == [ROWS] * 3


@needs_excel
def test_a_workbook_is_read_and_its_other_sheets_are_said(tmp_path: Path):
    book = pytest.importorskip("xlsxwriter").Workbook(tmp_path / "log.xlsx")
    sheet = book.add_worksheet("sales")
    for place, row in enumerate([NAMES, ["u1", 10, 1.5], ["u2", 11, 2], ["ü3", 10, None]]):
        sheet.write_row(place, 0, row)
    book.add_worksheet("notes").write(0, 0, "hello")
    book.close()
    opened = open_source(tmp_path / "log.xlsx")
    assert rows(opened) == ROWS
    assert opened.notes == ("log.xlsx has 2 sheets; only 'sales' was read.",)
    above = pytest.importorskip("xlsxwriter").Workbook(tmp_path / "above.xlsx")
    above.add_worksheet("notes").write(0, 0, "for the shop's own use")
    table = above.add_worksheet("sales")
    table.write(1, 0, "Sales of 2023")
    for number, row in enumerate([["user_id", "product_id", "price"], *ROWS[:2]], start=3):
        table.write_row(number, 0, row)
    above.close()
    opened = open_source(tmp_path / "above.xlsx")
    assert [row[:2] for row in rows(opened)] == [row[:2] for row in ROWS[:2]]
    assert opened.notes == (
        "above.xlsx has 2 sheets; only 'sales' was read.",
        "1 line above the table of above.xlsx was passed over.",
    )
    damaged = (tmp_path / "log.xlsx").read_bytes()[:-200]
    assert "log.xlsx" in refusal(written(tmp_path / "b.xlsx", damaged)).replace("b.xlsx", "log.xlsx")


# Several files


def test_parts_of_a_folder_meet_by_name_and_marks_are_no_parts(tmp_path: Path):
    folder = tmp_path / "log"
    written(folder / "_SUCCESS", "")
    written(folder / ".part-00000.csv.crc", b"\0\1")
    written(folder / "part-00000.csv", "user_id,product_id,price\nu1,10,1.5\n")
    written(folder / "part-00001.csv", "price,user_id,product_id\n2,u2,11\n,ü3,10\n")
    opened = open_source(folder)
    assert (rows(opened), opened.label) == (ROWS, "log")
    assert rows(tmp_path / "log" / "part-*.csv") == ROWS
    assert rows([folder / "part-00000.csv", folder / "part-00001.csv"]) == ROWS


def test_folders_named_key_and_value_become_columns(tmp_path: Path):
    for country, user in (("DE", "u1"), ("F%20R", "u2"), ("__HIVE_DEFAULT_PARTITION__", "u3")):
        (tmp_path / "log" / f"country={country}").mkdir(parents=True)
        pl.DataFrame({"user_id": [user]}).write_parquet(tmp_path / "log" / f"country={country}" / "a.parquet")
    assert sorted(rows(tmp_path / "log", ["user_id", "country"])) == [("u1", "DE"), ("u2", "F R"), ("u3", "")]


def test_numbers_that_folders_are_called_by_are_integers_and_empty_parts_are_said(tmp_path: Path):
    for user in (7, 8):
        (tmp_path / "log" / f"user_id={user}").mkdir(parents=True)
        pl.DataFrame({"item": [1]}).write_parquet(tmp_path / "log" / f"user_id={user}" / "a.parquet")
    (tmp_path / "log" / "user_id=7" / "b.parquet").write_bytes(b"")
    log = read_purchases(tmp_path / "log")
    assert log.users.ids.to_list() == [7, 8]
    assert "1 part of the log, such as log/user_id=7/b.parquet, holds nothing" in log.read.warnings[0]


def test_large_integers_beside_fractions_are_refused_before_two_become_one(tmp_path: Path):
    for name, ids in (("a", [2**60, 2**60 + 1]), ("b", [1.0, 2.0])):
        pl.DataFrame({"user_id": ids, "item": [1, 2]}).write_parquet(tmp_path / f"{name}.parquet")
    parts = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(ColumnProblem, match=r"Int64 in a\.parquet and Float64 in b\.parquet"):
        read_purchases(parts)


def test_parts_of_different_types_meet_or_are_refused_by_name(tmp_path: Path):
    pl.DataFrame({"user_id": [1], "n": [1]}, schema={"user_id": pl.Int32, "n": pl.Int8}).write_parquet(
        tmp_path / "a.parquet"
    )
    pl.DataFrame({"user_id": [2**40], "n": [1.5]}).write_parquet(tmp_path / "b.parquet")
    written(tmp_path / "c.csv", "user_id,n\n007,x\n")
    a, b, c = (tmp_path / name for name in ("a.parquet", "b.parquet", "c.csv"))
    assert rows([a, b], ["user_id", "n"]) == [("1", "1"), (str(2**40), "1.5")]
    assert rows([a, b, c], ["user_id", "n"])[2] == ("007", "x")
    pl.DataFrame({"user_id": [[1]], "n": [1]}).write_parquet(tmp_path / "d.parquet")
    assert "a.parquet and List(Int64) in d.parquet" in refusal([a, tmp_path / "d.parquet"])


def test_a_part_without_a_wanted_column_is_named(tmp_path: Path):
    a, b = written(tmp_path / "a.csv", CSV), written(tmp_path / "b.csv", "user_id,product_id\nu9,1\n")
    assert "b.csv has no column 'price'" in refusal([a, b])
    assert len(rows([a, b], NAMES[:2])) == 4


def test_parts_with_and_without_a_header_are_refused(tmp_path: Path):
    a, b = written(tmp_path / "a.csv", CSV), written(tmp_path / "b.csv", "u1,10,1\nu2,11,2\n")
    assert "b.csv has no header and a.csv has one" in refusal([a, b])


# Conditions and joins


def test_rows_that_do_not_meet_a_condition_are_counted_once(tmp_path: Path):
    path = written(
        tmp_path / "a.csv", "user_id,status,price\na,paid,1\nb,open,2\nc, paid ,0\nd,,5\ne,paid,\n"
    )
    opened = open_source(path, reading=Reading(where=("status = paid", "price >= 1")))
    assert rows(opened, ["user_id"]) == [("a",)]
    assert opened.dropped == {"not meeting 'status = paid'": 2, "not meeting 'price >= 1'": 2}
    for text, users in {
        "status != open": "ac e", "status not in open, paid": "", "price > 1": "b d", "price = 1..2": "ab", "price in 5,2": "bd",
        "price < 2": "ac", "user_id = e": "e", "2 = paid": "ace",
    }.items():  # fmt: skip
        found = rows(open_source(path, reading=Reading(where=(text,))), ["user_id"])
        assert "".join(user for (user,) in found) == users.replace(" ", ""), text


def test_conditions_that_cannot_hold_are_refused(tmp_path: Path):
    path = written(tmp_path / "a.csv", 'user_id,price\na,1\nb,"3,50"\n')
    assert "1 row of a.csv holds none" in refusal(path, where=("price > 1",))
    assert "no column 'status'" in refusal(path, where=("status = paid",))
    assert "cannot be read" in refusal(path, where=("price",))
    assert "needs a number" in refusal(path, where=("price > cheap",))


def test_two_files_are_joined_by_a_column_that_is_unique_in_the_second(tmp_path: Path):
    log = written(tmp_path / "lines.csv", "order_id,product_id\n1,10\n1,11\n2,10\n9,12\n")
    orders = written(tmp_path / "orders.csv", "order_id,user_id,status\n1,u1,paid\n2,u2,open\n")
    reading = Reading(join=(str(orders),), on="order_id")
    assert rows(log, ["user_id", "product_id"], reading) == [
        ("u1", "10"),
        ("u1", "11"),
        ("u2", "10"),
        ("", "12"),
    ]
    paid = Reading(join=(str(orders),), on="order_id", where=("status = paid",))
    assert rows(log, ["user_id", "product_id"], paid) == [("u1", "10"), ("u1", "11")]
    doubled = written(tmp_path / "doubled.csv", "order_id,user_id\n1,u1\n1,u2\n2,u3\n")
    assert "'1' more than once" in refusal(log, join=(str(doubled),), on="order_id")
    with pytest.raises(SettingProblem, match="both have 'order_id'"):
        open_source(log, reading=Reading(join=(str(orders),)))


@pytest.mark.parametrize("on", ["order_id", "order=id"])
def test_a_join_meets_keys_as_ids_are_tidied_by_either_name(tmp_path: Path, on: str):
    own, _, other = on.partition("=")
    log = written(tmp_path / "lines.csv", f"{own},product_id\n1,10\n2,11\nNULL,12\n")
    orders = written(tmp_path / "orders.csv", f"{other or own},user_id\n1.0,u1\n 2.0,u2\nNULL,u3\n")
    joined = rows(log, ["user_id", "product_id"], Reading(join=(str(orders),), on=on))
    assert joined == [("u1", "10"), ("u2", "11"), ("", "12")]


def test_a_join_in_which_nothing_meets_is_refused_with_a_value_of_each_side(tmp_path: Path):
    log = written(tmp_path / "lines.csv", "order_id,product_id\nA-1,10\n")
    orders = written(tmp_path / "orders.csv", "order_id,user_id\n1,u1\n")
    assert refusal(log, join=(str(orders),), on="order_id") == (
        "no value of 'order_id' in lines.csv stands in 'order_id' of orders.csv: the first is 'A-1' there and '1' here; "
        "name another column with --on."
    )
    assert "write --on 'order=id'" in refusal(log, join=(str(orders),), on="order")


# Hostile files


def test_a_line_without_end_is_refused_before_it_is_held(tmp_path: Path):
    path = written(tmp_path / "long.csv", CSV.encode() + b"x" * (limits.LONGEST_LINE + 10))
    assert "a line of more than 16 MiB" in refusal(path)
    path = written(
        tmp_path / "long.jsonl", b'{"user_id":1}\n{"user_id":"' + b"x" * (limits.LONGEST_LINE + 10) + b'"}'
    )
    assert "a line of more than 16 MiB" in refusal(path)


def test_a_bomb_is_refused_while_it_is_unpacked(tmp_path: Path):
    bomb = gzip.compress(b"\0" * (limits.LONGEST_LINE + limits.CHUNK) + CSV.encode() * 1000)
    assert "a line of more than 16 MiB" in refusal(written(tmp_path / "log.csv.gz", bomb))


def test_too_many_columns_are_refused(tmp_path: Path):
    assert "1,000,000 columns; at most 10,000" in refusal(
        written(tmp_path / "a.csv", ",".join(["a"] * 1_000_000) + "\n")
    )
    wide = "{" + ",".join(f'"c{place}":1' for place in range(20_000)) + "}"
    good = '{"user":1,"item":2}\n'
    late = written(tmp_path / "a.jsonl", good * 11_000 + wide + "\n")
    assert "20,000 columns in line 11,001; at most 10,000" in refusal(late)
    for text in (f"[{wide}]", f'[{{"user":1,"item":2,"x":{wide}}}]'):
        assert "20,000 columns; at most 10,000" in refusal(written(tmp_path / "a.json", text))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_large_integers_beside_a_fraction_in_json_stay_two_ids(tmp_path: Path, name: str):
    rows = [f'{{"user":{user},"item":1}}' for user in (2**60, 2**60 + 1, "3.0")]
    text = "\n".join(rows) if name.endswith("l") else f"[{','.join(rows)}]"
    found = read_purchases(written(tmp_path / name, text)).users.ids.to_list()
    assert sorted(map(int, found)) == [3, 2**60, 2**60 + 1]


def test_nul_bytes_are_refused_with_their_line(tmp_path: Path):
    assert "NUL byte in line 3" in refusal(written(tmp_path / "a.csv", "user_id,product_id\na,1\nb\0,2\n"))


def test_pipes_and_devices_are_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe" in refusal(tmp_path / "pipe")
    assert "is a device" in refusal("/dev/zero")
    assert "is a pipe" in refusal(tmp_path)


@pytest.mark.parametrize("name", [b"caf\xe9.csv", b"ev\x1b[31mil.csv", b"two\nlines.csv"])
def test_odd_names_are_read_and_shown_in_escapes(tmp_path: Path, name: bytes):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    opened = open_source(written(path, CSV))
    assert rows(opened) == ROWS
    assert opened.label.isprintable()
    assert opened.label.isascii()
    assert refusal(written(path, "user_id,product_id\na\n")).isprintable()


def test_an_id_that_is_a_page_of_text_is_refused(tmp_path: Path):
    path = written(tmp_path / "a.csv", f"user_id,product_id\na,1\n{'b' * 5000},2\n")
    with pytest.raises(ColumnProblem, match="up to 5,000 bytes long; at most 4,096"):
        read_purchases(path)


def test_an_empty_cell_changes_no_other_quantity(tmp_path: Path):
    body = "user_id,product_id,quantity\na,1,432.625\nb,2,17.125\n"
    for content in (body, body + "c,3,\n"):
        assert read_purchases(written(tmp_path / "a.csv", content)).quantities.tolist() == [432.625, 17.125]
