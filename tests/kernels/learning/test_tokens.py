"""Learning with tokens against plain float64 NumPy: the loss, and its gradient by finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import twins
from tastemaker.kernels.learning.composed import ALL, SHARED, common_room, learn_batches, own_room
from tastemaker.kernels.learning.tokens import learn_token_batches
from tastemaker.kernels.meeting import MEETING

PRODUCTS, DIMENSIONS, TOKENS = 7, 16, 5
OFFSETS = np.array([0, 3, 4, 6], np.int64)
HISTORIES = np.array([0, 2, 5, 1, 2, 6], np.int32)
QUERY_BAGS = (
    np.array([0, 1, 2, 8, 8, 9, 10]),  # some bags are read four tokens at a time, and then the rest
    np.array([0, 1, 0, 2, 1, 3, 4, 0, 2, 1], np.int32),
    np.array([1, 1, 1, 0.5, 0.3, 1, 0.7, 0.2, 1, 1], np.float32),
)
PRODUCT_BAGS = (
    np.array([0, 1, 2, 2, 7, 8, 9, 10]),
    np.array([3, 4, 3, 4, 0, 1, 2, 3, 4, 4], np.int32),
    np.array([1, 1, 1, 0.4, 0.6, 1, 0.5, 1, 2, 1], np.float32),
)
NO_BAGS = (np.zeros(7, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
NO_PRODUCT_BAGS = (np.zeros(PRODUCTS + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))


def tables(seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(PRODUCTS, DIMENSIONS)).astype(np.float32) * np.float32(0.3)
    tokens = rng.normal(size=(TOKENS, DIMENSIONS)).astype(np.float32) * np.float32(0.3)
    return vectors, tokens, rng.normal(size=PRODUCTS).astype(np.float32)


def run(
    vectors,
    tokens,
    bias,
    *,
    query_bags=QUERY_BAGS,
    product_bags=PRODUCT_BAGS,
    decay=0.0,
    rate=0.0,
    squares=1.0,
):
    sums = np.zeros(3)
    square = tuple(np.full(PRODUCTS, squares, np.float32) for _ in range(3))
    token_squares = np.full(len(tokens), squares, np.float32)
    learn_token_batches(
        0, 1, np.arange(3, dtype=np.int32), np.array([0, 3]), OFFSETS, HISTORIES, 100, query_bags, product_bags,
        vectors, tokens, bias, square, token_squares, np.full(PRODUCTS, decay, np.float32), np.full(len(tokens), decay, np.float32),
        ALL, PRODUCTS, np.ones(PRODUCTS, np.float32), np.arange(PRODUCTS, dtype=np.int32), np.zeros(PRODUCTS, np.float32),
        0.5, rate, np.uint64(5), sums,
    )  # fmt: skip
    return sums, square, token_squares


def loss_of(vectors, tokens, bias):
    """The sum over pairs of the softmax's loss over all products, as the docstring says it."""
    effective = vectors.astype(np.float64)
    for product in range(PRODUCTS):
        for place in range(PRODUCT_BAGS[0][product], PRODUCT_BAGS[0][product + 1]):
            effective[product] += PRODUCT_BAGS[2][place] * tokens[PRODUCT_BAGS[1][place]].astype(np.float64)
    loss = 0.0
    for user in range(3):
        pairs = range(OFFSETS[user], OFFSETS[user + 1])
        for pair in pairs:
            others = [HISTORIES[other] for other in pairs if other != pair]
            query = effective[others].sum(axis=0) / max(len(others), 1) ** 0.5
            for place in range(QUERY_BAGS[0][pair], QUERY_BAGS[0][pair + 1]):
                query = query + QUERY_BAGS[2][place] * tokens[QUERY_BAGS[1][place]].astype(np.float64)
            scores = effective @ query + bias
            loss -= twins.log_softmax(scores[None])[0, HISTORIES[pair]]
    return loss


def test_the_loss_is_that_of_the_plain_formula():
    vectors, tokens, bias = tables()
    sums, *_ = run(vectors, tokens, bias)
    assert sums[0] == pytest.approx(loss_of(*tables()), rel=1e-5)
    assert sums[2] == len(HISTORIES)


