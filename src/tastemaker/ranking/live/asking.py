"""How a model answers queries of which more is known than what they hold: age, other events, attributes and context."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import gather_lists, offsets_of
from tastemaker.kernels.counting.memory import count_distinct
from tastemaker.kernels.ranking.bags import recall_bags
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.asking import Asking
from tastemaker.model.beside.known import bought_by, seen_by
from tastemaker.model.beside.order import STEADY, Fading
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.ranking.top_k import ExtraScores
from tastemaker.types import AnyArray, Floats, Offsets, Rows

__all__ = ["answer", "asking_of_users", "last_moment", "vectors_of"]


def answer(
    model: TasteModel, asking: Asking, *, threads: int | None = None
) -> tuple[Floats, ExtraScores | None]:
    """Return the query vectors ``float32[Q, D]`` and what the memory and other events add, sparse."""
    with ThreadPool(threads) as pool:
        vectors = vectors_of(model, asking, pool)
        parts = [
            _recall(rows, weights, memory, len(model.products), pool)
            for rows, weights, memory in _sources(model, asking)
        ]
    return vectors, _summed(parts, len(asking), len(model.products))


def vectors_of(model: TasteModel, asking: Asking, pool: ThreadPool) -> Floats:
    """Return the query vectors, ``float32[Q, D]``."""
    table, damping = model.basket_table()
    order = model.order
    return asking.vectors(
        table,
        damping=damping,
        taste=STEADY if order is None else order.taste,
        kinds=model.kinds,
        tokens=None if model.tokens is None else model.tokens.vectors,
        pool=pool,
    )


def asking_of_users(model: TasteModel, users: AnyArray, *, at: int | None = None) -> Asking:
    """Return what the model knows of the users at these rows, ``int[Q]``, when they ask: by default after all that it knows."""
    users = np.asarray(users, np.int64)
    tokens = None if model.tokens is None else model.tokens.of_users.take(users)
    if model.past is None or model.order is None:
        offsets, places = gather_lists(model.histories.offsets, users)
        held = Histories(offsets, np.ascontiguousarray(model.histories.products[places]))
        return Asking(held, tokens=tokens)
    times = np.full(len(users), last_moment(model) + 1 if at is None else at)
    held, moments, strengths = bought_by(model.past, users, times)
    seen = None if model.kinds is None else seen_by(model.past, users, times)
    return Asking(held, moments, times, seen, tokens, strengths)


def last_moment(model: TasteModel) -> int:
    """Return the time of the last event that the model knows of; 0 where it knows of no time."""
    past, order = model.past, model.order
    known = 0 if past is None else int(np.max(past.times, initial=0))
    return known if order is None else max(known, order.end)


WeightedLookup = tuple[tuple[Offsets, Rows], Floats, Memory]
"""Which rows each query looks up, their weights, and the table."""


def _sources(model: TasteModel, asking: Asking) -> list[WeightedLookup]:
    """Return the rows that each query looks up, with their weights, and in which table."""
    found: list[WeightedLookup] = []
    if model.memory is not None:
        fading = Fading() if model.order is None else model.order.memory
        weights = asking.weights(fading, model.memory_damping)
        found.append(((asking.held.offsets, asking.held.products), weights, model.memory))
    seen, kinds = asking.seen, model.kinds
    if seen is not None and kinds is not None and kinds.memory is not None:
        rows = (seen.kinds.astype(np.int64) * len(model.products) + seen.products).astype(np.int32)
        found.append(((seen.offsets, rows), asking.seen_weights(kinds.fading), kinds.memory))
    return found


def _recall(
    bags: tuple[Offsets, Rows], weights: Floats, memory: Memory, products: int, pool: ThreadPool
) -> ExtraScores:
    offsets, rows = bags
    counts = np.zeros(len(offsets) - 1, np.int64)
    table = (memory.offsets, memory.products)
    pool.run(
        lambda low, high: count_distinct(low, high, offsets, rows, *table, products, counts), len(counts)
    )
    borders = offsets_of(counts)
    extra = ExtraScores(borders, np.empty(borders[-1], np.int32), np.empty(borders[-1], np.float32))

    def fill(low: int, high: int) -> None:
        recall_bags(
            low,
            high,
            offsets,
            rows,
            weights,
            *table,
            memory.weights,
            products,
            borders,
            extra.rows,
            extra.scores,
        )

    pool.run(fill, len(counts))
    return extra


def _summed(parts: list[ExtraScores], count: int, products: int) -> ExtraScores | None:
    """Return the sum of sparse scores; ``None`` without any."""
    if len(parts) < 2:
        return parts[0] if parts else None
    owners = np.concatenate([np.repeat(np.arange(count), np.diff(part.offsets)) for part in parts])
    keys = owners.astype(np.int64) * products + np.concatenate([part.rows for part in parts])
    order = np.argsort(keys, kind="stable")
    keys, scores = keys[order], np.concatenate([part.scores for part in parts])[order]
    if not len(keys):
        return parts[0]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    who, rows = np.divmod(keys[starts], products)
    return ExtraScores(
        offsets_of(np.bincount(who, minlength=count)),
        rows.astype(np.int32),
        np.add.reduceat(scores, starts).astype(np.float32),
    )
