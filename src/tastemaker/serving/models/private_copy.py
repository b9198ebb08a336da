"""A copy of a version that nobody else writes to: what is tried is what is served, whatever happens to the folder afterwards.

A file that is mapped and cut short kills every process that reads it, and one that is written over changes answers without a word.
So a server copies a version's files into its scratch folder once, and all its workers map the copy.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from tastemaker.errors import TryLater
from tastemaker.model.layout import open_regular
from tastemaker.model.manifest import MANIFEST, read_manifest
from tastemaker.storage import locked, writing_folder

__all__ = ["COPY", "private_copy", "version_key"]

COPY = ".copy"
"""How the name of a copy ends; it begins with the key of the version, by which it is forgotten."""

AT_ONCE = 64 << 20
"""Bytes copied by one call"""


def version_key(manifest: dict[str, Any]) -> str:
    """Return what names the content of a version, and begins the name of every file that is kept for it."""
    return str(manifest["sha256"])[:32]


def private_copy(folder: Path, scratch: Path) -> Path:
    """Return a copy of a model folder within ``scratch``, made by the first who asks; files it does not list are not copied.

    Where the file system can, the copy shares the blocks of the original until either is written to. Raises `DamagedModel`,
    `NewerFormat`, and `TryLater` where there is no room.
    """
    manifest = read_manifest(folder)
    target = scratch / f"{version_key(manifest)}{COPY}"
    try:
        with locked(target):
            if not target.is_dir():
                with writing_folder(target, durable=False) as temporary:
                    for name in (MANIFEST, *manifest["files"]):
                        _copy(folder / name, temporary / name)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise TryLater(
            f"there is no room in {scratch} for a copy of {folder.name} to serve from; it is tried again later."
        ) from error
    return target


def _copy(source: Path, target: Path) -> None:
    with open_regular(source) as reading, target.open("xb") as writing:
        left = os.fstat(reading.fileno()).st_size
        while left > 0:
            try:
                copied = os.copy_file_range(reading.fileno(), writing.fileno(), min(left, AT_ONCE))
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                shutil.copyfileobj(reading, writing, 1 << 20)
                return
            if not copied:  # the file was cut short meanwhile; its checksum will tell
                return
            left -= copied
