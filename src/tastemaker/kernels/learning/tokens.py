"""Sampled softmax for queries and products that are bags of tokens: `learn_batches` with attributes and context beside products.

A product's vector is its own and its attributes' together; a query is the damped sum of the user's other products and, undamped,
its tokens' vectors. Own vectors and token vectors learn side by side, each pulled to zero every time that it takes part: what is
seldom seen stays small, so that a new product is its attributes, and an old one itself.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.learning.composed import compose_queries, draw_negatives
from tastemaker.kernels.learning.sampling import GOLDEN_64, mix64
from tastemaker.kernels.learning.softmax import exponentials
from tastemaker.kernels.products import dot, multiply_add, total_of
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["learn_token_batches"]

EPSILON = np.float32(1e-6)
"""Keeps the first step of a row with no gradient yet finite."""


@kernel(inline=True)
def take_pairs(
    users: Rows, offsets: Offsets, longest: int, phase: float, ends: Offsets, pairs: Offsets
) -> int:
    """List the pairs of a batch of users, ``pairs[:m]``, user i's ending before ``ends[i]``; return m.

    Of a history longer than ``longest`` an evenly spaced sample of that many is taken; ``phase`` in [0, 1) shifts it.
    """
    m = 0
    for i in range(users.shape[0]):
        start, count = offsets[users[i]], offsets[users[i] + 1] - offsets[users[i]]
        taken = min(count, longest)
        for j in range(taken):
            place = j if count == taken else int((j + phase) * count / taken)
            pairs[m] = start + min(place, count - 1)
            m += 1
        ends[i] = m
    return m


@kernel(inline=True)
def add_weighted(
    first: int, last: int, rows: Rows, weights: Floats, table: Floats, slot: int, out: Floats
) -> None:
    """Add Σ ``weights[j] · table[rows[j]]``, j from ``first`` to ``last - 1``, to ``out[slot]``: four rows in one pass over it."""
    place, fours = first, first + (last - first) // 4 * 4
    while place < fours:
        a, b, c, e = rows[place], rows[place + 1], rows[place + 2], rows[place + 3]
        wa, wb, wc, we = weights[place], weights[place + 1], weights[place + 2], weights[place + 3]
        for d in range(out.shape[1]):
            out[slot, d] += (wa * table[a, d] + wb * table[b, d]) + (wc * table[c, d] + we * table[e, d])
        place += 4
    while place < last:
        a, wa = rows[place], weights[place]
        for d in range(out.shape[1]):
            out[slot, d] += wa * table[a, d]
        place += 1


@kernel(inline=True)
def gather_product(
    row: int,
    vectors: Floats,
    tokens: Floats,
    bag_offsets: Offsets,
    bag: Rows,
    bag_weights: Floats,
    slot: int,
    out: Floats,
) -> None:
    """Set ``out[slot]`` to a product's own vector and its attributes'."""
    for d in range(out.shape[1]):
        out[slot, d] = vectors[row, d]
    add_weighted(bag_offsets[row], bag_offsets[row + 1], bag, bag_weights, tokens, slot, out)


@kernel(fast=True, inline=True)
def highest_of(logits: Floats, own: np.float32, target: int, drawn: Rows, row: Floats) -> np.float32:
    """Set ``row[S]`` to ``logits[S]``, the target's own to almost nothing; return the greatest of them and ``own``."""
    highest = own
    for k in range(drawn.shape[0]):
        value = logits[k] if drawn[k] != target else np.float32(-1e30)
        row[k] = value
        highest = max(highest, value)
    return highest


@kernel(inline=True)
def softmax_of(
    logits: Floats,
    own: np.float32,
    target: int,
    drawn: Rows,
    corrections: Floats,
    row: Floats,
    out: Floats,
    powers: Rows,
) -> tuple[float, np.float32, bool]:
    """Turn one row of ``logits[lanes]`` into shares of the softmax; return the loss, the target's error and whether it wins."""
    highest, rivals = highest_of(logits, own, target, drawn, row), 0
    for k in range(drawn.shape[0]):
        rivals += row[k] - corrections[drawn[k]] >= own
    for k in range(drawn.shape[0], row.shape[0]):
        row[k] = np.float32(-1e30)
    rest = exponentials(row, highest, out, powers)
    mine = np.exp(own - highest)
    scale = np.float32(1) / (rest + mine)
    for k in range(row.shape[0]):
        logits[k] = out[k] * scale
    loss = np.log(np.float64(rest) + np.float64(mine)) + np.float64(highest) - np.float64(own)
    return loss, mine * scale - np.float32(1), rivals == 0


