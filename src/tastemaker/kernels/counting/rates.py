"""Live rates: how often each product is bought of late, at many moments in order."""

from __future__ import annotations

import math

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Doubles, Floats, Offsets, Rows, Times

__all__ = ["FAR", "rates_at"]

DAY = 86_400_000_000
"""Microseconds"""

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
    young: float,
    born: Doubles,
    spans: Doubles,
    rates: Floats,
) -> int:
    """Set ``rates[m, p]`` of the products ``low … high - 1`` at each of the ascending ``moments[M]``; return the new origin.

    counts[p] = Σ over its purchases of 2^((time - origin) / half_life)

    rates[m, p] = base[p] + weight · (log(start[p] + counts[p] · scale / share[m, p]) - shifts[m])

    scale = 2^((origin - moment) / half_life)

    share[m, p] = (span · (1 - min(1, born[p] · scale)) + young) / (spans[m] + young)

    where ``born[p]`` = 2^((first purchase of p - origin) / half_life), infinite before it, and span = half_life / ln 2, in days as
    ``young`` and ``spans`` are. With ``young`` of 0 the share is 1.

    ``counts`` grows by the purchases ``known[m - 1] … known[m] - 1`` (``products``, ``times``) before moment m is written, and by
    those up to ``known[M]`` after the last. A step of the origin by `FAR` half-lives scales by a power of two, which is exact.
    """
    seen = known[0]
    span = half_life / DAY / math.log(2.0)
    for m in range(moments.shape[0] + 1):
        upto = known[m + 1]
        while seen < upto:
            product = products[seen]
            if low <= product < high:
                ago = times[seen] - origin
                while ago > FAR * half_life:
                    for p in range(low, high):
                        counts[p] *= 2.0**-FAR
                        born[p] *= 2.0**-FAR
                    origin += FAR * half_life
                    ago -= FAR * half_life
                worth = 2.0 ** (np.float64(ago) / half_life)
                counts[product] += worth
                if born[product] == np.inf:
                    born[product] = worth
            seen += 1
        if m == moments.shape[0]:
            break
        ago = moments[m] - origin
        while ago > FAR * half_life:
            for p in range(low, high):
                counts[p] *= 2.0**-FAR
                born[p] *= 2.0**-FAR
            origin += FAR * half_life
            ago -= FAR * half_life
        scale = 2.0 ** (-np.float64(ago) / half_life)
        for p in range(low, high):
            count = counts[p] * scale
            if young > 0:
                age = span * (1.0 - min(1.0, born[p] * scale))
                count *= (spans[m] + young) / (age + young)
            rates[m, p] = base[p] + weight * (math.log(start[p] + count) - shifts[m])
    return origin
