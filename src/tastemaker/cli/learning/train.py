"""``tastemaker train``: a log in, a model folder out."""

from __future__ import annotations

import dataclasses
import resource
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tastemaker.cli.terminal.chosen import say_chosen
from tastemaker.cli.terminal.console import (
    counting,
    epoch_table,
    error_console,
    print_json,
    say,
    size,
)
from tastemaker.cli.terminal.flags import takes_flags
from tastemaker.cli.terminal.interrupts import raise_at_once, stop_between_steps
from tastemaker.cli.terminal.options import (
    AsJson,
    Learning,
    Logs,
    Threads,
    bytes_of,
    log_of,
    spoken,
)
from tastemaker.cli.terminal.read_report import say_read
from tastemaker.cli.terminal.reading import ReadingOptions
from tastemaker.display import counted
from tastemaker.errors import SettingProblem, TrainingInterrupted
from tastemaker.training.progress_bar import terminal_bar

if TYPE_CHECKING:
    from tastemaker.data.purchases import Purchases
    from tastemaker.model.config import Config
    from tastemaker.model.taste_model import TasteModel
    from tastemaker.training.progress import Progress, Watcher
    from tastemaker.training.sharded.crew import Crew
    from tastemaker.training.train import Recovery

__all__ = ["train"]


@dataclass(frozen=True, slots=True)
class SettingFlags:
    """The flags that say what is learned."""

    preset: Annotated[
        str | None,
        typer.Option(
            metavar="default|workshop", help="Whole settings under one name.", show_default="default"
        ),
    ] = None
    effort: Annotated[
        Literal["quick", "standard", "thorough"] | None,
        typer.Option(
            help="Time for choosing settings: less to choose, or several tastes tried.",
            show_default="standard",
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change any setting of the preset; repeatable."),
    ] = None
    dimensions: Annotated[
        int | None, typer.Option(help="Length of the vectors.", show_default="by preset")
    ] = None
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the purchases.", show_default="by preset")
    ] = None
    negatives: Annotated[
        int | None,
        typer.Option(help="Sampled products a bought one competes with.", show_default="by preset"),
    ] = None
    learning_rate: Annotated[float | None, typer.Option(help="Step size.", show_default="by preset")] = None
    start_from: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Go on from an older model, on a longer log: its settings, its vectors, part of its epochs.",
            show_default=False,
        ),
    ] = None
    tune: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="First search better settings, on a part held out of the log.",
            show_default=False,
        ),
    ] = None

    def changes(self) -> dict[str, object]:
        """Return the settings to change; a flag of its own overrules `--set`."""
        flags = {
            "taste.dimensions": self.dimensions,
            "taste.epochs": self.epochs,
            "taste.negatives": self.negatives,
            "taste.learning_rate": self.learning_rate,
        }
        return _pairs(self.settings or []) | {
            name: value for name, value in flags.items() if value is not None
        }


@dataclass(frozen=True, slots=True)
class RunFlags:
    """The flags that say how the training runs."""

    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0
    threads: Threads = None
    workers: Learning = "local"
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Refuse to start when training needs more, as 4G.", show_default=False
        ),
    ] = None
    partition: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Read the log in pieces into arrays in DIR, once, and learn from those: for logs larger than memory.",
            show_default=False,
        ),
    ] = None
    keep_interrupted: Annotated[
        bool, typer.Option("--keep-interrupted", help="On Ctrl-C, write what was learned so far.")
    ] = False
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Keep the state after every N epochs, beside FOLDER.", show_default=False
        ),
    ] = None
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Go on from a checkpoint, to the same bytes.", show_default=False),
    ] = None

    def recovery(self, out: Path) -> Recovery:
        """Return what an interrupted training leaves behind."""
        from tastemaker.training.checkpoint import Checkpoints, checkpoint_beside
        from tastemaker.training.train import Recovery

        every = self.checkpoint_every
        return Recovery(
            keep_interrupted=self.keep_interrupted,
            checkpoints=None if every is None else Checkpoints(checkpoint_beside(out), every),
            resume=self.resume,
        )

    def crew(self, out: Path) -> Crew | None:
        """Return who learns elsewhere, if anybody; their folder stands beside the model's until it is written."""
        if self.workers == "local":
            return None
        from tastemaker.scale.where import executor_of
        from tastemaker.training.sharded.crew import Crew

        folder = out.parent / f".{out.name}.work"
        if folder.exists():
            say(
                f"Going on with what an earlier training has left in {folder}, where log, settings and seed are the same."
            )
        return Crew(executor_of(self.workers), folder, self.threads)


