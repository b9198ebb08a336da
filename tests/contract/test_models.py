"""What every model must obey, whatever learned it. A new model is one line in ``MODELS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import UnknownId
from tastemaker.model.config import preset
from tastemaker.model.folder import load, save
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.recommend import recommend, recommend_baskets, similar
from tastemaker.ranking.scores import score
from tastemaker.training.baselines.als import als
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.baselines.co_purchase import co_purchase
from tastemaker.training.baselines.ease import ease
from tastemaker.training.train import train


@dataclass(frozen=True)
class Kind:
    """A way to learn a model."""

    learn: Callable[[Purchases], TasteModel]
    personal: bool = True
    """Whether different users may get different lists, so that the checkerboard can be solved."""
    near: bool = True
    """Whether products have vectors, so that they have neighbours."""
    needs: str = "numpy"
    """The optional package without which the kind is skipped."""


WORKSHOP = preset("workshop").changed(
    {"dimensions": 8, "epochs": 60, "negatives": 10, "batch": 32, "learning_rate": 10.0}
)

DEFAULT = preset("default").changed(dimensions=16)  # all else chooses itself, as for anybody's log
TASTE = DEFAULT.changed(
    epochs=60, memory={"count_weight": 0.0, "ridge_weight": 0.0}, trend={"weight": 0.0}, learning_rate=0.5
)

COSINE = DEFAULT.changed(objective="cosine", members=2, epochs=60, batch=64, temperature=0.3)

MODELS = {
    "default": Kind(lambda log: train(log, DEFAULT, seed=1)),
    "taste alone": Kind(lambda log: train(log, TASTE, seed=1)),
    "taste, counts and ridge": Kind(
        lambda log: train(log, TASTE.changed(count_weight=2.0, ridge_weight=4.0), seed=1)
    ),
    "negatives of the batch": Kind(lambda log: train(log, TASTE.changed(sampling="batch"), seed=1)),
    "whole catalogue": Kind(lambda log: train(log, TASTE.changed(sampling="all"), seed=1)),
    "cosine taste": Kind(lambda log: train(log, COSINE, seed=1)),
    "workshop": Kind(lambda log: train(log, WORKSHOP, seed=1)),
    "best sellers": Kind(
        best_sellers, personal=False
    ),  # one list for everybody cannot know the parity of a user
    "co-purchase": Kind(co_purchase, near=False),
    "cosine": Kind(lambda log: co_purchase(log, power=0.5, damping=0.25), near=False),
    "EASE": Kind(lambda log: ease(log, penalty=10.0), near=False),
    "ALS": Kind(lambda log: als(log, factors=8, regularization=0.1), needs="implicit"),
}

GROUP = 10


def checkerboard() -> Purchases:
    """Twenty users and products: user u bought every product of u's parity but the one u is paired with, u itself."""
    pairs = [(u, p) for u in range(2 * GROUP) for p in range(2 * GROUP) if (u - p) % 2 == 0 and u != p]
    users, products = np.random.default_rng(0).permutation(pairs).T
    return Purchases(
        Vocabulary.of([f"user-{u:02}" for u in range(2 * GROUP)], noun="user"),
        Vocabulary.of(range(1000, 1000 + 2 * GROUP), noun="product"),
        users.astype(np.int32),
        products.astype(np.int32),
    )


@pytest.fixture(scope="module", params=MODELS)
def kind(request) -> Kind:
    kind = MODELS[request.param]
    pytest.importorskip(kind.needs, reason=f"{request.param} needs {kind.needs}")
    return kind


@pytest.fixture(scope="module")
def model(kind) -> TasteModel:
    return kind.learn(checkerboard())


@pytest.fixture(scope="module")
def shop_model(kind, split) -> TasteModel:
    return kind.learn(split.train)


def test_the_one_product_of_a_users_own_colour_that_is_left_comes_first(kind, model):
    if not kind.personal:
        pytest.skip("one list for everybody cannot tell even users from odd ones")
    lists = recommend(model, model.users.ids, k=1)
    assert lists.lists.rows.tolist() == list(range(2 * GROUP))


def test_a_basket_of_one_colour_is_answered_with_the_rest_of_it(kind, model):
    if not kind.personal:
        pytest.skip("one list for everybody cannot tell even baskets from odd ones")
    baskets = [[1000 + (p + 2 * n) % (2 * GROUP) for n in range(4)] for p in range(2 * GROUP)]
    lists = recommend_baskets(model, baskets, k=GROUP - 4)
    for basket, (rows, _) in zip(baskets, lists.lists, strict=True):
        same_colour = {p - 1000 for p in range(1000, 1000 + 2 * GROUP) if (p - basket[0]) % 2 == 0}
        assert set(rows.tolist()) == same_colour - {p - 1000 for p in basket}


