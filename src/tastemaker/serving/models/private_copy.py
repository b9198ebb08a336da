"""A private copy of a version: what was tried is what is served, even if the folder changes afterwards.

A file that is mapped and cut short kills every process that reads it, and a file that is overwritten changes answers silently.
So a server copies a version's files into its scratch folder once, and all its workers map the copy.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tastemaker.errors import DamagedModel, TryLater
from tastemaker.model.layout import open_regular
from tastemaker.model.manifest import MANIFEST, read_manifest
from tastemaker.serving.models.shared_pages import made_for, version_key
from tastemaker.serving.models.tryout import can_try, try_version
from tastemaker.storage import locked, mark_of, replace_text, writing_folder

__all__ = ["COPY", "private_copy"]

COPY = ".copy"
"""Suffix of a copy's name; the name begins with the version's key, by which the copy is removed."""

VERDICT = ".tried"
"""Suffix of the file that says why a copy failed; it is empty if the copy did not fail."""

AT_ONCE = 64 << 20
"""Bytes copied by one call"""

COPIED_AT_ONCE = 2
"""Files: the system copies each on one processor"""


def private_copy(folder: Path, scratch: Path) -> tuple[Path, bool]:
    """Return a copy of a model folder within ``scratch`` and whether it was tried; the first caller makes and tries it.

    Files that the manifest does not list are not copied, and a copy that failed is remembered until the folder's files change.
    Where the file system can, the copy shares the blocks of the original until either is written to. Raises `DamagedModel`,
    `NewerFormat`, and `TryLater` where there is no room or the copy cannot be tried.
    """
    manifest = read_manifest(folder)
    target = scratch / f"{version_key(manifest)}-{_mark_of_files(folder, manifest)}{COPY}"
    verdict = target.with_suffix(VERDICT)
    try:
        with locked(target):
            if verdict.exists() and (problem := verdict.read_text()):
                raise DamagedModel(problem)
            if not target.is_dir():
                _copy_all(folder, target, (MANIFEST, *manifest["files"]))
            if not verdict.exists() and can_try(scratch):
                problem = try_version(scratch, target) or ""
                if problem:
                    for made in (target, *made_for(scratch, version_key(manifest))):
                        shutil.rmtree(made)
                replace_text(verdict, problem)
                if problem:
                    raise DamagedModel(problem)
            return target, verdict.exists()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise TryLater(
            f"there is no room in {scratch} for a copy of {folder.name} to serve from; it is tried again later."
        ) from error


def _mark_of_files(folder: Path, manifest: dict[str, Any]) -> str:
    """Return what changes when a listed file does; raise `DamagedModel` where one has another size, as while it is on its way."""
    marks = []
    for name, facts in manifest["files"].items():
        mark = mark_of(folder / name)
        if mark is None or mark[1] != facts["bytes"]:
            raise DamagedModel(
                f"{folder} is not whole: its file {name} is missing or of another size; copy the folder again or train again."
            )
        marks.append((name, mark))
    return hashlib.sha256(repr(sorted(marks)).encode()).hexdigest()[:8]


def _copy_all(folder: Path, target: Path, names: tuple[str, ...]) -> None:
    with writing_folder(target, durable=False) as temporary, ThreadPoolExecutor(COPIED_AT_ONCE) as pool:
        list(pool.map(lambda name: _copy(folder / name, temporary / name), names))


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
