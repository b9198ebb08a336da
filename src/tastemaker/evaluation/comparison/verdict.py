"""The verdict: the chosen model tested against every other one on the same users, and what that means in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tastemaker.evaluation.paired import Paired, compare_paired, holm
from tastemaker.types import Doubles

__all__ = ["SIGNIFICANT", "Gate", "Test", "against_others", "gate", "headline", "p_text", "sentences"]

SIGNIFICANT = 0.05
"""A difference with a p-value below this, corrected for the number of tests, is called significant."""


@dataclass(frozen=True, slots=True)
class Test:
    """The chosen model against another one, by one metric of the same users."""

    metric: str
    other: str
    paired: Paired
    """``first`` is the mean of the chosen model, ``second`` that of the other"""
    corrected: float
    """The p-value, corrected by Holm's method for all tests of the comparison"""

    @property
    def outcome(self) -> str:
        """Return ``better``, ``worse`` or ``open``: what the chosen model is."""
        if not self.corrected < SIGNIFICANT:
            return "open"
        return "better" if self.paired.difference > 0 else "worse"

    def as_dict(self) -> dict[str, Any]:
        """Return the test as JSON values; what does not exist, such as a share of nothing, is None."""
        values = {name: _plain(value) for name, value in asdict(self.paired).items()}
        return {
            "metric": self.metric,
            "other": self.other,
            "outcome": self.outcome,
            "corrected_p_value": self.corrected,
            **values,
        }


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def against_others(
    values: Mapping[str, Mapping[str, Doubles]], chosen: str, metrics: Sequence[str], *, seed: int
) -> tuple[Test, ...]:
    """Test the chosen model against every other one by each metric, p-values corrected for all of these tests.

    ``values`` holds each measured model's value of each metric for each user, ``float64[users]``.
    """
    if chosen not in values:
        return ()
    pairs = [(metric, other) for metric in metrics for other in values if other != chosen]
    found = [
        compare_paired(values[chosen][metric], values[other][metric], rng=np.random.default_rng(seed))
        for metric, other in pairs
    ]
    corrected = holm([paired.p_value for paired in found])
    return tuple(
        Test(metric, other, paired, float(p))
        for (metric, other), paired, p in zip(pairs, found, corrected, strict=True)
    )


def headline(tests: Sequence[Test], chosen: str, metric: str) -> str:
    """Say in a few words how the chosen model stands by one metric.

    >>> headline([], "mine", "ndcg@10")
    'mine stands alone in ndcg@10'
    """
    outcomes = [test.outcome for test in tests if test.metric == metric]
    better, worse, unclear = (outcomes.count(outcome) for outcome in ("better", "worse", "open"))
    if not outcomes:
        return f"{chosen} stands alone in {metric}"
    if better == len(outcomes):
        return (
            f"{chosen} beats {'the other model' if better == 1 else f'all {better} other models'} in {metric}"
        )
    if len(outcomes) == 1:
        return f"{chosen} {'loses to' if worse else 'cannot be told from'} the other model in {metric}"
    parts = [f"beats {better}"] if better else []
    parts += [f"loses to {worse}"] if worse else []
    parts += [f"cannot be told from {unclear}"] if unclear else []
    return f"Of {len(outcomes)} other models in {metric}, {chosen} {_listed(parts)}"


def sentences(tests: Sequence[Test], chosen: str, metrics: Sequence[str]) -> Iterator[str]:
    """Say for each metric what the chosen model is better than, worse than, and not distinguishable from."""
    for metric in metrics:
        mine = [test for test in tests if test.metric == metric]
        if not mine:
            yield f"In {metric} there is nothing to compare {chosen} with."
            continue
        parts = []
        for outcome, words in (("better", "better than"), ("worse", "worse than")):
            some = [test for test in mine if test.outcome == outcome]
            if some:
                parts.append(f"{words} {_listed([f'{test.other} {_by(test.paired)}' for test in some])}")
        still_open = [f"{test.other} ({p_text(test.corrected)})" for test in mine if test.outcome == "open"]
        if still_open:
            parts.append(f"not distinguishable from {_listed(still_open)}")
        yield f"In {metric}, {chosen} is {'; '.join(parts)}."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _by(paired: Paired) -> str:
    """Write how far apart two models are: in per cent of the other, or in the metric's own unit where that is 0."""
    sign = 1 if paired.difference >= 0 else -1
    if paired.relative is None or paired.relative_low is None or paired.relative_high is None:
        low, high = (f"{end:.4f}" for end in sorted((sign * paired.low, sign * paired.high)))
        return f"by {abs(paired.difference):.4f} ({low}–{high})"
    ends = sorted((sign * paired.relative_low, sign * paired.relative_high))
    by = sign * paired.relative
    digits = 0 if by >= 0.095 else 1
    low, high = (f"{100 * end:.{digits}f}" for end in ends)
    return f"by {100 * by:.{digits}f} % ({low}–{high} %)"


def p_text(p: float) -> str:
    """Write a p-value as people do.

    >>> p_text(0.314), p_text(0.0004), p_text(1.0)
    ('p = .31', 'p < .001', 'p = 1')
    """
    if p < 0.001:
        return "p < .001"
    if p >= 0.995:
        return "p = 1"
    return f"p = {p:.2f}".replace("0.", ".", 1) if p >= 0.01 else f"p = {p:.3f}".replace("0.", ".", 1)


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a new model may follow an older one."""

    passed: bool
    sentence: str
    """Why, for people"""


def gate(test: Test) -> Gate:
    """Let the chosen model pass unless it is significantly worse than the other one in this test.

    This is one planned test, so its own p-value counts, not the corrected one: correction would let worse models pass, and more
    readily with more baselines.
    """
    paired = test.paired
    worse = paired.difference < 0 and paired.p_value < SIGNIFICANT
    if worse:
        why = f"is worse than {test.other} {_by(paired)}"
    elif paired.difference > 0 and paired.p_value < SIGNIFICANT:
        why = f"is better than {test.other} {_by(paired)}"
    else:
        why = f"is not significantly worse than {test.other}"
    numbers = (
        f"{paired.first:.4f} against {paired.second:.4f}, {p_text(paired.p_value)}, {paired.users:,} users"
    )
    return Gate(not worse, f"the new model {why} in {test.metric} ({numbers}).")
