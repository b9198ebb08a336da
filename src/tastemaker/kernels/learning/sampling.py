"""Draws of negatives from a counter-based generator: a draw depends on (key, purchase, position) and on nothing else."""

from __future__ import annotations

import numpy as np

from tastemaker.kernels.compiling import kernel
from tastemaker.types import Rows

__all__ = ["draw_row", "draw_uniform", "stream_key"]

# Odd constants: the golden ratio in 64 and 32 bits, and the multipliers of two public-domain bit mixers
# (splitmix64 by Sebastiano Vigna; lowbias32 found by Chris Wellons' search).
GOLDEN_64 = np.uint64(0x9E3779B97F4A7C15)
GOLDEN_32 = np.uint32(0x9E3779B9)


@kernel(inline=True)
def mix64(x: np.uint64) -> np.uint64:
    """Spread every bit of a 64-bit number over all of them."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel(inline=True)
def mix32(x: np.uint32) -> np.uint32:
    """Spread every bit of a 32-bit number over all of them."""
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@kernel()
def stream_key(seed: int, epoch: int, stream: int) -> np.uint64:
    """Return the key of one epoch's draws; different ``stream`` numbers give unrelated draws."""
    key = mix64(np.uint64(seed) + GOLDEN_64)
    key = mix64(key ^ (np.uint64(epoch) * GOLDEN_64))
    return mix64(key ^ (np.uint64(stream) * np.uint64(0xD1B54A32D192ED03)))


@kernel(fast=True, inline=True)
def draw_row(key: np.uint64, purchase: int, products: int, out: Rows) -> None:
    """Fill ``out[S]`` with product rows drawn uniformly, with replacement, for one purchase.

    A draw is ``floor(h · products / 2³²)`` of a 32-bit hash h; its bias is below products / 2³².
    """
    base = mix64(key + np.uint64(purchase) * GOLDEN_64)
    low = np.uint32(base)
    high = np.uint32(base >> np.uint64(32))
    for position in range(out.shape[0]):
        h = mix32(np.uint32(low + np.uint32(np.uint32(position) * GOLDEN_32)))
        h = mix32(np.uint32(h ^ high))
        out[position] = np.int32((np.uint64(h) * np.uint64(products)) >> np.uint64(32))


@kernel()
def draw_uniform(key: np.uint64, first: int, count: int, negatives: int, products: int) -> Rows:
    """Return the draws of the purchases ``first … first + count - 1``: ``int32[count, S]``."""
    out = np.empty((count, negatives), dtype=np.int32)
    for i in range(count):
        draw_row(key, first + i, products, out[i])
    return out
