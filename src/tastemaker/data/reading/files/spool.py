"""`Spool`: a folder of temporary files that lives as long as what was read from it, and unpacking into it."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import shutil
import sys
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from tastemaker.data.reading.files.limits import CHUNK, DISK_LEFT, MOST_FILES
from tastemaker.data.reading.files.names import shown
from tastemaker.data.reading.files.places import STDIN, Place
from tastemaker.errors import UnreadableFile

__all__ = ["Spool", "chunks_of", "unpacked"]

MAGIC: Final = {
    b"\x1f\x8b": "gz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
}
"""The first bytes of what is packed"""


class Spool:
    """A folder of temporary files, removed with the last thing that refers to it."""

    def __init__(self) -> None:
        self._count = 0
        self._folder: Path | None = None

    def file(self, suffix: str = "") -> Path:
        """Return the name of a new file."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tastemaker-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._count += 1
        return self._folder / f"{self._count}{suffix}"

    def write(self, chunks: Iterator[bytes], *, label: str, suffix: str = "") -> Path:
        """Write bytes to a new file; raise `UnreadableFile` before the disk is full."""
        path = self.file(suffix)
        with path.open("wb") as file:
            for number, chunk in enumerate(chunks):
                if number % 16 == 0 and shutil.disk_usage(path.parent).free < DISK_LEFT:
                    raise UnreadableFile(
                        f"{label} does not fit unpacked on the disk of {path.parent.parent}; "
                        "set TMPDIR to a larger one."
                    )
                file.write(chunk)
        return path


def unpacked(place: Place, spool: Spool, check: Callable[[Iterator[bytes]], Iterator[bytes]]) -> list[Place]:
    """Return what a file holds when unpacked: itself where it is not packed, and the files within of a ``.zip``.

    ``check`` sees the bytes as they are unpacked and may raise: what would be too long stops early. Standard input is
    copied to the spool.
    """
    if str(place.path) == STDIN:
        copied = spool.write(iter(lambda: sys.stdin.buffer.read(CHUNK), b""), label=place.label)
        place = Place(copied, place.label, place.keys)
    packing = _packing(place.path)
    if packing is None:
        return [place]
    if packing == "zip":
        return _members(place, spool, check)
    with _opener(packing, place)(place.path) as stream:
        path = spool.write(check(chunks_of(stream)), label=place.label, suffix=_inner_suffix(place.path))
    inside = Place(path, place.label, place.keys)
    if _packing(path) not in (None, "zip"):
        raise UnreadableFile(f"{place.label} is packed twice; unpack it once.")
    return [inside]


def chunks_of(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a stream."""
    while chunk := stream.read(CHUNK):
        yield chunk


def _packing(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(6)
    found = next((name for magic, name in MAGIC.items() if start.startswith(magic)), None)
    if found == "zip" and _is_workbook(path):
        return None
    return found


def _is_workbook(path: Path) -> bool:
    return zipfile.is_zipfile(path) and "[Content_Types].xml" in zipfile.ZipFile(path).namelist()


def _opener(packing: str, place: Place) -> Callable[[Path], Any]:
    if packing == "zst":
        return _zstandard(place)
    openers: dict[str, Callable[[Path], Any]] = {"gz": _gzip().open, "bz2": bz2.open, "xz": lzma.open}
    return openers[packing]


def _gzip() -> Any:
    """Return what unpacks gzip: ISA-L's binding, three times as fast as Python's own, which is there on every machine."""
    try:
        return importlib.import_module("isal.igzip")
    except ImportError:  # pragma: no cover  (it comes with tastemaker where it has a wheel)
        return gzip


def _zstandard(place: Place) -> Callable[[Path], Any]:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:  # pragma: no cover  (it comes with tastemaker)
        raise UnreadableFile(
            f"{place.label} is packed by Zstandard; install backports.zstd to read it, or unpack it."
        ) from error
    opened: Callable[[Path], Any] = zstd.open
    return opened


def _members(place: Place, spool: Spool, check: Callable[[Iterator[bytes]], Iterator[bytes]]) -> list[Place]:
    found: list[Place] = []
    with zipfile.ZipFile(place.path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
        if len(infos) > MOST_FILES:
            raise UnreadableFile(f"{place.label} holds more than {MOST_FILES:,} files; name fewer.")
        for info in sorted(infos, key=lambda info: info.filename):
            label = f"{place.label}/{shown(info.filename)}"
            if info.flag_bits & 1:
                raise UnreadableFile(f"{label} is encrypted; unpack it first.")
            with archive.open(info) as stream:
                path = spool.write(
                    check(chunks_of(stream)), label=label, suffix=_inner_suffix(Path(info.filename), False)
                )
            if _packing(path) is not None:
                raise UnreadableFile(f"{label} is packed twice; unpack it once.")
            found.append(Place(path, label, place.keys))
    if not found:
        raise UnreadableFile(f"{place.label} is an archive without a file in it.")
    return found


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in Path(name).parts)


def _inner_suffix(path: Path, packed: bool = True) -> str:
    """Return the ending that tells the kind of what is inside, such as ``.csv`` of ``log.csv.gz``."""
    suffixes = path.suffixes[:-1] if packed and len(path.suffixes) > 1 else path.suffixes
    last = suffixes[-1].lower() if suffixes else ""
    return last if last.isascii() and last.isprintable() and "/" not in last else ""
