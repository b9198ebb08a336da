"""`Rates`: how often each product is bought recently, updated by every purchase."""

from __future__ import annotations

import numpy as np

from tastemaker.errors import SettingProblem
from tastemaker.kernels.counting.rates import rates_at
from tastemaker.kernels.threads import ThreadPool
from tastemaker.types import Doubles, Floats, Offsets, Rows, Times

__all__ = ["Rates"]

DAY = 86_400_000_000
"""Microseconds"""


class Rates:
    """The decayed count of each product's purchases, and the log rate that it amounts to.

    rate_p(t) = log((n_p(t) + kappa · prior_p) / (tau(t) + kappa))

    n_p(t) = Σ over the product's purchases before t of ½^((t - time) / half_life)

    tau(t) = Σ over the days since the first purchase of ½^(age / half_life): the days that the count speaks of, so that a rate is
    purchases a day, drawn towards ``prior`` by ``kappa`` days of it.

    With ``young`` above 0 the count of a product that began to sell lately is divided by the share of those days in which it sold:

    n_p(t) / ((tau(t - first purchase of p) + young) / (tau(t) + young))

    A purchase costs a handful of operations (`observe`); nothing decays until a moment is asked for (`at`).
    """

    __slots__ = (
        "base",
        "born",
        "counts",
        "first",
        "half_life",
        "kappa",
        "origin",
        "start",
        "weight",
        "young",
    )

    def __init__(
        self,
        products: int,
        *,
        half_life: float,
        origin: int,
        kappa: float = 0.0,
        prior: Doubles | float = 1.0,
        scaled: tuple[float, Floats] | None = None,
        young: float = 0.0,
    ) -> None:
        """Start without a purchase; ``half_life`` and ``kappa`` in days, ``origin`` any moment near the first question.

        ``scaled`` is a weight and a base (``float32[P]``): the answer is base + weight · rate. With a ``kappa`` of 0
        the rate of what was never bought is that of a trillionth of a purchase. Raises `SettingProblem`.
        """
        if not 0 < half_life < np.inf or kappa < 0:
            raise SettingProblem(
                f"a rate has a half-life of {half_life} days and a kappa of {kappa}; "
                "the half-life must be above 0, kappa 0 or more."
            )
        self.half_life = max(round(half_life * DAY), 1)
        self.kappa, self.origin = kappa, origin
        self.weight, self.base = (1.0, np.zeros(products, np.float32)) if scaled is None else scaled
        self.first: int | None = None  # the moment of the first purchase
        self.counts = np.zeros(products)
        self.start = np.full(products, 1e-12) + kappa * np.asarray(prior, np.float64)
        self.young = young
        self.born = np.full(products, np.inf)

    def observe(self, product: int, time: int) -> None:
        """Count one purchase of the product at this row; purchases come in about the order of time."""
        self.through(
            np.array([product], np.int32),
            np.array([time]),
            np.array([0, 1]),
            np.zeros(0, np.int64),
            threads=1,
        )

    def at(self, time: int) -> Floats:
        """Return ``base + weight · rate`` of every product at a moment, ``float32[P]``."""
        nothing = np.zeros(0, np.int32)
        rows = self.through(
            nothing, nothing.astype(np.int64), np.zeros(3, np.int64), np.array([time], np.int64), threads=1
        )
        return np.asarray(rows[0])

    def through(
        self, products: Rows, times: Times, known: Offsets, moments: Times, *, threads: int | None = None
    ) -> Floats:
        """Return `at` for each of the ascending moments, ``float32[M, P]``, and count purchases on the way.

        Before moment m those up to ``known[m + 1]`` of ``products`` and ``times`` are counted, from ``known[0]`` on; after the last
        those up to ``known[M + 1]``.
        """
        if self.first is None and len(times):
            self.first = int(times[0])
        rates = np.empty((len(moments), len(self.counts)), np.float32)
        spans = self._spans(moments)
        shifts = np.log(spans + self.kappa) if self.kappa else np.zeros(len(moments))
        origins = np.zeros(len(self.counts) + 1, np.int64)

        def some(low: int, high: int) -> None:
            origins[low] = rates_at(
                low, high, self.counts, self.origin, self.half_life, products, times, known, moments,
                self.start, self.weight, shifts, self.base, self.young, self.born, spans, rates,
            )  # fmt: skip

        with ThreadPool(threads) as pool:
            pool.run(some, len(self.counts))
        self.origin = int(origins[0])
        return rates

    def _spans(self, moments: Times) -> Doubles:
        """Return tau at each moment: the days that a count speaks of; 0 where there is no purchase yet."""
        since = np.maximum(moments - (moments if self.first is None else self.first), 0) / self.half_life
        spans: Doubles = self.half_life / DAY / np.log(2) * -np.expm1(-since * np.log(2))
        return spans
