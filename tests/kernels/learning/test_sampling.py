"""Draws of negatives against a NumPy twin, and what a counter-based generator promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

import twins
from tastemaker.kernels.learning.sampling import draw_row, draw_uniform, stream_key

keys = st.integers(0, 2**64 - 1)


def drawn(key, first, count, negatives, products):
    return draw_uniform(np.uint64(key), first, count, negatives, products)


@given(seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 10_000), stream=st.integers(0, 9))
@settings(deadline=None, max_examples=50)
def test_a_key_is_that_of_the_numpy_twin(seed, epoch, stream):
    assert int(stream_key(seed, epoch, stream)) == twins.stream_key(seed, epoch, stream)


@given(key=keys, first=st.integers(0, 2**33), count=st.integers(0, 5), products=st.integers(1, 2**31 - 1))
@settings(deadline=None, max_examples=50)
def test_draws_are_those_of_the_numpy_twin(key, first, count, products):
    found = drawn(key, first, count, 7, products)
    assert found.dtype == np.int32
    assert found.tolist() == twins.draws(key, first, count, 7, products).tolist()


@given(key=keys, first=st.integers(0, 1000), negatives=st.integers(1, 8))
@settings(deadline=None, max_examples=30)
def test_a_draw_depends_on_key_purchase_and_position_alone(key, first, negatives):
    whole = drawn(key, 0, 1010, 8, 500)
    assert drawn(key, first, 10, negatives, 500).tolist() == whole[first : first + 10, :negatives].tolist()
    alone = np.empty(negatives, np.int32)
    draw_row(np.uint64(key), first, 500, alone)
    assert alone.tolist() == whole[first, :negatives].tolist()


@pytest.mark.parametrize("products", [7, 101, 1000])
def test_draws_are_uniform(products):
    counts = np.bincount(drawn(12345, 0, 4000, 100, products).ravel(), minlength=products)
    expected = 400_000 / products
    statistic = ((counts - expected) ** 2 / expected).sum()
    low, high = chi2.ppf([1e-4, 1 - 1e-4], products - 1)
    assert low < statistic < high


@pytest.mark.parametrize("axis", ["position", "purchase", "epoch", "stream", "seed"])
def test_neighbouring_draws_are_independent(axis):
    """Pairs of draws one step apart along each axis fill a 20 × 20 table evenly."""
    here = drawn(stream_key(3, 1, 0), 0, 2001, 101, 20)
    other = {"epoch": (3, 2, 0), "stream": (3, 1, 1), "seed": (4, 1, 0)}
    if axis == "position":
        first, second = here[:-1, :-1], here[:-1, 1:]
    elif axis == "purchase":
        first, second = here[:-1, :-1], here[1:, :-1]
    else:
        first, second = here, drawn(stream_key(*other[axis]), 0, 2001, 101, 20)
    counts = np.bincount((first * 20 + second).ravel(), minlength=400)
    expected = first.size / 400
    assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(1 - 1e-4, 399)


def test_the_only_product_is_always_drawn():
    assert not drawn(1, 0, 10, 10, 1).any()


def test_the_last_product_of_the_largest_catalogue_can_be_named():
    found = drawn(9, 0, 100, 100, 2**31 - 1)
    assert found.min() >= 0
    assert found.max() > 2**31 - 2**20
