"""Ratings and quantities say how much a purchase tells; prices let lists be ranked by what they earn."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import tastemaker as tm
from tastemaker.cli.app import app
from tastemaker.data.past import past_of
from tastemaker.data.purchases import Histories
from tastemaker.data.reading.options import Reading
from tastemaker.errors import ColumnProblem, SettingProblem
from tastemaker.evaluation.curves.value_curve import value_curve
from tastemaker.evaluation.replay.bench import Terms, bench_of
from tastemaker.model.beside.asking import Asking
from tastemaker.model.beside.known import bought_by
from tastemaker.model.beside.order import Fading
from tastemaker.model.folder import load, save
from tastemaker.ranking.live.answers import asked_of
from tastemaker.ranking.live.asking import asking_of_users
from tastemaker.ranking.live.knowing import asking_of
from tastemaker.ranking.live.living import LivingAnswers
from tastemaker.ranking.live.timeline import timeline_of

START = 1_704_067_200_000_000
KINDS = ("rock", "folk", "jazz")
PRICES = {"rock": 2.0, "folk": 8.0, "jazz": 32.0}
SETTLED = {
    "dimensions": 8, "epochs": 6, "order.taste_places": 0.0, "order.taste_days": 0.0, "order.memory_places": 0.0,
    "order.memory_days": 0.0, "memory.count_weight": 2.0, "memory.ridge_weight": 0.0, "memory.directed_weight": 0.0,
    "memory.spectral_weight": 0.0, "trend.weight": 0.0, "live.rate": 0.0, "repeats.weight": 0.0, "repeats.sales": 0.0,
    "repeats.level": 0.0,
}  # fmt: skip
READING = Reading(weight_column="stars", value_column="price")


def ratings(users=360, each=12, seed=2):
    """Return what users bought of their own kind, with five stars, and of the others, with one; price by kind."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        own = KINDS[user % 3]
        for day in range(each):
            late = day >= each - 2
            kind = own if late or rng.random() < 0.34 else KINDS[rng.integers(3)]
            stars = 5 if kind == own else 1
            product = f"{kind}-{rng.integers(14):02d}"
            moment = START + (day * 10 + int(rng.integers(10))) * 86_400_000_000
            rows.append((f"u{user}", product, moment, stars, PRICES[kind]))
    frame = pl.DataFrame(rows, schema=["user_id", "product_id", "time", "stars", "price"], orient="row")
    return frame.with_columns(pl.col("time").cast(pl.Datetime("us"))).sort("time")


@pytest.fixture(scope="module")
def log():
    return tm.read_purchases(ratings(), reading=READING)


@pytest.fixture(scope="module")
def model(log):
    return tm.train(log, tm.preset("default").changed(SETTLED))


def test_stars_are_heeded_where_they_tell(log, model):
    told = model.record.metrics["weight"]
    assert told["kept"]
    assert told["low"] > 0.02
    assert model.order is not None
    assert max(model.order.taste.strength, model.order.memory.strength) > 0
    assert model.past is not None
    assert len(np.unique(model.past.strengths)) == 2


def test_stars_drawn_at_random_are_left_out(log):
    rng = np.random.default_rng(4)
    drawn = dataclasses.replace(log, weights=rng.permuted(log.weights))
    model = tm.train(drawn, tm.preset("default").changed(SETTLED))
    assert not model.record.metrics["weight"]["kept"]
    assert model.order is None
    assert model.past is not None
    assert model.past.strengths is None


def test_without_the_flag_a_column_of_stars_changes_nothing(log):
    plain = tm.read_purchases(ratings())
    bare = tm.read_purchases(ratings().drop("stars", "price"))
    assert plain.fingerprint() == bare.fingerprint()
    assert log.fingerprint() != bare.fingerprint()


def test_the_strength_of_a_purchase_multiplies_its_weight():
    asking = Asking(
        Histories(np.array([0, 3]), np.arange(3, dtype=np.int32)), strengths=np.float32([0, 1, -2])
    )
    np.testing.assert_allclose(asking.weights(Fading(strength=1.0), 0.0), [1, 2, 0.25])
    np.testing.assert_allclose(asking.weights(Fading(strength=0.5), 1.0), np.array([1, 2**0.5, 0.5]) / 3)
    np.testing.assert_allclose(asking.weights(Fading(), 0.0), [1, 1, 1])


