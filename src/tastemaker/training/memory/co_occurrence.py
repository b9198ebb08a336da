"""The memory: sparse tables of what a product in the basket says about every other product."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import distinct, offsets_of, owners_of, pair_keys
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.settings import MemorySettings
from tastemaker.model.taste_model import Memory
from tastemaker.training.memory.blocks import by_blocks, growing
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = [
    "added",
    "buyers_of",
    "count_memory",
    "memories",
    "no_memory",
    "partners_among",
    "ridge_memory",
    "user_shares",
]

LONGEST = 5_000
"""Users with more distinct products say nothing about which of them go together; they are passed over."""

ENTRIES_AT_ONCE = 1 << 23
"""About how many entries of a table are weighed or added together."""

FEW = 4_096
"""Of so few products, common purchases are looked up in a table of all pairs: 64 MiB."""
RIDGE_POOL = 1_000
"""A product's neighbours, and the purchases they have in common, are looked up among at most this many of its partners."""


def no_memory(products: int) -> Memory:
    """Return a table that says nothing."""
    return Memory(np.zeros(products + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))


def memories(
    histories: Histories,
    products: int,
    settings: MemorySettings,
    pool: ThreadPool,
    *,
    counts: bool = True,
    ridge: bool = True,
) -> tuple[Memory, Memory]:
    """Return the two tables unweighted; one that is not wanted is empty."""
    empty = no_memory(products)
    by_count, by_ridge = empty, empty
    if counts:
        by_count = count_memory(
            histories,
            products,
            power=settings.count_power,
            damping=settings.count_damping,
            partners=settings.partners,
            pool=pool,
            sum_bits=settings.sum_bits,
        )
    if ridge:
        by_ridge = ridge_memory(
            histories,
            products,
            penalty=settings.ridge_penalty,
            damping=settings.ridge_damping,
            neighbours=settings.ridge_neighbours,
            pool=pool,
            sum_bits=settings.sum_bits,
        )
    return by_count, by_ridge


def count_memory(
    histories: Histories,
    products: int,
    *,
    power: float,
    damping: float,
    partners: int,
    pool: ThreadPool,
    sum_bits: int = 0,
) -> Memory:
    """Return how often products were bought together, normalised by how often each was bought.

    weight(p, q) = Σ over users u who bought both of n_u^-damping / (buyers_p · buyers_q)^power

    The ``partners`` strongest of each product are kept. Power 0 and damping 0 give plain counts, power ½ cosines. The cost is
    Σ n_u², so users with more than 5,000 distinct products are passed over. ``sum_bits`` as in `user_shares`.
    """
    buyers = np.maximum(np.bincount(histories.products, minlength=products), 1)
    evened = (buyers ** -float(power)).astype(np.float32)
    shares = user_shares(histories, damping, sum_bits)
    offsets, rows, co_occurrence = partners_among(histories, products, shares, evened, partners, pool)
    weights = growing(np.float32, len(rows))
    for low, high in _spans(offsets):
        part, lengths = slice(offsets[low], offsets[high]), np.diff(offsets[low : high + 1])
        weights.add(co_occurrence[part] * np.repeat(evened[low:high], lengths) * evened[rows[part]])
    return Memory(offsets, rows, weights.whole())


def ridge_memory(
    histories: Histories,
    products: int,
    *,
    penalty: float,
    damping: float,
    neighbours: int,
    pool: ThreadPool,
    sum_bits: int = 0,
) -> Memory:
    """Return what each product says about another beyond what its other neighbours already say.

    weight(p, q) = the p-th entry of (G_NN + penalty · I)⁻¹ G_Nq, G = Σ over users of n_u^-damping x_u x_uᵀ, N the
    ``neighbours`` of q with the greatest G_pq / √G_pp

    This is EASE among the neighbours of each product, so that it costs the same for a thousand products and a million.
    ``sum_bits`` as in `user_shares`.
    """
    lengths = np.diff(histories.offsets)
    shares = user_shares(histories, damping, sum_bits)
    exact = (
        shares.weights if sum_bits else _shares(lengths, damping)
    )  # of whole numbers, a sum of doubles is exact
    sums = np.bincount(histories.products, weights=np.repeat(exact, lengths), minlength=products)
    diagonal = (sums * shares.unit).astype(np.float32)
    nearness = (np.maximum(diagonal, 1e-6) ** -0.5).astype(np.float32)
    offsets, rows, co_occurrence = partners_among(histories, products, shares, nearness, RIDGE_POOL, pool)
    dense = np.zeros((products, products) if products <= FEW else (0, 0), np.float32)
    if len(dense):
        dense[owners_of(offsets), rows] = co_occurrence
    arguments = (offsets, rows, co_occurrence, dense, diagonal, penalty)
    targets, near, strength = by_blocks("neighbours", arguments, products, min(neighbours, products), pool)
    candidates = owners_of(targets)
    order = np.argsort(near, kind="stable")  # from candidates and their neighbours to baskets
    borders = offsets_of(np.bincount(near, minlength=products))
    return Memory(borders, candidates[order], strength[order])


