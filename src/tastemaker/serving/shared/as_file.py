"""`log_at`: what several hosts logged and were told, as one file of events, so that it is read as that of one host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tastemaker.data.databases.address import is_address
from tastemaker.errors import EventsProblem
from tastemaker.serving.answering.event_store import Events, connect, in_transaction, said_plainly
from tastemaker.serving.measuring.served_lists import ListsInFile
from tastemaker.serving.shared.shared_lists import LISTS
from tastemaker.serving.shared.shared_outcomes import OUTCOMES, PATIENT
from tastemaker.serving.shared.state_database import StateDatabase, has_table

__all__ = ["log_at"]

COPIED: Final = (
    (
        "purchases (number, user, product, time, quantity, kind, context)",
        "SELECT number, user_id, product_id, moment, quantity, kind, context FROM tastemaker_events ORDER BY number",
    ),
    (
        "outcomes (number, user, kind, product, list, time, quantity, price, margin)",
        "SELECT number, user_id, kind, product_id, list, moment, quantity, price, margin FROM tastemaker_outcomes ORDER BY number",
    ),
    (
        "lists (list, user, model, version, time, rate, pinned, shown, chances, ranking, asked)",
        "SELECT list, user_id, model, version, moment, rate, pinned, shown, chances, ranking, asked FROM tastemaker_lists",
    ),
)
"""What goes where in the file, and how it is asked for"""

AT_ONCE: Final = 10_000
"""Most rows of the database in memory"""

AWAY: Final = "Nothing was estimated."


@contextmanager
def log_at(place: str) -> Iterator[Path]:
    """Yield the file of events at a path, or what the database of several hosts (``postgresql://…``) holds, as such a file.

    That file has the database's name, is for its owner alone, and is removed at the end. Raises `EventsProblem` where the database
    is away or no host has logged lists in it, and `StateProblem` for an address that is no PostgreSQL database.
    """
    if not is_address(place):
        yield Path(place)
        return
    with TemporaryDirectory(prefix="tastemaker-") as folder, closing(StateDatabase(place)) as database:
        file = Path(folder) / database.label.rpartition("/")[2]
        with database.asked(AWAY) as cursor:
            if not (has_table(cursor, LISTS) and has_table(cursor, OUTCOMES)):
                raise EventsProblem(
                    f"{database.label} holds no list that explored; serve with --state, --events and --explore 0.02, and post what "
                    "became of the lists."
                )
            cursor.execute(PATIENT)
            _copy(cursor, file)
        yield file


def _copy(cursor: Any, file: Path) -> None:
    """Write the events, outcomes and lists of a database to a new file."""
    with (
        closing(Events(file)) as events,
        closing(ListsInFile(events)),
        said_plainly(file),
        closing(connect(file)) as writer,
        in_transaction(writer),
    ):
        for into, asked in COPIED:
            cursor.execute(asked)
            values = ", ".join("?" * (into.count(",") + 1))
            while some := cursor.fetchmany(AT_ONCE):
                writer.executemany(f"INSERT INTO {into} VALUES ({values})", some)
