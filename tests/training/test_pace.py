"""Several threads at one member: the same bytes, and only where they take less time than one."""

from __future__ import annotations

import dataclasses

import pytest
from numba.core.errors import TypingError

from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.training.learners.composed import Composed
from tastemaker.training.learners.pace import SELDOM, SOON, Pace
from tastemaker.training.train import train


def told(pace, most, alone, together, calls):
    """Go through so many calls; return how many threads each had."""
    found = []
    for _ in range(calls):
        threads = pace.threads(most)
        pace.tell(threads, alone if threads == 1 else together)
        found.append(threads)
    return found


def test_several_threads_learn_a_member_where_they_take_less_time():
    assert told(Pace(), 4, alone=1.0, together=0.6, calls=SELDOM)[2:] == [4] * (SELDOM - 2)


@pytest.mark.parametrize("together", [0.97, 1.0, 1.4])
def test_one_thread_does_where_another_job_holds_a_processor(together):
    found = told(Pace(), 2, alone=1.0, together=together, calls=5 * SELDOM)
    tried = [call for call, threads in enumerate(found) if threads == 2]
    assert tried == [2, 5, 10, 19, 36, 53, 70]  # 2, 4, 8, 16, 16 … calls of one thread between


def test_a_job_of_a_moment_costs_three_calls():
    """It slowed the first call of several threads, and nothing else."""
    pace = Pace()
    told(pace, 2, alone=1.0, together=1.5, calls=3)
    assert told(pace, 2, alone=1.0, together=0.5, calls=SELDOM + SOON) == [1] * SOON + [2] * SELDOM


def test_one_thread_learns_again_where_a_job_comes_to_stay():
    pace = Pace()
    assert told(pace, 2, alone=1.0, together=0.5, calls=4)[-1] == 2
    assert told(pace, 2, alone=1.0, together=1.5, calls=3) == [2, 2, 1]


def test_the_other_way_is_tried_again_since_other_jobs_end():
    pace = Pace()
    assert told(pace, 2, alone=1.0, together=1.5, calls=SELDOM)[-1] == 1
    assert told(pace, 2, alone=1.0, together=0.5, calls=3 * SELDOM)[-SELDOM:].count(2) >= SELDOM - 1


def test_the_first_call_tells_nothing_since_it_may_compile():
    pace = Pace()
    assert told(pace, 2, alone=60.0, together=1.0, calls=1) == [1]
    assert pace.alone == ()


def test_without_a_thread_to_spare_nothing_is_tried():
    assert told(Pace(), 1, alone=1.0, together=0.1, calls=40) == [1] * 40


@pytest.mark.parametrize("members", [1, 2])
def test_threads_at_one_member_change_no_byte(split, members, monkeypatch):
    asked = []

    def as_many_as_there_are(self, most):
        asked.append(most)
        return max(1, most)

    monkeypatch.setattr(Pace, "threads", as_many_as_there_are)
    config = preset("default").changed(
        {
            "dimensions": 40,
            "members": members,
            "epochs": 2,
            "horizon": 2,
            "count_weight": 0,
            "ridge_weight": 0,
        }
    )
    found = {}
    for threads in (1, 2, 3, 8):
        model = train(split.train, config, seed=9, threads=threads)
        epochs = [(epoch.loss, epoch.accuracy) for epoch in model.record.epochs]
        found[threads] = model.product_vectors.tobytes(), model.product_bias.tobytes(), epochs
        assert max(asked) == threads // members
    assert found[1] == found[2] == found[3] == found[8]


def test_threads_that_learn_free_users_together_change_no_byte(split, small_config, monkeypatch):
    monkeypatch.setattr(Pace, "threads", lambda self, most: most)
    config = small_config.changed({"epochs": 2, "batch": 100})
    found = {}
    for threads in (1, 2, 3, 8):
        model = train(split.train, config, seed=9, threads=threads)
        epochs = [(epoch.loss, epoch.accuracy) for epoch in model.record.epochs]
        found[threads] = model.product_vectors.tobytes(), model.user_vectors.tobytes(), epochs
    assert found[1] == found[2] == found[3] == found[8]


def test_a_thread_that_fails_ends_the_others_too(split, monkeypatch):
    """They would wait for it forever."""
    monkeypatch.setattr(Pace, "threads", lambda self, most: most)
    config = preset("default").changed(
        {"members": 1, "dimensions": 16, "decay": 0.0, "epochs": 1, "horizon": 1}
    )
    learner = Composed.start(split.train, config, 1)
    honest = type(learner)._learn_part

    def failing(self, *work, seat):
        thread, joint = seat
        if thread == 1:
            joint = dataclasses.replace(joint, common=joint.common[:4])  # there is no such kernel
        honest(self, *work, seat=(thread, joint))

    monkeypatch.setattr(type(learner), "_learn_part", failing)
    with ThreadPool(2) as pool, pytest.raises(TypingError):
        list(learner.learn(1, 1 << 15, pool))
