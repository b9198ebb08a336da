"""A batch of the cosine objective against its loss written out in NumPy, its gradient by differences, and Adam by its formula."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.data.purchases import Histories
from tastemaker.kernels.learning import cosine as kernels
from tastemaker.kernels.threads import ThreadPool
from tastemaker.training.cosine.batches import CosineMember, CosineTerms, Room
from tastemaker.training.learners.draws import draws_by_popularity
from twins import GOLDEN, mix64, stream_key

PRODUCTS, WIDTH, TEMPERATURE, SEED = 200, 5, 0.4, 3
BASKETS = [[1, 4, 7, 9], [0], [2, 3, 5, 7, 11, 13, 17], [150, 4]]
USERS = np.arange(len(BASKETS), dtype=np.int32)


def shares(key, numbers):
    """Draws from 0 to 1 by the number in the stream."""
    return [int(mix64((key + n * GOLDEN) % 2**64)[0]) / 2**64 for n in numbers]


def parted(key, histories):
    """The inputs and the targets of every user."""
    heard, asked = [], []
    for user in range(len(BASKETS)):
        numbers = range(histories.offsets[user], histories.offsets[user + 1])
        mine = [
            (int(histories.products[n]), s < 0.5) for n, s in zip(numbers, shares(key, numbers), strict=True)
        ]
        heard.append([p for p, is_input in mine if is_input])
        asked.append([p for p, is_input in mine if not is_input])
        if not asked[-1]:
            asked[-1].append(heard[-1].pop())
    return heard, asked


def drawn(key, batch, negatives, draws):
    """The distinct negatives of a batch, by the alias method."""
    found = []
    for i in range(negatives):
        bits = int(mix64((key + ((batch << 32) + i) * GOLDEN) % 2**64)[0])
        p = (bits >> 32) * PRODUCTS >> 32
        share = np.float32(bits & 0xFFFFFFFF) * np.float32(2.0**-32)
        found.append(p if share < draws.chances[p] else int(draws.aliases[p]))
    return set(found)


def loss_of(vectors, bias, corrections, heard, asked, candidates):
    """Σ over users of targets^-½ / users · Σ over targets t of log Σ exp z_c - z_t; own inputs do not compete."""
    total = 0.0
    for inputs, targets in zip(heard, asked, strict=True):
        query = vectors[inputs].sum(axis=0)
        query = query / np.sqrt((query**2).sum() + 1e-12)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        z = units @ query / TEMPERATURE + bias + corrections
        z[targets] -= corrections[targets]
        rivals = [c for c in candidates if c not in inputs]
        total += (len(targets) * np.log(np.exp(z[rivals]).sum()) - z[targets].sum()) / len(targets) ** 0.5
    return total / len(heard)


def differences(function, table, step=1e-5):
    """The gradient by central differences."""
    out = np.zeros_like(table)
    for place in np.ndindex(table.shape):
        kept = table[place]
        table[place] = kept + step
        above = function()
        table[place] = kept - step
        out[place] = (above - function()) / (2 * step)
        table[place] = kept
    return out


def terms_of(negatives):
    histories = Histories.from_lists([np.array(basket, np.int32) for basket in BASKETS])
    buyers = np.bincount(histories.products, minlength=PRODUCTS).astype(float)
    corrections = (
        np.random.default_rng(1).random(PRODUCTS).astype(np.float32) if negatives < PRODUCTS else None
    )
    return CosineTerms(
        histories, draws_by_popularity(buyers, 0.75), np.zeros(PRODUCTS, np.float32) if corrections is None else corrections,
        negatives, TEMPERATURE, 0.01, 4, SEED, 1,
    )  # fmt: skip


def member_of():
    rng = np.random.default_rng(2)
    member = CosineMember.start(0, WIDTH, 0.5, rng.random(PRODUCTS) * 9, SEED)
    member.bias[:] = rng.standard_normal(PRODUCTS)
    return member


@pytest.mark.parametrize("negatives", [90, PRODUCTS])
def test_a_batch_follows_the_gradient_of_the_loss_and_moves_by_adam(negatives):
    terms, member, batch = terms_of(negatives), member_of(), 2
    heard, asked = parted(stream_key(SEED, 1, 5_000), terms.histories)
    everything = negatives == PRODUCTS
    candidates = (
        set(range(PRODUCTS))
        if everything
        else drawn(stream_key(SEED, 1, 6_000), batch, negatives, terms.draws)
    )
    candidates |= {p for targets in asked for p in targets}
    vectors, bias = member.vectors.astype(float), member.bias.astype(float)
    before, corrections = vectors.copy(), terms.corrections.astype(float)

    def loss():
        return loss_of(vectors, bias, corrections, heard, asked, sorted(candidates))

    by_vectors, by_bias = differences(loss, vectors), differences(loss, bias)
    with ThreadPool(2) as pool:
        told = Room.of(terms, member, len(USERS)).learn(USERS, batch, 5, pool)
    weight = np.array([len(targets) ** -0.5 / len(USERS) for targets in asked])
    assert told[0] == pytest.approx(loss() / (weight * [len(t) for t in asked]).sum(), rel=1e-5)
    number = 3  # the third batch of the first epoch
    np.testing.assert_allclose(member.moments[0], 0.1 * by_vectors, atol=2e-6)
    np.testing.assert_allclose(member.moments[1], 0.001 * by_vectors**2, atol=1e-6)
    np.testing.assert_allclose(member.moments[2], 0.1 * by_bias, atol=2e-6)
    took_part = np.array(sorted(candidates | {p for inputs in heard for p in inputs}))
    rate = 0.01 * (1 - 0.95 * batch / 19)
    mean = member.moments[0] / (1 - 0.9**number)
    root = np.sqrt(member.moments[1].astype(float) / (1 - 0.999**number))
    np.testing.assert_allclose(
        member.vectors[took_part], (before - rate * mean / (root + 1e-8))[took_part], atol=1e-6
    )
    still = np.setdiff1d(np.arange(PRODUCTS), took_part)
    np.testing.assert_array_equal(member.vectors[still], before[still].astype(np.float32))


def test_hits_are_targets_that_score_above_all_that_is_not_the_users_own():
    terms, member = terms_of(PRODUCTS), member_of()
    _, asked = parted(stream_key(SEED, 1, 5_000), terms.histories)
    member.bias[asked[2]] = 50.0
    with ThreadPool(1) as pool:
        hits = Room.of(terms, member, len(USERS)).learn(USERS, 0, 1, pool)[1]
    weight = np.array([len(targets) ** -0.5 for targets in asked])
    won = [sum(target in asked[2] for target in targets) for targets in asked]
    assert hits == pytest.approx((weight * won).sum() / (weight * [len(t) for t in asked]).sum(), rel=1e-6)


def test_the_bytes_do_not_depend_on_the_number_of_threads_and_blocks_are_more_than_one():
    assert PRODUCTS > 3 * kernels.BLOCK
    tables = []
    for threads in (1, 2, 3, 8):
        terms, member = terms_of(PRODUCTS), member_of()
        room = Room.of(terms, member, len(USERS))
        with ThreadPool(threads) as pool:
            for batch in range(3):
                room.learn(USERS[: 4 - batch], batch, 3, pool)
        tables.append(
            [member.vectors.tobytes(), member.bias.tobytes(), *(m.tobytes() for m in member.moments)]
        )
    assert all(table == tables[0] for table in tables[1:])


def test_of_a_longer_history_about_so_many_products_take_part():
    products = np.arange(5_000, dtype=np.int32)
    offsets, lists = np.array([0, 5_000]), np.empty((2, 5_000), np.int32)
    inputs, targets = np.zeros(2, np.int64), np.zeros(2, np.int64)
    kernels.part_histories(
        np.zeros(1, np.int32),
        offsets,
        products,
        np.uint64(9),
        0.5,
        1_000,
        inputs,
        lists[0],
        targets,
        lists[1],
    )
    assert 400 < inputs[1] < 600
    assert 400 < targets[1] < 600
    assert not np.intersect1d(lists[0, : inputs[1]], lists[1, : targets[1]]).size
