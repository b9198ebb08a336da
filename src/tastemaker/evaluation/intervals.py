"""How sure a mean over users is: bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.errors import DataError, SettingProblem
from tastemaker.types import Doubles

__all__ = ["Interval", "bootstrap_mean", "resampled_means"]

BLOCK = 1 << 22
"""So many counts (users × resamples) are held at once: 32 MiB."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users and the ends of its interval, in the unit of the metric."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: Doubles, *, rng: np.random.Generator, resamples: int = 1000, level: float = 0.95
) -> tuple[Doubles, Doubles, Doubles]:
    """Return the mean over users of each column, and both ends of its percentile bootstrap interval.

    ``values`` is ``float64[Q]`` or ``float64[Q, M]``, one row per user; each of the three answers is
    ``float64[]`` or ``float64[M]``. Q users are drawn with replacement ``resamples`` times, the same users
    for every column, and the interval reaches from the ``(1 - level) / 2`` to the ``(1 + level) / 2``
    quantile of the resampled means. It speaks of other users of the same shop: it knows nothing of another
    season or of another training run. Equal generators give equal answers.
    Source: Efron & Tibshirani 1993, section 13.3.

    Raises `DataError` without users and `SettingProblem` for a level outside (0, 1) or no resamples.

    >>> mean, low, high = bootstrap_mean(np.array([0.0, 1.0] * 200), rng=np.random.default_rng(7))
    >>> float(mean), bool(0.44 < low < 0.46), bool(0.54 < high < 0.56)
    (0.5, True, True)
    """
    if not 0 < level < 1 or resamples < 1:
        raise SettingProblem(
            f"an interval of level {level} from {resamples} resamples was asked for; "
            "the level must lie between 0 and 1, and there must be at least one resample."
        )
    if not len(values):
        raise DataError("there are no users to average over; hold out at least one purchase of one user.")
    columns = np.ascontiguousarray(values.reshape(len(values), -1).T, dtype=np.float64)
    means = resampled_means(columns, rng, resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    shape = values.shape[1:]
    return columns.mean(axis=1).reshape(shape), low.reshape(shape), high.reshape(shape)


def resampled_means(columns: Doubles, rng: np.random.Generator, resamples: int) -> Doubles:
    """Return ``float64[resamples, M]``: the means of ``columns``, ``float64[M, Q]``, over Q users drawn with replacement.

    >>> resampled_means(np.array([[2.0, 2.0], [0.0, 4.0]]), np.random.default_rng(3), 3).tolist()
    [[2.0, 2.0], [2.0, 0.0], [2.0, 2.0]]
    """
    users = columns.shape[1]
    means = np.empty((resamples, len(columns)))
    counts = np.empty((min(resamples, max(1, BLOCK // users)), users))
    for start in range(0, resamples, len(counts)):
        block = counts[: resamples - start]
        for row in block:
            row[:] = np.bincount(rng.integers(0, users, users), minlength=users)
        # einsum rather than a BLAS product, whose last bits may depend on the number of threads
        means[start : start + len(block)] = np.einsum("bq,mq->bm", block, columns) / users
    return means