def test_a_product_bought_twice_has_the_strength_of_the_last_time():
    frame = pl.DataFrame(
        {
            "user": ["ann"] * 4,
            "product": ["hat", "hat", "sock", "tie"],
            "time": ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"],
            "stars": [1, 4, 2, None],
        }
    )
    past = past_of(tm.read_purchases(frame, reading=Reading(weight_column="stars")))
    held, _, strengths = bought_by(past, np.array([0]), np.array([past.times.max() + 1]))
    assert held.products.tolist() == [0, 1, 2]
    assert strengths.tolist() == [1.0, 0.0, 0.0]


def test_a_saved_model_asks_in_the_same_way(model, tmp_path):
    again = load(save(model, tmp_path / "1"))
    users = np.array([0, 7])
    ours, theirs = (asking_of_users(one, users) for one in (model, again))
    np.testing.assert_array_equal(ours.strengths, theirs.strengths)
    nobody_new = (np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int16))
    alone, _ = asking_of(again, 7, nobody_new, np.zeros(0, np.int32))
    np.testing.assert_array_equal(ours.take(np.array([1])).strengths, alone.strengths)
    np.testing.assert_array_equal(model.product_values, again.product_values)


def test_a_replay_knows_the_strengths_of_train_and_of_what_came_later(model):
    later = tm.read_purchases(
        pl.DataFrame(
            {
                "user_id": ["u0", "new", "new"],
                "product_id": ["rock-00", "rock-01", "rock-02"],
                "time": ["2025-01-01", "2025-01-02", "2025-01-03"],
                "stars": [1, 2, 8],
            }
        ),
        reading=Reading(weight_column="stars"),
    )
    timeline = timeline_of(model, later)
    assert timeline.strengths is not None
    np.testing.assert_allclose(timeline.strengths[-3:], [-1, 0, 2])
    learned = timeline.learned_part()
    np.testing.assert_allclose(np.sort(learned.strengths), np.sort(model.past.strengths))


def test_prices_of_the_log_or_of_the_catalogue_are_values():
    frame = ratings(6)
    log = tm.read_purchases(frame.drop("stars"), reading=Reading(value_column="price"))
    wanted = [PRICES[product[:4]] for product in log.products.ids]
    assert log.product_values.tolist() == wanted
    names = frame["product_id"].unique().sort()
    catalogue = pl.DataFrame({"product_id": names, "margin": np.arange(len(names), dtype=float)})
    log = tm.read_purchases(frame.drop("price"), products=catalogue, reading=Reading(value_column="margin"))
    assert np.isnan(log.product_values[0])  # nothing positive is said of it
    assert log.product_values[1:].tolist() == list(range(1, len(names)))


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Reading(weight_column="stars"), r"'stars' holds 1 values that are no numbers, such as 'good'"),
        (Reading(weight_column="moons"), r"no column 'moons' \(weight_column"),
        (
            Reading(value_column="moons"),
            r"neither the log nor the catalogue of products has a column 'moons'",
        ),
        (Reading(value_column="stars"), r"takes prices or margins"),
    ],
)
def test_a_column_that_is_missing_or_holds_no_numbers_is_named(reading, said):
    frame = pl.DataFrame({"user": ["a", "b"], "product": ["x", "y"], "stars": ["good", "5"]})
    with pytest.raises(ColumnProblem, match=said):
        tm.read_purchases(frame, reading=reading)


def test_without_times_a_weight_column_is_left_out_and_said_so(log):
    undated = dataclasses.replace(log, times=None)
    model = tm.train(undated, tm.preset("default", effort="quick").changed({"epochs": 1, "dimensions": 4}))
    assert model.record.metrics["weight"]["kept"] is False
    assert "no times" in model.record.metrics["weight"]["why"]


def test_by_value_adds_the_logarithm_of_the_value(model):
    by = tm.by_value(model, 0.5)
    added = by.product_bias - model.product_bias
    prices = np.array([PRICES[product[:4]] for product in model.products.ids])
    np.testing.assert_allclose(added, 0.5 * np.log(prices / np.median(prices)), atol=1e-5)
    np.testing.assert_array_equal(tm.by_value(model, 0.0).product_bias, model.product_bias)


