"""The baselines, counted and solved by hand in worlds small enough for it."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import polars as pl
import pytest

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.readers import read_purchases
from tastemaker.data.synthetic.shop import make_shop
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import NoPurchases, SettingProblem
from tastemaker.evaluation.evaluate import evaluate
from tastemaker.model.folder import load, read_manifest, save
from tastemaker.ranking.recommend import recommend
from tastemaker.ranking.scores import score
from tastemaker.training.baselines.als import als
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.baselines.co_purchase import co_purchase
from tastemaker.training.baselines.ease import ease

BASKETS = {
    "ann": "hat scarf",
    "bob": "hat scarf",
    "cat": "hat shoe",
    "dan": "sock",
    "eve": "sock",
    "fay": "sock",
}
LOG = read_purchases(
    pl.DataFrame(
        [(user, product) for user, products in BASKETS.items() for product in products.split()],
        schema=["user", "product"],
        orient="row",
    )
)
BASELINES = {
    "co-purchase": co_purchase,
    "EASE": ease,
    "ALS": partial(als, factors=8, regularization=1.0, alpha=5.0),
}


@pytest.fixture(params=BASELINES)
def baseline(request):
    if request.param == "ALS":
        pytest.importorskip("implicit", reason="ALS needs implicit")
    return BASELINES[request.param]


def table(model) -> np.ndarray:
    """Return the memory as a dense matrix, basket by candidate."""
    size = len(model.products)
    dense = np.zeros((size, size), np.float32)
    dense[np.repeat(np.arange(size), np.diff(model.memory.offsets)), model.memory.products] = (
        model.memory.weights
    )
    return dense


def users_by_products(log: Purchases) -> np.ndarray:
    matrix = np.zeros((len(log.users), len(log.products)))
    matrix[log.user_rows, log.product_rows] = 1
    return matrix


# Co-purchase


def test_counts_are_the_users_who_bought_both():
    hat, scarf, shoe, sock = range(4)
    expected = np.zeros((4, 4))
    expected[hat, scarf] = expected[scarf, hat] = 2
    expected[hat, shoe] = expected[shoe, hat] = 1
    assert LOG.products.ids.to_list() == ["hat", "scarf", "shoe", "sock"]
    assert table(co_purchase(LOG)).tolist() == expected.tolist()
    assert sock not in co_purchase(LOG).memory.products


def test_power_a_half_gives_cosines():
    cosines = table(co_purchase(LOG, power=0.5))
    assert cosines[0, 1] == pytest.approx(2 / 6**0.5)  # three bought a hat, two a scarf, two both
    assert cosines[0, 2] == pytest.approx(1 / 3**0.5)


@pytest.mark.parametrize(("power", "damping"), [(0.0, 0.5), (0.5, 0.0), (0.4, 0.25), (0.5, 1.0)])
def test_the_table_is_that_of_matrices(power, damping):
    log = make_shop(users=60, products=25, purchases=500, seed=3).purchases
    x = users_by_products(log)
    counts = x.T @ (x * x.sum(axis=1, keepdims=True) ** -damping)
    buyers = np.maximum(x.sum(axis=0), 1) ** -power
    expected = buyers[:, None] * counts * buyers
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(table(co_purchase(log, power=power, damping=damping)), expected, rtol=1e-5)


def test_only_the_strongest_partners_are_kept():
    kept = table(co_purchase(LOG, partners=1))
    assert kept[0].tolist() == [0, 2, 0, 0]
    assert kept[2].tolist() == [1, 0, 0, 0]


def test_a_score_is_the_sum_over_the_history_and_a_little_popularity():
    scores = score(co_purchase(LOG, popularity=0.3), ["cat"], ["hat", "scarf", "shoe", "sock"])[0]
    popular = 0.3 * 1.5  # what the best sellers get: the median count is 1.5
    assert scores.tolist() == pytest.approx([1 + popular, 2 + popular * 2 / 3, 1 + popular / 3, popular])


# EASE


@pytest.mark.parametrize("penalty", [0.5, 30.0])
def test_ease_is_the_least_squares_fit_without_a_diagonal(penalty):
    log = make_shop(users=60, products=25, purchases=500, seed=3).purchases
    x = users_by_products(log)
    expected = np.zeros((25, 25))
    for q in range(25):  # the definition: a ridge regression of each product on all others
        others = np.delete(np.arange(25), q)
        gram = x[:, others].T @ x[:, others] + penalty * np.eye(24)
        expected[others, q] = np.linalg.solve(gram, x[:, others].T @ x[:, q])
    np.testing.assert_allclose(table(ease(log, penalty=penalty)), expected, rtol=1e-4, atol=1e-6)


def test_ease_keeps_the_weights_of_greatest_size_whatever_their_sign():
    log = make_shop(users=60, products=25, purchases=500, seed=3).purchases
    full, kept = (table(ease(log, penalty=5.0, partners=n)) for n in (None, 4))
    for whole, few in zip(full, kept, strict=True):
        strongest = set(np.argsort(-np.abs(whole))[:4].tolist())
        assert set(np.flatnonzero(few).tolist()) == strongest
        assert few[few != 0].tolist() == whole[few != 0].tolist()
    assert (kept < 0).any()


def test_ease_refuses_a_catalogue_that_does_not_fit_and_says_what_it_would_take():
    products = Vocabulary.of(range(30_000), noun="product")
    log = Purchases(LOG.users, products, LOG.user_rows, LOG.product_rows)
    with pytest.raises(
        SettingProblem, match=r"30,000 products would need about 20\.1 GiB .* limit here is 12,000"
    ):
        ease(log)


def test_the_limit_of_ease_can_be_moved():
    with pytest.raises(SettingProblem, match="limit here is 3 products"):
        ease(LOG, most_products=3)
    assert len(ease(LOG, most_products=4).products) == 4


# ALS


def test_als_comes_near_to_zeros_and_ones_where_it_may():
    pytest.importorskip("implicit", reason="ALS needs implicit")
    model = als(LOG, factors=4, regularization=1e-6, iterations=50)
    near = model.user_vectors @ model.product_vectors.T
    np.testing.assert_allclose(near, users_by_products(LOG), atol=0.02)


def test_als_gives_the_same_bytes_at_any_number_of_threads():
    pytest.importorskip("implicit", reason="ALS needs implicit")
    log = make_shop(users=200, products=80, purchases=1_500, seed=3).purchases
    one, many = als(log, factors=16, seed=4, threads=1), als(log, factors=16, seed=4, threads=3)
    assert one.user_vectors.tobytes() == many.user_vectors.tobytes()
    assert one.product_vectors.tobytes() == many.product_vectors.tobytes()
    assert als(log, factors=16, seed=5).user_vectors.tobytes() != one.user_vectors.tobytes()


@pytest.mark.parametrize("lacking", ["implicit.cpu.als", "threadpoolctl"])
def test_als_names_the_extra_that_is_missing(monkeypatch, lacking):
    if lacking != "implicit.cpu.als":
        pytest.importorskip("implicit", reason="without implicit it is implicit that is missing")
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(SettingProblem, match=r"pip install 'tastemaker\[als\]'"):
        als(LOG)


# All of them


def test_who_has_no_history_gets_best_sellers(baseline):
    users = Vocabulary.of([*LOG.users.ids.to_list(), "zoe"], noun="user")
    model = baseline(Purchases(users, LOG.products, LOG.user_rows, LOG.product_rows))
    found = [product for product, _ in recommend(model, ["zoe"], k=4).of(0)]
    assert found == ["hat", "sock", "scarf", "shoe"]


def test_it_is_saved_evaluated_and_recommended_like_any_other(baseline, split, tmp_path):
    model = load(save(baseline(split.train), tmp_path / "1"))
    report = evaluate(model, split.held_out, at=[10])
    assert (
        report.metrics["recall@10"].mean
        > evaluate(best_sellers(split.train), split.held_out, at=[10]).metrics["recall@10"].mean
    )
    manifest = read_manifest(tmp_path / "1")
    assert manifest["config"] is None
    assert manifest["metrics"]["baseline"] in ("co_purchase", "ease", "als")


def test_it_wants_purchases(baseline):
    with pytest.raises(NoPurchases):
        baseline(LOG.take(slice(0, 0)))


@pytest.mark.parametrize(
    ("learn", "setting", "value"),
    [
        (co_purchase, "power", -0.1),
        (co_purchase, "damping", float("nan")),
        (co_purchase, "popularity", float("inf")),
        (co_purchase, "partners", 0),
        (ease, "penalty", 0.0),
        (ease, "partners", 0),
        (als, "factors", 0),
        (als, "iterations", 0),
        (als, "regularization", -1.0),
        (als, "alpha", 0.0),
    ],
)
def test_a_setting_that_cannot_work_is_named(learn, setting, value):
    with pytest.raises(SettingProblem, match=f"^{setting} is {value}"):
        learn(LOG, **{setting: value})
