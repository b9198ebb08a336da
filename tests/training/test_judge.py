"""What judges settings holds the scores of all questions under one of them at a time, and finds the same after letting go."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker.data.reading.readers import read_purchases
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.live import fold_in_of
from tastemaker.model.config import preset
from tastemaker.training.learners.composed import Composed
from tastemaker.training.selection.in_time import GRIDS, MODESTY, started, walked
from tastemaker.training.selection.judge import Judge, Scores
from tastemaker.training.selection.trial import _asked_together, trial_of
from tastemaker.training.selection.validation import nearly_best


def test_scores_of_former_settings_are_let_go_before_new_ones_are_made(split, monkeypatch):
    trial = trial_of(split.train, 1, live=True)
    assert trial is not None
    assert trial.is_live
    given = preset("default").changed({"dimensions": 8})
    config = started(split.train, given, 4, live=True).changed({"live.fold_in": 1.0})
    learner, made = Composed.start(trial.log, config, 1), []
    fill = Scores.of

    def watched(scores, key, shape, filled):
        matrix = fill(scores, key, shape, filled)
        made.append(matrix)
        return matrix

    monkeypatch.setattr(Scores, "of", watched)
    with ThreadPool(1) as pool:
        judge = Judge(trial, learner, config, pool)
        first = judge.value(config)
        faded = judge.value(config.changed({"order.taste_places": 1.0}))
        again = judge.value(config)
        other = judge.of(learner).value(config)
        assert len({id(matrix) for matrix in made}) == 1
        judge.rest()
        assert judge.value(config) == other == again == first != faded


def test_products_move_with_those_who_buy_them_as_replay_moves_them(split):
    """The scores of a slice are those of its questions' queries and of vectors that one Newton step has moved."""
    trial = trial_of(split.train, 1, live=True)
    assert trial is not None
    config = started(split.train, preset("default").changed({"dimensions": 8}), 4, live=True)
    config = config.changed({"live.fold_in": 1.5})
    with ThreadPool(1) as pool:
        judge = Judge(trial, Composed.start(trial.log, config, 1), config, pool)
        scores = judge._dense(config)
        buyers = np.bincount(trial.log.product_rows, minlength=judge.products)
        fold = fold_in_of(judge.queries(judge.before, config), judge.vectors, buyers, 1.5)
        after, asked = judge.queries(judge.flow, config), judge.queries(judge.asking, config)
    after = after[trial.flow_of]
    added = (after - fold.mean) @ fold.basis - (judge.vectors @ fold.pull)[trial.flow_products]
    for q in range(0, len(asked), 7):
        known = judge.slice_starts[judge.slice_of[q]]
        vectors = judge.vectors.copy()
        for p in set(trial.flow_products[:known]):
            its = added[:known][trial.flow_products[:known] == p]
            vectors[p] += fold.offsets(its.sum(axis=0)[None], np.array([len(its)]), fold.buyers[[p]])[0]
        np.testing.assert_allclose(scores[q], vectors @ asked[q], rtol=2e-4, atol=2e-5)


def test_a_grid_is_walked_until_ranking_falls_to_the_choice_of_the_whole_grid():
    rng = np.random.default_rng(0)
    for path, grid in GRIDS.items():
        line = sorted(grid) if min(grid) < grid[0] else list(grid)
        for _ in range(50):
            top = rng.integers(len(line))
            steps = 1 - rng.uniform(0, 0.03, len(line))
            steps[top] = 1
            up, down = np.cumprod(steps[: top + 1][::-1])[::-1], np.cumprod(steps[top:])
            worth = dict(zip(line, np.concatenate([up[:-1], down]), strict=True)).__getitem__
            start = grid[rng.integers(len(grid))]
            found = walked(grid, start, worth)
            assert start in found
            assert nearly_best(found, worth, MODESTY) == nearly_best(grid, worth, MODESTY), path


def test_questions_of_one_user_moment_and_context_are_asked_together_whatever_the_context_is_called():
    log = pl.DataFrame({
        "user_id": ["a", "b", "a", "a", "a"],
        "product_id": ["hat", "hat", "sock", "shoe", "belt"],
        "time": ["2026-01-01", "2026-01-01", "2026-01-01", "2026-01-01", "2026-01-02"],
        "column_0": ["red", "red", "red", None, "red"],
    })  # fmt: skip
    purchases = read_purchases(log, context="column_0")
    asked, of = _asked_together(purchases, np.arange(len(purchases)))
    assert asked.users.tolist() == purchases.user_rows[[0, 1, 3, 4]].tolist()
    assert asked.context is not None
    assert asked.context["column_0"].to_list() == ["red", "red", None, "red"]
    assert of.tolist() == [0, 1, 0, 2, 3]
