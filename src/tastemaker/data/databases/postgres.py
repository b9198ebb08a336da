"""PostgreSQL through its ADBC driver: rows arrive in binary and in batches, and none is parsed by Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import polars as pl

from tastemaker.data.databases.address import Address
from tastemaker.data.databases.drivers import driver, translated

__all__ = ["connected", "frames"]

BATCH: Final = 8 << 20
"""Bytes of a batch"""

CONNECT_SECONDS: Final = 15
"""So long a server may take to answer at all, where the URI says nothing else"""


@contextmanager
def connected(address: Address) -> Iterator[Any]:
    """Yield a connection in a transaction, which ends without a trace unless it was committed; raise `DatabaseProblem`."""
    postgresql = driver("adbc_driver_postgresql.dbapi", "adbc-driver-postgresql", address)
    driver("pyarrow", "pyarrow", address)
    with translated(address):
        connection = postgresql.connect(_patient(address.uri))
        try:
            yield connection
        finally:
            connection.close()


LIMIT: Final = (
    "SELECT set_config('statement_timeout', '{0}', true) FROM pg_settings "
    "WHERE name = 'statement_timeout' AND setting::bigint NOT BETWEEN 1 AND {0}"
)
"""Limits the time of a query in milliseconds, unless the URI, the user or the database has a lower limit of its own"""


def _patient(uri: str) -> str:
    """Return the URI with a limit of the time to connect, where it has none."""
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    options.setdefault("connect_timeout", str(CONNECT_SECONDS))
    options.setdefault("application_name", "tastemaker")
    return parts._replace(query=urlencode(options, quote_via=quote)).geturl()


def frames(address: Address, statement: str, seconds: int) -> Iterator[pl.DataFrame]:
    """Yield what a statement returns, first a frame without rows; it can change nothing."""
    with connected(address) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute(LIMIT.format(1000 * seconds))
        cursor.fetchall()
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH)})
        cursor.execute(statement)
        reader = cursor.fetch_record_batch()
        yield _frame(reader.schema.empty_table())
        for batch in reader:
            if batch.num_rows:
                yield _frame(batch)


def _frame(batch: Any) -> pl.DataFrame:
    """Return a batch with exact decimals as numbers, and other types that Arrow does not know as what they are stored as."""
    import pyarrow as pa

    arrays, decimals, uuids = [], [], []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        plain = array
        if isinstance(array.type, pa.BaseExtensionType):
            if getattr(array.type, "type_name", "") == "numeric":
                decimals.append(name)
            if isinstance(array.type, pa.UuidType):
                uuids.append(name)
            plain = pa.chunked_array([chunk.storage for chunk in array.chunks], array.type.storage_type) if isinstance(
                array, pa.ChunkedArray
            ) else array.storage  # fmt: skip
        arrays.append(plain)
    frame = pl.DataFrame(pa.Table.from_arrays(arrays, names=batch.schema.names))
    whole = [name for name, dtype in frame.schema.items() if dtype in (pl.Int16, pl.Int32)]
    return frame.with_columns(
        *(pl.col(name).cast(pl.Float64, strict=False) for name in decimals),
        *(_spelled(pl.col(name)) for name in uuids),
        *(pl.col(name).cast(pl.Int64) for name in whole),  # as a text file has them
    )


def _spelled(uuid: pl.Expr) -> pl.Expr:
    """Return sixteen bytes as a UUID is written."""
    digits = uuid.bin.encode("hex")
    ends = (0, 8, 12, 16, 20, 32)
    parts = [digits.str.slice(low, high - low) for low, high in pairwise(ends)]
    return pl.concat_str(parts, separator="-").alias(uuid.meta.output_name())
