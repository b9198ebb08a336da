"""Quantities, however they are written: with separators of thousands, with decimal commas, with units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tastemaker.display import quoted
from tastemaker.errors import ColumnProblem
from tastemaker.types import Booleans, Floats

__all__ = ["SettledQuantities", "plan_quantities", "settle_quantities"]

PIECES = frozenset(
    {"pc", "pcs", "piece", "pieces", "unit", "units", "ea", "each", "x", "st", "stk", "stck", "stück",
     "stuck", "item", "items", "ud", "uds", "szt", "qty", "ct", "count"}
)  # fmt: skip
"""Units that mean one piece each; beside them no other unit may stand."""

SAMPLE = 2_000
"""How many rows are looked at before all are asked whether their points may part thousands."""

LEAST, GREATEST = 1e-9, 1e9
"""The quantities that are kept, those that a live purchase may have"""

_NUMBER = re.compile(
    r"(?P<open>\()?(?P<sign>[+\-−])?\s*(?:[xX]\s*)?(?P<digits>(?:[.,]?\d)[\d.,'’\s_]*)(?P<after>-)?\s*(?P<unit>[A-Za-zÀ-ÿ]+\.?)?(?(open)\))"
)

_PARTED = re.compile(r"\d{1,3}((['’\s_])\d{3}(\2\d{3})*)([.,]\d+)?")
"""Thousands that are parted by spaces, apostrophes or underscores"""

_SCIENTIFIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d{1,4}")


@dataclass(frozen=True, slots=True)
class SettledQuantities:
    """The quantities of all rows."""

    values: Floats
    """``float32[rows]``; what stands where ``known`` is false means nothing"""
    known: Booleans
    """``bool[rows]``"""
    unreadable: int = 0
    """Given values that are no number."""
    warnings: tuple[str, ...] = ()

    @property
    def out_of_range(self) -> Booleans:
        """Return which quantities are positive and yet none that a live purchase may have."""
        strange: Booleans = self.known & (
            ((self.values > 0) & (self.values < LEAST)) | (self.values > GREATEST)
        )
        return strange


@dataclass(frozen=True, slots=True)
class _Written:
    """A number as it was written: every value that it may have."""

    readings: tuple[float, ...]
    unit: str
    commas: bool | None
    """Whether it can only have a decimal comma (true) or a decimal point (false); ``None`` where neither shows."""
    comma: bool = False
    """Of one that may be read in two ways: whether its sign is a comma."""


def plan_quantities(column: str, frame: pl.LazyFrame, *, label: str) -> pl.Expr:
    """Return the expression of a column's plain numbers, ``Float32``; raise `ColumnProblem` for neither numbers nor text."""
    dtype = frame.collect_schema()[column]
    if dtype.is_numeric() or dtype == pl.Null:
        return _finite(pl.col(column).cast(pl.Float32, strict=False))
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _finite(_text(column).cast(pl.Float32, strict=False))
    raise ColumnProblem(
        f"the quantity column {column!r} of {label} is of type {dtype}; quantities must be numbers. "
        "Name another with --quantity-column, or none with --quantity-column ''."
    )


def settle_quantities(column: str, frame: pl.LazyFrame, plain: pl.Series) -> SettledQuantities:
    """Return the quantities of all rows, from those that are plain numbers and from the text of the column where some are not.

    A number that can be read in two ways (``1,200``) is read as all others of the column allow: as a whole number where all are
    whole, else with the decimal sign that the others show.
    """
    dtype = frame.collect_schema()[column]
    is_number = dtype.is_numeric() or dtype == pl.Null
    settled = _of_plain(plain)
    if bool((plain == 0).any()) or (is_number and plain.null_count()):
        settled = _exactly(column, frame, is_number=is_number)
    if is_number:
        return settled
    if not plain.null_count():
        return replace(settled, warnings=_doubts_of_points(column, frame))
    # Of "1.200" beside "1.200,00" the plain number is wrong: all texts of the column are read anew.
    own = pl.Categorical(pl.Categories.random())
    codes = frame.select(_text(column).cast(own).alias("q")).collect(engine="streaming").to_series()
    distinct = codes.unique().drop_nulls()
    texts = distinct.cast(pl.String).to_list()
    places = distinct.to_physical().cast(pl.Int64).to_numpy()
    blank = [int(place) for place, text in zip(places, texts, strict=True) if not text]
    given = codes.is_not_null() & ~codes.to_physical().cast(pl.Int64).is_in(blank)
    if not bool(
        (plain.is_null() & given).any()
    ):  # the rest are empty, and an empty cell says nothing of the others
        return settled
    values, strange = _read_all(texts)
    table = np.full(int(places.max(initial=-1)) + 2, np.nan)
    odd = np.zeros(len(table), np.bool_)
    table[places], odd[places] = values, strange
    rows = codes.to_physical().fill_null(len(table) - 1).to_numpy()
    found = table[rows]
    unreadable = odd[rows]
    warnings = _warnings(column, texts, values, strange, plain, int(unreadable.sum()))
    return SettledQuantities(_held(np.nan_to_num(found)), ~np.isnan(found), int(unreadable.sum()), warnings)


