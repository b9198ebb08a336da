"""Catalogue numbers: what ids that are numbers tell, since shops number together what they list together."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import offsets_of
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.model.memory import Memory
from tastemaker.model.settings import MemorySettings
from tastemaker.types import AnyArray, Doubles, Offsets

__all__ = ["are_a_shops_own", "lifts", "number_bytes", "number_memory", "numbers_of"]

NEAR = 16
"""So many products on either side of a product's number are its neighbours."""
LONGEST, MOST_USERS = 50, 200_000
"""Lifts are counted from users of at most so many products, and from at most so many users, evenly spaced."""
POWERS = 63
FEWEST, GAPS = 256, 2
"""Numbers are a shop's own where there are so many of them, spread over at least this many times as many."""
MOST_WITHOUT = 0.1
"""The share of the products that may have ids of another form: nothing is said of them."""
AT_ONCE = 1 << 16


def numbers_of(products: Vocabulary) -> AnyArray | None:
    """Return the ids as numbers, ``int64[P]``, -1 for one that is not made of up to 18 digits; ``None`` where many are not.

    >>> numbers_of(Vocabulary.of(["10", "7"], noun="product")), numbers_of(Vocabulary.of(["a1", "7"], noun="product"))
    (array([10,  7]), None)
    """
    ids = products.ids
    if ids.dtype == pl.String:
        ids = ids.set(~ids.str.contains(r"^[0-9]{1,18}$"), None)
    found = ids.cast(pl.Int64, strict=False)  # beyond 2^63 there is none
    numbers = found.set(~found.is_between(0, 10**18 - 1), None).fill_null(-1).to_numpy()
    return None if np.count_nonzero(numbers < 0) > MOST_WITHOUT * len(numbers) else numbers


def are_a_shops_own(numbers: AnyArray) -> bool:
    """Return whether numbers have gaps, as a catalogue's have of which not all was sold.

    Numbers without gaps were given by whoever made the file, often in the order of the rows, and may tell what only that order
    tells, such as which purchases were one user's.
    """
    numbers = numbers[numbers >= 0]
    if len(numbers) < FEWEST:
        return False
    return int(numbers.max()) - int(numbers.min()) + 1 >= GAPS * len(numbers)


def number_bytes(products: Vocabulary, settings: MemorySettings) -> int:
    """Return about how many bytes the table needs, with a copy to add it to others; 0 where no numbers are to weigh."""
    if settings.number_weight == 0:
        return 0
    numbers = numbers_of(products)
    if numbers is None or (settings.number_weight is None and not are_a_shops_own(numbers)):
        return 0
    return 2 * NEAR * len(products) * 24


def lifts(histories: Histories, numbers: AnyArray) -> Doubles:
    """Return ``float64[63]``, how much likelier than by chance users buy two products whose numbers are 2^k to 2^(k+1) apart.

    lift_k = log((pairs_k + 1) / (expected_k + 1))

    ``pairs`` are of products of one user, in a history of n each weighs 1 / (n - 1), so that every purchase counts once;
    ``expected`` has as many pairs, which meet by how often each product was bought. Products without a number
    are passed over.
    """
    owners, numbered = histories.owners(), numbers[histories.products] >= 0
    sizes = np.bincount(owners[numbered], minlength=len(histories.offsets) - 1)
    users = np.flatnonzero((sizes > 1) & (sizes <= LONGEST))
    users = users[:: max(1, -(-len(users) // MOST_USERS))]
    chosen = np.zeros(len(sizes), bool)
    chosen[users] = True
    kept = chosen[owners] & numbered
    owners, rows = owners[kept], histories.products[kept]
    found, shares = np.zeros(POWERS), 1 / np.maximum(sizes - 1, 1)
    order = np.lexsort((numbers[rows], owners))
    owners, sold = owners[order], numbers[rows][order]
    for lag in range(1, LONGEST):
        same = owners[lag:] == owners[:-lag]
        if not same.any():
            break
        apart = _powers(sold[lag:][same] - sold[:-lag][same])
        found += np.bincount(apart, weights=shares[owners[lag:][same]], minlength=POWERS)
    expected = _by_chance(np.bincount(rows, minlength=len(numbers)).astype(np.float64), numbers)
    expected *= found.sum() / max(expected.sum(), 1e-12)
    lift: Doubles = np.log((found + 1) / (expected + 1))
    return lift


def number_memory(histories: Histories, numbers: AnyArray) -> Memory:
    """Return for each product the lifts of those whose numbers are nearest to its own, 16 on either side; of those above 0.

    weight(p, r) = the lift at |number_p - number_r|, in a straight line between the middles of `lifts`' powers of two
    """
    lift, products = lifts(histories, numbers), len(numbers)
    by_number = np.argsort(numbers, kind="stable")
    place = np.empty(products, np.int64)
    place[by_number] = np.arange(products)
    without = np.count_nonzero(numbers < 0)
    order, place = by_number[without:], place - without
    ascending = numbers[order]
    steps = np.concatenate([np.arange(-NEAR, 0), np.arange(1, NEAR + 1)])
    middles = np.arange(POWERS) + 0.5
    found, weights, counts = [], [], []
    for low in range(0, products, AT_ONCE):
        places = place[low : low + AT_ONCE, None] + steps
        inside = (places >= 0) & (places < len(order)) & (numbers[low : low + AT_ONCE, None] >= 0)
        places = np.clip(places, 0, len(order) - 1)
        apart = np.abs(ascending[places] - numbers[low : low + AT_ONCE, None])
        value = np.interp(np.log2(np.maximum(apart, 1)), middles, lift).astype(np.float32)
        rows = np.where(inside & (value > 0), order[places], products)  # what says nothing stands last
        by_row = np.argsort(rows, axis=1, kind="stable")
        rows, value = np.take_along_axis(rows, by_row, axis=1), np.take_along_axis(value, by_row, axis=1)
        kept = rows < products
        counts.append(kept.sum(axis=1))
        found.append(rows[kept].astype(np.int32))
        weights.append(value[kept])
    offsets: Offsets = offsets_of(np.concatenate([np.zeros(0, np.int64), *counts]))
    nothing = np.zeros(0, np.int32)
    return Memory(
        offsets, np.concatenate([nothing, *found]), np.concatenate([nothing.astype(np.float32), *weights])
    )


def _powers(apart: AnyArray) -> AnyArray:
    """Return k of 2^k ≤ apart < 2^(k+1), 0 for two products of one number."""
    return np.frexp(np.maximum(apart, 1).astype(np.float64))[1] - 1


def _by_chance(buyers: Doubles, numbers: AnyArray) -> Doubles:
    """Return Σ over pairs of buyers_p · buyers_r by their distance, in powers of two."""
    order = np.argsort(numbers, kind="stable")[np.count_nonzero(numbers < 0) :]
    ascending, weights = numbers[order].astype(np.float64), buyers[order]
    before = np.concatenate(([0.0], np.cumsum(weights)))
    places = np.arange(len(ascending)) + 1
    found = np.zeros(POWERS)
    for power in range(POWERS):
        beyond = np.maximum(np.searchsorted(ascending, ascending + 2.0 ** (power + 1)), places)
        found[power] = (weights * (before[beyond] - before[places])).sum()
        if beyond.min(initial=len(ascending)) == len(ascending):
            break
        places = beyond
    return found
