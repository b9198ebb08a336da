"""Which places of ranked lists hold a product that was held out."""

from __future__ import annotations

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Booleans, Offsets, Rows

__all__ = ["hit_flags"]

SHORT_LIST = 8
"""Up to this many held-out products are compared with many places at once; more are bisected, place by place."""


@kernel()
def hit_flags(offsets: Offsets, rows: Rows, held_offsets: Offsets, held_rows: Rows, out: Booleans) -> None:
    """Write into ``out[total]`` whether the candidate at each place of the lists is held out for its query.

    ``offsets`` is ``int64[Q + 1]`` and ``rows`` ``int32[total]``: query ``q`` was shown
    ``rows[offsets[q]:offsets[q + 1]]``. ``held_offsets`` (``int64[Q + 1]``) and ``held_rows``
    (``int32[pairs]``) say what is held out in the same manner, ascending for each query. Both may be empty
    for a query.
    """
    for query in range(len(offsets) - 1):
        start, stop = held_offsets[query], held_offsets[query + 1]
        low, high = offsets[query], offsets[query + 1]
        if stop - start <= SHORT_LIST:
            out[low:high] = False
            for held in range(start, stop):
                wanted = held_rows[held]
                for place in range(low, high):
                    out[place] |= rows[place] == wanted
            continue
        for place in range(low, high):
            row = rows[place]
            left, right = start, stop
            while left < right:
                middle = (left + right) >> 1
                if held_rows[middle] < row:
                    left = middle + 1
                else:
                    right = middle
            out[place] = left < stop and held_rows[left] == row
