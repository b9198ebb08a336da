"""What repeats weigh is chosen last, on a part held out of train that repeats purchases, and changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.model.settings import RepeatSettings
from tastemaker.ranking.recommend import recommend
from tastemaker.training.memory.repeats import repeat_bias
from tastemaker.training.progress import nobody
from tastemaker.training.selection import choose_repeats as choosing
from tastemaker.training.selection import validation
from tastemaker.training.selection.choose import choose_settings
from tastemaker.training.selection.in_time import STEADY
from tastemaker.training.train import train

SMALL = {"dimensions": 8, "negatives": 24, "horizon": 6, "ridge_neighbours": 10}
DAY = 86_400_000_000
NOTHING = (0.0, 0.0, 0.0)


def log_of(lines, *, timed=True):
    """A log of (user, product, day)."""
    users, products, days = np.array(lines, np.int64).T
    return Purchases(
        Vocabulary.of([f"u{row:04}" for row in range(int(users.max()) + 1)], noun="user"),
        Vocabulary.of([f"p{row:04}" for row in range(int(products.max()) + 1)], noun="product"),
        users.astype(np.int32),
        products.astype(np.int32),
        days * DAY if timed else None,
    )


def refills(*, users=120, products=60, staples=3, timed=True, seed=0):
    """A log in which each user buys few products of their own again and again, and something else each time."""
    rng = np.random.default_rng(seed)
    lines = []
    for user in range(users):
        own = rng.choice(products, staples, replace=False)
        for day in range(0, 100, 10):
            lines += [(user, p, day) for p in [*own[rng.random(staples) < 0.7], rng.integers(products)]]
    lines.sort(key=lambda line: line[2])
    return log_of(lines, timed=timed)


def once(*, users=150, products=40, again=0, seed=1):
    """A log in which hardly anybody buys anything again: ``again`` pairs only."""
    rng = np.random.default_rng(seed)
    lines = [
        (user, int(product), day)
        for user in range(users)
        for day, product in zip((5, 30, 60, 96, 99), rng.choice(products, 5, replace=False), strict=True)
    ]
    return log_of([*lines, *[(user, product, 98) for user, product, day in lines if day == 5][:again]])


def chosen(log, changes=None, *, threads=2, watch=nobody):
    config = preset("default").changed(SMALL | (changes or {}))
    with ThreadPool(threads) as pool:
        return choose_settings(log, config, 1, pool=pool, watch=watch)


def of(settled):
    return settled.repeat_weight, settled.repeat_sales, settled.repeat_level


def lists_of(histories):
    return [histories.of(row).tolist() for row in range(len(histories.offsets) - 1)]


# What is held out ------------------------------------------------------------------------------------------------


def test_where_there_are_times_what_came_last_judges_what_was_bought_before_too():
    log = refills()
    made = validation.hold_out_repeats(log, 1)
    assert made.by_time
    border = made.log.times.max()
    assert (log.times[len(made.log) :] > border).all()
    later = log.take(log.times > border)
    assert len(made.log) + len(later) == len(log)
    sold = set(made.log.product_rows.tolist())
    expected = {u: [p for p in later.histories().of(u).tolist() if p in sold] for u in range(120)}
    assert made.users.tolist() == [user for user, wanted in expected.items() if wanted]
    assert lists_of(made.held_out) == [wanted for wanted in expected.values() if wanted]
    assert lists_of(made.baskets) == [made.log.histories().of(user).tolist() for user in made.users]
    assert any(set(a) & set(b) for a, b in zip(lists_of(made.held_out), lists_of(made.baskets), strict=True))
    assert not made.own.any()


def test_without_times_the_last_fifth_of_each_users_lines_does():
    log = refills(users=9, timed=False)
    made = validation.hold_out_repeats(log, 1)
    assert not made.by_time
    for user in range(9):
        lines = log.product_rows[log.user_rows == user].tolist()
        kept = len(lines) - int(len(lines) / 5 + 0.5)
        assert made.log.product_rows[made.log.user_rows == user].tolist() == lines[:kept]
        held = set(lines[kept:]) & set(made.log.product_rows.tolist())
        assert set(made.held_out.of(made.users.tolist().index(user)).tolist()) == held


def test_lines_that_stand_side_by_side_are_in_no_order_of_time():
    """A file that is sorted by user and product ends with each user's last product, whatever they bought last."""
    log = refills(timed=False)
    grouped = log.take(np.lexsort((log.product_rows, log.user_rows)))
    assert validation.hold_out_repeats(grouped, 1) is None
    assert of(chosen(grouped)[0]) == NOTHING


def test_users_of_whom_nothing_can_be_held_out_judge_nothing():
    assert validation.hold_out_repeats(log_of([(0, 0, 0), (0, 0, 1)]), 1) is None
    assert of(chosen(log_of([(0, 0, 0), (0, 0, 1)]))[0]) == NOTHING


# What is chosen ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timed", [True, False])
def test_where_users_refill_repeats_weigh_and_find_more(timed):
    settled, told = chosen(refills(timed=timed))
    assert settled.repeat_weight > 0
    assert told["repeats"]["with"] > 1.2 * told["repeats"]["without"]
    assert told["repeats"]["users"] > 100
    assert not settled.chooses_repeats


