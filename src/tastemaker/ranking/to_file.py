"""Lists for many users or products, block by block into a Parquet file that appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from tastemaker.errors import TastemakerError, UnreadableFile
from tastemaker.ranking.recommend import Recommendations
from tastemaker.storage import writing

__all__ = ["check_file", "write_frame", "write_lists"]

QUERIES_AT_ONCE = 1 << 14


def write_lists(
    asked: pl.Series,
    rank: Callable[[pl.Series], Recommendations],
    file: Path,
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Rank for these ids, block by block, and write all lists; return the number of lines.

    ``rank`` is `recommend` or `similar` with its model and options bound: the lines are those of its lists' ``to_frame``.
    """

    def blocks() -> Iterator[pl.DataFrame]:
        for low in range(0, max(len(asked), 1), QUERIES_AT_ONCE):
            block = asked[low : low + QUERIES_AT_ONCE]
            yield rank(block).to_frame()
            on_progress(len(block))

    return _write(blocks(), file)


def write_frame(frame: pl.DataFrame, file: Path) -> int:
    """Write one frame; return the number of lines."""
    return _write(iter([frame]), file)


def check_file(file: Path) -> Path:
    """Return the path if a file can be written there; raise `UnreadableFile` if not."""
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

    try:
        with writing(file) as temporary:
            register_io_source(produce, schema=first.schema).sink_parquet(temporary)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TastemakerError(f"cannot write {file}: {error}.") from error
    return lines


def _chain(first: pl.DataFrame, rest: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    yield first
    yield from rest
