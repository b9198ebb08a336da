"""The best-known baseline: alternating least squares, through the optional package implicit."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from tastemaker.data.past import past_of
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.given import AnyLog, log_given
from tastemaker.errors import NoPurchases, SettingProblem
from tastemaker.kernels.threads import default_threads
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.baselines.best_sellers import buyer_shares
from tastemaker.types import Floats

__all__ = ["als", "factorised"]

TIE_BREAK = np.float32(1e-6)
"""The score of the best seller for users without a history; scores of other users are of the order of 1."""


def als(
    purchases: AnyLog,
    *,
    factors: int = 128,
    regularization: float = 0.01,
    alpha: float = 1.0,
    iterations: int = 15,
    seed: int = 0,
    threads: int | None = None,
) -> TasteModel:
    """Return the factorisation that implicit's ALS learns: a vector for each user and each product.

    min Σ over all u, p of c_up (x_up - v_u · v_p)² + regularization · (Σ_u ‖v_u‖² + Σ_p ‖v_p‖²)

    x_up is 1 if u bought p, however often, and 0 if not; c_up is ``alpha`` where it is 1, and 1 elsewhere. ``factors`` is D.
    A basket is answered with the mean of its products' vectors. The same seed gives the same bytes at any number of threads.
    Source: Y. Hu, Y. Koren, C. Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets", eq. 3.

    Raises `NoPurchases`, and `SettingProblem` when a setting cannot work or implicit is missing.
    """
    purchases = log_given(purchases)
    if not len(purchases):
        raise NoPurchases("there is no purchase to learn from.")
    _check(factors, regularization, alpha, iterations)
    learner, sparse, limits = _implicit()
    histories = purchases.histories()
    shape = (len(purchases.users), len(purchases.products))
    ones = np.ones(len(histories.products), np.float32)
    bought = sparse.csr_matrix((ones, histories.products, histories.offsets), shape)
    with limits.threadpool_limits(1, "blas"):  # its threads are slower here, and implicit warns of them
        model = learner.AlternatingLeastSquares(
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            num_threads=threads or default_threads(),
            random_state=seed,
        )
        model.fit(bought, show_progress=False)
    settings = {
        "factors": factors,
        "regularization": regularization,
        "alpha": alpha,
        "iterations": iterations,
    }
    return factorised(
        purchases,
        _floats(model.user_factors),
        _floats(model.item_factors),
        seed,
        {"baseline": "als"} | settings,
    )


def factorised(
    purchases: Purchases, users: Floats, products: Floats, seed: int, metrics: Mapping[str, Any]
) -> TasteModel:
    """Return the model of a factorisation: ``users`` is ``float32[U, D]``, ``products`` ``float32[P, D]``.

    A user without a history gets the best sellers. ``metrics`` records how the model was learned.
    """
    histories = purchases.histories()
    return TasteModel(
        users=purchases.users,
        products=purchases.products,
        histories=histories,
        product_vectors=products,
        product_bias=TIE_BREAK * buyer_shares(histories, len(purchases.products)),
        user_vectors=users,
        basket_vectors=None,
        memory=None,
        record=TrainingRecord(None, seed, purchases.fingerprint(), len(purchases), metrics=dict(metrics)),
        past=past_of(purchases),
    )


def _floats(vectors: Any) -> Floats:
    return np.ascontiguousarray(vectors, np.float32)


def _check(factors: int, regularization: float, alpha: float, iterations: int) -> None:
    for name, count in (("factors", factors), ("iterations", iterations)):
        if count < 1:
            raise SettingProblem(f"{name} is {count}; it must be at least 1.")
    if not 0 <= regularization < np.inf:
        raise SettingProblem(f"regularization is {regularization}; it must be a finite number, 0 or more.")
    if not 0 < alpha < np.inf:
        raise SettingProblem(f"alpha is {alpha}; it must be a finite number above 0.")


def _implicit() -> tuple[Any, Any, Any]:
    """Import implicit and what it brings along; any of them may be missing."""
    try:
        return (
            import_module("implicit.cpu.als"),
            import_module("scipy.sparse"),
            import_module("threadpoolctl"),
        )
    except ImportError as error:
        raise SettingProblem(
            f"ALS needs the optional package implicit, and {error.name} is not installed: pip install 'tastemaker[als]'."
        ) from error
