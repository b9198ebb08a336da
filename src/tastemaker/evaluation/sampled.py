"""The workshop's own measure: the bought product against random ones; a training curve, not a quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tastemaker.errors import DataError
from tastemaker.types import AnyArray, Doubles, Floats, Rows

__all__ = ["Draw", "Score", "Workshop", "sampled_accuracy"]

BLOCK = 1 << 17
"""The candidates scored at once: 32 MiB for a scorer that gathers their vectors of 64 dimensions."""

Score = Callable[[Rows, Rows], Floats]
"""``(user rows int32[B], product rows int32[B, 1 + S]) -> scores float32[B, 1 + S]``"""

Draw = Callable[[int, int], Rows]
"""``(first purchase, count) -> product rows int32[count, S]``, the same for a purchase in any block"""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Sampled accuracy and loss: means over purchases (not over users), as in the workshop's notebook."""

    negatives: int
    """How many products were drawn for each purchase (S)."""
    categorical_accuracy: float
    """Share of purchases whose product scores above every other one drawn."""
    loss: float
    """Mean softmax cross-entropy over the 1 + S candidates, in nats; ``log(1 + S)`` when nothing is known."""


def sampled_accuracy(score: Score, users: Rows, products: Rows, draw: Draw) -> Workshop:
    """Score each purchase's product against S drawn ones: how often it is first, and the cross-entropy.

    ``accuracy = mean over purchases of [s_0 > s_j for every drawn j that is another product]`` and
    ``loss = mean over purchases of log(sum over j = 0 … S of exp(s_j)) - s_0``, with ``s_0`` the score of the
    bought product. ``users`` and ``products`` are the ``int32[N]`` rows of the held-out purchases; a block of
    them is scored at a time, so that memory does not grow with N. ``draw`` is asked for the draws of each
    block, and once more for the first purchase to learn S. Draws are not filtered: they may repeat, be in the
    user's history, or be the bought product.

    Ties never favour the bought product: another product with the same score counts against it. A drawn copy
    of the bought product is no rival and is left out of the accuracy; the loss keeps it, as in the notebook.
    Keras takes the first of equal scores, which is the bought product: it counts ties for it, so an untrained
    model of all zeros has accuracy 1 there and 0 here.

    Raises `DataError` without purchases, or when a loss is not finite.

    >>> taste = np.float32([[3, 1, 2, 0], [0, 0, 0, 0]])
    >>> drawn = lambda first, count: np.int32([[1, 2, 0], [1, 2, 3]])[first : first + count]
    >>> def score(users, products): return taste[users[:, None], products]
    >>> measured = sampled_accuracy(score, np.int32([0, 1]), np.int32([0, 0]), drawn)
    >>> measured.negatives, measured.categorical_accuracy, round(measured.loss, 4)
    (3, 0.5, 1.1519)
    """
    if not len(users):
        raise DataError("there are no held-out purchases to score; hold out at least one.")
    firsts, losses, start, negatives = 0, 0.0, 0, draw(0, 1).shape[1]
    while start < len(users):
        stop = min(len(users), start + max(1, BLOCK // (1 + negatives)))
        candidates = np.concatenate([products[start:stop, None], draw(start, stop - start)], axis=1)
        scores = score(users[start:stop], candidates)
        firsts += int(np.count_nonzero(_comes_first(scores, candidates)))
        losses += float(_cross_entropy(scores).sum())
        start = stop
    if not np.isfinite(losses):
        raise DataError(
            "the scores of the held-out purchases are not all finite, so the model is unusable; "
            "train it again."
        )
    return Workshop(negatives, firsts / len(users), losses / len(users))


def _comes_first(scores: Floats, candidates: Rows) -> AnyArray:
    beaten = scores[:, 1:] < scores[:, :1]
    copies = candidates[:, 1:] == candidates[:, :1]
    return np.asarray((beaten | copies).all(axis=1))


def _cross_entropy(scores: Floats) -> Doubles:
    highest = scores.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinite scores make NaN, which the caller refuses
        shifted = (scores - highest).astype(np.float64)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - shifted[:, 0])
