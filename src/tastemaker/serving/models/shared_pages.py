"""Packed candidates and ids in files that all workers of a server map, so that they exist once in memory."""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import DamagedModel
from tastemaker.model.folder import read_ids, vocabulary_in
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.narrowed import narrowed
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.top_k import Candidates, Narrow, Order
from tastemaker.serving.models.ids.id_files import IdFiles, VocabularyInFiles, write_ids
from tastemaker.storage import writing_folder
from tastemaker.types import AnyArray, Floats

__all__ = [
    "forget",
    "made_for",
    "shared",
    "shared_ids",
    "shared_products",
    "shared_vocabulary",
    "version_key",
]

log = logging.getLogger("tastemaker.shared")

FEWEST_IDS = 100_000
"""Fewer ids are kept by each process."""

IDS_AT_ONCE = 1 << 18


def shared(
    pack: Callable[[], Candidates], scratch: Path | None, key: str, *, vectors: Floats | None = None
) -> Candidates:
    """Return what ``pack`` makes; with a scratch folder the first process makes it, and all map the same file.

    Narrow copies are kept, too; their ``vectors``, ``float32[C, D]``, are given, for every process has them already.
    The arrays are mapped privately (copy on write): never written, they are one copy in memory, and to the compiled kernels
    they are of the same type as arrays of one's own.
    """
    if scratch is None:
        return pack()
    try:
        return _mapped(pack, scratch, key, vectors)
    except OSError as error:  # such as a full disk: memory of one's own will do
        log.warning("cannot share packed products in %s: %s", scratch, error)
        return pack()


def shared_products(model: TasteModel, scratch: Path | None, key: str) -> Candidates:
    """Return a model's products, packed, with narrow copies where those pay, as `shared` does."""
    vectors = np.asarray(model.product_vectors)
    return shared(
        lambda: narrowed(product_candidates(model), vectors, model=model), scratch, key, vectors=vectors
    )


def shared_vocabulary(
    folder: Path, manifest: dict[str, Any], noun: Noun, verify: bool, *, scratch: Path | None, key: str
) -> Vocabulary:
    """Return what `vocabulary_in` does; of many users each process looks up a few ids in files that the first has written."""
    read = partial(shared_ids, scratch=scratch, key=key)
    if scratch is None or noun != "user" or manifest["counts"]["users"] < FEWEST_IDS:
        return vocabulary_in(folder, manifest, noun, verify, read)
    if verify:
        vocabulary_in(folder, manifest, noun, verify)
    file, facts, path = folder / "users.arrow", manifest["ids"]["user"], scratch / f"{key}.users"
    try:
        with _alone(scratch, key):
            if not path.is_dir():
                write_ids(file, path, is_sorted=facts["sorted"])
        return VocabularyInFiles(file, IdFiles(path), noun, facts["form"], facts["sorted"])
    except OSError as error:
        log.warning("cannot share ids in %s: %s", scratch, error)
        return vocabulary_in(folder, manifest, noun, verify)


def shared_ids(file: Path, *, scratch: Path | None, key: str) -> pl.Series:
    """Return the ids in a file of a model's folder; many whole numbers lie in a file that all processes map.

    Text is kept by each process, since Polars copies it from whatever it is mapped from.
    """
    if scratch is None or pl.read_ipc_schema(file)["id"] == pl.String:
        return read_ids(file)
    count = pl.scan_ipc(file).select(pl.len()).collect().item()
    if count < FEWEST_IDS:
        return read_ids(file)
    path = scratch / f"{key}.{file.stem}"
    try:
        with _alone(scratch, key):
            if not path.is_dir():
                _write_ids(file, count, path)
        return pl.Series("id", _array(path, "ids"))
    except OSError as error:
        log.warning("cannot share ids in %s: %s", scratch, error)
        return read_ids(file)


def made_for(scratch: Path, key: str) -> list[Path]:
    """Return the folders of what is shared of a version."""
    return [path for path in scratch.glob(f"{key}.*") if path.is_dir()]


def forget(scratch: Path, key: str) -> None:
    """Remove what was kept under a key; a process that has mapped it keeps it."""
    for path in scratch.iterdir():
        if path.name.lstrip(".").startswith(key):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _mapped(pack: Callable[[], Candidates], scratch: Path, key: str, vectors: Floats | None) -> Candidates:
    path = scratch / f"{key}.packed"
    with _alone(scratch, key):
        if not path.is_dir():
            _write(pack(), path)
    count, dimensions, most, longest = np.load(path / "shape.npy").tolist()
    panels, bias = (_array(path, name) for name in ("panels", "bias"))
    narrow = None
    if most and vectors is not None:
        rows = np.ascontiguousarray(vectors)
        axes, codes, facts = (_array(path, name) for name in ("axes", "codes", "facts"))
        order = None
        if (path / "lengths.npy").is_file():
            order = Order(*(_array(path, name) for name in ("order", "places", "lengths")))
        narrow = Narrow(rows, axes, codes, facts, most, longest, order)
    return Candidates(panels, bias, count, dimensions, narrow)


def _write_ids(file: Path, count: int, path: Path) -> None:
    """Write whole numbers as an array, some at a time: what Polars once held it gives back late."""
    table, dtype = pl.scan_ipc(file), pl.read_ipc_schema(file)["id"]
    none = pl.Series("id", [], dtype=dtype).to_numpy()
    with writing_folder(path, durable=False) as temporary:
        ids = np.lib.format.open_memmap(temporary / "ids.npy", "w+", none.dtype, (count,))
        for low in range(0, count, IDS_AT_ONCE):
            part = table.slice(low, IDS_AT_ONCE).collect().get_column("id")
            if part.null_count():
                raise DamagedModel(f"{file} holds an id that is missing; train the model again.")
            ids[low : low + IDS_AT_ONCE] = part.to_numpy()


def version_key(manifest: dict[str, Any]) -> str:
    """Return what names the content of a version, and begins the name of every file that is kept for it."""
    return str(manifest["sha256"])[:32]


@contextmanager
def _alone(scratch: Path, key: str) -> Iterator[None]:
    """Keep out other processes that make the same files."""
    with (scratch / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _array(path: Path, name: str) -> AnyArray:
    return np.asarray(np.load(path / f"{name}.npy", mmap_mode="c"))


def _write(packed: Candidates, path: Path) -> None:
    with writing_folder(path, durable=False) as temporary:
        np.save(temporary / "panels.npy", packed.panels)
        np.save(temporary / "bias.npy", packed.bias)
        most = longest = 0
        if packed.narrow is not None:
            most, longest = packed.narrow.most, packed.narrow.longest
            np.save(temporary / "axes.npy", packed.narrow.axes)
            np.save(temporary / "codes.npy", packed.narrow.codes)
            np.save(temporary / "facts.npy", packed.narrow.facts)
            if (order := packed.narrow.order) is not None:
                np.save(temporary / "order.npy", order.rows)
                np.save(temporary / "places.npy", order.places)
                np.save(temporary / "lengths.npy", order.lengths)
        np.save(temporary / "shape.npy", np.array([packed.count, packed.dimensions, most, longest]))
