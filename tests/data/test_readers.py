from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.data.identifiers import NULL_WORDS
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import read_held_out, read_purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import CatalogueMismatch, ColumnProblem, DataError, NoPurchases

LOG = pl.DataFrame(
    {
        "user_id": ["u2", "u1", "u2", "u3"],
        "product_id": [30, 10, 10, 30],
        "time": [1_600_000_003, 1_600_000_001, 1_600_000_002, 1_600_000_000],
        "quantity": [1.0, 2.0, 3.0, 4.5],
    }
)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def pairs(purchases: Purchases) -> list[tuple[object, object]]:
    """Return the purchases as (user id, product id)."""
    users = purchases.users.at(purchases.user_rows).to_list()
    return list(zip(users, purchases.products.at(purchases.product_rows).to_list(), strict=True))


def as_parquet(log: pl.DataFrame, folder: Path) -> object:
    log.write_parquet(folder / "log.parquet")
    return folder / "log.parquet"


def as_csv(log: pl.DataFrame, folder: Path) -> object:
    log.write_csv(folder / "log.csv")
    return str(folder / "log.csv")


def as_packed_csv(log: pl.DataFrame, folder: Path) -> object:
    (folder / "log.csv.gz").write_bytes(gzip.compress(log.write_csv().encode()))
    return folder / "log.csv.gz"


def as_tsv(log: pl.DataFrame, folder: Path) -> object:
    log.write_csv(folder / "log.tsv", separator="\t")
    return folder / "log.tsv"


def as_json_lines(log: pl.DataFrame, folder: Path) -> object:
    log.write_ndjson(folder / "log.jsonl")
    return folder / "log.jsonl"


def as_json_array(log: pl.DataFrame, folder: Path) -> object:
    return written(folder / "log.json", json.dumps(log.to_dicts()))


def as_arrow_file(log: pl.DataFrame, folder: Path) -> object:
    log.write_ipc(folder / "log.arrow")
    return folder / "log.arrow"


def as_polars(log: pl.DataFrame, folder: Path) -> object:
    return log


def as_lazy(log: pl.DataFrame, folder: Path) -> object:
    return log.lazy()


def as_pandas(log: pl.DataFrame, folder: Path) -> object:
    return pd.DataFrame(log.to_dict(as_series=False))


def as_arrow(log: pl.DataFrame, folder: Path) -> object:
    return pa.table(log.to_dict(as_series=False))


SHAPES = [value for name, value in list(globals().items()) if name.startswith("as_")]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_file_and_frame_gives_the_same_purchases(shape: Callable[..., object], tmp_path: Path):
    purchases = read_purchases(shape(LOG, tmp_path))
    assert purchases.users.ids.to_list() == ["u1", "u2", "u3"]
    assert purchases.products.ids.to_list() == [10, 30]
    assert purchases.products.ids.dtype == pl.Int64
    assert purchases.user_rows.tolist() == [1, 0, 1, 2]
    assert purchases.product_rows.tolist() == [1, 0, 0, 1]
    assert purchases.times.tolist() == [
        1_600_000_000_000_000 + seconds * 1_000_000 for seconds in (3, 1, 2, 0)
    ]
    assert purchases.quantities.tolist() == [1.0, 2.0, 3.0, 4.5]
    assert (purchases.summary.rows, purchases.summary.dropped, purchases.summary.repeats) == (4, 0, 0)
    arrays = purchases.user_rows, purchases.product_rows, purchases.times, purchases.quantities
    assert [array.dtype for array in arrays] == [np.int32, np.int32, np.int64, np.float32]
    assert purchases.fingerprint() == read_purchases(LOG).fingerprint()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n\ufeff"), min_size=1).filter(
                lambda text: text == text.strip() and text not in NULL_WORDS and not text.endswith(".0")
            ),
            st.integers(-(2**31), 2**31 - 1),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_what_was_written_is_what_is_read(tmp_path: Path, rows: list[tuple[str, int]]):
    rows = [*rows, ("a", 1)]  # one user whose id is no integer keeps the column text
    log = pl.DataFrame(rows, schema={"user": pl.String, "item": pl.Int32}, orient="row")
    for shape in (as_parquet, as_csv, as_json_lines, as_pandas):
        assert pairs(read_purchases(shape(log, tmp_path))) == rows


