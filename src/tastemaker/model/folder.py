"""A model on disk: a folder with a manifest, arrays as ``.npy`` and ids as Arrow. Written whole or not at all; no pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import DamagedModel, FolderExists, ModelFolderProblem, NewerFormat, SettingProblem
from tastemaker.model.config import Config
from tastemaker.model.record import Epoch, TrainingRecord
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.storage import writing_folder
from tastemaker.types import AnyArray

__all__ = [
    "FORMAT",
    "MANIFEST",
    "SEAL",
    "check_file",
    "check_target",
    "load",
    "read_manifest",
    "save",
    "seal",
    "write_file",
]

FORMAT = 1
"""The number of the folder's format; a folder with a greater one is refused."""

MANIFEST = "manifest.json"

SEAL = "sha256"
"""The manifest's key of its own checksum."""


def save(model: TasteModel, folder: str | Path) -> Path:
    """Write a model to a new folder, such as ``models/recommender/1``, and return its path.

    The files are written and flushed to disk beside the target, which then appears by one rename: whoever looks finds the
    whole model or none. Raises `FolderExists`, or `ModelFolderProblem` when the disk refuses.
    """
    target = check_target(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with writing_folder(target) as temporary:
            files = {name: write_file(temporary / name, write) for name, write in _parts(model).items()}
            facts = _manifest(model, target, files)
            manifest = json.dumps(facts | {SEAL: seal(facts)}, indent=2, allow_nan=False).encode()
            (temporary / MANIFEST).write_bytes(manifest)
    except FileExistsError:
        check_target(target)
        raise
    except OSError as error:
        raise ModelFolderProblem(
            f"cannot write the model folder {target}: {error.strerror or error}."
        ) from error
    return target


def check_target(folder: str | Path) -> Path:
    """Return the path if a model can be written there; raise `FolderExists` or `ModelFolderProblem` if not."""
    target = Path(folder)
    if target.exists() or target.is_symlink():
        raise FolderExists(
            f"{target} exists already; a model never overwrites another: choose a new folder or version."
        )
    parent = target.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ModelFolderProblem(
            f"cannot write to {parent}, where {target} should stand; choose another folder."
        )
    return target


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a model folder; raise `DamagedModel`, `NewerFormat` or `ModelFolderProblem`."""
    path = Path(folder)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ModelFolderProblem(
            f"the model folder {path} {what}; give the folder that `tastemaker train --out` wrote."
        )
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        number = int(manifest["format"])
    except FileNotFoundError as error:
        raise DamagedModel(f"{path} has no {MANIFEST}; it is no model folder, or a part of one.") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, OSError) as error:
        raise DamagedModel(
            f"{path / MANIFEST} is not a manifest ({error}); train the model again."
        ) from error
    if number > FORMAT:
        raise NewerFormat(
            f"{path} has format {number}, and this tastemaker reads up to format {FORMAT}; upgrade tastemaker to load it."
        )
    if manifest.get(SEAL) != seal(manifest):
        raise DamagedModel(
            f"{path / MANIFEST} is not the manifest that was written (its SHA-256 differs from the one within); "
            "copy the folder again or train again."
        )
    return dict(manifest)


def load(folder: str | Path, *, verify: bool = True) -> TasteModel:
    """Read a model; its arrays are memory-mapped, so that processes share them.

    ``verify`` compares the SHA-256 of every file with the manifest first. Raises `DamagedModel`, `NewerFormat`,
    `ModelFolderProblem`.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    try:
        for name, facts in manifest["files"].items():
            check_file(path / name, facts, verify)
        return _read(path, manifest)
    except (
        KeyError, TypeError, ValueError, AttributeError, OSError, SettingProblem, pl.exceptions.PolarsError,
    ) as error:  # fmt: skip
        raise DamagedModel(f"{path} cannot be read as a model ({error}); train the model again.") from error


def _parts(model: TasteModel) -> dict[str, Callable[[Path], object]]:
    arrays: dict[str, AnyArray | None] = {
        "product_vectors": model.product_vectors,
        "product_bias": model.product_bias,
        "user_vectors": model.user_vectors,
        "basket_vectors": None if _tied(model) else model.basket_vectors,
        "history_offsets": model.histories.offsets,
        "history_products": model.histories.products,
        "history_times": model.history_times,
        "repeat_bias": model.repeat_bias,
    }
    if model.memory is not None:
        arrays["memory_offsets"] = model.memory.offsets
        arrays["memory_products"] = model.memory.products
        arrays["memory_weights"] = model.memory.weights
    parts: dict[str, Callable[[Path], object]] = {
        f"{name}.npy": lambda path, array=array: np.save(
            path, np.ascontiguousarray(array), allow_pickle=False
        )  # type: ignore[misc]
        for name, array in arrays.items()
        if array is not None
    }
    for vocabulary in (model.users, model.products):
        parts[f"{vocabulary.noun}s.arrow"] = lambda path, ids=vocabulary.ids: (  # type: ignore[misc]
            ids.alias("id").to_frame().write_ipc(path, compression="uncompressed")
        )
    return parts


def _tied(model: TasteModel) -> bool:
    return model.basket_vectors is model.product_vectors


def _manifest(model: TasteModel, target: Path, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    record = model.record
    absolute = target.absolute()
    numbered = absolute.name.isascii() and absolute.name.isdigit() and int(absolute.name) > 0
    return {
        "format": FORMAT,
        "name": absolute.parent.name if numbered else absolute.name,
        "version": int(absolute.name) if numbered else 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": record.config.to_json() if record.config else None,
        "seed": record.seed,
        "data_fingerprint": record.data_fingerprint,
        "counts": {"users": len(model.users), "products": len(model.products), "purchases": record.purchases},
        "epochs": [dataclasses.asdict(epoch) for epoch in record.epochs],
        "interrupted": record.interrupted,
        "metrics": dict(record.metrics),
        "basket": {
            "tied": _tied(model),
            "damping": model.damping,
            "memory_damping": model.memory_damping,
            "repeat_weight": model.repeat_weight,
        },
        "ids": {
            vocabulary.noun: {"form": vocabulary.form, "sorted": vocabulary.is_sorted}
            for vocabulary in (model.users, model.products)
        },
        "packages": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("tastemaker", "numpy", "numba", "polars")},
        },
        "files": files,
    }


