"""`SharedOutcomes`: what became of lists of several hosts, in the one PostgreSQL database that they share.

Nobody's lists depend on outcomes, so no host keeps a copy. One is acknowledged once the database has committed it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tastemaker.data.databases.held import rows
from tastemaker.errors import EventsProblem, KeyUsedOtherwise, SettingProblem
from tastemaker.serving.answering.event_store import KEPT_SECONDS, Events
from tastemaker.serving.measuring.outcome_store import Done, KeptOutcomes, Outcome, Outcomes, Visited
from tastemaker.serving.shared.state_database import StateDatabase, has_table

__all__ = ["SharedOutcomes", "answered_before", "make_tables", "open_outcomes", "outcomes_in"]

ONE_MAKER: Final = "SELECT pg_advisory_xact_lock(7308324466019656049)"
"""Two hosts that make the same table at once would be in each other's way"""

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS tastemaker_outcomes (
        once BYTEA PRIMARY KEY, number BIGSERIAL, user_id TEXT NOT NULL, kind TEXT NOT NULL, product_id TEXT NOT NULL,
        list TEXT NOT NULL, moment BIGINT NOT NULL, quantity DOUBLE PRECISION NOT NULL, price DOUBLE PRECISION,
        margin DOUBLE PRECISION)""",
    "CREATE INDEX IF NOT EXISTS tastemaker_outcomes_of_user ON tastemaker_outcomes (user_id, moment)",
    "CREATE INDEX IF NOT EXISTS tastemaker_outcomes_in_time ON tastemaker_outcomes (moment)",
    """CREATE TABLE IF NOT EXISTS tastemaker_answered (
        key TEXT PRIMARY KEY, content TEXT NOT NULL, accepted BIGINT NOT NULL, moment TIMESTAMPTZ NOT NULL DEFAULT now())""",
    "CREATE INDEX IF NOT EXISTS tastemaker_answered_in_time ON tastemaker_answered (moment)",
)

ADD: Final = """
WITH given AS (
    SELECT u, k, p, l, coalesce(t, (extract(epoch FROM now()) * 1000000)::BIGINT) AS t, q, w, m
    FROM json_to_recordset($1::json) AS one (
        u TEXT, k TEXT, p TEXT, l TEXT, t BIGINT, q DOUBLE PRECISION, w DOUBLE PRECISION, m DOUBLE PRECISION)
), added AS (
    INSERT INTO tastemaker_outcomes (once, user_id, kind, product_id, list, moment, quantity, price, margin)
    SELECT sha256(convert_to(json_build_array(u, t, k, p, l)::TEXT, 'UTF8')) AS once, u, k, p, l, t, q, w, m
    FROM given ORDER BY once
    ON CONFLICT (once) DO NOTHING
    RETURNING 1)
SELECT count(*) FROM added
"""
"""``once`` is a checksum, since ids may be longer than PostgreSQL's indexes take. In its order: two hosts that keep the same
outcomes wait for each other, and not both for both. An outcome without a time has the database's"""

OLD_KEYS: Final = f"""
DELETE FROM tastemaker_answered WHERE key IN (
    SELECT key FROM tastemaker_answered WHERE moment < now() - interval '{KEPT_SECONDS} seconds' FOR UPDATE SKIP LOCKED)
"""
"""Those that another request deletes at this moment are its own to delete"""

NOTE_KEY: Final = """
WITH noted AS (
    INSERT INTO tastemaker_answered (key, content, accepted) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING RETURNING 1)
SELECT count(*) FROM noted
"""

VISITED: Final = """
WITH first AS (
    SELECT user_id, min(moment) AS moment FROM tastemaker_outcomes
    WHERE kind = 'shown' AND moment >= $1 AND moment < $2 GROUP BY user_id
)
SELECT
    first.user_id, first.moment,
    bool_or(one.kind = 'clicked'), bool_or(one.kind = 'basket'), bool_or(one.kind = 'bought'),
    sum(CASE WHEN one.kind = 'bought' THEN coalesce(one.price, 0) * one.quantity ELSE 0 END ORDER BY one.number),
    sum(CASE WHEN one.kind = 'bought' THEN coalesce(one.margin, 0) * one.quantity ELSE 0 END ORDER BY one.number)
FROM first JOIN tastemaker_outcomes AS one
    ON one.user_id = first.user_id AND one.moment >= first.moment AND one.moment < first.moment + $3
GROUP BY first.user_id, first.moment
ORDER BY first.moment, first.user_id COLLATE "C"
"""

DONE: Final = """
SELECT
    user_id, count(DISTINCT list) FILTER (WHERE kind = 'shown' AND list <> ''),
    count(*) FILTER (WHERE kind = 'shown'), count(*) FILTER (WHERE kind = 'clicked'),
    count(*) FILTER (WHERE kind = 'basket'), count(*) FILTER (WHERE kind = 'bought'),
    coalesce(sum(coalesce(price, 0) * quantity ORDER BY number) FILTER (WHERE kind = 'bought'), 0)
FROM tastemaker_outcomes WHERE moment >= $1 AND moment < $2 GROUP BY user_id ORDER BY user_id COLLATE "C"
"""

