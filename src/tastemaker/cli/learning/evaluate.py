"""``tastemaker evaluate``: a model and a held-out log in, measurements out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.learning.replayed import (
    Frozen,
    Replay,
    Since,
    check_here,
    check_replay_flags,
    replay_terms,
    show_replay,
    with_since,
)
from tastemaker.cli.terminal.console import output, print_json, say
from tastemaker.cli.terminal.interrupts import raise_at_once
from tastemaker.cli.terminal.objective import Objective, Tail, ValueDial, aimed, check_objective
from tastemaker.cli.terminal.options import (
    STANDARD_LENGTHS,
    AsJson,
    Lengths,
    ModelFolder,
    Ranking,
    RankPurchased,
    Threads,
    log_of,
    spoken,
)
from tastemaker.cli.terminal.reading import ReadingOptions, takes_reading
from tastemaker.cli.terminal.tables import Sheet, measured, print_sheet
from tastemaker.display import counted

if TYPE_CHECKING:
    from tastemaker.data.purchases import Purchases
    from tastemaker.data.reading.readers import HeldOut
    from tastemaker.evaluation.protocol import Report
    from tastemaker.evaluation.replay.bench import Terms
    from tastemaker.evaluation.replay.report import ReplayReport
    from tastemaker.model.taste_model import TasteModel

__all__ = ["evaluate", "report_table"]


HeldOutLog = Annotated[
    list[str],
    typer.Argument(
        metavar="HELD_OUT...", help="A log that the model has not seen, or its parts.", show_default=False
    ),
]
Users = Annotated[
    str | None,
    typer.Option(
        metavar="F", help="With --replay: what is known of users, those who are new, too.", show_default=False
    ),
]
Products = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help="With --replay: a catalogue whose column since says from when on a product is sold.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Decides the intervals' resampling and the workshop's draws.")]


@takes_reading
def evaluate(
    folder: ModelFolder,
    held_out: HeldOutLog,
    at: Lengths = None,
    include_purchased: RankPurchased = False,
    replay: Replay = False,
    frozen: Frozen = False,
    since: Since = None,
    users: Users = None,
    products: Products = None,
    objective: Objective = "likely",
    value_dial: ValueDial = 1.0,
    tail: Tail = 0.0,
    reading: ReadingOptions = ReadingOptions(),
    seed: Seed = 0,
    workers: Ranking = "local",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on purchases that it has not seen: the whole catalogue is ranked for every user in HELD_OUT.

    Each number is a mean over users, with a 95 % interval. What a user bought in train is left out of their list. With --replay
    every purchase in HELD_OUT is a question, asked in the order of time: new users and new products count, too, and simple rules
    are measured beside the model. With --objective revenue the lists are by expected value, and a replay says what they earn, too:
    earned@k is the mean worth of a question's product where it is found among the first k. With --workers several processes or a
    Ray cluster rank the lists; the numbers are the same.
    """
    reading, workers = check_here(reading.and_workers(workers), replay)
    check_replay_flags(replay, frozen, since, catalogues=bool(users or products))
    if replay:
        terms = replay_terms(
            at, include_purchased, frozen=frozen, since=since, products=products, seed=seed, threads=threads
        )
        found = _replay(
            _Later(folder, held_out, reading, users, products, since, objective, value_dial, tail), terms
        )
        show_replay(found, as_json=as_json)
        return
    from tastemaker.model.folder import load

    model = aimed(load(folder), objective, value_dial, tail)
    held = _read(held_out, model, reading)
    how = _Terms(tuple(at or STANDARD_LENGTHS), include_purchased, seed, threads)
    if workers == "local":
        report = how.measured(model, held.purchases)
    else:
        dial = check_objective(objective, value_dial, tail=tail)
        report = _measured_on(workers, folder, model, held.purchases, how, dial)
    if as_json:
        unknown = {
            "unknown_user_rows": held.unknown_user_rows,
            "unknown_product_rows": held.unknown_product_rows,
        }
        print_json(report.as_dict() | unknown)
    else:
        _show(report)


@dataclass(frozen=True, slots=True)
class _Terms:
    """How lists are measured."""

    at: tuple[int, ...]
    include_purchased: bool
    seed: int
    threads: int | None

    def measured(self, model: TasteModel, held_out: Purchases) -> Report:
        """Measure in this process."""
        from tastemaker.evaluation.evaluate import evaluate as measure

        return measure(
            model,
            held_out,
            at=self.at,
            include_purchased=self.include_purchased,
            seed=self.seed,
            threads=self.threads,
        )


