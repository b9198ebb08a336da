"""`Hidden`: users who were forgotten after a version was made; whatever it still holds of them, nobody is shown."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from tastemaker.errors import ModelFolderProblem
from tastemaker.model.forgotten import FILE, KNOWN_WITHIN, Forgotten
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Registry
from tastemaker.storage import FileMark, mark_of

__all__ = ["Hidden"]

log = logging.getLogger("tastemaker.hidden")


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read last of a model's file."""

    mark: FileMark | None
    forgotten: Forgotten
    until: float
    """Until when nobody looks again, on the clock of `time.monotonic`"""


class Hidden:
    """Who is to be forgotten, by model.

    Whoever asks looks at the file, unless somebody has within `KNOWN_WITHIN`: who forgets waits longer than that, so that every
    worker knows before it is said to be done.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._read: dict[str, _Read] = {}

    def hides(self, loaded: LoadedModel, user: object) -> bool:
        """Return whether a user was forgotten after this version was made."""
        since = self._of(loaded.name).since(user)
        return since is not None and since >= loaded.created.timestamp() * 1e6

    def _of(self, name: str) -> Forgotten:
        read, now = self._read.get(name), time.monotonic()
        if read is None or now >= read.until:
            read = self._read[name] = self._look(name, read, now + KNOWN_WITHIN)
        return read.forgotten

    def _look(self, name: str, before: _Read | None, until: float) -> _Read:
        served = self._registry.models.get(name)
        if served is None:
            return _Read(None, Forgotten(), until)
        mark = mark_of(served.folder / FILE)
        if before is not None and before.mark == mark:
            return _Read(mark, before.forgotten, until)
        try:
            found = Forgotten() if mark is None else Forgotten.of(served.folder)
        except (ModelFolderProblem, OSError) as error:
            log.error("%s Those who were forgotten before stay hidden.", error)
            found = Forgotten() if before is None else before.forgotten
        return _Read(mark, found, until)
