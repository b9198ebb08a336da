"""A map of product vectors: the two directions in which they differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["MOST_POINTS", "ProductMap", "product_map"]

MOST_POINTS = 2_000
"""The number of products drawn, those with the most buyers: more could not be told apart and would make the page heavy."""


@dataclass(frozen=True, slots=True)
class ProductMap:
    """Products in two dimensions."""

    rows: Rows
    """``int32[n]``, the products, best sellers first"""
    places: Doubles
    """``float64[n, 2]``"""
    explained: float
    """The share of the vectors' variance that the two dimensions hold"""


def product_map(vectors: Floats, buyers: Offsets) -> ProductMap | None:
    """Return the first two principal components of the bought products' vectors, each scaled to length 1.

    ``vectors`` is ``float32[P, D]``, ``buyers`` ``int64[P]``. The sign of a component is that of its greatest entry, so that
    the same vectors give the same map. ``None`` when there are no two dimensions or fewer than three products to draw.
    """
    lengths = np.sqrt(np.einsum("pd,pd->p", vectors, vectors, dtype=np.float64))
    rows = np.flatnonzero((buyers > 0) & (lengths > 0))
    rows = rows[np.argsort(-buyers[rows], kind="stable")][:MOST_POINTS]
    if vectors.shape[1] < 2 or len(rows) < 3:
        return None
    unit = np.asarray(vectors[rows], np.float64) / lengths[rows, None]
    unit -= unit.mean(axis=0)
    spreads, directions = np.linalg.eigh(unit.T @ unit)
    axes = directions[:, [-1, -2]]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    total = float(spreads.sum())
    explained = float(spreads[-2:].sum() / total) if total > 0 else 1.0
    return ProductMap(rows.astype(np.int32), unit @ axes, explained)
