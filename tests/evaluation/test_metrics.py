"""Metrics: small cases worked out by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from ranked_worlds import held_of, lists_of

from tastemaker.errors import DataError, SettingProblem
from tastemaker.evaluation.metrics import USER_METRICS, measure


def values(shown, held, name, products=20):
    k = int(name.split("@")[1])
    return measure(lists_of(shown), held_of(held), at=[k], products=products).values[name].tolist()


# One user, who bought 3, 5 and 9; the list shows 5 at place 2 and 9 at place 4.
SHOWN, HELD = [[1, 5, 2, 9, 7]], [[3, 5, 9]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recall@1", 0),
        ("recall@2", 1 / 3),
        ("recall@5", 2 / 3),
        ("precision@2", 1 / 2),
        ("precision@5", 2 / 5),
        ("ndcg@2", (1 / log2(3)) / (1 + 1 / log2(3))),
        ("ndcg@5", (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4))),
        ("map@2", (1 / 2) / 2),
        ("map@5", (1 / 2 + 2 / 4) / 3),
        ("mrr@1", 0),
        ("mrr@5", 1 / 2),
        ("hit_rate@1", 0),
        ("hit_rate@2", 1),
    ],
)
def test_a_worked_example(name, expected):
    assert values(SHOWN, HELD, name) == pytest.approx([expected], abs=1e-15)


@pytest.mark.parametrize("name", USER_METRICS)
def test_k_beyond_the_list_sees_the_list_and_nothing_else(name):
    k = 1000
    longer = [[*SHOWN[0], *[row for row in range(20) if row not in {*SHOWN[0], *HELD[0]}]]]
    assert values(SHOWN, HELD, f"{name}@{k}") == values(longer, HELD, f"{name}@{k}")


def test_precision_of_a_short_list_is_still_divided_by_k():
    assert values([[3]], [[3]], "precision@4") == [0.25]


@pytest.mark.parametrize("name", USER_METRICS)
def test_a_user_with_an_empty_list_scores_zero(name):
    assert values([[], [3]], [[3], [3]], f"{name}@1") == [0, 1]


def test_users_with_nothing_held_out_have_no_value_and_are_not_counted_as_zero():
    measured = measure(lists_of([[1], [2], [3]]), held_of([[], [2], []]), at=[1], products=5)
    assert measured.queries.tolist() == [1]
    assert measured.values["recall@1"].tolist() == [1.0]


def test_nobody_with_a_held_out_product_gives_no_values():
    measured = measure(lists_of([[1], [2]]), held_of([[], []]), at=[1], products=5)
    assert [len(value) for value in measured.values.values()] == [0] * len(USER_METRICS)


def test_no_lists_at_all_give_no_values():
    measured = measure(lists_of([]), held_of([]), at=[3], products=5)
    assert measured.queries.tolist() == []
    assert measured.wholes == {"coverage@3": 0.0, "gini@3": 0.0}


def test_a_held_out_product_that_the_model_does_not_know_counts_as_missed():
    assert values([[0, 1]], [[1, 99]], "recall@2", products=2) == [0.5]


def test_a_tie_in_score_goes_to_the_lower_row_and_not_to_the_bought_product():
    scores = np.float32([1, 1, 1, 2, 1, 1])  # product 5 was bought and ties with 0, 1, 2 and 4
    ranked = sorted(range(6), key=lambda row: (-scores[row], row))
    assert values([ranked], [[5]], "mrr@6") == [1 / 6]
    assert values([ranked], [[5]], "hit_rate@5") == [0]


def test_coverage_counts_each_product_once_and_only_places_within_k():
    wholes = measure(lists_of([[0, 1, 2], [0, 3]]), held_of([[0], [0]]), at=[1, 2, 3], products=8).wholes
    assert [wholes[f"coverage@{k}"] for k in (1, 2, 3)] == [1 / 8, 3 / 8, 4 / 8]


def test_coverage_counts_the_lists_of_users_with_nothing_held_out_too():
    wholes = measure(lists_of([[0], [1]]), held_of([[0], []]), at=[1], products=4).wholes
    assert wholes["coverage@1"] == 0.5


def test_names_stand_metric_by_metric_and_k_ascending():
    measured = measure(lists_of(SHOWN), held_of(HELD), at=[10, 2, 10], products=20)
    assert list(measured.values)[:4] == ["recall@2", "recall@10", "precision@2", "precision@10"]
    assert list(measured.wholes) == ["coverage@2", "coverage@10", "gini@2", "gini@10"]


@pytest.mark.parametrize("at", [[], [0], [10, -1], [2.5]])
def test_a_list_length_that_cannot_work_is_refused(at):
    with pytest.raises(SettingProblem, match="whole number from 1"):
        measure(lists_of(SHOWN), held_of(HELD), at=at, products=20)


def test_lists_and_held_out_products_of_different_users_are_refused():
    with pytest.raises(DataError, match="1 ranked lists and held-out products of 2 users"):
        measure(lists_of(SHOWN), held_of([[1], [2]]), at=[1], products=20)


def test_a_list_that_shows_a_hit_twice_is_refused():
    with pytest.raises(DataError, match="list of query 1 shows product row 3 twice"):
        measure(lists_of([[3], [3, 4, 3]]), held_of([[3], [3, 4]]), at=[1], products=20)


@pytest.mark.parametrize("shown", [[[5]], [[-1]]])
def test_a_product_outside_the_catalogue_is_refused(shown):
    with pytest.raises(DataError, match="catalogue has 5 products"):
        measure(lists_of(shown), held_of([[1]]), at=[1], products=5)