@takes_flags
def train(
    purchases: Logs,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="A new folder, such as models/recommender/1.", show_default=False
        ),
    ],
    users: Annotated[
        str | None, typer.Option(metavar="F", help="A catalogue of all users.", show_default=False)
    ] = None,
    products: Annotated[
        str | None, typer.Option(metavar="F", help="A catalogue of all products.", show_default=False)
    ] = None,
    reading: ReadingOptions = ReadingOptions(),
    valid: Annotated[
        str | None,
        typer.Option(
            metavar="F", help="A log to measure after every epoch; never learned from.", show_default=False
        ),
    ] = None,
    hold_out: Annotated[
        Literal["last", "random", "time"] | None,
        typer.Option(help="Hold a part of the log out, in place of --valid.", show_default=False),
    ] = None,
    setting: SettingFlags = SettingFlags(),
    running: RunFlags = RunFlags(),
    as_json: AsJson = False,
) -> None:
    """Learn a model from a log of purchases and write it to a new folder.

    The columns of users, products, times and quantities are found by their usual names (user_id, CustomerID, product_id,
    StockCode, …) or named by flags. The workshop's own model: `--preset workshop`.
    """
    from tastemaker.model.folder import check_target

    if valid is not None and hold_out is not None:
        raise typer.BadParameter("--valid and --hold-out exclude each other.")
    config, old = _settings(setting)
    reading, workers = reading.and_workers(running.workers)
    running = dataclasses.replace(running, workers=workers)
    limit = None if running.max_memory is None else bytes_of(running.max_memory)
    check_target(out)
    recovery, crew = running.recovery(out), running.crew(out)

    clock = time.perf_counter()
    whole = _partitioned(purchases, users, products, reading, running.partition)
    log, measured = _read(purchases, users, products, reading, valid, hold_out, running.seed, whole)
    seconds = {"read": time.perf_counter() - clock}
    _say_plan(log, measured, config, running.threads, limit)
    model = _learned(log, measured, config, old, setting.tune, running, recovery, out, seconds, crew)
    _written(model, out, recovery, seconds, crew)
    (_print_json if as_json else _say_done)(model, log, out, seconds)


def _learned(
    log: Purchases,
    measured: Purchases | None,
    config: Config,
    old: TasteModel | None,
    minutes: float | None,
    running: RunFlags,
    recovery: Recovery,
    out: Path,
    seconds: dict[str, float],
    crew: Crew | None,
) -> TasteModel:
    """Search settings if asked to, and learn, under a progress bar; Ctrl-C waits for the end of a step."""
    from tastemaker.training.train import train as learn

    clock = time.perf_counter()
    with stop_between_steps() as stop, terminal_bar() as show:

        def watch(step: Progress) -> None:
            show(step)
            stop.check()

        searched: dict[str, object] = {}
        if minutes is not None:
            config, searched = _tuned(log, config, minutes, out, running.seed, running.threads, watch)
        try:
            model = learn(
                log, config, valid=measured, seed=running.seed, threads=running.threads, progress=watch,
                start_from=old, recovery=recovery, workers=crew,
            )  # fmt: skip
        except TrainingInterrupted as interrupted:
            raise (interrupted if crew is None else _kept_by(crew, interrupted)) from None
        if not running.keep_interrupted:
            stop.check()  # asked for after the last step
    seconds["train"] = time.perf_counter() - clock
    return _noting(model, searched)