def test_a_model_without_values_and_a_dial_out_of_range_are_refused(model):
    with pytest.raises(SettingProblem, match="does not know what its products are worth"):
        tm.by_value(tm.best_sellers(ratings()))
    with pytest.raises(SettingProblem, match="from 0"):
        tm.by_value(model, 1.5)


def test_the_worth_of_products_stays_beside_rates_that_move(log, tmp_path):
    frame = ratings()
    earlier = tm.read_purchases(
        frame.head(3_000), products=frame.select("product_id").unique(), reading=READING
    )
    living = {
        "live.rate": 1.0,
        "live.half_life": 30.0,
        "live.fold_in": 0.0,
        "live.dial": 0.0,
        "live.young": 0.0,
    }
    model = tm.train(earlier, tm.preset("default").changed(SETTLED | living | {"epochs": 1}))
    assert model.live is not None
    later = tm.read_purchases(frame[3_000:3_200], reading=READING)
    prices = np.array([PRICES[product[:4]] for product in model.products.ids])
    bench = bench_of(model, later, Terms())
    places = bench.questions.places[[0, -1]]
    asked = asked_of(
        bench.timeline, bench.timeline.user_rows[places], bench.timeline.times[places], products=len(prices)
    )
    biases = {}
    for name, one in {
        "likely": model,
        "worth": tm.by_value(model, 0.5),
        "saved": load(save(tm.by_value(model, 0.5), tmp_path / "1")),
        "dialled again": tm.by_value(tm.by_value(model, 1.0), 0.5),
    }.items():
        scoring = LivingAnswers(one, bench.timeline, later).answer(asked)
        biases[name] = scoring.biases[scoring.bias_of]
    added = np.broadcast_to(0.5 * np.log(prices / np.median(prices)), biases["likely"].shape)
    for name in ("worth", "saved", "dialled again"):
        np.testing.assert_allclose(biases[name] - biases["likely"], added, atol=1e-5)
    assert (biases["likely"][0] != biases["likely"][1]).any()  # the rates moved meanwhile
    np.testing.assert_allclose(
        tm.by_value(tm.by_value(model, 1.0), 0.5).product_bias,
        tm.by_value(model, 0.5).product_bias,
        atol=1e-5,
    )


def test_the_curve_counts_what_the_hits_are_worth(model, log):
    held = tm.read_held_out(
        pl.DataFrame({"user_id": ["u0", "u0", "u1"], "product_id": ["jazz-00", "rock-13", "folk-03"]}),
        log.users, log.products,
    ).purchases  # fmt: skip
    points = value_curve(model, held, k=10, dials=(0.0, 1.0), include_purchased=True)
    for point in points:
        by = tm.by_value(model, point.dial)
        total = 0.0
        for user, wanted in (("u0", ("jazz-00", "rock-13")), ("u1", ("folk-03",))):
            shown = [product for product, _ in tm.recommend(by, [user], k=10, include_purchased=True).of(0)]
            total += sum(PRICES[product[:4]] for product in wanted if product in shown)
        assert point.value == pytest.approx(total / 2)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return save(model, tmp_path_factory.mktemp("shop") / "models" / "shop" / "1")


