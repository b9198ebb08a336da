"""Newer purchases join the histories of a model, and everything answers to them without training."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.readers import read_purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem
from tastemaker.model.config import preset
from tastemaker.ranking.fold_in import joined, unknown_products
from tastemaker.ranking.recommend import known_part, recommend, recommend_baskets
from tastemaker.ranking.scores import score
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.train import train


@pytest.fixture(scope="module")
def composed_model(split):
    return train(split.train, preset("default").changed({"dimensions": 16, "epochs": 4}), seed=2)


@pytest.fixture(params=["composed", "free"])
def model(request, composed_model, workshop_model):
    return composed_model if request.param == "composed" else workshop_model


def log_of(*pairs):
    users, products = zip(*pairs, strict=True)
    return read_purchases(pl.DataFrame({"user_id": users, "product_id": products}))


def held(model, user):
    return set(model.products.at(model.histories.of(int(model.users.rows([user])[0]))).to_list())


def fresh(model, user, count):
    """Return some products that the user did not buy."""
    return [product for product in model.products.ids if product not in held(model, user)][:count]


def lists_of(recommendations):
    return [recommendations.of(q) for q in range(len(recommendations.lists))]


def test_the_query_of_a_known_user_is_that_of_the_longer_basket(composed_model):
    newer = fresh(composed_model, "c-000004", 3)
    longer = joined(composed_model, log_of(*[("c-000004", product) for product in newer]))
    basket = [*held(composed_model, "c-000004"), *newer]
    asked = recommend(longer, ["c-000004"], k=20)
    assert lists_of(asked) == lists_of(recommend_baskets(composed_model, [basket], k=20))
    assert lists_of(asked) != lists_of(recommend(composed_model, ["c-000004"], k=20))


def test_the_others_are_answered_as_before(model):
    others = [user for user in model.users.ids if user != "c-000004"]
    longer = joined(
        model, log_of(("c-000004", fresh(model, "c-000004", 1)[0]), ("zoe", model.products.ids[7]))
    )
    assert lists_of(recommend(longer, others)) == lists_of(recommend(model, others))


def test_newer_purchases_are_left_out_of_the_list(model):
    newer = [product for product, _ in recommend(model, ["c-000004"], k=2).of(0)]
    longer = joined(model, log_of(*[("c-000004", product) for product in newer]))
    assert held(longer, "c-000004") == held(model, "c-000004") | set(newer)
    everything = recommend(longer, ["c-000004"], k=1000).of(0)
    assert not held(longer, "c-000004") & {product for product, _ in everything}


def test_a_user_who_is_new_is_a_basket(model):
    bought = model.products.ids[[3, 40, 41]].to_list()
    longer = joined(model, log_of(*[("zoe", product) for product in bought]))
    assert len(longer.users) == len(model.users) + 1
    asked = recommend(longer, ["zoe", "c-000001"], k=20)
    assert asked.of(0) == recommend_baskets(model, [bought], k=20).of(0)
    assert asked.of(1) == recommend(model, ["c-000001"], k=20).of(0)
    products, scores = zip(*asked.of(0), strict=True)
    assert score(longer, ["zoe"], list(products))[0].tolist() == list(scores)


def test_a_purchase_made_again_changes_nothing(model):
    again = [("c-000004", product) for product in held(model, "c-000004")]
    longer = joined(model, log_of(*again))
    assert longer.users is model.users
    assert np.array_equal(longer.histories.products, model.histories.products)
    assert np.array_equal(longer.histories.offsets, model.histories.offsets)


def test_unknown_products_are_counted_and_left_out(model):
    known = model.products.ids[0]
    log = log_of(("zoe", 5), ("c-000004", 5), ("c-000004", 77), ("zoe", known))
    ids, count = unknown_products(model, log)
    assert (ids.to_list(), count) == ([5, 77], 3)
    longer = joined(model, log)
    assert held(longer, "zoe") == {known}
    assert held(longer, "c-000004") == held(model, "c-000004") | (held(longer, "c-000004") & {known})


def test_who_bought_unknown_products_only_gets_the_best_sellers(model):
    longer = joined(model, log_of(("zoe", 5)))
    assert recommend(longer, ["zoe"]).of(0) == recommend_baskets(longer, [[]]).of(0)


def test_the_model_that_was_given_stays_as_it_was(model):
    before = model.histories.products.tobytes(), len(model.users)
    joined(model, log_of(("zoe", model.products.ids[0])))
    assert (model.histories.products.tobytes(), len(model.users)) == before


def numbered(users):
    """Return a model whose user ids are integers."""
    log = Purchases(
        Vocabulary.of(pl.Series(users, dtype=pl.Int32), noun="user"),
        Vocabulary.of(["hat", "sock"], noun="product"),
        np.array([0, 1], np.int32),
        np.array([0, 1], np.int32),
    )
    return train(log, preset("workshop").changed({"epochs": 1, "dimensions": 4}))


def test_ids_of_new_users_take_the_type_of_the_known_ones():
    model = numbered([7, 8])
    longer = joined(model, log_of(("9", "hat"), ("7", "sock")))
    assert (longer.users.ids.dtype, longer.users.ids.to_list()) == (pl.Int32, [7, 8, 9])
    assert recommend(longer, ["7", "9"]).queries.to_list() == [7, 9]


@pytest.mark.parametrize("stranger", ["zoe", "009", str(2**40)])
def test_ids_of_new_users_that_have_no_such_type_are_refused(stranger):
    with pytest.raises(ColumnProblem, match=rf"of type Int32, and '{stranger}' cannot stand among them"):
        joined(numbered([7, 8]), log_of((stranger, "hat")))


def best_sellers_of(model):
    counts = np.bincount(model.histories.products, minlength=len(model.products))
    order = np.argsort(-counts, kind="stable")
    return model.products.at(order).to_list(), counts[order].astype(float).tolist()


def with_nobody(split):
    """Return the log with two users in front who bought nothing."""
    log = split.train
    users = Vocabulary.of(["a-nobody", "b-nobody", *log.users.ids], noun="user")
    return Purchases(users, log.products, log.user_rows + np.int32(2), log.product_rows, log.times)


def test_users_without_a_purchase_and_empty_baskets_get_the_best_sellers_of_free_users(split, small_config):
    model = train(with_nobody(split), small_config, seed=5)
    wanted = list(zip(*best_sellers_of(model), strict=True))
    asked = recommend(model, ["a-nobody", "c-000001", "b-nobody"], k=30)
    assert asked.of(0) == asked.of(2) == wanted[:30]
    assert asked.of(1) == recommend(model, ["c-000001"], k=30).of(0) != wanted[:30]
    assert recommend_baskets(model, [[], [model.products.ids[0]], []], k=1000).of(2) == wanted
    assert score(model, ["b-nobody"], [product for product, _ in wanted])[0].tolist() == [
        n for _, n in wanted
    ]


def test_users_without_a_purchase_get_what_the_bias_ranks_where_there_is_one(split):
    model = train(with_nobody(split), preset("default").changed({"dimensions": 8, "epochs": 2}), seed=5)
    order = np.argsort(-model.product_bias, kind="stable")
    assert [product for product, _ in recommend(model, ["a-nobody"], k=1000).of(0)] == model.products.at(
        order
    ).to_list()


def test_a_basket_is_parted_into_what_the_model_knows_and_what_not(model):
    one, two = model.products.ids[:2]
    assert known_part(model, [5, two, one, 77, two]) == ([two, one, two], [5, 77])
    assert known_part(model, ["no", str(one), "5"]) == ([str(one)], ["no", "5"])
    assert known_part(model, []) == ([], [])


def test_the_past_of_a_model_grows_with_newer_purchases():
    first = pl.DataFrame(
        {"user": ["a", "b"], "product": ["hat", "sock"], "date": ["2024-01-02", "2024-01-01"]}
    )
    later = pl.DataFrame(
        {"user": ["a", "zoe"], "product": ["sock", "hat"], "date": ["2024-01-01", "2024-01-03"]}
    )
    model = best_sellers(read_purchases(first))
    past = joined(model, read_purchases(later)).past
    assert (past.offsets.tolist(), past.products.tolist()) == ([0, 2, 3, 4], [1, 0, 1, 0])
    assert np.diff(past.times).tolist() == [86_400_000_000, -86_400_000_000, 2 * 86_400_000_000]
    assert joined(model, read_purchases(later.drop("date"))).past is None
