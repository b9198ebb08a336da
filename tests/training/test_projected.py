"""Vectors that are computed: NumPy's singular vectors, the whole of the spectral part, and when the held-out part chooses them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from style_worlds import PRODUCTS, STYLES, USERS, purchases_of_styles

from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config, preset
from tastemaker.model.folder import load, save
from tastemaker.model.settings import MemorySettings
from tastemaker.ranking.recommend import recommend
from tastemaker.training.memory.co_occurrence import memories
from tastemaker.training.memory.spectral import spectral_memory, spectrum_of, tied_vectors
from tastemaker.training.selection import objective
from tastemaker.training.selection.effort import quick_spectral
from tastemaker.training.selection.objective import with_objective
from tastemaker.training.train import train

SETTINGS = MemorySettings(spectral_rank=10, spectral_passes=40, spectral_partners=PRODUCTS)
GIVEN = preset("default").changed(dimensions=8, spectral_rank=10, trend_weight=0.0)


@pytest.fixture(scope="module")
def log() -> Purchases:
    return purchases_of_styles()


def test_the_vectors_are_the_strongest_singular_vectors_and_columns_beyond_the_rank_are_0(log):
    histories = log.histories()
    with ThreadPool(2) as pool:
        spectrum = spectrum_of(histories, PRODUCTS, SETTINGS, pool)
        eight, twelve = (tied_vectors(histories, spectrum, width, SETTINGS, pool) for width in (8, 12))
    matrix = np.zeros((USERS, PRODUCTS))
    matrix[log.user_rows, log.product_rows] = 1
    scaled = matrix * matrix.sum(1)[:, None] ** -0.3 * np.maximum(matrix.sum(0), 1) ** -0.4
    right = np.linalg.svd(scaled, full_matrices=False)[2][:STYLES]
    expected = right.T @ right * PRODUCTS / 10**0.5
    assert np.corrcoef((eight @ eight.T).ravel(), expected.ravel())[0, 1] > 0.999
    assert not twelve[:, 10:].any()
    assert twelve[:, :10].any(axis=0).all()


def test_vectors_and_table_are_together_the_whole_spectral_part_among_products_bought_together(log):
    histories = log.histories()
    with ThreadPool(2) as pool:
        spectrum = spectrum_of(histories, PRODUCTS, SETTINGS, pool)
        vectors = tied_vectors(histories, spectrum, 4, SETTINGS, pool)
        table = spectral_memory(histories, PRODUCTS, SETTINGS, pool, spectrum=spectrum, vectors=vectors)
    whole, part = spectrum.inside @ spectrum.outside.T, vectors @ vectors.T
    for p in range(0, PRODUCTS, 37):
        start, end = table.offsets[p : p + 2]
        found = table.products[start:end]
        assert len(found) > 10
        np.testing.assert_allclose(part[p, found] + table.weights[start:end], whole[p, found], atol=2e-4)
        assert (table.weights[start:end] < 0).any()


@pytest.fixture(scope="module")
def model(log):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objective, "HOPE", 1.0)
        return train(log, GIVEN, seed=1)


def test_where_the_probe_leaves_no_hope_the_vectors_are_computed_and_nothing_more_is_learned(model):
    config, told = model.record.config, model.record.metrics["objective"]
    assert (config.taste.objective, config.taste.epochs, config.memory.count_weight) == ("spectral", 1, 0.0)
    assert told["probe"] <= told["spectral"] == model.record.metrics["with_memory"]
    assert "softmax" not in told
    assert config.memory.damping == config.taste.damping == model.memory_damping
    assert config.memory.spectral_weight in objective.SPECTRAL_WEIGHTS
    assert model.product_vectors is model.basket_vectors


def test_the_held_out_weight_scales_vectors_and_table_alike_beside_the_bias(log, model):
    weight = model.record.config.memory.spectral_weight
    twice = train(log, model.record.config.changed(spectral_weight=2 * weight), seed=1)
    np.testing.assert_allclose(twice.product_vectors, model.product_vectors * 2**0.5, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(twice.memory.weights, 2 * model.memory.weights, rtol=1e-5)
    np.testing.assert_array_equal(twice.product_bias, model.product_bias)


FEW = preset("default").changed(trend_weight=0.0)


def chosen_of_few(log, brings, **patches):
    """Settings of a catalogue that limits the directions, 40 of 640 products."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objective, "BRINGS", brings)
        for name, value in patches.items():
            patch.setattr(objective, name, value)
        return train(log, FEW, seed=1)


