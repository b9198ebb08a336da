"""`narrowed`: candidates with narrow copies of their vectors beside them, where a measurement says that they pay."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tastemaker.kernels.ranking.beating import lengths_of
from tastemaker.kernels.ranking.narrow import narrow_vectors
from tastemaker.kernels.ranking.whole_sums import GROUP, QUAD
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.packed import PackedModel, pack, product_candidates
from tastemaker.ranking.queries import Queries, user_queries
from tastemaker.ranking.top_k import ANY, Candidates, Narrow, Order, top_k
from tastemaker.types import Doubles, Floats, Rows

__all__ = ["OWN_AXES", "main_axes", "narrow_copies", "narrowed", "narrowed_products", "packed_for"]

FEWEST = 2_048
"""Of fewer candidates all are scored in no time."""

TRIED, ALONE = 16, 4
"""Queries that are tried at once, and those that are tried one by one"""

FEW = ((10, 1), (100, 1), (10, TRIED), (100, TRIED))
"""By what copies are chosen where no length is wanted: the length of lists, and how many are asked for at once"""

MANY_TRIED = 64
"""The same where lists are for many users: some of what they take is taken once for all"""

LENGTHS = (1_000, 300, 100, 30, 10)
"""Lengths of lists that are tried, where none is wanted: the longer they are, the more is scored twice, so shorter ones pay, too"""

SPARE = 2
"""Up to how many times the length that is wanted copies are read: a list without the product itself, or under a rule, is longer"""

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
"""Candidates whose codes come from memory, and not from the cache, when many queries take turns at them"""

FEWEST_LISTS = 2_048
"""For fewer lists, making narrow copies and trying them takes about as long as they save, whatever the catalogue"""

BLOCK = 1 << 11
"""Vectors that a thread narrows at once: their doubles stay in the cache"""

OWN_AXES = np.zeros((0, 0))
"""Those of the vectors themselves, all of them"""


def narrow_copies(
    vectors: Floats, *, axes: Doubles = OWN_AXES, order: Rows | None = None, threads: int | None = None
) -> Narrow:
    """Return narrow copies of ``vectors[C, D]`` along ``axes[D, N]``, in an ``order``, ``int32[C]``, if one is given."""
    count, dimensions = vectors.shape
    rows = np.ascontiguousarray(vectors, np.float32)
    kept = axes.shape[1] if len(axes) else dimensions
    codes = np.zeros(-(-count // GROUP) * GROUP * -(-kept // QUAD) * QUAD, np.uint8)
    facts = np.zeros((3, count), np.float32)

    def narrow_block(block: int) -> None:
        low, high = block * BLOCK, min((block + 1) * BLOCK, count)
        some = rows[low:high] if order is None else rows[order[low:high]]
        along = wide = some.astype(np.float64)
        squares = inside = np.einsum("cd,cd->c", wide, wide)
        if len(axes):
            with np.errstate(invalid="ignore"):  # of what is no number nothing is known
                along = wide @ axes
            inside = np.einsum("cn,cn->c", along, along)
        most = np.abs(along).max(axis=1, initial=0)
        narrow_vectors(low, along, np.stack((squares, inside, most)), codes, facts)

    with ThreadPool(threads) as pool:
        pool.run(lambda low, high: deque(map(narrow_block, range(low, high)), 0), -(-count // BLOCK))
    if order is None:
        return Narrow(rows, axes, codes, facts)
    lengths = np.empty(count, np.float32)
    lengths_of(facts, np.float32(np.sqrt(kept) / 2), order, lengths)
    places = np.empty_like(order)
    places[order] = np.arange(count, dtype=np.int32)
    return Narrow(rows, axes, codes, facts, order=Order(order, places, lengths))


def by_reach(vectors: Floats, bias: Floats) -> Rows:
    """Return the rows of ``vectors[C, D]`` by bias + `LONGER` · |v| · the mean of all |v|, the greatest first.

    That is what a long query may give them at most: so those whom no query can lift far stand together, and are passed over
    together. Any order gives the same lists.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number stands anywhere
        lengths = np.sqrt(np.einsum("cd,cd->c", vectors, vectors)).astype(np.float64)
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
        return OWN_AXES
    squares, axes = np.linalg.eigh(some.T @ some)
    held = np.cumsum(squares[::-1])
    count = int(np.searchsorted(held, HELD * held[-1])) + 1 if dimensions else 0
    count = min(-(-count // QUAD) * QUAD, dimensions)
    return np.ascontiguousarray(axes[:, ::-1][:, :count])


def axes_to_try(vectors: Floats, *, many: bool) -> list[Doubles]:
    """Return the vectors' own axes, and the main ones where these are not more than half as many: else they save too little.

    For many users codes of a few candidates come from the cache, and main axes save nothing either.
    """
    if many and len(vectors) < MANY:
        return [OWN_AXES]
    main = main_axes(vectors)
    return [OWN_AXES, main] if 0 < 2 * main.shape[1] <= vectors.shape[1] else [OWN_AXES]


def narrowed(
    candidates: Candidates,
    vectors: Floats,
    *,
    model: TasteModel | None = None,
    for_many: int | None = None,
    threads: int | None = None,
) -> Candidates:
    """Return the candidates, whose vectors are ``vectors[C, D]``, with narrow copies if lists come sooner by them here.

    By default those copies are kept by which a few lists come soonest (`FEW`); of fewer than `MANY` candidates, of whom they are
    made in no time, some are tried in the order of `by_reach`, too. ``for_many`` is the length of lists for many users, for whom
    all stand in it. Lists are the same to the byte either way. What is measured, on one thread: lists of some of a ``model``'s
    users with what its memory adds, else of a few candidates as queries.
    """
    if candidates.narrow is not None or candidates.count < FEWEST or candidates.dimensions < QUAD:
        return candidates
    many = for_many is not None
    order = by_reach(vectors, candidates.bias) if many or candidates.count < MANY else None
    with_copies = [
        replace(candidates, narrow=narrow_copies(vectors, axes=axes, order=one, threads=threads))
        for axes in axes_to_try(vectors, many=many)
        for one in ([order] if many or order is None else [None, order])
    ]
    tried, lengths = (TRIED, LENGTHS) if for_many is None else (MANY_TRIED, (for_many,))
    queries = _queries_to_try(model, vectors, tried)
    best = _soonest(with_copies, queries, FEW if for_many is None else [(for_many, tried)])

    def pays(length: int, together: int) -> bool:
        first = _seconds(best, queries, length, together)
        return first <= FASTER * _seconds(candidates, queries, length, min(together, TRIED))

    longest = next((length for length in lengths if pays(length, tried)), 0)
    if longest:
        return _up_to(best, ANY, longest if for_many is None else SPARE * longest)
    return _up_to(best, 1, lengths[-1]) if pays(lengths[-1], 1) else candidates


def _queries_to_try(model: TasteModel | None, vectors: Floats, count: int) -> Queries:
    """Return queries that are like those to come: of users spread over all, or some of the candidates' ``vectors[C, D]``."""
    if model is not None and len(model.users):
        return user_queries(model, np.linspace(0, len(model.users) - 1, count).astype(np.int64), threads=1)
    places = np.linspace(0, len(vectors) - 1, count).astype(np.int64)
    return Queries(np.ascontiguousarray(vectors[places], np.float32), None)


def _soonest(several: list[Candidates], queries: Queries, cases: Sequence[tuple[int, int]]) -> Candidates:
    """Return those by which lists come soonest in the geometric mean over the cases: their length, and how many together."""
    if len(several) == 1:
        return several[0]
    return min(several, key=lambda one: math.prod(_seconds(one, queries, *case) for case in cases))


def _up_to(candidates: Candidates, most: int, longest: int) -> Candidates:
    """Return candidates whose narrow copies are read for so many queries at once, and for lists of such a length."""
    assert candidates.narrow is not None
    return replace(candidates, narrow=replace(candidates.narrow, most=most, longest=longest))


def narrowed_products(model: TasteModel, length: int, *, threads: int | None = None) -> Candidates:
    """Pack a model's products for lists of a length for many users: with narrow copies where those pay."""
    candidates, vectors = product_candidates(model), np.asarray(model.product_vectors)
    return narrowed(candidates, vectors, model=model, for_many=length, threads=threads)


def packed_for(packed: PackedModel, count: int, length: int, *, threads: int | None = None) -> PackedModel:
    """Return a model made ready for ``count`` lists of a length: with narrow copies where these are many, and they pay.

    One whose products are packed already stays as it is.
    """
    if packed.packed is not None or count < FEWEST_LISTS:
        return packed
    return pack(packed, candidates=narrowed_products(packed.model, length, threads=threads))


def _seconds(candidates: Candidates, queries: Queries, length: int, together: int) -> float:
    """Return the least time of a processor that the list of a query took, so many ``together``; one alone is tried for a few.

    That is of two rounds at least: the first may read pages. Other jobs, which a server may start beside, do not count in it.
    """
    parts = [queries.some(low, low + together) for low in range(ALONE if together == 1 else 1)]
    found: list[float] = []
    while len(found) < 2 or (len(found) < ROUNDS and sum(found) < ENOUGH):
        start = time.thread_time()
        for part in parts:
            top_k(part.vectors, candidates, length, extra=part.extra, threads=1)
        found.append(time.thread_time() - start)
    return min(found) / (len(parts) * together)
