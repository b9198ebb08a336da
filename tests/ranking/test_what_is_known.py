"""Context, attributes and views: who is new is found by them, what is new is found, reasons add up, and the API says the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

import tastemaker as tm
from beside_worlds import CATALOGUE, EACH, READING, events, log_of
from tastemaker.model.folder import load, save
from tastemaker.ranking.live.knowing import asking_of

SETTLED = {
    "dimensions": 16, "epochs": 8, "tokens.columns": "context:occasion,product:made_for", "kinds.own": "view=5",
    "kinds.after": "", "kinds.taste": "", "kinds.places": 0.0, "kinds.days": 0.0, "live.rate": 1.0, "live.half_life": 240.0,
    "live.fold_in": 0.0, "live.dial": 3.0, "live.young": 0.0,
    "order.taste_places": 8.0, "order.taste_days": 0.0, "order.memory_places": 4.0,
    "order.memory_days": 0.0, "memory.count_weight": 1.0, "memory.ridge_weight": 0.0, "memory.directed_weight": 1.0,
    "memory.spectral_weight": 0.0, "trend.weight": 0.0, "repeats.weight": 0.0, "repeats.sales": 0.0, "repeats.level": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return tm.train(log_of(), tm.preset("default").changed(SETTLED))


def listed(model, visit, k=EACH, **options):
    return tm.recommend_visits(model, [visit], k=k, **options)


@pytest.mark.parametrize("occasion", ["wedding", "office", "beach", "sport"])
def test_a_new_customer_of_whom_only_the_occasion_is_known_gets_what_is_bought_for_it(model, occasion):
    found = listed(model, tm.Visit(user="nobody knows me", context={"occasion": occasion}))
    assert {product.split("-")[0] for product, _ in found.of(0)} == {occasion}
    assert found.about(0).source == "context"
    assert found.unknown == (("nobody knows me",),)


def test_a_product_that_nobody_has_bought_is_shown_to_whom_its_attributes_suit(model):
    found = listed(model, tm.Visit(context={"occasion": "wedding"})).of(0)
    assert {"wedding-10", "wedding-11"} <= {product for product, _ in found}


def test_what_was_viewed_comes_first_until_it_is_bought(model):
    assert listed(model, tm.Visit(viewed=["beach-03"])).of(0)[0][0] == "beach-03"
    without = [product for product, _ in listed(model, tm.Visit(viewed=[])).of(0)]
    assert without[0] != "beach-03"
    bought = listed(model, tm.Visit(viewed=["beach-03"], basket=["beach-03"]))
    assert "beach-03" not in [product for product, _ in bought.of(0)]


def test_what_the_model_does_not_know_is_told_and_says_nothing(model):
    visit = tm.Visit(
        user="u1", basket=["kilt"], context={"occasion": "funeral", "moon": "full"}, viewed=["kite"]
    )
    found = listed(model, visit)
    assert set(found.unknown[0]) == {"kilt", "kite", "occasion=funeral", "moon=full"}
    assert found.of(0) == listed(model, tm.Visit(user="u1")).of(0)


@pytest.mark.parametrize(
    "visit",
    [
        tm.Visit(user="u7", context={"occasion": "sport"}, viewed=["beach-03", "office-01"]),
        tm.Visit(context={"occasion": "beach"}),
        tm.Visit(basket=["sport-01", "sport-02"], viewed=["sport-03"]),
        tm.Visit(),
    ],
)
def test_reasons_add_up_to_the_score(model, visit):
    found = listed(model, visit, k=40, explain=True)
    for (_, score), reason in zip(found.of(0), found.about(0).reasons, strict=True):
        assert reason.total == pytest.approx(score, abs=1e-4)


def test_reasons_name_the_occasion_and_the_view(model):
    found = listed(model, tm.Visit(context={"occasion": "sport"}, viewed=["office-01"]), explain=True)
    first, second = found.about(0).reasons[:2]
    assert [(fact.name, fact.row) for fact in first.facts][:1] == [("view", EACH + 1)]
    assert [fact.name for fact in second.facts][:1] == ["occasion sport"]
    facts = found.to_json()[0]["recommendations"][0]["reasons"]["facts"]
    assert facts[0] == {"fact": "view", "product": "office-01", "weight": pytest.approx(5.0, abs=1e-5)}


def test_a_visit_of_a_known_user_gets_what_the_user_gets(model):
    alone = tm.recommend(model, ["u3"], k=20).of(0)
    assert listed(model, tm.Visit(user="u3"), k=20).of(0) == alone


def test_older_purchases_say_less(model):
    steady = dataclasses.replace(
        model, order=dataclasses.replace(model.order, taste=type(model.order.taste)())
    )
    assert tm.recommend(steady, ["u3"]).of(0) != tm.recommend(model, ["u3"]).of(0)


def test_newer_purchases_join_the_history_as_the_latest(model):
    newer = tm.read_purchases(
        pl.DataFrame({"user_id": ["u3", "zoe"], "product_id": ["sport-01", "sport-02"]})
    )
    longer = tm.fold_in(model, newer)
    assert "sport-01" not in [product for product, _ in tm.recommend(longer, ["u3"], k=48).of(0)]
    alone, basket = (
        tm.recommend(longer, ["zoe"], k=47).of(0),
        tm.recommend_baskets(model, [["sport-02"]], k=47).of(0),
    )
    assert [product for product, _ in alone] == [product for product, _ in basket]
    assert [score for _, score in alone] == pytest.approx([score for _, score in basket])


def test_everything_known_survives_the_folder(model, tmp_path):
    again = load(save(model, tmp_path / "1"))
    visit = tm.Visit(user="u7", context={"occasion": "sport"}, viewed=["beach-03"])
    assert listed(again, visit).of(0) == listed(model, visit).of(0)


@pytest.fixture(scope="module")
def halves():
    frame = events()
    cut = frame["time"].quantile(0.9)
    return log_of(frame.filter(frame["time"] <= cut)), log_of(frame.filter(frame["time"] > cut))


def test_each_kind_of_knowledge_helps_in_a_replay_and_is_missed_without(halves):
    train, later = halves
    worth = {}
    for name, changes in {
        "all": {},
        "without context": {"tokens.columns": "product:made_for"},
        "without views": {"kinds.own": ""},
    }.items():
        model = tm.train(train, tm.preset("default").changed(SETTLED | changes))
        report = tm.replay(model, later, beside=[])
        worth[name] = report.model.whole.metrics["ndcg@10"].mean
    assert worth["all"] > worth["without context"] + 0.05
    assert worth["all"] > worth["without views"] + 0.05


def test_the_columns_and_kinds_that_help_choose_themselves(halves):
    train, _ = halves
    noise = np.random.default_rng(0).integers(0, 5, len(train)).astype(str)
    context = train.context.with_columns(noise=noise)
    log = dataclasses.replace(train, context=context)
    open_ = {"tokens.columns": None, "kinds.own": None}
    model = tm.train(log, tm.preset("default").changed(SETTLED | open_ | {"live.dial": 0.0}))
    assert "context:occasion" in model.record.config.tokens.columns
    assert "noise" not in model.record.config.tokens.columns
    assert model.record.config.kinds.of("own")["view"] > 0
    assert not model.record.metrics["columns"]["context:noise"]["kept"]


def test_reading_a_catalogue_gives_each_product_its_attributes():
    log = log_of()
    assert log.product_features["made_for"].to_list() == CATALOGUE["made_for"].to_list()
    assert READING.context == ("occasion",)


def test_a_purchase_that_was_taken_back_says_as_little_as_one_that_was_never_made(model):
    nothing = (np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int16))
    user, past = 7, model.past
    own = slice(int(past.offsets[user]), int(past.offsets[user + 1]))
    place = own.start + int(np.flatnonzero(past.kinds_of()[own] == 0)[-1])
    stay = np.arange(len(past)) != place
    kept = {
        name: None if getattr(past, name) is None else getattr(past, name)[stay]
        for name in ("products", "times", "kinds", "strengths")
    }
    offsets = past.offsets - (np.arange(len(past.offsets)) > user)
    never = dataclasses.replace(model, past=dataclasses.replace(past, offsets=offsets, **kept))
    row = int(past.products[place])
    back, _ = asking_of(model, user, nothing, np.zeros(0, np.int32), taken_back={row: 1})
    other, _ = asking_of(never, user, nothing, np.zeros(0, np.int32))
    whole, _ = asking_of(model, user, nothing, np.zeros(0, np.int32))
    for name in ("products", "offsets"):
        assert getattr(back.held, name).tolist() == getattr(other.held, name).tolist()
    assert back.moments.tolist() == other.moments.tolist() != whole.moments.tolist()
