"""A table written whole or not at all: filled beside the old one, in whose place it is put in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import polars as pl

from tastemaker.data.databases.address import Address
from tastemaker.data.databases.drivers import driver, translated
from tastemaker.data.databases.postgres import connected
from tastemaker.data.databases.rows import sqlite_connection
from tastemaker.data.databases.statements import quoted
from tastemaker.errors import DatabaseProblem

__all__ = ["as_vectors", "check_table", "write_table"]

STAGING: Final = "__staging"
"""What the name of a table that is being filled ends in"""


def check_table(address: Address) -> Address:
    """Return the address of a table that can be written; raise `DatabaseProblem` where it names none."""
    if address.kind not in _WRITERS:
        raise DatabaseProblem(
            f"nothing can be written to {address.label}; give a table of PostgreSQL, SQLite or DuckDB, or a file."
        )
    if not address.table:
        raise DatabaseProblem(
            f"{address.label} names no table to write; add one, as in {address.label}#lists."
        )
    return address


def write_table(address: Address, frames: Iterator[pl.DataFrame]) -> int:
    """Fill a table with frames and return the number of rows; readers see the old table until the new one is whole.

    An older table of the same columns gives way; in PostgreSQL its indexes, privileges and constraints stay, and a column
    of numbers becomes one of text where the new lists have text there. Raises
    `DatabaseProblem`, also for a table of other columns: it holds something else.
    """
    check_table(address)
    with translated(address):
        return _WRITERS[address.kind](address, frames)


def _check_columns(address: Address, there: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return whether there is a table to take the place of; raise `DatabaseProblem` where it holds something else."""
    if there and sorted(there) != sorted(wanted):
        raise DatabaseProblem(
            f"the table {address.table!r} of {address.label} has the columns {', '.join(there[:20])}, and lists have "
            f"{', '.join(wanted)}; it may hold something else, so it is not replaced: name another one, or drop it."
        )
    return bool(there)


# PostgreSQL


def _to_postgresql(address: Address, frames: Iterator[pl.DataFrame]) -> int:
    schema, name, staging = _places(address)
    table, beside = f"{schema}{quoted(name)}", f"{schema}{quoted(staging)}"
    plain = {"db_schema_name": schema[1:-2]} if schema else {}
    with connected(address) as connection, connection.cursor() as cursor:
        first = next(frames)
        there = [row[0] for row in _asked(cursor, _COLUMNS, table)]
        exists = _check_columns(address, there, first.columns)
        cursor.execute(f"DROP TABLE IF EXISTS {beside}")  # of a run that was killed
        rows = _poured(cursor, staging, first, "create", plain)
        grants: list[Sequence[Any]] = []
        if exists:
            grants = _asked(cursor, _GRANTS, table)
            cursor.execute(f"ALTER TABLE {beside} RENAME TO {quoted(staging + '_new')}")
            cursor.execute(f"CREATE TABLE {beside} (LIKE {table} INCLUDING ALL)")
            for (column,) in _asked(cursor, _NOW_TEXT, beside, f"{schema}{quoted(staging + '_new')}"):
                cursor.execute(f"ALTER TABLE {beside} ALTER COLUMN {column} TYPE text USING {column}::text")
            cursor.execute(
                f"INSERT INTO {beside} ({_listed(first)}) SELECT {_listed(first)} FROM {schema}{quoted(staging + '_new')}"
            )
            cursor.execute(f"DROP TABLE {schema}{quoted(staging + '_new')}")
        for frame in frames:
            rows += _poured(cursor, staging, frame, "append", plain)
        if not exists:
            cursor.execute(f"CREATE INDEX ON {beside} ({quoted(first.columns[0])})")
        cursor.execute(f"DROP TABLE IF EXISTS {table}")
        cursor.execute(f"ALTER TABLE {beside} RENAME TO {quoted(name)}")
        for privilege, grantee in grants:
            cursor.execute(f"GRANT {privilege} ON {table} TO {grantee}")
        connection.commit()
    return rows


def as_vectors(address: Address, width: int) -> bool:
    """Give the column ``vector`` of a table the type of pgvector, and return whether the database knows it."""
    schema, name, _ = _places(address)
    table = f"{schema}{quoted(name)}"
    with translated(address), connected(address) as connection, connection.cursor() as cursor:
        known = bool(_asked(cursor, "SELECT 1 FROM pg_type WHERE typname = $1", "vector"))
        if known and not _asked(cursor, _IS_VECTOR, table):
            cursor.execute(
                f"ALTER TABLE {table} ALTER COLUMN vector TYPE vector({width}) USING vector::vector({width})"
            )
            connection.commit()
    return known


_IS_VECTOR: Final = (
    "SELECT 1 FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid "
    "WHERE attrelid = to_regclass($1) AND attname = 'vector' AND typname = 'vector'"
)

_COLUMNS: Final = (
    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
)

