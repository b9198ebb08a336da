"""The k best candidates of each of many queries over narrow copies, by a score to beat that is known before any is looked at.

What is added to a query's candidates by a memory is sparse and lifts them above nearly all others. So these candidates come first:
the k that promise most by bias and extra are scored exactly, then those others whose bound reaches the k-th best. Bounds are

    bias + q · v + extra <= bias + |q| |v| + extra,

and for all candidates without an extra, as in `kernels.ranking.narrow`, those of q · v over narrow copies. They are compared as
soon as they are worked out, four queries at a time, and none is stored: a bit says whether a candidate may be among the best. Of
some candidates side by side the greatest bias and norm tell, by Cauchy and Schwarz, for which queries none of them can be.
"""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.marks import bit_of, lowest_of, place_of_bit
from tastemaker.kernels.ranking.narrow import (
    TINY,
    TOGETHER,
    UNKNOWN,
    UP,
    axes_of,
    beat_of,
    narrow_query,
    offer_rows,
    rounding_of,
    rows_above,
)
from tastemaker.kernels.ranking.topk import LOWEST, least_to_beat, place_of
from tastemaker.kernels.ranking.whole_sums import GROUP, QUAD, TILE, mark_tile, sum_products_of_tile
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = ["SHELF", "lengths_of", "most_of_shelves", "rank_beating"]

SHELF = 4 * GROUP
"""Candidates that are passed over, or looked at, together: their codes stay in the L1 cache while queries take turns at them."""

SIDE_BY_SIDE = 512
"""Queries that take turns at a shelf: its codes come from memory once for all of them, and some of them need it"""

MOST_WORDS = 1 << 22
"""Words of all queries that take turns, in which a bit says who is passed over: 32 MiB"""

FIRST = 50
"""How many more candidates with an extra than k are scored before the others are held against the k-th best of them"""

LOST = np.float32(1e-18)
"""Above what is lost of a length where its square has no digits left in float32"""

LARGE = np.float32(1e38)
"""No sum on the way to a score that is below this in all its parts overflows."""

BEGIN = 4 * SHELF
"""At least so many candidates, and eight times k, tell a query without a memory what a list has to beat"""

WAITING = 64
"""Candidates that may be among the best of a query are scored when there are so many, or the candidates end."""


@kernel()
def lengths_of(facts: Floats, half: np.float32, order: Rows, lengths: Floats) -> None:
    """Set ``lengths[C]`` to what the vector of each candidate is no longer than; ``half`` is √N / 2, N being the number of axes.

    ``facts[3, C]`` are those of `narrow_vectors` in an ``order``: of the candidate ``order[p]`` they stand at p.
    """
    for place in range(order.shape[0]):
        norm, outside = facts[1, place], facts[2, place]
        length = np.sqrt(norm * norm + outside * outside) * UP + half * facts[0, place] + LOST
        lengths[order[place]] = np.float32(length) * np.float32(UP)


@kernel(inline=True)
def greatest_of(values: Floats, rows: Rows, room: Floats) -> np.float32:
    """Return the greatest of the values at a shelf's rows; unknown where one is no number. ``room[SHELF]`` is for what is between.

    LLVM fetches and compares 16 at a time where halves are folded, and one after another where a loop keeps the greatest so far.
    """
    for c in range(rows.shape[0]):
        room[c] = values[rows[c]]
    room[rows.shape[0] :] = LOWEST
    half = SHELF
    while half > 1:
        half //= 2
        for c in range(half):
            one, other = room[c], room[half + c]
            room[c] = UNKNOWN if not (one <= UNKNOWN) else one if other <= one else other
    return np.float32(room[0] if room[0] < UNKNOWN else UNKNOWN)


@kernel()
def most_of_shelves(lengths: Floats, bias: Floats, order: Rows, shelves: Floats) -> None:
    """Set ``shelves[2, S]`` to the greatest bias of each shelf, and what its vectors are no longer than."""
    room = np.empty(SHELF, np.float32)
    for shelf in range(shelves.shape[1]):
        rows = order[shelf * SHELF : (shelf + 1) * SHELF]
        shelves[0, shelf], shelves[1, shelf] = greatest_of(bias, rows, room), greatest_of(lengths, rows, room)


