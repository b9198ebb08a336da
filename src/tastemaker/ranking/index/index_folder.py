"""An approximate index beside a model's folder: built, measured against the exact ranking, written whole or not at all.

The index of ``models/recommender/3`` is ``models/recommender/3.index``: the model's own folder and checksums stay as they are.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.errors import DamagedModel, FolderExists, ModelFolderProblem, NewerFormat
from tastemaker.model.folder import (
    MANIFEST,
    SEAL,
    check_file,
    check_target,
    load,
    read_manifest,
    seal,
    write_file,
)
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.approximate import Approximate, faiss
from tastemaker.ranking.index.by_workers import IndexWorkers, Read
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.top_k import Candidates
from tastemaker.scale.executor import Executor, Tally
from tastemaker.scale.local import ThisProcess
from tastemaker.storage import writing_folder
from tastemaker.types import Rows

__all__ = [
    "INDEX",
    "build_index",
    "check_no_index",
    "index_folder",
    "load_index",
    "read_index_manifest",
]

FORMAT = 1

INDEX = ".index"
"""How the name of an index's folder ends, after that of its model's"""

FILE = "index.faiss"

LENGTHS = (10, 100)
"""Lengths of lists whose recall is measured"""

WANTED = 0.97
"""Recall, at every length, for which the index reads as many cells as it must"""

MOST_OVER = 64
"""At most this many times the wanted length are scored exactly"""

TUNED_ON = 300
"""Users on whom the amount to read is chosen"""

MEASURED_ON = 2000
"""Users whose recall is reported: other users where there are enough, fewer where the model has fewer"""


def index_folder(folder: str | Path) -> Path:
    """Return where the index of a model's folder stands.

    >>> index_folder("models/recommender/3").name
    '3.index'
    """
    path = Path(folder).absolute()
    return path.with_name(f"{path.name}{INDEX}")


def build_index(
    folder: str | Path,
    *,
    wanted: float = WANTED,
    seed: int = 0,
    executor: Executor | None = None,
    tally: Tally | None = None,
) -> dict[str, Any]:
    """Build an index over the products of a model's folder, choose how much of it is read, measure it; write it beside the folder.

    recall@k = the mean, over users drawn by ``seed``, of the share of the exact k best that the index's k best hold. Cells read
    and candidates scored are doubled, whichever gains more, until `TUNED_ON` users reach ``wanted``; recall is then measured on
    `MEASURED_ON` others, where the model has as many users.

    The workers of ``executor``, by default the threads of this process, make parts of the index and rank; who does what changes no
    byte of it. ``tally`` counts who did. The index appears by one rename. Returns what its manifest says: library, parameters,
    recall, speed. Raises `SettingProblem` without the extra ``index``, `FolderExists`, `WorkersLost`, and `ModelFolderProblem`
    when the disk refuses.
    """
    faiss()
    model, manifest = load(folder), read_manifest(folder)
    target = check_no_index(folder)
    tally = Tally() if tally is None else tally
    try:
        with writing_folder(target) as temporary, (executor or ThisProcess()).session() as kept:
            workers = IndexWorkers(Path(folder).absolute(), kept, tally)
            facts, file = _built(model, workers, temporary, wanted, seed)
            facts = {
                "format": FORMAT,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "model": {key: manifest[key] for key in ("name", "version", SEAL)},
                **facts,
                "files": {FILE: file},
            }
            text = json.dumps(facts | {SEAL: seal(facts)}, indent=2, allow_nan=False).encode()
            (temporary / MANIFEST).write_bytes(text)
    except FileExistsError:
        check_no_index(folder)
        raise
    except (OSError, RuntimeError) as error:  # the library raises RuntimeError on a full disk
        raise ModelFolderProblem(f"cannot write the index {target}: {error}.") from error
    return facts


def _built(
    model: TasteModel, workers: IndexWorkers, folder: Path, wanted: float, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build and measure an index whose file stands in ``folder``; return what was measured, and size and checksum of the file."""
    began = time.perf_counter()
    index = workers.make(model, folder, seed)
    file = write_file(folder / FILE, lambda path: faiss().write_index(index, str(path)))
    built, cells = time.perf_counter() - began, int(index.nlist)
    order = _buyers(model, seed)
    tuned, measured = order[:TUNED_ON], order[TUNED_ON:][:MEASURED_ON]
    if len(measured) < MEASURED_ON:
        measured = order[-MEASURED_ON:]
    read = _tuned(workers, tuned, Read(str(folder / FILE)), cells, wanted)
    best, exact_seconds = _ranked(workers, measured, None)
    found, seconds = _ranked(workers, measured, read)
    recalls = dict(zip(map(str, LENGTHS), _recalls(best, found), strict=True))
    facts = {
        "library": {"name": "faiss-cpu", "version": str(faiss().__version__)},
        "parameters": {
            "cells": cells, "probes": read.probes, "over": read.over, "wanted": wanted, "seed": seed,
        },
        "products": len(model.products),
        "dimensions": int(model.product_vectors.shape[1]),
        "recall": {**recalls, "users": len(measured), "tuned_on": len(tuned), "seed": seed},
        "seconds": {"build": built, "users": len(measured), "exact": exact_seconds, "approximate": seconds},
    }  # fmt: skip
    return facts, file


