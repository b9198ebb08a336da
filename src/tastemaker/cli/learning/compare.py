"""``tastemaker compare``: a log to learn from and one to measure with in, many models side by side and a verdict out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.terminal.console import output, print_json, say, training_bar
from tastemaker.cli.terminal.interrupts import Stop, raise_at_once, stop_between_steps
from tastemaker.cli.terminal.options import (
    AsJson,
    RankPurchased,
    Threads,
)
from tastemaker.cli.terminal.reading import ReadingOptions, takes_reading
from tastemaker.errors import FolderExists, SettingProblem

if TYPE_CHECKING:
    from rich.table import Table

    from tastemaker.data.purchases import Purchases
    from tastemaker.data.reading.product_table import ProductTable
    from tastemaker.evaluation.comparison.compare import Onlooker
    from tastemaker.evaluation.comparison.entries import Comparison, Entry
    from tastemaker.evaluation.comparison.verdict import Gate
    from tastemaker.training.progress import Progress, Watcher

__all__ = ["compare"]


@takes_reading
def compare(
    train: Annotated[
        Path, typer.Argument(metavar="TRAIN", help="The log to learn from.", show_default=False)
    ],
    held_out: Annotated[
        Path,
        typer.Argument(
            metavar="HELD_OUT", help="What the same users bought later, to measure with.", show_default=False
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="A model to learn, or a model's folder; repeatable. The first one is tested against the others.",
            show_default="default and all baselines",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME@K", help="What to test; repeatable.", show_default="ndcg@10"),
    ] = None,
    at: Annotated[
        list[int] | None, typer.Option(help="List length; repeatable.", show_default="10, 20, 100")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page with pictures.", show_default=False),
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep learned models here, and do not learn them again.", show_default=False
        ),
    ] = None,
    fail_if_worse_than: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Exit with 1 if the new model is significantly worse than this one.",
            show_default=False,
        ),
    ] = None,
    include_purchased: RankPurchased = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Measure parts of the users, or products, by a column of --users or --products, too; repeatable.",
            show_default=False,
        ),
    ] = None,
    users: Annotated[
        Path | None, typer.Option(metavar="F", help="A catalogue of all users.", show_default=False)
    ] = None,
    products: Annotated[
        Path | None,
        typer.Option(
            metavar="F",
            help="A catalogue of all products; its names and categories show in the report.",
            show_default=False,
        ),
    ] = None,
    reading: ReadingOptions = ReadingOptions(),
    seed: Annotated[int, typer.Option(help="Decides what is learned, the intervals and the tests.")] = 0,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Learn the default model and the baselines, measure all on the same users, and say in a sentence which is better.

    Models to learn: default, best-sellers (always in), co-purchase, cosine, ease, als, lenskit-als, rectools-svd, workshop. With
    `--fail-if-worse-than` only the new model (default, or the first `--model`) and best sellers stand beside the older one, unless
    more are named.
    """
    from tastemaker.data.reading.product_table import read_product_table
    from tastemaker.data.reading.readers import read_purchases
    from tastemaker.evaluation.comparison.columns import by_columns
    from tastemaker.evaluation.comparison.compare import DEFAULT_METRIC
    from tastemaker.evaluation.comparison.compare import compare as run

    _check_report(report)
    columns, how = reading.columns(), reading.reading()
    log = read_purchases(train, users=users, products=products, columns=columns, reading=how)
    say(f"{train}: {log.summary.sentence()}")
    held = read_purchases(held_out, columns=columns, reading=how)
    say(f"{held_out}: {held.summary.sentence()}")
    tested = tuple(metric or [DEFAULT_METRIC])
    segments = by_columns(by or (), log, users=users, products=products)
    table = None if report is None or products is None else read_product_table(products, log.products)
    with stop_between_steps() as stop:
        found = run(
            log,
            held,
            models=_models(model or [], fail_if_worse_than),
            metrics=tested,
            at=tuple(at or (10, 20, 100)),
            include_purchased=include_purchased,
            segments=segments,
            seed=seed,
            threads=threads,
            workspace=workspace,
            onlooker=_onlooker(stop, tested[0]),
        )
        stop.check()
    gate = None if fail_if_worse_than is None else _gate(found, fail_if_worse_than)
    if report is not None:
        _write_report(found, log, held, table, report)
    if as_json:
        more = {} if gate is None else {"gate": {"passed": gate.passed, "sentence": gate.sentence}}
        print_json(found.as_dict() | more)
    else:
        _show(found)
    if gate is not None:
        say(gate.sentence[:1].upper() + gate.sentence[1:])
        if not gate.passed:
            raise typer.Exit(1)


