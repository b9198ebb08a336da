"""What judges settings holds the scores of all questions under one of them at a time, and finds the same after letting go."""

from __future__ import annotations

from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.training.learners.composed import Composed
from tastemaker.training.selection.in_time import started
from tastemaker.training.selection.judge import Judge
from tastemaker.training.selection.trial import trial_of


def test_scores_of_former_settings_are_let_go_before_new_ones_are_made(split, monkeypatch):
    trial = trial_of(split.train, 1, live=True)
    assert trial is not None
    assert trial.is_live
    given = preset("default").changed({"dimensions": 8})
    config = started(split.train, given, 4, live=True).changed({"live.fold_in": 1.0})
    learner, held = Composed.start(trial.log, config, 1), []
    made = Judge._base

    def watched(judge, queries):
        scores = made(judge, queries)
        held.append({"base", "folded"} & judge._cache.keys())
        return scores

    monkeypatch.setattr(Judge, "_base", watched)
    with ThreadPool(1) as pool:
        judge = Judge(trial, learner, config, pool)
        first = judge.value(config)
        faded = judge.value(config.changed({"order.taste_places": 1.0}))
        again = judge.value(config)
        judge.rest()
        assert judge.value(config) == again == first != faded
    assert held == [set()] * 4
