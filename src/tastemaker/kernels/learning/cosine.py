"""Softmax over cosines with shared negatives: whole users at a time, each history parted at random into inputs and targets.

A batch is synchronous, in four steps with a meeting of the threads between them: the batch is drawn (`part_histories`,
`gather_candidates`, `compose_parted`), its scores become exponentials (`score_blocks`), these become gradients
(`turn_blocks`, `turn_queries`), and each row that took part makes one step of Adam (`step_rows`). Blocks of candidates, groups of
blocks and rows are shared out over threads; sums are not, so the bytes do not depend on their number.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.learning.sampling import GOLDEN_64, mix64
from tastemaker.kernels.learning.softmax import exponentials
from tastemaker.kernels.products import dot, multiply_add
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = [
    "BLOCK",
    "GROUPS",
    "add_moves",
    "compose_parted",
    "gather_candidates",
    "mark_own",
    "part_histories",
    "score_blocks",
    "step_rows",
    "turn_blocks",
    "turn_queries",
]

BLOCK = 64
"""Candidates whose scores are computed at once."""
GROUPS = 16
"""Groups of blocks, the unit of parallel work; each has a sum of its own of what the queries are moved by."""
NOWHERE = np.float32(-1e30)
"""The score of what may not be found."""
TINY = np.float32(1e-12)


@kernel(inline=True)
def share_of(key: np.uint64, number: int) -> float:
    """Return draw ``number`` of a stream, evenly from 0 to 1."""
    return np.float64(mix64(key + np.uint64(number) * GOLDEN_64) >> np.uint64(11)) * (
        1.0 / 9007199254740992.0
    )


@kernel()
def part_histories(
    users: Rows,
    offsets: Offsets,
    products: Rows,
    key: np.uint64,
    inputs_share: float,
    longest: int,
    input_offsets: Offsets,
    inputs: Rows,
    target_offsets: Offsets,
    targets: Rows,
) -> None:
    """Part the products of each of ``users[B]`` at random into inputs and targets, as lists by user.

    A product is an input with the chance ``inputs_share``, else a target; draw i of the stream ``key`` decides on pair i of the
    histories. A user without a target gives the last input to the targets. Of more than ``longest`` products, about so many
    take part.
    """
    heard, asked = 0, 0
    for b in range(users.shape[0]):
        first, end = offsets[users[b]], offsets[users[b] + 1]
        kept = min(1.0, longest / max(end - first, 1))
        for i in range(first, end):
            share = share_of(key, i)
            if share < kept * inputs_share:
                inputs[heard] = products[i]
                heard += 1
            elif share < kept:
                targets[asked] = products[i]
                asked += 1
        if asked == target_offsets[b] and heard > input_offsets[b]:
            heard -= 1
            targets[asked] = inputs[heard]
            asked += 1
        input_offsets[b + 1], target_offsets[b + 1] = heard, asked


@kernel()
def gather_candidates(
    key: np.uint64,
    batch: int,
    negatives: int,
    chances: Floats,
    aliases: Rows,
    inputs: Rows,
    targets: Rows,
    slots: Rows,
    rows: Rows,
) -> tuple[int, int]:
    """Fill ``rows`` with the distinct products of a batch; return how many compete, and how many there are.

    Draw i of a batch is number (batch << 32) + i of the stream ``key``, by the alias method. Those that compete come first: the
    drawn ones and the targets; with ``negatives`` as many as products or more, the whole catalogue. Inputs come after them.
    ``slots[P]``, -1 everywhere before, gets the place of each.
    """
    catalogue, count = chances.shape[0], 0
    if negatives >= catalogue:
        for row in range(catalogue):
            rows[row], slots[row] = row, row
        return catalogue, catalogue
    for i in range(negatives):
        bits = mix64(key + ((np.uint64(batch) << np.uint64(32)) + np.uint64(i)) * GOLDEN_64)
        p = np.int32(((bits >> np.uint64(32)) * np.uint64(catalogue)) >> np.uint64(32))
        if np.float32(bits & np.uint64(0xFFFFFFFF)) * np.float32(2.0**-32) >= chances[p]:
            p = aliases[p]
        if slots[p] < 0:
            slots[p], rows[count] = count, p
            count += 1
    for target in targets:
        if slots[target] < 0:
            slots[target], rows[count] = count, target
            count += 1
    competing = count
    for heard in inputs:
        if slots[heard] < 0:
            slots[heard], rows[count] = count, heard
            count += 1
    return competing, count


@kernel()
def compose_parted(
    low: int,
    high: int,
    input_offsets: Offsets,
    inputs: Rows,
    vectors: Floats,
    warmth: np.float32,
    queries: Floats,
    turned: Floats,
    lengths: Floats,
) -> None:
    """Set ``queries[B, D]`` of the users ``low … high - 1`` to the sum of their inputs' vectors, scaled to the length ``warmth``.

    ``turned[D, B]`` gets the same, and ``lengths[B]`` the lengths before. Without inputs a query is 0.
    """
    for b in range(low, high):
        query = queries[b]
        query[:] = 0
        for place in range(input_offsets[b], input_offsets[b + 1]):
            source = vectors[inputs[place]]
            for d in range(query.shape[0]):
                query[d] += source[d]
        lengths[b] = np.sqrt(TINY + dot(query, query))
        scale = warmth / lengths[b]
        for d in range(query.shape[0]):
            query[d] *= scale
            turned[d, b] = query[d]


@kernel()
def mark_own(
    input_offsets: Offsets,
    inputs: Rows,
    target_offsets: Offsets,
    targets: Rows,
    slots: Rows,
    competing: int,
    borders: Offsets,
    own_slots: Rows,
    own_users: Rows,
    own_targets: Rows,
) -> None:
    """List what of the candidates is a user's own, by block: its slot, the user, and its place among the targets, else -1.

    Block n of BLOCK candidates has the entries ``borders[n]:borders[n + 1]``. They are where scores are treated apart.
    """
    borders[:] = 0
    users = input_offsets.shape[0] - 1
    for turn in range(2):
        for b in range(users):
            for place in range(input_offsets[b], input_offsets[b + 1]):
                slot = slots[inputs[place]]
                if slot < competing:
                    block = slot // BLOCK
                    if turn == 0:
                        borders[block + 1] += 1
                    else:
                        own_slots[borders[block]], own_users[borders[block]] = slot, b
                        own_targets[borders[block]] = -1
                        borders[block] += 1
            for place in range(target_offsets[b], target_offsets[b + 1]):
                slot = slots[targets[place]]
                block = slot // BLOCK
                if turn == 0:
                    borders[block + 1] += 1
                else:
                    own_slots[borders[block]], own_users[borders[block]] = slot, b
                    own_targets[borders[block]] = place
                    borders[block] += 1
        if turn == 0:
            for block in range(borders.shape[0] - 1):
                borders[block + 1] += borders[block]
    for block in range(borders.shape[0] - 1, 0, -1):
        borders[block] = borders[block - 1]
    borders[0] = 0


@kernel(fast=True, inline=True)
def raise_to(top: Floats, row: Floats) -> None:
    """Raise ``top[n]`` to ``row[n]`` where that is greater."""
    for b in range(top.shape[0]):
        top[b] = max(top[b], row[b])


@kernel(inline=True)
def unit_rows(first: int, end: int, rows: Rows, vectors: Floats, units: Floats, lengths: Floats) -> None:
    """Set ``units[first:end]`` to the vectors of these candidates at length 1, and ``lengths`` to their lengths."""
    for c in range(first, end):
        source, unit = vectors[rows[c]], units[c]
        lengths[c] = np.sqrt(TINY + dot(source, source))
        scale = np.float32(1) / lengths[c]
        for d in range(source.shape[0]):
            unit[d] = source[d] * scale


@kernel()
def score_blocks(
    low: int,
    high: int,
    rows: Rows,
    competing: int,
    vectors: Floats,
    bias: Floats,
    corrections: Floats,
    turned: Floats,
    highest: np.float32,
    borders: Offsets,
    own_slots: Rows,
    own_users: Rows,
    own_targets: Rows,
    units: Floats,
    lengths: Floats,
    scores: Floats,
    totals: Doubles,
    tops: Floats,
    logits: Floats,
) -> None:
    """Set ``scores[C, B]`` of the blocks ``low … high - 1`` to exp(query · unit vector + bias + correction - ``highest``).

    A user's own inputs score 0, and own targets are not corrected. ``units[C, D]`` and ``lengths[C]`` get the candidates' vectors
    at length 1 and their lengths. ``totals[blocks, B]`` gets the sums, ``tops[blocks, B]`` the greatest score of what is no
    user's own, before the exponential, and ``logits`` the scores of the targets.
    """
    users = turned.shape[1]
    powers = np.empty(users, np.int32)
    for block in range(low, high):
        first, end = block * BLOCK, min((block + 1) * BLOCK, competing)
        unit_rows(first, end, rows, vectors, units, lengths)
        part = scores[first:end]
        for c in range(first, end):
            part[c - first, :] = bias[rows[c]] + corrections[rows[c]]
        multiply_add(units[first:end], turned, part, end - first, units.shape[1])
        for entry in range(borders[block], borders[block + 1]):  # set aside while the greatest is found
            slot, user, target = own_slots[entry], own_users[entry], own_targets[entry]
            if target >= 0:
                logits[target] = scores[slot, user] - corrections[rows[slot]]
            scores[slot, user] = NOWHERE
        top, total_row = tops[block], totals[block]
        top[:] = NOWHERE
        total_row[:] = 0
        for c in range(end - first):
            raise_to(top, part[c])
        for entry in range(borders[block], borders[block + 1]):
            if own_targets[entry] >= 0:
                scores[own_slots[entry], own_users[entry]] = logits[own_targets[entry]]
        for c in range(end - first):
            row = part[c]
            exponentials(row, highest, row, powers)
            for b in range(users):
                total_row[b] += row[b]
        for entry in range(borders[block], borders[block + 1]):
            if own_targets[entry] < 0:
                total_row[own_users[entry]] -= scores[own_slots[entry], own_users[entry]]
                scores[own_slots[entry], own_users[entry]] = 0


@kernel()
def turn_blocks(
    low: int,
    high: int,
    competing: int,
    scores: Floats,
    units: Floats,
    lengths: Floats,
    queries: Floats,
    scaled: Floats,
    shares: Floats,
    weights: Floats,
    borders: Offsets,
    own_slots: Rows,
    own_users: Rows,
    own_targets: Rows,
    gradients: Floats,
    bias_gradients: Floats,
    pulls: Floats,
) -> None:
    """Set the gradients of the candidates in the groups ``low … high - 1`` of blocks, and what each group pulls the queries by.

    The gradient of a score is ``scores[c, b] · shares[b]``, less ``weights[b]`` where c is a target of b; ``scaled[B, D]`` is
    ``queries`` times ``shares``. ``gradients[C, D]`` are those of the vectors as they are stored, not of their unit vectors, and
    ``bias_gradients[C]`` those of the bias; ``pulls[GROUPS, B, D]`` is Σ scores[c, b] · units[c], without the targets' part.
    """
    width, users = units.shape[1], queries.shape[0]
    blocks = (competing + BLOCK - 1) // BLOCK
    for group in range(low, high):
        pull = pulls[group]
        pull[:] = 0
        for block in range(blocks * group // GROUPS, blocks * (group + 1) // GROUPS):
            first, end = block * BLOCK, min((block + 1) * BLOCK, competing)
            part, mine = scores[first:end], gradients[first:end]
            multiply_add(part.T, units[first:end], pull, users, end - first)
            mine[:] = 0
            multiply_add(part, scaled, mine, end - first, users)
            for c in range(end - first):
                bias_gradients[first + c] = dot(part[c], shares[:users])
            for entry in range(borders[block], borders[block + 1]):
                if own_targets[entry] >= 0:
                    slot, user = own_slots[entry], own_users[entry]
                    query, gradient = queries[user], gradients[slot]
                    bias_gradients[slot] -= weights[user]
                    for d in range(width):
                        gradient[d] -= weights[user] * query[d]
            for c in range(first, end):
                gradient, unit = gradients[c], units[c]
                along = dot(gradient, unit)
                scale = np.float32(1) / lengths[c]
                for d in range(width):
                    gradient[d] = (gradient[d] - along * unit[d]) * scale


@kernel()
def turn_queries(
    low: int,
    high: int,
    target_offsets: Offsets,
    targets: Rows,
    slots: Rows,
    units: Floats,
    pulls: Floats,
    queries: Floats,
    lengths: Floats,
    shares: Floats,
    weights: Floats,
    warmth: np.float32,
    moves: Floats,
) -> None:
    """Set ``moves[B, D]`` of the users ``low … high - 1`` to the gradient of each of their inputs' vectors."""
    for b in range(low, high):
        move, query = moves[b], queries[b]
        move[:] = 0
        for group in range(GROUPS):
            pull = pulls[group, b]
            for d in range(move.shape[0]):
                move[d] += pull[d]
        for d in range(move.shape[0]):
            move[d] *= shares[b]
        for place in range(target_offsets[b], target_offsets[b + 1]):
            unit = units[slots[targets[place]]]
            for d in range(move.shape[0]):
                move[d] -= weights[b] * unit[d]
        along = dot(move, query) / (warmth * warmth)
        scale = warmth / lengths[b]
        for d in range(move.shape[0]):
            move[d] = (move[d] - along * query[d]) * scale


