"""Opening a log: files, folders, globs, standard input and frames, alone or several together, become one `Source`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import polars as pl

from tastemaker.data.conditions import parse_condition
from tastemaker.data.databases.address import address_of, is_address
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.files.delimited import open_delimited
from tastemaker.data.reading.files.json_files import is_document, open_document, open_lines
from tastemaker.data.reading.files.limits import LARGEST_DOCUMENT, LONGEST_LINE
from tastemaker.data.reading.files.names import shown
from tastemaker.data.reading.files.places import Place, places_of
from tastemaker.data.reading.files.remote import remote_places
from tastemaker.data.reading.files.source import Source, translated
from tastemaker.data.reading.files.spool import Spool, unpacked
from tastemaker.data.reading.files.survey import encoding_of, within_limits
from tastemaker.data.reading.files.typed import open_arrow, open_parquet, open_workbook
from tastemaker.data.reading.frames import open_frame
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.together import joined_to, keyed, met, together
from tastemaker.display import counted
from tastemaker.errors import DataError, SettingProblem, UnreadableFile

__all__ = ["Readable", "Source", "open_source", "translated"]

Readable: TypeAlias = Any
"""A path (``str``, ``Path``) of a file or folder, a glob, ``-``, or a frame: Polars, pandas, or any with the Arrow
PyCapsule interface; or the URI of a database or an object store; or a list of them."""

Kind = Literal["parquet", "csv", "json", "arrow", "workbook"]

KINDS: Final[dict[str, Kind]] = {
    ".parquet": "parquet", ".pq": "parquet",
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".psv": "csv",
    ".jsonl": "json", ".ndjson": "json", ".json": "json",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
    ".xlsx": "workbook", ".xlsm": "workbook", ".xlsb": "workbook", ".xls": "workbook", ".ods": "workbook",
}  # fmt: skip

SPOKEN: Final[dict[Kind, str]] = {
    "parquet": "Parquet", "arrow": "Arrow", "workbook": "Excel", "csv": "text", "json": "JSON",
}  # fmt: skip

BINARY: Final = ("parquet", "arrow", "workbook")


def open_source(
    source: Readable,
    *,
    columns: Columns = Columns(),  # noqa: B008  (a frozen value)
    reading: Reading = Reading(),  # noqa: B008
    asks: bool = False,
) -> Source:
    """Open a log or a catalogue, one file or frame or several that meet by the names of their columns.

    A file's kind is told by its ending, or else by its content. Whether a text file has a header is told by its rows
    (`header_evidence`) where ``reading.header`` does not say it; where they give no evidence, ``asks`` decides between a
    question and a file without a header. Rows that do not meet ``reading.where`` are left out and counted, and the columns
    of ``reading.join`` stand beside the log's. A source that is open already is returned as it is, whatever else is given.

    Raises `UnreadableFile` when a file cannot be read, `ColumnProblem`, and `DataError` for a thing that is no path or frame.
    """
    if isinstance(source, Source):
        return source
    spool = Spool()
    parts = list(source) if isinstance(source, list | tuple) else [source]
    if not parts:
        raise DataError(
            "purchases cannot be read from an empty list; give a path, a frame, or several of them."
        )
    if (reading.query or reading.table) and not any(map(is_address, parts)):
        raise SettingProblem(
            "--query and --table speak of a database; give one as the log, such as postgresql://HOST/DATABASE."
        )
    opened = [place for part in parts for place in _opened(part, spool, columns, reading, asks)]
    found = together(opened, label=_label(parts, opened))
    for other in reading.join:
        found = joined_to(found, open_source(other, columns=columns), on=reading.on)
    conditions = [(text, parse_condition(text)) for text in reading.where]
    return _keeping(met(found, conditions) if conditions else found, spool)


def _keeping(source: Source, spool: Spool) -> Source:
    """Return the source, whose temporary files last as long as it does."""
    return replace(source, select=partial(_select, source.select, spool))


def _select(select: Callable[[Sequence[str]], pl.LazyFrame], _: Spool, wanted: Sequence[str]) -> pl.LazyFrame:
    return select(wanted)


def _label(parts: list[Any], opened: list[Source]) -> str:
    if len(opened) == 1:
        return opened[0].label
    if len(parts) == 1 and is_address(parts[0]):
        return shown(address_of(parts[0]).label)
    if len(parts) == 1 and isinstance(parts[0], str | Path):
        return shown(Path(parts[0]).name or Path(parts[0]))
    first, *_, last = (source.label for source in opened)
    return f"{first} and {last}" if len(opened) == 2 else f"{first}, … {last} ({len(opened):,} files)"


def _opened(part: Any, spool: Spool, columns: Columns, reading: Reading, asks: bool) -> Iterator[Source]:
    if not isinstance(part, str | Path):
        yield open_frame(part)
        return
    if is_address(part):
        places: Sequence[Place] = remote_places(str(part), spool, query=reading.query, table=reading.table)
    else:
        with translated(shown(part)):
            places = places_of(part)
    places, notes = _filled(places)
    for place in places:
        with translated(place.label):
            for inside in unpacked(_reachable(place, spool), spool, _checked(place.label)):
                opened = keyed(_open_place(inside, spool, columns, reading, asks), inside.keys)
                yield replace(opened, notes=(*notes, *opened.notes))
                notes = ()


def _filled(places: Sequence[Place]) -> tuple[Sequence[Place], tuple[str, ...]]:
    """Return the parts of a log that hold something; the empty ones, as Spark writes them, are said."""
    empty = [place for place in places if place.path.is_file() and not place.path.stat().st_size]
    if not empty or len(empty) == len(places):
        return places, ()
    hold = "holds nothing and was" if len(empty) == 1 else "hold nothing and were"
    note = f"{counted(len(empty), 'part')} of the log, such as {empty[0].label}, {hold} passed over."
    return [place for place in places if place not in empty], (note,)


def _reachable(place: Place, spool: Spool) -> Place:
    """Return the place under a name that every library can spell."""
    try:
        str(place.path).encode("utf-8")
    except UnicodeEncodeError:
        alias = spool.file("".join(suffix for suffix in place.path.suffixes if suffix.isascii()))
        alias.parent.mkdir(exist_ok=True)
        alias.symlink_to(place.path.absolute())
        return Place(alias, place.label, place.keys)
    return place


def _checked(label: str) -> Any:
    def check(chunks: Iterator[bytes]) -> Iterator[bytes]:
        first = next(chunks, b"")

        def again() -> Iterator[bytes]:
            yield first
            yield from chunks

        seen = _sniff(first[:4096])
        if seen in BINARY:
            return again()
        return within_limits(again(), label, LARGEST_DOCUMENT if seen == "json" else LONGEST_LINE)

    return check


def _open_place(place: Place, spool: Spool, columns: Columns, reading: Reading, asks: bool) -> Source:
    with place.path.open("rb") as file:
        start = file.read(4096)
    if not start.strip(b" \t\r\n"):
        raise UnreadableFile(f"{place.label} is empty.")
    kind = _kind(place, start)
    if kind == "parquet":
        return open_parquet(place)
    if kind == "arrow":
        return open_arrow(place, start)
    if kind == "workbook":
        return open_workbook(place, columns=columns, header=reading.header, asks=asks)
    if kind == "json":
        if is_document(place.path, start):
            return open_document(place, spool, columns)
        return open_lines(place, spool)
    return open_delimited(place, spool, columns=columns, header=reading.header, asks=asks)


def _kind(place: Place, start: bytes) -> Kind:
    name = place.label if place.suffix is None else place.suffix
    suffixes = [suffix.lower() for suffix in Path(f"x{name}").suffixes if suffix.lower() not in PACKED]
    said = KINDS.get(suffixes[-1]) if suffixes else None
    seen = _sniff(start)
    if said is None or (said == "csv" and seen in BINARY):
        if seen is None and b"\0" in start and encoding_of(start) == "utf-8":
            raise UnreadableFile(
                f"{place.label} is neither Parquet nor text; give Parquet, CSV, JSON lines, Arrow or .xlsx."
            )
        if said is None:
            return seen or "csv"
    if said == "csv" and seen == "json" and _JSON.match(start):
        raise UnreadableFile(f"{place.label} holds JSON, whatever its name says; rename it to end in .json.")
    if said in BINARY and seen != said:
        raise UnreadableFile(f"{place.label} does not hold {SPOKEN[said]} data, whatever its name says.")
    if seen in BINARY and seen != said:
        assert seen is not None
        raise UnreadableFile(f"{place.label} holds {SPOKEN[seen]} data; rename it to end in {ENDING[seen]}.")
    return said


_JSON: Final = re.compile(rb"(\xef\xbb\xbf)?\s*(\[\s*)?\{\s*\"[^\"]*\"\s*:")

PACKED: Final = (".gz", ".zst", ".bz2", ".xz", ".zip")
ENDING: Final = {"parquet": ".parquet", "arrow": ".arrow", "workbook": ".xlsx"}


def _sniff(start: bytes) -> Kind | None:
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    first = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return "json" if first in (b"{", b"[") else None


_MAGIC: Final[tuple[tuple[bytes, Kind], ...]] = (
    (b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"FEA1", "arrow"), (b"\xff\xff\xff\xff", "arrow"),
    (b"PK\x03\x04", "workbook"), (b"\xd0\xcf\x11\xe0", "workbook"),
)  # fmt: skip
