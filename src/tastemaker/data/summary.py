"""`ReadSummary`: what reading a log understood, counted, dropped and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any, Literal

from tastemaker.display import counted, quoted_few

__all__ = ["PER_STEP", "FirstRow", "IdKind", "ReadSummary", "TimeSummary", "TimeUnit"]

IdKind = Literal["integer", "text"]

TimeUnit = Literal["calendar", "days", "steps"]
"""What times count from: *calendar* from 1970 in microseconds; *days* days without a date, a day being 86.4e9; *steps* an order
alone, a step being 1e6."""

PER_STEP: dict[TimeUnit, int] = {"calendar": 1, "days": 86_400_000_000, "steps": 1_000_000}

REASONS = {
    "without_user": "without a user id",
    "without_product": "without a product id",
    "without_time": "without a time",
    "unreadable_quantity": "without a quantity that can be read",
    "non_positive_quantity": "with a quantity that is not positive",
    "quantity_out_of_range": "with a quantity below 1e-9 or above 1e9",
}

REFUNDS = {
    "taken_back": "taken back by a refund",
    "refunds": "refunds",
}


@dataclass(frozen=True, slots=True)
class TimeSummary:
    """How the time column was understood, and the first and the last time of the rows kept."""

    first: int
    """Microseconds, or as `TimeUnit` says."""
    last: int
    written_as: str
    """The spelling in words, with the evidence where there was a choice."""
    unit: str
    """*calendar* for written dates, the unit of numbers, *days* or *steps*."""
    counts_from: TimeUnit = "calendar"

    def spell(self, moment: int) -> str:
        """Write a time as people do: ISO 8601, or the number of the day or step."""
        if self.counts_from != "calendar":
            return f"{moment / PER_STEP[self.counts_from]:g}"
        try:
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).isoformat()
        except OverflowError:
            return f"{moment:,} µs after 1970"

    def as_dict(self) -> dict[str, str]:
        """Return what ``--json`` prints."""
        return {
            "first": self.spell(self.first),
            "last": self.spell(self.last),
            "written_as": self.written_as,
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True)
class FirstRow:
    """A row as it stands in the log, and what was understood of it."""

    raw: Mapping[str, str]
    understood: Mapping[str, str]
    """The value of each role; the one key *dropped* with the reason where the row is not kept"""


@dataclass(frozen=True, slots=True)
class ReadSummary:
    """Counts of one reading: ``rows = kept + dropped``, and a dropped row counts once, by the first rule it breaks.

    Dropped are, in this order: rows that opening the files left out (``left_out``: conditions not met, repeated headers, events of
    kinds that are not read); rows without a user id or product id (null, empty, or a word such as ``NULL``); where times are read,
    those without a time that can be read; where quantities are, those whose quantity is null or cannot be read, is not positive (a
    return), or lies beyond what live purchases may have. Kept and counted are repeated (user, product) pairs, which are purchases
    made again.
    """

    rows: int = 0
    without_user: int = 0
    without_product: int = 0
    without_time: int = 0
    unreadable_quantity: int = 0
    non_positive_quantity: int = 0
    quantity_out_of_range: int = 0
    repeats: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Rows that were left out before ids were looked at, by reason."""
    files: tuple[str, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    """The column of each role: user, product, time, quantity, event, context."""
    unused_columns: tuple[str, ...] = ()
    not_learned: tuple[str, ...] = ()
    """What catalogues say and nothing is learned from: a sentence for each, with the remedy."""
    users: int = 0
    products: int = 0
    pairs: int = 0
    user_ids: IdKind = "text"
    product_ids: IdKind = "text"
    time: TimeSummary | None = None
    events: Mapping[str, int] | None = None
    """How many rows each kind has, *purchase* among them, where kinds are read."""
    first_rows: tuple[FirstRow, ...] = ()
    """The first rows of the log, as they stand there and as they were understood."""
    over_time: tuple[tuple[str, int], ...] = ()
    """Purchases of each month, or of each stretch where times have no calendar."""
    buyers: tuple[tuple[str, int], ...] = ()
    """How many users made how many purchases."""
    warnings: tuple[str, ...] = ()
    """What a reader should know: a sentence each, with numbers and the remedy."""

    @property
    def dropped(self) -> int:
        """Return how many rows were dropped, by all rules together."""
        return sum(self.reasons().values())

    @property
    def kept(self) -> int:
        """Return how many rows became purchases, or events of other kinds."""
        return self.rows - self.dropped

    def reasons(self) -> dict[str, int]:
        """Return how many rows were dropped by each rule, in order; rules that no row broke are absent."""
        counts = {**self.left_out, **{name: getattr(self, name) for name in REASONS}}
        return {name: count for name, count in counts.items() if count}

    def sentence(self) -> str:
        """Say it in one line for people: ``165,042 rows read, 165,042 kept.``."""
        dropped = ", ".join(
            f"{count:,} {(REASONS | REFUNDS).get(why, why)}" for why, count in self.reasons().items()
        )
        text = f"{counted(self.rows, 'row')} read, {self.kept:,} kept"
        if dropped:
            text += f"; dropped {dropped}"
        if self.repeats:
            text += f"; {self.repeats:,} {'repeats' if self.repeats == 1 else 'repeat'} an earlier (user, product) pair, kept"
        return text + "."

    def lines(self) -> list[str]:
        """Say what was read in a few lines: rows, columns, ids, times, and what is not used."""
        roles = {role: name for role, name in self.columns.items() if name and role != "context"}
        told = ", ".join(f"{role} {name!r}" for role, name in roles.items())
        lines = [self.sentence()]
        if told:
            lines.append(
                f"Columns: {told}; {counted(self.users, 'user')} ({self.user_ids} ids), {counted(self.products, 'product')} "
                f"({self.product_ids} ids), {counted(self.pairs, 'pair')}."
            )
        if self.time is not None:
            first, last = (
                self.time.spell(end).removesuffix("T00:00:00+00:00")
                for end in (self.time.first, self.time.last)
            )
            lines.append(f"Times: {first} to {last}, written as {self.time.written_as}.")
        if self.events is not None:
            kinds = ", ".join(f"{kind} {rows:,}" for kind, rows in self.events.items())
            lines.append(
                f"Kinds of events: {kinds}; purchases are what is recommended, the others say what comes next."
            )
        if self.unused_columns:
            lines.append(f"Not used: {quoted_few(self.unused_columns)}.")
        return [*lines, *self.not_learned]

    def _repr_html_(self) -> str:
        """Show the summary in a notebook: the lines, the warnings, first rows, purchases in time and users by purchases."""
        parts = [f"<p>{escape(line)}</p>" for line in self.lines()]
        parts += [f"<p><b>Beware:</b> {escape(warning)}</p>" for warning in self.warnings]
        if self.first_rows:
            names = list(self.first_rows[0].raw)
            head = "".join(f"<th>{escape(name)}</th>" for name in [*names, "understood"])
            rows = "".join(
                "<tr>" + "".join(f"<td>{escape(row.raw.get(name, ''))}</td>" for name in names)
                + f"<td>{escape(', '.join(f'{role} {value}' for role, value in row.understood.items()))}</td></tr>"
                for row in self.first_rows
            )  # fmt: skip
            parts.append(f"<table><tr>{head}</tr>{rows}</table>")
        for title, bars in (("Purchases in time", self.over_time), ("Users by purchases", self.buyers)):
            most = max((count for _, count in bars), default=0)
            rows = "".join(
                f"<tr><td>{escape(label)}</td><td>{count:,}</td><td><div style='background:#4477aa;height:0.8em;"
                f"width:{200 * count / most:.0f}px'></div></td></tr>"
                for label, count in bars
            )
            if rows:
                parts.append(f"<table><caption>{title}</caption>{rows}</table>")
        return "".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``inspect --json`` prints, and the manifest holds under ``read``."""
        empty: dict[str, Any] = {
            "user": None,
            "product": None,
            "time": None,
            "quantity": None,
            "event": None,
            "context": [],
        }
        return {
            "files": list(self.files),
            "rows_read": self.rows,
            "rows_kept": self.kept,
            "dropped": self.reasons(),
            "columns": {**empty, **self.columns},
            "unused_columns": list(self.unused_columns),
            "users": self.users,
            "products": self.products,
            "pairs": self.pairs,
            "user_ids": self.user_ids,
            "product_ids": self.product_ids,
            "time": None if self.time is None else self.time.as_dict(),
            "events": None if self.events is None else dict(self.events),
            "warnings": list(self.warnings),
        }
