"""Sampled softmax for queries composed of baskets: tied vectors, negatives shared by a batch, Adagrad by row.

A batch is a few whole users. Each of their products in turn is the one to find, and the query is composed of their others. All
scores of a batch come from the vectors as they stood when it began; then every row that took part makes one step.
"""

from __future__ import annotations

from typing import TypeAlias

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
from tastemaker.kernels.meeting import meet
from tastemaker.kernels.prefetch import prefetch, prefetch_row
from tastemaker.kernels.products import add_product, turn_over
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = [
    "ALL",
    "IN_BATCH",
    "SHARED",
    "Common",
    "Own",
    "common_room",
    "draw_negatives",
    "learn_batches",
    "own_room",
]

SHARED, IN_BATCH, ALL = 0, 1, 2
"""How a batch gets its negatives: drawn by popularity, taken from its own purchases, or the whole catalogue (no sampling)."""

EPSILON = np.float32(1e-6)
"""Keeps the first step of a row with no gradient yet finite."""

SCALE, SHARE, ERROR, OWN, HIGHEST, SUM, WINS, NUMBERS = 0, 1, 2, 3, 4, 5, 6, 7
"""What a target has: the scale of its query, what makes its exponentials a softmax, its own less 1, its score, the highest, the sum
of all exponentials, and whether it wins"""
BIAS, TARGET, BASKET, SET, OTHERS = 0, 1, 2, 3, 4
"""What a row has beside gradients of its vector: that of its bias, how often it was a target, and a part of baskets, and whether
the first gradient is set"""


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
    vectors: Floats, first: int, last: int, ends: Offsets, targets: Rows, damping: float, queries: Floats, scales: Floats
) -> None:  # fmt: skip
    """Set ``queries[m, D]`` of some users to the damped sum of their other products, and ``scales[m]`` to (n - 1)^-damping.

    A user with a single product has no other: query and scale are zero, and only the bias learns.
    """
    dimensions = vectors.shape[1]
    start = 0 if first == 0 else ends[first - 1]
    for i in range(first, last):
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
def share_of_users(ends: Offsets, users: int, part: int, parts: int) -> int:
    """Return the user with whom the part ``part`` of so many begins: parts are of whole users, and about as many purchases."""
    if part == 0 or part == parts:
        return 0 if part == 0 else users
    border, user = ends[users - 1] * part, 0
    while user < users and ends[user] * parts <= border:
        user += 1
    before = 0 if user == 0 else ends[user - 1]
    closer = user < users and ends[user] * parts - border < border - before * parts
    return user + 1 if closer else user


@kernel(inline=True)
def softmax_rows(
    low: int, high: int, targets: Rows, drawn: Rows, corrections: Floats, vectors: Floats, bias: Floats, queries: Floats,
    logits: Floats, by_target: Floats, part: Floats,
) -> None:  # fmt: skip
    """Turn ``logits[low:high, S]`` into exp(logit - highest), an accidental hit's into almost 0; set SHARE … WINS of these targets.

    A target wins when it scores above every negative, uncorrected. ``drawn[S']`` and ``corrections[S']`` are padded, and the logits
    of what was added are -1e30. ``part[NUMBERS, m]`` is scratch, padded to whole values, as other threads write to ``by_target``.
    """
    dimensions, lanes, size = vectors.shape[1], drawn.shape[0], part.shape[1]
    for i in range(low, high):
        row, target, score = i * lanes, targets[i], nothing()
        for d in range(0, dimensions, LANES):
            vector = load(vectors, np.int64(target) * dimensions + d)
            score = fused(load(queries, i * dimensions + d), vector, score)
        own = bias[target] + total(score)
        top, plain = spread(own), spread(np.float32(-1e30))
        for k in range(0, lanes, LANES):
            value = hidden(load(logits, row + k), drawn, k, target)
            store(logits, row + k, value)
            top, plain = greater(value, top), greater(minus(value, load(corrections, k)), plain)
        highest = greatest(top)
        part[OWN, i - low], part[HIGHEST, i - low] = own, highest
        part[WINS, i - low] = np.float32(0) if greatest(plain) >= own else np.float32(1)
        top, sums = spread(highest), nothing()
        for k in range(0, lanes, LANES):
            value = exponential(minus(load(logits, row + k), top))
            store(logits, row + k, value)
            sums = plus(sums, value)
        part[SUM, i - low] = total(sums)
    for i in range(0, high - low, LANES):
        mine = exponential(minus(load(part, OWN * size + i), load(part, HIGHEST * size + i)))
        whole = plus(load(part, SUM * size + i), mine)
        share = over(spread(np.float32(1)), whole)
        store(part, SUM * size + i, whole)
        store(part, SHARE * size + i, share)
        store(part, ERROR * size + i, minus(times(mine, share), spread(np.float32(1))))
    for number in range(SHARE, WINS + 1):
        for i in range(low, high):
            by_target[number, i] = part[number, i - low]


