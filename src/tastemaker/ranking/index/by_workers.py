"""`IndexWorkers`: the workers of an executor make the parts of an index, and rank lists to measure it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tastemaker.model.folder import MANIFEST, load
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.approximate import AT_ONCE, Approximate, faiss
from tastemaker.ranking.index.making import Points, learn_cells, make_part, put_together
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.rank import rank_users
from tastemaker.ranking.top_k import Candidates
from tastemaker.scale.executor import Executor, Tally
from tastemaker.types import AnyArray, Rows

__all__ = ["IndexWorkers", "Read", "make_block", "rank_some"]

PRODUCTS_A_PART = 1 << 16
"""Products of a part; it depends on nothing else, so that the parts are the same everywhere."""

LEARNED = "learned.npy"
"""The index without products, in the folder where an index is built"""


class Read(NamedTuple):
    """How much of an index is read for a query."""

    file: str
    """Its file"""
    probes: int = 1
    over: int = 4


class IndexPart(NamedTuple):
    """One task: the products from ``low`` to ``high``."""

    model: str
    learned: str
    """A file that all workers see"""
    greatest: float
    low: int
    high: int
    threads: int | None


class TimedLists(NamedTuple):
    """One task: lists of some users, to be timed."""

    model: str
    mark: bytes
    """The model's manifest, so that a worker sees when another model stands there"""
    read: Read | None
    """``None`` ranks exactly"""
    users: Rows
    """``int32[n]``"""
    k: int
    threads: int | None


@dataclass(frozen=True, slots=True)
class IndexWorkers:
    """Who builds the index of a model's folder, where all of them see it."""

    model: Path
    executor: Executor
    tally: Tally = field(default_factory=Tally)

    def make(self, model: TasteModel, folder: Path, seed: int) -> Any:
        """Return the library's index over the products; ``folder`` holds what the workers need for it."""
        points = Points.of(np.asarray(model.product_vectors), np.asarray(model.product_bias))
        learned, file = learn_cells(points, seed), folder / LEARNED
        np.save(file, learned)
        count, threads = len(points.vectors), self.executor.threads
        tasks = [
            IndexPart(
                str(self.model), str(file), points.greatest, low, min(low + PRODUCTS_A_PART, count), threads
            )
            for low in range(0, count, PRODUCTS_A_PART)
        ]
        parts = self.executor.run(make_block, tasks, on_done=self.tally)
        file.unlink()
        return put_together(learned, parts)

    def rank(self, users: Rows, k: int, read: Read | None) -> tuple[RankedLists, float]:
        """Return the lists of the users at these rows, ``int32[Q]``, and the seconds in which workers ranked them."""
        mark = (self.model / MANIFEST).read_bytes()
        tasks = [
            TimedLists(str(self.model), mark, read, users[low : low + AT_ONCE], k, self.executor.threads)
            for low in range(0, len(users), AT_ONCE)
        ]
        found = self.executor.run(rank_some, tasks, on_done=self.tally)
        return RankedLists.joined([lists for lists, _ in found]), sum(seconds for _, seconds in found)


def make_block(task: IndexPart) -> AnyArray:
    """Return an index of some products, as bytes."""
    model = load(task.model)
    points = Points(np.asarray(model.product_vectors), np.asarray(model.product_bias), task.greatest)
    learned: AnyArray = np.load(task.learned, allow_pickle=False)
    return make_part(points, learned, task.low, task.high, task.threads)


def rank_some(task: TimedLists) -> tuple[RankedLists, float]:
    """Return the lists of some users, and how many seconds they took."""
    model, exact = _ready(task.model, task.mark)
    candidates: Candidates | Approximate = exact
    if task.read is not None:
        vectors = np.asarray(model.product_vectors)
        candidates = Approximate(exact, vectors, _index(task.read.file), task.read.probes, task.read.over)
    began = time.perf_counter()
    lists = rank_users(model, task.users, candidates, k=task.k, threads=task.threads)
    return lists, time.perf_counter() - began


@lru_cache(maxsize=1)
def _ready(folder: str, mark: bytes) -> tuple[TasteModel, Candidates]:
    """Return a model and its products packed; a worker does it once, for all lists."""
    model = load(folder)
    return model, product_candidates(model)


@lru_cache(maxsize=1)
def _index(file: str) -> Any:
    return faiss().read_index(file)
