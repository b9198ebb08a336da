"""A trial in time: a later part is held out of a log, and its purchases are the questions that will be asked of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tastemaker.data.past import Past, past_of
from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.ragged import distinct, offsets_of
from tastemaker.data.splits import Split, hold_out_last, hold_out_random, hold_out_time
from tastemaker.errors import DataError
from tastemaker.model.beside.known import bought_by
from tastemaker.types import AnyArray, Booleans, Offsets, Rows, Times

__all__ = ["Trial", "TrialQuestions", "sample_of_train", "trial_of"]

MOST_SCORES = 60_000_000
"""How many scores (questions x products, 4 bytes each) are held at most while settings are tried."""
MOST_QUESTIONS, FEWEST_USERS = 5_000, 30
MOST_EVENTS = 100_000
"""Of a longer held-out part, only this many of the last purchases are asked and followed."""
SHARE = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class TrialQuestions:
    """Which users ask, when, and under which context; the products to be found stand beside it."""

    users: Rows
    """``int32[Q]``"""
    times: Times
    """``int64[Q]``"""
    context: pl.DataFrame | None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, places: AnyArray) -> TrialQuestions:
        """Return some of them."""
        context = None if self.context is None else self.context[pl.Series(places)]
        return TrialQuestions(self.users[places], self.times[places], context)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A log without its held-out part, and the questions that the held-out part asks."""

    log: Purchases
    past: Past
    """What is known at each moment: of train and of the held-out part"""
    asked: TrialQuestions
    """Q queries"""
    held: Histories
    """What each bought then"""
    apart: bool
    """Whether each product held is a question of its own, else all that a query bought later are one"""
    own_offsets: Offsets
    own_rows: Rows
    """What each bought before, which is left out"""
    flow: TrialQuestions
    """Who bought in the held-out part, in the order of time, where the model lives through it; else nobody"""
    flow_of: Offsets
    """``int64[flow]``, which of them each purchase there is of"""
    flow_products: Rows
    """``int32[flow]``"""
    sold: Booleans
    """``bool[P]``, whether a product was sold in train"""
    description: str
    by_time: bool = False
    """Whether all but the last part of the time was learned from"""

    @property
    def is_live(self) -> bool:
        """Return whether the model lives through the held-out part."""
        return len(self.flow) > 0

    @property
    def flow_times(self) -> Times:
        """Return when each purchase of the held-out part happened, ``int64[flow]``."""
        return self.flow.times[self.flow_of]


def trial_of(log: Purchases, seed: int, *, live: bool) -> Trial | None:
    """Return what judges the settings of a log; ``None`` where it is too small.

    The last tenth of the time is held out where it holds enough users, else the last product of each user; a log without times
    holds out a fifth of each user's products. ``live`` asks for every later purchase, of new users and new products, too, as
    replay does; else who has bought before is asked at the end of train for all that they bought later and somebody knew.
    """
    rng = np.random.default_rng([seed, 5])
    parts = _by_time(log)
    if parts is not None and len(distinct(_known(parts))) >= FEWEST_USERS:
        trial = _live(log, parts, rng) if live else _frozen(parts, rng)
        whole = len(parts.held_out) <= MOST_EVENTS or not live
        return None if trial is None else replace(trial, by_time=whole)
    parts = _last(log, rng)
    if parts is None:
        return None
    return _each(log, parts, rng)


def sample_of_train(log: Purchases, seed: int, most: int = 5_000) -> TrialQuestions:
    """Return a sample of train's purchases, each with its user as they were just before it."""
    rng = np.random.default_rng([seed, 6])
    places = np.sort(rng.choice(len(log), min(most, len(log)), replace=False))
    return _asked(log, places)


def _asked(log: Purchases, places: AnyArray) -> TrialQuestions:
    times = np.zeros(len(places), np.int64) if log.times is None else log.times[places]
    context = None if log.context is None else log.context[pl.Series(places)]
    return TrialQuestions(log.user_rows[places], times, context)


def _asked_together(log: Purchases, places: AnyArray) -> tuple[TrialQuestions, Offsets]:
    """Return the questions of some purchases, those of one user, moment and context once, and which each purchase asks.

    They stand in the order of their first purchase.
    """
    each = _asked(log, places)
    told = [] if each.context is None else each.context.get_columns()
    columns = enumerate([pl.Series(each.users), pl.Series(each.times), *told])
    frame = pl.DataFrame([column.alias(str(i)) for i, column in columns])
    same = frame.with_row_index("row").group_by(frame.columns, maintain_order=True).agg("row")["row"]
    of = np.empty(len(places), np.int64)
    of[same.explode().to_numpy()] = np.repeat(np.arange(len(same)), same.list.len().to_numpy())
    return each.take(same.list.first().to_numpy().astype(np.int64)), of


def _by_time(log: Purchases) -> Split | None:
    if log.times is None:
        return None
    try:
        return hold_out_time(log)
    except DataError:
        return None


def _known(parts: Split) -> Rows:
    """Return the users of the held-out part who have bought before."""
    return np.intersect1d(parts.held_out.user_rows, parts.train.user_rows)


