"""Sampled softmax cross-entropy of free user vectors against product vectors, batch by batch.

A batch is synchronous: every score and coefficient comes from the vectors as they stood when it began (`learn_chunk`), then all
updates are applied (`apply_range`). Threads share either half and neither depends on their number: the first works on fixed chunks
of purchases, the second on fixed ranges of rows, each row's updates in the order of the batch.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.lanes import (
    LANES,
    exponential,
    greater,
    greatest,
    load,
    minus,
    nothing,
    plus,
    spread,
    store,
    times,
    total,
)
from tastemaker.kernels.learning.sampling import draw_row
from tastemaker.kernels.meeting import add_one, meet
from tastemaker.kernels.prefetch import prefetch_far_row
from tastemaker.kernels.products import dot, total_of
from tastemaker.kernels.wide_rows import add_row, add_rows, dot_rows
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = ["CHUNKS", "RANGES", "TICKETS", "learn_purchases", "measure_softmax", "range_shift"]

CHUNKS = 16
"""Number of chunks of purchases in a batch, the unit of parallel work in the first half."""

RANGES = 128
"""Number of ranges of rows, the unit of parallel work in the second half: so many that a range fits the L1 or L2 cache."""

USER_PARTS = 4
"""Parts of the users' rows, units of that work, too: each looks through the whole batch"""

TICKETS = 32
"""Numbers between the counts of what is taken of one batch and of the next: two cache lines of the first, one for each half"""

AHEAD = 24
"""Updates whose rows are asked for before their turn"""

LOG2_E = np.float32(1.4426950408889634)


@kernel(inline=True)
def score_row(query: Floats, products: Floats, candidates: Rows, scores: Floats) -> None:
    """Set ``scores[1 + S]`` to the dot products of ``query[D]`` with the rows ``candidates[1 + S]``."""
    for j in range(candidates.shape[0]):
        scores[j] = dot(query, products[candidates[j]])


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
    for j in range(scores.shape[0]):
        out[j] *= factor[j]
    return total_of(out)


@kernel(inline=True)
def loss_and_hit(
    scores: Floats, candidates: Rows, width: int, scale: np.float32, weights: Floats, place: int
) -> tuple[float, float]:
    """Set ``weights.flat[place:place + width]`` to ``scale`` times the softmax of ``scores[:width]``.

    Returns the cross-entropy of candidate 0 and whether it wins: when it scores above every other product; a drawn copy of the
    bought product is no rival. Scores and weights have room for whole `LANES` beyond ``width``, which is written to.
    """
    padded = (width + LANES - 1) // LANES * LANES
    for j in range(width, padded):
        scores[j] = np.float32(-1e30)
    top = load(scores, 0)
    for j in range(LANES, padded, LANES):
        top = greater(load(scores, j), top)
    highest = greatest(top)
    top, sums = spread(highest), nothing()
    for j in range(0, padded, LANES):
        value = exponential(minus(load(scores, j), top))
        store(weights, place + j, value)
        sums = plus(sums, value)
    rest = total(sums)
    factor = spread(scale / rest)
    for j in range(0, padded, LANES):
        store(weights, place + j, times(factor, load(weights, place + j)))
    own, bought, rivals = scores[0], candidates[0], 0
    for j in range(1, width):
        rivals += (scores[j] >= own) & (candidates[j] != bought)
    return np.log(np.float64(rest)) + np.float64(highest) - np.float64(own), 1.0 if rivals == 0 else 0.0


@kernel(inline=True)
def range_shift(rows: int) -> np.uint32:
    """Return the shift that turns a row into its range: ranges are powers of two, so that no division is needed."""
    shift = np.uint32(0)
    while (rows - 1) >> shift >= RANGES:
        shift += np.uint32(1)
    return shift


@kernel(inline=True)
def draw_candidates(
    products: Rows,
    first: int,
    catalogue: int,
    width: int,
    key: np.uint64,
    candidates: Rows,
    counts: AnyArray,
    shift: np.uint32,
) -> None:
    """Set ``candidates[i, :width]`` to the product bought and those drawn; count those of each range, one place further on."""
    counts[:] = 0
    rows = candidates.view(np.uint32)  # no index without a sign is looked at for being below 0
    for i in range(products.shape[0]):
        mine = candidates[i, :width]
        mine[0] = products[i]
        draw_row(key, first + i, catalogue, mine[1:])
        for j in range(width):
            counts[(rows[i, j] >> shift) + np.uint32(1)] += np.uint32(1)


