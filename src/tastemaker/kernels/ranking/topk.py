"""Scores of every candidate for every query, and the k best of each, without ever holding all scores at once.

The score of a pair is the same sum in the same order whatever the block, the batch or the number of threads: bias first,
then the dimensions in turn, each by one fused multiply-add, then the sparse extra. So lists are reproducible to the bit,
and one query alone gets the list that it gets among thousands.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.marks import WORD, lowest_of, place_of_bit
from tastemaker.types import AnyArray, Floats, Offsets, Rows

__all__ = ["PANEL", "STEP", "pack_panels", "rank", "room_for_panels", "unpack_keys"]

PANEL = 1024
"""Candidates of a panel. A panel of 64 dimensions (256 KiB) stays in the L2 cache while a chunk of queries uses it."""

STEP = 4
"""Queries scored at once, and dimensions added at once: 16 products in flight, which fills the vector registers."""

SPAN = 16
SPANS = PANEL // SPAN
"""A panel has 64 spans of 16 candidates; of the first panels, the greatest score of each span is known."""

HELD = 4
"""How many panels of scores are held for each query before the first candidate is kept: 16 KiB a query."""

LINE, PAGE = 64, 4096

ROW = PANEL + 208
"""Floats from one row of scores to the next: a panel, and a fifth of a page in whole cache lines (see `room_for_scores`)."""

LOWEST = np.float32(-np.inf)

LEAST_BITS, GREATEST_BITS = np.int32(-2139095040), np.int32(2139095039)
"""The least and the greatest finite number of float32, as `range_of` compares them"""

HALVINGS = 24
"""So often a range is halved at most: as many times as a number of float32 has digits"""


def room_for_panels(candidates: int, dimensions: int) -> Floats:
    """Return zeros ``float32[ceil(candidates / PANEL), dimensions · PANEL]`` that begin with a cache line."""
    shape = (-(-candidates // PANEL), dimensions * PANEL)
    room = np.zeros(shape[0] * shape[1] + LINE // 4, np.float32)
    first = -room.ctypes.data % LINE // 4
    return room[first : first + shape[0] * shape[1]].reshape(shape)


@kernel()
def pack_panels(vectors: Floats, panels: Floats) -> None:
    """Lay ``vectors[C, D]`` out as ``panels[ceil(C / PANEL), D' · PANEL]``: a panel holds dimension after dimension."""
    for panel in range(panels.shape[0]):
        low = panel * PANEL
        high = min(low + PANEL, vectors.shape[0])
        # dimension by dimension: a candidate's numbers lie 4 KiB apart in a panel, and in caches such places drive each other out
        for d in range(vectors.shape[1]):
            for c in range(low, high):
                panels[panel, d * PANEL + c - low] = vectors[c, d]


@kernel(inline=True)
def score_panel(queries: Floats, panel: Floats, scores: Floats) -> None:
    """Add the dot products of ``queries[4, D']`` with a panel to ``scores[4 · ROW]``; D' is a multiple of 4."""
    for d in range(0, queries.shape[1], STEP):
        q00, q01, q02, q03 = queries[0, d], queries[0, d + 1], queries[0, d + 2], queries[0, d + 3]
        q10, q11, q12, q13 = queries[1, d], queries[1, d + 1], queries[1, d + 2], queries[1, d + 3]
        q20, q21, q22, q23 = queries[2, d], queries[2, d + 1], queries[2, d + 2], queries[2, d + 3]
        q30, q31, q32, q33 = queries[3, d], queries[3, d + 1], queries[3, d + 2], queries[3, d + 3]
        p0, p1 = panel[d * PANEL : (d + 1) * PANEL], panel[(d + 1) * PANEL : (d + 2) * PANEL]
        p2, p3 = panel[(d + 2) * PANEL : (d + 3) * PANEL], panel[(d + 3) * PANEL : (d + 4) * PANEL]
        s0, s1 = scores[0:PANEL], scores[ROW : ROW + PANEL]
        s2, s3 = scores[2 * ROW : 2 * ROW + PANEL], scores[3 * ROW : 3 * ROW + PANEL]
        for c in range(PANEL):
            v0, v1, v2, v3 = p0[c], p1[c], p2[c], p3[c]
            s0[c] = (((s0[c] + q00 * v0) + q01 * v1) + q02 * v2) + q03 * v3
            s1[c] = (((s1[c] + q10 * v0) + q11 * v1) + q12 * v2) + q13 * v3
            s2[c] = (((s2[c] + q20 * v0) + q21 * v1) + q22 * v2) + q23 * v3
            s3[c] = (((s3[c] + q30 * v0) + q31 * v1) + q32 * v2) + q33 * v3


@kernel(inline=True)
def score_panel_once(query: Floats, panel: Floats, scores: Floats) -> None:
    """Add the dot products of one ``query[D']`` with a panel to ``scores[PANEL]``, to the bit as `score_panel` does."""
    for d in range(0, query.shape[0], STEP):
        q0, q1, q2, q3 = query[d], query[d + 1], query[d + 2], query[d + 3]
        p0, p1 = panel[d * PANEL : (d + 1) * PANEL], panel[(d + 1) * PANEL : (d + 2) * PANEL]
        p2, p3 = panel[(d + 2) * PANEL : (d + 3) * PANEL], panel[(d + 3) * PANEL : (d + 4) * PANEL]
        for c in range(PANEL):
            scores[c] = (((scores[c] + q0 * p0[c]) + q1 * p1[c]) + q2 * p2[c]) + q3 * p3[c]


@kernel(inline=True)
def key_of(bits: np.int32, row: int) -> np.uint64:
    """Return one number that orders (score, row): a greater score first, then a lower row.

    ``bits`` are those of a float32; a negative float's bits are flipped and a positive one's sign is set, so that the order
    of the unsigned numbers is that of the floats.
    """
    if bits == np.int32(-2147483648):  # minus zero equals zero
        bits = np.int32(0)
    high = np.uint32(bits) ^ (np.uint32(0xFFFFFFFF) if bits < 0 else np.uint32(0x80000000))
    return (np.uint64(high) << np.uint64(32)) | np.uint64(np.uint32(0xFFFFFFFF) - np.uint32(row))


@kernel(inline=True)
def split_keys(keys: AnyArray, rows: Rows, scores: Floats) -> None:
    """Turn keys of `key_of` back into rows and scores, within a kernel."""
    bits = scores.view(np.int32)
    for i in range(keys.shape[0]):
        high = np.uint32(keys[i] >> np.uint64(32))
        positive = (high & np.uint32(0x80000000)) != np.uint32(0)
        bits[i] = np.int32(high ^ (np.uint32(0x80000000) if positive else np.uint32(0xFFFFFFFF)))
        rows[i] = np.int32(np.uint32(0xFFFFFFFF) - np.uint32(keys[i] & np.uint64(0xFFFFFFFF)))


@kernel()
def unpack_keys(keys: AnyArray, rows: Rows, scores: Floats) -> None:
    """Turn keys of `key_of` back into rows and scores."""
    split_keys(keys, rows, scores)


@kernel(inline=True)
def keep_best(keys: AnyArray, count: int, k: int) -> None:
    """Reorder ``keys[:count]`` so that its k greatest stand first (Hoare's selection)."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        pivot = max(min(keys[low], keys[high]), min(max(keys[low], keys[high]), keys[middle]))
        i, j = low, high
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while keys[j] < pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            return


@kernel(inline=True)
def start_scores(scores: Floats, bias: Floats, members: int) -> None:
    """Start the first rows of ``scores[4 · ROW]`` with the panel's bias, and with the lowest score beyond it."""
    width = bias.shape[0]
    for i in range(members):
        mine = scores[i * ROW : i * ROW + PANEL]
        for c in range(width):
            mine[c] = bias[c]
        for c in range(width, PANEL):
            mine[c] = LOWEST


@kernel(inline=True)
def place_of(first: int, rows: Rows, place: int, end: int) -> int:
    """Return the place of the first of the ascending ``rows[place:end]`` that is not below ``first``."""
    while place < end:
        middle = (place + end) // 2
        if rows[middle] < first:
            place = middle + 1
        else:
            end = middle
    return place


@kernel(inline=True)
def add_extra(scores: Floats, first: int, rows: Rows, extra: Floats, place: int, end: int) -> int:
    """Add ``extra[place:end]`` at those of the ascending ``rows`` that lie in this panel; return the place of the next."""
    while place < end and rows[place] < first + PANEL:
        scores[rows[place] - first] += extra[place]
        place += 1
    return place


@kernel(inline=True)
def leave_out(scores: Floats, first: int, rows: Rows, place: int, end: int) -> int:
    """Set the scores at those of the ascending ``rows[place:end]`` that lie in this panel to the lowest; return the next place."""
    while place < end and rows[place] < first + PANEL:
        scores[rows[place] - first] = LOWEST
        place += 1
    return place


@kernel(inline=True)
def offer(scores: Floats, first: int, keys: AnyArray, count: int, beat: np.float32) -> int:
    """Add the keys of those of ``scores[PANEL]``, rows from ``first`` on, that are above ``beat``; return the new count.

    ``beat`` is at most the k-th best score so far: rows come in ascending order, so that a later row with just that score loses.
    """
    bits = scores.view(np.int32)
    for low in range(0, PANEL, WORD):
        above = np.uint64(0)
        for c in range(WORD):
            above |= np.uint64(scores[low + c] > beat) << np.uint64(c)
        while above != np.uint64(0):
            lowest = lowest_of(above)
            c = low + place_of_bit(lowest)
            keys[count] = key_of(bits[c], first + c)
            count += 1
            above ^= lowest
    return count


@kernel(inline=True)
def kth_score(keys: AnyArray, k: int) -> np.float32:
    """Return the least score within ``keys[:k]``."""
    worst = keys[:1].copy()
    for i in range(1, k):
        worst[0] = min(worst[0], keys[i])
    row, score = np.empty(1, np.int32), np.empty(1, np.float32)
    split_keys(worst, row, score)
    return np.float32(score[0])


@kernel(fast=True, inline=True)
def greatest(scores: Floats, maxima: Floats) -> None:
    """Set ``maxima[SPANS]`` to the greatest score of each span of ``scores[PANEL]``."""
    for span in range(SPANS):
        most = scores[span * SPAN]
        for c in range(SPAN):
            most = max(most, scores[span * SPAN + c])
        maxima[span] = most


@kernel(inline=True)
def just_below(score: np.float32) -> np.float32:
    """Return the next lower float32; of the lowest, itself."""
    if score == LOWEST:
        return score
    bits = np.empty(1, np.int32)
    value = bits.view(np.float32)
    value[0] = score
    if score > 0:
        bits[0] -= 1
    elif score < 0:
        bits[0] += 1
    else:
        bits[0] = -2147483647  # the greatest of the negative numbers
    return np.float32(value[0])


@kernel(inline=True)
def count_at_least(values: Floats, least: np.float32) -> int:
    """Return how many of the values are ``least`` or more."""
    count = np.int32(0)
    for i in range(values.shape[0]):  # in 32 bits, so that the compiler takes 16 at a time
        count += np.int32(1) if values[i] >= least else np.int32(0)
    return int(count)


@kernel(inline=True)
def range_of(values: Floats) -> tuple[np.float32, np.float32]:
    """Return the least and the greatest of those values that are finite; the greatest is the lower where there are none.

    They are compared as whole numbers that ascend as they do: LLVM takes 16 of these at a time.
    """
    bits, ends = values.view(np.int32), np.empty(2, np.int32)
    low, high = GREATEST_BITS, LEAST_BITS
    for i in range(bits.shape[0]):
        number = np.int32(bits[i] ^ np.int32(np.int32(bits[i] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
        low = min(low, number if number >= LEAST_BITS else GREATEST_BITS)
        high = max(high, number if number <= GREATEST_BITS else LEAST_BITS)
    ends[0], ends[1] = low, high
    for i in range(2):
        ends[i] ^= np.int32(ends[i] >> np.int32(31)) & np.int32(0x7FFFFFFF)
    floats = ends.view(np.float32)
    return np.float32(floats[0]), np.float32(floats[1])


@kernel(inline=True)
def least_to_beat(values: Floats, k: int) -> np.float32:
    """Return a number that the k greatest of ``values`` are above, and hardly any other is.

    Each value is a score that one candidate has at least, and no two are of the same: so the k best candidates are above it, too.
    What is no number counts for nothing. Halving the range goes over all values some ten times, 16 at once, which takes a fifth of
    the time of selecting among them.
    """
    low, high = range_of(values)
    if count_at_least(values, low) < k:
        return LOWEST
    for _ in range(HALVINGS):
        middle = np.float32(0.5) * low + np.float32(0.5) * high
        count = count_at_least(values, middle)
        if count >= k:
            low = middle
        else:
            high = middle
        if count == k:
            break
    return just_below(low)


@kernel(inline=True)
def offer_held(scores: Floats, first: int, maxima: Floats, keys: AnyArray, k: int) -> int:
    """Set ``keys`` to those of the best of ``scores[panels · PANEL]``, rows from ``first`` on; return their count.

    The k best are among them, and there are less than 2 k of them.
    """
    beat = least_to_beat(maxima, k)
    count = 0
    for low in range(0, scores.shape[0], PANEL):
        count = offer(scores[low : low + PANEL], first + low, keys, count, beat)
        if count >= 2 * k:
            keep_best(keys, count, k)
            count = k
            beat = kth_score(keys, k)
    return count


@kernel(inline=True)
def room_for_scores(panels: Floats) -> Floats:
    """Return ``float32[4 · ROW]``: four rows of scores, a fifth of a page apart from each other and from the panels' rows.

    A load that shares its place within the page with a store shortly before it waits for that store, whatever their pages; now and
    then that cost a factor of two or three.
    """
    room = np.empty(STEP * ROW + PAGE // 4, np.float32)
    apart = (panels.ctypes.data + 4 * (ROW - PANEL) - room.ctypes.data) % PAGE // 4
    return room[apart : apart + STEP * ROW]


@kernel()
def rank(
    low_block: int,
    high_block: int,
    low_panel: int,
    high_panel: int,
    queries: Floats,
    panels: Floats,
    bias: Floats,
    chunk: int,
    excluded_offsets: Offsets,
    excluded: Rows,
    extra_offsets: Offsets,
    extra_rows: Rows,
    extra_scores: Floats,
    keys: AnyArray,
    counts: Offsets,
) -> None:
    """Set ``keys[q, :counts[q]]`` to the best candidates of some panels for each query of some blocks, best first.

    Block b holds the queries ``b · chunk … (b + 1) · chunk - 1``; panels ``low_panel … high_panel - 1`` are looked at.

    ``queries[Q, D']`` against ``panels`` of `pack_panels`, each candidate starting from ``bias[C]``; one with a bias of minus
    infinity is in no list. Query q leaves out the rows ``excluded[excluded_offsets[q]:excluded_offsets[q + 1]]`` and adds
    ``extra_scores`` at ``extra_rows``, likewise ragged; both ascend within a query. Offsets of length 1 mean none.
    ``keys[Q, k]`` is as wide as the longest list wanted.

    The scores of the first panels are held until all are there: the greatest of each span then tell how good a candidate must
    be, before any is kept. Of later panels, those are kept that beat the k-th best so far.
    """
    k = keys.shape[1]
    exclude = excluded_offsets.shape[0] > 1
    add = extra_offsets.shape[0] > 1
    held = min(HELD, high_panel - low_panel)
    held_scores = np.empty((chunk, held * PANEL), np.float32)
    maxima = np.empty((chunk, held * SPANS), np.float32)
    buffers = np.empty((chunk, 2 * k + PANEL), np.uint64)  # room for a whole panel beside the best so far
    count = np.empty(chunk, np.int64)
    beat = np.empty(chunk, np.float32)
    next_excluded = np.zeros(chunk, np.int64)
    next_extra = np.zeros(chunk, np.int64)
    group = np.zeros((STEP, queries.shape[1]), np.float32)
    scores = room_for_scores(panels)
    for block in range(low_block, high_block):
        low = block * chunk
        size = min(chunk, queries.shape[0] - low)
        for q in range(size):
            if exclude:
                next_excluded[q] = place_of(
                    low_panel * PANEL, excluded, excluded_offsets[low + q], excluded_offsets[low + q + 1]
                )
            if add:
                next_extra[q] = place_of(
                    low_panel * PANEL, extra_rows, extra_offsets[low + q], extra_offsets[low + q + 1]
                )
        for panel in range(low_panel, high_panel):
            first = panel * PANEL
            mine_bias = bias[first : min(first + PANEL, bias.shape[0])]
            for start in range(0, size, STEP):
                members = min(STEP, size - start)
                group[:members] = queries[low + start : low + start + members]
                group[members:] = 0.0
                start_scores(scores, mine_bias, members)
                if members <= 2:
                    for i in range(members):
                        score_panel_once(group[i], panels[panel], scores[i * ROW : i * ROW + PANEL])
                else:
                    score_panel(group, panels[panel], scores)
                for i in range(members):
                    q = start + i
                    mine = scores[i * ROW : i * ROW + PANEL]
                    if add:
                        end = extra_offsets[low + q + 1]
                        next_extra[q] = add_extra(mine, first, extra_rows, extra_scores, next_extra[q], end)
                    if exclude:
                        end = excluded_offsets[low + q + 1]
                        next_excluded[q] = leave_out(mine, first, excluded, next_excluded[q], end)
                    at = panel - low_panel
                    if at < held:
                        held_scores[q, at * PANEL : (at + 1) * PANEL] = mine
                        greatest(mine, maxima[q, at * SPANS : (at + 1) * SPANS])
                        if at < held - 1:
                            continue
                        count[q] = offer_held(held_scores[q], low_panel * PANEL, maxima[q], buffers[q], k)
                    else:
                        count[q] = offer(mine, first, buffers[q], count[q], beat[q])
                    if count[q] >= 2 * k or at == held - 1:
                        beat[q] = LOWEST
                        if count[q] >= k:
                            keep_best(buffers[q], count[q], k)
                            count[q] = k
                            beat[q] = kth_score(buffers[q], k)
        for q in range(size):
            keep_best(buffers[q], count[q], k)
            best = min(count[q], k)
            ordered = np.sort(buffers[q, :best])
            for i in range(best):
                keys[low + q, i] = ordered[best - 1 - i]
            counts[low + q] = best
