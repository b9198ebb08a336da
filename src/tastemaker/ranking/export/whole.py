"""`Whole`: all that the lists of known users and the neighbours of known products are made from, as plain tables."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import polars as pl

from tastemaker.errors import SettingProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.queries import buyers_for_nobody, user_queries
from tastemaker.types import Floats, Offsets, Rows

__all__ = ["Whole", "library", "plain_ids", "whole"]


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A model as tables of U users and P products; row U is somebody unknown, row P an unknown product.

    score(u, p) = queries[u] · products[p] + extra[u, p], and ``nobody[p]`` where u bought nothing
    """

    user_ids: pl.Series
    product_ids: pl.Series
    queries: Floats
    """``float32[U + 1, D + 1]``; the last column is 1 and meets the products' bias"""
    products: Floats
    """``float32[P + 1, D + 1]``; the last column is the bias"""
    extra_offsets: Offsets
    """``int64[U + 2]``"""
    extra_rows: Rows
    """``int32[total]``, products"""
    extra_scores: Floats
    """``float32[total]``, what the memory adds"""
    bought_offsets: Offsets
    """``int64[U + 2]``"""
    bought: Rows
    """``int32[total]``, products that no list of the user holds"""
    nobody: Floats | None
    """``float32[P]``"""


def whole(model: TasteModel, *, threads: int | None = None) -> Whole:
    """Return the tables of a model, as it ranks just after all that it has learned."""
    users = np.arange(len(model.users), dtype=np.int32)
    asked = user_queries(model, users, threads=threads)
    queries = np.hstack([asked.vectors, np.ones((len(users), 1), np.float32)])
    stranger = np.zeros((1, queries.shape[1]), np.float32)
    stranger[0, -1] = 1
    products = np.hstack([np.asarray(model.product_vectors), np.asarray(model.product_bias)[:, None]])
    unknown = np.zeros((1, products.shape[1]), np.float32)
    extra, nothing = asked.extra, np.zeros(len(users) + 1, np.int64)
    offsets = nothing if extra is None else np.asarray(extra.offsets)
    bought = model.histories
    return Whole(
        plain_ids(model.users.ids),
        plain_ids(model.products.ids),
        np.vstack([queries, stranger]).astype(np.float32),
        np.vstack([products, unknown]).astype(np.float32),
        np.append(offsets, offsets[-1]),
        np.zeros(0, np.int32) if extra is None else extra.rows,
        np.zeros(0, np.float32) if extra is None else extra.scores,
        np.append(bought.offsets, bought.offsets[-1]),
        np.asarray(bought.products),
        buyers_for_nobody(model),
    )


def plain_ids(ids: pl.Series) -> pl.Series:
    """Return ids as 64-bit integers or texts, which every other library has."""
    return ids.cast(pl.Int64) if ids.dtype.is_integer() else ids.cast(pl.String)


def library(module: str, package: str, extra: str) -> ModuleType:
    """Return a library that an export needs; raise `SettingProblem` with the command that installs it."""
    import importlib
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its bindings, on newer versions of Python
            return importlib.import_module(module)
    except ImportError:
        raise SettingProblem(
            f"this export needs {package}, which is not installed; pip install 'tastemaker[{extra}]' brings it."
        ) from None
