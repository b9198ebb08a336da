"""What is asked of chosen pairs: the score of a query and a candidate, and how many users bought both of two products."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.products import chain
from tastemaker.types import Counts, Floats, Offsets, Rows

__all__ = ["count_common", "score_pairs"]


@kernel()
def score_pairs(
    low: int,
    high: int,
    queries: Floats,
    vectors: Floats,
    bias: Floats,
    candidates: Rows,
    extra_offsets: Offsets,
    extra_rows: Rows,
    extra_scores: Floats,
    scores: Floats,
) -> None:
    """Set ``scores[q, j]`` of the queries ``low … high - 1`` and their ``candidates[Q, W]``.

    A score is the same sum in the same order as in `tastemaker.kernels.ranking.topk`.
    The extras of query q ascend in ``extra_rows[extra_offsets[q]:extra_offsets[q + 1]]``; offsets of length 1 mean none.
    """
    add = extra_offsets.shape[0] > 1
    for q in range(low, high):
        for j in range(candidates.shape[1]):
            row = candidates[q, j]
            total = chain(bias[row], queries[q], vectors[row])
            if add:
                end = extra_offsets[q + 1]
                place = extra_offsets[q] + np.searchsorted(extra_rows[extra_offsets[q] : end], row)
                if place < end and extra_rows[place] == row:
                    total += extra_scores[place]
            scores[q, j] = total


@kernel()
def count_common(firsts: Rows, seconds: Rows, offsets: Offsets, members: Rows, counts: Counts) -> None:
    """Set ``counts[n]`` to the number of members that the lists ``firsts[n]`` and ``seconds[n]`` have in common.

    List i ascends in ``members[offsets[i]:offsets[i + 1]]``. The members of the shorter list are sought in the longer one.
    """
    for n in range(firsts.shape[0]):
        first = members[offsets[firsts[n]] : offsets[firsts[n] + 1]]
        second = members[offsets[seconds[n]] : offsets[seconds[n] + 1]]
        few, many = (first, second) if first.shape[0] <= second.shape[0] else (second, first)
        common, low = 0, 0
        for i in range(few.shape[0]):
            low += np.searchsorted(many[low:], few[i])  # both ascend: the rest is sought further on
            if low == many.shape[0]:
                break
            common += many[low] == few[i]
        counts[n] = common
