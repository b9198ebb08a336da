"""Sampled softmax for queries composed of baskets: tied vectors, negatives shared by a batch, Adagrad by row.

A batch is a few whole users. Each of their products in turn is the one to find, and the query is composed of their others. All
scores of a batch come from the vectors as they stood when it began; then every row that took part makes one step.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.lanes import (
    LANES,
    exponential,
    fused,
    greater,
    greatest,
    hidden,
    load,
    minus,
    nothing,
    over,
    plus,
    spread,
    store,
    times,
    total,
)
from tastemaker.kernels.learning.sampling import GOLDEN_64, draw_row, mix64
from tastemaker.kernels.prefetch import prefetch, prefetch_row
from tastemaker.kernels.products import add_product, turn_over
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["ALL", "IN_BATCH", "SHARED", "draw_negatives", "learn_batches"]

SHARED, IN_BATCH, ALL = 0, 1, 2
"""How a batch gets its negatives: drawn by popularity, taken from its own purchases, or the whole catalogue (no sampling)."""

EPSILON = np.float32(1e-6)
"""Keeps the first step of a row with no gradient yet finite."""


@kernel(fast=True, inline=True)
def take_histories(
    users: Rows, offsets: Offsets, histories: Rows, longest: int, phase: float, ends: Offsets, targets: Rows
) -> int:
    """List the products of a batch of users, ``targets[:m]``, user i's ending before ``ends[i]``; return m.

    Of a history longer than ``longest`` an evenly spaced sample of that many is taken; ``phase`` in [0, 1) shifts it.
    """
    m = 0
    for i in range(users.shape[0]):
        start, count = offsets[users[i]], offsets[users[i] + 1] - offsets[users[i]]
        taken = min(count, longest)
        for j in range(taken):
            place = j if count == taken else int((j + phase) * count / taken)
            targets[m] = histories[start + min(place, count - 1)]
            m += 1
        ends[i] = m
    return m


@kernel(inline=True)
def compose_queries(
    vectors: Floats, count: int, ends: Offsets, targets: Rows, damping: float, queries: Floats, scales: Floats
) -> None:
    """Set ``queries[m, D]`` to the damped sum of the user's other products, and ``scales[m]`` to (n - 1)^-damping.

    A user with a single product has no other: query and scale are zero, and only the bias learns.
    """
    dimensions = vectors.shape[1]
    start = 0
    for i in range(count):
        end = ends[i]
        scale = np.float32(0) if end - start < 2 else np.float32(np.float64(end - start - 1) ** -damping)
        for j in range(start, end):
            scales[j] = scale
        for d in range(0, dimensions, LANES):
            whole = nothing()
            for j in range(start, end):
                whole = plus(whole, load(vectors, np.int64(targets[j]) * dimensions + d))
            for j in range(start, end):
                others = minus(whole, load(vectors, np.int64(targets[j]) * dimensions + d))
                store(queries, j * dimensions + d, times(spread(scale), others))
        start = end


@kernel(inline=True)
def draw_negatives(
    sampling: int,
    key: np.uint64,
    batch: int,
    phase: float,
    targets: Rows,
    chances: Floats,
    aliases: Rows,
    drawn: Rows,
    coins: Rows,
) -> None:
    """Fill ``drawn[S]`` with the negatives of a batch whose purchases are ``targets[m]``; ``coins[S]`` is scratch.

    SHARED draws by the alias method (a row evenly, kept by its chance); IN_BATCH takes the batch's own purchases, evenly
    spaced from a start that ``phase`` in [0, 1) shifts; ALL takes every product, S being P.
    """
    count = drawn.shape[0]
    if sampling == ALL:
        for k in range(count):
            drawn[k] = k
    elif sampling == IN_BATCH:
        for k in range(count):
            drawn[k] = targets[int((k + phase) * targets.shape[0] / count) % targets.shape[0]]
    else:
        draw_row(key, 2 * batch, chances.shape[0], drawn)
        draw_row(key, 2 * batch + 1, 1 << 24, coins)
        for k in range(count):
            if np.float32(coins[k]) >= chances[drawn[k]] * np.float32(16777216):
                drawn[k] = aliases[drawn[k]]


@kernel(inline=True)
def make_ready(
    users: Rows, offsets: Offsets, histories: Rows, longest: int, key: np.uint64, batch: int, sampling: int,
    chances: Floats, aliases: Rows, ends: Offsets, targets: Rows, drawn: Rows, coins: Rows,
    vectors: Floats, numbers: tuple[Floats, Floats, Floats, Floats, Floats, Floats], slots: Rows,
) -> int:  # fmt: skip
    """List what a batch learns from, and ask for all its rows at once: of a large catalogue none is in the cache. Return m.

    Nothing here depends on the vectors, so that it is done one batch ahead, and the rows arrive during the arithmetic.
    """
    phase = np.float64(mix64(key + np.uint64(batch) * GOLDEN_64) >> np.uint64(11)) / 9007199254740992.0
    m = take_histories(users, offsets, histories, longest, phase, ends, targets)
    draw_negatives(sampling, key, batch, phase, targets[:m], chances, aliases, drawn, coins)
    for i in range(m + drawn.shape[0]):
        row = targets[i] if i < m else drawn[i - m]
        prefetch_row(vectors, row)
        prefetch(slots, row)
        for number in numbers:
            prefetch(number, row)
    return m


@kernel(inline=True)
def softmax_rows(
    m: int, targets: Rows, drawn: Rows, corrections: Floats, vectors: Floats, bias: Floats, queries: Floats,
    logits: Floats, own: Floats, highest: Floats, rest: Floats,
) -> float:  # fmt: skip
    """Turn ``logits[m, S]`` into exp(logit - highest), an accidental hit's into almost 0; return how many targets win.

    Sets ``own[m]``, the targets' own scores, ``highest[m]`` of all, and ``rest[m]``, the sums. A target wins when it scores above
    every negative, uncorrected. ``drawn[S']`` and ``corrections[S']`` are padded, and the logits of what was added are -1e30.
    """
    dimensions, lanes, wins = vectors.shape[1], drawn.shape[0], 0.0
    for i in range(m):
        row, target, score = i * lanes, targets[i], nothing()
        for d in range(0, dimensions, LANES):
            vector = load(vectors, np.int64(target) * dimensions + d)
            score = fused(load(queries, i * dimensions + d), vector, score)
        own[i] = bias[target] + total(score)
        top, plain = spread(own[i]), spread(np.float32(-1e30))
        for k in range(0, lanes, LANES):
            value = hidden(load(logits, row + k), drawn, k, target)
            store(logits, row + k, value)
            top, plain = greater(value, top), greater(minus(value, load(corrections, k)), plain)
        highest[i] = greatest(top)
        wins += 0.0 if greatest(plain) >= own[i] else 1.0
        top, sums = spread(highest[i]), nothing()
        for k in range(0, lanes, LANES):
            value = exponential(minus(load(logits, row + k), top))
            store(logits, row + k, value)
            sums = plus(sums, value)
        rest[i] = total(sums)
    return wins


@kernel(inline=True)
def shares_of_rows(
    m: int, own: Floats, highest: Floats, rest: Floats, shares: Floats, errors: Floats
) -> float:
    """Set ``shares[m]`` to what makes exponentials a softmax, ``errors[m]`` to the targets' own less 1; return the loss.

    All arrays are padded to whole values. The loss is Σ log(sum) + highest - own; the sums are multiplied, and one logarithm is
    taken of many, before their product leaves the range of float64.
    """
    for i in range(0, m, LANES):
        mine = exponential(minus(load(own, i), load(highest, i)))
        whole = plus(load(rest, i), mine)
        share = over(spread(np.float32(1)), whole)
        store(rest, i, whole)
        store(shares, i, share)
        store(errors, i, minus(times(mine, share), spread(np.float32(1))))
    loss, product = 0.0, 1.0
    for i in range(m):
        loss += np.float64(highest[i]) - np.float64(own[i])
        product *= np.float64(rest[i])
        if product > 1e200:
            loss += np.log(product)
            product = 1.0
    return float(loss + np.log(product))


@kernel(inline=True)
def turn_to_baskets(
    users: int, ends: Offsets, targets: Rows, vectors: Floats, shares: Floats, errors: Floats, scales: Floats,
    pulls: Floats,
) -> None:  # fmt: skip
    """Turn ``pulls[m, D]``, what the negatives pull each query by, into what each product gets as a part of baskets.

    Completed by the target's own pull and scaled, they are the gradients by the sums of the user's other products; so a product
    gets the sum of the user's pulls less its own.
    """
    dimensions = vectors.shape[1]
    start = 0
    for u in range(users):
        end = ends[u]
        for d in range(0, dimensions, LANES):
            whole = nothing()
            for i in range(start, end):
                own = times(spread(errors[i]), load(vectors, np.int64(targets[i]) * dimensions + d))
                pull = fused(spread(shares[i]), load(pulls, i * dimensions + d), own)
                pull = times(spread(scales[i]), pull)
                store(pulls, i * dimensions + d, pull)
                whole = plus(whole, pull)
            for i in range(start, end):
                store(pulls, i * dimensions + d, minus(whole, load(pulls, i * dimensions + d)))
        start = end


@kernel(inline=True)
def gather_by_row(
    m: int, targets: Rows, drawn: Rows, errors: Floats, scales: Floats, queries: Floats, pushes: Floats,
    pulls: Floats, falls: Floats, slots: Rows, used: Rows, gradients: Floats, others: Floats,
) -> int:  # fmt: skip
    """Sum the gradients of each row that takes part, first as a negative, then as a target; return how many rows do.

    Row ``used[j]`` gets ``gradients[j, 2D]``, as what is found and as a part of baskets, and ``others[j, 3]``: the bias's gradient,
    and how often it was a target, and a part of baskets. Where that is never, the second half is not set. ``slots`` is -1 again.
    """
    dimensions, count = queries.shape[1], 0
    for k in range(drawn.shape[0]):
        slot = int(slots[drawn[k]])
        fresh = slot < 0
        if fresh:
            slot = count
            slots[drawn[k]], used[slot] = slot, drawn[k]
            others[slot, 0], others[slot, 1], others[slot, 2] = 0, 0, 0
            count += 1
        others[slot, 0] += falls[k]
        for d in range(0, dimensions, LANES):
            place, value = slot * 2 * dimensions + d, load(pushes, k * dimensions + d)
            store(gradients, place, value if fresh else plus(load(gradients, place), value))
    for i in range(m):
        slot = int(slots[targets[i]])
        fresh = slot < 0
        if fresh:
            slot = count
            slots[targets[i]], used[slot] = slot, targets[i]
            others[slot, 0], others[slot, 1], others[slot, 2] = 0, 0, 0
            count += 1
        others[slot, 0] += errors[i]
        others[slot, 1] += 1
        error = spread(errors[i])
        for d in range(0, dimensions, LANES):
            place = slot * 2 * dimensions + d
            before = nothing() if fresh else load(gradients, place)
            store(gradients, place, fused(error, load(queries, i * dimensions + d), before))
        if scales[i] > 0:
            fresh = others[slot, 2] == 0
            others[slot, 2] += 1
            for d in range(0, dimensions, LANES):
                place, value = (slot * 2 + 1) * dimensions + d, load(pulls, i * dimensions + d)
                store(gradients, place, value if fresh else plus(load(gradients, place), value))
    for j in range(count):
        slots[used[j]] = -1
    return count


@kernel(inline=True)
def step_rows(
    count: int, used: Rows, gradients: Floats, others: Floats, vectors: Floats, bias: Floats,
    target_squares: Floats, basket_squares: Floats, bias_squares: Floats, decay: Floats, rate: np.float32,
) -> None:  # fmt: skip
    """Make one step of Adagrad for each row that took part."""
    dimensions = vectors.shape[1]
    for j in range(count):
        row = np.int64(used[j])
        vector, found, part = row * dimensions, j * 2 * dimensions, (j * 2 + 1) * dimensions
        baskets = others[j, 2] > 0
        pull, square = spread(decay[row] * others[j, 1]), nothing()
        for d in range(0, dimensions, LANES):
            gradient = fused(pull, load(vectors, vector + d), load(gradients, found + d))
            square = fused(gradient, gradient, square)
            store(gradients, found + d, gradient)
        target_squares[row] += total(square)
        step = spread(-rate / np.sqrt(target_squares[row] + EPSILON))
        if baskets:
            pull, square = spread(decay[row] * others[j, 2]), nothing()
            for d in range(0, dimensions, LANES):
                gradient = fused(pull, load(vectors, vector + d), load(gradients, part + d))
                square = fused(gradient, gradient, square)
                store(gradients, part + d, gradient)
            basket_squares[row] += total(square)
            basket_step = spread(-rate / np.sqrt(basket_squares[row] + EPSILON))
            for d in range(0, dimensions, LANES):
                moved = fused(step, load(gradients, found + d), load(vectors, vector + d))
                store(vectors, vector + d, fused(basket_step, load(gradients, part + d), moved))
        else:
            for d in range(0, dimensions, LANES):
                moved = fused(step, load(gradients, found + d), load(vectors, vector + d))
                store(vectors, vector + d, moved)
        bias_squares[row] += others[j, 0] * others[j, 0]
        bias[row] -= rate / np.sqrt(bias_squares[row] + EPSILON) * others[j, 0]


@kernel()
def learn_batches(
    first_batch: int,
    last_batch: int,
    order: Rows,
    batch_starts: Offsets,
    offsets: Offsets,
    histories: Rows,
    longest: int,
    vectors: Floats,
    bias: Floats,
    target_squares: Floats,
    basket_squares: Floats,
    bias_squares: Floats,
    decay: Floats,
    sampling: int,
    negatives: int,
    alias_chances: Floats,
    alias_rows: Rows,
    corrections: Floats,
    damping: float,
    learning_rate: float,
    key: np.uint64,
    sums: Doubles,
) -> None:
    """Learn from the batches ``first_batch … last_batch - 1`` of an epoch, in turn, changing the tables in place.

    Batch b holds the users ``order[batch_starts[b]:batch_starts[b + 1]]`` and gets its S negatives by `draw_negatives`.
    For the target t of a query q, with logits q·v + b, and -log(S · chance) added to the negatives' (``corrections[P]``, logQ):

        loss = -log softmax_t over {t} ∪ {negatives that are not t}

    Every row's gradients in the batch are summed; then, per row (Adagrad, of one scalar a row),

        squares += |g|²,  v -= learning_rate · g / √squares,  g holding decay[row] · v for every time the row was bought

    Adds the batch's loss, hits (the target scores above every negative, uncorrected) and purchases to ``sums[3]``.
    Source: J. DUCHI, E. HAZAN, Y. SINGER 2011 (Adagrad); Y. BENGIO, J. SENÉCAL 2008 (sampled softmax with logQ correction).
    """
    # D is padded to whole cache lines; m below is the purchases of a batch, at most `room`; u its users, at most `most`.
    dimensions, products = vectors.shape[1], vectors.shape[0]
    room, most = 0, 0
    for b in range(first_batch, last_batch):
        size = 0
        for place in range(batch_starts[b], batch_starts[b + 1]):
            size += min(offsets[order[place] + 1] - offsets[order[place]], longest)
        room = max(room, size)
        most = max(most, batch_starts[b + 1] - batch_starts[b])
    room += -room % LANES  # whole values
    lanes = negatives + -negatives % LANES  # S likewise; what is added never wins and never moves
    # Of this batch and the next, in turns: what is learned from, targets[2, m], user i's end before ends[2, i]; the negatives.
    targets, ends = np.empty((2, room), np.int32), np.empty((2, most), np.int64)
    drawn, coins, sizes = (
        np.full((2, lanes), -1, np.int32),
        np.empty(negatives, np.int32),
        np.zeros(2, np.int64),
    )
    queries, scaled, pulls = (
        np.empty((room, dimensions), np.float32),
        np.empty((room, dimensions), np.float32),
        np.empty((room, dimensions), np.float32),
    )
    sampled, turned = np.zeros((lanes, dimensions), np.float32), np.zeros((dimensions, lanes), np.float32)
    pushes, falls = np.empty((lanes, dimensions), np.float32), np.empty(lanes, np.float32)
    logits = np.empty((room, lanes), np.float32)
    tilts, corrected = np.full(lanes, np.float32(-1e30)), np.zeros(lanes, np.float32)
    # By target: the scale of its query, its own score, the highest and the sum of all, what makes that a softmax, its error.
    scales, own, highest = np.zeros(room, np.float32), np.zeros(room, np.float32), np.zeros(room, np.float32)
    rest, shares, errors = np.ones(room, np.float32), np.zeros(room, np.float32), np.zeros(room, np.float32)
    # A row that takes part in the batch has a slot, in which its gradients gather; slots[P] says which, -1 for none.
    slots, used = np.full(products, -1, np.int32), np.empty(room + lanes, np.int32)
    gradients = np.empty((room + lanes, 2 * dimensions), np.float32)
    others = np.empty((room + lanes, 3), np.float32)
    numbers = (bias, corrections, decay, target_squares, basket_squares, bias_squares)
    rate = np.float32(learning_rate)

    for b in range(first_batch - 1, last_batch):
        # 1. Ahead: the batch that comes next is listed, and its rows asked for.
        after = (b + 1) & 1
        if b + 1 < last_batch:
            sizes[after] = make_ready(
                order[batch_starts[b + 1] : batch_starts[b + 2]], offsets, histories, longest, key, b + 1, sampling,
                alias_chances, alias_rows, ends[after], targets[after], drawn[after, :negatives], coins,
                vectors, numbers, slots,
            )  # fmt: skip
        if b < first_batch:
            continue
        m, users = sizes[b & 1], batch_starts[b + 1] - batch_starts[b]
        bought, until, rivals = targets[b & 1], ends[b & 1], drawn[b & 1]
        # 2. A query for each target, composed of the user's others: queries[m, D], scales[m]; the negatives' vectors as rows
        #    sampled[S, D] and as columns turned[D, S], their bias and logQ correction tilts[S].
        compose_queries(vectors, users, until, bought, damping, queries, scales)
        for k in range(negatives):
            row = np.int64(rivals[k])
            corrected[k] = corrections[row]
            tilts[k] = bias[row] + corrected[k]
            for d in range(0, dimensions, LANES):
                store(sampled, k * dimensions + d, load(vectors, row * dimensions + d))
        turn_over(sampled, turned)
        # 3. Scores of the negatives: logits[m, S] = tilts[S] + queries[m, D] @ turned[D, S]; then softmax over target and
        #    negatives. logits[m, S] become exponentials, which shares[m] make the loss's gradients by the negatives' scores.
        for i in range(m):
            for k in range(0, lanes, LANES):
                store(logits, i * lanes + k, load(tilts, k))
        add_product(logits, 0, lanes, m, lanes, queries, 0, dimensions, 1, turned, 0, lanes, dimensions)
        sums[1] += softmax_rows(
            m, bought, rivals, corrected, vectors, bias, queries, logits, own, highest, rest
        )
        sums[0] += shares_of_rows(m, own, highest, rest, shares, errors)
        sums[2] += m
        # 4. Gradients by the queries, pulls[m, D] = logits[m, S] @ sampled[S, D]; by the negatives' vectors,
        #    pushes[S, D] = logits[m, S].T @ (shares[m] · queries[m, D]); and by their bias, falls[S].
        for i in range(m):
            share = spread(shares[i])
            for d in range(0, dimensions, LANES):
                store(scaled, i * dimensions + d, times(share, load(queries, i * dimensions + d)))
                store(pulls, i * dimensions + d, nothing())
        for k in range(0, lanes, LANES):
            fall = nothing()
            for i in range(m):
                fall = fused(spread(shares[i]), load(logits, i * lanes + k), fall)
            store(falls, k, fall)
            for d in range(0, LANES * dimensions, LANES):
                store(pushes, k * dimensions + d, nothing())
        add_product(
            pulls, 0, dimensions, m, dimensions, logits, 0, lanes, 1, sampled, 0, dimensions, negatives
        )
        add_product(
            pushes, 0, dimensions, negatives, dimensions, logits, 0, 1, lanes, scaled, 0, dimensions, m
        )
        # 5. Through the queries to the baskets, all gradients summed by row, and one step for each row that took part.
        turn_to_baskets(users, until, bought, vectors, shares, errors, scales, pulls)
        count = gather_by_row(
            m,
            bought,
            rivals[:negatives],
            errors,
            scales,
            queries,
            pushes,
            pulls,
            falls,
            slots,
            used,
            gradients,
            others,
        )
        step_rows(
            count,
            used,
            gradients,
            others,
            vectors,
            bias,
            target_squares,
            basket_squares,
            bias_squares,
            decay,
            rate,
        )
