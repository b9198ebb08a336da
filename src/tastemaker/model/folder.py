"""A model on disk: a folder with a manifest, arrays as ``.npy`` and ids as Arrow. Written whole or not at all; no pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from tastemaker.data.identifiers import IdForm
from tastemaker.data.past import Past
from tastemaker.data.purchases import Histories
from tastemaker.data.reading.remedies import speaks_of_flags
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import DamagedModel, FolderExists, ModelFolderProblem, SettingProblem
from tastemaker.model.beside.saved import Parts, arrays_of, facts_of, parts_of
from tastemaker.model.config import Config
from tastemaker.model.layout import expected_files, map_part, open_regular
from tastemaker.model.manifest import FORMAT, MANIFEST, SEAL, read_manifest, seal
from tastemaker.model.record import Epoch, TrainingRecord
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.model.values import check_values
from tastemaker.storage import writing_folder
from tastemaker.types import AnyArray

__all__ = [
    "FORMAT",
    "MANIFEST",
    "SEAL",
    "check_file",
    "check_target",
    "load",
    "load_with",
    "read_ids",
    "read_manifest",
    "save",
    "seal",
    "versions_of",
    "vocabulary_in",
    "write_file",
]

REMEDY = (" unless overwrite=True: choose a new folder or version.", ": choose a new folder or version.")
"""What to do about a folder that is there, in Python and on the command line."""


def save(
    model: TasteModel, folder: str | Path, *, overwrite: bool = False, created: str | None = None
) -> Path:
    """Write a model to a new folder, such as ``models/recommender/1``, and return its path.

    The files are written and flushed to disk beside the target, which then appears by one rename: a reader finds the
    whole model or none. ``overwrite`` lets it take the place of another model, and of nothing else; a server that watches the
    folder wants a new version instead. ``created`` is when it was made, where that was not now. Raises `FolderExists`, or
    `ModelFolderProblem` when the disk refuses.
    """
    target = _checked(folder, overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with writing_folder(target, replaces=overwrite) as temporary:
            files = {name: write_file(temporary / name, write) for name, write in _parts(model).items()}
            facts = _manifest(model, target, files)
            facts["created"] = created or facts["created"]
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


def _checked(folder: str | Path, overwrite: bool) -> Path:
    target = Path(folder)
    if not overwrite or not (target.exists() or target.is_symlink()):
        return check_target(folder)
    if target.is_symlink() or not (target / MANIFEST).is_file():
        raise FolderExists(
            f"{target} is no folder of a model, so it is not overwritten; choose another folder."
        )
    return target


def check_target(folder: str | Path) -> Path:
    """Return the path if a model can be written there; raise `FolderExists` or `ModelFolderProblem` if not."""
    target = Path(folder)
    if target.exists() or target.is_symlink():
        raise FolderExists(
            f"{target} exists already; a model never overwrites another{REMEDY[speaks_of_flags()]}"
        )
    parent = target.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ModelFolderProblem(
            f"cannot write to {parent}, where {target} should stand; choose another folder."
        )
    return target


def versions_of(folder: Path) -> list[int]:
    """Return the numbers of the versions of a model's folder, ascending; none where there is no folder."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if (path / MANIFEST).is_file()]
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and name[0] != "0")


def load(folder: str | Path, *, verify: bool = True) -> TasteModel:
    """Read a model; its arrays are memory-mapped, so that processes share them.

    Files, types, shapes and the ids are always checked. ``verify`` compares the SHA-256 of every file with the manifest, too, and
    looks at every value that a kernel trusts: offsets, rows, and that numbers are finite. Raises `DamagedModel`, `NewerFormat`,
    `ModelFolderProblem`.
    """
    return load_with(vocabulary_in, folder, verify=verify)


