"""The k best candidates of each query by a first pass over narrow copies of the vectors, exact to the bit.

Of a vector v its part along a few axes is kept, E orthonormal columns, as whole numbers a of one byte and a scale s, so that
v = E (s · a + e) + o with o at right angles to all axes; a query q likewise, q = E (t · b + f) + p. Then

    q · v = s · t · (a · b) + f · s a + (E' q) · e + p · o,
    |f · s a| <= |f| |s a|,   |(E' q) · e| <= |q| s √N / 2,   |p · o| <= |p| |o|

by Cauchy and Schwarz, N being the number of axes. The sum a · b is exact, and of the four bytes of a number at most one is read,
fewer where the vectors lie along few axes. Those who promise most are scored as `kernels.ranking.topk` scores them, the same sum
in the same order, and then all others whose upper bound reaches the k-th best of them.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.lanes import LANES, load, plus, store
from tastemaker.kernels.marks import WORD, lowest_of, place_of_bit
from tastemaker.kernels.prefetch import prefetch_row
from tastemaker.kernels.ranking.topk import (
    LOWEST,
    just_below,
    keep_best,
    key_of,
    kth_score,
    least_to_beat,
    place_of,
)
from tastemaker.kernels.ranking.whole_sums import GROUP, QUAD, TILE, sum_products, sum_products_of_tile
from tastemaker.kernels.wide_rows import chain_rows
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = ["BLOCK", "narrow_vectors", "rank_narrow"]

GREATEST, MIDDLE = 127, 128
"""The greatest whole number, and what is added to those of candidates, which are kept without sign."""

BLOCK = 16 * GROUP
"""Candidates whose bounds are worked out at once: they stay in the L1 cache."""

MAXIMA = 256
"""About how many greatest lower bounds are kept at least, and eight times k: so that the k best hardly share one"""

SEGMENT, SIDE_BY_SIDE = 32, 16
"""Blocks of a segment, and queries that take turns at them: their upper bounds, 512 KiB, stay in the L2 cache."""

TOGETHER = LANES
"""Candidates that are scored exactly side by side"""

AHEAD = 16
"""Candidates whose vectors are asked for before their turn"""

UNIT = np.float32(2.0**-23)
"""Twice the relative error of one operation of float32"""

SLACK = 16
"""Operations of float32 beside the D of a dot product, generously: those of the bounds, and of adding the bias."""

UP = 1 + 1e-6
"""Makes a norm in float32 no less than it is."""

TINY = np.float32(1e-37)
"""Above what is lost where float32 has no digits left."""

SLIP = 1e-12
"""What rounding in float64 may add to the square of what is outside the axes, relative to the square of all"""

SMALLEST = 2.0**-126
"""The least number of float32 that has all its digits"""

UNKNOWN = np.float32(np.inf)


@kernel(inline=True)
def axes_of(axes: Doubles, dimensions: int) -> int:
    """Return the number of the ``axes[D, N]``; ``axes[0, 0]`` are those of the vectors themselves, which have ``dimensions``."""
    return axes.shape[1] if axes.shape[0] else dimensions


@kernel(inline=True)
def project(vector: Floats, axes: Doubles, along: Doubles) -> None:
    """Set ``along[N]`` to the vector's part along the axes."""
    if axes.shape[0] == 0:
        along[:] = vector
        return
    along[:] = 0.0
    for d in range(axes.shape[0]):
        value = np.float64(vector[d])
        for n in range(axes.shape[1]):
            along[n] += value * axes[d, n]


@kernel(inline=True)
def squares_of(vector: Floats, along: Doubles) -> tuple[float, float, float]:
    """Return the squares of the norms of a vector and of its part ``along`` the axes, and that part's greatest number.

    The latter without its sign.
    """
    square = inside = most = 0.0
    for d in range(vector.shape[0]):
        square += np.float64(vector[d]) * np.float64(vector[d])
    for n in range(along.shape[0]):
        inside += along[n] * along[n]
        most = max(most, abs(along[n]))
    return square, inside, most


@kernel(inline=True)
def scale_of(most: float) -> float:
    """Return by what `GREATEST` is multiplied to give ``most``: a number of float32 with all its digits."""
    return max(np.float64(np.float32(most / GREATEST)), SMALLEST) if most > 0.0 else 0.0


