"""`narrowed`: candidates with narrow copies of their vectors beside them, where a measurement says that they pay."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from tastemaker.kernels.ranking.narrow import narrow_vectors
from tastemaker.kernels.ranking.whole_sums import GROUP, QUAD
from tastemaker.kernels.threads import ThreadPool
from tastemaker.ranking.top_k import Candidates, Narrow, top_k
from tastemaker.types import Floats

__all__ = ["narrow_copies", "narrowed"]

FEWEST = 2_048
"""Of fewer candidates all are scored in no time."""

TRIED = (1, 2, 4, 8)
"""How many queries at once are tried"""

ROUNDS, ENOUGH, LENGTH = 5, 0.05, 10
"""Rounds of a measurement, whose best counts; the seconds after which there are no more; and the length of its lists"""

FASTER = 0.9
"""The share of the time of scoring all that a first pass may take at most to be taken"""

BLOCK = 1 << 14
"""Vectors that a thread narrows at once"""


def narrow_copies(vectors: Floats, *, most: int, threads: int | None = None) -> Narrow:
    """Return narrow copies of ``vectors[C, D]``, to be read for up to ``most`` queries at once."""
    count, dimensions = vectors.shape
    rows = np.ascontiguousarray(vectors, np.float32)
    codes = np.zeros(-(-count // GROUP) * GROUP * -(-dimensions // QUAD) * QUAD, np.uint8)
    facts = np.zeros((3, count), np.float32)
    with ThreadPool(threads) as pool:
        blocks = -(-count // BLOCK)
        pool.run(
            lambda low, high: narrow_vectors(low * BLOCK, min(high * BLOCK, count), rows, codes, facts),
            blocks,
        )
    return Narrow(rows, codes, facts, most)


def narrowed(candidates: Candidates, vectors: Floats) -> Candidates:
    """Return the candidates, whose vectors are ``vectors[C, D]``, with narrow copies if lists come sooner by them here.

    Lists are the same to the byte either way. What is measured: lists of a few candidates as queries, on one thread.
    """
    if candidates.count < FEWEST or candidates.dimensions < QUAD:
        return candidates
    copies = narrow_copies(vectors, most=max(TRIED))
    queries = copies.vectors[np.linspace(0, candidates.count - 1, max(TRIED)).astype(np.int64)]
    with_copies, most = replace(candidates, narrow=copies), 0
    for count in TRIED:
        if _seconds(with_copies, queries[:count]) > FASTER * _seconds(candidates, queries[:count]):
            break
        most = count
    return replace(candidates, narrow=replace(copies, most=most)) if most else candidates


def _seconds(candidates: Candidates, queries: Floats) -> float:
    """Return the least time that the lists of some queries took, of two rounds at least."""
    found: list[float] = []
    while len(found) < 2 or (len(found) < ROUNDS and sum(found) < ENOUGH):
        start = time.perf_counter()
        top_k(queries, candidates, LENGTH, threads=1)
        found.append(time.perf_counter() - start)
    return min(found)
