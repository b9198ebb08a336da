"""Drivers of databases: imported where they are needed, and what they raise said in one sentence without a secret."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tastemaker.data.databases.address import Address
from tastemaker.errors import DatabaseProblem, TastemakerError

__all__ = ["REFUSED", "driver", "translated"]

REFUSED: Final = "refuses this user or password"


def driver(module: str, package: str, address: Address) -> Any:
    """Return a driver's module; raise `DatabaseProblem` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        extra = "stores" if address.kind == "store" else "databases"
        raise DatabaseProblem(
            f"{address.label} needs {package}, which is not installed; pip install 'tastemaker[{extra}]' brings it."
        ) from None


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Turn what drivers raise into `DatabaseProblem`; the driver's own error, which may hold a password, is not chained."""
    try:
        yield
    except TastemakerError:
        raise
    except Exception as error:
        if not _is_of_a_driver(error):
            raise
        raise DatabaseProblem(f"{_plainly(address.safe(str(error)), address)}.") from None


def _is_of_a_driver(error: Exception) -> bool:
    module = type(error).__module__.split(".")[0]
    return module in (
        "adbc_driver_manager",
        "pymysql",
        "duckdb",
        "_duckdb",
        "obstore",
        "pyarrow",
    ) or isinstance(error, sqlite3.Error | OSError)


_MEANS: Final = (
    ("password authentication failed", REFUSED, "check both (PGUSER and PGPASSWORD, or the URI)"),
    ("access denied", REFUSED, "check both, in the URI"),
    ("no password supplied", "wants a password", "give it in PGPASSWORD, a .pgpass file or the URI"),
    ("connection refused", "does not answer", "start it, or mend host and port"),
    ("can't connect", "does not answer", "start it, or mend host and port"),
    ("could not translate host", "is a host that no name server knows", "mend its name"),
    ("timeout expired", "does not answer in time", "see whether it runs and can be reached from here"),
    ("timed out", "does not answer in time", "see whether it runs and can be reached from here"),
    ("statement timeout", "took longer for the query than it may", "make it faster, or allow more time"),
    ("maximum statement execution", "took longer for the query than it may", "make it faster, or allow more time"),
    ("terminating connection", "ended the connection half-way", "nothing was kept; run the command again"),
    ("server closed the connection", "ended the connection half-way", "nothing was kept; run the command again"),
    ("lost connection", "ended the connection half-way", "nothing was kept; run the command again"),
    ("connection not open", "ended the connection half-way", "nothing was kept; run the command again"),
    ("read-only", "was asked to change something", "a query of a log may only read"),
    ("readonly", "was asked to change something", "a query of a log may only read"),
    ("unable to open database file", "is a file that cannot be opened", "mend its path"),
    ("file is not a database", "is a file of another kind", "mend its path"),
    ("necessary privileges", "refuses what lets you in", "check it in the environment, and what it may read"),
    ("database is locked", "is locked by another writer", "try again when it is done"),
)  # fmt: skip
"""Signs of a trouble, what it is, and what to do"""


def _plainly(text: str, address: Address) -> str:
    lower = text.lower()
    for sign, trouble, remedy in _MEANS:
        if sign in lower:
            return f"{address.label} {trouble}; {remedy}"
    said = text.split(" Query was:")[0].split(" Debug source:")[0].removeprefix("[libpq] ").rstrip(". ")
    return f"{address.label} says: {said[:400]}"
