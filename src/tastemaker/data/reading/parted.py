"""Parting a log in time into two files that are read as it was."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import distinct
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.files.source import Source, translated
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import open_rows, purchases_of
from tastemaker.data.reading.rows import Rows
from tastemaker.data.reading.sources import Readable
from tastemaker.data.splits import hold_out_time
from tastemaker.data.vocabulary import Noun
from tastemaker.errors import ColumnProblem, DataError, FolderExists, SettingProblem
from tastemaker.types import AnyArray, Booleans

__all__ = ["LogPart", "Parted", "part_log"]

DAY: Final = 86_400_000_000
UNITS: Final = {"h": DAY // 24, "d": DAY, "w": 7 * DAY}


@dataclass(frozen=True, slots=True)
class LogPart:
    """One of the two files."""

    file: Path
    rows: int
    users: int
    products: int


@dataclass(frozen=True, slots=True)
class Parted:
    """A log that was parted in time."""

    train: LogPart
    later: LogPart
    border: str
    """Where train ends, in words"""
    new_users: int
    """Users of the later part that train has not"""
    new_products: int
    without_time: int
    """Rows in neither part, since they have no time"""

    def as_dict(self) -> dict[str, object]:
        """Return what ``split --json`` prints."""
        parts = {
            name: {"file": str(part.file), "rows": part.rows, "users": part.users, "products": part.products}
            for name, part in (("train", self.train), ("later", self.later))
        }
        new = {"new_users": self.new_users, "new_products": self.new_products}
        return {
            "train": parts["train"],
            "later": parts["later"] | new,
            "border": self.border,
            "without_time": self.without_time,
        }


def part_log(
    source: Readable,
    into: Path,
    *,
    at: str | None = None,
    last: str | None = None,
    columns: Columns = Columns(),  # noqa: B008  (a frozen value)
    reading: Reading = Reading(),  # noqa: B008
) -> Parted:
    """Write the rows of a log before a moment and from then on as two files ``train`` and ``later`` of a folder.

    ``at`` is a date or a time, in UTC where it has no zone: rows from then on are later. ``last`` is a share (``10%``) of the time
    in which purchases happened, as in `hold_out_time`, or a time (``14d``, ``36h``, ``2w``) before the last purchase. All columns
    and all rows that have a time are written as they are, in their order: a log of text as CSV, others as Parquet.

    Raises what reading raises, `SettingProblem` for a moment that cannot be read, `ColumnProblem` for a log without times,
    `DataError` when one part would be empty, and `FolderExists` rather than write over a file.
    """
    rows = open_rows(source, columns, reading)
    if rows.times is None:
        raise ColumnProblem(
            f"{rows.source.label} has no times to part it by; name their column with --time-column."
        )
    opened, times, known = rows.source, rows.times.times, rows.times.known
    bought = times[rows.bought & known]
    after, border = _border(at, last, rows, int(bought.max()))
    later = known & after
    train = known & ~later
    for mask, what, where in ((train, "train", "before"), (later, "the later part", "from")):
        if not (mask & rows.bought).any():
            raise DataError(
                f"no purchase of {opened.label} is {where} {border}, so {what} would be empty; choose another moment."
            )
    ending = ".csv" if opened.is_text else ".parquet"
    files = [into / f"{name}{ending}" for name in ("train", "later")]
    for file in files:
        if file.exists():
            raise FolderExists(f"{file} exists already; give --into another folder, or remove it.")
    into.mkdir(parents=True, exist_ok=True)
    _write(opened, dict(zip(files, (train, later), strict=True)))
    return Parted(
        _part(rows, files[0], train),
        _part(rows, files[1], later),
        border,
        _new(rows, "user", train, later),
        _new(rows, "product", train, later),
        int((~known).sum()),
    )


def _border(at: str | None, last: str | None, rows: Rows, end: int) -> tuple[Booleans, str]:
    """Return which rows are later, ``bool[rows]``, and where they begin in words."""
    assert rows.times is not None
    times = rows.times.times
    if (at is None) == (last is None):
        raise SettingProblem("give either --at DATE or --last 10% (or 14d); received both or neither.")
    if at is not None:
        if rows.times.counts_from != "calendar":
            raise SettingProblem(
                f"--at is a date, but the times of {rows.source.label} are {rows.times.unit}; use --last 10%."
            )
        moment = _moment(at)
        return times >= moment, at
    assert last is not None
    share = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", last)
    if share:
        return times > _end_of_train(
            purchases_of(rows), float(share[1]) / 100
        ), f"the last {last.strip()} of the time in which purchases happened"
    length = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([hdw])\s*", last)
    if not length or rows.times.counts_from == "steps":
        raise SettingProblem(
            f"--last is {last!r}; it must be a share such as 10%, or a time such as 14d, 36h or 2w of a log with dates."
        )
    return times > end - int(float(length[1]) * UNITS[length[2]]), f"the last {last.strip()}"


def _end_of_train(log: Purchases, share: float) -> int:
    train = hold_out_time(log, share).train
    assert train.times is not None
    return int(train.times.max())


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingProblem(f"--at is {text!r}; it must be a date such as 2024-06-01, or a time.") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round((aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def _write(source: Source, masks: dict[Path, Booleans]) -> None:
    """Write each part beside its name first, so that there are both files or none."""
    names = list(dict.fromkeys(source.names))
    halves = {file: file.with_name(f".{file.name}.part") for file in masks}
    try:
        with translated(source.label):
            for file, mask in masks.items():
                chosen = pl.DataFrame({"\0": mask}).lazy()
                frame = (
                    pl.concat([source.select(names), chosen], how="horizontal")
                    .filter(pl.col("\0"))
                    .drop("\0")
                )
                if file.suffix == ".csv":
                    frame.sink_csv(halves[file], include_header=source.has_header)
                else:
                    frame.sink_parquet(halves[file])
        for file, half in halves.items():
            half.rename(file)
    finally:
        for half in halves.values():
            half.unlink(missing_ok=True)


def _part(rows: Rows, file: Path, mask: Booleans) -> LogPart:
    return LogPart(file, int(mask.sum()), len(_of(rows, "user", mask)), len(_of(rows, "product", mask)))


def _of(rows: Rows, noun: Noun, mask: Booleans) -> AnyArray:
    return distinct(rows.ids[noun].codes[mask & (rows.bought | rows.other)])


def _new(rows: Rows, noun: Noun, train: Booleans, later: Booleans) -> int:
    return len(np.setdiff1d(_of(rows, noun, later), _of(rows, noun, train), assume_unique=True))
