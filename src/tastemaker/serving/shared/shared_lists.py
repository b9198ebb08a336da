"""`SharedLists`: lists of several hosts that explored, in the PostgreSQL database that they share."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.measuring.served_lists import KeptLists, ListsInFile, ServedList, row_of
from tastemaker.serving.shared.state_database import StateDatabase, has_table

__all__ = ["LISTS", "SharedLists", "open_lists"]

LISTS: Final = "tastemaker_lists"

ONE_MAKER: Final = "SELECT pg_advisory_xact_lock(7308324466019656050)"
"""Two hosts that make the table at once would be in each other's way"""

TABLES: Final = (
    f"""CREATE TABLE IF NOT EXISTS {LISTS} (
        list TEXT PRIMARY KEY, user_id TEXT NOT NULL, model TEXT NOT NULL, version BIGINT NOT NULL, moment BIGINT NOT NULL,
        rate DOUBLE PRECISION NOT NULL, pinned BIGINT NOT NULL, shown TEXT NOT NULL, chances TEXT NOT NULL,
        ranking TEXT NOT NULL, asked TEXT NOT NULL)""",
    f"CREATE INDEX IF NOT EXISTS tastemaker_lists_of_user ON {LISTS} (user_id)",
)
"""``shown``, ``chances``, ``ranking`` and ``asked`` are JSON"""

ADD: Final = f"""
INSERT INTO {LISTS} (list, user_id, model, version, moment, rate, pinned, shown, chances, ranking, asked)
SELECT l, u, m, v, (extract(epoch FROM now()) * 1000000)::BIGINT - a, r, p, s, c, k, q
FROM json_to_recordset($1::json) AS one (
    l TEXT, u TEXT, m TEXT, v BIGINT, a BIGINT, r DOUBLE PRECISION, p BIGINT, s TEXT, c TEXT, k TEXT, q TEXT)
ORDER BY l
ON CONFLICT (list) DO UPDATE SET moment = excluded.moment WHERE excluded.moment < {LISTS}.moment
"""
"""``a`` is how long ago it was served, by the host's clock: the moment is by the database's, as that of outcomes is. The same list,
served by several hosts, is kept with the time when it was first. In the order of ids, two hosts wait for each other, and not
both for both"""

AT_ONCE: Final = 1_000
"""Most lists of one statement"""

AWAY: Final = "No list can be logged until it does."


class SharedLists:
    """The lists in a database, as `ListsInFile` keeps them in a file."""

    def __init__(self, uri: str) -> None:
        self._database = StateDatabase(uri)
        self._has_table = False
        """Whether it is known to be there; after a failure it is asked again"""

    def keep(self, lists: Sequence[ServedList]) -> int:
        """Keep all of the lists or none, each once; return how many cannot be kept there, ever: PostgreSQL's texts hold no NUL.

        Raises `EventsProblem` where the database is away.
        """
        table = [*{one.list_id: one for one in reversed(lists) if "\0" not in one.user}.values()]
        known, self._has_table = self._has_table, False
        with self._database.asked(AWAY) as cursor:
            if not known:
                make_table(cursor)
            now = time.time_ns() // 1_000
            for low in range(0, len(table), AT_ONCE):
                cursor.execute(ADD, [json.dumps([_told(one, now) for one in table[low : low + AT_ONCE]])])
        self._has_table = True
        return sum("\0" in one.user for one in lists)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


def open_lists(events: Events | None, state: str | None) -> KeptLists | None:
    """Return where a server logs lists that explore: the file of its events, the database that hosts share, or nowhere."""
    if events is None:
        return None
    return ListsInFile(events) if state is None else SharedLists(state)


def make_table(cursor: Any) -> None:
    """Make what lists are kept in, where it is missing."""
    if has_table(cursor, LISTS):
        return
    cursor.execute(ONE_MAKER)
    for statement in TABLES:
        cursor.execute(statement)


def _told(one: ServedList, now: int) -> dict[str, object]:
    list_id, user, model, version, _, rate, pinned, *texts = row_of(one)
    shown, chances, ranking, asked = texts
    return {
        "l": list_id, "u": user, "m": model, "v": version, "a": max(now - one.time, 0), "r": rate, "p": pinned,
        "s": shown, "c": chances, "k": ranking, "q": asked,
    }  # fmt: skip
