"""What ``--replay`` prints, for ``evaluate`` and for ``compare``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.terminal.console import output, print_json, say
from tastemaker.cli.terminal.tables import Cell, Sheet, measured, print_sheet

if TYPE_CHECKING:
    from tastemaker.cli.terminal.reading import ReadingOptions
    from tastemaker.data.summary import TimeUnit
    from tastemaker.data.vocabulary import Vocabulary
    from tastemaker.evaluation.replay.bench import Terms
    from tastemaker.evaluation.replay.compare import ReplayComparison
    from tastemaker.evaluation.replay.report import Measured, ReplayReport

__all__ = [
    "Frozen",
    "Replay",
    "Since",
    "check_here",
    "check_replay_flags",
    "replay_table",
    "replay_terms",
    "segments_table",
    "show_replay",
    "show_replay_comparison",
    "with_since",
]

Replay = Annotated[
    bool,
    typer.Option(
        "--replay", help="Ask for each purchase at its time what would have been shown just before it."
    ),
]
Frozen = Annotated[bool, typer.Option("--frozen", help="With --replay: only the user's own history grows.")]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="first-event|COLUMN|always",
        help="With --replay: a product is a candidate from its first event on, or from the time in a column of --products.",
        show_default="the column since of --products, else always",
    ),
]


def check_here(asked: tuple[ReadingOptions, str], replay: bool) -> tuple[ReadingOptions, str]:
    """Return how to read and who works; raise a usage error where workers are asked for what this process does."""
    if replay and asked[1] != "local":
        raise typer.BadParameter("--workers is for lists of whole users; a --replay runs in this process.")
    return asked


def check_replay_flags(
    replay: bool, frozen: bool, since: str | None, *, others: bool = False, catalogues: bool = False
) -> None:
    """Refuse flags of a replay without one, and with one the ``others`` that it does not take."""
    if not replay and (frozen or since is not None):
        raise typer.BadParameter("--frozen and --since go with --replay.")
    if not replay and catalogues:
        raise typer.BadParameter(
            "--users and --products go with --replay here: without it the model knows all."
        )
    if replay and others:
        raise typer.BadParameter("--replay takes one --metric, and neither --by nor --fail-if-worse-than.")


def replay_terms(
    at: list[int] | None,
    include_purchased: bool,
    *,
    frozen: bool,
    since: str | None,
    products: str | None,
    seed: int,
    threads: int | None,
) -> Terms:
    """Return how a replay asks, as the options say it; raise a usage error for a ``since`` that cannot be."""
    from tastemaker.evaluation.replay.bench import FIRST_EVENT, Terms

    if since not in (None, "first-event", "always") and products is None:
        raise typer.BadParameter(f"--since is {since!r}; it must be first-event, or a column of --products.")
    return Terms(
        at=tuple(sorted(set(at or (10, 100)))),
        include_purchased=include_purchased,
        frozen=frozen,
        since=FIRST_EVENT if since == "first-event" else None,
        seed=seed,
        threads=threads,
    )


def with_since(
    terms: Terms, since: str | None, catalogue: str | None, products: Vocabulary, unit: TimeUnit
) -> Terms:
    """Return the terms with the times of a catalogue's column: the one that ``--since`` names, or one that is called so."""
    from tastemaker.evaluation.replay.since import SINCE, has_since, since_of

    if catalogue is None or since in ("first-event", "always"):
        return terms
    if since is None and not has_since(catalogue, products):
        return terms
    column = since or SINCE
    times = since_of(catalogue, products, column=column, unit=unit)
    return replace(terms, since=times, since_said=f"its time in the column {column!r} of {catalogue}")


def show_replay(report: ReplayReport, *, as_json: bool) -> None:
    """Print a replay: as one JSON object, or as tables with what was left out and what was skipped."""
    for note in report.notes:
        say(note)
    if as_json:
        print_json(report.as_dict())
        return
    _show_questions(report)
    measured = {"the model": report.model, **report.baselines}
    _show_measured(report, measured)


def show_replay_comparison(found: ReplayComparison, *, report: Path | None, as_json: bool) -> None:
    """Print a comparison in time, and write its page where one is wanted."""
    if report is not None:
        from tastemaker.data.databases.address import without_secrets
        from tastemaker.evaluation.page.replay_page import replay_page
        from tastemaker.evaluation.page.report_page import write_page

        command = without_secrets(shlex.join(["tastemaker", *sys.argv[1:]]))
        write_page(replay_page(found, command=command), report)
        say(f"Wrote {report}.")
    for note in found.report.notes:
        say(note)
    if as_json:
        print_json(found.as_dict())
        return
    _show_questions(found.report)
    _show_measured(found.report, found.measured)
    output().print()
    output().print(found.verdict, soft_wrap=True, markup=False)


def _show_questions(report: ReplayReport) -> None:
    """Say what was asked, and what was not."""
    out = output()
    left = ", ".join(f"{count:,} {reason}" for reason, count in report.left_out.items())
    out.print(
        f"{report.purchases:,} questions of {report.users:,} users"
        + (f" (left out: {left})" if left else "")
        + f"; candidates: {report.candidates} ({report.products:,}).",
        soft_wrap=True,
    )
    if report.not_findable:
        asked = (
            "asks for a product that is no candidate and counts"
            if report.not_findable == 1
            else "ask for a product that is no candidate; they count"
        )
        out.print(f"{report.not_findable:,} {asked} as missed.")


def _show_measured(report: ReplayReport, models: Mapping[str, Measured]) -> None:
    """Print the tables of what was measured, the main model first."""
    out = output()
    out.print("\nMean over questions and 95 % interval over users:")
    print_sheet(replay_table(models))
    metric = _main_metric(report.model)
    out.print(f"\n{metric} by who asks and what was bought:")
    print_sheet(segments_table(models, metric))
    for name, why in report.skipped.items():
        out.print(f"{name}: not measured, {why}.", soft_wrap=True, markup=False)


def replay_table(found: Mapping[str, Measured]) -> Sheet:
    """Return a line for each model or rule, and a column for each metric."""
    names = list(next(iter(found.values())).whole.metrics)
    shown = [name for name in names if not name.startswith("mrr")]
    rows = [
        [
            _label(name, measured_model),
            *(measured(measured_model.whole.metrics[metric]) for metric in shown),
            f"{measured_model.over_users[_main_metric(measured_model)].mean:.4f}",
        ]
        for name, measured_model in found.items()
    ]
    return Sheet(["", *shown, "over users"], rows, gap=1)


def segments_table(found: Mapping[str, Measured], metric: str) -> Sheet:
    """Return a line for each segment: its share of the questions, and how well each serves it."""
    first = next(iter(found.values()))
    total = max(first.whole.purchases, 1)
    rows: list[list[Cell]] = []
    for place, part in enumerate(first.segments):
        values = [measured_model.segments[place].metrics.get(metric) for measured_model in found.values()]
        cells = ["" if value is None else f"{value.mean:.4f}" for value in values]
        rows.append([part.label, f"{part.purchases:,}", f"{part.purchases / total:.1%}", *cells])
    return Sheet(["", "questions", "share", *found], rows, right=[*found])


def _main_metric(measured_model: Measured) -> str:
    """Return ndcg of the longest list measured."""
    return max(
        (name for name in measured_model.whole.metrics if name.startswith("ndcg")), key=lambda n: int(n[5:])
    )


def _label(name: str, measured_model: Measured) -> str:
    for unit in ("days", "steps"):
        found = measured_model.settings.get(f"half_life_{unit}")
        if found is not None:
            return f"{name} ({found:g} {unit})"
    return name
