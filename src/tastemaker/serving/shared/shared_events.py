"""`SharedEvents`: live purchases of several hosts in one PostgreSQL database, of which each host keeps a copy to read from.

A purchase is acknowledged once the database has committed it. Each host follows the database into an SQLite file of its own, with
the same numbers, and makes its lists from that: they need no database. While it is away, purchases are refused.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tastemaker.data.databases.held import rows
from tastemaker.errors import DatabaseProblem, EventsProblem
from tastemaker.serving.answering.event_store import (
    COLUMNS,
    Event,
    Events,
    in_transaction,
    said_plainly,
)
from tastemaker.serving.shared import shared_users
from tastemaker.serving.shared.shared_outcomes import answered_before, make_tables
from tastemaker.serving.shared.shared_users import ONE_WRITER
from tastemaker.serving.shared.state_database import EVERY_SECONDS, StateDatabase

__all__ = ["SharedEvents", "open_events"]

log = logging.getLogger("tastemaker.shared")

AT_ONCE: Final = 10_000
"""Most events of one step of catching up"""

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS tastemaker_events (
        number BIGSERIAL PRIMARY KEY, user_id TEXT NOT NULL, product_id TEXT NOT NULL, moment BIGINT NOT NULL,
        quantity DOUBLE PRECISION NOT NULL, kind TEXT NOT NULL, context TEXT)""",
    "CREATE INDEX IF NOT EXISTS tastemaker_events_of_user ON tastemaker_events (user_id)",
    "CREATE TABLE IF NOT EXISTS tastemaker_gone (number BIGSERIAL PRIMARY KEY, event BIGINT NOT NULL)",
)
"""``gone`` holds the numbers of deleted events, so that each host deletes them, too; no id of a user stays"""

ADD: Final = """
INSERT INTO tastemaker_events (user_id, product_id, moment, quantity, kind, context)
SELECT u, p, t, q, k, c
FROM json_to_recordset($1::json) AS one (n INT, u TEXT, p TEXT, t BIGINT, q DOUBLE PRECISION, k TEXT, c TEXT)
ORDER BY n
"""

NEWS: Final = """
SELECT coalesce((SELECT max(number) FROM tastemaker_events), 0), coalesce((SELECT max(number) FROM tastemaker_gone), 0)
"""

AFTER: Final = """
SELECT number, user_id, product_id, moment, quantity, kind, context
FROM tastemaker_events WHERE number > $1 ORDER BY number LIMIT $2
"""


COPY: Final = f"INSERT OR IGNORE INTO purchases ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"

GONE: Final = "SELECT number, event FROM tastemaker_gone WHERE number > $1 ORDER BY number"


