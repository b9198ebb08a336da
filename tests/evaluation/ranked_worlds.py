"""Small ranked worlds for the tests of this folder, made of plain Python lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from tastemaker.data.purchases import Histories
from tastemaker.ranking.lists import RankedLists

World = tuple[list[list[int]], list[list[int]], int]
"""The list shown to each user, the products held out for each user, the number of products."""


def lists_of(shown: Sequence[Sequence[int]]) -> RankedLists:
    scores = [float(len(part) - place) for part in shown for place in range(len(part))]
    return RankedLists(_offsets(shown), _flat(shown), np.array(scores, dtype=np.float32))


def held_of(held: Sequence[Sequence[int]]) -> Histories:
    return Histories(_offsets(held), _flat([sorted(part) for part in held]))


def random_world(
    rng: np.random.Generator, *, users: int, products: int, longest: int, most_held: int
) -> World:
    """Lists ranked by whole scores with many ties, which go to the lower row; lists of all lengths from 0."""
    shown, held = [], []
    for _ in range(users):
        scores = rng.integers(0, 4, products)
        ranked = sorted(range(products), key=lambda row: (-scores[row], row))
        shown.append(ranked[: rng.integers(0, longest + 1)])
        held.append([int(row) for row in rng.choice(products, rng.integers(0, most_held + 1), replace=False)])
    return shown, held, products


@st.composite
def worlds(draw: st.DrawFn) -> World:
    products = draw(st.integers(1, 12))
    users = draw(st.integers(1, 5))
    shown = [draw(st.permutations(range(products)))[: draw(st.integers(0, products))] for _ in range(users)]
    held = [sorted(draw(st.sets(st.integers(0, products - 1)))) for _ in range(users)]
    return [list(part) for part in shown], held, products


def _offsets(parts: Sequence[Sequence[int]]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)


def _flat(parts: Sequence[Sequence[int]]) -> np.ndarray:
    return np.array([row for part in parts for row in part], dtype=np.int32)
