"""A true log, and random ways of writing it: what is read back must be the log, or a sentence that refuses it."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import io
import json
import lzma
import random
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import read_purchases
from tastemaker.errors import TastemakerError

UTC = datetime.UTC
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)

USUAL = {
    "user": ["user_id", "CustomerID", "Customer ID", "visitorid", "userId"],
    "product": ["product_id", "StockCode", "item_id", "sku", "articleId"],
    "time": ["timestamp", "InvoiceDate", "order_date", "event_time", "t_dat"],
    "quantity": ["quantity", "Qty", "units"],
}
OTHER = {"user": "kunde", "product": "ware", "time": "wann", "quantity": "menge"}

TIMES: dict[str, tuple[str, int]] = {
    "%Y-%m-%d": ("%Y-%m-%d", 86_400),
    "iso seconds": ("%Y-%m-%d %H:%M:%S", 1),
    "iso T": ("%Y-%m-%dT%H:%M:%S", 1),
    "iso Z": ("%Y-%m-%dT%H:%M:%SZ", 1),
    "iso offset": ("%Y-%m-%dT%H:%M:%S+00:00", 1),
    "iso minutes": ("%Y-%m-%d %H:%M", 60),
    "slashes": ("%Y/%m/%d", 86_400),
    "dots y first": ("%Y.%m.%d", 86_400),
    "d.m.Y": ("%d.%m.%Y", 86_400),
    "d.m.Y H:M": ("%d.%m.%Y %H:%M", 60),
    "m/d/Y": ("%m/%d/%Y", 86_400),
    "m/d/Y H:M": ("%m/%d/%Y %H:%M", 60),
    "d/m/y": ("%d/%m/%y", 86_400),
    "m/d/y": ("%m/%d/%y", 86_400),
    "d-m-Y": ("%d-%m-%Y", 86_400),
    "d-Mon-y": ("%d-%b-%y", 86_400),
    "d Mon Y": ("%d %b %Y", 86_400),
    "am pm": ("%m/%d/%Y %I:%M %p", 60),
    "compact": ("%Y%m%d", 86_400),
    "compact minutes": ("%Y%m%d %H:%M", 60),
    "stamp": ("%Y%m%d%H%M%S", 1),
    "seconds": ("", 1),
    "milliseconds": ("", 1),
    "microseconds": ("", 1),
    "nanoseconds": ("", 1),
    "excel": ("", 86_400),
}

BARE_QUOTE = "\x02"
"""Stands for a field with a quote in it that nobody doubled"""

PLAIN = ("csv", "tsv", "semicolon", "pipe", "colons")
KINDS = (
    *PLAIN,
    *PLAIN,
    *PLAIN,
    "jsonl",
    "records",
    "columns",
    "index",
    "split",
    "table",
    "parquet",
    "arrow",
    "xlsx",
)
SEPARATORS = {"csv": ",", "tsv": "\t", "semicolon": ";", "pipe": "|", "colons": "::"}
PACKINGS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way of writing a log."""

    kind: str
    ids: tuple[str, str]
    time: str | None
    quantity: str | None
    header: str
    encoding: str
    ends: str
    packing: str | None
    quoting: int
    order: tuple[str, ...]
    parts: int
    extras: tuple[str, ...]
    oddities: frozenset[str]
    names: dict[str, str] = field(default_factory=dict)


Row = tuple[str, str, int | None, float | None]