def _tuned(workers: IndexWorkers, users: Rows, read: Read, cells: int, wanted: float) -> Read:
    """Return how much of the index some users need for the wanted recall, or all."""
    best = _ranked(workers, users, None)[0]

    def reached(read: Read) -> float:
        return min(_recalls(best, _ranked(workers, users, read)[0]))

    recall = reached(read)
    while recall < wanted and (read.probes < cells or read.over < MOST_OVER):
        ahead = []
        if read.probes < cells:
            ahead.append(read._replace(probes=min(2 * read.probes, cells)))
        if read.over < MOST_OVER:
            ahead.append(read._replace(over=2 * read.over))
        recall, read = max(((reached(more), more) for more in ahead), key=lambda step: step[0])
    return read


def _buyers(model: TasteModel, seed: int) -> Rows:
    """Return the users who bought something, in an order drawn by the seed."""
    buyers = np.flatnonzero(np.diff(model.histories.offsets)).astype(np.int32)
    return np.random.default_rng(seed).permutation(buyers)


def _ranked(workers: IndexWorkers, users: Rows, read: Read | None) -> tuple[list[RankedLists], float]:
    """Return the lists of some users for each of `LENGTHS`, and the seconds of the first."""
    lists, seconds = zip(*(workers.rank(users, k, read) for k in LENGTHS), strict=True)
    return list(lists), seconds[0]


def _recalls(best: list[RankedLists], found: list[RankedLists]) -> list[float]:
    return [_recall(exact, other) for exact, other in zip(best, found, strict=True)]


def _recall(best: RankedLists, found: RankedLists) -> float:
    shares = [
        np.isin(rows, others, assume_unique=True).mean()
        for (rows, _), (others, _) in zip(best, found, strict=True)
        if len(rows)
    ]
    return float(np.mean(shares)) if shares else 1.0


def check_no_index(folder: str | Path) -> Path:
    """Return where the index of a model's folder would stand; raise `FolderExists` or `ModelFolderProblem`."""
    target = index_folder(folder)
    if target.exists():
        raise FolderExists(f"{target} exists already; remove it to build the index of {folder} again.")
    return check_target(target)


def read_index_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of the index of a model's folder; raise a `ModelFolderProblem` where it is not one of this model."""
    own, path = read_manifest(folder), index_folder(folder)
    if not path.is_dir():
        raise ModelFolderProblem(f"{folder} has no index; build it with `tastemaker index {folder}`.")
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        number, model = int(manifest["format"]), manifest["model"][SEAL]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DamagedModel(
            f"{path / MANIFEST} is not an index's manifest ({error}); remove the folder and build it again."
        ) from error
    if number > FORMAT:
        raise NewerFormat(
            f"{path} has format {number}, and this tastemaker reads up to {FORMAT}; upgrade it."
        )
    if manifest.get(SEAL) != seal(manifest):
        raise DamagedModel(
            f"{path / MANIFEST} is not the manifest that was written; remove the folder and build it again."
        )
    if model != own[SEAL]:
        raise ModelFolderProblem(
            f"{path} is the index of another model than {folder}; remove it and run `tastemaker index {folder}`."
        )
    return dict(manifest)


def load_index(
    folder: str | Path, model: TasteModel, *, exact: Candidates | None = None, verify: bool = True
) -> Approximate:
    """Return the candidates of a model with the index beside its folder, read into memory.

    ``exact`` (of `product_candidates`) saves packing. Raises `DamagedModel`, `NewerFormat`, `ModelFolderProblem`, and
    `SettingProblem` without the extra ``index``.
    """
    manifest, path, library = read_index_manifest(folder), index_folder(folder), faiss()
    try:
        check_file(path / FILE, manifest["files"][FILE], verify)
        index = library.read_index(str(path / FILE))
        parameters = manifest["parameters"]
        probes, over = int(parameters["probes"]), int(parameters["over"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DamagedModel(
            f"{path} cannot be read as an index ({error}); remove the folder and build it again."
        ) from error
    if index.ntotal != len(model.products):
        raise ModelFolderProblem(
            f"{path} is the index of another model than {folder}; remove it and build it."
        )
    vectors = np.asarray(model.product_vectors)
    return Approximate(exact or product_candidates(model), vectors, index, probes, over)
