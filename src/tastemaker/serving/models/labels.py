"""Labels of versions (``stable``, ``canary``), kept in a small file beside the versions of a model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tastemaker.errors import ModelFolderProblem, SettingProblem
from tastemaker.storage import IN_FOLDERS, Home, keep_good, read_or_good

__all__ = ["FILE", "STABLE", "Labels", "change_labels", "last_good_labels", "read_labels"]

FILE = "labels.json"
STABLE = "stable"
"""The label of what is served to requests that name no version, once there is one."""
REMEMBERED = 50


@dataclass(frozen=True, slots=True)
class Labels:
    """Which version each label names, and the changes that led there."""

    versions: Mapping[str, int] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    """``{"label": …, "from": version or None, "to": version}``, oldest first, the latest 50"""

    def moved(self, label: str, version: int) -> Labels:
        """Return the labels with this one on another version."""
        if not re.fullmatch(r"[A-Za-z0-9][\w.\-]{0,63}", label, re.ASCII):
            raise SettingProblem(f"{label!r} is no label; use letters, digits, '-', '_' and '.'.")
        before = self.versions.get(label)
        if before == version:
            return self
        change = {"label": label, "from": before, "to": version}
        return Labels({**self.versions, label: version}, (*self.history, change)[-REMEMBERED:])

    def moved_back(self, label: str) -> Labels | None:
        """Return the labels as before the last change of this one, which is forgotten; ``None`` when there is nothing before."""
        for place in range(len(self.history) - 1, -1, -1):
            change = self.history[place]
            if change["label"] == label and change["to"] == self.versions.get(label):
                if change["from"] is None:
                    return None
                rest = self.history[:place] + self.history[place + 1 :]
                return replace(self, versions={**self.versions, label: change["from"]}, history=rest)
        return None


def read_labels(folder: Path) -> Labels:
    """Return the labels of a model's folder; raise `ModelFolderProblem` when the file is not one of labels."""
    labels, problem = last_good_labels(folder)
    if problem is not None:
        raise problem
    return labels


def last_good_labels(folder: Path) -> tuple[Labels, ModelFolderProblem | None]:
    """Return the labels of a model's folder, those last good where the file is not one of labels, and what is wrong with it.

    Raises `ModelFolderProblem` where no good ones are known.
    """
    path = folder / FILE
    try:
        labels, problem = read_or_good(path, lambda content: _decoded(content, path))
    except FileNotFoundError:
        if folder.is_dir():
            keep_good(path, None)
        return Labels(), None
    except OSError as error:
        raise _no_labels(path, error) from error
    if problem is None or isinstance(problem, ModelFolderProblem):
        return labels, problem
    return labels, _no_labels(path, problem)


def _decoded(text: bytes | None, path: Path) -> Labels:
    if text is None:
        return Labels()
    try:
        content = json.loads(text)
        versions = {str(label): int(version) for label, version in content["labels"].items()}
        history = tuple(
            {"label": str(move["label"]), "from": move["from"], "to": int(move["to"])}
            for move in content["history"]
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _no_labels(path, error) from error
    return Labels(versions, history)


def _encoded(labels: Labels) -> bytes:
    content = {"labels": dict(labels.versions), "history": list(labels.history)}
    return json.dumps(content, indent=1).encode()


def _no_labels(path: Path, error: Exception) -> ModelFolderProblem:
    return ModelFolderProblem(
        f"{path} is not a file of labels ({error}); mend it, or remove it and promote again."
    )


def change_labels(folder: Path, change: Callable[[Labels], Labels], *, home: Home = IN_FOLDERS) -> Labels:
    """Read, change and write the labels of a model, one process at a time; the file is replaced whole.

    ``folder`` is where ``home`` has them. Raises `ModelFolderProblem`, and `StateProblem` where hosts share them.
    """
    path = folder / FILE
    try:
        written = home.update(path, lambda before: _encoded(change(_decoded(before, path))))
    except OSError as error:
        raise ModelFolderProblem(f"cannot write {folder / FILE}: {error.strerror or error}.") from error
    return _decoded(written, path)
