"""Where the parts of a log lie: files, folders of parts, globs, Hive's ``k=v`` folders and standard input."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tastemaker.data.reading.files.limits import MOST_FILES
from tastemaker.data.reading.files.names import shown
from tastemaker.errors import UnreadableFile

__all__ = ["STDIN", "Place", "places_of"]

STDIN: Final = "-"

HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class Place:
    """One file of a log."""

    path: Path
    label: str
    """What messages call it"""
    keys: tuple[tuple[str, str | None], ...] = ()
    """Columns that the names of its folders hold, as Hive's ``country=DE``; ``None`` where Hive writes no value"""
    suffix: str | None = None
    """The ending that tells its kind, where the label does not end in one"""


def places_of(source: str | Path) -> tuple[Place, ...]:
    """Return the files that a path, a folder of parts or a glob means, in the order of their names.

    An existing path is that path, whatever wildcards its name holds. Of a folder all files count, those of folders within it
    too, but for those whose name begins with ``.`` or ``_`` (``_SUCCESS``). Raises `UnreadableFile` where there is none.
    """
    path = Path(source)
    if str(source) == STDIN:
        return (Place(path, "standard input"),)
    if "\0" in str(source):
        raise UnreadableFile(f"{shown(path)} is no name of a file: it holds a NUL character.")
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return _matching(path)
    if stat.S_ISDIR(kind):
        return _of_folder(path)
    _check_regular(path, kind)
    return (Place(path, shown(path.name)),)


def _check_regular(path: Path, kind: int) -> None:
    if stat.S_ISREG(kind):
        return
    what = "a pipe" if stat.S_ISFIFO(kind) else "a device" if not stat.S_ISSOCK(kind) else "a socket"
    raise UnreadableFile(
        f"{shown(path)} is {what}; give a file, or send the log to standard input and name it '-'."
    )


def _matching(path: Path) -> tuple[Place, ...]:
    if not glob.has_magic(str(path)):
        raise UnreadableFile(f"{shown(path)} does not exist.")
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise UnreadableFile(f"no file matches {shown(path)}.")
    return tuple(place for file in found for place in places_of(file))


def _of_folder(folder: Path) -> tuple[Place, ...]:
    places: list[Place] = []
    for path in _files_below(folder):
        inner = path.relative_to(folder)
        keys = tuple(key for part in inner.parts[:-1] if (key := _hive_key(part)) is not None)
        places.append(Place(path, shown(Path(folder.name) / inner), keys))
        if len(places) > MOST_FILES:
            raise UnreadableFile(f"{shown(folder)} holds more than {MOST_FILES:,} files; name fewer.")
    if not places:
        raise UnreadableFile(
            f"{shown(folder)} is a folder without a file in it (names that begin with '.' or '_' do not count); "
            "name a file, or a folder of parts."
        )
    columns = {tuple(name for name, _ in place.keys) for place in places}
    if len(columns) > 1:
        raise UnreadableFile(
            f"the parts of {shown(folder)} lie in folders of different keys "
            f"({' and '.join(shown('/'.join(names) or 'none') for names in sorted(columns)[:2])}); name one kind."
        )
    return tuple(places)


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of its folders in the order of their names; links to folders are not followed."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith((".", "_")) and "=" not in entry.name:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)
        elif not entry.is_dir():
            _check_regular(Path(entry.path), entry.stat().st_mode)


def _hive_key(part: str) -> tuple[str, str | None] | None:
    name, sign, value = part.partition("=")
    if not sign or not name:
        return None
    return unquote(name), None if value == HIVE_NULL else unquote(value)
