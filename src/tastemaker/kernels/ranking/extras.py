"""Sparse scores of two kinds as one: what they add to the same candidate is summed."""

from __future__ import annotations

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Floats, Offsets, Rows

__all__ = ["count_either", "sum_either"]


@kernel()
def count_either(
    low: int,
    high: int,
    first_offsets: Offsets,
    first_rows: Rows,
    second_offsets: Offsets,
    second_rows: Rows,
    counts: Offsets,
) -> None:
    """Set ``counts[q]`` of the queries ``low … high - 1`` to how many rows are in either of two ascending lists."""
    for q in range(low, high):
        i, end = first_offsets[q], first_offsets[q + 1]
        found = end - i
        for j in range(second_offsets[q], second_offsets[q + 1]):
            row = second_rows[j]
            while i < end and first_rows[i] < row:
                i += 1
            if i == end or first_rows[i] != row:
                found += 1
        counts[q] = found


@kernel()
def sum_either(
    low: int,
    high: int,
    first_offsets: Offsets,
    first_rows: Rows,
    first_scores: Floats,
    second_offsets: Offsets,
    second_rows: Rows,
    second_scores: Floats,
    offsets: Offsets,
    rows: Rows,
    scores: Floats,
) -> None:
    """Set the rows in either of two ascending lists, ascending, and the first score plus the second of each.

    Query q's stand in ``rows[offsets[q]:offsets[q + 1]]``, a space counted by `count_either`.
    """
    for q in range(low, high):
        i, first_end = first_offsets[q], first_offsets[q + 1]
        j, second_end = second_offsets[q], second_offsets[q + 1]
        for place in range(offsets[q], offsets[q + 1]):
            if j == second_end or (i < first_end and first_rows[i] < second_rows[j]):
                rows[place], scores[place] = first_rows[i], first_scores[i]
                i += 1
            elif i == first_end or second_rows[j] < first_rows[i]:
                rows[place], scores[place] = second_rows[j], second_scores[j]
                j += 1
            else:
                rows[place], scores[place] = first_rows[i], first_scores[i] + second_scores[j]
                i += 1
                j += 1
