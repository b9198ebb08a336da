"""Whether visitors fell into the arms as they should: the check for a sample ratio mismatch, valid at any look."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma, log

from tastemaker.errors import SettingProblem

__all__ = ["MISMATCH", "ratio_p_value"]

MISMATCH = 0.001
"""Below this p-value the assignment is broken, and nothing else of the experiment can be trusted."""

CONCENTRATION = 100.0
"""How closely the alternative's shares lie around the expected ones: the visitors that the Dirichlet distribution is worth."""


def ratio_p_value(visitors: Sequence[int], shares: Sequence[float]) -> float:
    """Return a p-value of the arms' counts against their expected shares, which holds however often one looks.

    With counts n of all arms, N in total, shares s and the Dirichlet concentrations a = 100 s::

        Bayes factor = B(a + n) / B(a) / Π s^n        p = min(1, 1 / Bayes factor)

    where B is the multivariate beta function. The chance that p falls below α at any look is at most α when the shares are right.
    Source: Lindon & Malek 2022, the sequential multinomial test.

    Raises `SettingProblem` for one arm, a share not above 0, or shares that do not sum to 1.

    >>> ratio_p_value([5_050, 4_950], [0.5, 0.5]), ratio_p_value([5_500, 4_500], [0.5, 0.5]) < MISMATCH
    (1.0, True)
    """
    if len(visitors) != len(shares) or len(shares) < 2:
        raise SettingProblem(f"{len(visitors)} counts and {len(shares)} shares; pass as many, at least two.")
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9 or min(visitors) < 0:
        raise SettingProblem(
            f"the shares {list(shares)} must be above 0 and sum to 1, and counts at least 0."
        )
    prior = [CONCENTRATION * share for share in shares]
    evidence = _log_beta([a + n for a, n in zip(prior, visitors, strict=True)]) - _log_beta(prior)
    evidence -= sum(n * log(share) for n, share in zip(visitors, shares, strict=True))
    return exp(min(0.0, -evidence))


def _log_beta(concentrations: Sequence[float]) -> float:
    return sum(map(lgamma, concentrations)) - lgamma(sum(concentrations))
