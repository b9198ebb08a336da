"""The charts of the page, as values between 0 and 100 per cent; the templates draw them.

Everything is placed in per cent of a drawing that is as wide as the screen, so that text keeps its size on a phone and on paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tastemaker.evaluation.page.scales import Scale, Tick, linear

__all__ = [
    "Chart",
    "Dot",
    "Line",
    "Placed",
    "Stack",
    "Stacks",
    "Strip",
    "StripRow",
    "line_chart",
    "strip",
]


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval."""

    name: str
    colour: str
    """A class of the page's style"""
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class StripRow:
    """A line of a strip chart: one dot, or several on one axis."""

    name: str
    text: str
    more: str
    dots: tuple[Dot, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a dot stands, in per cent."""

    dot: Dot
    at: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Strip:
    """Dots with whiskers on one axis, line by line."""

    title: str
    note: str
    rows: tuple[StripRow, ...]
    scale: Scale
    zero: float | None
    """Where 0 stands when it is to be marked"""
    legend: bool = False

    def placed(self, row: StripRow) -> tuple[Placed, ...]:
        """Return where the dots of a line stand."""
        scale = self.scale
        return tuple(Placed(dot, scale(dot.value), scale(dot.low), scale(dot.high)) for dot in row.dots)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all dots, each once."""
        return tuple(dict.fromkeys(dot.name for row in self.rows for dot in reversed(row.dots)))

    def value(self, row: StripRow, name: str) -> str:
        """Return the value of one dot of a line as text, empty where there is none."""
        return next((f"{dot.value:.4f}" for dot in row.dots if dot.name == name), "")


def strip(
    title: str, note: str, rows: Sequence[StripRow], *, zero: bool = False, legend: bool = False
) -> Strip:
    """Lay out a strip chart; its axis begins at 0 and holds all whiskers."""
    ends = [end for row in rows for dot in row.dots for end in (dot.low, dot.high)]
    scale = linear(ends)
    return Strip(title, note, tuple(rows), scale, scale(0.0) if zero else None, legend)


@dataclass(frozen=True, slots=True)
class Line:
    """A course: pairs of x and y."""

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]

    def at(self, x: float) -> float | None:
        """Return y where there is one for this x."""
        return dict(self.points).get(x)


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over two axes."""

    title: str
    note: str
    lines: tuple[Line, ...]
    x: Scale
    y: Scale
    x_name: str
    columns: tuple[float, ...]
    """The x whose values stand in the table"""
    parts: tuple[tuple[str, int], ...] = ()
    """Where the x are parts that have names: the name of each, and how many it holds"""

    def path(self, line: Line) -> str:
        """Return the points of a line for SVG, in a drawing of 100 by 100."""
        return " ".join(f"{self.x(x):.2f},{100 - self.y(y):.2f}" for x, y in line.points)

    @property
    def x_ticks(self) -> tuple[Tick, ...]:
        """Return the marks of the x axis, fewer where they would touch."""
        return thinned(self.x.ticks)


def line_chart(
    title: str,
    note: str,
    lines: Sequence[Line],
    x: Scale,
    *,
    x_name: str,
    columns: Sequence[float] = (),
    from_zero: bool = True,
    parts: Sequence[tuple[str, int]] = (),
) -> Chart:
    """Lay out lines; the table has the given columns, or at most ten of the x there are, or a line for each of the parts."""
    every = [x for x, _ in lines[0].points]
    step = -(-len(every) // 10)
    kept = columns or list(dict.fromkeys([*every[::step], every[-1]]))
    y = linear([y for line in lines for _, y in line.points], from_zero=from_zero)
    return Chart(title, note, tuple(lines), x, y, x_name, tuple(kept), tuple(parts))


def thinned(ticks: Sequence[Tick], apart: float = 6.0) -> tuple[Tick, ...]:
    """Leave marks out that stand nearer to their neighbour than this, in per cent."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at >= apart:
            kept.append(tick)
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole, in parts."""

    name: str
    colour: str
    shares: tuple[float, ...]

    @property
    def starts(self) -> tuple[float, ...]:
        """Return where each part begins, as a share."""
        return tuple(sum(self.shares[:place]) for place in range(len(self.shares)))


@dataclass(frozen=True, slots=True)
class Stacks:
    """Wholes under each other, in the same parts."""

    title: str
    note: str
    rows: tuple[Stack, ...]
    parts: tuple[str, ...]
    legend: tuple[str, ...]
