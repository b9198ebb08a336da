"""``tastemaker experiment``: which of two versions brings more, found out on visitors."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemaker.cli.service.promote import ModelVersions, State
from tastemaker.cli.terminal.console import output, print_json, say
from tastemaker.cli.terminal.help import Command, Commands
from tastemaker.cli.terminal.options import AsJson
from tastemaker.errors import SettingProblem

if TYPE_CHECKING:
    from tastemaker.serving.measuring.experiments import Experiment
    from tastemaker.serving.measuring.report import Report
    from tastemaker.storage import Home

__all__ = ["experiment_app"]

DAY = 86_400_000_000

experiment_app = typer.Typer(
    name="experiment",
    cls=Commands,
    help="Find out on visitors which of two versions brings more.",
    no_args_is_help=True,
)

NameOf = Annotated[
    str | None,
    typer.Option("--name", help="The experiment; by default the latest.", show_default=False),
]
EventsFile = Annotated[
    Path | None,
    typer.Option(
        "--events", metavar="DB", help="The file of `serve --events` of one host; a server may run.", show_default=False
    ),
]  # fmt: skip


@experiment_app.callback()
def _root() -> None:
    pass


@experiment_app.command(cls=Command)
def start(
    folder: ModelVersions,
    name: Annotated[str, typer.Option(help="A name for it.", show_default=False)],
    control: Annotated[str, typer.Option(metavar="LABEL", help="The version it is compared with.")],
    treatment: Annotated[str, typer.Option(metavar="LABEL", help="The version that is tried.")],
    share: Annotated[float, typer.Option(metavar="%", help="The visitors that get the treatment.")] = 50.0,
    holdout: Annotated[
        float, typer.Option(metavar="%", help="The visitors that get best sellers, beside both.")
    ] = 0.0,
    metric: Annotated[
        str, typer.Option(help="What decides: click rate, conversion, revenue or margin.")
    ] = "conversion",
    window: Annotated[
        float, typer.Option(metavar="DAYS", help="How long after their first list a visitor counts.")
    ] = 7.0,
    visitors: Annotated[
        int,
        typer.Option(help="For how many the experiment is planned; decides where intervals are narrowest."),
    ] = 50_000,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show some visitors the treatment and the others the control, from now on and on every server of the folder.

    Visitors are parted by a hash of their ids: the same visitor gets the same version everywhere. Servers follow within a second or
    so. The experiment is about the versions that the labels name now; it ends when one of them moves.
    """
    from tastemaker.serving.measuring.experiments import change_experiments, started
    from tastemaker.serving.measuring.in_force import end_moved
    from tastemaker.serving.measuring.report import as_plain

    with _shared(folder, state) as (home, place):
        end_moved(place, home=home)
        versions = (_version(folder, control, place), _version(folder, treatment, place))
        one = _new(
            name=name, control=control, treatment=treatment, versions=versions, share=share, holdout=holdout,
            salt=secrets.token_hex(8), metric=metric, visitors=visitors, window=round(window * DAY), began=home.now(),
        )  # fmt: skip
        change_experiments(place, lambda before: started(before, one), home=home)
    if as_json:
        print_json(as_plain(one))
        return
    parts = ", ".join(f"{share:.4g} % {arm}" for arm, share in _percent(one).items())
    say(f"Experiment {name}: {control} ({versions[0]}) against {treatment} ({versions[1]}); {parts}.")


@experiment_app.command("list", cls=Command)
def list_(folder: ModelVersions, state: State = None, as_json: AsJson = False) -> None:
    """List the experiments of a model, the oldest first."""
    from rich.table import Table

    from tastemaker.serving.measuring.report import as_plain

    experiments, _ = _experiments(folder, state)
    if as_json:
        print_json({"experiments": [as_plain(one) for one in experiments]})
        return
    table = Table("name", "control", "treatment", "began", "state", box=None, header_style="bold")
    for one in experiments:
        state = "runs" if one.ended is None else f"ended {_day(one.ended)}: {one.why}"
        sides = (f"{one.control} ({one.versions[0]})", f"{one.treatment} ({one.versions[1]})")
        table.add_row(one.name, *sides, _day(one.began), state)
    output().print(table)


