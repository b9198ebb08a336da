"""Counting the fields of every line of a CSV, quotes and all, faster than it is parsed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np

from tastemaker.data.reading.files.limits import CHUNK, LONGEST_LINE
from tastemaker.errors import UnreadableFile
from tastemaker.types import AnyArray

__all__ = ["Flaw", "check_fields", "first_flaw", "rows_of"]

NEW_LINE, RETURN, QUOTE = 10, 13, 34

THREADS: Final = 2
"""Chunks that are counted at once; NumPy lets go of the interpreter"""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A line of a CSV that cannot be read."""

    line: int
    """Where its row begins, from 1"""
    what: str
    fields: int | None = None
    """How many it has, where that is what is wrong"""
    text: str = ""
    """Its first cell"""


@dataclass(frozen=True, slots=True)
class _Counts:
    """The separators of a chunk: before its first line end, after its last, and whether all lines between are right."""

    head: int
    tail: int
    has_line_end: bool
    right: bool


def check_fields(
    path: Path, *, separator: str, width: int, quotes: bool, skip: int, needle: bytes
) -> tuple[bool, bool]:
    """Tell whether every line from byte ``skip`` on has ``width`` fields, and quotes enclose whole fields and nothing else.

    Blank lines are right. A ``False`` calls for a real parser (`first_flaw`). Told, too, is whether ``needle`` stands in a line
    below the first.
    """
    wanted = width - 1
    carried, fresh = 0, True  # separators since the last line end; whether nothing of the line was seen
    found = False
    with path.open("rb") as file, ThreadPoolExecutor(THREADS) as pool:
        file.seek(skip)
        first = len(file.readline())
        file.seek(skip)
        for place, (counts, chunk) in enumerate(
            _counted(_file_chunks(file), pool, ord(separator), wanted, quotes)
        ):
            if counts is None or not counts.right:
                return False, True
            found = found or chunk.find(needle, 0 if place else first) >= 0
            if not counts.has_line_end:
                carried, fresh = carried + counts.head, False
                continue
            if carried + counts.head != wanted and not (fresh and counts.head == 0):
                return False, True
            carried, fresh = counts.tail, counts.tail == 0
    return carried == wanted or fresh, found


def _file_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield chunks of whole lines, as far as lines are shorter than a chunk."""
    rest = b""
    while chunk := file.read(CHUNK):
        chunk = rest + chunk
        end = chunk.rfind(b"\n") + 1
        if not end:
            rest = chunk
            continue
        yield chunk[:end]
        rest = chunk[end:]
    if rest:
        yield rest + b"\n"


def _counted(
    chunks: Iterator[bytes], pool: ThreadPoolExecutor, separator: int, wanted: int, quotes: bool
) -> Iterator[tuple[_Counts | None, bytes]]:
    waiting: list[tuple[Future[_Counts | None], bytes]] = []
    inside = False
    for chunk in chunks:
        waiting.append((pool.submit(_count, chunk, separator, wanted, quotes, inside), chunk))
        if quotes:
            inside ^= bool(chunk.count(b'"') & 1)
        if len(waiting) > THREADS:
            future, done = waiting.pop(0)
            yield future.result(), done
    for future, done in waiting:
        yield future.result(), done
    if inside:
        yield None, b""


def _count(chunk: bytes, separator: int, wanted: int, quotes: bool, inside: bool) -> _Counts | None:
    """Count one chunk; ``None`` where a quote stands within a field or beside one."""
    letters = np.frombuffer(chunk, np.uint8)
    marks = (letters == separator) | (letters == NEW_LINE)
    if quotes and (inside or QUOTE in chunk):
        is_quote = letters == QUOTE
        within = np.bitwise_xor.accumulate(is_quote) ^ inside  # true from an opening quote to before its end
        if not _quotes_enclose(letters, is_quote, within, separator):
            return None
        marks &= ~within
    kinds = letters[np.flatnonzero(marks)]
    whole, rest = divmod(len(kinds), wanted + 1)
    if not rest and whole:
        table = kinds.reshape(whole, wanted + 1)
        if (table[:, -1] == NEW_LINE).all() and not (table[:, :-1] == NEW_LINE).any():
            return _Counts(wanted, 0, True, True)
    ends = np.flatnonzero(kinds == NEW_LINE)
    if not len(ends):
        return _Counts(len(kinds), 0, False, True)
    lengths = np.diff(ends) - 1
    odd = lengths != wanted
    some = bool((lengths[odd] != 0).any())
    right = not some and not ((odd.any() or not ends[0]) and _filled(letters, marks, wanted, inside))
    return _Counts(int(ends[0]), len(kinds) - int(ends[-1]) - 1, True, right)


def _filled(letters: AnyArray, marks: AnyArray, wanted: int, inside: bool) -> bool:
    """Tell whether a line without a separator holds anything, where lines need one."""
    if wanted == 0:
        return False
    places = np.flatnonzero(marks)
    if not inside:
        places = np.concatenate(([-1], places))
    ends = (places < 0) | (letters[places] == NEW_LINE)
    bare = ends[1:] & ends[:-1]  # nothing but letters between two line ends
    before, after = places[:-1][bare], places[1:][bare]
    returns = (letters[after - 1] == RETURN) & (after > 0)
    return bool((after - before - 1 > returns).any())


def _quotes_enclose(letters: AnyArray, is_quote: AnyArray, within: AnyArray, separator: int) -> bool:
    """Tell whether each quote opens a field, closes one, or stands doubled within one."""
    places = np.flatnonzero(is_quote)
    opens = within[places]
    before = np.where(places > 0, letters[places - 1], NEW_LINE)
    after = letters[np.minimum(places + 1, len(letters) - 1)]
    after = np.where(places + 1 < len(letters), after, NEW_LINE)
    fine_before = (before == separator) | (before == NEW_LINE) | (before == QUOTE)
    fine_after = (after == separator) | (after == NEW_LINE) | (after == RETURN) | (after == QUOTE)
    return bool(np.where(opens, fine_before, fine_after).all())


def rows_of(
    path: Path, *, separator: str, quotes: bool, skip: int, first_line: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV and the line in which each begins; raise `csv.Error` where quotes are wrong."""
    csv.field_size_limit(LONGEST_LINE)
    with path.open("rb") as raw:
        raw.seek(skip)
        lines = (line.decode("utf-8") for line in raw)
        reader = csv.reader(
            lines,
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            skipinitialspace=quotes,
            strict=True,
        )
        begins = first_line
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise csv.Error(f"{begins}: {error}") from error
            yield begins, row
            begins = first_line + reader.line_num


def first_flaw(
    path: Path, *, separator: str, width: int, quotes: bool, skip: int, first_line: int
) -> Flaw | None:
    """Return the first row that has not ``width`` fields or whose quotes are wrong, by a real parser; ``None`` if none is."""
    try:
        for line, row in rows_of(path, separator=separator, quotes=quotes, skip=skip, first_line=first_line):
            if row and len(row) != width:
                return Flaw(line, "fields", len(row), row[0])
    except csv.Error as error:
        begins, _, what = str(error).partition(": ")
        return Flaw(int(begins), what)
    except UnicodeDecodeError:
        raise UnreadableFile(f"{path.name} is not UTF-8 text; save it as UTF-8.") from None
    return None
