"""`Outcomes`: what became of lists, in the file of live purchases and kept with the same care."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from tastemaker.errors import EventsProblem
from tastemaker.serving.answering.event_store import (
    Events,
    answered_before,
    connect,
    in_transaction,
    said_plainly,
)

__all__ = ["Became", "Done", "KeptOutcomes", "Kind", "Outcome", "Outcomes", "Visited"]

Kind: TypeAlias = Literal["shown", "clicked", "basket", "bought"]

ADD = """
INSERT OR IGNORE INTO outcomes (user, kind, product, list, time, quantity, price, margin) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

VISITED = """
WITH first AS (
    SELECT user, min(time) AS time FROM outcomes WHERE kind = 'shown' AND time >= :begin AND time < :end GROUP BY user
)
SELECT
    first.user, first.time,
    max(one.kind = 'clicked'), max(one.kind = 'basket'), max(one.kind = 'bought'),
    sum(CASE WHEN one.kind = 'bought' THEN coalesce(one.price, 0) * one.quantity ELSE 0 END),
    sum(CASE WHEN one.kind = 'bought' THEN coalesce(one.margin, 0) * one.quantity ELSE 0 END)
FROM first CROSS JOIN outcomes AS one ON one.user = first.user AND one.time >= first.time AND one.time < first.time + :window
GROUP BY first.user
ORDER BY first.time, first.user
"""
"""`CROSS JOIN` holds SQLite to one look at the index for each visitor"""

DONE = """
SELECT
    user, count(DISTINCT CASE WHEN kind = 'shown' THEN nullif(list, '') END),
    sum(kind = 'shown'), sum(kind = 'clicked'), sum(kind = 'basket'), sum(kind = 'bought'),
    sum(CASE WHEN kind = 'bought' THEN coalesce(price, 0) * quantity ELSE 0 END)
FROM outcomes WHERE time >= :begin AND time < :end GROUP BY user ORDER BY user
"""

OF_LISTS = """
SELECT list, kind, product, time, 1.0, 1.0 FROM outcomes WHERE list != '' AND kind IN ('shown', 'clicked')
UNION ALL
SELECT coalesce(
    nullif(bought.list, ''),
    (SELECT clicked.list FROM outcomes AS clicked
     WHERE clicked.user = bought.user AND clicked.kind = 'clicked' AND clicked.product = bought.product
        AND clicked.time <= bought.time AND clicked.time > bought.time - :window
     ORDER BY clicked.time DESC, clicked.number DESC LIMIT 1),
    ''
), 'bought', bought.product, bought.time, bought.quantity, coalesce(bought.price, 0)
FROM outcomes AS bought WHERE bought.kind = 'bought'
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that became of a list, or of none."""

    user: str
    kind: Kind
    time: int | None
    """Microseconds since 1970-01-01 UTC; ``None`` for the moment when it is kept, by the clock of what keeps it"""
    product: str = ""
    list: str = ""
    """The id of the list; empty where nobody knows it"""
    quantity: float = 1.0
    price: float | None = None
    """Of one piece, as is the margin"""
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Visited:
    """One visitor to whom lists were shown, and what they did from the first of them until the window had passed."""

    user: str
    first: int
    """When the first list was shown, in microseconds"""
    clicked: bool
    basket: bool
    bought: bool
    revenue: float
    margin: float


@dataclass(frozen=True, slots=True)
class Done:
    """What one visitor was shown and did in a time."""

    user: str
    lists: int
    """Different lists that were shown, of those whose ids are known"""
    shown: int
    clicked: int
    basket: int
    bought: int
    revenue: float


@dataclass(frozen=True, slots=True)
class Became:
    """One thing that became of a list."""

    list: str
    kind: Kind
    product: str
    time: int
    quantity: float
    price: float


