"""Efforts: what quick leaves out, what thorough tries, and where it stands afterwards."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.synthetic.shop import make_shop
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import SettingProblem
from tastemaker.model.config import EFFORTS, Config, preset
from tastemaker.training.selection import choose, effort, judge
from tastemaker.training.selection.effort import quick, search, widest
from tastemaker.training.selection.in_time import Search, Trials
from tastemaker.training.train import estimate_bytes, train
from tastemaker.training.warm_start import warm_settings

SMALL = {"dimensions": 8, "horizon": 2, "ridge_neighbours": 10, "trend_weight": 0.0}


@pytest.fixture(scope="module")
def untimed():
    return dataclasses.replace(make_shop(users=150, products=90, purchases=1_200).purchases, times=None)


def long_histories() -> Purchases:
    """40 users who bought 100 of 300 products each."""
    rng = np.random.default_rng(2)
    rows = np.concatenate([rng.choice(300, 100, replace=False) for _ in range(40)]).astype(np.int32)
    names = Vocabulary.of(range(40), noun="user"), Vocabulary.of(range(300), noun="product")
    return Purchases(*names, np.repeat(np.arange(40, dtype=np.int32), 100), rows)


def test_the_effort_goes_to_json_and_back_and_an_older_manifest_without_one_is_standard():
    for each in EFFORTS:
        config = preset("default", effort=each)
        assert Config.from_json(config.to_json()) == config
    older = {name: value for name, value in preset("default").to_json().items() if name != "effort"}
    assert Config.from_json(older) == preset("default", effort="standard")


def test_an_unknown_effort_and_an_effort_of_free_users_are_refused():
    with pytest.raises(SettingProblem, match=r"effort is 'great'; it must be quick, standard or thorough"):
        preset("default", effort="great")
    with pytest.raises(SettingProblem, match="effort is quick; a model of free users"):
        preset("workshop", effort="quick")


def test_quick_learns_few_epochs_and_leaves_out_what_costs_most_where_histories_are_long(untimed):
    short = quick(untimed, preset("default", effort="quick"))
    assert (short.taste.epochs, short.taste.horizon) == (3, 3)
    assert (short.memory.spectral_weight, short.memory.ridge_weight) == (0.0, None)
    assert quick(long_histories(), preset("default", effort="quick")).memory.ridge_weight == 0.0


def test_quick_fixes_no_setting_that_was_given(untimed):
    given = preset("default", effort="quick").changed(epochs=7, spectral_weight=0.5, ridge_weight=8.0)
    assert quick(untimed, given) == given


def test_a_quick_model_says_so_and_chose_its_weights_all_the_same(untimed):
    config = preset("default", effort="quick").changed(dimensions=8, trend_weight=0.0)
    model = train(untimed, config, seed=1)
    assert model.record.config.effort == "quick"
    assert model.record.config.taste.epochs == 3
    assert not model.record.config.chooses
    assert 0 < model.record.metrics["with_memory"] < 1


def ranked(worth):
    """A `choose` that finds each taste to be worth what the test says, and the calls that it got."""
    calls = []

    def choose_with(changes):
        calls.append(dict(changes))
        return preset("default").changed(changes), {"with_memory": worth(dict(changes))}, None

    return choose_with, calls


def test_a_search_halves_and_doubles_each_decay_and_goes_on_from_the_best():
    config = preset("default", effort="thorough").changed(decay=0.04)

    def worth(changes):
        return 0.5 + 0.1 * ((changes.get("decay") == 0.08) + (changes.get("members") == 4))

    choose_with, calls = ranked(worth)
    chosen, told, _ = search(config, choose_with, decay_is_given=False)
    assert calls == [
        {},
        {"decay": 0.02},
        {"decay": 0.08},
        {"decay": 0.08, "rare_decay": 1.75},
        {"decay": 0.08, "rare_decay": 7.0},
        {"decay": 0.08, "dimensions": 256, "members": 4},
    ]
    assert (chosen.taste.decay, chosen.taste.rare_decay, chosen.taste.dimensions) == (0.08, 3.5, 256)
    assert [tried["settings"] for tried in told["tried"]] == calls


def test_a_search_tries_broad_batches_in_the_place_of_decays():
    choose_with, calls = ranked(lambda changes: 0.5 - 0.1 * ("batch" in changes))
    search(preset("default", effort="thorough"), choose_with, decay_is_given=False, broad=True)
    assert calls == [{}, {"batch": 512, "negatives": 512}, {"dimensions": 256, "members": 4}]


def test_a_search_takes_no_decay_that_is_hardly_better_and_more_that_compete_unless_they_are_worse():
    config = preset("default", effort="thorough").changed(decay=0.04)

    def chosen(worth, broad=True):
        found = search(config, ranked(worth)[0], decay_is_given=False, broad=broad)[0]
        return found.taste.decay, found.taste.rare_decay, found.taste.negatives, found.taste.members

    assert chosen(lambda changes: 0.5 + 0.004 * ("decay" in changes), broad=False) == (None, 3.5, 128, 4)
    assert chosen(lambda changes: 0.5 - 0.002 * ("members" in changes)) == (None, 3.5, 512, 4)
    assert chosen(lambda changes: 0.5 - 0.003 * ("members" in changes)) == (None, 3.5, 512, 2)
    assert chosen(lambda changes: 0.5 - 0.003 * ("batch" in changes)) == (None, 3.5, 128, 4)


def test_a_search_tries_nothing_in_place_of_what_was_given():
    config = preset("default", effort="thorough").changed(decay=0.04)
    choose_with, calls = ranked(lambda changes: 0.5)
    search(
        config.changed(rare_decay=2.0, dimensions=64, batch=256), choose_with, decay_is_given=True, broad=True
    )
    assert calls == [{}]


def test_a_search_stops_at_the_own_taste_where_something_else_is_worth_more():
    config = preset("default", effort="thorough").changed(decay=0.04)
    for least, tried in ((0.6, 1), (0.4, 6)):
        choose_with, calls = ranked(lambda changes: 0.5)
        search(config, choose_with, decay_is_given=False, least=least)
        assert len(calls) == tried


def test_a_thorough_model_is_no_worse_by_the_part_held_out_and_tells_what_was_tried(untimed):
    standard = train(untimed, preset("default").changed(SMALL), seed=1)
    model = train(untimed, preset("default", effort="thorough").changed(SMALL), seed=1)
    tried = model.record.metrics["tried"]
    assert len(tried) == 5  # 8 dimensions were given, so none is wide
    assert tried[0] == {"settings": {}, "with_memory": standard.record.metrics["with_memory"]}
    assert model.record.metrics["with_memory"] >= 0.995 * standard.record.metrics["with_memory"]
    assert model.record.config.effort == "thorough"


def test_a_thorough_training_judges_by_the_last_part_of_the_time_and_by_the_one_before():
    log = make_shop(users=400, products=60, purchases=6_000).purchases
    standard = Trials.of(log, preset("default"), 1)
    thorough = Trials.of(log, preset("default", effort="thorough"), 1)
    (last,), both = standard.every, thorough.every
    assert len(both) == 2
    assert both[0].description == last.description
    assert both[1].log.times.max() < both[0].log.times.max() < log.times.max()
    described = dataclasses.replace(log, product_features=pl.DataFrame({"kind": ["a", "b"] * 30}))
    assert len(Trials.of(described, preset("default", effort="thorough"), 1).every) == 1
    untimed = dataclasses.replace(log, times=None)
    assert len(Trials.of(untimed, preset("default", effort="thorough"), 1).every) == 1


def test_what_is_judged_by_two_parts_is_the_mean_of_both():
    judges = tuple(SimpleNamespace(value=lambda config, worth=worth: worth) for worth in (0.1, 0.4))
    assert Search(judges, preset("default")).value(preset("default")) == 0.25


def test_a_thorough_training_of_a_log_with_times_chooses_anew_for_the_taste_that_it_takes(monkeypatch):
    """Each other taste is judged under what suits the own one, and the parts of the memory are counted once a part."""
    log = make_shop(users=400, products=60, purchases=6_000).purchases
    counted, given = [], []
    whole, choosing, trying = judge.memories, choose.choose_in_time, choose.worth_in_time

    def noted(trials, config, *rest, **more):
        given.append((config.taste.decay, config.memory.count_weight, config.taste.batch))
        return choosing(trials, config, *rest, **more)

    def tried(trials, config, *rest, **more):
        given.append((config.taste.decay, config.memory.count_weight, config.taste.batch))
        return trying(trials, config, *rest, **more)

    monkeypatch.setattr(judge, "memories", lambda *given, **more: counted.append(1) or whole(*given, **more))
    monkeypatch.setattr(choose, "choose_in_time", noted)
    monkeypatch.setattr(choose, "worth_in_time", tried)
    monkeypatch.setattr(choose, "is_worth_trying", lambda log: True)
    settings = {"dimensions": 8, "horizon": 2, "ridge_neighbours": 10, "rare_decay": 2.0}
    record = train(log, preset("default", effort="thorough").changed(settings), seed=1, progress=False).record
    assert len(counted) == 2
    assert len(record.metrics["also_held_out"]) == 1
    assert [weight is None for _, weight, _ in given[:2]] == [True, False]
    assert [batch for _, _, batch in given[:2]] == [128, 512]
    taken = record.config.taste.batch
    assert [(weight, batch) for _, weight, batch in given[2:]] == [(None, taken)] * (taken != 128)
    assert [tried["settings"].get("batch") for tried in record.metrics["tried"]] == [None, 512]


def test_the_greatest_dial_of_the_tail_is_taken_that_costs_nothing_on_the_part_held_out(monkeypatch):
    """By the users' changes: .05 gains, .1 gains in the mean, .15 loses, and .2 gains with an interval that reaches below -1 %."""
    sway = np.where(np.arange(400) % 2, 1.0, -1.0)
    changes = iter([0.0, 0.001, 0.0002 + 0.01 * sway, -0.0001, 0.001 + 0.2 * sway])
    histories = Histories.from_lists([[0, 1], [1], [1, 2]])
    seen = []

    def each(validation, config, scores, tables, weights, pool):
        seen.append(scores.copy())
        return (0.5 + np.zeros(400) + next(changes))[None]

    monkeypatch.setattr(effort, "taste_scores", lambda *_: np.zeros((1, 4), np.float32))
    monkeypatch.setattr(effort, "ndcg_of_each", each)
    learned = SimpleNamespace(taste=None, weighed=lambda config: (None, (0.0, 0.0, 0.0)))
    chosen = preset("default"), {"with_memory": 0.5}, learned
    config, told, _ = effort.choose_tail(SimpleNamespace(histories=histories), chosen, None)
    assert config.popularity.tail == 0.1
    assert [point["tail"] for point in told["tail"]] == [0.0, 0.05, 0.1, 0.15, 0.2]
    assert told["tail"][2]["change"] == pytest.approx(0.0004)
    assert told["tail"][2]["low"] == pytest.approx(0.0004 - 1.96 * 0.01 / 20 / 0.5)
    for scores, dial in zip(seen, (0.0, 0.05, 0.1, 0.15, 0.2), strict=True):
        np.testing.assert_allclose(scores[0], -dial * np.log([2, 4, 2, 1]), atol=1e-6)


