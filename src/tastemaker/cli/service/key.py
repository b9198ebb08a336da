"""``tastemaker key``: the API keys of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tastemaker.cli.terminal.console import say
from tastemaker.cli.terminal.help import Command, Commands

__all__ = ["key_app"]

KeysFile = Annotated[
    Path,
    typer.Option(
        "--keys", metavar="FILE", help="The file of keys that `serve --keys` reads.", show_default=False
    ),
]

key_app = typer.Typer(
    name="key",
    cls=Commands,
    help="Make, list and remove the API keys of a server. It reads the file again when it changes, so rotating a key takes three "
    "steps and no restart: `new`, hand the new key to the client, `remove` the old one.",
    no_args_is_help=True,
)


@key_app.command(cls=Command)
def new(
    keys: KeysFile,
    role: Annotated[
        Literal["metrics", "read", "events", "admin"],
        typer.Option(help="What the key may do: read counters; ask; send purchases; or everything."),
    ] = "read",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What the log and the history of rules call it.", show_default=False
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="DAY", help="The last day on which it is taken, such as 2027-01-31.", show_default=False
        ),
    ] = None,
) -> None:
    """Add a key to the file, and print it: this once, since only its SHA-256 is kept."""
    from tastemaker.serving.front.api_keys import new_key

    key, text = new_key(keys, role, name=name, expires=expires)
    until = f", until {key.expires}" if key.expires else ""
    say(
        f"Key {key.name} ({role}{until}) was added to {keys}. "
        "Clients send it as 'Authorization: Bearer KEY'; it is not shown again:"
    )
    print(text)


@key_app.command("list", cls=Command)
def list_keys(keys: KeysFile) -> None:
    """List the keys of the file: name, role, day of creation and last day."""
    from tastemaker.serving.front.api_keys import read_keys

    for key in read_keys(keys).keys:
        until = "" if key.expires is None else f"  until {key.expires}{' (over)' if key.is_over() else ''}"
        print(f"{key.name}  {key.role:7}  {key.created[:10]}{until}")


@key_app.command(cls=Command)
def remove(
    keys: KeysFile, name: Annotated[str, typer.Argument(metavar="NAME", help="As `list` shows it.")]
) -> None:
    """Remove a key from the file; servers refuse it within a second or so."""
    from tastemaker.serving.front.api_keys import remove_key

    remove_key(keys, name)
    say(f"Key {name} was removed from {keys}.")
