"""The memory: sparse tables of what a product in the basket says about every other product."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import offsets_of, owners_of, pair_keys
from tastemaker.kernels.counting.memory import partners_of, solve_neighbours
from tastemaker.kernels.threads import Task, ThreadPool
from tastemaker.model.settings import MemorySettings
from tastemaker.model.taste_model import Memory
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = [
    "added",
    "buyers_of",
    "by_blocks",
    "count_memory",
    "memories",
    "no_memory",
    "partners_among",
    "ridge_memory",
    "user_shares",
]

LONGEST = 5_000
"""Users with more distinct products say nothing about which of them go together; they are passed over."""

PRODUCTS_AT_ONCE = 1 << 12

LARGE = 512 << 20
"""Bytes of a table above which its blocks go to files: such a table is one of 65,000 products with 1,000 partners each."""

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
    sources = np.repeat(evened, np.diff(offsets))
    return Memory(offsets, rows, co_occurrence * sources * evened[rows])


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

    def solve(low: int, high: int, found: Rows, strength: Floats, count: Offsets) -> None:
        solve_neighbours(low, high, offsets, rows, co_occurrence, diagonal, penalty, found, strength, count)

    targets, near, strength = by_blocks(solve, products, min(neighbours, products), pool)
    candidates = owners_of(targets)
    order = np.lexsort(
        (candidates, near)
    )  # from candidates and their neighbours to baskets and what they say
    borders = offsets_of(np.bincount(near, minlength=products))
    return Memory(borders, candidates[order], strength[order])


def added(parts: list[tuple[float, Memory]], products: int) -> Memory | None:
    """Return the weighted sum of some memories; ``None`` when every weight is 0."""
    parts = [(weight, memory) for weight, memory in parts if weight]
    if not parts:
        return None
    keys = np.concatenate(
        [pair_keys(owners_of(memory.offsets), memory.products, products) for _, memory in parts]
    )
    weights = np.concatenate([memory.weights * np.float32(weight) for weight, memory in parts])
    if len(parts) == 1 and np.all(keys[1:] > keys[:-1]):  # nothing to sort, and no pair to add up
        return Memory(parts[0][1].offsets, parts[0][1].products, weights)
    order = np.argsort(keys, kind="stable")
    keys, weights = keys[order], weights[order]
    first = np.concatenate(([True], keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, bool)
    total = np.add.reduceat(weights, np.flatnonzero(first)) if len(keys) else weights
    sources, rows = np.divmod(keys[first], max(products, 1))
    offsets = offsets_of(np.bincount(sources, minlength=products))
    return Memory(offsets, rows.astype(np.int32), total.astype(np.float32))


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
    buyer_offsets, buyers = buyers_of(histories, products)

    def find(low: int, high: int, found: Rows, co_occurrence: Floats, count: Offsets) -> None:
        partners_of(
            low, high, buyer_offsets, buyers, histories.offsets, histories.products, shares.weights, product_weights,
            shares.unit, found, co_occurrence, count,
        )  # fmt: skip

    return by_blocks(find, products, min(most, max(products - 1, 1)), pool)


def by_blocks(find: object, products: int, most: int, pool: ThreadPool) -> tuple[Offsets, Rows, Floats]:
    """Run a kernel over blocks of products; each output row has room for the longest result, and the gaps are closed afterwards.

    Of a large table, what blocks found goes to temporary files and is mapped from there: the table never stands in memory twice,
    and the system may drop its pages.
    """
    spooled = products * most * 8 > LARGE
    counts = [np.zeros(0, np.int64)]
    rows, values = (
        (Spooled if spooled else Gathered)(np.int32),
        (Spooled if spooled else Gathered)(np.float32),
    )
    for low in range(0, products, PRODUCTS_AT_ONCE):
        size = min(PRODUCTS_AT_ONCE, products - low)
        found, value = np.empty((size, most), np.int32), np.empty((size, most), np.float32)
        count = np.zeros(size, np.int64)
        pool.run(_shifted(find, low, found, value, count), size)
        kept = np.arange(most) < count[:, None]
        rows.add(found[kept])
        values.add(value[kept])
        counts.append(count)
    return offsets_of(np.concatenate(counts)), rows.whole(), values.whole()


class Gathered:
    """An array that grows by parts, in memory."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._parts: list[AnyArray] = [np.zeros(0, dtype)]

    def add(self, part: AnyArray) -> None:
        """Append a part."""
        self._parts.append(part)

    def whole(self) -> AnyArray:
        """Return all parts, one after the other."""
        return np.concatenate(self._parts)


class Spooled:
    """An array that grows by parts in a temporary file, which has no name and ends with the array."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._dtype = dtype
        self._file = tempfile.TemporaryFile(prefix="tastemaker-")  # noqa: SIM115  (it lasts as long as the array)
        self._length = 0

    def add(self, part: AnyArray) -> None:
        """Append a part."""
        np.ascontiguousarray(part, self._dtype).tofile(self._file)
        self._length += len(part)

    def whole(self) -> AnyArray:
        """Return all parts, one after the other, mapped."""
        with self._file as file:  # which the map outlasts
            file.flush()
            if not self._length:
                return np.zeros(0, self._dtype)
            return np.asarray(np.memmap(file, self._dtype, mode="c", shape=(self._length,)))


def _shifted(find: object, shift: int, found: Rows, value: Floats, count: Offsets) -> Task:
    def task(low: int, high: int) -> None:
        find(shift + low, shift + high, found[low:high], value[low:high], count[low:high])  # type: ignore[operator]

    return task