def _of_plain(plain: pl.Series) -> SettledQuantities:
    return SettledQuantities(
        plain.fill_null(0).to_numpy().astype(np.float32, copy=False), plain.is_not_null().to_numpy()
    )


def _exactly(column: str, frame: pl.LazyFrame, *, is_number: bool) -> SettledQuantities:
    """Read plain numbers once more where one may have been too small or too large for ``Float32``."""
    value = (pl.col(column) if is_number else _text(column)).cast(pl.Float64, strict=False)
    exact = frame.select(_finite(value).alias("q")).collect(engine="streaming").to_series()
    return SettledQuantities(_held(exact.fill_null(0).to_numpy().copy()), exact.is_not_null().to_numpy())


def _read_all(texts: Sequence[str]) -> tuple[Floats, Booleans]:
    """Return the value of each text, NaN where it has none, and which are given but cannot be read."""
    written = [_written(text) for text in texts]
    known = [quantity for quantity in written if quantity is not None]
    units = {quantity.unit for quantity in known if quantity.unit}
    mixed = len({"piece" if unit in PIECES else unit for unit in units}) > 1
    signs = {quantity.commas for quantity in known if quantity.commas is not None}
    whole = all(any(value.is_integer() for value in quantity.readings) for quantity in known)
    commas = signs.pop() if len(signs) == 1 else None
    values = np.full(len(texts), np.nan)
    for place, quantity in enumerate(written):
        if quantity is not None and not (mixed and quantity.unit):
            values[place] = _chosen(quantity, whole, commas)
    strange = np.isnan(values) & np.array([bool(text) for text in texts], np.bool_)
    return values, strange


def _chosen(quantity: _Written, whole: bool, commas: bool | None) -> float:
    if len(quantity.readings) == 1:
        return quantity.readings[0]
    grouped, decimal = quantity.readings
    if whole:
        return grouped
    return float("nan") if commas is None else decimal if commas == quantity.comma else grouped


def _written(text: str) -> _Written | None:
    """Return what a text may mean.

    >>> _written("1.200,00").readings, _written("1,200").readings, _written("5 pcs").readings, _written("many")
    ((1200.0,), (1200.0, 1.2), (5.0,), None)
    """
    if _SCIENTIFIC.fullmatch(text.strip()):
        return _Written((float(text),), "", None)
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    digits = found["digits"].strip().rstrip(".,")
    if re.search(r"['’\s_]", digits):
        if not _PARTED.fullmatch(digits):
            return None
        digits = re.sub(r"['’\s_]", "", digits)
    sign = -1.0 if found["open"] or found["after"] or (found["sign"] or "+") in "-−" else 1.0
    unit = (found["unit"] or "").lower().rstrip(".")
    read = _readings(digits)
    if read is None:
        return None
    values, commas = read
    return _Written(tuple(sign * value for value in values), unit, commas, "," in digits)


