"""Files that know the types of their columns: Parquet, Arrow and workbooks."""

from __future__ import annotations

import importlib.util
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl

from tastemaker.data.reading.columns import Columns, distinct_names
from tastemaker.data.reading.files.dialect import HEAD, header_evidence
from tastemaker.data.reading.files.limits import LARGEST_WORKBOOK, MOST_COLUMNS
from tastemaker.data.reading.files.places import Place
from tastemaker.data.reading.files.source import Source, translated
from tastemaker.display import counted, quoted
from tastemaker.errors import ColumnProblem, UnreadableFile

__all__ = ["open_arrow", "open_parquet", "open_workbook"]

ARROW_STREAM: Final = b"\xff\xff\xff\xff"


def open_parquet(place: Place) -> Source:
    """Open a Parquet file; its columns are read where they are wanted. Raises `UnreadableFile`."""
    return _of_frame(pl.scan_parquet(place.path, glob=False, hive_partitioning=False), place)


def open_arrow(place: Place, start: bytes) -> Source:
    """Open an Arrow IPC file or stream, or Feather; a stream is read whole. Raises `UnreadableFile`."""
    if start.startswith(b"FEA1"):
        raise UnreadableFile(
            f"{place.label} is Feather of the first version; write it anew as Feather 2 or Parquet."
        )
    with translated(place.label):
        if start.startswith(ARROW_STREAM):
            return _of_frame(pl.read_ipc_stream(place.path).lazy(), place)
        return _of_frame(pl.scan_ipc(place.path, glob=False, hive_partitioning=False), place)


def _of_frame(frame: pl.LazyFrame, place: Place, notes: tuple[str, ...] = ()) -> Source:
    with translated(place.label):
        names = tuple(frame.collect_schema().names())
    if len(names) > MOST_COLUMNS:
        raise UnreadableFile(
            f"{place.label} has {len(names):,} columns; at most {MOST_COLUMNS:,} are read. It is no log of purchases."
        )
    return Source(place.label, names, lambda wanted: frame.select(wanted), notes=notes, files=(place.label,))


def open_workbook(place: Place, *, columns: Columns, header: bool | None, asks: bool) -> Source:
    """Open the first sheet of an Excel workbook with a table, read whole; say so where there are others, or lines above it.

    Raises `UnreadableFile`, also where fastexcel is not installed, and `ColumnProblem`.
    """
    label = place.label
    if importlib.util.find_spec("fastexcel") is None:
        raise UnreadableFile(
            f"{label} is an Excel workbook; install fastexcel to read it, or save it as CSV."
        )
    if zipfile.is_zipfile(place.path):
        size = sum(info.file_size for info in zipfile.ZipFile(place.path).infolist())
        if size > LARGEST_WORKBOOK:
            raise UnreadableFile(
                f"{label} holds {size >> 20:,} MiB when unpacked; at most {LARGEST_WORKBOOK >> 20:,} are read. Save it as CSV."
            )
    import fastexcel

    logging.getLogger("fastexcel").setLevel(logging.ERROR)  # it warns of columns without values
    try:
        book = fastexcel.read_excel(place.path)
        sheet = _sheet_with_table(book, label)
        raw = book.load_sheet(sheet, header_row=None, skip_rows=0, n_rows=HEAD, dtypes="string").to_polars()
        rows = tuple(tuple("" if cell is None else str(cell).strip() for cell in row) for row in raw.rows())
        above = _lines_above(rows)
        told, rows = sum(map(any, rows[:above])), rows[above:]
        found = header if header is not None else header_evidence(rows, columns)
        if found is None and asks and raw.width > 1:
            raise ColumnProblem(
                f"the rows of {label} do not tell whether its first line, {quoted(rows[0][:6])}, names the "
                "columns or is a row; say --header or --no-header, and name the columns: --user-column 1 --product-column 2."
            )
        where = {"header_row": above} if found else {"header_row": None, "skip_rows": above}
        frame = book.load_sheet(sheet, **where, schema_sample_rows=None, dtype_coercion="coerce").to_polars()
    except fastexcel.FastExcelError as error:
        raise UnreadableFile(
            f"cannot read {label}: its workbook is damaged or of a kind that is not read; save it as .xlsx or CSV."
        ) from error
    frame = frame.with_columns(_whole(column) for column in frame.iter_columns())
    titles = rows[0] if found else tuple(str(place + 1) for place in range(frame.width))
    if not found or len(set(titles)) < frame.width == len(
        titles
    ):  # fastexcel calls the second of a name otherwise
        frame.columns = list(distinct_names(titles))
    notes = []
    if len(book.sheet_names) > 1:
        notes.append(f"{label} has {len(book.sheet_names)} sheets; only {sheet!r} was read.")
    if told:
        were = "was" if told == 1 else "were"
        notes.append(f"{counted(told, 'line')} above the table of {label} {were} passed over.")
    opened = _of_frame(frame.lazy(), place, tuple(notes))
    return replace(opened, has_header=bool(found), head=rows[1:] if found else rows)


def _sheet_with_table(book: Any, label: str) -> str:
    """Return the first sheet that is wider than one column, or the first filled one."""
    widths = {name: book.load_sheet(name, header_row=None, n_rows=1).width for name in book.sheet_names}
    if not any(widths.values()):
        raise UnreadableFile(f"{label} is empty.")
    wide: str = next(
        (name for name, width in widths.items() if width > 1), max(widths, key=widths.__getitem__)
    )
    return wide


def _lines_above(rows: Sequence[Sequence[str]]) -> int:
    """Return how many lines stand above a table: its title and blank lines, with at most one cell filled where a row has more."""
    filled = [sum(map(bool, row)) for row in rows]
    return next((place for place, many in enumerate(filled) if many > 1), 0)


def _whole(column: pl.Series) -> pl.Series:
    """Return numbers that are all whole as integers; a workbook knows no others than floats."""
    if column.dtype != pl.Float64:
        return column
    whole = column.cast(pl.Int64, strict=False)
    return (
        whole
        if bool((whole.cast(pl.Float64).eq_missing(column) & (whole.abs() < 2**53).fill_null(True)).all())
        else column
    )
