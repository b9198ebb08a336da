"""How well some weights rank: what the held-out products of many queries gain, again and again with other weights."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.ranking.choosing import rank_of
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = ["gains_of_parts"]


@kernel()
def gains_of_parts(
    low: int,
    high: int,
    dense: Floats,
    biases: Floats,
    bias_of: Rows,
    entry_offsets: Offsets,
    entry_rows: Offsets,
    entry_parts: AnyArray,
    entry_weights: Floats,
    memory_offsets: Offsets,
    memory_products: Rows,
    memory_weights: Floats,
    weights: Doubles,
    own_offsets: Offsets,
    own_rows: Rows,
    own: Floats,
    held_offsets: Offsets,
    held: Rows,
    k: int,
    gains: Doubles,
) -> None:
    """Set ``gains[i]``, 1 / log2(1 + rank) up to rank k and 0 beyond, of each held-out product of the queries ``low … high - 1``.

    score(q, p) = dense[q, p] + biases[bias_of[q], p] + Σ over q's entries i of weights[part_i] · weight_i · memory[row_i, p]

    and ``own`` is added to the score of the products ``own_rows`` of each query: -inf leaves one out. The memory is several tables
    one below the other. Each held-out product is ranked against all others; ties count against it.
    """
    row = np.empty(dense.shape[1], np.float32)
    for q in range(low, high):
        bias = bias_of[q]
        for p in range(row.shape[0]):
            row[p] = dense[q, p] + biases[bias, p]
        for place in range(entry_offsets[q], entry_offsets[q + 1]):
            weight = np.float32(weights[entry_parts[place]] * entry_weights[place])
            if weight != 0:
                source = entry_rows[place]
                for entry in range(memory_offsets[source], memory_offsets[source + 1]):
                    row[memory_products[entry]] += weight * memory_weights[entry]
        for place in range(own_offsets[q], own_offsets[q + 1]):
            row[own_rows[place]] += own[place]
        for place in range(held_offsets[q], held_offsets[q + 1]):
            rank = rank_of(row, row[held[place]], k)
            gains[place] = 1.0 / np.log2(1.0 + rank) if rank <= k else 0.0
