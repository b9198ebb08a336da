"""`Forgotten`: who is to be forgotten, kept as salted hashes, so that the list itself remembers nobody."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tastemaker.errors import ModelFolderProblem
from tastemaker.storage import read_regular, update

__all__ = ["FILE", "Forgotten", "remember_to_forget"]

FILE = "forgotten.json"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The users whom no model of a folder may learn again."""

    salt: str
    marks: frozenset[str]

    @staticmethod
    def of(folder: Path) -> Forgotten:
        """Return who is to be forgotten by the models of a folder; raise `ModelFolderProblem` where the file is of another kind."""
        try:
            return _decoded(read_regular(folder / FILE), folder)
        except FileNotFoundError:
            return Forgotten("", frozenset())

    def __contains__(self, user: object) -> bool:
        return bool(self.marks) and _mark(self.salt, str(user)) in self.marks

    def without(self, table: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """Return the rows of all others, and how many rows of these there were."""
        if not self.marks:
            return table, 0
        gone = [user for user in table["user_id"].unique().to_list() if user in self]
        kept = table.filter(~pl.col("user_id").is_in(gone))
        return kept, len(table) - len(kept)


def remember_to_forget(folder: Path, users: Iterable[object]) -> Forgotten:
    """Add users to those whom no later run learns from; raise `OSError` when the disk refuses."""

    def change(before: bytes | None) -> bytes:
        old = Forgotten(secrets.token_hex(16), frozenset()) if before is None else _decoded(before, folder)
        marks = old.marks | {_mark(old.salt, str(user)) for user in users}
        return json.dumps({"salt": old.salt, "users": sorted(marks)}, indent=1).encode()

    return _decoded(update(folder / FILE, change, mode=0o600), folder)


def _mark(salt: str, user: str) -> str:
    return hashlib.scrypt(user.encode(), salt=salt.encode(), n=2, r=8, p=1, dklen=16).hex()


def _decoded(content: bytes, folder: Path) -> Forgotten:
    try:
        facts: dict[str, Any] = json.loads(content)
        return Forgotten(str(facts["salt"]), frozenset(map(str, facts["users"])))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFolderProblem(
            f"{folder / FILE} is no file of users to forget; put it back from a backup: without it they would be learned again."
        ) from error