def test_a_repeated_pair_is_a_purchase_made_again_and_is_counted():
    purchases = read_purchases(pl.DataFrame({"user": ["a", "a", "b", "a"], "item": ["x", "x", "x", "y"]}))
    assert len(purchases) == 4
    assert purchases.summary.repeats == 1
    assert purchases.summary.sentence() == (
        "4 rows read, 4 kept; 1 repeats an earlier (user, product) pair, kept."
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_each_dropped_row_is_counted_once_by_the_first_rule_it_breaks(
    shape: Callable[..., object], tmp_path: Path
):
    log = pl.DataFrame(
        {
            "user": [None, "a", "a", "a", "a", "a", "", "b"],
            "item": [None, None, "x", "x", "x", "x", "x", "y"],
            "date": ["2020-01-01", None, None, "2020-01-01", "2020-01-01", "2020-01-01", None, "2020-01-02"],
            "qty": [1, -1, 0, 0, -2, None, 1, 3],
        }
    )
    purchases = read_purchases(shape(log, tmp_path))
    summary = purchases.summary
    assert (summary.rows, summary.without_user, summary.without_product) == (8, 2, 1)
    assert (summary.without_time, summary.non_positive_quantity, summary.kept) == (1, 2, 1)
    assert summary.unreadable_quantity == 1
    assert pairs(purchases) == [("b", "y")]
    assert len(purchases.users) == 1  # a user whose every row was dropped has no row in the vocabulary


def test_leading_zeros_of_a_csv_are_kept(tmp_path: Path):
    purchases = read_purchases(
        written(tmp_path / "t.csv", "customer_id,article_id\n1,0108775015\n2,0108775044\n")
    )
    assert purchases.products.ids.to_list() == ["0108775015", "0108775044"]
    assert purchases.users.ids.to_list() == [1, 2]


def test_a_late_text_id_keeps_a_long_column_of_numbers_text(tmp_path: Path):
    body = "".join(f"1,{number}\n" for number in range(20_000))
    purchases = read_purchases(written(tmp_path / "t.csv", f"user,item\n{body}1,007\n"))
    assert purchases.products.ids.dtype == pl.String
    assert pairs(purchases)[-2:] == [(1, "19999"), (1, "007")]
    assert len(purchases.products) == 20_001


def test_text_ids_of_typed_files_stay_text_though_they_look_like_numbers(tmp_path: Path):
    for shape in (as_parquet, as_json_lines, as_polars, as_pandas):
        log = pl.DataFrame({"user": ["1", "2"], "item": ["10", "20"]})
        assert read_purchases(shape(log, tmp_path)).users.ids.to_list() == ["1", "2"]


def test_bytes_and_text_are_the_same_users(tmp_path: Path):
    of_bytes = read_purchases(pl.DataFrame({"user": [b"PIXc", b"d0RI"], "item": [1, 2]}))
    of_text = read_purchases(written(tmp_path / "log.csv", "user,item\nPIXc,1\nd0RI,2\n"))
    assert pairs(of_bytes) == pairs(of_text) == [("PIXc", 1), ("d0RI", 2)]


def test_uuids_come_in_every_form():
    uuids = [UUID(int=2**128 - 1), UUID(int=2**127 + 5)]
    texts = [str(uuid) for uuid in uuids]
    of_objects = pd.DataFrame({"user": uuids, "item": [1, 2]})
    of_bytes = pl.DataFrame({"user": [uuid.bytes for uuid in uuids], "item": [1, 2]})
    of_arrow = pa.table({"user": pa.array([uuid.bytes for uuid in uuids], pa.binary(16)), "item": [1, 2]})
    of_arrow_type = pa.table({"user": pa.array([uuid.bytes for uuid in uuids], pa.uuid()), "item": [1, 2]})
    of_text = pl.DataFrame({"user": texts, "item": [1, 2]})
    logs = [of_objects, of_bytes, of_arrow, of_arrow_type, of_text]
    assert all(pairs(read_purchases(log)) == list(zip(texts, [1, 2], strict=True)) for log in logs)
    assert read_purchases(of_bytes).users.form == "uuid bytes"


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.Int32, pl.Int64, pl.UInt64])
def test_integers_keep_their_width(dtype: type[pl.DataType], tmp_path: Path):
    log = pl.DataFrame({"user": [2, 1], "item": [5, 6]}, schema={"user": dtype, "item": dtype})
    for shape in (as_parquet, as_polars):
        purchases = read_purchases(shape(log, tmp_path))
        assert purchases.users.ids.dtype == purchases.products.ids.dtype == dtype


