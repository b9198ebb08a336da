"""The memory: a sparse table of which products are bought by the same users."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.kernels.crew import Crew
from tastemaker.kernels.memory import strongest_partners
from tastemaker.model.taste_model import Memory
from tastemaker.types import Offsets, Rows

__all__ = ["SCALE", "buyers_of", "remember"]

SCALE = 3.0
"""How steeply the logarithm of the strength starts."""

LONGEST = 5_000
"""Users with more distinct products say nothing about which of them go together; they are passed over."""

PRODUCTS_AT_ONCE = 1 << 12


def remember(
    histories: Histories,
    products: int,
    *,
    power: float = 0.0,
    damping: float = 0.0,
    partners: int = 200,
    weight: float = 1.0,
    crew: Crew,
    watch: Callable[[int], None] = lambda _: None,
) -> Memory:
    """Return the memory of ``products`` products: for each the ``partners`` strongest, with

    weight(p, q) = weight · log(1 + 3 · Σ over users u who bought both of n_u^-damping / (buyers_p · buyers_q)^power)

    With power 0 and damping 0 these are the counts; power ½ makes them cosines. Cost: Σ n_u², so users with more than
    5,000 distinct products are passed over. ``watch`` is told the number of products done.
    """  # noqa: D400, D415
    buyer_offsets, buyers = buyers_of(histories, products)
    lengths = np.diff(histories.offsets)
    user_weights = np.where(lengths > LONGEST, 0, np.maximum(lengths, 1) ** -float(damping)).astype(
        np.float32
    )
    bought = np.maximum(np.diff(buyer_offsets), 1)
    product_weights = (bought ** -float(power)).astype(np.float32)
    rows, strengths, counts = [], [], []
    for low in range(0, products, PRODUCTS_AT_ONCE):
        size = min(PRODUCTS_AT_ONCE, products - low)
        found = np.empty((size, partners), np.int32)
        strength = np.empty((size, partners), np.float32)
        count = np.zeros(size, np.int64)

        def find(start: int, stop: int) -> None:
            strongest_partners(
                low + start, low + stop, buyer_offsets, buyers, histories.offsets, histories.products,  # noqa: B023
                user_weights, product_weights, SCALE, found[start:stop], strength[start:stop], count[start:stop],  # noqa: B023
            )  # fmt: skip

        crew.run(find, size)
        kept = np.arange(partners) < count[:, None]
        rows.append(found[kept])
        strengths.append(strength[kept])
        counts.append(count)
        watch(low + size)
    offsets = np.concatenate(([0], np.cumsum(np.concatenate(counts)))).astype(np.int64)
    return Memory(offsets, np.concatenate(rows), np.concatenate(strengths) * np.float32(weight))


def buyers_of(histories: Histories, products: int) -> tuple[Offsets, Rows]:
    """Return the users of each product, ascending: product p has ``users[offsets[p]:offsets[p + 1]]``."""
    users = np.repeat(np.arange(len(histories.offsets) - 1, dtype=np.int32), np.diff(histories.offsets))
    offsets = np.zeros(products + 1, np.int64)
    np.cumsum(np.bincount(histories.products, minlength=products), out=offsets[1:])
    return offsets, users[np.argsort(histories.products, kind="stable")]