@kernel(inline=True)
def add_losses(m: int, by_target: Floats, sums: Doubles) -> None:
    """Add the loss Σ log(sum) + highest - own, the wins and the number of the targets to ``sums[3]``.

    The sums are multiplied, and one logarithm is taken of many, before their product leaves the range of float64.
    """
    loss, product = 0.0, 1.0
    for i in range(m):
        loss += np.float64(by_target[HIGHEST, i]) - np.float64(by_target[OWN, i])
        product *= np.float64(by_target[SUM, i])
        if product > 1e200:
            loss += np.log(product)
            product = 1.0
        sums[1] += by_target[WINS, i]
    sums[0] += loss + np.log(product)
    sums[2] += m


@kernel(inline=True)
def turn_to_baskets(
    first: int, last: int, ends: Offsets, targets: Rows, vectors: Floats, by_target: Floats, pulls: Floats
) -> None:
    """Turn ``pulls[m, D]``, what the negatives pull these users' queries by, into what each product gets as a part of baskets.

    Completed by the target's own pull and scaled, they are the gradients by the sums of the user's other products; so a product
    gets the sum of the user's pulls less its own.
    """
    dimensions = vectors.shape[1]
    start = 0 if first == 0 else ends[first - 1]
    for u in range(first, last):
        end = ends[u]
        for d in range(0, dimensions, LANES):
            whole = nothing()
            for i in range(start, end):
                own = times(spread(by_target[ERROR, i]), load(vectors, np.int64(targets[i]) * dimensions + d))
                pull = fused(spread(by_target[SHARE, i]), load(pulls, i * dimensions + d), own)
                pull = times(spread(by_target[SCALE, i]), pull)
                store(pulls, i * dimensions + d, pull)
                whole = plus(whole, pull)
            for i in range(start, end):
                store(pulls, i * dimensions + d, minus(whole, load(pulls, i * dimensions + d)))
        start = end


@kernel(inline=True)
def place_rows(
    m: int, targets: Rows, drawn: Rows, slots: Rows, used: Rows, of_drawn: Rows, of_targets: Rows
) -> tuple[int, int]:
    """Give each row that takes part a slot, first the negatives, then the targets; return how many were drawn, how many there are.

    Slot j is that of the row ``used[j]``; ``slots[P]``, which says each row's, is -1 again at the end.
    """
    count = 0
    for k in range(drawn.shape[0]):
        if slots[drawn[k]] < 0:
            slots[drawn[k]], used[count] = count, drawn[k]
            count += 1
        of_drawn[k] = slots[drawn[k]]
    fresh = count
    for i in range(m):
        if slots[targets[i]] < 0:
            slots[targets[i]], used[count] = count, targets[i]
            count += 1
        of_targets[i] = slots[targets[i]]
    for j in range(count):
        slots[used[j]] = -1
    return fresh, count


