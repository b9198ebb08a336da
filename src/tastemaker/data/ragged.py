"""Ragged lists as two flat arrays: list ``i`` is ``values[offsets[i]:offsets[i + 1]]``. What is done with them, written once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from tastemaker.types import AnyArray, Booleans, Offsets, Rows

__all__ = [
    "distinct",
    "find_sorted",
    "flat_lists",
    "gather_lists",
    "held_sorted",
    "offsets_of",
    "owners_of",
    "pair_keys",
    "places_in",
]


def distinct(values: AnyArray) -> AnyArray:
    """Return the distinct values, ascending, as ``np.unique`` does, by sorting: a twentieth of the time.

    >>> distinct(np.array([3, 1, 3]))
    array([1, 3])
    """
    ascending = np.sort(values, axis=None)
    first = np.ones(len(ascending), bool)
    first[1:] = ascending[1:] != ascending[:-1]
    return ascending[first]


def offsets_of(lengths: npt.ArrayLike) -> Offsets:
    """Return the offsets ``int64[n + 1]`` of lists of these lengths, ``int[n]``.

    >>> offsets_of([2, 0, 3])
    array([0, 2, 2, 5])
    """
    given = np.asarray(lengths)
    offsets = np.zeros(len(given) + 1, np.int64)
    given.cumsum(out=offsets[1:])
    return offsets


def flat_lists(lists: Iterable[Sequence[int] | Rows]) -> tuple[Offsets, Rows]:
    """Return the offsets ``int64[n + 1]`` of lists of rows, and their values one after another, ``int32[total]``.

    >>> flat_lists([[4, 1], [], [3]])
    (array([0, 2, 2, 3]), array([4, 1, 3], dtype=int32))
    """
    arrays = [np.asarray(values, np.int32) for values in lists]
    return offsets_of([len(values) for values in arrays]), np.concatenate([*arrays, np.zeros(0, np.int32)])


def owners_of(offsets: Offsets) -> Rows:
    """Return for each value the list that holds it, ``int32[total]``.

    >>> owners_of(np.array([0, 2, 2, 5])).tolist()
    [0, 0, 2, 2, 2]
    """
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))


def places_in(offsets: Offsets) -> Offsets:
    """Return for each value its place in its list, counted from 0, ``int64[total]``.

    >>> places_in(np.array([0, 2, 2, 5])).tolist()
    [0, 1, 0, 1, 2]
    """
    return np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], np.diff(offsets))


def gather_lists(offsets: Offsets, lists: AnyArray) -> tuple[Offsets, Offsets]:
    """Return the offsets of the chosen lists, one after another, and the place of each of their values.

    >>> gather_lists(np.array([0, 2, 2, 5]), np.array([2, 0]))
    (array([0, 3, 5]), array([2, 3, 4, 0, 1]))
    """
    starts = np.asarray(offsets)[lists]
    lengths = np.asarray(offsets)[np.asarray(lists) + 1] - starts
    borders = offsets_of(lengths)
    return borders, np.arange(borders[-1]) + np.repeat(starts - borders[:-1], lengths)


def pair_keys(first: AnyArray, second: AnyArray, width: int) -> Offsets:
    """Return one number for each pair, ``int64[n]``, which ascends as the pairs do; ``second`` must be below ``width``.

    >>> pair_keys(np.int32([0, 2]), np.int32([3, 1]), 10)
    array([ 3, 21])
    """
    keys: Offsets = np.multiply(first, width, dtype=np.int64) + second
    return keys


def find_sorted(ascending: AnyArray, values: AnyArray) -> tuple[Offsets, Booleans]:
    """Return where each value stands in an ascending array, and whether it is there; where it is not, the place means nothing.

    >>> find_sorted(np.array([2, 5, 9]), np.array([5, 7, 11]))
    (array([1, 2, 2]), array([ True, False, False]))
    """
    if not len(ascending):
        return np.zeros(values.shape, np.int64), np.zeros(values.shape, np.bool_)
    places = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return places, np.asarray(ascending[places] == values)


def held_sorted(ascending: AnyArray, values: AnyArray) -> Booleans:
    """Return whether each value is in an ascending array.

    >>> held_sorted(np.array([2, 5, 9]), np.array([5, 7]))
    array([ True, False])
    """
    return find_sorted(ascending, values)[1]
