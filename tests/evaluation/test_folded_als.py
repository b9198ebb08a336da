from __future__ import annotations

import numpy as np
import pytest

from tastemaker.evaluation.replay.baselines.folded_als import folded_users
from tastemaker.training.baselines.als import als

pytest.importorskip("implicit")


def test_a_history_folded_in_is_the_weighted_least_squares_of_what_was_bought(split):
    model = als(split.train, factors=8, regularization=2.0, alpha=5.0, iterations=4, seed=1)
    vectors = model.product_vectors.astype(np.float64)
    plain = vectors.T @ vectors + 2.0 * np.eye(8)
    users = folded_users(model, model.histories, plain, 5.0)
    for user in range(0, len(model.users), 40):
        bought = np.zeros(len(vectors))
        bought[model.histories.of(user)] = 1
        weights = np.where(bought > 0, 5.0, 1.0)
        expected = np.linalg.solve(
            vectors.T @ (weights[:, None] * vectors) + 2.0 * np.eye(8), vectors.T @ (weights * bought)
        )
        np.testing.assert_allclose(users[user], expected, rtol=1e-4, atol=1e-6)
