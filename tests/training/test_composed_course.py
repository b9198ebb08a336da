"""The default objective around its kernel: members, batches, the course of the rate, and the same bytes everywhere."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

import twins
from tastemaker.data.purchases import Purchases
from tastemaker.data.splits import hold_out_random
from tastemaker.data.synthetic.shop import make_shop
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.evaluation.evaluate import evaluate
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.learners.composed import Composed, Member, stacked
from tastemaker.training.memory.co_occurrence import count_memory
from tastemaker.training.selection.in_time import STEADY
from tastemaker.training.sharded import lesson
from tastemaker.training.train import train

SETTLED = {"epochs": 4, "count_weight": 2.0, "ridge_weight": 4.0, "trend_weight": 0.5, "decay": 0.05}


@pytest.fixture(scope="module")
def config():
    """The default preset, small, and with nothing left to choose."""
    return preset("default").changed({**STEADY, **SETTLED} | {"dimensions": 20, "negatives": 24, "batch": 64})


@pytest.fixture(scope="module")
def histories(split):
    return split.train.histories()


def begin(histories, config, seed=3, products=150):
    users = Vocabulary.of(range(len(histories)), noun="user")
    log = Purchases(
        users, Vocabulary.of(range(products), noun="product"), histories.owners(), histories.products
    )
    return Composed.start(log, config, seed)


def learned(histories, config, epochs=1, *, at_once=1 << 15, threads=2, seed=3):
    """Learn some epochs; return the learner and what each call measured."""
    learner, told = begin(histories, config, seed), []
    with ThreadPool(threads) as pool:
        for epoch in range(1, epochs + 1):
            told += learner.learn(epoch, at_once, pool)
    return learner, told


def state_of(learner):
    return b"".join(array.tobytes() for m in learner.members for array in (m.vectors, m.bias, *m.squares))


# --- The start ---------------------------------------------------------------------------------------------------------------


def test_a_bias_starts_at_the_log_of_the_buyers_over_their_mean():
    member = Member.start(0, 5, 0.02, np.array([0.0, 1.0, 7.0]), seed=1)
    mean = (0.5 + 1.5 + 7.5) / 3
    np.testing.assert_allclose(member.bias, np.log([0.5 / mean, 1.5 / mean, 7.5 / mean]), rtol=1e-6)


def test_vectors_start_normal_and_small_with_zero_padding_and_differ_between_members_and_seeds():
    starts = [
        Member.start(number, 20, 0.02, np.ones(5_000), seed).vectors
        for number, seed in ((0, 1), (1, 1), (0, 2))
    ]
    for vectors in starts:
        assert vectors.shape == (5_000, 32)
        assert not vectors[:, 20:].any()
        assert vectors[:, :20].std() == pytest.approx(0.02, rel=0.02)
        assert abs(vectors[:, :20].mean()) < 5 * 0.02 / 100_000**0.5
    for first, second in ((0, 1), (0, 2), (1, 2)):
        both = np.corrcoef(starts[first][:, :20].ravel(), starts[second][:, :20].ravel())[0, 1]
        assert abs(both) < 5 / 100_000**0.5
    assert Member.start(0, 20, 0.02, np.ones(5_000), 1).vectors.tobytes() == starts[0].tobytes()


@pytest.mark.parametrize(("members", "dimensions"), [(1, 20), (2, 20), (3, 20), (7, 20), (30, 20)])
def test_members_share_the_dimensions(histories, config, members, dimensions):
    learner = begin(histories, config.changed({"members": members, "dimensions": dimensions}))
    shares = [member.dimensions for member in learner.members]
    assert len(shares) == min(members, dimensions)
    assert sum(shares) == dimensions
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("members", [1, 2, 3])
def test_stacked_scores_are_the_mean_of_the_members_scores(histories, config, members):
    learner, _ = learned(histories, config.changed({"members": members}))
    taste = stacked(learner.members)
    vectors, bias = taste.vectors, taste.bias
    assert vectors.shape == (150, 20)
    scores = vectors.astype(np.float64) @ vectors.T + bias
    each = [m.vectors.astype(np.float64) @ m.vectors.T + m.bias for m in learner.members]
    np.testing.assert_allclose(scores, np.mean(each, axis=0), rtol=1e-5, atol=1e-5)


def test_corrections_are_minus_the_log_of_how_often_a_product_is_expected_among_the_negatives(
    histories, config
):
    buyers = np.maximum(np.bincount(histories.products, minlength=150), 0.5)
    for sampling, power in (("shared", 0.75), ("batch", 1.0)):
        learner = begin(histories, config.changed({"sampling": sampling}))
        expected = 24 * buyers**power / (buyers**power).sum()
        np.testing.assert_allclose(learner.corrections, -np.log(expected), rtol=1e-5, atol=1e-5)
        assert learner.negatives == 24


@pytest.mark.parametrize("changes", [{"sampling": "all"}, {"negatives": 150}, {"negatives": 10_000}])
def test_a_catalogue_no_larger_than_the_negatives_competes_whole_and_uncorrected(histories, config, changes):
    """The three ways to ask for it learn the same bytes."""
    learner, _ = learned(histories, config.changed(changes))
    assert learner.negatives == 150
    assert not learner.corrections.any()
    assert state_of(learner) == state_of(learned(histories, config.changed({"sampling": "all"}))[0])


def test_decay_is_the_settings_and_the_rares_share(histories, config):
    learner = begin(histories, config.changed({"decay": 0.05, "rare_decay": 3.0}))
    buyers = np.bincount(histories.products, minlength=150)
    np.testing.assert_allclose(learner.decay, 0.05 + 3.0 / np.maximum(buyers, 1), rtol=1e-6)


# --- Batches and epochs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 16, 64, 10**9])
def test_every_user_with_a_purchase_is_in_one_batch_of_about_the_wanted_size(histories, config, batch):
    learner = begin(histories, config.changed({"batch": batch}))
    lengths = np.diff(histories.offsets)
    for member in learner.members:
        course = learner.lesson().course(1, member.number)
        order, starts = course.order, course.starts
        assert sorted(order.tolist()) == np.flatnonzero(lengths).tolist()
        assert (starts[0], starts[-1]) == (0, len(order))
        assert (np.diff(starts) > 0).all()
        sizes = np.add.reduceat(lengths[order], starts[:-1])
        assert sizes.sum() == learner.purchases == len(histories.products)
        assert sizes.max() <= batch + lengths.max() + batch // 2  # a user is kept whole


def test_orders_and_draws_differ_between_epochs_members_and_seeds(histories, config):
    learner, other = begin(histories, config), begin(histories, config, seed=4)
    plans = [
        learning.lesson().course(epoch, member)
        for learning, epoch, member in ((learner, 1, 0), (learner, 2, 0), (learner, 1, 1), (other, 1, 0))
    ]
    assert len({plan.order.tobytes() for plan in plans}) == 4
    assert len({int(plan.key) for plan in plans}) == 4
    again = begin(histories, config).lesson().course(2, 0)
    assert again.order.tobytes() == plans[1].order.tobytes()
    assert again.key == plans[1].key


def test_an_epoch_tells_of_every_purchase_once_however_often_it_looks_up(histories, config):
    for at_once in (1, 100, 1 << 15):
        _, told = learned(histories, config, at_once=at_once)
        assert sum(step.purchases for step in told) == len(histories.products)
        assert all(0 <= step.hits <= step.purchases for step in told)
    assert len(learned(histories, config, at_once=500)[1]) >= 5


def test_how_often_it_looks_up_changes_no_byte(histories, config):
    states = {state_of(learned(histories, config, 2, at_once=at_once)[0]) for at_once in (1, 700, 1 << 15)}
    assert len(states) == 1


@pytest.mark.parametrize(("horizon", "last"), [(0, 0.05), (9, 1 - 0.95 * 4 / 8), (2, 0.05)])
def test_the_learning_rate_falls_in_a_straight_line_over_the_horizon(
    histories, config, monkeypatch, horizon, last
):
    """Without a horizon over the epochs; beyond it, it stays."""
    rates = []
    monkeypatch.setattr(lesson, "learn_batches", lambda *given: rates.append(given[-3]))
    learner = begin(histories, config.changed({"epochs": 5, "horizon": horizon, "learning_rate": 2.0}))
    for epoch in range(1, 6):
        taught = learner.lesson()
        taught.learn(learner._tables()[0], taught.course(epoch, 0), (0, 1), epoch, np.zeros(3))
    assert rates[0] == 2.0
    assert rates[-1] == pytest.approx(2.0 * last)
    if horizon != 2:
        np.testing.assert_allclose(np.diff(rates), np.diff(rates)[0], rtol=1e-9)


def test_a_user_of_many_products_counts_as_so_many_as_an_epoch_samples(config, monkeypatch):
    monkeypatch.setattr(lesson, "LONGEST", 30)
    shop = make_shop(users=10, products=60, purchases=400, seed=1).purchases.histories()
    learner, told = learned(shop, config, at_once=50)
    wanted = np.minimum(np.diff(shop.offsets), 30).sum()
    assert wanted < 400
    assert learner.purchases == sum(step.purchases for step in told) == wanted


def test_measuring_is_the_sampled_loss_of_whole_histories(split, histories, config):
    learner, _ = learned(histories, config)
    with ThreadPool(2) as pool:
        loss, accuracy = learner.measure(split.held_out, 7, pool)
    taste = stacked(learner.members)
    vectors, bias = taste.vectors.astype(np.float64), taste.bias.astype(np.float64)
    queries = np.array(
        [
            vectors[histories.of(user)].sum(axis=0) / max(len(histories.of(user)), 1) ** 0.5
            for user in range(len(split.train.users))
        ]
    )
    drawn = twins.candidates_of(split.held_out.product_rows, twins.stream_key(3, 7, 1), 0, 24, 150)
    scores = twins.score_candidates(queries, vectors, split.held_out.user_rows, drawn) + bias[drawn]
    losses, hits = twins.losses_and_hits(scores, drawn)
    assert loss == pytest.approx(losses.mean(), rel=1e-5)
    assert accuracy == pytest.approx(hits.mean(), abs=2 / len(hits))


def test_a_number_that_is_none_is_noticed_in_any_member(histories, config):
    for table in ("vectors", "bias"):
        learner = begin(histories, config)
        assert learner.finite()
        getattr(learner.members[1], table)[3] = np.nan
        assert not learner.finite()


# --- The same seed, the same bytes ---------------------------------------------------------------------------------------------

TRAINED = """
import hashlib, sys
from tastemaker.data.synthetic.shop import make_shop
from tastemaker.model.config import preset
from tastemaker.training.train import train

