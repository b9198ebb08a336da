"""``tastemaker inspect``: a log in, what would be read of it and how it was understood out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tastemaker.cli.terminal.console import print_json, say
from tastemaker.cli.terminal.options import AsJson
from tastemaker.cli.terminal.reading import ReadingOptions, takes_reading

__all__ = ["inspect"]


@takes_reading
def inspect(
    logs: Annotated[
        list[Path], typer.Argument(metavar="LOG...", help="The log, or its parts.", show_default=False)
    ],
    reading: ReadingOptions = ReadingOptions(),
    as_json: AsJson = False,
) -> None:
    """Show what `train` would read of a log and how it understands it; nothing is learned or written."""
    from tastemaker.data.reading.readers import read_purchases

    log = read_purchases(
        logs[0] if len(logs) == 1 else logs, columns=reading.columns(), reading=reading.reading()
    )
    if as_json:
        print_json(log.summary.as_dict())
        return
    say(log.summary.sentence())
