"""Lists for many users or products, block by block into a file that appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from tastemaker.data.databases.address import Address, address_of, is_address
from tastemaker.data.databases.tables import check_table, write_table
from tastemaker.errors import TastemakerError, UnreadableFile
from tastemaker.ranking.recommend import Recommendations
from tastemaker.storage import writing

__all__ = ["check_file", "check_out", "spoken_out", "write_frame", "write_frames", "write_lists"]

QUERIES_AT_ONCE = 1 << 14

WRITERS: Mapping[str, Callable[[pl.LazyFrame, Path], object]] = {
    ".parquet": pl.LazyFrame.sink_parquet,
    ".csv": pl.LazyFrame.sink_csv,
    ".tsv": partial(pl.LazyFrame.sink_csv, separator="\t"),
    ".jsonl": pl.LazyFrame.sink_ndjson,
    ".ndjson": pl.LazyFrame.sink_ndjson,
    ".arrow": pl.LazyFrame.sink_ipc,
    ".feather": pl.LazyFrame.sink_ipc,
    "": pl.LazyFrame.sink_parquet,
}
"""How a file is written, by the end of its name."""


def write_lists(
    asked: pl.Series,
    rank: Callable[[pl.Series], Recommendations],
    out: Path | Address,
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Rank for these ids, block by block, and write all lists to a file or a table; return the number of lines.

    The end of the file's name says how: `.parquet`, `.csv`, `.tsv`, `.jsonl` or `.arrow`. ``rank`` is `recommend` or `similar`
    with its model and options bound: the lines are those of its lists' ``to_frame``.
    """

    def blocks() -> Iterator[pl.DataFrame]:
        for low in range(0, max(len(asked), 1), QUERIES_AT_ONCE):
            block = asked[low : low + QUERIES_AT_ONCE]
            yield rank(block).to_frame()
            on_progress(len(block))

    return write_frames(blocks(), out)


def write_frames(frames: Iterator[pl.DataFrame], out: Path | Address) -> int:
    """Write frames of equal columns to a file or a table, one after the other; return the number of lines."""
    return write_table(out, frames) if isinstance(out, Address) else _write(frames, out)


def write_frame(frame: pl.DataFrame, file: Path) -> int:
    """Write one frame; return the number of lines."""
    return _write(iter([frame]), file)


def check_out(out: str) -> Path | Address:
    """Return where lists are written, a file or a table of a database; raise `UnreadableFile` or `DatabaseProblem`."""
    return check_table(address_of(out)) if is_address(out) else check_file(Path(out))


def spoken_out(out: Path | Address) -> str:
    """Return what messages call it."""
    return f"{out.label}#{out.table}" if isinstance(out, Address) else str(out)


def check_file(file: Path) -> Path:
    """Return the path if a file can be written there; raise `UnreadableFile` if not, or for a name that tells of no known form."""
    if file.suffix.lower() not in WRITERS:
        raise UnreadableFile(
            f"{file} cannot be written: a name ends in {', '.join(filter(None, WRITERS))}, or in nothing for Parquet."
        )
    parent = file.absolute().parent
    if file.is_dir():
        raise UnreadableFile(f"{file} is a folder; name a file to write.")
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UnreadableFile(f"cannot write {file}: the folder {parent} is missing or not writable.")
    return file


def _write(frames: Iterator[pl.DataFrame], file: Path) -> int:
    from polars.io.plugins import register_io_source

    first = next(frames)
    lines = 0

    def produce(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal lines
        for frame in _chain(first, frames):
            lines += len(frame)
            yield frame

    write = WRITERS[check_file(file).suffix.lower()]
    try:
        with writing(file) as temporary:
            write(register_io_source(produce, schema=first.schema), temporary)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TastemakerError(f"cannot write {file}: {error}.") from error
    return lines


def _chain(first: pl.DataFrame, rest: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    yield first
    yield from rest
