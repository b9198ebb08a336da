"""A warm start: what the older model knows keeps its vectors, what is new starts as usual, and the last epochs are run."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from beside_worlds import events as beside_events
from beside_worlds import log_of as beside_log
from tastemaker.data.reading.readers import read_held_out, read_purchases
from tastemaker.data.synthetic.shop import make_shop
from tastemaker.errors import SettingProblem, TrainingInterrupted
from tastemaker.evaluation.evaluate import evaluate
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.checkpoint import Checkpoints
from tastemaker.training.learners.composed import Composed
from tastemaker.training.learners.free_users import FreeUsers
from tastemaker.training.progress import nobody
from tastemaker.training.train import Recovery, train
from tastemaker.training.warm_start import first_epoch, warm_settings

CONFIGS = {
    "workshop": preset("workshop").changed(
        {"dimensions": 8, "epochs": 6, "negatives": 20, "batch": 128, "learning_rate": 20.0}
    ),
    "default": preset("default").changed(
        {"dimensions": 9, "epochs": 6, "count_weight": 1.0, "ridge_weight": 0.5, "trend_weight": 0.0}
    ),
}


@pytest.fixture(scope="module")
def logs():
    """Four fifths of a log, the log, and a part of its future; some users and products are only in the longer one."""
    shop = make_shop(users=500, products=200, purchases=6_000, seed=5).purchases
    frame = pl.DataFrame(
        {"user_id": shop.users.at(shop.user_rows), "product_id": shop.products.at(shop.product_rows)}
    )
    place = pl.Series(np.random.default_rng(0).random(len(frame)))
    few = (frame["product_id"].cast(pl.Int64) % 9 > 0) & ~frame["user_id"].str.ends_with("7")
    old, new = frame.filter((place < 0.7) & few), read_purchases(frame.filter(place < 0.85))
    held_out = read_held_out(frame.filter(place >= 0.85), new.users, new.products).purchases
    return read_purchases(old), new, held_out


@pytest.fixture(scope="module", params=CONFIGS)
def old(request, logs):
    return train(logs[0], CONFIGS[request.param], seed=1)


def common(new, old):
    """Return the rows of the ids that both know, and of those that only the new one knows."""
    here = [row for row, id in enumerate(new.ids) if id in set(old.ids)]
    there = [old.ids.to_list().index(new.ids[row]) for row in here]
    only = sorted(set(range(len(new))) - set(here))
    assert here
    assert only
    return here, there, only


def warmed(learner, old):
    with ThreadPool(1) as pool:
        learner.warm_from(old, watch=nobody, pool=pool)
    return learner


def test_the_last_three_fifths_of_the_epochs_are_run(logs, old):
    model = train(logs[1], warm_settings(old, {}), start_from=old)
    assert [epoch.epoch for epoch in model.record.epochs] == [3, 4, 5, 6]
    assert model.record.config == old.record.config
    assert model.record.metrics["started_from"] == logs[0].fingerprint()
    assert [first_epoch(preset("workshop").changed({"epochs": n})) for n in (1, 2, 3, 4, 9, 10)] == [
        1, 1, 2, 2, 4, 5,
    ]  # fmt: skip


def test_free_users_and_products_that_are_known_keep_their_vectors_and_new_ones_start_as_usual(logs):
    config, log = CONFIGS["workshop"], logs[1]
    old = train(logs[0], config, seed=1)
    learner, usual = FreeUsers.start(log, config, 2), FreeUsers.start(log, config, 2)
    warmed(learner, old)
    for table, start, kept, (new_ids, old_ids) in (
        (
            learner.product_vectors,
            usual.product_vectors,
            old.product_vectors,
            (log.products, logs[0].products),
        ),
        (learner.user_vectors, usual.user_vectors, old.user_vectors, (log.users, logs[0].users)),
    ):
        here, there, only = common(new_ids, old_ids)
        assert table[here, :8].tolist() == kept[there].tolist()
        assert table[only].tolist() == start[only].tolist()


@pytest.mark.parametrize(("horizon", "kept"), [(6, 1.0), (12, 0.25)])
def test_products_that_are_known_keep_the_direction_of_their_vectors(logs, horizon, kept):
    config, log = CONFIGS["default"].changed({"horizon": horizon}), logs[1]
    old = train(logs[0], config, seed=1)
    learner = warmed(Composed.start(log, config, 2), old)
    usual = Composed.start(log, config, 2)
    here, there, only = common(log.products, logs[0].products)
    vectors = np.concatenate([m.vectors[here, : m.dimensions] for m in learner.members], axis=1)
    assert vectors == pytest.approx(kept * 2**0.5 * old.product_vectors[there], rel=1e-5)
    for member, start in zip(learner.members, usual.members, strict=True):
        assert member.vectors[only].tolist() == start.vectors[only].tolist()
        assert member.bias.tolist() == start.bias.tolist()
        assert all((squares > 0).any() and np.isfinite(squares).all() for squares in member.squares)


def test_a_warm_start_gives_the_same_bytes_at_any_number_of_threads_and_when_resumed(logs, old, tmp_path):
    config = warm_settings(old, {"epochs": 9})
    one, four = (train(logs[1], config, seed=4, threads=n, start_from=old) for n in (1, 4))
    assert one.product_vectors.tobytes() == four.product_vectors.tobytes()

    def watch(step):
        if step.stage == "learning" and step.epoch == 9:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match="checkpoint of epoch 8"):
        train(
            logs[1],
            config,
            seed=4,
            start_from=old,
            recovery=Recovery(checkpoints=Checkpoints(tmp_path)),
            progress=watch,
        )
    resumed = train(logs[1], config, seed=4, start_from=old, recovery=Recovery(resume=tmp_path))
    assert resumed.product_vectors.tobytes() == one.product_vectors.tobytes()
    assert resumed.record.metrics == one.record.metrics
    with pytest.raises(SettingProblem, match="a model to start from"):
        train(logs[1], config, seed=4, recovery=Recovery(resume=tmp_path))


def test_a_warm_start_ranks_nearly_as_well_as_all_epochs_from_scratch_and_better_than_as_few(logs):
    config = CONFIGS["default"].changed({"epochs": 12, "dimensions": 32})
    few = config.changed({"epochs": 8})
    seeds = range(4)  # one seed alone differs by more than what a warm start gains on so small a shop

    def quality(model):
        return evaluate(model, logs[2], at=(20,)).metrics["ndcg@20"].mean

    scratch = np.array([quality(train(logs[1], config, seed=s)) for s in seeds])
    warm = np.array(
        [quality(train(logs[1], config, seed=s, start_from=train(logs[0], config, seed=s))) for s in seeds]
    )
    short = np.array([quality(train(logs[1], few, seed=s)) for s in seeds])
    assert warm.mean() > short.mean(), (warm, short)
    assert warm.mean() > 0.97 * scratch.mean(), (warm, scratch)


def test_chosen_settings_are_kept_unless_they_are_asked_to_choose_again(logs):
    config = preset("default").changed({"dimensions": 8, "horizon": 6})
    old = train(logs[0], config, seed=1)
    kept = warm_settings(old, {})
    assert (kept, kept.chooses) == (old.record.config, False)
    assert warm_settings(old, {"epochs": "4"}).epochs == 4
    again = warm_settings(old, {"count_weight": "auto", "epochs": "auto"})
    assert again.chooses
    stages = set()
    train(logs[1], again, seed=1, start_from=old, progress=lambda step: stages.add(step.stage))
    assert stages == {"choosing", "warming up", "learning"}


def test_a_model_of_another_kind_is_refused(logs, old):
    config = warm_settings(old, {})
    with pytest.raises(SettingProblem, match=rf"has dimensions {config.taste.dimensions} and not 5; leave"):
        train(logs[1], config.changed({"dimensions": 5}), start_from=old)
    other = CONFIGS["default" if config.preset == "workshop" else "workshop"]
    with pytest.raises(SettingProblem, match=rf"has query {config.taste.query} and not {other.query}"):
        train(logs[1], other, start_from=old)


def test_a_baseline_has_nothing_to_start_from(logs):
    with pytest.raises(SettingProblem, match="is a baseline"):
        warm_settings(best_sellers(logs[0]), {})
    with pytest.raises(SettingProblem, match="is a baseline"):
        train(logs[1], CONFIGS["workshop"], start_from=best_sellers(logs[0]))


def test_a_log_without_any_known_product_is_learned_from_the_usual_start(old):
    log = read_purchases(pl.DataFrame({"user_id": ["a", "a", "b"], "product_id": [1, 2, 2]}))
    model = train(log, warm_settings(old, {}), start_from=old)
    assert model.finite()


BESIDE = {
    "dimensions": 6, "epochs": 3, "horizon": 3, "tokens.columns": "context:occasion,product:made_for", "kinds.own": "",
    "kinds.after": "", "kinds.taste": "", "kinds.places": 0.0, "kinds.days": 0.0, "live.rate": 0.0, "live.half_life": 30.0,
    "live.fold_in": 0.0, "live.dial": 0.0, "live.young": 0.0,
    "memory.count_weight": 0.0, "memory.ridge_weight": 0.0, "trend.weight": 0.0,
    "memory.directed_weight": 0.0, "memory.spectral_weight": 0.0,
}  # fmt: skip


def test_products_and_attributes_keep_their_vectors_and_no_attribute_counts_twice():
    config = preset("default").changed(BESIDE)
    old = train(beside_log(beside_events(60)), config)
    learner = warmed(Composed.start(beside_log(beside_events(80)), config, 2), old)
    taste = learner.taste()
    here, there = (
        [row for row, id in enumerate(log.ids) if id in set(old.products.ids)]
        for log in (learner.log.products, old.products)
    )
    np.testing.assert_allclose(taste.vectors[here], old.product_vectors[there], atol=1e-5)
    columns = learner.beside.columns
    for now, before in zip(columns, (old.tokens.context, old.tokens.users, old.tokens.products), strict=True):
        ours = {now.label(now.first + place): now.first + place for place in range(now.size)}
        theirs = {before.label(before.first + place): before.first + place for place in range(before.size)}
        assert ours.keys() == theirs.keys()
        for label, token in ours.items():
            np.testing.assert_allclose(taste.tokens[token], old.tokens.vectors[theirs[label]], atol=1e-5)
