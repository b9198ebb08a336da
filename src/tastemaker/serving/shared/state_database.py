"""`StateDatabase`: the PostgreSQL database in which several hosts share their state, and what it is known by."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.held import Held, rows
from tastemaker.errors import DatabaseProblem, EventsProblem, StateProblem

__all__ = ["EVERY_SECONDS", "StateDatabase", "has_table"]

EVERY_SECONDS: Final = 0.2
"""How often a host asks for what others wrote"""

FORMAT: Final = 1
"""What this release knows of the tables; a newer one that changes their meaning raises it"""

TABLE: Final = "CREATE TABLE IF NOT EXISTS tastemaker_state (id TEXT NOT NULL, format INT NOT NULL)"


class StateDatabase:
    """A connection to the state of several hosts."""

    def __init__(self, uri: str) -> None:
        address = address_of(uri)
        if address.kind != "postgresql" or address.table is not None:
            raise StateProblem(
                f"the state of several hosts lives in postgresql://HOST/DATABASE, not in {address.label}."
            )
        self._held = Held(address)
        self.label = address.label
        """What messages call it"""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Yield a cursor, as `Held.transaction` does; raise `DatabaseProblem`."""
        with self._held.transaction() as cursor:
            yield cursor

    @contextmanager
    def asked(self, until: str) -> Iterator[Any]:
        """Yield a cursor as `transaction` does; where the database is away, raise `EventsProblem`, which ends with ``until``."""
        try:
            with self.transaction() as cursor:
                yield cursor
        except DatabaseProblem as error:
            raise EventsProblem(f"{error} {until}") from None

    def joined(self, cursor: Any) -> str:
        """Return what tells this state from all others, made where there is none; raise `StateProblem` for one of a newer release.

        The caller holds a lock that keeps out others who join.
        """
        cursor.execute(TABLE)
        found = rows(cursor, "SELECT id, format FROM tastemaker_state")
        if not found:
            found = [(str(uuid.uuid4()), FORMAT)]
            cursor.execute("INSERT INTO tastemaker_state VALUES ($1, $2)", list(found[0]))
        self.check_format(found[0][1])
        return str(found[0][0])

    def check_format(self, found: int) -> None:
        """Raise `StateProblem` for a state that only a newer release can read."""
        if found > FORMAT:
            raise StateProblem(
                f"the state in {self.label} was written by a newer tastemaker (format {found}, and this one knows {FORMAT}); "
                "upgrade this host."
            )

    def close(self) -> None:
        """Close the connection."""
        self._held.close()


def has_table(cursor: Any, name: str) -> bool:
    """Return whether there is a table; not by `to_regclass`, which within a transaction remembers that there was none."""
    found = rows(cursor, "SELECT 1 FROM pg_class WHERE relname = $1 AND pg_table_is_visible(oid)", (name,))
    return bool(found)
