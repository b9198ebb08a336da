"""What a product earns at a place, guessed from logged lists: the model that makes the estimate doubly robust."""

from __future__ import annotations

import numpy as np

from tastemaker.evaluation.off_policy.logged import LoggedLists
from tastemaker.types import Doubles, Rows

__all__ = ["FOLDS", "guesses"]

FOLDS = 5
"""What is guessed of a visitor is learned from the others: from those of the other folds"""

PRIOR = 5.0
"""So many events of mean size stand against what a product earned itself"""


def guesses(logged: LoggedLists, rewards: Doubles, products: Rows) -> Doubles:
    """Return what ``products``, ``int32[S]``, would earn at the places of the logged lists, ``float64[S]``; -1 earns 0.

    With t_i the mean of the rewards, ``float64[S]``, at place i of a list, and u the mean size of a reward that is not 0::

        guess(p, i) = t_i · (Σ rewards of p + 5 u) / (Σ t of the places where p was shown + 5 u)

    All sums leave out the fold of the visitor for whom it is guessed, so that no visitor's own rewards are in their guess.
    """
    folds = logged.owners % FOLDS
    places, many = int(logged.ranks.max(initial=-1)) + 1, int(logged.products.max(initial=-1)) + 1
    by_place = _others(folds, logged.ranks, places, rewards) / np.maximum(
        _others(folds, logged.ranks, places, np.ones(len(rewards))), 1
    )
    size = np.square(rewards).sum() / max(rewards.sum(), 1e-300)
    expected = np.zeros((FOLDS, many))
    for fold in range(FOLDS):
        others = folds != fold
        means = by_place[fold, logged.ranks]
        expected[fold] = np.bincount(logged.products, means * others, many)
    earned = _others(folds, logged.products, many, rewards)
    against = PRIOR * size
    ratio = (earned + against) / np.maximum(expected + against, 1e-300)
    ratio = np.concatenate(
        [ratio, np.ones((FOLDS, 1))], axis=1
    )  # a product that was never shown earns as the mean
    known = np.where(products < many, products, many)
    found: Doubles = by_place[folds, logged.ranks] * ratio[folds, known] * (products >= 0)
    return found


def _others(folds: Rows, keys: Rows, count: int, values: Doubles) -> Doubles:
    """Return the sums of values by key over all folds but each, ``float64[FOLDS, count]``."""
    sums = np.bincount(folds.astype(np.int64) * count + keys, values, FOLDS * count).reshape(FOLDS, count)
    others: Doubles = sums.sum(axis=0) - sums
    return others
