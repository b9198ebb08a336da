"""A log in a database is read as the same log in a file, in batches, and no message holds a password."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlsplit

import numpy as np
import polars as pl
import pytest
from database_servers import PASSWORD, SPELLED

from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.fetched import fetch
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import read_purchases
from tastemaker.errors import ColumnProblem, DatabaseProblem

START = datetime(2024, 3, 1, tzinfo=UTC)
ROWS = [
    (user, f"p{product}", START + timedelta(hours=7 * n), float(1 + n % 3), "paid" if n % 5 else "open")
    for n, (user, product) in enumerate((u, p) for u in range(1, 41) for p in range(u % 7, u % 7 + 6))
]
LOG = pl.DataFrame(ROWS, schema=["user_id", "product_id", "time", "quantity", "status"], orient="row")
CREATE = (
    "CREATE TABLE orders (user_id INTEGER, product_id VARCHAR(20), time {}, quantity {}, status VARCHAR(20))"
)


def spelled(zone: str = "+00:00"):
    for user, product, time, quantity, status in ROWS:
        yield f"({user}, '{product}', '{time:%Y-%m-%d %H:%M:%S}{zone}', {quantity}, '{status}')"


def fill_postgresql(uri: str) -> None:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS orders")
        cursor.execute(CREATE.format("TIMESTAMPTZ", "NUMERIC(8, 2)"))
        cursor.execute(f"INSERT INTO orders VALUES {', '.join(spelled())}")
        cursor.execute("DROP TABLE IF EXISTS later")
        cursor.execute(
            "CREATE TABLE later AS SELECT users.user_id, products.product_id FROM (SELECT DISTINCT user_id FROM orders) users, "
            "(SELECT DISTINCT product_id FROM orders) products EXCEPT SELECT user_id, product_id FROM orders"
        )
        connection.commit()


def fill_mysql(uri: str) -> None:
    import pymysql

    parts = urlsplit(uri)
    with closing(
        pymysql.connect(host=parts.hostname, port=parts.port, user="shop", password=unquote(parts.password), database="shop")
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        cursor.execute("DROP TABLE IF EXISTS orders")
        cursor.execute(CREATE.format("DATETIME", "DECIMAL(8, 2)"))
        cursor.execute(f"INSERT INTO orders VALUES {', '.join(spelled(''))}")
        connection.commit()


@pytest.fixture(params=["postgresql", "mysql", "sqlite", "duckdb"])
def shop(request, tmp_path):
    """The same table of orders in each database."""
    if request.param == "postgresql":
        uri = request.getfixturevalue("postgresql")
        fill_postgresql(uri)
        return uri
    if request.param == "mysql":
        uri = request.getfixturevalue("mysql")
        fill_mysql(uri)
        return uri
    statements = [CREATE.format("TIMESTAMP", "REAL"), f"INSERT INTO orders VALUES {', '.join(spelled(''))}"]
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
    else:
        import duckdb

        with closing(duckdb.connect(str(tmp_path / "shop.db"))) as connection:
            for statement in statements:
                connection.execute(statement)
    return f"{request.param}:///{tmp_path / 'shop.db'}"


def same(left, right) -> bool:
    return (
        left.users.ids.to_list() == right.users.ids.to_list()
        and left.products.ids.to_list() == right.products.ids.to_list()
        and bool((left.user_rows == right.user_rows).all() and (left.times == right.times).all())
        and bool(
            (left.product_rows == right.product_rows).all() and (left.quantities == right.quantities).all()
        )
    )


def test_a_table_is_the_log_that_a_file_would_be(shop):
    assert same(read_purchases(shop, reading=Reading(table="orders")), read_purchases(LOG))
    assert same(read_purchases(f"{shop}#orders"), read_purchases(LOG))


def test_a_query_reads_what_it_says_and_other_names_of_columns(shop):
    query = "SELECT user_id AS who, product_id AS what, time AS moment, quantity FROM orders WHERE status = 'paid';"
    found = read_purchases(shop, columns=Columns("who", "what", "moment"), reading=Reading(query=query))
    paid = LOG.filter(pl.col("status") == "paid")
    assert same(found, read_purchases(paid))


def test_conditions_hold_for_a_database_too(shop):
    found = read_purchases(shop, reading=Reading(table="orders", where=("status = paid",)))
    assert len(found) == (LOG["status"] == "paid").sum()
    assert found.read.reasons() == {"not meeting 'status = paid'": int((LOG["status"] == "open").sum())}


def test_a_database_and_a_file_are_parts_of_one_log(shop, tmp_path):
    more = LOG.head(3).with_columns(user_id=pl.lit(900, pl.Int64))
    more.write_csv(tmp_path / "more.csv")
    both = read_purchases([f"{shop}#orders", tmp_path / "more.csv"])
    assert len(both) == len(LOG) + 3
    assert 900 in both.users.ids.to_list()


def test_what_was_read_names_neither_user_nor_password(shop):
    read = read_purchases(f"{shop}#orders").read
    assert read.files[0].startswith(f"the table 'orders' of {shop.split('://')[0]}://")
    assert PASSWORD not in str(read)
    assert SPELLED not in str(read)
    assert "shop:" not in str(read)


def test_a_query_can_change_nothing(shop):
    with pytest.raises(DatabaseProblem):
        read_purchases(shop, reading=Reading(query="DELETE FROM orders"))
    with pytest.raises(DatabaseProblem):
        read_purchases(shop, reading=Reading(query="DROP TABLE orders"))
    assert len(read_purchases(f"{shop}#orders")) == len(LOG)


def test_a_query_that_returns_nothing_is_said(shop):
    with pytest.raises(
        DatabaseProblem, match=r"^the query of \S+ returns no row; there is nothing to read\.$"
    ):
        read_purchases(shop, reading=Reading(query="SELECT * FROM orders WHERE user_id < 0"))


def test_a_table_that_lost_a_column_is_said_with_those_it_has(shop):
    with pytest.raises(ColumnProblem, match=r"no column 'customer'.*'user_id', 'product_id'"):
        read_purchases(shop, columns=Columns(user="customer"), reading=Reading(table="orders"))


def test_a_table_that_is_not_there_is_said(shop):
    with pytest.raises(DatabaseProblem, match="nothing_here"):
        read_purchases(f"{shop}#nothing_here")


def test_a_database_without_a_table_is_a_question(shop):
    with pytest.raises(DatabaseProblem, match="say what is read of it"):
        read_purchases(shop)
    with pytest.raises(DatabaseProblem, match="name one of them"):
        read_purchases(shop, reading=Reading(query="SELECT 1", table="orders"))


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_a_wrong_password_is_repeated_nowhere(request, name):
    uri = request.getfixturevalue(name).replace(SPELLED, "hunter%402hunter")
    with pytest.raises(DatabaseProblem, match="refuses this user or password") as caught:
        read_purchases(f"{uri}#orders")
    told = "".join(map(str, [caught.value, caught.value.__cause__, repr(address_of(f"{uri}#orders"))]))
    assert "hunter" not in told


@pytest.mark.parametrize(
    "uri", ["postgresql://ann:hunter2@127.0.0.1:1/shop#t", "mysql://ann:hunter2@127.0.0.1:1/shop#t"]
)
def test_a_server_that_is_away_is_one_sentence(uri):
    with pytest.raises(
        DatabaseProblem, match=r"does not answer; start it, or mend host and port\.$"
    ) as caught:
        read_purchases(uri)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("postgresql://ann:hunter2@db:port/shop", "no address that can be read"),
        ("sqlite://shop.db", "names no file"),
        ("sqlite:///nothing.db#t", "there is no file"),
        ("duckdb:///nothing.db#t", "there is no file"),
        ("mysql://ann:hunter2@127.0.0.1/shop?cipher=hunter2#t", "has the option"),
    ],
)
def test_an_address_that_cannot_be_is_one_sentence(uri, says):
    with pytest.raises(DatabaseProblem, match=says) as caught:
        read_purchases(uri)
    assert "hunter2" not in str(caught.value)


def test_a_slow_query_ends_with_a_sentence(postgresql, tmp_path):
    with pytest.raises(DatabaseProblem, match="took longer for the query than it may"):
        fetch(address_of(postgresql), tmp_path / "f", query="SELECT pg_sleep(30)", seconds=1)


def test_a_connection_that_drops_half_way_leaves_one_sentence(postgresql, tmp_path):
    """The server ends the connection in the midst of the rows."""
    query = (
        "SELECT n AS user_id, repeat('x', 2000) AS product_id, CASE WHEN n = 20000 THEN pg_terminate_backend(pg_backend_pid()) END "
        "FROM generate_series(1, 1000000) AS n"
    )
    with pytest.raises(DatabaseProblem, match="ended the connection half-way; nothing was kept"):
        fetch(address_of(postgresql), tmp_path / "f", query=query)


def test_types_of_postgresql_that_arrow_lacks_are_read(postgresql):
    query = (
        "SELECT ('00000000-0000-0000-0000-00000000000' || n % 3)::uuid AS user_id, n AS product_id, "
        "n::numeric AS quantity, '{}'::jsonb AS extra, now()::timestamp(0) AS time FROM generate_series(1, 6) AS n"
    )
    log = read_purchases(postgresql, reading=Reading(query=query))
    assert log.users.ids.to_list() == [f"00000000-0000-0000-0000-00000000000{n}" for n in range(3)]
    assert log.quantities.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_column_of_numbers_and_texts_in_sqlite_is_text(tmp_path):
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute("CREATE TABLE t (user_id, product_id)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, 7), ("guest", 8), (None, 9)])
        connection.commit()
    log = read_purchases(f"sqlite:///{tmp_path / 's.db'}#t")
    assert (log.users.ids.to_list(), log.read.without_user) == (["1", "guest"], 1)


MEASURE = """
import resource, sys
from pathlib import Path
from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.fetched import fetch
fetch(address_of(sys.argv[1]), Path(sys.argv[2]), query="SELECT 1 AS user_id, 2 AS product_id")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = fetch(address_of(sys.argv[1]), Path(sys.argv[2]), query=sys.argv[3])
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_rows_come_in_batches_and_memory_does_not_grow_with_them(postgresql, tmp_path):
    """1.2 GB of rows in less than a third of it, whose parts are Polars' writer and a few batches."""
    query = "SELECT n AS user_id, md5(n::text) || repeat('x', 368) AS product_id FROM generate_series(1, 3000000) AS n"
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, postgresql, str(tmp_path / "f"), query],
        capture_output=True,
        text=True,
        check=True,
    )
    rows, mebibytes = map(int, ran.stdout.split())
    assert rows == 3_000_000
    assert mebibytes < 400


