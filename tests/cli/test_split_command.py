"""`tastemaker split`: a log parted in time, as files that are read as it was."""

from __future__ import annotations

import json

import polars as pl
import pytest

LOG = (
    "order,user_id,product_id,date,note\n"
    '1,007,a,2024-01-01,"x, ""y"""\n'
    "2,007,b,2024-02-01,\n"
    "3,8,a,2024-03-01,late\n"
    "4,,a,2024-03-02,nobody\n"
    "5,9,c,2024-03-03,new\n"
    "6,9,c,,no time\n"
)


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    return tmp_path


def test_a_log_is_parted_at_a_date_into_files_of_the_same_rows(tastemaker, log):
    ran = tastemaker("split", "log.csv", "--at", "2024-03-01", "--into", "parts", "--json", cwd=log)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["train"] == {"file": "parts/train.csv", "rows": 2, "users": 1, "products": 2}
    assert found["later"] == {
        "file": "parts/later.csv",
        "rows": 3,
        "users": 2,
        "products": 2,
        "new_users": 2,
        "new_products": 1,
    }
    assert found["without_time"] == 1
    lines = LOG.splitlines(keepends=True)
    both = [pl.read_csv(log / "parts" / name, infer_schema=False) for name in ("train.csv", "later.csv")]
    whole = pl.read_csv("".join([lines[0], *lines[1:6]]).encode(), infer_schema=False)
    assert pl.concat(both).equals(whole)


@pytest.mark.parametrize(("last", "rows"), [("50%", 3), ("2d", 2), ("48h", 2), ("8w", 4)])
def test_the_later_part_may_be_a_share_of_the_time_or_a_time(tastemaker, log, last, rows):
    ran = tastemaker("split", "log.csv", "--last", last, "--into", "parts", "--json", cwd=log)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["later"]["rows"] == rows


def test_typed_files_are_parted_into_typed_files(tastemaker, log):
    frame = pl.read_csv(LOG.encode(), try_parse_dates=True).drop_nulls("date")
    (log / "typed").mkdir()
    frame.head(2).write_parquet(log / "typed" / "a.parquet")
    frame.tail(-2).write_parquet(log / "typed" / "b.parquet")
    assert tastemaker("split", "typed", "--at", "2024-03-01", "--into", "parts", cwd=log).returncode == 0
    both = [pl.read_parquet(log / "parts" / f"{name}.parquet") for name in ("train", "later")]
    assert pl.concat(both).equals(frame)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--at", "soon"], "must be a date"),
        (["--at", "2030-01-01"], "the later part would be empty"),
        (["--at", "1999-01-01"], "train would be empty"),
        (["--last", "much"], "must be a share"),
        (["--at", "2024-03-01", "--time-column", ""], "has no times"),
    ],
)
def test_what_cannot_be_parted_is_refused_and_nothing_is_written(tastemaker, log, arguments, says):
    ran = tastemaker("split", "log.csv", "--into", "parts", *arguments, cwd=log)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert says in ran.stderr
    assert not (log / "parts").exists()


def test_no_file_is_written_over(tastemaker, log):
    (log / "parts").mkdir()
    (log / "parts" / "later.csv").write_text("mine")
    ran = tastemaker("split", "log.csv", "--at", "2024-03-01", "--into", "parts", cwd=log)
    assert "exists already" in ran.stderr
    assert [path.name for path in (log / "parts").iterdir()] == ["later.csv"]