def load_with(read: VocabularyReader, folder: str | Path, *, verify: bool) -> TasteModel:
    """Read a model as `load` does, its ids by a function that is `vocabulary_in` or gives the same."""
    path = Path(folder)
    manifest = read_manifest(path)
    try:
        with ThreadPoolExecutor(1) as beside:  # the ids of many users take as long as all arrays
            users = beside.submit(read, path, manifest, "user", verify)
            arrays = _arrays(path, manifest, verify)
            vocabularies: dict[Noun, Vocabulary] = {
                "user": users.result(),
                "product": read(path, manifest, "product", verify),
            }
        return _model(manifest, arrays, vocabularies)
    except (KeyError, TypeError, ValueError, AttributeError, OSError, SettingProblem) as error:
        raise DamagedModel(f"{path} cannot be read as a model ({error}); train the model again.") from error


def read_ids(file: Path) -> pl.Series:
    """Return the ids in a file of a model's folder, ``String`` or integers."""
    return pl.read_ipc(file).get_column("id")


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
        "product_values": model.product_values,
        **arrays_of(_beside(model)),
    }
    if model.past is not None:
        arrays["past_offsets"] = model.past.offsets
        arrays["past_products"] = model.past.products
        arrays["past_times"] = model.past.times
        arrays["past_kinds"] = model.past.kinds
        arrays["past_strengths"] = model.past.strengths
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


def _beside(model: TasteModel) -> Parts:
    return Parts(model.tokens, model.order, model.kinds, model.live)


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
        **({"read": dict(record.read)} if record.read else {}),
        **({} if model.past is None else {"past": {"kinds": list(model.past.names)}}),
        **({"beside": facts} if (facts := facts_of(_beside(model))) else {}),
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


def _arrays(path: Path, manifest: dict[str, Any], verify: bool) -> dict[str, AnyArray]:
    """Return the arrays of a folder by name, each as `PARTS` declares it."""
    users, products = manifest["counts"]["users"], manifest["counts"]["products"]
    sizes = {"U": users, "P": products, "U+1": users + 1, "P+1": products + 1}
    arrays: dict[str, AnyArray] = {}
    for part in expected_files(manifest["files"], path):
        name = f"{part.name}.npy"
        facts = manifest["files"][name]
        with open_regular(path / name) as file:
            _check_size(file, path / name, facts)
            try:
                arrays[part.name] = map_part(file, part, sizes, path)
            except DamagedModel:
                if verify:  # of two faults, that the file is another one explains more
                    _check_sum(path / name, _digest_of(file), facts)
                raise
            if verify:
                found, problem = check_values(file, part, arrays, sizes)
                _check_sum(path / name, found, facts)
                if problem is not None:
                    raise problem
    return arrays


VocabularyReader: TypeAlias = Callable[[Path, dict[str, Any], Noun, bool], Vocabulary]
"""Reads the vocabulary of one noun in a folder with this manifest, and verifies its file if it shall"""


def vocabulary_in(
    path: Path,
    manifest: dict[str, Any],
    noun: Noun,
    verify: bool,
    read: Callable[[Path], pl.Series] = read_ids,
) -> Vocabulary:
    """Return the ids of a folder: as many as the manifest counts, text or whole numbers, none of them twice or missing.

    ``read`` gives the ids in a file as `read_ids` does.
    """
    file, facts = path / f"{noun}s.arrow", manifest["ids"][noun]
    check_file(file, manifest["files"][file.name], verify)
    try:
        ids = read(file)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DamagedModel(f"{file} holds no ids; train the model again.") from error
    count = manifest["counts"][f"{noun}s"]
    if len(ids) != count or not (ids.dtype == pl.String or ids.dtype.is_integer()):
        raise DamagedModel(
            f"{file} holds {len(ids):,} ids of type {ids.dtype}; this model needs {count:,} texts or whole numbers. "
            "Train the model again."
        )
    if not _may_have_come_as(ids, facts["form"]):
        raise DamagedModel(f"{file} holds no ids that came as {facts['form']}; train the model again.")
    if verify and _has_gap_or_repeat(ids, facts["sorted"]):
        raise DamagedModel(
            f"{file} holds an id that is missing, stands twice or is out of order; train the model again."
        )
    return Vocabulary(ids, noun, facts["form"], facts["sorted"])