@kernel()
def add_moves(
    input_offsets: Offsets, inputs: Rows, slots: Rows, moves: Floats, gradients: Floats, bare: int
) -> None:
    """Add what moves each user's inputs to ``gradients`` at their slots; those from ``bare`` on are set to 0 before."""
    gradients[bare:] = 0
    for b in range(moves.shape[0]):
        move = moves[b]
        for place in range(input_offsets[b], input_offsets[b + 1]):
            gradient = gradients[slots[inputs[place]]]
            for d in range(move.shape[0]):
                gradient[d] += move[d]


@kernel()
def step_rows(
    low: int,
    high: int,
    rows: Rows,
    competing: int,
    gradients: Floats,
    bias_gradients: Floats,
    rate: np.float32,
    rises: tuple[np.float32, np.float32],
    vectors: Floats,
    bias: Floats,
    means: Floats,
    squares: Floats,
    bias_means: Floats,
    bias_squares: Floats,
    slots: Rows,
) -> None:
    """Move the rows ``rows[low:high]`` by one step of Adam, the bias of those that competed, too; clear their slots.

    ``rises`` are 1 / (1 - .9^t) and 1 / (1 - .999^t). A row that took no part stands still, and so do its means.
    """
    keep, keep_square, tiny = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
    for slot in range(low, high):
        p = rows[slot]
        slots[p] = -1
        vector, gradient, mean, square = vectors[p], gradients[slot], means[p], squares[p]
        for d in range(vector.shape[0]):
            g = gradient[d]
            mean[d] = keep * mean[d] + (np.float32(1) - keep) * g
            square[d] = keep_square * square[d] + (np.float32(1) - keep_square) * g * g
            vector[d] -= rate * (mean[d] * rises[0]) / (np.sqrt(square[d] * rises[1]) + tiny)
        if slot < competing:
            g = bias_gradients[slot]
            bias_means[p] = keep * bias_means[p] + (np.float32(1) - keep) * g
            bias_squares[p] = keep_square * bias_squares[p] + (np.float32(1) - keep_square) * g * g
            bias[p] -= rate * (bias_means[p] * rises[0]) / (np.sqrt(bias_squares[p] * rises[1]) + tiny)