def _check_report(report: Path | None) -> None:
    """Refuse before anything is learned what could not be written after it."""
    if report is None:
        return
    if report.exists():
        raise FolderExists(f"{report} exists already; give --report another name, or remove it.")
    if not report.absolute().parent.is_dir():
        raise SettingProblem(
            f"there is no folder {report.absolute().parent} to write {report.name} in; make it first."
        )


def _write_report(
    found: Comparison, log: Purchases, held: Purchases, table: ProductTable | None, file: Path
) -> None:
    from tastemaker.evaluation.page.report_page import report_page, write_page

    command = shlex.join(["tastemaker", *sys.argv[1:]])
    with raise_at_once():
        write_page(report_page(found, log, held, products=table, command=command), file)
    say(f"Wrote {file}.")


def _models(asked: list[str], rival: Path | None) -> list[str | Path]:
    """Return the models to compare, the chosen one first; beside an older model only best sellers, unless more are named."""
    if rival is None:
        return list(asked)
    return [*(asked or ["default"]), "best-sellers", rival]


def _gate(found: Comparison, rival: Path) -> Gate:
    from tastemaker.evaluation.comparison.verdict import gate

    for test in found.tests:
        if test.other == str(rival):
            decided = gate(test)
            doubts = [
                f" Beware: {name} {note}."
                for name in (found.chosen, test.other)
                for note in found.of(name).notes
                if note.startswith("has seen")
            ]
            return replace(decided, sentence="".join((decided.sentence, *doubts)))
    raise SettingProblem(
        f"{rival} cannot be compared with itself; give another folder to --fail-if-worse-than or to --model."
    )


def _onlooker(stop: Stop, metric: str) -> Onlooker:
    from tastemaker.evaluation.comparison.compare import Onlooker

    @contextmanager
    def learning(name: str) -> Iterator[Watcher]:
        stop.check()
        say(f"{name}: learning …")
        with ExitStack() as opened:
            shown: list[Watcher] = []  # a bar only for models that are learned in steps

            def watch(step: Progress) -> None:
                if not shown:
                    shown.append(opened.enter_context(training_bar()))
                shown[0](step)
                stop.check()

            yield watch

    def measured(entry: Entry) -> None:
        stop.check()
        if entry.report is None:
            say(f"{entry.name}: left out, {entry.skipped}.")
            return
        took = "" if entry.cost is None else f", learned in {entry.cost.seconds:.1f} s"
        again = " (kept from before)" if entry.reused else ""
        say(f"{entry.name}: {metric} {entry.report.metrics[metric].mean:.4f}{took}{again}.")

    return Onlooker(learning, measured)


def _show(found: Comparison) -> None:
    out = output()
    out.print(f"{found.users:,} users; mean and 95 % interval:")
    out.print(quality_table(found))
    for entry in found.entries:
        if entry.skipped is not None:
            out.print(f"{entry.name} was left out: {entry.skipped}.", soft_wrap=True, markup=False)
    if found.tests:
        out.print(f"\n{found.chosen} against the others, on the same users (p corrected by Holm's method):")
        out.print(tests_table(found))
    for place in range(2, len(found.parts)):
        parts = found.parts[place]
        out.print(f"\n{parts.metric} by {parts.by} of the {parts.noun}:", soft_wrap=True, markup=False)
        out.print(parts_table(found, place))
    for name, note in [*((entry.name, note) for entry in found.entries for note in entry.notes)]:
        out.print(f"{name}: {note}.", soft_wrap=True, markup=False)
    for note in found.notes:
        out.print(note, soft_wrap=True, markup=False)
    out.print()
    out.print(found.verdict, soft_wrap=True, markup=False)


def quality_table(found: Comparison) -> Table:
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


def tests_table(found: Comparison) -> Table:
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


def parts_table(found: Comparison, place: int) -> Table:
    """Return a line for each part of the users or products, by the way at this place of ``found.parts``, with each model's mean."""
    from rich.markup import escape
    from rich.table import Table

    models = [entry for entry in found.measured if entry.kept is not None]
    table = Table("", "users", box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.columns[-1].justify = "right"
    for entry in models:
        table.add_column(escape(entry.name), justify="right")
    for row, part in enumerate(found.parts[place].parts):
        cells = []
        for entry in models:
            assert entry.kept is not None
            value = entry.kept.parts[place].parts[row].metrics.get(found.parts[place].metric)
            cells.append("" if value is None else f"{value.mean:.4f}")
        if part.users:
            table.add_row(escape(part.label), f"{part.users:,}", *cells)
    return table
