from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tastemaker.data.reading.catalogues import adopt, read_catalogue
from tastemaker.data.reading.product_table import read_product_table
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import CatalogueMismatch, ColumnProblem, DataError


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_without_header_is_read_from_its_first_line(tmp_path: Path):
    path = written(tmp_path / "users.csv", "pmfkU4BNZhmtLgJQwJ7x\nUDRRwOlzlWVbu7H8YCCi\n")
    assert read_catalogue(path, noun="user").ids.to_list() == ["pmfkU4BNZhmtLgJQwJ7x", "UDRRwOlzlWVbu7H8YCCi"]
    numbers = read_catalogue(written(tmp_path / "p.csv", "8650774\n9306139\n"), noun="product")
    assert (numbers.ids.to_list(), numbers.noun) == ([8650774, 9306139], "product")


@pytest.mark.parametrize("header", ["product_id", "StockCode", "number"])
def test_a_header_is_no_id(tmp_path: Path, header: str):
    path = written(tmp_path / "p.csv", f"{header}\n3\n1\n")
    assert read_catalogue(path, noun="product").ids.to_list() == [3, 1]


def test_other_columns_are_passed_over(tmp_path: Path):
    path = written(tmp_path / "p.csv", "name,sku,price\nPen,0012,1.5\nInk,0007,2\n")
    assert read_catalogue(path, noun="product").ids.to_list() == ["0012", "0007"]
    assert read_catalogue(path, noun="product", column="name").ids.to_list() == ["Pen", "Ink"]
    headerless = written(tmp_path / "q.csv", "0012,Pen 2\n0007,Ink 1\n")
    assert read_catalogue(headerless, noun="product").ids.to_list() == ["0012", "0007"]


def test_parquet_json_lines_frames_series_and_lists_are_catalogues(tmp_path: Path):
    frame = pl.DataFrame({"user_id": ["b", "a"], "age": [1, 2]})
    frame.write_parquet(tmp_path / "u.parquet")
    frame.write_ndjson(tmp_path / "u.jsonl")
    sources = [tmp_path / "u.parquet", str(tmp_path / "u.jsonl"), frame, frame["user_id"], ["b", "a"]]
    assert all(read_catalogue(source, noun="user").ids.to_list() == ["b", "a"] for source in sources)
    vocabulary = Vocabulary.of(["b"], noun="user")
    assert read_catalogue(vocabulary, noun="user") is vocabulary


def test_an_id_that_comes_again_is_the_same_one():
    assert read_catalogue(["b", "a", "b"], noun="user").ids.to_list() == ["b", "a"]


def test_blank_lines_are_no_ids(tmp_path: Path):
    assert read_catalogue(written(tmp_path / "u.csv", "u1\n\nu2\n\n"), noun="user").ids.to_list() == [
        "u1",
        "u2",
    ]


def test_a_catalogue_without_ids_or_with_a_null_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"u\.csv names no user"):
        read_catalogue(written(tmp_path / "u.csv", "user_id\n"), noun="user")
    with pytest.raises(DataError, match="1 of 2 user ids are null or empty"):
        read_catalogue(pl.DataFrame({"user_id": ["a", None]}), noun="user")


def test_a_catalogue_without_a_usual_column_lists_its_columns(tmp_path: Path):
    with pytest.raises(ColumnProblem, match="'kunde', 'age'"):
        read_catalogue(pl.DataFrame({"kunde": ["a"], "age": [1]}), noun="user")


@pytest.mark.parametrize(
    ("catalogue", "log", "expected"),
    [
        (pl.Series(["7", "9"]), pl.Series([9], dtype=pl.Int32), pl.Series([7, 9], dtype=pl.Int32)),
        (pl.Series([7, 9]), pl.Series([9], dtype=pl.Int32), pl.Series([7, 9], dtype=pl.Int32)),
        (pl.Series([7, 9]), pl.Series(["9"]), pl.Series(["7", "9"])),
        (pl.Series(["7", "85123A"]), pl.Series([7]), pl.Series(["7", "85123A"])),
        (pl.Series([7, 2**40]), pl.Series([7], dtype=pl.Int32), pl.Series([7, 2**40])),
    ],
)
def test_a_catalogue_takes_the_type_of_the_log_where_all_its_ids_fit(
    catalogue: pl.Series, log: pl.Series, expected: pl.Series
):
    adopted = adopt(Vocabulary.of(catalogue, noun="product", keep_order=True), log, "plain")
    assert adopted.ids.dtype == expected.dtype
    assert adopted.ids.to_list() == expected.to_list()


def test_zero_padded_ids_of_a_catalogue_are_not_the_numbers_of_a_log():
    padded = Vocabulary.of(["007", "008"], noun="product")
    with pytest.raises(CatalogueMismatch, match="1 of the 1 products"):
        adopt(padded, pl.Series([7]), "plain")


def test_a_log_as_a_catalogue_keeps_the_columns_that_describe_products():
    log = pl.DataFrame(
        {
            "StockCode": ["a", "b", "a", "c", "b", "a", "c", "b"],
            "Description": ["HAT", "SOCK", "HAT", "KILT", "SOCK", "hat, damaged", "KILT", "SOCK"],
            "InvoiceNo": range(8),
            "Country": ["UK", "UK", "FR", "UK", "UK", "UK", "UK", "UK"],
        }
    )
    products = Vocabulary.of(["a", "b", "c"], noun="product")
    table = read_product_table(log, products)
    assert (table.frame.columns, table.of_purchases) == (["Description"], ("InvoiceNo", "Country"))
    assert table.column("Description").to_list() == ["HAT", "SOCK", "KILT"]
    with pytest.raises(ColumnProblem, match=r"no column 'Country'. Its columns are: 'Description'"):
        table.column("Country")
    few = read_product_table(log.head(4), products)  # one product stands twice: a catalogue with a mistake
    assert (few.frame.columns, few.of_purchases) == (log.columns[1:], ())
