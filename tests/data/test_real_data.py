"""The three real data sets, counted by hand or in their publishers' words; skipped where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tastemaker.data.reading.readers import read_held_out, read_purchases
from tastemaker.data.splits import hold_out_last, hold_out_time

DATA = Path(os.environ.get("TASTEMAKER_DATA", Path(__file__).parents[3] / "shared" / "data"))
ASOS = DATA / "asos"
TRAIN = ASOS / "dsf_asos_train_with_alphanumeric_dummy_ids.parquet"
VALID = ASOS / "dsf_asos_valid_with_alphanumeric_dummy_ids.parquet"
USERS = ASOS / "dsf_asos_dummy_users_with_alphanumeric_dummy_ids.csv"
PRODUCTS = ASOS / "dsf_asos_productIds.csv"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real data: set TASTEMAKER_DATA to their folder")


def test_asos_with_its_catalogues():
    train = read_purchases(TRAIN, users=USERS, products=PRODUCTS)
    assert (len(train), len(train.users), len(train.products)) == (165_042, 43_607, 29_696)
    assert (train.summary.dropped, train.summary.repeats) == (0, 0)
    assert train.users.ids.head(2).to_list() == ["pmfkU4BNZhmtLgJQwJ7x", "UDRRwOlzlWVbu7H8YCCi"]
    assert (train.products.ids.first(), train.products.ids.dtype) == (8650774, pl.Int32)
    assert train.users.at(train.user_rows[:2]).to_list() == ["PIXcm7Ru5KmntCy0yA1K", "d0RILFB1hUzNSINMY4Ow"]
    assert train.products.at(train.product_rows[:2]).to_list() == [10524048, 9137713]
    assert train.times is None
    valid = read_held_out(VALID, train.users, train.products)
    assert (len(valid.purchases), valid.unknown_user_rows, valid.unknown_product_rows) == (35_567, 0, 0)
    assert len(np.unique(valid.purchases.user_rows)) == 19_533


def test_asos_keeps_the_order_of_its_file():
    train = read_purchases(TRAIN)
    raw = pl.read_parquet(TRAIN)
    assert train.users.at(train.user_rows).to_list() == raw["dummyUserId"].cast(pl.String).to_list()
    assert train.products.at(train.product_rows).to_list() == raw["productId"].to_list()


def test_rent_the_runway():
    rentals = read_purchases(DATA / "rent_the_runway" / "rentals.parquet")
    assert (len(rentals), len(rentals.users), len(rentals.products)) == (192_544, 105_571, 5_850)
    first, last = (
        np.array([rentals.times.min(), rentals.times.max()]).astype("datetime64[us]").astype("datetime64[D]")
    )
    assert (str(first), str(last)) == ("2010-11-03", "2018-01-08")
    split = hold_out_time(rentals, 0.1)
    assert split.train.times.max() < split.held_out.times.min()


def test_online_retail():
    invoices = read_purchases(DATA / "online_retail" / "online_retail.parquet")
    assert (len(invoices), len(invoices.products)) == (531_282, 3_940)
    unknown = int(invoices.users.rows([0])[0])
    assert int((invoices.user_rows == unknown).sum()) == 133_358
    assert invoices.quantities.min() > 0
    split = hold_out_last(invoices)
    width = len(invoices.products)
    sides = [
        part.user_rows.astype(np.int64) * width + part.product_rows for part in (split.train, split.held_out)
    ]
    assert not len(np.intersect1d(*sides))
