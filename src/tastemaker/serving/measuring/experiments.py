"""Experiments of a model: who is shown which of two versions, kept in a small file beside the versions."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from tastemaker.errors import ModelFolderProblem, SettingProblem
from tastemaker.storage import IN_FOLDERS, Home, read_or_good

__all__ = [
    "FILE",
    "METRICS",
    "Arm",
    "Experiment",
    "Metric",
    "arm_of",
    "change_experiments",
    "decoded",
    "ended",
    "moved",
    "read_experiments",
    "started",
]

FILE = "experiments.json"

Arm: TypeAlias = Literal["control", "treatment", "holdout"]
Metric: TypeAlias = Literal["click rate", "conversion", "revenue", "margin"]
METRICS: tuple[Metric, ...] = get_args(Metric)

KEPT = 200


@dataclass(frozen=True, slots=True)
class Experiment:
    """Two versions of a model, and which share of the visitors is shown which."""

    name: str
    control: str
    """A label, as is ``treatment``"""
    treatment: str
    versions: tuple[int, int]
    """What the labels named when it began, control first; an experiment is about these"""
    share: float
    """The percentage that gets the treatment, of those who are not held out"""
    holdout: float
    """The percentage that gets best sellers in place of lists of their own"""
    salt: str
    metric: Metric
    """What the verdict is about"""
    visitors: int
    """For how many of control and treatment together it is planned"""
    window: int
    """How long after their first list a visitor's outcomes count, in microseconds"""
    began: int
    """Microseconds since 1970-01-01 UTC, as is ``ended``"""
    ended: int | None = None
    why: str = ""
    """Why it ended"""

    @property
    def shares(self) -> dict[Arm, float]:
        """Return the share of all visitors that each arm gets."""
        held = self.holdout / 100
        treated = (1 - held) * self.share / 100
        found: dict[Arm, float] = {"control": 1 - held - treated, "treatment": treated}
        return {**found, "holdout": held} if held else found


def arm_of(experiment: Experiment, user: object) -> Arm:
    """Return the arm of a visitor: by a hash of the salt and the id as text, the same on every worker and host.

    >>> one = Experiment("a", "stable", "canary", (1, 2), 50, 0, "salt", "conversion", 1000, 1, 0)
    >>> [arm_of(one, user) for user in ("u1", "u2", 7, "7")]
    ['control', 'treatment', 'treatment', 'treatment']
    """
    digest = blake2b(f"{experiment.salt}:{user}".encode(), digest_size=8).digest()
    drawn = int.from_bytes(digest) / 2**64 * 100
    if drawn < experiment.holdout:
        return "holdout"
    left = (drawn - experiment.holdout) / (100 - experiment.holdout) * 100
    return "treatment" if left < experiment.share else "control"


