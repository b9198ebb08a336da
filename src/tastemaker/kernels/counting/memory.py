"""The memory: which products the same users bought, and what that adds to the score of a basket."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.marks import GROUP_SHIFT, SHIFT, bit_of, clear_marks, room_for_marks, take_marked
from tastemaker.kernels.prefetch import LINE, prefetch
from tastemaker.kernels.ranking.topk import keep_best, key_of
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = ["add_up", "count_distinct", "partners_of", "room_for_sums", "solve_neighbours"]

AHEAD = 16
"""Queries whose rows of the memory are asked for before their turn: each is a few lines anywhere in a large table"""


@kernel()
def partners_of(
    low: int,
    high: int,
    buyer_offsets: Offsets,
    buyers: Rows,
    history_offsets: Offsets,
    histories: Rows,
    user_weights: AnyArray,
    product_weights: Floats,
    unit: np.float32,
    partners: Rows,
    co_occurrence: Floats,
    counts: Offsets,
) -> None:
    """Find for each product ``low … high - 1`` the products bought with it.

    co_occurrence(p, q) = unit · Σ over users u who bought both of user_weights[u]

    The sum is of the type of ``user_weights[U]``: ``float32`` in the order of the users, or ``int64``, exact in any order.
    Of more partners than ``partners`` is wide, those with the greatest co_occurrence(p, q) · product_weights[q] are kept; of equals
    the lower
    row. Product p's partners stand ascending in ``partners[p - low, :counts[p - low]]``. Users of weight 0 are passed over.
    """
    products = buyer_offsets.shape[0] - 1
    total = np.zeros(products, user_weights.dtype)
    touched = np.empty(products, np.int32)
    keys = np.empty(products, np.uint64)
    value = np.empty(1, np.float32)
    bits = value.view(np.int32)
    words, groups = room_for_marks(products)
    for p in range(low, high):
        # 1. Walk from p to its buyers and on to their products: total[P], and which of it is not 0, touched[found].
        found = 0
        for place in range(buyer_offsets[p], buyer_offsets[p + 1]):
            user = buyers[place]
            weight = user_weights[user]
            if weight == 0:
                continue
            for other in range(history_offsets[user], history_offsets[user + 1]):
                q = histories[other]
                if total[q] == 0:
                    touched[found] = q
                    found += 1
                total[q] += weight
        # 2. Keep the strongest: keys order by weighted sum and then by row, so that ties are settled, too.
        count = 0
        for i in range(found):
            q = touched[i]
            if q != p:
                value[0] = np.float32(total[q] * unit) * product_weights[q]
                keys[count] = key_of(bits[0], q)
                count += 1
        kept = min(count, partners.shape[1])
        keep_best(keys, count, kept)
        # 3. Rows ascending, each with its unweighted sum; then total is all 0 again, at the cost of what was touched.
        for i in range(kept):
            q = int(np.uint32(0xFFFFFFFF) - np.uint32(keys[i] & np.uint64(0xFFFFFFFF)))
            words[q >> SHIFT] |= bit_of(q)
            groups[q >> GROUP_SHIFT] |= bit_of(q >> SHIFT)
        take_marked(words, groups, partners[p - low], 0)
        for i in range(kept):
            co_occurrence[p - low, i] = np.float32(total[partners[p - low, i]] * unit)
        counts[p - low] = kept
        for i in range(found):
            total[touched[i]] = 0


@kernel(inline=True)
def solve_symmetric(matrix: Doubles, right: Doubles, n: int) -> None:
    """Solve ``matrix[n, n] x = right[n]`` in place of ``right`` for a positive definite matrix (Cholesky, upper half used).

    Row by row, what a row explains is taken from all rows below it, so that the compiler takes many numbers at once.
    """
    for k in range(n):
        root = np.sqrt(max(matrix[k, k], 1e-12))
        matrix[k, k] = root
        explained = matrix[k, k + 1 : n]
        for j in range(explained.shape[0]):
            explained[j] /= root
        for i in range(k + 1, n):
            factor, rest, mine = matrix[k, i], matrix[i, i:n], matrix[k, i:n]
            for j in range(rest.shape[0]):
                rest[j] -= factor * mine[j]
    for i in range(n):
        right[i] /= matrix[i, i]
        solved, rest, mine = right[i], right[i + 1 : n], matrix[i, i + 1 : n]
        for j in range(rest.shape[0]):
            rest[j] -= mine[j] * solved
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]


@kernel()
def solve_neighbours(
    low: int,
    high: int,
    offsets: Offsets,
    partners: Rows,
    co_occurrence: Floats,
    dense: Floats,
    diagonal: Floats,
    penalty: float,
    neighbours: Rows,
    weights: Floats,
    counts: Offsets,
) -> None:
    """Explain each product ``low … high - 1`` by its nearest neighbours: what each adds when the others are known, too.

    weights = (G_NN + penalty · I)⁻¹ G_Np, with N the products of greatest co_occurrence(p, q) / √diagonal[q]

    G is the table ``partners[offsets[p]:offsets[p + 1]]``, ``co_occurrence`` (ascending rows) with ``diagonal[P]``; of few products
    it is ``dense[P, P]``, too, which else is empty. Writes ``neighbours[p - low]``, ``weights[p - low]`` and their number.
    Source: H. STECK 2019 (EASE), eq. 8, here solved among each product's neighbours only.
    """
    products = offsets.shape[0] - 1
    most = neighbours.shape[1]
    matrix = np.zeros((most, most), np.float64)
    right = np.zeros(most, np.float64)
    place_of = np.empty(products, np.int32)
    marked = np.zeros(
        (products >> 6) + 1, np.uint64
    )  # a bit a product, for caches hold no place_of of a million
    keys = np.empty(partners.shape[0] if products == 0 else np.max(offsets[1:] - offsets[:-1]), np.uint64)
    value = np.empty(1, np.float32)
    bits = value.view(np.int32)
    for p in range(low, high):
        # 1. The nearest n of p's partners, as places in its list, ascending.
        start, count = offsets[p], offsets[p + 1] - offsets[p]
        for i in range(count):
            q = partners[start + i]
            value[0] = co_occurrence[start + i] / np.sqrt(max(diagonal[q], np.float32(1e-6)))
            keys[i] = key_of(bits[0], i)
        kept = min(count, most)
        keep_best(keys, count, kept)
        chosen = neighbours[p - low]
        for i in range(kept):
            chosen[i] = np.int32(np.uint32(0xFFFFFFFF) - np.uint32(keys[i] & np.uint64(0xFFFFFFFF)))
        chosen[:kept].sort()
        # 2. The right side G_Np, right[n]; places become rows, and place_of[P] leads from a row to its place.
        matrix[:kept, :kept] = 0
        for i in range(kept):
            right[i] = co_occurrence[start + chosen[i]]
            chosen[i] = partners[start + chosen[i]]
            place_of[chosen[i]] = i
            marked[chosen[i] >> 6] |= np.uint64(1) << np.uint64(chosen[i] & 63)
        # 3. G_NN + penalty · I, matrix[n, n], from the lists of the neighbours themselves; what one leaves out another may have.
        for i in range(kept):
            q = chosen[i]
            matrix[i, i] = diagonal[q] + penalty
            if dense.shape[0]:
                for j in range(i + 1, kept):
                    one, other = dense[q, chosen[j]], dense[chosen[j], q]
                    matrix[i, j] = one if one != 0 else other
                continue
            for entry in range(offsets[q], offsets[q + 1]):
                row = partners[entry]
                if (marked[row >> 6] >> np.uint64(row & 63)) & np.uint64(1):
                    j = place_of[row]
                    if j != i:
                        matrix[i, j] = co_occurrence[entry]
                        matrix[j, i] = co_occurrence[entry]
        # 4. Solve, write, and clear the marks.
        solve_symmetric(matrix, right, kept)
        for i in range(kept):
            weights[p - low, i] = right[i]
            marked[chosen[i] >> 6] = 0
        counts[p - low] = kept


@kernel(inline=True)
def ask_for_partners(product: int, offsets: Offsets, partners: Rows, weights: Floats) -> None:
    """Ask for what the memory holds of a product."""
    for entry in range(offsets[product], offsets[product + 1], LINE):
        prefetch(partners, entry)
        prefetch(weights, entry)


@kernel()
def count_distinct(
    low: int,
    high: int,
    basket_offsets: Offsets,
    baskets: Rows,
    memory_offsets: Offsets,
    memory_products: Rows,
    products: int,
    counts: Offsets,
) -> None:
    """Set ``counts[q]`` to how many distinct products the memory knows with the basket of each query ``low … high - 1``."""
    words, groups = room_for_marks(products)
    for q in range(low, high):
        found = 0
        for place in range(basket_offsets[q], basket_offsets[q + 1]):
            p = baskets[place]
            for entry in range(memory_offsets[p], memory_offsets[p + 1]):
                row = memory_products[entry]
                word, bit = words[row >> SHIFT], bit_of(row)
                if word & bit == np.uint64(0):
                    words[row >> SHIFT] = word | bit
                    groups[row >> GROUP_SHIFT] |= bit_of(row >> SHIFT)
                    found += 1
        counts[q] = found
        clear_marks(words, groups)


@kernel()
def room_for_sums(
    basket_offsets: Offsets, baskets: Rows, memory_offsets: Offsets, products: int, room: Offsets
) -> None:
    """Set ``room[q]``, ``int64[Q + 1]``, to where `add_up` has room for query q.

    That is for as many products as the memory's rows of its basket have together, or for all ``products``.
    """
    room[0] = 0
    for q in range(room.shape[0] - 1):
        most = 0
        for place in range(basket_offsets[q], basket_offsets[q + 1]):
            p = baskets[place]
            most += memory_offsets[p + 1] - memory_offsets[p]
        room[q + 1] = room[q] + min(most, products)


@kernel()
def add_up(
    low: int,
    high: int,
    basket_offsets: Offsets,
    baskets: Rows,
    damping: float,
    memory_offsets: Offsets,
    memory_products: Rows,
    memory_weights: Floats,
    products: int,
    first: int,
    counts: Offsets,
    rows: Rows,
    scores: Floats,
) -> None:
    """Set, for the queries ``low … high - 1``, the products that the memory knows and what it adds to their scores.

    scores(q, r) = n^-damping · Σ over the n products p in basket q of memory[p, r]

    They stand from ``rows[first]`` on, query after query, ``counts[q]`` of each, ascending; `room_for_sums` tells where there is
    room.
    """
    total = np.empty(products, np.float32)  # of a row that is not marked, nothing is read
    words, groups = room_for_marks(products)
    asked = basket_offsets[low]
    for q in range(low, high):
        for place in range(asked, basket_offsets[min(q + AHEAD, high)]):
            ask_for_partners(baskets[place], memory_offsets, memory_products, memory_weights)
        asked = basket_offsets[min(q + AHEAD, high)]
        # Add up the memory's rows of the basket in total[P], marking each product; then read them in ascending order.
        size = basket_offsets[q + 1] - basket_offsets[q]
        scale = np.float32(1) if size < 2 else np.float32(np.float64(size) ** -damping)
        for place in range(basket_offsets[q], basket_offsets[q + 1]):
            p = baskets[place]
            for entry in range(memory_offsets[p], memory_offsets[p + 1]):
                row, weight = memory_products[entry], memory_weights[entry]
                word, bit = words[row >> SHIFT], bit_of(row)
                if word & bit == np.uint64(0):
                    words[row >> SHIFT] = word | bit
                    groups[row >> GROUP_SHIFT] |= bit_of(row >> SHIFT)
                    total[row] = weight
                else:
                    total[row] += weight
        end = take_marked(words, groups, rows, first)
        for place in range(first, end):
            scores[place] = scale * total[rows[place]]
        counts[q], first = end - first, end
