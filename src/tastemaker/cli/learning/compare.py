"""``tastemaker compare``: a log to learn from and one to measure with in, many models side by side and a verdict out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.learning.comparison_view import show_comparison
from tastemaker.cli.learning.off_policy import OffPolicyLog, Window, check_off_policy, compare_off_policy
from tastemaker.cli.learning.replayed import (
    Frozen,
    Replay,
    Since,
    check_here,
    check_replay_flags,
    replay_terms,
    show_replay_comparison,
    with_since,
)
from tastemaker.cli.terminal.console import print_json, say
from tastemaker.cli.terminal.interrupts import Stop, raise_at_once, stop_between_steps
from tastemaker.cli.terminal.options import (
    STANDARD_LENGTHS,
    AsJson,
    Lengths,
    RankPurchased,
    Threads,
    spoken,
)
from tastemaker.cli.terminal.reading import ReadingOptions, takes_reading
from tastemaker.errors import FolderExists, SettingProblem
from tastemaker.training.progress_bar import terminal_bar

if TYPE_CHECKING:
    from tastemaker.data.purchases import Purchases
    from tastemaker.data.reading.product_table import ProductTable
    from tastemaker.evaluation.comparison.compare import Onlooker
    from tastemaker.evaluation.comparison.entries import Comparison, Entry
    from tastemaker.evaluation.comparison.verdict import Gate
    from tastemaker.evaluation.replay.bench import Terms
    from tastemaker.evaluation.replay.compare import ReplayComparison
    from tastemaker.evaluation.segments import Segments
    from tastemaker.training.progress import Progress, Watcher

__all__ = ["compare"]


Train = Annotated[
    str,
    typer.Argument(
        metavar="TRAIN", help="The log to learn from; with --off-policy a model's folder.", show_default=False
    ),
]
HeldOut = Annotated[
    str | None,
    typer.Argument(
        metavar="HELD_OUT",
        help="What the same users bought later, to measure with; with --off-policy perhaps another model's folder.",
        show_default=False,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|FOLDER",
        help="A model to learn, or a model's folder; repeatable. The first one is tested against the others.",
        show_default="default and all baselines",
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME@K", help="What to test; repeatable.", show_default="ndcg@10"),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.html", help="Write a page with pictures.", show_default=False),
]
Workspace = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Keep learned models here, and do not learn them again.", show_default=False
    ),
]
Rival = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Exit with 1 if the new model is significantly worse than this one.",
        show_default=False,
    ),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Measure parts of the users, or products, by a column of --users or --products, too; repeatable.",
        show_default=False,
    ),
]
Users = Annotated[str | None, typer.Option(metavar="F", help="A catalogue of all users.", show_default=False)]
Products = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help="A catalogue of all products; its names and categories show in the report.",
        show_default=False,
    ),
]
Comparing = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="WHERE",
        help="Who learns vectors and ranks: local, local:PROCESSES, ray or ray://HOST:PORT; the numbers are the same.",
    ),
]
Seed = Annotated[int, typer.Option(help="Decides what is learned, the intervals and the tests.")]


# long: each flag is a line
@takes_reading
def compare(
    train: Train,
    held_out: HeldOut = None,
    model: Models = None,
    metric: Metrics = None,
    at: Lengths = None,
    report: ReportFile = None,
    workspace: Workspace = None,
    fail_if_worse_than: Rival = None,
    include_purchased: RankPurchased = False,
    replay: Replay = False,
    frozen: Frozen = False,
    since: Since = None,
    off_policy: OffPolicyLog = None,
    window: Window = 7.0,
    by: By = None,
    users: Users = None,
    products: Products = None,
    reading: ReadingOptions = ReadingOptions(),
    seed: Seed = 0,
    workers: Comparing = "local",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Learn the default model and the baselines, measure all on the same users, and say in a sentence which is better.

    Models to learn: default, best-sellers (always in), co-purchase, cosine, ease, als, lenskit-als, rectools-svd, workshop. With
    `--fail-if-worse-than` only the new model (default, or the first `--model`) and best sellers stand beside the older one, unless
    more are named. With --replay every purchase in HELD_OUT is asked for in the order of time, by new users and of new
    products, too; the default model is learned, and simple rules that move with time stand beside it. With --workers several
    processes or a Ray cluster learn the default model's vectors and rank the lists; the numbers are the same.

    With --off-policy nothing is learned: what a model (or two) would have earned is estimated from lists that `serve --explore`
    showed, and from what became of them (clicks, purchases and revenue a list):

        tastemaker compare --off-policy events.db models/recommender/7 models/recommender/8 --metric revenue
    """
    if off_policy is not None:
        check_off_policy(
            {
                "--at": at, "--report": report, "--workspace": workspace, "--replay": replay, "--by": by, "--users": users,
                "--fail-if-worse-than": fail_if_worse_than, "--include-purchased": include_purchased, "--model": model,
                "a second --metric": len(metric or []) > 1, "--workers": workers != "local",
                "the flags of reading": reading != ReadingOptions(),
            }
        )  # fmt: skip
        return compare_off_policy(
            off_policy, [Path(train), *([] if held_out is None else [Path(held_out)])],
            metric=(metric or ["clicks"])[0], window=window, products=products, as_json=as_json,
        )  # fmt: skip
    if held_out is None:
        raise typer.BadParameter(
            "HELD_OUT is missing; give a log of what the same users bought later, "
            "or part it off: tastemaker split LOG --into DIR --last 10%."
        )
    from tastemaker.evaluation.comparison.compare import compare as run
    from tastemaker.evaluation.comparison.measurement import DEFAULT_METRIC, Measurement

    reading, workers = check_here(reading.and_workers(workers), replay)
    _check_report(report)
    check_replay_flags(replay, frozen, since, others=bool(by or fail_if_worse_than or len(metric or []) > 1))
    logs = _read(train, held_out, reading, users, products, describes_newcomers=replay)
    if replay:
        terms = replay_terms(
            at, include_purchased, frozen=frozen, since=since, products=products, seed=seed, threads=threads
        )
        replayed = _replayed(logs, model or [], terms, since, metric, workspace)
        return show_replay_comparison(replayed, report=report, as_json=as_json)
    measure = Measurement(
        metrics=tuple(metric or [DEFAULT_METRIC]),
        at=tuple(at or STANDARD_LENGTHS),
        include_purchased=include_purchased,
        segments=logs.segments(by or []),
    )
    names = None if report is None else logs.names()
    with stop_between_steps() as stop:
        onlooker = _onlooker(stop, measure.metrics[0])
        found = run(
            logs.train, logs.held_out, models=_models(model or [], fail_if_worse_than), measure=measure, seed=seed, threads=threads,
            workspace=workspace, onlooker=onlooker, workers=workers,
        )  # fmt: skip
        stop.check()
    if report is not None:
        _write_report(found, logs, names, report)
    return _render(found, fail_if_worse_than, as_json)


