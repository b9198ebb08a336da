"""Repeats: what a user bought before is lifted by how often they bought it, in lists in which it may come again, and only there."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.reading.readers import read_purchases
from tastemaker.evaluation.evaluate import evaluate
from tastemaker.model.config import preset
from tastemaker.model.folder import load, save
from tastemaker.ranking.fold_in import joined
from tastemaker.ranking.queries import histories_of, repeat_scores, times_of, user_queries, with_repeats
from tastemaker.ranking.recommend import recommend, recommend_baskets
from tastemaker.ranking.scores import score, score_each
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.train import train

PRODUCTS = 150
SETTLED = {"epochs": 2, "count_weight": 2.0, "ridge_weight": 0.0, "trend_weight": 0.0, "memory_partners": 20}
REPEATS = {"repeat_weight": 3.0, "repeat_sales": 0.5, "repeat_level": -0.25}


@pytest.fixture(scope="module")
def log(split):
    """The shop's log without times, with half of its lines a second and an eighth a third time."""
    bare = dataclasses.replace(split.train, times=None, quantities=None)
    places = np.concatenate((np.arange(len(bare)), np.arange(0, len(bare), 2), np.arange(0, len(bare), 8)))
    return bare.take(places)


@pytest.fixture(scope="module")
def model(log):
    changes = SETTLED | REPEATS | {"dimensions": 8, "negatives": 30}
    return train(log, preset("default").changed(changes), seed=2)


@pytest.fixture(scope="module")
def without(model):
    """The same model, in which no purchase is made again."""
    return dataclasses.replace(model, history_times=None, repeat_weight=0.0, repeat_bias=None)


def counted(log, user, product):
    return int(((log.user_rows == user) & (log.product_rows == product)).sum())


def added_by_hand(log, user, product):
    """The formula of docs/model.md."""
    again = len(log.user_rows[log.product_rows == product]) - len(
        set(log.user_rows[log.product_rows == product].tolist())
    )
    return 3.0 * np.log(1 + counted(log, user, product)) + 0.5 * np.log(1 + again) - 0.25


def test_what_a_user_bought_is_lifted_by_the_formula_and_nothing_else_is(model, without, log):
    users = model.users.ids[:25]
    lifted = score(model, users, model.products.ids, include_purchased=True).astype(np.float64)
    plain = score(without, users, model.products.ids, include_purchased=True)
    for user in range(25):
        bought = set(model.histories.of(user).tolist())
        expected = [added_by_hand(log, user, p) if p in bought else 0.0 for p in range(PRODUCTS)]
        np.testing.assert_allclose(lifted[user] - plain[user], expected, rtol=1e-4, atol=1e-4)
    assert set(model.history_times.tolist()) == {1, 2, 3}


def test_lists_without_what_was_bought_are_the_same_to_the_bit(model, without):
    users = model.users.ids[:60]
    for one, other in [
        (recommend(model, users, k=PRODUCTS), recommend(without, users, k=PRODUCTS)),
        (recommend_baskets(model, [[]], k=9), recommend_baskets(without, [[]], k=9)),
    ]:
        assert one.lists.rows.tobytes() == other.lists.rows.tobytes()
        assert one.lists.scores.tobytes() == other.lists.scores.tobytes()
    assert (
        score(model, users, model.products.ids).tobytes()
        == score(without, users, model.products.ids).tobytes()
    )


@pytest.mark.parametrize("part", ["memory", "no memory"])
def test_a_score_is_the_very_number_by_which_it_is_ranked(part, model):
    model = model if part == "memory" else dataclasses.replace(model, memory=None)
    users = model.users.ids[:40]
    scores = score(model, users, model.products.ids, include_purchased=True)
    lists = recommend(model, users, k=PRODUCTS, include_purchased=True).lists
    for q, (rows, found) in enumerate(lists):
        assert found.tobytes() == scores[q, rows].tobytes()
        assert (np.diff(found) <= 0).all()
    first = [(q, int(rows[0])) for q, (rows, _) in enumerate(lists)]
    each = score_each(
        model,
        users.gather([q for q, _ in first]),
        model.products.at(np.array([row for _, row in first])),
        include_purchased=True,
    )
    assert each.tolist() == [float(scores[pair]) for pair in first]