def _may_have_come_as(ids: pl.Series, form: IdForm) -> bool:
    if form == "plain":
        return True
    if ids.dtype != pl.String:
        return False
    return form != "uuid bytes" or bool(
        ids.str.contains("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$").fill_null(False).all()
    )


def _has_gap_or_repeat(ids: pl.Series, is_sorted: bool) -> bool:
    if ids.null_count():
        return True
    if is_sorted:
        return not bool((ids.slice(1) > ids.head(max(len(ids) - 1, 0))).all())
    return ids.n_unique() != len(ids)


def _model(
    manifest: dict[str, Any], arrays: dict[str, AnyArray], vocabularies: dict[Noun, Vocabulary]
) -> TasteModel:
    memory = None
    if "memory_offsets" in arrays:
        memory = Memory(*(arrays[f"memory_{name}"] for name in ("offsets", "products", "weights")))
    basket = manifest["basket"]
    beside = parts_of(manifest.get("beside") or {}, arrays, manifest["counts"]["products"])
    return TasteModel(
        users=vocabularies["user"],
        products=vocabularies["product"],
        histories=Histories(arrays["history_offsets"], arrays["history_products"]),
        product_vectors=arrays["product_vectors"],
        product_bias=arrays["product_bias"],
        user_vectors=arrays.get("user_vectors"),
        basket_vectors=arrays["product_vectors"] if basket["tied"] else arrays.get("basket_vectors"),
        memory=memory,
        record=TrainingRecord(
            config=Config.from_json(manifest["config"]) if manifest["config"] else None,
            seed=manifest["seed"],
            data_fingerprint=manifest["data_fingerprint"],
            purchases=manifest["counts"]["purchases"],
            epochs=tuple(Epoch(**epoch) for epoch in manifest["epochs"]),
            metrics=manifest["metrics"],
            interrupted=manifest["interrupted"],
            read=manifest.get("read") or {},
        ),
        damping=basket["damping"],
        memory_damping=basket["memory_damping"],
        history_times=arrays.get("history_times"),
        repeat_weight=basket.get("repeat_weight", 0.0),  # older folders have none
        repeat_bias=arrays.get("repeat_bias"),
        product_values=arrays.get("product_values"),
        past=_past(manifest, arrays),
        tokens=beside.tokens,
        order=beside.order,
        kinds=beside.kinds,
        live=beside.live,
    )


def _past(manifest: dict[str, Any], arrays: dict[str, AnyArray]) -> Past | None:
    """Return the dated past of a folder; older ones, and models of logs without times, have none."""
    if "past_offsets" not in arrays:
        return None
    kinds, names = arrays.get("past_kinds"), tuple(manifest["past"]["kinds"])
    if kinds is not None and len(kinds) and kinds.max() >= len(names):
        raise DamagedModel(
            f"past_kinds.npy holds the kind {kinds.max()}; there are {len(names)}. Train the model again."
        )
    events = (arrays["past_offsets"], arrays["past_products"], arrays["past_times"])
    return Past(*events, kinds, names, arrays.get("past_strengths"))


def check_file(path: Path, facts: dict[str, Any], verify: bool) -> None:
    """Raise `DamagedModel` where a file is not the one that its manifest describes."""
    with open_regular(path) as file:
        _check_size(file, path, facts)
        if verify:
            _check_sum(path, _digest_of(file), facts)


def _check_size(file: BufferedReader, path: Path, facts: dict[str, Any]) -> None:
    if os.fstat(file.fileno()).st_size != facts["bytes"]:
        raise _another(path)


def _check_sum(path: Path, found: str, facts: dict[str, Any]) -> None:
    if found != facts["sha256"]:
        raise _another(path)


def _another(path: Path) -> DamagedModel:
    return DamagedModel(
        f"{path} is not the file that was written (its SHA-256 differs from the manifest's); "
        "copy the folder again or train again."
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return _digest_of(file)


def _digest_of(file: BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path: Path, write: Callable[[Path], object]) -> dict[str, Any]:
    """Write a file; return its size and checksum for the manifest."""
    write(path)
    return {"bytes": path.stat().st_size, "sha256": _digest(path)}