def a_dialect(rng: random.Random) -> Dialect:
    kind = rng.choice(KINDS)
    plain = kind in PLAIN
    ids = ("integers", "codes", "words", "zeros", "odd", "floats", "large", "mixed")
    roles = ["user", "product"]
    time = rng.choice([None, *TIMES, *TIMES])
    quantity = rng.choice([None, None, "whole", "decimal", "thousands", "comma"])
    roles += ["time"] * (time is not None) + ["quantity"] * (quantity is not None)
    extras = tuple(rng.sample(["price", "status", "country", "note"], rng.randrange(3)))
    header = (
        rng.choice(["usual"] * 6 + ["other", "other", "none"])
        if plain
        else rng.choice(["usual"] * 4 + ["other"])
    )
    order = [*roles, *extras]
    if header != "none":
        rng.shuffle(order)
    odd = {
        "repeated header": 0.1,
        "comment": 0.1,
        "sep line": 0.05,
        "blank line": 0.1,
        "no last end": 0.2,
        "spaces": 0.1,
        "late comment": 0.05,
        "bare quotes": 0.1,
    }
    return Dialect(
        kind=kind,
        ids=(rng.choice(ids), rng.choice(ids)),
        time=time,
        quantity=quantity,
        header=header,
        encoding=rng.choice(["utf-8"] * 4 + ["utf-8-sig", "utf-16", "cp1252"]) if plain else "utf-8",
        ends=rng.choice(["\n", "\n", "\r\n", "\r"]),
        packing=rng.choice([None] * 5 + [*PACKINGS, "zip"]),
        quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        order=tuple(order),
        parts=rng.choice([1, 1, 1, 2, 3]),
        extras=extras,
        oddities=frozenset(name for name, share in odd.items() if plain and rng.random() < share),
        names={role: rng.choice(USUAL[role]) if header != "other" else OTHER[role] for role in USUAL},
    )