def _measured_on(
    workers: str, folder: Path, model: TasteModel, held_out: Purchases, terms: _Terms, dial: float | None
) -> Report:
    """Let the workers of an executor rank, measure their lists, and say who did how many blocks."""
    from tastemaker.evaluation.evaluate import evaluate_ranked
    from tastemaker.ranking.export.blocks import rank_blocks
    from tastemaker.scale.executor import Tally
    from tastemaker.scale.where import executor_of

    tally = Tally()
    rank = partial(
        rank_blocks, folder=folder, executor=executor_of(workers, terms.threads),
        include_purchased=terms.include_purchased, value_dial=dial, tally=tally,
    )  # fmt: skip
    with raise_at_once():
        report = evaluate_ranked(model, held_out, rank, at=terms.at, seed=terms.seed, threads=terms.threads)
    say(f"Blocks of lists: {tally.sentence()}.")
    return report


def _read(files: list[str], model: TasteModel, reading: ReadingOptions) -> HeldOut:
    """Read what is held out, and say what of it cannot be measured or was seen in training."""
    from tastemaker.data.reading.readers import read_held_out
    from tastemaker.evaluation.comparison.common_users import learned_from, share_seen

    columns, how = reading.columns(), reading.reading()
    held = read_held_out(log_of(files), model.users, model.products, columns, reading=how, needs_times=False)
    say(f"{spoken(files)}: {held.purchases.summary.sentence()}")
    if held.unknown_user_rows:
        rows = counted(held.unknown_user_rows, "row", "is", "are")
        say(f"{rows} of users that the model does not know: not measured.")
    if held.unknown_product_rows:
        rows = counted(held.unknown_product_rows, "row", "is", "are")
        say(f"{rows} of products that the model does not know: counted as missed.")
    seen = share_seen(learned_from(model), held.purchases)
    if seen:
        say(
            f"The model has seen {seen:.1%} of the pairs held out: purchases made again, or not held out at all."
        )
    return held


def _show(report: Report) -> None:
    of = f"{counted(report.users, 'user')}, {counted(report.products, 'product')} ranked"
    output().print(f"{of}; mean and 95 % interval:")
    print_sheet(report_table(report))
    if report.workshop is not None:
        output().print(
            f"The workshop's measure, 1 bought against {report.workshop.negatives} random products (a training curve, "
            f"not a quality): accuracy {report.workshop.categorical_accuracy:.4f}, loss {report.workshop.loss:.4f}.",
            soft_wrap=True,
        )


@dataclass(frozen=True, slots=True)
class _Later:
    """What a replay reads, as the options say it."""

    folder: Path
    files: list[str]
    reading: ReadingOptions
    users: str | None
    products: str | None
    since: str | None
    objective: str
    value_dial: float
    tail: float


def _replay(given: _Later, terms: Terms) -> ReplayReport:
    from tastemaker.data.reading.readers import read_purchases
    from tastemaker.evaluation.replay.later import reading_of_later
    from tastemaker.evaluation.replay.replay import replay_on
    from tastemaker.model.folder import load

    model = aimed(load(given.folder), given.objective, given.value_dial, given.tail)
    if given.objective == "revenue":
        terms = replace(terms, worth=model.product_values)
    files, columns, reading = log_of(given.files), given.reading.columns(), given.reading.reading()
    reading = reading_of_later(model, files, users=given.users, columns=columns, reading=reading)
    log = read_purchases(files, users=given.users, columns=columns, reading=reading)
    say(f"{spoken(given.files)}: {log.summary.sentence()}")
    return replay_on(
        model, log, with_since(terms, given.since, given.products, model.products, log.time_unit)
    )


def report_table(report: Report) -> Sheet:
    """Return a table with a line for each metric and a column for each list length."""
    lengths = sorted({int(name.partition("@")[2]) for name in report.metrics})
    names = dict.fromkeys(name.partition("@")[0] for name in report.metrics)
    rows = [[name, *(measured(report.metrics[f"{name}@{length}"]) for length in lengths)] for name in names]
    return Sheet(["", *(f"@{length}" for length in lengths)], rows, gap=4)
