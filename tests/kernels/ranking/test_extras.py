"""Two sparse scores as one, against dictionaries."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.kernels.ranking.extras import count_either, sum_either

eighths = st.integers(-40, 40).map(lambda number: number / 8)
sparse = st.dictionaries(st.integers(0, 9), eighths, max_size=8)


def ragged(tables):
    offsets = np.concatenate(([0], np.cumsum([len(table) for table in tables]))).astype(np.int64)
    rows = np.array([row for table in tables for row in sorted(table)], np.int32)
    return offsets, rows, np.array([table[row] for table in tables for row in sorted(table)], np.float32)


def summed(first, second, parts):
    (offsets_1, rows_1, scores_1), (offsets_2, rows_2, scores_2) = ragged(first), ragged(second)
    counts = np.full(len(first), -1, np.int64)
    for low, high in parts:
        count_either(low, high, offsets_1, rows_1, offsets_2, rows_2, counts)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    rows, scores = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
    for low, high in parts:
        sum_either(low, high, offsets_1, rows_1, scores_1, offsets_2, rows_2, scores_2, offsets, rows, scores)
    return [
        list(zip(rows[a:b].tolist(), scores[a:b].tolist(), strict=True))
        for a, b in itertools.pairwise(offsets)
    ]


@given(pairs=st.lists(st.tuples(sparse, sparse), max_size=5), border=st.integers(0, 5))
@settings(deadline=None)
def test_what_either_adds_is_summed_and_stays_ascending(pairs, border):
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    border = min(border, len(pairs))
    expected = [
        [(row, one.get(row, 0) + other.get(row, 0)) for row in sorted({*one, *other})] for one, other in pairs
    ]
    assert summed(first, second, [(border, len(pairs)), (0, border)]) == expected
