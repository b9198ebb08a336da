from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from replay_worlds import DAY, START, dated, random_model, random_shop, rows_of, slow_replay

from tastemaker.data.events import Events
from tastemaker.data.past import past_of
from tastemaker.errors import ColumnProblem, NoPurchases, SettingProblem
from tastemaker.evaluation.replay.baselines.every import BASELINES
from tastemaker.evaluation.replay.bench import Terms, bench_of, learned_log
from tastemaker.evaluation.replay.questions import SEGMENTS
from tastemaker.evaluation.replay.ranks import ranks_of
from tastemaker.evaluation.replay.replay import replay
from tastemaker.ranking.live.answers import PlainAnswers
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.baselines.co_purchase import co_purchase
from tastemaker.training.baselines.ease import ease


def ranked(model, later, *, answers=None, **options):
    """{(user, product, time): rank} of a replay."""
    bench = bench_of(model, later, Terms(**options))
    include = bench.terms.include_purchased
    who = answers(bench) if answers else PlainAnswers(model, bench.timeline, include_purchased=include)
    ranks = ranks_of(
        who,
        bench.timeline,
        bench.questions,
        products=bench.products,
        include_purchased=include,
        since=bench.since,
    )
    users = bench.timeline.users.ids.to_list()
    rows = bench.timeline.later[bench.questions.places]
    products = later.products.ids.gather(later.product_rows[rows].tolist()).to_list()
    return {
        (users[user], product, int(time)): rank
        for user, product, time, rank in zip(
            bench.questions.users, products, bench.questions.times, ranks.tolist(), strict=True
        )
    }


MODELS = {
    "composed": random_model,
    "free users": lambda log: random_model(log, free=True),
    "with repeats": lambda log: random_model(log, repeats=True),
    "best sellers": best_sellers,
    "co-purchase": co_purchase,
    "ease": ease,
}


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_replay_equals_one_that_starts_anew_for_every_question(name, include):
    train, later = random_shop(3)
    model = MODELS[name](train)
    expected = slow_replay(model, train, later, include=include)
    assert ranked(model, later, include_purchased=include) == expected
    assert len(expected) > 30
    assert 0 in expected.values()


def after(log, moment, rng):
    """The log with everything after a moment dealt out anew: users, products and times."""
    late = np.flatnonzero(log.times > moment)
    users, products = log.user_rows.copy(), log.product_rows.copy()
    users[late] = rng.integers(0, len(log.users), len(late))
    products[late] = rng.integers(0, len(log.products), len(late))
    times = log.times.copy()
    times[late] += rng.integers(0, 40 * DAY, len(late))
    events = log.events
    later = np.flatnonzero(events.times > moment)
    rows = events.product_rows.copy()
    rows[later] = rng.permutation(rows[later])
    changed = replace(events, product_rows=rows)
    return replace(log, user_rows=users, product_rows=products, times=times, events=changed)


def looks_ahead(model, later, answers, **options):
    """Whether an answer before a moment changes when what happens after it does."""
    moment = int(np.median(later.times))
    before = ranked(model, later, answers=answers, **options)
    changed = ranked(model, after(later, moment, np.random.default_rng(1)), answers=answers, **options)
    early = {key: rank for key, rank in before.items() if key[2] <= moment}
    assert early
    return early != {key: rank for key, rank in changed.items() if key[2] <= moment}


class Leak(PlainAnswers):
    """Answers that know what each user will do."""

    def answer(self, asked):
        ahead = np.full(len(asked), len(self.timeline))
        seen = self.timeline.of(asked.users, ahead)
        scoring = super().answer(asked)
        biases = np.repeat(scoring.biases[:1], len(asked), axis=0)
        rows = self.timeline.product_rows[seen.places]
        inside = rows < biases.shape[1]
        biases[seen.queries[inside], rows[inside]] += 10
        return replace(scoring, biases=biases, bias_of=np.arange(len(asked), dtype=np.int32))


def test_what_happens_after_a_moment_changes_no_answer_before_it():
    train, later = random_shop(5)
    model = random_model(train)
    assert not looks_ahead(model, later, None)


def test_a_planted_leak_is_caught():
    train, later = random_shop(5)
    model = random_model(train)
    assert looks_ahead(model, later, lambda bench: Leak(model, bench.timeline))


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_looks_ahead(name):
    train, later = random_shop(6)
    moment = int(np.median(later.times))
    later_changed = after(later, moment, np.random.default_rng(2))
    found = []
    for log in (later, later_changed):
        report = replay(best_sellers(train), log, include_purchased=True, beside=[name])
        assert not report.skipped
        early = report.questions.times <= moment
        found.append(report.baselines[name].ranks[early].tolist())
    assert found[0] == found[1]


