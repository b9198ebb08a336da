"""How ``tastemaker compare`` shows what it found: tables of quality, tests and segments, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.cli.terminal.console import output

if TYPE_CHECKING:
    from rich.table import Table

    from tastemaker.evaluation.comparison.entries import Comparison

__all__ = ["show_comparison"]


def show_comparison(found: Comparison) -> None:
    """Print tables and the verdict on stdout."""
    out = output()
    out.print(f"{found.users:,} users; mean and 95 % interval:")
    out.print(_quality_table(found))
    for entry in found.entries:
        if entry.skipped is not None:
            out.print(f"{entry.name} was left out: {entry.skipped}.", soft_wrap=True, markup=False)
    if found.tests:
        out.print(f"\n{found.chosen} against the others, on the same users (p corrected by Holm's method):")
        out.print(_tests_table(found))
    for place, way in enumerate(found.segmentations[2:], start=2):  # the first two are in the report alone
        out.print(f"\n{way.metric} by {way.by} of the {way.noun}:", soft_wrap=True, markup=False)
        out.print(_segments_table(found, place))
    for entry in found.entries:
        for note in entry.notes:
            out.print(f"{entry.name}: {note}.", soft_wrap=True, markup=False)
    for note in found.notes:
        out.print(note, soft_wrap=True, markup=False)
    out.print()
    out.print(found.verdict, soft_wrap=True, markup=False)


def _quality_table(found: Comparison) -> Table:
    """Return a line for each model: what is tested, recall and coverage, and what learning it cost."""
    from rich.markup import escape
    from rich.table import Table

    columns = found.columns
    table = Table("", *columns, "seconds", "MiB", box=None, header_style="bold", padding=(0, 1, 0, 0))
    for place in (-1, -2):
        table.columns[place].justify = "right"
    for entry in found.entries:
        if entry.report is None:
            continue
        cells = []
        for column in columns:
            value = entry.report.metrics[column]
            interval = f" [dim]{value.low:.4f}–{value.high:.4f}[/dim]" if value.low != value.high else ""
            cells.append(f"{value.mean:.4f}{interval}")
        cost = entry.cost
        seconds = "" if cost is None else f"{cost.seconds:.1f}"
        memory = (
            "" if cost is None or cost.peak_memory_bytes is None else f"{cost.peak_memory_bytes / 2**20:.0f}"
        )
        table.add_row(escape(entry.name), *cells, seconds, memory)
    return table


def _tests_table(found: Comparison) -> Table:
    """Return a line for each test of the chosen model against another one."""
    from rich.markup import escape
    from rich.table import Table

    from tastemaker.evaluation.comparison.verdict import p_text

    several = len(found.metrics) > 1
    columns = ["difference", "95 % interval", "p", "users to see it"]
    table = Table(
        "", *(["metric"] if several else []), *columns, box=None, header_style="bold", padding=(0, 2, 0, 0)
    )
    table.columns[-1].justify = "right"
    for test in found.tests:
        paired = test.paired
        table.add_row(
            escape(test.other),
            *([test.metric] if several else []),
            f"{paired.difference:+.4f}",
            f"{paired.low:+.4f} to {paired.high:+.4f}",
            p_text(test.corrected).removeprefix("p = ").removeprefix("p "),
            "" if paired.users_needed is None else f"{paired.users_needed:,}",
        )
    return table


def _segments_table(found: Comparison, place: int) -> Table:
    """Return a line for each part of the users or products, by the segmentation at this place, with each model's mean."""
    from rich.markup import escape
    from rich.table import Table

    models = [entry for entry in found.measured if entry.samples is not None]
    table = Table("", "users", box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.columns[-1].justify = "right"
    for entry in models:
        table.add_column(escape(entry.name), justify="right")
    for row, part in enumerate(found.segmentations[place].parts):
        cells = []
        for entry in models:
            assert entry.samples is not None
            value = (
                entry.samples.segmentations[place].parts[row].metrics.get(found.segmentations[place].metric)
            )
            cells.append("" if value is None else f"{value.mean:.4f}")
        if part.users:
            table.add_row(escape(part.label), f"{part.users:,}", *cells)
    return table
