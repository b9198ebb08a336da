"""Queries with a memory: users are their baskets, and every way to a score gives the same bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.model.config import preset
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.queries import basket_queries, histories_of, user_queries
from tastemaker.ranking.recommend import recommend, recommend_baskets
from tastemaker.ranking.scores import score, score_each
from tastemaker.ranking.top_k import Candidates, top_k
from tastemaker.training.selection.in_time import STEADY
from tastemaker.training.train import train

SETTLED = {"epochs": 3, "count_weight": 2.0, "ridge_weight": 4.0, "trend_weight": 0.0, "memory_partners": 20}
PRODUCTS = 150


@pytest.fixture(scope="module")
def model(split):
    """A small model of composed users with a memory, to which age says nothing; its damping and its memory's differ."""
    changes = {**STEADY, **SETTLED} | {
        "dimensions": 13,
        "negatives": 30,
        "damping": 0.5,
        "memory_damping": 0.3,
    }
    return train(split.train, preset("default").changed(changes), seed=2)


def baskets_of(*lists):
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in lists]))).astype(np.int64)
    return Histories(offsets, np.array([row for part in lists for row in part], np.int32))


def parts_of(queries):
    extra = queries.extra
    return [array.tobytes() for array in (queries.vectors, extra.offsets, extra.rows, extra.scores)]


def expected_scores(model, basket):
    """Every product's score for a basket, in float64 from the model's parts."""
    size = max(len(basket), 1)
    query = model.basket_vectors[basket].astype(np.float64).sum(axis=0) / size**model.damping
    scores = model.product_vectors.astype(np.float64) @ query + model.product_bias
    for p in basket:
        part = slice(model.memory.offsets[p], model.memory.offsets[p + 1])
        scores[model.memory.products[part]] += model.memory.weights[part] / size**model.memory_damping
    return scores


def test_the_memory_is_there(model):
    """Else the tests below would prove little."""
    assert len(model.memory.products) > 10 * PRODUCTS
    assert (model.damping, model.memory_damping) == (0.5, 0.3)


def test_a_user_is_the_basket_of_their_history_to_the_bit(model):
    users = np.arange(len(model.users))[::-1]
    lists = [model.histories.of(user).tolist() for user in users]
    assert parts_of(user_queries(model, users)) == parts_of(basket_queries(model, baskets_of(*lists)))


def test_a_known_users_list_is_that_of_a_visitor_with_the_same_basket(model):
    users = model.users.ids[:40]
    baskets = [model.products.at(model.histories.of(user)).to_list() for user in range(40)]
    known, visitors = recommend(model, users, k=PRODUCTS), recommend_baskets(model, baskets, k=PRODUCTS)
    assert known.lists.rows.tobytes() == visitors.lists.rows.tobytes()
    assert known.lists.scores.tobytes() == visitors.lists.scores.tobytes()


@pytest.mark.parametrize("basket", [[7], [3, 140], list(range(0, 150, 11)), list(range(150))])
def test_a_new_visitors_scores_are_taste_bias_and_memory(model, basket):
    ids = model.products.at(np.array(basket)).to_list()
    rows, scores = recommend_baskets(model, [ids], k=PRODUCTS, include_purchased=True).lists[0]
    np.testing.assert_allclose(scores, expected_scores(model, basket)[rows], rtol=1e-4, atol=1e-4)
    assert sorted(rows.tolist()) == list(range(PRODUCTS))


def test_an_empty_basket_is_ranked_by_the_bias_alone(model):
    rows, scores = recommend_baskets(model, [[]], k=PRODUCTS).lists[0]
    assert scores.tobytes() == model.product_bias[rows].tobytes()
    assert rows.tolist() == sorted(range(PRODUCTS), key=lambda row: (-model.product_bias[row], row))
    queries = basket_queries(model, baskets_of([], [5], []))
    assert not queries.vectors[[0, 2]].any()
    assert np.diff(queries.extra.offsets)[[0, 2]].tolist() == [0, 0]


def test_a_user_without_a_purchase_is_an_empty_basket(model):
    users = Vocabulary.of([*model.users.ids.to_list(), "zoe"], noun="user")
    offsets = np.append(model.histories.offsets, model.histories.offsets[-1])
    histories = Histories(offsets, model.histories.products)
    grown = dataclasses.replace(model, users=users, histories=histories, past=None)
    lists = recommend(grown, ["zoe"], k=9)
    assert lists.of(0) == recommend_baskets(model, [[]], k=9).of(0)


