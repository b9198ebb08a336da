"""``tastemaker init``, ``run`` and ``history``: every night by itself."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemaker.cli.terminal.console import output, print_json, say
from tastemaker.cli.terminal.options import AsJson, Logs, log_of, workers_flag
from tastemaker.cli.terminal.read_report import say_read
from tastemaker.cli.terminal.reading import ReadingOptions, takes_reading
from tastemaker.cli.terminal.tables import Cell, Sheet, print_sheet
from tastemaker.errors import SettingProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["history", "init", "run"]

STOPPED = 3
"""The exit code of a run that a check stopped"""

File = Annotated[
    Path,
    typer.Argument(metavar="SHOP.toml", help="The file that describes the shop.", show_default=False),
]


@takes_reading
def init(
    logs: Logs,
    out: Annotated[Path, typer.Option(metavar="SHOP.toml", help="The file to write.", show_default=False)],
    users: Annotated[
        str | None, typer.Option(metavar="F", help="A catalogue of all users.", show_default=False)
    ] = None,
    products: Annotated[
        str | None, typer.Option(metavar="F", help="A catalogue of all products.", show_default=False)
    ] = None,
    reading: ReadingOptions = ReadingOptions(),
) -> None:
    """Look at a log and write the file that describes the shop, for `tastemaker run`.

    What can be seen is filled in, and everything else stands there as a comment with the value that holds.
    """
    from tastemaker.data.databases.address import is_address, without_secrets
    from tastemaker.data.reading.readers import read_purchases
    from tastemaker.nights.draft import draft
    from tastemaker.storage import replace_text

    if out.exists():
        raise SettingProblem(f"{out} exists already; give --out another name, or remove it.")
    if not out.absolute().parent.is_dir():
        raise SettingProblem(
            f"there is no folder {out.absolute().parent} to write {out.name} in; make it first."
        )
    columns, how = reading.columns(), reading.reading()
    log = read_purchases(log_of(logs), users=users, products=products, columns=columns, reading=how)
    say_read(log.read, str(out))

    def seen_from_file(place: str) -> str:
        """Paths are meant from the file's folder; a password does not belong there."""
        if is_address(place):
            if without_secrets(place) != place:
                say(
                    f"Beware: {out} holds no user and password: put them there as ${{NAME}}, or in PGUSER and PGPASSWORD."
                )
            return without_secrets(place).replace("…@", "")
        return os.path.relpath(place, out.absolute().parent)

    text = draft(
        log,
        [seen_from_file(place) for place in logs],
        columns=columns,
        reading=how,
        users=None if users is None else seen_from_file(users),
        products=None if products is None else seen_from_file(products),
    )
    replace_text(out, text)
    say(f"Wrote {out}. Next: tastemaker run {out} --dry-run")


def run(
    file: File,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check; say what would follow.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Let a log pass that is beyond the file's bounds, this once.")
    ] = False,
    workers: Annotated[
        str | None,
        workers_flag(
            "Who learns and makes the lists: local, local:PROCESSES, ray or ray://HOST:PORT; by default as the file says."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Do one night: read, check, learn, test against the version in service, publish, switch, write lists.

    Exit code 3 means that a check stopped it (bounds, a worse model, a service that broke), 1 that something failed: the older
    version serves on in both cases. A run that was killed is gone on with by the next one; the same inputs give no second version.
    """
    from tastemaker.nights.run import run_night
    from tastemaker.nights.shop_file import read_shop_file
    from tastemaker.scale.where import executor_of

    shop = read_shop_file(file)
    if workers is not None:
        executor_of(workers)
        shop = replace(shop, learn=replace(shop.learn, workers=workers))
    found = run_night(shop, say=say, dry=dry_run, accept=accept)
    if as_json:
        print_json(found.as_dict())
    for sentence in found.why:
        say(f"{found.outcome[:1].upper()}{found.outcome[1:]}: {sentence}")
    if found.stopped:
        served = "no version" if found.service is None else f"version {found.service}"
        say(f"Stopped: {served} serves on.")
        raise typer.Exit(STOPPED)
    if found.outcome == "published":
        say(f"Published version {found.version} after {found.seconds:.0f} s. Receipt: {found.receipt}")


def history(file: File, as_json: AsJson = False) -> None:
    """Show the runs of a shop, with quality over time."""
    from tastemaker.nights.history import history_of
    from tastemaker.nights.shop_file import read_shop_file

    shop = read_shop_file(file)
    runs = history_of(shop)
    if as_json:
        print_json({"runs": runs})
        return
    if not runs:
        say(f"No run of {file} yet: tastemaker run {file}")
        return
    print_sheet(history_table(runs))
    why = [f"{night['started']}: {' '.join(night['why'])}" for night in runs[-10:] if night["why"]]
    if why:
        output().print("\n" + "\n".join(why), soft_wrap=True, markup=False)
    say(f"Pages: {shop.state / 'reports'}")


def history_table(runs: Sequence[dict[str, Any]]) -> Sheet:
    """Return a line for each run."""
    metric = next((night["replay"]["metric"] for night in reversed(runs) if night["replay"]), "quality")
    rows: list[list[Cell]] = []
    for night in runs:
        figures, replay = night["figures"] or {}, night["replay"] or {}
        numbers = ["" if replay.get(key) is None else f"{replay[key]:.4f}" for key in ("new", "service")]
        rows.append(
            [
                night["started"].removesuffix("+00:00"),
                night["outcome"],
                "" if night["version"] is None else str(night["version"]),
                f"{figures['purchases']:,}" if figures else "",
                f"{replay['questions']:,}" if replay else "",
                *numbers,
                f"{night['seconds']:.0f}",
            ]
        )
    names = ["night", "outcome", "version", "purchases", "questions", metric, "in service", "seconds"]
    return Sheet(names, rows, right=names[2:])
