"""`Background`: a worker's thread for work done in advance, such as the neighbours of every product."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from weakref import WeakSet

from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.neighbour_table import MOST_WORK, EndedOnPurpose, make_table_aside, read_table
from tastemaker.serving.models.registry import Registry
from tastemaker.serving.models.shared_pages import forget

__all__ = ["Background"]

log = logging.getLogger("tastemaker.background")

SECONDS = 1.0


class Background:
    """Gives each loaded version its table of neighbours, those first that requests get by default."""

    def __init__(self, registry: Registry, scratch: Path) -> None:
        self._registry, self._scratch = registry, scratch
        self._given_up: WeakSet[LoadedModel] = WeakSet()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="background", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, and what was begun with it."""
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.is_set():
            for loaded in self._missing():
                if self._end.is_set():
                    return
                self._make(loaded)
            self._end.wait(SECONDS)

    def _make(self, loaded: LoadedModel) -> None:
        """Give one version its table; a version for which this fails, or that was removed meanwhile, has none."""
        try:
            make_table_aside(loaded.folder, self._scratch, loaded.key, self._end.wait)
            loaded.neighbours = read_table(self._scratch, loaded.key)
        except EndedOnPurpose:
            # while a server drains it must not be begun anew
            self._given_up.add(loaded)
            log.info("work ahead was ended from outside")
        except Exception:
            self._given_up.add(loaded)
            if self._serves(loaded):
                log.exception("work ahead failed")
        if not self._serves(loaded):
            forget(self._scratch, loaded.key)

    def _serves(self, loaded: LoadedModel) -> bool:
        return any(loaded in model.ready.values() for model in self._registry.models.values())

    def _missing(self) -> list[LoadedModel]:
        models = self._registry.models.values()
        every = [
            (number != model.default, loaded) for model in models for number, loaded in model.ready.items()
        ]
        return [
            loaded
            for _, loaded in sorted(every, key=lambda pair: pair[0])
            if loaded.neighbours is None
            and loaded not in self._given_up
            and loaded.candidates.count**2 * max(loaded.candidates.dimensions, 1) <= MOST_WORK
        ]
