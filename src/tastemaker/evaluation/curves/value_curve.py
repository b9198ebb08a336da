"""`value_curve`: what lists earn, and what they lose, between most likely and most valuable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import owners_of
from tastemaker.evaluation.evaluate import rank_held_out
from tastemaker.evaluation.metrics import measure
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.packed import by_value

__all__ = ["DIALS", "ValuePoint", "value_curve"]

DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class ValuePoint:
    """Lists of ``k`` at one dial of `by_value`: how well they rank, and what they earn."""

    dial: float
    k: int
    ndcg: float
    value: float
    """The mean over users of the worth of what they bought and the list shows"""


def value_curve(
    model: TasteModel,
    held_out: Purchases,
    *,
    k: int = 10,
    dials: Sequence[float] = DIALS,
    include_purchased: bool = False,
    threads: int | None = None,
) -> tuple[ValuePoint, ...]:
    """Measure lists at several dials, of users with a held-out purchase; empty for a model that knows no values.

    value@k = mean over users of Σ value_p over the held-out products p in their first k

    ``held_out`` speaks of the model's rows. Products that the model does not know are missed.
    """
    if model.product_values is None:
        return ()
    values = np.append(np.asarray(model.product_values, np.float64), 0.0)
    points = []
    for dial in dials:
        lists, wanted = rank_held_out(
            by_value(model, dial), held_out, k=k, include_purchased=include_purchased, threads=threads
        )
        width = max(len(model.products), int(wanted.products.max(initial=0)) + 1)
        shown = owners_of(lists.offsets).astype(np.int64) * width + lists.rows
        hits = np.isin(shown, wanted.keys(width))
        found = measure(lists, wanted, at=[k], products=len(model.products))
        worth = float(values[lists.rows[hits]].sum()) / max(len(wanted), 1)
        points.append(ValuePoint(dial, k, float(found.values[f"ndcg@{k}"].mean()), worth))
    return tuple(points)
