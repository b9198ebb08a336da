"""What people see on stderr: progress bars, tables, one-line facts. Results go to stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from tastemaker.model.record import Epoch

__all__ = [
    "counting",
    "epoch_table",
    "error_console",
    "output",
    "print_json",
    "say",
    "size",
]


def error_console() -> Console:
    """Return the console of messages and bars."""
    return Console(stderr=True, highlight=False)


def output() -> Console:
    """Return the console of results."""
    return Console(highlight=False)


def say(text: str) -> None:
    """Print one line for people on stderr, in a terminal broken between words; what cannot be printed is written as an escape."""
    from tastemaker.data.reading.files.names import shown

    console = error_console()
    whole = not console.is_terminal or "tastemaker " in text  # a command is to be copied in one line
    console.print("\n".join(map(shown, text.split("\n"))), markup=False, soft_wrap=whole)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def size(count: float) -> str:
    """Write a number of bytes for people.

    >>> size(123_456_789)
    '118 MiB'
    """
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


@contextmanager
def counting(what: str, total: int | None) -> Iterator[Progress]:
    """Show a bar that counts; call ``update(0, advance=n)`` on what is yielded."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=error_console(),
        transient=True,
    ) as bar:
        bar.add_task("", total=total)
        yield bar


def epoch_table(epochs: Sequence[Epoch]) -> Table:
    """Return the epochs of a training as a table, at most the first ten and the last ten."""
    measured = any(epoch.valid_loss is not None for epoch in epochs)
    valid = ("valid loss", "valid accuracy") if measured else ()
    table = Table("epoch", "loss", "accuracy", *valid, "seconds", box=None, header_style="bold")
    for column in table.columns:
        column.justify = "right"
    shown = list(epochs) if len(epochs) <= 20 else [*epochs[:10], None, *epochs[-10:]]
    for epoch in shown:
        if epoch is None:
            table.add_row(*["…"] * len(table.columns))
            continue
        values = [epoch.loss, epoch.accuracy, *([epoch.valid_loss, epoch.valid_accuracy] if measured else [])]
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        table.add_row(str(epoch.epoch), *cells, f"{epoch.seconds:.2f}")
    return table
