"""The rows of a log: every column that plays a role, read once and settled by all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.reading.columns import FLAGS, Chosen, Columns
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.sources import Source
from tastemaker.data.reading.values.codes import IdPlan, plan_ids
from tastemaker.data.reading.values.ids import CodedIds, Written, coded
from tastemaker.data.reading.values.kinds import KindColumn, kinds_of
from tastemaker.data.reading.values.quantities import SettledQuantities, plan_quantities, settle_quantities
from tastemaker.data.reading.values.refunds import REFUND, taken_back, without_refunds
from tastemaker.data.reading.values.times import (
    SettledTimes,
    plan_times,
    replanned,
    settle_times,
)
from tastemaker.data.summary import ReadSummary
from tastemaker.data.vocabulary import Noun
from tastemaker.display import counted, quoted
from tastemaker.errors import ColumnProblem, NoPurchases, TimesUndecided
from tastemaker.types import Booleans

__all__ = ["Rows", "read_rows"]

SAMPLE = 2_000
"""How many rows are looked at before ids are read."""


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a log as they were understood, and which of them are kept."""

    source: Source
    chosen: Chosen
    ids: dict[Noun, CodedIds]
    times: SettledTimes | None
    quantities: SettledQuantities | None
    kinds: KindColumn | None
    beside: pl.DataFrame
    """The further columns: context, and features that the log holds"""
    bought: Booleans
    """``bool[rows]``, purchases that are kept"""
    other: Booleans
    """``bool[rows]``, events of other kinds that are kept"""
    counts: Mapping[str, Any]
    """How many rows each rule of `ReadSummary` dropped"""
    left_out: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.bought)

    def summary(self) -> ReadSummary:
        """Return what is known of the reading before ids become rows of vocabularies."""
        context = [name for name in self.beside.columns if name in self.context]
        read: dict[str, Any] = {"event": self.event, "context": context}
        for role, name in self.chosen.present().items():
            read[role] = name
        used = {*self.chosen.present().values(), *self.beside.columns, self.event}
        return ReadSummary(
            rows=len(self) + sum(self.source.dropped.values()),
            left_out={**self.source.dropped, **self.left_out},
            files=self.source.files or (self.source.label,),
            columns=read,
            unused_columns=tuple(name for name in self.source.names if name not in used),
            warnings=(*self.source.notes, *self.warnings),
            **self.counts,
        )

    context: tuple[str, ...] = ()
    event: str | None = None
    weight: str | None = None
    """The column of ratings or quantities"""


def read_rows(
    source: Source,
    chosen: Chosen,
    *,
    further: Sequence[str],
    columns: Columns,
    reading: Reading,
    needs_times: bool,
) -> Rows:
    """Read the columns that play a role, all rows of them, in one pass where the beginning of the log spoke for all of it.

    Raises `ColumnProblem` and `NoPurchases`.
    """
    label = source.label
    names = list(dict.fromkeys([*chosen.present().values(), *further]))
    frame = source.select(names)
    schema = frame.collect_schema()
    plans = _planned(frame, chosen, schema)
    expressions = {part: read for plan in plans for part, read in plan.parts.items()}
    if chosen.quantity is not None:
        expressions["quantity"] = plan_quantities(chosen.quantity, frame, label=label)
    expressions |= {f"further {name}": pl.col(name) for name in further}
    table, times, warnings = _with_times(
        frame, expressions, chosen, label=label, reading=reading, needed=needs_times
    )
    if times is not None and columns.time is None and _is_mostly_empty(times):
        known = int(times.known.sum())
        warnings.append(
            f"no times are read: column {chosen.time!r} was found by its name, but {known:,} of {len(table):,} rows "
            f"{'has' if known == 1 else 'have'} one; read it, without the rows that have none, with --time-column '{chosen.time}'."
        )
        times = None
    if times is None and chosen.time is not None:
        chosen = Chosen(chosen.user, chosen.product, None, chosen.quantity)
    ids = _coded(source, chosen, plans, table, schema, reading)
    quantities = None
    if chosen.quantity is not None:
        quantities = settle_quantities(chosen.quantity, frame, table["quantity"])
    beside = pl.DataFrame([table[f"further {name}"].alias(name) for name in further])
    kinds = None
    if reading.event_column is not None and len(table):
        kinds = kinds_of(beside[reading.event_column], reading, label)
    found = _kept(ids, times, quantities, kinds, len(table))
    if kinds is not None and REFUND in kinds.names:
        found, kinds, said = _refunded(found, ids, times, kinds)
        warnings = [*warnings, *said]
    rows = Rows(
        source, chosen, ids, times, quantities, kinds,
        beside.drop(reading.event_column) if reading.event_column in beside.columns else beside,
        **found, warnings=tuple(warnings) + _told(ids, times, quantities, kinds, reading),
        context=reading.context, event=reading.event_column, weight=reading.weight_column,
    )  # fmt: skip
    _refuse_unusable(rows, columns, reading, label)
    if not rows.bought.any():
        raise NoPurchases(f"no purchase is left of {label}: {rows.summary().sentence()}")
    return rows


