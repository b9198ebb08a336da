"""`VisitorSums`: a mean over lists as sums of visitors, with an interval over visitors."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from tastemaker.errors import SettingProblem
from tastemaker.types import Doubles

__all__ = ["Estimate", "VisitorSums", "estimate_of"]

FEWEST_VISITORS = 200
FEWEST_EVENTS = 30
"""Below these, in effect, no interval is given: the sums are too far from normal"""

FEWEST_DEGREES = 3.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a list earns, with the ends of its interval; those are ``None`` while too little is known."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, eq=False)
class VisitorSums:
    """What the lists of each visitor earn together; visitors are independent of each other, their lists are not."""

    earned: Doubles
    """``float64[V]``"""
    lists: Doubles
    """``float64[V]``, how many lists"""

    @property
    def mean(self) -> float:
        """Return what a list earns."""
        return float(self.earned.sum() / self.lists.sum())

    @property
    def events(self) -> float:
        """Return how many rewards of one size tell as much: (Σ earned)² / Σ earned²."""
        squares = float(np.square(self.earned).sum())
        return float(self.earned.sum()) ** 2 / squares if squares > 0 else 0.0

    def __sub__(self, other: VisitorSums) -> VisitorSums:
        """Return by how much more the lists of the same visitors earn than those of another."""
        return VisitorSums(self.earned - other.earned, self.lists)


def estimate_of(
    sums: VisitorSums, *, level: float = 0.95, effective: float | None = None, events: float | None = None
) -> Estimate:
    """Return the mean of a list with an interval over visitors.

    The mean is a ratio R = Σ earned / Σ lists over V visitors, and its error that of the mean of what each visitor adds to it,
    ``φ = (earned − R · lists) / mean lists``. A few visitors who saw what is hardly ever shown weigh much, so that φ, of the
    deviation σ, has a skewness γ and a kurtosis κ: the ends are moved by the one, and the other says how well σ is known::

        R + σ / √V · (γ (2 z² + 1) / (6 √V) ± t)        t of Student's distribution with 2 V / (κ − 1) degrees, at least 3

    No interval is given where fewer than 200 visitors tell or 30 events are seen in effect: ``effective`` and ``events``, by
    default all visitors and (Σ earned)² / Σ earned². Sources: Johnson 1978, modified t tests and confidence intervals for
    asymmetrical populations; Satterthwaite 1946, an approximate distribution of estimates of variance components, for the degrees.
    """
    if not 0 < level < 1:
        raise SettingProblem(f"the level of an interval is {level}; it must lie between 0 and 1.")
    visitors, mean = len(sums.earned), sums.mean
    effective = visitors if effective is None else effective
    events = sums.events if events is None else events
    if min(effective, visitors) < FEWEST_VISITORS or events < FEWEST_EVENTS:
        return Estimate(mean, None, None)
    added = (sums.earned - mean * sums.lists) / sums.lists.mean()
    deviation = float(added.std(ddof=1))
    if deviation == 0:
        return Estimate(mean, mean, mean)
    skew, kurtosis = (float(np.mean(added**power)) / deviation**power for power in (3, 4))
    z = NormalDist().inv_cdf((1 + level) / 2)
    t = _student(z, max(2 * visitors / max(kurtosis - 1, 1e-9), FEWEST_DEGREES))
    error = deviation / sqrt(visitors)
    moved = error * skew * (2 * z * z + 1) / (6 * sqrt(visitors))
    return Estimate(mean, mean + moved - t * error, mean + moved + t * error)


def _student(z: float, degrees: float) -> float:
    """Return the quantile of Student's distribution where the normal one has z.

    The first terms of its expansion in 1 / degrees: within 1 % at 3 degrees for 95 %. Source: Abramowitz & Stegun 1964, 26.7.5.
    """
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))
