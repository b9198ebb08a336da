"""Rules: lists under them are the greedy walk down the whole ranking; broken rules say what is wrong."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.data.purchases import Histories
from tastemaker.data.reading.product_table import empty_table, read_product_table
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem, SettingProblem
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.queries import Queries
from tastemaker.ranking.rules.rule_book import Removal, compile_rules
from tastemaker.ranking.rules.ruled import best_allowed, rank_ruled
from tastemaker.ranking.rules.rules import NO_RULES, Rules, RulesFile, read_rules, write_rules
from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores

PRODUCTS = Vocabulary.of([f"p{n}" for n in range(8)], noun="product")
TABLE = read_product_table(
    pl.DataFrame(
        {
            "product_id": [f"p{n}" for n in range(7)] + ["gone"],
            "brand": ["a", "a", "b", "b", None, "c", "c", "a"],
            "price": [5.0, 10, 15, 20, 25, float("nan"), 35, 1],
            "in_stock": [True, False, True, True, None, True, False, True],
            "tags": [["x", "y"], ["y"], [], None, ["x"], ["z"], ["x"], []],
        }
    ),
    PRODUCTS,
)


def allowed(content, table=TABLE):
    book = compile_rules([Rules.from_json(content)], PRODUCTS, table)
    return np.flatnonzero(book.allowed).tolist()


# Which products a rule lets through -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ({"allow": ["p3", "p1", "nobody"]}, [1, 3]),
        ({"allow": []}, []),
        ({"deny": ["p0", "p7"]}, [1, 2, 3, 4, 5, 6]),
        ({"where": {"brand": "b"}}, [2, 3]),
        ({"where": {"brand": ["a", "c", "nobody"]}}, [0, 1, 5, 6]),
        ({"where": {"brand": {"in": []}}}, []),
        ({"where": {"price": {"min": 10, "max": 20}}}, [1, 2, 3]),
        ({"where": {"price": {"max": 10}}}, [0, 1]),
        ({"where": {"price": 15}}, [2]),
        ({"where": {"price": "15"}}, [2]),
        ({"where": {"in_stock": True}}, [0, 2, 3, 5]),
        ({"where": {"in_stock": "false"}}, [1, 6]),
        ({"where": {"tags": "x"}}, [0, 4, 6]),
        ({"where": {"tags": ["y", "z"]}}, [0, 1, 5]),
        ({"minimum_price": 20}, [3, 4, 6]),
        ({"where": {"brand": ["a", "b"], "in_stock": True}, "deny": ["p0"]}, [2, 3]),
    ],
)
def test_the_products_that_a_rule_lets_through(content, rows):
    assert allowed(content) == rows


def test_a_product_without_a_value_satisfies_no_condition():
    assert allowed({"where": {"price": {"min": -1e9}}}) == [0, 1, 2, 3, 4, 6]
    assert allowed({"where": {"price": {"max": 1e9}}}) == [0, 1, 2, 3, 4, 6]


def test_every_removed_candidate_counts_for_one_rule():
    content = {"deny": ["p0", "p1"], "where": {"brand": "a", "in_stock": True}}
    book = compile_rules([Rules.from_json(content), Rules.from_json({"deny": ["p2"]})], PRODUCTS, TABLE)
    assert book.removals == (
        Removal("deny", 2),
        Removal("where.brand", 6),
        Removal("where.in_stock", 0),
        Removal("deny", 0),
    )
    assert book.remaining == 0


def test_unknown_ids_are_listed_and_no_error():
    rules = Rules.from_json({"deny": ["p1", "x", 7], "pin": ["y", "x", "p2", 10**30]})
    assert compile_rules([rules], PRODUCTS, TABLE).unknown == ("x", 7, "y", 10**30)


def test_integer_ids_are_found_as_text_too():
    numbers = Vocabulary.of([1, 2, 3], noun="product")
    book = compile_rules([Rules.from_json({"deny": ["2", 3]})], numbers, empty_table(numbers))
    assert book.allowed.tolist() == [True, False, False]


# What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"where": {"colour": "red"}},
            "no column 'colour'. Its columns are: 'brand', 'price', 'in_stock', 'tags'",
        ),
        ({"at_most": {"style": 1}}, "no column 'style'"),
        ({"at_most": {"tags": 1}}, "'tags' of .* holds lists"),
        ({"where": {"brand": {"min": 1}}}, "'brand' of .* is of type String; 'min' and 'max' need numbers"),
        ({"where": {"in_stock": "maybe"}}, "'maybe' is no value of the column 'in_stock'"),
        ({"where": {"price": "cheap"}}, "'cheap' is no value of the column 'price'"),
        ({"where": {"price": True}}, "True is no value of the column 'price'"),
    ],
)
def test_rules_that_the_catalogue_cannot_answer_say_why(content, message):
    with pytest.raises((ColumnProblem, SettingProblem), match=message):
        compile_rules([Rules.from_json(content)], PRODUCTS, TABLE)


def test_without_a_catalogue_columns_are_refused_and_ids_are_not():
    assert allowed({"deny": ["p0"]}, empty_table(PRODUCTS)) == [1, 2, 3, 4, 5, 6, 7]
    for content in ({"where": {"brand": "a"}}, {"minimum_price": 1}):
        with pytest.raises(ColumnProblem, match="none; give a catalogue"):
            compile_rules([Rules.from_json(content)], PRODUCTS, empty_table(PRODUCTS))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"the rules is \[\]; it must be a table"),
        ({"ban": []}, "there is no rule 'ban'; there are allow, at_most, deny"),
        ({"deny": "p1"}, "deny in the rules is 'p1'; it must be a list of product ids"),
        ({"deny": [True]}, "holds True; ids are texts or integers"),
        ({"deny": [1.5]}, "holds 1.5"),
        ({"pin": [None]}, "pin in the rules holds None"),
        ({"where": 3}, "where in the rules is 3"),
        ({"where": {"brand": None}}, "where.brand in the rules is None; a value is a text"),
        ({"where": {"price": {}}}, "has nothing; it must be a value"),
        ({"where": {"price": {"min": 1, "in": [2]}}}, "has 'in', 'min'; it must be"),
        ({"where": {"price": {"min": "1"}}}, "is '1'; it must be a number"),
        ({"where": {"price": {"min": None}}}, "is None; it must be a number"),
        ({"where": {"price": {"min": float("nan")}}}, "numbers must be finite"),
        ({"where": {"price": float("inf")}}, "numbers must be finite"),
        ({"where": {"price": {"min": 2, "max": 1.5}}}, "goes from 2 to 1.5; 'min' must not be above 'max'"),
        ({"minimum_price": True}, "minimum_price in the rules is True; it must be a number"),
        ({"minimum_price": 10**400}, "numbers must be finite"),
        ({"at_most": {"brand": 0}}, "at_most.brand in the rules is 0; it must be an integer of at least 1"),
        ({"at_most": {"brand": 1.5}}, "is 1.5"),
        ({"include_purchased": "yes"}, "include_purchased in the rules is 'yes'"),
        ({"deny": list(range(100_001))}, "has 100,001 entries"),
    ],
)
def test_broken_rules_say_what_is_wrong_and_where(content, message):
    with pytest.raises(SettingProblem, match=message):
        Rules.from_json(content)


# Files ------------------------------------------------------------------------------------------------------

SOME = {
    "allow": ["p1", 2],
    "deny": ["p3"],
    "where": {"brand": {"in": ["a", "b"]}, "price": {"min": 1.0, "max": 2.0}, "in_stock": True},
    "minimum_price": 3.5,
    "at_most": {"brand": 2},
    "pin": ["p4"],
    "include_purchased": False,
}


def test_rules_come_back_as_they_were_written(tmp_path):
    rules = Rules.from_json(SOME)
    assert rules.to_json() == SOME
    write_rules(tmp_path / "rules.json", rules)
    assert json.loads((tmp_path / "rules.json").read_text()) == SOME
    assert read_rules(tmp_path / "rules.json") == rules
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        ".rules.json.good",
        ".rules.json.lock",
        "rules.json",
    ]


def test_rules_in_toml(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(
        'deny = ["p1"]\npin = [4]\n[where]\nprice = {min = 2}\nin_stock = true\n[at_most]\nbrand = 1\n'
    )
    assert read_rules(file) == Rules.from_json(
        {
            "deny": ["p1"],
            "pin": [4],
            "where": {"price": {"min": 2}, "in_stock": True},
            "at_most": {"brand": 1},
        }
    )


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, "\xff"])
def test_a_file_without_rules_is_refused(tmp_path, text):
    (tmp_path / "rules.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingProblem, match=r"rules.json holds no rules"):
        read_rules(tmp_path / "rules.json")


def test_a_changed_file_is_read_again_and_a_broken_one_keeps_the_former_rules(tmp_path):
    file = tmp_path / "rules.json"
    watched = RulesFile(file, lambda rules: compile_rules([rules], PRODUCTS, TABLE))
    assert (watched.rules, watched.problem, watched.look()) == (NO_RULES, None, False)
    write_rules(file, Rules(deny=("p1",)))
    assert watched.look()
    assert watched.rules.deny == ("p1",)
    for broken, problem in (('{"deny": ', "holds no rules"), ('{"where": {"hue": 1}}', "no column 'hue'")):
        file.write_text(broken)
        assert watched.look()
        assert watched.rules.deny == ("p1",)
        assert problem in watched.problem
        assert not watched.look()
    write_rules(file, Rules(deny=("p2",)))
    watched.look()
    assert (watched.rules.deny, watched.problem) == (("p2",), None)
    file.unlink()
    watched.look()
    assert watched.rules == NO_RULES


# Lists under rules ------------------------------------------------------------------------------------------


def world(seed, products, users, brands):
    """Return a model of whole numbers, so that scores are exact and often equal, and a catalogue."""
    rng = np.random.default_rng(seed)
    bought = [np.flatnonzero(rng.random(products) < 0.15) for _ in range(users)]
    model = TasteModel(
        users=Vocabulary.of(range(users), noun="user"),
        products=Vocabulary.of(range(products), noun="product"),
        histories=Histories(
            np.concatenate(([0], np.cumsum([len(part) for part in bought]))).astype(np.int64),
            np.concatenate([*bought, np.zeros(0)]).astype(np.int32),
        ),
        product_vectors=rng.integers(-2, 3, (products, 2)).astype(np.float32),
        product_bias=rng.integers(-2, 3, products).astype(np.float32),
        user_vectors=rng.integers(-2, 3, (users, 2)).astype(np.float32),
        basket_vectors=None,
        memory=None,
        record=TrainingRecord(None, 0, "", 0),
    )
    names = [None, *"abcdefgh"[:brands]]
    frame = pl.DataFrame(
        {
            "product_id": range(products),
            "brand": [names[n] for n in rng.integers(0, brands + 1, products)],
            "style": rng.integers(0, 3, products),
            "price": rng.integers(1, 9, products),
        }
    )
    return model, read_product_table(frame, model.products), frame, bought


def walked(scores, frame, bought, content, k):
    """The same by brute force, in plain Python: sort everything, then walk."""
    pins = [row for row in dict.fromkeys(content.get("pin", [])) if row < len(scores)]
    order = pins + [
        row for row in sorted(range(len(scores)), key=lambda r: (-scores[r], r)) if row not in pins
    ]
    shown, counts = [], {}
    for row in order:
        cells = frame.row(row, named=True)
        bad = row in bought or row in content.get("deny", [])
        bad |= not all(cells["price"] >= low["min"] for low in content.get("where", {}).values())
        keys = [(column, cells[column], n) for column, n in content.get("at_most", {}).items()]
        keys = [key for key in keys if key[1] is not None]
        if bad or len(shown) == k or any(counts.get(key, 0) >= key[2] for key in keys):
            continue
        shown.append(row)
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
    return shown


@st.composite
def cases(draw):
    products = draw(st.integers(1, 40))
    ids = st.lists(st.integers(0, 45), max_size=6)
    content = {
        "deny": draw(ids),
        "pin": draw(ids),
        "at_most": draw(st.dictionaries(st.sampled_from(["brand", "style"]), st.integers(1, 3))),
        "where": draw(st.sampled_from([{}, {"price": {"min": 4}}, {"price": {"min": 9}}])),
    }
    brands = draw(st.integers(1, 8))
    return (draw(st.integers(0, 10_000)), products, 3, brands), content, draw(st.integers(1, 45))


@settings(deadline=None, max_examples=150)
@given(cases(), st.booleans())
def test_a_list_under_rules_is_the_greedy_walk_down_the_whole_ranking(case, include):
    shape, content, k = case
    model, table, frame, bought = world(*shape)
    book = compile_rules([Rules.from_json(content)], model.products, table)
    queries = Queries(np.asarray(model.user_vectors), None)
    lists = rank_ruled(
        model,
        queries,
        model.histories,
        product_candidates(model),
        book,
        k=k,
        include_purchased=include,
        threads=1,
    )
    scores = model.user_vectors @ model.product_vectors.T + model.product_bias
    for user, found in enumerate(lists):
        own = [] if include else bought[user].tolist()
        assert found.rows.tolist() == walked(scores[user].tolist(), frame, own, content, k)
        assert found.scores.tolist() == scores[user, found.rows].tolist()
        head = set(found.rows[: found.pinned].tolist())
        assert head <= set(content["pin"])
        assert not set(found.rows[found.pinned :].tolist()) & set(book.pinned.tolist()) or content["at_most"]


@settings(deadline=None, max_examples=50)
@given(cases())
def test_what_rules_removed_and_what_is_left_make_up_the_catalogue(case):
    shape, content, _ = case
    model, table, _, _ = world(*shape)
    book = compile_rules([Rules.from_json(content)], model.products, table)
    queries = Queries(np.asarray(model.user_vectors), None)
    lists = rank_ruled(model, queries, model.histories, product_candidates(model), book, k=1000, threads=1)
    for found in lists:
        removed = sum(removal.removed for removal in (*book.removals, *found.removals))
        assert removed + len(found.rows) == shape[1]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(0, 12), st.integers(1, 250))
def test_few_candidates_alone_get_the_lists_that_they_get_among_all_to_the_bit(seed, count, few, k):
    rng = np.random.default_rng(seed)
    vectors, bias = rng.normal(size=(count, 5)).astype(np.float32), rng.normal(size=count).astype(np.float32)
    queries = rng.normal(size=(3, 5)).astype(np.float32)
    allowed = np.zeros(count, np.bool_)
    allowed[rng.permutation(count)[: min(few, count // 16)]] = True
    ragged = [np.flatnonzero(rng.random(count) < 0.4).astype(np.int32) for _ in range(3)]
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in ragged]))).astype(np.int64)
    rows = np.concatenate(ragged)
    options = {
        "exclude": Exclusions(offsets, rows) if seed % 2 else None,
        "extra": ExtraScores(offsets, rows, rng.normal(size=len(rows)).astype(np.float32))
        if seed % 3
        else None,
    }
    packed = Candidates.of(vectors, bias)
    alone = best_allowed(queries, packed, k, allowed, vectors=vectors, **options)
    among = best_allowed(queries, packed, k, allowed, **options)
    for one, other in zip(alone, among, strict=True):
        assert [part.tobytes() for part in one] == [part.tobytes() for part in other]
    assert alone.lengths.tolist() == among.lengths.tolist()


def test_a_pin_never_brings_back_what_another_rule_removed():
    model, table, _, bought = world(3, 20, 3, 2)
    rules = Rules.from_json({"pin": [int(bought[0][0]), 4, 5], "deny": [4]})
    book = compile_rules([rules], model.products, table)
    lists = rank_ruled(
        model,
        Queries(np.asarray(model.user_vectors), None),
        model.histories,
        product_candidates(model),
        book,
        k=5,
    )
    assert lists[0].rows[0] == 5
    assert 4 not in lists[0].rows
    assert lists[0].pinned == 1


def test_the_pins_of_a_request_stand_before_those_of_the_file():
    file, request = Rules(pin=("p1", "p2")), Rules(pin=("p3", "p2"))
    assert compile_rules([file, request], PRODUCTS, TABLE).pinned.tolist() == [3, 2, 1]


def test_the_last_word_on_purchased_products_counts():
    for said, expected in (
        ((None, True), True),
        ((True, False), False),
        ((True, None), True),
        ((None,), None),
    ):
        rules = [Rules(include_purchased=repeats) for repeats in said]
        assert compile_rules(rules, PRODUCTS, TABLE).include_purchased is expected
