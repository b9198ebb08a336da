"""`TasteModel`: what training learns, as a plain value of arrays and ids."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from tastemaker.data.past import Past
from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.display import card, html_table
from tastemaker.errors import SettingProblem
from tastemaker.model.beside.live import Live
from tastemaker.model.beside.order import Kinds, Order
from tastemaker.model.beside.tokens import Tokens
from tastemaker.model.memory import Memory
from tastemaker.model.record import TrainingRecord
from tastemaker.types import Counts, Floats

__all__ = ["Memory", "TasteModel"]


def _exported(name: str, *arguments: Any) -> Any:
    """Call a function of the layer that knows queries; it is looked up here, so that this value depends on nothing above it."""
    module = import_module("tastemaker.ranking.export.embeddings")
    model, given, bias = arguments
    return getattr(module, name)(model, given, bias=bias)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
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
    tokens: Tokens | None = None
    """What was learned of attributes and contexts"""
    order: Order | None = None
    """How purchases fade with age; ``None`` means that they do not"""
    kinds: Kinds | None = None
    """What events other than purchases say"""
    live: Live | None = None
    """What moves with every event, without learning anew"""
    product_values: Floats | None = None
    """``float32[P]``, what one purchase of each product is worth, positive; ``None`` where nobody said"""

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
            "product_values": (self.product_values, (products,)),
            "past.offsets": (None if self.past is None else self.past.offsets, (users + 1,)),
            **self._token_shapes(users, products, dimensions),
        }
        for name, (array, shape) in shapes.items():
            if array is not None and array.shape != shape:
                raise SettingProblem(f"{name} has the shape {array.shape}; these vocabularies need {shape}.")

    def _token_shapes(self, users: int, products: int, dimensions: int) -> dict[str, Any]:
        tokens = self.tokens
        if tokens is None:
            return {}
        return {
            "tokens.vectors": (tokens.vectors, (len(tokens.vectors), dimensions)),
            "tokens.of_users.offsets": (tokens.of_users.offsets, (users + 1,)),
            "tokens.of_products.offsets": (tokens.of_products.offsets, (products + 1,)),
        }

    @property
    def is_plain(self) -> bool:
        """Return whether nothing but what a query holds matters: no age, no other events, no attributes and no context."""
        return self.tokens is None and self.order is None and self.kinds is None

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

    def user_embeddings(self, users: Any = None, *, bias: bool = False) -> Any:
        """Return the vectors of users, of all by default: ``ids, vectors = model.user_embeddings()``, ``float32[n, D]``.

        Their products with those of `product_embeddings`, and the bias, are all of a score but what the memory adds (and repeats):

        score(u, p) = user vector · product vector + product_bias[p] + memory

        ``bias=True`` puts a 1 behind every user's vector and the bias behind every product's, so that one inner product is the
        score; an index by inner product (faiss's ``IndexFlatIP``) then ranks as `recommend` does where there is no memory, what
        was bought left in. ``users`` may be all that `recommend` takes. A user without a purchase has the zero vector.
        """
        return _exported("user_embeddings", self, users, bias)

    def product_embeddings(self, products: Any = None, *, bias: bool = False) -> Any:
        """Return the vectors of products, of all by default, with their ids: `user_embeddings` says how they meet."""
        return _exported("product_embeddings", self, products, bias)

    def basket_embeddings(self, baskets: Any, *, bias: bool = False) -> Any:
        """Return the vectors of baskets, as `recommend_baskets` takes them, numbered from 0: queries like those of users."""
        return _exported("basket_embeddings", self, baskets, bias)

    def facts(self) -> dict[str, Any]:
        """Return what the model is, in a few facts under their names: what a notebook shows of it."""
        record, memory = self.record, self.memory
        config = record.config
        name = record.metrics.get("baseline", "a baseline") if config is None else config.preset
        facts: dict[str, Any] = {
            "preset": name,
            "learned from": f"{record.purchases:,} purchases, {len(self.users):,} users, {len(self.products):,} products",
            "vectors": f"{self.dimensions} dimensions" if self.dimensions else "none",
            "memory": "none" if memory is None else f"{len(memory.products):,} pairs of products",
            "epochs": f"{len(record.epochs)}{' (interrupted)' if record.interrupted else ''}",
            "seed": record.seed,
        }
        measure, worth = record.metrics.get("measure"), record.metrics.get("with_memory")
        if measure is not None and isinstance(worth, float):
            facts[f"{measure}, held out of train"] = worth
        return facts

    def __repr__(self) -> str:
        facts = self.facts()
        return f"TasteModel({facts['preset']}: {facts['learned from']}; {facts['vectors']}, memory: {facts['memory']})"

    def _repr_html_(self) -> str:
        names = ["epoch", "loss", "accuracy", "valid_loss", "valid_accuracy"]
        if all(epoch.valid_loss is None for epoch in self.record.epochs):
            names = names[:3]
        rows = [[getattr(epoch, name) for name in names] for epoch in self.record.epochs[-5:]]
        shown = html_table(names, rows, caption="The last epochs") if rows else ""
        ids = ", ".join(repr(user_id) for user_id in self.users.ids.head(3).to_list())
        return card("A taste model", self.facts() | {"user ids such as": ids}, shown)

    def finite(self) -> bool:
        """Return whether every number of the model is finite."""
        parts = (
            self.product_vectors, self.product_bias, self.user_vectors, self.basket_vectors, self.repeat_bias,
        )  # fmt: skip
        return all(part is None or bool(np.isfinite(part).all()) for part in parts)
