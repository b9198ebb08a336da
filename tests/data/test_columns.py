from __future__ import annotations

from pathlib import Path

import pytest

from tastemaker.data.reading.columns import Chosen, Columns, choose_columns, distinct_names, plays_a_role
from tastemaker.data.reading.readers import read_purchases
from tastemaker.errors import ColumnProblem


def choose(*names: str, **named: str) -> Chosen:
    return choose_columns(names, Columns(**named), label="log.csv")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["dummyUserId", "productId"], Chosen("dummyUserId", "productId")),
        (["t_dat", "customer_id", "article_id", "price"], Chosen("customer_id", "article_id", "t_dat")),
        (
            [
                "InvoiceNo",
                "StockCode",
                "Description",
                "Quantity",
                "InvoiceDate",
                "UnitPrice",
                "CustomerID",
                "Country",
            ],
            Chosen("CustomerID", "StockCode", "InvoiceDate", "Quantity"),
        ),
        (["user_id", "item_id", "review_date", "rating"], Chosen("user_id", "item_id", "review_date")),
        (["timestamp", "visitorid", "event", "itemid"], Chosen("visitorid", "itemid", "timestamp")),
        (["userId", "movieId", "rating", "timestamp"], Chosen("userId", "movieId", "timestamp")),
        (["Customer ID", "SKU", "QTY"], Chosen("Customer ID", "SKU", None, "QTY")),
        (["Order date", "Client", "Article"], Chosen("Client", "Article", "Order date")),
        (["USER-ID", "parent_asin"], Chosen("USER-ID", "parent_asin")),
        (
            ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
            Chosen("user_id:token", "item_id:token", "timestamp:float"),
        ),
    ],
)
def test_columns_are_found_by_their_usual_names(names: list[str], expected: Chosen):
    assert choose(*names) == expected


def test_named_columns_go_before_usual_names():
    assert choose("who", "what", "user_id", user="who", product="what") == Chosen("who", "what")
    assert choose("asin", "parent_asin", "user_id", product="parent_asin").product == "parent_asin"


def test_a_column_named_for_one_role_is_not_found_for_another():
    assert choose("user", "item", "timestamp", "date", time="date").time == "date"
    assert choose("customer_id", "user", "sku", user="user", product="sku").user == "user"
    assert choose("user_id", "item_id", "product_id", user="item_id", product="product_id") == Chosen(
        "item_id", "product_id"
    )


def test_two_columns_for_one_role_are_listed_with_the_flag():
    with pytest.raises(ColumnProblem, match=r"'user_id', 'customer_id'; choose one with --user-column"):
        choose("user_id", "customer_id", "sku")
    with pytest.raises(ColumnProblem, match=r"may be the time: 'date', 'timestamp'; .* --time-column"):
        choose("user_id", "sku", "date", "timestamp")


def test_the_same_name_twice_is_ambiguous():
    twice = distinct_names(["who", "user_id", "sku", "user_id", "who"])
    assert twice == ("who (1)", "user_id (1)", "sku", "user_id (2)", "who (2)")
    with pytest.raises(
        ColumnProblem, match=r"2 columns called 'user_id'; .* --user-column 'user_id \(1\)' is the first"
    ):
        choose(*twice)
    with pytest.raises(ColumnProblem, match="2 columns called 'who'"):
        choose(*twice, user="who")
    with pytest.raises(ColumnProblem, match="2 columns called 'date'"):
        choose(*distinct_names(["user", "sku", "date", "date"]))
    assert choose(*twice, user="user_id (2)").user == choose(*twice, user="4").user == "user_id (2)"


@pytest.mark.parametrize("column", ["product_id (2)", "3"])
def test_of_two_columns_of_one_name_the_one_that_is_named_is_read(column: str, tmp_path: Path):
    (tmp_path / "log.csv").write_text(
        "user_id,product_id,product_id\na,p,q\nuser_id,product_id,product_id\nb,p,r\n"
    )
    log = read_purchases(tmp_path / "log.csv", product_column=column)
    assert log.read.left_out == {"repeating the header": 1}
    assert log.products.ids.to_list() == ["q", "r"]
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        [["a", "p", "q"], ["b", "p", "r"]], columns=["user_id", "product_id", "product_id"]
    )
    with pytest.raises(
        ColumnProblem,
        match=r"2 columns called 'product_id'; say which one: product_column='product_id \(1\)'",
    ):
        read_purchases(frame)
    log = read_purchases(frame, product_column=column)
    assert log.products.ids.to_list() == ["q", "r"]


def test_no_column_for_the_user_or_the_product_lists_the_columns():
    with pytest.raises(
        ColumnProblem, match=r"user id; name it with --user-column. Its columns are 'a', 'sku'"
    ):
        choose("a", "sku")
    with pytest.raises(ColumnProblem, match=r"product id; name it with --product-column"):
        choose("user", "b")


def test_a_named_column_that_is_missing_lists_the_columns():
    with pytest.raises(
        ColumnProblem, match=r"no column 'klant' \(--user-column\). Its columns are 'user', 'sku'"
    ):
        choose("user", "sku", user="klant")


def test_positions_count_from_one_and_names_go_first():
    assert choose("a", "b", "c", user="3", product="1") == Chosen("c", "a")
    assert choose("2", "1", user="1", product="2") == Chosen("1", "2")
    for outside in ("0", "4"):
        with pytest.raises(ColumnProblem, match="no column"):
            choose("a", "b", "c", user=outside, product="1")


def test_one_column_cannot_play_two_roles():
    with pytest.raises(ColumnProblem, match=r"'a' .* both the user and the product"):
        choose("a", "b", user="a", product="a")
    with pytest.raises(ColumnProblem, match=r"both the product and the time"):
        choose("a", "b", user="a", product="b", time="2")


def test_an_empty_name_reads_no_time():
    assert choose("user", "item", "date", time="") == Chosen("user", "item")


def test_case_and_punctuation_do_not_matter():
    assert all(plays_a_role(name, "user") for name in ("user_id", "UserID", "user-id", "User Id", "USER.ID"))
    assert not plays_a_role("id", "user")
