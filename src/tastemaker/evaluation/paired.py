"""Two models on the same users: how far apart they are, how sure that is, and how many users it takes to see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist

import numpy as np

from tastemaker.errors import DataError, SettingProblem
from tastemaker.evaluation.intervals import bca_ends, resampled_means
from tastemaker.types import Doubles

__all__ = ["Paired", "compare_paired", "holm", "sign_flip_p_value", "users_needed"]

BLOCK = 1 << 21
"""The partial sums (flips × groups of eight users) held at once: 16 MiB."""


@dataclass(frozen=True, slots=True)
class Paired:
    """The difference between two means over the same users, *first − second*, with 95 % intervals."""

    users: int
    first: float
    """The mean of the first model, in the unit of the metric"""
    second: float
    difference: float
    low: float
    high: float
    relative: float | None
    """``difference / second``; None where the second mean is not above 0"""
    relative_low: float | None
    """None where ``relative`` is, and where some draw of users gives the second model a mean of 0"""
    relative_high: float | None
    p_value: float
    """How often signs flipped at random give a difference as large, two-sided; never 0"""
    users_needed: int | None
    """How many users show a difference of this size at 5 % with a power of 80 %; None where there is no difference"""


def compare_paired(
    first: Doubles, second: Doubles, *, rng: np.random.Generator, resamples: int = 5000
) -> Paired:
    """Compare two models by one metric's values ``float64[M]`` of the same M users, in the same order.

    The intervals are BCa bootstrap intervals (`bca_ends`): M users are drawn with replacement ``resamples`` times, each with both
    of its values. ``relative`` is the ratio of the means minus 1, resampled as a ratio.

    The p-value answers: if it did not matter for any user which of the two models served them, how often would the means lie so
    far apart? Then each user's difference is as likely to have the other sign, so signs are flipped at random ``resamples``
    times, and ``p = (1 + number of flips with |mean| >= |observed mean|) / (1 + resamples)``. The test is exact for that question
    at any M, and for large M also right when only the means are alike. Differences within 1e-12 of their sum of each other count
    as equal.

    How many users it takes to see such a difference is what `users_needed` says of these. Sources: Phipson & Smyth 2010 (the 1
    added); Smucker, Allan & Carterette 2007 (randomisation for rankings); Efron 1987.

    Raises `DataError` when there are no users, not equally many values, or a value is not finite, and `SettingProblem` without
    resamples.

    >>> second = np.array([0.0, 0.5, 0.25, 0.0] * 100)
    >>> found = compare_paired(second + [0.5, 0.0, 0.0, 0.0] * 100, second, rng=np.random.default_rng(1))
    >>> found.first, found.second, found.difference, round(found.relative, 4)
    (0.3125, 0.1875, 0.125, 0.6667)
    >>> bool(found.low < 0.125 < found.high), round(found.p_value, 4), found.users_needed
    (True, 0.0002, 24)
    """
    first, second = _checked(first, second, resamples)
    differences = first - second
    means = resampled_means(np.stack([first, second]), rng, resamples)
    difference = float(differences.mean())
    low, high = _ends(means[:, 0] - means[:, 1], differences - difference)
    return Paired(
        len(first),
        float(first.mean()),
        float(second.mean()),
        difference,
        low,
        high,
        *_relative(first, second, means),
        sign_flip_p_value(differences, rng=rng, resamples=resamples),
        users_needed(differences),
    )


def sign_flip_p_value(differences: Doubles, *, rng: np.random.Generator, resamples: int = 5000) -> float:
    """Return how often differences with random signs have a mean at least as far from 0, two-sided, as `compare_paired` says.

    ``differences`` is ``float64[M]``, of as many users. The answer is never below ``1 / (1 + resamples)``.

    Of the 8 choices of three signs, 2 give a sum of 6 or more either way:

    >>> p = sign_flip_p_value(np.array([1.0, 2.0, 3.0]), rng=np.random.default_rng(1))
    >>> bool(abs(p - 2 / 8) < 0.03)
    True
    """
    moved = differences[differences != 0]  # the sign of 0 changes nothing
    slack = 1e-12 * float(np.abs(moved).sum())
    sums = _flipped_sums(moved, rng, resamples)
    reached = np.count_nonzero(np.abs(sums) >= abs(float(moved.sum())) - slack)
    return float((1 + reached) / (1 + resamples))


def users_needed(differences: Doubles, *, significance: float = 0.05, power: float = 0.8) -> int | None:
    """Return how many users a two-sided paired test needs to see a mean difference of this size; None for a difference of 0.

    ``(Φ⁻¹(1 − significance / 2) + Φ⁻¹(power))² · variance / mean²``, rounded up, at least 2: the usual size of a paired z-test,
    from the variance of these ``float64[M]`` differences. It promises nothing when the difference at hand is itself noise.
    Source: Cohen 1988, section 2.4.

    >>> users_needed(np.array([0.5, 0.0, 0.0, 0.0] * 100)), users_needed(np.zeros(9))
    (24, None)
    """
    mean = float(differences.mean())
    if mean == 0 or len(differences) < 2:
        return None
    normal = NormalDist()
    spread = normal.inv_cdf(1 - significance / 2) + normal.inv_cdf(power)
    return max(2, ceil(spread**2 * float(differences.var(ddof=1)) / mean**2))


def holm(p_values: Sequence[float] | Doubles) -> Doubles:
    """Return p-values corrected for their number n, ``float64[n]`` in the order given.

    With the p-values ascending, ``adjusted_(i) = max over j <= i of min(1, (n - j + 1) · p_(j))``. Calling every test significant
    whose adjusted value is below 5 % makes even one false call in fewer than 5 % of all such families, whatever their dependence.
    Source: Holm 1979. Raises `DataError` when one is not between 0 and 1.

    >>> holm([0.01, 0.04, 0.03]).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"p-values must lie between 0 and 1, not {values.tolist()}.")
    order = np.argsort(values, kind="stable")
    steps = np.minimum(1.0, values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


def _checked(first: Doubles, second: Doubles, resamples: int) -> tuple[Doubles, Doubles]:
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise DataError(
            f"values of the shapes {first.shape} and {second.shape} cannot be paired; pass one value of each model "
            "for each of the same users, at least one."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataError("some of the values to compare are not finite; leave those users out of both models.")
    if resamples < 1:
        raise SettingProblem(f"resamples is {resamples}; there must be at least one.")
    return first, second


def _relative(
    first: Doubles, second: Doubles, means: Doubles
) -> tuple[float | None, float | None, float | None]:
    if not second.mean() > 0:
        return None, None, None
    ratio = float(first.mean() / second.mean())
    if not (means[:, 1] > 0).all():
        return ratio - 1, None, None
    low, high = _ends(means[:, 0] / means[:, 1], first - ratio * second, np.array([ratio]))
    return ratio - 1, low - 1, high - 1


def _ends(resampled: Doubles, influences: Doubles, found: Doubles | None = None) -> tuple[float, float]:
    low, high = bca_ends(resampled[:, None], influences[None], found=found)
    return float(low[0]), float(high[0])


def _flipped_sums(differences: Doubles, rng: np.random.Generator, resamples: int) -> Doubles:
    """Return ``float64[resamples]``, sums of the differences with random signs.

    The signed sums of eight users are tabulated for all 256 choices of signs: a random byte then flips eight users at once.
    """
    eights = -(-len(differences) // 8)
    padded = np.zeros(eights * 8)
    padded[: len(differences)] = differences
    signs = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    table = np.einsum("eu,bu->eb", padded.reshape(eights, 8), signs).ravel()
    starts = np.arange(eights) * 256
    sums = np.empty(resamples)
    at_once = max(1, BLOCK // max(1, eights))
    for start in range(0, resamples, at_once):
        stop = min(resamples, start + at_once)
        choices = rng.integers(0, 256, (stop - start, eights), dtype=np.uint8)
        sums[start:stop] = table[starts + choices].sum(axis=1)
    return sums
