"""`Forgotten`: who is to be forgotten, kept as salted hashes, so that the list itself remembers nobody."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tastemaker.errors import ModelFolderProblem
from tastemaker.storage import read_regular, update

__all__ = ["FILE", "KNOWN_WITHIN", "Forgotten", "remember_to_forget"]

FILE = "forgotten.json"

KNOWN_WITHIN = 0.01
"""Seconds after which every server knows what was written to the file: none goes longer without a look at it"""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The users whom no model of a folder may learn again, and since when; what they do later is new, and counts."""

    salt: str = ""
    marks: Mapping[str, int] = field(default_factory=dict)
    """Of each user's hash, when they were forgotten, in microseconds since 1970"""

    @staticmethod
    def of(folder: Path) -> Forgotten:
        """Return who is to be forgotten by the models of a folder; raise `ModelFolderProblem` where the file is of another kind."""
        try:
            return _decoded(read_regular(folder / FILE), folder)
        except FileNotFoundError:
            return Forgotten()

    def since(self, user: object) -> int | None:
        """Return when a user was forgotten, in microseconds; ``None`` where they were not."""
        return self.marks.get(_mark(self.salt, user)) if self.marks else None

    def without(self, table: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """Return a log (user_id, time) without what these users did before they were forgotten, and how many rows that was."""
        gone = self._among(table["user_id"])
        if gone is None:
            return table, 0
        kept = table.join(gone, on="user_id", how="left", maintain_order="left").filter(
            pl.col("forgotten").is_null() | (pl.col("time").dt.epoch("us") > pl.col("forgotten"))
        )
        return kept.drop("forgotten"), len(table) - len(kept)

    def without_ids(self, catalogue: pl.DataFrame, seen: pl.Series) -> pl.DataFrame:
        """Return a catalogue of users without these, unless a log has ``seen`` them since."""
        gone = self._among(catalogue["user_id"])
        if gone is None:
            return catalogue
        again = gone.filter(pl.col("user_id").cast(pl.String).is_in(seen.cast(pl.String).implode()))
        gone = gone.join(again, on="user_id", how="anti")
        return catalogue.join(gone, on="user_id", how="anti", maintain_order="left")

    def _among(self, ids: pl.Series) -> pl.DataFrame | None:
        """Return those of some ids that are to be forgotten, each once, with the moment; ``None`` where there are none."""
        if not self.marks:
            return None
        distinct = ids.drop_nulls().unique()
        moments = pl.Series("forgotten", [self.since(user) for user in distinct.to_list()], pl.Int64)
        found = pl.DataFrame([distinct.alias("user_id"), moments]).drop_nulls()
        return found if len(found) else None


def remember_to_forget(folder: Path, users: Iterable[object]) -> Forgotten:
    """Add users to those whom no later run learns from, as of now, and return once every server knows.

    Raises `OSError` when the disk refuses.
    """
    now = time.time_ns() // 1000

    def change(before: bytes | None) -> bytes:
        old = Forgotten(secrets.token_hex(16)) if before is None else _decoded(before, folder)
        marks = {**old.marks, **{_mark(old.salt, user): now for user in users}}
        return json.dumps({"salt": old.salt, "users": dict(sorted(marks.items()))}, indent=1).encode()

    written = update(folder / FILE, change, mode=0o600)
    time.sleep(KNOWN_WITHIN)
    return _decoded(written, folder)


def _mark(salt: str, user: object) -> str:
    text = str(uuid.UUID(bytes=user)) if isinstance(user, bytes) and len(user) == 16 else str(user)
    return hashlib.blake2b(text.encode(), key=bytes.fromhex(salt), digest_size=16).hexdigest()


def _decoded(content: bytes, folder: Path) -> Forgotten:
    try:
        facts: dict[str, Any] = json.loads(content)
        salt, users = str(facts["salt"]), facts["users"]
        bytes.fromhex(salt)
        return Forgotten(salt, {str(mark): int(moment) for mark, moment in users.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFolderProblem(
            f"{folder / FILE} is no file of users to forget; put it back from a backup: without it they would be learned again."
        ) from error
