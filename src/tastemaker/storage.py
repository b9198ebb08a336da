"""Small files that several processes share: replaced whole, and seen to have changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

__all__ = ["FileMark", "is_alive", "mark_of", "replace_text"]

FileMark: TypeAlias = tuple[int, int, int]
"""Inode, size and time of the last change in nanoseconds: another mark means another content"""


def mark_of(file: Path) -> FileMark | None:
    """Return what changes when a file does; None where it cannot be looked at."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def replace_text(file: Path, text: str, *, mode: int = 0o666) -> None:
    """Write a file whole or not at all, on the disk before it takes the name; a new file has this ``mode``, less the umask.

    Raises `OSError` when the disk refuses.
    """
    temporary = file.with_name(f".{file.name}.writing-{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as written:
            written.write(text)
            written.flush()
            os.fsync(written.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Return whether a process of this number runs.

    >>> is_alive(os.getpid())
    True
    """
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
