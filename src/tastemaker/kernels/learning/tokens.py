"""Sampled softmax for queries and products that are bags of tokens: `learn_batches` with attributes and context beside products.

A product's vector is its own and its attributes' together; a query is the damped sum of the user's other products and, undamped,
its tokens' vectors. Own vectors and token vectors learn side by side, each pulled to zero every time that it takes part: what is
seldom seen stays small, so that a new product is its attributes, and an old one itself.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.lanes import LANES, fused, load, minus, nothing, plus, spread, store, times, total
from tastemaker.kernels.learning.composed import (
    BASKET,
    EPSILON,
    ERROR,
    NUMBERS,
    OTHERS,
    SCALE,
    SHARE,
    TARGET,
    add_losses,
    compose_queries,
    draw_negatives,
    place_rows,
    pull_targets,
    push_negatives,
    softmax_rows,
    step_rows,
)
from tastemaker.kernels.learning.sampling import GOLDEN_64, mix64
from tastemaker.kernels.products import add_product, turn_over
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["learn_token_batches"]


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
    dimensions, fours = out.shape[1], first + (last - first) // 4 * 4
    for d in range(0, dimensions, LANES):
        whole = load(out, slot * dimensions + d)
        for j in range(first, fours, 4):
            one = times(spread(weights[j]), load(table, np.int64(rows[j]) * dimensions + d))
            one = fused(spread(weights[j + 1]), load(table, np.int64(rows[j + 1]) * dimensions + d), one)
            other = times(spread(weights[j + 2]), load(table, np.int64(rows[j + 2]) * dimensions + d))
            other = fused(spread(weights[j + 3]), load(table, np.int64(rows[j + 3]) * dimensions + d), other)
            whole = plus(whole, plus(one, other))
        for j in range(fours, last):
            whole = fused(spread(weights[j]), load(table, np.int64(rows[j]) * dimensions + d), whole)
        store(out, slot * dimensions + d, whole)


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
    dimensions = out.shape[1]
    for d in range(0, dimensions, LANES):
        store(out, slot * dimensions + d, load(vectors, np.int64(row) * dimensions + d))
    add_weighted(bag_offsets[row], bag_offsets[row + 1], bag, bag_weights, tokens, slot, out)


@kernel(inline=True)
def complete_pulls(
    m: int, of_targets: Rows, local: Floats, queries: Floats, by_target: Floats, pulls: Floats, scaled: Floats
) -> None:
    """Turn ``pulls[m, D]``, what the negatives pull queries by, into their gradients; ``scaled`` becomes queries times shares."""
    dimensions = queries.shape[1]
    for i in range(m):
        share, error = spread(by_target[SHARE, i]), spread(by_target[ERROR, i])
        own = np.int64(of_targets[i]) * dimensions
        for d in range(0, dimensions, LANES):
            place = i * dimensions + d
            store(scaled, place, times(share, load(queries, place)))
            store(pulls, place, fused(share, load(pulls, place), times(error, load(local, own + d))))


@kernel(inline=True)
def share_in_baskets(users: int, ends: Offsets, by_target: Floats, pulls: Floats, parts: Floats) -> None:
    """Set ``parts[m, D]`` to what each product of a basket gets: the scaled pulls of the user's other targets together."""
    dimensions, start = pulls.shape[1], 0
    for u in range(users):
        end = ends[u]
        for d in range(0, dimensions, LANES):
            whole = nothing()
            for i in range(start, end):
                pull = times(spread(by_target[SCALE, i]), load(pulls, i * dimensions + d))
                store(parts, i * dimensions + d, pull)
                whole = plus(whole, pull)
            for i in range(start, end):
                store(parts, i * dimensions + d, minus(whole, load(parts, i * dimensions + d)))
        start = end


@kernel(inline=True)
def pull_of_product(slot: int, gradients: Floats, others: Floats, pull: Floats) -> None:
    """Set ``pull[1, D]`` to the gradients of a product's slot in both roles together, which its attributes get."""
    dimensions = pull.shape[1]
    for d in range(0, dimensions, LANES):
        both = load(gradients, slot * 2 * dimensions + d)
        if others[slot, BASKET] > 0:
            both = plus(both, load(gradients, (slot * 2 + 1) * dimensions + d))
        store(pull, d, both)


