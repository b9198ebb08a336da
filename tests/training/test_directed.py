"""Steps from product to product in time: counted by hand, and by ranges of products to the same bytes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tastemaker.data.past import past_of
from tastemaker.training.memory import directed
from tastemaker.training.memory.directed import followers, step_memory


def same(one, other):
    return all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in ("offsets", "products", "weights")
    )


def by_hand(past, products, fade, partners):
    """Return {(p, r): weight} of the strongest steps between purchases."""
    found = Counter()
    for i in range(len(past.users)):
        for gap in range(1, 11):
            j = i + gap
            if j >= len(past.users) or past.users[j] != past.users[i]:
                break
            if past.times[j] > past.times[i] and past.products[j] != past.products[i]:
                found[int(past.products[i]), int(past.products[j])] += fade ** (gap - 1)
    sold = np.maximum(np.bincount(past.products, minlength=products), 1)
    weighed = {(p, r): w / sold[p] ** 0.5 / sold[r] ** 0.25 for (p, r), w in found.items()}
    best = {}
    for p in range(products):
        mine = sorted((-w, r) for (q, r), w in weighed.items() if q == p)[:partners]
        best |= {(p, r): -w for w, r in mine}
    return best


def test_steps_are_those_counted_by_hand(split):
    past, products = past_of(split.train), len(split.train.products)
    memory = step_memory(past, products, fade=0.8, partners=5)
    wanted = by_hand(past, products, 0.8, 5)
    rows = np.repeat(np.arange(products), np.diff(memory.offsets))
    found = dict(zip(zip(rows.tolist(), memory.products.tolist(), strict=True), memory.weights, strict=True))
    np.testing.assert_allclose(
        sorted(found.values()), sorted(wanted.values()), rtol=1e-6
    )  # ties aside, the same pairs
    assert len(found.keys() & wanted.keys()) > 0.99 * len(wanted)


@pytest.mark.parametrize("at_once", [1, 37, 500])
def test_ranges_of_products_give_the_bytes_of_all_at_once(split, monkeypatch, at_once):
    past, products = past_of(split.train), len(split.train.products)
    whole = followers(past, products, kind=0, fade=0.7, partners=9)
    monkeypatch.setattr(directed, "STARTS_AT_ONCE", at_once)
    assert same(followers(past, products, kind=0, fade=0.7, partners=9), whole)
