"""How a text file writes its rows: the separator, comment lines, and whether the first line names the columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tastemaker.data.reading.columns import Columns, plays_a_role

__all__ = ["HEAD", "Dialect", "dialect_of", "header_evidence"]

HEAD: Final = 101
"""How many rows of a text file are looked at before it is read"""

SEPARATORS: Final = (",", ";", "\t", "|", "::")

MOMENT: Final = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?|\d{1,2}[- /.][A-Za-z]{3,9}[- /.,]+\d{2,4}.*|\d{1,2}:\d\d(:\d\d)?"
)
NUMBER: Final = re.compile(r"[-+]?(\d[\d,. ]*|\.\d+)([eE][-+]?\d+)?")
UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text file writes its rows."""

    separator: str
    rows: tuple[tuple[str, ...], ...]
    """The first rows as cells, a header among them"""
    skip: int = 0
    """Bytes before the first row: a mark, a line ``sep=``, comments"""
    skipped_lines: int = 0
    comments: int = 0
    """Comment lines among those skipped"""
    hashed_header: bool = False
    """Whether the header stands behind a ``#``"""


def dialect_of(start: bytes, *, tabs: bool, columns: Columns) -> Dialect:
    """Tell the dialect from the first bytes of a text in UTF-8, cut at a line end; ``tabs`` when its name says so."""
    mark = len(b"\xef\xbb\xbf") if start.startswith(b"\xef\xbb\xbf") else 0
    skip, lines, said = mark, 0, None
    comments, hashed = 0, False
    text = start[mark:].decode("utf-8", errors="ignore")
    while True:
        line, _, rest = text.partition("\n")
        bare = line.strip("\r")
        telling = re.fullmatch(r'"?sep=(.|\t|::)"?', bare, re.IGNORECASE) if lines == 0 else None
        if telling:
            said = telling[1]
        elif bare.startswith("#") and rest:
            hashed = _is_header_behind(bare, rest, columns)
            if hashed or _is_row_with_hash(bare, rest):
                break
            comments += 1
        elif bare.strip() or not rest:
            break
        skip, lines, text = skip + len(line.encode()) + 1, lines + 1, rest
    separator = said or ("\t" if tabs and "\t" in text.partition("\n")[0] else _separator(text, columns))
    rows = _rows(text.removeprefix("#").lstrip(" ") if hashed else text, separator)
    return Dialect(separator, rows, skip, lines, comments, hashed)


def _is_header_behind(line: str, rest: str, columns: Columns) -> bool:
    following = next((later for later in rest.split("\n") if later.strip() and not later.startswith("#")), "")
    for separator in SEPARATORS:
        cells = line.lstrip("# ").split(separator)
        if len(cells) > 1 and len(cells) == following.count(separator) + 1 and _names_a_role(cells, columns):
            return True
    return False


def _is_row_with_hash(line: str, rest: str) -> bool:
    """Tell whether a line that begins with ``#`` is a row: it has as many fields as the next, and no space after the sign."""
    following = next((later for later in rest.split("\n") if later.strip() and not later.startswith("#")), "")
    return not line.startswith("# ") and any(
        following.count(separator) == line.count(separator) > 0 for separator in SEPARATORS
    )


def _rows(text: str, separator: str) -> tuple[tuple[str, ...], ...]:
    if len(separator) > 1:
        lines = [line.rstrip("\r") for line in text.split("\n")]
        return tuple(tuple(line.split(separator)) for line in lines if line)[:HEAD]
    found: list[tuple[str, ...]] = []
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, skipinitialspace=True)
    try:
        for row in reader:
            if row and not (row[0].startswith("#") and found and len(row) != len(found[0])):
                found.append(tuple(row))
            if len(found) == HEAD:
                break
    except csv.Error:  # the survey of all bytes says where
        pass
    return tuple(found)


def _separator(text: str, columns: Columns) -> str:
    """Return the separator that gives most rows the same number of fields, and at least two; ``,`` where none does."""
    best, best_score = ",", (False, 0.0, 0, 0)
    for place, separator in enumerate(SEPARATORS):
        rows = _rows(text, separator)
        width = len(rows[0]) if rows else 1
        if width < 2:
            continue
        alike = sum(len(row) == width for row in rows) / len(rows)
        score = (_names_a_role(rows[0], columns), alike, width, -place)
        if score > best_score:
            best, best_score = separator, score
    return best


def _names_a_role(cells: Sequence[str], columns: Columns) -> bool:
    named = {columns.user, columns.product, columns.time, columns.quantity} - {None, ""}
    words = {name for name in named if name is not None and not name.isdecimal()}
    return any(plays_a_role(cell.strip()) or cell in words for cell in cells)


def header_evidence(rows: Sequence[Sequence[str]], columns: Columns) -> bool | None:
    """Tell whether the first row names the columns; ``None`` where the rows give no evidence either way.

    For it: a cell is a usual name, or one that a flag names. Else against it: a cell is a number, a date or a UUID, stands again
    in its column, or is written like all others there, which hold digits. Else for it: a cell without a digit, or any word above
    numbers and dates, stands above cells that all hold digits (unless it is as long as all of them).

    >>> rows = [("a", "b"), ("1", "2"), ("3", "4")]
    >>> header_evidence(rows, Columns()), header_evidence(rows[1:], Columns())
    (True, False)
    >>> header_evidence([("u", "i"), ("ann", "soap"), ("bob", "tea")], Columns())
    """
    first = rows[0]
    rest = [row for row in rows[1:] if row != first]  # the same again is a header repeated, or bought again
    if _names_a_role(first, columns):
        return True
    below = [[row[place] for row in rest if place < len(row) and row[place]] for place in range(len(first))]
    if any(map(_is_value, first)) or any(
        cell and (cell in cells or _alike(cell, cells)) for cell, cells in zip(first, below, strict=True)
    ):
        return False
    if any(_stands_above(cell, cells) for cell, cells in zip(first, below, strict=True) if cell):
        return True
    if not rest and any(map(_has_digit, first)):
        return False
    return None


def _is_value(cell: str) -> bool:
    cell = cell.strip()
    return any(form.fullmatch(cell) for form in (NUMBER, MOMENT, UUID))


def _has_digit(cell: str) -> bool:
    return any(letter.isdigit() for letter in cell)


def _alike(cell: str, cells: Sequence[str]) -> bool:
    """Tell whether a cell with digits is written as all others of its column: ``u17`` above ``u3``."""
    forms = {_form(text) for text in cells}
    return _has_digit(cell) and bool(cells) and forms == {_form(cell)}


def _form(cell: str) -> str:
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", cell))


def _stands_above(cell: str, cells: Sequence[str]) -> bool:
    if not cells:
        return False
    if all(map(_is_value, cells)):
        return True
    return (
        not _has_digit(cell) and all(map(_has_digit, cells)) and {len(text) for text in cells} != {len(cell)}
    )
