"""What was read of a log, for people: a few lines, or everything as `inspect` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tastemaker.cli.terminal.console import output, say

if TYPE_CHECKING:
    from tastemaker.data.summary import ReadSummary

__all__ = ["say_read", "show_read"]

WIDTH = 40
"""Of the longest bar, in letters"""


def say_read(read: ReadSummary, what: str) -> None:
    """Say in two or three lines what was read, and every warning, on stderr."""
    first, *more = read.lines()
    say(f"{what}: {first}")
    for line in more:
        say(line)
    for warning in read.warnings:
        say(f"Beware: {warning}")


def show_read(read: ReadSummary, what: str) -> None:
    """Print all that was understood of a log: lines, warnings, first rows, purchases in time, users by purchases."""
    out = output()
    first, *more = read.lines()
    for line in (f"{what}: {first}", *more):
        out.print(line, soft_wrap=True, markup=False)
    if read.unused_columns:
        names = ", ".join(map(repr, read.unused_columns[:20]))
        left = f" and {len(read.unused_columns) - 20:,} more" if len(read.unused_columns) > 20 else ""
        out.print(f"Not used: {names}{left}.", soft_wrap=True, markup=False)
    for warning in read.warnings:
        out.print(f"Beware: {warning}", soft_wrap=True, markup=False)
    if read.first_rows:
        out.print("\nThe first rows, as they stand there and as they were understood:")
        out.print(_rows_table(read))
    for title, bars in (
        ("Purchases in time:", read.over_time),
        ("Users by number of purchases:", read.buyers),
    ):
        if bars:
            out.print(f"\n{title}")
            out.print(_bars(bars))


def _rows_table(read: ReadSummary) -> Table:
    from rich.markup import escape
    from rich.text import Text

    names = list(read.first_rows[0].raw)
    table = Table(*map(escape, names), "understood", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for row in read.first_rows:
        said = ", ".join(f"{role} {value}" for role, value in row.understood.items())
        table.add_row(*(Text(row.raw.get(name, "")) for name in names), Text(said))
    return table


def _bars(bars: Sequence[tuple[str, int]]) -> Table:
    table = Table("", "", "", box=None, show_header=False, padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    most = max(count for _, count in bars)
    for label, count in bars:
        table.add_row(label, f"{count:,}", "█" * max(round(WIDTH * count / most), 1 if count else 0))
    return table
