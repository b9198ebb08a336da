"""The rules of a query: values, and ranges of columns of numbers."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

from tastemaker.data.reading.product_table import empty_table, read_product_table
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.ranking.rules.rule_book import compile_rules
from tastemaker.ranking.rules.rules import Condition
from tastemaker.serving.api.rules import rules_of_query
from tastemaker.serving.api.schemas import ListQuery
from tastemaker.serving.front.problems import Refusal

HATS = Vocabulary.of(["p0", "p1", "p2", "p3"], noun="product")
TABLE = read_product_table(
    pl.DataFrame(
        {
            "product": ["p0", "p1", "p2", "p3"],
            "price": [-5.0, 10.0, 50.0, None],
            "pieces": [1, 2, 3, 4],
            "size": ["10..50", "10", "..", "2..4"],
            "sale": [True, False, True, False],
            "sizes": [[1, 2], [2], [3], []],
        }
    ),
    HATS,
)


def rules_of(*where, table=TABLE):
    return rules_of_query(msgspec.convert({"where": list(where)}, ListQuery), table)


def allowed(*where):
    return compile_rules([rules_of(*where)], HATS, TABLE).allowed.nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (["price:10..50"], [1, 2]),
        (["price:10.5..50.0"], [2]),
        (["price:..10"], [0, 1]),
        (["price:10.."], [1, 2]),
        (["price:-5..-5"], [0]),
        (["price:1e1..5E+1"], [1, 2]),
        (["pieces:2..3"], [1, 2]),
        (["price:10..50", "pieces:3.."], [2]),
        (["price:-5", "price:50"], [0, 2]),
    ],
)
def test_a_range_holds_between_its_bounds_and_at_them_and_an_empty_cell_satisfies_none(where, rows):
    assert allowed(*where) == rows


@pytest.mark.parametrize(
    ("where", "rows"),
    [(["size:10..50"], [0]), (["size:.."], [2]), (["size:10..50", "size:2..4"], [0, 3])],
)
def test_what_looks_like_a_range_is_a_value_of_a_column_of_text(where, rows):
    assert allowed(*where) == rows


def test_a_range_of_a_column_that_is_not_there_is_a_value_so_that_the_column_is_what_is_wrong():
    assert rules_of("price:1..5", table=empty_table(HATS)).where == (Condition("price", among=("1..5",)),)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (["price:.."], r"where gives 'price' the range '\.\.'; write LOW\.\.HIGH"),
        (["price:cheap.."], r"the range 'cheap\.\.'; write LOW"),
        (["price:1..5..9"], r"the range '1\.\.5\.\.9'; write LOW"),
        (["price:1...5"], r"the range '1\.\.\.5'; write LOW"),
        (["price: 1..5"], "write LOW"),
        (["price:nan..5"], "write LOW"),
        (["price:inf.."], "write LOW"),
        (["price:1e999.."], "numbers must be finite"),
        (["price:50..10"], "where.price in the request goes from 50 to 10; 'min' must not be above 'max'"),
        (["price:1..5", "price:7"], "where gives 'price' a range and something else"),
        (["price:7", "price:1..5"], "where gives 'price' a range and something else"),
        (["price:1..5", "price:8..9"], "where gives 'price' a range and something else"),
    ],
)
def test_a_range_that_cannot_be_is_refused_and_told_how_to_be_written(where, message):
    with pytest.raises(Refusal, match=message) as caught:
        rules_of(*where)
    assert caught.value.status == 422


@pytest.mark.parametrize("column", ["sale", "sizes"])
def test_columns_of_truth_values_and_of_lists_have_no_ranges(column):
    rules = rules_of(f"{column}:1..2")
    with pytest.raises(Exception, match=rf"'1\.\.2' is no value of the column '{column}'"):
        compile_rules([rules], HATS, TABLE)