def test_another_purchase_changes_a_visitors_query(model):
    ids = model.products.ids
    fewer, more = recommend_baskets(model, [ids[:2].to_list(), ids[:3].to_list()], k=20).lists
    assert fewer[1].tobytes() != more[1].tobytes()


def test_a_score_is_the_very_number_by_which_it_is_ranked(model):
    users = model.users.ids[:60]
    scores = score(model, users, model.products.ids)
    lists = recommend(model, users, k=PRODUCTS, include_purchased=True).lists
    for q, (rows, found) in enumerate(lists):
        assert found.tobytes() == scores[q, rows].tobytes()
    pairs = [(q, int(rows[0])) for q, (rows, _) in enumerate(lists)]
    each = score_each(
        model, users.gather([q for q, _ in pairs]), model.products.at(np.array([row for _, row in pairs]))
    )
    assert each.tobytes() == np.array([found[0] for _, found in lists], np.float32).tobytes()


def test_scores_of_users_in_any_order_and_again_are_the_same_bits(model):
    order = [5, 3, 5, 0, 399, 3]
    whole = score(model, model.users.ids, model.products.ids)
    again = score(model, model.users.ids.gather(order), model.products.ids)
    assert again.tobytes() == whole[order].tobytes()


def test_many_queries_are_those_asked_one_by_one_with_any_number_of_threads(model):
    lists = [model.histories.of(user).tolist() for user in range(30)] + [[], [4]]
    whole = basket_queries(model, baskets_of(*lists), threads=1)
    assert parts_of(basket_queries(model, baskets_of(*lists), threads=3)) == parts_of(whole)
    for q, basket in enumerate(lists):
        alone = basket_queries(model, baskets_of(basket))
        part = slice(whole.extra.offsets[q], whole.extra.offsets[q + 1])
        assert alone.vectors[0].tobytes() == whole.vectors[q].tobytes()
        assert alone.extra.rows.tobytes() == whole.extra.rows[part].tobytes()
        assert alone.extra.scores.tobytes() == whole.extra.scores[part].tobytes()


def test_no_queries_are_answered_with_none(model):
    for queries in (basket_queries(model, baskets_of()), user_queries(model, np.zeros(0, np.int64))):
        assert queries.vectors.shape == (0, 13)
        assert queries.extra.offsets.tolist() == [0]
        assert len(top_k(queries.vectors, product_candidates(model), 5, extra=queries.extra)) == 0


def test_without_a_memory_nothing_is_added(model):
    bare = dataclasses.replace(model, memory=None)
    assert user_queries(bare, np.arange(3)).extra is None
    assert (
        user_queries(bare, np.arange(3)).vectors.tobytes()
        == user_queries(model, np.arange(3)).vectors.tobytes()
    )


def test_free_users_keep_their_vectors_and_recall_their_history(model):
    vectors = np.random.default_rng(0).normal(size=(400, 13)).astype(np.float32)
    free = dataclasses.replace(model, user_vectors=vectors, basket_vectors=None)
    users = np.array([7, 7, 311])
    queries, composed = user_queries(free, users), user_queries(model, users)
    assert queries.vectors.tobytes() == vectors[users].tobytes()
    assert parts_of(queries)[1:] == parts_of(composed)[1:]


def test_a_visitor_of_a_model_of_free_users_is_the_mean_of_their_products(workshop_model):
    queries = basket_queries(workshop_model, baskets_of([3, 5, 9, 20], [8], []))
    table = workshop_model.product_vectors.astype(np.float64)
    np.testing.assert_allclose(queries.vectors[0], table[[3, 5, 9, 20]].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert queries.vectors[1].tobytes() == workshop_model.product_vectors[8].tobytes()
    assert not queries.vectors[2].any()
    assert queries.extra is None


def test_histories_are_gathered_in_the_order_asked(model):
    found = histories_of(model, np.array([9, 2, 9]))
    for place, user in enumerate((9, 2, 9)):
        assert found.of(place).tolist() == model.histories.of(user).tolist()


def test_candidates_that_moved_rank_as_if_packed_anew():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2_100, 6)).astype(np.float32)
    candidates, rows = Candidates.of(vectors), np.array([0, 7, 1_024, 2_099])
    vectors[rows] = rng.normal(size=(4, 6))
    candidates.moved(rows, vectors[rows])
    assert candidates.panels.tobytes() == Candidates.of(vectors).panels.tobytes()