def a_log(rng: random.Random, dialect: Dialect) -> list[Row]:
    count = rng.choice([3, 12, 60, 300])
    pools = [_ids(rng, form, max(3, count // 4)) for form in dialect.ids]
    unit = TIMES[dialect.time][1] if dialect.time else 1
    start = rng.randrange(1_100_000_000, 1_650_000_000)
    rows: list[Row] = []
    for _ in range(count):
        moment = (start + rng.randrange(0, 3 * 365 * 86_400)) // unit * unit
        amount = {None: None, "whole": float(rng.randrange(1, 20)), "decimal": rng.randrange(1, 4000) / 8,
                  "thousands": float(rng.randrange(1, 9000)), "comma": rng.randrange(1, 4000) / 4}[dialect.quantity]  # fmt: skip
        rows.append(
            (rng.choice(pools[0]), rng.choice(pools[1]), moment * 1_000_000 if dialect.time else None, amount)
        )
    return rows


def _ids(rng: random.Random, form: str, count: int) -> list[str]:
    if form in ("integers", "floats"):
        return [str(rng.randrange(1, 50_000)) for _ in range(count)]
    if form == "large":
        return [str(rng.randrange(10**16, 9 * 10**18)) for _ in range(count)]
    if form == "codes":
        return [f"{rng.choice('ABCxyz')}{rng.randrange(1000):03}" for _ in range(count)]
    if form == "zeros":
        return [f"{rng.randrange(1, 100_000):08}" for _ in range(count)]
    if form == "mixed":
        return [str(rng.randrange(1, 999)) for _ in range(count - 1)] + [f"guest-{rng.randrange(9)}"]
    if form == "words":
        return [
            rng.choice(["anna", "bob", "zoe", "Ömer", "José", "tea pot", "ink"]) + rng.choice("abcdefgh")
            for _ in range(count)
        ]
    letters = ['a"b', "x,y", "p;q", "#7", "t|u", "it's", "a::b", "ü ß", "50%", "<b>", "=1+1"]
    return [f"{rng.choice(letters)}{rng.randrange(99)}" for _ in range(count)]


def write(folder: Path, rng: random.Random, dialect: Dialect, rows: list[Row]) -> Path | list[Path]:
    """Write the rows in the dialect, in as many files as it says; return what is to be read."""
    size = -(-len(rows) // dialect.parts)
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    paths = []
    for place, part in enumerate(parts):
        content, ending = _content(rng, dialect, part)
        if dialect.packing == "zip":
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr(f"part{place}{ending}", content)
            content, ending = packed.getvalue(), ".zip"
        elif dialect.packing:
            content, ending = PACKINGS[dialect.packing](content), f"{ending}.{dialect.packing}"
        path = folder / f"part-{place:03}{ending}"
        path.write_bytes(content)
        paths.append(path)
    if len(paths) == 1:
        return paths[0]
    return paths if rng.random() < 0.5 else folder


def _content(rng: random.Random, dialect: Dialect, rows: list[Row]) -> tuple[bytes, str]:
    named = {role: dialect.names.get(role, role) for role in dialect.order}
    if dialect.kind in PLAIN:
        return _delimited(rng, dialect, rows, [named[role] for role in dialect.order])
    records = [{named[role]: _typed(rng, dialect, role, row) for role in dialect.order} for row in rows]
    if dialect.kind == "jsonl":
        return "".join(
            json.dumps(record, ensure_ascii=rng.random() < 0.5) + "\n" for record in records
        ).encode(), ".jsonl"
    if dialect.kind in ("parquet", "arrow", "xlsx"):
        return _typed_file(dialect.kind, records)
    return _document(dialect.kind, records).encode(), ".json"


def _document(kind: str, records: list[dict[str, Any]]) -> str:
    names = list(records[0])
    if kind == "records":
        return json.dumps(records)
    if kind == "columns":
        return json.dumps(
            {name: {str(place): record[name] for place, record in enumerate(records)} for name in names}
        )
    if kind == "index":
        return json.dumps({str(place): record for place, record in enumerate(records)})
    if kind == "split":
        return json.dumps(
            {
                "columns": names,
                "index": list(range(len(records))),
                "data": [list(record.values()) for record in records],
            }
        )
    schema = {"fields": [{"name": "index", "type": "integer"}], "primaryKey": ["index"]}
    return json.dumps(
        {"schema": schema, "data": [{"index": place} | record for place, record in enumerate(records)]}
    )


def _typed_file(kind: str, records: list[dict[str, Any]]) -> tuple[bytes, str]:
    columns = {}
    for name in records[0]:
        values = [record[name] for record in records]
        mixed = len({type(value) for value in values}) > 1
        columns[name] = [str(value) for value in values] if mixed else values
    frame, out = pl.DataFrame(columns), io.BytesIO()
    if kind == "parquet":
        frame.write_parquet(out)
    elif kind == "arrow":
        frame.write_ipc(out)
    else:
        frame.write_excel(out)
    return out.getvalue(), f".{kind}"


def _typed(rng: random.Random, dialect: Dialect, role: str, row: Row) -> Any:
    """Return a cell as JSON and typed files hold it: numbers as numbers, where they are."""
    text = _cell(rng, dialect, role, row)
    if role in ("user", "product"):
        form = dialect.ids[role == "product"]
        number = text.isdecimal() and str(int(text)) == text
        as_number = (
            form in ("integers", "large", "mixed")
            and number
            and not (form == "large" and dialect.kind == "xlsx")
        )
        return (
            float(text) if form == "floats" and dialect.kind != "xlsx" else int(text) if as_number else text
        )
    if role == "time" and dialect.time in ("seconds", "milliseconds", "microseconds", "nanoseconds", "excel"):
        return int(text)
    if role == "quantity" and dialect.quantity in ("whole", "decimal"):
        return float(text)
    return text


def _cell(rng: random.Random, dialect: Dialect, role: str, row: Row) -> str:
    if role in ("user", "product"):
        text = row[role == "product"]
        if dialect.ids[role == "product"] == "floats":
            return f"{text}.0"
        return f" {text} " if "spaces" in dialect.oddities and rng.random() < 0.3 else text
    if role == "time":
        return written_time(dialect.time or "", row[2] or 0)
    if role == "quantity":
        return _quantity(dialect.quantity or "", row[3] or 0.0)
    if role == "note" and "bare quotes" in dialect.oddities:
        return BARE_QUOTE
    return {"price": f"{rng.randrange(1, 9000) / 100:.2f}", "status": rng.choice(["paid", "open"]),
            "country": rng.choice(["DE", "FR"]), "note": rng.choice(["", "ok", "gift, wrapped"])}[role]  # fmt: skip


def written_time(form: str, moment: int) -> str:
    factor = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}.get(form)
    if factor:
        return str(moment // factor)
    if form == "nanoseconds":
        return str(moment * 1_000)
    if form == "excel":
        return str(moment // 86_400_000_000 + 25_569)
    return (EPOCH + datetime.timedelta(microseconds=moment)).strftime(TIMES[form][0])


def _quantity(form: str, amount: float) -> str:
    if form == "whole":
        return str(int(amount))
    if form == "thousands":
        return f"{int(amount):,}"
    return f"{amount:.3f}".rstrip("0").rstrip(".").replace(".", "," if form == "comma" else ".")


def _delimited(rng: random.Random, dialect: Dialect, rows: list[Row], names: list[str]) -> tuple[bytes, str]:
    separator = SEPARATORS[dialect.kind]
    lines = [
        _line([_cell(rng, dialect, role, row) for role in dialect.order], separator, dialect.quoting)
        for row in rows
    ]
    if dialect.header != "none":
        header = _line(names, separator, csv.QUOTE_MINIMAL)
        if "repeated header" in dialect.oddities and len(lines) > 2:
            lines.insert(rng.randrange(1, len(lines)), header)
        lines.insert(0, header)
    if "late comment" in dialect.oddities:
        lines.insert(rng.randrange(1, len(lines) + 1), "# a remark")
    if "comment" in dialect.oddities:
        lines.insert(0, "# made by the till")
    if "sep line" in dialect.oddities:
        lines.insert(0, f"sep={separator}")
    if "blank line" in dialect.oddities:
        lines.append("")
    lines = [line.replace(BARE_QUOTE, '7" vinyl') for line in lines]
    text = dialect.ends.join(lines) + ("" if "no last end" in dialect.oddities else dialect.ends)
    ending = ".tsv" if dialect.kind == "tsv" and rng.random() < 0.5 else rng.choice([".csv", ".csv", ".txt"])
    return text.encode(dialect.encoding), ending


def _line(cells: list[str], separator: str, quoting: int) -> str:
    if len(separator) > 1:
        return separator.join(cells)
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="", quoting=quoting).writerow(cells)  # type: ignore[arg-type]
    return out.getvalue()


def judged(folder: Path, seed: int) -> tuple[str, Dialect, str]:
    """Write and read the log of a seed; return ``equal``, ``refused`` or ``fault``, the dialect, and what was said or differs."""
    rng = random.Random(seed)
    dialect = a_dialect(rng)
    rows = a_log(rng, dialect)
    try:
        source = write(folder, rng, dialect, rows)
    except (UnicodeEncodeError, csv.Error):
        return "unwritable", dialect, ""
    columns = Columns()
    told = dialect.header == "none" and rng.random() < 0.5
    if dialect.header == "other" and (dialect.kind not in PLAIN or rng.random() < 0.5):
        columns = Columns(**{role: OTHER[role] for role in USUAL if role in dialect.order})
    elif dialect.header != "usual":  # by position; whether there is a header the rows tell, or a question
        columns = Columns(
            **{role: str(dialect.order.index(role) + 1) for role in USUAL if role in dialect.order}
        )
    try:
        log = read_purchases(source, columns=columns, reading=Reading(header=False if told else None))
    except TastemakerError as error:
        return "refused", dialect, str(error)
    users, products = (vocabulary.ids.cast(pl.String).to_list() for vocabulary in (log.users, log.products))
    found = [
        (
            users[log.user_rows[place]],
            products[log.product_rows[place]],
            None if log.times is None else int(log.times[place]),
            None if log.quantities is None else float(log.quantities[place]),
        )
        for place in range(len(log))
    ]
    if found == rows:
        return "equal", dialect, ""
    first = next(
        (place for place, (one, other) in enumerate(zip(found, rows, strict=False)) if one != other), None
    )
    where = (
        f"row {first}: {found[first]} for {rows[first]}"
        if first is not None
        else f"{len(found)} rows for {len(rows)}"
    )
    return "fault", dialect, where
