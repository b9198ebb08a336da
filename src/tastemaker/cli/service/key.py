"""``tastemaker key``: the API keys of a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from tastemaker.cli.terminal.console import say
from tastemaker.cli.terminal.help import Command, Commands
from tastemaker.storage import IN_FOLDERS, Home

__all__ = ["key_app"]

KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys", metavar="FILE", help="The file of keys that `serve --keys` reads.", show_default=False
    ),
]
State = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="The PostgreSQL database of `serve --state`, where hosts share keys; in the place of --keys.",
        show_default=False,
    ),
]


@contextmanager
def _keys(file: Path | None, state: str | None) -> Iterator[tuple[Path, Home, str]]:
    """Yield the file in which keys are read, what changes them, and what messages call where they are."""
    if (file is None) == (state is None):
        raise typer.BadParameter("give either --keys FILE or --state URI.")
    if file is not None:
        yield file, IN_FOLDERS, str(file)
        return
    from tastemaker.serving.shared.shared_documents import only_asked

    assert state is not None
    with only_asked(state) as home:
        yield home.keys_file, home, home.label


key_app = typer.Typer(
    name="key",
    cls=Commands,
    help="Make, list and remove the API keys of a server. It reads the file again when it changes, so rotating a key takes three "
    "steps and no restart: `new`, hand the new key to the client, `remove` the old one.",
    no_args_is_help=True,
)


@key_app.command(cls=Command)
def new(
    keys: KeysFile = None,
    state: State = None,
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

    with _keys(keys, state) as (file, home, label):
        key, text = new_key(file, role, name=name, expires=expires, home=home)
    until = f", until {key.expires}" if key.expires else ""
    say(
        f"Key {key.name} ({role}{until}) was added to {label}. "
        "Clients send it as 'Authorization: Bearer KEY'; it is not shown again:"
    )
    print(text)


@key_app.command("list", cls=Command)
def list_keys(keys: KeysFile = None, state: State = None) -> None:
    """List the keys of the file: name, role, day of creation and last day."""
    from tastemaker.serving.front.api_keys import read_keys

    with _keys(keys, state) as (file, _, _):
        found = read_keys(file).keys
    for key in found:
        until = "" if key.expires is None else f"  until {key.expires}{' (over)' if key.is_over() else ''}"
        print(f"{key.name}  {key.role:7}  {key.created[:10]}{until}")


@key_app.command(cls=Command)
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `list` shows it.")],
    keys: KeysFile = None,
    state: State = None,
) -> None:
    """Remove a key; servers refuse it within a second or so."""
    from tastemaker.serving.front.api_keys import remove_key

    with _keys(keys, state) as (file, home, label):
        remove_key(file, name, home=home)
    say(f"Key {name} was removed from {label}.")
