"""`Registry`: every model and version of a folder, watched; each request takes one consistent snapshot of it."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, TypeVar

import polars as pl

from tastemaker.data.reading.product_table import ProductTable
from tastemaker.errors import ColumnProblem, ModelFolderProblem, NotServed, TastemakerError, TryLater
from tastemaker.model.folder import MANIFEST, read_manifest
from tastemaker.ranking.index.index_folder import INDEX, index_folder
from tastemaker.serving.models.labels import FILE, STABLE, Labels, last_good_labels
from tastemaker.serving.models.loaded_model import LoadedModel, load_version
from tastemaker.serving.models.shared_pages import forget
from tastemaker.storage import IN_FOLDERS, Home, kept_elsewhere, mark_of

__all__ = ["Change", "Registry", "Served", "find_versions"]

log = logging.getLogger("tastemaker.registry")

RETRY_SECONDS, LONGEST_RETRY_SECONDS = 30.0, 3600.0
"""The first and the longest pause before a version is tried again that failed for an outside reason"""

STALE_LOOKS, STALE_SECONDS = 10, 60.0
"""The watch hangs if its last look is older than this many pauses and this many seconds."""

CLOSE_SECONDS = 10.0

T = TypeVar("T")
Version: TypeAlias = tuple[str, int]
Mark: TypeAlias = tuple[object, ...]
"""What a folder looked like: names, sizes and times of its files"""


@dataclass(frozen=True, slots=True)
class Change:
    """A version or label that was added, removed or refused, for the log and the metrics."""

    what: Literal["loaded", "refused", "removed", "labels"]
    name: str
    version: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """What is known of one model: its ready versions, those being loaded, those refused and why, and its labels."""

    name: str
    folder: Path
    state: Path
    """Where its rules, labels and history are read: its folder, or this host's copies of what hosts share"""
    ready: Mapping[int, LoadedModel] = field(default_factory=dict)
    loading: frozenset[int] = frozenset()
    refused: Mapping[int, str] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    labels_problem: str | None = None
    """What is wrong with the file of labels; those last good hold, or none where there are none"""

    default: int | None = field(init=False)
    """The version of requests that name none: the one labelled ``stable``, and without that label the largest ready.

    Where the stable version is not ready, the largest before it answers, rather than a version that was never promoted.
    """

    def __post_init__(self) -> None:
        stable = self.labels.get(STABLE)
        default = stable if stable in self.ready else None
        if default is None:
            before = max((version for version in self.ready if version < (stable or 0)), default=None)
            default = max(self.ready, default=None) if before is None else before
        object.__setattr__(self, "default", default)

    def get(self, version: int | None = None, label: str | None = None) -> LoadedModel:
        """Return a ready version; raise `NotServed`."""
        if label is not None:
            named = self.labels.get(label)
            if named is None or named not in self.ready:
                raise NotServed(
                    f"the model {self.name} has no ready version with the label {label!r}.", missing="label"
                )
            return self.ready[named]
        wanted = self.default if version is None else version
        if wanted is None or wanted not in self.ready:
            what = "ready version" if version is None else f"ready version {version}"
            raise NotServed(f"the model {self.name} has no {what}.", missing="version")
        return self.ready[wanted]


