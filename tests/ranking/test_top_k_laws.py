"""Laws of the one ranking function, on random worlds of real numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.errors import SettingProblem
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores, top_k

seeds = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=12)


class World:
    """Random queries and candidates; each query leaves some out and adds something to some."""

    def __init__(self, seed, *, queries=None, count=None):
        rng = np.random.default_rng(seed)
        self.q = queries or int(rng.integers(1, 40))
        self.c = count or int(rng.integers(1, 2500))
        dimensions = int(rng.integers(0, 20))
        self.queries = rng.normal(size=(self.q, dimensions)).astype(np.float32)
        self.vectors = rng.normal(size=(self.c, dimensions)).astype(np.float32)
        self.bias = rng.normal(size=self.c).astype(np.float32)  # makes scores distinct
        self.excluded = [np.flatnonzero(rng.random(self.c) < rng.random() ** 4) for _ in range(self.q)]
        self.extra = [np.flatnonzero(rng.random(self.c) < 0.01) for _ in range(self.q)]
        self.weights = [rng.normal(size=len(rows)).astype(np.float32) for rows in self.extra]

    def rank(self, k, *, only=None, threads=None):
        chosen = range(self.q) if only is None else only
        exclude = Exclusions(*ragged([self.excluded[q] for q in chosen]))
        extra = ExtraScores(
            *ragged([self.extra[q] for q in chosen]),
            ragged([self.weights[q] for q in chosen], np.float32)[1],
        )
        candidates = Candidates.of(self.vectors, self.bias)
        return top_k(self.queries[list(chosen)], candidates, k, exclude=exclude, extra=extra, threads=threads)

    def permuted(self, order):
        """The same world with candidate ``order[i]`` at row i."""
        other, place = object.__new__(World), np.argsort(order)
        other.q, other.c, other.queries = self.q, self.c, self.queries
        other.vectors, other.bias = self.vectors[order], self.bias[order]
        other.excluded = [np.sort(place[rows]) for rows in self.excluded]
        other.extra = [np.sort(place[rows]) for rows in self.extra]
        other.weights = [w[np.argsort(place[rows])] for rows, w in zip(self.extra, self.weights, strict=True)]
        return other


def ragged(parts, dtype=np.int32):
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    return offsets, np.concatenate([*parts, np.zeros(0, dtype)]).astype(dtype)


def bytes_of(lists):
    return lists.offsets.tobytes(), lists.rows.tobytes(), lists.scores.tobytes()


@given(seed=seeds, k=st.integers(1, 60))
@few
def test_one_query_alone_gets_the_list_that_it_gets_in_company(seed, k):
    world = World(seed)
    together = world.rank(k)
    for q in range(world.q):
        rows, scores = together[q]
        alone = world.rank(k, only=[q])
        assert (alone.rows.tobytes(), alone.scores.tobytes()) == (rows.tobytes(), scores.tobytes())


@given(seed=seeds, k=st.integers(1, 60))
@few
def test_a_shorter_list_is_the_beginning_of_a_longer_one(seed, k):
    world = World(seed)
    short, long = world.rank(k), world.rank(2 * k)
    for (rows, scores), (more_rows, more_scores) in zip(short, long, strict=True):
        assert rows.tobytes() == more_rows[:k].tobytes()
        assert scores.tobytes() == more_scores[:k].tobytes()


@given(seed=seeds, k=st.integers(1, 60))
@few
def test_permuting_the_candidates_permutes_the_lists(seed, k):
    world = World(seed)
    order = np.random.default_rng(seed + 1).permutation(world.c)
    first, second = world.rank(k), world.permuted(order).rank(k)
    assert first.rows.tolist() == order[second.rows].tolist()
    assert first.scores.tobytes() == second.scores.tobytes()


@given(seed=seeds, k=st.integers(1, 60))
@few
def test_threads_change_no_byte(seed, k):
    world = World(seed, queries=150)
    assert (
        bytes_of(world.rank(k, threads=1))
        == bytes_of(world.rank(k, threads=2))
        == bytes_of(world.rank(k, threads=8))
    )


@given(seed=seeds, k=st.integers(1, 3000))
@few
def test_lists_are_as_long_as_can_be_ordered_distinct_and_free_of_the_excluded(seed, k):
    world = World(seed)
    for q, (rows, scores) in enumerate(world.rank(k)):
        assert len(rows) == len(set(rows.tolist())) == min(k, world.c - len(world.excluded[q]))
        assert (scores[:-1] >= scores[1:]).all()
        assert not set(rows.tolist()) & set(world.excluded[q].tolist())


def test_no_queries_get_no_lists_and_no_candidates_give_empty_ones():
    candidates = Candidates.of(np.zeros((5, 3), np.float32))
    assert len(top_k(np.zeros((0, 3), np.float32), candidates, 2)) == 0
    lists = top_k(np.zeros((2, 3), np.float32), Candidates.of(np.zeros((0, 3), np.float32)), 2)
    assert lists.lengths.tolist() == [0, 0]


@pytest.mark.parametrize("k", [0, -1])
def test_a_list_without_length_is_refused(k):
    with pytest.raises(SettingProblem, match=f"k is {k}; .* at least 1"):
        top_k(np.zeros((1, 3), np.float32), Candidates.of(np.zeros((5, 3), np.float32)), k)


def test_queries_of_another_model_are_refused():
    with pytest.raises(SettingProblem, match="the queries have 2 dimensions and the candidates 3"):
        top_k(np.zeros((1, 2), np.float32), Candidates.of(np.zeros((5, 3), np.float32)), 1)


def test_memory_is_bounded_where_the_list_is_as_long_as_the_catalogue():
    import tracemalloc

    rng = np.random.default_rng(0)
    queries, vectors = (
        rng.normal(size=(64, 4)).astype(np.float32),
        rng.normal(size=(20_000, 4)).astype(np.float32),
    )
    candidates = Candidates.of(vectors)
    top_k(queries[:1], candidates, 1)
    tracemalloc.start()
    lists = top_k(queries, candidates, 20_000, threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    result = lists.rows.nbytes + lists.scores.nbytes
    assert peak < 2.5 * result + (16 << 20)  # the keys, the lists unpacked from them, a few MiB


def test_extras_are_taken_in_any_order_and_again():
    extra = ExtraScores(np.int64([0, 2, 2, 3]), np.int32([4, 9, 1]), np.float32([0.5, 2, 7]))
    taken = extra.take(np.array([2, 0, 1, 0]))
    assert taken.offsets.tolist() == [0, 1, 3, 3, 5]
    assert taken.rows.tolist() == [1, 4, 9, 4, 9]
    assert taken.scores.tolist() == [7, 0.5, 2, 0.5, 2]


def test_joined_lists_stand_one_after_another():
    parts = [
        RankedLists(np.int64([0, 2, 2]), np.int32([5, 6]), np.float32([2, 1])),
        RankedLists(np.int64([0]), np.int32([]), np.float32([])),
        RankedLists(np.int64([0, 1]), np.int32([7]), np.float32([3])),
    ]
    joined = RankedLists.joined(parts)
    assert [(rows.tolist(), scores.tolist()) for rows, scores in joined] == [
        ([5, 6], [2, 1]),
        ([], []),
        ([7], [3]),
    ]
    assert joined.lengths.tolist() == [2, 0, 1]
    assert len(RankedLists.joined([])) == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_candidates_that_are_not_allowed_are_in_no_list_and_the_others_rank_as_without_them(
    seed, count, share
):
    rng = np.random.default_rng(seed)
    queries, vectors = (
        rng.integers(-2, 3, (5, 4)).astype(np.float32),
        rng.integers(-2, 3, (count, 4)).astype(np.float32),
    )
    allowed = rng.random(count) < share
    candidates = Candidates.of(vectors, rng.integers(-2, 3, count).astype(np.float32))
    lists = top_k(queries, candidates.only(allowed), 40)
    everything = top_k(queries, candidates, count)
    for q in range(5):
        rows, scores = everything[q]
        assert lists[q][0].tolist() == rows[allowed[rows]][:40].tolist()
        assert lists[q][1].tolist() == scores[allowed[rows]][:40].tolist()


@pytest.mark.parametrize("k", [1, 7, 300])
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_candidates_shared_out_between_threads_give_the_list_of_one_thread(monkeypatch, threads, k):
    monkeypatch.setattr("tastemaker.ranking.top_k.PANELS_A_PART", 1)
    rng = np.random.default_rng(k)
    vectors = rng.integers(-2, 3, (7000, 4)).astype(np.float32)  # many scores are equal
    queries = rng.integers(-2, 3, (3, 4)).astype(np.float32)
    rows = [np.sort(rng.choice(7000, n, replace=False)).astype(np.int32) for n in (0, 50, 6900)]
    offsets = np.cumsum([0] + [len(mine) for mine in rows])
    exclude = Exclusions(offsets, np.concatenate(rows))
    extra = ExtraScores(offsets, np.concatenate(rows[::-1]), rng.normal(size=offsets[-1]).astype(np.float32))
    extra = ExtraScores(np.cumsum([0] + [len(mine) for mine in rows[::-1]]), extra.rows, extra.scores)
    candidates = Candidates.of(vectors)
    one = top_k(queries, candidates, k, exclude=exclude, extra=extra, threads=1)
    many = top_k(queries, candidates, k, exclude=exclude, extra=extra, threads=threads)
    for field in ("offsets", "rows", "scores"):
        assert getattr(one, field).tobytes() == getattr(many, field).tobytes()
