"""The first pass over narrow copies: sums against NumPy's, and lists to the byte those of scoring all."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numba
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tastemaker as tm
from tastemaker.kernels.ranking import whole_sums
from tastemaker.kernels.ranking.beating import SHELF, most_of_shelves, rank_beating
from tastemaker.kernels.ranking.narrow import BLOCK, rank_narrow
from tastemaker.kernels.ranking.topk import unpack_keys
from tastemaker.kernels.ranking.whole_sums import GROUP, QUAD, TILE
from tastemaker.ranking.index.narrowed import (
    LONGER,
    OWN_AXES,
    by_reach,
    main_axes,
    narrow_copies,
    narrowed,
    packed_for,
)
from tastemaker.ranking.packed import pack
from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores, top_k

few = settings(deadline=None, max_examples=25)


@pytest.mark.parametrize("queries", [1, TILE])
@pytest.mark.parametrize("vnni", [False, True])
def test_sums_of_whole_numbers_are_exact_with_either_instruction(monkeypatch, vnni, queries):
    if vnni and not whole_sums.has_vnni():
        pytest.skip("this processor has no VNNI")
    monkeypatch.setattr(whole_sums, "has_vnni", lambda: vnni)
    sum_products = whole_sums.sum_products if queries == 1 else whole_sums.sum_products_of_tile

    @numba.njit
    def sums_of(codes, words, out):
        for group in range(out.shape[1] // GROUP):
            sum_products(codes, group * GROUP * QUAD * words.shape[1], words, out, group * GROUP)

    rng = np.random.default_rng(3)
    codes = rng.integers(0, 256, (3, 5, GROUP, QUAD)).astype(np.uint8)
    asked = rng.integers(-127, 128, (queries, 5, QUAD)).astype(np.int8)
    codes[0], asked[0] = 255, -127  # the greatest that there are
    out = np.empty((queries, 3 * GROUP), np.int32)
    sums_of(codes.reshape(-1), asked.reshape(queries, -1).view(np.int32), out)
    exact = np.einsum("gqcj,aqj->agc", codes.astype(np.int64), asked.astype(np.int64))
    assert np.array_equal(out, exact.reshape(queries, -1))


@pytest.mark.parametrize("own", [False, True])
def test_a_code_and_its_scale_give_a_vector_back_but_for_what_is_lost(own):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(150, 9)).astype(np.float32)
    axes = np.eye(9) if own else np.linalg.qr(rng.normal(size=(9, 7)))[0]
    copies = narrow_copies(vectors, axes=OWN_AXES if own else axes)
    quads = -(-axes.shape[1] // QUAD)
    codes = copies.codes.reshape(-1, quads, GROUP, QUAD).transpose(0, 2, 1, 3).reshape(-1, quads * QUAD)
    kept = (codes[:150, : axes.shape[1]].astype(np.float64) - 128) * copies.facts[0][:, None]
    along = vectors @ axes
    for norms, found in ((kept, copies.facts[1]), (vectors - along @ axes.T, copies.facts[2])):
        exact = np.linalg.norm(norms, axis=1)
        assert (found >= exact).all()
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)
    assert (np.abs(along - kept) <= copies.facts[0][:, None] * 0.5001).all()


def test_the_axes_of_copies_are_orthonormal_and_hold_most_of_the_vectors():
    rng = np.random.default_rng(4)
    vectors = (rng.normal(size=(5_000, 40)) * np.repeat([8.0, 2.0, 0.5], [10, 10, 20])).astype(np.float32)
    axes = main_axes(vectors)
    assert axes.shape == (40, 12)
    np.testing.assert_allclose(axes.T @ axes, np.eye(12), atol=1e-12)
    held = np.square(vectors @ axes).sum() / np.square(vectors, dtype=np.float64).sum()
    assert 0.9 <= held < 1
    assert main_axes(rng.normal(size=(5_000, 38)).astype(np.float32)).shape == (38, 36)
    vectors[7, 3] = np.inf
    assert np.array_equal(main_axes(vectors), OWN_AXES)


@pytest.mark.parametrize("vnni", [False, True])
def test_marks_are_set_where_an_upper_bound_is_above_the_score_to_beat_or_no_number(monkeypatch, vnni):
    if vnni and not whole_sums.has_vnni():
        pytest.skip("this processor has no VNNI")
    monkeypatch.setattr(whole_sums, "has_vnni", lambda: vnni)
    mark_tile = whole_sums.mark_tile

    @numba.njit
    def marks_of(codes, words, added, about, bounds, marks):
        for group in range(marks.shape[1]):
            mark_tile(codes, group * GROUP * QUAD * words.shape[1], words, added, about, bounds, group, marks)

    rng = np.random.default_rng(6)
    codes = rng.integers(0, 256, (3, 5, GROUP, QUAD)).astype(np.uint8)
    asked = rng.integers(-127, 128, (TILE, 5, QUAD)).astype(np.int8)
    added = rng.integers(-1000, 1000, TILE).astype(np.int32)
    about = rng.normal(size=(TILE, 5)).astype(np.float32)
    about[:, 0] /= 1e5
    bounds = rng.normal(size=(4, 3 * GROUP)).astype(np.float32)
    bounds[0, :5] = np.nan, np.inf, -np.inf, 3e38, -3e38
    marks = np.full((TILE, 3), 7, np.uint64)
    marks_of(codes.reshape(-1), asked.reshape(TILE, -1).view(np.int32), added, about, bounds, marks)
    found = (marks[:, :, None] >> np.arange(GROUP, dtype=np.uint64)) & np.uint64(1)
    sums = np.einsum("gqcj,aqj->agc", codes.astype(np.int64), asked.astype(np.int64)).reshape(TILE, -1)
    times, by_norm, by_scale, by_outside, beat = about.astype(np.float64).T[:, :, None]
    base, norm, scale, outside = bounds.astype(np.float64)
    upper = (
        base + norm * by_norm + outside * by_outside + scale * (by_scale + times * (sums - added[:, None]))
    )
    near = np.abs(upper - beat) < 1e-4
    assert near.mean() < 0.01
    assert ((found.reshape(TILE, -1) == 1) == ~(upper <= beat))[~near].all()


def both(vectors, bias, queries, k, *, axes=OWN_AXES, order=None, exclude=None, extra=None, threads=1):
    """Return the lists with narrow copies and those without."""
    plain = Candidates.of(vectors, bias)
    copies = replace(plain, narrow=narrow_copies(vectors, axes=axes, order=order))
    return [top_k(queries, one, k, exclude=exclude, extra=extra, threads=threads) for one in (copies, plain)]


def same(lists):
    first, second = lists
    return all(
        getattr(first, name).tobytes() == getattr(second, name).tobytes()
        for name in ("offsets", "rows", "scores")
    )


def ragged(parts, kind):
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    return offsets, np.concatenate([*parts, np.zeros(0)]).astype(kind)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-38, 1e-12, 1.0, 1e12, 1e19]), st.booleans())
@few
def test_lists_are_to_the_byte_those_of_scoring_all(seed, size, coarse):
    rng = np.random.default_rng(seed)
    count, dimensions, queries = (
        int(rng.integers(64, 4000)),
        int(rng.integers(0, 40)),
        int(rng.integers(1, 11)),
    )
    k = int(rng.integers(1, count // 32 + 1))
    vectors = rng.normal(size=(count, dimensions)) * size * rng.lognormal(0, 2, (count, 1))
    asked = rng.normal(size=(queries, dimensions))
    bias = rng.normal(size=count) * size
    if coarse:  # many equal scores
        vectors, asked, bias = np.sign(vectors) * size, np.sign(asked), np.round(bias / size) * size
    bias[rng.random(count) < 0.1] = -np.inf
    excluded = [np.flatnonzero(rng.random(count) < 0.2) for _ in range(queries)]
    more = [np.flatnonzero(rng.random(count) < 0.1) for _ in range(queries)]
    exclude = Exclusions(*ragged(excluded, np.int32))
    scores = ragged([rng.normal(size=len(rows)) * size for rows in more], np.float32)[1]
    extra = ExtraScores(*ragged(more, np.int32), scores)
    vectors, asked, bias = vectors.astype(np.float32), asked.astype(np.float32), bias.astype(np.float32)
    axes = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0][:, : int(rng.integers(0, 41))]
    for along in (OWN_AXES, main_axes(vectors), axes):
        assert same(both(vectors, bias, asked, k, axes=along, exclude=exclude, extra=extra))
        for order in (by_reach(vectors, bias), rng.permutation(count).astype(np.int32)):
            ordered = partial(both, vectors, bias, asked, k, axes=along, order=order)
            assert same(ordered(exclude=exclude, extra=extra))
            assert same(ordered(exclude=exclude))
            assert same(ordered(extra=extra, threads=2))


@pytest.mark.parametrize("spoil", [np.nan, np.inf, -np.inf, 3e38])
def test_vectors_biases_and_queries_that_are_hardly_numbers_change_nothing(spoil):
    rng = np.random.default_rng(7)
    vectors, bias = rng.normal(size=(700, 12)).astype(np.float32), rng.normal(size=700).astype(np.float32)
    asked = np.abs(rng.normal(size=(2, 12))).astype(np.float32)
    for where in (vectors[600:603], vectors[100, :5], bias[40:44]):
        where[...] = spoil
    rows = np.sort(rng.choice(700, 60, replace=False))
    scores = rng.normal(size=120).astype(np.float32)
    scores[[3, 70]] = spoil
    extra = ExtraScores(*ragged([rows, rows], np.int32), scores)
    for more in (None, extra):
        assert same(both(vectors, bias, asked, 20, extra=more))
        order = by_reach(vectors, bias)
        assert same(both(vectors, bias, asked, 20, order=order, extra=more))
        assert same(both(vectors, bias, asked * 0, 20, order=order, extra=more))
    asked[1, 3] = spoil
    assert same(both(vectors, bias, asked, 20))


def shelves_of(copies, bias):
    shelves = np.empty((2, -(-len(bias) // SHELF)), np.float32)
    most_of_shelves(copies.order.lengths, bias, copies.order.rows, shelves)
    return shelves


def test_a_shelf_tells_its_greatest_bias_and_length():
    rng = np.random.default_rng(4)
    vectors, bias = rng.normal(size=(3 * SHELF + 5, 8)).astype(np.float32), rng.normal(size=3 * SHELF + 5)
    copies = narrow_copies(vectors, order=rng.permutation(len(bias)).astype(np.int32))
    bias = bias.astype(np.float32)
    bias[copies.order.rows[SHELF + 3]] = np.nan  # what is no number may be anything
    found = shelves_of(copies, bias)
    for values, most in zip((bias, copies.order.lengths), found, strict=True):
        each = [values[copies.order.rows[low : low + SHELF]].max() for low in range(0, len(bias), SHELF)]
        assert np.array_equal(most, np.where(np.isnan(each), most[1], each))
    assert found[0, 1] > 1e38


def test_what_is_lifted_by_an_extra_comes_first_and_hardly_any_other_is_scored():
    rng = np.random.default_rng(8)
    vectors, bias = rng.normal(size=(30_000, 32)).astype(np.float32), np.zeros(30_000, np.float32)
    copies, k = narrow_copies(vectors, order=rng.permutation(30_000).astype(np.int32)), 10
    asked = rng.normal(size=(5, 32)).astype(np.float32) / 4
    rows = [np.sort(rng.choice(len(bias), 200, replace=False)) for _ in asked]
    offsets, rows = ragged(rows, np.int32)
    none, nothing = np.zeros(1, np.int64), np.zeros(0, np.int32)
    keys, counts, examined = np.empty((5, k), np.uint64), np.empty(5, np.int64), np.empty(5, np.int64)
    rank_beating(
        0, 5, asked, vectors, copies.axes, copies.codes, copies.facts,
        copies.order.rows, copies.order.places, copies.order.lengths, shelves_of(copies, bias), bias, none, nothing,
        offsets, rows, np.full(len(rows), 20, np.float32), keys, counts, examined,
    )  # fmt: skip
    assert (counts == k).all()
    assert (examined <= 200).all()
    scores, found = np.empty(5 * k, np.float32), np.empty(5 * k, np.int32)
    unpack_keys(keys.reshape(-1), found, scores)
    for q, mine in enumerate(found.reshape(5, k)):
        exact = np.full(len(bias), -np.inf)
        lifted = rows[offsets[q] : offsets[q + 1]]
        exact[lifted] = vectors[lifted].astype(np.float64) @ asked[q] + 20
        assert np.array_equal(mine, np.argsort(-exact, kind="stable")[:k])


@pytest.mark.parametrize("threads", [2, 3])
def test_parts_of_the_candidates_ranked_apart_give_one_list(monkeypatch, threads):
    monkeypatch.setattr("tastemaker.ranking.top_k.BLOCKS_A_PART", 1)
    rng = np.random.default_rng(2)
    vectors, bias = (
        rng.normal(size=(5 * BLOCK - 7, 8)).astype(np.float32),
        np.zeros(5 * BLOCK - 7, np.float32),
    )
    rows = np.sort(rng.choice(len(bias), 900, replace=False)).astype(np.int32)
    extra = ExtraScores(np.array([0, 900]), rows, rng.normal(size=900).astype(np.float32))
    exclude = Exclusions(np.array([0, 450]), rows[::2].copy())
    asked = rng.normal(size=(1, 8)).astype(np.float32)
    assert same(both(vectors, bias, asked, 30, exclude=exclude, extra=extra, threads=threads))


def test_few_candidates_are_scored_exactly():
    rng = np.random.default_rng(5)
    vectors, bias = rng.normal(size=(20_000, 32)).astype(np.float32), np.zeros(20_000, np.float32)
    copies = narrow_copies(vectors)
    none, rows, scores = np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)
    examined = np.empty(3, np.int64)
    rank_narrow(
        0, 3, 0, -(-20_000 // BLOCK), rng.normal(size=(3, 32)).astype(np.float32), vectors,
        copies.axes, copies.codes, copies.facts, bias,
        none, rows, none, rows, scores, np.empty((3, 10), np.uint64), np.empty(3, np.int64), examined,
    )  # fmt: skip
    assert (examined >= 10).all()
    assert (examined < 100).all()
    order = narrow_copies(vectors, order=rng.permutation(20_000).astype(np.int32))
    rank_beating(
        0, 3, rng.normal(size=(3, 32)).astype(np.float32), vectors, order.axes, order.codes, order.facts,
        order.order.rows, order.order.places, order.order.lengths, shelves_of(order, bias), bias,
        none, rows, none, rows, scores, np.empty((3, 10), np.uint64), np.empty(3, np.int64), examined,
    )  # fmt: skip
    assert (examined >= 10).all()
    assert (examined < 200).all()


def seconds_of(monkeypatch, pays):
    """Let what takes time be half where it is in ``pays``: queries at once, the length of their lists, and the number of axes."""
    asked = []

    def seconds(one, queries, length, together):
        asked.append((together, length))
        axes = 0 if one.narrow is None else one.narrow.axes.shape[1] or one.dimensions
        return 0.5 if (together, length, axes) in pays else 1.0

    monkeypatch.setattr("tastemaker.ranking.index.narrowed._seconds", seconds)
    return asked


def test_copies_are_read_only_where_they_were_faster(monkeypatch):
    vectors = np.random.default_rng(1).normal(size=(3_000, 8)).astype(np.float32)
    plain = Candidates.of(vectors)
    pays = {(16, 10, 8), (16, 30, 8), (1, 10, 8)}
    asked = seconds_of(monkeypatch, pays)
    found = narrowed(plain, vectors)
    assert found.narrow is not None
    assert (found.narrow.most, found.narrow.longest) == (2**31 - 1, 30)
    assert found.only(np.ones(3_000, bool)).narrow is found.narrow
    assert narrowed(found, vectors) is found
    asked.clear()
    assert narrowed(plain, vectors, for_many=20) is plain
    pays.add((64, 20, 8))
    asked.clear()
    found = narrowed(plain, vectors, for_many=20)
    assert (found.narrow.most, found.narrow.longest) == (2**31 - 1, 40)
    assert set(asked) == {(64, 20), (16, 20)}
    pays -= {(16, 10, 8), (16, 30, 8)}
    found = narrowed(plain, vectors)
    assert (found.narrow.most, found.narrow.longest) == (1, 10)
    pays.clear()
    assert narrowed(plain, vectors) is plain
    assert narrowed(Candidates.of(vectors[:100]), vectors[:100]).narrow is None


def test_copies_are_along_the_axes_that_make_one_list_soonest(monkeypatch):
    rng = np.random.default_rng(2)
    vectors = (rng.normal(size=(3_000, 16)) * np.repeat([8.0, 0.5], [4, 12])).astype(np.float32)
    plain = Candidates.of(vectors)
    seconds_of(monkeypatch, {(1, 10, 4), (1, 100, 4), (16, 10, 4)})
    assert narrowed(plain, vectors).narrow.axes.shape == (16, 4)
    seconds_of(monkeypatch, {(1, 10, 16), (1, 100, 16), (16, 10, 16), (16, 10, 4)})
    assert narrowed(plain, vectors).narrow.axes is OWN_AXES


def test_copies_for_many_users_stand_in_an_order(monkeypatch):
    rng = np.random.default_rng(9)
    vectors, bias = rng.normal(size=(3_000, 8)).astype(np.float32), rng.normal(size=3_000).astype(np.float32)
    plain = Candidates.of(vectors, bias)
    seconds_of(monkeypatch, {(64, 10, 8), (1, 10, 8)})
    assert narrowed(plain, vectors).narrow.order is None
    order = narrowed(plain, vectors, for_many=10).narrow.order
    assert np.array_equal(np.sort(order.rows), np.arange(3_000))
    assert np.array_equal(order.rows[order.places], np.arange(3_000))
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    assert (order.lengths >= lengths).all()
    assert (order.lengths <= lengths * 1.05).all()
    reach = bias + LONGER * lengths.mean() * lengths
    assert (np.diff(reach[order.rows]) <= 1e-5).all()


@pytest.mark.parametrize(
    ("most_tried", "ordered", "taken"), [(70_000, 0.2, True), (70_000, 0.4, False), (2_500, 0.2, False)]
)
def test_copies_for_a_few_lists_stand_in_an_order_where_these_come_sooner_by_it_in_the_mean(
    monkeypatch, most_tried, ordered, taken
):
    vectors = np.random.default_rng(4).normal(size=(3_000, 8)).astype(np.float32)

    def seconds(one, _, length, together):
        if one.narrow is None:
            return 1.0
        if one.narrow.order is None:
            return 0.5
        return ordered if (length, together) == (10, 16) else 0.6

    monkeypatch.setattr("tastemaker.ranking.index.narrowed._seconds", seconds)
    monkeypatch.setattr("tastemaker.ranking.index.narrowed.MANY", most_tried)
    found = narrowed(Candidates.of(vectors), vectors).narrow
    assert (found.order is not None) == taken


def test_a_model_is_made_ready_for_many_lists_only_where_they_are_much_work(monkeypatch):
    model = tm.best_sellers(
        tm.read_purchases(pl.DataFrame({"user": ["ann", "bob"], "product": ["hat", "sock"]}))
    )
    ready = Candidates.of(model.product_vectors, model.product_bias)
    monkeypatch.setattr("tastemaker.ranking.index.narrowed.narrowed_products", lambda *_, **__: ready)
    monkeypatch.setattr("tastemaker.ranking.index.narrowed.FEWEST_LISTS", 3)
    packed = pack(model)
    assert packed_for(packed, 2, 10) is packed
    assert packed_for(packed, 3, 10).candidates is ready
    already = pack(model, candidates=Candidates.of(model.product_vectors))
    assert packed_for(already, 3, 10) is already
