"""`Events`: live purchases in one SQLite file, which all worker processes share and which survives a power cut."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tastemaker.data.identifiers import integers_if_all, python_values, typed_ids
from tastemaker.data.past import PURCHASE
from tastemaker.errors import EventsFull, EventsProblem, KeyUsedOtherwise
from tastemaker.storage import writing

__all__ = [
    "COLUMNS",
    "KEPT_SECONDS",
    "Event",
    "Events",
    "answered_before",
    "as_bytes",
    "connect",
    "copy_events",
    "harmless",
    "in_transaction",
    "read_events",
    "said_plainly",
]

FORMAT = 2
"""1 held purchases alone; opening such a file to write makes it one of 2."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS purchases (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL,
    product TEXT NOT NULL,
    time INTEGER NOT NULL,
    quantity REAL NOT NULL,
    kind TEXT NOT NULL DEFAULT 'purchase',
    context TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS purchases_of_user_in_time ON purchases (user, time);
CREATE TABLE IF NOT EXISTS answered (
    key TEXT PRIMARY KEY,
    content BLOB NOT NULL,
    accepted INTEGER NOT NULL,
    moment INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answered_in_time ON answered (moment);
"""

OUTCOMES = """
CREATE TABLE IF NOT EXISTS outcomes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    product TEXT NOT NULL,
    list TEXT NOT NULL,
    time INTEGER NOT NULL,
    quantity REAL NOT NULL,
    price REAL,
    margin REAL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS outcomes_once ON outcomes (user, time, kind, product, list);
CREATE INDEX IF NOT EXISTS outcomes_in_time ON outcomes (time);
"""
"""What became of lists (`tastemaker.serving.measuring`): in the same file, so that a backup holds it and forgetting removes it"""

GROW = """
ALTER TABLE purchases ADD COLUMN kind TEXT NOT NULL DEFAULT 'purchase';
ALTER TABLE purchases ADD COLUMN context TEXT;
"""

FOLLOWED = """
CREATE TABLE IF NOT EXISTS followed (
    one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL, gone INTEGER NOT NULL
) STRICT
"""
"""In a file that is one host's copy of what several share: of which database, and the last of its deletions that was followed"""

OLDER_INDEX = "purchases_of_user"
"""Of files made before lists read the newest events only"""

KEPT_SECONDS = 7 * 24 * 3600
"""So long an idempotency key is remembered."""

COLUMNS = "number, user, product, time, quantity, kind, context"

NEWEST = 1_000
"""So many live events of a user are read for a list, the newest by their time"""

NEWEST_OF_ONE = f"SELECT * FROM (SELECT {COLUMNS} FROM purchases WHERE user = ? ORDER BY time DESC, number DESC LIMIT {NEWEST})"

USERS_AT_ONCE = 400
"""Most users of one query; SQLite joins at most 500 selects."""

WAIT_SECONDS = 5.0
"""How long a writer waits for another process's commit"""

EVENT = "event"
"""The column of an exported log that tells kinds"""

FORMULA = r"^[=+\-@\t\r]"
"""The first character of a cell that a spreadsheet takes for a formula"""


@dataclass(frozen=True, slots=True)
class Event:
    """One purchase, or an event of another kind, that happened while a model serves."""

    user: str
    product: str
    time: int
    """Microseconds since 1970-01-01 UTC"""
    quantity: float = 1.0
    kind: str = PURCHASE
    context: str = ""
    """What was known of the request, as a JSON object; empty means nothing"""


class Events:
    """The file of live purchases. What `add` has returned for is on the disk; readers never wait for writers."""

    follows = False
    """Whether the file is a copy of what several hosts share"""

    def __init__(self, file: Path) -> None:
        self.file = self._file = file
        self._writing, self._reading, self._counting = threading.Lock(), threading.Lock(), threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._counter: sqlite3.Connection | None = None
        """Apart from the reader, so that whoever asks for the last number waits for nobody's long query"""
        try:
            with said_plainly(file):
                _make_private(file)
                self._writer = self._open()
                self._reader, self._counter = connect(file), connect(file)
        except EventsFull as error:
            raise EventsFull(
                f"there is no room for the file of events {file.name}; make room and start again."
            ) from error

    def _open(self) -> sqlite3.Connection:
        """Open the file, and create it if it is new; when several processes start together, one creates it and the others wait."""
        until = time.monotonic() + WAIT_SECONDS
        while True:
            connection = connect(self._file)
            try:
                self._prepare(connection)
            except BaseException as error:
                connection.close()
                # the change to a write-ahead log refuses at once where another process is at it, whatever the time-out
                if not _is_busy(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        number = connection.execute("PRAGMA user_version").fetchone()[0]
        if number > FORMAT:
            raise EventsProblem(
                f"{self._file.name} has format {number}, and this tastemaker knows format {FORMAT}; upgrade it."
            )
        if number < FORMAT:
            connection.execute("PRAGMA journal_mode = WAL")
            with in_transaction(connection):
                number = connection.execute("PRAGMA user_version").fetchone()[
                    0
                ]  # another may have been quicker
                change = "" if number == FORMAT else GROW if number else SCHEMA
                for statement in change.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (OLDER_INDEX,)).fetchone():
            connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}DROP INDEX IF EXISTS {OLDER_INDEX};COMMIT;")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'outcomes_in_time'").fetchone():
            connection.executescript(f"BEGIN IMMEDIATE;{OUTCOMES}COMMIT;")
        connection.execute("PRAGMA synchronous = FULL")
        if self.follows:
            connection.execute(FOLLOWED)
        elif connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'followed'").fetchone():
            raise EventsProblem(
                f"{self._file.name} is a copy of a database that several hosts share; give --state, or ask one of their servers."
            )

    def add(
        self, events: Sequence[Event], *, key: str | None = None, content: bytes = b""
    ) -> tuple[int, bool]:
        """Keep all of the events or none; return how many were kept, and whether this request was a repetition.

        ``key`` names the request and ``content`` is its digest: a repeated key stores nothing twice. Raises `EventsFull`,
        `KeyUsedOtherwise`, `EventsProblem`.
        """
        with self._writing, said_plainly(self._file), in_transaction(self._writer) as connection:
            before = answered_before(connection, key, content, len(events))
            if before is not None:
                return before, True
            connection.executemany(
                "INSERT INTO purchases (user, product, time, quantity, kind, context) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (one.user, one.product, one.time, one.quantity, one.kind, one.context or None)
                    for one in events
                ],
            )
            return len(events), False

    def events_of(self, users: Sequence[str]) -> dict[str, list[Event]]:
        """Return the live events of those of the users who have some, in the order of arrival.

        Of each user the newest 1,000 by their time (`NEWEST`), however many there are.
        """
        found: dict[str, list[Event]] = {}
        distinct = list(dict.fromkeys(users))
        for low in range(0, len(distinct), USERS_AT_ONCE):
            some = distinct[low : low + USERS_AT_ONCE]
            newest = " UNION ALL ".join([NEWEST_OF_ONE] * len(some))
            for _, event in self._read(f"{newest} ORDER BY number", tuple(some)):
                found.setdefault(event.user, []).append(event)
        return found

    def after(self, number: int, *, most: int) -> list[tuple[int, Event]]:
        """Return the events with a greater number, with their numbers, in the order of arrival; so many at most."""
        query = f"SELECT {COLUMNS} FROM purchases WHERE number > ? ORDER BY number LIMIT ?"
        return self._read(query, (number, most))

    def last_number(self) -> int:
        """Return the number of the event that arrived last; 0 where there is none."""
        with self._counting, said_plainly(self._file):
            assert self._counter is not None
            return int(self._counter.execute("SELECT max(number) FROM purchases").fetchone()[0] or 0)

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[int, Event]]:
        with self._reading, said_plainly(self._file):
            assert self._reader is not None
            rows = self._reader.execute(query, values)
            return [
                (number, Event(user, product, moment, quantity, kind, context or ""))
                for number, user, product, moment, quantity, kind, context in rows
            ]

    def count(self) -> int:
        """Return how many events the file holds."""
        with self._reading, said_plainly(self._file):
            assert self._reader is not None
            return int(self._reader.execute("SELECT count(*) FROM purchases").fetchone()[0])

    def count_of(self, user: str) -> int:
        """Return how many events, outcomes and logged lists of a user the file holds."""
        with self._reading, said_plainly(self._file):
            assert self._reader is not None
            return sum(
                int(
                    self._reader.execute(f"SELECT count(*) FROM {table} WHERE user = ?", (user,)).fetchone()[
                        0
                    ]
                )
                for table in _tables_of_users(self._reader)
            )

    def forget(self, user: str) -> int:
        """Delete what `count_of` counts of a user and return how much; its bytes are overwritten, in the log beside it, too.

        Numbers are not given again. Raises `EventsProblem`, also where a reader holds the log beside the file for seconds.
        """
        with self._writing, said_plainly(self._file):
            self._writer.execute("PRAGMA secure_delete = ON")
            with in_transaction(self._writer) as connection:
                gone = sum(
                    connection.execute(f"DELETE FROM {table} WHERE user = ?", (user,)).rowcount
                    for table in _tables_of_users(connection)
                )
            busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise EventsProblem(
                f"the events of the user are deleted, but {self._file.name}-wal is being read and still holds them; try again."
            )
        return int(gone)

    def close(self) -> None:
        """Close the file."""
        for connection in (self._writer, self._reader, self._counter):
            if connection is not None:
                connection.close()


