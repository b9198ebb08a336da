"""CSV and its like: told by a look at all bytes, mended where its dialect is odd, parsed once."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import polars as pl

from tastemaker.data.reading.columns import Columns, distinct_names
from tastemaker.data.reading.files.dialect import Dialect, dialect_of, header_evidence
from tastemaker.data.reading.files.fields import Flaw, check_fields, first_flaw, rows_of
from tastemaker.data.reading.files.limits import CHUNK, LONGEST_LINE, MOST_COLUMNS
from tastemaker.data.reading.files.places import Place
from tastemaker.data.reading.files.source import Source, settled, translated
from tastemaker.data.reading.files.spool import Spool
from tastemaker.data.reading.files.survey import recoded, survey
from tastemaker.display import counted, quoted
from tastemaker.errors import ColumnProblem, UnreadableFile

__all__ = ["open_delimited"]

START: Final = 1 << 17
"""Bytes in which the dialect shows"""

UNIT: Final = "\x1f"
"""The separator of units in ASCII, which stands for one of two letters"""

REPEATED: Final = "repeating the header"


@dataclass(frozen=True, slots=True)
class _Text:
    """A text file that Polars can parse: UTF-8, one letter between fields, comments gone."""

    place: Place
    path: Path
    dialect: Dialect
    quotes: bool
    notes: tuple[str, ...] = ()
    may_repeat: bool = True
    """Whether a line further down may be a header, since it holds the longest cell of the first"""


@dataclass(slots=True)
class _Parsed:
    """The columns of a file that were parsed already."""

    text: _Text
    titles: tuple[str, ...]
    """The columns as the header calls them, or their positions"""
    names: tuple[str, ...]
    """The same, each once (`distinct_names`)"""
    has_header: bool
    spool: Spool
    dropped: dict[str, int] = field(default_factory=dict)
    columns: frozenset[str] = frozenset()
    frame: pl.LazyFrame | None = None

    def select(self, wanted: Sequence[str]) -> pl.LazyFrame:
        """Return columns, parsed the first time that they are asked for."""
        if self.frame is None or not set(wanted) <= self.columns:
            with translated(self.text.place.label):
                self._parse(list(dict.fromkeys([*self.columns, *wanted])))
        assert self.frame is not None
        return self.frame.select(wanted)

    def _parse(self, wanted: list[str]) -> None:
        text, width = self.text, len(self.names)
        raw = [f"\0{place}" for place in range(width)]
        frame = pl.scan_csv(
            text.path,
            has_header=False,
            skip_lines=text.dialect.skipped_lines + (_lines_of_header(text) if self.has_header else 0),
            separator=text.dialect.separator,
            quote_char='"' if text.quotes else None,
            schema=dict.fromkeys(raw, pl.String()),
            glob=False,
            truncate_ragged_lines=True,
        )
        own = {name: raw[self.names.index(name)] for name in wanted}
        frame = frame.with_columns(pl.col(column).alias(name) for name, column in own.items())
        if self.has_header and text.may_repeat:
            frame = self._without_headers(frame, dict.fromkeys([*own.values(), *raw[:2]]), list(own))
        self.frame, self.columns = frame.select(list(own)), frozenset(own)

    def _without_headers(
        self, frame: pl.LazyFrame, checked: Iterable[str], kept: Sequence[str]
    ) -> pl.LazyFrame:
        cells = {column: pl.col(column).str.strip_chars(_PADDING) for column in checked}
        alike = pl.all_horizontal(cell == self.titles[int(column[1:])] for column, cell in cells.items())
        other = pl.all_horizontal(cell.is_in(list(self.titles)) for cell in cells.values())
        without = {REPEATED: alike} | ({_OTHER: other} if len(self.names) > 1 else {})
        frame, counts = settled(
            frame, without, size=self.text.path.stat().st_size, spool=self.spool, kept=kept
        )
        if counts.pop(_OTHER, 0):
            self._refuse_other_header()
        self.dropped.clear()
        self.dropped.update(counts)
        return frame

    def _refuse_other_header(self) -> None:
        text = self.text
        rows = rows_of(text.path, separator=text.dialect.separator, quotes=text.quotes, skip=text.dialect.skip,
                       first_line=text.dialect.skipped_lines + 1)  # fmt: skip
        next(rows)
        names = set(self.titles)
        line, row = next(
            (line, row)
            for line, row in rows
            if row and set(_stripped(row)) <= names and tuple(_stripped(row)) != self.titles
        )
        raise UnreadableFile(
            f"{text.place.label} has another header in line {line:,}: {quoted(row[:6])}, where the first is "
            f"{quoted(self.titles[:6])}; part the file there and give both parts."
        )


_OTHER: Final = "\0"
_PADDING: Final = " \t\r\ufeff"


def open_delimited(
    place: Place, spool: Spool, *, columns: Columns, header: bool | None, asks: bool
) -> Source:
    """Open a text file whose rows are cells between separators.

    ``header`` says whether the first row names the columns; without it the rows do (`header_evidence`), and where they do not,
    ``asks`` decides between a question and a file without a header. Raises `UnreadableFile` and `ColumnProblem`.
    """
    text = _mended(_readable(place, spool, columns), spool, columns)
    rows = text.dialect.rows
    found = True if text.dialect.hashed_header else header
    if found is None:
        found = header_evidence(rows, columns)
    width = len(rows[0])
    if found is None and asks and width > 1:
        cells = quoted(rows[0][:6]) + (", …" if width > 6 else "")
        raise ColumnProblem(
            f"the rows of {place.label} do not tell whether its first line, {cells}, names the columns or is a row; "
            "say --header or --no-header, and name the columns: --user-column 1 --product-column 2."
        )
    notes = text.notes
    if not found and header is None and width > 1:
        cells = quoted(rows[0][:6])
        notes = (*notes, f"{place.label} has no header: its first line, {cells}, was read as a row.")
    titles = tuple(_stripped(rows[0])) if found else tuple(str(number + 1) for number in range(width))
    names = distinct_names(titles)
    parsed = _Parsed(text, titles, names, bool(found), spool)
    return Source(
        place.label,
        names,
        parsed.select,
        is_text=True,
        has_header=bool(found),
        head=rows[1:] if found else rows,
        notes=notes,
        dropped=parsed.dropped,
        files=(place.label,),
    )


def _stripped(cells: Sequence[str]) -> list[str]:
    return [cell.strip(_PADDING) for cell in cells]


def _readable(place: Place, spool: Spool, columns: Columns) -> _Text:
    """Return the file as UTF-8 with LF line ends, with its dialect."""
    found = survey(place.path, place.label)
    path = place.path
    notes = (found.note,) if found.note else ()
    quotes = found.has_quotes
    if not found.is_plain:
        path = spool.write(recoded(path, found, place.label), label=place.label, suffix=".csv")
        quotes = True
    dialect = dialect_of(_start(path), tabs=_is_tsv(place.path), columns=columns)
    if not dialect.rows:
        raise UnreadableFile(f"{place.label} is empty.")
    width = max(len(row) for row in dialect.rows[:1])
    if width > MOST_COLUMNS:
        raise UnreadableFile(
            f"{place.label} has {width:,} columns; at most {MOST_COLUMNS:,} are read. It is no log of purchases."
        )
    if dialect.comments:
        notes = (*notes, _passed_over(dialect.comments, place.label))
    return _Text(place, path, dialect, quotes, notes)


def _passed_over(lines: int, label: str) -> str:
    begin, were = ("begins", "was") if lines == 1 else ("begin", "were")
    return f"{counted(lines, 'line')} of {label} that {begin} with # {were} passed over."


def _start(path: Path) -> bytes:
    """Return the first whole lines: as many as fit, at least one."""
    with path.open("rb") as file:
        start = file.read(START)
        if len(start) == START:
            start = start[: start.rfind(b"\n") + 1] or start + file.readline(LONGEST_LINE)
    return start


def _is_tsv(path: Path) -> bool:
    return any(suffix.lower() in (".tsv", ".tab") for suffix in path.suffixes)


def _mended(text: _Text, spool: Spool, columns: Columns) -> _Text:
    """Return the text with one letter between fields and without comments, once every line is known to be right.

    Raises `UnreadableFile`, which names the line that is not.
    """
    label = text.place.label
    if len(text.dialect.separator) > 1:
        path = spool.write(_with_units(text.path, text.dialect, label), label=label, suffix=".csv")
        text = replace(
            text,
            path=path,
            quotes=False,
            dialect=replace(text.dialect, separator=UNIT, skip=0, skipped_lines=0),
        )
    elif text.dialect.comments and _has_more_comments(text.path, text.dialect.skip):
        return _without_comments(text, spool, columns)
    dialect = text.dialect
    longest = max((cell for cell in dialect.rows[0] if '"' not in cell), key=len, default="")
    right, found = check_fields(
        text.path,
        separator=dialect.separator,
        width=len(dialect.rows[0]),
        quotes=text.quotes,
        skip=dialect.skip,
        needle=longest.strip(_PADDING).encode(),
    )
    return replace(text, may_repeat=found) if right else _looked_at_closely(text, spool, columns)


def _looked_at_closely(text: _Text, spool: Spool, columns: Columns) -> _Text:
    dialect, label = text.dialect, text.place.label
    flaw = first_flaw(
        text.path,
        separator=dialect.separator,
        width=len(dialect.rows[0]),
        quotes=text.quotes,
        skip=dialect.skip,
        first_line=dialect.skipped_lines + 1,
    )
    if flaw is None:
        if not _has_opening_quotes(text):
            return replace(text, quotes=False)
        return _rewritten(text, spool)
    if flaw.text.startswith("#") and flaw.fields is not None:
        return _without_comments(text, spool, columns)
    raise UnreadableFile(f"{label} {_sentence(flaw, len(dialect.rows[0]))}")


def _sentence(flaw: Flaw, width: int) -> str:
    if flaw.fields is not None:
        return (
            f"is ragged: line {flaw.line:,} has {flaw.fields} fields where the first has {width}; "
            "quote fields that hold the separator, or mend the line."
        )
    if "unexpected end" in flaw.what or "field limit" in flaw.what:
        return f"has a quote in the row of line {flaw.line:,} that never closes; close it, or double it if it is a letter."
    return (
        f"has a quote in the row of line {flaw.line:,} that stands alone in a quoted field; "
        "double it, or close the field before it."
    )


def _has_opening_quotes(text: _Text) -> bool:
    separator = text.dialect.separator.encode()
    before = (b"\n", separator, b"\r", separator + b" ")
    last = b"\n"
    with text.path.open("rb") as file:
        while chunk := file.read(CHUNK):
            joined = last + chunk
            if any(mark + b'"' in joined for mark in before):
                return True
            last = joined[-2:]
    return False


def _rewritten(text: _Text, spool: Spool) -> _Text:
    """Write a file whose quotes stand in some fields and enclose others in plain CSV."""
    dialect = text.dialect

    def chunks() -> Iterator[bytes]:
        rows = rows_of(text.path, separator=dialect.separator, quotes=True, skip=dialect.skip, first_line=1)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        for _, row in rows:
            writer.writerow(row or [""] * len(dialect.rows[0]))
            if out.tell() > CHUNK:
                yield out.getvalue().encode()
                out.seek(0)
                out.truncate()
        yield out.getvalue().encode()

    path = spool.write(chunks(), label=text.place.label, suffix=".csv")
    return replace(
        text, path=path, quotes=True, dialect=replace(dialect, separator=",", skip=0, skipped_lines=0)
    )


def _with_units(path: Path, dialect: Dialect, label: str) -> Iterator[bytes]:
    two, unit = dialect.separator.encode(), UNIT.encode()
    with path.open("rb") as file:
        file.seek(dialect.skip)
        while chunk := file.read(CHUNK):
            chunk += file.readline(LONGEST_LINE)
            if unit in chunk:
                raise UnreadableFile(f"{label} holds the control letter 0x1F beside '::'; take it out.")
            yield chunk.replace(two, unit)


def _has_more_comments(path: Path, skip: int) -> bool:
    last = b""
    with path.open("rb") as file:
        file.seek(skip)
        while chunk := file.read(CHUNK):
            if b"\n#" in last + chunk:
                return True
            last = chunk[-1:]
    return False


def _without_comments(text: _Text, spool: Spool, columns: Columns) -> _Text:
    """Write a file without the lines that begin with ``#``; say how many there were."""
    passed = 0

    def chunks() -> Iterator[bytes]:
        nonlocal passed
        with text.path.open("rb") as file:
            file.seek(text.dialect.skip)
            first = file.readline(LONGEST_LINE)
            yield first
            while lines := file.readlines(CHUNK):
                kept = [line for line in lines if not line.startswith(b"#")]
                if len(kept) < len(lines):
                    _refuse_likely_rows(lines, text)
                passed += len(lines) - len(kept)
                yield b"".join(kept)

    label = text.place.label
    path = spool.write(chunks(), label=label, suffix=".csv")
    total = passed + text.dialect.comments
    note = _passed_over(total, label)
    notes = tuple(earlier for earlier in text.notes if "with # " not in earlier)
    clean = replace(
        text,
        path=path,
        notes=(*notes, note),
        dialect=replace(text.dialect, skip=0, skipped_lines=0, comments=0),
    )
    return _mended(clean, spool, columns)


def _refuse_likely_rows(lines: Sequence[bytes], text: _Text) -> None:
    """Raise `UnreadableFile` where a line that begins with ``#`` may be a row among comments."""
    separator, width = text.dialect.separator.encode(), len(text.dialect.rows[0])
    for line in lines:
        if line.startswith(b"#") and not line.startswith(b"# ") and line.count(separator) == width - 1 > 0:
            raise UnreadableFile(
                f"{text.place.label} has comments, and a line that begins with # and has as many fields as a row: "
                f"{line.strip()[:60].decode()!r}; take the comments out, or put the first field in quotes."
            )


def _lines_of_header(text: _Text) -> int:
    """Return how many lines the header fills: more than one where a name holds a line end."""
    return 1 + sum(name.count("\n") for name in text.dialect.rows[0])
