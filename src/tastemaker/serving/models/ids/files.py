"""`ReadFile`: a file of numbers that is read at any place, and not mapped.

Of a mapped file the system counts the 16 pages around each byte that was ever looked at, and looks-up all over a large file add up
to all of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.types import AnyArray

__all__ = ["ReadFile"]


class ReadFile:
    """A file that several threads may read at once; it stays readable when it is removed."""

    def __init__(self, path: Path, start: int = 0) -> None:
        """``start`` is where its numbers begin."""
        self._descriptor, self._start = os.open(path, os.O_RDONLY | os.O_CLOEXEC), start

    def read(self, place: int, length: int) -> bytes:
        """Return some of its bytes."""
        return os.pread(self._descriptor, length, self._start + place)

    def array(self, dtype: np.dtype[Any], low: int, count: int) -> AnyArray:
        """Return ``count`` of its numbers from the place ``low`` on."""
        found = bytearray(count * dtype.itemsize)
        os.preadv(self._descriptor, [found], self._start + low * dtype.itemsize)
        return np.frombuffer(
            found, dtype
        )  # writable: Numba would compile its kernels anew for arrays that are not

    def __del__(self) -> None:
        os.close(self._descriptor)
