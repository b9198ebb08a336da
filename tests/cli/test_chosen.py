"""What training chose is said in words: half-lives, rates, the dial's curve, what each column and kind of event brings."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import tastemaker as tm
from beside_worlds import CATALOGUE, events
from tastemaker.cli.app import app
from tastemaker.cli.terminal.chosen import chosen_lines
from tastemaker.model.record import TrainingRecord


def said(changes, metrics):
    """The sentences about a training that chose these settings and measured these things."""
    measured = {"users": 1_000, "measure": "ndcg@100", "taste": 0.1, "with_memory": 0.2, "questions": 2_000}
    config = tm.preset("default").changed(
        {"epochs": 4, "memory.count_weight": 1.0, "memory.ridge_weight": 0.0, "memory.spectral_weight": 0.0}
        | {"memory.directed_weight": 0.0, "trend.weight": 0.0, "live.rate": 0.0, "kinds.own": ""}
        | {f"order.{part}_{unit}": 0.0 for part in ("taste", "memory") for unit in ("places", "days")}
        | changes
    )
    return list(chosen_lines(TrainingRecord(config, 0, "", 10, (), measured | metrics)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "A purchase of any age counts alike, in taste and in memory."),
        ({"memory.count_weight": 0.0}, "A purchase of any age counts alike, in taste."),
        (
            {"order.taste_places": 2.0, "order.taste_days": 90.0, "order.memory_places": 1.0},
            "A purchase counts half after 2 later ones and 90 days in taste, after 1 later one in memory.",
        ),
        (
            {"order.taste_days": 30.0},
            "A purchase counts half after 30 days in taste; in memory age does not matter.",
        ),
    ],
)
def test_half_lives_are_said(changes, sentence):
    assert said(changes, {})[1] == sentence


def test_what_numbers_bring_is_said_and_that_they_were_left_out():
    assert "neighbours by number (weight 1.5)" in said({"memory.number_weight": 1.5}, {})[0]
    assert said({"memory.number_weight": 1.5}, {"without_numbers": 0.16})[1] == (
        "The ids of products are numbers; neighbours by number bring +25.0% of ndcg@100 there. "
        "--set memory.number_weight=0 leaves them out."
    )
    assert said({"memory.number_weight": 0.0}, {"without_numbers": 0.2})[1].endswith("and are left out.")


def test_the_dial_of_the_long_tail_is_said_and_that_none_is_free():
    curve = [
        {"tail": 0.0, "change": 0, "low": 0, "high": 0},
        {"tail": 0.1, "change": 0.001, "low": -0.004, "high": 0.006},
    ]
    assert said({"popularity.tail": 0.1}, {"tail": curve})[1] == (
        "The dial of the long tail is 0.1: it changes ndcg@100 by +0.1% (-0.4% to +0.6%) there, and shows more that few bought."
    )
    assert said({"popularity.tail": 0.0}, {"tail": curve})[1].endswith("it stays at 0.")


def test_rates_are_said():
    living = {
        "live.rate": 1.0,
        "live.half_life": 60.0,
        "live.young": 2.0,
        "live.fold_in": 1.5,
        "live.dial": 0.3,
    }
    first, _, rates = said(living, {})
    assert "and live rates of sales" in first
    assert rates == (
        "The rate of sales has the weight 1; a purchase counts half in it after 60 days, and a product that began to sell lately "
        "is counted for those days (damped by 2). Vectors of products move towards their buyers (1.5). "
        "A product that never sold gains 0.3."
    )
    assert said(living | {"live.fold_in": 0.0, "live.young": 0.0, "live.dial": 0.0}, {})[2] == (
        "The rate of sales has the weight 1; a purchase counts half in it after 60 days. Vectors of products stand still until the "
        "next training. Products that never sold gain nothing."
    )


def test_what_each_source_brings_is_said_and_what_is_left_out():
    gain = {"gain": 0.12, "low": 0.09, "high": 0.15}
    nothing = {"gain": 0.0, "low": -0.01, "high": 0.01}
    lines = said(
        {"kinds.own": "view=20", "kinds.after": "view=2", "kinds.taste": "", "kinds.places": 1.0},
        {
            "columns": {
                "context:occasion": gain | {"kept": True},
                "user:noise": nothing | {"kept": False},
                "product:sku": {"kept": False, "why": "every row has another value"},
            },
            "kinds": {"view": gain, "wish": nothing},
            "weight": nothing | {"kept": False},
        },
    )
    assert lines[2:] == [
        "context:occasion: +12.0% (+9.0% to +15.0%) of ndcg@100.",
        "user:noise: +0.0% (-1.0% to +1.0%) of ndcg@100, left out.",
        "product:sku: left out, every row has another value.",
        "view: +12.0% (+9.0% to +15.0%) of ndcg@100; its product gains 20, what is bought after it weighs 2, it counts half after "
        "1 later one of its kind.",
        "wish: +0.0% (-1.0% to +1.0%) of ndcg@100, left out.",
        "the weight column: +0.0% (-1.0% to +1.0%) of ndcg@100, left out.",
    ]


def test_a_log_of_pairs_says_nothing_of_age():
    lines = list(
        chosen_lines(
            TrainingRecord(
                tm.preset("default").changed(epochs=4, **{"trend.weight": 0.0}),
                0, "", 10, (), {"users": 9, "measure": "ndcg@100", "taste": 0.1, "with_memory": 0.2},
            )
        )
    )  # fmt: skip
    assert len(lines) == 1


def test_the_command_says_it_of_a_log_with_contexts_and_views(tmp_path):
    events(users=120).write_parquet(tmp_path / "log.parquet")
    CATALOGUE.write_parquet(tmp_path / "products.parquet")
    flags = [
        "--event-column", "event", "--event", "purchase=purchase", "--event", "view=view", "--context", "occasion",
        "--products", tmp_path / "products.parquet", "--product-features", "made_for", "--dimensions", 8, "--epochs", 4,
    ]  # fmt: skip

    def ran(out, *more):
        found = CliRunner().invoke(
            app, [str(part) for part in ("train", tmp_path / "log.parquet", *flags, "--out", out, *more)]
        )
        assert found.exit_code == 0, found.output
        return found

    told = ran(tmp_path / "1").stderr
    for beginning in ("A purchase ", "The rate of sales has the weight ", "context:occasion: +", "view: +"):
        assert f"\n{beginning}" in told
    metrics = json.loads(ran(tmp_path / "2", "--json").stdout)["metrics"]
    assert metrics["columns"]["context:occasion"]["kept"]
    assert ("dial for new products" in told) == any(point["new"] for point in metrics["dial"])
