"""The k best candidates of one query by a first pass over narrow copies of the vectors, exact to the bit.

A vector v is kept as whole numbers a of one byte and a scale s, so that v = s · a + e; a query q likewise, q = t · b + f. Then

    q · v = s · t · (a · b) + f · s a + q · e,   |f · s a| <= |f| |s a|,   |q · e| <= |q| |e|

by Cauchy and Schwarz. The sum a · b is exact, and a quarter of the bytes is read. Only candidates whose upper bound reaches the
k-th best lower bound are scored as `kernels.ranking.topk` scores them: the same sum in the same order.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.ranking.topk import (
    BRUIJN,
    LOWEST,
    PLACES,
    WORD,
    keep_best,
    key_of,
    least_to_beat,
    place_of,
)
from tastemaker.kernels.ranking.whole_sums import GROUP, QUAD, sum_products
from tastemaker.types import AnyArray, Floats, Offsets, Rows

__all__ = ["BLOCK", "narrow_vectors", "rank_narrow"]

GREATEST, MIDDLE = 127, 128
"""The greatest whole number, and what is added to those of candidates, which are kept without sign."""

BLOCK = 16 * GROUP
"""Candidates whose bounds are worked out at once: they stay in the L1 cache."""

MAXIMA = 256
"""About how many greatest lower bounds are kept at least, and eight times k: so that the k best hardly share one"""

UNIT = np.float32(2.0**-23)
"""Twice the relative error of one operation of float32"""

SLACK = 16
"""Operations of float32 beside the D of a dot product, generously: those of the bounds, and of adding the bias."""

UP = 1 + 1e-6
"""Makes a norm in float32 no less than it is."""

TINY = np.float32(1e-37)
"""Above what is lost where float32 has no digits left."""

UNKNOWN = np.float32(np.inf)


@kernel()
def narrow_vectors(low: int, high: int, vectors: Floats, codes: AnyArray, facts: Floats) -> None:
    """Set the codes and facts of the candidates ``low … high - 1`` of ``vectors[C, D]``.

    ``codes``: ``uint8``, flat, as `sum_products` reads them. ``facts``: ``float32[3, C']``, of each candidate the scale, the
    norm of scale · codes, and that of what is lost.
    """
    dimensions = vectors.shape[1]
    quads = -(-dimensions // QUAD)
    for c in range(low, high):
        most = square = 0.0
        for d in range(dimensions):
            most = max(most, abs(np.float64(vectors[c, d])))
            square += np.float64(vectors[c, d]) ** 2
        known = np.isfinite(square)  # else nothing is known of its scores, and it is always scored exactly
        scale = np.float64(np.float32(most / GREATEST)) if known else 0.0
        norm = rest = 0.0
        first = (c // GROUP) * GROUP * QUAD * quads + c % GROUP * QUAD
        for d in range(dimensions):
            value, code = np.float64(vectors[c, d]), 0.0
            if scale > 0.0:
                code = min(max(np.rint(value / scale), -127.0), 127.0)
            codes[first + d // QUAD * GROUP * QUAD + d % QUAD] = np.uint8(code + MIDDLE)
            norm += (scale * code) ** 2
            rest += (value - scale * code) ** 2
        facts[0, c] = scale
        facts[1, c] = np.float32(np.sqrt(norm) * UP)
        facts[2, c] = np.float32(np.sqrt(rest) * UP) if known else UNKNOWN


@kernel(inline=True)
def narrow_query(query: Floats, codes: AnyArray, facts: Floats) -> int:
    """Set ``codes``, ``int8[Q · 4]``, and ``facts[3]``: scale, |q| and |what is lost|; return what MIDDLE adds to each sum."""
    most = 0.0
    for d in range(query.shape[0]):
        most = max(most, abs(np.float64(query[d])))
    scale = np.float64(np.float32(most / GREATEST))
    norm = rest = 0.0
    total = 0
    for d in range(query.shape[0]):
        value, code = np.float64(query[d]), 0.0
        if scale > 0.0:
            code = min(max(np.rint(value / scale), -127.0), 127.0)
        codes[d] = np.int8(code)
        total += int(code)
        norm += value * value
        rest += (value - scale * code) ** 2
    facts[0] = scale
    facts[1] = np.float32(np.sqrt(norm) * UP)
    facts[2] = np.float32(np.sqrt(rest) * UP)
    return MIDDLE * total


@kernel(inline=True)
def bound_block(
    first: int,
    size: int,
    sums: Rows,
    added: np.int32,
    query: Floats,
    rounding: np.float32,
    facts: Floats,
    bias: Floats,
    upper: Floats,
    lower: Floats,
) -> None:
    """Set ``upper`` and ``lower``, ``float32[BLOCK]``, to bounds of the scores of ``size`` candidates from ``first`` on.

    One that is in no list has the lowest.
    """
    scale, length, lost = query[0], query[1], query[2]
    by_norm, by_rest = lost + rounding * length, length + rounding * length
    starts, scales = bias[first : first + size], facts[0, first : first + size]
    norms, rests = facts[1, first : first + size], facts[2, first : first + size]
    for c in range(size):
        middle = starts[c] + (scale * scales[c]) * np.float32(sums[c] - added)
        error = norms[c] * by_norm + rests[c] * by_rest + (rounding * abs(starts[c]) + TINY)
        above, below = middle + error, middle - error
        above = above if above >= LOWEST else UNKNOWN  # no number where float32 overflows
        upper[c] = above if starts[c] > LOWEST else LOWEST
        lower[c] = below if starts[c] > LOWEST else LOWEST
    for c in range(size, BLOCK):
        upper[c] = LOWEST
        lower[c] = LOWEST


@kernel(inline=True)
def fold_greatest(values: Floats, width: int) -> None:
    """Set ``values[:width]`` to the greatest of those ``width`` apart in ``values[BLOCK]``; both are powers of two."""
    half = BLOCK // 2
    while half >= width:
        for c in range(half):
            one, other = values[c], values[half + c]
            values[c] = other if other > one else one
        half //= 2


@kernel(inline=True)
def widen_by_extra(
    first: int, upper: Floats, lower: Floats, rows: Rows, extra: Floats, place: int, end: int
) -> int:
    """Add ``extra[place:end]`` to the bounds of those of the ascending ``rows`` in this block; return the place of the next."""
    while place < end and rows[place] < first + BLOCK:
        c, more = rows[place] - first, extra[place]
        upper[c] = upper[c] + more + UNIT * (abs(upper[c]) + abs(more))
        lower[c] = lower[c] + more - UNIT * (abs(lower[c]) + abs(more))
        place += 1
    return place


@kernel(inline=True)
def exact_score(query: Floats, vector: Floats, start: np.float32) -> np.float32:
    """Return ``start`` + query · vector: bias first, then the dimensions in turn, each by one fused multiply-add."""
    total = start
    for d in range(vector.shape[0]):
        total += query[d] * vector[d]
    return total


@kernel()
def rank_narrow(
    low: int,
    high: int,
    first_block: int,
    last_block: int,
    queries: Floats,
    vectors: Floats,
    codes: AnyArray,
    facts: Floats,
    bias: Floats,
    excluded_offsets: Offsets,
    excluded: Rows,
    extra_offsets: Offsets,
    extra_rows: Rows,
    extra_scores: Floats,
    keys: AnyArray,
    counts: Offsets,
    examined: Offsets,
) -> None:
    """Set ``keys[q, :counts[q]]`` to the best of some blocks of candidates for the queries ``low … high - 1``, best first.

    As `kernels.ranking.topk.rank`, with ``vectors[C, D]`` as rows, and their ``codes`` and ``facts`` of `narrow_vectors`. The
    queries must be finite. ``examined[q]`` becomes the number of candidates that were scored exactly.
    """
    k = keys.shape[1]
    blocks = last_block - first_block
    width = 1  # maxima of a block
    while width < BLOCK and width * blocks < max(8 * k, MAXIMA):
        width *= 2
    maxima = np.empty(blocks * width, np.float32)
    upper, lower = np.empty(blocks * BLOCK, np.float32), np.empty(BLOCK, np.float32)
    room = np.empty(max(maxima.shape[0], 2 * k + WORD), np.uint64)
    quads = -(-vectors.shape[1] // QUAD)
    narrow, about = np.zeros(quads * QUAD, np.int8), np.empty(3, np.float32)
    words, sums = narrow.view(np.int32), np.empty(BLOCK, np.int32)
    score = np.empty(1, np.float32)
    bits = score.view(np.int32)
    rounding = np.float32(2 * (vectors.shape[1] + SLACK) * 2.0**-24)
    start_row = first_block * BLOCK
    for q in range(low, high):
        query = queries[q]
        added = np.int32(narrow_query(query[: vectors.shape[1]], narrow, about))
        next_extra = end_extra = next_excluded = end_excluded = 0
        if extra_offsets.shape[0] > 1:
            end_extra = extra_offsets[q + 1]
            next_extra = place_of(start_row, extra_rows, extra_offsets[q], end_extra)
        if excluded_offsets.shape[0] > 1:
            end_excluded = excluded_offsets[q + 1]
            next_excluded = place_of(start_row, excluded, excluded_offsets[q], end_excluded)
        with_extra = next_extra
        # 1. Bounds of all, and the greatest lower bounds: each is that of one candidate.
        for block in range(blocks):
            first = start_row + block * BLOCK
            size = min(BLOCK, bias.shape[0] - first)
            for group in range(0, size, GROUP):
                sum_products(codes, (first + group) * QUAD * quads, words, sums, group)
            mine = upper[block * BLOCK : (block + 1) * BLOCK]
            bound_block(first, size, sums, added, about, rounding, facts, bias, mine, lower)
            next_extra = widen_by_extra(first, mine, lower, extra_rows, extra_scores, next_extra, end_extra)
            while next_excluded < end_excluded and excluded[next_excluded] < first + BLOCK:
                mine[excluded[next_excluded] - first] = LOWEST
                lower[excluded[next_excluded] - first] = LOWEST
                next_excluded += 1
            fold_greatest(lower, width)
            maxima[block * width : (block + 1) * width] = lower[:width]
        # 2. Exact scores of those that may be among the k best.
        beat = least_to_beat(maxima, room, k)
        count = seen = 0
        next_extra = with_extra
        for start in range(0, blocks * BLOCK, WORD):
            above = np.uint64(0)
            for c in range(WORD):
                above |= np.uint64(upper[start + c] > beat) << np.uint64(c)
            while above != np.uint64(0):
                lowest = above & (~above + np.uint64(1))
                c = start_row + start + PLACES[(lowest * np.uint64(BRUIJN)) >> np.uint64(58)]
                above ^= lowest
                score[0] = exact_score(query, vectors[c], bias[c])
                while next_extra < end_extra and extra_rows[next_extra] < c:
                    next_extra += 1
                if next_extra < end_extra and extra_rows[next_extra] == c:
                    score[0] += extra_scores[next_extra]
                if score[0] > LOWEST:
                    room[count] = key_of(bits[0], c)
                    count += 1
                seen += 1
            if count >= 2 * k:
                keep_best(room, count, k)
                count = k
        keep_best(room, count, k)
        best = min(count, k)
        ordered = np.sort(room[:best])
        for i in range(best):
            keys[q, i] = ordered[best - 1 - i]
        counts[q] = best
        examined[q] = seen
