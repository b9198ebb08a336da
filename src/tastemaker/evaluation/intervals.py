"""How certain a mean over users is: bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tastemaker.errors import DataError, SettingProblem
from tastemaker.types import Doubles

__all__ = ["Interval", "bca_ends", "bootstrap_mean", "resampled_means"]

BLOCK = 1 << 16
"""The counts (users × resamples) held at once: half a MiB, which fits the processor's cache."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users and the ends of its interval, in the unit of the metric."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: Doubles, *, rng: np.random.Generator, resamples: int = 1000, level: float = 0.95
) -> tuple[Doubles, Doubles, Doubles]:
    """Return the mean over users of each column, and both ends of its BCa bootstrap interval.

    ``values`` is ``float64[Q]`` or ``float64[Q, M]``, one row per user; each of the three answers is
    ``float64[]`` or ``float64[M]``. Q users are drawn with replacement ``resamples`` times, the same users
    for every column; `bca_ends` says which of the resampled means are the ends. The interval speaks of other
    users of the same shop: it knows nothing of another season or of another training run. Equal generators
    give equal answers.

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
    means = columns.mean(axis=1)
    resampled = resampled_means(columns, rng, resamples)
    low, high = bca_ends(resampled, columns - means[:, None], level=level)
    shape = values.shape[1:]
    return means.reshape(shape), low.reshape(shape), high.reshape(shape)


def resampled_means(columns: Doubles, rng: np.random.Generator, resamples: int) -> Doubles:
    """Return ``float64[resamples, M]``: the means of ``columns``, ``float64[M, Q]``, over Q users drawn with replacement.

    >>> resampled_means(np.array([[2.0, 2.0], [0.0, 4.0]]), np.random.default_rng(3), 3).tolist()
    [[2.0, 2.0], [2.0, 0.0], [2.0, 2.0]]
    """
    users = columns.shape[1]
    at_once = max(1, BLOCK // users)
    starts = np.arange(at_once)[:, None] * users
    means = np.empty((resamples, len(columns)))
    for low in range(0, resamples, at_once):
        high = min(resamples, low + at_once)
        drawn = rng.integers(0, users, (high - low, users)) + starts[: high - low]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        # einsum rather than a BLAS product, whose last bits may depend on the number of threads
        means[low:high] = np.einsum("bq,mq->bm", counts, columns) / users
    return means


def bca_ends(
    resampled: Doubles, influences: Doubles, *, level: float = 0.95, found: Doubles | None = None
) -> tuple[Doubles, Doubles]:
    """Return both ends of the bias-corrected and accelerated interval of M numbers, each ``float64[M]``.

    ``resampled`` is ``float64[R, M]``, what resampling gave; ``influences`` is ``float64[M, Q]``: how each user
    moves what was found, for a mean their distance from it. With Φ the normal distribution and
    a = Σ influence³ / (6 (Σ influence²)^1.5), the end for a probability p is the quantile
    Φ(z + (z + Φ⁻¹(p)) / (1 − a (z + Φ⁻¹(p)))) of the resampled. For means z = a. For other numbers give ``found``,
    ``float64[M]``, what was found: z = Φ⁻¹(share of the resampled below it, those alike by half).

    Values of users are mostly 0 and have a long tail; the plain quantiles then lie too low. Sources: Efron 1987,
    eq. 2.3 and 2.8; DiCiccio & Efron 1996, section 4, for z = a where nothing is curved.

    >>> resampled = np.arange(101.0)[:, None]
    >>> low, high = bca_ends(resampled, np.array([[-1.0, 1.0]]), level=0.9)
    >>> low.round(6).tolist(), high.round(6).tolist()
    ([5.0], [95.0])
    """
    normal = NormalDist()
    squares = np.einsum("mq,mq->m", influences, influences)
    cubes = np.einsum("mq,mq,mq->m", influences, influences, influences)
    skews = cubes / np.where(squares > 0, 6 * squares**1.5, 1.0)
    biases = skews if found is None else _biases(resampled, found)
    ends = np.empty((2, len(skews)))
    for column, (bias, skew) in enumerate(zip(biases.tolist(), skews.tolist(), strict=True)):
        chances = []
        for end in ((1 - level) / 2, (1 + level) / 2):
            z = bias + normal.inv_cdf(end)
            chances.append(normal.cdf(bias + z / max(1 - skew * z, 1e-9)))
        ends[:, column] = np.quantile(resampled[:, column], chances)
    return ends[0], ends[1]


def _biases(resampled: Doubles, found: Doubles) -> Doubles:
    slack = 1e-12 * np.abs(found)
    below = (resampled < found - slack).mean(axis=0)
    alike = (np.abs(resampled - found) <= slack).mean(axis=0)
    least = 0.5 / len(resampled)
    shares = np.clip(below + alike / 2, least, 1 - least)
    return np.array([NormalDist().inv_cdf(share) for share in shares.tolist()])
