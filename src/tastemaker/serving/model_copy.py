"""Models of an object store, fetched into a folder of this host again and again by a process of its own, and verified.

A version comes whole or not at all: its manifest is read first, every file that it names must be there in its length, and each is
held to its SHA-256 while it arrives; only then does the version's folder appear. What was fetched stays, so that a host starts and
serves without the store.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import select
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.stores import Objects
from tastemaker.errors import DamagedModel, ServerProblem, TastemakerError
from tastemaker.model.layout import expected_files
from tastemaker.model.manifest import LARGEST, MANIFEST, read_manifest
from tastemaker.serving.aside import aside
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.models.labels import FILE as LABELS
from tastemaker.serving.models.labels import read_labels
from tastemaker.storage import read_regular, remove_folder, replace_bytes, replace_text, writing_folder

__all__ = ["ModelCopy", "cache_of", "fetched"]

log = logging.getLogger("tastemaker.models")

ETAGS: Final = ".etags.json"
"""What the store called the content of each object that was fetched"""

BESIDE: Final = (LABELS, "rules.json", "rules.history.json")
"""What is fetched beside versions, whenever the store's content changes"""

_VERSION: Final = re.compile(
    r"(?P<model>(?:[^/.\x00-\x1f][^/\x00-\x1f]*/)?)(?P<version>[1-9][0-9]{0,18})/manifest\.json"
)
_BESIDE: Final = re.compile(rf"(?:[^/.\x00-\x1f][^/\x00-\x1f]*/)?(?:{'|'.join(map(re.escape, BESIDE))})")


