"""What was read of a log, for people: a few lines, or everything as `inspect` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tastemaker.cli.terminal.console import output, say
from tastemaker.cli.terminal.tables import Cell, Sheet, print_sheet

if TYPE_CHECKING:
    from tastemaker.data.summary import ReadSummary

__all__ = ["say_read", "show_read"]

WIDTH = 40
"""Of the longest bar, in letters"""
LONGEST = 30
"""Letters of a cell"""


def say_read(read: ReadSummary, what: str) -> None:
    """Say in a few lines what was read, and every warning, on stderr."""
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
    for warning in read.warnings:
        out.print(f"Beware: {warning}", soft_wrap=True, markup=False)
    if read.first_rows:
        out.print("\nThe first rows, as they stand there and as they were understood:")
        print_sheet(_first_rows(read))
    for title, bars in (
        ("Purchases in time:", read.over_time),
        ("Users by number of purchases:", read.buyers),
    ):
        if bars:
            out.print(f"\n{title}")
            out.print(_bars(bars))


def _first_rows(read: ReadSummary) -> Sheet:
    """Return the columns that were read: each cell as it stands there, and below what was understood where that says more."""
    roles = [(role, name) for role, name in read.columns.items() if isinstance(name, str) and name]
    rows: list[list[Cell]] = []
    for row in read.first_rows:
        rows.append([_cell(row.raw.get(name, ""), row.understood.get(role)) for role, name in roles])
    dropped = [row.understood.get("dropped", "") for row in read.first_rows]
    if any(dropped):
        rows = [[*cells, why] for cells, why in zip(rows, dropped, strict=True)]
    heads = [f"{role}: {_short(name)}" for role, name in roles]
    return Sheet([*heads, "dropped"] if any(dropped) else heads, rows)


def _cell(raw: str, understood: str | None) -> Cell:
    if understood is None:
        return _short(raw)
    said = understood.removesuffix("T00:00:00+00:00")
    same = (understood, said, said.replace("T", " ").removesuffix("+00:00"))
    return _short(raw) if raw in same else (_short(raw), f"= {said}")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _bars(bars: Sequence[tuple[str, int]]) -> Table:
    table = Table("", "", "", box=None, show_header=False, padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    most = max(count for _, count in bars)
    for label, count in bars:
        table.add_row(label, f"{count:,}", "█" * max(round(WIDTH * count / most), 1 if count else 0))
    return table
