"""Ragged lists as two flat arrays: the one helper that gathers some of them."""

from __future__ import annotations

import numpy as np

from tastemaker.types import AnyArray, Offsets

__all__ = ["gather_lists"]


def gather_lists(offsets: Offsets, lists: AnyArray) -> tuple[Offsets, AnyArray]:
    """Return the offsets of the chosen lists, one after another, and the place of each of their values.

    >>> gather_lists(np.array([0, 2, 2, 5]), np.array([2, 0]))
    (array([0, 3, 5]), array([2, 3, 4, 0, 1]))
    """
    starts = np.asarray(offsets)[lists]
    lengths = np.asarray(offsets)[np.asarray(lists) + 1] - starts
    borders = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=borders[1:])
    return borders, np.arange(borders[-1]) + np.repeat(starts - borders[:-1], lengths)
