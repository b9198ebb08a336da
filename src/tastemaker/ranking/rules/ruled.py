"""Ranking under rules: exact, and full-length lists wherever the rules leave enough candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import find_sorted, offsets_of
from tastemaker.kernels.ranking.pairs import score_pairs
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.queries import Queries
from tastemaker.ranking.rules.rule_book import REPACKED_FROM, Cap, Removal, RuleBook
from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores, no_extra, top_k
from tastemaker.types import Booleans, Floats, Offsets, Rows

__all__ = ["Ruled", "best_allowed", "rank_ruled"]

AHEAD = 4
"""How many times the wanted length is ranked first where a rule limits similar products"""


@dataclass(frozen=True, slots=True, eq=False)
class Ruled:
    """One list under rules."""

    rows: Rows
    """``int32[n]``: those pinned, then the others, best first"""
    scores: Floats
    """``float32[n]``, by which they would rank without pins"""
    pinned: int
    """How many of them, at the head, are pinned"""
    removals: tuple[Removal, ...]
    """What rules removed for this query, beside those of the `RuleBook`: ``purchased``, ``at_most.COLUMN``"""


def rank_ruled(
    model: TasteModel,
    queries: Queries,
    bought: Histories,
    candidates: Candidates,
    book: RuleBook,
    *,
    k: int,
    include_purchased: bool = False,
    threads: int | None = None,
) -> list[Ruled]:
    """Rank the candidates that the rules allow: k of them, or all where fewer are left.

    The list of a query is the greedy walk down the pinned products and then the full ranking of all that may be shown: a product
    is skipped when the list already holds its value of some column as often as allowed. It is found without ranking everything.
    ``bought`` stands beside ``queries`` and is left out, unless ``include_purchased``.
    """
    exclude = None if include_purchased else Exclusions(bought.offsets, bought.products)
    plain = not book.caps and not len(book.pinned)
    ahead = k if plain else AHEAD * k + len(book.pinned)
    lists = best_allowed(
        queries.vectors,
        candidates,
        ahead,
        book.allowed,
        exclude=exclude,
        extra=queries.extra,
        vectors=model.product_vectors,
        threads=threads,
    )
    answers = []
    for q in range(len(lists)):
        own = np.zeros(0, np.int32) if include_purchased else bought.of(q)
        gone = len(own) if book.allowed is None else int(book.allowed[own].sum())
        purchased = () if include_purchased else (Removal("purchased", gone),)
        if plain:
            rows, scores = lists[q]
            answers.append(Ruled(rows, scores, 0, purchased))
        else:
            walk = _Walk(model, queries.at(q), candidates, book, own, k, threads)
            answers.append(walk.end(lists[q], ahead, purchased))
    return answers


def best_allowed(
    queries: Floats,
    candidates: Candidates,
    k: int,
    allowed: Booleans | None,
    *,
    exclude: Exclusions | None = None,
    extra: ExtraScores | None = None,
    vectors: Floats | None = None,
    threads: int | None = None,
) -> RankedLists:
    """Return the k best of the candidates under a mask, ``bool[C]``, that all queries share: the one filtered ranking.

    With the candidates' ``vectors``, ``float32[C, D]``, only those allowed are scored, where they are few.
    """
    if allowed is not None and vectors is not None:
        rows = np.flatnonzero(allowed).astype(np.int32)
        if len(rows) * REPACKED_FROM <= len(allowed):
            return _best_of_few(queries, candidates, k, rows, vectors, exclude, extra, threads)
    if allowed is not None:
        candidates = candidates.only(allowed)
    return top_k(queries, candidates, k, exclude=exclude, extra=extra, threads=threads)


def _best_of_few(
    queries: Floats,
    candidates: Candidates,
    k: int,
    rows: Rows,
    vectors: Floats,
    exclude: Exclusions | None,
    extra: ExtraScores | None,
    threads: int | None,
) -> RankedLists:
    """Rank the candidates at some rows, ascending; a score is the same sum wherever a candidate stands."""
    few = Candidates.of(vectors[rows], candidates.bias[rows])
    if exclude is not None:
        offsets, places, _ = _within(rows, exclude.offsets, exclude.rows)
        exclude = Exclusions(offsets, places)
    if extra is not None:
        offsets, places, kept = _within(rows, extra.offsets, extra.rows)
        extra = ExtraScores(offsets, places, extra.scores[kept])
    lists = top_k(queries, few, k, exclude=exclude, extra=extra, threads=threads)
    return RankedLists(lists.offsets, rows[lists.rows], lists.scores)


def _within(rows: Rows, offsets: Offsets, lists: Rows) -> tuple[Offsets, Rows, Booleans]:
    """Return ragged lists of rows as places among ``rows``, without those that are not there, and which were kept."""
    places, kept = find_sorted(rows, lists)
    return offsets_of(kept)[offsets], places[kept].astype(np.int32), kept


class _Walk:
    """The greedy walk of one query."""

    def __init__(
        self,
        model: TasteModel,
        query: Queries,
        candidates: Candidates,
        book: RuleBook,
        bought: Rows,
        k: int,
        threads: int | None,
    ) -> None:
        self._model, self._query, self._candidates, self._book = model, query, candidates, book
        self._bought, self._k, self._threads = bought, k, threads
        self._shown: dict[int, float] = {}
        self._counts: list[dict[int, int]] = [{} for _ in book.caps]

    def end(self, first: tuple[Rows, Floats], asked: int, purchased: tuple[Removal, ...]) -> Ruled:
        """Walk down the pins and the first list, and down further ones until the list is full or nothing is left."""
        pins = self._book.pinned
        pins = pins[~np.isin(pins, self._bought)]
        self._take(pins, self._scores(pins))
        pinned = len(self._shown)
        rows, scores = first
        self._take(rows, scores)
        while len(self._shown) < self._k and len(rows) == asked:
            # all groups that ended the list before its time are full now and leave: each round fills the list or some group
            asked = min(AHEAD * (self._k - len(self._shown)), self._candidates.count)
            rows, scores = best_allowed(
                self._query.vectors,
                self._candidates,
                asked,
                self._open(),
                extra=self._query.extra,
                vectors=self._model.product_vectors,
                threads=self._threads,
            )[0]
            self._take(rows, scores)
        return Ruled(
            np.fromiter(self._shown, np.int32, len(self._shown)),
            np.fromiter(self._shown.values(), np.float32, len(self._shown)),
            pinned,
            (*purchased, *self._closed()),
        )

    def _take(self, rows: Rows, scores: Floats) -> None:
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            if len(self._shown) == self._k:
                return
            if row not in self._shown and self._may_come(row):
                self._shown[row] = score

    def _may_come(self, row: int) -> bool:
        groups = [int(cap.groups[row]) for cap in self._book.caps]
        for cap, group, counts in zip(self._book.caps, groups, self._counts, strict=True):
            if group >= 0 and counts.get(group, 0) >= cap.most:
                return False
        for group, counts in zip(groups, self._counts, strict=True):
            counts[group] = counts.get(group, 0) + 1
        return True

    def _scores(self, rows: Rows) -> Floats:
        """Return the scores of some rows, to the bit those by which they rank."""
        extra, packed = self._query.extra or no_extra(), np.ascontiguousarray(rows[None, :])
        scores = np.empty(packed.shape, np.float32)
        score_pairs(
            0, 1, self._query.vectors, self._model.product_vectors, self._candidates.bias, packed,
            extra.offsets, extra.rows, extra.scores, scores,
        )  # fmt: skip
        answer: Floats = scores[0]
        return answer

    def _open(self) -> Booleans:
        """Return what may still come: allowed, not bought, not shown, and of no full group."""
        mask = self._base()
        mask[np.fromiter(self._shown, np.int64, len(self._shown))] = False
        for full in self._full():
            mask &= ~full
        return mask

    def _base(self) -> Booleans:
        allowed = self._book.allowed
        mask = np.ones(self._candidates.count, np.bool_) if allowed is None else allowed.copy()
        mask[self._bought] = False
        return mask

    def _full(self) -> list[Booleans]:
        return [
            _in_full_groups(cap, counts) for cap, counts in zip(self._book.caps, self._counts, strict=True)
        ]

    def _closed(self) -> Sequence[Removal]:
        """Return how many candidates each cap keeps from this list: those not shown of groups that are full."""
        rest = self._base()
        rest[np.fromiter(self._shown, np.int64, len(self._shown))] = False
        removals = []
        for cap, full in zip(self._book.caps, self._full(), strict=True):
            removals.append(Removal(f"at_most.{cap.column}", int((rest & full).sum())))
            rest &= ~full
        return removals


def _in_full_groups(cap: Cap, counts: dict[int, int]) -> Booleans:
    """Return which products are of a group that is there as often as it may be, ``bool[P]``."""
    full = np.zeros(int(cap.groups.max(initial=-1)) + 2, np.bool_)
    full[[group for group, count in counts.items() if group >= 0 and count >= cap.most]] = True
    answer: Booleans = full[cap.groups]  # the last one, which -1 finds, is never full
    return answer
