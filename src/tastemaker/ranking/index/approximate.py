"""`best_of`: ranks either kind of candidates: all of them, exactly, or those that an index finds, whose scores are then exact.

The library's index (`faiss`, extra ``index``) finds near vectors; the greatest score becomes the least distance by one more
dimension, after Bachrach et al. 2014, "Speeding up the Xbox recommender system using a Euclidean transformation for
inner-product spaces": a candidate is (vector, bias, √(M² − |vector|² − bias²)), M the greatest length, a query (vector, 1, 0).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from tastemaker.data.ragged import gather_lists, held_sorted, offsets_of, owners_of, pair_keys
from tastemaker.errors import SettingProblem
from tastemaker.kernels.ranking.pairs import score_pairs
from tastemaker.kernels.threads import ThreadPool, default_threads
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores, no_extra, top_k
from tastemaker.types import AnyArray, Booleans, Floats, Rows

__all__ = ["AnyCandidates", "Approximate", "best_of", "exact_of", "faiss", "points_of"]

MORE = 32
"""An index is asked for `Approximate.over` times the wanted length plus this many, since its own scores are coarse."""

MOST_BOUGHT = 1024
"""At most this many more are asked for in place of left-out candidates; a list that is still too short is ranked exactly."""

AT_ONCE = 256
"""Queries whose found candidates are scored together, so that memory stays bounded"""


@dataclass(frozen=True, slots=True, eq=False)
class Approximate:
    """Candidates with an index that finds most of the best ones without reading all."""

    exact: Candidates
    """The same candidates, for queries that the index cannot answer"""
    vectors: Floats
    """``float32[C, D]``"""
    index: Any
    """The library's index over ``C`` vectors of ``D + 2`` dimensions, and one of zeros where D is odd"""
    probes: int
    """How many cells of the index are read for a query"""
    over: int = 4
    """How many times the wanted length is found and scored exactly"""
    bias: float = 1.0
    """How much the candidates' bias counts in the index: 1, or 0 for dot products alone"""

    def by_dot(self) -> Approximate:
        """Return the same candidates ranked by dot product, without their bias."""
        return replace(self, exact=replace(self.exact, bias=np.zeros_like(self.exact.bias)), bias=0.0)


AnyCandidates: TypeAlias = Candidates | Approximate


def exact_of(candidates: AnyCandidates) -> Candidates:
    """Return the candidates that are ranked exactly."""
    return candidates if isinstance(candidates, Candidates) else candidates.exact


def faiss() -> ModuleType:
    """Return the library; raise `SettingProblem` where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # of its bindings, on newer versions of Python
            import faiss as library
    except ImportError as error:
        raise SettingProblem(
            "an approximate index needs the package faiss-cpu, which is not installed; pip install 'tastemaker[index]'."
        ) from error
    found: ModuleType = library
    return found


def points_of(vectors: Floats, bias: Floats | float) -> Floats:
    """Return (vector, bias, 0), and one more 0 where the library's codes, of two dimensions each, need it."""
    dimensions = vectors.shape[1]
    points = np.zeros((len(vectors), dimensions + 2 + dimensions % 2), np.float32)
    points[:, :dimensions], points[:, dimensions] = vectors, bias
    return points


def best_of(
    queries: Floats,
    candidates: AnyCandidates,
    k: int,
    *,
    exclude: Exclusions | None = None,
    extra: ExtraScores | None = None,
    threads: int | None = None,
) -> RankedLists:
    """Return the k best candidates of each query as `top_k` does; an `Approximate` may miss some, and its lists say so.

    Whatever it lists has its exact score and place among those found: what the index finds and whatever ``extra`` names. The
    lists are ranked exactly, query by query, where the index finds too few, and for a query of zeros, which is near nothing;
    where all are, ``exact`` is true.
    """
    if isinstance(candidates, Candidates):
        return top_k(queries, candidates, k, exclude=exclude, extra=extra, threads=threads)
    exact = candidates.exact
    if (
        k < 1
        or queries.shape[1] != exact.dimensions
        or candidates.over * k + MORE >= exact.count
        or not len(queries)
    ):
        return top_k(queries, exact, k, exclude=exclude, extra=extra, threads=threads)
    exclude = _each(exclude, len(queries))
    extra = no_extra() if extra is None else extra
    parts = []
    for low in range(0, len(queries), AT_ONCE):
        some = np.arange(low, min(low + AT_ONCE, len(queries)))
        parts.append(
            _some(queries[some], candidates, k, _taken(exclude, some), _extra_of(extra, some), threads)
        )
    return RankedLists.joined(parts)


def _each(exclude: Exclusions | None, count: int) -> Exclusions:
    if exclude is None or len(exclude.offsets) == 1:
        return Exclusions(np.zeros(count + 1, np.int64), np.zeros(0, np.int32))
    return exclude


