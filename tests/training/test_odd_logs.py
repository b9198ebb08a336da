"""Logs at the edge of sense: each is learned from, ranked and measured without a number that is none, and as it says here."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest

from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import NoPurchases, TrainingFailed, UnknownId
from tastemaker.model.config import preset
from tastemaker.model.folder import load, save
from tastemaker.ranking.recommend import known_part, recommend, recommend_baskets, similar
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.train import train

PRESETS = ["default", "workshop"]


def log_of(pairs, users=None, products=None, times=None):
    """Return a log of (user, product) numbers; users and products may be more than those who bought or were bought."""
    pairs = np.asarray(pairs, np.int32).reshape(-1, 2)
    users, products = users or int(pairs[:, 0].max()) + 1, products or int(pairs[:, 1].max()) + 1
    return Purchases(
        Vocabulary.of([f"user-{u:07}" for u in range(users)], noun="user"),
        Vocabulary.of(np.arange(products).tolist(), noun="product"),
        np.ascontiguousarray(pairs[:, 0]),
        np.ascontiguousarray(pairs[:, 1]),
        times,
    )


def learned(name, log, tmp_path=None):
    """Train with the preset's own settings, check every number, and go through a folder when told."""
    model = train(log, preset(name), valid=log, seed=1)
    assert model.finite()
    course = [(e.loss, e.accuracy, e.valid_loss, e.valid_accuracy) for e in model.record.epochs]
    assert len(course) >= 1
    assert np.isfinite(course).all()
    if model.memory is not None:
        assert np.isfinite(model.memory.weights).all()
    return model if tmp_path is None else load(save(model, tmp_path / "1"))


def lists_of(model, users=None):
    found = recommend(model, model.users.ids if users is None else users, k=len(model.products))
    assert np.isfinite(found.lists.scores).all()
    return found


def by_buyers(model):
    """Return the products by how many users bought them, of equals the first."""
    buyers = np.bincount(model.histories.products, minlength=len(model.products))
    return np.argsort(-buyers, kind="stable").tolist()


@pytest.mark.parametrize("name", PRESETS)
def test_one_user_with_one_purchase_has_nothing_left_to_be_recommended(name, tmp_path):
    model = learned(name, log_of([(0, 0)]), tmp_path)
    assert lists_of(model).lists.lengths.tolist() == [0]
    assert recommend(model, model.users.ids, include_purchased=True).of(0)[0][0] == 0
    assert similar(model, [0]).of(0) == []


@pytest.mark.parametrize("name", PRESETS)
def test_one_product_that_all_users_bought_is_learned(name, tmp_path):
    model = learned(name, log_of([(user, 0) for user in range(40)]), tmp_path)
    assert lists_of(model).lists.lengths.tolist() == [0] * 40
    assert [product for product, _ in recommend_baskets(model, [[]]).of(0)] == [0]


@pytest.mark.parametrize("name", PRESETS)
def test_one_product_that_one_user_bought_again_and_again_is_learned(name):
    assert lists_of(learned(name, log_of([(0, 0)] * 500))).lists.lengths.tolist() == [0]


@pytest.mark.parametrize("name", PRESETS)
def test_one_user_gets_what_they_did_not_buy(name, tmp_path):
    model = learned(name, log_of([(0, product) for product in range(30)], products=35), tmp_path)
    assert sorted(lists_of(model).lists.rows.tolist()) == [30, 31, 32, 33, 34]


@pytest.mark.parametrize("name", PRESETS)
def test_users_who_are_all_alike_get_the_same_products(name):
    model = learned(name, log_of([(u, p) for u in range(50) for p in range(6)], products=8))
    lists = lists_of(model).lists
    assert {frozenset(rows.tolist()) for rows, _ in lists} == {frozenset([6, 7])}
    if name == "default":  # free users start from vectors of their own
        assert len({scores.tobytes() for _, scores in lists}) == 1


