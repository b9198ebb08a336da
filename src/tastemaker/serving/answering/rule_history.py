"""The history of a model's rules: who published what and when, so that it can be undone."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tastemaker.errors import SettingProblem, StateProblem
from tastemaker.ranking.rules.rules import Rules
from tastemaker.storage import IN_FOLDERS, Home, read_regular

__all__ = ["FILE", "Published", "note", "read_history"]

log = logging.getLogger("tastemaker.rules")

FILE = "rules.history.json"
"""The name of the history, beside the rules"""

KEPT = 200
MOST_BYTES = 8 << 20
"""What is kept of it at most: the newest entries"""


@dataclass(frozen=True, slots=True)
class Published:
    """One publishing of rules."""

    number: int
    """From 1, and never again"""
    time: str
    key: str | None
    """The name of the key that published them; ``None`` for a file that was written by hand"""
    rules: Rules


def read_history(folder: Path) -> list[Published]:
    """Return what was published, oldest first; nothing where there is no history, or none that can be read."""
    try:
        return _decoded(read_regular(folder / FILE))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        log.warning("the history of the rules in %s cannot be read: %s", folder.name, error)
        return []


def note(folder: Path, before: Rules, after: Rules, key: str | None, *, home: Home = IN_FOLDERS) -> None:
    """Add a publishing; the rules that were in force come first where nobody has noted them. What cannot be written is logged."""

    def longer(content: bytes | None) -> bytes:
        try:
            entries = [] if content is None else _decoded(content)
        except ValueError:
            entries = []
        number = entries[-1].number if entries else 0
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if not entries or entries[-1].rules != before:
            number += 1
            entries.append(Published(number, now, None, before))
        entries.append(Published(number + 1, now, key, after))
        return _encoded(entries[-KEPT:])

    try:
        home.update(folder / FILE, longer)
    except (OSError, StateProblem) as error:
        log.error("the history of the rules in %s cannot be written: %s", folder.name, error)


def _encoded(entries: list[Published]) -> bytes:
    lines = [
        json.dumps(
            {"number": entry.number, "time": entry.time, "key": entry.key, "rules": entry.rules.to_json()},
            ensure_ascii=False,
        ).encode()
        for entry in entries
    ]
    while len(lines) > 2 and sum(map(len, lines)) > MOST_BYTES:
        del lines[0]
    return b"[\n" + b",\n".join(lines) + b"\n]"


def _decoded(content: bytes) -> list[Published]:
    """Read a history; raise `ValueError`."""
    entries: Any = json.loads(content)
    try:
        return [
            Published(
                int(entry["number"]),
                str(entry["time"]),
                None if entry["key"] is None else str(entry["key"]),
                Rules.from_json(entry["rules"]),
            )
            for entry in entries
        ]
    except (KeyError, TypeError, SettingProblem) as error:
        raise ValueError(str(error)) from None
