"""What the page says of models: quality, differences, segments, curves, settings, laid out for its templates."""

from __future__ import annotations

import json

from tastemaker.evaluation.comparison.contestants import FLOOR
from tastemaker.evaluation.comparison.entries import Comparison, Entry
from tastemaker.evaluation.comparison.list_samples import Segmentation
from tastemaker.evaluation.comparison.verdict import p_text
from tastemaker.evaluation.page.charts import Chart, Dot, Line, Strip, StripRow, line_chart, strip
from tastemaker.evaluation.page.scales import linear, logarithmic
from tastemaker.evaluation.segments import HABITS, POPULARITY

__all__ = [
    "colours",
    "legend",
    "quality",
    "ranked",
    "recall_by_k",
    "segments",
    "settings",
    "tests",
    "training",
]

HUES = 7
"""Hues of the page beside that of the chosen model and the grey of best sellers."""


def colours(found: Comparison) -> dict[str, str]:
    """Return the class of colour of each model: the chosen one's, best sellers' grey, and hues for the others."""
    given, hue = {}, 0
    for entry in found.entries:
        if entry.name == found.chosen:
            given[entry.name] = "chosen"
        elif entry.name == FLOOR:
            given[entry.name] = "floor"
        else:
            given[entry.name] = f"hue{hue % HUES}"
            hue += 1
    return given


def ranked(found: Comparison, metric: str | None = None) -> list[Entry]:
    """Return the measured models, the best by a metric (default: the first one) first."""
    by = metric or found.metrics[0]

    def worth(entry: Entry) -> float:
        assert entry.report is not None
        return entry.report.metrics[by].mean

    return sorted(found.measured, key=worth, reverse=True)


def legend(found: Comparison) -> list[tuple[str, str]]:
    """Return class of colour and name of the measured models, the best first."""
    return [(colours(found)[entry.name], entry.name) for entry in ranked(found)]


def quality(found: Comparison) -> list[Strip]:
    """Draw each tested metric of each model, with its interval."""
    hues = colours(found)
    drawn = []
    for metric in found.metrics:
        rows = []
        for entry in ranked(found, metric):
            assert entry.report is not None
            value = entry.report.metrics[metric]
            dot = Dot(entry.name, hues[entry.name], value.mean, value.low, value.high)
            ends = f"{value.low:.4f}–{value.high:.4f}"
            rows.append(StripRow(entry.name, f"{value.mean:.4f}", ends, (dot,)))
        note = f"The mean over {found.users:,} users and its 95 % interval."
        drawn.append(strip(f"{metric} of each model", note, rows))
    return drawn


def tests(found: Comparison) -> list[Strip]:
    """Draw how far the chosen model is ahead of each other one, or behind."""
    drawn = []
    words = {"better": "better", "worse": "worse", "open": "not distinguishable"}
    for metric in found.metrics:
        rows = []
        mine = [test for test in found.tests if test.metric == metric]
        for test in sorted(mine, key=lambda test: -test.paired.difference):
            paired = test.paired
            dot = Dot(test.other, test.outcome, paired.difference, paired.low, paired.high)
            needed = "" if paired.users_needed is None else f"; {paired.users_needed:,} users would show it"
            rows.append(
                StripRow(
                    f"against {test.other}",
                    f"{paired.difference:+.4f}",
                    f"{words[test.outcome]}, {p_text(test.corrected)}",
                    (dot,),
                    f"95 % interval {paired.low:+.4f} to {paired.high:+.4f}{needed}",
                )
            )
        if rows:
            note = (
                f"The mean difference in {metric}, {found.chosen} less the other, over the same {found.users:,} users, "
                "with its 95 % interval."
            )
            drawn.append(strip(f"{found.chosen} against the others in {metric}", note, rows, zero=True))
    return drawn


def segments(found: Comparison) -> list[Strip]:
    """Draw the first metric by what users bought before, recall by how popular the products are, then columns of catalogues."""
    return [_segments(found, place, *_told(way)) for place, way in enumerate(found.segmentations)]