@kernel(inline=True)
def push_tokens(
    first: int, last: int, bag: Rows, bag_weights: Floats, often: np.float32, source: int, pulls: Floats,
    slots: Rows, used: Rows, gradients: Floats, taken: Floats, count: int,
) -> int:  # fmt: skip
    """Add a row of ``pulls``, weighted, to the gradient of each token of ``bag[first:last]``, which takes part ``often`` more.

    A token that takes part has a slot, ``slots[T]``, -1 before. Return how many have one so far.
    """
    dimensions = pulls.shape[1]
    for place in range(first, last):
        token, weight = bag[place], spread(bag_weights[place])
        slot = np.int64(slots[token])
        fresh = slot < 0
        if fresh:
            slot, count = np.int64(count), count + 1
            slots[token], used[slot], taken[slot] = slot, token, 0
        taken[slot] += often
        for d in range(0, dimensions, LANES):
            pull, here = load(pulls, source * dimensions + d), slot * dimensions + d
            store(
                gradients, here, times(weight, pull) if fresh else fused(weight, pull, load(gradients, here))
            )
    return count


@kernel(inline=True)
def step_tokens(
    count: int,
    slots: Rows,
    used: Rows,
    gradients: Floats,
    taken: Floats,
    decay: Floats,
    rate: np.float32,
    tokens: Floats,
    squares: Floats,
) -> None:
    """Make one step of Adagrad for each token that took part, and take its slot back."""
    dimensions = tokens.shape[1]
    for slot in range(count):
        token = np.int64(used[slot])
        slots[token] = -1
        pull, square = spread(decay[token] * taken[slot]), nothing()
        for d in range(0, dimensions, LANES):
            here = slot * dimensions + d
            gradient = fused(pull, load(tokens, token * dimensions + d), load(gradients, here))
            square = fused(gradient, gradient, square)
            store(gradients, here, gradient)
        squares[token] += total(square)
        step = spread(-rate / np.sqrt(squares[token] + EPSILON))
        for d in range(0, dimensions, LANES):
            place = token * dimensions + d
            store(tokens, place, fused(step, load(gradients, slot * dimensions + d), load(tokens, place)))


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
    lanes, rate = negatives + -negatives % LANES, np.float32(learning_rate)
    pairs, targets, ends = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(most, np.int64)
    drawn, coins = np.empty(negatives, np.int32), np.empty(negatives, np.int32)
    # Whoever takes part in a batch has a slot, in which its vector with its attributes', its bias and its gradients stand.
    slots, used = np.full(products, -1, np.int32), np.empty(room + lanes, np.int32)
    of_targets, of_drawn = np.empty(room, np.int32), np.full(lanes, -1, np.int32)
    local, local_bias = np.empty((room + lanes, dimensions), np.float32), np.empty(room + lanes, np.float32)
    gradients = np.empty((room + lanes, 2 * dimensions), np.float32)
    others = np.empty((room + lanes + LANES, OTHERS), np.float32)
    sampled, turned = np.zeros((lanes, dimensions), np.float32), np.zeros((dimensions, lanes), np.float32)
    tilts, corrected = np.full(lanes, -1e30, np.float32), np.zeros(lanes, np.float32)
    queries, scaled, parts = np.empty((3, room, dimensions), np.float32)
    # Tokens get their gradients from the pulls of queries, and from those of products in both roles.
    pulls, pull = np.empty((room, dimensions), np.float32), np.empty((1, dimensions), np.float32)
    logits, by_target = np.empty((room + 1, lanes), np.float32), np.empty((NUMBERS, room), np.float32)
    part = np.zeros((NUMBERS, room + -room % LANES), np.float32)
    pushes, falls = np.empty((lanes, dimensions), np.float32), np.empty(lanes + LANES, np.float32)
    entries = min(
        tokens.shape[0], fullest + min((room + lanes) * widest, bag.shape[0])
    )  # a product has one slot
    token_slots, used_tokens = np.full(tokens.shape[0], -1, np.int32), np.empty(entries, np.int32)
    token_gradients, taken = np.empty((entries, dimensions), np.float32), np.empty(entries, np.float32)

    for b in range(first_batch, last_batch):
        # 1. What takes part, and its vectors.
        users = order[batch_starts[b] : batch_starts[b + 1]]
        phase = np.float64(mix64(key + np.uint64(b) * GOLDEN_64) >> np.uint64(11)) / 9007199254740992.0
        m = take_pairs(users, offsets, longest, phase, ends, pairs)
        for i in range(m):
            targets[i] = histories[pairs[i]]
        draw_negatives(sampling, key, b, phase, targets[:m], alias_chances, alias_rows, drawn, coins)
        _, count = place_rows(m, targets, drawn, slots, used, of_drawn, of_targets)
        for slot in range(count):
            local_bias[slot] = bias[used[slot]]
            gather_product(used[slot], vectors, tokens, bag_offsets, bag, bag_weights, slot, local)
        for k in range(negatives):
            corrected[k] = corrections[drawn[k]]
            tilts[k] = bias[drawn[k]] + corrected[k]
            for d in range(0, dimensions, LANES):
                store(sampled, k * dimensions + d, load(local, np.int64(of_drawn[k]) * dimensions + d))
        turn_over(sampled, turned)
        # 2. Queries of the user's others and of tokens, the negatives' scores, and the softmax over target and negatives.
        compose_queries(local, 0, users.shape[0], ends, of_targets, damping, queries, by_target[SCALE])
        for i in range(m):
            first, last = query_offsets[pairs[i]], query_offsets[pairs[i] + 1]
            add_weighted(first, last, query_tokens, query_weights, tokens, i, queries)
            for k in range(0, lanes, LANES):
                store(logits, i * lanes + k, load(tilts, k))
        add_product(logits, 0, lanes, m, lanes, queries, 0, dimensions, 1, turned, 0, lanes, dimensions)
        softmax_rows(
            0, m, of_targets, of_drawn, corrected, local, local_bias, queries, logits, by_target, part
        )
        add_losses(m, by_target, sums)
        # 3. Gradients by the queries, and through them by the baskets; then those of all products, in both roles.
        for place in range(0, m * dimensions, LANES):
            store(pulls, place, nothing())
        add_product(
            pulls, 0, dimensions, m, dimensions, logits, 0, lanes, 1, sampled, 0, dimensions, negatives
        )
        complete_pulls(m, of_targets, local, queries, by_target, pulls, scaled)
        share_in_baskets(users.shape[0], ends, by_target, pulls, parts)
        for place in range(0, count * OTHERS, LANES):  # and some beyond, which are not in use
            store(others, place, nothing())
        push_negatives(
            m, 0, count, of_drawn[:negatives], logits, scaled, by_target, pushes, falls, gradients, others
        )  # fmt: skip
        pull_targets(m, (0, count, 0, 0), of_targets, by_target, queries, parts, gradients, others)
        # 4. Tokens: their gradients from the queries, and from the products; then one step for each row.
        told = 0
        for i in range(m):
            first, last = query_offsets[pairs[i]], query_offsets[pairs[i] + 1]
            told = push_tokens(
                first, last, query_tokens, query_weights, np.float32(1), i, pulls,
                token_slots, used_tokens, token_gradients, taken, told,
            )  # fmt: skip
        for slot in range(count):
            row, often = used[slot], others[slot, TARGET] + others[slot, BASKET]
            pull_of_product(slot, gradients, others, pull)
            told = push_tokens(
                bag_offsets[row], bag_offsets[row + 1], bag, bag_weights, often, 0, pull,
                token_slots, used_tokens, token_gradients, taken, told,
            )  # fmt: skip
        step_rows(0, count, used, gradients, others, vectors, bias, *squares, decay, rate)
        step_tokens(
            told, token_slots, used_tokens, token_gradients, taken, token_decay, rate, tokens, token_squares
        )