def long_tail(users, products, seed=0):
    """Return a few purchases of every user, popular products first."""
    rng = np.random.default_rng(seed)
    return [
        (user, product)
        for user in range(users)
        for product in np.unique((products * rng.random(5) ** 3).astype(int)).tolist()
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_a_user_without_a_purchase_gets_the_best_sellers(name, tmp_path):
    model = learned(name, log_of(long_tail(60, 12), users=63, products=12), tmp_path)
    nobody = model.users.ids[[60, 62]]
    first, second = (rows.tolist() for rows, _ in lists_of(model, nobody).lists)
    assert first == second
    assert first == [row for row, _ in recommend_baskets(model, [[]], k=12).of(0)]
    if name == "workshop":
        assert first == by_buyers(model)
    else:  # the learned bias follows the buyers
        assert first[0] in by_buyers(model)[:3]
        assert set(first[:6]) & set(by_buyers(model)[:6])


@pytest.mark.parametrize("name", PRESETS)
def test_a_product_that_nobody_bought_is_ranked_and_has_neighbours(name, tmp_path):
    model = learned(name, log_of(long_tail(80, 15), products=17), tmp_path)
    assert all({15, 16} <= set(rows.tolist()) for rows, _ in lists_of(model).lists)
    assert len(similar(model, [15, 16], k=5).of(1)) == 5
    assert np.isfinite(similar(model, [16], similarity="cosine").lists.scores).all()
    assert len(recommend_baskets(model, [[16]], k=20).of(0)) == 16
    if name == "default":
        empty = [row for row, _ in recommend_baskets(model, [[]], k=17).of(0)]
        assert set(empty[-2:]) == {15, 16}


@pytest.mark.parametrize("name", PRESETS)
def test_users_with_one_purchase_each_are_learned_though_nothing_can_be_held_out(name):
    model = learned(name, log_of([(user, user % 7) for user in range(100)], products=9))
    assert (lists_of(model).lists.lengths == 8).all()


@pytest.mark.parametrize("name", PRESETS)
def test_purchases_of_one_moment_are_learned(name):
    pairs = long_tail(60, 12)
    model = learned(name, log_of(pairs, times=np.full(len(pairs), 10**15)))
    assert len(lists_of(model).lists) == 60


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", PRESETS)
def test_a_log_without_purchases_is_refused(name):
    empty = log_of([(0, 0)]).take(np.zeros(1, bool))
    with pytest.raises(NoPurchases, match="no purchase to learn from"):
        train(empty, preset(name))
    with pytest.raises(NoPurchases):
        best_sellers(empty)


def hoarder(products=30_000):
    """Return the purchases of 2,000 users, after a million purchases of one."""
    rng = np.random.default_rng(0)
    hoard = np.stack([np.zeros(1_000_000, int), rng.integers(0, products, 1_000_000)], axis=1)
    return log_of(np.concatenate([hoard, np.add(long_tail(2_000, products), [1, 0])]), products=products)


def test_a_user_with_a_million_purchases_takes_no_more_than_their_share():
    """The taste samples 1,000 of their products an epoch, the memory passes over them; nothing is quadratic in their history."""
    log, config = hoarder(), preset("default").changed({"dimensions": 16, "negatives": 20, "horizon": 3})
    seen = []
    before, began = peak(), time.perf_counter()
    model = train(log, config, seed=1, progress=lambda step: seen.append((step.stage, step.purchases)))
    assert peak() - before < 1 << 30
    assert time.perf_counter() - began < 120  # a square of the history would take hours
    assert model.finite()
    assert dict(seen)["learning"] == len(model.histories.products) - len(model.histories.of(0)) + 1_000
    first, second = lists_of(model, model.users.ids[:2]).lists
    assert len(first[0]) == 30_000 - len(model.histories.of(0))
    assert len(second[0]) == 30_000 - len(model.histories.of(1))
    if model.memory is not None:  # of 30,000 products that only they bought together, none is a partner
        assert len(model.memory.products) < 100_000


def test_a_user_with_a_million_purchases_is_too_much_for_the_steps_of_the_workshop():
    """Its batches add up all purchases of a user; that diverges, which is said, and a smaller rate learns."""
    log, config = hoarder(), preset("workshop").changed({"dimensions": 8, "negatives": 10, "epochs": 1})
    with pytest.raises(TrainingFailed, match=r"not finite.*train with a lower learning_rate"):
        train(log, config, seed=1)
    model = train(log, config.changed({"learning_rate": 1.0}), seed=1)
    assert model.finite()
    assert lists_of(model, model.users.ids[:1]).lists.lengths[0] == 30_000 - len(model.histories.of(0))


@pytest.mark.parametrize("name", PRESETS)
def test_a_basket_of_unknown_products_is_parted_and_gets_the_best_sellers(name):
    """The command line says which they are (tests/cli)."""
    model = learned(name, log_of(long_tail(60, 12), products=12))
    assert known_part(model, ["3", "hat", "99", "3"]) == (["3", "3"], ["hat", "99"])
    known, unknown = known_part(model, [3, 99, -1, 3])
    assert (known, unknown) == ([3, 3], [99, -1])
    assert recommend_baskets(model, [known], k=12).of(0) == recommend_baskets(model, [[3]], k=12).of(0)
    known, _ = known_part(model, [99, -1])
    best = recommend_baskets(model, [known], k=12).of(0)
    assert best == recommend_baskets(model, [[]], k=12).of(0)
    assert len(best) == 12
    with pytest.raises(UnknownId, match="99"):
        recommend_baskets(model, [[3, 99]])
