"""`Tokens`: what a model learned of attributes and contexts, beside its products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tastemaker.data.tokens.bags import Bags
from tastemaker.data.tokens.columns import TokenColumns
from tastemaker.data.tokens.encoders import Encoder
from tastemaker.errors import SettingProblem
from tastemaker.types import Floats

__all__ = ["Tokens"]


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """The vectors of attributes and contexts, numbered context first, then users' attributes, then products'.

    A query adds those of its context and of its user; a product's vector in the model holds its attributes' already.
    """

    context: TokenColumns
    users: TokenColumns
    products: TokenColumns
    vectors: Floats
    """``float32[T, D]``"""
    of_users: Bags
    """Of each of the U users"""
    of_products: Bags
    """Of each of the P products"""

    def __post_init__(self) -> None:
        size = self.context.size + self.users.size + self.products.size
        if len(self.vectors) != size:
            raise SettingProblem(f"there are {len(self.vectors)} token vectors for {size} tokens.")

    def label(self, token: int) -> str:
        """Return what a token stands for, in words."""
        found = self.context.label(token) or self.users.label(token) or self.products.label(token)
        return found or f"token {token}"

    def for_users(self, count: int) -> Tokens:
        """Return the same for ``count`` users; those beyond the U known ones have no attributes."""
        known = self.of_users
        more = np.full(count - len(known), known.offsets[-1])
        return replace(
            self, of_users=Bags(np.concatenate([known.offsets, more]), known.tokens, known.weights)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the columns as JSON values."""
        parts = {"context": self.context, "users": self.users, "products": self.products}
        return {name: [encoder.to_json() for encoder in columns.encoders] for name, columns in parts.items()}

    @staticmethod
    def columns_from_json(values: Mapping[str, Any]) -> tuple[TokenColumns, TokenColumns, TokenColumns]:
        """Return the columns of contexts, users and products that `to_json` gave."""
        context = TokenColumns(tuple(map(Encoder.from_json, values["context"])), 0)
        users = TokenColumns(tuple(map(Encoder.from_json, values["users"])), context.size)
        products = TokenColumns(tuple(map(Encoder.from_json, values["products"])), context.size + users.size)
        return context, users, products
