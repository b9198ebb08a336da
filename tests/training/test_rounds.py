"""Learning on shards: the same bytes at any number of threads, as good as in one piece, and put together by a formula."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tastemaker as tm
from tastemaker.errors import SettingProblem
from tastemaker.training.sharded import shards as shards_module
from tastemaker.training.sharded.lesson import Tables
from tastemaker.training.sharded.rounds import Moved, merge, moved_between
from tastemaker.training.sharded.shards import shard_of

SETTINGS = {"epochs": 4, "dimensions": 16, "decay": 0.01, "memory.count_weight": 0, "memory.ridge_weight": 0,
            "memory.spectral_weight": 0, "memory.directed_weight": 0, "trend.weight": 0, "repeats.weight": 0,
            "repeats.sales": 0, "repeats.level": 0, "live.rate": 0, "order.taste_places": 0, "order.taste_days": 0,
            "order.memory_places": 0, "order.memory_days": 0}  # fmt: skip
"""Nothing is left to choose"""


@pytest.fixture(scope="module")
def pairs(split):
    """The shop's log without times, so that the vectors alone are learned."""
    return replace(split.train, times=None)


def digest(model):
    arrays = (model.product_vectors, model.product_bias)
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


# Shards -------------------------------------------------------------------------------------------------------


def twin(id):
    """FNV-1a for texts, then the finaliser of SplitMix64, in Python's whole numbers."""
    wrap = 2**64
    key = 14695981039346656037 if isinstance(id, str) else id % wrap
    for byte in id.encode() if isinstance(id, str) else b"":
        key = (key ^ byte) * 1099511628211 % wrap
    key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 % wrap
    key = (key ^ key >> 27) * 0x94D049BB133111EB % wrap
    return key ^ key >> 31


@given(st.lists(st.text(max_size=12) | st.just("ä" * 40), max_size=30), st.integers(1, 9))
def test_a_text_is_hashed_as_its_definition_says(ids, shards):
    assert shard_of(pl.Series(ids, dtype=pl.String), shards).tolist() == [twin(id) % shards for id in ids]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30), st.integers(1, 9))
def test_a_number_is_hashed_as_its_definition_says(ids, shards):
    assert shard_of(pl.Series(ids, dtype=pl.Int64), shards).tolist() == [twin(id) % shards for id in ids]


def test_blocks_of_texts_change_nothing(monkeypatch):
    ids = pl.Series([f"user {number}" for number in range(100)])
    whole = shard_of(ids, 7)
    monkeypatch.setattr(shards_module, "AT_ONCE", 9)
    assert np.array_equal(shard_of(ids, 7), whole)


# What is put together -----------------------------------------------------------------------------------------


def tables_of(vectors, squares):
    vectors, squares = np.array(vectors, np.float32), np.array(squares, np.float32)
    return Tables(vectors, vectors[:, 0].copy(), (squares.copy(), squares.copy(), squares.copy()))


def moved(rows, by, grown):
    by = np.array(by, np.float32)
    return Moved(np.array(rows, np.int32), by, by[:, 0].copy(), np.array([grown] * 3, np.float32))


def test_rows_of_one_shard_move_as_far_as_it_moved_them():
    tables = tables_of([[1, 2], [3, 4], [5, 6]], [1, 1, 1])
    merge(tables, [moved([0], [[10, 20]], [3]), moved([2], [[-5, -6]], [8])])
    assert tables.vectors.tolist() == [[11, 22], [3, 4], [0, 0]]
    assert tables.bias.tolist() == [11, 3, 0]
    assert tables.squares[1].tolist() == [4, 1, 9]


def test_a_row_of_two_shards_moves_by_both_each_damped_by_the_squares_of_all():
    tables = tables_of([[0, 0]], [1])
    merge(tables, [moved([0], [[10, 20]], [3]), moved([0], [[1, 1]], [12])])
    shares = np.sqrt([(1 + 3) / (1 + 15), (1 + 12) / (1 + 15)])
    assert np.allclose(tables.vectors[0], 10 * shares[0] * np.array([1, 2]) + shares[1])
    assert np.allclose(tables.bias[0], 10 * shares[0] + shares[1])
    assert tables.squares[0].tolist() == [16]