def test_the_order_of_a_receipt_changes_nothing():
    train, later = random_shop(7)
    model = random_model(train)
    order = np.random.default_rng(0).permutation(len(later))
    shuffled = later.take(order)
    assert ranked(model, shuffled) == ranked(model, later)
    assert ranked(model, shuffled, include_purchased=True) == ranked(model, later, include_purchased=True)


def test_purchases_of_one_time_do_not_see_each_other():
    train = dated([("ann", "hat", 0), ("bob", "hat", 1), ("bob", "sock", 1), ("cid", "tie", 2)])
    later = dated([("ann", "sock", 5), ("ann", "tie", 5), ("ann", "hat", 6)])
    model = co_purchase(train, popularity=0)
    report = replay(model, later, beside=[])
    # ann holds a hat: socks go with it and are first; ties have no score and nothing else is left beside the socks
    assert report.model.ranks.tolist() == [1, 2]
    assert report.questions.events_known.tolist() == [1, 1]
    assert report.left_out == {"bought before": 1}


def test_lines_of_one_purchase_are_one_question():
    train = dated([("ann", "hat", 0), ("bob", "sock", 0)])
    report = replay(best_sellers(train), dated([("ann", "sock", 2), ("ann", "sock", 2)]), beside=[])
    assert (report.purchases, report.left_out) == (1, {"a second line of one purchase": 1})


def test_segments_weeks_and_histories_part_the_questions():
    train = dated([("ann", "hat", 0), ("bob", "sock", 0), ("bob", "hat", 0)])
    later = dated(
        [("ann", "sock", 1), ("ann", "kilt", 9), ("zoe", "hat", 9), ("zoe", "hut", 9), ("zoe", "sock", 10)]
    )
    report = replay(best_sellers(train), later, beside=[])
    parts = {part.label: part.purchases for part in report.model.segments}
    assert parts == dict(zip(SEGMENTS, [2, 1, 1, 1], strict=True))
    assert [(part.label, part.purchases) for part in report.model.weeks] == [
        ("2024-01-02", 1),
        ("2024-01-09", 4),
    ]
    known = {part.label: part.purchases for part in report.model.by_known if part.purchases}
    assert known == {"0": 2, "1": 1, "2": 2}
    assert report.not_findable == 2
    # ranks: ann's sock 1 (hat is left out), kilt and hut 0, zoe's hat 1, then sock 1
    assert sorted(report.model.ranks.tolist()) == [0, 0, 1, 1, 1]
    assert report.metrics["hit_rate@10"].mean == pytest.approx(3 / 5)
    assert report.model.over_users["hit_rate@10"].mean == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_product_is_a_candidate_from_its_first_event_on():
    catalogue = pl.DataFrame({"product": ["cap", "hat", "kilt", "sock"]})
    train = dated([("ann", "hat", 0), ("bob", "sock", 0)], products=catalogue)
    later = dated([("cid", "sock", 3), ("dan", "kilt", 4), ("eva", "sock", 5)])
    model = best_sellers(train)
    assert replay(model, later, beside=[]).model.ranks.tolist() == [2, 4, 2]
    report = replay(model, later, beside=[], since="first event")
    assert report.model.ranks.tolist() == [2, 3, 2]  # the cap is never there, the kilt ties with nothing
    assert report.candidates == "each product of the model's catalogue from its first event on"
    since = np.array([0, 0, START + 9 * DAY, 0])
    later_on = replay(model, later, beside=[], since=since)
    assert later_on.model.ranks.tolist() == [2, 0, 2]
    assert later_on.not_findable == 1


def test_recent_best_sellers_are_those_of_the_moment():
    train = dated([("a", "hat", 0), ("b", "hat", 1), ("c", "sock", 2)])
    later = dated([("d", "sock", 3), ("e", "sock", 4), ("f", "sock", 5), ("g", "hat", 6)])
    report = replay(best_sellers(train), later, beside=["recent best sellers"])
    found = report.baselines["recent best sellers"]
    assert found.settings == {
        "half_life_days": 1095.0
    }  # nothing in so little of train tells half-lives apart
    assert found.ranks.tolist() == [
        2,
        1,
        1,
        2,
    ]  # on day 4 one sock of day 2 and one of day 3 weigh more than two older hats
    assert report.model.ranks.tolist() == [2, 2, 2, 1]


