"""The spectral part of the memory: what products say about each other along the strongest singular vectors of the purchases.

Where histories are long, most of what they say lies in a few hundred directions and the rest is noise. Projected on these
directions, purchases rank better than counts of pairs do (Y. SHEN et al. 2021, "How Powerful is Graph Convolution for
Recommendation?"). The directions come from a randomised power iteration (N. HALKO, P. MARTINSSON, J. TROPP 2011); nothing is
learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.ragged import distinct
from tastemaker.kernels.counting.spectral import (
    COLUMNS,
    ROWS_AT_ONCE,
    add_rows,
    gram_columns,
    inverse_cholesky,
    multiply_rows,
)
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.settings import MemorySettings
from tastemaker.model.taste_model import Memory
from tastemaker.training.memory.blocks import by_blocks
from tastemaker.training.memory.co_occurrence import (
    buyers_of,
    no_memory,
    partners_among,
    user_shares,
)
from tastemaker.types import Doubles, Floats

__all__ = [
    "Spectrum",
    "is_worth_trying",
    "rank_for",
    "spectral_bytes",
    "spectral_memory",
    "spectrum_of",
    "tied_vectors",
    "tilt_of",
]

SEED = 512
"""Seed of the random start. It is not a setting: after a few passes the start hardly matters."""
SHIFT = 1e-7
"""This share of the mean of a Gram matrix's diagonal is added to the diagonal, so that rounding cannot make directions equal."""
CANDIDATES, CANDIDATE_POWER, CANDIDATE_DAMPING = 1_000, 0.4, 0.25
"""At most this many partners of a product are weighed: those with the most common purchases, normalised as in `count_memory`."""
LONG_HISTORIES = 20
"""A spectral part is tried only where users bought at least this many distinct products on average."""
FEWEST_PRODUCTS = 256
TURNS = 24
"""Power iterations that part the strongest directions from the rest; where two are almost equally strong, either does."""
PRODUCTS_A_DIRECTION = 16
"""At most one direction for this many products of the catalogue."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Two tables whose product is the spectral part: weight(p, r) = inside[p] · outside[r], whose root mean square is 1."""

    inside: Floats
    """``float32[P, K]``, what a product adds to a basket"""
    outside: Floats
    """``float32[P, K]``, how a product is found"""


def is_worth_trying(log: Purchases) -> bool:
    """Return whether the histories are long enough for a spectral part to be chosen: it costs time, and little fits in a few."""
    users = len(distinct(log.user_rows))
    if len(log.products) < FEWEST_PRODUCTS or len(log) < LONG_HISTORIES * users:
        return False
    return len(log.histories().products) >= LONG_HISTORIES * users  # distinct products


def spectral_bytes(log: Purchases, settings: MemorySettings) -> int:
    """Return about how many bytes the spectral part needs at most: its tables and the partners that are weighed."""
    if settings.spectral_weight == 0 or (settings.spectral_weight is None and not is_worth_trying(log)):
        return 0
    users, products = len(log.users), len(log.products)
    return 4 * (7 * products + users) * rank_for(products, settings) + 16 * products * min(
        CANDIDATES, products
    )