def test_a_refiller_gets_first_what_they_bought_most_often():
    log = refills()
    model = train(log, preset("default").changed(SMALL), seed=1)
    assert len(model.history_times) == len(model.histories.products)
    lists = recommend(model, model.users.ids, k=3, include_purchased=True)
    hits = []
    for user, (rows, _) in enumerate(lists.lists):
        start, end = model.histories.offsets[user : user + 2]
        often = model.histories.products[start:end][np.argsort(-model.history_times[start:end])[:3]]
        hits.append(len(set(often.tolist()) & set(rows.tolist())) / 3)
    assert np.mean(hits) > 0.8


def test_where_nobody_buys_again_nothing_weighs_anything_and_no_more_is_measured():
    settled, told = chosen(once())
    assert of(settled) == NOTHING
    assert "repeats" not in told
    model = train(once(), preset("default").changed(SMALL), seed=1)
    assert (model.history_times, model.repeat_weight, model.repeat_bias) == (None, 0.0, None)


@pytest.mark.parametrize("again", [1, 3])
def test_where_hardly_anybody_buys_again_what_was_bought_sinks(again):
    settled, _ = chosen(once(again=again))
    assert settled.repeat_weight == 0
    assert settled.repeat_level < 0


@pytest.mark.parametrize("timed", [True, False])
def test_the_choice_changes_nothing_else(timed):
    """Neither a setting, nor a byte of what was learned, nor a list without what was bought."""
    log = refills(timed=timed)
    config = preset("default").changed(SMALL)
    off = {"repeat_weight": 0.0, "repeat_sales": 0.0, "repeat_level": 0.0}
    on, without = train(log, config, seed=1), train(log, config.changed(off), seed=1)
    assert on.record.config.changed(off) == without.record.config
    assert {k: v for k, v in on.record.metrics.items() if k != "repeats"} == without.record.metrics
    assert on.product_vectors.tobytes() == without.product_vectors.tobytes()
    assert on.product_bias.tobytes() == without.product_bias.tobytes()
    lists = [recommend(model, model.users.ids, k=60).lists for model in (on, without)]
    assert lists[0].rows.tobytes() == lists[1].rows.tobytes()
    assert lists[0].scores.tobytes() == lists[1].scores.tobytes()


@pytest.mark.parametrize("timed", [True, False])
def test_the_same_is_chosen_again_with_any_number_of_threads(timed):
    log = refills(timed=timed)
    first = chosen(log, threads=1)
    assert chosen(log, threads=1) == first
    assert chosen(log, threads=3) == first


def test_times_need_no_second_model_and_lines_without_times_do():
    for timed, stages in ((True, ["choosing"]), (False, ["choosing", "choosing, repeats"])):
        seen = []
        chosen(refills(timed=timed), watch=lambda step, seen=seen: seen.append(step.stage))
        assert list(dict.fromkeys(seen)) == stages


FIXED = {**STEADY, "epochs": 5, "count_weight": 1.5, "ridge_weight": 0.0, "trend_weight": 0.2}


def test_repeats_choose_themselves_though_all_else_is_given():
    settled, told = chosen(refills(), FIXED)
    assert settled.repeat_weight > 0
    assert list(told) == ["repeats"]
    assert (settled.epochs, settled.count_weight, settled.ridge_weight, settled.trend_weight) == (
        5,
        1.5,
        0,
        0.2,
    )


def test_a_given_weight_stays_while_the_others_choose_themselves():
    settled, _ = chosen(refills(), {"repeat_weight": 0.0, "repeat_sales": 0.0})
    assert of(settled)[:2] == (0, 0)
    assert settled.repeat_level > 0
    assert of(chosen(once(), {"repeat_level": -3.0})[0]) == (0.0, 0.0, -3.0)


def best_of(monkeypatch, worth, log=None):
    """Choose where ``worth`` of what is added to a product bought once and never again is what any weights are worth."""
    seen = {}

    def ndcg(made, config, taste, tables, weights, pool):
        seen[tuple(made.own.tolist())] = True
        return worth(made.own)

    monkeypatch.setattr(choosing, "ndcg", ndcg)
    return of(chosen(log or once(again=2))[0]), seen


def test_of_values_that_are_as_good_the_most_modest_is_taken(monkeypatch):
    assert best_of(monkeypatch, lambda own: 0.5)[0] == NOTHING
    assert best_of(monkeypatch, lambda own: 0.5 + 1e-6 * abs(own).max())[0] == NOTHING


def test_a_level_far_below_zero_is_found(monkeypatch):
    assert best_of(monkeypatch, lambda own: 1 / (1 + abs(own.min() + 4)))[0] == (0.0, 0.0, -4.0)


def test_bias_of_repeats_by_hand():
    """Product 0 is bought again twice by the same user, 1 once, 2 never; without times all of it counts."""
    log = log_of([(0, 0, 0)] * 3 + [(1, 1, 0)] * 2 + [(1, 2, 0)], timed=False)
    config = preset("default").changed({"repeat_weight": 1.0, "repeat_sales": 2.0, "repeat_level": -0.5})
    expected = [2 * np.log(3) - 0.5, 2 * np.log(2) - 0.5, -0.5]
    np.testing.assert_allclose(repeat_bias(log, config.repeats), expected, rtol=1e-6)
    assert repeat_bias(log, RepeatSettings(weight=1.0)) is None