class Registry:
    """The models of a folder. `look` brings it up to date, `watch` does so again and again in a thread of its own.

    The models are one immutable mapping that is replaced whole, so that readers need no lock.
    """

    def __init__(
        self,
        models: Path,
        *,
        catalogue: Path | None = None,
        scratch: Path | None = None,
        keep: int = 10,
        approximate: bool = False,
        home: Home = IN_FOLDERS,
    ) -> None:
        self.home = home
        """What changes the state of models"""
        self._models, self._catalogue, self._scratch, self._keep = models, catalogue, scratch, keep
        self._approximate = approximate
        self._listeners: list[Callable[[Change], None]] = [_log]
        self._looks: list[Callable[[], None]] = [self.look]
        self._served: Mapping[str, Served] = MappingProxyType({})
        self._marks: dict[Version, Mark] = {}
        self._retries: dict[Path, tuple[float, float]] = {}
        """When to retry what failed for an outside reason, and how long to wait after that"""
        self._looking = threading.Lock()
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self._looked: dict[int, float] = {}
        """When each watch's last look ended, by its place"""
        self._every = 0.0

    @property
    def models(self) -> Mapping[str, Served]:
        """Return the snapshot: every model by its name."""
        return self._served

    @property
    def ready(self) -> bool:
        """Return whether every model has a version to answer with, and there is a model."""
        served = self._served
        return bool(served) and all(model.ready for model in served.values())

    def get(self, name: str, version: int | None = None, label: str | None = None) -> LoadedModel:
        """Return one version of a model, by default the one for requests that name none; raise `NotServed`."""
        served = self._served.get(name)
        if served is None:
            raise NotServed(f"there is no model {name!r} here.", missing="model")
        return served.get(version, label)

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """Call a function with every change from now on, in the thread that looks."""
        self._listeners.append(listener)

    def with_each_look(self, chore: Callable[[], None]) -> None:
        """Call a function again and again while this watches, in a thread of its own: for other files that are watched."""
        self._looks.append(chore)

    def look(self) -> None:
        """Find, verify and load what is new, newest versions first, and drop what is gone."""
        with self._looking:
            found = find_versions(self._models)
            for name in {name for name, _ in found}:
                self._read_labels(name, self._folder_of(name, found))
            wanted = self._wanted(found)
            self._drop(set(wanted))
            catalogue = () if self._catalogue is None else mark_of(self._catalogue) or ()
            for name, version in wanted:
                folder = found[name, version]
                mark = (*_mark(folder), catalogue)  # prices and stock change without a new version
                if self._approximate:
                    mark = (*mark, _mark(index_folder(folder)))  # an index may be built while it is served
                again, _ = self._retries.get(folder, (math.inf, 0.0))
                if self._marks.get((name, version)) != mark or time.monotonic() > again:
                    self._load(name, version, folder, mark)

    def watch(self, seconds: float) -> None:
        """Look at this interval, in seconds, until `close`: at the models in one thread, at each other file in one of its own.

        A look at models may take long, and one at a folder that does not answer hangs: revoked keys must not wait for either.
        """
        self._every = seconds
        for place, look in enumerate(self._looks):
            self._looked[place] = time.monotonic()
            arguments = (seconds, place, look)
            thread = threading.Thread(
                target=self._watch, args=arguments, name=f"registry-{place}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    @property
    def stale(self) -> bool:
        """Return whether a watch has not finished a look for long: it hangs, or a version takes very long to load."""
        oldest = time.monotonic() - max(STALE_LOOKS * self._every, STALE_SECONDS)
        return any(looked < oldest for looked in self._looked.values())

    def close(self) -> None:
        """End the watching; a look that hangs is left behind."""
        self._end.set()
        last = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, last - time.monotonic()))

    def _watch(self, seconds: float, place: int, look: Callable[[], None]) -> None:
        while not self._end.wait(seconds):
            try:
                look()
                self._looked[place] = time.monotonic()
            except (
                BaseException
            ):  # a library's panic is no Exception, and the watch goes on whatever a look met
                log.exception("a look at the files failed")

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)

    def _folder_of(self, name: str, found: Mapping[Version, Path]) -> Path:
        folder = next(path for (model_name, _), path in found.items() if model_name == name)
        return folder.parent if folder.absolute().name.isdigit() else folder

    def _wanted(self, found: Mapping[Version, Path]) -> list[Version]:
        """Return the versions to be loaded, in the order in which requests want them: first the ones they get by default."""
        wanted = []
        for name in {name for name, _ in found}:
            numbers = sorted((version for model_name, version in found if model_name == name), reverse=True)
            labels = self._served[name].labels
            first = labels.get(STABLE, numbers[0])
            kept = numbers[: self._keep] + [
                number for number in numbers[self._keep :] if number in labels.values()
            ]
            wanted += [(number != first, number not in labels.values(), -number, name) for number in kept]
        return [(name, -number) for _, _, number, name in sorted(wanted)]

    def _read_labels(self, name: str, folder: Path) -> None:
        known = self._served.get(name)
        before = known or Served(name, folder, self._state_of(name, folder))
        try:
            labels, problem = last_good_labels(before.state)
        except ModelFolderProblem as error:
            labels, problem = Labels(), error
        if problem is not None and known is not None:
            labels = Labels(known.labels)  # what was read before still holds
        said = None if problem is None else _public(problem, before.state)
        now = replace(before, labels=dict(labels.versions), labels_problem=said)
        if problem is not None and said != before.labels_problem:
            log.error("%s The last good labels hold, where there are any.", problem)
        if known is None or now != before:
            self._put(now)
        if known is None or now.labels != dict(before.labels):
            self._tell(Change("labels", name))

    def _state_of(self, name: str, folder: Path) -> Path:
        state = self.home.folder(name, folder)
        label = kept_elsewhere(folder / FILE)
        if label is not None and state == folder:
            log.warning(
                "hosts share the rules and labels of %s in %s; without --state they are read from its folder.",
                name,
                label,
            )
        return state

    def _drop(self, found: set[Version]) -> None:
        for name, served in self._served.items():
            gone = [v for v in (*served.ready, *served.refused) if (name, v) not in found]
            stay = [v for v in served.ready if (name, v) in found]
            if not stay:
                continue  # a folder that vanished as a whole was unmounted or moved: better old answers than none
            for version in gone:
                self._marks.pop((name, version), None)
                now = self._served[name]
                if self._scratch is not None and version in now.ready:
                    forget(self._scratch, now.ready[version].key)
                self._put(
                    replace(now, ready=_without(now.ready, version), refused=_without(now.refused, version))
                )
                self._tell(Change("removed", name, version))

    def _load(self, name: str, version: int, folder: Path, mark: Mark) -> None:
        served = self._served[name]
        self._put(replace(served, loading=served.loading | {version}))
        pause = self._retries.pop(folder, (0.0, RETRY_SECONDS))[1]
        try:
            loaded = load_version(
                name,
                version,
                folder,
                catalogue=self._catalogue,
                scratch=self._scratch,
                approximate=self._approximate,
            )
            if served.default is not None:
                _check_columns(served.ready[served.default].catalogue, loaded.catalogue)
        except (
            BaseException
        ) as error:  # whatever is wrong with a version, a library's panic too, the others are served
            if not isinstance(error, TastemakerError | OSError | MemoryError):
                log.exception("a version could not be loaded")
            now = self._served[name]
            said = _public(error, folder, self._catalogue, self._scratch)
            refused = {**now.refused, version: said}
            self._put(replace(now, loading=now.loading - {version}, refused=refused))
            self._tell(Change("refused", name, version, str(error)))
            if not isinstance(error, TastemakerError) or isinstance(error, TryLater):  # that may pass
                again = time.monotonic() + pause
                self._retries[folder] = (again, min(2 * pause, LONGEST_RETRY_SECONDS))
        else:
            now = self._served[name]
            before = now.ready.get(version)
            if self._scratch is not None and before is not None and before.etag != loaded.etag:
                forget(self._scratch, before.etag)  # a user was taken out of it
            ready = dict(sorted({**now.ready, version: loaded}.items()))
            self._put(
                replace(
                    now, loading=now.loading - {version}, ready=ready, refused=_without(now.refused, version)
                )
            )
            self._tell(Change("loaded", name, version))
        self._marks[name, version] = mark

    def _put(self, served: Served) -> None:
        self._served = MappingProxyType(dict(sorted({**self._served, served.name: served}.items())))


