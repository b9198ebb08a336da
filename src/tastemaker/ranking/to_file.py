"""Lists for many users or products, block by block into a Parquet file that appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import TastemakerError, UnreadableFile
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.approximate import AnyCandidates
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.recommend import (
    Recommendations,
    Similarity,
    nearest,
    product_candidates,
    rank_users,
    similarity_candidates,
)
from tastemaker.storage import writing
from tastemaker.types import Floats, Rows

__all__ = ["check_file", "write_frame", "write_recommendations", "write_similar"]

QUERIES_AT_ONCE = 1 << 14


def write_recommendations(
    model: TasteModel,
    users: pl.Series,
    file: Path,
    *,
    k: int = 10,
    include_purchased: bool = False,
    candidates: AnyCandidates | None = None,
    threads: int | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write ``user_id, product_id, rank, score`` for the users with these ids; return the number of lines."""
    packed = candidates or product_candidates(model)

    def rank(rows: Rows) -> RankedLists:
        return rank_users(model, rows, packed, k=k, include_purchased=include_purchased, threads=threads)

    blocks = _blocks(
        model.users, "user_id", model.users.rows(users), rank, model.products, "product_id", on_progress
    )
    return _write(blocks, file)


def write_similar(
    model: TasteModel,
    products: pl.Series,
    file: Path,
    *,
    k: int = 10,
    similarity: Similarity = "dot",
    include_self: bool = False,
    space: tuple[Floats, AnyCandidates] | None = None,
    threads: int | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write ``product_id, similar_id, rank, score`` for the products with these ids; return the number of lines."""
    packed = space or similarity_candidates(model, similarity)

    def rank(rows: Rows) -> RankedLists:
        return nearest(packed, rows, k=k, include_self=include_self, threads=threads)

    rows = model.products.rows(products)
    return _write(
        _blocks(model.products, "product_id", rows, rank, model.products, "similar_id", on_progress), file
    )


def write_frame(frame: pl.DataFrame, file: Path) -> int:
    """Write one frame; return the number of lines."""
    return _write(iter([frame]), file)


def check_file(file: Path) -> Path:
    """Return the path if a file can be written there; raise `UnreadableFile` if not."""
    parent = file.absolute().parent
    if file.is_dir():
        raise UnreadableFile(f"{file} is a folder; name a file to write.")
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UnreadableFile(f"cannot write {file}: the folder {parent} is missing or not writable.")
    return file


def _blocks(
    asked: Vocabulary,
    asked_name: str,
    rows: Rows,
    rank: Callable[[Rows], RankedLists],
    answers: Vocabulary,
    answer_name: str,
    on_progress: Callable[[int], None],
) -> Iterator[pl.DataFrame]:
    for low in range(0, max(len(rows), 1), QUERIES_AT_ONCE):
        block = rows[low : low + QUERIES_AT_ONCE]
        ids = asked.original(asked.at(block)).alias(asked_name)
        yield Recommendations(ids, rank(block), answers, answer_name).to_frame()
        on_progress(len(block))


def _write(frames: Iterator[pl.DataFrame], file: Path) -> int:
    from polars.io.plugins import register_io_source

    first = next(frames)
    lines = 0

    def produce(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal lines
        for frame in _chain(first, frames):
            lines += len(frame)
            yield frame

    try:
        with writing(file) as temporary:
            register_io_source(produce, schema=first.schema).sink_parquet(temporary)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TastemakerError(f"cannot write {file}: {error}.") from error
    return lines


def _chain(first: pl.DataFrame, rest: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    yield first
    yield from rest