@experiment_app.command(cls=Command)
def report(
    folder: ModelVersions,
    events: EventsFile = None,
    name: NameOf = None,
    effect: Annotated[
        float, typer.Option(metavar="%", help="The relative effect for which visitors are foretold.")
    ] = 5.0,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Say what an experiment found so far; look as often as you like, its intervals hold at every look."""
    from tastemaker.serving.measuring.report import plain_report, report_from
    from tastemaker.serving.shared.shared_outcomes import outcomes_in

    if not effect > 0:
        raise SettingProblem(f"--effect is {effect:g} %; it must be above 0.")
    outcomes = outcomes_in(events, state)
    experiments, now = _experiments(folder, state)
    one = _named(experiments, name, folder)
    try:
        found = report_from(outcomes, one, at=now, effect=effect / 100)
    finally:
        outcomes.close()
    if as_json:
        print_json(plain_report(found))
    else:
        _show(found)


@experiment_app.command(cls=Command)
def stop(
    folder: ModelVersions,
    name: NameOf = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Give the control's label to the version of the treatment.")
    ] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """End an experiment: every visitor gets what the control's label names; with --promote that is the treatment's version."""
    from tastemaker.serving.measuring.experiments import change_experiments, ended
    from tastemaker.serving.measuring.in_force import end_moved
    from tastemaker.serving.measuring.report import as_plain
    from tastemaker.serving.models.labels import change_labels

    with _shared(folder, state) as (home, place):
        one = _named(end_moved(place, home=home), name, folder)
        if one.ended is not None:
            raise SettingProblem(f"the experiment {one.name!r} has ended: {one.why}; nothing was changed.")
        why = f"stopped, {one.treatment} promoted" if promote else "stopped"
        now = home.now()
        with home.together():
            experiments = change_experiments(
                place, lambda before: ended(before, one.name, at=now, why=why), home=home
            )
            if promote:
                change_labels(place, lambda labels: labels.moved(one.control, one.versions[1]), home=home)
    if as_json:
        print_json(as_plain(_named(experiments, one.name, folder)))
        return
    answers = one.versions[promote]
    say(f"Experiment {one.name} {why}: {one.control} is version {answers} for everybody.")


@contextmanager
def _shared(folder: Path, state: str | None) -> Iterator[tuple[Home, Path]]:
    """Yield what changes the experiments of a model, and where they are read; raise where that is a database that is not named."""
    from tastemaker.serving.measuring.experiments import FILE
    from tastemaker.serving.shared.home import labels_home
    from tastemaker.storage import kept_elsewhere

    label = kept_elsewhere(folder / FILE)
    if state is None and label is not None:
        raise SettingProblem(
            f"hosts share the experiments of {folder} in {label}; name that with --state, or remove .{FILE}.shared when they no "
            "longer do."
        )
    with labels_home(folder, state) as found:
        yield found


def _experiments(folder: Path, state: str | None) -> tuple[tuple[Experiment, ...], int]:
    """Return the experiments of a model, and the moment by the clock of where they are kept."""
    from tastemaker.serving.measuring.in_force import end_moved

    with _shared(folder, state) as (home, place):
        return end_moved(place, home=home), home.now()


def _version(folder: Path, label: str, place: Path) -> int:
    """Return the version that a label names by the labels in ``place``."""
    from tastemaker.serving.models.labels import read_labels

    versions = read_labels(place).versions
    if label not in versions:
        known = ", ".join(sorted(versions)) or "none"
        raise SettingProblem(
            f"{folder} has no label {label!r} (there are: {known}); `tastemaker promote {folder} VERSION --label {label}` gives it."
        )
    return versions[label]


def _new(**facts: Any) -> Experiment:
    from tastemaker.serving.measuring.experiments import Experiment

    return Experiment(**facts)


def _named(experiments: tuple[Experiment, ...], name: str | None, folder: Path) -> Experiment:
    found = [one for one in experiments if name in (None, one.name)]
    if not found:
        known = ", ".join(one.name for one in experiments) or "none"
        raise SettingProblem(
            f"{folder} has no experiment{'' if name is None else f' {name!r}'}; there are: {known}."
        )
    return found[-1]


def _percent(one: Experiment) -> dict[str, float]:
    return {arm: 100 * share for arm, share in one.shares.items()}


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def _show(found: Report) -> None:
    from rich.table import Table

    one = found.experiment
    output().print(found.verdict, soft_wrap=True, markup=False)
    for title, differences, arms in (
        ("", found.differences, (one.control, one.treatment)),
        ("against best sellers: ", found.over_holdout, ("holdout", one.control)),
    ):
        if not differences:
            continue
        table = Table(
            f"{title}a visitor", *arms, "difference", "95 %, at every look", box=None, header_style="bold"
        )
        for metric, each in differences.items():
            interval = "too early" if each.low is None else f"{each.low:+.4g} to {each.high:+.4g}"
            means = (_number(each.control), _number(each.treatment))
            table.add_row(metric, *means, _number(each.difference, "+"), interval)
        output().print(table)
    counts = ", ".join(f"{arm} {found.counted[arm]:,} of {all_:,}" for arm, all_ in found.assigned.items())
    output().print(f"Visitors whose {one.window / DAY:g} days have passed: {counts}.", soft_wrap=True)
    output().print(f"Assignment: p = {found.ratio:.3g} against the shares asked for.", soft_wrap=True)
    if found.needed is not None:
        output().print(
            f"Power: an effect of {found.effect * 100:g} % in {one.metric} takes about {found.needed:,} visitors.",
            soft_wrap=True,
        )


def _number(value: float, sign: str = "") -> str:
    return "–" if value != value else f"{value:{sign}.4g}"
