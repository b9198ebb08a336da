"""`narrowed`: candidates with narrow copies of their vectors beside them, where a measurement says that they pay."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import takewhile

import numpy as np

from tastemaker.kernels.ranking.beating import lengths_of
from tastemaker.kernels.ranking.narrow import narrow_vectors
from tastemaker.kernels.ranking.whole_sums import GROUP, QUAD
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.packed import PackedModel, pack, product_candidates
from tastemaker.ranking.top_k import Candidates, Narrow, Order, top_k
from tastemaker.types import Doubles, Floats, Rows

__all__ = ["main_axes", "narrow_copies", "narrowed", "narrowed_products", "packed_for"]

FEWEST = 2_048
"""Of fewer candidates all are scored in no time."""

TRIED = 16
"""Queries that are tried at once, beside one alone"""

LENGTHS = (10, 30, 100)
"""Lengths of lists that are tried: the longer they are, the more is scored twice"""

ROUNDS, ENOUGH = 3, 0.005
"""Rounds of a measurement, whose best counts; the seconds after which there are no more"""

FASTER = 0.9
"""The share of the time of scoring all that a first pass may take at most to be taken"""

HELD = 0.9
"""The share of the vectors' squares that the axes of a first pass hold: outside them, bounds are as wide as both norms allow"""

SAMPLED = 1 << 12
"""About how many vectors the axes are found by"""

LONGER = 3.0
"""How many times as long as vectors are, in the mean, the queries are that an order is made for; those of baskets are longer"""

MANY = 1 << 16
"""Candidates from which copies stand in an order: fewer are looked at sooner than a score to beat is found"""

MUCH = 1 << 28
"""Scores, users times products, from which making narrow copies and trying them takes little beside the lists"""

BLOCK = 1 << 14
"""Vectors that a thread narrows at once"""


def narrow_copies(
    vectors: Floats, *, axes: Doubles | None = None, order: Rows | None = None, threads: int | None = None
) -> Narrow:
    """Return narrow copies of ``vectors[C, D]`` along ``axes[D, N]``, by default those of `main_axes`.

    They stand in an ``order``, ``int32[C]``, if one is given.
    """
    count = len(vectors)
    rows = np.ascontiguousarray(vectors, np.float32)
    axes = main_axes(rows) if axes is None else axes
    codes = np.zeros(-(-count // GROUP) * GROUP * -(-axes.shape[1] // QUAD) * QUAD, np.uint8)
    facts = np.zeros((3, count), np.float32)
    places = np.arange(count, dtype=np.int32) if order is None else order
    with ThreadPool(threads) as pool:
        blocks = -(-count // BLOCK)
        pool.run(
            lambda low, high: narrow_vectors(
                low * BLOCK, min(high * BLOCK, count), rows, places, axes, codes, facts
            ),
            blocks,
        )
    if order is None:
        return Narrow(rows, axes, codes, facts)
    lengths = np.empty(count, np.float32)
    lengths_of(facts, np.float32(np.sqrt(axes.shape[1]) / 2), order, lengths)
    return Narrow(rows, axes, codes, facts, order=Order(order, lengths))


def by_reach(vectors: Floats, bias: Floats) -> Rows:
    """Return the rows of ``vectors[C, D]`` by bias + `LONGER` · |v| · the mean of all |v|, the greatest first.

    That is what a long query may give them at most: so those whom no query can lift far stand together, and are passed over
    together. Any order gives the same lists.
    """
    lengths = np.sqrt(np.einsum("cd,cd->c", vectors, vectors, dtype=np.float64))
    finite = np.isfinite(lengths)
    reach = bias + lengths * (LONGER * lengths[finite].mean() if finite.any() else 0.0)
    return np.argsort(-reach, kind="stable").astype(np.int32)


def main_axes(vectors: Floats) -> Doubles:
    """Return the orthonormal axes ``float64[D, N]`` that hold most of ``vectors[C, D]``: of their squares, `HELD`.

    These are the leading eigenvectors of the sum of v v' over some of the vectors; N is a multiple of `QUAD`, or D. Any
    axes give the same lists, the better the sooner.
    """
    dimensions = vectors.shape[1]
    some = vectors[:: max(1, len(vectors) // SAMPLED)].astype(np.float64)
    if not np.isfinite(some).all():
        return np.eye(dimensions)
    squares, axes = np.linalg.eigh(some.T @ some)
    held = np.cumsum(squares[::-1])
    count = int(np.searchsorted(held, HELD * held[-1])) + 1 if dimensions else 0
    count = min(-(-count // QUAD) * QUAD, dimensions)
    return np.ascontiguousarray(axes[:, ::-1][:, :count])


def narrowed(
    candidates: Candidates, vectors: Floats, *, ordered: bool = False, threads: int | None = None
) -> Candidates:
    """Return the candidates, whose vectors are ``vectors[C, D]``, with narrow copies if lists come sooner by them here.

    ``ordered`` copies of many candidates stand in the order of `by_reach`, for those who rank for many users.
    Lists are the same to the byte either way. What is measured, on one thread: lists of a few candidates as queries.
    """
    if candidates.narrow is not None or candidates.count < FEWEST or candidates.dimensions < QUAD:
        return candidates
    order = by_reach(vectors, candidates.bias) if ordered and candidates.count >= MANY else None
    copies = narrow_copies(vectors, order=order, threads=threads)
    queries = copies.vectors[np.linspace(0, candidates.count - 1, TRIED).astype(np.int64)]
    with_copies = replace(candidates, narrow=copies)

    def pays(count: int, length: int) -> bool:
        both = (with_copies, candidates)
        first, all_scored = (_seconds(one, queries[:count], length) for one in both)
        return first <= FASTER * all_scored

    for one in (with_copies, candidates):  # their pages
        top_k(queries, one, LENGTHS[0], threads=1)
    longest = max(takewhile(lambda length: pays(TRIED, length), LENGTHS), default=0)
    if longest:
        return replace(candidates, narrow=replace(copies, longest=longest))
    alone = pays(1, LENGTHS[0])
    return replace(candidates, narrow=replace(copies, most=1, longest=LENGTHS[0])) if alone else candidates


def narrowed_products(model: TasteModel, *, threads: int | None = None) -> Candidates:
    """Pack a model's products to rank them for many users: with narrow copies where those pay."""
    return narrowed(product_candidates(model), model.product_vectors, ordered=True, threads=threads)


def packed_for(packed: PackedModel, count: int, *, threads: int | None = None) -> PackedModel:
    """Return a model made ready to rank for ``count`` users or products: with narrow copies where that is much, and they pay.

    One whose products are packed already stays as it is.
    """
    if packed.packed is not None or count * len(packed.model.products) < MUCH:
        return packed
    return pack(packed, candidates=narrowed_products(packed.model, threads=threads))


def _seconds(candidates: Candidates, queries: Floats, length: int) -> float:
    """Return the least time of a processor that the lists of some queries took, of two rounds at least.

    Other jobs, which a server may start beside, do not count in it.
    """
    found: list[float] = []
    while len(found) < 2 or (len(found) < ROUNDS and sum(found) < ENOUGH):
        start = time.thread_time()
        top_k(queries, candidates, length, threads=1)
        found.append(time.thread_time() - start)
    return min(found)