def _log(change: Change) -> None:
    facts = {"model": change.name, "version": change.version or None, "error": change.error or None}
    level = logging.ERROR if change.what == "refused" else logging.INFO
    log.log(level, "%s", change.what, extra={"facts": facts})


def find_versions(models: Path) -> dict[Version, Path]:
    """Return the folders of all versions: those of ``MODELS/NAME/VERSION``, of one model's folder, or the one version itself."""
    if (models / MANIFEST).is_file():
        manifest = read_manifest(models)
        return {(str(manifest["name"]), int(manifest["version"])): models}
    own = _numbered(models)
    if own and any((path / MANIFEST).is_file() for path in own.values()):
        return {(models.absolute().name, version): path for version, path in own.items()}
    found: dict[Version, Path] = {}
    for child in _folders(models):
        if (child / MANIFEST).is_file():
            found[child.name, 1] = child  # `train --out models/mine`, without a number
        else:
            found |= {(child.name, version): path for version, path in _numbered(child).items()}
    return found


def _numbered(folder: Path) -> dict[int, Path]:
    numbers = [path for path in _folders(folder) if path.name.isascii() and path.name.isdigit()]
    return {int(path.name): path for path in numbers if 0 < int(path.name) < 1 << 63 and path.name[0] != "0"}


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if _may_hold_models(entry))
    except OSError:
        return []


def _may_hold_models(entry: os.DirEntry[str]) -> bool:
    """Return whether this is a folder that is looked into: not a hidden one, and not an index beside a model."""
    return entry.name[0] != "." and not entry.name.endswith(INDEX) and entry.is_dir()


def _mark(folder: Path) -> Mark:
    try:
        with os.scandir(folder) as entries:
            facts = [(entry.name, entry.stat()) for entry in entries]
    except OSError as error:
        return (str(error),)
    return tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in facts))


def _check_columns(before: ProductTable, now: ProductTable) -> None:
    """Refuse a catalogue that lost columns or changed their type since it was loaded: rules that name them would break."""
    for column, dtype in before.frame.schema.items():
        found = now.frame.schema.get(column)
        if found is None or (found == pl.String and (dtype.is_numeric() or dtype == pl.Boolean)):
            what = "has no longer" if found is None else "has now text in"
            raise ColumnProblem(
                f"{now.label} {what} the column {column!r}, which rules may name; mend it, or start the server again to go without."
            )


def _public(error: BaseException, *places: Path | None) -> str:
    """Return what a client may read of an error: no path of this machine, of these files and folders only the names."""
    said = str(error)
    for place in filter(None, places):
        said = said.replace(str(place.absolute()), place.name).replace(str(place), place.name)
    return said


def _without(mapping: Mapping[int, T], version: int) -> dict[int, T]:
    return {key: value for key, value in mapping.items() if key != version}
