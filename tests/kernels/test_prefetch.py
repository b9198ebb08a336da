"""Asking for memory ahead changes no value, and is an instruction of the compiled kernel."""

from __future__ import annotations

import numba
import numpy as np

from tastemaker.kernels.learning.composed import learn_batches, make_ready
from tastemaker.kernels.prefetch import prefetch, prefetch_row


def test_asking_changes_nothing_and_is_one_instruction_for_each_kind():
    @numba.njit
    def ask(table, numbers, row):
        prefetch_row(table, row)
        prefetch(numbers, row)
        return table[row].sum()

    table, numbers = np.arange(40, dtype=np.float32).reshape(2, 20), np.arange(2, dtype=np.int32)
    assert ask(table, numbers, 1) == sum(range(20, 40))
    assert numbers.tolist() == [0, 1]
    assert table.ravel().tolist() == list(range(40))
    (code,) = ask.inspect_llvm().values()
    assert code.count("call void @llvm.prefetch") >= 2


def test_learning_asks_for_the_rows_of_a_batch_before_its_turn():
    assert {"prefetch", "prefetch_row"} <= set(make_ready.py_func.__code__.co_names)
    assert "make_ready" in learn_batches.py_func.__code__.co_names