class SharedEvents(Events):
    """A host's copy of the live purchases of a database, and the way to write to it."""

    follows = True

    def __init__(self, file: Path, uri: str) -> None:
        self._database = StateDatabase(uri)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem = ""
        """Why the database does not answer; empty while it does"""
        super().__init__(file)
        try:
            self._writer.execute("PRAGMA secure_delete = ON")
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        """Make the tables where they are missing, and hold the copy to the database that it began with."""
        with said_plainly(self._file):
            known = self._writer.execute("SELECT state FROM followed").fetchone()
        try:
            with self._database.transaction() as cursor:
                cursor.execute(ONE_WRITER)
                for statement in TABLES:
                    cursor.execute(statement)
                make_tables(cursor)
                found = self._database.joined(cursor)
                given = rows(cursor, "SELECT last_value FROM tastemaker_events_number_seq")[0][0]
        except DatabaseProblem as error:
            if known is None:
                raise EventsProblem(
                    f"{error} This host has no copy of its purchases yet, so it cannot start."
                ) from None
            self._note(error)
            return
        if known is not None and known[0] != found:
            raise EventsProblem(
                f"{self._file.name} is a copy of another database than {self._database.label}; give --events a new file."
            )
        if known is not None and self._here()[0] > given:
            raise EventsProblem(
                f"{self._file.name} has events that {self._database.label} has not: the database was restored from "
                "an older backup; give --events a new file, on every host."
            )
        if known is None:
            if self.count():
                raise EventsProblem(
                    f"{self._file.name} holds {self.count():,} purchases of its own, and would become a copy of "
                    f"{self._database.label}; give --events a new file."
                )
            with self._writing, said_plainly(self._file), in_transaction(self._writer) as connection:
                connection.execute("INSERT OR IGNORE INTO followed VALUES (1, ?, 0)", (found,))

    def start(self) -> None:
        """Follow the database from now on, in a thread of its own, until `close`."""
        self._thread = threading.Thread(target=self._follow, name="shared events", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                more = self.catch_up()
            except EventsProblem as error:
                log.error("%s The copy of the purchases is behind.", error)
                more = False
            if not more:
                self._ended.wait(EVERY_SECONDS)

    def catch_up(self) -> bool:
        """Take over what the database has and this host has not; return whether there is more than one step takes.

        A database that is away is noted in ``problem`` and raises nothing. Raises `EventsProblem` where the copy cannot be written.
        """
        try:
            more = self._catch_up()
        except DatabaseProblem as error:
            self._note(error)
            return False
        if self.problem:
            log.warning("%s answers again; purchases are taken.", self._database.label)
            self.problem = ""
        return more

    def _catch_up(self) -> bool:
        with self._database.transaction() as cursor:
            last, last_gone = rows(cursor, NEWS)[0]
        with self._writing, said_plainly(self._file):
            here, here_gone = self._here()
            if here >= last and here_gone >= last_gone:
                return False
            # the file is locked before the database is read: another worker's older answer must not undo a deletion
            with in_transaction(self._writer) as connection:
                here, here_gone = self._here()
                with self._database.transaction() as cursor:
                    arrived = rows(cursor, AFTER, (here, AT_ONCE))
                    gone = rows(cursor, GONE, (here_gone,))
                connection.executemany(
                    COPY,
                    arrived,
                )
                connection.executemany(
                    "DELETE FROM purchases WHERE number = ?", [(event,) for _, event in gone]
                )
                if gone:
                    connection.execute("UPDATE followed SET gone = ?", (gone[-1][0],))
            if gone:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(arrived) == AT_ONCE

    def _here(self) -> tuple[int, int]:
        """Return the last event and the last deletion that the copy has; numbers are never given twice, also after a deletion."""
        last = self._writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'purchases'").fetchone()
        gone = self._writer.execute("SELECT gone FROM followed").fetchone()
        return (0 if last is None else int(last[0])), int(gone[0])

    def add(
        self, events: Sequence[Event], *, key: str | None = None, content: bytes = b""
    ) -> tuple[int, bool]:
        """Keep all of the events or none, in the database, as `Events.add` does; they are in this host's lists at once.

        Raises `EventsProblem` where the database is away. When it goes away while it commits, the events may have been kept: a
        repetition with the same ``key`` keeps nothing twice.
        """
        table = [
            {"n": n, "u": one.user, "p": one.product, "t": one.time, "q": one.quantity, "k": one.kind, "c": one.context or None}
            for n, one in enumerate(events)
        ]  # fmt: skip
        with self._refused(), self._database.transaction() as cursor:
            cursor.execute(ONE_WRITER)
            before = answered_before(cursor, key, content, len(events))
            if before is not None:
                return before, True
            cursor.execute(ADD, [json.dumps(table)])
        try:
            self.catch_up()
        except EventsProblem as error:  # they are kept; only this host does not know them yet
            log.error("%s The copy of the purchases is behind.", error)
        return len(events), False

    def count_of(self, user: str) -> int:
        """Return how many events and outcomes of a user there are. Raises `EventsProblem` where the database is away."""
        with self._refused(), self._database.transaction() as cursor:
            return shared_users.count_of(cursor, user)

    def forget(self, user: str) -> int:
        """Delete the events and outcomes of a user in the database and here, and return how many; other hosts follow.

        Raises `EventsProblem`.
        """
        with self._refused(), self._database.transaction() as cursor:
            gone = shared_users.forget(cursor, user)
        while self.catch_up():
            pass
        return gone

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except DatabaseProblem as error:
            self._note(error)
            raise EventsProblem(f"{error} Purchases cannot be kept until it does; send them again.") from None

    def _note(self, error: DatabaseProblem) -> None:
        if not self.problem:
            log.error("%s Lists are made from this host's copy; purchases and outcomes are refused.", error)
        self.problem = f"{error} Lists are made from this host's copy; purchases and outcomes are refused."

    def close(self) -> None:
        """Stop following, and close the copy and the connection."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._database.close()
        super().close()


def open_events(file: Path | None, state: str | None) -> Events | None:
    """Return the live purchases of this host alone, of several hosts, or none; raise `EventsProblem`."""
    if state is None:
        return None if file is None else Events(file)
    if file is None:
        raise EventsProblem(
            "--state needs --events FILE, too: this host's copy, from which it makes its lists."
        )
    return SharedEvents(file, state)
