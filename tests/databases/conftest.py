from __future__ import annotations

from collections.abc import Iterator

import pytest
from database_servers import mysql_server, postgresql_server, s3_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with postgresql_server() as uri:
        yield uri


@pytest.fixture(scope="session")
def mysql() -> Iterator[str]:
    with mysql_server() as uri:
        yield uri


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_server() as end:
        yield end
