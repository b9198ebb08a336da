"""Baselines are tuned like the default model: settings are chosen on a part held out of the log that they learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from tastemaker.data.purchases import Purchases
from tastemaker.evaluation.metrics import measure
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.narrowed import narrowed_products
from tastemaker.ranking.rank import rank_users
from tastemaker.training.selection.validation import MEASURED_AT, Validation, hold_out

__all__ = ["Setting", "tuned"]

Setting: TypeAlias = Mapping[str, Any]


def tuned(
    learn: Callable[[Purchases, Setting], TasteModel],
    grid: Sequence[Setting],
    log: Purchases,
    *,
    seed: int,
    threads: int | None,
) -> TasteModel:
    """Return the model of the whole log under the best setting of a grid.

    The best is the one with the greatest ndcg@100 on the very users and products that the default model of the same seed holds out
    for itself; the first of equals, and the first of all where the log is too small to hold anything out. The record tells it.
    """
    validation = hold_out(log, seed) if len(grid) > 1 else None
    worth = (
        []
        if validation is None
        else [_worth(learn(validation.log, setting), validation, threads) for setting in grid]
    )
    best = max(range(len(worth)), key=worth.__getitem__, default=0)
    model = learn(log, grid[best])
    facts = {
        "trials": len(grid),
        "best": dict(grid[best]),
        f"ndcg@{MEASURED_AT}": worth[best] if worth else None,
    }
    return replace(model, record=replace(model.record, metrics={**model.record.metrics, "tuned": facts}))


def _worth(model: TasteModel, validation: Validation, threads: int | None) -> float:
    ready = narrowed_products(model, MEASURED_AT, threads=threads)
    lists = rank_users(model, validation.users, ready, k=MEASURED_AT, threads=threads)
    found = measure(lists, validation.held_out, at=[MEASURED_AT], products=len(model.products))
    return float(found.values[f"ndcg@{MEASURED_AT}"].mean())
