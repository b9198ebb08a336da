"""How long a vocabulary of millions of text ids takes, and how much memory: ``python benchmarks/vocabulary.py``.

The ids are 20 letters and digits, as those of ASOS are; every one is looked up in an order unlike theirs. Memory is
the peak of the process, the ids to look up included.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import polars as pl

from common import machine, markdown, parser_of
from tastemaker.data.vocabulary import Vocabulary

LETTERS = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", dtype=np.uint8)
LENGTH = 20
SLICE = 1_000_000

Result = TypeVar("Result")


def random_ids(count: int, rng: np.random.Generator) -> pl.Series:
    """Return ``count`` random ids; among 62²⁰ none comes twice."""
    parts = []
    for start in range(0, count, SLICE):
        letters = LETTERS[rng.integers(0, len(LETTERS), (min(SLICE, count - start), LENGTH), dtype=np.uint8)]
        parts.append(pl.Series("id", letters.view(f"S{LENGTH}").ravel().astype(f"U{LENGTH}")))
    return pl.concat(parts)


def peak_gib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> None:
    count: int = parser_of(__doc__, ids=10_000_000).parse_args().ids
    rng = np.random.default_rng(0)
    rows_of_table = []

    def timed(step: str, work: Callable[[], Result], ids: int = count) -> Result:
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        rows_of_table.append([step, f"{seconds:.4f}", f"{ids / seconds / 1e6:.3f}", f"{peak_gib():.2f}"])
        return result

    ids = timed("make the ids", lambda: random_ids(count, rng))
    vocabulary = timed("collect and sort them", lambda: Vocabulary.of(ids, noun="user"))
    rows = timed("ids to rows, all", lambda: vocabulary.rows(ids))
    timed("ids to rows, 1 asked", lambda: vocabulary.rows(ids[:1]), 1)
    timed("ids to rows, 1,000 asked", lambda: vocabulary.rows(ids[:1_000]), 1_000)
    back = timed("rows to ids, all", lambda: vocabulary.at(rows))
    assert len(vocabulary) == count
    assert back.equals(ids)
    print(markdown(["step", "seconds", "million ids a second", "peak memory, GiB"], rows_of_table))
    print(f"\n{count:,} ids of {LENGTH} letters, one run; the vocabulary may take 4 GiB. {machine()}")


if __name__ == "__main__":
    main()
