"""`TasteModel`: what training learns, as a plain value of arrays and ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.data.past import Past
from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import SettingProblem
from tastemaker.model.record import TrainingRecord
from tastemaker.types import Counts, Floats, Offsets, Rows

__all__ = ["Memory", "TasteModel"]


@dataclass(frozen=True, slots=True)
class Memory:
    """A sparse table of what is bought together: row p lists products and what each adds to a score when p is in the basket."""

    offsets: Offsets
    """``int64[P + 1]``"""
    products: Rows
    """``int32[entries]``, ascending within a row"""
    weights: Floats
    """``float32[entries]``"""


@dataclass(frozen=True, slots=True, eq=False)
class TasteModel:
    """Everything needed to rank. Each part but the vocabularies and histories may be empty (``None``).

    score(query, p) = query · product_vectors[p] + product_bias[p] + the memory's entries for the query's basket

    In lists that may hold what was bought, each product of the query's basket gets on top of it

    repeat_weight · log(1 + times bought) + repeat_bias[p]
    """

    users: Vocabulary
    products: Vocabulary
    histories: Histories
    """What each user bought, to compose queries and to leave it out of their lists."""
    product_vectors: Floats
    """``float32[P, D]``, how a product is found; D may be 0"""
    product_bias: Floats
    """``float32[P]``, how popular a product is"""
    user_vectors: Floats | None
    """``float32[U, D]``, learned freely"""
    basket_vectors: Floats | None
    """``float32[P, D]``, what a bought product adds to a query; the very array ``product_vectors`` where both are tied"""
    memory: Memory | None
    record: TrainingRecord
    """Where the model comes from: settings, seed, data, epochs."""
    damping: float = 0.5
    """A basket's n vectors are summed and divided by n^damping."""
    memory_damping: float = 0.0
    """What the memory says of a basket's n products is summed and divided by n^memory_damping."""
    history_times: Counts | None = None
    """``int32[pairs]``, how many times each user bought each product of ``histories``; ``None`` means once"""
    repeat_weight: float = 0.0
    """What log(1 + times bought) adds to the score of a product bought before, where it may come again."""
    repeat_bias: Floats | None = None
    """``float32[P]``, what is added to that of any user; ``None`` means nothing"""
    past: Past | None = None
    """What each user did and when, where the log has times."""

    def __post_init__(self) -> None:
        users, products, dimensions = len(self.users), len(self.products), self.product_vectors.shape[1]
        shapes = {
            "product_vectors": (self.product_vectors, (products, dimensions)),
            "product_bias": (self.product_bias, (products,)),
            "user_vectors": (self.user_vectors, (users, dimensions)),
            "basket_vectors": (self.basket_vectors, (products, dimensions)),
            "histories.offsets": (self.histories.offsets, (users + 1,)),
            "history_times": (self.history_times, self.histories.products.shape),
            "repeat_bias": (self.repeat_bias, (products,)),
            "past.offsets": (None if self.past is None else self.past.offsets, (users + 1,)),
        }
        for name, (array, shape) in shapes.items():
            if array is not None and array.shape != shape:
                raise SettingProblem(f"{name} has the shape {array.shape}; these vocabularies need {shape}.")

    @property
    def dimensions(self) -> int:
        """Return D."""
        return int(self.product_vectors.shape[1])

    def basket_table(self) -> tuple[Floats, float]:
        """Return what a bought product adds to a query, ``float32[P, D]``, and the damping of a basket's sum.

        A model of free users learned no basket vectors: there a basket is the mean of its product vectors.
        """
        if self.basket_vectors is None:
            return self.product_vectors, 1.0
        return self.basket_vectors, self.damping

    def finite(self) -> bool:
        """Return whether every number of the model is finite."""
        parts = (
            self.product_vectors, self.product_bias, self.user_vectors, self.basket_vectors, self.repeat_bias,
        )  # fmt: skip
        return all(part is None or bool(np.isfinite(part).all()) for part in parts)
