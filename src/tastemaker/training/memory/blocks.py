"""`by_blocks`: tables of a few products for each product, a block of products at a time, by threads or by workers elsewhere.

What is found of a product depends on the arrays alone, so that who does a block changes no byte.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from tastemaker.data.ragged import offsets_of
from tastemaker.kernels.counting.memory import partners_of, solve_neighbours
from tastemaker.kernels.counting.spectral import weigh_partners
from tastemaker.kernels.threads import ThreadPool
from tastemaker.storage import writing
from tastemaker.training.sharded.crew import Crew
from tastemaker.training.sharded.work_folder import mapped
from tastemaker.types import AnyArray, Floats, Offsets, Rows

__all__ = ["PRODUCTS_AT_ONCE", "by_blocks", "growing"]

PRODUCTS_AT_ONCE = 1 << 12

LARGE = 512 << 20
"""Bytes of a table above which its blocks go to files: such a table is one of 65,000 products with 1,000 partners each."""

Work: TypeAlias = Literal["common", "neighbours", "weights"]
"""What is done for each product"""

KERNELS: dict[Work, Callable[..., Any]] = {
    "common": partners_of,
    "neighbours": solve_neighbours,
    "weights": weigh_partners,
}
"""Each is called with the first product, the one after the last, its arguments, and where rows, values and counts go."""

Plain: TypeAlias = float | np.float32
Found: TypeAlias = tuple[Offsets, Rows, Floats]
"""The number of each product of a block, ``int64[n]``, and the rows and values of all, one after the other"""


class Kept(NamedTuple):
    """An array that lies in the folder of the work."""

    file: str


class Block(NamedTuple):
    """One task: paths and numbers."""

    folder: str
    file: str
    """Where what is found goes"""
    work: Work
    arguments: tuple[Kept | Plain, ...]
    low: int
    high: int
    most: int
    threads: int | None


def by_blocks(
    work: Work, arguments: tuple[AnyArray | Plain, ...], products: int, most: int, pool: ThreadPool
) -> tuple[Offsets, Rows, Floats]:
    """Run a kernel over blocks of products; return offsets, rows and values of what it found of each, at most ``most``.

    Of a large table, what blocks found goes to temporary files and is mapped from there: the table never stands in memory twice,
    and the system may drop its pages. The workers of a `Crew` do blocks where there are several.
    """
    entries = products * most
    counts = [np.zeros(0, np.int64)]
    rows, values = growing(np.int32, entries), growing(np.float32, entries)
    borders = [*range(0, products, PRODUCTS_AT_ONCE), products]
    if isinstance(pool, Crew) and len(borders) > 2:
        blocks = _elsewhere(work, arguments, borders, most, pool)
    else:
        blocks = (_found(work, arguments, low, high, most, pool) for low, high in pairwise(borders))
    for count, found, value in blocks:
        rows.add(found)
        values.add(value)
        counts.append(count)
    return offsets_of(np.concatenate(counts)), rows.whole(), values.whole()


def _found(
    work: Work, arguments: tuple[AnyArray | Plain, ...], low: int, high: int, most: int, pool: ThreadPool
) -> Found:
    """Run a kernel over a block; each output row has room for the longest result, and the gaps are closed afterwards."""
    size = high - low
    found, value = np.empty((size, most), np.int32), np.empty((size, most), np.float32)
    count = np.zeros(size, np.int64)

    def some(first: int, last: int) -> None:
        KERNELS[work](
            low + first, low + last, *arguments, found[first:last], value[first:last], count[first:last]
        )

    pool.run(some, size)
    kept = np.arange(most) < count[:, None]
    return count, found[kept], value[kept]


def _elsewhere(
    work: Work, arguments: tuple[AnyArray | Plain, ...], borders: list[int], most: int, crew: Crew
) -> Iterator[Found]:
    """Yield what workers found of each block; blocks that a training has done that ended early are taken from its folder.

    Arrays that are written for these blocks are removed after the last one: a table of a million products has gigabytes.
    """
    folder, path = crew.folder, crew.folder.path
    before = {file.name for file in path.glob("*.npy")}
    kept = tuple(Kept(folder.keep(one)) if isinstance(one, np.ndarray) else one for one in arguments)
    name = hashlib.sha256(repr((work, kept, most)).encode()).hexdigest()[:32]
    tasks = [
        Block(str(path), f"block-{name}-{low}-{high}.npz", work, kept, low, high, most, crew.executor.threads)
        for low, high in pairwise(borders)
    ]
    crew.executor.run(
        find_block, [task for task in tasks if not (path / task.file).exists()], on_done=crew.tally
    )
    for task in tasks:
        with np.load(path / task.file, allow_pickle=False) as found:
            yield found["counts"], found["rows"], found["values"]
        (path / task.file).unlink()
    for one in kept:
        if isinstance(one, Kept) and one.file not in before:
            (path / one.file).unlink(missing_ok=True)


def find_block(task: Block) -> None:
    """Do one block and write what was found, whole or not at all."""
    folder = Path(task.folder)
    arguments = tuple(mapped(folder / one.file) if isinstance(one, Kept) else one for one in task.arguments)
    with ThreadPool(task.threads) as pool:
        counts, rows, values = _found(task.work, arguments, task.low, task.high, task.most, pool)
    with writing(folder / task.file) as temporary, temporary.open("wb") as file:
        np.savez(file, counts=counts, rows=rows, values=values)


def growing(dtype: type[np.generic], entries: int) -> Gathered | Spooled:
    """Return an empty array for at most so many entries of a table: in memory, or in a file where the table is large."""
    return Spooled(dtype) if entries * 8 > LARGE else Gathered(dtype)


class Gathered:
    """An array that grows by parts, in memory."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._parts: list[AnyArray] = [np.zeros(0, dtype)]

    def add(self, part: AnyArray) -> None:
        """Append a part."""
        self._parts.append(part)

    def whole(self) -> AnyArray:
        """Return all parts, one after the other."""
        return np.concatenate(self._parts)


class Spooled:
    """An array that grows by parts in a temporary file, which has no name and ends with the array."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._dtype = dtype
        self._file = tempfile.TemporaryFile(prefix="tastemaker-")  # noqa: SIM115  (it lasts as long as the array)
        self._length = 0

    def add(self, part: AnyArray) -> None:
        """Append a part."""
        np.ascontiguousarray(part, self._dtype).tofile(self._file)
        self._length += len(part)

    def whole(self) -> AnyArray:
        """Return all parts, one after the other, mapped."""
        with self._file as file:  # which the map outlasts
            file.flush()
            if not self._length:
                return np.zeros(0, self._dtype)
            return np.asarray(np.memmap(file, self._dtype, mode="c", shape=(self._length,)))
