"""How ``tastemaker compare`` shows what it found: tables of quality, tests and segments, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.cli.terminal.console import output
from tastemaker.cli.terminal.tables import Cell, Sheet, measured, print_sheet

if TYPE_CHECKING:
    from tastemaker.evaluation.comparison.entries import Comparison

__all__ = ["show_comparison"]


def show_comparison(found: Comparison) -> None:
    """Print tables and the verdict on stdout."""
    out = output()
    out.print(f"{found.users:,} users; mean and 95 % interval:")
    print_sheet(_quality_table(found))
    for entry in found.entries:
        if entry.skipped is not None:
            out.print(f"{entry.name} was left out: {entry.skipped}.", soft_wrap=True, markup=False)
    if found.tests:
        out.print(f"\n{found.chosen} against the others, on the same users (p corrected by Holm's method):")
        print_sheet(_tests_table(found))
    for place, way in enumerate(found.segmentations[2:], start=2):  # the first two are in the report alone
        out.print(f"\n{way.metric} by {way.by} of the {way.noun}:", soft_wrap=True, markup=False)
        print_sheet(_segments_table(found, place))
    values = () if found.of(found.chosen).report is None else found.of(found.chosen).values
    if values:
        out.print(
            f"\n{found.chosen} by --objective revenue, lists of {values[0].k}:", soft_wrap=True, markup=False
        )
        rows: list[list[Cell]] = [
            [f"{point.dial:g}", f"{point.ndcg:.4f}", f"{point.value:,.4g}"] for point in values
        ]
        heads = ["--value-dial", f"ndcg@{values[0].k}", f"value@{values[0].k} a user"]
        print_sheet(Sheet(heads, rows, right=heads))
    for entry in found.entries:
        for note in entry.notes:
            out.print(f"{entry.name}: {note}.", soft_wrap=True, markup=False)
    for note in found.notes:
        out.print(note, soft_wrap=True, markup=False)
    out.print()
    out.print(found.verdict, soft_wrap=True, markup=False)


def _quality_table(found: Comparison) -> Sheet:
    """Return a line for each model: what is tested, recall and coverage, and what learning it cost."""
    rows: list[list[Cell]] = []
    for entry in found.entries:
        if entry.report is None:
            continue
        cost, metrics = entry.cost, entry.report.metrics
        seconds = "" if cost is None else f"{cost.seconds:.1f}"
        memory = (
            "" if cost is None or cost.peak_memory_bytes is None else f"{cost.peak_memory_bytes / 2**20:.0f}"
        )
        rows.append([entry.name, *(measured(metrics[column]) for column in found.columns), seconds, memory])
    return Sheet(["", *found.columns, "seconds", "MiB"], rows, right=["seconds", "MiB"], gap=1)


def _tests_table(found: Comparison) -> Sheet:
    """Return a line for each test of the chosen model against another one."""
    from tastemaker.evaluation.comparison.verdict import p_text

    several = len(found.metrics) > 1
    rows = [
        [
            test.other,
            *([test.metric] if several else []),
            f"{test.paired.difference:+.4f}",
            f"{test.paired.low:+.4f} to {test.paired.high:+.4f}",
            p_text(test.corrected).removeprefix("p = ").removeprefix("p "),
            "" if test.paired.users_needed is None else f"{test.paired.users_needed:,}",
        ]
        for test in found.tests
    ]
    columns = [*(["metric"] if several else []), "difference", "95 % interval", "p", "users to see it"]
    return Sheet(["", *columns], rows, right=["users to see it"])


def _segments_table(found: Comparison, place: int) -> Sheet:
    """Return a line for each part of the users or products, by the segmentation at this place, with each model's mean."""
    models = [(entry.name, entry.samples) for entry in found.measured if entry.samples is not None]
    metric = found.segmentations[place].metric
    rows = []
    for row, part in enumerate(found.segmentations[place].parts):
        values = [samples.segmentations[place].parts[row].metrics.get(metric) for _, samples in models]
        cells = ["" if value is None else f"{value.mean:.4f}" for value in values]
        if part.users:
            rows.append([part.label, f"{part.users:,}", *cells])
    names = [name for name, _ in models]
    return Sheet(["", "users", *names], rows, right=["users", *names])
