"""`Live`: what moves with every event without learning anew, and what of it is known at the end of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.model.beside.order import DAY
from tastemaker.types import Doubles, Floats, Offsets, Rows, Times

__all__ = [
    "FoldIn", "Live", "bias_of_counts", "counts_at_moments", "decayed_counts", "fold_in_of", "rate_bias", "shares_of",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class FoldIn:
    """How a product's vector moves with the queries of its buyers: one damped Newton step.

    δ_p = (n·C + N_p·C + Σ⁻¹)⁻¹ Σ (q - q̄ - C·v_p) over its n buyers since training

    C is the covariance of queries, q̄ their mean, Σ that of the products' vectors times ``scale``, and N_p the buyers that training
    knew: what it learned of them need not be learned again. W turns both C and Σ⁻¹ into diagonals, so that a purchase costs D².
    """

    basis: Floats
    """``float32[D, D]``, W: Wᵀ Σ⁻¹ W = I and Wᵀ C W = diag(λ)"""
    pull: Floats
    """``float32[D, D]``, C·W"""
    eigenvalues: Floats
    """``float32[D]``, λ"""
    mean: Floats
    """``float32[D]``, q̄"""
    buyers: Floats
    """``float32[P]``, N_p"""

    def offsets(self, rows: Floats, counts: Floats, buyers: Floats) -> Floats:
        """Return δ of some products, ``float32[n, D]``, from the sums ``float32[n, D]`` of (q - q̄ - C·v_p)·W and their counts."""
        precision = (counts + buyers)[:, None] * self.eigenvalues + np.float32(1)
        moved: Floats = (rows / precision) @ self.basis.T
        return moved


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """The rate of sales that takes the place of a learned bias, and the fold-in of buyers.

    bias_p(t) = weight · log(n_p(t) / share_p(t) + kappa / P) + dial · [p was not sold in train]
    + value_dial · log(value_p / median value) - tail · log(1 + buyers of p in train)

    share_p(t) = (tau(t - first purchase of p) + young) / (tau(t - first of all) + young), or 1 where ``young`` is 0

    n_p(t) are the purchases of p, each halved every ``half_life`` days; tau(a) = Σ over a days of ½^(age / half_life).
    """

    half_life: float
    """Days"""
    weight: float
    kappa: float
    """Purchases that the catalogue begins with, shared by its P products"""
    dial: float
    """What products that training never saw sold gain"""
    fold_in: FoldIn | None = None
    young: float = 0.0
    """Days that damp how the count of a product that began to sell lately is raised; 0 raises none"""
    value_dial: float = 0.0
    """What the worth of a product counts beside its rate (`by_value`)"""
    tail: float = 0.0
    """How much less what everybody buys counts (`by_tail`)"""


def fold_in_of(queries: Floats, vectors: Floats, buyers: Doubles, scale: float) -> FoldIn:
    """Return the fold-in for queries like these, ``float32[n, D]``, and products like those that were bought.

    ``vectors`` is ``float32[P, D]``. Source: the generalised eigenproblem of C and Σ⁻¹ by way of Σ's Cholesky factor.
    """
    dimensions = vectors.shape[1]
    small = 1e-6 * np.eye(dimensions)
    bought = vectors[buyers > 0].astype(np.float64)
    spread = _covariance(bought) * scale + small
    covariance = _covariance(queries.astype(np.float64))
    factor = np.linalg.cholesky(spread)
    eigenvalues, turned = np.linalg.eigh(factor.T @ covariance @ factor)
    basis = factor @ turned
    return FoldIn(
        basis.astype(np.float32),
        (covariance @ basis).astype(np.float32),
        np.maximum(eigenvalues, 0).astype(np.float32),
        queries.mean(axis=0, dtype=np.float64).astype(np.float32),
        buyers.astype(np.float32),
    )


def _covariance(rows: Doubles) -> Doubles:
    centred = rows - rows.mean(axis=0)
    product: Doubles = centred.T @ centred
    return product / max(len(rows) - 1, 1)


def rate_bias(live: Live, products: Rows, times: Times, moment: int, count: int) -> Floats:
    """Return weight · log(n_p / share_p + kappa / P) at a moment, ``float32[P]``, of purchases, the last of them before it."""
    return bias_of_counts(live, decayed_counts(live, products, times, moment, count))


def decayed_counts(live: Live, products: Rows, times: Times, moment: int, count: int) -> Doubles:
    """Return n_p / share_p at a moment, ``float64[P]``, which depend on ``half_life`` and ``young`` alone."""
    ages = np.maximum(moment - times, 0) / DAY
    counts = np.bincount(products, np.exp2(-ages / live.half_life), minlength=count).astype(np.float64)
    return counts / shares_of(products, ages, live.half_life, live.young, count) if live.young else counts


def counts_at_moments(
    live: Live, products: Rows, times: Times, known: Offsets, moments: Times, count: int
) -> Doubles:
    """Return `decayed_counts` at ascending moments, ``float64[S, P]``, of the first ``known[s]`` purchases, all before that moment.

    Each row is the one before, faded, and what was bought since, so that every purchase is counted once.
    """
    first, counts = np.full(count, np.iinfo(np.int64).max), np.zeros(count)
    rows = np.empty((len(moments), count))
    for row, low, high, before, moment in zip(
        rows, (0, *known), known, (moments[0], *moments), moments, strict=False
    ):
        some = slice(low, high)
        ages = (moment - times[some]) / DAY
        counts *= np.exp2((before - moment) / DAY / live.half_life)
        counts += np.bincount(products[some], np.exp2(-ages / live.half_life), minlength=count)
        row[:] = counts
        if live.young:
            np.minimum.at(first, products[some], times[some])
            row /= _shares(np.maximum(moment - first, 0) / DAY, live.half_life, live.young)
    return rows


def bias_of_counts(live: Live, counts: Doubles) -> Floats:
    """Return weight · log(count + kappa / P) of counts ``float64[…, P]``."""
    row: Floats = (live.weight * np.log(counts + live.kappa / counts.shape[-1])).astype(np.float32)
    return row


def shares_of(products: Rows, ages: Doubles, half_life: float, young: float, count: int) -> Doubles:
    """Return share_p of `Live`, ``float64[P]``, from purchases and their ages in days.

    >>> shares_of(np.array([0, 0, 1]), np.array([9.0, 1.0, 1.0]), 1e9, 1.0, 3).round(4).tolist()
    [1.0, 0.2, 0.1]
    """
    oldest = np.zeros(count)
    np.maximum.at(oldest, products, ages)
    return _shares(oldest, half_life, young)


def _shares(oldest: Doubles, half_life: float, young: float) -> Doubles:
    """Return share_p of `Live` from the age of the first purchase of each product, 0 where it has none."""
    spans = half_life / np.log(2) * -np.expm1(-oldest / half_life * np.log(2))
    shares: Doubles = (spans + young) / (spans.max(initial=0.0) + young)
    return shares
