from __future__ import annotations

from collections.abc import Iterator

import pytest
from database_servers import azure_server, mysql_server, new_database, postgresql_server, s3_server


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