def test_neighbours_are_of_the_same_colour(kind, model):
    if not (kind.personal and kind.near):
        pytest.skip("without vectors there is no nearness")
    lists = similar(model, model.products.ids, k=GROUP - 1, similarity="cosine")
    for row, (rows, _) in enumerate(lists.lists):
        assert set(((rows - row) % 2).tolist()) == {0}


def test_what_was_bought_is_never_recommended_unless_asked_for(shop_model):
    model, users = shop_model, shop_model.users.ids
    lists, everything = recommend(model, users, k=150), recommend(model, users, k=150, include_purchased=True)
    for user in range(len(users)):
        bought = set(model.histories.of(user).tolist())
        assert not bought & set(lists.lists[user][0].tolist())
        assert len(everything.lists[user][0]) == 150


def test_a_list_is_shorter_where_fewer_products_remain(model):
    lists = recommend(model, model.users.ids, k=1000)
    assert lists.lists.lengths.tolist() == [GROUP + 1] * 2 * GROUP
    assert (recommend(model, model.users.ids, k=3).lists.lengths == 3).all()


def test_scores_never_ascend_and_equal_ones_stand_in_order_of_rows(shop_model):
    for rows, scores in recommend(shop_model, shop_model.users.ids, k=150).lists:
        assert np.isfinite(scores).all()
        assert (scores[:-1] >= scores[1:]).all()
        ties = scores[:-1] == scores[1:]
        assert (rows[:-1][ties] < rows[1:][ties]).all()


def test_a_list_is_ordered_by_the_models_own_scores(shop_model):
    users = shop_model.users.ids[:30]
    scores = score(shop_model, users, shop_model.products.ids)
    for q, (rows, found) in enumerate(recommend(shop_model, users, k=40).lists):
        assert found.tobytes() == scores[q, rows].tobytes()


def test_an_unknown_id_is_named(model):
    with pytest.raises(UnknownId, match="stranger") as caught:
        recommend(model, ["user-03", "stranger"])
    assert caught.value.ids == ("stranger",)
    for ask in (lambda: recommend_baskets(model, [[1000, 77]]), lambda: similar(model, [77])):
        with pytest.raises(UnknownId, match="77") as caught:
            ask()
        assert caught.value.ids == (77,)


def test_a_basket_is_not_recommended_to_its_own_visitor_unless_asked_for(shop_model):
    products = shop_model.products.ids
    baskets = [products[:1].to_list(), products[5:9].to_list(), []]
    lists = recommend_baskets(shop_model, baskets, k=150)
    for basket, (rows, _) in zip(baskets, lists.lists, strict=True):
        assert set(products.gather(rows).to_list()) == set(products.to_list()) - set(basket)
    again = recommend_baskets(shop_model, baskets, k=150, include_purchased=True)
    assert again.lists.lengths.tolist() == [150] * 3


def test_the_order_of_a_basket_and_repeats_in_it_do_not_matter(shop_model):
    first, second, third = shop_model.products.ids[[3, 70, 9]].to_list()
    lists = recommend_baskets(shop_model, [[first, second, third], [third, first, second, first]], k=20)
    assert lists.of(0) == lists.of(1)


def answers(model):
    users, products = model.users.ids, model.products.ids
    baskets = [products[n : n + 3].to_list() for n in range(0, 30, 3)]
    lists = [
        recommend(model, users, k=20),
        recommend_baskets(model, baskets, k=20),
        similar(model, products, k=20),
        similar(model, products, k=20, similarity="cosine"),
    ]
    return [
        (answer.lists.offsets.tobytes(), answer.lists.rows.tobytes(), answer.lists.scores.tobytes())
        for answer in lists
    ]


def test_a_saved_and_loaded_model_answers_with_the_same_bytes(shop_model, tmp_path):
    assert answers(load(save(shop_model, tmp_path / "1"))) == answers(shop_model)


def test_many_at_once_are_answered_as_one_by_one(shop_model):
    users, products = shop_model.users.ids[:25], shop_model.products.ids
    baskets = [products[n : n + 2].to_list() for n in range(25)]
    together = recommend(shop_model, users, k=9), recommend_baskets(shop_model, baskets, k=9)
    for q in range(25):
        alone = recommend(shop_model, users[q : q + 1], k=9), recommend_baskets(shop_model, [baskets[q]], k=9)
        for one, many in zip(alone, together, strict=True):
            assert one.lists.rows.tobytes() == many.lists[q][0].tobytes()
            assert one.lists.scores.tobytes() == many.lists[q][1].tobytes()


def test_learning_again_gives_the_same_bytes(kind, split, shop_model):
    assert answers(kind.learn(split.train)) == answers(shop_model)


def test_a_user_without_a_purchase_gets_a_list(kind):
    board = checkerboard()
    users = Vocabulary.of([*board.users.ids.to_list(), "zoe"], noun="user")
    model = kind.learn(Purchases(users, board.products, board.user_rows, board.product_rows))
    lists = recommend(model, ["zoe"], k=100)
    assert len(lists.of(0)) == 2 * GROUP
    assert np.isfinite(lists.lists.scores).all()
