"""The report: what it counts, and the JSON that it promises."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ranked_worlds import held_of, lists_of, random_world

import tastemaker as tm
from tastemaker.errors import DataError
from tastemaker.evaluation.protocol import report_of, those_with_held_out
from tastemaker.evaluation.sampled import Workshop

WORKSHOP = Workshop(negatives=100, categorical_accuracy=0.5, loss=2.5)
METRICS = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate", "coverage", "gini")


def report(shown, held, products=9, at=(1, 2), seed=3, workshop=None):
    return report_of(lists_of(shown), held_of(held), at=at, products=products, seed=seed, workshop=workshop)


def test_the_json_is_exactly_the_contract():
    printed = json.loads(report([[3, 4], [1]], [[3], [2]], workshop=WORKSHOP).to_json())
    assert set(printed) == {"users", "products", "metrics", "workshop"}
    assert (printed["users"], printed["products"]) == (2, 9)
    assert list(printed["metrics"]) == [f"{name}@{k}" for name in METRICS for k in (1, 2)]
    assert all(set(interval) == {"mean", "low", "high"} for interval in printed["metrics"].values())
    assert printed["metrics"]["recall@2"]["mean"] == 0.5
    assert printed["workshop"] == {"negatives": 100, "categorical_accuracy": 0.5, "loss": 2.5}


def test_the_json_is_one_line_and_says_null_for_a_workshop_that_was_not_measured():
    text = report([[3]], [[3]]).to_json()
    assert "\n" not in text
    assert json.loads(text)["workshop"] is None


def test_users_are_those_with_a_held_out_product():
    found = report([[3], [4], [5]], [[], [4], [6]])
    assert found.users == 2
    assert found.queries.tolist() == [1, 2]
    assert found.metrics["recall@1"].mean == 0.5


def test_means_are_those_of_the_values_kept_and_lie_within_their_intervals():
    shown, held, products = random_world(
        np.random.default_rng(1), users=80, products=20, longest=10, most_held=4
    )
    found = report(shown, held, products, at=[5, 10])
    for name, values in found.values.items():
        interval = found.metrics[name]
        assert len(values) == found.users
        assert interval.mean == pytest.approx(sum(values.tolist()) / found.users, abs=1e-12)
        assert interval.low < interval.mean < interval.high


def test_coverage_and_gini_have_no_interval_beyond_themselves():
    metrics = report([[3, 4], [4, 1]], [[3], [2]]).metrics
    assert metrics["coverage@2"].low == metrics["coverage@2"].mean == metrics["coverage@2"].high == 3 / 9
    # products 1, 3 and 4 are shown 1, 1 and 2 times of 9: (4 + 6 + 2 · 8) / (9 · 4)
    assert metrics["gini@2"].low == metrics["gini@2"].mean == metrics["gini@2"].high == 26 / 36


def test_with_what_was_bought_the_report_says_how_new_the_lists_are():
    bought = held_of([[3, 4], [4], [1]])
    found = report_of(
        lists_of([[3, 4], [4, 1]]), held_of([[3], [2]]), at=[2], products=9, seed=1, bought=bought
    )
    assert list(found.metrics)[-4:] == ["novelty@2", "best_sellers@2", "coverage@2", "gini@2"]
    assert found.metrics["novelty@2"].mean == pytest.approx((np.log2(3) + np.log2(3 / 2)) / 2)
    assert found.metrics["best_sellers@2"].mean == 0.5  # product 4


def test_equal_seeds_give_equal_reports():
    shown, held, products = random_world(
        np.random.default_rng(2), users=50, products=20, longest=10, most_held=4
    )
    assert report(shown, held, products, seed=1) == report(shown, held, products, seed=1)
    assert report(shown, held, products, seed=1) != report(shown, held, products, seed=2)


def test_evaluate_says_how_new_a_models_lists_are_by_its_own_train(split):
    model = tm.best_sellers(split.train)
    found = tm.evaluate(model, split.held_out, at=[5])
    buyers = [
        set(split.train.user_rows[split.train.product_rows == p].tolist()) for p in range(len(model.products))
    ]
    by_buyers = sorted(map(len, buyers), reverse=True)
    # most users see the five products with most buyers; some bought one of them and see the next
    bits = [np.log2(len(set().union(*buyers)) / count) for count in by_buyers]
    assert sum(bits[:5]) / 5 <= found.metrics["novelty@5"].mean <= sum(bits[:8]) / 8
    assert found.metrics["best_sellers@5"].mean == 1
    assert found.metrics["gini@5"].mean > 0.9


def test_nothing_held_out_at_all_is_refused():
    with pytest.raises(DataError, match="none of the 2 users has a held-out product"):
        report([[1], [2]], [[], []])


def test_those_with_held_out_keeps_their_products_and_says_who_they_are():
    rows, theirs = those_with_held_out(held_of([[], [7, 2], [], [5], []]))
    assert rows.tolist() == [1, 3]
    assert [theirs.of(user).tolist() for user in range(2)] == [[2, 7], [5]]


def test_measuring_only_those_with_held_out_changes_no_value():
    shown, held, products = random_world(
        np.random.default_rng(3), users=40, products=20, longest=10, most_held=3
    )
    rows, theirs = those_with_held_out(held_of(held))
    everyone = report(shown, held, products)
    few = report_of(lists_of([shown[row] for row in rows]), theirs, at=[1, 2], products=products, seed=3)
    assert everyone.queries.tolist() == rows.tolist()
    assert all((everyone.values[name] == few.values[name]).all() for name in few.values)
