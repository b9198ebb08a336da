"""`top_k`: the one ranking function. Queries in, the best candidates of each out: exact, ordered, reproducible."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tastemaker.data.ragged import gather_lists, offsets_of
from tastemaker.errors import SettingProblem
from tastemaker.kernels.ranking.beating import SHELF, most_of_shelves, rank_beating
from tastemaker.kernels.ranking.narrow import BLOCK, rank_narrow
from tastemaker.kernels.ranking.topk import PANEL, STEP, pack_panels, rank, room_for_panels, unpack_keys
from tastemaker.kernels.threads import ThreadPool
from tastemaker.ranking.lists import RankedLists
from tastemaker.types import AnyArray, Booleans, Doubles, Floats, Offsets, Rows

__all__ = ["ANY", "Candidates", "Exclusions", "ExtraScores", "Narrow", "Order", "no_extra", "padded", "top_k"]

BUFFER_KEYS = 1 << 19
"""About how many keys (8 bytes each) a chunk of queries holds at most, so that memory stays bounded for any k."""

PANELS_A_PART = 64
"""For few queries, candidates are divided between threads only when each gets at least this many panels."""

BLOCKS_A_PART = 4 * PANELS_A_PART * PANEL // BLOCK
"""The same of a first pass, which is about four times as fast."""

ANY = 2**31 - 1
"""A limit that nothing reaches"""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """In which order narrow copies stand, so that many of them can be passed over together."""

    rows: Rows
    """``int32[C]``, each candidate once"""
    places: Rows
    """``int32[C]``, where each of them stands"""
    lengths: Floats
    """``float32[C]``, by candidate: what each vector is no longer than"""


@dataclass(frozen=True, slots=True, eq=False)
class Narrow:
    """Copies of the candidates' vectors in whole numbers of one byte, by which a first pass tells who may be among the best."""

    vectors: Floats
    """``float32[C, D]``, the vectors themselves as rows"""
    axes: Doubles
    """``float64[D, N]``, orthonormal: the directions along which parts of them are kept; ``[0, 0]``, all of them as they are"""
    codes: AnyArray
    """``uint8``, flat, as `kernels.ranking.whole_sums` reads them"""
    facts: Floats
    """``float32[3, C]``: scale, and the norms of what is kept, and of what is outside the axes"""
    most: int = ANY
    """For up to this many queries at once the first pass was faster than scoring all"""
    longest: int = ANY
    """For lists of up to this length it was"""
    order: Order | None = None
    """In which order codes and facts stand, where that is not the candidates' own"""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is ranked: vectors and biases, laid out for the ranking kernel. Pack once, rank often."""

    panels: Floats
    """``float32[ceil(C / PANEL), D' · PANEL]``, D' being D rounded up to a multiple of 4"""
    bias: Floats
    """``float32[C]``"""
    count: int
    """C"""
    dimensions: int
    """D"""
    narrow: Narrow | None = None
    """What makes short lists sooner, to the same bytes (`ranking.index.narrowed`)"""
    _shelves: list[Floats] = field(default_factory=list, init=False, repr=False, compare=False)

    def shelves(self) -> Floats:
        """Return the `most_of_shelves` of narrow copies that stand in an order, ``float32[2, S]``, worked out once."""
        order = None if self.narrow is None else self.narrow.order
        assert order is not None
        if not self._shelves:
            found = np.empty((2, -(-self.count // SHELF)), np.float32)
            most_of_shelves(order.lengths, self.bias, order.rows, found)
            self._shelves.append(found)
        return self._shelves[0]

    @staticmethod
    def of(vectors: Floats, bias: Floats | None = None) -> Candidates:
        """Pack ``vectors[C, D]`` and an optional ``bias[C]``."""
        count, dimensions = vectors.shape
        panels = room_for_panels(count, _padded(dimensions))
        pack_panels(np.ascontiguousarray(vectors, np.float32), panels)
        bias = np.zeros(count, np.float32) if bias is None else np.ascontiguousarray(bias, np.float32)
        return Candidates(panels, bias, count, dimensions)

    def moved(self, rows: Rows, vectors: Floats) -> None:
        """Give some candidates, ``int[n]``, other vectors, ``float32[n, D]``, in place: for an owner who alone ranks with them."""
        within = np.arange(self.dimensions) * PANEL + (rows % PANEL)[:, None]
        self.panels[(rows // PANEL)[:, None], within] = vectors

    def only(self, allowed: Booleans) -> Candidates:
        """Return the same candidates, of which those not in ``allowed`` (``bool[C]``) are in no list.

        The vectors are shared, not copied.
        """
        bias = np.where(allowed, self.bias, np.float32(-np.inf))
        return Candidates(self.panels, bias, self.count, self.dimensions, self.narrow)


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Candidates that a query must not get: query ``q`` leaves out ``rows[offsets[q]:offsets[q + 1]]``, ascending."""

    offsets: Offsets
    """``int64[Q + 1]``"""
    rows: Rows
    """``int32[total]``"""


@dataclass(frozen=True, slots=True)
class ExtraScores:
    """Sparse scores added to the dense ones: query ``q`` adds ``scores`` to the candidates ``rows``, ascending and distinct."""

    offsets: Offsets
    """``int64[Q + 1]``"""
    rows: Rows
    """``int32[total]``"""
    scores: Floats
    """``float32[total]``"""

    def take(self, queries: AnyArray) -> ExtraScores:
        """Return the extras of some queries, in this order; a query may come again."""
        offsets, places = gather_lists(self.offsets, queries)
        return ExtraScores(offsets, self.rows[places], self.scores[places])


def no_extra() -> ExtraScores:
    """Return what adds nothing: offsets of length 1 instead of an empty list for every query."""
    return ExtraScores(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))