def _readings(digits: str) -> tuple[tuple[float, ...], bool | None] | None:
    signs = [sign for sign in digits if sign in ".,"]
    if not signs:
        return (float(digits),), None
    last, kinds = signs[-1], set(signs)
    head, _, tail = digits.rpartition(last)
    if len(kinds) == 2:  # 1.200,00: the last one is the decimal sign
        other = "." if last == "," else ","
        if last in head or not _grouped(head, other):
            return None
        return (float(head.replace(other, "") + "." + tail),), last == ","
    if len(signs) > 1:  # 1,200,000
        return ((float(digits.replace(last, "")),), last != ",") if _grouped(digits, last) else None
    if len(tail) == 3 and 0 < len(head) <= 3 and head != "0":
        return (float(head + tail), float(f"{head}.{tail}")), None
    return (float(f"{head or 0}.{tail}"),), last == ","


def _grouped(digits: str, sign: str) -> bool:
    first, *rest = digits.split(sign)
    by_three = 0 < len(first) <= 3 and all(len(part) == 3 for part in rest)
    *lakhs, last = rest or ("",)
    return by_three or (0 < len(first) <= 2 and len(last) == 3 and all(len(part) == 2 for part in lakhs))


def _warnings(
    column: str, texts: Sequence[str], values: Floats, strange: Booleans, plain: pl.Series, unreadable: int
) -> tuple[str, ...]:
    warnings = []
    rewritten = [
        place for place, text in enumerate(texts) if np.isfinite(values[place]) and not _is_plain(text, values[place])
    ]  # fmt: skip
    if rewritten:
        shown = ", ".join(f"{texts[place]!r} as {values[place]:g}" for place in rewritten[:3])
        warnings.append(
            f"quantities in column {column!r} are written with separators or units; read were {shown}.{_doubt(texts)}"
        )
    if unreadable:
        bad = [text for text, odd in zip(texts, strange, strict=True) if odd]
        shown = quoted(bad[:3])
        dropped = "its row is" if unreadable == 1 else "their rows are"
        warnings.append(
            f"{unreadable:,} {'quantity' if unreadable == 1 else 'quantities'} in column {column!r} cannot be read ({shown}), and "
            f"{dropped} dropped; mend them, or read no quantities with --quantity-column ''."
        )
    return tuple(warnings)


def _doubt(texts: Sequence[str]) -> str:
    """Say what the numbers of a column would be, where each of those with a separator may be read in two ways."""
    parted = [written for text in texts if (written := _written(text)) and re.search("[.,]", text)]
    if not parted or any(len(written.readings) == 1 for written in parted):
        return ""
    grouped, decimal = parted[0].readings
    sign = "comma" if parted[0].comma else "point"
    return f" With a decimal {sign} {grouped:g} would be {decimal:g}, and no row tells; write them without separators to be sure."


def _doubts_of_points(column: str, frame: pl.LazyFrame) -> tuple[str, ...]:
    """Doubt plain numbers that all have three digits behind a point, as thousands have in half of the world."""
    text = _text(column)
    alike = (
        text.str.contains(r"^(\d+|[1-9]\d{0,2}\.\d{3})$").all() & text.str.contains(".", literal=True).any()
    )
    if not frame.head(SAMPLE).select(alike).collect().item():
        return ()
    parted = frame.filter(text.str.contains(".", literal=True)).select(
        text.first().alias("example"), pl.len()
    )
    all_alike, found = (
        frame.select(alike).collect(engine="streaming").item(),
        parted.collect(engine="streaming"),
    )
    if not all_alike:
        return ()
    example, many = found.row(0)
    which = f"all {many:,} quantities" if many > 1 else "the quantity"
    told = f"{which} with a point in column {column!r}"
    return (
        f"{told} {'have' if many > 1 else 'has'} three digits behind it; read as decimal fractions, "
        f"{example!r} as {float(example):g}. If the point parts thousands, write them without it.",
    )


def _is_plain(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False


def _text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.strip_chars()


def _finite(value: pl.Expr) -> pl.Expr:
    return pl.when(value.is_finite()).then(value)


def _held(values: Floats) -> Floats:
    """Return finite numbers as ``float32``; those that are too small or too large for it stay positive and finite."""
    held = np.clip(values, -2 * GREATEST, 2 * GREATEST)
    held[(held > 0) & (held < LEAST)] = LEAST / 2
    return held.astype(np.float32)
