"""`hit_flags` against its slow NumPy twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.kernels.ranking.hits import hit_flags


def twin(offsets, rows, held_offsets, held_rows):
    parts = [
        np.isin(rows[offsets[q] : offsets[q + 1]], held_rows[held_offsets[q] : held_offsets[q + 1]])
        for q in range(len(offsets) - 1)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)


def ragged(parts):
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    return offsets, np.array([row for part in parts for row in part], dtype=np.int32)


def flags(shown, held):
    out = np.ones(sum(map(len, shown)), dtype=np.bool_)  # ones, to see that each place is written
    hit_flags(*ragged(shown), *ragged(held), out)
    return out


row = st.integers(0, 15)
queries = st.lists(st.tuples(st.lists(row), st.sets(row)), max_size=6)


@given(queries)
@settings(deadline=None)
def test_hits_equal_those_of_the_numpy_twin(world):
    shown, held = [rows for rows, _ in world], [sorted(theirs) for _, theirs in world]
    assert flags(shown, held).tolist() == twin(*ragged(shown), *ragged(held)).tolist()


@pytest.mark.parametrize(
    ("shown", "held", "expected"),
    [
        ([], [], []),
        ([[]], [[1, 2]], []),
        ([[4, 1]], [[]], [False, False]),
        ([[4, 1, 9]], [[1, 3, 9]], [False, True, True]),
        ([[1], [1]], [[1], [2]], [True, False]),
        ([[2**31 - 1, 0]], [[0, 2**31 - 1]], [True, True]),
    ],
)
def test_small_cases_by_hand(shown, held, expected):
    assert flags(shown, held).tolist() == expected
