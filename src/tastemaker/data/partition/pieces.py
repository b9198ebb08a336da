"""The pieces in which a log is read, one after the other, and what all of them must have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tastemaker.data.databases.address import is_address
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.files.places import places_of
from tastemaker.data.reading.options import Reading
from tastemaker.errors import DataError, SettingProblem

__all__ = ["Piece", "check_alike", "check_reading", "digest_of", "pieces_of"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a Parquet file, or another file whole."""

    path: Path
    label: str
    low: int = 0
    rows: int | None = None
    """``None`` where the file is read whole"""

    def opened(self) -> pl.DataFrame | Path:
        """Return what `read_purchases` reads."""
        if self.rows is None:
            return self.path
        return pl.scan_parquet(self.path, glob=False).slice(self.low, self.rows).collect()


def pieces_of(logs: Sequence[str | Path], rows_at_once: int) -> list[Piece]:
    """Return the pieces of files, folders and globs, in order; Parquet in pieces of ``rows_at_once`` rows.

    Raises what `places_of` raises, and `SettingProblem` for what has no files of this machine.
    """
    found: list[Piece] = []
    for log in logs:
        if is_address(log) or str(log) == "-":
            raise SettingProblem(
                f"--partition reads files of this machine, not {log}; write it to Parquet first."
            )
        for place in places_of(log):
            if place.keys:
                raise SettingProblem(
                    f"{place.label} lies in a folder that names a column, which --partition does not read; leave it out."
                )
            if not _is_parquet(place.path):
                found.append(Piece(place.path, place.label))
                continue
            total = pl.scan_parquet(place.path, glob=False).select(pl.len()).collect().item()
            found += [
                Piece(place.path, place.label, low, min(rows_at_once, total - low))
                for low in range(0, total, rows_at_once)
            ]
    return found


def digest_of(pieces: Sequence[Piece], columns: Columns, reading: Reading) -> str:
    """Return what changes when a file, the pieces, or how they are read do."""
    facts: list[object] = [repr(columns), repr(reading)]
    for piece in pieces:
        stat = piece.path.stat()
        facts.append((str(piece.path.absolute()), stat.st_size, stat.st_mtime_ns, piece.low, piece.rows))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def check_reading(reading: Reading) -> None:
    """Raise `SettingProblem` for what needs the whole log at once."""
    given = {
        "--join": reading.join, "--context": reading.context, "--event-column": reading.event_column,
        "--weight-column": reading.weight_column, "--value-column": reading.value_column,
        "--user-features": reading.user_features != "none", "--product-features": reading.product_features != "none",
        "--query": reading.query, "--table": reading.table,
    }  # fmt: skip
    if found := [flag for flag, value in given.items() if value]:
        raise SettingProblem(
            f"--partition keeps users, products, times and quantities alone; leave out {' and '.join(found)}, or --partition."
        )


def check_alike(first: Purchases, other: Purchases, label: str) -> None:
    """Raise `DataError` where two pieces were understood in two ways, and for refunds, which may lie in another piece."""
    if other.summary.left_out.keys() & {"taken_back", "refunds"}:
        raise DataError(
            f"{label} holds refunds, which may take back a purchase of another piece; read it without --partition."
        )

    def understood(log: Purchases) -> dict[str, object]:
        return {
            "its columns": {role: name for role, name in log.summary.columns.items() if name},
            "the ids of users": (log.users.ids.dtype, log.users.form),
            "the ids of products": (log.products.ids.dtype, log.products.form),
            "times": None if log.times is None else log.time_unit,
            "quantities": log.quantities is not None,
        }

    one, two = understood(first), understood(other)
    for what in one:
        if one[what] != two[what]:
            raise DataError(
                f"{what.capitalize()} were understood in two ways: {one[what]} at first, and {two[what]} in {label}; "
                "name columns and formats by flags, or read the log without --partition."
            )


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"