@kernel(inline=True)
def sort_by_range(
    candidates: Rows,
    weights: Floats,
    count: int,
    width: int,
    shift: np.uint32,
    bits: np.uint32,
    counts: AnyArray,
    entries: AnyArray,
    out: Floats,
) -> None:
    """Put the entries of the first ``count`` purchases, and their weights, side by side by range, each in the batch's order.

    An entry is the row within its range, and in the last ``bits`` the purchase.
    """
    rows, within = candidates.view(np.uint32), (np.uint64(1) << np.uint64(shift)) - np.uint64(1)
    for i in range(count):
        for j in range(width):
            row = rows[i, j]
            place = counts[row >> shift]
            counts[row >> shift] = place + np.uint32(1)
            entries[place] = ((np.uint64(row) & within) << np.uint64(bits)) | np.uint64(i)
            out[place] = weights[i, j]


@kernel(inline=True)
def bits_of(purchases: int) -> np.uint32:
    """Return how many bits hold the number of each of so many purchases."""
    bits = np.uint32(0)
    while (purchases - 1) >> bits:
        bits += np.uint32(1)
    return bits


@kernel(inline=True)
def learn_chunk(
    chunk: int,
    user_vectors: Floats,
    product_vectors: Floats,
    users: Rows,
    products: Rows,
    first: int,
    width: int,
    step: np.float32,
    key: np.uint64,
    blocks: tuple[int, ...],
    queries: Floats,
    gradients: Floats,
    entries: AnyArray,
    entry_weights: Floats,
    borders: Offsets,
    candidates: Rows,
    weights: Floats,
    scores: Floats,
    counts: AnyArray,
) -> tuple[float, float]:
    """Do one chunk of the batch ``users[B], products[B]``: scores, loss, coefficients; return its loss and hits.

    Writes its rows of ``queries[B, D]`` (the users' vectors) and ``gradients[B, D]`` (what they will be changed by), and an entry
    for each (product, purchase) with its weight, ``[span · (1 + S)]``: by range of product rows, group r at ``borders[r:r + 2]``.
    ``candidates`` and ``weights[span, padded]``, ``scores[padded]`` and ``counts[RANGES + 1]`` are scratch.
    """
    dimensions, padded = user_vectors.shape[1], scores.shape[0]
    span = (users.shape[0] + CHUNKS - 1) // CHUNKS
    shift, bits = range_shift(product_vectors.shape[0]), bits_of(span)
    low, high = min(chunk * span, users.shape[0]), min((chunk + 1) * span, users.shape[0])
    loss = hits = 0.0
    # 1. For each purchase its candidates [1 + S], the bought product first.
    catalogue = product_vectors.shape[0]
    draw_candidates(products[low:high], first + low, catalogue, width, key, candidates, counts, shift)
    for i in range(low, high):
        k, user = i - low, np.int64(users[i])
        for d in range(0, dimensions, LANES):
            store(queries, i * dimensions + d, load(user_vectors, user * dimensions + d))
            store(gradients, i * dimensions + d, nothing())
        # 2. Their scores by the user's vector, while the next purchase's rows are on their way.
        more = i + 1 < high
        if more:
            prefetch_far_row(user_vectors, users[i + 1])
        for j in range(0, padded, LANES):
            for ahead in range(j, min(j + LANES, width) if more else j):
                prefetch_far_row(product_vectors, candidates[k + 1, ahead])
            dot_rows(queries, i * dimensions, product_vectors, candidates, k * padded + j, blocks, scores, j)
        # 3. The loss's gradients by the scores, times the step: weight[1 + S] = -step * (softmax - bought). They move the
        #    user by their weighted sum of the products, gradient[D]; the products are moved later, by `apply_range`.
        own, hit = loss_and_hit(scores, candidates[k], width, -step, weights, k * padded)
        loss, hits = loss + own, hits + hit
        weights[k, 0] += step
        add_rows(
            gradients, i * dimensions, weights, k * padded, width, product_vectors, candidates, k * padded, blocks
        )  # fmt: skip
    # 4. Counting sort by range of rows.
    for r in range(RANGES):
        counts[r + 1] += counts[r]
    borders[:] = counts
    sort_by_range(candidates, weights, high - low, width, shift, bits, counts, entries, entry_weights)
    return loss, hits


@kernel(inline=True)
def apply_range(
    r: int,
    product_vectors: Floats,
    purchases: int,
    blocks: tuple[int, ...],
    queries: Floats,
    sorted_entries: AnyArray,
    sorted_weights: Floats,
    borders: Offsets,
) -> None:
    """Apply the updates of a batch of so many purchases to one range of products: chunk after chunk, in the order of the batch."""
    dimensions = product_vectors.shape[1]
    span = (purchases + CHUNKS - 1) // CHUNKS
    base = np.int64(r) << np.int64(range_shift(product_vectors.shape[0]))
    bits = np.int64(bits_of(span))
    of_chunk = (np.int64(1) << bits) - 1
    for chunk in range(CHUNKS):
        entries, weights, end = sorted_entries[chunk], sorted_weights[chunk], borders[chunk, r + 1]
        for place in range(borders[chunk, r], end):
            later = np.int64(entries[min(place + AHEAD, end - 1)])
            prefetch_far_row(product_vectors, int(base + (later >> bits)))
            entry = np.int64(entries[place])
            purchase = chunk * span + (entry & of_chunk)
            add_row(
                product_vectors, base + (entry >> bits), weights[place], queries, purchase * dimensions, blocks
            )  # fmt: skip


