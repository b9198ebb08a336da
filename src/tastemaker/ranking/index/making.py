"""`make_index`: the library's index over very many vectors, part by part in bounded memory.

Cells and codes are learned from a sample of the vectors, by one thread; then each block of vectors is a part of its own, whoever
makes it, and parts are put together in the order of the vectors. So the index has the same bytes at any number of threads, and on
workers anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tastemaker.kernels.threads import ThreadPool
from tastemaker.ranking.index.approximate import faiss, points_of
from tastemaker.types import AnyArray, Floats

__all__ = ["Points", "learn_cells", "make_index", "make_part", "put_together"]

PACKED = 10_000
"""From this many candidates on, the index keeps four bits for every two dimensions; fewer are kept as they are"""

CELL = 40
"""Fewest candidates of a cell on average: below that the library warns, and learns little"""

SAMPLED = 64
"""Candidates for each cell by which cells and codes are learned"""

AT_ONCE = 1 << 13
"""Candidates that a thread adds at once; it depends on nothing else, so that parts are the same everywhere"""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Candidates as the library is told of them: (vector, bias, √(M² - |vector|² - bias²))."""

    vectors: Floats
    """``float32[C, D]``"""
    bias: Floats
    """``float32[C]``"""
    greatest: float
    """M², the greatest of |vector|² + bias²"""

    @staticmethod
    def of(vectors: Floats, bias: Floats) -> Points:
        """Return the points of ``vectors[C, D]`` with ``bias[C]``."""
        lows = range(0, len(vectors), AT_ONCE)
        blocks = (points_of(vectors[low : low + AT_ONCE], bias[low : low + AT_ONCE]) for low in lows)
        return Points(vectors, bias, max((float(_squares(points).max()) for points in blocks), default=0.0))

    def at(self, rows: slice | AnyArray) -> Floats:
        """Return some of the points, ``float32[n, D + 2]``, and one more 0 where D is odd."""
        points = points_of(self.vectors[rows], self.bias[rows])
        points[:, self.vectors.shape[1] + 1] = np.sqrt(np.maximum(self.greatest - _squares(points), 0))
        return points


def _squares(points: Floats) -> AnyArray:
    squares: AnyArray = np.einsum("cd,cd->c", points, points, dtype=np.float64)
    return squares


def make_index(vectors: Floats, bias: Floats, *, seed: int = 0, threads: int | None = None) -> Any:
    """Return the library's index over ``vectors[C, D]`` with ``bias[C]``: cells around means, which hold short codes."""
    points = Points.of(vectors, bias)
    learned = learn_cells(points, seed)
    return put_together(learned, [make_part(points, learned, 0, len(vectors), threads)])


def learn_cells(points: Points, seed: int) -> AnyArray:
    """Return an index without candidates, as bytes: the cells, and what the codes stand for."""
    library, count = faiss(), len(points.vectors)
    cells = max(1, min(round(2 * count**0.5), count // CELL))
    sample = points.at(np.random.default_rng(seed).permutation(count)[: max(SAMPLED * cells, 1)])
    codes = f"PQ{sample.shape[1] // 2}x4" if count >= PACKED else "Flat"
    index = library.index_factory(sample.shape[1], f"IVF{cells},{codes}", library.METRIC_L2)
    if count >= PACKED:
        index.by_residual = False  # one table of distances for all cells of a query
    index.cp.seed, index.cp.niter = seed, 8
    library.omp_set_num_threads(1)  # sums over the sample have one order
    index.train(sample)
    learned: AnyArray = library.serialize_index(index)
    return learned


def make_part(points: Points, learned: AnyArray, low: int, high: int, threads: int | None) -> AnyArray:
    """Return an index of the candidates from ``low`` to ``high``, as bytes."""
    library = faiss()
    borders = [*range(low, high, AT_ONCE), high]
    found: list[Any] = [None] * (len(borders) - 1)

    def add(first: int, last: int) -> None:
        library.omp_set_num_threads(1)  # of this thread: others add at the same time
        for number in range(first, last):
            rows = slice(borders[number], borders[number + 1])
            index = library.deserialize_index(learned)
            index.add_with_ids(points.at(rows), np.arange(rows.start, rows.stop))
            found[number] = index

    with ThreadPool(threads) as pool:
        pool.run(add, len(found))
    part: AnyArray = library.serialize_index(_merged(library.deserialize_index(learned), found))
    return part


def put_together(learned: AnyArray, parts: Iterable[AnyArray]) -> Any:
    """Return the index of all parts, whose candidates follow each other."""
    library = faiss()
    index = _merged(library.deserialize_index(learned), map(library.deserialize_index, parts))
    if hasattr(index, "pq"):  # codes in blocks that explicit vectors read
        index = library.deserialize_index(library.serialize_index(library.IndexIVFPQFastScan(index)))
    return index


def _merged(index: Any, parts: Iterable[Any]) -> Any:
    for part in parts:
        index.merge_from(part, 0)
    return index
