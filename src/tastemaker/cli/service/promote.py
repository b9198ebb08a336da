"""``tastemaker promote`` and ``tastemaker rollback``: which version of a model answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.terminal.console import print_json, say
from tastemaker.cli.terminal.options import AsJson
from tastemaker.errors import ModelFolderProblem, TastemakerError

if TYPE_CHECKING:
    from tastemaker.serving.models.labels import Labels

__all__ = ["promote", "rollback"]

ModelVersions = Annotated[
    Path,
    typer.Argument(
        metavar="MODELS/NAME", help="The folder that holds a model's numbered versions.", show_default=False
    ),
]
Label = Annotated[
    str,
    typer.Option(help="The label to move: requests that name no version get the one labelled stable."),
]


State = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="The PostgreSQL database of `serve --state`, where hosts share labels and experiments.",
        show_default=False,
    ),
]


def promote(
    folder: ModelVersions,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, show_default=False)],
    label: Label = "stable",
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Give a version a label; servers of the folder follow within a second or so.

    As long as no version is labelled `stable`, requests that name none get the newest that is sound, and a newer one takes over
    by itself. From the first promotion on, they get what is promoted. A `canary` is reached as /v1/models/NAME/labels/canary.
    The version's files are verified first.
    """
    from tastemaker.model.folder import load
    from tastemaker.serving.models.labels import change_labels
    from tastemaker.serving.shared.home import labels_home

    _check(folder)
    load(_version_folder(folder, version))
    with labels_home(folder, state) as (home, place):
        before = _named(place, label)
        labels = change_labels(place, lambda labels: labels.moved(label, version), home=home)
    _say(folder, label, before, labels, as_json)


def rollback(
    folder: ModelVersions, label: Label = "stable", state: State = None, as_json: AsJson = False
) -> None:
    """Move a label back to where it was before; where nothing was promoted, to the version before the one that answers.

    Versions that are not sound are passed over, since no server answers with them. Servers of the folder follow within a second or
    so; nothing is deleted, and `promote` undoes it.
    """
    from tastemaker.model.folder import load
    from tastemaker.serving.models.labels import change_labels, read_labels
    from tastemaker.serving.shared.home import labels_home

    _check(folder)
    with labels_home(folder, state) as (home, place):
        before = _named(place, label)
        back = read_labels(place).moved_back(label)
        if back is None:
            previous = _previous(folder, before, label)
            labels = change_labels(place, lambda labels: labels.moved(label, previous), home=home)
        else:
            load(_version_folder(folder, back.versions[label]))
            labels = change_labels(place, lambda labels: labels.moved_back(label) or labels, home=home)
    _say(folder, label, before, labels, as_json)


def _check(folder: Path) -> None:
    if not _numbers(folder):
        raise ModelFolderProblem(
            f"{folder} holds no numbered versions; give a model's folder, such as models/recommender."
        )


def _numbers(folder: Path) -> list[int]:
    from tastemaker.serving.models.registry import find_versions

    name = folder.absolute().name
    return sorted(version for model, version in find_versions(folder) if model == name)


def _version_folder(folder: Path, version: int) -> Path:
    path = folder / str(version)
    if not path.is_dir():
        known = ", ".join(map(str, _numbers(folder)))
        raise ModelFolderProblem(f"{folder} has no version {version}; its versions are {known}.")
    return path


def _named(folder: Path, label: str) -> int | None:
    from tastemaker.serving.models.labels import read_labels

    return read_labels(folder).versions.get(label)


def _previous(folder: Path, now: int | None, label: str) -> int:
    """Return the sound version before the one that answers now, where the label's history does not say."""
    numbers = _numbers(folder)
    sound = (number for number in reversed(numbers) if _is_sound(folder, number))
    answers = now or next(sound, numbers[-1])  # the newest that is sound answers where nothing was promoted
    below = next((number for number in sound if number < answers), None)
    if below is None:
        raise ModelFolderProblem(
            f"{folder} has no sound version before {answers}, so there is nothing to which {label} could go back."
        )
    return below


def _is_sound(folder: Path, version: int) -> bool:
    from tastemaker.model.folder import load

    try:
        load(_version_folder(folder, version))
    except TastemakerError as error:
        say(f"Version {version} is passed over: {error}")
        return False
    return True


def _say(folder: Path, label: str, before: int | None, labels: Labels, as_json: bool) -> None:
    now = labels.versions[label]
    if as_json:
        print_json({"model": folder.absolute().name, "label": label, "from": before, "to": now})
        return
    was = "" if before is None else f" (it was {before})"
    say(f"{label} of {folder} is version {now}{was}.")
