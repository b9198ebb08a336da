"""Differences between two arms with intervals that hold at every look at once: confidence sequences."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from tastemaker.errors import SettingProblem
from tastemaker.evaluation.experiments.arms import Arm
from tastemaker.types import Doubles

__all__ = ["Difference", "difference", "mixture_factor", "mixture_prior"]

FEWEST_VISITORS = 100
FEWEST_NON_ZERO = 30
"""Below these, in either arm, the sums are too far from normal, and no interval is given."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Treatment − control in the mean of one value, with an interval that may be looked at on any day."""

    control: float
    """The mean of the control's visitors"""
    treatment: float
    difference: float
    low: float | None
    """None, as ``high``, while an arm has too few visitors or too few whose value is not 0"""
    high: float | None
    relative: float | None
    """``difference / control``; None where the control's mean is not above 0"""

    @property
    def outcome(self) -> str:
        """Return ``better``, ``worse`` or ``open``: what the treatment is."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "open"
        return "better" if self.low > 0 else "worse"


def mixture_prior(planned: float, *, level: float = 0.95) -> float:
    """Return the r of `mixture_factor` that makes the interval narrowest when ``planned`` visitors have come.

    ``r = planned / (x − 1)`` where x > 1 solves ``x − log x = 1 + 2 log(1 / α)``, α = 1 − level. In the paper's words
    ``x = −W₋₁(−α² / e)``. Source: Howard, Ramdas, McAuliffe & Sekhon 2021, section 3.5.

    >>> round(mixture_prior(10_000), 1)
    1217.7
    """
    _check_level(level)
    if not planned > 0:
        raise SettingProblem(f"an experiment is planned for {planned} visitors; it must be more than 0.")
    right = 1 + 2 * log(1 / (1 - level))
    x = right
    for _ in range(200):  # contracts by 1 / x each time
        x = right + log(x)
    return planned / (x - 1)


def mixture_factor(visitors: Doubles | float, prior: float, *, level: float = 0.95) -> Doubles:
    """Return by how many standard errors the interval reaches to either side, ``float64`` of the shape of ``visitors``.

    With n visitors of both arms, r the ``prior`` and α = 1 − level::

        √( (1 + r / n) · ( log((n + r) / r) + 2 log(1 / α) ) )

    This is the two-sided normal mixture boundary √((v + ρ) log((v + ρ) / (α² ρ))) at the intrinsic time v, divided by √v, where v
    is measured in visitors. As the standard error is estimated, the coverage (of all looks together) is asymptotic:
    ``benchmarks/experiments.py`` measures it. Sources: Howard, Ramdas, McAuliffe & Sekhon 2021, the two-sided normal mixture;
    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, asymptotic confidence sequences, for the estimated variance.

    At the planned number it is 3.04 in place of the 1.96 of an interval for one look:

    >>> round(float(mixture_factor(10_000, mixture_prior(10_000))), 2)
    3.04
    """
    _check_level(level)
    n = np.asarray(visitors, np.float64)
    return np.sqrt((1 + prior / n) * (np.log1p(n / prior) + 2 * log(1 / (1 - level))))


def difference(control: Arm, treatment: Arm, *, planned: int, level: float = 0.95) -> Difference:
    """Return the difference of the means and its interval, valid whenever and however often one looks.

    The standard error is ``√(variance₀ / n₀ + variance₁ / n₁)``; `mixture_factor` of ``n₀ + n₁`` says how many of them the
    interval reaches. ``planned`` visitors of both arms, fixed before the first look, decide only where the interval is narrowest.

    >>> found = difference(Arm(50_000, 2_500, 2_500), Arm(50_000, 3_000, 3_000), planned=100_000)
    >>> round(found.difference, 4), round(found.low, 4), round(found.high, 4), found.outcome
    (0.01, 0.0056, 0.0144, 'better')
    """
    prior = mixture_prior(planned, level=level)
    gap = treatment.mean - control.mean
    relative = gap / control.mean if control.mean > 0 else None
    if not (_enough(control) and _enough(treatment)):
        return Difference(control.mean, treatment.mean, gap, None, None, relative)
    error = sqrt(control.variance / control.visitors + treatment.variance / treatment.visitors)
    margin = error * float(mixture_factor(control.visitors + treatment.visitors, prior, level=level))
    return Difference(control.mean, treatment.mean, gap, gap - margin, gap + margin, relative)


def _enough(arm: Arm) -> bool:
    """Return whether an arm's mean is near enough to normal, by ``total² / squares``, its effective number of non-zero values."""
    return (
        arm.visitors >= FEWEST_VISITORS and arm.squares > 0 and arm.total**2 >= FEWEST_NON_ZERO * arm.squares
    )


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise SettingProblem(f"the level of an interval is {level}; it must lie between 0 and 1.")
