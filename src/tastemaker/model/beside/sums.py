"""Sums of token vectors: what bags of tokens add to queries and to products."""

from __future__ import annotations

import numpy as np

from tastemaker.data.tokens.bags import Bags
from tastemaker.kernels.ranking.bags import compose_bags
from tastemaker.types import Floats

__all__ = ["effective", "token_sums"]


def token_sums(bags: Bags, vectors: Floats) -> Floats:
    """Return the weighted sum of the tokens' vectors of each bag, ``float32[n, D]``."""
    sums = np.zeros((len(bags), vectors.shape[1]), np.float32)
    if len(bags.tokens):
        compose_bags(0, len(bags), bags.offsets, bags.tokens, bags.weights, vectors, sums)
    return sums


def effective(own: Floats, bags: Bags, vectors: Floats) -> Floats:
    """Return the products' own vectors with their attributes' added, ``float32[P, D]``."""
    return own + token_sums(bags, vectors) if len(bags.tokens) else own