def cache_of(address: str) -> Path:
    """Return where the models of an address are kept, where nobody says otherwise; its last name is the address's."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = address.rstrip("/")
    digest = hashlib.sha256(place.encode()).hexdigest()[:16]
    return Path(base) / "tastemaker" / "models" / digest / place.rpartition("/")[2]


@contextlib.contextmanager
def fetched(settings: Settings) -> Iterator[Settings]:
    """Yield settings whose models are a folder that follows the address they name; raise `ServerProblem` where there are none."""
    if settings.models_address is None:
        yield settings
        return
    folder = settings.models_cache or cache_of(settings.models_address)
    order = {
        "address": settings.models_address,
        "folder": str(folder),
        "seconds": settings.models_every,
        "keep": settings.keep_versions,
    }
    with aside(__name__, order, "the models"):
        yield replace(settings, models=folder)


class ModelCopy:
    """A folder that follows the models of a store."""

    def __init__(self, objects: Objects, folder: Path, *, keep: int) -> None:
        self._objects, self.folder, self._keep = objects, folder, keep
        self._said: dict[str, str] = {}
        """Why versions are not fetched, so that it is said once"""

    def look(self) -> None:
        """Fetch what is new and whole, and remove what the store no longer has; raise `TastemakerError` or `OSError`.

        A version that cannot be taken is left, said once in the log, and looked at again: its files may still be on their way.
        """
        listed = self._objects.listed()
        versions: dict[str, list[int]] = {}
        for path in listed:
            if found := _VERSION.fullmatch(path):
                versions.setdefault(found["model"], []).append(int(found["version"]))
        if not versions:
            raise ServerProblem(
                f"{self._objects.label} holds no NAME/VERSION/{MANIFEST}; give the folder that `train --out` was copied to."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        known = self._known()
        for path in sorted(filter(_BESIDE.fullmatch, listed)):
            if known.get(path) != listed[path].etag:
                (self.folder / path).parent.mkdir(exist_ok=True)
                replace_bytes(self.folder / path, b"".join(self._objects.stream(path)))
                self._remember(known, path, listed[path].etag)
        wanted = {
            f"{model}{number}": f"{model}{number}/{MANIFEST}"
            for model, numbers in versions.items()
            for number in self._wanted(model, numbers)
        }
        for place, manifest in wanted.items():
            if known.get(manifest) == listed[manifest].etag and (self.folder / place / MANIFEST).is_file():
                continue
            try:
                self._fetch(place, {name: one.size for name, one in listed.items()})
            except TastemakerError as error:
                if self._said.get(place) != str(error):
                    log.error("%s of %s is not taken: %s", place, self._objects.label, error)
                self._said[place] = str(error)
            else:
                self._said.pop(place, None)
                self._remember(known, manifest, listed[manifest].etag)
                log.info("%s of %s was fetched", place, self._objects.label)
        self._drop(known, set(listed), set(wanted))

    def _wanted(self, model: str, numbers: list[int]) -> list[int]:
        """Return the newest versions of a model, and those with a label: what a server loads."""
        try:
            labelled = set(read_labels(self.folder / model).versions.values())
        except TastemakerError:
            labelled = set()
        newest = sorted(numbers, reverse=True)
        return newest[: self._keep] + [number for number in newest[self._keep :] if number in labelled]

    def _fetch(self, place: str, sizes: Mapping[str, int]) -> None:
        """Fetch a version; its folder appears when all of it is here and right. Raises `TastemakerError`."""
        target = self.folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        with writing_folder(target, replaces=True) as temporary:
            content = b"".join(self._objects.stream(f"{place}/{MANIFEST}"))
            if len(content) > LARGEST:
                raise DamagedModel(f"{place}/{MANIFEST} is larger than {LARGEST >> 20} MiB.")
            (temporary / MANIFEST).write_bytes(content)
            files = read_manifest(temporary)["files"]
            expected_files(files, temporary)
            for name, one in files.items():
                size = sizes.get(f"{place}/{name}")
                if size != one["bytes"]:
                    there = "is missing" if size is None else f"has {size:,} of {one['bytes']:,} bytes"
                    raise DamagedModel(f"{place}/{name} {there}; it may be on its way.")
            for name, one in files.items():
                if self._write(f"{place}/{name}", temporary / name) != one["sha256"]:
                    raise DamagedModel(
                        f"{place}/{name} has another SHA-256 than its manifest says; copy it again."
                    )

    def _write(self, path: str, file: Path) -> str:
        digest = hashlib.sha256()
        with file.open("xb") as out:
            for chunk in self._objects.stream(path):
                digest.update(chunk)
                out.write(chunk)
        return digest.hexdigest()

    def _drop(self, known: dict[str, str], listed: set[str], wanted: set[str]) -> None:
        """Remove what was fetched and is no longer in the store, or no longer wanted."""
        for path in list(known):
            place = path.removesuffix(f"/{MANIFEST}")
            if place == path and path not in listed:
                (self.folder / path).unlink(missing_ok=True)
            elif place != path and place not in wanted:
                if (self.folder / place).is_dir():
                    remove_folder(self.folder / place)
                log.info("%s was removed: %s no longer has it, or has newer ones", place, self._objects.label)
            else:
                continue
            self._remember(known, path, None)

    def _known(self) -> dict[str, str]:
        try:
            found = json.loads(read_regular(self.folder / ETAGS))
            return {str(path): str(etag) for path, etag in found.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _remember(self, known: dict[str, str], path: str, etag: str | None) -> None:
        known.pop(path, None)
        if etag is not None:
            known[path] = etag
        replace_text(self.folder / ETAGS, json.dumps(known, indent=1, sort_keys=True))


def main() -> None:
    """Fetch until the server ends, which ends the standard input, too."""
    from tastemaker.data.databases.address import without_secrets
    from tastemaker.serving.front.logs import log_in_json
    from tastemaker.serving.models.registry import find_versions

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    log_in_json()
    order = json.loads(sys.stdin.readline())
    folder, seconds = Path(order["folder"]), float(order["seconds"])
    copy, said, begun = None, "", False
    while not begun or not select.select([sys.stdin], [], [], seconds)[0]:
        problem = ""
        try:
            copy = copy or ModelCopy(Objects(address_of(order["address"])), folder, keep=int(order["keep"]))
            copy.look()
        except (TastemakerError, OSError) as error:
            problem = without_secrets(str(error))
        if problem and problem != said:
            log.warning("the models cannot be fetched; what was fetched is served: %s", problem)
        said = problem
        if not begun:
            print(json.dumps(problem if problem and not find_versions(folder) else None), flush=True)
            begun = True


if __name__ == "__main__":
    main()
