"""What the visitors of one arm did, as three sums that hosts and days can add up."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from tastemaker.errors import DataError
from tastemaker.types import Doubles

__all__ = ["Arm", "arm_of"]


@dataclass(frozen=True, slots=True)
class Arm:
    """The visitors of one arm and one value of each: clicked or not, bought or not, revenue, margin.

    A visitor is one value however many lists they see, as the lists of one visitor are not independent. Count a visitor once
    their value is final (their window has passed): a value that still grows makes an interval wrong that is looked at daily.
    """

    visitors: int
    total: float
    """The sum of the values"""
    squares: float
    """The sum of the squared values"""

    def __post_init__(self) -> None:
        """Refuse sums that no visitors can have."""
        if self.visitors < 0 or not (isfinite(self.total) and isfinite(self.squares)):
            raise DataError(
                f"an arm of {self.visitors} visitors with the sums {self.total} and {self.squares} cannot be; "
                "pass a count of at least 0 and finite sums."
            )
        least = self.total**2 / self.visitors if self.visitors else 0.0
        if self.squares < least * (1 - 1e-9) or (not self.visitors and (self.total or self.squares)):
            raise DataError(
                f"{self.visitors} values that sum to {self.total} cannot have squares that sum to {self.squares}; "
                f"at least {least} is possible."
            )

    def __add__(self, other: Arm) -> Arm:
        """Return the visitors of both, who must be different ones."""
        return Arm(self.visitors + other.visitors, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Return the mean value of a visitor; NaN without visitors."""
        return self.total / self.visitors if self.visitors else float("nan")

    @property
    def variance(self) -> float:
        """Return the variance of the values, divided by visitors − 1; NaN for fewer than two visitors."""
        if self.visitors < 2:
            return float("nan")
        return max(0.0, self.squares - self.total**2 / self.visitors) / (self.visitors - 1)


def arm_of(values: Doubles) -> Arm:
    """Return the sums of one value for each visitor, ``float64[M]``.

    >>> arm = arm_of(np.array([0.0, 1.0, 0.0, 1.0]))
    >>> arm.visitors, arm.mean, round(arm.variance, 4)
    (4, 0.5, 0.3333)
    """
    values = np.asarray(values, np.float64)
    return Arm(len(values), float(values.sum()), float(np.square(values).sum()))
