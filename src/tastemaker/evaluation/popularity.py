"""Head, middle and tail: which products make up the first, the second and the last third of what is bought."""

from __future__ import annotations

import numpy as np

from tastemaker.errors import SettingProblem
from tastemaker.types import AnyArray, Rows

__all__ = ["LABELS", "popularity"]

LABELS = ("head", "middle", "tail", "never bought")


def popularity(buyers: AnyArray, *, head: float = 1 / 3, middle: float = 1 / 3) -> Rows:
    """Return for each product where it stands by popularity, as a position in `LABELS`, ``int32[P]``.

    b(p), of ``buyers``, is how many users bought p in train, and A(p) the buyers of all products that have more than p: p
    belongs to the *head* where ``A(p) < head · Σ b``, else to the *middle* where ``A(p) < (head + middle) · Σ b``, else to the
    *tail*. Products with the same number of buyers stay together. A product without a buyer is *never bought*. Raises
    `SettingProblem` unless both shares are above 0 and leave something for the tail.

    >>> popularity(np.array([3, 1, 1, 1, 0])).tolist()
    [0, 1, 1, 1, 3]
    """
    if not (head > 0 and middle > 0 and head + middle < 1):
        raise SettingProblem(
            f"the shares of head and middle are {head} and {middle}; both must be above 0, and their sum below 1."
        )
    levels, level_of = np.unique(-np.asarray(buyers, np.int64), return_inverse=True)
    bought = np.bincount(level_of, weights=buyers, minlength=len(levels))
    above = np.cumsum(bought) - bought
    bounds = np.array([head, head + middle]) * bought.sum()
    codes = np.searchsorted(bounds, above, side="right")[level_of]
    codes[np.asarray(buyers) == 0] = 3
    return codes.astype(np.int32)