def test_tokens_step_down_the_gradient_of_the_loss():
    """With so great a square of past gradients, Adagrad's step is plain gradient descent."""
    vectors, tokens, bias = tables()
    run(vectors, tokens, bias, rate=1.0, squares=1e8)
    moved = (tables()[1] - tokens) * np.float32(1e4)
    for token in range(TOKENS):
        for d in (0, 7):
            up, down = tables()[1].astype(np.float64), tables()[1].astype(np.float64)
            up[token, d] += 1e-4
            down[token, d] -= 1e-4
            slope = (loss_of(tables()[0], up, tables()[2]) - loss_of(tables()[0], down, tables()[2])) / 2e-4
            assert moved[token, d] == pytest.approx(slope, rel=2e-2, abs=2e-3)


def test_a_token_is_pulled_to_zero_each_time_it_takes_part():
    vectors, tokens, bias = tables()
    _, _, free = run(vectors.copy(), tokens.copy(), bias.copy(), rate=1e-9)
    _, _, pulled = run(vectors.copy(), tokens.copy(), bias.copy(), rate=1e-9, decay=5.0)
    assert (pulled > free).all()


def bags_of(rng, count, tokens, most):
    """Bags of up to ``most`` tokens each, some empty."""
    lengths = rng.integers(0, most + 1, count)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    drawn = rng.integers(0, tokens, offsets[-1]).astype(np.int32)
    return offsets, drawn, rng.random(offsets[-1]).astype(np.float32)


def test_batches_in_one_call_learn_what_they_do_in_calls_of_their_own():
    """What a batch leaves in the room that all share changes nothing for the next: negatives drawn anew, some twice."""
    rng = np.random.default_rng(3)
    products, words, users, width, negatives = 40, 12, 20, 32, 20
    lengths = rng.integers(1, 7, users)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    histories = np.concatenate([rng.choice(products, n, replace=False) for n in lengths]).astype(np.int32)
    bags = bags_of(rng, len(histories), words, 3), bags_of(rng, products, words, 4)
    made = [rng.normal(size=(n, width)).astype(np.float32) for n in (products, words)]
    starts = np.array([0, 6, 7, 15, 20])

    def learned(calls):
        vectors, tokens = (table.copy() for table in made)
        bias, squares, sums = (
            np.zeros(products, np.float32),
            [np.zeros(products, np.float32) for _ in range(3)],
            np.zeros(3),
        )
        told = np.zeros(words, np.float32)
        for low, high in calls:
            learn_token_batches(
                low, high, np.arange(users, dtype=np.int32), starts, offsets, histories, 5, *bags, vectors, tokens, bias,
                tuple(squares), told, np.full(products, 0.01, np.float32), np.full(words, 0.02, np.float32),
                SHARED, negatives, np.full(products, 0.5, np.float32), np.arange(products, dtype=np.int32)[::-1].copy(),
                corrections, 0.5, 0.3, np.uint64(5), sums,
            )  # fmt: skip
        return [vectors, tokens, bias, told, sums, *squares]

    corrections = rng.normal(size=products).astype(np.float32)
    once, apart = learned([(0, 4)]), learned([(b, b + 1) for b in range(4)])
    assert all(np.array_equal(one, other) for one, other in zip(once, apart, strict=True))
    assert not np.array_equal(once[1], made[1])
    assert np.isfinite(once[0]).all()
    assert once[4][2] == np.minimum(lengths, 5).sum()


def test_without_tokens_products_learn_as_they_do_alone():
    vectors, tokens, bias = tables()
    run(vectors, tokens, bias, query_bags=NO_BAGS, product_bags=NO_PRODUCT_BAGS, rate=0.3, squares=0.0)
    alone, _, alone_bias = tables()
    zeros = [np.zeros(PRODUCTS, np.float32) for _ in range(3)]
    common, own = common_room(6, PRODUCTS, DIMENSIONS), own_room(6, 3, PRODUCTS, alone)
    learn_batches(
        0, 1, np.zeros(MEETING, np.int64), common, own,
        0, 1, np.arange(3, dtype=np.int32), np.array([0, 3]), OFFSETS, HISTORIES, 100, alone, alone_bias, *zeros,
        np.zeros(PRODUCTS, np.float32), ALL, PRODUCTS, np.ones(PRODUCTS, np.float32), np.arange(PRODUCTS, dtype=np.int32),
        np.zeros(PRODUCTS, np.float32), 0.5, 0.3, np.uint64(5), np.zeros(3),
    )  # fmt: skip
    np.testing.assert_allclose(vectors, alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bias, alone_bias, rtol=1e-4, atol=1e-5)
    assert np.array_equal(tokens, tables()[1])
