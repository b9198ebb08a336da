"""Queries of weighted bags: a sum of vectors, and what a sparse table says of the bag, each event with a weight of its own."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.marks import GROUP_SHIFT, SHIFT, bit_of, room_for_marks, take_marked
from tastemaker.types import Floats, Offsets, Rows

__all__ = ["compose_bags", "recall_bags"]


@kernel()
def compose_bags(
    low: int, high: int, offsets: Offsets, bags: Rows, weights: Floats, vectors: Floats, queries: Floats
) -> None:
    """Add to ``queries[q]`` of the bags ``low … high - 1`` the sum of ``weights · vectors[bags]`` over the bag."""
    for q in range(low, high):
        for place in range(offsets[q], offsets[q + 1]):
            weight, row = weights[place], bags[place]
            for d in range(queries.shape[1]):
                queries[q, d] += weight * vectors[row, d]


@kernel()
def recall_bags(
    low: int,
    high: int,
    bag_offsets: Offsets,
    bags: Rows,
    bag_weights: Floats,
    memory_offsets: Offsets,
    memory_products: Rows,
    memory_weights: Floats,
    products: int,
    offsets: Offsets,
    rows: Rows,
    scores: Floats,
) -> None:
    """Set, for the bags ``low … high - 1``, the products that the memory knows and what it adds to their scores.

    scores(q, r) = Σ over the places i of bag q of bag_weights[i] · memory[bags[i], r]

    Query q's products stand ascending in ``rows[offsets[q]:offsets[q + 1]]``, a space counted by `count_distinct`.
    """
    total = np.empty(products, np.float32)  # of a row that is not marked, nothing is read
    words, groups = room_for_marks(products)
    for q in range(low, high):
        for place in range(bag_offsets[q], bag_offsets[q + 1]):
            p, weight = bags[place], bag_weights[place]
            for entry in range(memory_offsets[p], memory_offsets[p + 1]):
                row = memory_products[entry]
                word, bit = words[row >> SHIFT], bit_of(row)
                if word & bit == np.uint64(0):
                    words[row >> SHIFT] = word | bit
                    groups[row >> GROUP_SHIFT] |= bit_of(row >> SHIFT)
                    total[row] = np.float32(0)
                total[row] += weight * memory_weights[entry]
        found = take_marked(words, groups, rows, offsets[q])
        for place in range(offsets[q], found):
            scores[place] = total[rows[place]]
