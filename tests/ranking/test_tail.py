"""The dial of the long tail: by formula, live, saved, on the command line, over HTTP, and its curve by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import tastemaker as tm
from tastemaker.cli.app import app
from tastemaker.errors import SettingProblem
from tastemaker.evaluation.curves.tail_curve import TailPoint, best_tail, tail_curve
from tastemaker.evaluation.intervals import Interval
from tastemaker.model.beside.live import Live
from tastemaker.model.folder import load, save
from tastemaker.ranking.live.living import rates_of


@pytest.fixture(scope="module")
def model():
    """Ten users buy hat, four of them sock and two cap; each of the others buys a thing of their own. The bias knows half of it."""
    bought = [(f"u{user}", "hat") for user in range(10)]
    bought += [(f"u{user}", "sock") for user in range(4)] + [("u0", "cap"), ("u1", "cap")]
    bought += [(f"u{user}", f"thing-{user}") for user in range(10, 90)]
    log = tm.read_purchases(pl.DataFrame(bought, schema=["user_id", "product_id"], orient="row"))
    model = tm.best_sellers(log)
    return replace(model, product_bias=(0.5 * np.log(1 + buyers_of(model))).astype(np.float32))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return save(model, tmp_path_factory.mktemp("shop") / "models" / "shop" / "1")


def buyers_of(model):
    return np.bincount(model.histories.products, minlength=len(model.products))


@pytest.mark.parametrize("tail", [0.0, 0.3, 1.0])
def test_the_dial_takes_away_the_logarithm_of_the_buyers(model, tail):
    taken = model.product_bias - tm.by_tail(model, tail).product_bias
    np.testing.assert_allclose(taken, tail * np.log(1 + buyers_of(model)), atol=1e-5)


def test_products_that_fewer_buy_rise(model):
    shown = [
        [product for product, _ in tm.recommend(tm.by_tail(model, tail), ["u20"], k=83).of(0)]
        for tail in (0.0, 1.0)
    ]
    assert shown[0][:3] == ["hat", "sock", "cap"]
    places = [[listed.index(product) for product in ("hat", "sock", "cap")] for listed in shown]
    assert places[1] == [81, 80, 79]  # of 82, their own thing left out


@pytest.mark.parametrize("tail", [-0.1, 1.1, float("nan")])
def test_a_dial_out_of_range_is_refused(model, tail):
    with pytest.raises(SettingProblem, match="from 0, which ranks as learned, to 1"):
        tm.by_tail(model, tail)


def test_the_dial_stays_beside_rates_that_move_and_a_new_one_replaces_it(model, tmp_path):
    live = Live(half_life=30.0, weight=1.0, kappa=40.0, dial=0.0)
    living = replace(model, live=live)
    dialled = tm.by_tail(tm.by_tail(living, 0.9), 0.4)
    np.testing.assert_allclose(dialled.product_bias, tm.by_tail(living, 0.4).product_bias, atol=1e-5)
    kept = load(save(dialled, tmp_path / "1"))
    assert kept.live is not None
    assert kept.live.tail == 0.4
    before, after = (rates_of(one, 0).base for one in (living, kept))
    np.testing.assert_allclose(after - before, -0.4 * np.log(1 + buyers_of(model)), atol=1e-5)


def ran(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_commands_take_the_dial(model, folder, tmp_path):
    told = ran("recommend", folder, "--user", "u20", "--tail", 0.8, "--k", 83, "--json")
    listed = [place["product_id"] for place in told["recommendations"][0]["products"]]
    assert listed == [product for product, _ in tm.recommend(tm.by_tail(model, 0.8), ["u20"], k=83).of(0)]
    assert listed != [product for product, _ in tm.recommend(model, ["u20"], k=83).of(0)]
    later = pl.DataFrame({"user_id": ["u20", "u21"], "product_id": ["cap", "thing-30"]})
    later.write_csv(tmp_path / "later.csv")
    measured = ran("evaluate", folder, tmp_path / "later.csv", "--tail", 0.8, "--json")
    held = tm.read_held_out(later, model.users, model.products).purchases
    assert (
        measured["metrics"]["mrr@100"]["mean"]
        == tm.evaluate(tm.by_tail(model, 0.8), held).metrics["mrr@100"].mean
    )
    refused = CliRunner().invoke(app, ["recommend", str(folder), "--user", "u20", "--tail", "2"])
    assert isinstance(refused.exception, SettingProblem)


def test_a_request_with_the_dial_gets_the_list_of_the_command(model, folder):
    sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
    from serving_worlds import client_of

    with client_of(folder.parents[1]) as client:
        wanted = [product for product, _ in tm.recommend(tm.by_tail(model, 0.8), ["u20"], k=20).of(0)]
        answer = client.get("/api/v1/recommendations/users/u20?tail=0.8&k=20").json()
        assert [one["product"] for one in answer["recommendations"]] == wanted
        assert wanted != [product for product, _ in tm.recommend(model, ["u20"], k=20).of(0)]
        wanted = [
            product for product, _ in tm.recommend_baskets(tm.by_tail(model, 0.5), [["cap"]], k=5).of(0)
        ]
        body = {"basket": ["cap"], "tail": 0.5, "k": 5}
        answer = client.post("/api/v1/recommendations/basket", json=body).json()
        assert [one["product"] for one in answer["recommendations"]] == wanted
        assert client.get("/api/v1/recommendations/users/u20?tail=1.5").status_code == 400


def test_the_curve_counts_whom_the_lists_show(model):
    # of 96 buyers a third are 32: hat (10), sock (4) and cap (2) are of the head, and every thing with one buyer, for 16 < 32
    held = tm.read_held_out(
        pl.DataFrame({"user_id": ["u20", "u20", "u21"], "product_id": ["hat", "unheard of", "cap"]}),
        model.users, model.products,
    ).purchases  # fmt: skip
    (point,) = tail_curve(model, held, k=20, tails=(0.0,))
    assert point.beyond_head == 0.0
    assert point.bought_beyond_head == pytest.approx(1 / 3)  # what the model does not know
    assert point.tail_recall == 0.0
    found = tm.evaluate(model, held, at=(20,))
    assert point.ndcg == pytest.approx(found.metrics["ndcg@20"].mean)


def best_sellers_with_a_long_tail():
    """Return a model that ranks by sales, few of which are of most products, and later purchases of all alike."""
    rng = np.random.default_rng(4)
    products = np.minimum(rng.zipf(1.5, 4_000) - 1, 199)
    frame = pl.DataFrame({"user_id": rng.integers(0, 300, 4_000), "product_id": products})
    model = tm.best_sellers(tm.read_purchases(frame))
    model = replace(model, product_bias=(0.5 * np.log(1 + buyers_of(model))).astype(np.float32))
    held = tm.read_held_out(
        pl.DataFrame({"user_id": np.arange(300), "product_id": np.arange(300) % 200}),
        model.users,
        model.products,
    ).purchases
    return model, held


def test_the_curve_shows_what_the_tail_gains():
    model, held = best_sellers_with_a_long_tail()
    curve = tail_curve(model, held, k=20, tails=(0.0, 0.5, 1.0))
    assert [point.tail for point in curve] == [0.0, 0.5, 1.0]
    shares = [point.beyond_head for point in curve]
    assert shares == sorted(shares)
    assert all(point.bought_beyond_head == curve[0].bought_beyond_head > 0.9 for point in curve)


def test_a_dial_given_in_training_ranks_so_by_itself_and_one_of_a_request_takes_its_place(tmp_path):
    bought = [(f"u{user}", "hat") for user in range(10)] + [(f"u{user}", "sock") for user in range(4)]
    log = tm.read_purchases(pl.DataFrame(bought, schema=["user_id", "product_id"], orient="row"))
    few = {"dimensions": 4, "epochs": 1}
    plain, dialled = (tm.train(log, seed=1, **few, **more) for more in ({}, {"popularity.tail": 0.3}))
    taken = plain.product_bias - dialled.product_bias
    np.testing.assert_allclose(taken, 0.3 * np.log(1 + buyers_of(plain)), atol=1e-5)
    saved = load(save(dialled, tmp_path / "1"))
    for tail in (0.2, 0.5):
        np.testing.assert_allclose(
            tm.by_tail(saved, tail).product_bias, tm.by_tail(plain, tail).product_bias, atol=1e-5
        )
    with pytest.raises(SettingProblem, match=r"popularity\.tail is 1\.5; it must be from 0 to 1"):
        tm.preset("default").changed({"popularity.tail": 1.5})


def point_at(tail, *, recall, low):
    change = Interval(low + 0.0005, low, low + 0.001)
    return TailPoint(tail, 100, 0.1, recall, 0.0, 0.5, change, Interval(0.0, 0.0, 0.0))


def test_the_best_dial_finds_most_of_those_that_surely_cost_less_than_a_hundredth():
    first = TailPoint(0.0, 100, 0.1, 0.02, 0.0, 0.5, Interval(0.0, 0.0, 0.0), Interval(0.0, 0.0, 0.0))
    cheap, cheaper = point_at(0.2, recall=0.04, low=-0.0009), point_at(0.1, recall=0.03, low=-0.0001)
    dear = point_at(0.3, recall=0.05, low=-0.0011)  # a hundredth of .1 is .001
    assert best_tail([first, cheaper, cheap, dear]) is cheap
    assert best_tail([first, dear]) is first
    assert best_tail([first, point_at(0.1, recall=0.01, low=0.0)]) is first


def test_changes_are_of_the_same_users_and_none_is_0():
    model, held = best_sellers_with_a_long_tail()
    first, same, other = tail_curve(model, held, k=20, tails=(0.0, 0.0, 1.0))
    assert first.ndcg_change == same.ndcg_change == Interval(0.0, 0.0, 0.0)
    assert other.ndcg_change.mean == pytest.approx(other.ndcg - first.ndcg)
    assert other.ndcg_change.low < other.ndcg_change.mean < other.ndcg_change.high
    assert other.tail_recall_change.mean == pytest.approx(other.tail_recall - first.tail_recall)
