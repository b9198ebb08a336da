"""The users and purchases on which models with different vocabularies are measured alike."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import pair_keys
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import NoPurchases
from tastemaker.model.taste_model import TasteModel
from tastemaker.types import Booleans, Rows

__all__ = ["known_to_all", "learned_from", "seen_by", "share_seen"]


def seen_by(held_out: Purchases, users: Vocabulary, products: Vocabulary) -> Purchases:
    """Return held-out purchases as rows of other vocabularies, as `read_held_out` gives them to measure with.

    Purchases of unknown users are left out; unknown products get rows of P and above, each its own.

    >>> import polars as pl
    >>> from tastemaker.data.reading.readers import read_purchases
    >>> held = read_purchases(pl.DataFrame({"user": [1, 2, 2], "product": ["hat", "hat", "sock"]}))
    >>> model = read_purchases(pl.DataFrame({"user": [2], "product": ["sock"]}))
    >>> seen = seen_by(held, model.users, model.products)
    >>> seen.user_rows.tolist(), seen.product_rows.tolist()
    ([0, 0], [1, 0])
    """
    if held_out.users is users and held_out.products is products:
        return held_out
    user_of = _rows_of(held_out.users, users)
    kept = held_out.take(user_of[held_out.user_rows] >= 0)
    known = _rows_of(held_out.products, products)
    known[known < 0] = len(products) + np.flatnonzero(known < 0)
    beyond = np.arange(len(known), int(held_out.product_rows.max(initial=-1)) + 1) + len(products)
    product_of = np.concatenate((known, beyond)).astype(np.int32)
    return Purchases(
        users,
        products,
        user_of[kept.user_rows],
        product_of[kept.product_rows],
        kept.times,
        kept.quantities,
        held_out.summary,
    )


def known_to_all(held_out: Purchases, vocabularies: list[Vocabulary]) -> Purchases:
    """Return the held-out purchases of those users whom every one of the vocabularies holds.

    Raises `NoPurchases` when there is none.
    """
    known: Booleans = np.ones(len(held_out.users), np.bool_)
    for users in vocabularies:
        if users is not held_out.users:
            known &= _rows_of(held_out.users, users) >= 0
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
    known, asked = (
        np.unique(pair_keys(part.user_rows, part.product_rows, width)) for part in (train, held_out)
    )
    return float(np.isin(asked, known).mean()) if len(asked) else 0.0


def _rows_of(asked: Vocabulary, known: Vocabulary) -> Rows:
    """Return the row of each asked id in the other vocabulary, ``int32[n]``, -1 where it has none."""
    if asked is known or asked.ids.equals(known.ids):
        return np.arange(len(asked), dtype=np.int32)
    return known.find(asked.ids).fill_null(-1).to_numpy().astype(np.int32)
