"""The loop around the mathematics: progress, interruptions, losses that are no number."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tastemaker.errors import TrainingFailed, TrainingInterrupted
from tastemaker.training.train import Recovery, train


def watched(log, config, **options):
    steps = []
    model = train(log, config, progress=steps.append, **options)
    return model, [step for step in steps if not step.compiling]


def interrupt_at(epoch, done):
    def watch(step):
        if (step.epoch, step.done) >= (epoch, done):
            raise KeyboardInterrupt

    return watch


def test_progress_starts_each_epoch_at_zero_and_ends_it_at_its_log(split, small_config):
    model, steps = watched(split.train, small_config.changed({"epochs": 3}))
    count = len(split.train)
    assert [(s.epoch, s.done) for s in steps] == [(e, done) for e in (1, 2, 3) for done in (0, count)]
    assert {(s.epochs, s.purchases) for s in steps} == {(3, count)}
    assert all(math.isnan(s.loss) for s in steps if s.done == 0)
    ends = [(s.loss, s.accuracy) for s in steps if s.done]
    assert ends == [(e.loss, e.accuracy) for e in model.record.epochs]


def test_long_epochs_tell_their_progress_between_and_learn_the_same(shop, small_config, monkeypatch):
    config = small_config.changed({"epochs": 1})
    whole, _ = watched(shop.purchases, config)
    monkeypatch.setattr("tastemaker.training.loop.PURCHASES_PER_CALL", 1000)
    parts, steps = watched(shop.purchases, config)
    assert [s.done for s in steps] == [0, 896, 1792, 2688, 3584, 4000]  # whole batches of 128
    assert whole.user_vectors.tobytes() == parts.user_vectors.tobytes()
    assert whole.product_vectors.tobytes() == parts.product_vectors.tobytes()


@pytest.mark.parametrize(("epoch", "done"), [(1, 0), (1, 1), (2, 0), (3, 1)])
def test_ctrl_c_ends_the_training_and_says_that_nothing_is_kept(split, small_config, epoch, done):
    with pytest.raises(
        TrainingInterrupted, match=rf"interrupted in epoch {epoch} of 8; nothing was written.*keep"
    ):
        train(split.train, small_config, progress=interrupt_at(epoch, done))


@pytest.mark.parametrize(("epoch", "done", "whole"), [(1, 0, 0), (1, 1, 0), (2, 0, 1), (4, 0, 3)])
def test_ctrl_c_keeps_what_was_learned_when_told(split, small_config, epoch, done, whole):
    kept = train(
        split.train,
        small_config,
        seed=6,
        progress=interrupt_at(epoch, done),
        recovery=Recovery(keep_interrupted=True),
    )
    assert kept.record.interrupted
    assert len(kept.record.epochs) == whole
    assert kept.finite()
    if done == 0 and whole:
        shorter = train(split.train, small_config.changed({"epochs": whole}), seed=6)
        assert kept.user_vectors.tobytes() == shorter.user_vectors.tobytes()
        assert kept.product_vectors.tobytes() == shorter.product_vectors.tobytes()


@pytest.mark.parametrize("rate", [1e9, 1e38, 1e300])
def test_a_loss_that_is_no_number_stops_the_training(split, small_config, rate):
    with pytest.raises(TrainingFailed, match=r"the loss of epoch \d is not finite.*lower learning_rate"):
        train(split.train, small_config.changed({"learning_rate": rate}), valid=split.held_out)


def test_an_interrupted_training_that_has_failed_already_is_not_kept(split, small_config, monkeypatch):
    monkeypatch.setattr("tastemaker.training.loop.PURCHASES_PER_CALL", 500)
    calls = itertools.count()

    def watch(step):
        if not step.compiling and next(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(TrainingFailed):
        train(
            split.train,
            small_config.changed({"learning_rate": 1e38}),
            progress=watch,
            recovery=Recovery(keep_interrupted=True),
        )


def test_an_error_of_the_watcher_is_not_swallowed(split, small_config):
    def watch(step):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(split.train, small_config, progress=watch)


def test_loss_and_accuracy_are_means_over_the_purchases(shop):
    """An untrained model of equal scores has the loss log(1 + S) and, ties counting against it, accuracy 0."""
    from tastemaker.model.config import preset

    config = preset("workshop").changed(
        {"epochs": 1, "initial_scale": 1e-30, "learning_rate": 1e-30, "negatives": 30}
    )
    epoch = train(shop.purchases, config, valid=shop.purchases.take(np.arange(100))).record.epochs[0]
    assert epoch.loss == pytest.approx(math.log(31), rel=1e-6)
    assert epoch.valid_loss == pytest.approx(math.log(31), rel=1e-6)
    assert epoch.accuracy == epoch.valid_accuracy == 0
