"""One training step, and its parts, against the workshop's mathematics in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twins
from tastemaker.kernels.lanes import LANES
from tastemaker.kernels.learning.softmax import (
    CHUNKS,
    RANGES,
    TICKETS,
    exponentials,
    learn_purchases,
    loss_and_hit,
    measure_softmax,
    range_shift,
    score_row,
)
from tastemaker.kernels.meeting import MEETING
from tastemaker.kernels.threads import ThreadPool
from tastemaker.training.learners.free_users import entry_type
from tastemaker.training.learners.tables import blocks_of, zero_table


def test_exponentials_are_those_of_numpy():
    scores = np.linspace(-87, 0, 200_001, dtype=np.float32)
    found, powers = np.empty_like(scores), np.empty(len(scores), np.int32)
    total = exponentials(scores, np.float32(0), found, powers)
    exact = np.exp(scores.astype(np.float64))
    error = np.abs(found - exact) / exact
    assert error[scores > -15].max() < 1e-6
    assert (error < 3e-7 + 8e-8 * np.abs(scores)).all()  # roundings of x · log2(e), and of log2(e) itself
    assert total == pytest.approx(exact.sum(), rel=1e-5)


def test_exponentials_far_below_the_highest_vanish_and_stay_finite():
    scores = np.array([0, -100, -1e4, -3e38], np.float32)
    found, powers = np.empty_like(scores), np.empty(4, np.int32)
    assert exponentials(scores, np.float32(0), found, powers) == 1
    assert found[0] == 1
    assert (found[1:] < 2e-38).all()


def test_exponentials_are_of_the_difference_to_the_highest():
    scores = np.array([90, 89, 85], np.float32)
    found, powers = np.empty_like(scores), np.empty(3, np.int32)
    exponentials(scores, np.float32(90), found, powers)
    np.testing.assert_allclose(found, np.exp([0.0, -1, -5]), rtol=1e-6)


@given(st.lists(st.tuples(st.integers(-30, 30), st.integers(0, 5)), min_size=1, max_size=12))
@settings(deadline=None, max_examples=100)
def test_loss_and_hit_are_those_of_numpy(row):
    """Whole scores make ties, few products make drawn copies of the bought one."""
    scores = np.array([score for score, _ in row], np.float32) / 4
    candidates = np.array([product for _, product in row], np.int32)
    room, softmax = np.zeros((2, LANES), np.float32)
    room[: len(row)] = scores
    loss, hit = loss_and_hit(room, candidates, len(row), np.float32(1), softmax, 0)
    losses, hits = twins.losses_and_hits(scores.astype(np.float64)[None], candidates[None])
    assert loss == pytest.approx(losses[0], rel=2e-6, abs=2e-6)
    assert hit == hits[0]
    np.testing.assert_allclose(
        softmax[: len(row)], np.exp(twins.log_softmax(scores.astype(np.float64)[None]))[0], rtol=5e-6
    )


def test_a_tie_counts_against_the_bought_product_and_its_own_copy_does_not():
    scores, weights = np.ones((2, LANES), np.float32)
    assert loss_and_hit(scores, np.int32([5, 6]), 2, np.float32(1), weights, 0)[1] == 0
    assert loss_and_hit(scores, np.int32([5, 5]), 2, np.float32(1), weights, 0)[1] == 1


@pytest.mark.parametrize("dimensions", [1, 3, 16, 50])
def test_scores_are_those_of_numpy(dimensions):
    rng = np.random.default_rng(dimensions)
    query, table = rng.normal(size=dimensions), rng.normal(size=(20, dimensions))
    for count in (1, 3, 4, 9):
        rows, scores = rng.integers(0, 20, count), np.empty(count, np.float32)
        score_row(query.astype(np.float32), table.astype(np.float32), rows.astype(np.int32), scores)
        np.testing.assert_allclose(scores, table[rows] @ query, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 2**31 - 1))
@settings(deadline=None, max_examples=100)
def test_ranges_of_rows_are_few_and_no_larger_than_needed(rows):
    shift = range_shift(rows)
    assert (rows - 1) >> shift < RANGES
    assert shift == 0 or (rows - 1) >> (shift - 1) >= RANGES


def padded(table):
    """Return rows of whole cache lines that begin with one, as training makes them."""
    out = zero_table(*table.shape)
    out[:, : table.shape[1]] = table
    return out


class Kernels:
    """One batch after another through the kernels, with buffers as training makes them."""

    def __init__(self, user_vectors, product_vectors, *, negatives, longest, learning_rate, key, kind=None):
        self.dimensions = user_vectors.shape[1]
        self.users, self.products = (padded(table) for table in (user_vectors, product_vectors))
        self.width, self.rate, self.key = 1 + negatives, learning_rate, np.uint64(key)
        span = -(-longest // CHUNKS)
        self.queries, self.gradients = np.empty((2, longest, self.users.shape[1]), np.float32)
        kind = entry_type(len(product_vectors), span) if kind is None else kind
        self.entries, self.blocks = np.empty((CHUNKS, span * self.width), kind), blocks_of(self.users)
        self.weights = np.empty((CHUNKS, span * self.width), np.float32)
        self.borders = np.zeros((CHUNKS, RANGES + 1), np.int64)
        self.sums = np.zeros((CHUNKS, 8))

    def learn(self, users, products, first, *, batch=None, threads=1):
        batch = len(users) if batch is None else batch
        meeting, tickets = np.zeros(MEETING, np.int64), np.zeros((-(-len(users) // batch), TICKETS), np.int64)

        def learn(low, high):
            learn_purchases(
                threads, meeting, tickets, self.users, self.products, users, products, first, batch, self.width, self.rate,
                self.key, self.blocks, self.queries, self.gradients, self.entries, self.weights, self.borders, self.sums,
            )  # fmt: skip

        with ThreadPool(threads) as pool:
            pool.run(learn, threads)

    def bytes(self):
        return self.users.tobytes() + self.products.tobytes() + self.sums.tobytes()


def batch_of(rng, size, users, products):
    return rng.integers(0, users, size).astype(np.int32), rng.integers(0, products, size).astype(np.int32)


# users, products, dimensions, negatives, lengths of the batches
WORLDS = {
    "the workshop's shape": (300, 200, 50, 100, [256, 256, 77]),
    "many repeats within a batch": (3, 5, 8, 6, [200, 200, 10]),
    "fewer purchases than chunks": (10, 10, 4, 3, [5, 1]),
    "one product and one user": (1, 1, 3, 2, [40]),
    "more products than one range": (50, 5_000, 16, 10, [33, 32, 31]),
}


@pytest.mark.parametrize("world", WORLDS)
def test_learning_is_gradient_descent_on_the_mean_cross_entropy(world):
    users, products, dimensions, negatives, lengths = WORLDS[world]
    rng = np.random.default_rng(7)
    tables = [rng.normal(scale=0.5, size=(rows, dimensions)).astype(np.float32) for rows in (users, products)]
    kernels = Kernels(*tables, negatives=negatives, longest=max(lengths), learning_rate=5.0, key=99)
    user_vectors, product_vectors = (table.astype(np.float64) for table in tables)
    losses, hits, first = 0.0, 0, 0
    for length in lengths:
        mine, theirs = batch_of(rng, length, users, products)
        kernels.learn(mine, theirs, first)
        candidates = twins.candidates_of(theirs, 99, first, negatives, products)
        loss, hit = twins.learn_batch(user_vectors, product_vectors, mine, candidates, 5.0)
        losses, hits, first = losses + loss.sum(), hits + hit.sum(), first + length
    np.testing.assert_allclose(kernels.users[:, :dimensions], user_vectors, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(kernels.products[:, :dimensions], product_vectors, rtol=1e-4, atol=2e-5)
    assert kernels.sums[:, 0].sum() == pytest.approx(losses, rel=1e-5)
    assert kernels.sums[:, 1].sum() == pytest.approx(hits, abs=1)  # a float32 tie may fall the other way


def test_the_number_of_threads_changes_no_bit():
    rng = np.random.default_rng(1)
    tables = rng.normal(size=(40, 20)), rng.normal(size=(70, 20))
    users, products = batch_of(rng, 330, 40, 70)

    def after(kind=None, threads=1):
        kernels = Kernels(*tables, negatives=30, longest=100, learning_rate=2.0, key=5, kind=kind)
        kernels.learn(users, products, 0, batch=100, threads=threads)
        return kernels.bytes()

    assert after() == after(threads=2) == after(threads=3) == after(threads=8)
    assert after() == after(kind=np.uint64)  # as entries are where 32 bits do not hold them


def test_batches_in_one_call_are_those_of_several():
    rng = np.random.default_rng(3)
    tables = rng.normal(size=(40, 20)), rng.normal(size=(70, 20))
    users, products = batch_of(rng, 330, 40, 70)
    together, apart = (
        Kernels(*tables, negatives=30, longest=100, learning_rate=2.0, key=5) for _ in range(2)
    )
    together.learn(users, products, 0, batch=100)
    for low in range(0, 330, 100):
        apart.learn(users[low : low + 100], products[low : low + 100], low)
    assert together.bytes() == apart.bytes()


def test_measuring_equals_numpy_and_changes_nothing():
    rng = np.random.default_rng(2)
    users, products = batch_of(rng, 90, 25, 60)
    queries = rng.normal(size=(25, 12)).astype(np.float32)
    vectors = rng.normal(size=(60, 12)).astype(np.float32)
    bias = np.zeros(60, np.float32)
    before = queries.tobytes() + vectors.tobytes()
    losses, hits = np.full(90, np.nan), np.full(90, np.nan)
    for low, high in [(0, 50), (50, 90)]:
        measure_softmax(
            low, high, queries, vectors, bias, users, products, 60, 20, np.uint64(3), losses, hits
        )
    assert queries.tobytes() + vectors.tobytes() == before
    candidates = twins.candidates_of(products, 3, 0, 20, 60)
    scores = twins.score_candidates(queries.astype(np.float64), vectors.astype(np.float64), users, candidates)
    expected_losses, expected_hits = twins.losses_and_hits(scores, candidates)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5, atol=1e-6)
    assert hits.tolist() == expected_hits.tolist()
