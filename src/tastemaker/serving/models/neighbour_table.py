"""The nearest products of every product, computed once in the background; afterwards an answer is a look-up in a table.

The table holds what `nearest` gives, to the bit, so that an answer from it is the same as one computed. It is a file of the
server's scratch folder that all workers map; the first that gets its lock has it made.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tastemaker.ranking.rank import nearest
from tastemaker.ranking.top_k import Candidates
from tastemaker.serving.models.shared_pages import shared
from tastemaker.storage import writing
from tastemaker.types import Floats, Rows

__all__ = [
    "LONGEST",
    "MOST_WORK",
    "EndedOnPurpose",
    "NeighbourTable",
    "make_table",
    "make_table_aside",
    "read_table",
]

log = logging.getLogger("tastemaker.neighbours")

LONGEST = 100
"""Lists up to this length come from the table; the notebook's have 100."""
MOST_WORK = 10**12
"""Most multiplications for a table, some tens of seconds of one processor: about 88,000 products of 128 dimensions"""
BLOCK = 1024
ON_PURPOSE = (signal.SIGTERM, signal.SIGINT)
"""The signals that a service manager or a terminal sends to every process of a server to stop it"""


class EndedOnPurpose(Exception):
    """Somebody ended the process that works out neighbours, most likely together with the server."""


class NeighbourTable:
    """The 101 nearest products of each, itself among them where it belongs."""

    def __init__(self, rows: Rows, scores: Floats) -> None:
        self._rows, self._scores = rows, scores

    def of(self, product: int, k: int, *, include_self: bool) -> tuple[Rows, Floats] | None:
        """Return what `nearest` would, ``None`` where the table is too narrow to know."""
        rows, scores = self._rows[product], self._scores[product]
        if k > LONGEST and len(rows) < len(self._rows):
            return None
        if not include_self:
            others = rows != product
            rows, scores = rows[others], scores[others]
        return rows[:k], scores[:k]


def read_table(scratch: Path, key: str) -> NeighbourTable | None:
    """Return the table of a version, ``None`` while there is none."""
    path = _file(scratch, key)
    if not path.exists():
        return None
    table = np.asarray(np.load(path, mmap_mode="r"))
    return NeighbourTable(table[0], table[1].view(np.float32))


def make_table(space: tuple[Floats, Candidates], scratch: Path, key: str) -> None:
    """Write the table of a version; it appears whole."""
    path = _file(scratch, key)
    count = space[1].count
    width = min(LONGEST + 1, count)
    with writing(path, durable=False) as temporary:
        table = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.int32, shape=(2, count, width))
        for low in range(0, count, BLOCK):
            rows = np.arange(low, min(low + BLOCK, count), dtype=np.int32)
            lists = nearest(space, rows, k=width, include_self=True, threads=1)
            table[0, rows] = lists.rows.reshape(-1, width)
            table[1, rows] = lists.scores.view(np.int32).reshape(-1, width)
        table.flush()


def make_table_aside(folder: Path, scratch: Path, key: str, stop: Callable[[float], bool]) -> None:
    """Let a low-priority process make the table, unless another process of the server already does.

    A thread would hold Python's lock now and then and, on a busy machine, delay all requests. ``stop`` waits the
    given seconds and says whether to give up. Raises `EndedOnPurpose`, and `RuntimeError` where the process failed.
    """
    with _lock(scratch / f"{key}.neighbours.lock") as mine:
        if not mine or _file(scratch, key).exists():
            return
        command = [sys.executable, "-m", __name__, str(folder), str(scratch), key]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        while process.poll() is None:
            if stop(0.05):
                process.terminate()
                process.wait()
                return
        if -process.returncode in ON_PURPOSE:
            raise EndedOnPurpose
        if process.returncode:
            raise RuntimeError(f"the process that works out neighbours ended with {process.returncode}")
    log.info("the neighbours of all products are worked out", extra={"facts": {"version": key}})


def _file(scratch: Path, key: str) -> Path:
    return scratch / f"{key}.neighbours.npy"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _main(folder: str, scratch: str, key: str) -> None:
    from tastemaker.model.folder import load

    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends this
    vectors = np.asarray(load(folder, verify=False).product_vectors)
    packed = shared(lambda: Candidates.of(vectors), Path(scratch), key)
    bias = np.zeros(packed.count, np.float32)
    make_table((vectors, replace(packed, bias=bias)), Path(scratch), key)


if __name__ == "__main__":
    _main(*sys.argv[1:])
