"""`compare`: many models on the same users; each one's numbers are those of `evaluate`; the verdict follows from the tests."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import tastemaker as tm
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.given import seen_by
from tastemaker.data.synthetic.shop import write_log
from tastemaker.errors import DataError, NoPurchases, SettingProblem, TrainingFailed
from tastemaker.evaluation.comparison import contestants as room
from tastemaker.evaluation.comparison.common_users import known_to_all, share_seen
from tastemaker.evaluation.comparison.compare import Onlooker, compare
from tastemaker.evaluation.comparison.contestants import CONTESTANTS, Contestant
from tastemaker.evaluation.comparison.cost import costing
from tastemaker.evaluation.comparison.tuned import tuned
from tastemaker.evaluation.comparison.verdict import Test as PairedTest
from tastemaker.evaluation.comparison.verdict import gate, headline, sentences
from tastemaker.evaluation.evaluate import evaluate
from tastemaker.evaluation.metrics import measure
from tastemaker.evaluation.paired import Paired
from tastemaker.evaluation.segments import Segments
from tastemaker.training.selection.validation import hold_out

AT_10 = tm.Measurement(at=[10])


def log_of(*pairs: tuple[object, str]) -> Purchases:
    users, products = zip(*pairs, strict=True)
    return tm.read_purchases(pl.DataFrame({"user": users, "product": products}))


@pytest.fixture(scope="module")
def found(split, model_folder):
    return compare(
        split.train,
        split.held_out,
        models=["cosine", str(model_folder)],
        measure=tm.Measurement(metrics=["ndcg@10", "recall@10"], at=[5, 10]),
        seed=3,
    )


def test_each_models_numbers_are_those_of_evaluate(found, split, model_folder):
    for name, model in (
        ("best-sellers", tm.best_sellers(split.train)),
        ("cosine", tm.co_purchase(split.train, power=0.5, damping=0.0)),
        (str(model_folder), tm.load(model_folder)),
    ):
        mine, theirs = found.of(name).report, evaluate(model, split.held_out, at=[5, 10], seed=3)
        assert mine == theirs
        assert all(np.array_equal(mine.values[key], theirs.values[key]) for key in theirs.values)


def test_a_model_that_is_learned_is_the_one_that_train_gives(split, small_config, monkeypatch):
    small = Contestant("default", lambda log, terms: tm.train(log, small_config, seed=terms.seed))
    monkeypatch.setattr(room, "CONTESTANTS", {"default": small, "best-sellers": CONTESTANTS["best-sellers"]})
    report = (
        compare(split.train, split.held_out, models=["default"], measure=AT_10, seed=5).of("default").report
    )
    assert report == evaluate(tm.train(split.train, small_config, seed=5), split.held_out, at=[10], seed=5)


def test_the_first_model_named_is_tested_against_every_other_one_by_every_metric(found, model_folder):
    assert found.chosen == "cosine"
    asked = [
        (metric, other)
        for metric in ("ndcg@10", "recall@10")
        for other in ("best-sellers", str(model_folder))
    ]
    assert [(test.metric, test.other) for test in found.tests] == asked
    values = {entry.name: entry.report.values for entry in found.entries}
    for test in found.tests:
        first, second = values["cosine"][test.metric], values[test.other][test.metric]
        assert test.paired.users == len(first) == found.users
        assert test.paired.difference == pytest.approx(float((first - second).mean()), abs=1e-12)
        assert test.corrected >= test.paired.p_value


def test_best_sellers_are_always_in_and_all_baselines_when_none_is_named(split, model_folder, monkeypatch):
    floor = CONTESTANTS["best-sellers"]
    few = {
        "default": replace(floor, name="default"),
        "best-sellers": floor,
        "ease": replace(floor, name="ease"),
    }
    monkeypatch.setattr(room, "CONTESTANTS", few)

    def names(*models):
        return [
            entry.name for entry in compare(split.train, split.held_out, models=models, measure=AT_10).entries
        ]

    assert names() == names("default", "ease") == ["default", "best-sellers", "ease"]
    assert names("ease") == ["best-sellers", "ease"]
    assert names(model_folder) == ["default", "best-sellers", "ease", str(model_folder)]
    assert names(model_folder, "best-sellers") == ["best-sellers", str(model_folder)]


def test_a_folder_is_the_chosen_one_however_its_path_is_written(split, model_folder):
    found = compare(
        split.train,
        split.held_out,
        models=[f"{model_folder}/", "best-sellers"],
        measure=AT_10,
    )
    assert found.chosen == str(model_folder)
    assert found.of(found.chosen).model is not None


def test_who_cannot_take_part_is_left_out_with_the_reason(split, monkeypatch):
    floor = CONTESTANTS["best-sellers"]
    lame = {
        "large": replace(floor, name="large", most_products=100),
        "absent": replace(floor, name="absent", package="no-such-package"),
        "best-sellers": floor,
    }
    monkeypatch.setattr(room, "CONTESTANTS", lame)
    heard = []
    found = compare(
        split.train,
        split.held_out,
        models=["large", "absent"],
        measure=AT_10,
        onlooker=Onlooker(measured=heard.append),
    )
    assert found.of("large").skipped == "more than 100 products"
    assert found.of("absent").skipped == "no-such-package is not installed"
    assert [entry.name for entry in heard] == ["large", "absent", "best-sellers"]
    assert found.verdict == "large was not measured: more than 100 products."
    assert json.loads(found.to_json())["models"][1]["skipped"] == "no-such-package is not installed"


def test_a_model_is_not_learned_twice_from_the_same_purchases_settings_and_seed(split, tmp_path, monkeypatch):
    calls = []

    def learn(log, terms):
        calls.append(terms.seed)
        return tm.best_sellers(log)

    counted = Contestant("counted", learn, {"weight": 1})
    monkeypatch.setattr(
        room, "CONTESTANTS", {"counted": counted, "best-sellers": CONTESTANTS["best-sellers"]}
    )

    def run(log=split.train, seed=0):
        return compare(
            log,
            split.held_out,
            models=["counted"],
            measure=AT_10,
            seed=seed,
            workspace=tmp_path,
        ).of("counted")

    first, again = run(), run()
    assert (calls, first.reused, again.reused) == ([0], False, True)
    assert again.report == first.report
    assert again.cost == first.cost
    run(seed=1)
    run(log=split.train.take(np.arange(len(split.train) - 1)))
    monkeypatch.setattr(
        room, "CONTESTANTS", {**room.CONTESTANTS, "counted": replace(counted, settings={"weight": 2})}
    )
    run()
    assert calls == [0, 1, 0, 0]


def test_a_baseline_whose_training_fails_is_left_out_and_the_others_are_compared(split, monkeypatch):
    def fail(log, terms):
        raise TrainingFailed("the loss became NaN.")

    floor = CONTESTANTS["best-sellers"]
    lame = {"cosine": CONTESTANTS["cosine"], "best-sellers": floor, "failing": Contestant("failing", fail)}
    monkeypatch.setattr(room, "CONTESTANTS", lame)
    found = compare(split.train, split.held_out, measure=AT_10)
    assert found.of("failing").skipped == "its training came to no finite loss on this log"
    assert [test.other for test in found.tests] == ["best-sellers"]
    with pytest.raises(TrainingFailed):  # a comparison is about the model that was named first
        compare(split.train, split.held_out, models=["failing"], measure=AT_10)


def test_a_kept_model_that_was_damaged_is_learned_again(split, tmp_path):
    def run():
        return compare(
            split.train,
            split.held_out,
            models=["best-sellers"],
            measure=AT_10,
            workspace=tmp_path,
        ).of("best-sellers")

    folder = run().folder
    (folder / "product_bias.npy").write_bytes(b"nonsense")
    again = run()
    assert (again.reused, again.folder) == (False, folder)
    assert run().reused


def test_a_comparison_that_is_stopped_half_way_keeps_what_was_whole(split, tmp_path, monkeypatch):
    def stop(log, terms):
        raise KeyboardInterrupt

    floor = CONTESTANTS["best-sellers"]
    monkeypatch.setattr(room, "CONTESTANTS", {"best-sellers": floor, "stopped": Contestant("stopped", stop)})
    with pytest.raises(KeyboardInterrupt):
        compare(split.train, split.held_out, measure=AT_10, workspace=tmp_path)
    kept = list(tmp_path.iterdir())
    assert [folder.name.rpartition("-")[0] for folder in kept] == ["best-sellers"]
    assert tm.load(kept[0]).record.purchases == len(split.train)


def test_held_out_purchases_may_have_vocabularies_of_their_own(split, tmp_path):
    file = write_log(split.held_out, tmp_path / "held.parquet")
    one = compare(split.train, split.held_out, models=["cosine"], measure=AT_10)
    other = compare(split.train, tm.read_purchases(file), models=["cosine"], measure=AT_10)
    assert one.of("cosine").report == other.of("cosine").report


def test_a_folder_of_other_vocabularies_is_measured_by_ids_on_the_users_known_to_all(tmp_path):
    train = log_of((1, "hat"), (1, "sock"), (2, "hat"), (3, "sock"))
    held = log_of((1, "scarf"), (2, "sock"), (3, "hat"), (3, "kilt"), (9, "hat"))
    older = tm.best_sellers(log_of((3, "boot"), (2, "sock"), (2, "hat"), (7, "sock")))
    folder = tm.save(older, tmp_path / "older")
    found = compare(
        train, held, models=["best-sellers", folder], measure=tm.Measurement(metrics=["recall@2"], at=[2])
    )
    assert found.users == 2  # 2 and 3; the older model has not heard of 1, and nobody of 9
    assert found.of("best-sellers").report.metrics["recall@2"].mean == (1 + 1 / 2) / 2
    # to 2 it shows the boot; to 3 sock and hat, of hat and kilt
    assert found.of(str(folder)).report.metrics["recall@2"].mean == (0 + 1 / 2) / 2
    assert found.of(str(folder)).notes == (
        "learned from other purchases than TRAIN",
        "has seen 33% of what is held out, 0% of which is in TRAIN",
    )
    assert found.notes == (
        "2 held-out purchases are of users whom not every model knows: not measured.",
        "1 held-out purchase is of products that TRAIN does not know: no model learned from it can find them.",
        "Of 2 users 2 have any recall@2 from best-sellers: with so few, intervals and p-values say little.",
    )


def test_purchases_that_stand_in_train_too_are_noted():
    train = log_of((1, "hat"), (1, "sock"), (2, "hat"))
    found = compare(
        train, log_of((1, "hat"), (2, "sock")), models=["best-sellers"], measure=tm.Measurement(at=[2])
    )
    assert found.notes == (
        "50.0% of the held-out pairs stand in train, too: purchases made again, or a leak.",
        "Of 2 users 1 has any ndcg@10 from best-sellers: with so few, intervals and p-values say little.",
    )


def test_the_same_purchases_on_both_sides_are_refused_before_anything_is_learned(split):
    def never(_):
        raise AssertionError

    with pytest.raises(DataError, match="stand in train, too"):
        compare(split.train, split.train, models=["best-sellers"], onlooker=Onlooker(learning=never))


def test_a_train_that_is_later_than_what_is_held_out_is_noted(split):
    found = compare(split.train, split.held_out, models=["best-sellers"], measure=AT_10)
    assert "purchases in train are later than the first one held out" in found.notes[0]


def test_without_a_common_user_there_is_nothing_to_compare():
    with pytest.raises(NoPurchases, match="a user there is 9, one of the log to learn from 1"):
        compare(log_of((1, "hat")), log_of((9, "hat")), models=["best-sellers"])


@pytest.mark.parametrize("metric", ["ndcg", "ndcg@0", "ndcg@-1", "coverage@10", "nonsense@10", "@10", ""])
def test_what_is_no_metric_of_a_user_is_refused(split, metric):
    with pytest.raises(SettingProblem, match="NAME@K"):
        compare(split.train, split.held_out, measure=tm.Measurement(metrics=[metric]))


def test_an_unknown_model_is_refused_before_anything_is_learned(split):
    with pytest.raises(SettingProblem, match="'nobody' is neither a model folder nor a model"):
        compare(split.train, split.held_out, models=["nobody"])


def test_a_metric_at_a_length_that_was_not_asked_for_is_measured_too(split):
    found = compare(
        split.train,
        split.held_out,
        models=["best-sellers"],
        measure=tm.Measurement(metrics=["mrr@7"], at=[5]),
    )
    assert "mrr@7" in found.of("best-sellers").report.metrics
    assert found.verdict == "In mrr@7 there is nothing to compare best-sellers with."


def test_rows_of_other_vocabularies_keep_unknown_products_apart():
    held = log_of((1, "hat"), (1, "kilt"), (2, "sash"), (5, "hat"))
    train = log_of((1, "hat"), (2, "hat"))
    seen = seen_by(held, train.users, train.products)
    assert seen.user_rows.tolist() == [0, 0, 1]
    assert seen.product_rows[0] == 0
    assert len(set(seen.product_rows[1:].tolist())) == 2
    assert seen.product_rows[1:].min() >= len(train.products)
    assert len(known_to_all(held, [train.users])) == 3
    assert share_seen(train, seen) == 1 / 3


def paired(difference, p, relative=0.5):
    ends = (difference - 0.01, difference + 0.01)
    return Paired(
        users=100,
        first=0.1 + difference,
        second=0.1,
        difference=difference,
        low=ends[0],
        high=ends[1],
        relative=relative,
        relative_low=None if relative is None else relative - 0.1,
        relative_high=None if relative is None else relative + 0.1,
        p_value=p,
        users_needed=50,
    )


def test_the_verdict_says_better_worse_and_not_distinguishable():
    tests = [
        PairedTest("ndcg@10", "best sellers", paired(0.05, 0.001, 0.71), 0.001),
        PairedTest("ndcg@10", "ease", paired(-0.05, 0.001, -0.07), 0.002),
        PairedTest("ndcg@10", "als", paired(0.01, 0.1), 0.31),
        PairedTest("recall@10", "als", paired(0.05, 0.0004), 0.0008),
    ]
    assert list(sentences(tests, "mine", ["ndcg@10", "recall@10"])) == [
        "In ndcg@10, mine is better than best sellers by 71 % (61–81 %); worse than ease by 7.0 % (-3.0–17.0 %); "
        "not distinguishable from als (p = .31).",
        "In recall@10, mine is better than als by 50 % (40–60 %).",
    ]


@pytest.mark.parametrize(
    ("difference", "p", "said"),
    [
        (0.05, 0.001, "mine beats the other model in ndcg@10"),
        (-0.05, 0.001, "mine loses to the other model in ndcg@10"),
        (0.05, 0.4, "mine cannot be told from the other model in ndcg@10"),
    ],
)
def test_the_headline_speaks_of_one_other_model_as_of_one(difference, p, said):
    assert headline([PairedTest("ndcg@10", "als", paired(difference, p), p)], "mine", "ndcg@10") == said


def test_a_difference_to_nothing_is_told_in_the_metrics_own_unit():
    tests = [PairedTest("ndcg@10", "als", paired(0.05, 0.001, None), 0.001)]
    assert list(sentences(tests, "mine", ["ndcg@10"])) == [
        "In ndcg@10, mine is better than als by 0.0500 (0.0400–0.0600)."
    ]
    assert tests[0].as_dict()["relative"] is None


@pytest.mark.parametrize(
    ("difference", "p", "passed", "words"),
    [
        (-0.05, 0.001, False, "is worse than"),
        (-0.05, 0.06, True, "is not significantly worse than"),
        (0.05, 0.001, True, "is better than"),
        (0.0, 1.0, True, "is not significantly worse than"),
    ],
)
def test_the_gate_closes_for_what_is_significantly_worse_by_its_own_p_value(difference, p, passed, words):
    decided = gate(PairedTest("ndcg@10", "models/old/1", paired(difference, p, 10 * difference), 1.0))
    assert decided.passed is passed
    assert words in decided.sentence


def test_a_cost_counts_seconds_and_the_memory_on_top():
    made, cost = costing(lambda: np.ones(32 << 20, np.uint8).sum())
    assert made == 32 << 20
    assert cost.seconds > 0
    assert cost.peak_memory_bytes is None or cost.peak_memory_bytes >= 24 << 20


def test_a_tuned_baseline_has_the_setting_that_is_best_on_what_the_default_model_holds_out(split):
    validation = hold_out(split.train, 3)
    grid = [{"power": power, "popularity": popularity} for power in (0.0, 0.5) for popularity in (0.1, 50.0)]
    worth = []
    for setting in grid:
        model = tm.co_purchase(validation.log, **setting)
        shown = tm.recommend(model, model.users.at(validation.users), k=100).lists
        worth.append(
            float(measure(shown, validation.held_out, at=[100], products=150).values["ndcg@100"].mean())
        )
    best = tuned(lambda log, setting: tm.co_purchase(log, **setting), grid, split.train, seed=3, threads=None)
    assert best.record.metrics["tuned"] == {
        "trials": 4,
        "best": grid[int(np.argmax(worth))],
        "ndcg@100": max(worth),
    }
    assert np.array_equal(
        best.product_bias, tm.co_purchase(split.train, **grid[int(np.argmax(worth))]).product_bias
    )


def test_a_log_too_small_to_hold_anything_out_takes_the_first_setting():
    log = log_of((1, "hat"), (2, "sock"))
    grid = [{"power": 0.5}, {"power": 0.0}]
    model = tuned(lambda part, setting: tm.co_purchase(part, **setting), grid, log, seed=0, threads=None)
    assert model.record.metrics["tuned"] == {"trials": 2, "best": {"power": 0.5}, "ndcg@100": None}


def test_few_hits_and_products_unknown_to_train_are_told(split):
    user = int(split.held_out.user_rows[0])
    alone = split.held_out.take(split.held_out.user_rows == user)
    found = compare(split.train, alone, models=["co-purchase"])
    assert any(note.startswith("Of 1 user ") and "say little" in note for note in found.notes)
    sold = split.train.products.ids.to_list()[:-50]
    narrow = tm.read_purchases(
        pl.DataFrame(
            {
                "user": split.train.users.at(split.train.user_rows),
                "product": split.train.products.at(split.train.product_rows),
            }
        ).filter(pl.col("product").is_in(sold))
    )
    found = compare(narrow, split.held_out, models=["best-sellers"])
    known = split.held_out.users.at(split.held_out.user_rows).is_in(narrow.users.ids.implode())
    strange = ~split.held_out.products.at(split.held_out.product_rows).is_in(narrow.products.ids.implode())
    expected = f"{(known & strange).sum():,} held-out purchases are of products that TRAIN does not know"
    assert any(note.startswith(expected) for note in found.notes)
    assert not any("say little" in note for note in found.notes)


def test_segments_of_other_users_are_refused(split):
    other = Segments("city", "user", ("here", "unknown"), np.zeros(3, np.int32))
    with pytest.raises(DataError, match="by city are of 3 users"):
        compare(
            split.train, split.held_out, models=["best-sellers"], measure=tm.Measurement(segments=[other])
        )
