"""SQLite and MySQL: drivers that hand over rows, of which frames are made in batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import polars as pl

from tastemaker.data.databases.address import Address
from tastemaker.data.databases.drivers import driver, translated
from tastemaker.errors import DatabaseProblem

__all__ = ["mysql_connection", "mysql_frames", "sqlite_connection", "sqlite_frames"]

ROWS: Final = 50_000
"""Of a batch"""


def sqlite_connection(address: Address, *, writes: bool = False) -> sqlite3.Connection:
    """Open an SQLite file, to read alone unless told otherwise; raise `DatabaseProblem` where there is none."""
    file = address.file
    if not file.is_file():
        raise DatabaseProblem(f"there is no file {file}; {address.label} is to name an SQLite database.")
    uri = f"{file.absolute().as_uri()}?mode={'rw' if writes else 'ro'}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10, check_same_thread=False)


def sqlite_frames(address: Address, statement: str, seconds: int) -> Iterator[pl.DataFrame]:
    """Yield what a statement returns, first a frame without rows. A column of several types of cells is text."""
    with translated(address), closing(sqlite_connection(address)) as connection:
        connection.execute("BEGIN")  # the look at the types and the rows see one state
        cursor = connection.execute(f"SELECT * FROM ({statement}) LIMIT 0")
        names = _distinct([column[0] for column in cursor.description], address)
        kinds = ", ".join(f"group_concat(DISTINCT typeof({_name(name)}))" for name in names)
        found = connection.execute(f"SELECT {kinds} FROM ({statement})").fetchone()
        schema = {
            name: _of_sqlite({*(kind or "").split(",")} - {"null", ""})
            for name, kind in zip(names, found, strict=True)
        }
        yield from _batches(connection.execute(statement), schema)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _of_sqlite(kinds: set[str]) -> pl.DataType:
    if kinds <= {"integer"}:
        return pl.Int64()
    if kinds <= {"integer", "real"}:
        return pl.Float64()
    return pl.Binary() if kinds == {"blob"} else pl.String()


def mysql_connection(address: Address, seconds: int) -> Any:
    """Connect to a MySQL or MariaDB server; raise `DatabaseProblem`."""
    pymysql = driver("pymysql", "pymysql", address)
    parts = urlsplit(address.uri)
    options = dict(parse_qsl(parts.query))
    strange = set(options) - {"ssl_ca", "connect_timeout", "charset"}
    if strange:
        raise DatabaseProblem(
            f"{address.label} has the option {min(strange)!r}; known are ssl_ca, connect_timeout and charset."
        )
    return pymysql.connect(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 3306,
        user=unquote(parts.username or "") or None,
        password=unquote(parts.password or ""),
        database=unquote(parts.path.removeprefix("/")),
        charset=options.get("charset", "utf8mb4"),
        connect_timeout=int(options.get("connect_timeout", 15)),
        read_timeout=seconds,
        ssl={"ca": options["ssl_ca"]} if "ssl_ca" in options else None,
        init_command="SET time_zone = '+00:00'",
        autocommit=False,
    )


def mysql_frames(address: Address, statement: str, seconds: int) -> Iterator[pl.DataFrame]:
    """Yield what a statement returns, first a frame without rows; it can change nothing."""
    pymysql = driver("pymysql", "pymysql", address)
    with translated(address):
        connection = mysql_connection(address, seconds)
        try:
            with connection.cursor() as cursor:
                cursor.execute("START TRANSACTION READ ONLY")
            cursor = connection.cursor(pymysql.cursors.SSCursor)
            # within a query only a query can stand; DROP TABLE would end the transaction, and be done
            cursor.execute(f"SELECT * FROM ({statement}) AS asked")
            names = _distinct([column[0] for column in cursor.description], address)
            schema = {
                name: _of_mysql(column[1]) for name, column in zip(names, cursor.description, strict=True)
            }
            yield from _batches(cursor, schema)
        finally:
            connection._force_close()  # a cursor that was left half-way would read all the rest


def _of_mysql(code: int) -> pl.DataType:
    from pymysql.constants import FIELD_TYPE as TYPES

    if code in (TYPES.TINY, TYPES.SHORT, TYPES.LONG, TYPES.LONGLONG, TYPES.INT24, TYPES.YEAR):
        return pl.Int64()
    if code in (TYPES.FLOAT, TYPES.DOUBLE, TYPES.DECIMAL, TYPES.NEWDECIMAL):
        return pl.Float64()
    if code in (TYPES.DATETIME, TYPES.TIMESTAMP):
        return pl.Datetime("us")
    return pl.Date() if code in (TYPES.DATE, TYPES.NEWDATE) else pl.String()


def _distinct(names: Sequence[str], address: Address) -> Sequence[str]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DatabaseProblem(
            f"the query of {address.label} returns two columns {twice!r}; name one of them anew: … AS other."
        )
    return names


def _batches(cursor: Any, schema: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    yield pl.DataFrame(schema=schema)
    while rows := cursor.fetchmany(ROWS):
        columns = zip(*rows, strict=True)
        yield pl.DataFrame(
            [
                _series(name, cells, dtype)
                for (name, dtype), cells in zip(schema.items(), columns, strict=True)
            ]
        )


def _series(name: str, cells: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    if dtype == pl.String:
        cells = [
            cell if cell is None or isinstance(cell, str)
            else cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
            for cell in cells
        ]  # fmt: skip
    elif dtype == pl.Float64:
        cells = [None if cell is None else float(cell) for cell in cells]
    return pl.Series(name, cells, dtype=dtype)
