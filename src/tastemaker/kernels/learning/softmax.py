"""Sampled softmax cross-entropy of free user vectors against product vectors, batch by batch.

A batch is synchronous: every score and coefficient comes from the vectors as they stood when it began (`learn_chunks`), then all
updates are applied (`apply_batch`). Either half may be shared out over threads and neither depends on their number: the first
works on fixed chunks of purchases, the second on fixed ranges of rows, each row's updates in the order of the batch.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.learning.sampling import draw_row
from tastemaker.kernels.prefetch import prefetch_row
from tastemaker.kernels.wide_rows import LANES, add_row, add_rows, dot_rows
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = ["CHUNKS", "RANGES", "apply_batch", "learn_chunks", "measure_softmax", "range_shift"]

CHUNKS = 16
"""Number of chunks of purchases in a batch, the unit of parallel work in the first half."""

RANGES = 128
"""Number of ranges of rows, the unit of parallel work in the second half: so many that a range fits the L1 or L2 cache."""

AHEAD = 8
"""Updates whose rows are asked for before their turn"""

PURCHASE = 32
"""An entry is (product << 32) | purchase of the chunk: with its weight 12 bytes, and one place to write each"""

LOG2_E = np.float32(1.4426950408889634)


@kernel(fast=True, inline=True)
def score_row(query: Floats, products: Floats, candidates: Rows, scores: Floats) -> None:
    """Set ``scores[1 + S]`` to the dot products of ``query[D]`` with the rows ``candidates[1 + S]``."""
    dimensions = query.shape[0]
    for j in range(candidates.shape[0]):
        total = np.float32(0)
        row = candidates[j]
        for d in range(dimensions):
            total += query[d] * products[row, d]
        scores[j] = total


@kernel(fast=True, inline=True)
def exponentials(scores: Floats, highest: np.float32, out: Floats, powers: Rows) -> np.float32:
    """Set ``out[n]`` to exp(x), x = scores - highest, relative error below 3e-7 + 8e-8 · |x|, and return their sum.

    exp(x) = 2^k · 2^f with k the nearest integer of x·log₂e and f in [-½, ½]; 2^f by its Taylor polynomial of degree 6,
    2^k by writing the exponent's bits. Plain enough for the compiler to vectorise, which a call of ``exp`` is not.
    """
    factor = powers.view(np.float32)
    for j in range(scores.shape[0]):
        x = max((scores[j] - highest) * LOG2_E, np.float32(-126))
        k = np.floor(x + np.float32(0.5))
        f = x - k
        p = np.float32(1.5403530e-4)
        p = p * f + np.float32(1.3333558e-3)
        p = p * f + np.float32(9.6181291e-3)
        p = p * f + np.float32(5.5504109e-2)
        p = p * f + np.float32(2.4022651e-1)
        p = p * f + np.float32(6.9314718e-1)
        out[j] = p * f + np.float32(1)
        powers[j] = (np.int32(k) + np.int32(127)) << np.int32(23)
    total = np.float32(0)
    for j in range(scores.shape[0]):
        out[j] *= factor[j]
        total += out[j]
    return total


@kernel(fast=True, inline=True)
def loss_and_hit(scores: Floats, candidates: Rows, out: Floats, powers: Rows) -> tuple[float, float]:
    """Set ``out`` to the softmax of ``scores``; return the cross-entropy of candidate 0 and whether it wins.

    It wins when it scores above every other product; a drawn copy of the bought product is no rival.
    """
    highest = scores[0]
    for j in range(scores.shape[0]):
        highest = max(highest, scores[j])
    total = exponentials(scores, highest, out, powers)
    scale = np.float32(1) / total
    for j in range(scores.shape[0]):
        out[j] *= scale
    rivals = 0
    for j in range(1, scores.shape[0]):
        rivals += (scores[j] >= scores[0]) & (candidates[j] != candidates[0])
    return np.log(np.float64(total)) + np.float64(highest) - np.float64(
        scores[0]
    ), 1.0 if rivals == 0 else 0.0


@kernel(inline=True)
def range_shift(rows: int) -> int:
    """Return the shift that turns a row into its range: ranges are powers of two, so that no division is needed."""
    shift = 0
    while (rows - 1) >> shift >= RANGES:
        shift += 1
    return shift


@kernel(inline=True)
def draw_candidates(
    products: Rows,
    first: int,
    catalogue: int,
    width: int,
    key: np.uint64,
    candidates: Rows,
    counts: Offsets,
    shift: int,
) -> None:
    """Set ``candidates[i, :width]`` to the product bought and those drawn; count those of each range, one place further on."""
    counts[:] = 0
    for i in range(products.shape[0]):
        mine = candidates[i, :width]
        mine[0] = products[i]
        draw_row(key, first + i, catalogue, mine[1:])
        for j in range(width):
            counts[(mine[j] >> shift) + 1] += 1


@kernel(inline=True)
def sort_by_range(
    candidates: Rows,
    weights: Floats,
    count: int,
    width: int,
    shift: int,
    counts: Offsets,
    entries: AnyArray,
    out: Floats,
) -> None:
    """Put the entries of the first ``count`` purchases, and their weights, side by side by range, each in the batch's order."""
    for i in range(count):
        for j in range(width):
            product = candidates[i, j]
            place = counts[product >> shift]
            counts[product >> shift] = place + 1
            entries[place] = (np.int64(product) << PURCHASE) | np.int64(i)
            out[place] = weights[i, j]


