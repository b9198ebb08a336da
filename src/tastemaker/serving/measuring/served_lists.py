"""`ServedLists`: which lists explored and with which chances, written beside the answers; `ListsInFile`: in the file of events."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any, Protocol

from tastemaker.errors import EventsProblem
from tastemaker.serving.answering.event_store import Events, connect, in_transaction, said_plainly

__all__ = ["KeptLists", "ListsInFile", "ServedList", "ServedLists", "read_served", "row_of"]

log = logging.getLogger("tastemaker.exploring")

TABLE = """
CREATE TABLE IF NOT EXISTS lists (
    list TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    time INTEGER NOT NULL,
    rate REAL NOT NULL,
    pinned INTEGER NOT NULL,
    shown TEXT NOT NULL,
    chances TEXT NOT NULL,
    ranking TEXT NOT NULL,
    asked TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lists_of_user ON lists (user);
"""
"""``shown``, ``chances``, ``ranking`` and ``asked`` are JSON"""

COLUMNS = "list, user, model, version, time, rate, pinned, shown, chances, ranking, asked"

ADD = f"INSERT OR IGNORE INTO lists ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""The same list of the same visitor is the same draw, and is kept once, with the time when it was first served"""

EVERY_SECONDS = 0.2
MOST_WAITING = 100_000
"""Lists beyond these wait for no disk and no database: they are dropped, and counted"""
RECENT = 20_000
"""So many of the lists kept last are not written again"""


@dataclass(frozen=True, slots=True)
class ServedList:
    """One list that was served while lists explore."""

    list_id: str
    user: str
    model: str
    version: int
    time: int
    """When it was first served, in microseconds since 1970-01-01 UTC"""
    rate: float
    pinned: int
    """How many products, at the head, no exploring moves"""
    shown: tuple[str, ...]
    """The products as they stood in the list"""
    chances: tuple[float, ...]
    """The chance with which each of them was shown at its place, over all that exploring could have drawn"""
    ranking: tuple[str, ...]
    """The first products of the ranking, of which the list was drawn: with ``rate`` and ``pinned`` they give every chance"""
    asked: dict[str, Any] = field(default_factory=dict)
    """What the request knew beside the user: ``basket``, ``context``, ``attributes``, ``viewed``"""


class KeptLists(Protocol):
    """Where lists are kept: in a file of events (`ListsInFile`), or where several hosts share them (`SharedLists`)."""

    def keep(self, lists: Sequence[ServedList]) -> int:
        """Keep all of the lists or none, each once; return how many cannot be kept there, ever. Raises `EventsProblem`."""

    def close(self) -> None:
        """Close the file, or the connection."""


class ListsInFile:
    """The lists in a file of events."""

    def __init__(self, events: Events) -> None:
        """Open the file, which ``events`` has prepared, and make the table."""
        self._file = events.file
        with said_plainly(self._file):
            self._writer = connect(self._file)
            self._writer.execute("PRAGMA synchronous = FULL")
            if not has_lists(self._writer):
                self._writer.executescript(f"BEGIN IMMEDIATE;{TABLE}COMMIT;")

    def keep(self, lists: Sequence[ServedList]) -> int:
        """Keep all of the lists or none, each once; all can be kept. Raises `EventsFull` and `EventsProblem`."""
        with said_plainly(self._file), in_transaction(self._writer) as connection:
            connection.executemany(ADD, map(row_of, lists))
        return 0

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class ServedLists:
    """Keeps lists in a thread of its own, several at once; no answer waits for it.

    A process that is killed loses those of its last fifth of a second. Which they are does not depend on what was drawn, so that
    no estimate is wrong by it.
    """

    def __init__(self, kept: KeptLists, lost: Callable[[int], None] = lambda count: None) -> None:
        """Keep lists in ``kept``, which is closed at the end; ``lost`` is told how many could not be kept."""
        self._kept, self._lost = kept, lost
        self._waiting: list[ServedList] = []
        self._recent: dict[str, None] = {}
        self._guard, self._writing, self._wake = threading.Lock(), threading.Lock(), threading.Event()
        self._ended = False
        self._said = ""
        """What kept the last lists from being written; empty once they are"""
        self._thread = threading.Thread(target=self._run, name="served lists", daemon=True)
        self._thread.start()

    def note(self, served: ServedList) -> None:
        """Keep a list soon; this neither waits nor raises."""
        with self._guard:
            if served.list_id in self._recent:
                return
            full = len(self._waiting) >= MOST_WAITING
            if not full:
                self._waiting.append(served)
                self._recent[served.list_id] = None
                if len(self._recent) > RECENT:
                    del self._recent[next(iter(self._recent))]
        if full:
            self._lost(1)

    def flush(self) -> None:
        """Write what waits; what cannot be written now waits on. Raises `EventsProblem`."""
        with self._writing:
            with self._guard:
                waiting, self._waiting = self._waiting, []
            try:
                strange = self._kept.keep(waiting) if waiting else 0
            except BaseException:
                with self._guard:
                    self._waiting = [*waiting, *self._waiting]
                raise
        if strange:
            self._lost(strange)

    def close(self) -> None:
        """Write what waits, end the thread and close what keeps lists."""
        self._ended = True
        self._wake.set()
        self._thread.join()
        self._flush_or_say()
        self._kept.close()
        if self._waiting:
            self._lost(len(self._waiting))

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(EVERY_SECONDS)
            self._flush_or_say()

    def _flush_or_say(self) -> None:
        try:
            self.flush()
        except EventsProblem as error:
            if str(error) != self._said:
                log.error("%s Lists that explored wait to be kept.", error)
            self._said = str(error)
        else:
            if self._said:
                log.warning("Lists that explored are kept again.")
            self._said = ""


def read_served(file: Path, *, model: str | None = None) -> Iterator[ServedList]:
    """Yield the lists that a file of events holds, of one model or of all, in the order of time; a server may write meanwhile.

    Raises `EventsProblem` where there is no such file, where it holds none, and where one is spoilt.
    """
    if not file.is_file():
        raise EventsProblem(
            f"there is no file of events {file}; `tastemaker serve --events F --explore 0.02` makes one."
        )
    with said_plainly(file), closing(connect(file)) as connection:
        if not has_lists(connection) or not connection.execute("SELECT 1 FROM lists LIMIT 1").fetchone():
            raise EventsProblem(
                f"{file.name} holds no list that explored; serve with --explore 0.02, and post what became of the lists."
            )
        where, values = ("", ()) if model is None else (" WHERE model = ?", (model,))
        for row in connection.execute(f"SELECT {COLUMNS} FROM lists{where} ORDER BY time, list", values):
            yield _served(row, file)


def has_lists(connection: sqlite3.Connection) -> bool:
    """Return whether a file of events has the table of lists that explored."""
    return bool(
        connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'lists'").fetchone()
    )


def row_of(one: ServedList) -> tuple[object, ...]:
    """Return the columns of a list, in their order; what holds several values is JSON."""
    return (
        *(one.list_id, one.user, one.model, one.version, one.time, one.rate, one.pinned),
        *(_json(part) for part in (one.shown, one.chances, one.ranking, one.asked)),
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _served(row: Sequence[Any], file: Path) -> ServedList:
    list_id, user, model, version, time, rate, pinned, *texts = row
    try:
        shown, chances, ranking, asked = map(json.loads, texts)
        return ServedList(
            list_id, user, model, version, time, rate, pinned,
            _ids(shown), tuple(map(float, chances)), _ids(ranking), dict(asked),
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise EventsProblem(
            f"the list {list_id} in {file.name} is spoilt ({error}); remove it from the table `lists`."
        ) from None


def _ids(products: Sequence[object]) -> tuple[str, ...]:
    """Return ids as texts, of which each stands in memory once."""
    return tuple(intern(str(product)) for product in products)
