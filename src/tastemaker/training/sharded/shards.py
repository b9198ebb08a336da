"""Shards: parts of the users that follow from their ids alone, never from the machine or from who else is in the log."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker.types import AnyArray, Rows

__all__ = ["shard_of"]

AT_ONCE = 1 << 20
"""Texts that are hashed together"""

OFFSET, PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)


def shard_of(ids: pl.Series, shards: int) -> Rows:
    """Return the shard of each user, ``int32[n]`` from 0, by a hash of their id.

    Integers are mixed by the finaliser of SplitMix64, texts hashed by FNV-1a over their UTF-8 bytes and then mixed, so that every
    version and every machine finds the same. Source: G. STEELE, D. LEA, C. FLOOD 2014; G. FOWLER, L. NOLL, K. VO 1991.

    >>> shard_of(pl.Series(["ann", "bob", "cat", "dan"]), 3).tolist(), shard_of(pl.Series([1, 2, 3, 4]), 3).tolist()
    ([1, 0, 2, 0], [1, 1, 2, 2])
    """
    if ids.dtype == pl.String:
        parts = [_fnv(part.to_series()) for part in ids.to_frame().iter_slices(AT_ONCE)]
        keys = np.concatenate([*parts, np.zeros(0, np.uint64)])
    else:
        keys = ids.cast(pl.Int64).to_numpy().astype(np.uint64)
    return (_mixed(keys) % np.uint64(shards)).astype(np.int32)


def _fnv(texts: pl.Series) -> AnyArray:
    """Return the hash of each text, ``uint64[n]``, letter by letter for all at once."""
    lengths = texts.str.len_bytes().to_numpy().astype(np.int64)
    letters = np.frombuffer(texts.str.join().item().encode(), np.uint8)
    keys = np.full(len(texts), OFFSET)
    ends = np.cumsum(lengths)
    left, place = np.flatnonzero(lengths), ends - lengths
    for letter in range(int(lengths.max(initial=0))):
        left = left[lengths[left] > letter]
        keys[left] = (keys[left] ^ letters[place[left] + letter]) * PRIME
    return keys


def _mixed(keys: AnyArray) -> AnyArray:
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: AnyArray = keys ^ (keys >> np.uint64(31))
    return mixed
