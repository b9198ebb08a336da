"""What a database or an object store returns, once, as files on this machine; everything else reads those."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from tastemaker.data.databases.address import Address
from tastemaker.data.databases.drivers import driver, translated
from tastemaker.data.databases.statements import asked_of, described
from tastemaker.errors import DatabaseProblem

__all__ = ["PATIENCE", "fetch"]

PATIENCE: Final = 3600
"""Seconds that a query may take"""


def fetch(
    address: Address,
    file: Path,
    *,
    query: str | None = None,
    table: str | None = None,
    seconds: int = PATIENCE,
) -> int:
    """Write what a query returns, or all of a table, as Parquet, in batches of bounded memory; return the number of rows.

    The statement runs in one transaction that can only read. Raises `DatabaseProblem`, also where there is no row.
    """
    statement = asked_of(address, query, table)
    rows = (
        _duckdb(address, statement, file)
        if address.kind == "duckdb"
        else _written(_frames(address, statement, seconds), file)
    )
    if not rows:
        raise DatabaseProblem(f"{described(address, query, table)} returns no row; there is nothing to read.")
    return rows


def _frames(address: Address, statement: str, seconds: int) -> Iterator[pl.DataFrame]:
    if address.kind == "postgresql":
        from tastemaker.data.databases.postgres import frames

        return frames(address, statement, seconds)
    from tastemaker.data.databases.rows import mysql_frames, sqlite_frames

    return (mysql_frames if address.kind == "mysql" else sqlite_frames)(address, statement, seconds)


def _written(frames: Iterator[pl.DataFrame], file: Path) -> int:
    from polars.io.plugins import register_io_source

    first = next(frames)
    rows = 0
    trouble: list[Exception] = []

    def produce(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        try:
            for frame in frames:
                rows += len(frame)
                yield frame
        except Exception as error:
            trouble.append(error)  # Polars would make an error of its own of it
            raise

    try:
        register_io_source(produce, schema=first.schema).sink_parquet(file, compression="lz4")
    except pl.exceptions.PolarsError:
        if trouble:
            raise trouble[0] from None
        raise
    return rows


def _duckdb(address: Address, statement: str, file: Path) -> int:
    duckdb = driver("duckdb", "duckdb", address)
    if not address.file.is_file():
        raise DatabaseProblem(
            f"there is no file {address.file}; {address.label} is to name a DuckDB database."
        )
    with translated(address):
        connection = duckdb.connect(str(address.file), read_only=True)
        try:
            target = str(file).replace("'", "''")
            found = connection.execute(
                f"COPY ({statement}) TO '{target}' (FORMAT parquet, COMPRESSION lz4)"
            ).fetchone()
        finally:
            connection.close()
    return int(found[0])