@kernel(inline=True)
def per_unit_of(scale: float) -> float:
    """Return by what a value is multiplied to be told in units of a scale."""
    return 1.0 / scale if scale > 0.0 else 0.0


@kernel(inline=True)
def code_of(value: float, per_unit: float) -> float:
    """Return the whole number nearest to a value in units of a scale; nothing where there is no scale."""
    return min(max(np.rint(value * per_unit), -127.0), 127.0) if per_unit > 0.0 else 0.0


@kernel(inline=True)
def outside_of(square: float, inside: float) -> np.float32:
    """Return the norm of what is at right angles to the axes, and no less."""
    return np.float32(np.sqrt(max(square - inside, 0.0) + SLIP * square) * UP)


@kernel()
def narrow_vectors(low: int, along: Doubles, known: Doubles, codes: AnyArray, facts: Floats) -> None:
    """Set the codes and facts of some candidates from place ``low`` on.

    ``along``: ``float64[n, N]``, their vectors' parts along the axes. ``known``: ``float64[3, n]``: the squares of the norms of
    the vectors and of these parts, and the greatest number of these, without its sign. ``codes``: ``uint8``, flat, as
    `sum_products` reads them. ``facts``: ``float32[3, C]``, of each candidate the scale, the norm of scale · codes, and that of
    what is outside the axes.
    """
    quads = -(-along.shape[1] // QUAD)
    whole = np.full(quads * QUAD, MIDDLE, np.uint8)
    words, quads_of_all = whole.view(np.uint32), codes.view(np.uint32)
    for i in range(along.shape[0]):
        c, square, inside = low + i, known[0, i], known[1, i]
        finite = np.isfinite(square)  # else nothing is known of its scores, and it is always scored exactly
        scale = scale_of(known[2, i]) if finite else 0.0
        per_unit, norm = per_unit_of(scale), 0
        for n in range(along.shape[1]):
            code = np.int32(code_of(along[i, n], per_unit))
            whole[n] = np.uint8(code + MIDDLE)
            norm += int(code * code)
        first = (c // GROUP) * GROUP * quads + c % GROUP
        for quad in range(quads):
            quads_of_all[first + quad * GROUP] = words[quad]
        facts[0, c] = scale
        facts[1, c] = np.float32(scale * np.sqrt(np.float64(norm)) * UP) if finite else UNKNOWN
        facts[2, c] = outside_of(square, inside) if finite else UNKNOWN


@kernel(inline=True)
def rounding_of(dimensions: int) -> np.float32:
    """Return the share by which a dot product of so many dimensions, its bias and its bounds may be off in float32."""
    return np.float32(2 * (dimensions + SLACK) * 2.0**-24)


@kernel(inline=True)
def narrow_query(
    query: Floats, axes: Doubles, along: Doubles, rounding: np.float32, codes: AnyArray, facts: Floats
) -> int:
    """Set ``codes``, ``int8[N]``, and ``facts[5]``; return what MIDDLE adds to each sum.

    The facts: scale, |q|, and what the error is at most for each unit of a candidate's norm, scale, and norm outside the
    ``axes``: the norm of what is lost along them, |q| √N / 2, the norm of what is outside them, and what ``rounding`` adds.
    """
    project(query, axes, along)
    square, inside, most = squares_of(query, along)
    scale = scale_of(most)
    per_unit, rest = per_unit_of(scale), 0.0
    total = 0
    for n in range(along.shape[0]):
        code = code_of(along[n], per_unit)
        codes[n] = np.int8(code)
        total += int(code)
        rest += (along[n] - scale * code) ** 2
    facts[0] = scale
    facts[1] = np.float32(np.sqrt(square) * UP)
    facts[2] = np.float32(np.sqrt(rest) * UP)
    facts[3] = np.float32(np.sqrt(square * along.shape[0]) / 2 * UP)
    facts[4] = outside_of(square, inside)
    facts[2] += rounding * facts[1]
    facts[3] += rounding * facts[3]
    facts[4] += rounding * facts[1]
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
) -> None:
    """Set ``upper``, ``float32[BLOCK]``, to upper bounds of the scores of ``size`` candidates from ``first`` on.

    One that is in no list has the lowest.
    """
    scale, by_norm, by_scale, by_outside = query[0], query[2], query[3], query[4]
    starts, scales = bias[first : first + size], facts[0, first : first + size]
    norms, outsides = facts[1, first : first + size], facts[2, first : first + size]
    for c in range(size):
        middle = starts[c] + (scale * scales[c]) * np.float32(sums[c] - added)
        error = norms[c] * by_norm + scales[c] * by_scale + outsides[c] * by_outside
        error += rounding * abs(starts[c]) + TINY
        above = middle + error
        above = above if above >= LOWEST else UNKNOWN  # no number where float32 overflows
        upper[c] = above if starts[c] > LOWEST else LOWEST
    for c in range(size, BLOCK):
        upper[c] = LOWEST


@kernel(inline=True)
def fold_greatest(values: Floats, width: int, greatest: Floats) -> None:
    """Set ``greatest[:width]`` to the greatest of those ``width`` apart in ``values[BLOCK]``; both are powers of two.

    ``greatest[BLOCK]`` has room for what is between.
    """
    half = BLOCK // 2
    for c in range(BLOCK // 2):
        one, other = values[c], values[BLOCK // 2 + c]
        greatest[c] = other if other > one else one
    while half > width:
        half //= 2
        for c in range(half):
            one, other = greatest[c], greatest[half + c]
            greatest[c] = other if other > one else one


@kernel(inline=True)
def widen_by_extra(first: int, upper: Floats, rows: Rows, extra: Floats, place: int, end: int) -> int:
    """Add ``extra[place:end]`` to the bounds of those of the ascending ``rows`` in this block; return the place of the next."""
    while place < end and rows[place] < first + BLOCK:
        c, more = rows[place] - first, extra[place]
        if upper[c] > LOWEST:
            upper[c] = upper[c] + more + UNIT * (abs(upper[c]) + abs(more))
        place += 1
    return place


@kernel(inline=True)
def leave_out_of_block(first: int, upper: Floats, rows: Rows, place: int, end: int) -> int:
    """Give those of the ascending ``rows[place:end]`` in this block the lowest bound; return the place of the next."""
    while place < end and rows[place] < first + BLOCK:
        upper[rows[place] - first] = LOWEST
        place += 1
    return place


@kernel(inline=True)
def sum_block(codes: AnyArray, first: int, size: int, words: Rows, members: int, sums: Rows) -> None:
    """Set ``sums[i, :size]`` to Σ codes · query i of the candidates from ``first`` on; ``members`` of ``words`` are queries."""
    for group in range(0, size, GROUP):
        place = (first + group) * QUAD * words.shape[1]
        if members == 1:
            sum_products(codes, place, words, sums, group)
        else:
            sum_products_of_tile(codes, place, words, sums, group)


@kernel(inline=True)
def rows_above(upper: Floats, beat: np.float32, first: int, rows: Rows) -> int:
    """Set ``rows`` to those of candidates whose bound is above ``beat``, ascending from ``first`` on; return their count."""
    count = 0
    for start in range(0, upper.shape[0], WORD):
        # a part of its own: LLVM compares 16 at a time only where it sees that they lie side by side
        mine = upper[start : start + WORD]
        above = np.uint64(0)
        for c in range(WORD):
            above |= np.uint64(mine[c] > beat) << np.uint64(c)
        while above != np.uint64(0):
            lowest = lowest_of(above)
            rows[count] = first + start + place_of_bit(lowest)
            count += 1
            above ^= lowest
    return count


@kernel(inline=True)
def exact_scores(
    query: Floats, vectors: Floats, bias: Floats, rows: Rows, first: int, scores: Floats
) -> None:
    """Set ``scores[first:first + 16]`` to bias + query · vector of the candidates ``rows[first:first + 16]``.

    The bias first, then the dimensions in turn, each by one fused multiply-add, as everywhere.
    """
    for c in range(TOGETHER):
        scores[first + c] = bias[rows[first + c]]
    store(scores, first, chain_rows(query, vectors, rows, first, load(scores, first)))


@kernel(inline=True)
def offer_rows(
    query: Floats,
    vectors: Floats,
    bias: Floats,
    rows: Rows,
    more: Floats,
    count: int,
    keys: AnyArray,
    kept: int,
    k: int,
) -> int:
    """Add those of ``rows[:count]``, scored exactly, with ``more[:count]``, to the ``kept`` of ``keys``; return how many there are.

    These are k at most. ``rows`` and ``more`` have room for `TOGETHER` more, ``keys`` for k more than k. All are scored before any
    is kept, so that what the k-th best of them is at least sorts nearly all of them out.
    """
    scores = np.empty(count + TOGETHER, np.float32)
    rows[count : count + TOGETHER], more[count : count + TOGETHER] = rows[0], 0
    for ahead in range(min(AHEAD, count)):
        prefetch_row(vectors, rows[ahead])
    for start in range(0, count, TOGETHER):
        for ahead in range(start + AHEAD, min(start + AHEAD + TOGETHER, count)):
            prefetch_row(vectors, rows[ahead])
        exact_scores(query, vectors, bias, rows, start, scores)
        store(scores, start, plus(load(scores, start), load(more, start)))
    bits, beat = scores.view(np.int32), beat_of(keys, kept, k)
    if count > k:
        beat = max(beat, least_to_beat(scores[:count], k))
    for i in range(count):
        if scores[i] > beat:
            keys[kept] = key_of(bits[i], rows[i])
            kept += 1
            if kept == 2 * k:
                keep_best(keys, kept, k)
                kept, beat = k, beat_of(keys, k, k)
    if kept > k:
        keep_best(keys, kept, k)
    return min(kept, k)


@kernel(inline=True)
def beat_of(keys: AnyArray, kept: int, k: int) -> np.float32:
    """Return a score that each candidate to come must be above: the k-th best so far is the next."""
    return just_below(kth_score(keys, k)) if kept == k else LOWEST


@kernel(inline=True)
def extras_of(
    rows: Rows, count: int, extra_rows: Rows, extra_scores: Floats, place: int, end: int, more: Floats
) -> None:
    """Set ``more[:count]`` to what the ascending ``extra_rows[place:end]`` add to the ascending ``rows[:count]``."""
    for i in range(count):
        while place < end and extra_rows[place] < rows[i]:
            place += 1
        more[i] = extra_scores[place] if place < end and extra_rows[place] == rows[i] else np.float32(0)


@kernel(inline=True)
def bound_segment(
    low: int,
    members: int,
    segment: int,
    blocks: int,
    codes: AnyArray,
    words: Rows,
    about: Floats,
    added: Rows,
    rounding: np.float32,
    facts: Floats,
    bias: Floats,
    excluded_offsets: Offsets,
    excluded: Rows,
    extra_offsets: Offsets,
    extra_rows: Rows,
    extra_scores: Floats,
    next_excluded: Offsets,
    next_extra: Offsets,
    width: int,
    sums: Rows,
    room: Floats,
    upper: Floats,
    maxima: Floats,
) -> None:
    """Set ``upper[i]`` to the upper bounds, for the query ``low + i``, of the candidates of some blocks from ``segment`` on.

    ``maxima[i]`` becomes the greatest of them, ``width`` of each block, each that of one candidate.
    """
    exclude, add = excluded_offsets.shape[0] > 1, extra_offsets.shape[0] > 1
    for block in range(blocks):
        first = (segment + block) * BLOCK
        size = min(BLOCK, bias.shape[0] - first)
        for tile in range(0, members, TILE):
            sum_block(codes, first, size, words[tile : tile + TILE], members - tile, sums)
            for i in range(tile, min(tile + TILE, members)):
                mine = upper[i, block * BLOCK : (block + 1) * BLOCK]
                bound_block(first, size, sums[i - tile], added[i], about[i], rounding, facts, bias, mine)
                if add:
                    end = extra_offsets[low + i + 1]
                    next_extra[i] = widen_by_extra(first, mine, extra_rows, extra_scores, next_extra[i], end)
                if exclude:
                    end = excluded_offsets[low + i + 1]
                    next_excluded[i] = leave_out_of_block(first, mine, excluded, next_excluded[i], end)
                fold_greatest(mine, width, room)
                maxima[i, block * width : (block + 1) * width] = room[:width]


@kernel()
def rank_narrow(
    low: int,
    high: int,
    first_block: int,
    last_block: int,
    queries: Floats,
    vectors: Floats,
    axes: Doubles,
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

    As `kernels.ranking.topk.rank`, with ``vectors[C, D]`` as rows, and their ``codes`` and ``facts`` of `narrow_vectors` along
    ``axes[D, N]``. The queries must be finite. ``examined[q]`` becomes the number of candidates that were scored exactly.

    Some queries take turns at each block of codes, which then lies in the L2 cache. After each segment of blocks the
    candidates that may be among the best are scored, so that bounds stay there, too, and later segments have a score to beat.
    """
    k, dimensions = keys.shape[1], vectors.shape[1]
    along = np.empty(axes_of(axes, dimensions), np.float64)
    quads = -(-along.shape[0] // QUAD)
    exclude, add = excluded_offsets.shape[0] > 1, extra_offsets.shape[0] > 1
    rounding = rounding_of(dimensions)
    most, longest = min(SIDE_BY_SIDE, high - low), min(SEGMENT, last_block - first_block)
    width = 1  # maxima of a block
    while width < BLOCK // 2 and width * longest < max(8 * k, MAXIMA):
        width *= 2
    narrow, about = np.zeros((SIDE_BY_SIDE, quads * QUAD), np.int8), np.empty((SIDE_BY_SIDE, 5), np.float32)
    words, sums = narrow.view(np.int32), np.empty((TILE, BLOCK), np.int32)
    folded = np.empty(BLOCK, np.float32)
    added, beat = np.empty(SIDE_BY_SIDE, np.int32), np.empty(SIDE_BY_SIDE, np.float32)
    next_extra, next_excluded = np.zeros(SIDE_BY_SIDE, np.int64), np.zeros(SIDE_BY_SIDE, np.int64)
    maxima = np.empty((most, longest * width), np.float32)
    upper = np.empty((most, longest * BLOCK), np.float32)
    rows = np.empty(longest * BLOCK + TOGETHER, np.int32)
    best, more = (
        np.empty((most, 2 * k), np.uint64),
        np.empty(longest * BLOCK + TOGETHER, np.float32),
    )
    for start in range(low, high, SIDE_BY_SIDE):
        members = min(SIDE_BY_SIDE, high - start)
        for i in range(members):
            q = start + i
            added[i] = narrow_query(queries[q, :dimensions], axes, along, rounding, narrow[i], about[i])
            if add:
                next_extra[i] = place_of(
                    first_block * BLOCK, extra_rows, extra_offsets[q], extra_offsets[q + 1]
                )
            if exclude:
                next_excluded[i] = place_of(
                    first_block * BLOCK, excluded, excluded_offsets[q], excluded_offsets[q + 1]
                )
            counts[q] = examined[q] = 0
            beat[i] = LOWEST
        for segment in range(first_block, last_block, SEGMENT):
            blocks = min(SEGMENT, last_block - segment)
            bound_segment(
                start, members, segment, blocks, codes, words, about, added, rounding, facts, bias, excluded_offsets, excluded,
                extra_offsets, extra_rows, extra_scores, next_excluded, next_extra, width, sums, folded, upper, maxima,
            )  # fmt: skip
            for i in range(members):
                q, mine = start + i, upper[i, : blocks * BLOCK]
                promise = max(beat[i], least_to_beat(maxima[i, : blocks * width], k))
                for least in (
                    promise,
                    LOWEST,
                ):  # the k of the greatest bounds, then all others that may be better
                    count = rows_above(mine, max(least, beat[i]), segment * BLOCK, rows)
                    if count == 0:
                        break
                    place = end = 0
                    if add:
                        end = extra_offsets[q + 1]
                        place = place_of(rows[0], extra_rows, extra_offsets[q], end)
                    extras_of(rows, count, extra_rows, extra_scores, place, end, more)
                    counts[q] = offer_rows(
                        queries[q, :dimensions], vectors, bias, rows, more, count, best[i], counts[q], k
                    )
                    examined[q] += count
                    beat[i] = beat_of(best[i], counts[q], k)
                    if beat[i] >= least:
                        break
                    for done in rows[:count]:
                        mine[done - segment * BLOCK] = LOWEST
        for i in range(members):
            ordered = np.sort(best[i, : counts[start + i]])
            keys[start + i, : counts[start + i]] = ordered[::-1]