def _planned(frame: pl.LazyFrame, chosen: Chosen, schema: pl.Schema) -> list[IdPlan]:
    """Plan how the ids are read, by the first rows."""
    columns = {
        noun: pl.col(name)
        for noun, name in _id_columns(chosen)
        if schema[name] == pl.String or schema[name].is_nested()
    }
    sample = frame.select(**columns).head(SAMPLE).collect() if columns else pl.DataFrame()
    return [
        plan_ids(name, schema[name], noun, sample[noun] if noun in columns else pl.Series())
        for noun, name in _id_columns(chosen)
    ]


def _coded(
    source: Source,
    chosen: Chosen,
    plans: Sequence[IdPlan],
    table: pl.DataFrame,
    schema: pl.Schema,
    reading: Reading,
) -> dict[Noun, CodedIds]:
    written: Written = (
        "without types" if source.is_text else "mixtures as text" if source.spells_mixtures else "with types"
    )
    names = dict(_id_columns(chosen))
    return {
        plan.noun: coded(
            plan,
            table,
            schema[names[plan.noun]],
            name=names[plan.noun],
            written=written,
            keep_null_words=reading.keep_null_words,
        )
        for plan in plans
    }


def _id_columns(chosen: Chosen) -> tuple[tuple[Noun, str], tuple[Noun, str]]:
    return ("user", chosen.user), ("product", chosen.product)


def _with_times(
    frame: pl.LazyFrame,
    expressions: dict[str, pl.Expr],
    chosen: Chosen,
    *,
    label: str,
    reading: Reading,
    needed: bool,
) -> tuple[pl.DataFrame, SettledTimes | None, list[str]]:
    """Collect the rows with their times, a second time where the beginning did not speak for all."""
    if chosen.time is None:
        return frame.select(**expressions).collect(engine="streaming"), None, []
    plan = plan_times(chosen.time, frame, label=label, reading=reading)
    table = frame.select(**expressions, **plan.parts).collect(engine="streaming")
    better = replanned(plan, frame, table, reading)
    if better is not None:
        plan = better
        times = frame.select(**plan.parts).collect(engine="streaming")
        table = table.drop("time", "time_month", "time_year", strict=False).hstack(times)
    try:
        return table, settle_times(plan, frame, table, label=label, reading=reading), []
    except TimesUndecided as error:
        if needed:
            raise
        return table, None, [f"no times are read, for {error}"]


def _is_mostly_empty(times: SettledTimes) -> bool:
    """Tell whether most rows have nothing where a time may stand, as in a log that got its times late."""
    return 2 * (len(times.known) - int(times.known.sum()) - times.unreadable) > len(times.known) > 0


