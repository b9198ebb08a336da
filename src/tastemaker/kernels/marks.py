"""Sets of rows as bits, read in ascending order: what is sorted by marking it."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.types import AnyArray, Rows

__all__ = [
    "GROUP_SHIFT",
    "SHIFT",
    "WORD",
    "bit_of",
    "clear_marks",
    "lowest_of",
    "place_of_bit",
    "room_for_marks",
    "take_marked",
]

WORD = 64
"""Rows of a word, and words of a group"""

SHIFT = 6
GROUP_SHIFT = 2 * SHIFT

# The product of a power of two with this number has six leading bits that name the power (a de Bruijn sequence).
BRUIJN = 0x03F79D71B4CB0A89
PLACES = np.zeros(64, np.int64)
PLACES[[((BRUIJN << place) & (2**64 - 1)) >> 58 for place in range(64)]] = np.arange(64)


@kernel(inline=True)
def room_for_marks(rows: int) -> tuple[AnyArray, AnyArray]:
    """Return ``words`` and ``groups`` for so many rows, none of them marked."""
    words = np.zeros((rows + WORD - 1) >> SHIFT, np.uint64)
    return words, np.zeros((words.shape[0] + WORD - 1) >> SHIFT, np.uint64)


@kernel(inline=True)
def bit_of(place: int) -> np.uint64:
    """Return the bit of a row in its word, or of a word in its group."""
    return np.uint64(1) << np.uint64(place & (WORD - 1))


@kernel(inline=True)
def lowest_of(bits: np.uint64) -> np.uint64:
    """Return the lowest bit that is set."""
    return bits & (~bits + np.uint64(1))


@kernel(inline=True)
def place_of_bit(bit: np.uint64) -> int:
    """Return which bit is set: from 0, the lowest, to 63."""
    place: int = PLACES[(bit * np.uint64(BRUIJN)) >> np.uint64(58)]
    return place


@kernel(inline=True)
def take_marked(words: AnyArray, groups: AnyArray, rows: Rows, start: int) -> int:
    """Write the marked rows to ``rows[start:]``, ascending; nothing is marked then. Return the place after the last."""
    for group in range(groups.shape[0]):
        touched = groups[group]
        groups[group] = 0
        while touched != np.uint64(0):
            lowest = lowest_of(touched)
            touched ^= lowest
            place = group * WORD + place_of_bit(lowest)
            word = words[place]
            words[place] = 0
            while word != np.uint64(0):
                bit = lowest_of(word)
                word ^= bit
                rows[start] = place * WORD + place_of_bit(bit)
                start += 1
    return start


@kernel(inline=True)
def clear_marks(words: AnyArray, groups: AnyArray) -> None:
    """Take all marks away, at the cost of what is marked."""
    for group in range(groups.shape[0]):
        touched = groups[group]
        groups[group] = 0
        while touched != np.uint64(0):
            lowest = lowest_of(touched)
            touched ^= lowest
            words[group * WORD + place_of_bit(lowest)] = 0