@pytest.mark.parametrize("command", ["inspect", "train", "split", "evaluate", "compare"])
def test_every_command_that_reads_a_log_reads_a_database(command, postgresql, tastemaker, tmp_path):
    fill_postgresql(postgresql)
    few = ["--set", "dimensions=4", "--set", "epochs=1", "--effort", "quick"]
    uri = f"{postgresql}#orders"
    arguments = {
        "inspect": [postgresql, "--table", "orders"],
        "train": [
            postgresql,
            "--query",
            "SELECT * FROM orders",
            "--valid",
            uri,
            "--out",
            tmp_path / "m" / "1",
            *few,
        ],
        "split": [uri, "--last", "10%", "--into", tmp_path / "parts"],
        "evaluate": [tmp_path / "m" / "1", uri, "--include-purchased"],
        "compare": [
            uri,
            f"{postgresql}#later",
            "--model",
            "best-sellers",
            "--report",
            tmp_path / "r.html",
            "--include-purchased",
        ],
    }
    if command == "evaluate":
        assert tastemaker("train", uri, "--out", tmp_path / "m" / "1", *few).returncode == 0
    ran = tastemaker(command, *arguments[command])
    assert ran.returncode == 0, ran.stderr
    written = ran.stdout + ran.stderr + "".join(
        file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()
    )  # fmt: skip
    assert PASSWORD not in written
    assert SPELLED not in written