@kernel(inline=True)
def push_negatives(
    m: int, low: int, high: int, of_drawn: Rows, logits: Floats, scaled: Floats, by_target: Floats, pushes: Floats,
    falls: Floats, gradients: Floats, others: Floats,
) -> None:  # fmt: skip
    """Sum the gradients of the slots ``low … high - 1`` as negatives: logits[m, S].T @ scaled[m, D], and the bias's.

    Rows get their slots in the order in which they are drawn, so that most draws of these slots stand together.
    """
    dimensions, lanes, negatives = scaled.shape[1], logits.shape[1], of_drawn.shape[0]
    first = 0
    while first < negatives:
        last = first
        while last < negatives and low <= of_drawn[last] < high:
            last += 1
        for place in range(first * dimensions, last * dimensions, LANES):
            store(pushes, place, nothing())
        add_product(
            pushes, first * dimensions, dimensions, last - first, dimensions, logits, first, 1, lanes, scaled, 0, dimensions, m
        )  # fmt: skip
        for k in range(first, last, LANES):
            fall = nothing()
            for i in range(m):
                fall = fused(spread(by_target[SHARE, i]), load(logits, i * lanes + k), fall)
            store(falls, k, fall)
        for k in range(first, last):
            slot = np.int64(of_drawn[k])
            fresh = others[slot, SET] == 0
            others[slot, SET] = 1
            others[slot, BIAS] += falls[k]
            for d in range(0, dimensions, LANES):
                place, value = slot * 2 * dimensions + d, load(pushes, k * dimensions + d)
                store(gradients, place, value if fresh else plus(load(gradients, place), value))
        first = max(last, first + 1)


@kernel(inline=True)
def pull_targets(
    m: int, mine: tuple[int, int, int, int], of_targets: Rows, by_target: Floats, queries: Floats, pulls: Floats,
    gradients: Floats, others: Floats,
) -> None:  # fmt: skip
    """Add the gradients of the slots of ``mine``, two ranges, as targets, and sum those as parts of baskets.

    A slot has ``gradients[2D]``, as what is found and as a part of baskets, which is not set where it is none; and ``others[4]``.
    """
    dimensions = queries.shape[1]
    for i in range(m):
        slot = np.int64(of_targets[i])
        if not (mine[0] <= slot < mine[1] or mine[2] <= slot < mine[3]):
            continue
        fresh = others[slot, SET] == 0
        others[slot, SET] = 1
        others[slot, BIAS] += by_target[ERROR, i]
        others[slot, TARGET] += 1
        error = spread(by_target[ERROR, i])
        for d in range(0, dimensions, LANES):
            place = slot * 2 * dimensions + d
            before = nothing() if fresh else load(gradients, place)
            store(gradients, place, fused(error, load(queries, i * dimensions + d), before))
        if by_target[SCALE, i] > 0:
            fresh = others[slot, BASKET] == 0
            others[slot, BASKET] += 1
            for d in range(0, dimensions, LANES):
                place, value = (slot * 2 + 1) * dimensions + d, load(pulls, i * dimensions + d)
                store(gradients, place, value if fresh else plus(load(gradients, place), value))


@kernel(inline=True)
def step_rows(
    low: int, high: int, used: Rows, gradients: Floats, others: Floats, vectors: Floats, bias: Floats,
    target_squares: Floats, basket_squares: Floats, bias_squares: Floats, decay: Floats, rate: np.float32,
) -> None:  # fmt: skip
    """Make one step of Adagrad for each row of the slots ``low … high - 1``."""
    dimensions = vectors.shape[1]
    for j in range(low, high):
        row = np.int64(used[j])
        vector, found, part = row * dimensions, j * 2 * dimensions, (j * 2 + 1) * dimensions
        baskets = others[j, BASKET] > 0
        pull, square = spread(decay[row] * others[j, TARGET]), nothing()
        for d in range(0, dimensions, LANES):
            gradient = fused(pull, load(vectors, vector + d), load(gradients, found + d))
            square = fused(gradient, gradient, square)
            store(gradients, found + d, gradient)
        target_squares[row] += total(square)
        step = spread(-rate / np.sqrt(target_squares[row] + EPSILON))
        if baskets:
            pull, square = spread(decay[row] * others[j, BASKET]), nothing()
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
        bias_squares[row] += others[j, BIAS] * others[j, BIAS]
        bias[row] -= rate / np.sqrt(bias_squares[row] + EPSILON) * others[j, BIAS]


