"""Columns become tokens: what each is understood as, what is left out and why, and what unknown values mean."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data.past import Past
from tastemaker.data.tokens.bags import Bags
from tastemaker.data.tokens.columns import TokenColumns, columns_of, says_too_much
from tastemaker.data.tokens.encoders import Encoder
from tastemaker.errors import ColumnProblem
from tastemaker.model.beside.known import bought_by, seen_by


def tokens_of(bags, row):
    return bags.tokens[bags.offsets[row] : bags.offsets[row + 1]].tolist()


def labels(columns, bags, row):
    return [columns.label(token) for token in tokens_of(bags, row)]


FRAME = pl.DataFrame(
    {
        "colour": ["red", "blue", None, "red", "blue"],
        "price": [5.0, 15.0, 25.0, 5.0, 25.0],
        "tags": ["a|b", "b", None, '["a", "c"]', "b"],
        "added": ["2024-01-01", "2024-02-03", None, "2024-01-08", "2024-12-31"],
        "look": [[1.0, 0.0], [0.0, 2.0], None, [3.0, 4.0], [1.0, 1.0]],
        "sku": ["a1", "b2", "c3", "d4", "e5"],
        "shop": ["one"] * 5,
        "empty": [None] * 5,
    }
)


def test_each_column_is_understood_by_its_values():
    columns, left_out = columns_of(FRAME)
    assert {encoder.column: encoder.form for encoder in columns.encoders} == {
        "colour": "category", "price": "bands", "tags": "list", "added": "dates", "look": "vector",
    }  # fmt: skip
    assert left_out == {
        "sku": "every row has another value",
        "shop": "every row has the same value",
        "empty": "every row is empty",
    }


def test_a_row_has_the_tokens_of_its_values_and_none_for_what_is_missing():
    columns, _ = columns_of(FRAME.select("colour", "price", "added"))
    bags = columns.encode(FRAME, 5)
    assert labels(columns, bags, 0) == ["colour red", "price below 15", "added Jan", "added Mon"]
    assert labels(columns, bags, 2) == ["price 25 or more"]


def test_a_value_never_seen_has_no_token_and_the_rest_is_used():
    columns, _ = columns_of(FRAME.select("colour", "price"))
    new = pl.DataFrame({"colour": ["green"], "price": [7.0]})
    assert labels(columns, columns.encode(new, 1), 0) == ["price below 15"]


def test_a_column_that_is_missing_says_nothing():
    columns, _ = columns_of(FRAME.select("colour", "price"))
    assert labels(columns, columns.encode(pl.DataFrame({"price": [7.0]}), 1), 0) == ["price below 15"]
    assert tokens_of(columns.encode(None, 2), 1) == []


def test_an_embedding_is_a_weighted_token_for_each_number():
    columns, _ = columns_of(FRAME.select("look"))
    bags = columns.encode(FRAME, 5)
    scale = columns.encoders[0].scale
    assert tokens_of(bags, 3) == [0, 1]
    np.testing.assert_allclose(bags.weights[bags.offsets[3] : bags.offsets[4]] * scale, [3, 4], rtol=1e-6)
    assert tokens_of(bags, 2) == []


def test_an_embedding_of_another_length_and_a_column_of_another_type_are_refused():
    columns, _ = columns_of(FRAME.select("look", "price"))
    with pytest.raises(
        ColumnProblem, match="lists of \\[3\\], and the model learned from lists of 2 numbers"
    ):
        columns.encode(pl.DataFrame({"look": [[1.0, 2.0, 3.0]]}), 1)
    with pytest.raises(ColumnProblem, match="the model learned from numbers there"):
        columns.encode(pl.DataFrame({"price": ["cheap"]}), 1)


def test_rare_words_share_buckets_and_common_ones_have_tokens_of_their_own():
    names = [f"red cup {chr(97 + i // 26)}x{chr(97 + i % 26)}y" for i in range(200)]
    columns, _ = columns_of(pl.DataFrame({"name": names}))
    (encoder,) = columns.encoders
    assert encoder.form == "words"
    assert encoder.values[:2] == ("cup", "red")
    assert 0 < encoder.buckets <= 256
    bags = columns.encode(pl.DataFrame({"name": names}), 200)
    assert labels(columns, bags, 0) == ["name red", "name cup", "name: a rare value"]


def test_encoders_survive_json():
    columns, _ = columns_of(FRAME)
    for encoder in columns.encoders:
        assert Encoder.from_json(encoder.to_json()) == encoder


def test_a_column_that_tells_the_product_is_found():
    rng = np.random.default_rng(0)
    products = rng.integers(0, 50, 2_000).astype(np.int32)
    offsets = np.arange(2_001)
    leak = Bags(offsets, products.copy(), np.ones(2_000, np.float32))
    honest = Bags(offsets, (products % 5).astype(np.int32), np.ones(2_000, np.float32))
    assert says_too_much(leak, products)
    assert not says_too_much(honest, products)


PAST = Past(
    np.array([0, 6, 7]),
    np.array([1, 1, 2, 2, 1, 3, 9], np.int32),
    np.array([10, 20, 30, 40, 50, 60, 5]),
    np.array([1, 0, 1, 2, 1, 0, 1], np.int16),
    ("purchase", "view", "cart"),
)


def test_what_was_bought_by_a_moment_is_strictly_before_it():
    bought, moments, _ = bought_by(PAST, np.array([0, 0, 1, 7]), np.array([20, 21, 99, 99]))
    assert [bought.of(q).tolist() for q in range(4)] == [[], [1], [], []]
    assert moments.tolist() == [20]


def test_an_event_says_nothing_once_its_product_is_bought_after_it():
    seen = seen_by(PAST, np.array([0, 0, 1]), np.array([20, 100, 100]))
    told = [
        list(
            zip(
                *(
                    part[seen.offsets[q] : seen.offsets[q + 1]].tolist()
                    for part in (seen.kinds, seen.products)
                ),
                strict=True,
            )
        )
        for q in range(3)
    ]
    assert told == [[(0, 1)], [(0, 1), (0, 2), (1, 2)], [(0, 9)]]


@pytest.mark.parametrize("buckets", [0, 7])
def test_one_value_at_once_has_the_tokens_of_a_frame(buckets):
    encoders = (
        Encoder(column="colour", form="category", values=("red", "7", "blue"), buckets=buckets),
        Encoder(column="price", form="bands", edges=(1.0, 2.5, 10.0)),
        Encoder(column="title", form="words", values=("red", "hat")),
    )
    columns = TokenColumns(encoders, 100)
    values = (
        "red",
        "7",
        7,
        1,
        2.5,
        2.4,
        "2.5",
        "-3",
        10,
        1e9,
        "green",
        "red hat",
        float("nan"),
        True,
        "1e2",
        "",
        None,
    )
    for name in columns.names:
        for value in values:
            frame = pl.DataFrame({name: pl.Series(name, [value], strict=False)})
            try:
                slow = columns.encode(frame, 1).tokens.tolist()
            except ColumnProblem:
                with pytest.raises(ColumnProblem):
                    columns.encode_one(name, value)
                continue
            assert columns.encode_one(name, value).tokens.tolist() == slow, (name, value)