def _replayed(
    logs: _Logs,
    models: list[str],
    terms: Terms,
    since: str | None,
    metric: list[str] | None,
    workspace: Path | None,
) -> ReplayComparison:
    from tastemaker.evaluation.replay.compare import compare_replay

    terms = with_since(terms, since, logs.products_file, logs.train.products, logs.held_out.time_unit)
    with stop_between_steps() as stop:
        return compare_replay(
            logs.train,
            logs.held_out,
            models=models,
            terms=terms,
            metric=metric[0] if metric else None,
            workspace=workspace,
            onlooker=_onlooker(stop, ""),
        )


@dataclass(frozen=True, slots=True)
class _Logs:
    """What the command read, and the catalogues it read it with."""

    train: Purchases
    held_out: Purchases
    users_file: str | None
    products_file: str | None

    def segments(self, columns: list[str]) -> tuple[Segments, ...]:
        from tastemaker.evaluation.comparison.columns import by_columns

        return by_columns(columns, self.train, users=self.users_file, products=self.products_file)

    def names(self) -> ProductTable | None:
        from tastemaker.data.reading.product_table import read_product_table

        file = self.products_file
        return None if file is None else read_product_table(file, self.train.products)


def _read(
    train: str,
    held_out: str,
    reading: ReadingOptions,
    users: str | None,
    products: str | None,
    *,
    describes_newcomers: bool,
) -> _Logs:
    from tastemaker.data.reading.readers import read_purchases

    columns, how = reading.columns(), reading.reading()
    log = read_purchases(train, users=users, products=products, columns=columns, reading=how)
    say(f"{spoken([train])}: {log.summary.sentence()}")
    how = replace(how, product_features="none", value_column=None)  # the model knows its products
    if describes_newcomers:
        described = None if how.user_features == "none" else users
        held = read_purchases(held_out, users=described, columns=columns, reading=how)
    else:
        held = read_purchases(held_out, columns=columns, reading=replace(how, user_features="none"))
    say(f"{spoken([held_out])}: {held.summary.sentence()}")
    return _Logs(log, held, users, products)


def _render(found: Comparison, rival: Path | None, as_json: bool) -> None:
    """Print the comparison; exit with 1 where the new model is worse than its rival."""
    gate = None if rival is None else _gate(found, rival)
    if as_json:
        more = {} if gate is None else {"gate": {"passed": gate.passed, "sentence": gate.sentence}}
        print_json(found.as_dict() | more)
    else:
        show_comparison(found)
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


def _write_report(found: Comparison, logs: _Logs, names: ProductTable | None, file: Path) -> None:
    from tastemaker.data.databases.address import without_secrets
    from tastemaker.evaluation.page.report_page import report_page, write_page

    command = without_secrets(shlex.join(["tastemaker", *sys.argv[1:]]))
    with raise_at_once():
        page = report_page(found, logs.train, logs.held_out, products=names, command=command)
        write_page(page, file)
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
                    shown.append(opened.enter_context(terminal_bar()))
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