def test_floats_that_pandas_made_of_integers_are_integers_again():
    log = pd.DataFrame({"CustomerID": [17850.0, None, 13047.0], "StockCode": ["85123A", "71053", "71053"]})
    purchases = read_purchases(log)
    assert pairs(purchases) == [(17850, "85123A"), (13047, "71053")]
    assert purchases.summary.without_user == 1


def test_categories_are_text():
    log = pd.DataFrame({"user": pd.Categorical(["b", "a", "b"]), "item": [1, 1, 2]})
    assert pairs(read_purchases(log)) == [("b", 1), ("a", 1), ("b", 2)]


def test_fractions_and_truths_are_no_ids():
    with pytest.raises(ColumnProblem, match="fractional"):
        read_purchases(pl.DataFrame({"user": [1.5], "item": [1]}))
    with pytest.raises(ColumnProblem, match="of type Boolean"):
        read_purchases(pl.DataFrame({"user": [True], "item": [1]}))
    with pytest.raises(ColumnProblem, match="several types"):
        read_purchases(pd.DataFrame({"user": ["a", 1.5], "item": [1, 2]}))


def test_odd_columns_beside_the_chosen_ones_do_no_harm():
    log = pd.DataFrame({"user": ["a"], "item": ["x"], "basket": [object()], 7: [{"deep": [1]}]})
    assert pairs(read_purchases(log)) == [("a", "x")]


def test_a_catalogue_gives_everyone_a_row_in_its_order(tmp_path: Path):
    users = written(tmp_path / "users.csv", "u3\nu9\nu2\nu1\n")
    products = written(tmp_path / "products.csv", "30\n20\n10\n")
    purchases = read_purchases(LOG, users=users, products=products)
    assert purchases.users.ids.to_list() == ["u3", "u9", "u2", "u1"]
    assert purchases.products.ids.to_list() == [30, 20, 10]
    assert purchases.user_rows.tolist() == [2, 3, 2, 0]
    assert purchases.product_rows.tolist() == [0, 2, 2, 0]


def test_ids_missing_from_a_catalogue_are_counted_and_shown():
    with pytest.raises(CatalogueMismatch, match=r"2 of the 3 users .* catalogue of 1 users: 'u2', 'u3'; add"):
        read_purchases(LOG, users=["u1"])


