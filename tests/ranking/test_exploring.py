"""Lists that explore: the draw, and the exact chance of every product at every place."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.errors import SettingProblem
from tastemaker.ranking.exploring.swaps import chances, check_rate, drawn


def by_all_ways(shown: int, places: int, rate: float, pinned: int) -> np.ndarray:
    """Add up every way in which the swaps can go."""
    table = np.zeros((places, shown))
    free = range(pinned, places)
    for ways in product([None, *free], repeat=shown - pinned):
        order, chance = list(range(places)), 1.0
        for place, other in zip(range(pinned, shown), ways, strict=True):
            if other is None:
                chance *= 1 - rate
            else:
                chance *= rate / len(free)
                order[place], order[other] = order[other], order[place]
        for place in range(shown):
            table[order[place], place] += chance
    return table


@pytest.mark.parametrize(
    ("shown", "places", "pinned"), [(1, 2, 0), (3, 5, 0), (3, 6, 1), (3, 3, 0), (2, 4, 2)]
)
def test_the_chances_are_those_of_all_ways_added_up(shown: int, places: int, pinned: int) -> None:
    found = chances(shown, places, rate=0.3, pinned=pinned)
    assert found == pytest.approx(by_all_ways(shown, places, 0.3, pinned))


def test_the_draw_comes_as_often_as_its_chance_says() -> None:
    counts = np.zeros((6, 3))
    for seed in range(20_000):
        counts[drawn(3, 6, rate=0.4, pinned=1, seed=str(seed)), np.arange(3)] += 1
    assert counts / 20_000 == pytest.approx(chances(3, 6, rate=0.4, pinned=1), abs=0.012)


shapes = st.integers(1, 12).flatmap(
    lambda shown: st.tuples(st.just(shown), st.integers(shown, 24), st.integers(0, shown))
)


@given(shapes, st.floats(0, 0.5), st.text(max_size=8))
def test_a_list_that_explores_shows_nothing_twice_and_keeps_its_pins(
    shape: tuple[int, int, int], rate: float, seed: str
) -> None:
    shown, places, pinned = shape
    order = drawn(shown, places, rate=rate, pinned=pinned, seed=seed)
    assert len(set(order.tolist())) == shown
    assert order.max() < places
    assert order[:pinned].tolist() == list(range(pinned))
    assert (chances(shown, places, rate=rate, pinned=pinned)[order, np.arange(shown)] > 0).all()
    assert order.tolist() == drawn(shown, places, rate=rate, pinned=pinned, seed=seed).tolist()


@given(shapes, st.floats(0, 0.5))
def test_chances_are_chances(shape: tuple[int, int, int], rate: float) -> None:
    shown, places, pinned = shape
    table = chances(shown, places, rate=rate, pinned=pinned)
    assert table.sum(axis=0) == pytest.approx(1)
    assert (table.sum(axis=1) <= 1 + 1e-9).all()
    assert (table >= 0).all()


def test_nothing_moves_without_a_rate() -> None:
    assert drawn(5, 10, rate=0.0, seed="any").tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(chances(5, 10, rate=0.0), np.eye(10)[:, :5])


@pytest.mark.parametrize("rate", [-0.1, 0.51, float("nan")])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(SettingProblem, match="must be from 0"):
        check_rate(rate)
