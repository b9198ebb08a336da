"""The estimator: what scikit-learn asks of one, and its own words; splits as cross-validation takes them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

import tastemaker as tm
from tastemaker.errors import DataError, SettingProblem

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.utils import estimator_checks as checks  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402

QUICK = {
    "epochs": 2,
    "dimensions": 8,
    "count_weight": 1,
    "ridge_weight": 0,
    "directed_weight": 0,
    "trend_weight": 0,
}

APPLICABLE = [
    checks.check_estimator_cloneable,
    checks.check_estimator_repr,
    checks.check_estimator_tags_renamed,
    checks.check_valid_tag_types,
    checks.check_no_attributes_set_in_init,
    checks.check_get_params_invariance,
    checks.check_set_params,
    checks.check_parameters_default_constructible,
]
"""The checks that need no matrix of numbers, which a log of ids is not, and that know ``**settings`` for what it is."""


@pytest.mark.parametrize("check", APPLICABLE, ids=lambda check: check.__name__)
def test_the_checks_of_scikit_learn_that_apply_pass(check):
    check("Recommender", tm.Recommender(**QUICK))


def test_every_check_that_scikit_learn_itself_finds_applicable_passes():
    with pytest.warns(Warning, match="Can't test estimator Recommender which requires input"):
        found = list(checks.estimator_checks_generator(tm.Recommender(**QUICK)))
    for estimator, check in found:
        check(estimator)


def test_fit_learns_what_train_learns(split):
    fitted = tm.Recommender(seed=3, **QUICK).fit(split.train)
    model = tm.train(split.train, seed=3, progress=False, **QUICK)
    assert np.array_equal(fitted.model_.product_vectors, model.product_vectors)
    user, product = model.users.ids[0], model.products.ids[0]
    assert fitted.recommend(user, k=3).of(0) == tm.recommend(model, user, k=3).of(0)
    assert fitted.similar(product, k=3).of(0) == tm.similar(model, product, k=3).of(0)
    assert fitted.recommend_baskets([[product]]).of(0) == tm.recommend_baskets(model, [[product]]).of(0)
    assert fitted.score(split.held_out) == tm.evaluate(model, split).metrics["ndcg@10"].mean
    fitted.metric = "recall@20"
    assert fitted.score(split.held_out.to_pandas()) == tm.evaluate(model, split).metrics["recall@20"].mean


def test_a_clone_has_the_settings_and_nothing_learned(split):
    fitted = tm.Recommender("workshop", epochs=1, learning_rate=5).fit(split.train)
    check_is_fitted(fitted)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError, match="call fit with a log first"):
        again.recommend("c-000001")
    assert repr(again) == "Recommender(preset='workshop', epochs=1, learning_rate=5)"
    assert "Not fitted yet" in again._repr_html_()
    assert "workshop" in fitted._repr_html_()


def test_the_constructor_only_stores_and_fit_checks(shop):
    with pytest.raises(SettingProblem, match="there is no setting 'depth'"):
        tm.Recommender(depth=3).fit(shop.purchases)
    with pytest.raises(SettingProblem, match="metric is 'accuracy'; write NAME@K"):
        tm.Recommender(metric="accuracy").fit(shop.purchases)
    with pytest.raises(SettingProblem, match="a Recommender has no parameter 'depth'"):
        tm.Recommender().set_params(depth=3)
    assert tm.Recommender().set_params(**{"memory.partners": 5}).get_params()["memory.partners"] == 5


def test_an_array_of_ids_is_a_log():
    pairs = np.array([[7, 1], [7, 2], [8, 1], [8, 3], [9, 2]])
    assert len(tm.Recommender("workshop", epochs=1, dimensions=4).fit(pairs).model_.users) == 3
    with pytest.raises(DataError, match=r"an array of the shape \(5,\) is no log"):
        tm.Recommender("workshop").fit(pairs[:, 0])


@pytest.mark.parametrize("form", ["log", "polars", "pandas"])
def test_a_grid_search_with_a_split_in_time_finds_what_measuring_by_hand_finds(shop, form):
    log = shop.purchases
    given = {"log": lambda: log, "polars": log.to_frame, "pandas": log.to_pandas}[form]()
    cv = tm.folds(given, tm.hold_out_time, "2024-11-15")
    grid = {"dimensions": [4, 12]}
    search = GridSearchCV(tm.Recommender(**QUICK), grid, cv=cv, refit=False, error_score="raise")
    search.fit(given)
    split = tm.hold_out_time(log, "2024-11-15")
    for dimensions, found in zip(grid["dimensions"], search.cv_results_["mean_test_score"], strict=True):
        train = split.train if form == "log" else split.train.to_frame()
        model = tm.train(train, **{**QUICK, "dimensions": dimensions})
        assert found == pytest.approx(tm.evaluate(model, split).metrics["ndcg@10"].mean)


def test_several_windows_give_several_scores(shop):
    cv = tm.folds(shop.purchases, tm.hold_out_windows, 3, 0.1)
    scores = cross_val_score(tm.Recommender("workshop", epochs=1, learning_rate=5), shop.purchases, cv=cv)
    assert scores.shape == (3,)
    assert (scores > 0).all()


def test_folds_are_positions_of_rows_that_are_kept():
    frame = pl.DataFrame({"user": ["a", None, "a", "b", "b"], "product": ["x", "y", "y", "x", "z"]})
    [(train, test)] = tm.folds(frame, tm.hold_out_last)
    assert (train.tolist(), test.tolist()) == ([0, 3], [2, 4])
    [(again, _)] = tm.folds(pd.DataFrame(frame.to_dict(as_series=False)), tm.hold_out_last)
    assert again.tolist() == [0, 3]
    with pytest.raises(DataError, match="not of a str"):
        tm.folds("log.csv", tm.hold_out_last)


def test_a_part_of_a_log_is_taken_by_positions(shop):
    log = shop.purchases
    assert log[3].product_rows.tolist() == log.product_rows[3:4].tolist()
    assert np.array_equal(log[10:20].product_rows, log.product_rows[10:20])
    assert np.array_equal(log[log.user_rows == 2].user_rows, np.full((log.user_rows == 2).sum(), 2))
    assert log.shape == (len(log), 2)


def test_the_estimator_works_without_scikit_learn(python):
    code = """
import sys
sys.modules["sklearn"] = None
import tastemaker as tm
log = tm.make_shop(users=60, products=20, purchases=300).purchases
shop = tm.Recommender("workshop", epochs=1, dimensions=4)
try:
    shop.recommend("c-000001")
except Exception as error:
    print(type(error).__name__)
print(len(shop.fit(log).recommend("c-000001", k=2).of(0)), shop.get_params()["epochs"])
"""
    ran = python(code)
    assert ran.stdout.split() == ["DataError", "2", "1"], ran.stderr
