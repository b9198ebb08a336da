"""The numbers of a model's arrays, looked at while their file's checksum is made: one reading for both.

What is in the processor's cache for the checksum is looked at there, so that the looks cost less than a second pass over
the memory, and the pages of a mapped file that no request needs are never touched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from io import BufferedReader

import numpy as np

from tastemaker.errors import DamagedModel
from tastemaker.model.layout import ModelArray, Rule
from tastemaker.types import AnyArray

__all__ = ["FARTHEST", "check_values"]

BLOCK = 1 << 17
"""Values read and looked at together; they stay in the processor's cache"""

FARTHEST = 1 << 60
"""Microseconds, 36,000 years: a moment lies within so much of 1970, so that no sum of two leaves 64 bits"""

INFINITE, INFINITE_BELOW = 0x7F800000, 0xFF800000
"""The bits of the two infinities, as whole numbers; what is no number has greater ones"""

Look = Callable[[AnyArray, int, ModelArray, Mapping[str, AnyArray], Mapping[str, int]], str | None]
"""Says what is wrong with a block of an array that begins at a place; every block but the first repeats the last value before it"""


def check_values(
    file: BufferedReader,
    part: ModelArray,
    arrays: Mapping[str, AnyArray],
    sizes: Mapping[str, int],
) -> tuple[str, DamagedModel | None]:
    """Read an array's file once; return its SHA-256, and what is wrong where a value is one that no training writes.

    ``arrays`` holds the array itself, for its type and length, and those before it. A wrong checksum is the caller's to tell, and
    comes first: what is wrong with the values of a file that was damaged on its way is no news.
    """
    array = arrays[part.name]
    digest = hashlib.sha256()
    file.seek(0)
    digest.update(file.read(os.fstat(file.fileno()).st_size - array.nbytes))
    problem = _length_problem(part, array, arrays)
    size, kept, low = array.itemsize, 0, 0
    buffer = bytearray((BLOCK + 1) * size)
    view, values = memoryview(buffer), np.frombuffer(buffer, array.dtype)
    while read := file.readinto(view[kept:]):
        digest.update(view[kept : kept + read])
        if problem is None and read % size == 0:
            block = values[: (kept + read) // size]
            problem = _LOOKS[part.rule](block, low, part, arrays, sizes)
        low += (kept + read) // size - 1
        view[:size] = view[kept + read - size : kept + read]
        kept = size
    if problem is None:
        return digest.hexdigest(), None
    said = f"{part.name}.npy {problem}; no training writes that. Train the model again."
    return digest.hexdigest(), DamagedModel(said)


def _length_problem(part: ModelArray, array: AnyArray, arrays: Mapping[str, AnyArray]) -> str | None:
    if part.rule == "offsets" and not len(array):
        return "is empty; offsets begin with 0"
    if part.owners is not None and arrays[part.owners][-1] != len(array):
        return f"holds {len(array):,} rows; {part.owners}.npy ends at {arrays[part.owners][-1]:,}"
    return None


def _not_finite(
    block: AnyArray, low: int, part: ModelArray, arrays: Mapping[str, AnyArray], sizes: Mapping[str, int]
) -> str | None:
    # infinities and what is no number are the greatest of each sign by their bits, so that two integer maxima find them, exactly
    if block.view(np.int32).max() >= INFINITE or block.view(np.uint32).max() >= INFINITE_BELOW:
        return "holds a number that is not finite"
    return None


def _not_above_zero(
    block: AnyArray, low: int, part: ModelArray, arrays: Mapping[str, AnyArray], sizes: Mapping[str, int]
) -> str | None:
    if np.isfinite(block).all() and (block > 0).all():
        return None
    return "holds a number that is not above 0"


def _not_positive(
    block: AnyArray, low: int, part: ModelArray, arrays: Mapping[str, AnyArray], sizes: Mapping[str, int]
) -> str | None:
    return _below(block, 1)


def _not_natural(
    block: AnyArray, low: int, part: ModelArray, arrays: Mapping[str, AnyArray], sizes: Mapping[str, int]
) -> str | None:
    return _below(block, 0)


def _below(block: AnyArray, least: int) -> str | None:
    lowest = int(block.min())
    return f"holds {lowest}, which must be at least {least}" if lowest < least else None


def _not_moments(
    block: AnyArray, low: int, part: ModelArray, arrays: Mapping[str, AnyArray], sizes: Mapping[str, int]
) -> str | None:
    if block.min() < -FARTHEST or block.max() > FARTHEST:
        return "holds a moment more than 36,000 years from 1970"
    return None


def _not_offsets(
    block: AnyArray, low: int, part: ModelArray, arrays: Mapping[str, AnyArray], sizes: Mapping[str, int]
) -> str | None:
    if low == 0 and block[0] != 0:
        return f"begins with {block[0]}; offsets begin with 0"
    return "does not ascend; offsets do" if (block[1:] < block[:-1]).any() else None


def _not_rows(
    block: AnyArray, low: int, part: ModelArray, arrays: Mapping[str, AnyArray], sizes: Mapping[str, int]
) -> str | None:
    count = sizes[part.among]
    if block.view(np.uint32).max() >= count:  # a negative number is a great one without its sign
        wrong = block[(block < 0) | (block >= count)][0]
        return f"holds the row {wrong}; there are {count:,} {'products' if part.among == 'P' else 'tokens'}"
    if part.owners is None or not part.ascends:
        return None
    offsets = np.asarray(arrays[part.owners])
    return "holds a list that does not ascend" if _falls_within_a_list(block, low, offsets) else None


def _falls_within_a_list(block: AnyArray, low: int, offsets: AnyArray) -> bool:
    """Return whether a row is not greater than the one before it, except where a list begins."""
    falls = block[1:] <= block[:-1]
    first, last = np.searchsorted(offsets, (low + 1, low + len(block)))
    falls[offsets[first:last] - (low + 1)] = False
    return bool(falls.any())


_LOOKS: Mapping[Rule, Look] = {
    "finite": _not_finite,
    "moments": _not_moments,
    "natural": _not_natural,
    "offsets": _not_offsets,
    "above zero": _not_above_zero,
    "positive": _not_positive,
    "rows": _not_rows,
}