def started(before: tuple[Experiment, ...], one: Experiment) -> tuple[Experiment, ...]:
    """Return the experiments with a further one; raise `SettingProblem` for one that cannot be."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.\-]{0,63}", one.name, re.ASCII):
        raise SettingProblem(f"{one.name!r} is no name; use letters, digits, '-', '_' and '.'.")
    if one.name in {other.name for other in before}:
        raise SettingProblem(f"there has been an experiment {one.name!r}; choose another name.")
    running = next((other.name for other in before if other.ended is None), None)
    if running is not None:
        raise SettingProblem(
            f"the experiment {running!r} runs, and one model has one at a time, as two would be in each other's figures; "
            f"stop it first: `tastemaker experiment stop MODELS/NAME --name {running}`."
        )
    if one.control == one.treatment or one.versions[0] == one.versions[1]:
        raise SettingProblem(
            f"control ({one.control}) and treatment ({one.treatment}) are the same version, {one.versions[0]}; an experiment "
            "needs two arms. For a test of the set-up, give a copy of the version a number of its own."
        )
    if not 0 < one.share < 100:
        raise SettingProblem(
            f"the share of the treatment is {one.share:g} %; it must be above 0 and below 100, so that both arms have visitors."
        )
    if not 0 <= one.holdout < 100:
        raise SettingProblem(f"the holdout is {one.holdout:g} %; it must be from 0 to below 100.")
    if one.window <= 0 or one.visitors < 1:
        raise SettingProblem("an experiment needs a window above 0 and at least one planned visitor.")
    if one.metric not in METRICS:
        raise SettingProblem(f"the metric is {one.metric!r}; it must be one of {', '.join(METRICS)}.")
    return (*before, one)[-KEPT:]


def ended(before: tuple[Experiment, ...], name: str, *, at: int, why: str) -> tuple[Experiment, ...]:
    """Return the experiments with one ended; one that has ended stays as it is. Raises `SettingProblem` for an unknown name."""
    if name not in {one.name for one in before}:
        known = ", ".join(one.name for one in before) or "none"
        raise SettingProblem(f"there is no experiment {name!r}; there are: {known}.")
    return tuple(
        replace(one, ended=at, why=why) if one.name == name and one.ended is None else one for one in before
    )


def moved(one: Experiment, labels: dict[str, int]) -> str:
    """Return in words which of an experiment's labels no longer names its version; empty where both do."""
    for label, version in zip((one.control, one.treatment), one.versions, strict=True):
        now = labels.get(label)
        if now != version:
            return f"{label} moved from version {version} to {'none' if now is None else now}"
    return ""


def read_experiments(folder: Path) -> tuple[Experiment, ...]:
    """Return the experiments of a model's folder, the oldest first, those last good where the file is spoilt.

    Raises `ModelFolderProblem` where no good ones are known.
    """
    path = folder / FILE
    try:
        return read_or_good(path, decoded)[0]
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise ModelFolderProblem(
            f"{path} is not a file of experiments ({error}); mend it, or remove it, which ends the running one."
        ) from error


def change_experiments(
    folder: Path,
    change: Callable[[tuple[Experiment, ...]], tuple[Experiment, ...]],
    *,
    home: Home = IN_FOLDERS,
) -> tuple[Experiment, ...]:
    """Read, change and write the experiments of a model, one process at a time; the file is replaced whole.

    ``folder`` is where ``home`` has them. Raises `ModelFolderProblem`, and `StateProblem` where hosts share them.
    """
    path = folder / FILE
    try:
        written = home.update(
            path, lambda before: _encoded(change(() if before is None else decoded(before)))
        )
        return decoded(written)
    except ValueError as error:
        raise ModelFolderProblem(f"{path} is not a file of experiments ({error}); mend it.") from error
    except OSError as error:
        raise ModelFolderProblem(f"cannot write {path}: {error.strerror or error}.") from error


def decoded(content: bytes) -> tuple[Experiment, ...]:
    """Return the experiments that a file holds; raise `ValueError`."""
    try:
        return tuple(_experiment(entry) for entry in json.loads(content)["experiments"])
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _experiment(entry: dict[str, Any]) -> Experiment:
    control, treatment = map(int, entry["versions"])
    if entry["metric"] not in METRICS:
        raise ValueError(f"metric {entry['metric']!r}")
    found = Experiment(
        **{
            **{name: str(entry[name]) for name in ("name", "control", "treatment", "salt", "why")},
            **{name: int(entry[name]) for name in ("visitors", "window", "began")},
            **{name: float(entry[name]) for name in ("share", "holdout")},
            "metric": entry["metric"],
            "versions": (control, treatment),
            "ended": None if entry["ended"] is None else int(entry["ended"]),
        }
    )
    if not (0 < found.share < 100 and 0 <= found.holdout < 100):
        raise ValueError(f"the share {found.share} and the holdout {found.holdout}")
    return found


def _encoded(experiments: tuple[Experiment, ...]) -> bytes:
    return json.dumps({"experiments": [dataclasses.asdict(one) for one in experiments]}, indent=1).encode()