def test_a_dial_that_was_given_stays_and_only_a_thorough_training_looks_for_one(untimed):
    config = preset("default", effort="thorough").changed(SMALL, epochs=1)
    metrics = train(untimed, config, seed=1, progress=False).record.metrics
    assert len(metrics["tail"]) == 5
    given = train(untimed, config.changed(popularity_tail=0.3), seed=1, progress=False).record
    assert given.config.popularity.tail == 0.3
    assert "tail" not in given.metrics
    standard = train(untimed, preset("default").changed(SMALL, epochs=1), seed=1, progress=False).record
    assert standard.config.popularity.tail == 0
    assert "tail" not in standard.metrics


def test_the_parts_of_the_memory_are_counted_once_for_all_tastes(untimed, monkeypatch):
    counted = []
    whole = choose.memories
    monkeypatch.setattr(choose, "memories", lambda *given, **more: counted.append(1) or whole(*given, **more))
    train(untimed, preset("default", effort="thorough").changed(SMALL), seed=1)
    assert len(counted) == 1


def test_memory_is_estimated_for_the_widest_taste(untimed):
    assert widest(preset("default")) == 128
    assert widest(preset("default", effort="thorough")) == 256
    assert estimate_bytes(untimed, preset("default", effort="thorough")) > estimate_bytes(
        untimed, preset("default")
    )


def test_a_warm_start_searches_nothing(untimed):
    model = train(untimed, preset("default", effort="quick").changed(SMALL, epochs=2), seed=1)
    assert warm_settings(model, {"count_weight": None}).effort == "standard"


def test_in_python_an_effort_is_an_argument_as_settings_are(untimed):
    few = {"dimensions": 8, "epochs": 1, "trend_weight": 0.0}
    assert train(untimed, effort="quick", **few).record.config.effort == "quick"
    with pytest.raises(SettingProblem, match="effort is 'great'"):
        train(untimed, effort="great", **few)
    model = train(untimed, **few)
    with pytest.raises(SettingProblem, match="start_from and effort='quick' were given"):
        train(untimed, start_from=model, effort="quick")
