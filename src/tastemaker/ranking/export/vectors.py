"""Vectors with their ids as Parquet files, as a faiss index, and as tables of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.databases.address import Address
from tastemaker.data.databases.tables import as_vectors, write_table
from tastemaker.errors import SettingProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.export.embeddings import product_embeddings, user_embeddings
from tastemaker.ranking.export.to_file import write_frame
from tastemaker.ranking.export.whole import library
from tastemaker.storage import writing_folder

__all__ = ["to_faiss", "to_parquet", "to_pgvector"]

# Every vector has one place more than the model's dimensions: users have a 1 there, and products their bias, so that one inner
# product is the score but for what the memory adds.


def to_parquet(model: TasteModel, folder: Path) -> dict[str, int]:
    """Write ``products.parquet`` and ``users.parquet`` into a folder, each whole or not at all; return their numbers of lines."""
    folder.mkdir(parents=True, exist_ok=True)
    return {noun: write_frame(frame, folder / f"{noun}.parquet") for noun, frame in _frames(model)}


def to_faiss(model: TasteModel, folder: Path) -> dict[str, int]:
    """Write a new folder: ``products.faiss``, an exact index by inner product, and the ids and users' vectors as Parquet.

    Row n of the index is line n of ``products.parquet``. Raises `SettingProblem` without the extra ``index``.
    """
    faiss: Any = library("faiss", "faiss-cpu", "index")
    if not model.dimensions:
        raise SettingProblem("this model has no vectors; a faiss index of it would hold best sellers alone.")
    with writing_folder(folder) as temporary:
        found = to_parquet(model, temporary)
        vectors = product_embeddings(model, bias=True).vectors
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors))
        faiss.write_index(index, str(temporary / "products.faiss"))
    return found


def to_pgvector(model: TasteModel, address: Address) -> dict[str, int]:
    """Write tables TABLE_products and TABLE_users, each in one transaction, and return their numbers of rows.

    Their column ``vector`` is of the type of pgvector where the database has the extension, else ``real[]``. Raises
    `DatabaseProblem`, and `SettingProblem` for another database.
    """
    if address.kind != "postgresql":
        raise SettingProblem(f"pgvector is an extension of PostgreSQL, and {address.label} is none.")
    found = {}
    for noun, frame in _frames(model):
        table = replace(address, table=f"{address.table or 'vectors'}_{noun}")
        found[noun] = write_table(table, iter([frame.with_columns(pl.col("vector").arr.to_list())]))
        as_vectors(table, frame["vector"].dtype.shape[0])  # type: ignore[attr-defined]
    return found


def _frames(model: TasteModel) -> Iterator[tuple[str, pl.DataFrame]]:
    for noun, vectors in (
        ("products", product_embeddings(model, bias=True)),
        ("users", user_embeddings(model, bias=True)),
    ):
        yield noun, vectors.to_frame()
