"""Catalogue numbers: lifts by hand and by brute force, which ids are numbers, and who gets a weight for them."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.model.settings import MemorySettings
from tastemaker.training.forget import without_users
from tastemaker.training.memory import numbers
from tastemaker.training.memory.numbers import are_a_shops_own, lifts, number_bytes, number_memory, numbers_of
from tastemaker.training.memory.remember import remember
from tastemaker.training.train import estimate_bytes, train

USERS, PRODUCTS, SET = 400, 400, 4
SMALL = {"dimensions": 8, "epochs": 2, "horizon": 2, "members": 1}


def catalogue(ids) -> Vocabulary:
    return Vocabulary.of(ids, noun="product", keep_order=True)


def shop(ids) -> Purchases:
    """400 users who buy from two of a hundred sets each, two of a set's four products and one product by chance."""
    rng = np.random.default_rng(5)
    pairs = set()
    for user in range(USERS):
        for one in rng.choice(PRODUCTS // SET, 2, replace=False):
            pairs |= {(user, one * SET + each) for each in rng.choice(SET, 2, replace=False)}
        pairs.add((user, rng.integers(PRODUCTS)))
    users, products = np.array(sorted(pairs), np.int32).T
    return Purchases(Vocabulary.of(range(USERS), noun="user"), catalogue(ids), users.copy(), products.copy())


def listed() -> list[int]:
    """Numbers of which a set's are next to each other, and its neighbours' some hundreds away."""
    return [10_000 + 500 * (row // SET) + row % SET for row in range(PRODUCTS)]


def by_chance() -> list[int]:
    return np.random.default_rng(6).permutation(listed()).tolist()


def test_ids_are_numbers_where_all_of_them_are_digits():
    assert numbers_of(catalogue(["7", "0010"])).tolist() == [7, 10]
    assert numbers_of(catalogue([7, 10])).tolist() == [7, 10]
    for ids in (["7", "10a"], ["7", "-10"], ["7", "1.0"], ["7", "1" * 19], [7, -10], [7, 2**62], ["٧", "8"]):
        assert numbers_of(catalogue(ids)) is None
        assert sorted(numbers_of(catalogue([*range(20, 40), *ids])).tolist()[20:])[0] == -1


def test_products_without_a_number_are_passed_over_and_the_others_say_what_they_say_without_them():
    lists = [[0, 1, 2], [1, 3], [0, 3, 4], [2, 4]]
    numbered = np.array([70, 3, 90, 71, 4])
    beside = [[0, 1, 2, 5], [1, 3], [0, 3, 4, 6], [2, 4], [5, 6]]
    some = np.append(numbered, [-1, -1])
    np.testing.assert_array_equal(
        lifts(Histories.from_lists(lists), numbered), lifts(Histories.from_lists(beside), some)
    )
    alone, table = (
        number_memory(Histories.from_lists(given), each)
        for given, each in ((lists, numbered), (beside, some))
    )
    assert len(alone.products)
    assert table.offsets.tolist() == [*alone.offsets.tolist(), alone.offsets[-1], alone.offsets[-1]]
    assert table.products.tolist() == alone.products.tolist()
    assert table.weights.tobytes() == alone.weights.tobytes()


def test_a_warm_start_takes_the_weight_though_a_new_product_has_no_number():
    old = train(shop(listed()), preset("default").changed(SMALL), seed=1, progress=False)
    ids = [*map(str, listed()[:-1]), "gift-card"]
    new = train(shop(ids), start_from=old, seed=1, progress=False)
    assert new.record.config.memory.number_weight == old.record.config.memory.number_weight > 0
    assert new.memory.offsets[-1] > 0


def test_numbers_are_a_shops_own_where_they_are_many_and_have_gaps():
    assert are_a_shops_own(np.array(listed()))
    assert not are_a_shops_own(np.arange(PRODUCTS))  # given by who made the file
    assert not are_a_shops_own(np.array(listed())[:100])


def test_a_lift_is_the_logarithm_of_pairs_over_those_expected_by_chance():
    """By every pair of every user, and every pair of products; a history of n weighs each of its pairs 1 / (n - 1)."""
    rng = np.random.default_rng(3)
    numbered = rng.choice(5_000, 30, replace=False)
    lists = [sorted(rng.choice(30, size, replace=False).tolist()) for size in (1, 2, 3, 5, 8, 2, 4)]
    found, expected, buyers = np.zeros(63), np.zeros(63), np.zeros(30)
    for products in lists:
        for p, r in combinations(products, 2):
            found[int(abs(numbered[p] - numbered[r])).bit_length() - 1] += 1 / (len(products) - 1)
        if len(products) > 1:
            buyers[products] += 1
    for p, r in combinations(range(30), 2):
        expected[int(abs(numbered[p] - numbered[r])).bit_length() - 1] += buyers[p] * buyers[r]
    expected *= found.sum() / expected.sum()
    want = np.log((found + 1) / (expected + 1))
    np.testing.assert_allclose(lifts(Histories.from_lists(lists), numbered), want, rtol=1e-12)


def test_long_histories_say_nothing_and_without_pairs_there_is_no_lift():
    everything = Histories.from_lists([list(range(60)), [3]])
    assert not lifts(everything, np.arange(60) * 7).any()
    assert len(number_memory(everything, np.arange(60) * 7).products) == 0


def test_a_row_of_the_table_holds_the_nearest_numbers_with_a_lift_above_zero(monkeypatch):
    monkeypatch.setattr(numbers, "AT_ONCE", 7)
    monkeypatch.setattr(numbers, "NEAR", 2)
    log = shop(by_chance())
    numbered = numbers_of(log.products)
    lift = np.linspace(2, -1, 63)
    monkeypatch.setattr(numbers, "lifts", lambda *_: lift)
    memory = number_memory(log.histories(), numbered)
    order = np.argsort(numbered).tolist()
    for row in range(PRODUCTS):
        place = order.index(row)
        near = order[max(0, place - 2) : place] + order[place + 1 : place + 3]
        says = {
            other: np.interp(np.log2(abs(numbered[other] - numbered[row])), np.arange(63) + 0.5, lift)
            for other in sorted(near)
        }
        low, high = memory.offsets[row], memory.offsets[row + 1]
        assert memory.products[low:high].tolist() == list(says)
        np.testing.assert_allclose(memory.weights[low:high], list(says.values()), rtol=1e-6)


def test_numbers_get_a_weight_where_they_tell_what_is_bought_together_and_none_where_they_are_drawn():
    told = train(shop(listed()), preset("default").changed(SMALL), seed=1, progress=False)
    assert told.record.config.memory.number_weight > 0
    metrics = told.record.metrics
    assert metrics["with_memory"] > 1.02 * metrics["without_numbers"]
    drawn = train(shop(by_chance()), preset("default").changed(SMALL), seed=1, progress=False)
    assert drawn.record.config.memory.number_weight == 0
    for row in (0, 17, PRODUCTS - 1):  # a product's row holds its set, bought together or not
        held = told.memory.products[told.memory.offsets[row] : told.memory.offsets[row + 1]].tolist()
        assert {row // SET * SET + each for each in range(SET)} - {row} <= set(held)


@pytest.mark.parametrize(
    ("ids", "changes"),
    [
        (range(PRODUCTS), {}),
        ([f"p{number}" for number in listed()], {}),
        (listed(), {"count_weight": 1.0}),
        (listed(), {"objective": "spectral"}),
    ],
    ids=["no gaps", "no numbers", "a weight is given", "computed vectors"],
)
def test_numbers_are_not_tried_where_nothing_can_be_chosen(ids, changes):
    log = shop(ids)
    model = train(log, preset("default").changed(SMALL | changes), seed=1, progress=False)
    assert model.record.config.memory.number_weight == 0
    assert "without_numbers" not in model.record.metrics
    config = preset("default").changed(SMALL | changes)
    assert estimate_bytes(log, config) == estimate_bytes(log, config.changed(number_weight=0.0)) or changes


def test_numbers_are_not_tried_beside_times():
    log = dataclasses.replace(shop(listed()), times=np.arange(len(shop(listed()))) * 86_400_000_000)
    model = train(log, preset("default").changed(SMALL), seed=1, progress=False)
    assert model.record.config.memory.number_weight == 0


def test_a_weight_that_is_given_stays_and_needs_numbers():
    given = preset("default").changed(SMALL, count_weight=0.0, ridge_weight=0.0, number_weight=0.75)
    log = shop(listed())
    model = train(log, given, seed=1, progress=False)
    table = number_memory(log.histories(), numbers_of(log.products))
    assert model.record.config.memory.number_weight == 0.75
    assert model.memory.products.tobytes() == table.products.tobytes()
    np.testing.assert_array_equal(model.memory.weights, table.weights * np.float32(0.75))
    with pytest.raises(SettingProblem, match=r"memory.number_weight is 0.75, but fewer than nine in ten"):
        train(shop([f"p{number}" for number in listed()]), given, progress=False)


def test_the_table_of_a_model_without_some_users_is_counted_without_them():
    model = train(shop(listed()), preset("default").changed(SMALL), seed=1, progress=False)
    fewer = without_users(model, np.arange(0, USERS, 3))
    with ThreadPool(2) as pool:
        again = remember(fewer.histories, model.products, model.record.config.memory, pool)
    assert fewer.memory.weights.tobytes() == again.weights.tobytes() != model.memory.weights.tobytes()


def test_the_bytes_of_the_table_are_part_of_the_estimate():
    products = shop(listed()).products
    assert number_bytes(products, MemorySettings(number_weight=None)) > 0
    assert number_bytes(products, MemorySettings(number_weight=0.0)) == 0
    assert number_bytes(catalogue(range(PRODUCTS)), MemorySettings(number_weight=None)) == 0
