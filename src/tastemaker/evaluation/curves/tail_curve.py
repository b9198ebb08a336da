"""`tail_curve`: how much of the lists goes to the head and to the tail of the catalogue, and what that costs, dial by dial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.ragged import offsets_of, owners_of
from tastemaker.evaluation.evaluate import rank_held_out
from tastemaker.evaluation.intervals import Interval, bootstrap_mean
from tastemaker.evaluation.metrics import measure
from tastemaker.evaluation.popularity import popularity
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.packed import by_tail
from tastemaker.types import AnyArray, Doubles

__all__ = ["MARGIN", "TAILS", "TailPoint", "best_tail", "tail_curve"]

TAILS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)

MARGIN = 0.01
"""The part of ndcg@k by which lists may be worse and still count as no worse"""

SHOWN = 10
"""Places of a list whose levels of popularity are counted"""

BEYOND_HEAD = 1
"""From this place in `popularity` on a product is not of the head"""


@dataclass(frozen=True, slots=True)
class TailPoint:
    """Lists at one dial of `by_tail`: how well they rank, and whom they show."""

    tail: float
    k: int
    ndcg: float
    """ndcg@k of all held-out products, mean over users"""
    tail_recall: float
    """recall@k of those of middle and tail alone, mean over the users who have one"""
    beyond_head: float
    """The share of the first ten places that middle and tail get"""
    bought_beyond_head: float
    """The share of the held-out products that are of middle and tail: lists as people buy would have it"""
    ndcg_change: Interval
    """ndcg@k less that of the first dial, of the same users"""
    tail_recall_change: Interval
    """The same of ``tail_recall``"""


def tail_curve(
    model: TasteModel,
    held_out: Purchases,
    *,
    k: int = 100,
    tails: Sequence[float] = TAILS,
    include_purchased: bool = False,
    threads: int | None = None,
) -> tuple[TailPoint, ...]:
    """Measure lists at several dials, of users with a held-out purchase.

    Head, middle and tail each make up a third of what was bought in train (`popularity`). ``held_out`` speaks of the model's rows;
    products that the model does not know count as tail, and are missed.
    """
    products = len(model.products)
    levels = np.append(popularity(np.bincount(model.histories.products, minlength=products)), np.int32(3))
    points: list[TailPoint] = []
    first: tuple[Doubles, Doubles] | None = None
    for tail in tails:
        lists, wanted = rank_held_out(
            by_tail(model, tail) if tail else model,
            held_out,
            k=k,
            include_purchased=include_purchased,
            threads=threads,
        )
        beyond = levels[np.minimum(wanted.products, products)] >= BEYOND_HEAD
        rare = measure(lists, _only(wanted, beyond), at=[k], products=products)
        every = measure(lists, wanted, at=[k], products=products)
        places = np.arange(len(lists.rows)) - np.repeat(lists.offsets[:-1], np.diff(lists.offsets))
        shown = levels[lists.rows[places < SHOWN]] >= BEYOND_HEAD
        ndcgs, recalls = every.values[f"ndcg@{k}"], rare.values[f"recall@{k}"]
        first = first or (ndcgs, recalls)
        points.append(
            TailPoint(
                tail,
                k,
                float(ndcgs.mean()),
                float(recalls.mean()) if len(recalls) else 0.0,
                float(shown.mean()) if len(shown) else 0.0,
                float(beyond.mean()) if len(beyond) else 0.0,
                _mean(ndcgs - first[0]),
                _mean(recalls - first[1]),
            )
        )
    return tuple(points)


def best_tail(points: Sequence[TailPoint]) -> TailPoint:
    """Return the dial that finds most of middle and tail, of those whose ndcg@k is surely not more than `MARGIN` below the first's.

    That is, the low end of the interval of its change lies above −1 % of the first's ndcg@k. With few users no other dial is sure,
    and the first is returned, as it is where none finds more.
    """
    first = points[0]
    sure = [one for one in points[1:] if one.ndcg_change.low > -MARGIN * first.ndcg]
    return max([first, *sure], key=lambda one: one.tail_recall)


def _mean(changes: Doubles) -> Interval:
    if not changes.any():
        return Interval(0.0, 0.0, 0.0)
    return Interval(*(float(one) for one in bootstrap_mean(changes, rng=np.random.default_rng(0))))


def _only(wanted: Histories, kept: AnyArray) -> Histories:
    """Return the held-out products that are kept, ``bool[total]``."""
    owners = owners_of(wanted.offsets)[kept]
    lengths = np.bincount(owners, minlength=len(wanted.offsets) - 1)
    return Histories(offsets_of(lengths), wanted.products[kept])
