"""API keys: random, hashed at rest, compared in constant time, several at once so that they can be rotated."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, TypeAlias

from tastemaker.errors import SettingProblem
from tastemaker.storage import IN_FOLDERS, Home, mark_of, read_or_good, read_regular

__all__ = [
    "MAY",
    "ROLES",
    "Key",
    "Keys",
    "Need",
    "Role",
    "WatchedKeys",
    "last_good_keys",
    "new_key",
    "read_keys",
    "remove_key",
]

log = logging.getLogger("tastemaker.keys")

_NAME = re.compile(r"[A-Za-z0-9._\-]{1,40}")

Role: TypeAlias = Literal["metrics", "read", "events", "admin"]
Need: TypeAlias = Literal["open", "metrics", "read", "events", "admin"]
"""Who may call an operation: everybody, or whoever holds a key of a role that may"""

MAY: Mapping[Role, frozenset[Need]] = {
    "metrics": frozenset({"open", "metrics"}),
    "read": frozenset({"open", "metrics", "read"}),
    "events": frozenset({"open", "events"}),
    "admin": frozenset({"open", "metrics", "read", "events", "admin"}),
}
"""What the keys of each role may call"""

ROLES: tuple[Role, ...] = tuple(MAY)


@dataclass(frozen=True, slots=True)
class Key:
    """One key, without its secret: a name for logs, a role, and the SHA-256 of the whole key.

    A key holds 256 random bits, so that a plain fast hash is as good as a slow one: there is nothing to guess.
    """

    name: str
    role: Role
    sha256: str
    created: str
    expires: str | None = None
    """The last day on which it is taken, in UTC; ``None`` for no end"""

    def is_over(self, today: date | None = None) -> bool:
        """Return whether its last day is past."""
        if self.expires is None:
            return False
        return date.fromisoformat(self.expires) < (today or datetime.now(UTC).date())


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a file."""

    keys: tuple[Key, ...] = ()

    def find(self, presented: str) -> Key | None:
        """Return the key that was presented; the time does not depend on how similar a wrong key is."""
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


