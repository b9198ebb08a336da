"""`ExperimentsInForce`: the running experiment of each model, watched, and the version that a visitor gets by it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from tastemaker.errors import TastemakerError
from tastemaker.serving.measuring.experiments import (
    FILE,
    Arm,
    Experiment,
    arm_of,
    change_experiments,
    ended,
    moved,
    read_experiments,
)
from tastemaker.serving.models.labels import read_labels
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Registry
from tastemaker.storage import IN_FOLDERS, FileMark, Home, mark_of

__all__ = ["Assigned", "ExperimentsInForce", "end_moved"]

log = logging.getLogger("tastemaker.experiments")


@dataclass(frozen=True, slots=True)
class Assigned:
    """What an experiment says of one visitor."""

    experiment: str
    arm: Arm
    loaded: LoadedModel


class ExperimentsInForce:
    """The running experiments. A file that cannot be read leaves those that were read before."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._marks: dict[str, FileMark | None] = {}
        self._running: dict[str, Experiment] = {}
        self._trouble: dict[str, str] = {}
        """What was said last of a model whose experiments cannot be read or ended: it is said once"""
        self._looking = threading.Lock()
        self.look()

    def look(self) -> None:
        """Read what changed, and end an experiment of which a label has moved; called at each look of the registry."""
        with self._looking:
            for name, served in self._registry.models.items():
                mark = mark_of(served.state / FILE)
                if mark != self._marks.get(name) or name in self._running:
                    self._look_at(name, served.state)
                    self._marks[name] = mark

    def _look_at(self, name: str, folder: Path) -> None:
        try:
            experiments = end_moved(folder, home=self._registry.home)
        except TastemakerError as error:
            if self._trouble.get(name) != str(error):
                log.error("%s The experiment that was read before goes on, where there is one.", error)
            self._trouble[name] = str(error)
            return
        self._trouble.pop(name, None)
        running = next((one for one in experiments if one.ended is None), None)
        before = self._running.get(name)
        if running is None:
            self._running.pop(name, None)
        else:
            self._running[name] = running
        if before != running:
            log.info("the experiments of %s were read; running: %s", name, running and running.name)

    @property
    def running(self) -> bool:
        """Return whether any model has a running experiment."""
        return bool(self._running)

    def assigned(self, name: str, user: object) -> Assigned | None:
        """Return the arm and version of a visitor of a model; None where no experiment runs, or one of its labels has moved."""
        one = self._running.get(name)
        if one is None:
            return None
        served = self._registry.models[name]
        if moved(one, dict(served.labels)):
            return None
        arm = arm_of(one, user)
        loaded = served.ready.get(one.versions[arm == "treatment"])
        return None if loaded is None else Assigned(one.name, arm, loaded)


def end_moved(folder: Path, *, home: Home = IN_FOLDERS) -> tuple[Experiment, ...]:
    """Return the experiments of a model; the running one is ended where one of its labels has moved.

    What runs after a rollback is another comparison than the one that began. ``folder`` is where ``home`` has them. Raises
    `ModelFolderProblem`, and `StateProblem` where hosts share them.
    """
    experiments = read_experiments(folder)
    running = next((one for one in experiments if one.ended is None), None)
    if running is None:
        return experiments
    # labels are read after the experiment: they are at least those that it began with
    why = moved(running, dict(read_labels(folder).versions))
    if not why:
        return experiments
    log.warning("the experiment %s of %s ends: %s.", running.name, folder.name, why)
    at, name = home.now(), running.name
    return change_experiments(folder, lambda before: ended(before, name, at=at, why=why), home=home)
