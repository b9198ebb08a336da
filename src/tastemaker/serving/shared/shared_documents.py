"""`SharedDocuments`: rules, labels and keys of several hosts in one PostgreSQL database, of which each host has copies in files.

Whoever reads them reads files, as a host alone does; whoever changes them changes the database, and every host brings its files up
to date. They stay on its disk: while the database is away, and after a restart without it, they hold as they were last known.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tastemaker.data.databases.held import rows
from tastemaker.errors import DatabaseProblem, StateProblem
from tastemaker.serving.answering import active_rules, rule_history
from tastemaker.serving.measuring import experiments
from tastemaker.serving.models import labels
from tastemaker.serving.shared.state_database import EVERY_SECONDS, StateDatabase
from tastemaker.storage import (
    good_copy,
    keep_elsewhere,
    kept_elsewhere,
    locked,
    read_regular,
    replace_text,
    update,
)

__all__ = ["SharedDocuments", "copies_beside", "only_asked"]

log = logging.getLogger("tastemaker.shared")

KEYS: Final = "keys.json"
OF_MODEL: Final = (active_rules.FILE, rule_history.FILE, labels.FILE, experiments.FILE)
"""What is shared of each model"""

CLOCK_SECONDS: Final = 5.0
"""A clock that differs by more from the database's is told"""

ONE_WRITER: Final = "SELECT pg_advisory_xact_lock(7308324466019656048)"
"""Writers take turns until they have committed, so that a higher number is always a later content"""

TABLE: Final = """
CREATE TABLE IF NOT EXISTS tastemaker_documents (
    name TEXT PRIMARY KEY, number BIGINT NOT NULL, content BYTEA NOT NULL, moment TIMESTAMPTZ NOT NULL DEFAULT now())
"""

NEWS: Final = """
SELECT (SELECT coalesce(max(number), 0) FROM tastemaker_documents), (SELECT max(format) FROM tastemaker_state),
       extract(epoch FROM clock_timestamp())::DOUBLE PRECISION
"""

AFTER: Final = "SELECT name, number, content FROM tastemaker_documents WHERE number > $1 ORDER BY number"

CONTENT: Final = "SELECT content FROM tastemaker_documents WHERE name = $1"

ADD: Final = """
INSERT INTO tastemaker_documents (name, number, content)
VALUES ($1, (SELECT coalesce(max(number), 0) + 1 FROM tastemaker_documents), $2)
ON CONFLICT (name) DO NOTHING
"""

PUT: Final = ADD.replace(
    "DO NOTHING", "DO UPDATE SET number = excluded.number, content = excluded.content, moment = now()"
)