def test_with_great_squares_what_shards_moved_adds_up_and_from_nothing_it_grows_as_the_root():
    old, new = tables_of([[0.0]], [1e6]), tables_of([[0.0]], [0])
    for tables in (old, new):
        merge(tables, [moved([0], [[1.0]], [1])] * 4)
    assert old.vectors[0, 0] == pytest.approx(4, rel=1e-4)
    assert new.vectors[0, 0] == pytest.approx(2)


def test_a_shard_learns_on_a_copy_and_tells_only_what_it_moved():
    tables = tables_of([[1, 2], [3, 4]], [1, 1])

    own = tables.copy()
    own.vectors[1] += 1
    own.bias[1] -= 1
    own.squares[0][1] += 2
    found = moved_between(tables, own)
    assert (found.rows.tolist(), found.vectors.tolist(), found.bias.tolist()) == ([1], [[1, 1]], [-1])
    assert found.squares.tolist() == [[2], [0], [0]]
    assert tables.vectors.tolist() == [[1, 2], [3, 4]]


# Models -------------------------------------------------------------------------------------------------------


def test_threads_change_no_byte_of_what_is_learned_on_shards(pairs):
    found = {digest(tm.train(pairs, seed=3, threads=threads, shards=5, **SETTINGS)) for threads in (1, 2, 4)}
    assert len(found) == 1
    assert digest(tm.train(pairs, seed=3, threads=2, **SETTINGS)) not in found


def test_eight_shards_rank_nearly_as_well_as_one_piece(pairs, split):
    def ndcg(shards):
        means = [
            tm.evaluate(tm.train(pairs, seed=seed, shards=shards, **SETTINGS | {"epochs": 12}), split.held_out, at=20)
            .metrics["ndcg@20"].mean
            for seed in range(3)
        ]  # fmt: skip
        return np.mean(means)

    sellers = tm.evaluate(tm.best_sellers(pairs), split.held_out, at=20).metrics["ndcg@20"].mean
    one = ndcg(1)
    assert one > 1.2 * sellers  # there is something to lose
    assert ndcg(8) > 0.97 * one


def test_an_interrupted_training_on_shards_goes_on_to_the_same_bytes(pairs, tmp_path):
    from tastemaker.training.checkpoint import Checkpoints

    whole = tm.train(pairs, seed=1, shards=3, **SETTINGS)
    kept = tm.Recovery(checkpoints=Checkpoints(tmp_path / "state", every=3))
    tm.train(pairs, seed=1, shards=3, **SETTINGS, recovery=kept)
    resumed = tm.train(pairs, seed=1, shards=3, **SETTINGS, recovery=tm.Recovery(resume=tmp_path / "state"))
    assert digest(resumed) == digest(whole)
    assert whole.record.config.taste.shards == 3


def test_more_shards_than_users_leave_some_empty():
    log = pl.DataFrame({"user": [1, 1, 2, 2], "product": ["a", "b", "a", "b"]})
    model = tm.train(log, shards=50, **SETTINGS)
    assert np.isfinite(model.product_vectors).all()


def test_a_log_with_attributes_is_refused_in_words(pairs):
    features = pl.DataFrame({"colour": [f"c{row % 5}" for row in range(len(pairs.products))]})
    told = replace(pairs, product_features=features)
    with pytest.raises(SettingProblem, match=r"taste\.shards is 2; a log with attributes"):
        tm.train(told, shards=2, **SETTINGS | {"tokens.columns": "product:colour"})
    with pytest.raises(SettingProblem, match=r"taste\.shards is 0; it must be at least 1"):
        tm.train(pairs, shards=0, **SETTINGS)
