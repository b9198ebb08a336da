"""Live rates: how often each product is bought of late, at many moments in order."""

from __future__ import annotations

import math

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Doubles, Floats, Offsets, Rows, Times

__all__ = ["FAR", "rates_at"]

FAR = 256
"""Counts are kept in units of their worth at an origin, which moves when a moment is more than this many half-lives away."""


@kernel()
def rates_at(
    low: int,
    high: int,
    counts: Doubles,
    origin: int,
    half_life: int,
    products: Rows,
    times: Times,
    known: Offsets,
    moments: Times,
    start: Doubles,
    weight: float,
    shifts: Doubles,
    base: Floats,
    rates: Floats,
) -> int:
    """Set ``rates[m, p]`` of the products ``low … high - 1`` at each of the ascending ``moments[M]``; return the new origin.

    counts[p] = Σ over its purchases of 2^((time - origin) / half_life)

    rates[m, p] = base[p] + weight · (log(start[p] + counts[p] · 2^((origin - moment) / half_life)) - shifts[m])

    ``counts`` grows by the purchases ``known[m - 1] … known[m] - 1`` (``products``, ``times``) before moment m is written, and by
    those up to ``known[M]`` after the last. A step of the origin by `FAR` half-lives scales by a power of two, which is exact.
    """
    seen = known[0]
    for m in range(moments.shape[0] + 1):
        upto = known[m + 1]
        while seen < upto:
            product = products[seen]
            if low <= product < high:
                ago = times[seen] - origin
                while ago > FAR * half_life:
                    for p in range(low, high):
                        counts[p] *= 2.0**-FAR
                    origin += FAR * half_life
                    ago -= FAR * half_life
                counts[product] += 2.0 ** (np.float64(ago) / half_life)
            seen += 1
        if m == moments.shape[0]:
            break
        ago = moments[m] - origin
        while ago > FAR * half_life:
            for p in range(low, high):
                counts[p] *= 2.0**-FAR
            origin += FAR * half_life
            ago -= FAR * half_life
        scale = 2.0 ** (-np.float64(ago) / half_life)
        for p in range(low, high):
            value = start[p] + counts[p] * scale
            rates[m, p] = base[p] + weight * (math.log(value) - shifts[m])
    return origin