def seal(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest's facts, whatever the order and the spaces in which they are written."""
    facts = {key: value for key, value in manifest.items() if key != SEAL}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read(path: Path, manifest: dict[str, Any]) -> TasteModel:
    def array(name: str) -> AnyArray:
        loaded: AnyArray = np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return loaded

    def optional(name: str) -> AnyArray | None:
        return array(name) if f"{name}.npy" in manifest["files"] else None

    def vocabulary(noun: Noun) -> Vocabulary:
        facts = manifest["ids"][noun]
        ids = pl.read_ipc(path / f"{noun}s.arrow").get_column("id")
        return Vocabulary(ids, noun, facts["form"], facts["sorted"])

    product_vectors = array("product_vectors")
    memory = None
    if "memory_offsets.npy" in manifest["files"]:
        memory = Memory(array("memory_offsets"), array("memory_products"), array("memory_weights"))
    return TasteModel(
        users=vocabulary("user"),
        products=vocabulary("product"),
        histories=Histories(array("history_offsets"), array("history_products")),
        product_vectors=product_vectors,
        product_bias=array("product_bias"),
        user_vectors=optional("user_vectors"),
        basket_vectors=product_vectors if manifest["basket"]["tied"] else optional("basket_vectors"),
        memory=memory,
        record=TrainingRecord(
            config=Config.from_json(manifest["config"]) if manifest["config"] else None,
            seed=manifest["seed"],
            data_fingerprint=manifest["data_fingerprint"],
            purchases=manifest["counts"]["purchases"],
            epochs=tuple(Epoch(**epoch) for epoch in manifest["epochs"]),
            metrics=manifest["metrics"],
            interrupted=manifest["interrupted"],
        ),
        damping=manifest["basket"]["damping"],
        memory_damping=manifest["basket"]["memory_damping"],
        history_times=optional("history_times"),
        repeat_weight=manifest["basket"].get("repeat_weight", 0.0),  # older folders have none
        repeat_bias=optional("repeat_bias"),
    )


def check_file(path: Path, facts: dict[str, Any], verify: bool) -> None:
    """Raise `DamagedModel` where a file is not the one that its manifest describes."""
    if not path.is_file():
        raise DamagedModel(
            f"{path.parent} lacks its file {path.name}; copy the folder again or train the model again."
        )
    if path.stat().st_size != facts["bytes"] or (verify and _digest(path) != facts["sha256"]):
        raise DamagedModel(
            f"{path} is not the file that was written (its SHA-256 differs from the manifest's); "
            "copy the folder again or train again."
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path: Path, write: Callable[[Path], object]) -> dict[str, Any]:
    """Write a file; return its size and checksum for the manifest."""
    write(path)
    return {"bytes": path.stat().st_size, "sha256": _digest(path)}