Common: TypeAlias = tuple[Floats, Floats, Floats, Floats, Floats]
Own: TypeAlias = tuple[tuple[Floats, ...], tuple[Rows, ...], tuple[Offsets, Offsets]]


def common_room(room: int, negatives: int, width: int) -> Common:
    """Return what the threads share for batches of at most ``room`` purchases, as `learn_batches` takes it.

    By target: queries, the same times their shares, pulls ``[m, D]``, logits ``[m, S]``, and numbers ``[NUMBERS, m]``.
    """
    queries, scaled, pulls = np.empty((3, room, width), np.float32)
    # one row more than there are targets, since whole values are read
    logits, by_target = (
        np.empty((room + 1, padded(negatives)), np.float32),
        np.empty((NUMBERS, room), np.float32),
    )
    return queries, scaled, pulls, logits, by_target


def own_room(room: int, users: int, negatives: int, table: Floats) -> Own:
    """Return what a thread has alone for batches of at most so many purchases and users: floats, rows, and offsets.

    Of this batch and the next, in turns: targets[2, m], drawn[2, S], the users' ends, and how many targets there are. A row that
    takes part has a slot, in which its gradients gather; slots[P] says which, -1 for none.
    """
    lanes, (products, width) = padded(negatives), table.shape
    floats = (
        np.zeros((NUMBERS, padded(room)), np.float32),
        np.zeros((lanes, width), np.float32), np.zeros((width, lanes), np.float32),  # sampled, turned
        np.empty((lanes, width), np.float32), np.empty((1, lanes + LANES), np.float32),  # pushes, falls
        np.full((1, lanes), -1e30, np.float32), np.zeros((1, lanes), np.float32),  # tilts, corrections: what is added never wins
        np.empty((room + lanes, 2 * width), np.float32), np.empty((room + lanes + LANES, OTHERS), np.float32),
    )  # fmt: skip
    rows = (
        np.empty((2, room), np.int32), np.full((2, lanes), -1, np.int32), np.empty((1, negatives), np.int32),  # and coins
        np.full((1, products), -1, np.int32), np.empty((1, room + lanes), np.int32),  # slots, used
        np.empty((1, negatives), np.int32), np.empty((1, room), np.int32),  # slots of the drawn, of the targets
    )  # fmt: skip
    return floats, rows, (np.empty((2, users), np.int64), np.zeros((1, 2), np.int64))


def padded(count: int) -> int:
    """Return a count rounded up to whole values."""
    return count + -count % LANES