def test_a_missing_driver_is_named_with_the_command_that_installs_it(python, tmp_path):
    code = (
        "import sys; sys.modules['adbc_driver_postgresql'] = None; import tastemaker as tm\n"
        "try: tm.read_purchases('postgresql://ann:hunter2@db/shop/orders')\n"
        "except tm.TastemakerError as error: print(error)"
    )
    assert python(code).stdout.strip() == (
        "postgresql://db/shop needs adbc-driver-postgresql, which is not installed; "
        "pip install 'tastemaker[databases]' brings it."
    )


def test_a_query_without_a_database_is_refused(tmp_path):
    from tastemaker.errors import SettingProblem

    LOG.write_parquet(tmp_path / "log.parquet")
    with pytest.raises(SettingProblem, match="speak of a database"):
        read_purchases(tmp_path / "log.parquet", reading=Reading(query="SELECT 1"))


def test_a_model_of_a_database_has_the_bytes_of_one_of_a_file(postgresql):
    from tastemaker.model.config import preset
    from tastemaker.training.train import train

    fill_postgresql(postgresql)
    config = preset("workshop").changed({"dimensions": 4, "epochs": 1, "negatives": 5})
    here, there = (train(read_purchases(log), config) for log in (LOG, f"{postgresql}#orders"))
    assert np.array_equal(here.product_vectors, there.product_vectors)
