"""Best sellers, counted by hand."""

from __future__ import annotations

import polars as pl
import pytest

from tastemaker.data.reading.readers import read_purchases
from tastemaker.errors import NoPurchases
from tastemaker.ranking.recommend import recommend
from tastemaker.training.baselines.best_sellers import best_sellers

LOG = pl.DataFrame(
    {
        "user_id": ["a", "a", "a", "b", "b", "c", "c"],
        "product_id": ["hat", "hat", "hat", "sock", "shoe", "shoe", "sock"],
    }
)


def test_a_product_scores_the_number_of_users_who_bought_it_however_often():
    model = best_sellers(read_purchases(LOG))
    assert dict(zip(model.products.ids.to_list(), model.product_bias.tolist(), strict=True)) == {
        "hat": 1,
        "shoe": 2,
        "sock": 2,
    }


def test_everybody_gets_the_same_list_but_for_what_they_bought():
    lists = recommend(best_sellers(read_purchases(LOG)), ["a", "b", "c"], k=3)
    assert [lists.of(q) for q in range(3)] == [[("shoe", 2), ("sock", 2)], [("hat", 1)], [("hat", 1)]]


def test_the_seed_and_the_settings_are_none():
    record = best_sellers(read_purchases(LOG)).record
    assert (record.config, record.seed, record.purchases, record.epochs) == (None, 0, 7, ())


def test_nothing_sells_best_without_purchases():
    log = read_purchases(LOG)
    with pytest.raises(NoPurchases):
        best_sellers(log.take(slice(0, 0)))
