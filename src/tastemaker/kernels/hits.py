"""Which places of ranked lists hold a product that was held out."""

from __future__ import annotations

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Booleans, Offsets, Rows

__all__ = ["hit_flags"]


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
        for place in range(offsets[query], offsets[query + 1]):
            row = rows[place]
            low, high = start, stop
            while low < high:
                middle = (low + high) >> 1
                if held_rows[middle] < row:
                    low = middle + 1
                else:
                    high = middle
            out[place] = low < stop and held_rows[low] == row
