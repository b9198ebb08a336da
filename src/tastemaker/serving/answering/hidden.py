"""`Hidden`: users who were forgotten after a version was made; whatever it still holds of them, nobody is shown."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from tastemaker.errors import ModelFolderProblem
from tastemaker.model.forgotten import FILE, Forgotten
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Registry
from tastemaker.storage import FileMark, mark_of

__all__ = ["Hidden"]

log = logging.getLogger("tastemaker.hidden")


class Hidden:
    """Who is to be forgotten, by model. The file is looked at whenever somebody asks, so that every worker knows at once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._read: dict[str, tuple[FileMark | None, Forgotten]] = {}
        self._files: dict[Path, str] = {}
        """Each model's file as text: a path is put together once, not at each request"""

    def hides(self, loaded: LoadedModel, user: object) -> bool:
        """Return whether a user was forgotten after this version was made."""
        since = self._of(loaded.name).since(user)
        return since is not None and since >= loaded.created.timestamp() * 1e6

    def _of(self, name: str) -> Forgotten:
        served = self._registry.models.get(name)
        if served is None:
            return Forgotten()
        file = self._files.get(served.folder)
        if file is None:
            file = self._files[served.folder] = str(served.folder / FILE)
        before = self._read.get(name)
        # most shops forget nobody, and that there is no file is told sooner than what a file is
        mark = mark_of(file) if os.access(file, os.F_OK) else None
        if before is not None and before[0] == mark:
            return before[1]
        try:
            found = Forgotten() if mark is None else Forgotten.of(served.folder)
        except (ModelFolderProblem, OSError) as error:
            log.error("%s Those who were forgotten before stay hidden.", error)
            found = Forgotten() if before is None else before[1]
        self._read[name] = (mark, found)
        return found
