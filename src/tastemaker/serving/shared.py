"""Packed candidates in a file that all workers of a server map, so that they exist once in memory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tastemaker.ranking.top_k import Candidates

__all__ = ["shared"]


def shared(pack: Callable[[], Candidates], scratch: Path | None, key: str) -> Candidates:
    """Return what ``pack`` makes; with a scratch folder the first process makes it, and all map the same file.

    The arrays are mapped privately (copy on write): never written, they are one copy in memory, and to the compiled kernels
    they are of the same type as arrays of one's own.
    """
    if scratch is None:
        return pack()
    path = scratch / f"{key}.npz.d"
    with (scratch / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_dir():
            _write(pack(), path)
    panels, bias = (np.load(path / f"{name}.npy", mmap_mode="c") for name in ("panels", "bias"))
    count, dimensions = np.load(path / "shape.npy").tolist()
    return Candidates(np.asarray(panels), np.asarray(bias), count, dimensions)


def _write(packed: Candidates, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    temporary.mkdir()
    np.save(temporary / "panels.npy", packed.panels)
    np.save(temporary / "bias.npy", packed.bias)
    np.save(temporary / "shape.npy", np.array([packed.count, packed.dimensions]))
    temporary.rename(path)
