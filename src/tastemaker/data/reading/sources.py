"""Opening a file or a frame: everything that can be read becomes a `Source`."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import polars as pl

from tastemaker.data.identifiers import series_of_objects
from tastemaker.data.reading.columns import Columns, plays_a_role
from tastemaker.data.reading.options import Reading
from tastemaker.errors import DataError, UnreadableFile

__all__ = ["Readable", "Source", "open_source", "translated"]

Readable: TypeAlias = Any
"""A path (``str``, ``Path``), or a frame: Polars, pandas, or any with the Arrow PyCapsule interface."""

Kind = Literal["parquet", "csv", "json lines", "json array", "arrow"]

KINDS: dict[str, Kind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".json": "json lines",
    ".arrow": "arrow",
    ".feather": "arrow",
}

TROUBLE = (pl.exceptions.PolarsError, OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error)
"""What reading a bad file raises."""

HEAD = 101
"""So many lines of a text file are looked at before it is read."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something that has named columns and can be read as often as needed."""

    label: str
    """What messages call it."""

    names: tuple[str, ...]
    """Its columns; of a file without a header, their positions: ``"1"``, ``"2"``, …"""

    select: Callable[[Sequence[str]], pl.LazyFrame]
    """Returns these columns, unread."""

    is_text: bool = False
    """Whether it has no types of its own, as CSV has none: every column is text."""

    has_header: bool = True

    head: tuple[tuple[str, ...], ...] = ()
    """The first rows of a text file without a header."""

    notes: tuple[str, ...] = ()
    """What was guessed or found while opening, one sentence each, for the summary."""

    dropped: Mapping[str, int] = field(default_factory=dict)
    """Rows that opening left out, by reason, before any column was looked at."""


