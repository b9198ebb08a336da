"""`Questions`: which later purchases are asked for, by whom, and what kind of question each is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tastemaker.ranking.live.answers import Asked, asked_of
from tastemaker.ranking.live.timeline import Timeline
from tastemaker.types import AnyArray, Booleans, Offsets, Rows, Times

__all__ = ["SEGMENTS", "Questions", "questions_of"]

SEGMENTS = (
    "known user, known product",
    "known user, new product",
    "new user, known product",
    "new user, new product",
)
"""The parts of the demand: who asks, and what they bought."""

BOUGHT_BEFORE = "bought before"
SECOND_LINE = "a second line of one purchase"


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Q purchases in the order of time, and the A queries that they share: one for each user, time and context."""

    places: Offsets
    """``int64[Q]``, the timeline's event of each"""
    users: Rows
    """``int32[Q]``"""
    products: Rows
    """``int32[Q]``, P and above for those that the model does not know"""
    segments: AnyArray
    """``int8[Q]``, places in `SEGMENTS`"""
    events_known: Offsets
    """``int64[Q]``, how many events of the user are known"""
    times: Times
    """``int64[Q]``"""
    offsets: Offsets
    """``int64[A + 1]``: query a is asked for the questions ``offsets[a] … offsets[a + 1] - 1``"""
    context: pl.DataFrame | None
    """Q rows"""
    left_out: dict[str, int]
    """How many purchases are no question, by reason"""

    def __len__(self) -> int:
        return len(self.places)

    def asked(self, timeline: Timeline, low: int, high: int, products: int) -> Asked:
        """Return the queries ``low … high - 1``."""
        first = self.offsets[low:high]
        context = None if self.context is None else self.context[pl.Series(first)]
        return asked_of(timeline, self.users[first], self.times[first], products=products, context=context)


def questions_of(
    timeline: Timeline,
    places: Offsets,
    *,
    products: int,
    sold: Booleans,
    include_purchased: bool = False,
    context: pl.DataFrame | None = None,
) -> Questions:
    """Return the questions that the purchases at these ascending places of the timeline are.

    ``products`` is P, and ``sold`` (``bool[P]``) says which were sold in train; ``context`` has a row for each place. What its user
    bought before is left out unless ``include_purchased``; purchases of one time do not see each other. Lines of one user, product
    and time are one purchase, and the first of them is the question.
    """
    first, again = _told_apart(timeline, places)
    left_out = {SECOND_LINE: int((~first).sum())}
    if not include_purchased:
        left_out[BOUGHT_BEFORE] = int((first & again).sum())
        first &= ~again
    places = places[first]
    context = None if context is None else context.filter(pl.Series(first))
    turn = context_numbers(context, len(places))
    order = np.lexsort((places, turn, timeline.user_rows[places], timeline.times[places]))
    places, turn = places[order], turn[order]
    users, rows, times = timeline.user_rows[places], timeline.product_rows[places], timeline.times[places]
    known = timeline.known_at(times)
    history = timeline.of(users, known)
    is_new = np.ones(len(places), bool)
    inside = rows < products
    is_new[inside] = ~sold[rows[inside]]
    events_known = np.diff(history.offsets)
    opens = np.ones(len(places), bool)
    opens[1:] = (users[1:] != users[:-1]) | (times[1:] != times[:-1]) | (turn[1:] != turn[:-1])
    return Questions(
        places=places,
        users=users,
        products=rows,
        segments=(2 * (events_known == 0) + is_new).astype(np.int8),
        events_known=events_known,
        times=times,
        offsets=np.append(np.flatnonzero(opens), len(places)).astype(np.int64),
        context=None if context is None else context[pl.Series(order)],
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _told_apart(timeline: Timeline, places: Offsets) -> tuple[Booleans, Booleans]:
    """Return for each purchase whether it is the first line of its user, product and time, and whether it was bought earlier."""
    purchases = np.flatnonzero(timeline.kinds == 0)
    width = int(timeline.product_rows.max(initial=0)) + 1

    def pairs_of(some: Offsets) -> Offsets:
        pairs: Offsets = timeline.user_rows[some].astype(np.int64) * width + timeline.product_rows[some]
        return pairs

    pairs, asked, known = pairs_of(purchases), pairs_of(places), timeline.known_at(timeline.times[places])
    order = np.argsort(pairs, kind="stable")
    earliest = purchases[order][np.searchsorted(pairs[order], asked)]
    order = np.lexsort((places, known, asked))
    first = np.ones(len(places), bool)
    first[order[1:]] = (asked[order[1:]] != asked[order[:-1]]) | (known[order[1:]] != known[order[:-1]])
    before: Booleans = earliest < known
    return first, before


def context_numbers(context: pl.DataFrame | None, count: int) -> AnyArray:
    """Return a number for each row that is the same where all context columns are, ``int64[count]``."""
    if context is None or not context.width or not count:
        return np.zeros(count, np.int64)
    return context.select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy().astype(np.int64)
