"""Cosines: when a thorough training takes them, what the model is then, and what stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from style_worlds import PRODUCTS, STYLES, USERS, purchases_of_styles

from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config, preset
from tastemaker.model.folder import load, save
from tastemaker.ranking.recommend import recommend, recommend_baskets
from tastemaker.ranking.why import parts_of
from tastemaker.training.checkpoint import Checkpoints
from tastemaker.training.cosine.learner import Cosine, shares_of
from tastemaker.training.selection import choose_cosine, objective
from tastemaker.training.selection.choose_cosine import cosine_bytes, with_cosine
from tastemaker.training.train import Recovery, estimate_bytes, train

GIVEN = preset("default", effort="thorough").changed(dimensions=24, spectral_rank=10, trend_weight=0.0)


@pytest.fixture(scope="module")
def log() -> Purchases:
    return purchases_of_styles()


@pytest.fixture(scope="module")
def model(log):
    return train(log, GIVEN.changed(objective="cosine", epochs=8, batch=500), seed=1)


def test_a_thorough_training_tries_cosines_and_takes_what_ranks_best(log, monkeypatch):
    monkeypatch.setattr(objective, "HOPE", 0.0)
    model = train(log, GIVEN, seed=1)
    told = model.record.metrics["objective"]
    best = max(("spectral", "cosine"), key=lambda name: told[name])
    assert model.record.config.taste.objective == best
    assert model.record.metrics["with_memory"] == told[best]
    assert (
        "cosine"
        not in train(log, GIVEN.changed(dimensions=23), seed=1, effort="standard").record.metrics["objective"]
    )


def test_a_thorough_training_takes_the_temperature_that_ranks_best_and_a_given_one_stays(log, monkeypatch):
    monkeypatch.setattr(objective, "HOPE", 0.0)
    given = GIVEN.changed(objective="cosine", epochs=4, batch=500)
    model = train(log, given, seed=1)
    told = model.record.metrics["temperatures"]
    assert list(told) == ["0.1", "0.15", "0.2"]
    best = max(told.values())
    enough = [float(name) for name, worth in told.items() if worth >= best * (1 - choose_cosine.MODESTY)]
    assert model.record.config.taste.temperature == enough[0]
    for settings, kept in ((given.changed(temperature=0.3), 0.3), (replace(given, effort="standard"), 0.1)):
        model = train(log, settings, seed=1)
        assert model.record.config.taste.temperature == kept
        assert "temperatures" not in model.record.metrics


def test_products_have_length_1_and_computed_directions_stand_behind_the_members(log, model):
    config = model.record.config
    assert config.memory.spectral_weight > 0
    assert shares_of(config) == [12, 12]
    np.testing.assert_allclose(np.linalg.norm(model.product_vectors[:, :12], axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.product_vectors[:, 12:], model.basket_vectors[:, 12:])
    assert not np.array_equal(model.product_vectors[:, :12], model.basket_vectors[:, :12])
    assert len(model.memory.products)


def test_users_find_the_styles_that_they_buy_and_the_typical_query_is_as_long_as_training_made_it(log, model):
    lists = recommend(model, range(USERS), k=10).to_frame()
    bought = np.zeros((USERS, STYLES))
    np.add.at(bought, (log.user_rows, log.product_rows % STYLES), 1)
    own = np.argsort(-bought, axis=1)[:, :2]
    users, products = lists["user_id"].to_numpy(), lists["product_id"].to_numpy()
    assert (own[users] == (products % STYLES)[:, None]).any(axis=1).mean() > 0.95
    sums = np.stack(
        [model.basket_vectors[log.product_rows[log.user_rows == u], :12].sum(axis=0) for u in range(USERS)]
    )
    sizes = np.bincount(log.user_rows, minlength=USERS)
    lengths = np.linalg.norm(sums, axis=1) * sizes**-0.5
    assert np.exp(np.log(lengths).mean()) == pytest.approx(
        1 / model.record.config.taste.temperature, rel=1e-4
    )


def test_reasons_of_a_basket_add_up_to_the_score(model):
    basket = [3, 11, 19]
    found = recommend_baskets(model, [basket], k=5).of(0)
    rows = np.array([product for product, _ in found], np.int32)
    parts = parts_of(model, np.array(basket, np.int32), rows)
    whole = parts.taste.sum(axis=0) + parts.memory.sum(axis=0) + parts.popularity
    np.testing.assert_allclose(whole, [score for _, score in found], rtol=1e-4)


def test_the_bytes_do_not_depend_on_threads_nor_on_an_interruption(log, model, tmp_path):
    settled = model.record.config
    for threads in (1, 3):
        again = train(log, settled, seed=1, threads=threads)
        assert again.product_vectors.tobytes() == model.product_vectors.tobytes()
        assert again.product_bias.tobytes() == model.product_bias.tobytes()
    kept = tmp_path / "kept"
    train(log, settled, seed=1, recovery=Recovery(checkpoints=Checkpoints(kept, every=5)))
    resumed = train(log, settled, seed=1, recovery=Recovery(resume=kept))
    assert resumed.product_vectors.tobytes() == model.product_vectors.tobytes()
    assert resumed.basket_vectors.tobytes() == model.basket_vectors.tobytes()


def test_a_folder_of_it_loads_and_ranks_to_the_same_lists(model, tmp_path):
    save(model, tmp_path / "1")
    before, after = recommend(model, range(20), k=10), recommend(load(tmp_path / "1"), range(20), k=10)
    assert before.to_frame().equals(after.to_frame())


def test_a_warm_start_goes_on_from_the_directions_of_the_older_model(log, model):
    learner = Cosine.start(log, model.record.config, 2)
    with ThreadPool(1) as pool:
        learner.warm_from(model, watch=lambda _: None, pool=pool)
    member = learner.members[0].vectors
    units = member / np.linalg.norm(member, axis=1, keepdims=True)
    np.testing.assert_allclose(units, model.product_vectors[:, :12], atol=1e-5)
    warm = train(log, start_from=model, seed=2)
    assert len(warm.record.epochs) == 5
    assert warm.record.config.taste.objective == "cosine"


def test_what_suits_cosines_takes_the_place_of_the_presets_values_and_what_was_given_stays():
    config = with_cosine(preset("default"))
    taste = config.taste
    assert (taste.members, taste.dimensions, taste.negatives) == (4, 640, 4_096)
    assert with_cosine(preset("default").changed(spectral_weight=0.0)).taste.dimensions == 512
    given = with_cosine(preset("default").changed(members=3, negatives=99, epochs=5, dimensions=60)).taste
    assert (given.members, given.negatives, given.epochs, given.dimensions) == (3, 99, 5, 60)
    assert Config.from_json(config.to_json()) == config


def test_shards_and_too_few_dimensions_are_refused(log):
    with pytest.raises(SettingProblem, match=r"taste\.shards is 2; with taste\.objective cosine"):
        train(log, GIVEN.changed(objective="cosine", shards=2))
    with pytest.raises(SettingProblem, match=r"taste\.dimensions is 1; .* 2 parts share them"):
        train(log, GIVEN.changed(objective="cosine", dimensions=1))


def test_memory_is_estimated_for_cosines_where_they_are_given_or_tried(log):
    thorough, standard = GIVEN, GIVEN.changed(objective="softmax")
    assert estimate_bytes(log, thorough) > estimate_bytes(log, standard) + 4 * PRODUCTS * 4 * 24
    assert cosine_bytes(log, standard) == 0
    assert cosine_bytes(log, standard.changed(objective="cosine")) > 0
