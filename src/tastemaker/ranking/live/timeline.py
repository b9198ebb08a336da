"""`Timeline`: everything that happened, in the order of time, over the vocabularies of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tastemaker.data.past import Past, strengths_of
from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.fold_in import grown
from tastemaker.types import AnyArray, Booleans, Floats, Offsets, Rows, Times

__all__ = ["Known", "Timeline", "timeline_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Events in the order of time; those of one time do not see each other.

    A moment is told by ``known``: how many of the events are before it. What is known of a user at a moment are the events of
    theirs among the first ``known``.
    """

    users: Vocabulary
    """The model's users, then those who came later"""
    user_rows: Rows
    """``int32[E]``"""
    product_rows: Rows
    """``int32[E]``, P and above for products that the model does not know"""
    times: Times
    """``int64[E]``, ascending"""
    kinds: AnyArray
    """``int16[E]``, places in ``names``"""
    names: tuple[str, ...]
    """The kinds; place 0 is the purchase."""
    later: Rows
    """``int32[E]``, the place in LATER of each of its purchases; -1 for every other event"""
    is_learned: Booleans
    """``bool[E]``, whether the model has learned from it"""
    undated: bool
    """Whether the model does not know when its own events were: they count as of just before LATER."""
    offsets: Offsets
    """``int64[users + 1]``, borders of ``places``"""
    places: Offsets
    """``int64[E]``, the events of each user, oldest first"""
    keys: Offsets
    """``int64[E]``, user · (E + 1) + place, ascending: where a user's first ``known`` events end is found by bisection."""
    strengths: Floats | None = None
    """``float32[E]``, how much each purchase tells; ``None`` where all tell as much"""

    def __len__(self) -> int:
        return len(self.times)

    def known_at(self, times: Times) -> Offsets:
        """Return how many events are before each of these times, ``int64[Q]``."""
        return np.searchsorted(self.times, times, side="left").astype(np.int64)

    def learned_part(self) -> Timeline:
        """Return what the model learned from alone."""
        kept = self.is_learned
        part = _Part(
            self.user_rows[kept],
            self.product_rows[kept],
            self.times[kept],
            self.kinds[kept],
            self.later[kept],
            None if self.strengths is None else self.strengths[kept],
        )
        return _ordered(self.users, [part], self.names, self.is_learned[kept], undated=self.undated)

    def of(self, users: Rows, known: Offsets) -> Known:
        """Return what each of these users, ``int32[Q]``, had done among the first ``known`` events, ``int64[Q]``."""
        starts = self.offsets[users]
        ends = np.searchsorted(self.keys, users.astype(np.int64) * (len(self) + 1) + known)
        offsets = np.zeros(len(users) + 1, np.int64)
        np.cumsum(ends - starts, out=offsets[1:])
        within = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], ends - starts)
        return Known(offsets, self.places[within])


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Some events of each of Q queries, oldest first: ``places[offsets[q]:offsets[q + 1]]`` of a timeline."""

    offsets: Offsets
    """``int64[Q + 1]``"""
    places: Offsets
    """``int64[total]``"""

    @property
    def queries(self) -> Offsets:
        """Return the query of each event, ``int64[total]``."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def only(self, kept: Booleans) -> Known:
        """Return those of the events that are kept, ``bool[total]``."""
        offsets = np.concatenate(([0], np.cumsum(kept)))[self.offsets].astype(np.int64)
        return Known(offsets, self.places[kept])


@dataclass(frozen=True, slots=True)
class _Part:
    """Events as flat arrays."""

    users: Rows
    products: Rows
    times: Times
    kinds: AnyArray
    later: Rows
    strengths: Floats | None = None


def timeline_of(model: TasteModel, later: Purchases) -> Timeline:
    """Return what the model remembers and what came later as one timeline.

    Users whom the model does not know are numbered after its own, products from P on. Of one time, the model's own events come
    first and purchases last. Raises `ColumnProblem` when ``later`` has no times, or ids that cannot stand among the model's.
    """
    if later.times is None:
        raise ColumnProblem(
            "LATER has no column of times, and a replay asks in the order of time; name the column with --time-column."
        )
    users, user_rows = grown(model.users, later.users)
    product_rows = _product_rows(model.products, later.products)
    past = model.past or _undated(model, int(later.times.min(initial=0)) - 1)
    names = past.names
    if later.events is not None:
        names += tuple(name for name in later.events.names if name not in names)
    parts = [_learned(past)]
    if later.events is not None and later.events.times is not None:
        numbers = np.array([names.index(name) for name in later.events.names], np.int16)
        events = later.events
        parts.append(
            _Part(
                user_rows[events.user_rows],
                product_rows[events.product_rows],
                later.events.times,
                numbers[events.kinds],
                np.full(len(events), -1, np.int32),
            )
        )
    count = len(later)
    parts.append(
        _Part(
            user_rows[later.user_rows],
            product_rows[later.product_rows],
            later.times,
            np.zeros(count, np.int16),
            np.arange(count, dtype=np.int32),
            None if later.weights is None else strengths_of(later.weights),
        )
    )
    learned = np.arange(sum(len(part.times) for part in parts)) < len(past)
    return _ordered(users, parts, names, learned, undated=model.past is None)


def _learned(past: Past) -> _Part:
    nowhere = np.full(len(past), -1, np.int32)
    return _Part(past.users, past.products, past.times, past.kinds_of(), nowhere, past.strengths)


def _undated(model: TasteModel, moment: int) -> Past:
    """Return the histories of a model that does not know their times, all at one moment."""
    histories, repeats = model.histories, model.history_times
    offsets, products = histories.offsets, histories.products
    if repeats is not None:
        products = np.repeat(products, repeats)
        offsets = np.concatenate(([0], np.cumsum(repeats, dtype=np.int64)))[offsets]
    return Past(np.asarray(offsets), products, np.full(len(products), moment, np.int64))


def _product_rows(known: Vocabulary, newer: Vocabulary) -> Rows:
    rows = known.find(newer.ids)
    numbers = rows.is_null().cum_sum() + (len(known) - 1)
    return rows.cast(pl.Int64).fill_null(numbers).to_numpy().astype(np.int32)


def _ordered(
    users: Vocabulary, parts: list[_Part], names: tuple[str, ...], learned: Booleans, *, undated: bool
) -> Timeline:
    times = np.concatenate([part.times for part in parts])
    order = np.argsort(times, kind="stable")
    user_rows = np.concatenate([part.users for part in parts])[order].astype(np.int32)
    places = np.argsort(user_rows, kind="stable")
    offsets = np.zeros(len(users) + 1, np.int64)
    np.cumsum(np.bincount(user_rows, minlength=len(users)), out=offsets[1:])
    strengths = None
    if any(part.strengths is not None for part in parts):
        each = [np.zeros(len(part.times)) if part.strengths is None else part.strengths for part in parts]
        strengths = np.concatenate(each)[order].astype(np.float32)
    return Timeline(
        users=users,
        user_rows=user_rows,
        product_rows=np.concatenate([part.products for part in parts])[order].astype(np.int32),
        times=times[order],
        kinds=np.concatenate([part.kinds for part in parts])[order].astype(np.int16),
        names=names,
        later=np.concatenate([part.later for part in parts])[order],
        is_learned=learned[order],
        undated=undated,
        offsets=offsets,
        places=places,
        keys=user_rows[places].astype(np.int64) * (len(places) + 1) + places,
        strengths=strengths,
    )
