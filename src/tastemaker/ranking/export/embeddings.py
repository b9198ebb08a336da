"""Vectors with their ids, for use outside: a nearest-neighbour index, a clustering, another model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories
from tastemaker.data.reading.given import AnyIds, ids_given
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.queries import queries_for, user_queries
from tastemaker.ranking.recommend import baskets_given
from tastemaker.types import Floats, Rows

__all__ = ["Embeddings", "basket_embeddings", "product_embeddings", "user_embeddings"]


class Embeddings(NamedTuple):
    """Ids and their vectors, row by row; ``ids, vectors = model.product_embeddings()`` takes them apart."""

    ids: pl.Series
    """Length n, in the type in which they came"""
    vectors: Floats
    """``float32[n, D]``, or ``float32[n, D + 1]`` with the bias"""

    def to_frame(self) -> pl.DataFrame:
        """Return a Polars frame with a line for each id: the id, and its vector as an array."""
        width = self.vectors.shape[1]
        vectors = pl.Series("vector", self.vectors, dtype=pl.Array(pl.Float32, width))
        return pl.DataFrame([self.ids, vectors])


def user_embeddings(model: TasteModel, users: AnyIds | None = None, *, bias: bool = False) -> Embeddings:
    """Return the query vectors of users, of all by default: what `TasteModel.user_embeddings` returns."""
    rows = _rows(model.users, users)
    return Embeddings(_ids(model.users, rows), _widened(user_queries(model, rows).vectors, bias))


def basket_embeddings(
    model: TasteModel, baskets: Iterable[Iterable[object] | object], *, bias: bool = False
) -> Embeddings:
    """Return the query vectors of baskets, numbered from 0: what `TasteModel.basket_embeddings` returns."""
    rows = [np.unique(model.products.rows(basket)).astype(np.int32) for basket in baskets_given(baskets)]
    nobody = np.full(len(rows), -1, np.int32)
    vectors = queries_for(model, Histories.from_lists(rows), nobody).vectors
    return Embeddings(pl.Series("basket", np.arange(len(rows))), _widened(vectors, bias))


def product_embeddings(
    model: TasteModel, products: AnyIds | None = None, *, bias: bool = False
) -> Embeddings:
    """Return the vectors of products, of all by default: what `TasteModel.product_embeddings` returns."""
    rows = _rows(model.products, products)
    vectors = np.array(model.product_vectors[rows])
    if bias:
        vectors = np.hstack([vectors, model.product_bias[rows][:, None]])
    return Embeddings(_ids(model.products, rows), np.ascontiguousarray(vectors, np.float32))


def _rows(vocabulary: Vocabulary, given: AnyIds | None) -> Rows:
    if given is None:
        return np.arange(len(vocabulary), dtype=np.int32)
    return vocabulary.rows(ids_given(given, vocabulary.noun))


def _ids(vocabulary: Vocabulary, rows: Rows) -> pl.Series:
    return vocabulary.original(vocabulary.at(rows)).alias(f"{vocabulary.noun}_id")


def _widened(vectors: Floats, bias: bool) -> Floats:
    """Return queries with a 1 behind them, which meets a product's bias."""
    if not bias:
        return vectors
    return np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])
