"""The manifest of a model folder: read with bounds and typed, before anything else in the folder is looked at."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tastemaker.data.identifiers import IdForm
from tastemaker.errors import DamagedModel, ModelFolderProblem, NewerFormat
from tastemaker.model.layout import open_regular
from tastemaker.model.values import FARTHEST

__all__ = ["FORMAT", "MANIFEST", "SEAL", "read_manifest", "receipt_of", "seal"]

FORMAT = 1
"""The number of the folder's format; a folder with a greater one is refused."""

MANIFEST = "manifest.json"

SEAL = "sha256"
"""The manifest's key of its own checksum."""

LARGEST = 16 << 20
"""Bytes that a manifest may have; one of a thousand epochs takes a hundredth of that."""

DEEPEST = 32
"""Levels that a manifest may have."""

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Weight = Annotated[float, Meta(ge=-1e6, le=1e6)]
HalfLife = Annotated[float, Meta(ge=0, le=1e9)]
Moment = Annotated[int, Meta(ge=-FARTHEST, le=FARTHEST)]
Power = Annotated[float, Meta(ge=-16, le=16)]
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^/\x00-\x1f]+$")]


class _Format(Struct):
    format: Annotated[int, Meta(ge=0)]


class _Counts(Struct):
    users: Count
    products: Count
    purchases: Count


class _Epoch(Struct):
    epoch: Count
    loss: float
    accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None
    seconds: float


class _Basket(Struct):
    tied: bool
    damping: Power
    memory_damping: Power
    repeat_weight: Annotated[float, Meta(ge=-1e6, le=1e6)] = 0.0


class _Past(Struct):
    kinds: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(min_length=1, max_length=1024)]


class _Fading(Struct):
    places: HalfLife = 0.0
    days: HalfLife = 0.0
    strength: Weight = 0.0


class _Order(Struct):
    taste: _Fading
    memory: _Fading
    end: Moment


class _Kinds(Struct):
    names: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(min_length=1, max_length=1024)]
    own: list[Weight]
    taste: list[Weight]
    fading: _Fading


class _Live(Struct):
    half_life: Annotated[float, Meta(gt=0, le=1e9)]
    weight: Weight
    kappa: Annotated[float, Meta(gt=0, le=1e12)]
    dial: Weight
    young: HalfLife = 0.0
    value_dial: Annotated[float, Meta(ge=0, le=1)] = 0.0
    tail: Annotated[float, Meta(ge=0, le=1)] = 0.0


class _Beside(Struct):
    tokens: dict[str, Any] | UnsetType = UNSET
    order: _Order | UnsetType = UNSET
    kinds: _Kinds | UnsetType = UNSET
    live: _Live | UnsetType = UNSET


class _Ids(Struct):
    form: IdForm
    sorted: bool


class _Nouns(Struct):
    user: _Ids
    product: _Ids


class _File(Struct):
    bytes: Count
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _Manifest(Struct):
    format: Literal[1]
    name: Name
    version: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    created: Annotated[datetime, Meta(tz=True)]
    config: dict[str, Any] | None
    seed: Count
    data_fingerprint: Annotated[str, Meta(max_length=255)]
    counts: _Counts
    epochs: list[_Epoch]
    interrupted: bool
    metrics: dict[str, Any]
    basket: _Basket
    ids: _Nouns
    packages: dict[str, str]
    files: dict[Annotated[str, Meta(max_length=255)], _File]
    past: _Past | None = None
    read: dict[str, Any] | None = None
    beside: _Beside | None = None


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a model folder; raise `DamagedModel`, `NewerFormat` or `ModelFolderProblem`."""
    path = Path(folder)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ModelFolderProblem(
            f"the model folder {path} {what}; give the folder that `tastemaker train --out` wrote."
        )
    if not (path / MANIFEST).exists():
        raise DamagedModel(f"{path} has no {MANIFEST}; it is no model folder, or a part of one.")
    with open_regular(path / MANIFEST) as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise DamagedModel(f"{path / MANIFEST} is larger than {LARGEST >> 20} MiB; no training writes that.")
    try:
        number = msgspec.json.decode(raw, type=_Format).format
        if number > FORMAT:
            raise NewerFormat(
                f"{path} has format {number}, and this tastemaker reads up to format {FORMAT}; upgrade tastemaker to load it."
            )
        msgspec.json.decode(raw, type=_Manifest)
        manifest: dict[str, Any] = json.loads(raw)
        if _depth(manifest) > DEEPEST:
            raise ValueError(f"it is more than {DEEPEST} levels deep")
    except (ValueError, RecursionError) as error:
        raise DamagedModel(
            f"{path / MANIFEST} is not a manifest ({error}); train the model again."
        ) from error
    if manifest.get(SEAL) != seal(manifest):
        raise DamagedModel(
            f"{path / MANIFEST} is not the manifest that was written (its SHA-256 differs from the one within); "
            "copy the folder again or train again."
        )
    return manifest


def receipt_of(manifest: dict[str, Any]) -> str:
    """Return the checksum of what a model is: its files, settings and seed, whatever its name, version, time and measurements.

    Two models have the same receipt where they are the same to the byte, wherever and whenever they were made.
    """
    same = ("basket", "beside", "config", "counts", "data_fingerprint", "ids", "past", "seed")
    facts = {name: manifest[name] for name in same if name in manifest}
    facts["files"] = {name: one["sha256"] for name, one in manifest["files"].items()}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def seal(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest's facts, whatever the order and the spaces in which they are written."""
    facts = {key: value for key, value in manifest.items() if key != SEAL}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