def ran(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_the_command_ranks_by_revenue(folder, model):
    told = json.loads(
        ran(
            "recommend", folder, "--user", "u1", "--objective", "revenue", "--value-dial", 0.7, "--json"
        ).stdout
    )
    listed = [place["product_id"] for place in told["recommendations"][0]["products"]]
    assert listed == [product for product, _ in tm.recommend(tm.by_value(model, 0.7), ["u1"]).of(0)]
    assert listed != [product for product, _ in tm.recommend(model, ["u1"]).of(0)]


def test_a_measurement_of_lists_by_revenue_says_what_they_earn(folder, model, tmp_path):
    later = pl.DataFrame(
        {
            "user_id": ["u0", "u1", "u2", "guest"],
            "product_id": ["jazz-00", "rock-13", "folk-03", "jazz-01"],
            "time": [f"2024-06-0{day}" for day in (1, 2, 3, 4)],
        }
    )
    later.write_csv(tmp_path / "later.csv")
    by_value = ("--objective", "revenue", "--value-dial", 0.7, "--include-purchased", "--json")
    told = ran("evaluate", folder, tmp_path / "later.csv", "--replay", *by_value, "--at", 5, "--at", 42)
    found = json.loads(told.stdout)
    assert found["metrics"]["earned@42"]["mean"] == pytest.approx((32 + 2 + 8 + 32) / 4)  # all 42 are shown
    replayed = tm.replay(
        tm.by_value(model, 0.7), tm.read_purchases(later), at=(5, 42), include_purchased=True
    )
    assert found["metrics"]["ndcg@42"]["mean"] == replayed.metrics["ndcg@42"].mean
    assert found["metrics"]["ndcg@42"] != ndcg_of(
        tm.replay(model, tm.read_purchases(later), at=(42,), include_purchased=True)
    )
    prices, ranks = np.array([32, 2, 8, 32]), replayed.model.ranks
    assert found["metrics"]["earned@5"]["mean"] == pytest.approx((prices * (ranks <= 5)).mean())
    assert "earned@5" in found["baselines"]["best sellers"]["metrics"]
    assert "earned@42" not in replayed.metrics
    measured = json.loads(ran("evaluate", folder, tmp_path / "later.csv", *by_value).stdout)
    held = tm.read_held_out(later, model.users, model.products).purchases
    expected = tm.evaluate(tm.by_value(model, 0.7), held, include_purchased=True)
    assert measured["metrics"]["ndcg@10"]["mean"] == expected.metrics["ndcg@10"].mean


def ndcg_of(report):
    return dataclasses.asdict(report.metrics["ndcg@42"])


def test_a_measurement_by_revenue_needs_a_model_that_knows_values(tmp_path):
    save(tm.best_sellers(tm.read_purchases(ratings().drop("price"))), tmp_path / "1")
    ratings().tail(30).write_csv(tmp_path / "later.csv")
    for more in ((), ("--replay",)):
        asked = [
            "evaluate",
            str(tmp_path / "1"),
            str(tmp_path / "later.csv"),
            "--objective",
            "revenue",
            *more,
        ]
        refused = CliRunner().invoke(app, asked)
        assert refused.exit_code == 1
        assert isinstance(refused.exception, SettingProblem)


def test_a_request_for_revenue_gets_the_list_of_the_command(folder, model):
    sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
    from serving_worlds import client_of

    with client_of(folder.parents[1]) as client:
        asked = "/api/v1/recommendations/users/u1?objective=revenue&value_dial=0.7"
        answer = client.get(asked).json()
        wanted = tm.recommend(tm.by_value(model, 0.7), ["u1"]).of(0)
        assert [one["product"] for one in answer["recommendations"]] == [product for product, _ in wanted]
        body = {"basket": ["rock-01"], "objective": "revenue"}
        listed = client.post("/api/v1/recommendations/basket", json=body).json()["recommendations"]
        wanted = tm.recommend_baskets(tm.by_value(model), [["rock-01"]]).of(0)
        assert [one["product"] for one in listed] == [product for product, _ in wanted]
        assert client.get("/api/v1/recommendations/users/u1?value_dial=2").status_code == 400


def test_a_request_for_revenue_of_a_model_without_values_is_refused(tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
    from serving_worlds import client_of

    save(tm.best_sellers(ratings()), tmp_path / "models" / "shop" / "1")
    with client_of(tmp_path / "models") as client:
        answer = client.get("/api/v1/recommendations/users/u1?objective=revenue")
        assert answer.status_code == 422
        assert "worth" in answer.text


def test_training_says_what_stars_bring_and_comparing_shows_what_value_costs(tmp_path):
    frame = ratings()
    frame.head(4_000).write_csv(tmp_path / "train.csv")
    frame.tail(len(frame) - 4_000).write_csv(tmp_path / "later.csv")
    settings = [part for name, value in SETTLED.items() for part in ("--set", f"{name}={value}")]
    columns = ("--weight-column", "stars", "--value-column", "price")
    said = ran("train", tmp_path / "train.csv", *columns, *settings, "--out", tmp_path / "m" / "1")
    assert "the weight column: +" in said.output
    shown = ran(
        "compare", tmp_path / "train.csv", tmp_path / "later.csv", "--model", tmp_path / "m" / "1",
        "--model", "best-sellers", "--value-column", "price", "--include-purchased",
    )  # fmt: skip
    assert "by --objective revenue, lists of 10" in shown.output
    assert "--value-dial" in shown.output
