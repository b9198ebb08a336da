"""Scores of chosen (query, candidate) pairs: the same sum in the same order as in `tastemaker.kernels.topk`."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Floats, Offsets, Rows

__all__ = ["score_pairs"]


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

    The extras of query q ascend in ``extra_rows[extra_offsets[q]:extra_offsets[q + 1]]``; offsets of length 1 mean none.
    """
    add = extra_offsets.shape[0] > 1
    for q in range(low, high):
        for j in range(candidates.shape[1]):
            row = candidates[q, j]
            total = bias[row]
            for d in range(queries.shape[1]):
                total += queries[q, d] * vectors[row, d]
            if add:
                end = extra_offsets[q + 1]
                place = extra_offsets[q] + np.searchsorted(extra_rows[extra_offsets[q] : end], row)
                if place < end and extra_rows[place] == row:
                    total += extra_scores[place]
            scores[q, j] = total
