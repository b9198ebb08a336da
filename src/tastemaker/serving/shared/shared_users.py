"""`SharedUsers`: what the database of several hosts holds of a user, counted and deleted by a command, which keeps no copy."""

from __future__ import annotations

from typing import Any, Final

from tastemaker.data.databases.held import rows
from tastemaker.errors import EventsProblem
from tastemaker.serving.shared.shared_lists import LISTS
from tastemaker.serving.shared.shared_outcomes import make_tables
from tastemaker.serving.shared.state_database import StateDatabase, has_table

__all__ = ["ONE_WRITER", "SharedUsers", "count_of", "forget"]

ONE_WRITER: Final = "SELECT pg_advisory_xact_lock(7308324466019656047)"
"""Writers of events take turns until they have committed, so that numbers are given in the order in which others see the rows"""

AWAY: Final = "Nobody can be forgotten until it does."

COUNT: Final = """
SELECT (SELECT count(*) FROM tastemaker_events WHERE user_id = $1) + (SELECT count(*) FROM tastemaker_outcomes WHERE user_id = $1)
"""

FORGET: Final = """
WITH deleted AS (DELETE FROM tastemaker_events WHERE user_id = $1 RETURNING number),
     noted AS (INSERT INTO tastemaker_gone (event) SELECT number FROM deleted RETURNING 1),
     unmeasured AS (DELETE FROM tastemaker_outcomes WHERE user_id = $1 RETURNING 1)
SELECT (SELECT count(*) FROM deleted) + (SELECT count(*) FROM unmeasured)
"""

COUNT_LISTS: Final = f"SELECT count(*) FROM {LISTS} WHERE user_id = $1"

FORGET_LISTS: Final = (
    f"WITH deleted AS (DELETE FROM {LISTS} WHERE user_id = $1 RETURNING 1) SELECT count(*) FROM deleted"
)


def count_of(cursor: Any, user: str) -> int:
    """Return how many events, outcomes and logged lists of a user there are."""
    if "\0" in user:  # which PostgreSQL's texts cannot hold
        return 0
    make_tables(cursor)
    return _number(cursor, COUNT, user) + (
        _number(cursor, COUNT_LISTS, user) if has_table(cursor, LISTS) else 0
    )


def forget(cursor: Any, user: str) -> int:
    """Delete the events, outcomes and logged lists of a user, note for all hosts that the events are gone, and return how many."""
    if "\0" in user:
        return 0
    cursor.execute(ONE_WRITER)
    make_tables(cursor)
    return _number(cursor, FORGET, user) + (
        _number(cursor, FORGET_LISTS, user) if has_table(cursor, LISTS) else 0
    )


def _number(cursor: Any, statement: str, user: str) -> int:
    return int(rows(cursor, statement, (user,))[0][0])


class SharedUsers:
    """The users in a database."""

    def __init__(self, uri: str) -> None:
        """Raise `EventsProblem` where the database is away, or no server has kept anything in it."""
        self._database = StateDatabase(uri)
        with self._database.asked(AWAY) as cursor:
            if not has_table(cursor, "tastemaker_events"):
                raise EventsProblem(
                    f"{self._database.label} holds no live events; a server with `--state` and this address keeps them there."
                )

    def count_of(self, user: str) -> int:
        """Return how many events, outcomes and logged lists of a user there are. Raises `EventsProblem`."""
        with self._database.asked(AWAY) as cursor:
            return count_of(cursor, user)

    def forget(self, user: str) -> int:
        """Delete the events, outcomes and logged lists of a user, which all hosts follow; return how many.

        Raises `EventsProblem`.
        """
        with self._database.asked(AWAY) as cursor:
            return forget(cursor, user)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()