@kernel(inline=True)
def promise_extras(
    bias: Floats,
    rows: Rows,
    extra: Floats,
    excluded: Rows,
    rounding: np.float32,
    promised: Floats,
    maxima: Floats,
) -> int:
    """Set ``promised`` to bias + extra of each of the ``rows``, and no less; to the lowest for those ``excluded``.

    ``maxima[W]`` become the greatest of those W apart. Return how many are set, a multiple of W, the lowest beyond the last row.
    """
    width = maxima.shape[0]
    count: int = -(-rows.shape[0] // width) * width
    for place in range(rows.shape[0]):
        start, more = bias[rows[place]], extra[place]
        both = start + more + rounding * (abs(start) + abs(more))
        known = both if both > LOWEST else UNKNOWN  # where float32 overflows
        promised[place] = known if start > LOWEST else LOWEST
    promised[rows.shape[0] : count] = LOWEST
    place = 0
    for row in excluded:
        place = place_of(row, rows, place, rows.shape[0])
        if place < rows.shape[0] and rows[place] == row:
            promised[place] = LOWEST
    maxima[:] = LOWEST
    for start in range(0, count, width):
        mine = promised[start : start + width]
        for c in range(width):
            maxima[c] = mine[c] if mine[c] > maxima[c] else maxima[c]
    return count


@kernel(inline=True)
def offer_extras(
    query: Floats,
    length: np.float32,
    longest: np.float32,
    lengths: Floats,
    rounding: np.float32,
    vectors: Floats,
    bias: Floats,
    extra_rows: Rows,
    extra_scores: Floats,
    excluded: Rows,
    promised: Floats,
    maxima: Floats,
    places: Rows,
    rows: Rows,
    more: Floats,
    keys: AnyArray,
    k: int,
) -> tuple[int, int]:
    """Set ``keys`` to the best of the candidates with an extra, those ``excluded`` left out.

    Return how many these are, and how many were scored. The query is no longer than ``length``, and no vector than ``longest``.
    The other arrays are room: for all extras and `TOGETHER` more, ``maxima`` for a power of two beyond k.
    """
    count = promise_extras(bias, extra_rows, extra_scores, excluded, rounding, promised, maxima)
    found = rows_above(promised[:count], least_to_beat(maxima, k + FIRST), 0, places)
    for i in range(found):
        rows[i], more[i] = extra_rows[places[i]], extra_scores[places[i]]
        promised[places[i]] = LOWEST
    kept = scored = 0
    if found > 0:
        kept, scored = offer_rows(query, vectors, bias, rows, more, found, keys, 0, k), found
    beat = beat_of(keys, kept, k)
    reach, waiting = length * longest + TINY, 0
    reach = reach if reach < UNKNOWN else UNKNOWN
    for place in range(extra_rows.shape[0]):
        if not (promised[place] + reach > beat):
            continue
        row, extra = extra_rows[place], extra_scores[place]
        mine = promised[place] + (length * lengths[row] + TINY)
        if not (mine <= beat):
            rows[waiting], more[waiting] = row, extra
            waiting += 1
        if waiting == WAITING:
            kept = offer_rows(query, vectors, bias, rows, more, waiting, keys, kept, k)
            beat, scored, waiting = beat_of(keys, kept, k), scored + waiting, 0
    if waiting > 0:
        kept = offer_rows(query, vectors, bias, rows, more, waiting, keys, kept, k)
    scored += waiting
    return kept, scored


@kernel(inline=True)
def lay_out_shelf(
    first: int, order: Rows, facts: Floats, bias: Floats, rounding: np.float32, bounds: Floats
) -> None:
    """Set ``bounds[4, SHELF]``, as `mark_tile` reads it, to what is known of the candidates ``order[first:]``."""
    size = min(SHELF, bias.shape[0] - first)
    base, norms, scales, outsides = bounds[0], bounds[1], bounds[2], bounds[3]
    rows, own_scales = order[first : first + size], facts[0, first : first + size]
    own_norms, own_outsides = facts[1, first : first + size], facts[2, first : first + size]
    for c in range(size):
        start = bias[rows[c]]
        base[c] = start + (rounding * abs(start) + TINY)
        norms[c], scales[c], outsides[c] = own_norms[c], own_scales[c], own_outsides[c]
    for c in range(size, SHELF):
        base[c] = LOWEST
        norms[c] = scales[c] = outsides[c] = 0.0


@kernel(inline=True)
def begin_tile(
    shelves: int,
    codes: AnyArray,
    words: Rows,
    added: Rows,
    about: Floats,
    length: Floats,
    rounding: np.float32,
    order: Rows,
    facts: Floats,
    bias: Floats,
    shelf_longest: Floats,
    sums: Rows,
    lower: Floats,
) -> None:
    """Set ``lower[t]`` to lower bounds of the scores of the candidates of the first shelves, for four queries.

    The lowest where nothing is known: of what is no number, and where float32 may overflow on the way.
    """
    for shelf in range(shelves):
        first = shelf * SHELF
        size = min(SHELF, bias.shape[0] - first)
        for group in range(0, size, GROUP):
            sum_products_of_tile(codes, (first + group) * QUAD * words.shape[1], words, sums, group)
        rows, scales = order[first : first + size], facts[0, first : first + size]
        norms, outsides = facts[1, first : first + size], facts[2, first : first + size]
        for t in range(TILE):
            times, by_norm, by_scale, by_outside = about[t, 0], about[t, 1], about[t, 2], about[t, 3]
            room = LARGE - length[t] * shelf_longest[shelf]
            for c in range(size):
                start = bias[rows[c]]
                middle = start + (times * scales[c]) * np.float32(sums[t, c] - added[t])
                error = norms[c] * by_norm + scales[c] * by_scale + outsides[c] * by_outside
                below = middle - (error + (rounding * abs(start) + TINY))
                lower[t, first + c] = below if abs(start) < room else LOWEST
            lower[t, first + size : first + SHELF] = LOWEST


@kernel(inline=True)
def pass_over(rows: Rows, places: Rows, passed: AnyArray) -> None:
    """Set the bit of each of the ``rows`` in ``passed``, a word for each group, where ``places[C]`` says that it stands."""
    for row in rows:
        place = places[row]
        passed[place // GROUP] |= bit_of(place)


@kernel()
def rank_beating(
    low: int,
    high: int,
    queries: Floats,
    vectors: Floats,
    axes: Doubles,
    codes: AnyArray,
    facts: Floats,
    order: Rows,
    places: Rows,
    lengths: Floats,
    shelves: Floats,
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
    """Set ``keys[q, :counts[q]]`` to the best candidates for the queries ``low … high - 1``, best first.

    As `kernels.ranking.narrow.rank_narrow` does for all blocks, with the same arguments but that ``codes`` and ``facts`` stand in
    an ``order``, those of the candidate ``order[p]`` at p, which is its one of ``places``, with ``lengths[C]`` of `lengths_of` and
    ``shelves[2, S]`` of `most_of_shelves`. Any order gives the same lists; the sooner, the more those of the greatest bias and the
    longest vectors stand together.
    """
    k, dimensions = keys.shape[1], vectors.shape[1]
    along = np.empty(axes_of(axes, dimensions), np.float64)
    quads = -(-along.shape[0] // QUAD)
    exclude, add = excluded_offsets.shape[0] > 1, extra_offsets.shape[0] > 1
    rounding = rounding_of(dimensions)
    groups = -(-bias.shape[0] // SHELF) * (SHELF // GROUP)
    side = min(SIDE_BY_SIDE, high - low, max(TILE, MOST_WORDS // groups))
    passed = np.empty((side, groups), np.uint64)
    narrow, known = np.zeros((side, quads * QUAD), np.int8), np.empty(5, np.float32)
    words = narrow.view(np.int32)
    added, about, beat = np.empty(side, np.int32), np.empty((side, 5), np.float32), np.empty(side, np.float32)
    length = np.empty(side, np.float32)
    best, kept = np.empty((side, 2 * k), np.uint64), np.empty(side, np.int64)
    rows, waiting = np.empty((side, WAITING + SHELF + TOGETHER), np.int32), np.empty(side, np.int64)
    nothing, active = np.zeros(WAITING + SHELF + TOGETHER, np.float32), np.empty(side + TILE, np.int64)
    tile_words, tile_added = np.zeros((TILE, quads), np.int32), np.zeros(TILE, np.int32)
    tile_about, marks = np.zeros((TILE, 5), np.float32), np.empty((TILE, SHELF // GROUP), np.uint64)
    bounds = np.empty((4, SHELF), np.float32)
    most_extras = 0
    if add:
        for q in range(low, high):
            most_extras = max(most_extras, extra_offsets[q + 1] - extra_offsets[q])
    width = GROUP
    while width < 4 * (k + FIRST):
        width *= 2
    maxima = np.empty(width, np.float32)
    promising, promised = np.empty(most_extras, np.int32), np.empty(most_extras + width, np.float32)
    room = most_extras + TOGETHER
    first_rows, first_more = np.empty(room, np.int32), np.empty(room, np.float32)
    none = excluded[:0]
    begin = min(-(-max(BEGIN, 8 * k) // SHELF), -(-bias.shape[0] // SHELF))
    sums, lower = np.empty((TILE, SHELF), np.int32), np.empty((TILE, begin * SHELF), np.float32)
    tile_length = np.empty(TILE, np.float32)
    longest = shelves[1].max()
    for start in range(low, high, side):
        members = min(side, high - start)
        for i in range(members):
            q = start + i
            added[i] = narrow_query(queries[q, :dimensions], axes, along, rounding, narrow[i], known)
            about[i, 0], about[i, 1:4] = known[0], known[2:5]
            length[i] = known[1] * (1 + 2 * rounding)
            waiting[i] = kept[i] = examined[q] = 0
            left_out = excluded[excluded_offsets[q] : excluded_offsets[q + 1]] if exclude else none
            passed[i] = 0
            pass_over(left_out, places, passed[i])
            if add:
                a, z = extra_offsets[q], extra_offsets[q + 1]
                pass_over(extra_rows[a:z], places, passed[i])
                kept[i], examined[q] = offer_extras(
                    queries[q, :dimensions], length[i], longest, lengths, rounding, vectors, bias, extra_rows[a:z],
                    extra_scores[a:z], left_out, promised, maxima, promising, first_rows, first_more, best[i], k,
                )  # fmt: skip
            beat[i] = beat_of(best[i], kept[i], k)
        count = 0
        for i in range(members):
            if kept[i] < k:
                active[count] = i
                count += 1
        for tile in range(0, count, TILE):
            together = min(TILE, count - tile)
            for t in range(together):
                i = active[tile + t]
                tile_words[t], tile_added[t], tile_about[t], tile_length[t] = (
                    words[i],
                    added[i],
                    about[i],
                    length[i],
                )
            begin_tile(
                begin, codes, tile_words, tile_added, tile_about, tile_length, rounding, order, facts, bias, shelves[1],
                sums, lower,
            )  # fmt: skip
            for t in range(together):
                i = active[tile + t]
                q, others = start + i, 0
                if exclude:
                    others += excluded_offsets[q + 1] - excluded_offsets[q]
                if add:
                    others += extra_offsets[q + 1] - extra_offsets[q]
                beat[i] = least_to_beat(lower[t], k + others)
        for shelf in range(shelves.shape[1]):
            first, count = shelf * SHELF, 0
            highest, far = shelves[0, shelf], shelves[1, shelf]
            raised = highest + rounding * abs(highest) + TINY
            for i in range(members):
                if not (raised + length[i] * far <= beat[i]):
                    active[count] = i
                    count += 1
            if count > 0:
                lay_out_shelf(first, order, facts, bias, rounding, bounds)
            for tile in range(0, count, TILE):
                together = min(TILE, count - tile)
                for t in range(together):
                    i = active[tile + t]
                    tile_words[t], tile_added[t] = words[i], added[i]
                    tile_about[t], tile_about[t, 4] = about[i], beat[i]
                for group in range(SHELF // GROUP):
                    if first + group * GROUP >= bias.shape[0]:
                        marks[:, group] = 0
                        continue
                    place = (first + group * GROUP) * QUAD * quads
                    mark_tile(codes, place, tile_words, tile_added, tile_about, bounds, group, marks)
                for t in range(together):
                    i = active[tile + t]
                    q = start + i
                    for group in range(SHELF // GROUP):
                        above = marks[t, group] & ~passed[i, first // GROUP + group]
                        while above != np.uint64(0):
                            lowest = lowest_of(above)
                            above ^= lowest
                            rows[i, waiting[i]] = order[first + group * GROUP + place_of_bit(lowest)]
                            waiting[i] += 1
                    if waiting[i] >= WAITING:
                        kept[i] = offer_rows(
                            queries[q, :dimensions], vectors, bias, rows[i], nothing, waiting[i], best[i], kept[i], k
                        )  # fmt: skip
                        examined[q] += waiting[i]
                        waiting[i] = 0
                        beat[i] = max(beat[i], beat_of(best[i], kept[i], k))
        for i in range(members):
            q = start + i
            if waiting[i] > 0:
                kept[i] = offer_rows(
                    queries[q, :dimensions], vectors, bias, rows[i], nothing, waiting[i], best[i], kept[i], k
                )  # fmt: skip
                examined[q] += waiting[i]
            counts[q] = kept[i]
            ordered = np.sort(best[i, : kept[i]])
            keys[q, : kept[i]] = ordered[::-1]
