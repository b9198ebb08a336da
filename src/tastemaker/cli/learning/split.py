"""``tastemaker split``: a log in, what came before a moment and what came later out, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tastemaker.cli.terminal.console import print_json, say
from tastemaker.cli.terminal.options import AsJson, Logs, log_of
from tastemaker.cli.terminal.reading import ReadingOptions, takes_reading
from tastemaker.display import counted

__all__ = ["split"]


@takes_reading
def split(
    logs: Logs,
    into: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder of the two files.", show_default=False)
    ],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="The later part begins here, such as 2024-06-01.", show_default=False
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(metavar="10%|14d", help="The later part is this much of the end.", show_default=False),
    ] = None,
    reading: ReadingOptions = ReadingOptions(),
    as_json: AsJson = False,
) -> None:
    """Part a log in time: `train` and `later` in DIR have its columns and its rows, as they are.

    Learn from one and measure with the other: `tastemaker train DIR/train.csv …`, then `tastemaker evaluate … DIR/later.csv`.
    """
    from tastemaker.data.reading.parted import part_log

    if (at is None) == (last is None):
        raise typer.BadParameter("give either --at DATE or --last 10% (or 14d).")
    found = part_log(
        log_of(logs), into, at=at, last=last, columns=reading.columns(), reading=reading.reading()
    )
    if as_json:
        print_json(found.as_dict())
        return
    for part in (found.train, found.later):
        say(
            f"{part.file}: {counted(part.rows, 'row')}, {counted(part.users, 'user')}, {counted(part.products, 'product')}."
        )
    say(
        f"Later is {found.border}; of its users {found.new_users:,} are new, of its products {found.new_products:,}."
    )
    if found.without_time:
        say(f"{counted(found.without_time, 'row', 'has', 'have')} no time: in neither file.")