def _taken(exclude: Exclusions, queries: AnyArray) -> Exclusions:
    offsets, places = gather_lists(exclude.offsets, queries)
    return Exclusions(offsets, exclude.rows[places])


def _extra_of(extra: ExtraScores, queries: AnyArray) -> ExtraScores:
    return extra if len(extra.offsets) == 1 else extra.take(queries)


def _some(
    queries: Floats,
    candidates: Approximate,
    k: int,
    exclude: Exclusions,
    extra: ExtraScores,
    threads: int | None,
) -> RankedLists:
    """Rank a few queries by the index, and exactly those among them that it cannot answer."""
    count = candidates.exact.count
    bought = np.diff(exclude.offsets)
    ask = min(candidates.over * k + MORE + min(int(bought.max()), MOST_BOUGHT), count)
    rows, valid = _distinct(_find(queries, candidates, ask, threads), extra, count)
    valid &= ~_left_out(rows, exclude, count)
    scores = _scores(queries, candidates, np.where(valid, rows, 0).astype(np.int32), extra, threads)
    scores[~valid] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # rows ascend: equal scores go to the lower
    lengths = np.minimum(valid.sum(axis=1), k)
    open_ = (lengths < np.minimum(k, count - bought)) | ~queries.any(axis=1)
    found = _ragged(
        np.take_along_axis(rows, order, 1).astype(np.int32), np.take_along_axis(scores, order, 1), lengths
    )
    if not open_.any():
        return found
    again = np.flatnonzero(open_)
    ranked = top_k(
        np.ascontiguousarray(queries[again]),
        candidates.exact,
        k,
        exclude=_taken(exclude, again),
        extra=_extra_of(extra, again),
        threads=threads,
    )
    return ranked if len(again) == len(queries) else _with(found, ranked, again)


def _find(queries: Floats, candidates: Approximate, ask: int, threads: int | None) -> AnyArray:
    """Return the candidates nearest to each query by the index, ``int64[Q, ask]``; -1 where there are fewer."""
    library = faiss()
    library.omp_set_num_threads(threads or default_threads())
    points = points_of(queries, candidates.bias)
    parameters = library.SearchParametersIVF(nprobe=candidates.probes)
    _, found = candidates.index.search(points, ask, params=parameters)
    rows: AnyArray = found
    return rows


def _distinct(found: AnyArray, extra: ExtraScores, count: int) -> tuple[AnyArray, Booleans]:
    """Return what was found or has an extra, ascending for each query, ``int64[Q, W]``, and which places hold a new candidate."""
    found = np.where(found < 0, count, found)
    if len(extra.offsets) > 1:
        lengths = np.diff(extra.offsets)
        lifted = np.full((len(found), int(lengths.max())), count, np.int64)
        lifted[np.arange(lifted.shape[1]) < lengths[:, None]] = extra.rows
        found = np.concatenate([found, lifted], axis=1)
    found.sort(axis=1)
    valid = found < count
    valid[:, 1:] &= found[:, 1:] != found[:, :-1]
    return found, valid


def _left_out(rows: AnyArray, exclude: Exclusions, count: int) -> Booleans:
    gone = pair_keys(owners_of(exclude.offsets), exclude.rows, count + 1)
    return held_sorted(gone, pair_keys(np.arange(len(rows))[:, None], rows, count + 1))


def _scores(
    queries: Floats, candidates: Approximate, rows: Rows, extra: ExtraScores, threads: int | None
) -> Floats:
    """Return the exact scores of some candidates of each query, to the bit those of `top_k`."""
    scores = np.empty(rows.shape, np.float32)
    queries, bias = np.ascontiguousarray(queries, np.float32), candidates.exact.bias
    with ThreadPool(threads) as pool:
        pool.run(
            lambda low, high: score_pairs(
                low, high, queries, candidates.vectors, bias, rows, extra.offsets, extra.rows, extra.scores, scores
            ),
            len(rows),
        )  # fmt: skip
    return scores


def _ragged(rows: Rows, scores: Floats, lengths: AnyArray) -> RankedLists:
    kept = np.arange(rows.shape[1]) < lengths[:, None]
    return RankedLists(offsets_of(lengths), rows[kept], scores[kept], exact=False)


def _with(found: RankedLists, ranked: RankedLists, places: AnyArray) -> RankedLists:
    """Put exact lists in the place of some that were found."""
    lists = list(found)
    for place, ranked_list in zip(places.tolist(), ranked, strict=True):
        lists[place] = ranked_list
    offsets = offsets_of([len(rows) for rows, _ in lists])
    rows, scores = (np.concatenate(part) for part in zip(*lists, strict=True))
    return RankedLists(offsets, rows, scores, exact=False)
