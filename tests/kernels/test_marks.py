"""Rows marked as bits come out ascending and once, and leave no mark behind."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.marks import GROUP_SHIFT, SHIFT, bit_of, clear_marks, room_for_marks, take_marked


@kernel()
def sorted_by_marks(given, rows, count):
    """Mark some, forget them; then mark all and take them."""
    words, groups = room_for_marks(count)
    for part in (given[: len(given) // 2], given):
        clear_marks(words, groups)
        for row in part:
            words[row >> SHIFT] |= bit_of(row)
            groups[row >> GROUP_SHIFT] |= bit_of(row >> SHIFT)
    end = take_marked(words, groups, rows, 1)
    return end, take_marked(words, groups, rows, end)


@pytest.mark.parametrize("count", [1, 64, 65, 4_096, 4_097, 300_000])
def test_marked_rows_are_taken_ascending_each_once(count):
    given = np.random.default_rng(count).integers(0, count, 500).astype(np.int32)
    given[0], given[1] = 0, count - 1
    rows = np.full(len(given) + 1, -1, np.int32)
    end, again = sorted_by_marks(given, rows, count)
    assert rows[0] == -1
    assert rows[1:end].tolist() == np.unique(given).tolist()
    assert again == end, "what was taken is marked no longer"