def test_frozen_rates_stand_as_at_the_end_of_train():
    train = dated([("a", "hat", 0), ("b", "hat", 1), ("c", "sock", 2)])
    later = dated([("d", "sock", 3), ("e", "sock", 4), ("f", "sock", 5), ("g", "hat", 6)])
    report = replay(best_sellers(train), later, beside=["recent best sellers"], frozen=True)
    assert report.baselines["recent best sellers"].ranks.tolist() == [2, 2, 2, 1]


def test_bought_before_ranks_most_often_first_then_the_newest():
    train = dated([("a", "hat", 0), ("a", "hat", 1), ("a", "sock", 2), ("a", "tie", 3), ("b", "cap", 3)])
    later = dated([("a", "hat", 5), ("a", "tie", 6), ("a", "sock", 6), ("a", "cap", 7)])
    report = replay(best_sellers(train), later, beside=["bought before"], include_purchased=True)
    # before day 5 hat twice, then tie, then sock; before day 6 the same; the cap was never bought by a
    assert report.baselines["bought before"].ranks.tolist() == [1, 2, 3, 4]


def with_carts(log, rows):
    """The log with (user, product, day, kind) beside its purchases."""
    users, products, days, kinds = zip(*rows, strict=True)
    events = Events(
        log.users.rows(users),
        log.products.rows(products),
        np.array([("view", "cart").index(kind) for kind in kinds], np.int16),
        ("view", "cart"),
        START + DAY * np.array(days),
    )
    return replace(log, events=events)


def test_the_basket_comes_first_then_what_was_viewed_and_what_was_bought_since_is_neither():
    train = dated([("a", "hat", 0), ("b", "sock", 0), ("b", "tie", 0), ("b", "cap", 0), ("b", "kilt", 0)])
    later = dated([("a", "sock", 5), ("a", "tie", 6), ("a", "cap", 7), ("a", "kilt", 8)])
    later = with_carts(later, [
        ("a", "tie", 1, "cart"), ("a", "sock", 2, "cart"), ("a", "cap", 3, "view"), ("a", "kilt", 4, "view"),
    ])  # fmt: skip
    report = replay(
        best_sellers(train), later, beside=["in the basket, not yet bought"], include_purchased=True
    )
    # before 5: sock, tie, kilt, cap; before 6 tie, kilt, cap; before 7 kilt, cap; before 8 kilt
    assert report.baselines["in the basket, not yet bought"].ranks.tolist() == [1, 1, 2, 1]


def test_a_log_without_times_is_refused():
    train, later = random_shop(1)
    with pytest.raises(ColumnProblem, match="in the order of time"):
        replay(best_sellers(train), replace(later, times=None))


def test_a_replay_without_a_question_is_refused():
    train = dated([("ann", "hat", 0)])
    with pytest.raises(NoPurchases, match="1 were bought before"):
        replay(best_sellers(train), dated([("ann", "hat", 3)]))


def test_an_unknown_baseline_is_refused():
    train, later = random_shop(1)
    with pytest.raises(SettingProblem, match="is no baseline of a replay"):
        replay(best_sellers(train), later, beside=["magic"])


def test_a_model_that_does_not_know_its_times_says_so_and_is_replayed():
    train, later = random_shop(2)
    model = best_sellers(train)
    undated = replace(model, past=None)
    report = replay(undated, later, beside=[])
    assert "does not know when" in report.notes[0]
    assert report.model.ranks.tolist() == replay(model, later, beside=[]).model.ranks.tolist()


def test_questions_of_before_the_end_of_train_are_said():
    train = dated([("ann", "hat", 0), ("bob", "hat", 9)])
    report = replay(best_sellers(train), dated([("cid", "hat", 5), ("dan", "hat", 12)]), beside=[])
    assert report.notes[0].startswith("1 questions are not later than")


def test_a_model_remembers_the_log_that_it_learned_from():
    train, _ = random_shop(4)
    again = learned_log(best_sellers(train))
    assert sorted(rows_of(again)) == sorted(rows_of(train))
    assert past_of(again).times.tolist() == past_of(train).times.tolist()
    assert again.events.names == ("view", "cart")
    assert len(again.events) == len(train.events)


def test_threads_change_nothing():
    train, later = random_shop(8)
    model = random_model(train)
    one, many = (replay(model, later, threads=threads) for threads in (1, 3))
    assert one.as_dict() == many.as_dict()
