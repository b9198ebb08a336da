"""What is kept of a model's lists when they have been measured: little, for tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.evaluation.exposure import exposure
from tastemaker.evaluation.metrics import find_hits, recall
from tastemaker.evaluation.segments import (
    MeasuredSegment,
    Segments,
    by_history_length,
    by_popularity,
    measure_segments,
)
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.lists import RankedLists
from tastemaker.types import AnyArray, Doubles, Offsets, Rows

__all__ = ["SHOWN", "Kept", "kept_of"]

SHOWN = 10
"""So many places count as what a user is shown."""

EXAMPLES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What pictures need of a model's lists."""

    recall: Doubles
    """``float64[longest]``: recall at 1, 2, …, the mean over users"""
    shown: Offsets
    """``int64[P]``, how often each product of TRAIN stands among the first 10 of a list"""
    examples: Mapping[int, tuple[object, ...]]
    """The first 10 products that a few users are shown, as ids, by the users' rows in TRAIN"""
    by_history: tuple[MeasuredSegment, ...]
    """The first metric of the comparison, by how much the users bought in TRAIN"""
    by_popularity: tuple[MeasuredSegment, ...]
    """``recall`` at the length of that metric, by how popular the product is in TRAIN"""


def kept_of(
    lists: RankedLists,
    wanted: Histories,
    users: Rows,
    model: TasteModel,
    train: Purchases,
    metric: str,
    seed: int,
) -> Kept:
    """Keep what pictures need of Q lists, for the users at these rows of the model, ``int32[Q]``; parts are those of TRAIN."""
    histories = train.histories()
    user_rows = _rows_in(train.users, model.users, users)
    product_rows = _rows_in(train.products, model.products, np.arange(len(model.products)))
    name, _, length = metric.partition("@")
    k = int(length)
    habits = by_history_length(histories, user_rows)
    popularity = _of_rows(by_popularity(histories, products=len(train.products)), product_rows)
    hits = find_hits(lists, wanted)
    longest = int(lists.lengths.max(initial=1))
    return Kept(
        np.array([recall(hits, length).mean() for length in range(1, longest + 1)]),
        _moved(exposure(lists, SHOWN, products=len(model.products)), product_rows, len(train.products)),
        {
            row: tuple(model.products.at(lists[place][0][:SHOWN]).to_list())
            for place, row in _examples(user_rows, histories)
        },
        measure_segments(lists, wanted, habits, at=[k], metrics=[name], seed=seed),
        measure_segments(lists, wanted, popularity, at=[k], seed=seed),
    )


def _rows_in(known: Vocabulary, asked: Vocabulary, rows: AnyArray) -> Rows:
    """Return the rows of some of one vocabulary's ids in another one, -1 where they have none."""
    if known is asked:
        return np.asarray(rows, np.int32)
    return known.find(asked.at(rows)).fill_null(-1).to_numpy().astype(np.int32)


def _of_rows(segments: Segments, rows: Rows) -> Segments:
    """Give products at other rows, ``int32[n]``, their labels; those without a row get the label of products unknown."""
    return replace(
        segments, codes=segments.of_products(np.where(rows < 0, len(segments.codes), rows)).astype(np.int32)
    )


def _moved(counts: Offsets, rows: Rows, length: int) -> Offsets:
    moved = np.zeros(length, np.int64)
    moved[rows[rows >= 0]] = counts[rows >= 0]
    return moved


def _examples(user_rows: Rows, histories: Histories) -> list[tuple[int, int]]:
    """Return list and row in TRAIN of a few users, of short and of long histories, the same for every model of a comparison."""
    lengths = np.append(np.diff(histories.offsets), 0)[user_rows]
    places = np.flatnonzero((user_rows >= 0) & (lengths >= 3) & (lengths <= 30))
    if not len(places):
        places = np.flatnonzero(user_rows >= 0)
    places = places[np.lexsort((user_rows[places], lengths[places]))]
    steps = np.unique(np.linspace(0, len(places) - 1, min(EXAMPLES, len(places))).astype(int))
    return [(int(place), int(user_rows[place])) for place in places[steps]]
