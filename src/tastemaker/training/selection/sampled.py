"""A long log is held out of for a sample of users only: so little is missing then that what is learned without it is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tastemaker.data.purchases import Histories, KeptHistories, Purchases
from tastemaker.data.ragged import offsets_of
from tastemaker.types import Booleans

__all__ = ["Sampled", "is_long", "sampled", "with_users_anew"]

LONG = 20_000_000
"""Of a log of more purchases than these, a sample of the users is held out of."""
USERS = 8_000
"""So many users judge lists without what they bought, and as many others lists with it."""


class Sampled(NamedTuple):
    """The purchases of two samples of users."""

    first: Purchases
    second: Purchases


def is_long(log: Purchases) -> bool:
    """Return whether a log is held out of for some users only: a long one, of bare pairs without times, which tell more."""
    return len(log) > LONG and log.times is None and log.context is None


def sampled(log: Purchases, rng: np.random.Generator) -> Sampled:
    """Return the purchases of some users with two products or more, who are in the one sample or in the other."""
    users = np.flatnonzero(log.histories().lengths() >= 2)
    users = rng.choice(users, min(2 * USERS, len(users)), replace=False)
    lines = np.flatnonzero(_mask(len(log.users), users)[log.user_rows])
    first = _mask(len(log.users), users[: len(users) // 2])[log.user_rows[lines]]
    return Sampled(log.take(lines[first]), log.take(lines[~first]))


def with_users_anew(log: Purchases, before: Sequence[Purchases], after: Sequence[Purchases]) -> Purchases:
    """Return a log of pairs in which the users of ``before`` bought what ``after`` says, and nothing else.

    Their purchases stand last. Histories are those of ``log`` but for these users, so that nothing of all purchases is sorted.
    """
    users = np.concatenate([part.user_rows for part in before])
    theirs = _mask(len(log.users), users)
    others = ~theirs[log.user_rows]
    user_rows = np.concatenate([log.user_rows[others], *(part.user_rows for part in after)])
    product_rows = np.concatenate([log.product_rows[others], *(part.product_rows for part in after)])
    new = Purchases(log.users, log.products, user_rows[others.sum() :], product_rows[others.sum() :])
    histories = _merged(log.histories(), new.histories(), theirs)
    return dataclasses.replace(
        log, user_rows=user_rows, product_rows=product_rows, quantities=None, weights=None,
        kept_histories=KeptHistories(user_rows, product_rows, histories),
    )  # fmt: skip


def _merged(some: Histories, others: Histories, chosen: Booleans) -> Histories:
    """Return the lists of ``others`` for the chosen users, and those of ``some`` for the rest."""
    lengths = np.where(chosen, others.lengths(), some.lengths())
    products = np.empty(int(lengths.sum()), np.int32)
    for lists, mine in ((some, ~chosen), (others, chosen)):
        products[np.repeat(mine, lengths)] = lists.products[np.repeat(mine, lists.lengths())]
    return Histories(offsets_of(lengths), products)


def _mask(count: int, rows: np.ndarray) -> Booleans:
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return mask
