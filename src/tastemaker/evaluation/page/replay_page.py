"""`replay_page`: a replay as one file of HTML: how good, for whom and of what, week by week, by what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tastemaker.evaluation.page.charts import Chart, Dot, Line, Strip, StripRow, line_chart, strip
from tastemaker.evaluation.page.report_page import room, trusted, versions
from tastemaker.evaluation.page.scales import steps
from tastemaker.evaluation.replay.compare import ReplayComparison
from tastemaker.evaluation.replay.report import Measured, ReportPart

__all__ = ["Tile", "mosaic", "replay_page"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A segment of the mosaic: its width is its share of the demand, its filled height how well it is served."""

    name: str
    left: float
    """Per cent of the width"""
    width: float
    """Per cent of the width: the share of the questions"""
    height: float
    """Per cent of the height: the chosen model's hit rate"""
    best: float
    """Per cent of the height: the best baseline's"""
    best_name: str
    purchases: int


def replay_page(found: ReplayComparison, *, command: str = "", now: datetime | None = None) -> str:
    """Return the page of a replay; all that comes from data is escaped, and no script runs."""
    report = found.report
    longest = f"hit_rate@{_longest(report.model)}"
    other = report.baselines.get(BESIDE)
    return (
        room()
        .get_template("replay.html.j2")
        .render(
            found=found,
            report=report,
            quality=_quality(found),
            tiles=mosaic(found, longest),
            longest=longest,
            weeks=_weeks(found),
            known=_course(
                found,
                report.model.by_known,
                "events known",
                f"{found.metric} by how many events of the user were known at that moment",
                "From newcomers to regulars.",
                beside=() if other is None else other.by_known,
                apart=10.0,
            ),
            command=command,
            created=f"{now or datetime.now(UTC):%Y-%m-%d}",
            versions=versions(),
            style=trusted(room().get_template("style.css").render()),
        )
    )


def mosaic(found: ReplayComparison, metric: str) -> list[Tile]:
    """Return the segments that hold a question, side by side."""
    tiles, left = [], 0.0
    total = found.report.model.whole.purchases
    for place, part in enumerate(found.report.model.segments):
        if not part.purchases:
            continue
        width = 100 * part.purchases / total
        served = {
            name: measured.segments[place].metrics[metric].mean for name, measured in found.measured.items()
        }
        mine = served.pop(found.chosen)
        best = max(served, key=lambda name: served[name], default="")
        tiles.append(
            Tile(part.label, left, width, 100 * mine, 100 * served.get(best, 0.0), best, part.purchases)
        )
        left += width
    return tiles


def _longest(measured: Measured) -> int:
    return max(int(name.partition("@")[2]) for name in measured.whole.metrics)


def _colour(found: ReplayComparison, name: str) -> str:
    return "chosen" if name == found.chosen else "floor"


def _quality(found: ReplayComparison) -> Strip:
    rows = []
    for name, measured in sorted(
        found.measured.items(), key=lambda pair: -pair[1].whole.metrics[found.metric].mean
    ):
        value = measured.whole.metrics[found.metric]
        dot = Dot(name, _colour(found, name), value.mean, value.low, value.high)
        users = measured.over_users[found.metric].mean
        rows.append(StripRow(name, f"{value.mean:.4f}", f"{users:.4f} over users", (dot,)))
    note = (
        "A mean over questions; whiskers are 95 % intervals from drawing users with all of their questions."
    )
    return strip(found.metric, note, rows)


BESIDE = "recent best sellers"
"""A rule that never ages: where it falls as the model does, the weeks are harder, not the model older."""


def _weeks(found: ReplayComparison) -> Chart | None:
    """Return the course of the chosen model over the weeks of the replay, beside a rule that does not age."""
    title, note = f"{found.metric} week by week", "Does the model age? Each week is named by its first day."
    if found.report.model.weeks and "-" not in found.report.model.weeks[0].label:
        title, note = f"{found.metric} part by part", "Does the model age? The times have no calendar."
    other = found.report.baselines.get(BESIDE)
    return _course(
        found, found.report.model.weeks, "week", title, note, beside=() if other is None else other.weeks
    )


def _course(
    found: ReplayComparison,
    parts: Sequence[ReportPart],
    x_name: str,
    title: str,
    note: str,
    *,
    beside: Sequence[ReportPart] = (),
    apart: float = 25.0,
) -> Chart | None:
    """Return the course of the chosen model over some parts, or ``None`` where there are less than two."""
    there = [part for part in parts if part.purchases]
    if len(there) < 2:
        return None
    ends = {"mean": "chosen", "low": "floor", "high": "floor"}
    others = [
        (float(place), part.metrics[found.metric].mean)
        for place, part in enumerate(beside, 1)
        if part.purchases
    ]
    lines = [
        Line(
            name if name != "mean" else found.chosen,
            colour,
            tuple(
                (float(place), getattr(part.metrics[found.metric], name))
                for place, part in enumerate(there, 1)
            ),
        )
        for name, colour in ends.items()
    ]
    if len(others) == len(there):
        lines.append(Line(BESIDE, "hue0", tuple(others)))
    labels = [part.label.replace(" and more", "+") for part in there]
    return line_chart(
        title,
        note,
        lines,
        steps(labels, apart=apart),
        x_name=x_name,
        columns=[float(place) for place in range(1, len(there) + 1)],
        parts=[(part.label, part.purchases) for part in there],
    )
