"""Segments: who and what is in each, and what a model is worth there."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranked_worlds import held_of, lists_of, random_world, worlds

import tastemaker as tm
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem, DataError, SettingProblem
from tastemaker.evaluation.popularity import popularity
from tastemaker.evaluation.segments import (
    Segments,
    buyers_of,
    by_column,
    by_history_length,
    by_popularity,
    measure_segments,
)


def users_in(*codes, labels=("few", "many")):
    return Segments("history", "user", labels, np.int32(codes))


def products_in(*codes, labels=("shoe", "hat"), beyond=-1):
    return Segments("kind", "product", labels, np.int32(codes), beyond)


def measured(shown, held, segments, at=(2,), **options):
    found = measure_segments(lists_of(shown), held_of(held), segments, at=at, **options)
    return {segment.label: segment for segment in found}


# Who is in a segment ----------------------------------------------------------------------------------------


def test_history_lengths_are_counted_in_distinct_products_and_the_bounds_are_in_the_labels():
    sizes = [0, 1, 4, 5, 9, 10, 30]
    histories = held_of([list(range(size)) for size in sizes])
    segments = by_history_length(histories, np.arange(len(sizes)))
    assert [segments.labels[code] for code in segments.codes] == [
        "new: 0",
        "light: 1–4",
        "light: 1–4",
        "medium: 5–9",
        "medium: 5–9",
        "heavy: 10 and more",
        "heavy: 10 and more",
    ]
    assert by_history_length(histories, [6, -1, 1]).codes.tolist() == [3, 0, 1]


def test_other_bounds_of_histories():
    segments = by_history_length(held_of([[1], [1, 2], [1, 2, 3]]), [0, 1, 2], medium=2, heavy=3)
    assert segments.labels == ("new: 0", "light: 1", "medium: 2", "heavy: 3 and more")
    assert segments.codes.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("medium", "heavy"), [(1, 5), (5, 5), (9, 2)])
def test_bounds_out_of_order_are_refused(medium, heavy):
    with pytest.raises(SettingProblem, match="heavy above medium"):
        by_history_length(held_of([[1]]), [0], medium=medium, heavy=heavy)


def test_the_head_makes_up_a_third_of_what_is_bought():
    # 12 pairs: product 0 has 4, product 1 has 3, product 2 has 2, products 3, 4 and 5 have 1, product 6 none.
    # Above 0 stand 0 of 12, above 1 stand 4 (a third: no longer head), above 2 stand 7, above the rest 9 (past two thirds).
    assert popularity(np.array([4, 3, 2, 1, 1, 1, 0])).tolist() == [0, 1, 1, 2, 2, 2, 3]
    assert popularity(np.array([4, 3, 2, 1, 1, 1, 0]), head=0.5, middle=0.25).tolist() == [0, 0, 1, 2, 2, 2, 3]  # fmt: skip


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_products_bought_alike_are_never_parted_and_the_order_of_the_catalogue_does_not_matter(buyers, random):  # fmt: skip
    codes = popularity(np.array(buyers))
    by_level = {}
    for count, code in zip(buyers, codes.tolist(), strict=True):
        assert by_level.setdefault(count, code) == code
    assert all(by_level[a] >= by_level[b] for a in by_level for b in by_level if a < b)
    order = random.sample(range(len(buyers)), len(buyers))
    assert popularity(np.array([buyers[p] for p in order])).tolist() == codes[order].tolist()


def test_nothing_bought_at_all_is_never_bought():
    assert popularity(np.zeros(3, int)).tolist() == [3, 3, 3]


@pytest.mark.parametrize(("head", "middle"), [(0, 0.5), (0.5, 0), (0.5, 0.5), (0.9, 0.2)])
def test_shares_that_leave_no_tail_are_refused(head, middle):
    with pytest.raises(SettingProblem, match="sum below 1"):
        popularity(np.array([1]), head=head, middle=middle)


def test_a_model_a_log_and_histories_have_the_same_buyers():
    log = tm.read_purchases(pl.DataFrame({"user": [1, 1, 1, 2], "product": ["hat", "hat", "sock", "hat"]}))
    model = tm.best_sellers(log)
    for source in (log, model, log.histories()):
        assert buyers_of(source).tolist() == [2, 1]
    assert by_popularity(model).codes.tolist() == by_popularity(log).codes.tolist() == [0, 2]


def test_products_that_the_model_does_not_know_were_never_bought():
    segments = by_popularity(held_of([[0], [0, 1]]), products=3)
    assert segments.of_products(np.array([0, 2, 3, 99])).tolist() == [0, 3, 3, 3]


# Columns ----------------------------------------------------------------------------------------------------

IDS = Vocabulary.of(["a", "b", "c", "d"], noun="product")


def labels_of(segments):
    return [segments.labels[code] for code in segments.codes]


def test_a_column_of_words_has_a_label_for_each_and_one_for_those_it_says_nothing_of():
    shop = pl.DataFrame({"product_id": ["d", "b", "a"], "kind": ["shoe", None, "hat"]})
    segments = by_column(shop, "kind", IDS)
    assert segments.labels == ("hat", "shoe", "unknown")
    assert labels_of(segments) == ["hat", "unknown", "unknown", "shoe"]
    assert segments.of_products(np.array([99])).tolist() == [2]


def test_rare_words_are_other_and_ties_go_by_the_alphabet():
    shop = pl.DataFrame({"product_id": ["a", "b", "c", "d"], "kind": ["x", "z", "y", "z"]})
    assert labels_of(by_column(shop, "kind", IDS, most=2)) == ["x", "z", "all others", "z"]


def test_many_numbers_are_cut_at_their_quartiles():
    ids = Vocabulary.of(list(range(9)), noun="product")
    prices = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, None]  # quartiles 17.5, 35, 52.5
    segments = by_column(pl.DataFrame({"product_id": list(range(9)), "price": prices}), "price", ids, most=3)
    assert segments.labels == ("up to 17.5", "17.5 to 35", "35 to 52.5", "above 52.5", "unknown")
    assert segments.codes.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]


def test_few_numbers_and_truths_are_words():
    shop = pl.DataFrame({"product_id": ["a", "b"], "size": [38, 40], "new": [True, False]})
    assert labels_of(by_column(shop, "size", IDS)) == ["38", "40", "unknown", "unknown"]
    assert labels_of(by_column(shop, "new", IDS)) == ["true", "false", "unknown", "unknown"]


def test_users_have_columns_too_in_the_order_of_the_lists():
    people = pl.DataFrame({"customer_id": ["u1", "u2", "u3"], "region": ["north", "south", "north"]})
    users = Vocabulary.of(["u1", "u2", "u3", "u4"], noun="user")
    segments = by_column(people, "region", users.at(np.array([3, 1, 0])), noun="user")
    assert segments.noun == "user"
    assert labels_of(segments) == ["unknown", "south", "north"]


def test_a_column_that_is_not_there_and_one_of_lists_are_refused():
    shop = pl.DataFrame({"product_id": ["a"], "tags": [["x", "y"]]})
    with pytest.raises(ColumnProblem, match="no column 'kind'"):
        by_column(shop, "kind", IDS)
    with pytest.raises(ColumnProblem, match="holds lists"):
        by_column(shop, "tags", IDS)


# What a model is worth there --------------------------------------------------------------------------------

SHOWN, HELD = [[0, 1], [0, 2], [3, 4]], [[1], [0, 3], [4]]


def test_users_are_measured_each_in_their_segment():
    found = measured(SHOWN, HELD, users_in(0, 0, 1), metrics=("recall", "mrr"))
    assert (found["few"].users, found["few"].products) == (2, 3)
    assert found["few"].metrics["recall@2"].mean == (1 + 0.5) / 2
    assert found["few"].metrics["mrr@2"].mean == (1 / 2 + 1) / 2
    assert found["many"].metrics["recall@2"].mean == 1


def test_products_are_measured_as_if_only_theirs_were_held_out():
    found = measured(SHOWN, HELD, products_in(0, 0, 1, 1, 1))
    assert (found["shoe"].users, found["shoe"].products) == (2, 2)
    assert found["shoe"].metrics["recall@2"].mean == 1  # 1 for the first user, 0 for the second
    assert (found["hat"].users, found["hat"].products) == (2, 2)
    assert found["hat"].metrics["recall@2"].mean == 0.5  # 3 of the second user missed, 4 of the third found


def test_a_segment_without_users_is_told_and_has_no_metrics():
    empty = measured(SHOWN, HELD, users_in(0, 0, 0))["many"]
    assert (empty.users, empty.products, empty.metrics) == (0, 0, {})


def test_who_has_no_label_is_in_no_segment():
    found = measured(SHOWN, HELD, users_in(0, -1, -1))
    assert [segment.users for segment in found.values()] == [1, 0]
    unknown = measured([[0, 1]], [[0, 99]], products_in(0, 0))
    assert [segment.products for segment in unknown.values()] == [1, 0]


@settings(deadline=None)
@given(worlds(), st.data())
def test_segments_of_users_add_up_to_the_whole(world, data):
    shown, held, _ = world
    codes = [data.draw(st.integers(0, 1)) for _ in shown]
    parts = measured(shown, held, users_in(*codes), at=(3,)).values()
    whole = measured(shown, held, users_in(*[0] * len(shown)), at=(3,))["few"]
    assert sum(part.users for part in parts) == whole.users
    assert sum(part.products for part in parts) == whole.products
    for name, interval in whole.metrics.items():
        weighted = sum(part.users * part.metrics[name].mean for part in parts if part.users)
        assert weighted / whole.users == pytest.approx(interval.mean)


@settings(deadline=None)
@given(worlds(), st.data())
def test_what_is_held_out_is_in_one_segment_of_products_each(world, data):
    shown, held, products = world
    codes = [data.draw(st.integers(0, 1)) for _ in range(products)]
    parts = measured(shown, held, products_in(*codes), at=(3,))
    assert sum(part.products for part in parts.values()) == sum(map(len, held))
    for code, label in enumerate(("shoe", "hat")):
        shares = [
            np.mean([p in rows[:3] for p in theirs if codes[p] == code])
            for rows, theirs in zip(shown, held, strict=True)
            if any(codes[p] == code for p in theirs)
        ]
        if shares:
            assert parts[label].metrics["recall@3"].mean == pytest.approx(np.mean(shares))


def test_one_segment_of_all_is_the_report():
    shown, held, products = random_world(np.random.default_rng(1), users=60, products=20, longest=10, most_held=4)  # fmt: skip
    from tastemaker.evaluation.protocol import report_of

    report = report_of(lists_of(shown), held_of(held), at=[5], products=products, seed=7)
    whole = measured(shown, held, users_in(*[0] * 60), at=[5], metrics=("recall",), seed=7)["few"]
    assert whole.metrics["recall@5"] == report.metrics["recall@5"]


def test_segments_of_other_users_are_refused():
    with pytest.raises(DataError, match="segments are of 2 users and the held-out products of 3"):
        measured(SHOWN, HELD, users_in(0, 1))


def test_a_metric_that_users_do_not_have_is_refused():
    with pytest.raises(SettingProblem, match="'coverage' is no metric of a user"):
        measured(SHOWN, HELD, users_in(0, 0, 1), metrics=("coverage",))
