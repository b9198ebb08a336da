"""`Sales`: the purchases of a timeline, and the rates that they make at the moments of a replay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.ranking.live.answers import Asked
from tastemaker.ranking.live.rates import Rates
from tastemaker.ranking.live.timeline import Timeline
from tastemaker.types import Floats, Offsets, Rows, Times

__all__ = ["RatesThrough", "Sales"]


@dataclass(frozen=True, slots=True, eq=False)
class Sales:
    """The purchases of products that a model knows, in the order of time."""

    places: Offsets
    """``int64[S]``, events of the timeline"""
    users: Rows
    """``int32[S]``"""
    products: Rows
    """``int32[S]``"""
    times: Times
    """``int64[S]``"""
    before: Offsets
    """``int64[E + 1]``, how many of them are among the first events of the timeline"""

    @staticmethod
    def of(timeline: Timeline, products: int) -> Sales:
        """Return the purchases of the first ``products`` products."""
        sold = (timeline.kinds == 0) & (timeline.product_rows < products)
        places = np.flatnonzero(sold)
        return Sales(
            places,
            timeline.user_rows[places],
            timeline.product_rows[places],
            timeline.times[places],
            np.concatenate(([0], np.cumsum(sold))).astype(np.int64),
        )


class RatesThrough:
    """Rates that follow a timeline: each block of queries finds them as they are just before each of its moments.

    With ``frozen_at`` they stand as they were at that moment.
    """

    def __init__(
        self, rates: Rates, sales: Sales, *, frozen_at: int | None = None, threads: int | None = None
    ) -> None:
        self.rates, self.sales = rates, sales
        self.frozen_at, self.threads = frozen_at, threads
        self._seen = 0

    def of(self, asked: Asked) -> tuple[Floats, Rows]:
        """Return the distinct rows of rates of a block, ``float32[R, P]``, and which of them each query finds, ``int32[Q]``."""
        times = asked.times
        known = self.sales.before[asked.known]
        if self.frozen_at is not None:
            times = np.minimum(times, self.frozen_at)
            known = np.minimum(known, np.searchsorted(self.sales.times, self.frozen_at, side="right"))
        first = np.ones(len(times), bool)
        first[1:] = times[1:] != times[:-1]
        moments, upto = times[first], known[first]
        steps = np.concatenate(([self._seen], upto, upto[-1:])).astype(np.int64)
        rows = self.rates.through(self.sales.products, self.sales.times, steps, moments, threads=self.threads)
        self._seen = int(upto[-1])
        return rows, (np.cumsum(first) - 1).astype(np.int32)