def test_repeats_are_a_term_of_their_own_beside_the_memory(model, without):
    """So that they can be explained."""
    users = np.array([5, 0, 17])
    bought, times = histories_of(model, users), times_of(model, users)
    own = repeat_scores(model, bought, times)
    assert own.rows.tolist() == bought.products.tolist()
    queries = user_queries(model, users)
    whole = with_repeats(model, queries, bought, times)
    assert whole.vectors is queries.vectors
    for q in range(3):
        expected = dict.fromkeys(range(PRODUCTS), np.float32(0))
        for extra in (queries.extra, own):
            part = slice(extra.offsets[q], extra.offsets[q + 1])
            for row, value in zip(extra.rows[part].tolist(), extra.scores[part], strict=True):
                expected[row] += value
        part = slice(whole.extra.offsets[q], whole.extra.offsets[q + 1])
        found = dict(zip(whole.extra.rows[part].tolist(), whole.extra.scores[part].tolist(), strict=True))
        assert found == {row: float(value) for row, value in expected.items() if row in found}
        assert all(expected[row] == 0 for row in set(expected) - set(found))
    assert repeat_scores(without, bought, None) is None
    assert with_repeats(without, queries, bought, None) is queries


def test_more_threads_and_less_company_change_nothing(model):
    users = model.users.ids[:50]
    whole = recommend(model, users, k=20, include_purchased=True, threads=1)
    assert recommend(model, users, k=20, include_purchased=True, threads=3).lists.scores.tobytes() == (
        whole.lists.scores.tobytes()
    )
    assert recommend(model, [users[7]], k=20, include_purchased=True).of(0) == whole.of(7)


def test_a_visitors_basket_was_bought_once(model):
    """A user who bought each product once gets the list of a visitor with their basket."""
    user = next(user for user in range(len(model.users)) if (times_of(model, np.array([user])) == 1).all())
    basket = model.products.at(model.histories.of(user)).to_list()
    known = recommend(model, [model.users.ids[user]], k=PRODUCTS, include_purchased=True)
    visitor = recommend_baskets(model, [[*basket, basket[0]]], k=PRODUCTS, include_purchased=True)
    assert known.of(0) == visitor.of(0)


def test_evaluating_with_what_was_bought_ranks_with_repeats(model, without, log):
    """All that is held out was bought before, so that a great lift finds all of it."""
    sure = dataclasses.replace(model, repeat_weight=1000.0)
    most = int(np.diff(model.histories.offsets).max())
    given = {"at": [most], "include_purchased": True}
    assert evaluate(sure, log, **given).metrics[f"recall@{most}"].mean == 1
    assert evaluate(without, log, **given).metrics[f"recall@{most}"].mean < 0.95


def test_a_model_with_repeats_comes_back_from_its_folder_to_the_bit(model, tmp_path):
    again = load(save(model, tmp_path / "1"))
    assert again.history_times.tobytes() == model.history_times.tobytes()
    assert again.repeat_bias.tobytes() == model.repeat_bias.tobytes()
    assert (again.repeat_weight, again.record.config) == (model.repeat_weight, model.record.config)
    users = model.users.ids[:30]
    one, other = (recommend(m, users, include_purchased=True).lists for m in (model, again))
    assert one.scores.tobytes() == other.scores.tobytes()


# Joining ------------------------------------------------------------------------------------------------------


def shop_of(*lines, dated=True):
    frame = pl.DataFrame(lines, schema=["user", "product", "date"], orient="row")
    return read_purchases(frame if dated else frame.drop("date"))


def times_in(model, user):
    row = model.users.rows([user])
    products = model.products.at(model.histories.of(int(row[0]))).to_list()
    times = times_of(model, row)
    return dict(zip(products, [1] * len(products) if times is None else times.tolist(), strict=True))


