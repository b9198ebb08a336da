"""Parts of a log that lie in a database or an object store: copied to the spool once, and files from then on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tastemaker.data.databases.address import Address, address_of
from tastemaker.data.databases.fetched import fetch
from tastemaker.data.databases.statements import described
from tastemaker.data.databases.stores import copied
from tastemaker.data.reading.files.places import Place
from tastemaker.data.reading.files.spool import Spool

__all__ = ["remote_places"]


def remote_places(uri: str, spool: Spool, *, query: str | None, table: str | None) -> list[Place]:
    """Return the files that hold a table or query of a database, or the objects of a store; raise `DatabaseProblem`."""
    address = address_of(uri)
    if address.kind == "store":
        return _objects(address, spool)
    file = spool.file(".parquet")
    fetch(address, file, query=query, table=table)
    return [Place(file, described(address, query, table), suffix=".parquet")]


def _objects(address: Address, spool: Spool) -> list[Place]:
    def write(chunks: Iterator[bytes], name: str) -> Path:
        return spool.write(chunks, label=address.label, suffix="".join(Path(name).suffixes[-2:]))

    return [Place(file, name) for file, name in copied(address, write)]
