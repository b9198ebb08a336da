"""The memory's tables against dense matrices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.settings import MemorySettings
from tastemaker.model.taste_model import Memory
from tastemaker.training.memory import blocks, co_occurrence
from tastemaker.training.memory.co_occurrence import (
    added,
    buyers_of,
    count_memory,
    memories,
    ridge_memory,
)
from tastemaker.training.memory.remember import remember


def histories_of(bought):
    """Histories from ``bool[U, P]``."""
    offsets = np.concatenate(([0], np.cumsum(bought.sum(axis=1)))).astype(np.int64)
    return Histories(offsets, np.nonzero(bought)[1].astype(np.int32))


def log_of(users=200, products=14, seed=0):
    """Who bought what, long-tailed; the last user bought nothing and the last product nobody."""
    bought = np.random.default_rng(seed).random((users, products)) < np.linspace(0.6, 0.05, products)
    bought[-1], bought[:, -1] = False, False
    return bought


def dense(memory, products):
    """The table as a matrix; what it does not know is nan."""
    table = np.full((products, products), np.nan)
    for p in range(products):
        part = slice(memory.offsets[p], memory.offsets[p + 1])
        assert (np.diff(memory.products[part]) > 0).all()
        table[p, memory.products[part]] = memory.weights[part]
    return table


def counted(bought, power, damping):
    """weight(p, q) by the formula, 0 where nothing was bought together, nan on the diagonal."""
    sizes, buyers = np.maximum(bought.sum(axis=1), 1), np.maximum(bought.sum(axis=0), 1)
    table = (bought * (sizes**-damping)[:, None]).T @ bought / np.outer(buyers, buyers) ** power
    np.fill_diagonal(table, np.nan)
    return table


def count(bought, threads=2, **options):
    with ThreadPool(threads) as pool:
        return count_memory(histories_of(bought), bought.shape[1], pool=pool, **options)


def ridge(bought, threads=2, **options):
    with ThreadPool(threads) as pool:
        return ridge_memory(histories_of(bought), bought.shape[1], pool=pool, **options)


def same(one, other):
    return all(
        mine.tobytes() == theirs.tobytes()
        for mine, theirs in (
            (one.offsets, other.offsets),
            (one.products, other.products),
            (one.weights, other.weights),
        )
    )


@pytest.mark.parametrize(("power", "damping"), [(0.0, 0.0), (0.5, 0.0), (0.4, 0.25), (1.0, 1.0)])
def test_common_purchases_are_evened_out_by_the_formula(power, damping):
    bought = log_of()
    expected = counted(bought, power, damping)
    found = dense(count(bought, power=power, damping=damping, partners=14), 14)
    assert (np.isnan(found) == ~(expected > 0)).all()
    np.testing.assert_allclose(found[expected > 0], expected[expected > 0], rtol=1e-5)


def test_plain_counts_and_cosines_by_hand():
    """Users bought {0, 1}, {0, 1, 2} and {0}."""
    bought = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]], bool)
    none = np.nan
    counts = dense(count(bought, power=0, damping=0, partners=9), 3)
    np.testing.assert_array_equal(counts, [[none, 2, 1], [2, none, 1], [1, 1, none]])
    cosines = dense(count(bought, power=0.5, damping=0, partners=9), 3)
    np.testing.assert_allclose(
        cosines,
        [[none, 2 / 6**0.5, 1 / 3**0.5], [2 / 6**0.5, none, 1 / 2**0.5], [1 / 3**0.5, 1 / 2**0.5, none]],
    )


@pytest.mark.parametrize("partners", [1, 3, 6])
def test_the_strongest_partners_of_each_product_are_kept(partners):
    bought = log_of()
    expected = counted(bought, 0.5, 0.5)
    found = dense(count(bought, power=0.5, damping=0.5, partners=partners), 14)
    for p in range(13):
        kept = ~np.isnan(found[p])
        assert kept.sum() == partners
        others = ~kept & (np.arange(14) != p)
        assert np.nanmin(expected[p][kept]) >= np.nanmax(expected[p][others]) * (1 - 1e-6)


def ease(bought, penalty, damping):
    """EASE over users weighted by n^-damping: column q says what the others say about q."""
    sizes = np.maximum(bought.sum(axis=1), 1)
    gram = (bought * (sizes**-damping)[:, None]).T @ bought
    inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
    return -inverse / np.diag(inverse)


@pytest.mark.parametrize(("penalty", "damping"), [(10.0, 0.5), (1.0, 0.0), (200.0, 1.0)])
def test_among_all_products_the_regression_is_ease(penalty, damping):
    """Row p of the memory is what p in a basket says: it is read from rows, though it was solved by columns."""
    bought = log_of()[:, :13]
    found = dense(ridge(bought, penalty=penalty, damping=damping, neighbours=13), 13)
    expected = ease(bought, penalty, damping)
    assert abs(expected - expected.T).max() > 1e-3  # so that a transposed memory would be noticed
    for p in range(13):
        for q in range(13):
            if p != q:
                assert found[p, q] == pytest.approx(expected[p, q], rel=2e-3, abs=2e-5)
    assert np.isnan(np.diag(found)).all()


def test_the_regression_keeps_so_many_neighbours_of_each_candidate():
    bought = log_of()
    found = dense(ridge(bought, penalty=10, damping=0.5, neighbours=4), 14)
    assert (~np.isnan(found)).sum(axis=0).tolist() == [4] * 13 + [0]


def test_users_of_too_many_products_say_nothing(monkeypatch):
    monkeypatch.setattr(co_occurrence, "LONGEST", 6)
    bought = log_of()
    kept = bought & (bought.sum(axis=1) <= 6)[:, None]
    assert 0 < kept.any(axis=1).sum() < bought.any(axis=1).sum()
    found = dense(count(bought, power=0, damping=0.5, partners=14), 14)
    expected = counted(kept, 0, 0.5)
    np.testing.assert_allclose(found[expected > 0], expected[expected > 0], rtol=1e-5)
    assert np.isnan(found[~(expected > 0)]).all()
    by_ridge = dense(ridge(bought, penalty=10, damping=0.5, neighbours=14), 14)
    others = expected > 0
    np.testing.assert_allclose(by_ridge[others], ease(kept, 10, 0.5)[others], rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("block", [1, 5, 14, 4096])
def test_blocks_and_threads_change_no_byte(monkeypatch, block):
    bought = log_of()
    whole = (
        count(bought, power=0.4, damping=0.25, partners=5),
        ridge(bought, penalty=10, damping=0.5, neighbours=5),
    )
    monkeypatch.setattr(blocks, "PRODUCTS_AT_ONCE", block)
    for threads in (1, 3):
        assert same(count(bought, threads, power=0.4, damping=0.25, partners=5), whole[0])
        assert same(ridge(bought, threads, penalty=10, damping=0.5, neighbours=5), whole[1])


def test_permuting_the_products_permutes_the_memory():
    bought = log_of()
    order = np.random.default_rng(3).permutation(14)
    for learn in (
        lambda log: count(log, power=0.4, damping=0.25, partners=14),
        lambda log: ridge(log, penalty=10, damping=0.5, neighbours=14),
    ):
        found, permuted = dense(learn(bought), 14), dense(learn(bought[:, order]), 14)
        np.testing.assert_allclose(permuted, found[np.ix_(order, order)], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "bought",
    [
        np.ones((1, 1), bool),
        np.ones((5, 1), bool),
        np.eye(4, dtype=bool),
        np.ones((1, 4), bool),
        np.zeros((3, 2), bool),
    ],
    ids=["one purchase", "one product", "a product each", "one user", "no purchase"],
)
def test_the_smallest_logs_have_a_memory(bought):
    products = bought.shape[1]
    for memory in (
        count(bought, power=0.4, damping=0.25, partners=3),
        ridge(bought, penalty=1, damping=0.5, neighbours=3),
    ):
        assert len(memory.offsets) == products + 1
        assert memory.offsets[-1] == len(memory.products) == len(memory.weights)
        assert np.isfinite(memory.weights).all()
        shared = (bought.T.astype(int) @ bought)[~np.eye(products, dtype=bool)].any()
        assert (len(memory.products) > 0) == shared


# --- Adding memories ---------------------------------------------------------------------------------------------------------


def memory_of(rows):
    """A memory from a list of ``{product: weight}``."""
    offsets = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    return Memory(
        offsets,
        np.array([q for row in rows for q in sorted(row)], np.int32),
        np.array([row[q] for row in rows for q in sorted(row)], np.float32),
    )


@st.composite
def parts(draw):
    products = draw(st.integers(1, 6))
    row = st.dictionaries(st.integers(0, products - 1), st.sampled_from([-1.0, 0.0, 0.25, 3.0]))
    table = st.lists(row, min_size=products, max_size=products)
    return products, draw(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0]), table), max_size=3))


@given(world=parts())
@settings(deadline=None, max_examples=100)
def test_added_memories_know_what_either_knows(world):
    products, tables = world
    found = added([(weight, memory_of(rows)) for weight, rows in tables], products)
    tables = [(weight, rows) for weight, rows in tables if weight]
    if not tables:
        assert found is None
        return
    expected = np.full((products, products), np.nan)
    for weight, rows in tables:
        for p, row in enumerate(rows):
            for q, value in row.items():
                expected[p, q] = (0 if np.isnan(expected[p, q]) else expected[p, q]) + weight * value
    assert (found.offsets.dtype, found.products.dtype, found.weights.dtype) == (
        np.int64,
        np.int32,
        np.float32,
    )
    np.testing.assert_array_equal(dense(found, products), expected)


def test_a_memory_of_the_settings_is_both_tables_by_their_weights():
    bought, settings = log_of(), MemorySettings(count_weight=2.0, ridge_weight=0.5)
    histories, catalogue = (
        histories_of(bought),
        Vocabulary.of([f"p{p:02}" for p in range(14)], noun="product"),
    )
    with ThreadPool(2) as pool:
        found = dense(remember(histories, catalogue, settings, pool), 14)
        by_count, by_ridge = (dense(table, 14) for table in memories(histories, 14, settings, pool))
        expected = 2 * np.nan_to_num(by_count) + 0.5 * np.nan_to_num(by_ridge)
        np.testing.assert_allclose(np.nan_to_num(found), expected, rtol=1e-6, atol=1e-7)
        only = dense(
            remember(histories, catalogue, dataclasses.replace(settings, count_weight=0.0), pool), 14
        )
        np.testing.assert_array_equal(only, np.float32(0.5) * by_ridge.astype(np.float32))
        for nothing in (0.0, None):
            assert (
                remember(
                    histories, catalogue, MemorySettings(count_weight=nothing, ridge_weight=nothing), pool
                )
                is None
            )


def test_the_buyers_of_a_product_ascend():
    bought = log_of(20, 6)
    offsets, users = buyers_of(histories_of(bought), 6)
    for p in range(6):
        assert users[offsets[p] : offsets[p + 1]].tolist() == np.flatnonzero(bought[:, p]).tolist()


@given(seed=st.integers(0, 1_000), bits=st.sampled_from([16, 20, 24]), shards=st.integers(1, 7))
@settings(max_examples=20, deadline=None)
def test_sums_in_whole_numbers_are_the_same_bytes_in_any_order_of_the_users(seed, bits, shards):
    """The order may be that of shards, one after the other: sums of shards add up to the sum."""
    bought = log_of(users=300, seed=seed)
    order = np.concatenate([np.arange(300)[shard::shards] for shard in range(shards)])
    order = order if shards > 1 else np.random.default_rng(seed).permutation(300)
    for made, options in ((count, {"power": 0.4, "damping": 0.3, "partners": 6}),
                          (ridge, {"penalty": 3.0, "damping": 0.5, "neighbours": 5})):  # fmt: skip
        here, there = (made(rows, sum_bits=bits, **options) for rows in (bought, bought[order]))
        assert same(here, there)
        table = dense(here, 14)
        np.testing.assert_allclose(table, dense(made(bought, **options), 14), rtol=2e-3, atol=1e-5)


def test_sums_of_floats_are_not():
    bought = log_of(users=2_000)
    order = np.random.default_rng(1).permutation(2_000)
    options = {"power": 0.4, "damping": 0.3, "partners": 14}
    assert not same(count(bought, **options), count(bought[order], **options))


def test_a_sum_in_whole_numbers_is_that_of_the_rounded_weights():
    bought, bits = log_of(users=300), 24
    shares = np.rint(np.maximum(bought.sum(axis=1), 1) ** -0.3 * 2.0**bits).astype(
        object
    )  # Python's own whole numbers
    found = dense(count(bought, power=0.0, damping=0.3, partners=14, sum_bits=bits), 14)
    for p, q in np.argwhere(~np.isnan(found)):
        together = sum(shares[u] for u in np.flatnonzero(bought[:, p] & bought[:, q]))
        assert found[p, q] == np.float32(int(together) / 2**bits)


def test_a_large_table_that_goes_through_files_is_the_same_bytes(monkeypatch):
    bought = log_of()
    made = [
        (count, {"power": 0.4, "damping": 0.3, "partners": 6}),
        (ridge, {"penalty": 3.0, "damping": 0.5, "neighbours": 5}),
    ]
    here = [make(bought, **options) for make, options in made]
    monkeypatch.setattr(blocks, "LARGE", 0)
    monkeypatch.setattr(blocks, "PRODUCTS_AT_ONCE", 3)
    for (make, options), table in zip(made, here, strict=True):
        assert same(make(bought, **options), table)
    assert same(count(np.zeros((3, 4), bool), power=1, damping=0, partners=2), co_occurrence.no_memory(4))


def test_one_memory_alone_is_weighed_as_it_is_and_sorted_only_if_it_must_be():
    ascending = Memory(
        np.array([0, 2, 3]), np.array([0, 4, 1], np.int32), np.array([1.0, 2.0, 3.0], np.float32)
    )
    mixed = Memory(np.array([0, 2, 3]), np.array([4, 0, 1], np.int32), np.array([2.0, 1.0, 3.0], np.float32))
    for memory in (ascending, mixed):
        found = added([(0.0, mixed), (2.0, memory)], 5)
        assert found.products.tolist() == [0, 4, 1]
        assert found.weights.tolist() == [2.0, 4.0, 6.0]
        assert found.offsets.tolist()[:3] == [0, 2, 3]