class WatchedKeys:
    """The keys of a file, read again when it changes; a file that became unusable leaves the last good keys in force.

    Those are kept beside it, so that they outlive a restart.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._mark = mark_of(file)
        self.keys, problem = last_good_keys(file)
        self.problem = None if problem is None else str(problem)
        """What is wrong with the file as it stands"""
        if problem is not None:
            log.error("%s The last good keys are in force.", problem)

    def look(self) -> None:
        """Read the file again if it changed."""
        mark = mark_of(self._file)
        if mark == self._mark:
            return
        self._mark = mark
        try:
            keys, problem = last_good_keys(self._file)
        except SettingProblem as error:
            keys, problem = self.keys, error
        self.problem = None if problem is None else str(problem)
        if problem is not None:
            log.error("%s The former keys stay in force.", problem)
        else:
            self.keys = keys
            log.info("the keys were read again: %d", len(self.keys.keys))


def read_keys(file: Path) -> Keys:
    """Return the keys of a file; raise `SettingProblem` when it holds none or is not a file of keys."""
    try:
        text = read_regular(file)
    except FileNotFoundError as error:
        raise SettingProblem(
            f"there is no keys file {file}; make one with `tastemaker key new --keys {file}`."
        ) from error
    except OSError as error:
        raise _no_keys(file, error) from error
    return Keys(_decoded(text, file))


def last_good_keys(file: Path) -> tuple[Keys, SettingProblem | None]:
    """Return the keys of a file, those last good where it is not a file of keys, and what is wrong with it.

    Raises `SettingProblem` as `read_keys` does where no good ones are known.
    """
    try:
        keys, problem = read_or_good(file, lambda content: Keys(_decoded(content, file)))
    except OSError:
        return read_keys(file), None
    if problem is None or isinstance(problem, SettingProblem):
        return keys, problem
    return keys, _no_keys(file, problem)


def _decoded(text: bytes, file: Path) -> tuple[Key, ...]:
    try:
        entries = json.loads(text)["keys"]
        keys = tuple(
            Key(
                str(entry["name"]),
                _role(entry["role"]),
                _digest(entry["sha256"]),
                str(entry["created"]),
                _day(entry.get("expires")),
            )
            for entry in entries
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_keys(file, error) from error
    if not keys:
        raise SettingProblem(f"{file} holds no key; add one with `tastemaker key new --keys {file}`.")
    return keys


def _no_keys(file: Path, error: Exception) -> SettingProblem:
    return SettingProblem(f"{file} is not a keys file ({error}); make one with `tastemaker key new`.")


def new_key(
    file: Path, role: Role, *, name: str | None = None, expires: str | None = None, home: Home = IN_FOLDERS
) -> tuple[Key, str]:
    """Add a key to a file, made when it is not there; return it and its secret text, which is stored nowhere.

    Without a name it gets one by chance. ``expires`` is its last day, such as ``2027-01-31``. Raises `SettingProblem` for a name
    that is taken or has other signs than letters, digits, ``.``, ``-`` and ``_``, and for a day that is none or is past;
    `StateProblem` where hosts share the keys (``home``) and the database is away.
    """
    name = secrets.token_hex(4) if name is None else name
    if not _NAME.fullmatch(name):
        raise SettingProblem(
            f"the name {name[:60]!r} cannot be a key's; it may have 1 to 40 letters, digits, '.', '-' and '_'."
        )
    text = f"tm_{role}_{name}_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    try:
        last = None if expires is None else date.fromisoformat(expires).isoformat()
    except ValueError:
        raise SettingProblem(
            f"the last day of the key is {expires!r}; write it such as 2027-01-31."
        ) from None
    key = Key(name, role, digest, datetime.now(UTC).isoformat(timespec="seconds"), last)
    if key.is_over():
        raise SettingProblem(f"the last day of the key is {last}, which is past.")

    def longer(known: tuple[Key, ...]) -> tuple[Key, ...]:
        if any(key.name == name for key in known):
            raise SettingProblem(f"{file} has a key {name!r} already; take another name, or remove it first.")
        return (*known, key)

    _change(file, longer, home)
    return key, text


def remove_key(file: Path, name: str, *, home: Home = IN_FOLDERS) -> None:
    """Remove a key by its name; raise `SettingProblem` when there is none, or when it is the last; `StateProblem`."""
    read_keys(file)  # no file is a problem of its own, and no lock shall stand in a folder that was mistyped

    def without(known: tuple[Key, ...]) -> tuple[Key, ...]:
        rest = tuple(key for key in known if key.name != name)
        if len(rest) == len(known):
            names = ", ".join(key.name for key in known)
            raise SettingProblem(f"{file} has no key {name!r}; its keys are {names}.")
        if not rest:
            raise SettingProblem(f"{name} is the last key of {file}; add its successor first.")
        return rest

    _change(file, without, home)


def _change(file: Path, change: Callable[[tuple[Key, ...]], tuple[Key, ...]], home: Home) -> None:
    """Replace the keys of a file, which may be new, by what ``change`` makes of them: one writer at a time."""

    def rewritten(before: bytes | None) -> bytes:
        keys = change(() if before is None else _decoded(before, file))
        content = [
            {
                "name": key.name,
                "role": key.role,
                "sha256": key.sha256,
                "created": key.created,
                **({} if key.expires is None else {"expires": key.expires}),
            }
            for key in keys
        ]
        return json.dumps({"keys": content}, indent=1).encode()

    try:
        home.update(file, rewritten, mode=0o600)
    except OSError as error:
        raise SettingProblem(f"cannot write the keys file {file}: {error.strerror or error}.") from error


def _role(value: object) -> Role:
    if value not in ROLES:
        raise ValueError(f"role {value!r}")
    return value


def _day(value: object) -> str | None:
    return None if value is None else date.fromisoformat(str(value)).isoformat()


def _digest(value: object) -> str:
    if not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
        raise ValueError("a sha256 is not 64 hexadecimal digits")
    return value
