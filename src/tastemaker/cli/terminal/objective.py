"""``--objective``, ``--value-dial`` and ``--tail``: what lists are by, beside what is bought most likely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tastemaker.model.taste_model import TasteModel

__all__ = ["Objective", "Tail", "ValueDial", "aimed", "check_objective"]

Objective = Annotated[
    str,
    typer.Option(
        metavar="likely|revenue", help="What is bought most likely, or what is worth most on average."
    ),
]
ValueDial = Annotated[
    float,
    typer.Option(metavar="X", help="With --objective revenue: from 0, most likely, to 1, most valuable."),
]
Tail = Annotated[
    float,
    typer.Option(
        metavar="X", help="From 0 to 1: how many places of best sellers go to products that fewer buy."
    ),
]


def aimed(model: TasteModel, objective: str, dial: float, tail: float) -> TasteModel:
    """Return the model that ranks by what was asked for: what is bought most likely, or what is worth most on average."""
    from tastemaker.ranking.packed import by_tail, by_value

    if tail:
        model = by_tail(model, tail)
    chosen = check_objective(objective, dial)
    return model if chosen is None else by_value(model, chosen)


def check_objective(objective: str, dial: float, *, tail: float = 0.0) -> float | None:
    """Return the dial of expected value, or ``None`` for what is most likely; raise a usage error for another objective.

    Several processes rank without a dial of the ``tail``.
    """
    if tail:
        raise typer.BadParameter("--tail goes with --workers local.")
    if objective not in ("likely", "revenue"):
        raise typer.BadParameter(f"--objective is {objective!r}; it must be likely or revenue.")
    return dial if objective == "revenue" else None