def read_events(file: Path, *, after: int = 0, most: int | None = None) -> pl.DataFrame:
    """Return the events of a file as a log: ``number, user_id, product_id, time, quantity``, in the order of arrival.

    Where the file holds events of other kinds, too, a column ``event`` tells them; each name of a context has a column of its own.
    Ids are integers where all are. ``after`` leaves out the events up to that number, which an earlier export had; ``most`` bounds
    how many come. A server may write meanwhile. Raises `EventsProblem`.
    """
    if not file.is_file():
        raise EventsProblem(f"there is no file of events {file}; `tastemaker serve --events F` makes one.")
    with said_plainly(file):
        connection = connect(file)
        try:
            has_kinds = connection.execute("PRAGMA user_version").fetchone()[0] > 1
            more = ", kind, context" if has_kinds else ", 'purchase', NULL"
            rows = connection.execute(
                f"SELECT number, user, product, time, quantity{more} FROM purchases WHERE number > ? ORDER BY number LIMIT ?",
                (after, -1 if most is None else most),
            ).fetchall()
            others = has_kinds and bool(
                connection.execute("SELECT 1 FROM purchases WHERE kind != ? LIMIT 1", (PURCHASE,)).fetchall()
            )
        finally:
            connection.close()
    frame = pl.DataFrame(
        rows,
        schema={
            "number": pl.Int64,
            "user_id": pl.String,
            "product_id": pl.String,
            "time": pl.Int64,
            "quantity": pl.Float64,
            EVENT: pl.String,
            "context": pl.String,
        },
        orient="row",
    )
    frame = _with_contexts(frame) if others else _with_contexts(frame).drop(EVENT)
    return frame.with_columns(
        integers_if_all(frame["user_id"]) if len(frame) else frame["user_id"],
        integers_if_all(frame["product_id"]) if len(frame) else frame["product_id"],
        frame["time"].cast(pl.Datetime("us", "UTC")),
    )