def _kept_by(crew: Crew, stop: TrainingInterrupted) -> TrainingInterrupted:
    return TrainingInterrupted(
        f"{str(stop).partition(';')[0]}; no model was written, but what was learned is kept in {crew.folder.path}: "
        "give the same command again to go on."
    )


def _written(
    model: TasteModel, out: Path, recovery: Recovery, seconds: dict[str, float], crew: Crew | None
) -> None:
    from tastemaker.model.folder import save

    if crew is not None:
        nothing = "nothing, since a log with attributes or contexts is learned from in this process"
        say(f"Of the learning: {crew.tally.sentence() or nothing}.")

    clock = time.perf_counter()
    with raise_at_once():
        save(model, out)
        if recovery.checkpoints is not None and not model.record.interrupted:
            shutil.rmtree(recovery.checkpoints.folder, ignore_errors=True)  # it has served its purpose
        if crew is not None and not model.record.interrupted:
            shutil.rmtree(crew.folder.path, ignore_errors=True)
    seconds["write"] = time.perf_counter() - clock


def _print_json(model: TasteModel, log: Purchases, folder: Path, seconds: dict[str, float]) -> None:
    print_json(
        {
            "folder": str(folder),
            "seconds": seconds,
            "epochs": [dataclasses.asdict(epoch) for epoch in model.record.epochs],
            "peak_memory_bytes": _peak_memory(),
            "interrupted": model.record.interrupted,
            "metrics": dict(model.record.metrics),
            "read": log.read.as_dict(),
            "summary": {"rows": log.read.rows, "repeats": log.read.repeats, **log.read.reasons()},
        }
    )


def _say_done(model: TasteModel, log: Purchases, folder: Path, seconds: dict[str, float]) -> None:
    error_console().print(epoch_table(model.record.epochs))
    say_chosen(model.record)
    if model.record.interrupted:
        say(
            f"Interrupted: kept what {len(model.record.epochs)} whole epochs and a part of the next had learned."
        )
    say(f"Wrote {folder} after {sum(seconds.values()):.1f} s; peak memory {size(_peak_memory())}.")
    say(f"Next: tastemaker recommend {folder} --user {model.users.ids[0]}")


def _settings(flags: SettingFlags) -> tuple[Config, TasteModel | None]:
    """Return the settings, of a preset or of an older model, and that model."""
    from tastemaker.model.config import preset

    start_from, changes = flags.start_from, flags.changes()
    if flags.effort == "thorough" and flags.tune is not None:
        raise typer.BadParameter("--effort thorough and --tune are two searches: give one of them.")
    if start_from is None:
        return preset(flags.preset or "default", effort=flags.effort or "standard").changed(changes), None
    if flags.preset is not None or flags.tune is not None or flags.effort is not None:
        raise typer.BadParameter(
            "--start-from takes the older model's settings: without --preset, --effort and --tune."
        )
    from tastemaker.model.folder import load
    from tastemaker.training.warm_start import warm_settings

    old = load(start_from)
    say(
        f"Going on from {start_from}: {counted(old.record.purchases, 'purchase')} of {counted(len(old.products), 'product')} "
        f"by {counted(len(old.users), 'user')}."
    )
    return warm_settings(old, changes), old


def _tuned(
    log: Purchases, config: Config, minutes: float, out: Path, seed: int, threads: int | None, watch: Watcher
) -> tuple[Config, dict[str, object]]:
    from tastemaker.kernels.threads import ThreadPool
    from tastemaker.training.selection.tune import tune

    file = out.parent / f".{out.name}.tuning"
    file.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPool(threads) as pool:
        best, measured = tune(log, config, minutes=minutes, file=file, seed=seed, pool=pool, watch=watch)
    tuning = measured["tuning"]
    values = ", ".join(f"{name} {value:.3g}" for name, value in tuning["best"].items())
    say(f"Best of {tuning['trials']} trials (kept in {file}, where --tune goes on): {values}.")
    return best, measured | {"tuning": {name: tuning[name] for name in ("trials", "best")}}


