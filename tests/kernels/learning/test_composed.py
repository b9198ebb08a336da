"""Learning from composed queries against its mathematics in plain float64 NumPy, and the proof of the logQ correction."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import twins
from tastemaker.kernels.learning.composed import (
    ALL,
    IN_BATCH,
    SHARED,
    common_room,
    draw_negatives,
    learn_batches,
    own_room,
)
from tastemaker.kernels.meeting import MEETING
from tastemaker.kernels.threads import ThreadPool
from tastemaker.training.learners.draws import draws_by_popularity

EPSILON = 1e-6
KEY = 0x1234_5678_9ABC_DEF0


# --- The twin --------------------------------------------------------------------------------------------------------------


def phase_of(key, batch):
    """A number in [0, 1) of the batch: the upper 53 bits of its mixed key."""
    return int(twins.mix64((int(key) + batch * twins.GOLDEN) % 2**64)[0] >> np.uint64(11)) / 2**53


def histories_in(batch, world):
    """The products of each user of a batch; of a history longer than ``longest``, an evenly spaced sample."""
    found = []
    for user in world.order[world.starts[batch] : world.starts[batch + 1]]:
        whole = world.histories[user]
        if len(whole) > world.longest:
            phase = phase_of(world.key, batch)
            whole = [whole[int((j + phase) * len(whole) / world.longest)] for j in range(world.longest)]
        found.append(list(whole))
    return found


def negatives_of(batch, world):
    """What the batch draws: a row evenly, kept when a coin of 24 bits falls below its chance, else exchanged for its alias."""
    products = len(world.chances)
    if world.sampling == ALL:
        return list(range(products))
    if world.sampling == IN_BATCH:
        targets = [target for history in histories_in(batch, world) for target in history]
        phase = phase_of(world.key, batch)
        return [
            targets[int((k + phase) * len(targets) / world.negatives) % len(targets)]
            for k in range(world.negatives)
        ]
    rows = twins.draws(world.key, 2 * batch, 1, world.negatives, products)[0]
    coins = twins.draws(world.key, 2 * batch + 1, 1, world.negatives, 2**24)[0]
    return [
        row if coin / 2**24 < world.chances[row] else world.aliases[row]
        for row, coin in zip(rows, coins, strict=True)
    ]


def loss_of(histories, negatives, corrections, as_target, in_basket, bias, damping):
    """The batch's loss, with the two roles of the vectors in tables of their own; and the hits."""
    loss, hits = 0.0, 0
    for history in histories:
        for place in range(len(history)):
            scores, rows, _ = scores_of(
                history, place, negatives, corrections, as_target, in_basket, bias, damping
            )
            loss -= twins.log_softmax(scores[None])[0, 0]
            plain = scores[1:] - corrections[rows[1:]]
            hits += not (plain >= scores[0]).any()  # a hit is of the scores that rank
    return loss, hits


def scores_of(history, place, negatives, corrections, as_target, in_basket, bias, damping):
    """Scores of the target at ``place`` and of its rivals, the rows of both, and the query."""
    target, others = history[place], [*history[:place], *history[place + 1 :]]
    query = np.zeros(as_target.shape[1])
    if others:
        query = in_basket[others].sum(axis=0) / len(others) ** damping
    rivals = [row for row in negatives if row != target]
    rows = np.array([target, *rivals])
    scores = as_target[rows] @ query + bias[rows]
    scores[1:] += corrections[rows[1:]]
    return scores, rows, query


def gradients_of(histories, negatives, corrections, as_target, in_basket, bias, damping):
    """The loss's gradients in its three tables."""
    by_target, by_basket, by_bias = np.zeros_like(as_target), np.zeros_like(in_basket), np.zeros_like(bias)
    for history in histories:
        for place in range(len(history)):
            scores, rows, query = scores_of(
                history, place, negatives, corrections, as_target, in_basket, bias, damping
            )
            slope = np.exp(twins.log_softmax(scores[None])[0])
            slope[0] -= 1
            np.add.at(by_target, rows, slope[:, None] * query)
            np.add.at(by_bias, rows, slope)
            others = [*history[:place], *history[place + 1 :]]
            if others:
                np.add.at(by_basket, others, slope @ as_target[rows] / len(others) ** damping)
    return by_target, by_basket, by_bias