def added(parts: list[tuple[float, Memory]], products: int) -> Memory | None:
    """Return the weighted sum of some memories, some products after others; ``None`` when every weight is 0."""
    parts = [(weight, memory) for weight, memory in parts if weight]
    if not parts:
        return None
    lengths = np.zeros(products, np.int64)
    together: Offsets = np.sum([memory.offsets for _, memory in parts], axis=0)
    rows, weights = growing(np.int32, int(together[-1])), growing(np.float32, int(together[-1]))
    for low, high in _spans(together):
        counts, *found = _added_between(parts, low, high, products)
        lengths[low:high] = counts
        rows.add(found[0])
        weights.add(found[1])
    return Memory(offsets_of(lengths), rows.whole(), weights.whole())


def _added_between(
    parts: list[tuple[float, Memory]], low: int, high: int, products: int
) -> tuple[Offsets, Rows, Floats]:
    """Return how many products those of ``low … high - 1`` speak of, which, and with which weights."""
    cuts = [slice(memory.offsets[low], memory.offsets[high]) for _, memory in parts]
    owners = [owners_of(memory.offsets[low : high + 1]) for _, memory in parts]
    keys = np.concatenate(
        [
            pair_keys(own, memory.products[cut], products)
            for own, cut, (_, memory) in zip(owners, cuts, parts, strict=True)
        ]
    )
    weights = np.concatenate(
        [memory.weights[cut] * np.float32(weight) for cut, (weight, memory) in zip(cuts, parts, strict=True)]
    )
    order = np.argsort(keys, kind="stable")
    keys, weights = keys[order], weights[order]
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    total = np.add.reduceat(weights, np.flatnonzero(first)) if len(keys) else weights
    sources, rows = np.divmod(keys[first], max(products, 1))
    counts = np.bincount(sources, minlength=high - low)
    return counts, rows.astype(np.int32), total.astype(np.float32)


def _spans(offsets: Offsets) -> list[tuple[int, int]]:
    """Return ranges of products whose lists together have about `ENTRIES_AT_ONCE` entries."""
    wanted = np.arange(ENTRIES_AT_ONCE, offsets[-1], ENTRIES_AT_ONCE)
    borders = distinct(np.concatenate(([0], np.searchsorted(offsets, wanted), [len(offsets) - 1])))
    return list(pairwise(borders.tolist()))


def buyers_of(histories: Histories, products: int) -> tuple[Offsets, Rows]:
    """Return the users of each product, ascending: product p has ``users[offsets[p]:offsets[p + 1]]``."""
    offsets = offsets_of(np.bincount(histories.products, minlength=products))
    return offsets, histories.owners()[np.argsort(histories.products, kind="stable")]


@dataclass(frozen=True, slots=True)
class Shares:
    """How much each user counts: ``unit · weights[u]``."""

    weights: AnyArray
    """``float32[U]``, or ``int64[U]`` in units"""
    unit: np.float32


def user_shares(histories: Histories, damping: float, bits: int = 0) -> Shares:
    """Return n_u^-damping for each user of n_u products; who bought more than `LONGEST` counts nothing.

    With ``bits`` they are rounded to whole numbers of 2^-bits, so that sums of them are exact, in any order and by any grouping of
    users; without, they are ``float32``, and sums are in the order of the users.
    """
    shares = _shares(np.diff(histories.offsets), damping)
    if not bits:
        return Shares(shares.astype(np.float32), np.float32(1))
    return Shares(np.rint(shares * 2.0**bits).astype(np.int64), np.float32(2.0**-bits))


def _shares(lengths: Offsets, damping: float) -> Doubles:
    share = np.maximum(lengths, 1) ** -float(damping)
    return np.where(lengths > LONGEST, 0, share)


def partners_among(
    histories: Histories, products: int, shares: Shares, product_weights: Floats, most: int, pool: ThreadPool
) -> tuple[Offsets, Rows, Floats]:
    """Return the ``most`` partners of each product by co-occurrence · product_weights, ascending, and their co-occurrences."""
    users = (histories.offsets, histories.products, shares.weights)
    arguments = (*buyers_of(histories, products), *users, product_weights, shares.unit)
    return by_blocks("common", arguments, products, min(most, max(products - 1, 1)), pool)
