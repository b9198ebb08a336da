"""Tables that fit the line: intervals go below their means, and columns into a second table, before a word is broken."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tastemaker.cli.terminal.console import output

if TYPE_CHECKING:
    from rich.table import Table

    from tastemaker.evaluation.intervals import Interval

__all__ = ["Cell", "Sheet", "measured", "print_sheet"]

Cell: TypeAlias = str | tuple[str, str]
"""A text, or a number and its interval"""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a table says: the first column names the lines."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: Collection[str] = ()
    """The columns of numbers that end at one edge"""
    gap: int = 2
    """Spaces between columns"""


def measured(value: Interval, digits: int = 4) -> Cell:
    """Return the cell of a mean and its interval; where both ends are the mean there is none to show.

    >>> from tastemaker.evaluation.intervals import Interval
    >>> measured(Interval(0.25, 0.2, 0.3), 2), measured(Interval(0.5, 0.5, 0.5), 2)
    (('0.25', '0.20–0.30'), '0.50')
    """
    mean = f"{value.mean:.{digits}f}"
    return mean if value.low == value.high else (mean, f"{value.low:.{digits}f}–{value.high:.{digits}f}")


def print_sheet(sheet: Sheet) -> None:
    """Print a table on stdout in the width that there is."""
    out = output()
    for number, part in enumerate(parts_for(sheet, out.width)):
        if number:
            out.print()
        out.print(part, no_wrap=True, overflow="ignore", crop=False)


def parts_for(sheet: Sheet, width: int) -> list[Table]:
    """Return the table, or several of fewer columns each, whose lines are no longer than ``width`` where that can be."""
    for between in (" ", "\n"):
        if _width(sheet, between) <= width:
            return [_drawn(sheet, between)]
    parts, low, many = [], 1, len(sheet.columns)
    while low < many:
        high = low + 1
        while high < many and _width(_columns(sheet, low, high + 1), "\n") <= width:
            high += 1
        parts.append(_drawn(_columns(sheet, low, high), "\n"))
        low = high
    return parts


def _columns(sheet: Sheet, low: int, high: int) -> Sheet:
    """Return the sheet with the names of the lines and these of its columns."""
    kept = [0, *range(low, high)]
    return Sheet(
        [sheet.columns[place] for place in kept],
        [[row[place] for place in kept] for row in sheet.rows],
        sheet.right,
        sheet.gap,
    )


def _width(sheet: Sheet, between: str) -> int:
    """Return how long the lines of a table are; the last column needs no gap."""
    from rich.cells import cell_len

    def longest(place: int) -> int:
        cells = [sheet.columns[place], *(_text(row[place], between) for row in sheet.rows)]
        return max(cell_len(line) for cell in cells for line in cell.split("\n"))

    return sum(longest(place) for place in range(len(sheet.columns))) + sheet.gap * (len(sheet.columns) - 1)


def _text(cell: Cell, between: str) -> str:
    return cell if isinstance(cell, str) else between.join(cell)


def _drawn(sheet: Sheet, between: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None, header_style="bold", padding=(0, sheet.gap, 0, 0), pad_edge=False, collapse_padding=True
    )
    for name in sheet.columns:
        table.add_column(Text(name), justify="right" if name in sheet.right else "left", no_wrap=True)
    for row in sheet.rows:
        table.add_row(
            *(
                Text(cell) if isinstance(cell, str) else Text(cell[0]).append(between + cell[1], style="dim")
                for cell in row
            )
        )
    return table
