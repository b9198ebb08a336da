"""Sampled softmax for queries composed of baskets: tied vectors, negatives shared by a batch, Adagrad by row.

A batch is a few whole users. Each of their products in turn is the one to find, and the query is composed of their others. All
scores of a batch come from the vectors as they stood when it began; then every row that took part makes one step.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.learning.sampling import GOLDEN_64, draw_row, mix64
from tastemaker.kernels.learning.softmax import exponentials
from tastemaker.kernels.multiply import multiply_add
from tastemaker.kernels.prefetch import prefetch, prefetch_row
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


@kernel(fast=True, inline=True)
def compose_queries(
    vectors: Floats, count: int, ends: Offsets, targets: Rows, damping: float, queries: Floats, scales: Floats
) -> None:
    """Set ``queries[m, D]`` to the damped sum of the user's other products, and ``scales[m]`` to (n - 1)^-damping.

    A user with a single product has no other: query and scale are zero, and only the bias learns.
    """
    dimensions = vectors.shape[1]
    total = np.empty(dimensions, np.float32)
    start = 0
    for i in range(count):
        end = ends[i]
        total[:] = 0
        for j in range(start, end):
            for d in range(dimensions):
                total[d] += vectors[targets[j], d]
        scale = np.float32(0) if end - start < 2 else np.float32(np.float64(end - start - 1) ** -damping)
        for j in range(start, end):
            scales[j] = scale
            for d in range(dimensions):
                queries[j, d] = (total[d] - vectors[targets[j], d]) * scale
        start = end


@kernel(fast=True, inline=True)
def slot_of(row: int, slots: Rows, used: Rows, count: int, gradients: Floats, others: Floats) -> int:
    """Return the place where a row's gradient gathers, a fresh and zeroed one at ``count`` if it has none yet."""
    if slots[row] >= 0:
        return int(slots[row])
    slots[row] = count
    used[count] = row
    gradients[count, :] = 0
    others[count, :] = 0
    return count


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