OLD = [("ann", "tea", "2024-01-01"), ("ann", "hat", "2024-01-01"), ("bob", "tea", "2024-01-05")]


def model_of(log):
    settings = {"epochs": 1, "dimensions": 2, "count_weight": 0.0, "ridge_weight": 0.0, "trend_weight": 0.0}
    return train(log, preset("default").changed(settings | REPEATS), seed=1)


def test_joined_purchases_are_counted_on_top_of_those_before():
    model = model_of(shop_of(*OLD, ("ann", "tea", "2024-01-03")))
    assert times_in(model, "ann") == {"tea": 2, "hat": 1}
    newer = shop_of(
        ("ann", "tea", "2024-02-01"), ("ann", "tea", "2024-02-01"), ("ann", "tea", "2024-02-02"),
        ("bob", "hat", "2024-02-01"), ("zoe", "hat", "2024-02-01"), ("zoe", "hat", "2024-02-03"),
        ("zoe", "mug", "2024-02-03"), ("zoe", "mug", "2024-02-04"),
    )  # fmt: skip
    longer = joined(model, newer)
    assert times_in(longer, "ann") == {"tea": 4, "hat": 1}
    assert times_in(longer, "bob") == {"tea": 1, "hat": 1}
    assert times_in(longer, "zoe") == {"hat": 2}
    assert times_in(model, "ann") == {"tea": 2, "hat": 1}
    assert (
        longer.histories.products.tolist()
        == Purchases.histories(
            shop_of(*OLD, ("bob", "hat", "2024-02-01"), ("zoe", "hat", "2024-02-01"))
        ).products.tolist()
    )


def test_joined_lines_without_times_are_one_time_each():
    longer = joined(model_of(shop_of(*OLD)), shop_of(*[("bob", "tea", "")] * 3, dated=False))
    assert times_in(longer, "bob") == {"tea": 4}
    assert times_in(longer, "ann") == {"tea": 1, "hat": 1}


def test_nothing_joined_twice_leaves_every_product_bought_once():
    longer = joined(model_of(shop_of(*OLD)), shop_of(("zoe", "tea", "2024-03-01")))
    assert longer.history_times is None
    assert len(longer.histories.products) == 4


def test_a_joined_purchase_lifts_what_was_bought_before():
    model = model_of(shop_of(*OLD, ("ann", "tea", "2024-01-03")))
    longer = joined(model, shop_of(("bob", "tea", "2024-02-01")))
    before, after = (score(m, ["bob"], ["tea"], include_purchased=True)[0, 0] for m in (model, longer))
    assert after - before == pytest.approx(3 * (np.log(3) - np.log(2)), rel=1e-4)


def test_a_baseline_has_no_repeats_and_ranks_as_ever():
    log = shop_of(*OLD, ("ann", "tea", "2024-01-03"))
    model = best_sellers(log)
    assert (model.history_times, model.repeat_bias, model.repeat_weight) == (None, None, 0.0)
    assert [product for product, _ in recommend(model, ["ann"], include_purchased=True).of(0)] == [
        "tea",
        "hat",
    ]


def test_times_that_do_not_stand_beside_the_histories_are_refused(model):
    from tastemaker.errors import SettingProblem

    with pytest.raises(SettingProblem, match=r"history_times has the shape \(2,\)"):
        dataclasses.replace(model, history_times=np.array([1, 2], np.int32))
    with pytest.raises(SettingProblem, match=r"repeat_bias has the shape \(1,\)"):
        dataclasses.replace(model, repeat_bias=np.zeros(1, np.float32))


def test_a_users_times_follow_the_order_that_was_asked(model):
    users = np.array([9, 2, 9])
    found, bought = times_of(model, users), histories_of(model, users)
    start, end = model.histories.offsets[9:11]
    assert (
        found[: end - start].tolist()
        == model.history_times[start:end].tolist()
        == found[-(end - start) :].tolist()
    )
    assert isinstance(bought, Histories)
    assert len(found) == len(bought.products)