log = make_shop(users=120, products=150, purchases=1_200, seed=3).purchases
changes = {"epochs": 3, "dimensions": 40, "negatives": 60, "ridge_neighbours": 10}
model = train(log, preset("default").changed(changes), seed=4, threads=int(sys.argv[1]))
digest, memory = hashlib.sha256(model.product_vectors.tobytes() + model.product_bias.tobytes()), model.memory
for array in (memory.offsets, memory.products, memory.weights) if memory else ():
    digest.update(array.tobytes())
print(digest.hexdigest(), model.record.metrics, [epoch.loss for epoch in model.record.epochs])
"""


def digest_of(model):
    """Everything that the default model keeps, and what was measured on the way."""
    assert model.memory is not None
    assert model.basket_vectors is model.product_vectors
    arrays = (
        model.product_vectors, model.product_bias, model.memory.offsets, model.memory.products,
        model.memory.weights, model.histories.offsets, model.histories.products,
    )  # fmt: skip
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    record = model.record
    return digest, record.config, record.metrics, [(epoch.loss, epoch.accuracy) for epoch in record.epochs]


@pytest.fixture(scope="module")
def default_model(split):
    """The default preset as it stands, which chooses its own settings."""
    return train(split.train, preset("default"), seed=9, threads=2)


@pytest.mark.parametrize("threads", [1, 8])
def test_threads_change_no_byte_of_the_default_model(split, default_model, threads):
    assert digest_of(train(split.train, preset("default"), seed=9, threads=threads)) == digest_of(
        default_model
    )


def test_another_seed_makes_another_default_model(split, config):
    one, other = (train(split.train, config, seed=seed) for seed in (1, 2))
    assert one.product_vectors.tobytes() != other.product_vectors.tobytes()
    assert one.memory.weights.tobytes() == other.memory.weights.tobytes()  # memory is counted, not drawn


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("sampling", ["shared", "batch", "all"])
def test_threads_change_no_byte_whatever_the_sampling(histories, config, members, sampling):
    changed = config.changed({"members": members, "sampling": sampling})
    states = {state_of(learned(histories, changed, 2, threads=threads)[0]) for threads in (1, 2, 8)}
    assert len(states) == 1


def test_the_default_kernels_compiled_just_now_and_those_of_the_cache_give_the_same_bytes(python, tmp_path):
    fresh = python(TRAINED, 2, NUMBA_CACHE_DIR=str(tmp_path))
    assert fresh.stderr == ""
    assert list(tmp_path.rglob("composed.learn_batches*.nbi"))
    cached = python(TRAINED, 1, NUMBA_CACHE_DIR=str(tmp_path))
    assert (fresh.returncode, cached.returncode) == (0, 0)
    assert fresh.stdout == cached.stdout != ""


# --- Does it rank? -----------------------------------------------------------------------------------------------------------


def co_purchase(log, power=0.5):
    """What a shop would do without us: products bought together, as cosines."""
    histories, products = log.histories(), len(log.products)
    with ThreadPool(2) as pool:
        memory = count_memory(histories, products, power=power, damping=0.0, partners=products, pool=pool)
    empty = np.zeros((products, 0), np.float32)
    return TasteModel(
        users=log.users, products=log.products, histories=histories, product_vectors=empty,
        product_bias=np.zeros(products, np.float32), user_vectors=None, basket_vectors=empty, memory=memory,
        record=TrainingRecord(None, 0, log.fingerprint(), len(log)),
    )  # fmt: skip


def test_the_default_model_ranks_far_better_than_best_sellers_and_better_than_what_is_bought_together():
    """On 1,500 users of the synthetic shop with their planted tastes, no time to learn a trend from."""
    shop = make_shop(users=1_500, products=600, purchases=15_000, seed=5).purchases
    split = hold_out_random(dataclasses.replace(shop, times=None), rng=np.random.default_rng(2))
    models = {
        "ours": train(split.train, preset("default"), seed=1),
        "best sellers": best_sellers(split.train),
        "counts": co_purchase(split.train, 0.0),
        "cosines": co_purchase(split.train, 0.5),
    }
    recall = {
        name: evaluate(model, split.held_out, at=(10,)).metrics["recall@10"].mean
        for name, model in models.items()
    }
    assert recall["ours"] > 2 * recall["best sellers"]
    assert recall["ours"] > 1.1 * max(recall["counts"], recall["cosines"])