def test_fewer_directions_are_taken_where_the_catalogue_limits_them_and_fewer_rank_better(log):
    found = chosen_of_few(log, 9.0).record.config
    assert found.memory.spectral_rank == found.taste.dimensions == PRODUCTS // 16 // 4  # of eight styles
    found = chosen_of_few(log, 9.0, FEWER=(1.5,)).record.config  # far more than there are styles
    assert found.memory.spectral_rank == found.taste.dimensions == 40
    assert train(log, GIVEN, seed=1).record.config.memory.spectral_rank == 10  # which was given


def chosen_of_many(log, weights, hope=0.0):
    """The model of the same catalogue where it does not limit the directions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objective, "has_few_products", lambda log, config: False)
        patch.setattr(objective, "HOPE", hope)
        patch.setattr(objective, "RIDGE_WEIGHTS", weights)
        return train(log, FEW, seed=1)


def test_of_many_products_all_directions_are_vectors_and_the_regression_stands_beside_them(log):
    large = chosen_of_many(log, (32.0,))
    config = large.record.config
    assert (config.taste.objective, config.memory.spectral_rank, config.taste.dimensions) == (
        "spectral",
        40,
        40,
    )
    assert (config.memory.spectral_partners, config.memory.ridge_weight) == (0, 32.0)
    assert len(large.memory.weights) > 0


def test_the_probe_has_the_regression_beside_it_so_that_it_leaves_hope_where_that_says_most(log):
    alone = chosen_of_many(log, (0.0,)).record.metrics["objective"]
    beside = chosen_of_many(log, (0.0, 32.0), hope=9.0).record.metrics["objective"]
    assert beside["probe"] > alone["probe"]
    assert "softmax" in beside
    assert "softmax" not in alone


def test_of_few_products_vectors_say_all_of_the_spectral_part_and_the_regression_stands_beside_them(log):
    model = chosen_of_few(log, 9.0, RIDGE_WEIGHTS=(32.0,))
    config = model.record.config
    assert (config.taste.objective, config.memory.ridge_weight) == ("spectral", 32.0)
    histories = log.histories()
    with ThreadPool(2) as pool:
        spectrum = spectrum_of(histories, PRODUCTS, config.memory, pool)
        ridge = memories(histories, PRODUCTS, config.memory, pool, counts=False)[1]
    whole = config.memory.spectral_weight * (spectrum.inside @ spectrum.outside.T)
    np.testing.assert_allclose(model.basket_vectors @ model.product_vectors.T, whole, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(model.memory.weights, 32 * ridge.weights, rtol=1e-6)


def test_of_few_products_a_learned_taste_has_the_spectral_part_behind_it_if_it_brings_enough(log):
    model = chosen_of_few(log, -1.0, BESIDE=(0.5,), SPECTRAL_WEIGHTS=(1e-6,))
    config, told = model.record.config, model.record.metrics["objective"]
    assert told["softmax"] > told["spectral"]
    assert (config.taste.objective, config.taste.epochs) == ("softmax", objective.EPOCHS)
    rank = config.memory.spectral_rank
    assert model.dimensions == config.taste.dimensions + rank == 128 + rank
    with ThreadPool(2) as pool:
        spectrum = spectrum_of(log.histories(), PRODUCTS, config.memory, pool)
    behind = model.basket_vectors[:, 128:] @ model.product_vectors[:, 128:].T
    np.testing.assert_allclose(behind, 0.5 * spectrum.inside @ spectrum.outside.T, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(model.basket_vectors[:, :128], model.product_vectors[:, :128])
    again = train(log, start_from=model, seed=1)
    assert again.dimensions == model.dimensions


def test_where_the_probe_leaves_hope_both_are_made_and_the_better_is_taken(log):
    model = train(log, GIVEN, seed=1)
    told = model.record.metrics["objective"]
    better = "softmax" if told["softmax"] > told["spectral"] else "spectral"
    assert model.record.config.taste.objective == better
    assert model.record.metrics["with_memory"] == told[better]


def test_the_bytes_do_not_depend_on_the_number_of_threads(log, model):
    for threads in (1, 3):
        again = train(log, model.record.config, seed=1, threads=threads)
        assert again.product_vectors.tobytes() == model.product_vectors.tobytes()
        assert again.memory.weights.tobytes() == model.memory.weights.tobytes()


def test_a_folder_of_it_loads_and_ranks_to_the_same_lists(model, tmp_path):
    save(model, tmp_path / "1")
    before, after = recommend(model, range(20), k=10), recommend(load(tmp_path / "1"), range(20), k=10)
    assert before.to_frame().equals(after.to_frame())
    assert len(before.to_frame()) == 200


def test_it_is_left_open_only_for_bare_pairs_where_nothing_was_given_for_what_is_learned(log):
    default = preset("default")
    dated = dataclasses.replace(log, times=np.arange(len(log), dtype=np.int64))
    assert with_objective(log, default).taste.objective is None
    assert with_objective(dated, default).taste.objective == "softmax"
    for given in ({"epochs": 3}, {"spectral_weight": 0.0}, {"count_weight": 1.0}):
        assert with_objective(log, default.changed(given)).taste.objective == "softmax"


def test_an_older_manifest_is_softmax_and_free_users_refuse_another_objective():
    older = {name: value for name, value in GIVEN.to_json().items() if name != "objective"}
    assert Config.from_json(older).taste.objective == "softmax"
    assert GIVEN.changed(objective="spectral").taste.objective == "spectral"
    with pytest.raises(
        SettingProblem, match=r"taste\.objective is spectral; a model of free users needs softmax"
    ):
        preset("workshop").changed(objective="spectral")


def test_a_quick_training_of_long_histories_computes_vectors_that_say_all_of_the_spectral_part(log):
    model = train(log, preset("default", effort="quick").changed(dimensions=24), seed=1)
    config = model.record.config
    assert (config.taste.objective, config.taste.epochs, config.memory.spectral_partners) == (
        "spectral",
        1,
        0,
    )
    assert (config.memory.spectral_rank, config.memory.spectral_passes) == (20, 4)  # one for 32 products
    assert model.memory is None
    assert model.record.metrics == {}  # nothing was held out
    with ThreadPool(1) as pool:
        spectrum = spectrum_of(log.histories(), PRODUCTS, config.memory, pool)
    whole = config.memory.spectral_weight * spectrum.inside @ spectrum.outside.T
    found = train(log, effort="quick", seed=1)  # as wide as there are directions
    assert found.product_vectors.shape == (PRODUCTS, 20)
    np.testing.assert_allclose(found.basket_vectors @ found.product_vectors.T, whole, atol=1e-3)
    assert not np.array_equal(found.basket_vectors, found.product_vectors)  # tilted to best sellers
    lists = recommend(model, range(USERS), k=10).to_frame()
    styles = np.zeros((USERS, STYLES))
    np.add.at(styles, (log.user_rows, log.product_rows % STYLES), 1)
    own = np.argsort(-styles, axis=1)[:, :2]
    users, products = lists["user_id"].to_numpy(), lists["product_id"].to_numpy()
    assert (own[users] == (products % STYLES)[:, None]).any(axis=1).mean() > 0.95


def test_a_quick_training_keeps_what_was_given_and_dated_logs_learn_as_before(log):
    given = preset("default", effort="quick").changed(
        spectral_rank=10, spectral_partners=7, spectral_passes=9, dimensions=8
    )
    memory = train(log, given, seed=1).record.config.memory
    assert (memory.spectral_rank, memory.spectral_partners, memory.spectral_passes) == (10, 7, 9)
    large = quick_spectral(preset("default", effort="quick"), 38_048)
    assert (large.memory.spectral_rank, large.taste.dimensions) == (256, 256)
    dated = dataclasses.replace(log, times=np.arange(len(log), dtype=np.int64))
    assert train(dated, given, seed=1).record.config.taste.objective == "softmax"
