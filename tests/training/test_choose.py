"""Settings that choose themselves: from train alone, by the rules stated, and the same ones every time."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tastemaker.data.purchases import Purchases
from tastemaker.data.synthetic.shop import make_shop
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.training.progress import nobody
from tastemaker.training.selection import choose, validation
from tastemaker.training.selection.choose import choose_settings, decay_for, horizon_for
from tastemaker.training.train import train

PAIRS_ALONE = {
    "directed_weight": 0.0,
    "number_weight": 0.0,
    "popularity_tail": 0.0,
    **dict.fromkeys(
        ("taste_places", "taste_days", "memory_places", "memory_days", "taste_strength", "memory_strength"),
        0.0,
    ),
    "live_rate": 0.0,
    "live_half_life": 30.0,
    "live_fold_in": 0.0,
    "live_dial": 0.0,
    "live_young": 0.0,
    "kinds_own": "",
    "kinds_after": "",
    "kinds_taste": "",
    "kinds_places": 0.0,
    "kinds_days": 0.0,
}
"""Nothing is chosen of what times tell: the tests of `choose_in_time` are in a file of their own."""
SMALL = {"dimensions": 8, "negatives": 24, "horizon": 10, "ridge_neighbours": 10, **PAIRS_ALONE}


@pytest.fixture(scope="module")
def timed(split):
    """A log with times."""
    assert split.train.times is not None
    return split.train


@pytest.fixture(scope="module")
def untimed(split):
    return dataclasses.replace(split.train, times=None)


@pytest.fixture
def splits(monkeypatch):
    """What is held out while settings are chosen: every split that is made, in order."""
    made = []
    for name in ("hold_out_time", "hold_out_random"):
        whole = getattr(validation, name)

        def recorded(*given, whole=whole, name=name, **options):
            made.append((name, split := whole(*given, **options)))
            return split

        monkeypatch.setattr(validation, name, recorded)
    return made


def chosen(log, changes=None, *, seed=1, threads=2):
    config = preset("default").changed(SMALL | (changes or {}))
    with ThreadPool(threads) as pool:
        return choose_settings(log, config, seed, pool=pool, watch=nobody)


def log_of(pairs, times=None):
    users, products = np.array(pairs, np.int32).reshape(-1, 2).T
    return Purchases(
        Vocabulary.of([f"u{row:04}" for row in range(int(users.max()) + 1)], noun="user"),
        Vocabulary.of([f"p{row:04}" for row in range(int(products.max()) + 1)], noun="product"),
        np.ascontiguousarray(users),
        np.ascontiguousarray(products),
        None if times is None else np.array(times, np.int64),
    )


def purchases_of(log):
    times = [0] * len(log) if log.times is None else log.times.tolist()
    return sorted(zip(log.user_rows.tolist(), log.product_rows.tolist(), times, strict=True))


def lists_of(histories):
    return [histories.of(row).tolist() for row in range(len(histories.offsets) - 1)]


# --- What is held out ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["timed", "untimed"])
def test_what_is_held_out_and_what_is_learned_from_are_parts_of_the_log(kind, request, splits):
    log = request.getfixturevalue(kind)
    made = validation.hold_out(log, 1)
    ((name, split),) = splits
    assert name == {"timed": "hold_out_time", "untimed": "hold_out_random"}[kind]
    assert purchases_of(log) == sorted(purchases_of(split.train) + purchases_of(split.held_out))
    assert purchases_of(made.log) == purchases_of(split.train)
    assert made.description == split.description
    if kind == "timed":
        assert split.train.times.max() < split.held_out.times.min()


@pytest.mark.parametrize("kind", ["timed", "untimed"])
def test_users_are_judged_by_what_was_held_out_of_them_and_new_to_them_and_known_to_others(
    kind, request, splits
):
    log = request.getfixturevalue(kind)
    if kind == "timed":  # repeat some purchases on the last day, so that not all that is held out is new
        again = np.arange(0, len(log), 20)
        log = dataclasses.replace(
            log,
            user_rows=np.concatenate((log.user_rows, log.user_rows[again])),
            product_rows=np.concatenate((log.product_rows, log.product_rows[again])),
            times=np.concatenate((log.times, np.full(len(again), log.times.max()))),
            quantities=None,
        )
    made = validation.hold_out(log, 1)
    before, after = lists_of(splits[0][1].train.histories()), lists_of(splits[0][1].held_out.histories())
    sold = {product for basket in before for product in basket}
    wanted = {}
    for user, (basket, later) in enumerate(zip(before, after, strict=True)):
        fresh = [product for product in later if product in sold and product not in basket]
        if basket and fresh:
            wanted[user] = (basket, fresh)
    assert made.users.tolist() == list(wanted)
    assert lists_of(made.baskets) == [basket for basket, _ in wanted.values()]
    assert lists_of(made.held_out) == [fresh for _, fresh in wanted.values()]
    assert len(wanted) < len(before)


def test_of_many_users_some_are_judged_by_their_own_lists(timed, monkeypatch):
    everybody = validation.hold_out(timed, 1)
    monkeypatch.setattr(validation, "MOST_USERS", 40)
    some = validation.hold_out(timed, 1)
    assert len(some.users) == 40 < len(everybody.users)
    assert (np.diff(some.users) > 0).all()
    places = [everybody.users.tolist().index(user) for user in some.users.tolist()]
    for part in ("baskets", "held_out"):
        whole = lists_of(getattr(everybody, part))
        assert lists_of(getattr(some, part)) == [whole[place] for place in places]
    assert validation.hold_out(timed, 1).users.tolist() == some.users.tolist()
    assert validation.hold_out(timed, 2).users.tolist() != some.users.tolist()


def test_so_many_products_that_few_users_fit_still_judge_by_thirty(timed, monkeypatch):
    monkeypatch.setattr(validation, "MOST_SCORES", 150)
    assert len(validation.hold_out(timed, 1).users) == 30


def test_a_thorough_training_judges_by_four_times_as_many_users(untimed, monkeypatch):
    asked = []
    whole = validation.hold_out
    monkeypatch.setattr(choose, "hold_out", lambda *log, many: asked.append(many) or whole(*log, many=many))
    for effort in ("standard", "thorough"):
        train(untimed, preset("default", effort=effort).changed(SMALL, epochs=1), progress=False)
    assert asked == [False, True]
    monkeypatch.setattr(validation, "MOST_USERS", 35)
    monkeypatch.setattr(validation, "MANY_USERS", 140)
    assert len(whole(untimed, 1).users) == 35
    assert 35 < len(whole(untimed, 1, many=True).users) <= 140
    assert validation.many_bytes(untimed) == 4 * min(140, len(untimed.users)) * len(untimed.products)


def test_times_of_one_moment_or_with_too_few_users_at_their_end_are_passed_over(timed, splits):
    one_moment = dataclasses.replace(timed, times=np.zeros(len(timed), np.int64))
    late_few = timed.times.copy()
    late_few[:] = np.arange(len(timed)) % 1000
    late_few[:20] = 10_000  # all that is left in the last tenth
    for log in (one_moment, dataclasses.replace(timed, times=late_few)):
        splits.clear()
        made = validation.hold_out(log, 1)
        assert splits[-1][0] == "hold_out_random"
        assert made.description == splits[-1][1].description


def test_a_file_given_to_measure_with_changes_nothing(timed, split):
    """Not the settings, and not a byte of the model."""
    config = preset("default").changed(SMALL)
    alone = train(timed, config, seed=3)
    measured = train(timed, config, valid=split.held_out, seed=3)
    assert alone.record.config == measured.record.config
    assert alone.record.metrics == measured.record.metrics
    assert alone.product_vectors.tobytes() == measured.product_vectors.tobytes()
    assert alone.memory.weights.tobytes() == measured.memory.weights.tobytes()
    assert measured.record.epochs[-1].valid_loss is not None


# --- What is chosen ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["timed", "untimed"])
def test_nothing_is_left_open_and_the_measurements_are_told(kind, request):
    settled, told = chosen(request.getfixturevalue(kind))
    assert not settled.chooses
    assert settled.decay is not None
    assert settled.horizon == 10
    assert str(settled.epochs) == max(told["by_epoch"], key=told["by_epoch"].get)  # the first of the best
    assert told["taste"] == told["by_epoch"][str(settled.epochs)]
    assert told["with_memory"] >= told["taste"] > 0
    assert told["measure"] == "ndcg@100"
    if kind == "untimed":
        assert settled.trend_weight == 0


def test_looks_begin_at_two_fifths_of_the_horizon_and_end_with_it(timed):
    _, told = chosen(timed, {"horizon": 20, "count_weight": 0.0, "ridge_weight": 0.0, "trend_weight": 0.0})
    assert list(told["by_epoch"]) == ["8", "10", "12", "14", "16", "18", "20"]
    _, told = chosen(timed, {"horizon": 1})
    assert list(told["by_epoch"]) == ["1"]


def test_the_same_settings_are_chosen_again_with_any_number_of_threads(timed):
    first = chosen(timed, threads=1)
    assert chosen(timed, threads=1) == first
    assert chosen(timed, threads=3) == first


FIXED = {"epochs": 7, "count_weight": 1.5, "ridge_weight": 3.0, "trend_weight": 0.2, "decay": 0.01}


def test_settings_that_are_all_given_stay_and_nothing_is_measured(timed, splits):
    config = preset("default").changed(SMALL | FIXED)
    nothing = {
        "repeat_weight": 0.0,
        "repeat_sales": 0.0,
        "repeat_level": 0.0,
        "spectral_weight": 0.0,
        "objective": "softmax",
    }  # nothing to find here
    assert chosen(timed, FIXED) == (config.changed(nothing), {})
    assert splits == []


@pytest.mark.parametrize("name", FIXED)
def test_a_given_setting_stays_while_the_others_choose_themselves(timed, name):
    settled, _ = chosen(timed, {name: FIXED[name]})
    assert getattr(settled, name) == FIXED[name]
    assert not settled.chooses
    untouched = preset("default").changed(SMALL)
    for setting, value in untouched.to_json().items():
        if setting not in {*FIXED, "spectral_weight", "objective"} and not setting.startswith("repeat_"):
            assert settled.to_json()[setting] == value


@pytest.mark.parametrize("epochs", [None, 10])
def test_weights_are_chosen_on_the_taste_of_the_best_epoch_or_of_the_epochs_that_are_given(
    epochs, timed, monkeypatch
):
    """Every look measures less than the one before it."""
    looks, weighed = [], []

    def ndcgs(validation, config, taste, tables, weights, pool):
        (looks if tables is None else weighed).append(taste)
        return [1 / len(looks) for _ in weights]

    for module in (choose, validation):
        monkeypatch.setattr(module, "ndcgs", ndcgs)
    settled, told = chosen(timed, {} if epochs is None else {"epochs": epochs})
    assert len(looks) == 7
    wanted = looks[0 if epochs is None else -1]
    assert all(taste.tobytes() == wanted.tobytes() for taste in weighed)
    assert settled.epochs == (4 if epochs is None else 10)
    assert told["taste"] == (1 if epochs is None else 1 / 7) == told["by_epoch"][str(settled.epochs)]


def test_the_taste_that_is_told_is_that_of_taste_alone_though_weights_are_given(timed):
    free, given = chosen(timed)[1], chosen(timed, {"count_weight": 64.0, "trend_weight": 1.0})[1]
    assert given["taste"] == free["taste"] != given["with_memory"]


# --- Weights -----------------------------------------------------------------------------------------------------------------


def weights_by(monkeypatch, log, worth, changes=None):
    """Choose weights where ``worth(counts, ridge, trend)`` is what any weights are worth."""

    def ndcgs(validation, config, taste, tables, weights, pool):
        return [0.1 if tables is None else worth(*each) for each in weights]

    for module in (choose, validation):
        monkeypatch.setattr(module, "ndcgs", ndcgs)
    settled, told = chosen(log, changes)
    return (settled.count_weight, settled.ridge_weight, settled.trend_weight), told


def test_the_smallest_weight_within_half_a_percent_of_the_best_is_taken(timed, monkeypatch):
    """2 is best with .1050; half a percent less is .104475, which .5 reaches and .25 does not."""
    by_count = {0.0: 0.1, 0.25: 0.1044, 0.5: 0.1046, 1.0: 0.1049, 2.0: 0.1050}
    weights, told = weights_by(monkeypatch, timed, lambda counts, ridge, trend: by_count.get(counts, 0.1))
    assert weights == (0.5, 0.0, 0.0)
    assert (told["taste"], told["with_memory"]) == (0.1, 0.1046)


def test_a_weight_that_brings_less_than_half_a_percent_is_left_out(timed, monkeypatch):
    weights, _ = weights_by(monkeypatch, timed, lambda counts, ridge, trend: 0.1 + 1e-5 * min(counts, 16))
    assert weights == (0.0, 0.0, 0.0)


def test_weights_far_from_zero_are_found(timed, monkeypatch):
    """Each has one peak of its own: 8, 32 and .3."""

    def worth(counts, ridge, trend):
        return 1 / (1 + abs(counts - 8) / 8 + abs(ridge - 32) / 32 + abs(trend - 0.3))

    assert weights_by(monkeypatch, timed, worth)[0] == (8.0, 32.0, 0.3)


def test_weights_that_matter_only_together_are_found_around_twice(timed, monkeypatch):
    """The best count weight depends on the ridge weight, which is chosen after it."""

    def worth(counts, ridge, trend):
        return 1 / (1 + abs(counts - (4 if ridge == 8 else 1)) / 10 + abs(ridge - 8) / 4)

    assert weights_by(monkeypatch, timed, worth)[0] == (4.0, 8.0, 0.0)


def test_weights_above_64_are_tried_only_where_64_is_chosen(timed, monkeypatch):
    for peak, tried_beyond in ((16, False), (100, True)):
        tried = set()

        def worth(counts, ridge, trend, peak=peak, tried=tried):
            tried.add(ridge)
            return 1 / (1 + abs(np.log(max(ridge, 0.1) / peak)))

        ridge = weights_by(monkeypatch, timed, worth)[0][1]
        assert ridge == (128.0 if tried_beyond else 16.0)
        assert (256.0 in tried) == tried_beyond


def test_without_times_no_trend_is_tried(untimed, monkeypatch):
    tried = set()

    def worth(counts, ridge, trend):
        tried.add(trend)
        return 0.1 + trend

    assert weights_by(monkeypatch, untimed, worth)[0][2] == 0.0
    assert tried == {0.0}


def test_a_given_weight_is_the_only_one_tried(timed, monkeypatch):
    tried = set()

    def worth(counts, ridge, trend):
        tried.add(counts)
        return 0.1 + counts + ridge

    weights, _ = weights_by(monkeypatch, timed, worth, {"count_weight": 3.0})
    assert weights == (3.0, 256.0, 0.0)
    assert tried == {3.0}


def test_a_log_where_a_product_brings_its_partner_chooses_a_memory():
    """Pairs of products are bought together and nothing else says anything: 8 dimensions cannot hold 150 pairs, a table can."""
    rng = np.random.default_rng(0)
    pairs = rng.permuted(np.tile(np.arange(150), (400, 1)), axis=1)[:, :3]
    bought = [(user, 2 * pair + side) for user, row in enumerate(pairs) for pair in row for side in (0, 1)]
    settled, told = chosen(log_of(bought))
    assert settled.count_weight + settled.ridge_weight > 0
    assert told["with_memory"] > 1.1 * told["taste"]


# --- Logs too small, and of any shape ------------------------------------------------------------------------------------------

TINY = {
    "one purchase": [(0, 0)],
    "one purchase made again and again": [(0, 0)] * 4,
    "one product": [(u, 0) for u in range(9)],
    "a product each": [(u, u) for u in range(9)],
}


@pytest.mark.parametrize("pairs", TINY.values(), ids=TINY)
@pytest.mark.parametrize("dated", [False, True])
def test_a_log_too_small_to_hold_anything_out_gets_the_middle_of_the_road(pairs, dated):
    log = log_of(pairs, range(len(pairs)) if dated else None)
    settled, told = chosen(log)
    assert list(told) == ["chosen"]
    assert "nothing could be held out" in told["chosen"]
    assert (settled.epochs, settled.horizon) == (10, 10)
    assert (settled.count_weight, settled.ridge_weight, settled.trend_weight) == (0.0, 0.0, 0.0)
    model = train(log, preset("default").changed(SMALL), seed=1)
    assert model.finite()


@pytest.mark.parametrize(
    "shape",
    [(1, 40, 30), (30, 2, 50), (25, 25, 25 * 25), (60, 300, 90)],
    ids=lambda shape: "x".join(map(str, shape)),
)
@pytest.mark.parametrize("dated", [False, True])
def test_logs_of_any_shape_choose_and_train(shape, dated):
    users, products, purchases = shape
    log = make_shop(users=users, products=products, purchases=purchases, seed=2).purchases
    log = log if dated else dataclasses.replace(log, times=None)
    model = train(log, preset("default").changed(SMALL), seed=1)
    assert model.finite()
    assert not model.record.config.chooses


def test_users_all_alike_choose_and_train():
    log = log_of([(user, product) for user in range(40) for product in range(6)])
    model = train(log, preset("default").changed(SMALL), seed=1)
    assert model.finite()


# --- Rules of thumb ------------------------------------------------------------------------------------------------------------


def test_a_longer_log_is_passed_over_less_often():
    assert [horizon_for(n) for n in (0, 1, 10_000, 110_000, 165_042, 275_000, 10**9)] == [
        32,
        32,
        32,
        20,
        13,
        8,
        8,
    ]


def test_decay_falls_with_the_mean_history():
    """Ten products a user or fewer get .07, forty half of it; users without a purchase do not count."""
    few = log_of([(user, product) for user in range(5) for product in range(10)])
    many = log_of([(2 * user, product) for user in range(5) for product in range(40)])
    assert decay_for(log_of([(0, 0)])) == pytest.approx(0.07)
    assert decay_for(few) == pytest.approx(0.07)
    assert decay_for(many) == pytest.approx(0.035)
    assert chosen(many, {"horizon": 2})[0].decay == pytest.approx(0.07 * math.sqrt(10 / 40))
