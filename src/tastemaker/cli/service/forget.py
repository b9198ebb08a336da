"""``tastemaker forget`` and ``tastemaker receipt``: users who must go, and how an auditor checks that they went."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.service.promote import ModelVersions, State
from tastemaker.cli.terminal.console import output, print_json, say
from tastemaker.cli.terminal.options import AsJson
from tastemaker.errors import EventsProblem, ModelFolderProblem

if TYPE_CHECKING:
    from tastemaker.serving.forgetting import LiveUsers

__all__ = ["forget", "receipt"]


def forget(
    folder: ModelVersions,
    user: Annotated[
        list[str], typer.Option(metavar="ID", help="A user; may be given again.", show_default=False)
    ],
    events: Annotated[
        Path | None,
        typer.Option(
            metavar="DB", help="The file of `serve --events`; a server may run.", show_default=False
        ),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Remove older versions and copies that hold them, too.")
    ] = False,
    in_advance: Annotated[
        bool, typer.Option("--in-advance", help="Keep out somebody whom only the log knows as yet.")
    ] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Forget users: no list, history or export holds anything of them from now on, and no later run learns from them.

    The versions in service are written anew without them: ids, histories, and the tables of what is bought together. The vectors
    of products were learned with them until the next `tastemaker run`, whose model is that of a log which never held them, to the
    byte. The receipt is its checksum.
    """
    from tastemaker.serving.forgetting import forget_user
    from tastemaker.serving.shared.home import labels_home

    found = []
    with labels_home(folder, state) as (_, place), _live(events, state) as live:
        for name in dict.fromkeys(user):
            found.append(
                forget_user(
                    folder, name, events=live, everywhere=everywhere, in_advance=in_advance, state=place
                )
            )
    if as_json:
        print_json({"forgotten": [asdict(gone) for gone in found]})
        return
    for gone in found:
        where = (
            "not looked at (--events DB, or --state URI)"
            if gone.live_events is None
            else f"{gone.live_events:,} deleted"
        )
        say(f"Forgotten: {gone.user!r}{', again' if gone.again else ''}. Live events: {where}.")
        for emptied in gone.emptied:
            say(f"Version {emptied.version} no longer holds them. Receipt: {emptied.receipt}")
        if gone.removed:
            say(f"Removed: {', '.join(gone.removed)}.")
        if gone.left:
            say(f"Still held by {', '.join(gone.left)} in {folder}: --everywhere removes them.")
        if gone.unreadable:
            say(f"Cannot be read, and may hold them: {', '.join(gone.unreadable)} in {folder}.")
    say(
        "Lists that were written to files or tables, and backups elsewhere, are yours to mend; the next run learns without them."
    )


@contextmanager
def _live(file: Path | None, state: str | None) -> Iterator[LiveUsers | None]:
    """Yield what holds the live events of one host's file, or of several hosts' database; raise `EventsProblem`."""
    from tastemaker.serving.answering.event_store import Events
    from tastemaker.serving.shared.shared_users import SharedUsers

    if file is not None and state is not None:
        raise typer.BadParameter("give either --events FILE or --state URI.")
    if file is not None and not file.is_file():
        raise EventsProblem(f"there is no file of events {file}; `tastemaker serve --events F` makes one.")
    if file is None and state is None:
        yield None
        return
    with closing(Events(file) if state is None else SharedUsers(state)) as live:  # type: ignore[arg-type]
        yield live


def receipt(
    version: Annotated[
        Path, typer.Argument(metavar="MODELS/NAME/VERSION", help="A version.", show_default=False)
    ],
    without: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Compute the receipt without this user, as `forget` leaves it.",
            show_default=False,
        ),
    ] = None,
    shop: Annotated[
        Path | None,
        typer.Option(
            metavar="SHOP.toml", help="Learn again from these sources, and compare.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute the receipt of a version: the checksum of all that it is, whatever its number, time and measurements.

    Every file is compared with the manifest. With `--shop` the model is learned again from the sources, up to the version's
    last event, without those who were forgotten: the same receipt proves that it never saw them. Else exit 1.
    """
    from tastemaker.model.folder import load, read_manifest
    from tastemaker.model.manifest import receipt_of
    from tastemaker.nights.audit import receipt_learned_anew, receipt_without
    from tastemaker.nights.shop_file import read_shop_file

    load(version)
    found = receipt_of(read_manifest(version)) if without is None else receipt_without(version, without)
    anew = None if shop is None else receipt_learned_anew(version, read_shop_file(shop))
    if as_json:
        print_json({"version": str(version), "receipt": found, "learned_anew": anew})
    else:
        output().print(found, soft_wrap=True)
    if anew is not None and anew != found:
        raise ModelFolderProblem(
            f"{version} has the receipt {found}, and learning again from {shop} gives {anew}: it was made from another log or "
            "other settings, or users were forgotten since; the next run makes one that never saw them."
        )
    if anew is not None and not as_json:
        say("Learned again from the sources without those who were forgotten: the same, to the byte.")
