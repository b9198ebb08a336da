"""The users and purchases on which models with different vocabularies are measured alike."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import distinct, held_sorted, pair_keys
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import NoPurchases
from tastemaker.model.taste_model import TasteModel
from tastemaker.types import Booleans

__all__ = ["known_to_all", "learned_from", "share_seen"]


def known_to_all(held_out: Purchases, vocabularies: list[Vocabulary]) -> Purchases:
    """Return the held-out purchases of those users whom every one of the vocabularies holds.

    Raises `NoPurchases` when there is none.
    """
    known: Booleans = np.ones(len(held_out.users), np.bool_)
    for users in vocabularies:
        if users is not held_out.users:
            known &= users.rows_of(held_out.users) >= 0
    common = held_out.take(known[held_out.user_rows])
    if not len(common):
        raise NoPurchases(
            "no user with held-out purchases is known to all of the models, so that nothing can be compared; a user there is "
            f"{held_out.users.ids.first()!r}, one of the log to learn from {vocabularies[0].ids.first()!r}."
        )
    return common


def learned_from(model: TasteModel) -> Purchases:
    """Return the distinct (user, product) pairs that a model learned from."""
    own = model.histories
    return Purchases(model.users, model.products, own.owners(), own.products)


def share_seen(train: Purchases, held_out: Purchases) -> float:
    """Return the share of the distinct (user, product) pairs held out that train holds, too; rows are of the same vocabularies."""
    width = int(max(len(train.products), held_out.product_rows.max(initial=0) + 1))
    asked = distinct(pair_keys(held_out.user_rows, held_out.product_rows, width))
    if not len(asked):
        return 0.0
    about: Booleans = np.zeros(int(max(len(train.users), held_out.user_rows.max() + 1)), np.bool_)
    about[held_out.user_rows] = True
    mine = about[train.user_rows]  # a log of millions of users, few of whom are asked about, is not sorted
    known = distinct(pair_keys(train.user_rows[mine], train.product_rows[mine], width))
    return float(held_sorted(known, asked).mean())
