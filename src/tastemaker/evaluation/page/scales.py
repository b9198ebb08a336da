"""Where values stand on a chart: scales from numbers to per cent of its width or height, with ticks that people read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Scale", "Tick", "linear", "logarithmic", "plain", "steps"]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    """Per cent of the axis"""
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from ``low`` to ``high``."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return where a value stands, in per cent of the axis, cut off at its ends."""
        return _share(value, self.low, self.high, self.is_log)


def linear(values: Sequence[float], *, from_zero: bool = True, percent: bool = False) -> Scale:
    """Return an axis that holds all values, with about five ticks at round numbers.

    >>> axis = linear([0.02, 0.31])
    >>> [tick.label for tick in axis.ticks], round(axis(0.2), 1)
    (['0', '0.1', '0.2', '0.3'], 57.1)
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high <= low:
        high = low + 1.0
    step = _round_step((high - low) / 5)
    places = list(range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1))
    low, high = min(low, places[0] * step), _past(high, step)
    digits = max(0, -math.floor(math.log10(step * (100 if percent else 1)) + 1e-9))
    ticks = tuple(
        Tick(_share(place * step, low, high, False), _label(place * step, digits, percent))
        for place in places
        if low - 1e-12 <= place * step <= high + 1e-12
    )
    return Scale(low, high, ticks)


def logarithmic(low: float, high: float) -> Scale:
    """Return a logarithmic axis with ticks at 1, 2 and 5 times the powers of ten.

    >>> [tick.label for tick in logarithmic(1, 100).ticks]
    ['1', '2', '5', '10', '20', '50', '100']
    """
    high = max(high, low * 2)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    ticks = tuple(
        Tick(_share(mark, low, high, True), plain(mark))
        for mark in marks
        if low * (1 - 1e-9) <= mark <= high * (1 + 1e-9)
    )
    return Scale(low, high, ticks, True)


def steps(labels: Sequence[str], *, apart: float) -> Scale:
    """Return an axis of named places 1, 2, …; of the names those stand below it that are ``apart`` per cent or more.

    >>> [(tick.label, tick.at) for tick in steps(["0", "1", "2–4", "5+"], apart=50).ticks]
    [('0', 0.0), ('2–4', 66.66666666666667)]
    """
    last = float(max(len(labels), 2))
    ticks: list[Tick] = []
    for place, label in enumerate(labels, 1):
        at = _share(place, 1.0, last, False)
        if not ticks or at - ticks[-1].at >= apart - 1e-9:
            ticks.append(Tick(at, label))
    return Scale(1.0, last, tuple(ticks))


def plain(value: float) -> str:
    """Write a number without needless zeros.

    >>> plain(1200.0), plain(0.25)
    ('1,200', '0.25')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def _share(value: float, low: float, high: float, is_log: bool) -> float:
    if is_log:
        value, low, high = (math.log(max(number, 1e-300)) for number in (value, low, high))
    return min(100.0, max(0.0, 100 * (value - low) / (high - low)))


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _past(high: float, step: float) -> float:
    """End the axis a little after the last value, at the next half step."""
    return math.ceil(high / (step / 2) - 1e-9) * step / 2


def _label(value: float, digits: int, percent: bool) -> str:
    if percent:
        return f"{100 * value:.{digits}f} %"
    return "0" if abs(value) < 1e-12 else f"{value:.{digits}f}"