def top_k(
    queries: Floats,
    candidates: Candidates,
    k: int,
    *,
    exclude: Exclusions | None = None,
    extra: ExtraScores | None = None,
    threads: int | None = None,
) -> RankedLists:
    """Return the k candidates with the highest score for each query, best first.

    score(q, c) = bias_c + Σ_d queries[q, d] · vectors[c, d] + extra(q, c)

    Exact; equal scores go to the lower row; a list is shorter when fewer candidates remain. The result is the same to the
    bit for any number of threads and any company of queries. Memory beyond the result: a few MiB a thread.

    ``queries``: ``float32[Q, D]``. Raises `SettingProblem` when k < 1 or the dimensions differ.

    >>> import numpy as np
    >>> candidates = Candidates.of(np.eye(3, dtype=np.float32))
    >>> lists = top_k(np.array([[1, 3, 2]], np.float32), candidates, 2)
    >>> lists[0][0].tolist(), lists[0][1].tolist()
    ([1, 2], [3.0, 2.0])
    """
    if k < 1:
        raise SettingProblem(f"k is {k}; a ranked list needs a length of at least 1.")
    count, dimensions = queries.shape
    if dimensions != candidates.dimensions:
        raise SettingProblem(
            f"the queries have {dimensions} dimensions and the candidates {candidates.dimensions}; they must be of one model."
        )
    k = min(k, candidates.count)
    if not count or not k:
        return RankedLists(np.zeros(count + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    wide = padded(queries)
    exclude = exclude or Exclusions(np.zeros(1, np.int64), np.zeros(0, np.int32))
    with ThreadPool(threads) as pool:
        if (narrow := _narrow_for(queries, candidates, k)) is not None:
            return _lists(*_ranked_narrow(wide, candidates, narrow, k, exclude, extra or no_extra(), pool))
        return _lists(*_ranked(wide, candidates, k, exclude, extra or no_extra(), pool))


def _ranked(
    queries: Floats, candidates: Candidates, k: int, exclude: Exclusions, extra: ExtraScores, pool: ThreadPool
) -> tuple[AnyArray, Offsets]:
    """Return the keys of the best, ``uint64[Q, k]``, and how many each query has."""
    count = len(queries)
    room = BUFFER_KEYS // (2 * k + PANEL) // STEP * STEP
    wanted = 1 if pool.threads == 1 else 4 * pool.threads  # blocks: a few for each thread
    chunk = max(STEP, min(64, room, -(-count // (STEP * wanted)) * STEP))
    blocks, panels = -(-count // chunk), len(candidates.panels)
    parts = max(1, min(pool.threads, panels // PANELS_A_PART)) if blocks < pool.threads else 1
    keys = np.empty((parts, count, k), np.uint64)
    counts = np.empty((parts, count), np.int64)

    def rank_some(low: int, high: int) -> None:
        for part in range(low // blocks, -(-high // blocks)):
            rank(
                max(low - part * blocks, 0), min(high - part * blocks, blocks),
                part * panels // parts, (part + 1) * panels // parts,
                queries, candidates.panels, candidates.bias, chunk,
                exclude.offsets, exclude.rows, extra.offsets, extra.rows, extra.scores, keys[part], counts[part],
            )  # fmt: skip

    pool.run(rank_some, parts * blocks)
    return (keys[0], counts[0]) if parts == 1 else _merged(keys, counts)


def _narrow_for(queries: Floats, candidates: Candidates, k: int) -> Narrow | None:
    """Return the narrow copies where they pay for these queries, and can: bounds need finite numbers."""
    narrow = candidates.narrow
    if narrow is None or len(queries) > narrow.most or k > narrow.longest:
        return None
    return narrow if np.isfinite(queries).all() else None


def _ranked_narrow(
    queries: Floats,
    candidates: Candidates,
    narrow: Narrow,
    k: int,
    exclude: Exclusions,
    extra: ExtraScores,
    pool: ThreadPool,
) -> tuple[AnyArray, Offsets]:
    """Return what `_ranked` returns, by a first pass over narrow copies."""
    if narrow.order is not None:
        return _ranked_beating(queries, candidates, narrow, narrow.order, k, exclude, extra, pool)
    bias = candidates.bias
    count, blocks = len(queries), -(-len(bias) // BLOCK)
    parts = max(1, min(pool.threads, blocks // BLOCKS_A_PART)) if count < pool.threads else 1
    keys = np.empty((parts, count, k), np.uint64)
    counts, examined = np.empty((parts, count), np.int64), np.empty((parts, count), np.int64)

    def rank_some(low: int, high: int) -> None:
        for part in range(low // count, -(-high // count)):
            rank_narrow(
                max(low - part * count, 0), min(high - part * count, count),
                part * blocks // parts, (part + 1) * blocks // parts,
                queries, narrow.vectors, narrow.axes, narrow.codes, narrow.facts, bias,
                exclude.offsets, exclude.rows, extra.offsets, extra.rows, extra.scores,
                keys[part], counts[part], examined[part],
            )  # fmt: skip

    pool.run(rank_some, parts * count)
    return (keys[0], counts[0]) if parts == 1 else _merged(keys, counts)


def _ranked_beating(
    queries: Floats,
    candidates: Candidates,
    narrow: Narrow,
    order: Order,
    k: int,
    exclude: Exclusions,
    extra: ExtraScores,
    pool: ThreadPool,
) -> tuple[AnyArray, Offsets]:
    """Return what `_ranked` returns, by copies in an order and a score to beat that is found first."""
    count, shelves = len(queries), candidates.shelves()
    keys = np.empty((count, k), np.uint64)
    counts, examined = np.empty(count, np.int64), np.empty(count, np.int64)

    def rank_some(low: int, high: int) -> None:
        rank_beating(
            low, high, queries, narrow.vectors, narrow.axes, narrow.codes, narrow.facts, order.rows, order.places,
            order.lengths, shelves, candidates.bias, exclude.offsets, exclude.rows, extra.offsets, extra.rows, extra.scores,
            keys, counts, examined,
        )  # fmt: skip

    pool.run(rank_some, count)
    return keys, counts


def _merged(keys: AnyArray, counts: Offsets) -> tuple[AnyArray, Offsets]:
    """Merge the lists of the parts of the candidates, ``uint64[parts, Q, k]`` and ``int64[parts, Q]``, into one for each query."""
    k = keys.shape[2]
    keys[np.arange(k) >= counts[:, :, None]] = 0  # below every key
    together = np.sort(np.concatenate(list(keys), axis=1), axis=1)[:, ::-1]
    return np.ascontiguousarray(together[:, :k]), np.minimum(counts.sum(axis=0), k)


def padded(queries: Floats) -> Floats:
    """Return queries ``float32[Q, D]`` as the kernels take them: ``float32[Q, D']``, zeros beyond D."""
    count, dimensions = queries.shape
    if dimensions % STEP == 0:
        return np.ascontiguousarray(queries, np.float32)
    wide = np.zeros((count, _padded(dimensions)), np.float32)
    wide[:, :dimensions] = queries
    return wide


def _padded(dimensions: int) -> int:
    return -(-dimensions // STEP) * STEP


def _lists(keys: AnyArray, counts: Offsets) -> RankedLists:
    offsets = offsets_of(counts)
    whole = int(offsets[-1]) == keys.size
    flat = keys.reshape(-1) if whole else keys[np.arange(keys.shape[1]) < counts[:, None]]
    rows, scores = np.empty(len(flat), np.int32), np.empty(len(flat), np.float32)
    unpack_keys(flat, rows, scores)
    return RankedLists(offsets, rows, scores)