@kernel(fast=True)
def learn_chunks(
    low_chunk: int,
    high_chunk: int,
    user_vectors: Floats,
    product_vectors: Floats,
    users: Rows,
    products: Rows,
    first: int,
    catalogue: int,
    width: int,
    step: np.float32,
    key: np.uint64,
    blocks: tuple[int, ...],
    queries: Floats,
    gradients: Floats,
    sorted_entries: AnyArray,
    sorted_weights: Floats,
    borders: Offsets,
    sums: Doubles,
) -> None:
    """Do the chunks ``low_chunk … high_chunk - 1`` of the batch ``users[B], products[B]``: scores, loss, coefficients.

    Purchase i draws as number ``first + i`` of the stream ``key``, uniformly from ``catalogue`` products; ``width`` is 1 + S.
    Rows of all tables are of ``blocks`` cache lines, as `wide_rows` takes them. Writes ``queries[B, D]`` (the users' vectors),
    ``gradients[B, D]`` (what they will be changed by), and of each chunk an entry for each (product, purchase) and its weight,
    ``[CHUNKS, span · (1 + S)]``, grouped by range of product rows, group r at ``borders[chunk, r:r + 2]``. ``step`` is the
    learning rate over the batch's size. Adds loss and hits of each chunk to ``sums[CHUNKS, 8]``, columns 0 and 1 (a cache line for
    each chunk).
    """
    dimensions = user_vectors.shape[1]
    span = (users.shape[0] + CHUNKS - 1) // CHUNKS
    shift = range_shift(product_vectors.shape[0])
    padded = (width + LANES - 1) // LANES * LANES  # what is added names row 0, and its scores are not read
    candidates, weights = np.zeros((span, padded), np.int32), np.empty((span, padded), np.float32)
    scores, powers = np.empty(padded, np.float32), np.empty(width, np.int32)
    counts = np.empty(RANGES + 1, np.int64)
    for chunk in range(low_chunk, high_chunk):
        low, high = min(chunk * span, users.shape[0]), min((chunk + 1) * span, users.shape[0])
        # 1. For each purchase its candidates [1 + S], the bought product first.
        draw_candidates(products[low:high], first + low, catalogue, width, key, candidates, counts, shift)
        for i in range(low, high):
            k, query, gradient = i - low, queries[i], gradients[i]
            for d in range(dimensions):
                query[d] = user_vectors[users[i], d]
                gradient[d] = 0.0
            # 2. Their scores by the user's vector, while the next purchase's rows are on their way.
            more = i + 1 < high
            if more:
                prefetch_row(user_vectors, users[i + 1])
            for j in range(0, padded, LANES):
                for ahead in range(j, min(j + LANES, width) if more else j):
                    prefetch_row(product_vectors, candidates[k + 1, ahead])
                dot_rows(
                    queries, i * dimensions, product_vectors, candidates, k * padded + j, blocks, scores, j
                )
            weight = weights[k, :width]
            loss, hit = loss_and_hit(scores[:width], candidates[k, :width], weight, powers)
            sums[chunk, 0] += loss
            sums[chunk, 1] += hit
            # 3. The loss's gradients by the scores, times the step: weight[1 + S] = -step * (softmax - bought). They move the
            #    user by their weighted sum of the products, gradient[D]; the products are moved later, by `apply_batch`.
            weight[0] -= np.float32(1)
            for j in range(width):
                weight[j] *= -step
            add_rows(
                gradients, i * dimensions, weights, k * padded, width,
                product_vectors, candidates, k * padded, blocks,
            )  # fmt: skip
        # 4. Counting sort by range of rows.
        for r in range(RANGES):
            counts[r + 1] += counts[r]
        borders[chunk, :] = counts
        sort_by_range(
            candidates,
            weights,
            high - low,
            width,
            shift,
            counts,
            sorted_entries[chunk],
            sorted_weights[chunk],
        )


