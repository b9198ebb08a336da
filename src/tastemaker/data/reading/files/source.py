"""`Source`: what every file and every frame becomes when it is opened."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import lzma
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tastemaker.data.reading.files.spool import Spool
from tastemaker.errors import UnreadableFile

__all__ = ["Source", "settled", "translated"]

PACKING = ("isal.isal_zlib", "zlib")
"""Modules whose `error` is raised by what unpacks gzip: ISA-L's, where it is installed, and Python's"""

TROUBLE: Final = (
    *(importlib.import_module(name).error for name in PACKING if importlib.util.find_spec(name.partition(".")[0])),
    pl.exceptions.PolarsError, OSError, EOFError, UnicodeError, csv.Error, lzma.LZMAError,
    zipfile.BadZipFile, NotImplementedError, RecursionError, pl.exceptions.PanicException,
)  # fmt: skip
"""What reading a bad file raises."""

IN_MEMORY: Final = 64 << 20
"""A text file up to this size is parsed into memory, a larger one into the spool"""


@dataclass(frozen=True, slots=True)
class Source:
    """Something that has named columns and can be read as often as needed."""

    label: str
    """What messages call it."""

    names: tuple[str, ...]
    """Its columns; of a file without a header, their positions: ``"1"``, ``"2"``, …"""

    select: Callable[[Sequence[str]], pl.LazyFrame]
    """Returns these columns, unread; they can be read as long as the source lives, which holds what it unpacked."""

    is_text: bool = False
    """Whether it has no types of its own, as CSV has none: every column is text."""

    has_header: bool = True

    head: tuple[tuple[str, ...], ...] = ()
    """The first rows of a text file as they stand there, without its header."""

    notes: tuple[str, ...] = ()
    """What was guessed or found while opening, one sentence each, for the summary."""

    dropped: Mapping[str, int] = field(default_factory=dict)
    """Rows left out before any column was looked at, by reason; complete once `select` was called."""

    spells_mixtures: bool = False
    """Whether a column of numbers and texts came as text, as JSON's does: numbers there are numbers still."""

    files: tuple[str, ...] = ()
    """What the files that it consists of are called."""


@contextmanager
def translated(label: str) -> Iterator[None]:
    """Turn what Polars and the operating system raise while reading into an `UnreadableFile`."""
    try:
        yield
    except TROUBLE as error:
        raise UnreadableFile(f"cannot read {label}: {_plainly(error)}.") from error


def _plainly(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = next((line for line in str(error).strip().split("\n") if line), type(error).__name__).rstrip(".")
    for sign, plain in _PLAIN:
        if re.search(sign, text, re.IGNORECASE):
            return plain
    return text[:300]


_PLAIN: Final = (
    (r"utf-?8", "it is not UTF-8 text; save it as UTF-8"),
    (r"^CSV malformed|^could not parse `\"", "a quote opens in it that never closes, or stands alone; close or double it"),
    (r"zip file|bad (magic|CRC)|truncated", "what is packed in it is damaged or cut; pack it anew"),
    (r"depth ?limit|recursion", "its JSON is nested too deeply for a log; write one flat object a row"),
    (r"^parquet|thrift|out of spec|page header|magic", "its Parquet data are damaged or cut; write it anew"),
    (r"ipc|flatbuffer|arrow file|out-of-spec|Invalid(Footer|Schema)", "its Arrow data are damaged or cut; write it anew"),
    (r"compressed file ended|crc|not a gzipped|deflate", "what is packed in it is damaged or cut; pack it anew"),
    (r"corrupt|invalid (block|data|stored|distance|code)|decompress|zstd|lzma|-3 while",
     "what is packed in it is damaged or cut; pack it anew"),
)  # fmt: skip
"""What libraries say, and what it means"""


def settled(
    frame: pl.LazyFrame, without: Mapping[str, pl.Expr], *, size: int, spool: Spool, kept: Sequence[str]
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """Parse a lazy frame once, so that it can be read many times for little.

    Rows that meet an expression of ``without`` are left out and counted for the first that they meet. Returned are the columns
    ``kept`` of the others, in memory where ``size`` is small and in the spool where not, and the counts.
    """
    marks: dict[str, pl.Expr] = {}
    earlier = pl.lit(False)
    for place, meets in enumerate(without.values()):
        marks[f"\0{place}"] = meets.fill_null(False) & ~earlier
        earlier = earlier | meets.fill_null(False)
    marked = frame.select(*dict.fromkeys(kept), **marks)
    if size <= IN_MEMORY:
        parsed = marked.collect(engine="streaming").lazy()
    else:
        path = spool.file(".parquet")
        marked.sink_parquet(path, compression="lz4")
        parsed = pl.scan_parquet(path, glob=False)
    if not marks:
        return parsed, {}
    counts = parsed.select(pl.col(name).sum() for name in marks).collect(engine="streaming").row(0)
    left_out = {reason: count for reason, count in zip(without, counts, strict=True) if count}
    if left_out:
        parsed = parsed.filter(~pl.any_horizontal(*marks))
    return parsed.select(list(dict.fromkeys(kept))), left_out