class World:
    """Histories, tables and settings; `twin` and `kernel` learn from the same batches, each on tables of its own."""

    def __init__(
        self,
        lengths,
        products,
        *,
        dimensions,
        negatives,
        per_batch=3,
        longest=1000,
        power=0.75,
        damping=0.5,
        decay=0.05,
        sampling=SHARED,
        scale=0.4,
        key=KEY,
        corrected=True,
    ):
        rng = np.random.default_rng(42)
        popularity = np.arange(1, products + 1) ** -0.7
        self.histories = [
            np.sort(rng.choice(products, length, replace=False, p=popularity / popularity.sum())).astype(
                np.int32
            )
            for length in lengths
        ]
        self.flat = np.concatenate(self.histories)
        self.offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        self.order = rng.permutation(np.flatnonzero(lengths)).astype(np.int32)
        self.starts = np.append(np.arange(0, len(self.order), per_batch), len(self.order)).astype(np.int64)
        buyers = np.bincount(self.flat, minlength=products).astype(np.float64)
        draws = draws_by_popularity(buyers, power)
        self.chances, self.aliases = draws.chances, draws.aliases
        self.probabilities = draws.probabilities
        self.sampling, self.negatives = sampling, products if sampling == ALL else negatives
        self.corrections = np.zeros(products, np.float32)
        if corrected and sampling != ALL:
            self.corrections = -np.log(self.negatives * draws.probabilities).astype(np.float32)
        self.decay = (decay * rng.random(products)).astype(np.float32)
        self.longest, self.damping, self.rate, self.key = longest, damping, 0.1, key
        self.dimensions, width = dimensions, -(-dimensions // 16) * 16
        self.vectors = np.zeros((products, width), np.float32)
        self.vectors[:, :dimensions] = rng.normal(scale=scale, size=(products, dimensions))
        self.bias = rng.normal(scale=0.5, size=products).astype(np.float32)
        self.squares = [np.zeros(products, np.float32) for _ in range(3)]

    @property
    def batches(self):
        return len(self.starts) - 1

    def kernel(self, *parts, threads=1):
        """Learn the batches of each (first, last) part; return vectors, bias, squares and sums."""
        vectors, bias = self.vectors.copy(), self.bias.copy()
        squares, sums = [part.copy() for part in self.squares], np.zeros(3)
        for first, last in parts or [(0, self.batches)]:
            starts = self.starts[first : last + 1]
            sizes = np.minimum(np.diff(self.offsets), self.longest)[self.order]
            room = max((int(sizes[low:high].sum()) for low, high in pairwise(starts)), default=0)
            most = int(np.diff(starts).max(initial=0))
            common = common_room(room, self.negatives, vectors.shape[1])
            for array in common:
                array[:] = np.nan  # so that nothing is read before it is written
            own = [own_room(room, most, self.negatives, vectors) for _ in range(threads)]
            meeting = np.zeros(MEETING, np.int64)

            def learn(thread, _):
                learn_batches(
                    thread, threads, meeting, common, own[thread],  # noqa: B023
                    first, last, self.order, self.starts, self.offsets, self.flat, self.longest, vectors, bias,  # noqa: B023
                    *squares, self.decay, self.sampling, self.negatives, self.chances, self.aliases, self.corrections,
                    self.damping, self.rate, np.uint64(self.key), sums,
                )  # fmt: skip

            with ThreadPool(threads) as pool:
                pool.run(learn, threads)
        return vectors, bias, squares, sums

    def twin(self):
        vectors, bias = (
            self.vectors[:, : self.dimensions].astype(np.float64),
            self.bias.astype(np.float64),
        )
        squares, sums = [part.astype(np.float64) for part in self.squares], np.zeros(3)
        corrections, decay = self.corrections.astype(np.float64), self.decay.astype(np.float64)
        for batch in range(self.batches):
            histories, negatives = histories_in(batch, self), negatives_of(batch, self)
            batch_of = (histories, negatives, corrections, vectors, vectors, bias, self.damping)
            sums += [*loss_of(*batch_of), sum(map(len, histories))]
            by_target, by_basket, by_bias = gradients_of(*batch_of)
            for history in histories:
                by_target[history] += decay[history, None] * vectors[history]
                if len(history) > 1:
                    by_basket[history] += decay[history, None] * vectors[history]
            squares[0] += (by_target**2).sum(axis=1)
            squares[1] += (by_basket**2).sum(axis=1)
            squares[2] += by_bias**2
            steps = [self.rate / np.sqrt(part + EPSILON) for part in squares]
            vectors -= steps[0][:, None] * by_target + steps[1][:, None] * by_basket
            bias -= steps[2] * by_bias
        return vectors, bias, squares, sums


many = np.random.default_rng(3).integers(1, 9, 24).tolist()

WORLDS = {
    "several batches": World(many, 40, dimensions=16, negatives=32),
    "padded columns, ragged lanes": World(many, 40, dimensions=21, negatives=13),
    "one negative": World(many, 40, dimensions=4, negatives=1),
    "users with a single product": World([1, 1, 3, 1, 1, 2, 1], 9, dimensions=8, negatives=20),
    "users without a product": World([0, 3, 0, 0, 4, 2, 0], 9, dimensions=8, negatives=20),
    "a catalogue of one": World([1, 1, 1, 1], 1, dimensions=3, negatives=5),
    "a catalogue of two, all hits accidental or not": World([2, 1, 2, 1, 2], 2, dimensions=3, negatives=7),
    "many duplicates among few products": World([4, 3, 5, 2] * 3, 6, dimensions=5, negatives=100),
    "histories longer than the longest": World([17, 3, 29, 8, 5], 40, dimensions=8, negatives=16, longest=5),
    "one user a batch": World(many, 40, dimensions=16, negatives=32, per_batch=1),
    "all users in one batch": World(many, 40, dimensions=16, negatives=32, per_batch=99),
    "uniform draws": World(many, 40, dimensions=16, negatives=32, power=0.0),
    "no damping": World(many, 40, dimensions=16, negatives=32, damping=0.0),
    "means": World(many, 40, dimensions=16, negatives=32, damping=1.0),
    "no decay": World(many, 40, dimensions=16, negatives=32, decay=0.0),
    "strong decay": World(many, 40, dimensions=16, negatives=32, decay=3.0),
    "great scores": World(many, 40, dimensions=16, negatives=32, scale=3.0),
    "in-batch negatives": World(many, 40, dimensions=16, negatives=10, power=1.0, sampling=IN_BATCH),
    "more in-batch negatives than purchases": World(
        [2, 1, 3], 40, dimensions=16, negatives=50, power=1.0, sampling=IN_BATCH
    ),
    "the whole catalogue": World(many, 40, dimensions=16, negatives=0, sampling=ALL),
}


@pytest.mark.parametrize("name", WORLDS)
def test_learning_is_adagrad_on_the_sampled_softmax_of_leave_one_out_queries(name):
    world = WORLDS[name]
    vectors, bias, squares, sums = world.kernel()
    expected_vectors, expected_bias, expected_squares, expected_sums = world.twin()
    np.testing.assert_allclose(vectors[:, : world.dimensions], expected_vectors, rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(bias, expected_bias, rtol=1e-3, atol=2e-4)
    for found, expected in zip(squares, expected_squares, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)
    assert sums[0] == pytest.approx(expected_sums[0], rel=1e-4, abs=1e-6)
    assert sums[1] == pytest.approx(expected_sums[1], abs=1)  # a float32 tie may fall the other way
    assert sums[2] == expected_sums[2]


@pytest.mark.parametrize("name", WORLDS)
def test_padded_columns_stay_zero(name):
    world = WORLDS[name]
    assert not world.kernel()[0][:, world.dimensions :].any()


def test_the_twins_gradients_are_those_of_its_loss():
    """Central differences of the loss in every number of its three tables."""
    rng = np.random.default_rng(0)
    histories, negatives = [[0, 2, 3], [1], [2, 4]], [0, 1, 4, 4, 3]
    tables = [rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.normal(size=5)]
    corrections = rng.normal(size=5)
    found = gradients_of(histories, negatives, corrections, *tables, 0.5)
    for table, gradient in zip(tables, found, strict=True):
        for place in np.ndindex(table.shape):
            sides = []
            for step in (1e-5, -1e-5):
                before = table[place]
                table[place] += step
                sides.append(loss_of(histories, negatives, corrections, *tables, 0.5)[0])
                table[place] = before
            assert gradient[place] == pytest.approx((sides[0] - sides[1]) / 2e-5, abs=1e-8)


def test_batches_learned_in_several_calls_give_the_same_bytes_as_in_one():
    world = WORLDS["several batches"]

    def learned(*parts):
        vectors, bias, squares, sums = world.kernel(*parts)
        return [array.tobytes() for array in (vectors, bias, *squares, sums)]

    assert learned() == learned((0, 1), (1, 1), (1, 5), (5, world.batches))


@pytest.mark.parametrize("name", WORLDS)
def test_threads_that_learn_together_give_the_bytes_of_one(name):
    def learned(threads):
        vectors, bias, squares, sums = WORLDS[name].kernel(threads=threads)
        return [array.tobytes() for array in (vectors, bias, *squares, sums)]

    one = learned(1)
    for threads in (2, 3, 8):
        assert learned(threads) == one


def test_rows_that_take_no_part_are_not_touched():
    """Uniform draws of one negative leave most of 200 products alone, whatever their decay."""
    world = World([2, 2], 200, dimensions=8, negatives=1, power=0.0, decay=1.0, per_batch=2)
    touched = set(world.flat.tolist()) | set(negatives_of(0, world))
    vectors, bias, squares, _ = world.kernel()
    still = [row for row in range(200) if row not in touched]
    assert len(still) >= 195
    assert vectors[still].tobytes() == world.vectors[still].tobytes()
    assert bias[still].tobytes() == world.bias[still].tobytes()
    assert not any(part[still].any() for part in squares)


def test_a_target_is_left_out_of_its_own_query():
    """A user of two products: a query is exactly the other's vector, so that the loss can be had by hand."""
    world = World([2], 3, dimensions=2, negatives=0, sampling=ALL, per_batch=1)
    (first, second), vectors = world.histories[0], world.vectors[:, :2].astype(np.float64)
    loss = 0.0
    for target, other in ((first, second), (second, first)):
        scores = vectors @ vectors[other] + world.bias
        loss += np.log(np.exp(scores).sum()) - scores[target]
    assert world.kernel()[3][0] == pytest.approx(loss, rel=1e-5)


def test_a_long_history_is_sampled_evenly_and_another_batch_samples_others():
    lengths = [1000]
    picked = []
    for key in range(60):
        world = World(lengths, 1000, dimensions=1, negatives=1, longest=100, key=key * 977, decay=1.0)
        world.decay[:] = 1
        found = world.kernel()[2][0] > 0  # every target decays, and so its squares grow
        targets = set(histories_in(0, world)[0])
        assert {row for row in range(1000) if found[row]} - set(negatives_of(0, world)) <= targets
        assert len(targets) == 100
        assert (np.diff(sorted(targets)) == 10).all()
        picked.append(min(targets))
    assert set(picked) == set(range(10))


# --- The logQ correction -----------------------------------------------------------------------------------------------------

BUYERS = np.array([60, 30, 17, 9, 8, 5, 3, 2, 2, 1, 1, 0], np.float64)
TARGET = 4


def weights_of_draws(scores, corrections, negatives, batches, power=0.75):
    """The softmax weight that each product gets in the sampled loss, in ``batches`` draws of S: ``[batches, P]``.

    The draws are the kernel's own; the rest is the twin's sampled softmax, written by counts.
    """
    draws = draws_by_popularity(BUYERS, power)
    drawn, coins = np.empty(negatives, np.int32), np.empty(negatives, np.int32)
    counts = np.empty((batches, len(BUYERS)))
    for batch in range(batches):
        draw_negatives(
            SHARED,
            np.uint64(5),
            batch,
            0.0,
            np.zeros(1, np.int32),
            draws.chances,
            draws.aliases,
            drawn,
            coins,
        )
        counts[batch] = np.bincount(drawn, minlength=len(BUYERS))
    counts[:, TARGET] = 0  # accidental hits are masked,
    terms = counts * np.exp(scores + corrections)
    terms[:, TARGET] = np.exp(scores[TARGET])  # and the target competes once, uncorrected
    return terms / terms.sum(axis=1, keepdims=True)


def softmax(scores):
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


def bias_of_weights(scores, probabilities, negatives):
    """The leading term, of order 1/S, of E[weight] - softmax when the corrections are right.

    With weight_j = A_j / Z, E[A_j] = e^s_j and E[Z] the full softmax's sum, the mean of the ratio differs from the ratio of the
    means by (A_j / Z) · (Var Z / Z² - Cov(A_j, Z) / (A_j Z)), and the sums are of S independent draws.
    """
    terms = np.exp(scores)
    total, rivals = terms.sum(), np.where(np.arange(len(terms)) == TARGET, 0, terms)
    variance = (rivals**2 / probabilities).sum() - rivals.sum() ** 2
    covariance = rivals * (rivals / probabilities - rivals.sum())
    return (terms / total * variance / total**2 - covariance / total**2) / negatives


@pytest.mark.parametrize(("negatives", "batches"), [(64, 20_000), (4096, 1_000)])
def test_with_logq_the_expected_sampled_gradient_meets_the_full_softmaxs(negatives, batches):
    """By the logits the gradient is the weights less the target's one-hot: it is enough that the weights' means meet the softmax.

    What is left is the ratio's own bias, which falls as 1/S and is known; the rest lies within the mean's standard error.
    """
    scores = np.random.default_rng(8).normal(size=len(BUYERS))
    probabilities = draws_by_popularity(BUYERS, 0.75).probabilities
    weights = weights_of_draws(scores, -np.log(negatives * probabilities), negatives, batches)
    error = weights.mean(axis=0) - softmax(scores)
    spread = weights.std(axis=0) / np.sqrt(batches)
    left = bias_of_weights(scores, probabilities, negatives)
    assert (np.abs(error - left) <= 5 * spread + 0.2 * np.abs(left)).all()
    assert np.abs(left).max() < 3 / negatives
    assert np.abs(error).max() < 5 * spread.max() + 3 / negatives


def test_without_logq_it_meets_another_softmax_however_many_are_drawn():
    """Taken for uniform draws, popular products weigh P·q times too much; that softmax is met instead, within its error."""
    scores = np.random.default_rng(8).normal(size=len(BUYERS))
    products, probabilities = len(BUYERS), draws_by_popularity(BUYERS, 0.75).probabilities
    tilted = scores + np.log(products * probabilities)
    tilted[TARGET] = scores[TARGET]
    for negatives in (256, 4096):
        weights = weights_of_draws(scores, np.full(products, -np.log(negatives / products)), negatives, 1_000)
        error = weights.mean(axis=0) - softmax(scores)
        assert np.abs(error).max() > 0.05
        assert np.abs(weights.mean(axis=0) - softmax(tilted)).max() < 0.01


class Gradients(World):
    """A world whose kernel tells its gradient: the squares are so great that a step is the gradient itself.

    v - rate / √(2⁴⁰ + g²) · g is v - g to the last bit of float32 when rate is 2²⁰.
    """

    def __init__(self, **options):
        super().__init__([3, 1, 2], len(BUYERS), dimensions=16, negatives=2048, decay=0.0, **options)
        self.flat = np.array([0, 3, 7, 1, 4, 0], np.int32)
        self.histories = [self.flat[:3], self.flat[3:4], self.flat[4:]]
        draws = draws_by_popularity(BUYERS, 0.75)
        self.chances, self.aliases = draws.chances, draws.aliases
        self.corrections[:] = -np.log(self.negatives * draws.probabilities)
        self.squares = [np.full(len(BUYERS), 2.0**40, np.float32) for _ in range(3)]
        self.rate = 2.0**20

    def gradient(self):
        vectors, bias, _, _ = self.kernel()
        return np.concatenate([(self.vectors - vectors).ravel(), self.bias - bias]).astype(np.float64)

    def full_gradient(self):
        """The gradient of the exact softmax over the whole catalogue, by the twin."""
        none, vectors = np.zeros(len(BUYERS)), self.vectors.astype(np.float64)
        by_target, by_basket, by_bias = gradients_of(
            [list(history) for history in self.histories], range(len(BUYERS)), none,
            vectors, vectors, self.bias.astype(np.float64), self.damping,
        )  # fmt: skip
        return np.concatenate([(by_target + by_basket).ravel(), by_bias])


def test_the_kernels_own_gradients_average_to_the_full_softmaxs():
    """Mean of 600 sampled gradients of vectors and biases, S = 2048, against the exact one; without logQ it stays far off."""
    world = Gradients()
    exact = world.full_gradient()
    logq, uniform = world.corrections.copy(), np.full(len(BUYERS), -np.log(2048 / len(BUYERS)), np.float32)
    errors = {}
    for name, corrections in (("logQ", logq), ("none", uniform)):
        world.corrections, found = corrections, []
        for key in range(600):
            world.key = twins.stream_key(key, 1, 1)
            found.append(world.gradient())
        spread = np.std(found, axis=0) / np.sqrt(len(found))
        errors[name] = np.abs(np.mean(found, axis=0) - exact), spread
    error, spread = errors["logQ"]
    # Six purchases, weights off by less than 3/S each, times vectors of length below 2, times float32's roundings.
    assert (error <= 5 * spread + 6 * 3 / 2048 * 2 + 1e-5).all()
    assert error.max() < 0.01
    assert errors["none"][0].max() > 0.2


def test_the_whole_catalogue_is_the_full_softmax_itself():
    world = Gradients(sampling=ALL)
    world.corrections[:] = 0
    np.testing.assert_allclose(world.gradient(), world.full_gradient(), atol=3e-6)