@kernel(fast=True)
def apply_batch(
    low_range: int,
    high_range: int,
    user_vectors: Floats,
    product_vectors: Floats,
    users: Rows,
    blocks: tuple[int, ...],
    queries: Floats,
    gradients: Floats,
    sorted_entries: AnyArray,
    sorted_weights: Floats,
    borders: Offsets,
) -> None:
    """Apply a batch's updates to the rows of the ranges ``low_range … high_range - 1``, of products and of users."""
    dimensions = user_vectors.shape[1]
    span = (users.shape[0] + CHUNKS - 1) // CHUNKS
    # Products: range after range, in each chunk after chunk, so in the order of the batch, whatever thread does it.
    for r in range(low_range, high_range):
        for chunk in range(CHUNKS):
            entries, weights, end = sorted_entries[chunk], sorted_weights[chunk], borders[chunk, r + 1]
            for place in range(borders[chunk, r], end):
                prefetch_row(product_vectors, entries[min(place + AHEAD, end - 1)] >> PURCHASE)
                entry = entries[place]
                purchase = chunk * span + (entry & np.int64(0xFFFFFFFF))
                add_row(
                    product_vectors, entry >> PURCHASE, weights[place], queries, purchase * dimensions, blocks
                )
    # Users: the same share of their rows.
    rows = user_vectors.shape[0]
    lowest, beyond = rows * low_range // RANGES, rows * high_range // RANGES
    for i in range(users.shape[0]):
        if lowest <= users[i] < beyond:
            for d in range(dimensions):
                user_vectors[users[i], d] += gradients[i, d]


@kernel(fast=True)
def measure_softmax(
    low: int,
    high: int,
    queries: Floats,
    product_vectors: Floats,
    bias: Floats,
    users: Rows,
    products: Rows,
    catalogue: int,
    negatives: int,
    key: np.uint64,
    losses: Doubles,
    hits: Doubles,
) -> None:
    """Set ``losses`` and ``hits`` of the purchases ``low … high - 1`` without learning from them.

    ``users[n]`` are rows of ``queries[Q, D]``, ``bias[P]`` is added to the products' scores; candidates are drawn as in
    `learn_chunks`.
    """
    candidates = np.empty(negatives + 1, np.int32)
    scores = np.empty(negatives + 1, np.float32)
    weights = np.empty(negatives + 1, np.float32)
    powers = np.empty(negatives + 1, np.int32)
    for i in range(low, high):
        candidates[0] = products[i]
        draw_row(key, i, catalogue, candidates[1:])
        score_row(queries[users[i]], product_vectors, candidates, scores)
        for j in range(candidates.shape[0]):
            scores[j] += bias[candidates[j]]
        losses[i], hits[i] = loss_and_hit(scores, candidates, weights, powers)
