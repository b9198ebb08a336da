"""Ids, quantities, kinds of events and what is said of a log that was read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import tastemaker as tm
from tastemaker.cli import main
from tastemaker.data.identifiers import python_values, sorted_ids, typed_ids
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading import sources
from tastemaker.data.reading.files.spool import Spool
from tastemaker.errors import ColumnProblem, DataError, SettingProblem
from tastemaker.serving.models.ids.id_lookup import IdLookup


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def pairs(log: Purchases) -> list[tuple[object, object]]:
    users = python_values(log.users.at(log.user_rows), log.users.form)
    products = python_values(log.products.at(log.product_rows), log.products.form)
    return list(zip(users, products, strict=True))


def csv(path: Path, text: str, **options: object) -> Purchases:
    return tm.read_purchases(written(path / "log.csv", text), reading=tm.Reading(**options))  # type: ignore[arg-type]


# Ids --------------------------------------------------------------------------------------------------------


def test_a_whole_number_with_a_point_is_the_integer(tmp_path: Path):
    log = csv(tmp_path, "user,item\n17850,71053\n17850.0,84406\n13047.0,71053\n")
    assert pairs(log) == [(17850, 71053), (17850, 84406), (13047, 71053)]
    assert len(log.users) == 2
    (note,) = log.read.warnings
    assert note.startswith("2 user ids in column 'user' are whole numbers with a point")


def test_versions_are_no_integers(tmp_path: Path):
    log = csv(tmp_path, "user,item\na,1.0\nb,1.5\n")
    assert pairs(log) == [("a", "1.0"), ("b", "1.5")]


def test_white_space_is_no_part_of_an_id_and_case_and_zeros_are(tmp_path: Path):
    for log in (
        csv(tmp_path, "user,item\n Ann,007\nAnn ,7\nann\t,x\n"),
        tm.read_purchases(pl.DataFrame({"user": [" Ann", "Ann ", "ann\t"], "item": ["007", "7", "x"]})),
    ):
        assert pairs(log) == [("Ann", "007"), ("Ann", "7"), ("ann", "x")]
        assert (
            "3 user ids in column 'user' are between white space (' Ann'), which is taken off."
            in log.read.warnings
        )


@pytest.mark.parametrize(
    "word", ["NULL", "null", "None", "nan", "NA", "N/A", "\\N", "(null)", "undefined", ""]
)
def test_words_for_nothing_are_no_id_unless_kept(word: str, tmp_path: Path):
    text = f"user,item\na,x\n{word},x\n"
    log = csv(tmp_path, text)
    assert (pairs(log), log.read.without_user) == ([("a", "x")], 1)
    kept = csv(tmp_path, text, keep_null_words=True)
    assert len(kept) == (2 if word else 1)
    assert any(
        "words for nothing" in warning and repr(word) in warning for warning in log.read.warnings
    ) == bool(word)


def test_one_guest_changes_nothing_for_anybody_else(tmp_path: Path):
    text = "user,item\n10,1\n9,1\n10,2\n2,3\n"
    before, after = csv(tmp_path, text), csv(tmp_path, text + "guest-7,1\n")
    assert before.users.ids.to_list() == [2, 9, 10]
    assert pairs(after) == [*pairs(before), ("guest-7", 1)]
    assert after.user_rows[:-1].tolist() == before.user_rows.tolist()
    assert after.read.as_dict()["user_ids"] == "integer"
    assert any(
        "1 of 4 user ids in column 'user' is no integer ('guest-7')" in warning
        for warning in after.read.warnings
    )
    assert after.users.find([10, "10", "guest-7", "010"]).to_list() == [2, 2, 3, None]
    lookup = IdLookup(after.users)
    assert [lookup.row(id) for id in (10, "10", "guest-7", "010", 11, 1.0)] == [2, 2, 3, None, None, None]
    assert list(lookup.at(np.array([0, 3]))) == [2, "guest-7"]


def test_lists_name_integers_as_integers_beside_a_guest(tmp_path: Path, small_config: tm.Config):
    pairs = [(user, product) for user in range(8) for product in range(6) if (user + product) % 3]
    log = [(str(user), str(product)) for user, product in pairs] + [("guest-7", "gift")] * 2
    purchases = csv(tmp_path, "user,item\n" + "\n".join(map(",".join, log)))
    model = tm.train(purchases, small_config, seed=1)
    found = tm.recommend(model, [3, "guest-7"], k=6).to_json()
    assert [line["user"] for line in found] == [3, "guest-7"]
    named = {product["product"] for line in found for product in line["recommendations"]}
    assert {type(id) for id in named} == {int, str}
    assert "gift" in named
    near = tm.similar(model, [3], k=2).to_json()
    assert near[0]["product"] == 3


def test_a_guest_in_json_lines_leaves_the_numbers_numbers(tmp_path: Path):
    lines = [{"user": user, "item": 5} for user in (3, 1, 2, "guest")]
    path = written(tmp_path / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert pairs(tm.read_purchases(path)) == [(3, 5), (1, 5), (2, 5), ("guest", 5)]
    texts = written(tmp_path / "texts.jsonl", '{"user": "1", "item": 5}\n{"user": "2", "item": 5}\n')
    assert pairs(tm.read_purchases(texts)) == [("1", 5), ("2", 5)]


def test_codes_that_begin_with_a_digit_are_text_together(tmp_path: Path):
    log = csv(tmp_path, "user,item\n1,85123A\n2,71053\n3,0108\n")
    assert log.products.ids.to_list() == ["0108", "71053", "85123A"]
    assert log.products.form == "plain"
    assert log.read.product_ids == "text"


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, unique=True),
    st.lists(st.sampled_from(["guest", "x-1"]), max_size=1),
)
def test_integers_come_first_in_their_own_order(numbers: list[int], texts: list[str]):
    ids, form = typed_ids(pl.Series([*map(str, numbers), *texts]))
    assert python_values(sorted_ids(ids, form), form) == sorted(numbers) + texts


def test_a_model_with_a_guest_is_saved_and_loaded(tmp_path: Path):
    log = csv(tmp_path, "user,item\n10,1\n9,1\n10,2\n2,3\nguest-7,1\n")
    loaded = tm.load(tm.save(tm.best_sellers(log), tmp_path / "model"))
    assert IdLookup(loaded.users).row(9) == 1
    assert loaded.users.form == "integers and text"
    later = tm.read_purchases(pl.DataFrame({"user": [9, 77], "item": [2, 2]}))
    assert python_values(tm.joined(loaded, later).users.ids, "integers and text") == [2, 9, 10, "guest-7", 77]


def test_a_guest_joins_a_model_of_integers(tmp_path: Path):
    model = tm.best_sellers(csv(tmp_path, "user,item\n10,1\n9,1\n2,3\n"))
    longer = tm.joined(model, csv(tmp_path, "user,item\n10,3\n9,3\n2,1\nguest-7,1\n"))
    assert python_values(longer.users.ids, longer.users.form) == [2, 9, 10, "guest-7"]


# Quantities -------------------------------------------------------------------------------------------------


def quantities(values: list[object]) -> list[float]:
    log = tm.read_purchases(
        pl.DataFrame({"user": range(len(values)), "item": 1, "qty": values}, strict=False)
    )
    assert log.quantities is not None
    return log.quantities.tolist()


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1,200", "1.200,00", "5 pcs", "2"], [1200, 1200, 5, 2]),
        (["1,200", "3", "12,000,000"], [1200, 3, 12_000_000]),
        (["1.200", "3,5"], [1200, 3.5]),
        (["1,200", "3.5"], [1200, 3.5]),
        (["0,5", "1,25"], [0.5, 1.25]),
        (["1 200", "1'200", "2"], [1200, 1200, 2]),
        (["5 pcs", "1 pc", "x3"], [5, 1, 3]),
        (["2 kg", "3 kg"], [2, 3]),
        (["1.200", "2.500"], [pytest.approx(1.2), 2.5]),
    ],
)
def test_quantities_are_read_as_the_whole_column_allows(texts: list[object], expected: list[float]):
    assert quantities(texts) == expected


def test_values_without_end_are_counted_and_shown_in_a_short_sentence():
    log = tm.read_purchases(pl.DataFrame({"user": ["a", "b"], "item": [1, 2], "qty": ["9" * 5_000, "1"]}))
    assert log.read.reasons() == {"quantity_out_of_range": 1}
    times = ["2024-01-01", "2024-01-02", "9" * 5_000]
    log = tm.read_purchases(pl.DataFrame({"user": ["a", "b", "c"], "item": [1, 2, 3], "time": times}))
    assert log.read.without_time == 1
    assert all(len(warning) < 300 for warning in log.read.warnings)
    with pytest.raises(ColumnProblem) as raised:
        tm.read_purchases(pl.DataFrame({"x" * 100_000: [1], "item": [2]}))
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,00,000", 100_000),
        (",5", 0.5),
        ("1 000", 1_000),
        ("12\u202f345,5", 12_345.5),
        ("2 3", None),
        ("1_0", None),
    ],
)
def test_thousands_are_parted_by_three_or_as_in_india_and_by_nothing_else(text: str, value: float | None):
    log = {"user": ["a", "b"], "item": [1, 2], "qty": [text, "1.5"]}
    log["qty"][1] = "1,5" if text.endswith(",5") else "1.5"
    read = tm.read_purchases(pl.DataFrame(log))
    assert read.read.unreadable_quantity == (value is None)
    assert read.quantities is not None
    assert read.quantities.tolist()[:-1] == ([] if value is None else [value])


def test_a_quantity_that_cannot_be_read_is_not_called_a_return():
    log = tm.read_purchases(
        pl.DataFrame({"user": [1, 2, 3, 4], "item": 1, "qty": ["2", "many", "-1", "(3)"]})
    )
    read = log.read
    assert (read.unreadable_quantity, read.non_positive_quantity, read.kept) == (1, 2, 1)
    assert any("1 quantity in column 'qty' cannot be read ('many')" in warning for warning in read.warnings)


def test_a_quantity_beyond_those_of_live_purchases_is_called_that():
    frame = pl.DataFrame({"user": range(6), "item": 1, "qty": ["1e-300", "1e300", "1e-9", "1e9", "0", "5"]})
    for log in (tm.read_purchases(frame), tm.read_purchases(frame.cast({"qty": pl.Float64}))):
        assert log.read.reasons() == {"non_positive_quantity": 1, "quantity_out_of_range": 2}
        assert log.quantities is not None
        assert sorted(log.quantities.tolist()) == [pytest.approx(1e-9), 5, 1e9]
    assert log.read.first_rows[0].understood["dropped"] == "with a quantity below 1e-9 or above 1e9"


@pytest.mark.parametrize(
    ("texts", "doubt"),
    [
        (["1,000", "2,500", "3"], "With a decimal comma 1000 would be 1, and no row tells"),
        (
            ["1.200", "2.500", "3"],
            "all 2 quantities with a point in column 'qty' have three digits behind it",
        ),
        (["0.250", "1.500", "3"], None),
        (["1,000", "1,234,567"], None),
        (["1.25", "2.500"], None),
    ],
)
def test_quantities_that_two_readings_fit_are_doubted(texts: list[str], doubt: str | None):
    log = tm.read_purchases(pl.DataFrame({"user": range(len(texts)), "item": 1, "qty": texts}))
    told = [
        warning for warning in log.read.warnings if "no row tells" in warning or "three digits" in warning
    ]
    assert len(told) == (doubt is not None)
    assert doubt is None or doubt in told[0]


def test_two_units_are_not_added_up():
    log = tm.read_purchases(
        pl.DataFrame({"user": [1, 2, 3, 4], "item": 1, "qty": ["2 kg", "500 g", "3", "4"]})
    )
    assert log.read.unreadable_quantity == 2


# Kinds, context, features -----------------------------------------------------------------------------------

EVENTS = pl.DataFrame(
    {
        "user": ["a", "a", "b", "b", "c"],
        "item": ["x", "y", "x", "z", "x"],
        "time": [1, 2, 3, 4, 5],
        "event": ["view", "buy", "BUY ", "pdp", "wish"],
        "channel": ["web", "app", None, "web", "web"],
        "brand": ["one", "two", "one", "three", "one"],
    }
)
KINDS = {"purchase": ("buy",), "view": ("view", "pdp")}


def test_kinds_are_read_beside_purchases():
    reading = tm.Reading(
        event_column="event", events=KINDS, context=("channel",), product_features=("brand",)
    )
    log = tm.read_purchases(EVENTS, reading=reading)
    assert pairs(log) == [("a", "y"), ("b", "x")]
    assert log.events is not None
    assert log.events.names == ("view",)
    assert log.products.at(log.events.product_rows).to_list() == ["x", "z"]
    assert log.events.times is not None
    assert log.events.times.tolist() == [1_000_000, 4_000_000]
    assert log.context is not None
    assert log.context.to_dict(as_series=False) == {"channel": ["app", None]}
    assert log.product_features is not None
    assert log.product_features["brand"].to_list() == ["one", "two", None]
    read = log.read.as_dict()
    assert read["events"] == {"purchase": 2, "view": 2}
    assert read["dropped"] == {"other_events": 1}
    assert read["columns"]["event"] == "event"
    assert read["columns"]["context"] == ["channel"]
    assert any("1 row is of kinds" in warning and "'wish' 1" in warning for warning in read["warnings"])


def test_features_come_from_a_catalogue_too():
    shop = pl.DataFrame(
        {"product_id": ["x", "y", "z"], "colour": ["red", "red", "blue"], "name": ["1", "2", "3"]}
    )
    log = tm.read_purchases(EVENTS, products=shop, reading=tm.Reading(product_features="auto"))
    assert log.product_features is not None
    assert log.product_features.to_dict(as_series=False) == {"colour": ["red", "red", "blue"]}
    with pytest.raises(
        ColumnProblem, match="neither the log nor the catalogue of products has a column 'size'"
    ):
        tm.read_purchases(EVENTS, reading=tm.Reading(product_features=("size",)))


def test_codes_of_kinds_may_be_numbers():
    log = tm.read_purchases(
        pl.DataFrame({"user": [1, 2, 3], "item": [1, 2, 3], "behavior": [4, 1, 2]}),
        event_column="behavior",
        events={"purchase": 4, "view": [1, 2]},
    )
    assert log.read.events == {"purchase": 1, "view": 2}


def test_kinds_that_name_no_purchase_are_refused():
    with pytest.raises(SettingProblem, match="belong together"):
        tm.Reading(event_column="event")
    with pytest.raises(SettingProblem, match="but no purchase"):
        tm.Reading(event_column="event", events={"view": ("view",)})
    with pytest.raises(SettingProblem, match="'sold' means purchase and view; a word means one kind"):
        tm.Reading(event_column="event", events={"purchase": ("sold",), "view": ("view", "sold")})
    with pytest.raises(ColumnProblem, match=r"no row of .* is a purchase: column 'event' holds"):
        tm.read_purchases(EVENTS, reading=tm.Reading(event_column="event", events={"purchase": ("sold",)}))
    with pytest.raises(ColumnProblem, match=r"no column 'kind' \(event_column=…\)"):
        tm.read_purchases(EVENTS, reading=tm.Reading(event_column="kind", events=KINDS))


def test_the_fingerprint_sees_what_stands_beside_the_pairs():
    def fingerprint(frame: pl.DataFrame, context: tuple[str, ...] = ("channel",)) -> str:
        return tm.read_purchases(frame, reading=tm.Reading(context=context)).fingerprint()

    assert fingerprint(EVENTS) == fingerprint(EVENTS.clone())
    others = [
        EVENTS.with_columns(channel=pl.lit("web")),
        EVENTS.rename({"channel": "brand", "brand": "channel"}),
    ]
    assert len({fingerprint(EVENTS), fingerprint(EVENTS, ()), *map(fingerprint, others)}) == 4


# Doubts -----------------------------------------------------------------------------------------------------


def doubts(columns: dict[str, object]) -> tuple[str, ...]:
    return tm.read_purchases(pl.DataFrame(columns)).read.warnings


def test_a_column_of_kinds_or_states_that_is_not_used_is_doubted():
    log = {"user": list("abcd"), "item": [1, 2, 3, 4]}
    (doubt,) = doubts(log | {"event": ["view", "view", "cart", "transaction"]})
    assert "column 'event' looks like a kind of event or a status (view 2, cart 1, transaction 1)" in doubt
    assert "where=['event = transaction']" in doubt
    assert "event_column='event'" in doubt
    (doubt,) = doubts(log | {"order_status": ["paid", "paid", "cancelled", "paid"]})
    assert "(paid 3, cancelled 1)" in doubt
    undone, _dated = doubts(log | {"Cancelled at": [None, None, "2024-01-01", None]})
    assert "filled in 1 of 4 rows" in undone
    assert doubts(log | {"colour": ["red", "blue", "red", "red"], "state": ["NY", "CA", "CA", "NY"]}) == ()
    (doubt,) = doubts(log | {"behavior_type": [1, 4, 3, 1]})
    assert "column 'behavior_type' looks like a kind of event or a status (1 2, 3 1, 4 1)" in doubt
    (doubt,) = doubts(log | {"status": ["bezahlt", "storniert", "bezahlt", "bezahlt"]})
    assert "status = bezahlt" in doubt  # the one word that is not known to be no purchase
    (doubt,) = doubts(log | {"status": ["bezahlt", "storniert", "bezahlt", "offen"]})
    assert "status = WORD" in doubt


def test_an_id_for_each_order_beside_one_for_each_customer_is_doubted():
    log = {"client_id": [1, 1, 2, 3, 4, 5], "item": [1, 2, 3, 4, 5, 6], "person_id": list("aaabbb")}
    (doubt,) = doubts(log)
    assert "column 'client_id' is taken for the user and has 5 ids; column 'person_id' has 2" in doubt


def test_dates_that_no_role_reads_are_doubted():
    (doubt,) = doubts({"user": ["a", "b"], "item": [1, 2], "shipped": ["2024-01-01", "2024-02-01"]})
    assert "no times are read, though column 'shipped' holds dates" in doubt
    (doubt,) = doubts({"user": ["a", "b"], "item": [1, 2], "bought_on": [1_672_740_000, 1_672_750_000]})
    assert "no times are read, though column 'bought_on' holds dates" in doubt
    assert doubts({"user": ["a", "b"], "item": [1, 2], "phone": [1_672_740_000, 1_672_750_000]}) == ()


def test_guests_under_one_id_and_rows_that_repeat_as_a_whole_are_doubted():
    users = ["guest"] * 60 + [f"u{place % 20}" for place in range(100)]
    (doubt,) = doubts({"user": users, "item": list(range(160))})
    assert "user 'guest' has 60 of 160 purchases (38%), a usual user 5" in doubt
    (doubt,) = doubts({"user": list("abab"), "item": [1, 2, 1, 2], "time": ["2024-01-01", "2024-01-02"] * 2})
    assert "2 of 4 rows repeat another one as a whole (user, product, time)" in doubt


# What is said -----------------------------------------------------------------------------------------------

KEYS = [
    "files", "rows_read", "rows_kept", "dropped", "columns", "unused_columns", "users", "products", "pairs",
    "user_ids", "product_ids", "time", "events", "warnings",
]  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["tastemaker", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, None)


def test_inspect_says_in_json_what_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    text = "user,item,date,qty,note\na,1,05/01/24,2,hi\nb,1,31/01/24,0,\na,2,07/01/24,1,\n"
    run(monkeypatch, "inspect", str(written(tmp_path / "log.csv", text)), "--json")
    told = json.loads(capsys.readouterr().out)
    assert list(told) == KEYS
    roles = {
        "user": "user",
        "product": "item",
        "time": "date",
        "quantity": "qty",
        "event": None,
        "context": [],
    }
    assert told["columns"] == roles
    assert (told["rows_read"], told["rows_kept"], told["dropped"]) == (3, 2, {"non_positive_quantity": 1})
    assert (told["users"], told["products"], told["pairs"], told["unused_columns"]) == (1, 2, 2, ["note"])
    assert told["time"]["written_as"].startswith("DD/MM/YY, the day first, as 1 of 3 rows")


def test_what_catalogues_say_beside_ids_is_named_where_nothing_is_learned_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    log = written(tmp_path / "log.csv", "user,item,note\na,1,hi\nb,2,\n")
    products = written(tmp_path / "products.csv", "item_id,title,price\n1,hat,3\n2,kilt,40\n")
    users = written(tmp_path / "users.csv", "user_id\na\nb\n")
    both = ["inspect", str(log), "--products", str(products), "--users", str(users)]
    run(monkeypatch, *both)
    said = capsys.readouterr().out
    assert "Not used: 'note'." in said
    assert "Nothing is learned from 'title', 'price', which products.csv says of products" in said
    assert "of users" not in said
    run(monkeypatch, *both, "--product-features", "title")
    assert "Nothing is learned" not in capsys.readouterr().out
    (sentence,) = tm.read_purchases(log, products=products).read.not_learned
    assert sentence.endswith("name what describes them with product_features=[…].")
    assert tm.read_purchases(log, products=["1", "2"]).read.not_learned == ()


def test_a_catalogue_is_opened_once_whatever_is_asked_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = written(tmp_path / "log.csv", "user,item\na,1\nb,2\n")
    products = written(tmp_path / "products.csv", "item_id,title,price\n1,hat,3\n2,kilt,40\n")
    opened = []
    monkeypatch.setattr(sources, "Spool", lambda: opened.append(1) or Spool())
    for wanted in ("none", "auto", ["title"]):
        opened.clear()
        tm.read_purchases(log, products=products, product_features=wanted, value_column="price")
        assert len(opened) == 2, f"the log and the catalogue are opened once, with product_features={wanted}"


def test_inspect_shows_rows_months_and_buyers_to_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    text = "user,item,date\na,1,2024-01-05\n,1,2024-01-06\na,2,2024-03-07\n"
    run(monkeypatch, "inspect", str(written(tmp_path / "log.csv", text)))
    page = " ".join(capsys.readouterr().out.split())
    for part in (
        "3 rows read, 2 kept",
        "dropped 1 without a user id",
        "2024-01-06 without a user id",
        "2024-03",
        "█",
        "Users by number of purchases",
    ):
        assert part in page


def test_the_summary_is_a_page_in_a_notebook_and_stands_in_the_manifest(tmp_path: Path):
    log = tm.read_purchases(pl.DataFrame({"user": ["<b>", "b"], "item": [1, 2], "time": ["2024-01-01"] * 2}))
    page = log.read._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page.replace("<b>Beware", "")
    assert "2024-01" in page
    model = tm.train(log, tm.preset("workshop").changed({"epochs": 1}))
    assert tm.load(tm.save(model, tmp_path / "m")).record.read == log.read.as_dict()


# Frames of Python -------------------------------------------------------------------------------------------


def test_frames_of_every_kind_are_the_same_log():
    rows = {"user": ["b", "a", "b"], "item": [3, 1, 1]}
    expected = list(zip(rows["user"], rows["item"], strict=True))
    numbers = np.array([3, 1, 1])
    numbers.setflags(write=False)
    frames = [
        pd.DataFrame(rows, index=[7, 7, 9]),
        pd.DataFrame({"user": pd.Categorical(rows["user"]), "item": pd.array(rows["item"], dtype="Int64")}),
        pd.DataFrame({"user": rows["user"], "item": numbers}),
        pl.DataFrame(rows).lazy(),
        pa.table(rows),
        [pl.DataFrame(rows).head(2), pa.table(rows).slice(2)],
        [pd.DataFrame(rows).head(1), pl.DataFrame(rows).tail(2).lazy()],
    ]
    for frame in frames:
        assert pairs(tm.read_purchases(frame)) == expected


def test_integers_name_columns_and_missing_ids_are_missing():
    frame = pd.DataFrame({0: ["a", pd.NA, "b"], 1: pd.array([1, 2, None], dtype="Int64")})
    log = tm.read_purchases(frame, columns=tm.Columns(user="0", product="1"))
    assert pairs(log) == [("a", 1)]
    assert (log.read.without_user, log.read.without_product) == (1, 1)


def test_frames_of_odd_values_are_read_or_refused_in_a_sentence():
    mixed = pd.DataFrame({"user": pd.Series([np.int64(7), "guest"], dtype=object), "item": [1, 2]})
    assert pairs(tm.read_purchases(mixed)) == [(7, 1), ("guest", 2)]
    days = pd.DataFrame({"user": [1], "item": [2], "time": pd.PeriodIndex(["2023-01-05"], freq="D")})
    assert tm.read_purchases(days).read.as_dict()["time"]["first"].startswith("2023-01-05")
    with pytest.raises(ColumnProblem, match="half of a letter"):
        tm.read_purchases({"user": ["\ud800", "\ud801"], "item": [1, 2]})
    with pytest.raises(DataError, match="from an empty list"):
        tm.read_purchases([])


def test_flags_of_the_command_line_are_arguments_and_an_unknown_one_names_the_nearest():
    frame = pd.DataFrame({0: ["a", "b", "b"], 1: ["x", "x", "y"], "state": ["paid", "open", "paid"]})
    log = tm.read_purchases(frame, user_column=0, product_column=1, where="state = paid")
    assert pairs(log) == [("a", "x"), ("b", "y")]
    same = tm.read_purchases(frame, columns=tm.Columns("0", "1"), reading=tm.Reading(where=("state = paid",)))
    assert pairs(same) == pairs(log)
    with pytest.raises(
        SettingProblem,
        match=r"no argument 'usr_column' .*; did you mean user_column\? There are user_column,",
    ):
        tm.read_purchases(frame, usr_column=0)
    with pytest.raises(
        ColumnProblem, match=r"name it with user_column=…\. Its columns are '0', '1', 'state'\."
    ):
        tm.read_purchases(frame)


def test_a_dictionary_of_columns_is_a_log_and_so_is_an_index_that_has_names():
    columns = {"user": np.array(["a", "b"]), "item": [1, 2]}
    by_pair = pd.DataFrame({"quantity": [2, 1], **columns}).set_index(["user", "item"])
    for log in (columns, by_pair, by_pair.groupby(["user", "item"]).size().reset_index()):
        assert pairs(tm.read_purchases(log)) == [("a", 1), ("b", 2)]
    with pytest.raises(DataError, match=r"different lengths \('user' 1, 'item' 2\)"):
        tm.read_purchases({"user": ["a"], "item": [1, 2]})
    with pytest.raises(
        DataError, match=r"a pandas Series, which is one column; give a DataFrame: \.reset_index\(\)"
    ):
        tm.read_purchases(by_pair["quantity"])
    with pytest.raises(DataError, match=r"cannot be read from a tuple; .* pl\.DataFrame\(pairs"):
        tm.read_purchases([("a", 1), ("b", 2)])


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.coo_matrix, sparse.csc_array])
def test_a_sparse_matrix_is_a_log_of_its_entries(kind: type):
    log = tm.read_purchases(kind(np.array([[0, 2, 0], [1, 0, 3]])))
    assert sorted(pairs(log)) == [(0, 1), (1, 0), (1, 2)]
    assert log.quantities is not None
    assert sorted(log.quantities.tolist()) == [1, 2, 3]
