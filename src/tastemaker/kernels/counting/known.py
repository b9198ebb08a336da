"""What a user did before a moment: where those events lie, and the last of each product, or of each kind and product."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.marks import GROUP_SHIFT, SHIFT, bit_of, room_for_marks, take_marked
from tastemaker.types import AnyArray, Offsets, Rows, Times

__all__ = ["last_of_each", "spans_before"]


@kernel()
def spans_before(
    offsets: Offsets, times: Times, users: Offsets, moments: Times, low: Offsets, high: Offsets
) -> None:
    """Set ``low[q]`` and ``high[q]`` to where the events of user q strictly before a moment begin and end.

    The events of user u lie from ``offsets[u]`` to ``offsets[u + 1]``, in the order of their ``times``. A user beyond has none.
    """
    for q in range(users.shape[0]):
        low[q] = high[q] = 0
        if 0 <= users[q] < offsets.shape[0] - 1:
            first, last = offsets[users[q]], offsets[users[q] + 1]
            low[q] = first
            while first < last:
                middle = (first + last) // 2
                if times[middle] < moments[q]:
                    first = middle + 1
                else:
                    last = middle
            high[q] = first


@kernel()
def last_of_each(
    low: Offsets,
    high: Offsets,
    products: Rows,
    kinds: AnyArray,
    purchases: bool,
    counts: Offsets,
    places: Offsets,
) -> None:
    """Set ``places`` to the last event of each product from ``low[q]`` to ``high[q]``, ascending by product, query after query.

    ``counts[q]`` becomes how many query q has. Only purchases are looked at, or else only other events, of which the last of each
    kind and product counts, ascending by both. ``kinds``: ``int16[E]``, 0 for a purchase, above 0 for other events, or empty where
    all are purchases.
    """
    width, levels = 0, 1  # kinds of other events, or purchases alone
    for q in range(low.shape[0]):
        for place in range(low[q], high[q]):
            width = max(width, products[place] + 1)
            if not purchases and kinds.shape[0]:
                levels = max(levels, int(kinds[place]))
    room = width * levels
    last, found = np.empty(room, np.int64), np.empty(room, np.int32)
    words, groups = room_for_marks(room)
    start = 0
    for q in range(low.shape[0]):
        for place in range(low[q], high[q]):
            kind = int(kinds[place]) if kinds.shape[0] else 0
            if (kind == 0) == purchases:
                key = products[place] + max(kind - 1, 0) * width
                words[key >> SHIFT] |= bit_of(key)
                groups[key >> GROUP_SHIFT] |= bit_of(key >> SHIFT)
                last[key] = place
        counts[q] = take_marked(words, groups, found, 0)
        for i in range(counts[q]):
            places[start + i] = last[found[i]]
        start += counts[q]
