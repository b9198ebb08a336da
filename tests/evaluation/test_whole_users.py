"""Users held out whole: a model trained without them takes up their baskets, and is measured on the rest."""

from __future__ import annotations

import numpy as np
import pytest

import tastemaker as tm
from tastemaker.data.splits import hold_out_users
from tastemaker.ranking.recommend import recommend_baskets


@pytest.fixture(scope="module")
def whole_users(shop):
    return hold_out_users(shop.purchases, 0.3, rng=np.random.default_rng(4))


@pytest.mark.parametrize("kind", ["free users", "composed", "co-purchase"])
def test_users_held_out_whole_get_the_lists_of_their_baskets(whole_users, small_config, kind):
    model = {
        "free users": lambda: tm.train(whole_users.train, small_config.changed({"epochs": 2}), seed=1),
        "composed": lambda: tm.train(whole_users.train, tm.preset("default").changed({"epochs": 2, "dimensions": 8}), seed=1),
        "co-purchase": lambda: tm.co_purchase(whole_users.train, power=0.5, damping=1.0),
    }[kind]()  # fmt: skip
    users = model.users.at(np.unique(whole_users.held_out.user_rows)).to_list()
    asked = tm.recommend(tm.joined(model, whole_users.baskets), users, k=5)
    baskets = whole_users.baskets.histories()
    ids = [model.products.at(baskets.of(row)).to_list() for row in model.users.rows(users)]
    for mine, theirs in zip(asked.lists, recommend_baskets(model, ids, k=5).lists, strict=True):
        assert mine[0].tolist() == theirs[0].tolist()


def test_their_baskets_tell_more_than_nothing(whole_users):
    model = tm.co_purchase(whole_users.train, power=0.5, damping=1.0)
    blind = tm.evaluate(model, whole_users.held_out, at=[10])
    knowing = tm.evaluate(tm.joined(model, whole_users.baskets), whole_users.held_out, at=[10])
    assert blind.users == knowing.users == len(np.unique(whole_users.held_out.user_rows))
    assert knowing.metrics["ndcg@10"].mean > 1.2 * blind.metrics["ndcg@10"].mean
