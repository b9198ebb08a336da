"""The workshop's model: its published course on the real purchases, and NumPy's on made-up ones."""

from __future__ import annotations

import numpy as np
import pytest

import twins
from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import NoPurchases, SettingProblem
from tastemaker.model.config import preset
from tastemaker.training.train import train

PUBLISHED = np.array(
    [  # loss, accuracy, valid loss, valid accuracy of each epoch: Andre-Williams22/fashion-recommendation-system
        [4.6151, 0.0132, 4.6151, 0.0172],
        [4.6045, 0.1666, 4.6135, 0.0488],
        [4.5632, 0.3916, 4.5927, 0.0855],
        [4.4013, 0.4177, 4.4985, 0.1088],
        [4.0234, 0.3774, 4.3472, 0.1127],
        [3.5212, 0.4002, 4.2827, 0.1032],
        [2.9837, 0.4745, 4.3186, 0.0930],
        [2.4138, 0.5729, 4.4364, 0.0845],
        [1.8468, 0.6797, 4.5864, 0.0777],
        [1.3453, 0.7785, 4.7645, 0.0734],
    ]
)


def course_of(model):
    return np.array([[e.loss, e.accuracy, e.valid_loss, e.valid_accuracy] for e in model.record.epochs])


def test_the_workshop_preset_is_the_notebooks_setting_by_setting():
    wanted = {
        "dimensions": 50,
        "epochs": 10,
        "negatives": 100,
        "batch": 1024,
        "learning_rate": 100.0,
        "initial_scale": 0.05,
    }
    assert wanted.items() <= preset("workshop").to_json().items()


def test_the_published_course_is_reproduced_on_the_real_purchases(asos):
    log, valid = asos.read()
    found = course_of(train(log, preset("workshop"), valid=valid, seed=0))
    assert found.shape == PUBLISHED.shape
    early = np.arange(10)[:, None] < 6
    losses, accuracies = [0, 2], [1, 3]
    error = np.abs(found - PUBLISHED)
    assert (error[:, losses] <= np.where(early, 0.015, 0.05) * PUBLISHED[:, losses]).all()
    assert (error[:, accuracies] <= np.where(early, 0.02, 0.03)).all()


@pytest.mark.parametrize("settings", [{}, {"batch": 1000, "negatives": 7, "learning_rate": 30.0}])
def test_three_epochs_are_those_of_the_notebook_in_numpy(split, settings):
    log, valid, seed = split.train, split.held_out, 21
    config = preset("workshop").changed({"epochs": 3, "dimensions": 10, "learning_rate": 60.0} | settings)
    model = train(log, config, valid=valid, seed=seed)
    rng = np.random.default_rng([seed, 0])
    users, products = (
        ((rng.random((rows, 10), dtype=np.float32) * 2 - 1) * np.float32(0.05)).astype(np.float64)
        for rows in (len(log.users), len(log.products))
    )
    course = twins.train(
        users,
        products,
        log,
        valid=valid,
        epochs=3,
        batch=config.taste.batch,
        negatives=config.taste.negatives,
        learning_rate=config.taste.learning_rate,
        seed=seed,
    )
    found = course_of(model)
    np.testing.assert_allclose(found[:, [0, 2]], course[:, [0, 2]], rtol=1e-4)
    np.testing.assert_allclose(found[:, [1, 3]], course[:, [1, 3]], atol=0.002)
    np.testing.assert_allclose(model.user_vectors, users, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(model.product_vectors, products, rtol=1e-3, atol=1e-3)
    assert np.abs(users).max() > 0.1  # it moved


def test_the_model_is_what_was_learned_and_says_where_it_comes_from(split, small_config, workshop_model):
    model, log = workshop_model, split.train
    assert model.user_vectors.shape == (400, 12)
    assert model.product_vectors.shape == (150, 12)
    assert model.user_vectors.dtype == model.product_vectors.dtype == model.product_bias.dtype == np.float32
    assert not model.product_bias.any()
    assert (model.basket_vectors, model.memory) == (None, None)
    assert model.record.config == small_config
    assert (model.record.seed, model.record.purchases, model.record.interrupted) == (5, len(log), False)
    assert model.record.data_fingerprint == log.fingerprint()
    assert [epoch.epoch for epoch in model.record.epochs] == list(range(1, 9))
    assert all(epoch.seconds > 0 for epoch in model.record.epochs)
    assert model.record.epochs[-1].loss < model.record.epochs[0].loss - 0.3
    for user in (0, 7, 399):
        bought = set(log.product_rows[log.user_rows == user].tolist())
        assert model.histories.of(user).tolist() == sorted(bought)


def test_a_training_without_a_valid_part_measures_none(shop, small_config):
    model = train(shop.purchases, small_config.changed({"epochs": 2}))
    assert [(e.valid_loss, e.valid_accuracy) for e in model.record.epochs] == [(None, None)] * 2


def test_a_valid_part_is_never_learned_from(split, small_config):
    config = small_config.changed({"epochs": 2})
    alone, measured = train(split.train, config), train(split.train, config, valid=split.held_out)
    assert alone.user_vectors.tobytes() == measured.user_vectors.tobytes()
    assert alone.product_vectors.tobytes() == measured.product_vectors.tobytes()


def test_users_and_products_without_a_purchase_keep_a_row_and_its_first_vector(small_config):
    log = Purchases(
        Vocabulary.of(["a", "b", "silent"], noun="user", keep_order=True),
        Vocabulary.of([10, 20, 30], noun="product", keep_order=True),
        np.int32([0, 1] * 50),
        np.int32([0, 1] * 50),
    )
    model = train(log, small_config, seed=1)
    assert model.user_vectors.shape[0] == model.product_vectors.shape[0] == 3
    rng = np.random.default_rng([1, 0])
    first = (rng.random((3, 12), dtype=np.float32) * 2 - 1) * np.float32(0.05)
    assert model.user_vectors[2].tolist() == first[2].tolist()
    assert model.user_vectors[0].tolist() != first[0].tolist()
    assert model.histories.of(2).tolist() == []


def test_a_log_without_purchases_is_refused(shop, small_config):
    with pytest.raises(NoPurchases, match="no purchase to learn from"):
        train(shop.purchases.take(slice(0, 0)), small_config)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(shop, small_config, seed):
    with pytest.raises(SettingProblem, match=f"seed is {seed}"):
        train(shop.purchases, small_config, seed=seed)


def test_another_seed_gives_another_model(shop, small_config):
    config = small_config.changed({"epochs": 1})
    first, second = (train(shop.purchases, config, seed=seed) for seed in (1, 2))
    assert first.user_vectors.tobytes() != second.user_vectors.tobytes()