def _kept(
    ids: dict[Noun, CodedIds],
    times: SettledTimes | None,
    quantities: SettledQuantities | None,
    kinds: KindColumn | None,
    count: int,
) -> dict[str, Any]:
    """Return which rows are kept, as purchases and as other events, and how many each rule dropped."""
    flaws = {f"without_{noun}": found.codes < 0 for noun, found in ids.items()}
    if times is not None:
        flaws["without_time"] = ~times.known
    purchase = np.ones(count, np.bool_) if kinds is None else kinds.places == 0
    if quantities is not None:
        flaws["unreadable_quantity"] = purchase & ~quantities.known
        flaws["non_positive_quantity"] = purchase & quantities.known & (quantities.values <= 0)
        flaws["quantity_out_of_range"] = purchase & quantities.out_of_range
    kept = np.ones(count, np.bool_) if kinds is None else kinds.places >= 0
    left_out = {} if kinds is None or kept.all() else {"other_events": int((~kept).sum())}
    counts = {}
    for rule, breaks in flaws.items():
        counts[rule] = int((kept & breaks).sum())
        kept &= ~breaks
    return {"bought": kept & purchase, "other": kept & ~purchase, "counts": counts, "left_out": left_out}


def _refunded(
    found: dict[str, Any], ids: dict[Noun, CodedIds], times: SettledTimes | None, kinds: KindColumn
) -> tuple[dict[str, Any], KindColumn, list[str]]:
    """Take purchases back that a refund names; neither is kept, and both are counted."""
    refunds = found["other"] & (kinds.places == kinds.names.index(REFUND))
    codes = (ids["user"].codes, ids["product"].codes)
    gone, lost = taken_back(*codes, None if times is None else times.times, found["bought"], refunds)
    counts = {"taken_back": int(gone.sum()), "refunds": int(refunds.sum())}
    left_out = {**found["left_out"], **{reason: count for reason, count in counts.items() if count}}
    kept = {"bought": found["bought"] & ~gone, "other": found["other"] & ~refunds, "left_out": left_out}
    said = (
        [f"{lost:,} refunds name no earlier purchase of their user and product; they change nothing."]
        if lost
        else []
    )
    return found | kept, without_refunds(kinds, refunds), said


def _told(
    ids: dict[Noun, CodedIds],
    times: SettledTimes | None,
    quantities: SettledQuantities | None,
    kinds: KindColumn | None,
    reading: Reading,
) -> tuple[str, ...]:
    told = [*ids["user"].warnings, *ids["product"].warnings]
    told += [*(times.warnings if times else ()), *(quantities.warnings if quantities else ())]
    if kinds is not None and kinds.strange:
        shown = ", ".join(f"{word!r} {many:,}" for word, many in list(kinds.strange.items())[:5])
        rows = counted(sum(kinds.strange.values()), "row", "is", "are")
        told.append(f"{rows} of kinds that --event does not name ({shown}), and left out.")
    return tuple(told)


MANY_UNREADABLE = 0.2
"""So great a share of the given times may be unreadable, and is counted; a greater one is refused."""


def _refuse_unusable(rows: Rows, columns: Columns, reading: Reading, label: str) -> None:
    """Raise `ColumnProblem` when a named column of times has an unusable value, or a found column hardly any or many."""
    for role, settled in (("time", rows.times), ("quantity", rows.quantities)):
        if settled is None or not len(rows):
            continue
        missing = int((~settled.known).sum())
        named = columns.named(role) is not None  # type: ignore[arg-type]
        given = settled.unreadable + int(settled.known.sum())
        many = settled.unreadable > max(1, MANY_UNREADABLE * given)
        strict = role == "time" and (named or many)
        if (
            settled.unreadable
            if strict
            else 2 * missing > len(rows) and not (named and not settled.unreadable)
        ):
            count = settled.unreadable if strict else missing
            what = f"a value that is no {role}" if strict else f"no {role}"
            if strict and isinstance(settled, SettledTimes) and settled.examples:
                what += f" ({quoted(settled.examples)})"
                what += f" in the format {reading.time_format}" if reading.time_format else ""
            flag = FLAGS[role]  # type: ignore[index]
            format_flag = ", say how they are written with --time-format" if role == "time" else ""
            raise ColumnProblem(
                f"in {count:,} of {len(rows):,} rows of {label}, column {rows.chosen.present()[role]!r} holds {what}; mend "  # type: ignore[index]
                f"them{format_flag}, name another column with {flag}, or read none with {flag} ''."
            )
