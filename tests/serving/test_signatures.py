"""The signatures beside the notebook's: users, baskets, neighbours, one or many, with their options."""

from __future__ import annotations

import numpy as np
import pytest
from serving_worlds import USERS, make_model, product_id

PREDICT = "/v1/models/recommender:predict"


def outputs(client, signature, **inputs):
    answer = client.post(PREDICT, json={"signature_name": signature, "inputs": inputs})
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"]


def predictions(client, signature, *instances):
    answer = client.post(PREDICT, json={"signature_name": signature, "instances": list(instances)})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def refused(client, signature, **inputs):
    answer = client.post(PREDICT, json={"signature_name": signature, "inputs": inputs})
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def by_hand(basket, k=10, left_out=None):
    """Rank for a basket of rows: the sum of its vectors over the square root of their number, and each product's bias."""
    model = make_model(3)
    vectors = model.product_vectors.astype(np.float64)
    query = vectors[basket].sum(0) / max(len(basket), 1) ** 0.5
    scores = vectors @ query + model.product_bias
    scores[basket if left_out is None else left_out] = -np.inf
    best = np.argsort(-scores, kind="stable")[:k]
    return [product_id(row) for row in best], scores[best]


def same(found, ids, scores):
    assert found["product_ids"] == ids
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-4, atol=1e-5)


def test_a_user_gets_what_fits_their_purchases_and_not_those(client):
    same(outputs(client, "recommend_user", user="u004"), *by_hand([4, 8]))


def test_a_user_may_get_what_they_bought_again(client):
    found = outputs(client, "recommend_user", user="u004", k=160, include_purchased=True)
    assert len(found["product_ids"]) == 160
    assert len(outputs(client, "recommend_user", user="u004", k=160)["product_ids"]) == 158


def test_a_list_of_users_gets_a_list_of_lists_and_a_list_of_one_too(client):
    many = outputs(client, "recommend_user", user=["u004", "u005"], k=3)
    for number, user in enumerate((4, 5)):
        alone = {name: lists[number] for name, lists in many.items()}
        same(alone, *by_hand([user, 2 * user], 3))
    assert outputs(client, "recommend_user", user=["u004"], k=3)["product_ids"] == [many["product_ids"][0]]


def test_rows_of_users_get_one_prediction_each(client):
    found = predictions(client, "recommend_user", "u004", "u005")
    same(found[0], *by_hand([4, 8]))
    same(found[1], *by_hand([5, 10]))
    named = predictions(client, "recommend_user", {"user": "u004", "k": 2}, {"user": "u005", "k": 2})
    same(named[1], *by_hand([5, 10], 2))


def test_an_unknown_user_gets_the_best_sellers(client):
    same(outputs(client, "recommend_user", user="nobody"), *by_hand([], left_out=[]))
    many = outputs(client, "recommend_user", user=["u004", "nobody", "u005"], k=4)
    assert many["product_ids"][1] == by_hand([], 4, [])[0]
    assert many["product_ids"][2] == by_hand([5, 10], 4)[0]


def test_a_basket_gets_what_fits_it_in_any_order_and_with_repeats(client):
    basket = [product_id(row) for row in (9, 2, 9)]
    same(outputs(client, "recommend_basket", basket=basket), *by_hand([2, 9]))
    assert predictions(client, "recommend_basket", basket)[0] == outputs(
        client, "recommend_basket", basket=basket
    )


def test_several_baskets_get_a_list_each(client):
    baskets = [[product_id(2), product_id(9)], [product_id(7)], []]
    found = outputs(client, "recommend_basket", basket=baskets, k=5)
    assert found["product_ids"] == [by_hand([2, 9], 5)[0], by_hand([7], 5)[0], by_hand([], 5, [])[0]]


def test_unknown_products_of_a_basket_are_left_out(client):
    same(outputs(client, "recommend_basket", basket=[product_id(2), 5, 6]), *by_hand([2]))


def test_similar_products_leave_the_product_itself_out_unless_asked(client):
    vectors = make_model(3).product_vectors.astype(np.float64)
    scores = vectors @ vectors[7]
    order = [product_id(row) for row in np.argsort(-scores, kind="stable")]
    rest = [product for product in order if product != product_id(7)]
    assert outputs(client, "similar_products", product=product_id(7))["product_ids"] == rest[:10]
    assert (
        outputs(client, "similar_products", product=product_id(7), k=4, include_self=True)["product_ids"]
        == order[:4]
    )
    many = outputs(client, "similar_products", product=[product_id(7), product_id(8)], k=3)
    assert many["product_ids"][0] == rest[:3]
    assert len(many["product_ids"]) == 2


def test_a_shorter_list_is_the_beginning_of_a_longer_one(client):
    long = outputs(client, "recommend_user", user="u004", k=50)
    short = outputs(client, "recommend_user", user="u004", k=7)
    assert {name: values[:7] for name, values in long.items()} == short


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_length_beyond_the_limits_is_refused(client, k):
    assert refused(client, "recommend_user", user="u004", k=k) == f"k is {k}; it must be from 1 to 1,000."


def test_too_many_queries_and_too_long_baskets_are_refused(client):
    assert "1 to 256" in refused(client, "recommend_user", user=["u004"] * 257)
    assert "1 to 256" in refused(client, "similar_products", product=[])
    assert "1,000" in refused(client, "recommend_basket", basket=[1000] * 1001)


def test_options_are_checked_like_inputs(client):
    assert "int32" in refused(client, "recommend_user", user="u004", k="ten")
    assert "bool" in refused(client, "recommend_user", user="u004", include_purchased=1)
    assert "one value" in refused(client, "recommend_user", user="u004", k=[1, 2])
    assert len(outputs(client, "recommend_user", user="u004", k=[3])["product_ids"]) == 3


def test_instances_agree_on_their_options(client):
    body = {
        "signature_name": "recommend_user",
        "instances": [{"user": "u004", "k": 2}, {"user": "u005", "k": 3}],
    }
    answer = client.post(PREDICT, json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "all instances must agree on k.")


def test_every_signature_is_described_with_its_defaults(client):
    described = client.get("/v1/models/recommender/metadata").json()["metadata"]["signature_def"][
        "signature_def"
    ]
    assert sorted(described) == [
        "call_item_item", "recommend_basket", "recommend_user", "serving_default", "similar_products",
    ]  # fmt: skip
    user = described["recommend_user"]
    assert {name: tensor["dtype"] for name, tensor in user["inputs"].items()} == {
        "user": "DT_STRING", "k": "DT_INT32", "include_purchased": "DT_BOOL",
    }  # fmt: skip
    assert user["defaults"]["k"]["int_val"] == [10]
    assert user["defaults"]["include_purchased"]["bool_val"] == [False]


def test_the_same_request_alone_and_in_company_is_answered_alike(client):
    from concurrent.futures import ThreadPoolExecutor

    users = [f"u{number:03}" for number in range(USERS)]
    alone = {user: outputs(client, "recommend_user", user=user) for user in users}
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda user: outputs(client, "recommend_user", user=user, k=10), users * 5))
    assert together == [alone[user] for user in users * 5]
