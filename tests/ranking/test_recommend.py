"""`recommend`, `similar` and `score`: ids in, ids out, against sorting in NumPy."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import twins
from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import SettingProblem, UnknownId
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.recommend import recommend, recommend_baskets, similar
from tastemaker.ranking.scores import score, score_each


@pytest.fixture(scope="module")
def model():
    """Whole numbers, so that scores are exact; user u bought the products u and u + 1."""
    rng = np.random.default_rng(8)
    return TasteModel(
        users=Vocabulary.of([f"u{n}" for n in range(9)], noun="user"),
        products=Vocabulary.of(range(100, 130), noun="product"),
        histories=Histories(
            np.arange(0, 20, 2), np.repeat(np.arange(9), 2).astype(np.int32) + np.int32([0, 1] * 9)
        ),
        product_vectors=rng.integers(-3, 4, (30, 5)).astype(np.float32),
        product_bias=rng.integers(-2, 3, 30).astype(np.float32),
        user_vectors=rng.integers(-3, 4, (9, 5)).astype(np.float32),
        basket_vectors=None,
        memory=None,
        record=TrainingRecord(None, 0, "", 18),
    )


def exact(model):
    return model.user_vectors.astype(np.float64) @ model.product_vectors.T + model.product_bias


def test_users_get_the_best_products_that_they_have_not_bought(model):
    lists, scores = recommend(model, [f"u{n}" for n in range(9)], k=7), exact(model)
    for user in range(9):
        rows = twins.ranked(scores[user], 7, [user, user + 1])
        assert lists.of(user) == [(100 + row, scores[user, row]) for row in rows.tolist()]


def test_what_was_bought_is_listed_on_request(model):
    lists, scores = recommend(model, ["u3"], k=30, include_purchased=True), exact(model)
    assert lists.lists.rows.tolist() == twins.ranked(scores[3], 30).tolist()


def test_users_are_answered_in_the_order_asked_and_again_when_asked_again(model):
    lists = recommend(model, ["u5", "u1", "u5"], k=3)
    assert lists.queries.to_list() == ["u5", "u1", "u5"]
    assert lists.of(0) == lists.of(2) != lists.of(1)


def test_many_users_are_ranked_in_blocks_and_get_the_same_lists(model, monkeypatch):
    users = model.users.ids
    whole = recommend(model, users, k=5)
    monkeypatch.setattr("tastemaker.ranking.recommend.USERS_AT_ONCE", 2)
    blocks = recommend(model, users, k=5)
    assert whole.to_frame().equals(blocks.to_frame())


def test_the_frame_has_a_line_for_each_product_with_its_rank(model):
    frame = recommend(model, ["u0", "u8"], k=2).to_frame()
    assert frame.schema == pl.Schema(
        {"user_id": pl.String, "product_id": pl.Int64, "rank": pl.Int32, "score": pl.Float32}
    )
    assert frame["user_id"].to_list() == ["u0", "u0", "u8", "u8"]
    assert frame["rank"].to_list() == [1, 2, 1, 2]


def test_nobody_asked_gives_no_line(model):
    frame = recommend(model, pl.Series("id", [], dtype=pl.String)).to_frame()
    assert (frame.height, frame.columns) == (0, ["user_id", "product_id", "rank", "score"])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (
            lambda model: recommend(model, ["u1", "u77"]),
            "user 'u77' is not among the 9 users known.*looks like 'u0'",
        ),
        (lambda model: recommend_baskets(model, [[100], [7]]), "product 7 is not among the 30 products"),
        (lambda model: similar(model, [100, 1, 2]), "products 1, 2 are not among"),
        (lambda model: score(model, ["u1"], [5]), "product 5 is not"),
        (lambda model: score_each(model, ["x"], [100]), "user 'x' is not"),
    ],
)
def test_unknown_ids_are_named(model, call, named):
    with pytest.raises(UnknownId, match=named):
        call(model)


# Similar products -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("include_self", [False, True])
def test_the_nearest_by_dot_product(model, include_self):
    vectors = model.product_vectors.astype(np.float64)
    lists = similar(model, range(100, 130), k=6, include_self=include_self)
    for row in range(30):
        expected = twins.ranked(vectors @ vectors[row], 6, () if include_self else [row])
        assert lists.lists[row][0].tolist() == expected.tolist()
        assert lists.lists[row][1].tolist() == (vectors @ vectors[row])[expected].tolist()


def test_the_nearest_by_cosine(model):
    vectors = model.product_vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    lists = similar(model, range(100, 130), k=29, similarity="cosine")
    for row, (rows, scores) in enumerate(lists.lists):
        cosine = vectors @ vectors[row] / np.maximum(lengths * lengths[row], 1e-30)
        np.testing.assert_allclose(scores, cosine[rows], atol=1e-6)
        assert sorted(rows.tolist()) == [other for other in range(30) if other != row]
        assert (np.abs(scores) <= 1 + 1e-6).all()


def test_a_product_without_a_direction_is_like_no_other(model):
    from dataclasses import replace

    vectors = model.product_vectors.copy()
    vectors[4] = 0
    lists = similar(replace(model, product_vectors=vectors), [104], k=3, similarity="cosine")
    assert lists.of(0) == [(100, 0), (101, 0), (102, 0)]


def test_the_columns_of_similar_products(model):
    frame = similar(model, [100], k=1).to_frame()
    assert frame.columns == ["product_id", "similar_id", "rank", "score"]


def test_an_unknown_similarity_is_refused(model):
    with pytest.raises(SettingProblem, match="similarity is 'euclid'; it must be 'dot' or 'cosine'"):
        similar(model, [100], similarity="euclid")


# Scores -----------------------------------------------------------------------------------------------------


def test_scores_of_products_for_users(model):
    found = score(model, ["u2", "u0"], [129, 100, 100])
    assert found.dtype == np.float32
    assert found.tolist() == exact(model)[np.ix_([2, 0], [29, 0, 0])].tolist()


def test_scores_of_pairs(model):
    found = score_each(model, ["u2", "u0", "u2"], [129, 100, 100])
    assert found.tolist() == exact(model)[[2, 0, 2], [29, 0, 0]].tolist()


def test_a_score_is_the_number_by_which_products_are_ranked(workshop_model):
    users = workshop_model.users.ids[:20]
    lists = recommend(workshop_model, users, k=150, include_purchased=True)
    scores = score(workshop_model, users, workshop_model.products.ids)
    for q, (rows, found) in enumerate(lists.lists):
        assert found.tobytes() == scores[q, rows].tobytes()


def test_cosine_and_dot_find_themselves_first_by_cosine(workshop_model):
    lists = similar(workshop_model, workshop_model.products.ids, k=1, similarity="cosine", include_self=True)
    assert lists.lists.rows.tolist() == list(range(150))
