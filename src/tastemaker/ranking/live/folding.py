"""`Folding`: products' vectors that move with every purchase, without training again."""

from __future__ import annotations

import numpy as np

from tastemaker.model.beside.live import FoldIn
from tastemaker.types import Floats, Rows

__all__ = ["Folding"]


class Folding:
    """What buyers since training say of each product, and the vector that it has for them.

    A purchase costs about D² operations: sums grow, and a product's vector is made from them when it is asked for.
    """

    __slots__ = ("counts", "fold_in", "places", "rows", "start", "sums", "vectors")

    def __init__(self, fold_in: FoldIn, vectors: Floats) -> None:
        """Start without a purchase; ``vectors``, ``float32[P, D]``, are the products' as they were learned."""
        self.fold_in, self.vectors = fold_in, vectors
        self.places = np.full(len(vectors), -1, np.int32)
        self.rows = np.zeros(0, np.int32)
        self.sums = np.zeros((0, vectors.shape[1]), np.float32)
        self.counts = np.zeros(0, np.float32)
        self.start = np.zeros((0, vectors.shape[1]), np.float32)

    def add(self, products: Rows, queries: Floats) -> Rows:
        """Count purchases of these products by these queries, ``float32[n, D]``; return the products, each once, ascending."""
        fold = self.fold_in
        distinct = np.unique(products)
        self._make_room(distinct[self.places[distinct] < 0])
        places = self.places[products]
        steps = (queries - fold.mean) @ fold.basis - self.start[places]
        np.add.at(self.sums, places, steps)
        np.add.at(self.counts, places, np.float32(1))
        return distinct

    def moved(self, products: Rows) -> Floats:
        """Return the vectors of these products as they are now, ``float32[n, D]``; each must have been bought."""
        places = self.places[products]
        fold = self.fold_in
        moved: Floats = self.vectors[products] + fold.offsets(
            self.sums[places], self.counts[places], fold.buyers[products]
        )
        return moved

    def table(self) -> Floats:
        """Return all products' vectors as they are now, ``float32[P, D]``; those learned where nothing was bought since."""
        if not len(self.rows):
            return self.vectors
        table = np.array(self.vectors)
        table[self.rows] = self.moved(self.rows)
        return table

    def _make_room(self, fresh: Rows) -> None:
        if not len(fresh):
            return
        self.places[fresh] = len(self.rows) + np.arange(len(fresh), dtype=np.int32)
        self.rows = np.concatenate([self.rows, fresh.astype(np.int32)])
        width = self.sums.shape[1]
        self.sums = np.concatenate([self.sums, np.zeros((len(fresh), width), np.float32)])
        self.counts = np.concatenate([self.counts, np.zeros(len(fresh), np.float32)])
        self.start = np.concatenate([self.start, self.vectors[fresh] @ self.fold_in.pull])
