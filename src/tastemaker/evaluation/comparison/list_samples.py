"""Samples of a model's lists, kept after they were measured, for tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.evaluation.comparison.measurement import Conditions
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

__all__ = ["SHOWN", "ListSamples", "Segmentation", "sample_lists"]

SHOWN = 10
"""The places of a list that count as shown to its user."""

EXAMPLES = 4


@dataclass(frozen=True, slots=True)
class Segmentation:
    """One way to part the users, or the products, and how good a model is for each part."""

    by: str
    """What the parts differ in, such as ``products bought before`` or the column of a catalogue"""
    noun: Noun
    metric: str
    """Of users the first metric of the comparison, of products recall at its length"""
    parts: tuple[MeasuredSegment, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values; means and ends are None where no user was measured."""
        told = []
        for part in self.parts:
            value = part.metrics.get(self.metric)
            ends = (None, None, None) if value is None else (value.mean, value.low, value.high)
            facts = {"label": part.label, "users": part.users, "products": part.products}
            told.append(facts | dict(zip(("mean", "low", "high"), ends, strict=True)))
        return {"by": self.by, "of": self.noun, "metric": self.metric, "parts": told}


@dataclass(frozen=True, slots=True, eq=False)
class ListSamples:
    """What tables and pictures need of a model's lists."""

    recall: Doubles
    """``float64[longest]``: recall at 1, 2, …, the mean over users"""
    shown: Offsets
    """``int64[P]``, how often each product of TRAIN stands among the first 10 of a list"""
    examples: Mapping[int, tuple[object, ...]]
    """The first 10 products that a few users are shown, as ids, by the users' rows in TRAIN"""
    segmentations: tuple[Segmentation, ...]
    """By users' number of purchases in TRAIN, by products' popularity there, then by each requested segmentation"""


def sample_lists(
    lists: RankedLists, wanted: Histories, users: Rows, model: TasteModel, conditions: Conditions
) -> ListSamples:
    """Return what tables and pictures need of Q lists, for the users at these rows of the model, ``int32[Q]``.

    ``wanted`` is what is held out of each. Segments are of the users and products of TRAIN.
    """
    train, metric = conditions.train, conditions.measure.metrics[0]
    histories = train.histories()
    user_rows = _rows_in(train.users, model.users, users)
    product_rows = _rows_in(train.products, model.products, np.arange(len(model.products)))
    name, _, length = metric.partition("@")
    k = int(length)
    everyone = np.arange(len(train.users), dtype=np.int32)
    ways = (
        by_history_length(histories, everyone),
        by_popularity(histories, products=len(train.products)),
        *conditions.measure.segments,
    )
    rows = {"user": user_rows, "product": product_rows}
    hits = find_hits(lists, wanted)
    longest = int(lists.lengths.max(initial=1))
    return ListSamples(
        np.array([recall(hits, length).mean() for length in range(1, longest + 1)]),
        _moved(exposure(lists, SHOWN, products=len(model.products)), product_rows, len(train.products)),
        {
            row: tuple(model.products.at(lists[place][0][:SHOWN]).to_list())
            for place, row in _examples(user_rows, histories)
        },
        tuple(
            Segmentation(
                way.name,
                way.noun,
                metric if way.noun == "user" else f"recall@{k}",
                measure_segments(
                    lists,
                    wanted,
                    _for_rows(way, rows[way.noun]),
                    at=[k],
                    metrics=[name],
                    seed=conditions.seed,
                ),
            )
            for way in ways
        ),
    )


def _rows_in(known: Vocabulary, asked: Vocabulary, rows: AnyArray) -> Rows:
    """Return the rows of some of one vocabulary's ids in another one, -1 where they have none."""
    if known is asked:
        return np.asarray(rows, np.int32)
    return known.find(asked.at(rows)).fill_null(-1).to_numpy().astype(np.int32)


def _for_rows(segments: Segments, rows: Rows) -> Segments:
    """Give users or products at other rows, ``int32[n]``, their labels; those without a row get the label for unknown ones."""
    beyond = np.append(segments.codes, np.int32(segments.beyond))
    return replace(segments, codes=beyond[np.where(rows < 0, len(segments.codes), rows)].astype(np.int32))


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