@kernel(inline=True)
def count_tokens(
    first: int, last: int, bag: Rows, times: np.float32, counts: Rows, taken: Floats, used: Rows, count: int
) -> int:
    """Count how often each token of ``bag[first:last]`` takes part in a batch; return how many tokens do so far."""
    for place in range(first, last):
        token = bag[place]
        if counts[token] == 0:
            used[count] = token
            count += 1
        counts[token] += 1
        taken[token] += times
    return count


@kernel(inline=True)
def start_lists(count: int, used: Rows, counts: Rows, starts: Rows) -> None:
    """Set ``starts[j]`` to where the list of the j-th used token begins, and ``counts[token]`` to the place of its next entry."""
    place = 0
    for j in range(count):
        token = used[j]
        starts[j] = place
        place += counts[token]
        counts[token] = starts[j]
    starts[count] = place


@kernel(inline=True)
def list_tokens(
    first: int,
    last: int,
    bag: Rows,
    bag_weights: Floats,
    source: int,
    counts: Rows,
    sources: Rows,
    weights: Floats,
) -> None:
    """Enter a source of gradients, and its weight, in the list of each token of ``bag[first:last]``."""
    for place in range(first, last):
        token = bag[place]
        entry = counts[token]
        counts[token] = entry + 1
        sources[entry] = source
        weights[entry] = bag_weights[place]


@kernel(inline=True)
def step_tokens(
    count: int,
    used: Rows,
    counts: Rows,
    taken: Floats,
    lists: tuple[Rows, Rows, Floats],
    pulls: Floats,
    decay: Floats,
    learning_rate: float,
    tokens: Floats,
    squares: Floats,
    gradient: Floats,
) -> None:
    """Make one step of Adagrad for each token that took part: its gradient is the weighted sum of the pulls in its list.

    ``lists``: where each token's begins, then all entries' rows of ``pulls`` and weights. ``gradient[1, D]`` is scratch;
    ``counts`` and ``taken`` are zero again.
    """
    starts, sources, weights = lists
    for j in range(count):
        token = used[j]
        pull = decay[token] * taken[token]
        taken[token] = 0
        counts[token] = 0
        for d in range(tokens.shape[1]):
            gradient[0, d] = pull * tokens[token, d]
        add_weighted(starts[j], starts[j + 1], sources, weights, pulls, 0, gradient)
        squares[token] += dot(gradient[0], gradient[0])
        step = np.float32(learning_rate) / np.sqrt(squares[token] + EPSILON)
        for d in range(tokens.shape[1]):
            tokens[token, d] -= step * gradient[0, d]


@kernel(inline=True)
def step_product(
    row: int,
    gradient: Floats,
    other: Floats,
    vectors: Floats,
    bias: Floats,
    squares: tuple[Floats, Floats, Floats],
    decay: np.float32,
    learning_rate: float,
) -> None:
    """Make one step of Adagrad for a product: its vector as what is found and as a part of baskets, and its bias."""
    dimensions = vectors.shape[1]
    as_target, as_basket = decay * other[1], decay * other[2]
    found, part = gradient[:dimensions], gradient[dimensions:]
    for d in range(dimensions):
        found[d] += as_target * vectors[row, d]
        part[d] += as_basket * vectors[row, d]
    squares[0][row] += dot(found, found)
    squares[1][row] += dot(part, part)
    squares[2][row] += other[0] * other[0]
    step = np.float32(learning_rate) / np.sqrt(squares[0][row] + EPSILON)
    basket_step = np.float32(learning_rate) / np.sqrt(squares[1][row] + EPSILON)
    for d in range(dimensions):
        vectors[row, d] -= step * found[d] + basket_step * part[d]
    bias[row] -= np.float32(learning_rate) / np.sqrt(squares[2][row] + EPSILON) * other[0]


