"""Several sources as one: parts of a log that meet by name, files that are joined, rows that meet conditions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from tastemaker.data.conditions import Condition, Value
from tastemaker.data.identifiers import NULL_WORDS
from tastemaker.data.reading.files.source import Source, translated
from tastemaker.display import counted, quoted
from tastemaker.errors import ColumnProblem, SettingProblem, UnreadableFile

__all__ = ["joined_to", "keyed", "met", "together"]


def keyed(source: Source, keys: Sequence[tuple[str, str | None]]) -> Source:
    """Return a source with the columns that the names of its folders hold; a column of the file itself is preferred."""
    given = {name: value for name, value in keys if name not in source.names}
    if not given:
        return source
    added = {name: value if source.is_text else _typed(value) for name, value in given.items()}

    def select(wanted: Sequence[str]) -> pl.LazyFrame:
        own = [name for name in wanted if name not in added] or [source.names[0]]
        frame = source.select(own).with_columns(
            pl.lit(added[name], dtype=pl.Int64 if isinstance(added[name], int) else pl.String).alias(name)
            for name in wanted
            if name in added
        )
        return frame.select(wanted)

    return replace(source, names=(*source.names, *added), select=select)


def _typed(value: str | None) -> str | int | None:
    """Return what the name of a folder says, as an integer where it is written as one."""
    return int(value) if value is not None and re.fullmatch(r"0|-?[1-9]\d{0,17}", value) else value


def together(sources: Sequence[Source], *, label: str) -> Source:
    """Return several sources as one, in their order; their columns meet by name, or by position where none has a header.

    Raises `UnreadableFile` where only some have a header, or their widths differ without one. Selecting raises
    `ColumnProblem`, naming the file, where one lacks a wanted column or its types do not meet.
    """
    first = sources[0]
    if len(sources) == 1:
        return first
    for source in sources[1:]:
        if source.has_header != first.has_header:
            bare, headed = (first, source) if source.has_header else (source, first)
            raise UnreadableFile(
                f"{bare.label} has no header and {headed.label} has one; give all of them one, or say --header or --no-header."
            )
        if not source.has_header and len(source.names) != len(first.names):
            raise UnreadableFile(
                f"{source.label} has {len(source.names)} columns and {first.label} has {len(first.names)}; without a header "
                "they cannot meet by name."
            )
    names = tuple(dict.fromkeys(name for source in sources for name in source.names))
    is_text = any(source.is_text for source in sources)
    dropped: Counter[str] = Counter()

    def select(wanted: Sequence[str]) -> pl.LazyFrame:
        frames = [_selected(source, wanted, first) for source in sources]
        dropped.clear()
        for source in sources:
            dropped.update(source.dropped)
        return pl.concat(_alike(frames, sources, wanted, is_text))

    for source in sources:
        for name in {column for column in source.names if source.names.count(column) > 1}:
            raise ColumnProblem(
                f"{source.label} has {source.names.count(name)} columns called {name!r}; rename all but one."
            )
    return Source(
        label,
        names,
        select,
        is_text=is_text,
        has_header=first.has_header,
        head=first.head,
        notes=tuple(note for source in sources for note in source.notes),
        dropped=dropped,
        files=tuple(file for source in sources for file in source.files),
    )


def _selected(source: Source, wanted: Sequence[str], first: Source) -> pl.LazyFrame:
    missing = [name for name in wanted if name not in source.names]
    if missing:
        shown = quoted(source.names[:30])
        raise ColumnProblem(
            f"{source.label} has no column {missing[0]!r}, which other files of the log have. Its columns are {shown}; "
            "rename them, or read that file apart."
        )
    with translated(source.label):
        return source.select(wanted)


def _alike(
    frames: Sequence[pl.LazyFrame], sources: Sequence[Source], wanted: Sequence[str], is_text: bool
) -> list[pl.LazyFrame]:
    """Return the frames with each column in one type for all."""
    schemas: list[pl.Schema] = []
    for frame, source in zip(frames, sources, strict=True):
        with translated(source.label):
            schemas.append(frame.collect_schema())
    common = {
        name: _common([schema[name] for schema in schemas], name, sources, is_text)
        for name in dict.fromkeys(wanted)
    }
    for name, dtype in common.items():
        if dtype.is_float():
            _refuse_inexact(name, frames, [schema[name] for schema in schemas], sources)
    return [
        frame.with_columns(
            _cast(name, schema[name], dtype) for name, dtype in common.items() if schema[name] != dtype
        )
        for frame, schema in zip(frames, schemas, strict=True)
    ]


EXACT: Final = 2**53
"""Up to here a float holds every integer"""


def _refuse_inexact(
    name: str, frames: Sequence[pl.LazyFrame], dtypes: Sequence[pl.DataType], sources: Sequence[Source]
) -> None:
    """Raise `ColumnProblem` where integers beside fractions are too large to stay what they are: two ids would become one."""
    for frame, dtype, source in zip(frames, dtypes, sources, strict=True):
        if not dtype.is_integer() or _bits(dtype) <= 32:
            continue
        value = pl.col(name)
        with translated(source.label):
            large = (
                frame.select(((value > EXACT) | (value < -EXACT)).any()).collect(engine="streaming").item()
            )
        if large:
            raise _differ(name, dtypes, sources)


def _common(
    dtypes: Sequence[pl.DataType], name: str, sources: Sequence[Source], is_text: bool
) -> pl.DataType:
    kinds = [dtype for dtype in dtypes if dtype != pl.Null]
    if is_text and any(dtype != pl.String for dtype in kinds):
        _check_spelled(kinds, name, dtypes, sources)
        return pl.String()
    if not kinds:
        return pl.String()
    if all(dtype == kinds[0] for dtype in kinds):
        return kinds[0]
    if all(dtype.is_integer() for dtype in kinds):
        widest = max(kinds, key=lambda dtype: (_bits(dtype), not dtype.is_signed_integer()))
        signed = any(dtype.is_signed_integer() for dtype in kinds)
        return pl.Int64() if signed and any(not dtype.is_signed_integer() for dtype in kinds) and _bits(widest) < 64 else (
            pl.Int128() if signed and not widest.is_signed_integer() else widest)  # fmt: skip
    if all(dtype.is_numeric() for dtype in kinds):
        return pl.Float64()
    if all(dtype in (pl.String, pl.Categorical, pl.Enum) or isinstance(dtype, pl.Enum) for dtype in kinds):
        return pl.String()
    if all(dtype.is_temporal() and dtype not in (pl.Time, pl.Duration) for dtype in kinds):
        return pl.Datetime("us", "UTC" if any(getattr(dtype, "time_zone", None) for dtype in kinds) else None)
    if all(dtype == pl.String or dtype.is_integer() for dtype in kinds):
        return pl.String()
    raise _differ(name, dtypes, sources)


def _bits(dtype: pl.DataType) -> int:
    return int("".join(letter for letter in str(dtype) if letter.isdigit()) or 64)


def _check_spelled(
    kinds: Sequence[pl.DataType], name: str, dtypes: Sequence[pl.DataType], sources: Sequence[Source]
) -> None:
    if any(dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Time, pl.Duration) for dtype in kinds):
        raise _differ(name, dtypes, sources)


def _differ(name: str, dtypes: Sequence[pl.DataType], sources: Sequence[Source]) -> ColumnProblem:
    first = next(place for place, dtype in enumerate(dtypes) if dtype != pl.Null)
    other = next(place for place, dtype in enumerate(dtypes) if dtype not in (dtypes[first], pl.Null))
    return ColumnProblem(
        f"column {name!r} is of type {dtypes[first]} in {sources[first].label} and {dtypes[other]} in "
        f"{sources[other].label}; write both in one type."
    )


def _cast(name: str, dtype: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if wanted == pl.String and dtype.is_temporal():
        return column.dt.to_string("iso").alias(name)
    if isinstance(wanted, pl.Datetime):
        moment = column.cast(pl.Datetime("us")) if dtype == pl.Date else column.dt.cast_time_unit("us")
        if wanted.time_zone and not getattr(dtype, "time_zone", None):
            return moment.dt.replace_time_zone("UTC").alias(name)
        return moment.dt.convert_time_zone("UTC").alias(name) if wanted.time_zone else moment.alias(name)
    return column.cast(wanted)


# Joins

_KEY: Final = "\0key"


def joined_to(left: Source, right: Source, *, on: str | None) -> Source:
    """Return a log with the columns of another file beside its own, found by the column ``on``, which is unique there.

    ``order=id`` is the log's ``order`` and the other's ``id``. A column that both have is the log's. Rows without a match have
    nothing there. Raises `ColumnProblem`.
    """
    if on is None:
        shared = [name for name in left.names if name in right.names]
        raise SettingProblem(
            f"--join {right.label} needs --on, the column by which it is joined; both have "
            f"{', '.join(map(repr, shared)) or 'no column of the same name'}."
        )
    own, _, others = (on, "", on) if on in left.names else on.partition("=")
    own, others = own.strip(), others.strip() or own.strip()
    for source, name in ((left, own), (right, others)):
        if name not in source.names:
            raise ColumnProblem(
                f"{source.label} has no column {name!r} (--on). Its columns are {quoted(source.names[:30])}; "
                "where the two files call it differently, write --on 'order=id'."
            )
    added = tuple(name for name in right.names if name not in (*left.names, others))
    notes: list[str] = [
        f"{right.label} was joined by {on!r}"
        + (f" and gives {', '.join(map(repr, added[:10]))}." if added else ".")
    ]
    dropped: dict[str, int] = {}

    def select(wanted: Sequence[str]) -> pl.LazyFrame:
        from_right = [name for name in dict.fromkeys(wanted) if name in added]
        frame = left.select(list(dict.fromkeys([*(name for name in wanted if name not in added), own])))
        if from_right:
            frame, other = _keyed(frame, own), _keyed(right.select([others, *from_right]), others)
            if frame.collect_schema()[_KEY] != other.collect_schema()[_KEY]:
                frame, other = (side.with_columns(pl.col(_KEY).cast(pl.String)) for side in (frame, other))
            _check_unique(other, others, right.label)
            _check_meets((frame, other), (own, others), (left.label, right.label))
            frame = frame.join(other.drop(others), on=_KEY, how="left", maintain_order="left")
        dropped.clear()
        dropped.update(left.dropped)
        return frame.select(wanted)

    return replace(
        left,
        names=(*left.names, *added),
        select=select,
        is_text=left.is_text or right.is_text,
        notes=(*left.notes, *right.notes, *notes),
        dropped=dropped,
        files=(*left.files, *right.files),
    )


def _keyed(frame: pl.LazyFrame, on: str) -> pl.LazyFrame:
    """Return the rows with the key that they are joined by: a value, as ids are tidied (``7.0``, ``NULL``)."""
    kind, key = frame.collect_schema()[on], pl.col(on)
    if not kind.is_integer():
        text = key.cast(pl.String).str.strip_chars().str.replace(r"^(-?\d+)\.0+$", "$1")
        key = pl.when(~text.is_in(NULL_WORDS)).then(text)
    return frame.with_columns(key.alias(_KEY))


def _check_meets(
    sides: tuple[pl.LazyFrame, pl.LazyFrame], columns: tuple[str, str], labels: tuple[str, str]
) -> None:
    """Raise `ColumnProblem` where no row finds another: the columns are not of the same things, or are written otherwise."""
    keys = [side.select(_KEY).drop_nulls() for side in sides]
    with translated(" and ".join(labels)):
        if keys[0].join(keys[1], on=_KEY, how="semi").head(1).collect(engine="streaming").height:
            return
        first = [key.head(1).collect().to_series().to_list() for key in keys]
    if all(first):
        raise ColumnProblem(
            f"no value of {columns[0]!r} in {labels[0]} stands in {columns[1]!r} of {labels[1]}: the first is "
            f"{first[0][0]!r} there and {first[1][0]!r} here; name another column with --on."
        )


def _check_unique(frame: pl.LazyFrame, on: str, label: str) -> None:
    with translated(label):
        rows, keys, example = (
            frame.select(pl.col(on), pl.col(_KEY))
            .drop_nulls()
            .select(
                rows=pl.len(),
                keys=pl.col(_KEY).n_unique(),
                example=pl.col(on).filter(pl.col(_KEY).is_duplicated()).first(),
            )
            .collect(engine="streaming")
            .row(0)
        )
    if rows != keys:
        raise ColumnProblem(
            f"{label} has {rows:,} rows of {keys:,} different {on!r}, such as {example!r} more than once; it must have one "
            "row for each, or every purchase would count several times."
        )


# Conditions


def met(source: Source, conditions: Sequence[tuple[str, Condition]]) -> Source:
    """Return the rows of a source that meet every condition; the others are counted for the first that they do not meet.

    Raises `ColumnProblem` for a column that there is not, and `SettingProblem` where a column cannot be compared.
    """
    where: dict[str, str] = {}
    for text, condition in conditions:
        where[text] = _column(source, condition)
    dropped: dict[str, int] = {}

    def select(wanted: Sequence[str]) -> pl.LazyFrame:
        frame = source.select(list(dict.fromkeys([*wanted, *where.values()])))
        schema = frame.collect_schema()
        meets = {
            text: _meets(where[text], schema[where[text]], condition, text) for text, condition in conditions
        }
        counts: dict[str, pl.Expr] = {}
        earlier = pl.lit(True)
        for place, (text, condition) in enumerate(conditions):
            counts[f"left {place}"] = (earlier & ~meets[text]).sum()
            counts[f"odd {place}"] = _is_no_number(where[text], schema[where[text]], condition).sum()
            earlier = earlier & meets[text]
        with translated(source.label):
            found = frame.select(**counts).collect(engine="streaming").row(0, named=True)
        for place, (text, _) in enumerate(conditions):
            if found[f"odd {place}"]:
                odd = found[f"odd {place}"]
                rows, hold = counted(odd, "row"), "holds" if odd == 1 else "hold"
                raise SettingProblem(
                    f"--where {text!r} compares numbers, but {rows} of {source.label} {hold} none in "
                    f"column {where[text]!r}; mend them, or compare with = or in."
                )
        dropped.clear()
        dropped.update(source.dropped)
        for place, (text, _) in enumerate(conditions):
            if found[f"left {place}"]:
                dropped[f"not meeting {text!r}"] = found[f"left {place}"]
        return frame.filter(earlier).select(wanted)

    return replace(source, select=select, dropped=dropped)


def _column(source: Source, condition: Condition) -> str:
    name = condition.column
    if name in source.names:
        return name
    if name.isdecimal() and 1 <= int(name) <= len(source.names):
        return source.names[int(name) - 1]
    raise ColumnProblem(
        f"{source.label} has no column {name!r} (--where). Its columns are {quoted(source.names[:30])}."
    )


def _meets(name: str, dtype: pl.DataType, condition: Condition, text: str) -> pl.Expr:
    column = pl.col(name)
    if condition.among is not None or condition.excluded is not None:
        values = condition.among if condition.among is not None else condition.excluded
        assert values is not None
        if isinstance(dtype, pl.List):
            hit = column.list.eval(_is_one_of(pl.element(), dtype.inner, values)).list.any()  # type: ignore[arg-type]
        else:
            hit = _is_one_of(column, dtype, values)
        filled = column.is_not_null() & (column.str.strip_chars() != "" if dtype == pl.String else True)
        hit = hit.fill_null(False)
        return (hit if condition.among is not None else ~hit) & filled.fill_null(False)
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
        raise SettingProblem(f"--where {text!r} compares numbers, but column {name!r} is of type {dtype}.")
    number = _number(name, dtype)
    inside = number.is_not_null()
    if condition.minimum is not None:
        inside = inside & (number >= condition.minimum)
    if condition.maximum is not None:
        inside = inside & (number <= condition.maximum)
    return inside.fill_null(False)


def _number(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return (
        column
        if dtype.is_numeric()
        else column.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    )


def _is_no_number(name: str, dtype: pl.DataType, condition: Condition) -> pl.Expr:
    if condition.among is not None or condition.excluded is not None or dtype != pl.String:
        return pl.lit(False)
    filled = pl.col(name).str.strip_chars() != ""
    return (filled & _number(name, dtype).is_null()).fill_null(False)


def _is_one_of(column: pl.Expr, dtype: pl.DataType, values: Sequence[Value]) -> pl.Expr:
    """Return whether a cell is one of the values: as text, or as the same number where a value is one."""
    if dtype == pl.Boolean:
        return column.cast(pl.String).is_in([str(value).lower() for value in values])
    texts = [str(value) for value in values]
    numbers = [number for value in texts if (number := _as_number(value)) is not None]
    if dtype.is_numeric():
        return column.cast(pl.Float64).is_in(numbers) if numbers else pl.lit(False)
    text = column.cast(pl.String).str.strip_chars()
    hit = text.is_in(texts)
    return hit | text.cast(pl.Float64, strict=False).is_in(numbers) if numbers else hit


def _as_number(text: str) -> float | None:
    """Return the number that a text is in its plain spelling; ``007`` is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if repr(number) in (text, text + ".0") else None
