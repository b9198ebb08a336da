"""Facts of a visitor, a product or an event that cannot be used: the same in Python, on the command line and over HTTP."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import tastemaker as tm
from beside_worlds import CATALOGUE, READING, events
from tastemaker.cli.app import app
from tastemaker.errors import ColumnProblem, SettingProblem
from tastemaker.model.folder import load, save

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

COUNT = len(CATALOGUE)
PRODUCTS = CATALOGUE.with_columns(
    price=pl.Series(np.linspace(1, 99, COUNT)),
    look=pl.Series(np.random.default_rng(1).normal(size=(COUNT, 3)).tolist()),
    launched=pl.Series([f"2024-0{1 + place % 9}-05" for place in range(COUNT)]).str.to_date(),
    tags=pl.Series(["red|blue" if place % 2 else "blue|green" for place in range(COUNT)]),
)
SETTLED = {
    "dimensions": 8, "epochs": 3, "kinds.own": "view=5", "kinds.after": "", "kinds.taste": "", "kinds.places": 0.0,
    "kinds.days": 0.0, "live.rate": 1.0, "live.half_life": 3.0, "live.fold_in": 0.0, "live.dial": 0.0, "live.young": 0.5,
    "order.taste_places": 8.0, "order.taste_days": 0.0, "order.memory_places": 4.0, "order.memory_days": 0.0,
    "memory.count_weight": 1.0, "memory.ridge_weight": 0.0, "memory.directed_weight": 0.0, "memory.spectral_weight": 0.0,
    "trend.weight": 0.0, "repeats.weight": 0.0, "repeats.sales": 0.0, "repeats.level": 0.0,
    "tokens.columns": "context:occasion,context:age,product:made_for,product:price,product:look,product:launched,product:tags",
}  # fmt: skip
COLUMNS = ("made_for", "price", "look", "launched", "tags")
KNOWN = replace(READING, context=("occasion", "age"), product_features=COLUMNS)


def rows():
    frame = events(users=60)
    ages = np.tile([20.0, 30.0, 40.0, 50.0], len(frame))[: len(frame)]
    return frame.with_columns(age=pl.Series(ages))


@pytest.fixture(scope="module")
def model():
    log = tm.read_purchases(rows(), products=PRODUCTS, reading=KNOWN)
    return tm.train(log, tm.preset("default").changed(SETTLED))


@pytest.fixture(scope="module")
def models(model, tmp_path_factory):
    return save(model, tmp_path_factory.mktemp("shop") / "models" / "shop" / "1").parents[1]


@pytest.fixture(scope="module")
def served(models):
    from serving_worlds import client_of

    with client_of(models) as client:
        yield client


def in_python(model, **known):
    """(products, what is unknown, source)"""
    lists = tm.recommend_visits(model, tm.Visit(**known))
    return [product for product, _ in lists.of(0)], lists.unknown[0], lists.about(0).source


def on_the_command_line(models, *flags):
    ran = CliRunner().invoke(app, ["recommend", str(models / "shop" / "1"), *flags, "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    listed = told["recommendations"][0]
    return [one["product_id"] for one in listed["products"]], tuple(told["unknown"]), listed["source"]


def over_http(client, **body):
    answer = client.post("/api/v1/recommendations/basket", json={"basket": [], **body})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return [one["product"] for one in told["recommendations"]], tuple(told["unknown"]), told["source"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("moon", "full"), ("occasion", "funeral"), ("age", "old"), ("occasion", "x" * 5_000)],
    ids=["a context that the model does not know", "a value never seen", "no number", "a long value"],
)
def test_what_is_unknown_is_named_and_the_rest_is_used(model, models, served, name, value):
    rest = {"age": "30"} if name == "occasion" else {"occasion": "sport"}
    flags = [part for one in (rest | {name: value}).items() for part in ("--context", f"{one[0]}={one[1]}")]
    found = in_python(model, context=rest | {name: value})
    assert found == on_the_command_line(models, *flags)
    assert found == over_http(served, context=rest | {name: value})
    products, unknown, source = found
    assert unknown == (f"{name}={value}" if len(value) < 90 else f"{name}={value}"[:100] + "…",)
    assert source == "context"
    assert products == in_python(model, context=rest)[0]


def test_an_attribute_of_a_model_without_any_is_named(model, models, served):
    found = in_python(model, user="u1", attributes={"shoe": "42"})
    assert found == on_the_command_line(models, "--user", "u1", "--attribute", "shoe=42")
    assert found == over_http(served, user="u1", attributes={"shoe": "42"})
    assert found[1:] == (("shoe=42",), "personal")


def test_an_unknown_context_alone_gets_best_sellers_or_is_refused(served):
    assert over_http(served, context={"moon": "full"})[2] == "best sellers"
    body = {"basket": [], "on_unknown": "error", "context": {"moon": "full"}}
    refused = served.post("/api/v1/recommendations/basket", json=body)
    assert refused.status_code == 404
    assert refused.json()["unknown"] == ["moon=full"]
    assert (
        over_http(served, on_unknown="error", context={"moon": "full", "occasion": "sport"})[2] == "context"
    )


@pytest.mark.parametrize("flag", ["--context", "--attribute"])
def test_a_name_given_twice_is_refused_on_the_command_line(models, flag):
    ran = CliRunner().invoke(
        app, ["recommend", str(models / "shop" / "1"), flag, "occasion=sport", flag, "occasion=beach"]
    )
    assert ran.exit_code == 2
    assert "twice" in ran.output


@pytest.mark.parametrize("field", ["context", "attributes"])
def test_a_name_given_twice_is_refused_over_http(served, field):
    body = f'{{"basket": [], "{field}": {{"occasion": "sport", "age": 1e400, "occasion": "beach"}}}}'
    answer = served.post("/api/v1/recommendations/basket", content=body.replace("1e400", "3"))
    assert answer.status_code == 400
    assert answer.json()["detail"] == "the body gives 'occasion' twice; give it one value."
    again = served.post("/api/v1/recommendations/basket", content='{"basket": [], "basket": ["sport-01"]}')
    assert again.status_code == 400


def test_numbers_of_any_length_are_no_crash(served):
    for number in ("9" * 5_000, "1e-400", "-0"):
        body = f'{{"basket": [], "context": {{"age": {number}}}}}'
        assert served.post("/api/v1/recommendations/basket", content=body).status_code in (200, 400)


def test_what_is_no_table_of_names_is_refused_in_python(model):
    with pytest.raises(SettingProblem, match="context is \\['occasion'\\]; give names and their values"):
        in_python(model, context=["occasion"])
    assert in_python(model, viewed="beach-03") == in_python(model, viewed=["beach-03"])
    assert in_python(model, basket="beach-03") == in_python(model, basket=["beach-03"])


# A catalogue whose columns are of another type than in train ---------------------------------------------------

NEW = PRODUCTS.head(2).with_columns(product_id=pl.Series(["new-1", "new-2"]))
OTHERWISE = {
    "a price that is text": {"price": ["cheap", "dear"]},
    "a price that is a list": {"price": [[1.0], [2.0]]},
    "a category that is a list": {"made_for": [["wedding"], ["sport"]]},
    "a category that is bytes": {"made_for": [b"wedding", b"\xff"]},
    "a date that is a number": {"launched": [1, 2]},
    "a date that is a word": {"launched": ["soon", "later"]},
    "tags that are a number": {"tags": [1, 2]},
    "a longer embedding": {"look": [[1.0] * 4] * 2},
    "an embedding of words": {"look": [["a", "b", "c"]] * 2},
    "an embedding that is a number": {"look": [1.0, 2.0]},
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_a_column_of_another_type_is_one_sentence(model, models, case, tmp_path):
    ((name, values),) = OTHERWISE[case].items()
    frame = NEW.with_columns(pl.Series(name, values))
    with pytest.raises(ColumnProblem, match=f"column '{name}' holds .*and the model learned from"):
        tm.add_products(model, frame)
    frame.write_parquet(tmp_path / "new.parquet")
    ran = CliRunner().invoke(
        app,
        [
            "add-products",
            str(models / "shop" / "1"),
            str(tmp_path / "new.parquet"),
            "--out",
            str(tmp_path / "2"),
        ],
    )
    assert ran.exit_code == 1
    assert isinstance(ran.exception, ColumnProblem)
    assert not (tmp_path / "2").exists()


@pytest.mark.parametrize("case", ["a price that is text", "a category that is bytes", "a longer embedding"])
def test_a_server_goes_on_without_the_new_products_of_such_a_catalogue(models, case, tmp_path, caplog):
    from serving_worlds import client_of

    ((name, values),) = OTHERWISE[case].items()
    catalogue = tmp_path / "products.parquet"
    NEW.with_columns(pl.Series(name, values)).write_parquet(catalogue)
    with caplog.at_level(logging.ERROR), client_of(models, catalogue=catalogue) as client:
        assert "new-1" not in over_http(client, k=60)[0]
    assert f"column '{name}' holds" in caplog.text
    assert "are not served meanwhile" in caplog.text


def test_values_that_the_model_did_not_learn_from_are_counted(model, models, tmp_path):
    frame = NEW.with_columns(pl.Series("made_for", [7, 8]))
    _, added = tm.add_products(model, frame)
    assert added.strange == {"made_for": 2}
    pl.concat([frame, frame.head(1)]).write_parquet(tmp_path / "new.parquet")
    asked = ["add-products", str(models / "shop" / "1"), str(tmp_path / "new.parquet"), "--out"]
    told = " ".join(CliRunner().invoke(app, [*asked, str(tmp_path / "2")]).output.split())
    assert "made_for: 2 of them have a value that the model did not learn from" in told
    assert "1 line describes a product again" in told


# A log asked of the model that is not as the one that was learned ----------------------------------------------


def later(days=60, **columns):
    """A later log with some columns otherwise."""
    frame = (
        rows()
        .tail(60)
        .with_columns(pl.col("time") + pl.duration(days=days), user_id=pl.col("user_id") + "-new", **columns)
    )
    return tm.read_purchases(frame, reading=replace(KNOWN, product_features="none"))


def test_a_replay_counts_values_never_seen_and_refuses_another_type(model):
    assert tm.replay(model, later(), beside=[]).notes == ()
    notes = tm.replay(model, later(occasion=pl.lit("funeral")), beside=[]).notes
    count = len(later())
    assert notes == (
        f"{count} values of occasion in LATER are none that the model learned from: they say nothing.",
    )
    with pytest.raises(ColumnProblem, match="column 'age' holds String such as 'old'"):
        tm.replay(model, later(age=pl.lit("old")), beside=[])


def test_a_replay_says_that_its_questions_lie_before_the_end_of_train(model):
    early = later(days=-4_000)
    assert (
        "not later than the last purchase that the model learned from"
        in tm.replay(model, early, beside=[]).notes[0]
    )


def test_a_kind_that_was_not_declared_is_counted_and_left_out():
    frame = rows().with_columns(
        event=pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("wish")).otherwise("event")
    )
    log = tm.read_purchases(frame, products=PRODUCTS, reading=KNOWN)
    assert "dropped 5 other_events" in log.summary.sentence()
    assert set(log.read.as_dict()["events"]) == {"purchase", "view"}


# Moments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["1970-01-02", "2024-03-01", "2024-09-01"])
def test_a_moment_is_asked_for_alike_and_sees_what_was_done_before_it(model, models, served, at):
    found = in_python(model, user="u1", at=at)
    assert found == on_the_command_line(models, "--user", "u1", "--at", at)
    seconds = pl.Series([at]).str.to_date().cast(pl.Datetime("us")).to_physical()[0] // 1_000_000
    assert found == over_http(served, user="u1", at=seconds)
    bought = set(rows().filter(pl.col("user_id") == "u1", pl.col("event") == "purchase")["product_id"])
    assert not bought & set(found[0])


def test_before_the_history_nothing_of_a_user_is_known(model):
    products, _, source = in_python(model, user="u1", at="1970-01-02")
    assert source == "best sellers"
    assert in_python(model, user="u1", at="2030-01-01")[2] == "personal"
    bought = set(rows().filter(pl.col("user_id") == "u1", pl.col("event") == "purchase")["product_id"])
    everyone = tm.recommend_visits(model, tm.Visit(at="1970-01-02"), k=COUNT).of(0)
    assert products == [product for product, _ in everyone if product not in bought][:10]


def test_rates_move_to_the_moment_that_is_asked_for(model):
    visits = [tm.Visit(), tm.Visit(at="2026-01-01"), tm.Visit(at="2026-01-01"), tm.Visit(at="1999-01-01")]
    found = tm.recommend_visits(model, visits, k=COUNT)
    assert found.of(1) == found.of(2)
    now, long_ago = dict(found.of(0)), dict(found.of(3))
    added = [long_ago[product] - now[product] for product in now]
    np.testing.assert_allclose(added, added[0], atol=1e-5)  # the same for all: the rates of the last event
    scores = np.array([score for _, score in found.of(1)])
    assert np.isfinite(scores).all()
    assert np.ptp(scores) < np.ptp([score for _, score in found.of(0)])  # what sold long ago is nearly alike


def test_what_is_no_moment_is_refused(model, models):
    with pytest.raises(SettingProblem, match="'tomorrow' is no moment; write a date such as 2024-06-01"):
        in_python(model, at="tomorrow")
    ran = CliRunner().invoke(app, ["recommend", str(models / "shop" / "1"), "--at", "tomorrow"])
    assert (ran.exit_code, type(ran.exception)) == (1, SettingProblem)
    many = CliRunner().invoke(
        app, ["recommend", str(models / "shop" / "1"), "--at", "2024-01-01", "--all-users"]
    )
    assert many.exit_code == 2


def test_a_folder_knows_the_same(model, models):
    visit = tm.Visit(user="u3", context={"occasion": "beach", "moon": "full"}, at="2024-05-01")
    again = tm.recommend_visits(load(models / "shop" / "1"), visit)
    assert again.of(0) == tm.recommend_visits(model, visit).of(0)