def _last(log: Purchases, rng: np.random.Generator) -> Split | None:
    try:
        return hold_out_random(log, SHARE, rng=rng) if log.times is None else hold_out_last(log)
    except DataError:
        return None


def _most(products: int) -> int:
    return max(FEWEST_USERS, min(MOST_QUESTIONS, MOST_SCORES // max(products, 1)))


def _live(log: Purchases, parts: Split, rng: np.random.Generator) -> Trial:
    """Ask for each first purchase of a pair in the held-out part, as it was known then."""
    later = parts.held_out
    times = _times(later)
    order = np.argsort(times, kind="stable")
    if len(order) > MOST_EVENTS:
        kept = times[order] > times[order[-MOST_EVENTS]]
        order = order[kept] if kept.any() else order[-MOST_EVENTS:]
    later = later.take(order)
    cut = int(_times(later)[0])
    train = log.take(_times(log) < cut)
    first = _first_of_pairs(log, later, cut)
    places = np.sort(rng.choice(first, min(_most(len(log.products)), len(first)), replace=False))
    past = _past(log)
    asked, held = _questions(later, places)
    flow = (*_asked_together(later, np.arange(len(later))), later.product_rows)
    return _trial(train, past, asked, held, parts.description, flow=flow, apart=True)


def _questions(later: Purchases, places: AnyArray) -> tuple[TrialQuestions, Histories]:
    """Return who asks and when, and what each bought then, of some later purchases."""
    asked, of = _asked_together(later, places)
    order = np.argsort(of, kind="stable")
    lengths = np.bincount(of, minlength=len(asked))
    return asked, Histories(offsets_of(lengths), later.product_rows[places[order]])


def _first_of_pairs(log: Purchases, later: Purchases, cut: int) -> Offsets:
    """Return the places of the later purchases whose user had not bought the product before."""
    width = len(log.products)
    keys = later.user_rows.astype(np.int64) * width + later.product_rows
    before = log.take(_times(log) < cut)
    _, first = np.unique(keys, return_index=True)  # later purchases ascend in time
    known = np.isin(keys[first], before.user_rows.astype(np.int64) * width + before.product_rows)
    found: Offsets = np.sort(first[~known])
    return found


def _each(log: Purchases, parts: Split, rng: np.random.Generator) -> Trial | None:
    """Ask for each held-out product at its own time, or for all of a user at once where there is no time."""
    later = parts.held_out
    if log.times is None:
        return _frozen(parts, rng)
    bought = np.bincount(parts.train.product_rows, minlength=len(log.products)) > 0
    places = np.flatnonzero(bought[later.product_rows])
    if not len(places):
        return None
    places = np.sort(rng.choice(places, min(_most(len(log.products)), len(places)), replace=False))
    asked, held = _questions(later, places)
    return _trial(parts.train, _past(parts.train), asked, held, parts.description, apart=True)


def _frozen(parts: Split, rng: np.random.Generator) -> Trial | None:
    """Ask at the end of train what users with purchases there bought later."""
    train, later = parts.train, parts.held_out.histories()
    histories, products = train.histories(), len(train.products)
    bought = np.bincount(histories.products, minlength=products) > 0
    users = later.owners()
    wanted = bought[later.products] & (np.diff(histories.offsets) > 0)[users]
    wanted &= ~np.isin(later.keys(products), histories.keys(products))
    judged = distinct(users[wanted])
    if not len(judged):
        return None
    if len(judged) > _most(products):
        judged = np.sort(rng.choice(judged, _most(products), replace=False))
    wanted &= np.isin(users, judged)
    held = Histories(
        offsets_of(np.bincount(users[wanted], minlength=len(later))[judged]), later.products[wanted]
    )
    end = 0 if train.times is None else int(train.times.max(initial=0)) + 1
    asked = TrialQuestions(judged.astype(np.int32), np.full(len(judged), end), None)
    return _trial(train, _past(train), asked, held, parts.description, apart=False)


def _trial(
    train: Purchases,
    past: Past,
    asked: TrialQuestions,
    held: Histories,
    description: str,
    *,
    apart: bool,
    flow: tuple[TrialQuestions, Offsets, Rows] | None = None,
) -> Trial:
    bought, _, _ = bought_by(past, asked.users, asked.times)
    sold = np.bincount(train.product_rows, minlength=len(train.products)) > 0
    nothing = np.zeros(0, np.int64)
    flow = flow or (_asked(train, nothing), nothing, train.product_rows[:0])
    return Trial(train, past, asked, held, apart, bought.offsets, bought.products, *flow, sold, description)


def _past(log: Purchases) -> Past:
    """Return the dated past of a log; without times all of it happened before any question."""
    past = past_of(log)
    if past is not None:
        return past
    order = np.argsort(log.user_rows, kind="stable")
    offsets = offsets_of(np.bincount(log.user_rows, minlength=len(log.users)))
    return Past(offsets, log.product_rows[order], np.full(len(log), -1, np.int64))


def _times(log: Purchases) -> Times:
    return np.zeros(len(log), np.int64) if log.times is None else log.times