@kernel(inline=True)
def pull_baskets(
    users: int, ends: Offsets, slots: Rows, scales: Floats, pulls: Floats, gradients: Floats, others: Floats
) -> None:
    """Give every product of a basket the scaled pulls of the user's other targets, ``scales[m] · pulls[m, D]``."""
    dimensions = pulls.shape[1]
    total = np.empty(dimensions, np.float32)
    start = 0
    for u in range(users):
        end = ends[u]
        if end - start > 1:
            total[:] = 0
            for i in range(start, end):
                for d in range(dimensions):
                    total[d] += scales[i] * pulls[i, d]
            for i in range(start, end):
                others[slots[i], 2] += 1
                for d in range(dimensions):
                    gradients[slots[i], dimensions + d] += total[d] - scales[i] * pulls[i, d]
        start = end


@kernel()
def learn_token_batches(
    first_batch: int,
    last_batch: int,
    order: Rows,
    batch_starts: Offsets,
    offsets: Offsets,
    histories: Rows,
    longest: int,
    query_bags: tuple[Offsets, Rows, Floats],
    product_bags: tuple[Offsets, Rows, Floats],
    vectors: Floats,
    tokens: Floats,
    bias: Floats,
    squares: tuple[Floats, Floats, Floats],
    token_squares: Floats,
    decay: Floats,
    token_decay: Floats,
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

    As `kernels.learning.composed.learn_batches`, with v_p + Σ w_a · z_a in the place of v_p on both sides, the attributes a of
    product p from ``product_bags``, and Σ w_a · z_a added to the query, its tokens a from ``query_bags``: one bag for each pair
    of ``histories``. ``squares`` are those, ``float32[P]`` each, of the vectors as targets and in baskets, and of the bias. A
    token's gradient gathers from all its roles, and ``token_decay[T]`` · z is added each time it took part.
    """
    dimensions, products = vectors.shape[1], vectors.shape[0]
    query_offsets, query_tokens, query_weights = query_bags
    bag_offsets, bag, bag_weights = product_bags
    room, most, widest, fullest = 0, 0, 0, 0
    for row in range(products):
        widest = max(widest, bag_offsets[row + 1] - bag_offsets[row])
    for b in range(first_batch, last_batch):
        size, told = 0, 0
        for place in range(batch_starts[b], batch_starts[b + 1]):
            start, end = offsets[order[place]], offsets[order[place] + 1]
            size += min(end - start, longest)
            told += query_offsets[end] - query_offsets[start]
        room, fullest = max(room, size), max(fullest, told)
        most = max(most, batch_starts[b + 1] - batch_starts[b])
    lanes = negatives + -negatives % 16
    pairs, targets, ends = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(most, np.int64)
    target_slots, drawn_slots = np.empty(room, np.int32), np.empty(negatives, np.int32)
    queries, scales = np.empty((room, dimensions), np.float32), np.empty(room, np.float32)
    # Where tokens get their gradients from: the pulls of the queries, and behind them the products' in both roles.
    pulls = np.empty((2 * room + lanes, dimensions), np.float32)
    drawn, coins = np.empty(negatives, np.int32), np.empty(negatives, np.int32)
    sampled, turned = np.zeros((lanes, dimensions), np.float32), np.zeros((dimensions, lanes), np.float32)
    logits, weights = np.empty((room, lanes), np.float32), np.empty((lanes, room), np.float32)
    offsets_of = np.zeros(lanes, np.float32)
    row_logits, row_out = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    powers, pushes = np.empty(lanes, np.int32), np.empty((lanes, dimensions), np.float32)
    slots, used = np.full(products, -1, np.int32), np.empty(room + lanes, np.int32)
    local = np.empty(
        (room + lanes, dimensions), np.float32
    )  # the products of a batch, own vector and attributes'
    gradients = np.empty(
        (room + lanes, 2 * dimensions), np.float32
    )  # as what is found, and as a part of baskets
    others = np.empty((room + lanes, 3), np.float32)  # the bias's gradient, and how often the row was either
    counts, taken = np.zeros(tokens.shape[0], np.int32), np.zeros(tokens.shape[0], np.float32)
    used_tokens = np.empty(tokens.shape[0], np.int32)
    entries = fullest + min((room + lanes) * widest, bag.shape[0])  # a product has one slot
    lists = (
        np.empty(tokens.shape[0] + 1, np.int32),
        np.empty(entries, np.int32),
        np.empty(entries, np.float32),
    )
    gradient = np.empty((1, dimensions), np.float32)

    for b in range(first_batch, last_batch):
        users = order[batch_starts[b] : batch_starts[b + 1]]
        phase = np.float64(mix64(key + np.uint64(b) * GOLDEN_64) >> np.uint64(11)) / 9007199254740992.0
        m = take_pairs(users, offsets, longest, phase, ends, pairs)
        for i in range(m):
            targets[i] = histories[pairs[i]]
        draw_negatives(sampling, key, b, phase, targets[:m], alias_chances, alias_rows, drawn, coins)
        count = 0
        for i in range(m + negatives):
            row = targets[i] if i < m else drawn[i - m]
            if slots[row] < 0:
                slots[row] = count
                used[count] = row
                gather_product(row, vectors, tokens, bag_offsets, bag, bag_weights, count, local)
                gradients[count, :] = 0
                others[count, :] = 0
                count += 1
            if i < m:
                target_slots[i] = slots[row]
            else:
                drawn_slots[i - m] = slots[row]
        compose_queries(local, 0, users.shape[0], ends, target_slots, damping, queries, scales)
        for i in range(m):
            first, last = query_offsets[pairs[i]], query_offsets[pairs[i] + 1]
            add_weighted(first, last, query_tokens, query_weights, tokens, i, queries)
        for k in range(negatives):
            offsets_of[k] = bias[drawn[k]] + corrections[drawn[k]]
            for d in range(dimensions):
                sampled[k, d] = local[drawn_slots[k], d]
                turned[d, k] = sampled[k, d]

        for i in range(m):
            for k in range(lanes):
                logits[i, k] = offsets_of[k]
        multiply_add(queries, turned, logits, m, dimensions)
        for i in range(m):
            place = target_slots[i]
            own = bias[targets[i]] + dot(queries[i], local[place])
            loss, error, wins = softmax_of(
                logits[i], own, targets[i], drawn, corrections, row_logits, row_out, powers
            )
            for k in range(lanes):
                weights[k, i] = logits[i, k]
            others[place, 0] += error
            others[place, 1] += 1
            for d in range(dimensions):
                gradients[place, d] += error * queries[i, d]
                pulls[i, d] = error * local[place, d]
            sums[0] += loss
            sums[1] += 1.0 if wins else 0.0
        sums[2] += m
        pushes[:] = 0
        multiply_add(logits, sampled, pulls, m, negatives)
        multiply_add(weights, queries, pushes, negatives, m)

        for k in range(negatives):
            place = drawn_slots[k]
            others[place, 0] += total_of(weights[k, :m])
            for d in range(dimensions):
                gradients[place, d] += pushes[k, d]
        pull_baskets(users.shape[0], ends, target_slots, scales, pulls, gradients, others)
        # Tokens: who takes part and how often, then the list of each token's sources, then one step for each.
        token_count = 0
        for i in range(m):
            first, last = query_offsets[pairs[i]], query_offsets[pairs[i] + 1]
            token_count = count_tokens(
                first, last, query_tokens, np.float32(1), counts, taken, used_tokens, token_count
            )
        for slot in range(count):
            row, times = used[slot], others[slot, 1] + others[slot, 2]
            slots[row] = -1
            for d in range(dimensions):
                pulls[room + slot, d] = gradients[slot, d] + gradients[slot, dimensions + d]
            token_count = count_tokens(
                bag_offsets[row], bag_offsets[row + 1], bag, times, counts, taken, used_tokens, token_count
            )
            step_product(
                row, gradients[slot], others[slot], vectors, bias, squares, decay[row], learning_rate
            )
        start_lists(token_count, used_tokens, counts, lists[0])
        for i in range(m):
            first, last = query_offsets[pairs[i]], query_offsets[pairs[i] + 1]
            list_tokens(first, last, query_tokens, query_weights, i, counts, lists[1], lists[2])
        for slot in range(count):
            first, last = bag_offsets[used[slot]], bag_offsets[used[slot] + 1]
            list_tokens(first, last, bag, bag_weights, room + slot, counts, lists[1], lists[2])
        step_tokens(
            token_count, used_tokens, counts, taken, lists, pulls, token_decay, learning_rate, tokens, token_squares, gradient
        )  # fmt: skip