def open_source(
    source: Readable,
    *,
    columns: Columns = Columns(),  # noqa: B008  (a frozen value)
    reading: Reading = Reading(),  # noqa: B008
) -> Source:
    """Open a path or a frame, reading no more than its beginning (of CSV: the number of fields per line).

    A path is read by its extension; an unknown one by its content. Whether a CSV has a header is decided so:
    a first line in which a cell is a usual name of a role, or one that ``columns`` names, is a header; so is
    a first line without any digit above a column whose every other cell has one (for the first 100 lines),
    unless it is as long as all of them. Any other first line is data.

    Raises `UnreadableFile` when the path cannot be read, and `DataError` for a thing that is no path or
    frame.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        with translated(path.name):
            return _open_path(path, columns, reading)
    return _open_frame(source)


@contextmanager
def translated(label: str) -> Iterator[None]:
    """Turn what Polars and the operating system raise while reading into an `UnreadableFile`."""
    try:
        yield
    except TROUBLE as error:
        text = str(error).strip().split("\n")[0].rstrip(".")
        if "utf-8" in text.lower() or "utf8" in text.lower():
            text = "it is not UTF-8 text; save it as UTF-8"
        if text.startswith("CSV malformed"):
            text = "a quote opens in it that never closes, or stands alone; close or double it"
        raise UnreadableFile(f"cannot read {label}: {text}.") from error


def _open_path(path: Path, columns: Columns, reading: Reading) -> Source:
    if path.is_dir():
        raise UnreadableFile(f"{path} is a folder; name a file (Parquet, CSV or JSON lines).")
    if not path.exists():
        raise UnreadableFile(f"{path} does not exist.")
    start = _first_bytes(path)
    if not start.strip():
        raise UnreadableFile(f"{path} is empty.")
    kind = _kind(path, start)
    if kind == "csv":
        return _open_csv(path, columns, reading)
    frame = {
        "parquet": lambda: pl.scan_parquet(path, glob=False),
        "json lines": lambda: pl.scan_ndjson(path, infer_schema_length=10_000),
        "json array": lambda: pl.read_json(path, infer_schema_length=None).lazy(),
        "arrow": lambda: pl.scan_ipc(path),
    }[kind]()
    return _of_lazy(frame, path.name)


def _first_bytes(path: Path) -> bytes:
    opened = gzip.open if _is_packed(path) else open
    with opened(path, "rb") as file:
        start: bytes = file.read(4096)
    return start


def _kind(path: Path, start: bytes) -> Kind:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".zst")]
    said = KINDS.get(suffixes[-1]) if suffixes else None
    seen = _sniff(start)
    if said == "json lines" and seen == "json array":
        return seen
    if said is None:
        if seen is None and b"\0" in start:
            raise UnreadableFile(f"{path.name} is neither Parquet nor text; give Parquet, CSV or JSON lines.")
        return seen or "csv"
    if said in ("parquet", "arrow") and seen != said:
        raise UnreadableFile(f"{path.name} does not hold {said.capitalize()} data, whatever its name says.")
    if seen in ("parquet", "arrow") and seen != said:
        raise UnreadableFile(f"{path.name} holds {seen.capitalize()} data; rename it to end in .{seen}.")
    return said


def _sniff(start: bytes) -> Kind | None:
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"ARROW1"):
        return "arrow"
    first = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return {b"{": "json lines", b"[": "json array"}.get(first)  # type: ignore[return-value]


def _open_csv(path: Path, columns: Columns, reading: Reading) -> Source:
    lines = _lines(path).head(HEAD).collect().to_series().drop_nulls().to_list()
    separator = _separator(path, lines)
    rows = tuple(tuple(row) for row in csv.reader(lines, delimiter=separator) if row)
    has_header = _has_header(rows, columns) if reading.header is None else reading.header
    width = len(rows[0])
    names = rows[0] if has_header else tuple(str(place + 1) for place in range(width))
    quote = '"' if _uses_quotes(path, separator, width) else None

    def select(wanted: Sequence[str]) -> pl.LazyFrame:
        frame = pl.scan_csv(
            path,
            has_header=has_header,
            separator=separator,
            quote_char=quote,
            infer_schema=False,
            glob=False,
            new_columns=None if has_header else list(names),
        )
        return frame.select(wanted)

    return Source(path.name, names, select, True, has_header, () if has_header else rows)


def _lines(path: Path) -> pl.LazyFrame:
    return pl.scan_csv(
        path,
        has_header=False,
        separator="\x01",
        quote_char=None,
        infer_schema=False,
        glob=False,
        truncate_ragged_lines=True,
        schema={"line": pl.String},
    )


def _separator(path: Path, lines: Sequence[str]) -> str:
    if ".tsv" in (suffix.lower() for suffix in path.suffixes):
        return "\t"
    first = next(csv.reader(lines[:1], delimiter="\x01"), [""])
    counts = {separator: lines[0].count(separator) for separator in ",;\t|"} if first else {}
    return max(counts, key=lambda separator: (counts[separator], separator == ","), default=",")


def _has_header(rows: Sequence[Sequence[str]], columns: Columns) -> bool:
    first = rows[0]
    named = {columns.user, columns.product, columns.time, columns.quantity} - {None, ""}
    words = {name for name in named if name is not None and not name.isdecimal()}
    if any(plays_a_role(cell) or cell in words for cell in first):
        return True
    if len(rows) < 2 or any(_has_digit(cell) or not cell for cell in first):
        return False
    return any(_differs([row[place] for row in rows if place < len(row)]) for place in range(len(first)))


def _differs(cells: Sequence[str]) -> bool:
    rest = cells[1:]
    lengths = {len(cell) for cell in rest}
    return bool(rest) and all(map(_has_digit, rest)) and lengths != {len(cells[0])}


def _has_digit(cell: str) -> bool:
    return any(letter.isdigit() for letter in cell)


def _uses_quotes(path: Path, separator: str, width: int) -> bool:
    """Tell whether quotes enclose fields; raise `UnreadableFile` naming a line with too many or too few.

    Polars fills short lines with nulls, and passes over long ones when it reads some columns only. Separators
    are counted in a fast pass, where quotes balance; a line that looks odd there calls for a real parser.
    """
    line = pl.col("line")
    unquoted = pl.when(line.str.contains('"', literal=True)).then(line.str.replace_all(r'"[^"]*"', ""))
    bare = unquoted.otherwise(line)
    odd = (bare.str.count_matches(separator, literal=True) != width - 1) | bare.str.contains(
        '"', literal=True
    )
    if not _lines(path).select(odd.any()).collect(engine="streaming").item():
        return True
    found = _first_ragged_row(path, separator, width)
    if found:
        raise UnreadableFile(
            f"{path.name} is ragged: line {found[0]:,} has {found[1]} fields where the first has {width}; "
            "quote fields that hold the separator, or mend the line."
        )
    opening = line.str.contains(rf'(?:^|{re.escape(separator)})"')
    return bool(_lines(path).select(opening.any()).collect(engine="streaming").item())


def _first_ragged_row(path: Path, separator: str, width: int) -> tuple[int, int] | None:
    opened = gzip.open if _is_packed(path) else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        for row in reader:
            if row and len(row) != width:
                return reader.line_num, len(row)
    return None


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _open_frame(source: Readable) -> Source:
    if isinstance(source, pl.DataFrame):
        return _of_lazy(source.lazy(), "the Polars DataFrame")
    if isinstance(source, pl.LazyFrame):
        return _of_lazy(source, "the Polars LazyFrame")
    if type(source).__module__.split(".")[0] == "pandas" and hasattr(source, "columns"):
        return _of_pandas(source)
    if hasattr(source, "__arrow_c_stream__"):
        name = type(source).__name__
        with translated(f"the {name}"):
            return _of_lazy(pl.DataFrame(source).lazy(), f"the {name}")
    raise DataError(
        f"purchases cannot be read from a {type(source).__name__}; "
        "give a path, or a Polars, pandas or Arrow frame."
    )


def _of_lazy(frame: pl.LazyFrame, label: str) -> Source:
    with translated(label):
        names = tuple(frame.collect_schema().names())
    return Source(label, names, lambda wanted: frame.select(wanted))


def _of_pandas(frame: Any) -> Source:
    def select(wanted: Sequence[str]) -> pl.LazyFrame:
        return pl.DataFrame([_of_pandas_column(frame[name], name) for name in wanted]).lazy()

    return Source("the pandas DataFrame", tuple(map(str, frame.columns)), select)


def _of_pandas_column(column: Any, name: str) -> pl.Series:
    if column.dtype == object:
        return series_of_objects(column.tolist()).alias(name)
    return cast("pl.Series", pl.from_pandas(column, nan_to_null=True)).alias(name)
