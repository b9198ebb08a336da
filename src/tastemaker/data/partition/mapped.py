"""`open_partition`: a log whose arrays are mapped from the files that `partition_log` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories, KeptHistories, Purchases
from tastemaker.data.summary import ReadSummary, TimeSummary
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import DataError
from tastemaker.types import AnyArray

__all__ = ["ARRAYS", "FACTS", "open_partition"]

ARRAYS = ("user_rows", "product_rows", "times", "quantities")
"""Those of `Purchases` that are kept"""
FACTS = "facts.json"


def open_partition(folder: str | Path) -> Purchases:
    """Return the log of a folder; only what is looked at is read from the disk. Raises `DataError` where it is not complete."""
    path = Path(folder) / "log"
    try:
        facts = json.loads((path / FACTS).read_text())
        arrays = {
            name: _mapped(path / f"{name}.npy") for name in (*ARRAYS, "history_offsets", "history_products")
        }
        users, products = (_vocabulary(path, noun, facts[noun]) for noun in ("user", "product"))
        user_rows, product_rows, times, quantities = (arrays[name] for name in ARRAYS)
        offsets, pairs = arrays["history_offsets"], arrays["history_products"]
        if user_rows is None or product_rows is None or offsets is None or pairs is None:
            raise ValueError("an array is missing")
        return Purchases(
            users, products, user_rows, product_rows, times, quantities, _summary(facts["summary"]),
            time_unit=facts["time_unit"],
            kept_histories=KeptHistories(user_rows, product_rows, Histories(offsets, pairs)),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{folder} holds no whole partition of a log ({error}); remove it and partition the log again."
        ) from error


def _mapped(file: Path) -> AnyArray | None:
    # a private copy of what is written to, not read-only: kernels are compiled for arrays that can be written to
    return np.asarray(np.load(file, mmap_mode="c")) if file.exists() else None


def _vocabulary(path: Path, noun: Any, facts: dict[str, Any]) -> Vocabulary:
    named: Noun = noun
    ids = pl.read_ipc(path / f"{noun}s.arrow").get_column("id")
    return Vocabulary(ids, named, facts["form"], facts["sorted"])


def _summary(facts: dict[str, Any]) -> ReadSummary:
    time = None if facts["time"] is None else TimeSummary(**facts["time"])
    lists = {name: tuple(map(tuple, facts[name])) for name in ("over_time", "buyers")}
    texts = {name: tuple(facts[name]) for name in ("files", "unused_columns", "warnings")}
    return ReadSummary(**facts | lists | texts | {"time": time, "first_rows": ()})