class SharedDocuments:
    """The home (`storage.Home`) of rules, labels and keys that several hosts share."""

    def __init__(self, copies: Path, uri: str) -> None:
        self._database = StateDatabase(uri)
        self._copies, self._mark = copies, copies / "state.json"
        self._seeds: dict[str, Path] = {}
        """Files of this host whose content is to be the database's where that has none"""
        self._ahead = 0.0
        """By how many seconds this host's clock was ahead of the database's when that was last asked"""
        self._last = -1
        """The number of the last content that this process knows to be in the copies"""
        self._listeners: list[Callable[[], None]] = []
        self._within = threading.local()
        """The ``cursor`` of a thread whose changes are one transaction"""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.label = self._database.label
        self.keys_file = copies / KEYS
        """This host's copy of the keys"""
        self.problem = ""
        """Why the database does not answer, or is not followed; empty while it is"""
        self.clock = ""
        """By how much this host's clock differs from the database's, where that is more than a few seconds"""
        try:
            copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        known = self._here()
        try:
            with self._database.transaction() as cursor:
                cursor.execute(ONE_WRITER)
                cursor.execute(TABLE)
                found = self._database.joined(cursor)
        except DatabaseProblem as error:
            if known is None:
                raise StateProblem(
                    f"{error} This host has no copy of its rules, labels and keys yet, so nothing is known of them."
                ) from None
            self._note(error)
            return
        if known is None:
            with self._alone():
                self._write_mark(found, 0)
        elif known[0] != found:
            raise StateProblem(
                f"{self._copies.name} holds copies of another database than {self.label}; give --events a new file."
            )
        try:
            with self._database.transaction() as cursor:
                self._take_over(cursor)
        except DatabaseProblem as error:
            self._note(error)

    def folder(self, model: str, folder: Path) -> Path:
        """Return the folder of this host's copies for a model.

        What the database does not have yet, it gets from the model's own folder, whose files hold no longer from then on.
        """
        if not model or "/" in model or "\0" in model or model in (".", ".."):
            raise StateProblem(f"a model named {model!r} cannot be shared; rename its folder.")
        own = self._copies / "models" / model
        try:
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None
        self._bring({f"models/{model}/{name}": folder / name for name in OF_MODEL})
        return own

    def keys(self, file: Path) -> Path:
        """Return this host's copy of the keys; those of a file are the first, where the database has none.

        Raises `StateProblem` where there are none at all.
        """
        self._bring({KEYS: file})
        if not self.keys_file.exists():
            raise StateProblem(
                f"{self.label} holds no keys, and {file}, from which it would get the first, does not exist; make one with "
                f"`tastemaker key new --role admin --state URI`."
            )
        return self.keys_file

    def update(
        self, file: Path, change: Callable[[bytes | None], bytes], *, mode: int | None = None
    ) -> bytes:
        """Replace a document by what ``change`` makes of it, as one step among all hosts, and return what was written.

        While ``change`` runs, this host's copies are as the database is. Raises `StateProblem` where the database is away; when it
        goes away while it commits, the change may have been made. ``mode`` is not used: copies are their owner's alone.
        """
        name = file.relative_to(self._copies).as_posix()
        with self.together():
            cursor = self._within.cursor
            found = rows(cursor, CONTENT, (name,))
            before = bytes(found[0][0]) if found else None
            after = change(before)
            if (
                after != before
            ):  # where several hosts do the same, such as end an experiment, the first has done it
                cursor.execute(PUT, [name, after])
        return after

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make the changes of a block, by this thread, in one transaction. Raises `StateProblem`, also at its end."""
        if getattr(self._within, "cursor", None) is not None:
            yield
            return
        try:
            with self._database.transaction() as cursor:
                cursor.execute(ONE_WRITER)
                self._take_over(cursor)
                self._within.cursor = cursor
                try:
                    yield
                finally:
                    self._within.cursor = None
        except DatabaseProblem as error:
            self._note(error)
            raise StateProblem(
                f"{error} Rules, labels, keys and experiments cannot be changed until it does; send the change again."
            ) from None
        self.catch_up()

    def now(self) -> int:
        """Return the time by the database's clock, as far as it was last known."""
        return int((time.time() - self._ahead) * 1_000_000)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever copies have changed, in the thread that follows."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Follow the database from now on, in a thread of its own, until `close`."""
        self._thread = threading.Thread(target=self._follow, name="shared documents", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self.catch_up()

    def catch_up(self) -> None:
        """Take over what the database has and this host has not; a database that is away is noted in ``problem``."""
        try:
            with self._database.transaction() as cursor:
                changed = self._take_over(cursor)
        except (DatabaseProblem, StateProblem) as error:
            self._note(error)
            return
        if self.problem:
            log.warning("%s answers again; rules, labels and keys can be changed.", self.label)
            self.problem = ""
        for listener in self._listeners if changed else ():
            try:
                listener()
            except Exception:
                log.exception("what was changed elsewhere could not be taken over")

    def _take_over(self, cursor: Any) -> bool:
        """Write into the copies what is newer in the database; return whether it was. Raises `StateProblem`."""
        last, newest, now = rows(cursor, NEWS)[0]
        self._database.check_format(newest)
        self._compare_clocks(now)
        if self._seeds:
            self._plant(cursor)
            last = rows(cursor, NEWS)[0][0]
        if last == self._last:
            return False
        with self._alone():
            known = self._here()
            state, here = ("", 0) if known is None else known
            if last < here:
                raise StateProblem(
                    f"{self._copies.name} has rules, labels or keys that {self.label} has not: the database was restored from an "
                    "older backup; give --events a new file, on every host."
                )
            for name, number, content in rows(cursor, AFTER, (here,)):
                self._write(str(name), bytes(content))
                here = number
            self._write_mark(state, here)
        self._last = here
        return True

    def _bring(self, seeds: dict[str, Path]) -> None:
        """Have the files of this host be the first content of the database where that has none; without it they hold until then."""
        self._seeds |= seeds
        self.catch_up()
        if not self._seeds:
            return
        with self._alone():
            for name, seed in seeds.items():
                if not (self._copies / name).exists():
                    content = _usable(seed)
                    if content is not None:
                        self._write(name, content)

    def _plant(self, cursor: Any) -> None:
        cursor.execute(ONE_WRITER)
        for name, seed in list(self._seeds.items()):
            content = _usable(seed)
            if content is not None:
                cursor.execute(ADD, [name, content])
                held = bytes(rows(cursor, CONTENT, (name,))[0][0])
                if held != content and kept_elsewhere(seed) is None:
                    log.warning(
                        "%s is not what %s holds, which counts; the file is not read.", seed, self.label
                    )
            keep_elsewhere(seed, self.label)
            self._seeds.pop(name, None)

    def _write(self, name: str, content: bytes) -> None:
        """Write a copy; names that this release does not know are left out, also such as lead out of the folder."""
        folder, _, file = name.removeprefix("models/").partition("/")
        known = name == KEYS or (
            name == f"models/{folder}/{file}"
            and file in OF_MODEL
            and folder not in ("", ".", "..")
            and "\0" not in folder
        )
        if known:
            (self._copies / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            update(self._copies / name, lambda _: content, mode=0o600)

    def _here(self) -> tuple[str, int] | None:
        """Return which state the copies are of, and the number of the last content; ``None`` where there are no copies."""
        try:
            facts = json.loads(read_regular(self._mark))
            # a release that knew fewer documents left the others out: all are read again
            return str(facts["id"]), int(facts["number"]) if facts.get("of") == list(OF_MODEL) else 0
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateProblem(
                f"{self._mark} cannot be read ({error}); remove {self._copies.name}, which holds copies only."
            ) from None

    def _write_mark(self, state: str, number: int) -> None:
        replace_text(self._mark, json.dumps({"id": state, "number": number, "of": OF_MODEL}), mode=0o600)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the copies against this host's other workers; what the disk refuses becomes a `StateProblem`."""
        try:
            with locked(self._copies / "copies"):
                yield
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> StateProblem:
        return StateProblem(
            f"cannot write the copies of rules, labels and keys in {self._copies.name}: {error.strerror or error}."
        )

    def _compare_clocks(self, now: float) -> None:
        off = self._ahead = time.time() - now
        if abs(off) <= CLOCK_SECONDS:
            self.clock = ""
            return
        way = "ahead of" if off > 0 else "behind"
        said = f"this host's clock is {way} the database's by seconds; rules with a schedule and keys with a last day go by it."
        if not self.clock:
            log.warning("%s The difference is %.0f s.", said, abs(off))
        self.clock = said.replace("by seconds", f"by {abs(off):.0f} s")

    def _note(self, error: Exception) -> None:
        said = f"{error} Rules, labels and keys hold as they were last known here, and cannot be changed."
        if not self.problem:
            log.error("%s", said)
        self.problem = said

    def close(self) -> None:
        """Stop following, and close the connection."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._database.close()


def copies_beside(events: Path) -> Path:
    """Return where a host keeps its copies of rules, labels and keys: beside its copy of the events."""
    return events.with_name(f"{events.name}.state")


@contextmanager
def only_asked(uri: str) -> Iterator[SharedDocuments]:
    """Yield the documents of a database for one command, which keeps no copies. Raises `StateProblem`."""
    with TemporaryDirectory(prefix="tastemaker-state-") as folder:
        documents = SharedDocuments(Path(folder), uri)
        try:
            yield documents
        finally:
            documents.close()


def _usable(file: Path) -> bytes | None:
    """Return the content of a file of state, the last good one where it is torn; ``None`` where there is none."""
    found: bytes | None = None
    for one in (file, good_copy(file)):
        with suppress(OSError, ValueError):
            content = read_regular(one)
            found = content if found is None else found
            json.loads(content)
            return content
        if not file.exists():
            return None
    return found
