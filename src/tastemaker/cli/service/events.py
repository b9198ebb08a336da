"""``tastemaker events``: the live purchases that a server kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tastemaker.cli.terminal.console import say
from tastemaker.cli.terminal.help import Command, Commands
from tastemaker.display import counted

__all__ = ["events_app"]

events_app = typer.Typer(
    name="events",
    cls=Commands,
    help="Export or back up the live purchases that `serve --events` kept.",
    no_args_is_help=True,
)


@events_app.callback()
def _root() -> None:
    pass


@events_app.command(cls=Command)
def export(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="DB", help="The file of `serve --events`; a server may run.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="F", help="A log to write: .parquet, .csv or .jsonl by its name.", show_default=False
        ),
    ],
    after: Annotated[int, typer.Option(min=0, help="Leave out events up to this number.")] = 0,
    raw_cells: Annotated[
        bool,
        typer.Option("--raw-cells", help="Leave ids of a CSV that begin with = + - @ without an apostrophe."),
    ] = False,
) -> None:
    """Write live purchases as a log that `train` and `recommend --with-purchases` read.

    The columns are number, user_id, product_id, time, quantity; event, where the file holds other kinds than purchases; and one for
    each name of a context. The last number is said, to go on after it next time.
    """
    from tastemaker.errors import SettingProblem
    from tastemaker.ranking.export.to_file import check_file
    from tastemaker.serving.answering.event_store import as_bytes, read_events
    from tastemaker.storage import replace_bytes

    kinds = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    kind = kinds.get(out.suffix.lower())
    if kind is None:
        raise SettingProblem(f"--out is {out}; its name must end in .parquet, .csv or .jsonl.")
    check_file(out)
    frame = read_events(file, after=after)
    try:
        replace_bytes(out, as_bytes(frame, kind, raw_cells=raw_cells))
    except OSError as error:
        raise SettingProblem(f"cannot write {out}: {error.strerror or error}.") from error
    last = f", the last one number {frame['number'][-1]:,}" if len(frame) else ""
    if "event" not in frame.columns:
        say(f"Wrote {counted(len(frame), 'purchase')} to {out}{last}.")
        return
    bought = int((frame["event"] == "purchase").sum())
    say(
        f"Wrote {counted(len(frame), 'event')} to {out}, {counted(bought, 'purchase')} among them{last}. "
        "Read it with --event-column event --event KIND=VALUE."
    )


@events_app.command(cls=Command)
def backup(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="DB", help="The file of `serve --events`; a server may run.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="F.sqlite", help="The copy to write.", show_default=False)],
) -> None:
    """Copy the file of live purchases as it is at this moment, checked, with its numbers and idempotency keys.

    A copy by other means misses what stands in the write-ahead log beside the file. To restore, stop the server and put the copy in
    the place of the file.
    """
    from tastemaker.errors import SettingProblem
    from tastemaker.serving.answering.event_store import copy_events

    try:
        count = copy_events(file, out)
    except OSError as error:
        raise SettingProblem(f"cannot write {out}: {error.strerror or error}.") from error
    say(f"Copied {counted(count, 'event')} to {out}.")
