"""Of a long log without times a sample of users is held out of, and what is learned while settings are chosen is the model's."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from tastemaker.cli.terminal.chosen import chosen_lines
from tastemaker.data.purchases import Purchases
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.training import loop
from tastemaker.training.checkpoint import Checkpoints
from tastemaker.training.learners.composed import Composed
from tastemaker.training.selection import sampled, validation
from tastemaker.training.train import Recovery, estimate_bytes, train

SMALL = {"dimensions": 8, "negatives": 24, "horizon": 6, "ridge_neighbours": 10}
USERS = 60


@pytest.fixture
def log(split, monkeypatch):
    """A log that counts as long, in which some lines are repeated."""
    monkeypatch.setattr(sampled, "LONG", 1_000)
    monkeypatch.setattr(sampled, "USERS", USERS)
    again = np.random.default_rng(1).permutation(len(split.train))[: len(split.train) // 5]
    places = np.concatenate((np.arange(len(split.train)), again))
    return dataclasses.replace(split.train.take(places), times=None)


def lines_of(log):
    return Counter(zip(log.user_rows.tolist(), log.product_rows.tolist(), strict=True))


def products_of(log, user):
    return {product for owner, product in lines_of(log) if owner == user}


def test_what_is_held_out_is_of_two_samples_of_users_and_the_rest_is_whole(log):
    made = validation.hold_out(log, 1)
    missing = lines_of(log) - lines_of(made.log)
    assert not lines_of(made.log) - lines_of(log)
    assert made.unseen == missing.total() == len(log) - len(made.log)
    assert made.repeats.log is made.log
    touched = {user for user, _ in missing}
    assert set(made.users.tolist()) | set(made.repeats.users.tolist()) <= touched
    assert not set(made.users.tolist()) & set(made.repeats.users.tolist())
    assert USERS < len(touched) <= 2 * USERS < len(log.users)
    assert f"of {USERS} users, and" in made.description
    assert made.repeats.description == made.description
    for place, user in enumerate(made.users.tolist()):
        assert set(made.baskets.of(place).tolist()) == products_of(made.log, user)
        gone = products_of(log, user) - products_of(made.log, user)
        assert set(made.held_out.of(place).tolist()) == gone


def test_the_rest_has_the_histories_of_its_purchases(log):
    rest = validation.hold_out(log, 1).log
    afresh = Purchases(rest.users, rest.products, rest.user_rows, rest.product_rows).histories()
    assert rest.histories().offsets.tolist() == afresh.offsets.tolist()
    assert rest.histories().products.tolist() == afresh.products.tolist()
    assert rest.histories().products.dtype == np.int32


def test_more_users_judge_the_epochs_than_have_all_their_scores_held(log, monkeypatch):
    made = validation.hold_out(log, 1)
    monkeypatch.setattr(validation, "FEWEST_USERS", 5)
    monkeypatch.setattr(validation, "MOST_OF_LONG", 7 * len(log.products))
    few = validation.hold_out(log, 1)
    assert made.wide is None
    assert few.wide.users.tolist() == made.users.tolist()
    assert len(few.users) == len(few.repeats.users) == 7
    places = [made.users.tolist().index(user) for user in few.users.tolist()]
    for part in ("baskets", "held_out"):
        whole = getattr(made, part)
        assert [row.tolist() for row in map(getattr(few, part).of, range(7))] == [
            whole.of(place).tolist() for place in places
        ]
    assert len(few.own) == len(few.baskets.products)
    config = preset("default").changed(SMALL, epochs=2, decay=0.01)
    taste = Composed.start(few.log, config, 1).taste()
    with ThreadPool(1) as pool:
        found = [validation.ndcg_of_taste(each, config, taste, pool) for each in (made, few)]
    assert found[0] == pytest.approx(found[1])


def test_a_log_with_times_or_not_so_long_is_held_out_of_as_ever(log, split, monkeypatch):
    assert validation.hold_out(split.train, 1).unseen is None
    monkeypatch.setattr(sampled, "LONG", len(log))
    assert validation.hold_out(log, 1).unseen is None


def test_what_choosing_learned_is_the_model_and_the_memory_is_of_all_purchases(log, monkeypatch):
    """The vectors are those of the rest, learned with the settings chosen; the memory and the histories are those of the log."""
    epochs, whole = [], loop._one_epoch
    monkeypatch.setattr(loop, "_one_epoch", lambda *given: epochs.append(1) or whole(*given))
    model = train(log, preset("default").changed(SMALL), seed=1)
    assert len(epochs) == SMALL["horizon"]
    config, rest = model.record.config, validation.hold_out(log, 1).log
    assert not config.chooses
    assert [epoch.epoch for epoch in model.record.epochs] == list(range(1, config.taste.epochs + 1))
    of_rest, of_log = train(rest, config, seed=1), train(log, config, seed=1)
    assert model.product_vectors.tobytes() == of_rest.product_vectors.tobytes()
    assert model.product_vectors.tobytes() != of_log.product_vectors.tobytes()
    assert model.histories.products.tobytes() == of_log.histories.products.tobytes()
    assert (model.memory is None) == (of_log.memory is None)
    if model.memory is not None:
        assert model.memory.weights.tobytes() == of_log.memory.weights.tobytes()
    assert model.record.metrics["unseen"] == len(log) - len(rest)
    assert any(f"not seen {len(log) - len(rest):,} purchases" in line for line in chosen_lines(model.record))


def test_a_checkpoint_of_what_choosing_learned_is_gone_on_from_without_an_epoch(log, monkeypatch, tmp_path):
    config, kept = preset("default").changed(SMALL), tmp_path / "kept"
    model = train(log, config, seed=1, recovery=Recovery(checkpoints=Checkpoints(kept, 1_000)))
    monkeypatch.setattr(loop, "_one_epoch", None)
    again = train(log, config, seed=1, recovery=Recovery(resume=kept))
    assert again.product_vectors.tobytes() == model.product_vectors.tobytes()
    assert again.record == model.record


def test_held_out_purchases_are_measured_once_and_change_no_byte(log, split):
    config = preset("default").changed(SMALL)
    alone = train(log, config, seed=1, threads=1)
    measured = train(log, config, valid=split.held_out, seed=1)
    assert alone.product_vectors.tobytes() == measured.product_vectors.tobytes()
    assert alone.record.metrics == measured.record.metrics
    assert [epoch.valid_loss is None for epoch in measured.record.epochs][-2:] == [True, False]


def test_a_long_log_of_many_users_is_estimated_without_vectors_of_users(log, monkeypatch):
    """And less of it where its arrays are mapped."""
    config = preset("default")
    mapped = validation.hold_out(log, 1).log
    loose = dataclasses.replace(mapped, kept_histories=None)
    assert estimate_bytes(loose, config) - estimate_bytes(mapped, config) == 12 * len(mapped)
    long = estimate_bytes(loose, config) - 4 * validation.MOST_OF_LONG
    monkeypatch.setattr(sampled, "LONG", len(log))
    assert long < estimate_bytes(loose, config)
