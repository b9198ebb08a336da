"""`partition_log`: a log of files in, the same log in arrays on disk out, in memory that does not grow with its purchases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.lib.format import open_memmap

from tastemaker.data.identifiers import sorted_ids
from tastemaker.data.partition.mapped import ARRAYS, FACTS, open_partition
from tastemaker.data.partition.pieces import (
    Piece,
    check_alike,
    check_reading,
    digest_of,
    pieces_of,
)
from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import distinct, offsets_of, pair_keys
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import read_purchases
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import FolderExists, NoPurchases
from tastemaker.storage import replace_text, writing_folder
from tastemaker.types import AnyArray, Offsets

__all__ = ["partition_log"]

ROWS_AT_ONCE = 2_000_000
"""Rows of Parquet that are read together"""
PAIRS_AT_ONCE = 2_000_000
"""About how many purchases are sorted together"""
PLAN = "plan.json"
NOUNS: tuple[Noun, Noun] = ("user", "product")


def partition_log(
    logs: str | Path | Sequence[str | Path],
    folder: str | Path,
    *,
    columns: Columns = Columns(),  # noqa: B008  (a frozen value)
    reading: Reading = Reading(),  # noqa: B008
    rows_at_once: int = ROWS_AT_ONCE,
    on_piece: Callable[[int, int, Piece], object] = lambda *_: None,
) -> Purchases:
    """Return the log that `read_purchases` would return, whose arrays are those of files in ``folder``, mapped.

    Pieces are read one after the other and written, then put together: rows of all pieces in one vocabulary, and the distinct
    products of each user (`Histories`), sorted by ranges of users. Memory holds one piece, the ids of all users and products, and
    one range. A run that was ended goes on after the last whole piece; a folder that is complete is opened at once.

    Raises what `read_purchases` raises, `SettingProblem` for what needs the whole log at once, `DataError` where pieces were
    understood in two ways, and `FolderExists` for a folder that holds another log.
    """
    check_reading(reading)
    pieces = pieces_of([logs] if isinstance(logs, str | Path) else logs, rows_at_once)
    if not pieces:
        raise NoPurchases("there is no row to read.")
    target, digest = Path(folder), digest_of(pieces, columns, reading)
    _begin(target, digest)
    if not (target / "log").is_dir():
        first: Purchases | None = None
        for number, piece in enumerate(pieces):
            on_piece(number, len(pieces), piece)
            part = target / "pieces" / f"{number:06}"
            if not part.is_dir() or first is None:
                log = read_purchases(piece.opened(), columns=columns, reading=reading)
                first = first or log
                check_alike(first, log, piece.label)
                if not part.is_dir():
                    _write(log, part)
        _put_together(target, len(pieces), tuple(dict.fromkeys(piece.label for piece in pieces)))
        shutil.rmtree(target / "pieces", ignore_errors=True)
    return open_partition(target)


def _begin(target: Path, digest: str) -> None:
    plan = target / PLAN
    if plan.exists():
        if json.loads(plan.read_text())["digest"] != digest:
            raise FolderExists(
                f"{target} holds the partition of another log, of other flags, or of files that have changed; "
                "remove it or give another folder."
            )
        return
    if target.exists() and any(target.iterdir()):
        raise FolderExists(f"{target} is no partition of a log; give a new folder.")
    target.mkdir(parents=True, exist_ok=True)
    replace_text(plan, json.dumps({"digest": digest}))


def _write(log: Purchases, part: Path) -> None:
    """Write a piece, whole or not at all."""
    part.parent.mkdir(exist_ok=True)
    with writing_folder(part) as temporary:
        for name in ARRAYS:
            if (array := getattr(log, name)) is not None:
                np.save(temporary / f"{name}.npy", array)
        facts: dict[str, Any] = {"rows": len(log), "time_unit": log.time_unit}
        for noun, vocabulary in (("user", log.users), ("product", log.products)):
            vocabulary.ids.to_frame("id").write_ipc(temporary / f"{noun}s.arrow")
            facts[f"{noun}_form"] = vocabulary.form
        summary = asdict(log.summary) | {"first_rows": (), "buyers": ()}
        (temporary / FACTS).write_text(json.dumps(facts | {"summary": summary}))


def _put_together(target: Path, count: int, files: tuple[str, ...]) -> None:
    parts = [target / "pieces" / f"{number:06}" for number in range(count)]
    facts = [json.loads((part / FACTS).read_text()) for part in parts]
    with writing_folder(target / "log") as temporary:
        vocabularies = [_vocabulary(parts, noun, facts[0][f"{noun}_form"]) for noun in NOUNS]
        starts = offsets_of([one["rows"] for one in facts])
        _place_rows(parts, starts, vocabularies, temporary)
        for name in ("times", "quantities"):
            if (parts[0] / f"{name}.npy").exists():
                _join(parts, starts, name, temporary)
        pairs = _write_histories(temporary, int(starts[-1]), *(len(one) for one in vocabularies))
        kept: dict[str, Any] = {"rows": int(starts[-1]), "time_unit": facts[0]["time_unit"]}
        for vocabulary in vocabularies:
            vocabulary.ids.to_frame("id").write_ipc(temporary / f"{vocabulary.noun}s.arrow")
            kept[vocabulary.noun] = {"form": vocabulary.form, "sorted": vocabulary.is_sorted}
        summary = _added([one["summary"] for one in facts])
        summary |= {
            "files": files, "users": len(vocabularies[0]), "products": len(vocabularies[1]), "pairs": pairs,
            "repeats": kept["rows"] - pairs,
        }  # fmt: skip
        (temporary / FACTS).write_text(json.dumps(kept | {"summary": summary}))


def _vocabulary(parts: Sequence[Path], noun: Noun, form: Any) -> Vocabulary:
    ids = pl.Series("id", [], dtype=_ids(parts[0], noun).dtype)
    waiting: list[pl.Series] = []
    for part in parts:
        waiting.append(_ids(part, noun))
        if part is parts[-1] or sum(map(len, waiting)) >= len(ids):  # so that none is looked at too often
            ids = pl.concat([ids, *waiting]).unique()
            waiting.clear()
    return Vocabulary(sorted_ids(ids, form).alias("id"), noun, form, form != "integers and text")


def _ids(part: Path, noun: Noun) -> pl.Series:
    return pl.read_ipc(part / f"{noun}s.arrow").get_column("id")


def _place_rows(
    parts: Sequence[Path], starts: Offsets, vocabularies: Sequence[Vocabulary], folder: Path
) -> None:
    """Write the rows of all pieces as rows of the whole vocabularies."""
    for vocabulary in vocabularies:
        name = f"{vocabulary.noun}_rows"
        out = open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.int32, shape=(int(starts[-1]),))
        for number, part in enumerate(parts):
            places = vocabulary.rows(_ids(part, vocabulary.noun))
            out[starts[number] : starts[number + 1]] = places[np.load(part / f"{name}.npy")]
        out.flush()


def _join(parts: Sequence[Path], starts: Offsets, name: str, folder: Path) -> None:
    dtype = np.load(parts[0] / f"{name}.npy", mmap_mode="r").dtype
    out = open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=(int(starts[-1]),))
    for number, part in enumerate(parts):
        out[starts[number] : starts[number + 1]] = np.load(part / f"{name}.npy")
    out.flush()


def _write_histories(folder: Path, rows: int, users: int, products: int) -> int:
    """Write the distinct products of each user, ascending, and return how many pairs there are.

    Purchases go to files by ranges of users, about `PAIRS_AT_ONCE` each; a range is then sorted by itself.
    """
    user_rows, product_rows = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("user_rows", "product_rows")
    )
    counts = np.zeros(users, np.int64)
    for low in range(0, rows, PAIRS_AT_ONCE):
        counts += np.bincount(user_rows[low : low + PAIRS_AT_ONCE], minlength=users)
    ends = np.cumsum(counts)
    ranges = max(1, -(-rows // PAIRS_AT_ONCE))
    borders = np.searchsorted(ends, np.arange(1, ranges) * rows / ranges)
    borders = np.unique(np.concatenate(([0], borders, [users]))).astype(np.int64)
    files = [folder / f"range-{number}" for number in range(len(borders) - 1)]
    for low in range(0, rows, PAIRS_AT_ONCE):
        keys = pair_keys(
            user_rows[low : low + PAIRS_AT_ONCE], product_rows[low : low + PAIRS_AT_ONCE], products
        )
        keys.sort()
        cuts = np.searchsorted(keys, borders * products)
        for number, file in enumerate(files):
            with file.open("ab") as out:
                keys[cuts[number] : cuts[number + 1]].tofile(out)
    lengths, pairs = np.zeros(users, np.int64), 0
    with (folder / "pairs").open("wb") as out:
        for file in files:
            keys = distinct(np.fromfile(file, np.int64))
            owners, found = np.divmod(keys, products)
            lengths += np.bincount(owners, minlength=users)
            found.astype(np.int32).tofile(out)
            pairs += len(keys)
            file.unlink()
    np.save(folder / "history_offsets.npy", offsets_of(lengths))
    _as_npy(folder / "pairs", folder / "history_products.npy", pairs)
    return pairs


def _as_npy(raw: Path, file: Path, count: int) -> None:
    out = open_memmap(file, mode="w+", dtype=np.int32, shape=(count,))
    if count:
        source: AnyArray = np.memmap(raw, np.int32, mode="r")
        for low in range(0, count, PAIRS_AT_ONCE):
            out[low : low + PAIRS_AT_ONCE] = source[low : low + PAIRS_AT_ONCE]
    out.flush()
    raw.unlink()


def _added(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what reading all pieces counted."""
    first, total = summaries[0], dict(summaries[0])
    for name, value in first.items():
        if isinstance(value, int):
            total[name] = sum(one[name] for one in summaries)
    names = {name for one in summaries for name in one["left_out"]}
    total["left_out"] = {
        name: sum(one["left_out"].get(name, 0) for one in summaries) for name in sorted(names)
    }
    total["warnings"] = list(dict.fromkeys(line for one in summaries for line in one["warnings"]))
    if first["time"] is not None:
        ends = [one["time"] for one in summaries]
        total["time"] = first["time"] | {
            "first": min(end["first"] for end in ends), "last": max(end["last"] for end in ends),
        }  # fmt: skip
    steps: dict[str, int] = {}
    for one in summaries:
        for label, count in one["over_time"]:
            steps[label] = steps.get(label, 0) + count
    total["over_time"] = sorted(steps.items())
    return total
