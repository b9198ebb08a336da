"""``tastemaker compare --off-policy``: what another model would earn, estimated from lists that explored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemaker.cli.terminal.console import output, print_json
from tastemaker.cli.terminal.tables import Cell, Sheet, print_sheet

if TYPE_CHECKING:
    from tastemaker.evaluation.off_policy.means import Estimate
    from tastemaker.serving.measuring.off_policy import FromLog

__all__ = ["OffPolicyLog", "Window", "check_off_policy", "compare_off_policy"]

DAY = 86_400_000_000
FEW = 0.9
"""Below this share of lists that a version makes again, something else has changed since"""

OffPolicyLog = Annotated[
    str | None,
    typer.Option(
        "--off-policy",
        metavar="DB",
        help="Estimate from the lists of `serve --explore` in this file of events, or in the database of several hosts "
        "(postgresql://…), what MODEL, and then CANDIDATE, would earn.",
        show_default=False,
    ),
]
Window = Annotated[
    float,
    typer.Option(
        metavar="DAYS", help="With --off-policy: how long after it was first served a list's outcomes count."
    ),
]


def check_off_policy(others: dict[str, object]) -> None:
    """Refuse flags that say how models are learned or asked: with --off-policy they are there, and were asked."""
    given = [name for name, value in others.items() if value]
    if given:
        raise typer.BadParameter(f"--off-policy estimates from lists that were shown; leave out {given[0]}.")


def compare_off_policy(
    log: str,
    models: list[Path],
    *,
    metric: str,
    window: float,
    products: str | None,
    as_json: bool,
) -> None:
    """Estimate and print; the verdict is about ``metric``."""
    from tastemaker.serving.measuring.off_policy import METRICS, estimated
    from tastemaker.serving.shared.as_file import log_at

    if metric not in METRICS:
        raise typer.BadParameter(
            f"--metric is {metric!r}; with --off-policy it is one of {', '.join(METRICS)}."
        )
    if not window > 0:
        raise typer.BadParameter(f"--window is {window:g} days; it must be above 0.")
    if len(set(models)) < len(models):
        raise typer.BadParameter("MODEL and CANDIDATE are the same; give another one, or one alone.")
    with log_at(log) as events:
        found = estimated(
            events,
            models,
            metric=metric,
            window=round(window * DAY),
            catalogue=None if products is None else Path(products),
        )
    if as_json:
        print_json(_plain(found))
    else:
        _show(found)


def _plain(said: FromLog) -> dict[str, Any]:
    found = asdict(said.found)
    models = [
        {
            **model,
            "unknown_products": said.unknown[model["name"]],
            "made_again": said.again.get(model["name"]),
        }
        for model in found.pop("models")
    ]
    return {
        **found,
        "models": models,
        "versions": {str(version): count for version, count in said.versions.items()},
        "explore": list(said.rates),
        "window_days": said.window / DAY,
        "left_out": dict(said.left_out),
    }


def _show(said: FromLog) -> None:
    found, out = said.found, output()
    rates = " and ".join(f"{rate:g}" for rate in said.rates)
    versions = ", ".join(f"{count:,} of version {version}" for version, count in said.versions.items())
    left = "".join(f" Left out: {count:,} {reason}." for reason, count in said.left_out.items())
    days = f"{said.window / DAY:g} days each"
    out.print(
        f"{found.lists:,} lists of {found.visitors:,} visitors ({versions}), --explore {rates}, {days}.{left}",
        soft_wrap=True, markup=False,
    )  # fmt: skip
    print_sheet(_table("a list", {"those that were shown": found.logged}))
    for model in found.models:
        lines = {
            "inverse propensity": model.inverse_propensity,
            "doubly robust": model.doubly_robust,
            "… − those that were shown": model.difference,
        }
        out.print()
        print_sheet(_table(_short(model.name), lines))
        overlap = model.overlap
        out.print(
            f"The log tells as much as {overlap.effective:,.0f} visitors who see {_short(model.name)}. "
            f"At {_percent(overlap.hardly)} of its places stands what the log hardly ever shows there (a chance below 1 %), at "
            f"{_percent(overlap.never)} what it never shows.",
            soft_wrap=True, markup=False,
        )  # fmt: skip
        for note in _notes(said, model.name, overlap.clipped):
            out.print(note, soft_wrap=True, markup=False)
    if found.difference is not None:
        first, second = (_short(model.name) for model in found.models)
        out.print()
        print_sheet(_table("a list", {f"{second} − {first}": found.difference}))
    out.print()
    out.print(found.verdict, soft_wrap=True, markup=False)
    out.print(
        "Assumed: what a product earns at a place does not depend on what stands beside it.",
        soft_wrap=True, markup=False,
    )  # fmt: skip


def _notes(said: FromLog, name: str, clipped: int) -> list[str]:
    notes = []
    again, unknown = said.again.get(name), said.unknown[name]
    if unknown:
        notes.append(f"It does not know {_percent(unknown)} of the products of the logged lists.")
    if again is not None:
        doubt = " Rules, catalogue or purchases have changed since." if again < FEW else ""
        notes.append(
            f"It makes {_percent(again)} of the lists that its version made again as they were.{doubt}"
        )
    if clipped:
        notes.append(
            f"{clipped:,} places weigh less than they should, so its estimates lean to what the log shows often."
        )
    return notes


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def _short(name: str) -> str:
    """Return the end of a model's path, such as ``recommender/8``."""
    return "/".join(Path(name).parts[-2:])


def _table(title: str, lines: Mapping[str, Mapping[str, Estimate]]) -> Sheet:
    rows: list[list[Cell]] = [[name, *map(_cell, estimates.values())] for name, estimates in lines.items()]
    return Sheet([title, *next(iter(lines.values()))], rows)


def _cell(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return f"{one.mean:.4g} (too early)"
    return f"{one.mean:.4g} ({one.low:.4g} to {one.high:.4g})"
