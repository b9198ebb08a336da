"""The workshop's sampled accuracy: ties, copies, blocks, and a loop in plain Python."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from tastemaker.errors import DataError
from tastemaker.evaluation import sampled
from tastemaker.evaluation.sampled import sampled_accuracy


def rows(values):
    return np.array(values, dtype=np.int32)


def measured(taste, users, products, negatives):
    table, drawn = np.float32(taste), rows(negatives)
    return sampled_accuracy(
        lambda users, products: table[users[:, None], products],
        rows(users),
        rows(products),
        lambda first, count: drawn[first : first + count],
    )


def test_the_bought_product_comes_first_only_when_it_beats_every_other_one():
    taste = [[5, 1, 2, 3]]
    assert measured(taste, [0], [0], [[1, 2, 3]]).categorical_accuracy == 1
    assert measured(taste, [0], [3], [[1, 2, 0]]).categorical_accuracy == 0


def test_a_tie_with_another_product_counts_against_the_bought_one():
    assert measured([[1, 1, 0]], [0], [0], [[1, 2]]).categorical_accuracy == 0


def test_a_drawn_copy_of_the_bought_product_is_no_rival():
    assert measured([[1, 0, 0]], [0], [0], [[0, 2]]).categorical_accuracy == 1


def test_the_loss_keeps_a_drawn_copy_as_the_notebook_did():
    assert measured([[1, 0, 0]], [0], [0], [[0, 2]]).loss == pytest.approx(log(2 * exp(1) + 1) - 1)


def test_a_model_that_knows_nothing_has_accuracy_0_and_the_loss_of_guessing():
    nothing = measured(np.zeros((2, 9)), [0, 1, 1], [1, 2, 3], [[4, 5, 6, 7]] * 3)
    assert (nothing.negatives, nothing.categorical_accuracy) == (4, 0)
    assert nothing.loss == pytest.approx(log(5))


def test_scores_too_large_for_exp_are_no_trouble():
    assert measured([[1e4, -1e4]], [0], [0], [[1]]).loss == 0
    assert measured([[1e4, -1e4]], [0], [1], [[0]]).loss == pytest.approx(2e4)


def random_case(seed, purchases=57, users=11, products=8, negatives=5):
    rng = np.random.default_rng(seed)
    taste = rng.integers(-2, 3, (users, products)).astype(np.float32)  # whole scores: many ties
    return (
        taste,
        rng.integers(0, users, purchases),
        rng.integers(0, products, purchases),
        rng.integers(0, products, (purchases, negatives)),
    )


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_a_loop_over_purchases_in_plain_python(seed):
    taste, users, products, negatives = random_case(seed)
    firsts, losses = 0, 0.0
    for user, bought, drawn in zip(users, products, negatives, strict=True):
        own = float(taste[user, bought])
        firsts += all(own > taste[user, other] for other in drawn if other != bought)
        losses += log(sum(exp(taste[user, row]) for row in [bought, *drawn])) - own
    found = measured(taste, users, products, negatives)
    assert found.categorical_accuracy == firsts / len(users)
    assert found.loss == pytest.approx(losses / len(users), abs=1e-12)
    assert 0 < firsts < len(users)


def test_blocks_are_bounded_and_change_nothing(monkeypatch):
    taste, users, products, negatives = random_case(3)
    whole = measured(taste, users, products, negatives)
    monkeypatch.setattr(sampled, "BLOCK", 25)
    asked, scored = [], []

    def draw(first, count):
        asked.append((first, count))
        return rows(negatives)[first : first + count]

    def score(users, products):
        scored.append(products.shape)
        return taste[users[:, None], products]

    blocked = sampled_accuracy(score, rows(users), rows(products), draw)
    assert blocked.categorical_accuracy == whole.categorical_accuracy
    assert blocked.loss == pytest.approx(whole.loss, abs=1e-12)
    assert max(a * b for a, b in scored) <= 25
    assert asked[1:] == [(first, min(4, 57 - first)) for first in range(0, 57, 4)]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    with pytest.raises(DataError, match="not all finite"):
        measured([[bad, 0]], [0], [0], [[1]])


def test_no_purchases_are_refused():
    with pytest.raises(DataError, match="no held-out purchases"):
        measured([[0, 0]], [], [], np.zeros((0, 1)))
