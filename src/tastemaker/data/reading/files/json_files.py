"""JSON: one object a line, or one document in any of pandas' orients."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from tastemaker.data.reading.columns import Columns, distinct_names, plays_a_role
from tastemaker.data.reading.files.limits import CHUNK, LARGEST_DOCUMENT, LONGEST_LINE, MOST_COLUMNS
from tastemaker.data.reading.files.places import Place
from tastemaker.data.reading.files.source import Source, settled, translated
from tastemaker.data.reading.files.spool import Spool
from tastemaker.data.reading.files.survey import recoded, survey
from tastemaker.errors import ColumnProblem, UnreadableFile

__all__ = ["is_document", "open_document", "open_lines"]

INFERRED: Final = 10_000
"""Lines from which types are told at first; all where a later one does not fit"""
EXACT: Final = 2**53
"""Up to here a float holds every integer"""
PLAIN: Final = "a plain value"

_LETTER: Final = re.compile(rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
"""A backslash that is one, and a letter written as a surrogate pair"""
_HALF_LETTER: Final = re.compile(rb"(\\u[dD][89a-fA-F][0-9a-fA-F]{2})")


def is_document(path: Path, start: bytes) -> bool:
    """Tell whether JSON is one document and not an object a line."""
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return True
    with path.open("rb") as file:
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            lines = (line for line in start.decode("utf-16", errors="ignore").split("\n") if line.strip())
            first, second = (next(lines, "").encode("utf-8") for _ in range(2))
            if first[:1] == b"[":
                return True
        else:
            first = _next_filled(file)
            second = _next_filled(file)
    try:
        content = orjson.loads(first.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return first.strip()[-1:] in (b"{", b"[", b",", b":") or second.lstrip()[:1] not in (b"{", b"")
    return not second and isinstance(content, dict) and _orient(content) is not None


def _next_filled(file: Any) -> bytes:
    while line := file.readline(LONGEST_LINE):
        if line.strip():
            return bytes(line)
    return b""


@dataclass(slots=True)
class _Lines:
    """The columns of JSON lines that were parsed already."""

    label: str
    path: Path
    spool: Spool
    schema: dict[str, pl.DataType]
    is_whole: bool
    """Whether the schema is that of all lines"""
    columns: frozenset[str] = frozenset()
    frame: pl.LazyFrame | None = None

    def select(self, wanted: Sequence[str]) -> pl.LazyFrame:
        """Return columns, parsed the first time that they are asked for."""
        if self.frame is None or not set(wanted) <= self.columns:
            self._parse(list(dict.fromkeys([*self.columns, *wanted])))
        assert self.frame is not None
        return self.frame.select(wanted)

    def _parse(self, wanted: list[str]) -> None:
        try:
            self.frame = self._settled(wanted)
        except pl.exceptions.PolarsError as error:
            self._refuse_broken_line()
            if not self.is_whole:
                try:
                    self.schema, self.is_whole = _schema(self.path, None, self.label), True
                except pl.exceptions.PolarsError:
                    self._refuse_mixed_shapes()
                    raise
                self._parse(wanted)
                return
            self._refuse_mixed_shapes(wanted)
            mixed = [name for name in wanted if not self.schema[name].is_nested()]
            if all(self.schema[name] == pl.String for name in mixed):
                with translated(self.label):
                    raise error
            self.schema |= dict.fromkeys(
                mixed, pl.String()
            )  # such as true beside 7, which no other type holds
            self._parse(wanted)
            return
        inexact = self._inexact(wanted)
        if inexact:
            self.schema |= dict.fromkeys(inexact, pl.String())
            self._parse(wanted)
        self.columns = frozenset(wanted)

    def _inexact(self, wanted: list[str]) -> list[str]:
        """Return the columns of numbers that no float may hold as they are: of two ids it would make one."""
        assert self.frame is not None
        floats = [name for name in wanted if self.schema[name].is_float()]
        if not floats:
            return []
        large = self.frame.select((pl.col(name).abs() >= EXACT).any() for name in floats)
        found = large.collect(engine="streaming").row(0, named=True)
        return [name for name, is_large in found.items() if is_large]

    def _settled(self, wanted: list[str]) -> pl.LazyFrame:
        schema = {name: self.schema[name] for name in wanted}
        frame = pl.scan_ndjson(self.path, schema=schema)
        return settled(frame, {}, size=self.path.stat().st_size, spool=self.spool, kept=wanted)[0]

    def _refuse_broken_line(self) -> None:
        """Name the line that is no JSON object."""
        for number, line in _numbered(self.path):
            if not line.strip():
                continue
            try:
                content = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                what = "nested too deeply" if "depth" in str(error) else "not one whole JSON object"
                if re.search(rb"[:,\[]\s*-?(NaN|Infinity)\s*[,}\]]", line):
                    what += ", for JSON has no NaN or Infinity (null means nothing)"
                raise UnreadableFile(
                    f"{self.label} is broken: line {number:,} is {what}: {_short(line)}; mend the line, or take it out."
                ) from None
            if not isinstance(content, dict):
                raise UnreadableFile(
                    f"{self.label} is broken: line {number:,} is {_short(line)}, no JSON object; "
                    'write one object such as {"user_id": 1, "product_id": 2} a line.'
                )

    def _refuse_mixed_shapes(self, wanted: Sequence[str] | None = None) -> None:
        """Name the column that holds plain values in one line and objects or lists in another."""
        shapes: dict[str, tuple[str, int]] = {}
        for number, line in _numbered(self.path):
            content = orjson.loads(line) if line.strip() else {}
            for name in content if wanted is None else [name for name in wanted if name in content]:
                value = content[name]
                if value is None:
                    continue
                shape = (
                    "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else PLAIN
                )
                before, where = shapes.setdefault(name, (shape, number))
                if before != shape:
                    raise UnreadableFile(
                        f"{self.label} holds {before} in column {name!r} in line {where:,} and {shape} in line {number:,}; "
                        "write values of one kind."
                    )


def _short(line: bytes) -> str:
    text = line.strip()[:80].decode("utf-8", errors="replace")
    return repr(text if len(line.strip()) <= 80 else text + "…")


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def open_lines(place: Place, spool: Spool) -> Source:
    """Open a file with one JSON object a line; types and columns may come late. Raises `UnreadableFile`."""
    found = survey(place.path, place.label)
    path = place.path
    notes: tuple[str, ...] = ()
    if not found.is_plain or _has_mark(path):
        path = spool.write(recoded(path, found, place.label), label=place.label, suffix=".jsonl")
        notes = (found.note,) if found.note else ()
    lines = _Lines(place.label, path, spool, {}, False)
    with path.open("rb") as file:
        _refuse_wide(islice(file, INFERRED), place.label, 1)
    try:
        schema = _schema(path, INFERRED, place.label)
        late = _has_late_keys(path, schema, place.label)
    except (pl.exceptions.PolarsError, orjson.JSONDecodeError) as error:
        lines._refuse_broken_line()
        lines._refuse_mixed_shapes()
        with translated(place.label):
            raise error
    if late:
        schema = _schema(path, None, place.label)
    _check_width(schema, place.label)
    lines.schema, lines.is_whole = schema, late
    return Source(
        place.label,
        tuple(schema),
        lines.select,
        head=_head(path),
        notes=notes,
        files=(place.label,),
        spells_mixtures=True,
    )


def _head(path: Path) -> tuple[tuple[str, ...], ...]:
    found = []
    for number, line in _numbered(path):
        if number > 10:
            break
        if line.strip():
            found.append((line.strip()[:200].decode("utf-8", errors="replace"),))
    return tuple(found)


def _check_width(names: Mapping[str, object] | Sequence[str], label: str) -> None:
    if len(names) > MOST_COLUMNS:
        raise UnreadableFile(
            f"{label} has {len(names):,} columns; at most {MOST_COLUMNS:,} are read. It is no log of purchases."
        )


def _has_mark(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"\xef\xbb\xbf"


def _schema(path: Path, lines: int | None, label: str) -> dict[str, pl.DataType]:
    schema = pl.scan_ndjson(path, infer_schema_length=lines).collect_schema()
    return {name: pl.String() if dtype == pl.Null else dtype for name, dtype in schema.items()}


def _keys_of(schema: Mapping[str, pl.DataType]) -> dict[str, float]:
    """Return all keys, those within objects too, and how often an object of this schema has each at most."""
    keys: dict[str, float] = {}
    for name, dtype in schema.items():
        keys[name] = keys.get(name, 0) + 1
        inner, many = dtype, 1.0
        while isinstance(inner, pl.List):
            inner, many = inner.inner, math.inf  # type: ignore[assignment]
        if isinstance(inner, pl.Struct):
            within = {field.name: field.dtype for field in inner.fields}
            for key, often in _keys_of(within).items():  # type: ignore[arg-type]
                keys[key] = keys.get(key, 0) + often * many
    return keys


def _has_late_keys(path: Path, schema: Mapping[str, pl.DataType], label: str) -> bool:
    """Tell whether a line has a key that the first lines have not; refuse lines that JSON allows and no reader agrees on.

    Where a chunk has as many known keys as it has ends of keys there is none; elsewhere its lines are parsed. Raises
    `UnreadableFile` for a key that one line has twice, and for half of a surrogate pair, which is no letter.
    """
    known = _keys_of(schema)
    spelled = {key: f'"{key}":'.encode() for key in known if '"' not in key and "\\" not in key}
    late, first = False, 1
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            chunk += file.readline(LONGEST_LINE)
            lines = chunk.count(b"\n")
            if b"\\" in chunk and (b"\\ud" in chunk or b"\\uD" in chunk):
                _refuse_half_letters(chunk, label, first)
            counts = {key: chunk.count(ends) for key, ends in spelled.items()}
            spaced = b'" :' in chunk
            for key in spelled if spaced else ():
                counts[key] += chunk.count(f'"{key}" :'.encode())
            filled = lines + (not chunk.endswith(b"\n"))
            if any(count > filled * known[key] for key, count in counts.items()):
                _refuse_keys_twice(chunk, label, first)
            first += lines
            if not spaced and chunk.count(b'":') == sum(counts.values()):
                continue
            _refuse_wide(chunk.split(b"\n"), label, first - lines)
            late = late or any(
                line.strip() and not known.keys() >= set(_top_keys(line)) for line in chunk.split(b"\n")
            )
    return late


def _refuse_wide(lines: Iterable[bytes], label: str, first: int) -> None:
    """Name the line with more keys than a row may have columns, before anything looks for their types."""
    for number, line in enumerate(lines, start=first):
        if len(line) > 4 * MOST_COLUMNS and (many := line.count(b'":') + line.count(b'" :')) > MOST_COLUMNS:
            raise UnreadableFile(
                f"{label} has {many:,} columns in line {number:,}; at most {MOST_COLUMNS:,} are read. It is no log of purchases."
            )


def _refuse_half_letters(text: bytes, label: str, first: int) -> None:
    """Name the line with half of a surrogate pair: readers make the same letter of all halves, and of several ids one."""
    for number, line in enumerate(text.split(b"\n"), start=first):
        half = _HALF_LETTER.search(_LETTER.sub(b"", line))
        if half is not None:
            raise UnreadableFile(
                f"{label} is broken: line {number:,} holds {half[1].decode()}, half of a letter (a surrogate without its other "
                f"half): {_short(line)}; mend the line, or take it out."
            )


def _refuse_keys_twice(text: bytes, label: str, first: int) -> None:
    """Name the line whose object has a key twice: of its two values each reader takes another."""
    for number, line in enumerate(text.split(b"\n"), start=first):
        key = _key_twice(line) if line.strip() else None
        if key is not None:
            raise UnreadableFile(
                f"{label} is broken: line {number:,} has {key!r} twice in one object: {_short(line)}; write each column once."
            )


def _key_twice(text: bytes) -> str | None:
    twice: list[str] = []

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            twice.append(next(name for name in names if names.count(name) > 1))
        return content

    try:
        json.loads(text, object_pairs_hook=check)
    except (ValueError, RecursionError):
        return None  # what is broken is told by the parser that reads
    return twice[0] if twice else None


def _top_keys(line: bytes) -> Sequence[str]:
    content = orjson.loads(line)
    return tuple(content) if isinstance(content, dict) else ()


# Documents


def open_document(place: Place, spool: Spool, columns: Columns) -> Source:
    """Open one JSON document in one of pandas' orients: records, columns, index, split, values or table.

    It is read whole. Raises `UnreadableFile`, also where the orient cannot be told.
    """
    label, size = place.label, place.path.stat().st_size
    if size > LARGEST_DOCUMENT:
        raise UnreadableFile(
            f"{label} is one JSON document of {size >> 20:,} MiB; at most {LARGEST_DOCUMENT >> 20} are read. "
            "Write one object a line (JSON lines), or Parquet."
        )
    content = _loaded(place, spool)
    frame, has_header, orient = _frame_of(content, columns, label)
    if not frame.width:
        raise UnreadableFile(f"{label} is empty.")
    _check_width(frame.columns, label)
    lazy = frame.lazy()
    note = () if orient == "records" else (f"{label} was read as JSON in the orient {orient}.",)
    return Source(
        label, tuple(frame.columns), lambda wanted: lazy.select(wanted), has_header=has_header, notes=note,
        head=tuple(tuple("" if cell is None else str(cell) for cell in row) for row in frame.head(10).rows()),
        files=(label,),
        spells_mixtures=True,
    )  # fmt: skip


def _loaded(place: Place, spool: Spool) -> Any:
    with place.path.open("rb") as file:
        raw = file.read()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        found = survey(place.path, place.label)
        raw = b"".join(recoded(place.path, found, place.label))
    try:
        content = orjson.loads(raw.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        if "surrogate" in str(error):
            what = (
                f"holds half of a letter (a surrogate without its other half) in line {error.lineno:,}, column {error.colno:,}; "
                "mend it"
            )
        elif "depth" in str(error) or "recursion" in str(error):
            what = "is nested too deeply for a log; write one flat object a row"
        elif "utf-8" in str(error).lower():
            what = "is not UTF-8 text; save it as UTF-8"
        else:
            what = f"is no whole JSON document: it ends or errs at line {error.lineno:,}, column {error.colno:,}; write it anew"
        raise UnreadableFile(f"{place.label} {what}.") from None
    if _orient(content) == "records" and content:
        _check_width(content[0], place.label)
        keys = [f'"{key}"'.encode() for key in content[0]]
        key = _key_twice(raw) if any(raw.count(key) > len(content) for key in keys) else None
        if key is not None:
            raise UnreadableFile(f"{place.label} has {key!r} twice in one object; write each column once.")
    return content


def _orient(content: object) -> str | None:
    """Return the orient of a document, ``nested`` for one that may be ``columns`` or ``index``; ``None`` for none."""
    if isinstance(content, list):
        if all(isinstance(row, dict) for row in content):
            return "records"
        return "values" if all(isinstance(row, list) for row in content) else None
    if not isinstance(content, dict) or not content:
        return None
    if isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):
        return "split"
    if isinstance(content.get("schema"), dict) and isinstance(content.get("data"), list):
        return "table"
    return "nested" if all(isinstance(inner, dict) for inner in content.values()) else None


def _frame_of(content: Any, columns: Columns, label: str) -> tuple[pl.DataFrame, bool, str]:
    orient = _orient(content)
    if orient == "records":
        return _of_records(content, label), True, orient
    if orient == "values":
        width = max(map(len, content), default=0)
        _check_rows(content, width, label)
        return _of_rows(content, [str(place + 1) for place in range(width)]), False, orient
    if orient == "split":
        titles = list(distinct_names([str(name) for name in content["columns"]]))
        _check_rows(content["data"], len(titles), label)
        return _of_rows(content["data"], titles), True, orient
    if orient == "table":
        frame = _of_records(content["data"], label)
        key = content["schema"].get("primaryKey", [])
        return frame.drop(level for level in key if level == "index" and level in frame.columns), True, orient
    if orient == "nested":
        return _of_nested(content, columns, label)
    if isinstance(content, dict) and any(isinstance(inner, list) for inner in content.values()):
        names = ", ".join(repr(name) for name, inner in content.items() if isinstance(inner, list))
        raise UnreadableFile(
            f"{label} holds its rows within another object (under {names}); write that list alone, or one object a line."
        )
    raise UnreadableFile(
        f"{label} is JSON of a form that is not read; write a list of objects, or one object a line."
    )


def _of_nested(
    content: dict[str, dict[str, Any]], columns: Columns, label: str
) -> tuple[pl.DataFrame, bool, str]:
    outer, inner = (
        list(content),
        list(dict.fromkeys(key for inner_object in content.values() for key in inner_object)),
    )
    named = {columns.user, columns.product, columns.time, columns.quantity}
    scores = [sum(plays_a_role(name) or name in named for name in names) for names in (outer, inner)]
    if scores[0] == scores[1]:
        numbers = [all(name.isdecimal() for name in names) for names in (outer, inner)]
        if numbers[0] == numbers[1]:
            raise ColumnProblem(
                f"{label} may be JSON in the orient columns or index: neither {outer[0]!r} nor {inner[0]!r} is a usual name. "
                "Name the columns with --user-column and --product-column, or write records."
            )
        scores = [int(numbers[1]), int(numbers[0])]
    if scores[0] > scores[1]:
        return (
            _of_records([{name: content[name].get(row) for name in outer} for row in inner], label),
            True,
            "columns",
        )
    return _of_records(list(content.values()), label), True, "index"


def _check_rows(rows: Sequence[object], width: int, label: str) -> None:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != width:
            has = f"has {len(row)} values" if isinstance(row, list) else "is no list"
            raise UnreadableFile(
                f"{label} is ragged: row {number:,} {has} where {width} are wanted; mend it."
            )


def _of_records(rows: Sequence[dict[str, Any]], label: str) -> pl.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row))
    _check_width(names, label)
    for row in rows:
        for value in row.values():
            if isinstance(value, dict):
                _check_width(list(value), label)
    return pl.DataFrame([_series(name, [row.get(name) for row in rows]) for name in names])


def _of_rows(rows: Sequence[list[Any]], names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame([_series(name, [row[place] for row in rows]) for place, name in enumerate(names)])


def _series(name: str, values: list[Any]) -> pl.Series:
    """Return the values of a column; those of several types as text, as JSON spells them."""
    types = {type(value) for value in values} - {type(None)}
    if types <= {int}:
        fits = all(value is None or -(2**63) <= value < 2**63 for value in values)
        return (
            pl.Series(name, values, dtype=pl.Int64 if fits else pl.Int128)
            if types
            else pl.Series(name, values, dtype=pl.String)
        )
    if types <= {int, float} and not any(isinstance(value, int) and abs(value) > EXACT for value in values):
        return pl.Series(name, values, dtype=pl.Float64)
    if len(types) == 1 and types <= {str, bool}:
        return pl.Series(name, values)
    if types == {dict} or types == {list}:
        with suppress(pl.exceptions.PolarsError, TypeError, OverflowError):
            return pl.Series(name, values, strict=False)
    if dict in types:  # no text: an object is no id
        return pl.Series(name, [None if value is None else {"as JSON": _spelled(value)} for value in values])
    return pl.Series(name, [_spelled(value) for value in values], dtype=pl.String)


def _spelled(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
