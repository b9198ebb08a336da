"""The spectral part of the memory: NumPy's singular vectors, the same bytes everywhere, and who gets it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.model.settings import MemorySettings
from tastemaker.ranking.recommend import recommend
from tastemaker.training.memory import spectral
from tastemaker.training.memory.spectral import is_worth_trying, rank_for, spectral_memory, spectrum_of
from tastemaker.training.train import train

USERS, PRODUCTS, STYLES = 300, 320, 20
SETTINGS = MemorySettings(spectral_rank=STYLES, spectral_passes=40)
SMALL = {"dimensions": 8, "epochs": 2, "horizon": 2, "trend_weight": 0.0}


def bought(seed=1, share=0.5, noise=0.02):
    """``bool[U, P]``: each user buys a share of the products of three of twenty styles, and a few others."""
    rng = np.random.default_rng(seed)
    likes = np.zeros((USERS, STYLES), bool)
    for user in range(USERS):
        likes[user, rng.choice(STYLES, 3, replace=False)] = True
    own = likes[:, np.arange(PRODUCTS) % STYLES]
    return np.where(own, rng.random(own.shape) < share, rng.random(own.shape) < noise)


def log_of(matrix) -> Purchases:
    users, products = np.nonzero(matrix)
    return Purchases(
        Vocabulary.of(range(matrix.shape[0]), noun="user"),
        Vocabulary.of(range(matrix.shape[1]), noun="product"),
        users.astype(np.int32),
        products.astype(np.int32),
    )


def made(matrix, settings=SETTINGS, threads=2):
    with ThreadPool(threads) as pool:
        return spectrum_of(log_of(matrix).histories(), matrix.shape[1], settings, pool)


def projection(matrix, settings):
    """(buyers_r / buyers_p)^tilt (V Vᵀ)_pr P / √K, by NumPy's singular vectors."""
    sizes, buyers = matrix.sum(1), matrix.sum(0)
    scaled = (
        matrix * sizes[:, None] ** -settings.spectral_user_power * buyers**-settings.spectral_product_power
    )
    vectors = np.linalg.svd(scaled, full_matrices=False)[2][: settings.spectral_rank]
    tilt = buyers**settings.spectral_tilt
    unit = matrix.shape[1] / settings.spectral_rank**0.5
    return vectors.T @ vectors * tilt / tilt[:, None] * unit


@pytest.mark.parametrize("powers", [(0.3, 0.4, 0.15), (0.5, 0.5, 0.0)])
def test_weights_are_those_of_the_singular_vectors(powers):
    user, product, tilt = powers
    settings = dataclasses.replace(
        SETTINGS, spectral_user_power=user, spectral_product_power=product, spectral_tilt=tilt
    )
    matrix = bought()
    found = made(matrix, settings)
    expected = projection(matrix, settings)
    got = found.inside @ found.outside.T
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.999


def test_the_table_keeps_the_greatest_weights_and_nothing_of_a_product_about_itself():
    matrix = bought()
    found = made(matrix)
    with ThreadPool(2) as pool:
        settings = dataclasses.replace(SETTINGS, spectral_partners=12)
        table = spectral_memory(log_of(matrix).histories(), PRODUCTS, settings, pool)
    weights = found.inside @ found.outside.T
    np.fill_diagonal(weights, -np.inf)
    weights[matrix.T.astype(int) @ matrix.astype(int) == 0] = -np.inf  # nobody bought both
    for p in range(0, PRODUCTS, 17):
        start, end = table.offsets[p : p + 2]
        assert table.products[start:end].tolist() == sorted(np.argsort(-weights[p])[:12].tolist())
        np.testing.assert_allclose(
            table.weights[start:end], weights[p, table.products[start:end]], rtol=1e-4, atol=1e-4
        )


def test_the_bytes_do_not_depend_on_the_number_of_threads():
    matrix = bought()
    histories = log_of(matrix).histories()
    seen = set()
    for threads in (1, 2, 3, 8):
        found = made(matrix, threads=threads)
        with ThreadPool(threads) as pool:
            table = spectral_memory(histories, PRODUCTS, SETTINGS, pool)
        seen.add(
            (
                found.inside.tobytes(),
                found.outside.tobytes(),
                table.products.tobytes(),
                table.weights.tobytes(),
            )
        )
    assert len(seen) == 1


def test_only_long_histories_of_a_large_catalogue_are_worth_trying():
    settings = MemorySettings()
    assert rank_for(PRODUCTS, settings) == 20
    assert rank_for(100_000, settings) == 512
    assert is_worth_trying(log_of(bought()))
    assert not is_worth_trying(log_of(bought(share=0.2)))  # 15 products each
    assert not is_worth_trying(log_of(np.ones((50, 200), bool)))  # 200 products


def few_styles():
    """``bool[U, P]``: two of eight styles of 80 products, a seventh of which a user buys: pairs are rare, directions are few."""
    rng = np.random.default_rng(1)
    likes = np.zeros((300, 8), bool)
    for user in range(300):
        likes[user, rng.choice(8, 2, replace=False)] = True
    own = likes[:, np.arange(640) % 8]
    return np.where(own, rng.random(own.shape) < 0.13, rng.random(own.shape) < 0.01)


def test_where_histories_are_long_and_styles_are_few_the_held_out_part_chooses_it():
    model = train(log_of(few_styles()), preset("default").changed(SMALL, spectral_rank=10), seed=1)
    memory = model.record.config.memory
    assert memory.spectral_weight > 0
    assert (memory.count_weight, memory.ridge_weight) == (0.0, 0.0)
    assert model.memory is not None
    assert len(recommend(model, [0], k=10).of(0)) == 10


def test_where_it_ranks_no_better_it_weighs_nothing(monkeypatch):
    """Whatever is held out, scores along random directions find nothing."""
    matrix = bought()
    noise = np.random.default_rng(0).standard_normal((2, PRODUCTS, 20)).astype(np.float32)
    monkeypatch.setattr(spectral, "spectrum_of", lambda *_: spectral.Spectrum(noise[0], noise[1]))
    memory = train(log_of(matrix), preset("default").changed(SMALL), seed=1).record.config.memory
    assert memory.spectral_weight == 0


def test_a_weight_that_is_given_stays_and_no_spectrum_is_made_for_short_histories(monkeypatch):
    given = preset("default").changed(SMALL, count_weight=0.0, ridge_weight=0.0, spectral_weight=0.5)
    model = train(log_of(bought()), given, seed=1)
    assert model.record.config.memory.spectral_weight == 0.5
    with ThreadPool(1) as pool:
        table = spectral_memory(log_of(bought()).histories(), PRODUCTS, given.memory, pool)
    np.testing.assert_allclose(model.memory.weights, 0.5 * table.weights, rtol=1e-6)
    monkeypatch.setattr(spectral, "spectrum_of", lambda *_: 1 / 0)
    short = train(log_of(bought(share=0.2)), preset("default").changed(SMALL), seed=1)
    assert short.record.config.memory.spectral_weight == 0