def copy_events(file: Path, into: Path) -> int:
    """Copy a file of events as it is at one moment, whole or not at all and for its owner alone; return how many events it holds.

    Numbers and idempotency keys are copied, too. A server may write meanwhile, and waits for nothing. Raises `EventsProblem`, and
    `OSError` where the copy cannot be written.
    """
    if not file.is_file():
        raise EventsProblem(f"there is no file of events {file}; `tastemaker serve --events F` makes one.")
    if into.exists() and into.samefile(file):
        raise EventsProblem(f"{into} is the file of events itself; give the copy another name.")
    with writing(into, mode=0o600) as temporary:
        try:
            with closing(connect(file)) as source, closing(sqlite3.connect(temporary)) as copy:
                source.backup(copy)
                said = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
                if said != "ok":
                    raise EventsProblem(
                        f"the events in {file.name} are damaged ({said}); nothing was copied."
                    )
                return int(copy.execute("SELECT count(*) FROM purchases").fetchone()[0])
        except sqlite3.Error as error:
            raise EventsProblem(f"the events in {file.name} cannot be copied to {into}: {error}.") from error


def _with_contexts(frame: pl.DataFrame) -> pl.DataFrame:
    """Give each name of a context a column of its own, where the log has none of that name."""
    contexts = [json.loads(text) if text else {} for text in frame["context"]]
    frame = frame.drop("context")
    names = dict.fromkeys(name for context in contexts for name in context)
    for name in names:
        if name not in frame.columns:
            values = [context.get(name) for context in contexts]
            plain = len({type(value) for value in values if value is not None}) == 1
            texts = (
                values if plain else [None if one is None else json.dumps(one).strip('"') for one in values]
            )
            frame = frame.with_columns(pl.Series(name, texts))
    return frame


