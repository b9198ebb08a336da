"""The click rate after a switch, from the outcomes that a server keeps in its file of events, or hosts in their database."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tastemaker.errors import EventsProblem
from tastemaker.serving.shared.shared_outcomes import SharedOutcomes

__all__ = ["WEEK", "Clicks", "clicks_between", "clicks_in_state", "too_few_clicks"]

WEEK = 7 * 86_400 * 1_000_000
"""Microseconds before the switch with which the time after it is compared"""

SURE = 2.326
"""Standard deviations of a one-sided level of one in a hundred: a service goes back for what is no accident of few lists"""

COUNT = """
SELECT coalesce(sum(kind = 'shown'), 0), coalesce(sum(kind = 'clicked'), 0) FROM outcomes WHERE time >= ? AND time < ?
"""


@dataclass(frozen=True, slots=True)
class Clicks:
    """What was shown and what of it was clicked."""

    shown: int
    clicked: int

    @property
    def rate(self) -> float:
        """Return clicks for each thing shown; 0 where nothing was.

        >>> Clicks(200, 10).rate, Clicks(0, 0).rate
        (0.05, 0.0)
        """
        return self.clicked / self.shown if self.shown else 0.0

    @property
    def highest(self) -> float:
        """Return the upper limit of the rate by Wilson's interval, one-sided at 99 %.

        (p + z²/2n + z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n). Source: Wilson 1927, Probable inference.

        >>> round(Clicks(1000, 20).highest, 4)
        0.0332
        """
        if not self.shown:
            return 1.0
        p, n, z = min(self.rate, 1.0), self.shown, SURE
        return (p + z * z / (2 * n) + z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)


def clicks_between(file: Path, begin: int, end: int) -> Clicks | None:
    """Return what was shown and clicked from ``begin`` until ``end``, in microseconds since 1970; ``None`` without outcomes."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=10)) as connection:
            return Clicks(*connection.execute(COUNT, (begin, end)).fetchone())
    except sqlite3.Error:  # no file, none of SQLite, or none with outcomes
        return None


def clicks_in_state(uri: str, begin: int, end: int) -> Clicks | None:
    """Return the same of the hosts that share a database; ``None`` where it is away, or holds no outcomes."""
    outcomes = SharedOutcomes(uri)
    try:
        return Clicks(*outcomes.shown_and_clicked(begin, end))
    except EventsProblem:
        return None
    finally:
        outcomes.close()


def too_few_clicks(before: Clicks, after: Clicks, least: float, fewest: int) -> str | None:
    """Return in a sentence that the click rate fell below a part of what it was; nothing where that may be an accident.

    >>> too_few_clicks(Clicks(9000, 450), Clicks(2000, 20), least=0.5, fewest=100)
    'the click rate is 1.0% (20 of 2,000), and was 5.0%: less than 50% of it (least_clicks)'
    >>> too_few_clicks(Clicks(9000, 450), Clicks(100, 2), least=0.5, fewest=100)  # of which five were expected
    """
    if min(before.shown, after.shown) < fewest or after.highest >= least * before.rate:
        return None
    return (
        f"the click rate is {after.rate:.1%} ({after.clicked:,} of {after.shown:,}), and was {before.rate:.1%}: "
        f"less than {least:.0%} of it (least_clicks)"
    )
