"""A shop of a few styles, whose purchases have few strong directions."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary

STYLES, USERS, PRODUCTS = 8, 300, 640


def purchases_of_styles() -> Purchases:
    """Two of eight styles of 80 products, a seventh of which a user buys: pairs are rare, directions are few."""
    rng = np.random.default_rng(1)
    likes = np.zeros((USERS, STYLES), bool)
    for user in range(USERS):
        likes[user, rng.choice(STYLES, 2, replace=False)] = True
    own = likes[:, np.arange(PRODUCTS) % STYLES]
    users, products = np.nonzero(np.where(own, rng.random(own.shape) < 0.15, rng.random(own.shape) < 0.01))
    names = Vocabulary.of(range(USERS), noun="user"), Vocabulary.of(range(PRODUCTS), noun="product")
    return Purchases(*names, users.astype(np.int32), products.astype(np.int32))