def _noting(model: TasteModel, measured: dict[str, object]) -> TasteModel:
    """Return the model with what was measured while its settings were searched in its record."""
    metrics = {**measured, **model.record.metrics}
    return dataclasses.replace(model, record=dataclasses.replace(model.record, metrics=metrics))


def _read(
    files: list[str],
    users: str | None,
    products: str | None,
    flags: ReadingOptions,
    valid: str | None,
    hold_out: str | None,
    seed: int,
    whole: Purchases | None,
) -> tuple[Purchases, Purchases | None]:
    import numpy as np

    from tastemaker.data.databases.address import is_address
    from tastemaker.data.reading.readers import read_held_out, read_purchases
    from tastemaker.data.splits import hold_out_last, hold_out_random, hold_out_time

    columns, reading = flags.columns(), flags.reading()
    log = whole
    if log is None:
        log = read_purchases(log_of(files), users=users, products=products, columns=columns, reading=reading)
    say_read(log.read, spoken(files))
    if valid is not None:
        how = reading if is_address(valid) else dataclasses.replace(reading, query=None, table=None)
        held = read_held_out(valid, log.users, log.products, columns, reading=how)
        unknown = held.unknown_user_rows + held.unknown_product_rows
        note = (
            f" {counted(unknown, 'row', 'has', 'have')} a user or product that {spoken(files)} lacks: not measured."
            if unknown
            else ""
        )
        say(f"{spoken([valid])}: {held.purchases.summary.sentence()}{note}")
        return log, held.known
    if hold_out is None:
        return log, None
    split = {
        "last": lambda: hold_out_last(log),
        "random": lambda: hold_out_random(log, rng=np.random.default_rng([seed, 1])),
        "time": lambda: hold_out_time(log),
    }[hold_out]()
    say(f"{split.description} They are measured and not learned from.")
    return split.train, split.held_out


def _partitioned(
    files: list[str], users: str | None, products: str | None, flags: ReadingOptions, folder: Path | None
) -> Purchases | None:
    """Return the log of a partition, made now or before; ``None`` where it is read at once."""
    if folder is None:
        return None
    from tastemaker.data.partition.partition import partition_log

    if users is not None or products is not None:
        raise typer.BadParameter(
            "--partition learns who and what stands in the log: without --users and --products."
        )
    with raise_at_once(), counting("pieces", None) as bar:
        log = partition_log(
            files, folder, columns=flags.columns(), reading=flags.reading(),
            on_piece=lambda done, of, _: bar.update(bar.task_ids[0], total=of, completed=done),
        )  # fmt: skip
    say(
        f"The log lies in {folder}, in arrays that are mapped; the next training of these files does not read it again."
    )
    return log


def _say_plan(
    log: Purchases,
    held_out: Purchases | None,
    config: Config,
    threads: int | None,
    limit: int | None,
) -> None:
    from tastemaker.kernels.threads import default_threads
    from tastemaker.training.train import estimate_bytes

    need = estimate_bytes(log, config)
    effort = "" if config.effort == "standard" else f"effort {config.effort}, "
    say(
        f"{counted(len(log), 'purchase')} of {counted(len(log.products), 'product')} by {counted(len(log.users), 'user')}"
        f"{f', {len(held_out):,} held out' if held_out is not None else ''}; preset {config.preset}, "
        f"{effort}{config.taste.dimensions} dimensions; about {size(need)} of memory, "
        f"{threads or default_threads()} threads."
    )
    if limit is not None and need > limit:
        raise SettingProblem(
            f"training needs about {size(need)} and --max-memory allows {size(limit)}; "
            "use fewer --dimensions or a smaller log, or allow more."
        )


def _pairs(texts: list[str]) -> dict[str, object]:
    pairs: dict[str, object] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise SettingProblem(f"--set {text!r} is not of the form KEY=VALUE, such as epochs=20.")
        pairs[key.strip().replace("-", "_")] = value.strip()
    return pairs


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