def as_bytes(frame: pl.DataFrame, kind: str, *, raw_cells: bool = False) -> bytes:
    """Return a log as JSON lines, CSV or Parquet.

    Texts of a CSV that a spreadsheet would take for a formula get an apostrophe before them, unless ``raw_cells``.
    """
    if kind == "parquet":
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        return buffer.getvalue()
    text = frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    if kind == "csv" and not raw_cells:
        text = harmless(text)
    return (text.write_csv() if kind == "csv" else _as_json_lines(text)).encode()


def harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table in which no text, and no name of a column, is a formula to a spreadsheet: an apostrophe stands before it."""
    cells = frame.with_columns(
        pl.when(pl.col(name).str.contains(FORMULA))
        .then("'" + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in frame.columns
        if frame[name].dtype == pl.String
    )
    return cells.rename({name: f"'{name}" for name in cells.columns if re.search(FORMULA, name)})


def _as_json_lines(frame: pl.DataFrame) -> str:
    """Write each id as what it is, a number or a text, also where both stand in one column."""
    mixed = [
        name
        for name in ("user_id", "product_id")
        if frame[name].dtype == pl.String and typed_ids(frame[name].unique())[1] == "integers and text"
    ]
    if not mixed:
        return frame.write_ndjson()
    values = {
        name: python_values(frame[name], "integers and text") if name in mixed else frame[name].to_list()
        for name in frame.columns
    }
    lines = zip(*values.values(), strict=True)
    return "".join(
        json.dumps(dict(zip(values, line, strict=True)), ensure_ascii=False) + "\n" for line in lines
    )


def answered_before(
    connection: sqlite3.Connection, key: str | None, content: bytes, accepted: int
) -> int | None:
    """Return how much a request with this key had brought; note the key, in the running transaction, where there was none.

    Raises `KeyUsedOtherwise` where it had another content.
    """
    if key is None:
        return None
    before = connection.execute("SELECT content, accepted FROM answered WHERE key = ?", (key,)).fetchone()
    if before is not None:
        if before[0] != content:
            raise KeyUsedOtherwise("this idempotency key was used for another request; choose a new one.")
        return int(before[1])
    # a clock that went back and is put right must not age the keys of between: time here never goes back
    latest = connection.execute("SELECT max(moment) FROM answered").fetchone()[0]
    now = max(int(time.time()), latest or 0)
    connection.execute("DELETE FROM answered WHERE moment < ?", (now - KEPT_SECONDS,))
    connection.execute("INSERT INTO answered VALUES (?, ?, ?, ?)", (key, content, accepted, now))
    return None


def _tables_of_users(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that name users; that of lists is there once a server has explored."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return [table for table in ("purchases", "outcomes", "lists") if table in there]


def _make_private(file: Path) -> None:
    """Make a new file that its owner alone may read; SQLite gives the files beside it the same mode."""
    with suppress(OSError):  # it is there, or SQLite says in a moment why it cannot be
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def connect(file: Path) -> sqlite3.Connection:
    """Return a connection that any thread may use, one at a time, and that waits for other writers."""
    return sqlite3.connect(file, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)


@contextmanager
def in_transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Yield a connection in a transaction that keeps other writers out, and is undone by what is raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _is_busy(error: BaseException) -> bool:
    return (
        isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    )


@contextmanager
def said_plainly(file: Path) -> Iterator[None]:
    """Turn what SQLite raises about a file of events into `EventsFull` and `EventsProblem`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise EventsFull(
                f"there is no room to keep more in {file.name}, and nothing of this was kept; make room and send it again."
            ) from error
        raise EventsProblem(f"the events in {file.name} cannot be read or written: {error}.") from error
