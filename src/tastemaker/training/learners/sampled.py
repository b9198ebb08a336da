"""The workshop's measure during training: held-out purchases against sampled products."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.kernels.learning.softmax import measure_softmax
from tastemaker.kernels.threads import ThreadPool
from tastemaker.types import Floats

__all__ = ["sampled_loss"]

AT_ONCE = 1024


def sampled_loss(
    queries: Floats,
    product_vectors: Floats,
    bias: Floats,
    held_out: Purchases,
    negatives: int,
    key: np.uint64,
    pool: ThreadPool,
) -> tuple[float, float]:
    """Return the mean softmax cross-entropy and accuracy of held-out purchases among 1 + S uniformly drawn candidates.

    ``queries[U, D]`` of all users, ``product_vectors[P, D]``, ``bias[P]``.
    """
    losses, hits = np.empty(len(held_out)), np.empty(len(held_out))

    def measure(low: int, high: int) -> None:
        measure_softmax(
            low * AT_ONCE, min(high * AT_ONCE, len(held_out)), queries, product_vectors, bias,
            held_out.user_rows, held_out.product_rows, len(bias), negatives, key, losses, hits,
        )  # fmt: skip

    pool.run(measure, -(-len(held_out) // AT_ONCE))
    return float(losses.mean()), float(hits.mean())