@kernel()
def learn_batches(
    thread: int,
    threads: int,
    meeting: Offsets,
    common: Common,
    own: Own,
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

    Thread ``thread`` of ``threads``, which meet twice a batch, does its share: of the users, whose targets it scores, and then of
    the rows, which it moves. Every sum is taken by one thread in a fixed order, so that the bytes do not depend on ``threads``.
    ``common`` is of `common_room`, ``own`` of `own_room`.

    Adds the batch's loss, hits (the target scores above every negative, uncorrected) and purchases to ``sums[3]``.
    Source: J. DUCHI, E. HAZAN, Y. SINGER 2011 (Adagrad); Y. BENGIO, J. SENÉCAL 2008 (sampled softmax with logQ correction).
    """
    # D is padded to whole cache lines; m below is the purchases of a batch.
    dimensions = vectors.shape[1]
    queries, scaled, pulls, logits, by_target = common
    floats, rows, (ends, counts) = own
    part, sampled, turned, pushes, falls, gradients, others = (
        floats[0], floats[1], floats[2], floats[3], floats[4][0], floats[7], floats[8]
    )  # fmt: skip
    tilts, corrected, sizes, lanes = floats[5][0], floats[6][0], counts[0], logits.shape[1]
    targets, drawn, coins, slots, used, of_drawn, of_targets = (
        rows[0], rows[1], rows[2][0], rows[3][0], rows[4][0], rows[5][0], rows[6][0]
    )  # fmt: skip
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
        # 2. The negatives' vectors as rows sampled[S, D] and as columns turned[D, S], their bias and logQ correction tilts[S].
        for k in range(negatives):
            row = np.int64(rivals[k])
            corrected[k] = corrections[row]
            tilts[k] = bias[row] + corrected[k]
            for d in range(0, dimensions, LANES):
                store(sampled, k * dimensions + d, load(vectors, row * dimensions + d))
        turn_over(sampled, turned)
        # 3. This thread's share of the users, and of their targets low … high: for each a query composed of the user's others,
        #    and the negatives' scores, logits = tilts[S] + queries[m, D] @ turned[D, S]; then softmax over target and negatives.
        first = share_of_users(until, users, thread, threads)
        last = share_of_users(until, users, thread + 1, threads)
        low, high = 0 if first == 0 else until[first - 1], 0 if last == 0 else until[last - 1]
        compose_queries(vectors, first, last, until, bought, damping, queries, by_target[SCALE])
        for i in range(low, high):
            for k in range(0, lanes, LANES):
                store(logits, i * lanes + k, load(tilts, k))
        add_product(
            logits, low * lanes, lanes, high - low, lanes, queries, low * dimensions, dimensions, 1,
            turned, 0, lanes, dimensions,
        )  # fmt: skip
        softmax_rows(low, high, bought, rivals, corrected, vectors, bias, queries, logits, by_target, part)
        # 4. Gradients by the queries, pulls[m, D] = logits[m, S] @ sampled[S, D], and through them by the baskets.
        for i in range(low, high):
            share = spread(by_target[SHARE, i])
            for d in range(0, dimensions, LANES):
                store(scaled, i * dimensions + d, times(share, load(queries, i * dimensions + d)))
                store(pulls, i * dimensions + d, nothing())
        add_product(
            pulls, low * dimensions, dimensions, high - low, dimensions, logits, low * lanes, lanes, 1,
            sampled, 0, dimensions, negatives,
        )  # fmt: skip
        turn_to_baskets(first, last, until, bought, vectors, by_target, pulls)
        fresh, count = place_rows(m, bought, rivals[:negatives], slots, used, of_drawn, of_targets)
        meet(meeting, threads)
        # 5. This thread's share of the rows, of the drawn and of the others: all their gradients, summed, and one step for each.
        a, z = fresh * thread // threads, fresh * (thread + 1) // threads
        c, e = (count - fresh) * thread // threads, (count - fresh) * (thread + 1) // threads
        c, e = c + fresh, e + fresh
        for begin, end in ((a, z), (c, e)):
            for place in range(begin * OTHERS, end * OTHERS, LANES):  # and some beyond, which are not in use
                store(others, place, nothing())
        push_negatives(m, a, z, of_drawn, logits, scaled, by_target, pushes, falls, gradients, others)
        pull_targets(m, (a, z, c, e), of_targets, by_target, queries, pulls, gradients, others)
        for begin, end in ((a, z), (c, e)):
            step_rows(
                begin, end, used, gradients, others, vectors, bias, target_squares, basket_squares, bias_squares, decay, rate
            )  # fmt: skip
        if thread == 0:
            add_losses(m, by_target, sums)
        meet(meeting, threads)