# Ids that were numbers are text now, as after the first `guest-7`: the older table's type cannot hold them.
_NOW_TEXT: Final = (
    "SELECT quote_ident(attname) FROM pg_attribute AS older JOIN pg_attribute AS newer USING (attname) "
    "JOIN pg_type ON pg_type.oid = older.atttypid "
    "WHERE older.attrelid = to_regclass($1) AND newer.attrelid = to_regclass($2) AND older.attnum > 0 "
    "AND newer.atttypid = 'text'::regtype AND pg_type.typcategory <> 'S'"
)

_GRANTS: Final = (
    "SELECT acl.privilege_type, CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END "
    "FROM pg_class, aclexplode(relacl) AS acl WHERE pg_class.oid = to_regclass($1) AND acl.grantee <> relowner"
)


def _asked(cursor: Any, statement: str, *tables: str) -> list[Sequence[Any]]:
    cursor.execute(statement, tables)
    found: list[Sequence[Any]] = cursor.fetchall()
    return found


def _places(address: Address) -> tuple[str, str, str]:
    """Return the schema as SQL spells it, or nothing, the table's name and that of the one beside it."""
    schema, _, name = (address.table or "").rpartition(".")
    return (f"{quoted(schema)}." if schema else ""), name, name + STAGING


def _poured(cursor: Any, table: str, frame: pl.DataFrame, mode: str, where: dict[str, str]) -> int:
    cursor.adbc_ingest(table, _signed(frame).to_arrow(), mode=mode, **where)
    return len(frame)


def _signed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return integers as databases have them, with a sign."""
    wider: dict[type[pl.DataType], type[pl.DataType]] = {
        pl.UInt8: pl.Int16, pl.UInt16: pl.Int32, pl.UInt32: pl.Int64, pl.UInt64: pl.Int64,
    }  # fmt: skip
    return frame.with_columns(
        pl.col(name).cast(wider[type(dtype)]) for name, dtype in frame.schema.items() if type(dtype) in wider
    )


def _listed(frame: pl.DataFrame) -> str:
    return ", ".join(map(quoted, frame.columns))


# SQLite and DuckDB


def _to_sqlite(address: Address, frames: Iterator[pl.DataFrame]) -> int:
    address.file.touch(exist_ok=True)
    name = address.table or ""
    with closing(sqlite_connection(address, writes=True)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        there = [row[1] for row in connection.execute(f"PRAGMA table_info({quoted(name)})")]

        def pour(frame: pl.DataFrame, staging: str) -> None:
            marks = ", ".join("?" * frame.width)
            connection.executemany(f"INSERT INTO {staging} VALUES ({marks})", frame.iter_rows())

        rows = _swapped(connection, address, frames, there, pour)
        connection.execute("COMMIT")
    return rows


def _to_duckdb(address: Address, frames: Iterator[pl.DataFrame]) -> int:
    duckdb = driver("duckdb", "duckdb", address)
    driver("pyarrow", "pyarrow", address)
    with closing(duckdb.connect(str(address.file))) as connection:
        connection.execute("BEGIN")
        there = [
            row[0]
            for row in connection.execute(
                "SELECT column_name FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
                [address.table],
            ).fetchall()
        ]

        def pour(frame: pl.DataFrame, staging: str) -> None:
            connection.register("poured", frame.to_arrow())
            connection.execute(f"INSERT INTO {staging} SELECT * FROM poured")
            connection.unregister("poured")

        rows = _swapped(connection, address, frames, there, pour)
        connection.execute("COMMIT")
    return rows


def _swapped(
    connection: sqlite3.Connection | Any,
    address: Address,
    frames: Iterator[pl.DataFrame],
    there: Sequence[str],
    pour: Callable[[pl.DataFrame, str], None],
) -> int:
    """Fill a table beside the old one and put it in its place, within a transaction that has begun."""
    name = address.table or ""
    table, staging = quoted(name), quoted(name + STAGING)
    rows = 0
    for frame in map(_signed, frames):
        if not rows:
            _check_columns(address, there, frame.columns)
            columns = ", ".join(
                f"{quoted(column)} {_SQL[_kind(dtype)]}" for column, dtype in frame.schema.items()
            )
            connection.execute(f"DROP TABLE IF EXISTS {staging}")
            connection.execute(f"CREATE TABLE {staging} ({columns})")
        pour(frame, staging)
        rows += len(frame)
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"ALTER TABLE {staging} RENAME TO {table}")
    return rows


def _kind(dtype: pl.DataType) -> str:
    return "integer" if dtype.is_integer() else "float" if dtype.is_float() else "text"


_SQL: Final = {"integer": "BIGINT", "float": "REAL", "text": "TEXT"}

_WRITERS: Final[dict[str, Callable[[Address, Iterator[pl.DataFrame]], int]]] = {
    "postgresql": _to_postgresql,
    "sqlite": _to_sqlite,
    "duckdb": _to_duckdb,
}