def _told(way: Segmentation) -> tuple[str, str, str]:
    """Return the metric, title and note of a way to part users or products."""
    if way.by == HABITS:
        note = "A model that wins by serving only heavy buyers shows it here."
        return way.metric, f"{way.metric} by what users bought before", note
    if way.by == POPULARITY:
        note = "Head, middle and tail each make up a third of all purchases learned from: few products, more, and most."
        return way.metric, f"{way.metric} by popularity of the product bought", note
    if way.noun == "user":
        return way.metric, f"{way.metric} by {way.by} of the user", "The mean over the users of each part."
    note = "As if only the products of that part had been held out."
    return way.metric, f"{way.metric} by {way.by} of the product bought", note


def _segments(found: Comparison, way: int, metric: str, title: str, note: str) -> Strip:
    measured = {
        entry.name: entry.samples.segmentations[way].parts
        for entry in found.measured
        if entry.samples is not None
    }
    hues = colours(found)
    rows = []
    for place, label in enumerate(segment.label for segment in next(iter(measured.values()), ())):
        users, dots = 0, []
        for entry in reversed(ranked(found)):  # the best is drawn last, on top
            segment = measured[entry.name][place]
            value = segment.metrics.get(metric)
            if value is not None:
                users = max(users, segment.users)
                ends = (value.low, value.high) if entry.name == found.chosen else (value.mean, value.mean)
                dots.append(Dot(entry.name, hues[entry.name], value.mean, *ends))
        if dots:
            rows.append(StripRow(label, f"{users:,} users", _best(dots), tuple(dots)))
    return strip(title, note, rows, legend=True)


def _best(dots: list[Dot]) -> str:
    best = max(dots, key=lambda dot: dot.value)
    if len(dots) > 1 and all(dot.value == best.value for dot in dots):
        return f"all alike: {best.value:.4f}"
    return f"best: {best.name} {best.value:.4f}"


def recall_by_k(found: Comparison) -> Chart | None:
    """Draw recall over the length of the list, ``None`` where all lists hold one product."""
    hues = colours(found)
    lines, longest = [], 1
    for entry in found.measured:
        assert entry.samples is not None
        values = entry.samples.recall
        longest = max(longest, len(values))
        lengths = [k for k in range(1, len(values) + 1) if k <= 20 or k % 5 == 0 or k == len(values)]
        lines.append(Line(entry.name, hues[entry.name], tuple((k, float(values[k - 1])) for k in lengths)))
    if longest < 2:
        return None
    lines.sort(key=lambda line: -line.points[-1][1])
    marks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= longest]
    note = "The share of what users bought later that stands in the first k places; k grows by factors to the right."
    axis = logarithmic(1, longest)
    return line_chart("Recall by length of the list", note, lines, axis, x_name="k", columns=marks)


def training(found: Comparison) -> list[Chart]:
    """Draw loss and accuracy of each epoch of each model that was learned in epochs."""
    drawn = []
    for entry in found.measured:
        epochs = () if entry.record is None else entry.record.epochs
        if len(epochs) < 2:
            continue
        for what, note in (
            ("loss", "Softmax cross-entropy over the product bought and those drawn, in nats: no quality."),
            ("accuracy", "How often the product bought scores above those drawn: no quality."),
        ):
            course = tuple((epoch.epoch, float(getattr(epoch, what))) for epoch in epochs)
            lines = [Line("learned from", colours(found)[entry.name], course)]
            measured = [(epoch.epoch, getattr(epoch, f"valid_{what}")) for epoch in epochs]
            if all(value is not None for _, value in measured):
                held_out = tuple((epoch, float(value)) for epoch, value in measured)
                lines.append(Line("held out", "floor", held_out))
            axis = linear([epochs[0].epoch, epochs[-1].epoch], from_zero=False)
            title = f"{entry.name}: {what}"
            drawn.append(line_chart(title, note, lines, axis, x_name="epoch", from_zero=what == "accuracy"))
    return drawn


def settings(found: Comparison) -> list[tuple[str, str, str]]:
    """Return each model's name, fingerprint of what it learned from, and settings as JSON."""
    told = []
    for entry in found.measured:
        if entry.record is not None:
            facts = {"seed": entry.record.seed, **entry.record.metrics}
            if entry.record.config is not None:
                facts["settings"] = entry.record.config.to_json()
            told.append((entry.name, entry.record.data_fingerprint, json.dumps(facts, indent=1, default=str)))
    return told