@kernel(inline=True)
def apply_to_users(part: int, user_vectors: Floats, users: Rows, gradients: Floats) -> None:
    """Apply a batch's updates to one of `USER_PARTS` parts of the users' rows."""
    dimensions, rows = user_vectors.shape[1], user_vectors.shape[0]
    lowest, beyond = rows * part // USER_PARTS, rows * (part + 1) // USER_PARTS
    for i in range(users.shape[0]):
        user = np.int64(users[i])
        if lowest <= user < beyond:
            for d in range(0, dimensions, LANES):
                place = user * dimensions + d
                store(
                    user_vectors, place, plus(load(user_vectors, place), load(gradients, i * dimensions + d))
                )


@kernel()
def learn_purchases(
    threads: int,
    meeting: Offsets,
    tickets: Offsets,
    user_vectors: Floats,
    product_vectors: Floats,
    users: Rows,
    products: Rows,
    first: int,
    batch: int,
    width: int,
    rate: float,
    key: np.uint64,
    blocks: tuple[int, ...],
    queries: Floats,
    gradients: Floats,
    sorted_entries: AnyArray,
    sorted_weights: Floats,
    borders: Offsets,
    sums: Doubles,
) -> None:
    """Learn from the purchases ``users[N], products[N]``, ``batch`` after ``batch``, as one of so many threads.

    All threads call this with the same arguments, and run at the same time: they meet twice a batch. Each takes the next chunk, and
    then the next range of rows, as it comes: ``tickets``, zeros, ``int64[batches, 2, 16]``, say how many are taken.

    Purchase i draws as number ``first + i`` of the stream ``key``, uniformly from all products; ``width`` is 1 + S. Rows of all
    tables are of ``blocks`` cache lines, as `wide_rows` takes them. The threads share ``queries`` and ``gradients[B, D]``, B being
    the longest batch, and the updates of each chunk with their weights, ``[CHUNKS, span · (1 + S)]``, and
    ``borders[CHUNKS, RANGES + 1]``. Adds loss and hits of each chunk to ``sums[CHUNKS, 8]``, columns 0 and 1 (a cache line each).
    """
    longest = min(batch, users.shape[0])
    span = (longest + CHUNKS - 1) // CHUNKS
    padded = (width + LANES - 1) // LANES * LANES  # what is added names row 0, and its scores are not read
    candidates, weights = np.zeros((span, padded), np.int32), np.empty((span, padded), np.float32)
    scores, counts = np.empty(padded, np.float32), np.empty(RANGES + 1, np.uint32)
    for turn in range(tickets.shape[0]):
        low, high = turn * batch, min(turn * batch + batch, users.shape[0])
        mine, theirs = users[low:high], products[low:high]
        step = np.float32(rate / np.float64(high - low))
        while True:
            chunk = add_one(tickets, turn * TICKETS)
            if chunk >= CHUNKS:
                break
            loss, hits = learn_chunk(
                chunk, user_vectors, product_vectors, mine, theirs, first + low, width, step, key, blocks, queries, gradients,
                sorted_entries[chunk], sorted_weights[chunk], borders[chunk], candidates, weights, scores, counts,
            )  # fmt: skip
            sums[chunk, 0] += loss
            sums[chunk, 1] += hits
        meet(meeting, threads)
        while True:
            r = add_one(tickets, turn * TICKETS + TICKETS // 2)
            if r >= USER_PARTS + RANGES:
                break
            if r < USER_PARTS:
                apply_to_users(r, user_vectors, mine, gradients)
            else:
                apply_range(
                    r - USER_PARTS, product_vectors, high - low, blocks, queries, sorted_entries, sorted_weights, borders
                )  # fmt: skip
        meet(meeting, threads)


@kernel()
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
    `learn_purchases`.
    """
    width = negatives + 1
    candidates, room = np.empty(width, np.int32), (width + LANES - 1) // LANES * LANES
    scores, weights = np.empty(room, np.float32), np.empty(room, np.float32)
    for i in range(low, high):
        candidates[0] = products[i]
        draw_row(key, i, catalogue, candidates[1:])
        score_row(queries[users[i]], product_vectors, candidates, scores)
        for j in range(width):
            scores[j] += bias[candidates[j]]
        losses[i], hits[i] = loss_and_hit(scores, candidates, width, np.float32(1), weights, 0)