def rank_for(products: int, settings: MemorySettings) -> int:
    """Return K: the rank of the settings, or less for a small catalogue."""
    return min(settings.spectral_rank, products // PRODUCTS_A_DIRECTION)


def spectrum_of(histories: Histories, products: int, settings: MemorySettings, pool: ThreadPool) -> Spectrum:
    """Return the K strongest directions of the purchases, scaled.

    X_up = n_u^-user_power · buyers_p^-product_power where user u bought p, and 0 elsewhere; V its K right singular vectors of the
    greatest singular values; weight(p, r) = (buyers_r / buyers_p)^tilt · (V Vᵀ)_pr · P / √K. The same bytes at any number of
    threads.
    """
    buyers, users = buyers_of(histories, products)
    by_user, by_product = _scales(histories, products, settings)
    shape = (products, rank_for(products, settings))
    basis: Floats = np.random.default_rng(SEED).standard_normal(shape, np.float32)
    across = np.empty((len(histories), shape[1]), np.float32)

    def multiply(low: int, high: int) -> None:
        add_rows(low, high, histories.offsets, histories.products, by_user, by_product, basis, across)

    def turn_back(low: int, high: int) -> None:
        add_rows(low, high, buyers, users, by_product, by_user, across, basis)

    for _ in range(settings.spectral_passes):
        pool.run(multiply, len(histories))
        pool.run(turn_back, products)
        basis = _orthonormal(basis, pool)
    basis = _orthonormal(basis, pool)  # once more, since the first leaves rounding of the size of 1e-3
    tilt = tilt_of(histories, products, settings)
    unit = np.float32(products / np.sqrt(shape[1]))
    return Spectrum(basis * (unit / tilt), basis * tilt)


def tied_vectors(
    histories: Histories, spectrum: Spectrum, width: int, settings: MemorySettings, pool: ThreadPool
) -> Floats:
    """Return the D strongest of a spectrum's directions as vectors ``float32[P, D]``, the same in baskets and as products.

    v_p · v_r = (W Wᵀ)_pr · P / √K, W the part of V on which X is greatest: without tilt, in the unit of the spectral part. Power
    iterations on the K · K matrix (X V)ᵀ (X V) find it, in sums of a fixed order. Of K or more, W is V, and columns beyond K are 0.
    """
    products, rank = spectrum.outside.shape
    by_user, by_product = _scales(histories, products, settings)
    basis = spectrum.outside / tilt_of(histories, products, settings)
    unit = np.float32(np.sqrt(products / np.sqrt(rank)))
    if width >= rank:
        return np.hstack((basis * unit, np.zeros((products, width - rank), np.float32)))
    across = np.empty((len(histories), rank), np.float32)

    def multiply(low: int, high: int) -> None:
        add_rows(low, high, histories.offsets, histories.products, by_user, by_product, basis, across)

    pool.run(multiply, len(histories))
    gram = np.empty((rank, rank))
    pool.run(lambda low, high: gram_columns(low, high, across, gram), -(-rank // COLUMNS))
    small = (gram * (rank / max(float(np.trace(gram)), 1e-300))).astype(np.float32)
    turn: Floats = np.random.default_rng(SEED).standard_normal((rank, width), np.float32)
    for _ in range(TURNS):
        turn = _orthonormal(_product(small, turn, pool), pool)
    turn = _orthonormal(turn, pool)
    return _product(basis, turn, pool) * unit


def spectral_memory(
    histories: Histories,
    products: int,
    settings: MemorySettings,
    pool: ThreadPool,
    *,
    spectrum: Spectrum | None = None,
    vectors: Floats | None = None,
) -> Memory:
    """Return the greatest weights of each product, among the products bought most often by the same users.

    All pairs of a large catalogue would cost P² · K, and hardly any large weight joins two products without a common buyer. With
    ``vectors``, what the spectral part says beyond their dot products, the weights farthest from 0: together they are
    close to the whole. A ``spectrum`` that was made of the same histories is not made again.
    """
    if not settings.spectral_partners:
        return no_memory(products)
    spectrum = spectrum or spectrum_of(histories, products, settings, pool)
    inside, outside = spectrum.inside, spectrum.outside
    if vectors is not None:
        inside, outside = np.hstack((inside, vectors)), np.hstack((outside, -vectors))
    buyers = np.maximum(np.bincount(histories.products, minlength=products), 1)
    evened = (buyers**-CANDIDATE_POWER).astype(np.float32)
    shares = user_shares(histories, CANDIDATE_DAMPING, settings.sum_bits)
    candidates = partners_among(histories, products, shares, evened, CANDIDATES, pool)
    most = min(settings.spectral_partners, max(products - 1, 1))
    arguments = (candidates[0], candidates[1], inside, outside, vectors is not None)
    return Memory(*by_blocks("weights", arguments, products, most, pool))


def _scales(histories: Histories, products: int, settings: MemorySettings) -> tuple[Floats, Floats]:
    """Return what X is multiplied by for each user and each product, ``float32[U]`` and ``float32[P]``."""
    sizes = np.maximum(np.diff(histories.offsets), 1).astype(np.float64)
    counts = _counts(histories, products)
    by_user = (sizes ** -float(settings.spectral_user_power)).astype(np.float32)
    return by_user, (counts ** -float(settings.spectral_product_power)).astype(np.float32)


def tilt_of(histories: Histories, products: int, settings: MemorySettings) -> Floats:
    """Return what a product's place in the spectral part is multiplied by where it is found, ``float32[P, 1]``."""
    counts = _counts(histories, products)
    tilt: Floats = ((counts / counts.mean()) ** float(settings.spectral_tilt)).astype(np.float32)[:, None]
    return tilt


def _counts(histories: Histories, products: int) -> Doubles:
    return np.maximum(np.bincount(histories.products, minlength=products), 1).astype(np.float64)


def _product(table: Floats, matrix: Floats, pool: ThreadPool) -> Floats:
    """Return ``table[R, K] @ matrix[K, D]``."""
    out = np.empty((len(table), matrix.shape[1]), np.float32)
    pool.run(lambda low, high: multiply_rows(low, high, table, matrix, out), -(-len(table) // ROWS_AT_ONCE))
    return out


def _orthonormal(table: Floats, pool: ThreadPool) -> Floats:
    """Return a basis of the columns of ``table[P, K]`` by the Cholesky factor of their Gram matrix."""
    width = table.shape[1]
    gram, inverse = np.empty((width, width)), np.empty((width, width))
    pool.run(lambda low, high: gram_columns(low, high, table, gram), -(-width // COLUMNS))
    inverse_cholesky(gram, SHIFT * float(np.trace(gram)) / width, inverse)
    turned = np.ascontiguousarray(inverse.T.astype(np.float32))
    return _product(table, turned, pool)
