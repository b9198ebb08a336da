"""`Beside`: what is learned beside products: the tokens of contexts, of users' attributes and of products'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.tokens.bags import Bags, side_by_side
from tastemaker.data.tokens.columns import TokenColumns, columns_of, says_too_much
from tastemaker.errors import SettingProblem
from tastemaker.model.config import Config
from tastemaker.model.settings import TokenSettings
from tastemaker.training.learners.tables import zero_table
from tastemaker.types import Doubles, Floats, Offsets

__all__ = ["ROLES", "Beside", "TokenTable", "first_purchases"]

ROLES = ("context", "user", "product")
"""What a column describes; columns are named ``role:column``."""


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The token vectors of one member, which change in place."""

    vectors: Floats
    """``float32[T, D']``, padded"""
    squares: Floats
    """``float32[T]``, sums of squared gradients"""


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """The columns that become tokens, and the tokens of every pair of a user and a product, every user and every product."""

    columns: tuple[TokenColumns, TokenColumns, TokenColumns]
    """Of contexts, users and products, numbered one after another"""
    of_pairs: Bags
    """The context of the first purchase of each pair of the histories, and the attributes of its user"""
    of_users: Bags
    of_products: Bags
    tables: tuple[TokenTable, ...]
    """One for each member"""
    decay: Floats
    """``float32[T]``"""
    left_out: Mapping[str, str]
    """Why other columns cannot be learned from, by ``role:name``"""

    @property
    def size(self) -> int:
        """Return T."""
        return sum(columns.size for columns in self.columns)

    def span(self, column: str) -> tuple[int, int]:
        """Return the first token of a column, ``role:name``, and the one after its last."""
        role, _, name = column.partition(":")
        part = self.columns[ROLES.index(role)]
        return part.span(part.names.index(name))

    @staticmethod
    def start(
        log: Purchases, histories: Histories, config: Config, shares: list[int], buyers: Doubles, seed: int
    ) -> Beside | None:
        """Return what stands beside the products of a log, with the first vectors drawn; ``None`` where nothing does.

        ``shares`` are the dimensions of the members. Raises `SettingProblem` for a column that the log has not.
        """
        columns, left_out = chosen_columns(log, config.tokens.columns)
        size = sum(part.size for part in columns)
        if not size:
            return None
        context, users, products = columns
        of_users = users.encode(log.user_features, len(log.users))
        of_products = products.encode(log.product_features, len(log.products))
        first = first_purchases(log, histories)
        frame = None if log.context is None else log.context[pl.Series(first)]
        own = context.encode(frame, len(first))
        of_pairs = side_by_side([own, of_users.take(histories.owners())], len(first))
        counts = np.bincount(of_pairs.tokens, minlength=size).astype(np.float64)
        counts += np.bincount(
            of_products.tokens, np.repeat(2 * buyers, np.diff(of_products.offsets)), minlength=size
        )
        decay = config.taste.rare_decay / np.maximum(counts, 1)
        decay += np.repeat(_decays(config.tokens), [part.size for part in columns])
        tables = []
        for number, dimensions in enumerate(shares):
            rng = np.random.default_rng([seed, number, 4])
            vectors = zero_table(size, dimensions)
            vectors[:, :dimensions] = rng.standard_normal((size, dimensions), np.float32)
            vectors *= np.float32(config.taste.initial_scale)
            tables.append(TokenTable(vectors, np.zeros(size, np.float32)))
        return Beside(
            columns, of_pairs, of_users, of_products, tuple(tables), decay.astype(np.float32), left_out
        )


def _decays(tokens: TokenSettings) -> tuple[float, float, float]:
    """Return the decay of the tokens of each role."""
    of_query = tokens.decay if tokens.query_decay is None else tokens.query_decay
    return of_query, of_query, tokens.decay


def first_purchases(log: Purchases, histories: Histories) -> Offsets:
    """Return the place in the log of the first purchase of each pair of its histories, ``int64[pairs]``."""
    moments = np.zeros(len(log), np.int64) if log.times is None else log.times
    keys = log.user_rows.astype(np.int64) * len(log.products) + log.product_rows
    order = np.lexsort((moments, keys))
    starts = np.ones(len(order), bool)
    starts[1:] = keys[order[1:]] != keys[order[:-1]]
    found: Offsets = order[starts]
    return found


def readable_columns(
    log: Purchases,
) -> tuple[tuple[TokenColumns, TokenColumns, TokenColumns], Mapping[str, str]]:
    """Return how all columns beside a log's pairs become tokens, and which do not and why, by ``role:column``."""
    left_out: dict[str, str] = {}
    found: list[TokenColumns] = []
    first = 0
    for role, frame in zip(ROLES, (log.context, log.user_features, log.product_features), strict=True):
        columns, reasons = columns_of(frame, first)
        left_out.update({f"{role}:{name}": reason for name, reason in reasons.items()})
        if role == "context" and frame is not None:
            leaks = [
                encoder.column
                for encoder in columns.encoders
                if says_too_much(encoder.encode(frame.get_column(encoder.column)), log.product_rows)
            ]
            reason = "it tells the product itself, as what is known only after the purchase does"
            left_out.update({f"{role}:{name}": reason for name in leaks})
            columns = columns.only([name for name in columns.names if name not in leaks], first)
        found.append(columns)
        first += columns.size
    return (found[0], found[1], found[2]), left_out


def chosen_columns(
    log: Purchases, names: str | None
) -> tuple[tuple[TokenColumns, TokenColumns, TokenColumns], Mapping[str, str]]:
    """Return the columns of a setting `tokens.columns`, all that can be read for ``None``, and why others cannot be."""
    every, left_out = readable_columns(log)
    if names is None:
        return every, left_out
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {f"{role}:{name}" for role, part in zip(ROLES, every, strict=True) for name in part.names}
    for name in wanted:
        if name not in known:
            why = left_out.get(
                name, f"the log has {', '.join(sorted(known)) or 'no columns beside its pairs'}"
            )
            raise SettingProblem(f"tokens.columns names {name!r}, which cannot be learned from: {why}.")
    parts: list[TokenColumns] = []
    first = 0
    for role, part in zip(ROLES, every, strict=True):
        kept = part.only([name for name in part.names if f"{role}:{name}" in wanted], first)
        parts.append(kept)
        first += kept.size
    return (parts[0], parts[1], parts[2]), left_out
