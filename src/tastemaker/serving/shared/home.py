"""`home_of`: where a server's rules, labels and keys live; `labels_home`: where a command finds the labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tastemaker.errors import StateProblem
from tastemaker.serving.front.settings import Settings
from tastemaker.storage import IN_FOLDERS, Home

__all__ = ["home_of", "labels_home"]


def home_of(settings: Settings) -> Home:
    """Return the folders of the models, or this host's copies of what hosts share; raise `StateProblem`."""
    if settings.state is None:
        return IN_FOLDERS
    if settings.events is None:
        raise StateProblem(
            "--state needs --events FILE, too: this host's copy of the events; those of rules, labels and keys lie beside it."
        )
    from tastemaker.serving.shared.shared_documents import SharedDocuments, copies_beside

    return SharedDocuments(copies_beside(settings.events), settings.state)


@contextmanager
def labels_home(folder: Path, state: str | None) -> Iterator[tuple[Home, Path]]:
    """Yield what changes the labels of a model (``MODELS/NAME``), and the folder in which they are read.

    Without a database that is the model's folder. Raises `StateProblem`.
    """
    if state is None:
        yield IN_FOLDERS, folder
        return
    from tastemaker.serving.shared.shared_documents import only_asked

    with only_asked(state) as home:
        yield home, home.folder(folder.absolute().name, folder)
