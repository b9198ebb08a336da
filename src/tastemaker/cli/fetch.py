"""``tastemaker fetch``: the public data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tastemaker.cli.terminal.console import error_console, print_json, say
from tastemaker.cli.terminal.interrupts import raise_at_once
from tastemaker.cli.terminal.options import AsJson

__all__ = ["fetch"]


def fetch(
    _data: Annotated[Literal["asos"], typer.Argument(metavar="asos", help="Which data.", show_default=False)],
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to fill.", show_default="data/asos")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download the ASOS workshop's purchases and check their SHA-256 sums; files that are there and right are kept."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from tastemaker.data.fetch import ASOS_FILES, fetch_asos

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with raise_at_once(), Progress(*columns, console=error_console()) as bar:
        tasks = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total or None)

        folder = fetch_asos(into, on_progress=show)
    if as_json:
        print_json({"folder": str(folder), "files": sorted(ASOS_FILES)})
    else:
        train = next(name for name in ASOS_FILES if "train" in name)
        say(f"{len(ASOS_FILES)} files are in {folder}, checksums verified.")
        say(f"Next: tastemaker train {folder / train} --out models/recommender/1")
