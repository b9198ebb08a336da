"""The synthetic shop: exactly as large as asked, long-tailed, and true to the tastes it says it planted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.data.synthetic import shop as synthetic
from tastemaker.data.synthetic import shop_vocabulary as wardrobe
from tastemaker.data.synthetic.shop import Shop, make_shop, true_scores, write_shop
from tastemaker.errors import SettingProblem


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop()


def bought(shop: Shop) -> np.ndarray:
    """How often each user (axis 0) bought each product (axis 1)."""
    table = np.zeros((len(shop.purchases.users), len(shop.purchases.products)), dtype=np.int64)
    np.add.at(table, (shop.purchases.user_rows, shop.purchases.product_rows), 1)
    return table


# The size and the form ------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    users=st.integers(1, 60),
    products=st.integers(1, 60),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_a_shop_has_the_size_asked_for_and_no_repeats(
    users: int, products: int, share: float, seed: int
) -> None:
    purchases = max(1, round(share * users * products))
    shop = make_shop(users=users, products=products, purchases=purchases, seed=seed)
    table = bought(shop)
    assert table.shape == (users, products)
    assert table.sum() == len(shop.purchases) == purchases
    assert table.max() == 1
    assert (table.sum(axis=1) > 0).sum() >= min(users, purchases)
    assert shop.catalogue.height == products
    assert shop.catalogue["name"].n_unique() == products


def test_the_same_seed_builds_the_same_shop() -> None:
    one, same, other = (make_shop(users=300, products=90, purchases=2_000, seed=seed) for seed in (7, 7, 8))
    assert one.purchases.fingerprint() == same.purchases.fingerprint()
    assert one.catalogue.equals(same.catalogue)
    for field in ("taste", "style", "popularity"):
        np.testing.assert_array_equal(getattr(one, field), getattr(same, field))
    assert one.purchases.fingerprint() != other.purchases.fingerprint()
    assert not one.catalogue.equals(other.catalogue)


def test_ids_are_in_row_order_and_of_a_shops_kind(shop: Shop) -> None:
    users, products = shop.purchases.users, shop.purchases.products
    assert users.at(np.array([0, 41, 3_999])).to_list() == ["c-000001", "c-000042", "c-004000"]
    assert users.is_sorted
    assert products.is_sorted
    assert products.ids.dtype == pl.Int64
    assert products.ids.equals(shop.catalogue["product_id"], check_names=False)


def test_arrays_have_the_types_and_axes_they_promise(shop: Shop) -> None:
    log = shop.purchases
    assert log.times is not None
    assert log.quantities is not None
    assert (log.user_rows.dtype, log.product_rows.dtype) == (np.int32, np.int32)
    assert (log.times.dtype, log.quantities.dtype) == (np.int64, np.float32)
    assert (shop.taste.dtype, shop.style.dtype, shop.popularity.dtype) == (np.float32,) * 3
    assert shop.taste.shape == (4_000, 23)
    assert shop.style.shape == (1_200, 23)
    assert shop.popularity.shape == (1_200,)
    assert log.summary.kept == 40_000


def test_times_ascend_through_one_year_and_quantities_are_small_and_positive(shop: Shop) -> None:
    log = shop.purchases
    assert log.times is not None
    assert log.quantities is not None
    moments = pl.Series(log.times).cast(pl.Datetime("us"))
    assert moments.is_sorted()
    assert moments.dt.year().unique().to_list() == [2024]
    assert moments.dt.month().n_unique() == 12
    assert set(np.unique(log.quantities).tolist()) == {1, 2, 3}


def test_a_users_purchases_are_spread_over_the_file(shop: Shop) -> None:
    neighbours_alike = np.mean(shop.purchases.user_rows[1:] == shop.purchases.user_rows[:-1])
    assert neighbours_alike < 0.01


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"users": 0}, "0 users"),
        ({"products": -1}, "-1 products"),
        ({"purchases": 0}, "0 purchases"),
        ({"users": 2, "products": 3, "purchases": 7}, "only 6 times"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_an_impossible_shop_is_one_sentence(settings: dict[str, int], words: str) -> None:
    with pytest.raises(SettingProblem, match=words):
        make_shop(**settings)


# The tail -------------------------------------------------------------------------------------------------


def test_popularity_has_a_long_tail(shop: Shop) -> None:
    sold = np.sort(bought(shop).sum(axis=0))[::-1]
    assert sold[:120].sum() > 0.3 * sold.sum()
    assert sold[600:].sum() < 0.25 * sold.sum()
    assert np.median(sold) < 0.8 * sold.mean()


def test_at_the_size_of_asos_the_counts_are_like_those_of_asos() -> None:
    shop = make_shop(users=43_607, products=29_696, purchases=165_042)
    per_user = np.bincount(shop.purchases.user_rows, minlength=43_607)
    per_product = np.bincount(shop.purchases.product_rows, minlength=29_696)
    assert np.median(per_user) == 2
    assert 20 <= per_user.max() <= 35
    assert 2 <= np.median(per_product) <= 4
    assert per_product.max() > 150
    assert np.sort(per_product)[::-1][:2_970].sum() > 0.4 * 165_042
    assert len(shop.purchases.histories().products) == 165_042


# The truth ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [0, synthetic.ROUNDS], ids=["by the exact draw", "by cells and redraws"])
def test_first_purchases_follow_the_softmax_that_is_promised(
    rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "ROUNDS", rounds)
    shop = make_shop(users=6_000, products=25, purchases=6_000, seed=3)
    scores = true_scores(shop, np.arange(6_000)).astype(np.float64)
    chance = np.exp(scores - scores.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    table = bought(shop)
    assert (table.sum(axis=1) == 1).all()

    spread = np.sqrt((chance * (1 - chance)).sum(axis=0))
    assert np.abs((table.sum(axis=0) - chance.sum(axis=0)) / spread).max() < 4.5
    # and not only product by product: each user's own chances too
    mean = (chance * np.log(chance)).sum(axis=1)
    variance = (chance * np.log(chance) ** 2).sum(axis=1) - mean**2
    luck = (np.log(chance) * table).sum() - mean.sum()
    assert abs(luck) < 4.5 * np.sqrt(variance.sum())


def test_a_user_with_two_purchases_drew_the_second_from_what_was_left() -> None:
    shop = make_shop(users=5_000, products=6, purchases=10_000, seed=5)
    table = bought(shop)
    chance = np.exp(true_scores(shop, np.arange(5_000)).astype(np.float64))
    chance /= chance.sum(axis=1, keepdims=True)
    # P(p among n draws without putting back), by walking every order
    expected, spread = np.zeros(6), np.zeros(6)
    for user in range(5_000):
        inside = inclusion(chance[user], int(table[user].sum()))
        expected += inside
        spread += inside * (1 - inside)
    assert np.abs((table.sum(axis=0) - expected) / np.sqrt(spread)).max() < 4.5


def inclusion(chance: np.ndarray, draws: int) -> np.ndarray:
    """The probability that each product is among ``draws`` drawn one after the other without putting back."""
    reached = {0: 1.0}
    for _ in range(draws):
        further: dict[int, float] = {}
        for taken, likely in reached.items():
            left = [p for p in range(len(chance)) if not taken >> p & 1]
            total = sum(chance[p] for p in left)
            for p in left:
                further[taken | 1 << p] = further.get(taken | 1 << p, 0.0) + likely * chance[p] / total
        reached = further
    inside = np.zeros(len(chance))
    for taken, likely in reached.items():
        inside += likely * np.array([taken >> p & 1 for p in range(len(chance))])
    return inside


@pytest.mark.parametrize(
    ("column", "times_as_often"),
    [("style", 2.5), ("brand", 3), ("department", 1.4), ("size", 1.15), ("category", 1.1)],
)
def test_two_purchases_of_one_user_are_alike(shop: Shop, column: str, times_as_often: float) -> None:
    values = shop.catalogue[column].to_numpy()[shop.purchases.product_rows]
    by_user = np.argsort(shop.purchases.user_rows, kind="stable")
    users, ordered = shop.purchases.user_rows[by_user], values[by_user]
    same_user = users[1:] == users[:-1]
    alike = np.mean((ordered[1:] == ordered[:-1])[same_user])
    by_chance = np.mean(values[1:] == values[:-1])  # neighbours in time are strangers
    assert alike > times_as_often * by_chance


def test_knowing_the_tastes_beats_the_best_sellers_by_far(shop: Shop) -> None:
    table = bought(shop)
    by_truth = np.argsort(-true_scores(shop, np.arange(4_000)), axis=1)[:, :10]
    best_sellers = np.argsort(-table.sum(axis=0))[:10]
    assert np.take_along_axis(table, by_truth, axis=1).sum() > 3 * table[:, best_sellers].sum()


def test_the_features_say_what_the_catalogue_says(shop: Shop) -> None:
    style = np.array(wardrobe.STYLES)[shop.style[:, synthetic.STYLE].argmax(axis=1)]
    palette = np.array(wardrobe.PALETTES)[shop.style[:, synthetic.PALETTE].argmax(axis=1)]
    assert style.tolist() == shop.catalogue["style"].to_list()
    assert all(
        colour in wardrobe.COLOURS[name]
        for colour, name in zip(shop.catalogue["colour"], palette.tolist(), strict=True)
    )
    assert all(
        brand in wardrobe.BRANDS[name] for brand, name in shop.catalogue.select("brand", "style").iter_rows()
    )


# The catalogue --------------------------------------------------------------------------------------------


def test_names_can_be_read_and_say_what_the_product_is(shop: Shop) -> None:
    categories = {category.name: category for category in wardrobe.CATEGORIES}
    for row in shop.catalogue.iter_rows(named=True):
        name, category = row["name"], categories[row["category"]]
        assert name.startswith(row["brand"] + " ")
        assert f", {row['colour']}" in name
        assert any(f" {noun}, " in name for noun in category.nouns)
        assert any(f" {material} " in name for material in category.materials)
        assert row["department"] in category.departments
        assert len(name) < 80


def test_the_catalogue_has_the_columns_of_a_shop(shop: Shop) -> None:
    assert shop.catalogue.columns == [
        "product_id", "name", "department", "category", "style", "brand", "colour", "size", "price",
    ]  # fmt: skip
    assert shop.catalogue.null_count().sum_horizontal().item() == 0
    assert shop.catalogue["price"].min() > 0
    assert shop.catalogue["category"].n_unique() == len(wardrobe.CATEGORIES)


def test_a_second_product_of_the_same_name_is_numbered() -> None:
    names = make_shop(users=1, products=40_000, purchases=1).catalogue["name"]
    numbered = names.filter(names.str.ends_with(", no. 2"))
    assert len(numbered) > 0
    assert numbered.str.strip_suffix(", no. 2").is_in(names.implode()).all()
    assert names.n_unique() == 40_000


def test_the_words_of_the_shop_fit_together() -> None:
    assert set(wardrobe.BRANDS) == set(wardrobe.ADJECTIVES) == set(wardrobe.STYLES)
    assert all(len(brands) == len(wardrobe.LEVELS) for brands in wardrobe.BRANDS.values())
    assert all(len(words) == 6 for words in wardrobe.ADJECTIVES.values())
    assert all(len(colours) == 4 for colours in wardrobe.COLOURS.values())
    assert {style for category in wardrobe.CATEGORIES for style in category.styles} <= set(wardrobe.STYLES)
    assert all(12 % len(words) == 0 for c in wardrobe.CATEGORIES for words in (c.nouns, c.materials))


# The files ------------------------------------------------------------------------------------------------


def test_a_written_shop_reads_back_as_it_was(tmp_path: Path) -> None:
    shop = make_shop(users=30, products=20, purchases=100)
    files = write_shop(shop, tmp_path / "shop")
    assert {path.name for path in (tmp_path / "shop").iterdir()} == {
        "purchases.parquet", "products.parquet", "users.parquet",
    }  # fmt: skip
    log = shop.purchases
    assert log.times is not None
    assert log.quantities is not None
    table = pl.read_parquet(files.purchases)
    assert table["user_id"].to_list() == [log.users.ids[int(row)] for row in log.user_rows]
    assert table["product_id"].to_list() == [log.products.ids[int(row)] for row in log.product_rows]
    assert table["time"].cast(pl.Int64).to_list() == log.times.tolist()
    assert table["quantity"].to_list() == log.quantities.tolist()
    assert pl.read_parquet(files.products).equals(shop.catalogue)
    assert pl.read_parquet(files.users)["user_id"].to_list() == log.users.ids.to_list()


def test_writing_again_replaces_and_a_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = (make_shop(users=users, products=20, purchases=100) for users in (30, 40))
    write_shop(small, tmp_path)
    files = write_shop(large, tmp_path)
    assert pl.read_parquet(files.users).height == 40

    def full_disk(table: pl.DataFrame, path: Path) -> None:
        path.write_bytes(b"PAR1 half")
        raise OSError("no space left")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_shop(small, tmp_path)
    monkeypatch.undo()
    assert pl.read_parquet(files.purchases).height == 100
    assert len(list(tmp_path.iterdir())) == 3


def test_a_shop_cannot_be_changed(shop: Shop) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        shop.catalogue = pl.DataFrame()  # type: ignore[misc]
