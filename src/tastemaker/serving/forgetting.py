"""`forget_user`: one user goes from live events, from the versions in service and, where that is asked for, from all others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tastemaker.errors import ModelFolderProblem, TastemakerError, UnknownId
from tastemaker.model.folder import MANIFEST, load, read_manifest, save, versions_of
from tastemaker.model.forgotten import Forgotten, remember_to_forget
from tastemaker.model.manifest import receipt_of
from tastemaker.ranking.index.index_folder import index_folder
from tastemaker.serving.models.labels import STABLE, read_labels
from tastemaker.storage import locked, remove_folder

__all__ = ["Emptied", "ForgottenUser", "LiveUsers", "forget_user", "forgetting"]

PATIENCE = 300.0
"""Seconds to wait for another who forgets, or publishes"""


class LiveUsers(Protocol):
    """What holds the live events and outcomes of users: `Events`, `SharedEvents` or `SharedUsers`."""

    def count_of(self, user: str) -> int:
        """Return how many there are of a user."""

    def forget(self, user: str) -> int:
        """Delete those of a user, and return how many there were."""


@dataclass(frozen=True, slots=True)
class Emptied:
    """A version in service that no longer holds a user."""

    version: int
    receipt: str
    """The checksum of what it is now (`receipt_of`)"""


@dataclass(frozen=True, slots=True)
class ForgottenUser:
    """What was done to forget a user."""

    user: str
    live_events: int | None
    """How many were removed; ``None`` where no file of live events was named"""
    emptied: tuple[Emptied, ...]
    removed: tuple[str, ...]
    """Older versions, copies and indexes that were removed, as paths within the model's folder"""
    left: tuple[str, ...]
    """Those that still hold the user"""
    unreadable: tuple[str, ...]
    """Those that cannot be read"""
    again: bool
    """Whether they had been forgotten before"""


@contextmanager
def forgetting(folder: Path) -> Iterator[None]:
    """Hold the right to change who is in a model's versions: whoever forgets has it, and whoever publishes a version of a log."""
    with locked(folder / "forget", patience=PATIENCE):
        yield


def forget_user(
    folder: Path,
    user: str,
    *,
    events: LiveUsers | None = None,
    everywhere: bool = False,
    in_advance: bool = False,
    state: Path | None = None,
    threads: int | None = None,
) -> ForgottenUser:
    """Forget a user of a model (``MODELS/NAME``): from now on nobody is shown what is held of them, and no later run learns them.

    Their live events are deleted. The versions in service (those with a label, and the newest that is sound where none is
    `stable`) are written anew without them, under their own numbers. Other versions, and copies of versions within the folder, are
    named, or removed with ``everywhere``. Labels are read in ``state``, by
    default in the folder. Raises `UnknownId` for a user of whom nothing is known, unless ``in_advance``;
    `ModelFolderProblem`; `EventsProblem`.
    """
    if not versions_of(folder):
        raise ModelFolderProblem(
            f"{folder} holds no numbered versions; give a model's folder, such as models/recommender."
        )
    with forgetting(folder):
        holding, unreadable = _holding(folder, user)
        again = Forgotten.of(folder).since(user) is not None
        there = 0 if events is None else events.count_of(user)
        if not (holding or there or again or in_advance):
            raise UnknownId(
                f"user {user!r} is in no version of {folder} and has no live event; nothing was changed. "
                "To keep somebody out whom only the log knows, forget them in advance.",
                [user],
            )
        try:
            remember_to_forget(folder, [user])
        except OSError as error:
            raise ModelFolderProblem(
                f"cannot write to {folder}: {error.strerror or error}; nobody was forgotten."
            ) from error
        if events is not None:
            events.forget(user)
        emptied, removed, left = [], [], []
        serving = {
            folder / str(version) for version in _in_service(folder, folder if state is None else state)
        }
        for path in holding:
            if path in serving:
                emptied.append(_emptied(path, user, threads))
                index = index_folder(path)
                if index.is_dir():  # of a model that is no longer there
                    remove_folder(index)
                    removed.append(index.name)
            elif everywhere:
                remove_folder(path)
                removed.append(str(path.relative_to(folder)))
            else:
                left.append(str(path.relative_to(folder)))
    count = None if events is None else there
    return ForgottenUser(user, count, tuple(emptied), tuple(removed), tuple(left), tuple(unreadable), again)


def _holding(folder: Path, user: str) -> tuple[list[Path], list[str]]:
    """Return the folders of models within a folder that hold a user, and those that cannot be read."""
    found, unreadable = [], []
    for manifest in sorted(folder.rglob(MANIFEST)):
        path = manifest.parent
        if not (path / "users.arrow").exists() or ".writing-" in str(path.relative_to(folder)):
            continue  # of an index, or not there yet
        try:
            if load(path, verify=False).users.find([user])[0] is not None:
                found.append(path)
        except TastemakerError:
            unreadable.append(str(path.relative_to(folder)))
    return found, unreadable


def _in_service(folder: Path, state: Path) -> set[int]:
    """Return the versions that a label names, and the newest that is sound where none is stable."""
    versions = read_labels(state).versions
    serving = set(versions.values())
    if STABLE not in versions:
        for version in reversed(versions_of(folder)):
            try:
                load(folder / str(version))
            except TastemakerError:
                continue
            serving.add(version)
            break
    return serving


def _emptied(path: Path, user: str, threads: int | None) -> Emptied:
    from tastemaker.training.forget import without_users

    model = load(path)
    less = without_users(model, model.users.rows([user]), threads=threads)
    save(less, path, overwrite=True, created=read_manifest(path)["created"])
    return Emptied(int(path.name), receipt_of(read_manifest(path)))
