"""The layout of the tables that kernels work on."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.training.learners.tables import LANES, random_table, trimmed, zero_table


@pytest.mark.parametrize("dimensions", [1, 15, 16, 17, 50, 64])
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_rows_are_whole_cache_lines_that_start_at_one(rows, dimensions):
    table = zero_table(rows, dimensions)
    assert table.dtype == np.float32
    assert table.shape == (rows, (dimensions + 15) // 16 * 16)
    assert table.flags.c_contiguous
    assert not table.any()
    if rows:
        assert table.ctypes.data % 64 == 0
    assert LANES * 4 == 64


def test_random_tables_fill_their_dimensions_evenly_and_nothing_else():
    table = random_table(20_000, 10, 0.05, np.random.default_rng(0))
    inside = table[:, :10]
    assert not table[:, 10:].any()
    assert np.abs(inside).max() <= 0.05
    assert np.abs(inside).max() > 0.0499
    counts = np.histogram(inside, bins=10, range=(-0.05, 0.05))[0]
    assert np.abs(counts - 20_000).max() < 5 * np.sqrt(20_000)


def test_the_trimmed_table_is_the_table_without_its_padding():
    table = random_table(5, 3, 1.0, np.random.default_rng(0))
    assert trimmed(table, 3).tolist() == table[:, :3].tolist()
    assert trimmed(table, 3).flags.c_contiguous


def test_large_tables_are_drawn_in_blocks_and_without_repeats():
    table = random_table(70_000, 1, 1.0, np.random.default_rng(0))[:, 0]
    assert len(np.unique(table)) > 69_000