class KeptOutcomes(Protocol):
    """Where outcomes are kept: in a file of events (`Outcomes`), or where several hosts share them (`SharedOutcomes`)."""

    def add(
        self, outcomes: Sequence[Outcome], *, key: str | None = None, content: bytes = b""
    ) -> tuple[int, bool]:
        """Keep all of the outcomes or none; return how many were new, and whether this request was a repetition."""

    def visited(self, begin: int, end: int, window: int) -> Iterator[Visited]:
        """Yield the visitors who were first shown a list in a time, and what they did."""

    def done(self, begin: int, end: int) -> Iterator[Done]:
        """Yield what each visitor was shown and did in a time."""

    def close(self) -> None:
        """Close the file, or the connection."""


class Outcomes:
    """The outcomes in a file of events. What `add` has returned for is on the disk."""

    def __init__(self, events: Events) -> None:
        """Open the file, which ``events`` has prepared, once more: who writes purchases waits for nobody who reads outcomes."""
        self._file = events.file
        self._writing, self._reading = threading.Lock(), threading.Lock()
        with said_plainly(self._file):
            self._writer, self._reader = connect(self._file), connect(self._file)
            self._writer.execute("PRAGMA synchronous = FULL")
            self._reader.execute("PRAGMA query_only = ON")

    @staticmethod
    def read(file: Path) -> Outcomes:
        """Open the outcomes of a file that a server may be writing; raise `EventsProblem` where there is none."""
        if not file.is_file():
            raise EventsProblem(
                f"there is no file of events {file}; `tastemaker serve --events F` makes one."
            )
        events = Events(file)
        try:
            return Outcomes(events)
        finally:
            events.close()

    def add(
        self, outcomes: Sequence[Outcome], *, key: str | None = None, content: bytes = b""
    ) -> tuple[int, bool]:
        """Keep all of the outcomes or none; return how many were new, and whether this request was a repetition.

        An outcome of the same user, kind, product, list and time as a former one is the former. ``key`` and ``content`` are
        those of `Events.add`. Raises `EventsFull`, `KeyUsedOtherwise`, `EventsProblem`.
        """
        now = time.time_ns() // 1_000
        with self._writing, said_plainly(self._file), in_transaction(self._writer) as connection:
            before = answered_before(connection, key, content, len(outcomes))
            if before is not None:
                return 0, True
            new = connection.executemany(
                ADD,
                [
                    (
                        *(one.user, one.kind, one.product, one.list),
                        now if one.time is None else one.time,
                        *(one.quantity, one.price, one.margin),
                    )
                    for one in outcomes
                ],
            ).rowcount
            return int(new), False

    def visited(self, begin: int, end: int, window: int) -> Iterator[Visited]:
        """Yield the visitors who were first shown a list from ``begin`` until before ``end``, in that order.

        What they did counts from then on for ``window``; all in microseconds. Raises `EventsProblem`.
        """
        with self._reading, said_plainly(self._file):
            for user, first, *did in self._reader.execute(
                VISITED, {"begin": begin, "end": end, "window": window}
            ):
                clicked, basket, bought, revenue, margin = did
                yield Visited(user, first, bool(clicked), bool(basket), bool(bought), revenue, margin)

    def done(self, begin: int, end: int) -> Iterator[Done]:
        """Yield what each visitor was shown and did from ``begin`` until before ``end``. Raises `EventsProblem`."""
        with self._reading, said_plainly(self._file):
            for row in self._reader.execute(DONE, {"begin": begin, "end": end}):
                yield Done(*row)

    def of_lists(self, window: int) -> Iterator[Became]:
        """Yield what became of lists: shown, clicked, and bought, by last touch.

        A purchase belongs to the list that it names; without one, to the list of the visitor's last click on this product within
        the ``window``, in microseconds, before. Raises `EventsProblem`, also for a price or a quantity that is no number, which
        another program has written.
        """
        with self._reading, said_plainly(self._file):
            for row in self._reader.execute(OF_LISTS, {"window": window}):
                one = Became(*row)
                if one.list and not all(
                    isinstance(value, int | float) for value in (one.quantity, one.price)
                ):
                    raise EventsProblem(
                        f"an outcome of the list {one.list} in {self._file.name} has the price {one.price!r} and the quantity "
                        f"{one.quantity!r}, which must be numbers; put it right."
                    )
                if one.list:
                    yield one

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
        self._reader.close()
