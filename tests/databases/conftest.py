from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from database_servers import (
    Crashing,
    azure_server,
    mysql_server,
    new_database,
    postgresql_server,
    postgresql_that_crashes,
    s3_server,
)

from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.held import Held


@pytest.fixture(scope="session")
def postgresql_alone() -> Iterator[str]:
    with postgresql_server() as uri:
        yield uri


@pytest.fixture(scope="module")
def postgresql(postgresql_alone: str, request: pytest.FixtureRequest) -> str:
    """A database of the file's own: what another file's tests leave is in nobody's way."""
    return new_database(postgresql_alone, request.module.__name__.rpartition(".")[2])


@pytest.fixture(scope="session")
def mysql() -> Iterator[str]:
    with mysql_server() as uri:
        yield uri


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_server() as end:
        yield end


@pytest.fixture(scope="session")
def azure() -> Iterator[str]:
    with azure_server() as end:
        yield end


@pytest.fixture(scope="module")
def server() -> Iterator[Crashing]:
    """A PostgreSQL of the file's own, which its tests may crash."""
    with postgresql_that_crashes() as server:
        yield server


@pytest.fixture
def uri(server: Crashing) -> str:
    """An empty database, in which no hosts share anything yet."""
    with contextlib.closing(Held(address_of(server.uri))) as database, database.transaction() as cursor:
        for table in ("events", "answered", "gone", "state", "documents", "outcomes", "lists"):
            cursor.execute(f"DROP TABLE IF EXISTS tastemaker_{table}")
    return server.uri