SHOWN: Final = """
SELECT count(*) FILTER (WHERE kind = 'shown'), count(*) FILTER (WHERE kind = 'clicked')
FROM tastemaker_outcomes WHERE moment >= $1 AND moment < $2
"""

OUTCOMES: Final = "tastemaker_outcomes"

AWAY: Final = "Outcomes cannot be kept or read until it does."

PATIENT: Final = "SET LOCAL statement_timeout = '15min'"
"""A report reads all visitors of an experiment."""


class SharedOutcomes:
    """The outcomes in a database, as `outcome_store.Outcomes` keeps them in a file."""

    def __init__(self, uri: str) -> None:
        self._database = StateDatabase(uri)
        self._has_tables = False
        """Whether they are known to be there: to ask each time would be a question more; after a failure it is asked again"""

    def add(
        self, outcomes: Sequence[Outcome], *, key: str | None = None, content: bytes = b""
    ) -> tuple[int, bool]:
        """Keep all of the outcomes or none, as `Outcomes.add` does; return how many were new, and whether this is a repetition.

        Raises `EventsProblem` where the database is away. When it goes away while it commits, the outcomes may have been kept: a
        repetition keeps nothing twice.
        """
        table = [
            {"u": one.user, "k": one.kind, "p": one.product, "l": one.list, "t": one.time,
             "q": one.quantity, "w": one.price, "m": one.margin}
            for one in outcomes
        ]  # fmt: skip
        known, self._has_tables = self._has_tables, False
        with self._database.asked(AWAY) as cursor:
            if not known:
                make_tables(cursor)
            repeated = answered_before(cursor, key, content, len(outcomes)) is not None
            new = 0 if repeated else int(rows(cursor, ADD, (json.dumps(table),))[0][0])
        self._has_tables = True
        return new, repeated

    def visited(self, begin: int, end: int, window: int) -> Iterator[Visited]:
        """Yield the visitors of a time, and what they did, as `Outcomes.visited` does. Raises `EventsProblem`."""
        for user, first, *did in self._read(VISITED, begin, end, window):
            clicked, basket, bought, revenue, margin = did
            yield Visited(user, first, bool(clicked), bool(basket), bool(bought), revenue, margin)

    def done(self, begin: int, end: int) -> Iterator[Done]:
        """Yield what each visitor was shown and did in a time, as `Outcomes.done` does. Raises `EventsProblem`."""
        for row in self._read(DONE, begin, end):
            yield Done(*row)

    def shown_and_clicked(self, begin: int, end: int) -> tuple[int, int]:
        """Return how much was shown and clicked from ``begin`` until before ``end``. Raises `EventsProblem`."""
        shown, clicked = self._read(SHOWN, begin, end)[0]
        return int(shown), int(clicked)

    def _read(self, statement: str, *values: int) -> list[tuple[Any, ...]]:
        with self._database.asked(AWAY) as cursor:
            if not has_table(cursor, OUTCOMES):
                raise EventsProblem(
                    f"{self._database.label} holds no outcomes; a server with `--state` and this address keeps them there."
                )
            cursor.execute(PATIENT)
            return rows(cursor, statement, values)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


def make_tables(cursor: Any) -> None:
    """Make what outcomes are kept in, where it is missing."""
    if has_table(cursor, OUTCOMES):
        return
    cursor.execute(ONE_MAKER)
    if not has_table(
        cursor, OUTCOMES
    ):  # else another was quicker: making an index again would lock the table
        for statement in TABLES:
            cursor.execute(statement)


def answered_before(cursor: Any, key: str | None, content: bytes, accepted: int) -> int | None:
    """Return how many events or outcomes a request with this key had brought; note the key where there was none.

    A request with the same key that another host is just keeping is waited for. Raises `KeyUsedOtherwise`.
    """
    if key is None:
        return None
    cursor.execute(OLD_KEYS)
    if rows(cursor, NOTE_KEY, (key, content.hex(), accepted)) == [(1,)]:
        return None
    known, brought = rows(cursor, "SELECT content, accepted FROM tastemaker_answered WHERE key = $1", (key,))[
        0
    ]
    if known != content.hex():
        raise KeyUsedOtherwise("this idempotency key was used for another request; choose a new one.")
    return int(brought)


def open_outcomes(events: Events | None, state: str | None) -> KeptOutcomes | None:
    """Return the outcomes that a server keeps: in the file of its events, in the database that hosts share, or nowhere."""
    if events is None:
        return None
    return Outcomes(events) if state is None else SharedOutcomes(state)


def outcomes_in(file: Path | None, state: str | None) -> KeptOutcomes:
    """Return the outcomes of servers that may be running; raise `EventsProblem`, and `SettingProblem` unless one place is named."""
    if (file is None) == (state is None):
        raise SettingProblem(
            "name where the outcomes are: --events FILE of one host, or --state URI of several."
        )
    return SharedOutcomes(str(state)) if file is None else Outcomes.read(file)