def test_more_columns_are_named_by_flags_or_by_position(tmp_path: Path):
    path = written(tmp_path / "u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    purchases = read_purchases(path, columns=Columns(user="1", product="2", time="4"))
    assert pairs(purchases) == [(196, 242), (186, 302)]
    assert purchases.times.tolist() == [881250949_000_000, 891717742_000_000]


def test_two_columns_without_a_header_are_user_and_product(tmp_path: Path):
    assert pairs(read_purchases(written(tmp_path / "a.csv", "u1,10\nu2,11\n"))) == [("u1", 10), ("u2", 11)]
    assert pairs(read_purchases(written(tmp_path / "b.csv", "1;10\n2;11\n"))) == [(1, 10), (2, 11)]
    words = written(tmp_path / "c.csv", "anna,pen\nbo,ink\n")
    assert pairs(read_purchases(words, reading=Reading(header=False))) == [("anna", "pen"), ("bo", "ink")]
    with pytest.raises(ColumnProblem, match="do not tell whether its first line, 'anna', 'pen'"):
        read_purchases(words)


def test_a_third_column_without_a_header_is_the_time_if_it_reads_as_one(tmp_path: Path):
    dated = read_purchases(written(tmp_path / "a.csv", "u1,10,2011-01-01\nu2,11,2011-01-02\n"))
    assert dated.times.tolist() == [14_975 * 86_400_000_000, 14_976 * 86_400_000_000]
    with pytest.raises(ColumnProblem, match=r"no header .* 3 columns; its first line is 'u1', '10', '5'"):
        read_purchases(written(tmp_path / "b.csv", "u1,10,5\nu2,11,3\n"))


def test_a_header_of_unknown_names_is_not_a_purchase(tmp_path: Path):
    path = written(tmp_path / "a.csv", "kunde,artikel\n17,33\n18,34\n")
    with pytest.raises(ColumnProblem, match="Its columns are 'kunde', 'artikel'"):
        read_purchases(path)
    assert pairs(read_purchases(path, columns=Columns(user="kunde", product="artikel"))) == [
        (17, 33),
        (18, 34),
    ]
    assert pairs(read_purchases(path, columns=Columns(user="1", product="2"))) == [(17, 33), (18, 34)]


def test_a_header_named_by_a_flag_is_a_header_though_all_is_text(tmp_path: Path):
    path = written(tmp_path / "a.csv", "klant,ding\nanna,pen\n")
    assert pairs(read_purchases(path, columns=Columns(user="klant", product="ding"))) == [("anna", "pen")]


def test_quoted_fields_keep_separators_quotes_and_line_ends(tmp_path: Path):
    path = written(tmp_path / "a.csv", 'user,item,note\n"a,1",x,"says ""hi"""\nb,"y\nz",\n')
    assert pairs(read_purchases(path)) == [("a,1", "x"), ("b", "y\nz")]


def test_windows_line_ends_and_a_byte_order_mark_are_not_part_of_ids(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes("\ufeffuser,item\r\na,x\r\nb,ÿ\r\n".encode())
    assert pairs(read_purchases(tmp_path / "a.csv")) == [("a", "x"), ("b", "ÿ")]
    (tmp_path / "b.csv").write_bytes("\ufeffu1,10\r\nu2,11\r\n".encode())
    assert pairs(read_purchases(tmp_path / "b.csv")) == [("u1", 10), ("u2", 11)]


def test_a_file_name_with_wildcards_is_one_file(tmp_path: Path):
    assert pairs(read_purchases(as_parquet(LOG.head(1), tmp_path).rename(tmp_path / "a[1]*.parquet"))) == [
        ("u2", 30)
    ]
    assert pairs(read_purchases(written(tmp_path / "b[1]*.csv", "user,item\na,1\n"))) == [("a", 1)]


def test_mixed_types_in_json_lines_are_text(tmp_path: Path):
    path = written(tmp_path / "a.jsonl", '{"user":1,"item":"x"}\n{"user":"b","item":"y"}\n{"item":"z"}\n')
    purchases = read_purchases(path)
    assert pairs(purchases) == [("1", "x"), ("b", "y")]
    assert purchases.summary.without_user == 1


def test_found_times_that_are_mostly_missing_are_a_problem_and_a_few_are_counted():
    few = {"user": ["a", "b", "c"], "item": [1, 2, 3], "date": ["2020-01-01", "soon", "2020-01-02"]}
    assert read_purchases(pl.DataFrame(few)).summary.without_time == 1
    with pytest.raises(
        ColumnProblem, match=r"in 2 of 3 rows .* column 'date' holds no time; .* time_column=''"
    ):
        read_purchases(pl.DataFrame(few | {"date": ["2020-01-01", "soon", None]}))


def test_named_times_must_all_be_times_but_may_be_missing():
    log = {"user": ["a", "b", "c"], "item": [1, 2, 3], "when": ["2020-01-01", None, None]}
    assert read_purchases(pl.DataFrame(log), columns=Columns(time="when")).summary.without_time == 2
    with pytest.raises(ColumnProblem, match=r"in 1 of 3 rows .* 'when' holds a value that is no time"):
        read_purchases(
            pl.DataFrame(log | {"when": ["2020-01-01", "soon", None]}), columns=Columns(time="when")
        )


def test_an_empty_name_reads_no_time_and_no_quantity():
    log = pl.DataFrame({"user": ["a"], "item": [1], "date": ["soon"], "qty": [-1]})
    purchases = read_purchases(log, columns=Columns(time="", quantity=""))
    assert purchases.times is None
    assert purchases.quantities is None
    assert len(purchases) == 1


def test_when_every_row_is_dropped_the_summary_says_why():
    log = pl.DataFrame({"user": ["a", None], "item": [1, 1], "quantity": [-1, 2]})
    with pytest.raises(NoPurchases) as caught:
        read_purchases(log)
    assert str(caught.value) == (
        "no purchase is left of the Polars DataFrame: 2 rows read, 0 kept; dropped 1 without a user id, "
        "1 with a quantity that is not positive."
    )


def test_a_log_without_rows_is_no_log(tmp_path: Path):
    for source in (
        LOG.clear(),
        written(tmp_path / "a.csv", "user,item\n"),
        as_parquet(LOG.clear(), tmp_path),
    ):
        with pytest.raises(NoPurchases, match="0 rows read"):
            read_purchases(source)


def test_what_is_no_path_and_no_frame_is_refused():
    with pytest.raises(DataError, match="cannot be read from a int; give a path"):
        read_purchases(7)


def test_held_out_rows_that_the_model_cannot_know_are_counted_and_left_out():
    users = Vocabulary.of(["u1", "u2"], noun="user")
    products = Vocabulary.of(pl.Series([10, 20], dtype=pl.Int32), noun="product")
    held_out = read_held_out(LOG, users, products)
    assert pairs(held_out.known) == [("u1", 10), ("u2", 10)]
    assert held_out.known.times.tolist() == [1_600_000_001_000_000, 1_600_000_002_000_000]
    assert held_out.purchases.users is users
    assert held_out.purchases.product_rows.tolist().count(2) == 1  # beyond the catalogue of two: missed
    assert (held_out.unknown_user_rows, held_out.unknown_product_rows) == (1, 1)
    assert held_out.purchases.summary.rows == 4
    assert held_out.purchases.product_rows.tolist().count(len(products)) == 1  # a row that no list can hold


def test_held_out_numbers_of_a_csv_meet_text_ids_of_a_model(tmp_path: Path):
    users = Vocabulary.of(["17", "x1"], noun="user")
    products = Vocabulary.of(["0108", "9"], noun="product")
    path = written(tmp_path / "a.csv", "user,item\n17,9\n17,0108\n17,108\n")
    held_out = read_held_out(path, users, products)
    assert pairs(held_out.known) == [("17", "9"), ("17", "0108")]
    assert held_out.unknown_product_rows == 1


def test_a_held_out_log_of_strangers_only_is_an_error_that_shows_both_spellings():
    users, products = Vocabulary.of(["x"], noun="user"), Vocabulary.of([10], noun="product")
    with pytest.raises(NoPurchases, match=r"4 rows have an unknown user.*'u2', one of the model 'x'"):
        read_held_out(LOG, users, products)


def test_reading_twice_gives_the_same_bytes_whatever_the_size():
    rng = np.random.default_rng(5)
    log = pl.DataFrame({"user": rng.integers(0, 5_000, 200_000), "item": rng.integers(0, 300, 200_000)})
    log = log.with_columns(pl.format("u{}", "user").alias("user"))
    first, second = read_purchases(log), read_purchases(log)
    assert first.fingerprint() == second.fingerprint()
    assert pairs(first) == list(log.iter_rows())


def test_ids_whose_hashes_collide_keep_their_own_rows(monkeypatch: pytest.MonkeyPatch):
    expected = pairs(read_purchases(LOG))
    monkeypatch.setattr(pl.Series, "hash", lambda series, *_: pl.Series([0] * len(series)))
    assert pairs(read_purchases(LOG)) == expected