@kernel(fast=True)
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
    dimensions = vectors.shape[1]
    products = vectors.shape[0]
    room, most = 0, 0
    for b in range(first_batch, last_batch):
        size = 0
        for place in range(batch_starts[b], batch_starts[b + 1]):
            size += min(offsets[order[place] + 1] - offsets[order[place]], longest)
        room = max(room, size)
        most = max(most, batch_starts[b + 1] - batch_starts[b])
    lanes = (
        negatives + -negatives % 16
    )  # S padded to whole vector registers; the padding never wins and never moves
    targets, ends = np.empty(room, np.int32), np.empty(most, np.int64)
    queries, pulls = np.empty((room, dimensions), np.float32), np.empty((room, dimensions), np.float32)
    scales = np.empty(room, np.float32)
    drawn, coins = np.empty(negatives, np.int32), np.empty(negatives, np.int32)
    sampled, turned = np.zeros((lanes, dimensions), np.float32), np.zeros((dimensions, lanes), np.float32)
    logits, weights = np.empty((room, lanes), np.float32), np.empty((lanes, room), np.float32)
    offsets_of = np.zeros(lanes, np.float32)
    row_logits, row_out, powers = (
        np.empty(lanes, np.float32),
        np.empty(lanes, np.float32),
        np.empty(lanes, np.int32),
    )
    pushes, errors = np.empty((lanes, dimensions), np.float32), np.empty(room, np.float32)
    # A row that takes part in the batch has a slot, in which its gradients gather; slots[P] says which, -1 for none.
    slots = np.full(products, -1, np.int32)
    used = np.empty(room + lanes, np.int32)
    gradients = np.empty(
        (room + lanes, 2 * dimensions), np.float32
    )  # [slot, 2D]: as a target, as a part of baskets
    others = np.empty(
        (room + lanes, 3), np.float32
    )  # [slot, 3]: the bias's gradient; times as a target, in baskets
    total = np.empty(dimensions, np.float32)

    for b in range(first_batch, last_batch):
        # 1. What is learned from: targets[m], the users' products one after another; user i's end before ends[i].
        users = order[batch_starts[b] : batch_starts[b + 1]]
        phase = np.float64(mix64(key + np.uint64(b) * GOLDEN_64) >> np.uint64(11)) / 9007199254740992.0
        m = take_histories(users, offsets, histories, longest, phase, ends, targets)
        # 2. Negatives, shared by all targets: drawn[S]. All rows that take part are asked for at once: of a large catalogue none
        #    is in the cache, and waiting for them one after the other would take longer than the arithmetic.
        draw_negatives(sampling, key, b, phase, targets[:m], alias_chances, alias_rows, drawn, coins)
        for i in range(m + negatives):
            row = targets[i] if i < m else drawn[i - m]
            prefetch_row(vectors, row)
            prefetch(slots, row)
            prefetch(bias, row)
            prefetch(corrections, row)
            prefetch(decay, row)
            prefetch(target_squares, row)
            prefetch(basket_squares, row)
            prefetch(bias_squares, row)
        # 3. A query for each target, composed of the user's others: queries[m, D], scales[m]; the negatives' vectors as rows
        #    sampled[S, D] and as columns turned[D, S], and their bias and logQ correction offsets_of[S].
        compose_queries(vectors, users.shape[0], ends, targets, damping, queries, scales)
        for k in range(negatives):
            row = drawn[k]
            offsets_of[k] = bias[row] + corrections[row]
            for d in range(dimensions):
                sampled[k, d] = vectors[row, d]
                turned[d, k] = vectors[row, d]

        # 4. Scores of the negatives: logits[m, S] = queries[m, D] @ turned[D, S] + offsets_of[S].
        for i in range(m):
            for k in range(lanes):
                logits[i, k] = offsets_of[k]
        multiply_add(queries, turned, logits, m, dimensions)
        # 5. Softmax over target and negatives, one target at a time. logits[m, S] become the loss's gradients by the negatives'
        #    scores, weights[S, m] the same turned around, errors[m] those by the targets' own scores.
        for i in range(m):
            target = targets[i]
            own = bias[target]
            for d in range(dimensions):
                own += queries[i, d] * vectors[target, d]
            highest, rivals = own, 0
            for k in range(negatives):
                value = (
                    logits[i, k] if drawn[k] != target else np.float32(-1e30)
                )  # an accidental hit is no rival
                row_logits[k] = value
                highest = max(highest, value)
                rivals += value - corrections[drawn[k]] >= own
            for k in range(negatives, lanes):
                row_logits[k] = np.float32(-1e30)
            rest = exponentials(row_logits, highest, row_out, powers)
            mine = np.exp(own - highest)
            scale = np.float32(1) / (rest + mine)
            for k in range(lanes):
                logits[i, k] = row_out[k] * scale
                weights[k, i] = logits[i, k]
            errors[i] = mine * scale - np.float32(1)
            sums[0] += np.log(np.float64(rest) + np.float64(mine)) + np.float64(highest) - np.float64(own)
            sums[1] += 1.0 if rivals == 0 else 0.0
        # 6. Gradients by the queries, pulls[m, D] = logits[m, S] @ sampled[S, D], and by the negatives' vectors,
        #    pushes[S, D] = weights[S, m] @ queries[m, D].
        sums[2] += m
        pulls[:m] = 0
        pushes[:] = 0
        multiply_add(logits, sampled, pulls, m, negatives)
        multiply_add(weights, queries, pushes, negatives, m)

        # 7. Gather by row: first the negatives (a row drawn twice gathers twice), then the targets, whose queries' gradients are
        #    completed and scaled on the way.
        count = 0
        for k in range(negatives):
            place = slot_of(drawn[k], slots, used, count, gradients, others)
            count = max(count, place + 1)
            for i in range(m):
                others[place, 0] += weights[k, i]
            for d in range(dimensions):
                gradients[place, d] += pushes[k, d]
        for i in range(m):
            target, error = targets[i], errors[i]
            place = slot_of(target, slots, used, count, gradients, others)
            count = max(count, place + 1)
            others[place, 0] += error
            others[place, 1] += 1
            for d in range(dimensions):
                gradients[place, d] += error * queries[i, d]
                pulls[i, d] = (pulls[i, d] + error * vectors[target, d]) * scales[i]
        # 8. Through the queries to the baskets: a product is a part of the queries of all the user's other products, so it gets
        #    the sum of the user's pulls less its own.
        start = 0
        for u in range(users.shape[0]):
            end = ends[u]
            if end - start > 1:
                total[:] = 0
                for i in range(start, end):
                    for d in range(dimensions):
                        total[d] += pulls[i, d]
                for i in range(start, end):
                    place = slots[targets[i]]
                    others[place, 2] += 1
                    for d in range(dimensions):
                        gradients[place, dimensions + d] += total[d] - pulls[i, d]
            start = end

        # 9. One Adagrad step for each row that took part, and its slot is free again.
        for place in range(count):
            row = used[place]
            slots[row] = -1
            as_target, as_basket = decay[row] * others[place, 1], decay[row] * others[place, 2]
            target_square, basket_square = np.float32(0), np.float32(0)
            for d in range(dimensions):
                gradients[place, d] += as_target * vectors[row, d]
                target_square += gradients[place, d] * gradients[place, d]
                gradients[place, dimensions + d] += as_basket * vectors[row, d]
                basket_square += gradients[place, dimensions + d] * gradients[place, dimensions + d]
            target_squares[row] += target_square
            basket_squares[row] += basket_square
            bias_squares[row] += others[place, 0] * others[place, 0]
            step = np.float32(learning_rate) / np.sqrt(target_squares[row] + EPSILON)
            basket_step = np.float32(learning_rate) / np.sqrt(basket_squares[row] + EPSILON)
            for d in range(dimensions):
                vectors[row, d] -= step * gradients[place, d] + basket_step * gradients[place, dimensions + d]
            bias[row] -= np.float32(learning_rate) / np.sqrt(bias_squares[row] + EPSILON) * others[place, 0]
