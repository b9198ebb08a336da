"""`Held`: one PostgreSQL connection that is held open, replaced after a failure, and never waited for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from tastemaker.data.databases.address import Address
from tastemaker.data.databases.drivers import REFUSED, driver, translated
from tastemaker.errors import DatabaseProblem

__all__ = ["Held", "rows"]

CONNECT_SECONDS: Final = 2
STATEMENT_SECONDS: Final = 5
PAUSE_SECONDS: Final = 0.5
REFUSED_SECONDS: Final = 5.0
"""So long after a failure nobody tries again: requests must not queue for a database that is away. Longer where it refuses
the password: many attempts lock a user out"""


class Held:
    """A connection for short transactions, used by one thread at a time; a failure closes it, and the next use makes a new one."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._connection: Any = None
        self._not_before = 0.0
        self._said: str = ""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Yield a cursor in a transaction, committed at the end; raise `DatabaseProblem` where it is not, or may not be."""
        with self._lock:
            if self._connection is None and time.monotonic() < self._not_before:
                raise DatabaseProblem(self._said)
            try:
                with translated(self.address):
                    if self._connection is None:
                        self._connection = self._connected()
                    with self._connection.cursor() as cursor:
                        yield cursor
                    self._connection.commit()
            except BaseException as error:
                self._drop()
                if isinstance(error, DatabaseProblem):
                    pause = REFUSED_SECONDS if REFUSED in str(error) else PAUSE_SECONDS
                    self._not_before, self._said = time.monotonic() + pause, str(error)
                raise

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it may be broken, which is why it goes
                connection.close()

    def _connected(self) -> Any:
        postgresql = driver("adbc_driver_postgresql.dbapi", "adbc-driver-postgresql", self.address)
        driver("pyarrow", "pyarrow", self.address)
        parts = urlsplit(self.address.uri)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        options.setdefault("connect_timeout", str(CONNECT_SECONDS))
        options.setdefault("tcp_user_timeout", str(1000 * STATEMENT_SECONDS))
        options.setdefault("application_name", "tastemaker")
        connection = postgresql.connect(parts._replace(query=urlencode(options, quote_via=quote)).geturl())
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {1000 * STATEMENT_SECONDS}")
            # a host that is frozen half-way must not keep all others from writing
            cursor.execute(f"SET idle_in_transaction_session_timeout = {1000 * STATEMENT_SECONDS}")
        connection.commit()
        return connection


def rows(cursor: Any, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of a statement; ``$1`` is the first of the values."""
    cursor.execute(statement, list(values) or None)
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
