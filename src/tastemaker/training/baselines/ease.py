"""The baseline that is hard to beat on dense data: EASE, one linear regression among all products."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import offsets_of, owners_of
from tastemaker.data.reading.given import AnyLog, log_given
from tastemaker.errors import NoPurchases, SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.training.baselines.best_sellers import buyer_shares, remembering
from tastemaker.training.memory.co_occurrence import LONGEST, count_memory
from tastemaker.types import Doubles, Floats

__all__ = ["MOST_PRODUCTS", "ease"]

MOST_PRODUCTS = 12_000
"""The most products: the regression holds three dense matrices of doubles, here 3.2 GiB, and takes minutes."""

TIE_BREAK = np.float32(1e-6)
"""The score of the best seller for users without a history; the regression's own scores are of the order of 1."""

ROWS_AT_ONCE = 256


def ease(
    purchases: AnyLog,
    *,
    penalty: float = 300.0,
    partners: int | None = 1_000,
    most_products: int = MOST_PRODUCTS,
    threads: int | None = None,
) -> TasteModel:
    """Return the model whose score of a product is a linear regression on everything else that the user bought.

    score(u, q) = Σ over p in H(u) of B_pq,  B = argmin ‖X - XB‖² + penalty · ‖B‖² with a diagonal of zeros

    B_pq = -P_pq / P_qq for p ≠ q,  P = (XᵀX + penalty · I)⁻¹, X the users' zeros and ones.
    Source: H. Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", eq. 8.

    Of each product p the ``partners`` weights that are strongest by their size are kept, all of them when None. Users with more
    than 5,000 products are passed over. Time grows with P³ and memory with 24 · P² bytes, so a catalogue of more than
    ``most_products`` is refused; the memory of the default model (`ridge_weight`) is the same regression among neighbours
    and has no such limit. ``threads`` are those of the counting; the inverse takes NumPy's own.

    Raises `NoPurchases`, and `SettingProblem` for a catalogue too large, a penalty of 0 or less, or less than one partner.

    >>> import polars as pl
    >>> from tastemaker.data.reading.readers import read_purchases
    >>> log = pl.DataFrame({"user": [1, 1, 2, 2, 3], "product": ["hat", "scarf", "hat", "scarf", "scarf"]})
    >>> weights = ease(read_purchases(log), penalty=1.0).memory.weights  # 2 / (2 + 1) and 2 / (3 + 1)
    >>> [round(float(weight), 2) for weight in weights]
    [0.67, 0.5]
    """
    purchases = log_given(purchases)
    products = len(purchases.products)
    if not len(purchases):
        raise NoPurchases("there is no purchase to learn from.")
    if not 0 < penalty < np.inf:
        raise SettingProblem(f"penalty is {penalty}; it must be a finite number above 0.")
    if partners is not None and partners < 1:
        raise SettingProblem(f"partners is {partners}; at least 1 weight of each product must be kept.")
    if products > most_products:
        raise SettingProblem(
            f"EASE of {products:,} products would need about {24 * products**2 / 2**30:,.1f} GiB of memory; its limit here is "
            f"{most_products:,} products: train the default model, whose memory is EASE among neighbours, or raise most_products."
        )
    histories = purchases.histories()
    with ThreadPool(threads) as pool:
        co_occurrence = _co_occurrence(histories, products, pool)
    weights = _regression(co_occurrence, penalty)
    del co_occurrence
    return remembering(
        purchases,
        histories,
        _strongest(weights, min(partners or products, max(products - 1, 1))),
        TIE_BREAK * buyer_shares(histories, products),
        {"baseline": "ease", "penalty": penalty, "partners": partners},
    )


def _co_occurrence(histories: Histories, products: int, pool: ThreadPool) -> Doubles:
    """Return XᵀX, ``float64[P, P]``."""
    counts = count_memory(histories, products, power=0, damping=0, partners=products, pool=pool)
    matrix = np.zeros((products, products))
    matrix[owners_of(counts.offsets), counts.products] = counts.weights
    lengths = np.diff(histories.offsets)
    kept = np.repeat(lengths <= LONGEST, lengths)
    matrix[np.diag_indices(products)] = np.bincount(histories.products[kept], minlength=products)
    return matrix


def _regression(co_occurrence: Doubles, penalty: float) -> Floats:
    """Return B, ``float32[P, P]``; the diagonal of ``co_occurrence`` is changed."""
    co_occurrence[np.diag_indices_from(co_occurrence)] += penalty
    inverse = np.linalg.inv(co_occurrence)
    inverse /= -np.diag(inverse).copy()
    np.fill_diagonal(inverse, 0)
    return inverse.astype(np.float32)


def _strongest(table: Floats, most: int) -> Memory:
    """Keep the ``most`` entries of greatest size in each row; an entry of 0 says nothing and is left out."""
    lengths, columns, values = [], [], []
    for low in range(0, len(table), ROWS_AT_ONCE):
        block = table[low : low + ROWS_AT_ONCE]
        kept = np.argpartition(-np.abs(block), most - 1, axis=1)[:, :most]
        kept.sort(axis=1)
        found = np.take_along_axis(block, kept, axis=1)
        says = found != 0
        lengths.append(says.sum(axis=1))
        columns.append(kept[says].astype(np.int32))
        values.append(found[says])
    return Memory(offsets_of(np.concatenate(lengths)), np.concatenate(columns), np.concatenate(values))
