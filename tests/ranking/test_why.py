"""Why: the parts of a score add up to it, for every kind of model and visitor."""

from __future__ import annotations

import numpy as np
import pytest

import tastemaker as tm
from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.ranking.packed import pack
from tastemaker.ranking.rank import rank_visitors
from tastemaker.ranking.visitors import NOTHING, Visitor, Visitors
from tastemaker.ranking.why import Buyers, parts_of, spoken_for

HAND = TasteModel(
    users=Vocabulary.of(["ann", "bob", "cat"], noun="user"),
    products=Vocabulary.of(["cap", "fez", "hat", "tie"], noun="product"),
    histories=Histories(np.array([0, 2, 4, 7]), np.array([0, 1, 0, 2, 0, 1, 2], np.int32)),
    product_vectors=np.array([[1, 0], [0, 2], [1, 1], [3, 1]], np.float32),
    product_bias=np.array([0.5, 0, -1, 0.25], np.float32),
    user_vectors=None,
    basket_vectors=np.array([[1, 0], [0, 2], [1, 1], [3, 1]], np.float32),
    memory=Memory(np.array([0, 2, 3, 3, 3]), np.array([2, 3, 3], np.int32), np.array([4, 1, 2], np.float32)),
    record=TrainingRecord(None, 0, "", 7),
    damping=1.0,
    memory_damping=0.0,
)


def test_the_parts_by_hand():
    parts = parts_of(HAND, np.array([0, 1], np.int32), np.array([3, 2], np.int32))
    assert parts.taste.tolist() == [
        [1.5, 0.5],
        [1.0, 1.0],
    ]  # ½ cap · tie, ½ cap · hat; ½ fez · tie, ½ fez · hat
    assert parts.memory.tolist() == [[1, 4], [2, 0]]
    assert parts.popularity.tolist() == [0.25, -1]
    assert parts.total().tolist() == [5.75, 4.5]


def test_purchases_that_speak_for_a_product_stand_strongest_first():
    parts = parts_of(HAND, np.array([0, 1], np.int32), np.array([3, 2], np.int32))
    spoken, _ = spoken_for(parts, Buyers(HAND))
    assert [(purchase.row, purchase.taste, purchase.memory, purchase.weight) for purchase in spoken] == [
        (1, 1, 2, 3),
        (0, 1.5, 1, 2.5),
    ]
    assert [purchase.row for purchase in spoken_for(parts, Buyers(HAND), most=1)[1]] == [0]


def test_users_who_bought_both_are_counted():
    buyers = Buyers(HAND)
    assert buyers.of(1).tolist() == [0, 2]
    rows = np.arange(4, dtype=np.int32)
    assert buyers.together(np.zeros(4, np.int32), rows).tolist() == [3, 2, 2, 0]
    assert buyers.together(rows, np.zeros(4, np.int32)).tolist() == [3, 2, 2, 0]


def test_what_speaks_against_a_product_is_no_reason_for_it():
    parts = parts_of(HAND, np.array([0, 1], np.int32), np.array([1], np.int32))
    assert [purchase.row for purchase in spoken_for(parts, Buyers(HAND))[0]] == [1]


# The law ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(split, workshop_model):
    default = tm.preset("default").changed(
        {"dimensions": 16, "epochs": 3, "count_weight": 1.0, "ridge_weight": 8.0, "trend_weight": 0.5}
    )
    return {
        "default": tm.train(split.train, default, seed=2),
        "workshop": workshop_model,
        "best sellers": tm.best_sellers(split.train),
        "co-purchase": tm.co_purchase(split.train),
        "ease": tm.ease(split.train),
    }


@pytest.mark.parametrize("name", ["default", "workshop", "best sellers", "co-purchase", "ease"])
@pytest.mark.parametrize("include", [False, True])
def test_the_parts_add_up_to_the_score(models, name, include):
    import dataclasses

    model = models[name]
    if include:
        bias = np.linspace(-1, 1, len(model.products), dtype=np.float32)
        model = dataclasses.replace(model, repeat_weight=0.75, repeat_bias=bias)
    packed = pack(model)
    basket = np.array([3, 40, 77], np.int32)
    visitors = [
        *(Visitor(user, model.histories.of(user)) for user in range(0, 60, 7)),
        Visitor(basket=basket),
        Visitor(5, np.union1d(model.histories.of(5), basket).astype(np.int32)),
        Visitor(6, model.histories.of(6), np.full(len(model.histories.of(6)), 3, np.int32), basket),
        Visitor(),
        Visitor(2, NOTHING),
    ]
    everybody = Visitors.of(visitors)
    lists = rank_visitors(packed, everybody, k=200, include_purchased=include, explain=True)
    for q, visitor in enumerate(visitors):
        found = lists.of(q)
        rows, scores = found.rows, found.scores
        parts = parts_of(
            model, visitor.held, rows, user=visitor.user, times=visitor.held_times, include_purchased=include
        )
        size = sum(np.abs(part) for part in (parts.own_taste, parts.popularity, parts.repeat)) + sum(
            np.abs(part).sum(axis=0) for part in (parts.taste, parts.memory)
        )
        room = 1e-5 * size * np.sqrt(model.dimensions + len(visitor.held) + 1) + 1e-6
        assert (np.abs(parts.total() - scores) <= room).all()
        assert (np.abs(np.array([reason.total for reason in found.reasons]) - scores) <= room).all()


def test_what_is_only_in_the_basket_counts_as_bought_once():
    rows = [np.array(products, np.int32) for products in ([1, 4], [5, 2], [0, 4, 7])]
    assert Visitor(0, rows[0], rows[1], rows[2]).held_times.tolist() == [1, 5, 2, 1]
    assert Visitor(0, rows[0], rows[1]).held_times.tolist() == [5, 2]
    assert Visitor(0, rows[0], None, rows[2]).held_times is None


def test_a_user_with_a_vector_of_their_own_has_one_taste(models):
    model = models["workshop"]
    parts = parts_of(model, model.histories.of(4), np.arange(9, dtype=np.int32), user=4)
    assert not parts.taste.any()
    assert parts.own_taste.any()
    assert spoken_for(parts, Buyers(model)) == [()] * 9


def test_counting_common_buyers_agrees_with_the_log(models, split):
    model, log = models["default"], split.train
    buyers = Buyers(model)
    sets = [set(log.user_rows[log.product_rows == row].tolist()) for row in range(20)]
    rows = np.arange(20, dtype=np.int32)
    for first in range(20):
        counted = buyers.together(np.full(20, first, np.int32), rows)
        assert counted.tolist() == [len(sets[first] & other) for other in sets]
