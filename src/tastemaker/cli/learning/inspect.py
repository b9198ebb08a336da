"""``tastemaker inspect``: a log in, what would be read of it and how it was understood out."""

from __future__ import annotations

from typing import Annotated

import typer

from tastemaker.cli.terminal.console import print_json
from tastemaker.cli.terminal.options import AsJson, Logs, log_of, spoken
from tastemaker.cli.terminal.read_report import show_read
from tastemaker.cli.terminal.reading import ReadingOptions, takes_reading

__all__ = ["inspect"]


@takes_reading
def inspect(
    logs: Logs,
    users: Annotated[
        str | None, typer.Option(metavar="F", help="A catalogue of all users.", show_default=False)
    ] = None,
    products: Annotated[
        str | None, typer.Option(metavar="F", help="A catalogue of all products.", show_default=False)
    ] = None,
    reading: ReadingOptions = ReadingOptions(),
    as_json: AsJson = False,
) -> None:
    """Show what `train` would read of a log and how it understands it; nothing is learned or written."""
    from tastemaker.data.reading.readers import read_purchases

    log = read_purchases(
        log_of(logs), users=users, products=products, columns=reading.columns(), reading=reading.reading()
    )
    if as_json:
        print_json(log.read.as_dict())
    else:
        show_read(log.read, spoken(logs))
