"""A training's state on disk: an interrupted training that goes on from it ends with the bytes of an uninterrupted one.

A checkpoint is a folder of its own, never a part of a model folder: arrays as ``.npy`` and ``checkpoint.json``, which names them.
That file is replaced last, in one step, so that there is always one whole checkpoint. It is no ``manifest.json``, and the command
line calls the folder ``.VERSION.checkpoint``, which is not a number, so that a search for models skips it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.errors import DamagedModel, FolderExists, ModelFolderProblem, NewerFormat, SettingProblem
from tastemaker.model.config import Config
from tastemaker.model.record import Epoch
from tastemaker.model.taste_model import TasteModel
from tastemaker.storage import replace_bytes, writing
from tastemaker.types import AnyArray, Floats

__all__ = ["Checkpoint", "Checkpoints", "Plan", "checkpoint_beside", "read_checkpoint", "write_checkpoint"]

FORMAT = 1
FACTS = "checkpoint.json"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where the state of a training is kept, and how often."""

    folder: Path
    every: int = 1
    """epochs"""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise SettingProblem(f"--checkpoint-every is {self.every}; it must be at least 1 epoch.")

    def check(self, resumed: Path | None) -> None:
        """Raise `FolderExists` where another training's checkpoint would be overwritten."""
        again = resumed is not None and resumed.absolute() == self.folder.absolute()
        if not again and (self.folder / FACTS).exists():
            raise FolderExists(
                f"{self.folder} holds the checkpoint of an earlier training; "
                f"go on with it by --resume {self.folder}, or remove it."
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes two trainings the same: equal plans give equal bytes."""

    config: Config
    """as given, choices still open"""
    seed: int
    data: str
    """the log's fingerprint"""
    valid: str | None
    """the fingerprint of what is measured after every epoch"""
    started_from: str | None
    """the digest of the vectors of the model that a warm start began with"""

    @staticmethod
    def of(
        config: Config, seed: int, log: Purchases, valid: Purchases | None, old: TasteModel | None
    ) -> Plan:
        """Take the fingerprints."""
        measured = None if valid is None else valid.fingerprint()
        return Plan(config, seed, log.fingerprint(), measured, None if old is None else _digest_of(old))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after some epochs. Choosing settings is over by then; the time until then is not kept."""

    plan: Plan
    config: Config
    """nothing left to choose"""
    metrics: Mapping[str, Any]
    """what choosing measured"""
    course: tuple[Epoch, ...]
    arrays: Mapping[str, Floats]
    """the learner's state"""


def checkpoint_beside(out: Path) -> Path:
    """Return the folder for checkpoints of the model that will stand at ``out``.

    >>> checkpoint_beside(Path("models/recommender/1")).as_posix()
    'models/recommender/.1.checkpoint'
    """
    return out.parent / f".{out.name}.checkpoint"


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Put a checkpoint in the place of the one that the folder holds, if any; raise `ModelFolderProblem` if it cannot."""
    epoch = checkpoint.course[-1].epoch
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: f"{name}-{epoch}.npy" for name in checkpoint.arrays}
        facts = {
            "format": FORMAT,
            "stage": "learning",
            "epoch": epoch,
            "plan": dataclasses.asdict(checkpoint.plan) | {"config": checkpoint.plan.config.to_json()},
            "config": checkpoint.config.to_json(),
            "metrics": dict(checkpoint.metrics),
            "course": [dataclasses.asdict(epoch) for epoch in checkpoint.course],
            "files": {
                name: {"file": file, "sha256": _write_array(folder / file, checkpoint.arrays[name])}
                for name, file in files.items()
            },
        }
        replace_bytes(folder / FACTS, json.dumps(facts, indent=2, allow_nan=False).encode())
        for path in set(folder.glob("*.npy")) - {folder / file for file in files.values()}:
            path.unlink()
    except OSError as error:
        raise ModelFolderProblem(
            f"cannot write the checkpoint {folder}: {error.strerror or error}."
        ) from error


def read_checkpoint(folder: Path, plan: Plan) -> Checkpoint:
    """Return the checkpoint of a folder.

    Raises `ModelFolderProblem`, `DamagedModel`, `NewerFormat`, and `SettingProblem` when it belongs to another plan.
    """
    if not (folder / FACTS).is_file():
        raise ModelFolderProblem(
            f"{folder} holds no checkpoint; give the folder that train --checkpoint-every named, such as "
            f"{checkpoint_beside(Path('models/recommender/1'))}."
        )
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        if int(facts["format"]) > FORMAT:
            raise NewerFormat(
                f"the checkpoint {folder} was written by a newer tastemaker; upgrade to resume."
            )
        kept = Plan(**facts["plan"] | {"config": Config.from_json(facts["plan"]["config"])})
        _check_plan(kept, plan, folder)
        return Checkpoint(
            kept,
            Config.from_json(facts["config"]),
            facts["metrics"],
            tuple(Epoch(**epoch) for epoch in facts["course"]),
            {
                name: _read_array(folder / kept["file"], kept["sha256"])
                for name, kept in facts["files"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DamagedModel(
            f"the checkpoint {folder} cannot be read ({error}); remove it and train from the start."
        ) from error


def _check_plan(kept: Plan, plan: Plan, folder: Path) -> None:
    """Raise `SettingProblem` that says what differs."""
    mine, theirs = plan.config.to_json(), kept.config.to_json()
    differences = [
        f"{name} {theirs[name]} and not {mine[name]}" for name in mine if mine[name] != theirs[name]
    ]
    if kept.seed != plan.seed:
        differences.append(f"the seed {kept.seed} and not {plan.seed}")
    for what, old, new in (
        ("purchases", kept.data, plan.data),
        ("held-out purchases", kept.valid, plan.valid),
        ("a model to start from", kept.started_from, plan.started_from),
    ):
        if old != new:
            differences.append(f"other {what}" if old and new else f"{what if old else f'no {what}'}")
    if differences:
        raise SettingProblem(
            f"the checkpoint {folder} is of another training, with {', '.join(differences)}; "
            "resume with the log, settings and seed that it began with, or train without --resume."
        )


def _digest_of(model: TasteModel) -> str:
    digest = hashlib.sha256()
    for array in (model.product_vectors, model.product_bias, model.user_vectors):
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _write_array(path: Path, array: AnyArray) -> str:
    with writing(path) as temporary:
        with temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        with temporary.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _read_array(path: Path, sha256: str) -> AnyArray:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueError(f"{path.name} is not the file that was written")
        file.seek(0)
        array: AnyArray = np.load(file, allow_pickle=False)
        return array
