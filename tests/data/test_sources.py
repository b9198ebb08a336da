from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from tastemaker.data.reading.readers import read_purchases
from tastemaker.data.reading.sources import open_source
from tastemaker.errors import UnreadableFile


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read_purchases(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def filled(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet(path: Path) -> Path:
    pl.DataFrame({"user": ["a", "b"] * 5_000, "item": range(10_000)}).write_parquet(path)
    return path


def test_a_missing_file_is_named(tmp_path: Path):
    assert refusal(tmp_path / "none.csv").endswith("none.csv does not exist.")


def test_a_folder_without_a_file_is_no_log(tmp_path: Path):
    assert "is a folder without a file" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl", "a"])
def test_an_empty_file_says_so(tmp_path: Path, name: str):
    assert refusal(filled(tmp_path / name, "")).endswith(f"{name} is empty.")
    assert refusal(filled(tmp_path / name, " \n\n")).endswith(f"{name} is empty.")


def test_a_truncated_parquet_is_unreadable(tmp_path: Path):
    whole = parquet(tmp_path / "whole.parquet").read_bytes()
    for length in (4, 7, len(whole) // 2, len(whole) - 1):
        assert "cannot read cut.parquet" in refusal(filled(tmp_path / "cut.parquet", whole[:length]))


def test_a_parquet_with_a_damaged_page_is_unreadable(tmp_path: Path):
    raw = bytearray(parquet(tmp_path / "a.parquet").read_bytes())
    raw[4:400] = b"\xff" * 396
    assert "cannot read a.parquet" in refusal(filled(tmp_path / "a.parquet", bytes(raw)))


@pytest.mark.parametrize(
    ("body", "line", "fields"),
    [
        ("a,x,1\nb,y\nc,z,1\n", 3, 2),
        ("a,x,1\nb,y,1,1\n", 3, 4),
        ('a,"x,1",1\n"b,y",1\n', 3, 2),
        ('a,"x\ny",1\nb,y\n', 4, 2),
        ("a,x,1\n" * 1_000 + "b\n", 1_002, 1),
    ],
)
def test_a_ragged_line_is_named(tmp_path: Path, body: str, line: int, fields: int):
    text = refusal(filled(tmp_path / "a.csv", "user,item,price\n" + body))
    assert f"line {line:,} has {fields} fields where the first has 3" in text


def test_blank_lines_are_not_ragged_but_rows_without_a_user(tmp_path: Path):
    path = filled(tmp_path / "a.csv", "user,item\na,x\n\nb,y\n\n")
    purchases = read_purchases(path)
    assert (len(purchases), purchases.summary.without_user) == (2, 2)


def test_a_lone_quote_inside_a_field_is_a_letter(tmp_path: Path):
    path = filled(tmp_path / "a.csv", 'user,item\na,pipe 5"\nb,x\x01y\n')
    assert read_purchases(path).products.ids.to_list() == ['pipe 5"', "x\x01y"]


def test_a_quote_that_never_closes_is_unreadable(tmp_path: Path):
    path = filled(tmp_path / "a.csv", 'user,item\n"a,x\nb,pipe 5"\n"c",y\n')
    assert "a.csv" in refusal(path)


def test_a_damaged_or_cut_gzip_is_unreadable(tmp_path: Path):
    packed = gzip.compress(b"user,item\n" + b"a,x\n" * 10_000)
    assert refusal(filled(tmp_path / "cut.csv.gz", packed[: len(packed) // 2]))
    assert refusal(filled(tmp_path / "bad.csv.gz", packed[:10] + b"\xff" * 40))


def test_western_text_that_is_not_utf8_is_read_and_said(tmp_path: Path):
    for name, rows in (("a.csv", b""), ("b.csv", b"a,x\n" * 50_000)):
        opened = open_source(filled(tmp_path / name, b"user,item\n" + rows + "José,€x\n".encode("cp1252")))
        assert opened.select(["user", "item"]).collect().row(-1) == ("José", "€x")
        (note,) = opened.notes
        assert f"is not UTF-8 (line {2 + len(rows) // 4:,}) and was read as Windows-1252" in note


def test_utf16_is_read_and_said(tmp_path: Path):
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        opened = open_source(filled(tmp_path / "a.csv", "user,item\nJosé,x\n".encode(encoding)))
        assert opened.select(["user", "item"]).collect().rows() == [("José", "x")]
        assert opened.notes == ("a.csv was read as UTF-16.",)


def test_text_in_an_alphabet_that_cannot_be_told_is_refused(tmp_path: Path):
    russian = "user,item\nпокупатель,товар\n".encode("cp1251")
    assert "is not UTF-8 text (line 2)" in refusal(filled(tmp_path / "a.csv", russian))
    damaged = "user,item\nJosé,Café\nZoë,ä\n".encode() + b"\xff,x\n"
    assert "is not UTF-8 text (line 4), though most of it is" in refusal(filled(tmp_path / "b.csv", damaged))


def test_json_that_is_none_is_unreadable(tmp_path: Path):
    cut = filled(tmp_path / "a.jsonl", '{"user":"a","item":1}\n{"user":"b",')
    assert "a.jsonl is broken: line 2 is not one whole JSON object" in refusal(cut)
    assert "a.json" in refusal(filled(tmp_path / "a.json", "hello\n"))


def test_a_name_that_lies_about_its_content_is_refused(tmp_path: Path):
    assert "a.csv holds Parquet data" in refusal(parquet(tmp_path / "a.csv"))
    assert "does not hold Parquet data" in refusal(filled(tmp_path / "a.parquet", "user,item\na,x\n"))


@pytest.mark.parametrize("name", ["log", "log.txt", "log.data"])
def test_an_unknown_extension_is_read_by_its_content(tmp_path: Path, name: str):
    assert len(read_purchases(parquet(tmp_path / name))) == 10_000
    assert len(read_purchases(filled(tmp_path / name, '{"user":"a","item":1}\n'))) == 1
    assert len(read_purchases(filled(tmp_path / name, "user,item\na,x\n"))) == 1
    assert "neither Parquet nor text" in refusal(filled(tmp_path / name, b"\x89PNG\0\0\0"))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path: Path, separator: str):
    path = filled(tmp_path / "a.csv", f"user{separator}item\na{separator}x\n")
    assert open_source(path).names == ("user", "item")


def test_a_headerless_file_is_named_by_positions(tmp_path: Path):
    source = open_source(filled(tmp_path / "a.csv", "u1,10,3\nu2,11,4\n"))
    assert source.names == ("1", "2", "3")
    assert not source.has_header
    assert source.select(["3", "1"]).collect().rows() == [("3", "u1"), ("4", "u2")]


def test_an_error_inside_a_lazy_frame_is_told_in_one_sentence(tmp_path: Path):
    lazy = pl.scan_parquet(tmp_path / "gone.parquet")
    with pytest.raises(UnreadableFile, match="cannot read the Polars LazyFrame"):
        read_purchases(lazy)
