"""`PackedModel`: a model made ready for ranking, once for many calls: its products packed, its catalogue beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from tastemaker.data.reading.catalogues import Catalogue
from tastemaker.data.reading.product_table import ProductTable, read_product_table
from tastemaker.errors import SettingProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.approximate import AnyCandidates, Approximate, exact_of
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.ranking.top_k import Candidates
from tastemaker.ranking.why import Buyers
from tastemaker.types import Doubles, Floats

__all__ = [
    "PackedModel",
    "Similarity",
    "Space",
    "by_tail",
    "by_value",
    "known_sales",
    "pack",
    "product_candidates",
    "similarity_candidates",
    "tail_scores",
    "value_scores",
    "worth_of",
]

Similarity = Literal["dot", "cosine"]

Space: TypeAlias = tuple[Floats, AnyCandidates]
"""Product vectors, ``float32[P, D]``, and the same packed: where neighbours are sought"""

SCALED_AT_ONCE = 1 << 14
"""Vectors that are scaled together, so that their doubles take little memory"""


@dataclass(eq=False)
class PackedModel:
    """A model with everything else that lists are made from. What is known of the shop now, such as live rates, belongs here.

    What is computed from it is cached at first use, and changes no answer.
    """

    model: TasteModel
    catalogue: ProductTable | None = None
    packed: AnyCandidates | None = None
    """The products with their bias, where they are packed already; those of an index are found approximately"""
    spaces: dict[Similarity, Space] = field(default_factory=dict)
    """Where neighbours are sought; made when first asked for"""
    _narrowed: tuple[RuleBook, Candidates] | None = None

    @cached_property
    def candidates(self) -> AnyCandidates:
        """Return the products with their bias, packed when first asked for."""
        return self.packed or product_candidates(self.model)

    @property
    def exact(self) -> Candidates:
        """Return the products as they are ranked exactly."""
        return exact_of(self.candidates)

    @cached_property
    def buyers(self) -> Buyers:
        """Return who bought each product."""
        return Buyers(self.model)

    def allowed_by(self, book: RuleBook) -> Candidates:
        """Return the products under the mask and the boosts of a book; those of the last book are kept: most requests share it."""
        kept = self._narrowed
        if kept is None or kept[0] is not book:
            mask, boosted = book.allowed, self.boosted_by(book)
            kept = self._narrowed = (book, boosted if mask is None else boosted.only(mask))
        return kept[1]

    def boosted_by(self, book: RuleBook) -> Candidates:
        """Return all products, the scores of some raised or lowered as a book says."""
        if book.boosts is None:
            return self.exact
        return replace(self.exact, bias=self.exact.bias + book.boosts)

    def space(self, similarity: Similarity = "dot") -> Space:
        """Return where neighbours are searched; raise `SettingProblem` for an unknown similarity."""
        found = self.spaces.get(similarity)
        if found is None:
            found = self.spaces[similarity] = self._space(similarity)
        return found

    def _space(self, similarity: Similarity) -> Space:
        if similarity == "dot" and isinstance(self.packed, Approximate):
            return self.packed.vectors, self.packed.by_dot()
        if similarity == "dot":  # the same panels without bias: nothing is packed twice
            bias = np.zeros(self.exact.count, np.float32)
            return np.asarray(self.model.product_vectors), replace(self.exact, bias=bias)
        return similarity_candidates(self.model, similarity)


def pack(
    model: TasteModel | PackedModel,
    *,
    catalogue: Catalogue | ProductTable | None = None,
    candidates: AnyCandidates | None = None,
) -> PackedModel:
    """Make a model ready for many calls of `recommend`, `recommend_baskets` and `similar`, which take what this returns.

    ``catalogue`` is a table of products (a file, a frame, or one that was read), for rules on its columns. ``candidates`` of
    `load_index` are found approximately.
    """
    if isinstance(model, PackedModel):
        if catalogue is None and candidates is None:
            return model
        candidates = candidates or model.packed
        catalogue = model.catalogue if catalogue is None else catalogue
        model = model.model
    if catalogue is not None and not isinstance(catalogue, ProductTable):
        catalogue = read_product_table(catalogue, model.products)
    return PackedModel(model, catalogue, candidates)


def by_value(model: TasteModel, dial: float = 1.0) -> TasteModel:
    """Return a model that ranks by expected value: what a product is worth counts beside how likely it is bought.

    score(q, p) + dial · log(value_p / median value)

    A score is the logarithm of a likelihood, up to a constant, so that ``dial=1`` ranks by likelihood · value; 0 ranks as before.
    The values are those of the column that training was told of (`Reading.value_column`). While rates move, in a replay, the worth
    stays beside them; a dial given before is replaced. Raises `SettingProblem` for a model without values, and for a dial that is
    not from 0 to 1.
    """
    bias = np.asarray(model.product_bias) + value_scores(model, dial)
    live = None if model.live is None else replace(model.live, value_dial=dial)
    return replace(model, product_bias=bias.astype(np.float32), live=live)


def value_scores(model: TasteModel, dial: float) -> Floats:
    """Return what `by_value` adds to the score of each product, ``float32[P]``."""
    if not 0 <= dial <= 1:
        raise SettingProblem(
            f"the dial of value is {dial}; it must be from 0 (most likely) to 1 (most valuable)."
        )
    before = 0.0 if model.live is None else model.live.value_dial
    return ((dial - before) * worth_of(model)).astype(np.float32)


def by_tail(model: TasteModel, tail: float) -> TasteModel:
    """Return a model that gives the long tail more places: what everybody buys counts less beside what this user likes.

    score(q, p) - tail · log(1 + buyers of p)

    A score is the logarithm of a likelihood, up to a constant, so that 0 ranks as before, and ``tail=1`` by how much more likely
    than its sales say a product is bought. Buyers are those of train. While rates move, in a replay, the dial stays beside them; a
    dial given before is replaced, and so is ``popularity.tail``, which training gave. Raises `SettingProblem` for a dial that is
    not from 0 to 1.
    """
    bias = np.asarray(model.product_bias) + tail_scores(model, tail)
    live = None if model.live is None else replace(model.live, tail=tail)
    return replace(model, product_bias=bias.astype(np.float32), live=live)


def tail_scores(model: TasteModel, tail: float) -> Floats:
    """Return what `by_tail` adds to the score of each product, ``float32[P]``."""
    if not 0 <= tail <= 1:
        raise SettingProblem(
            f"the dial of the tail is {tail}; it must be from 0, which ranks as learned, to 1, "
            "which takes away all that sales say."
        )
    config = model.record.config
    trained = 0.0 if config is None else config.popularity.tail or 0.0
    before = trained if model.live is None else model.live.tail
    return ((before - tail) * known_sales(model)).astype(np.float32)


def known_sales(model: TasteModel) -> Doubles:
    """Return log(1 + buyers) of each product, ``float64[P]``."""
    buyers = np.bincount(model.histories.products, minlength=len(model.products))
    sales: Doubles = np.log1p(buyers.astype(np.float64))
    return sales


def worth_of(model: TasteModel) -> Doubles:
    """Return log(value / median value) of each product, ``float64[P]``; raise `SettingProblem` for a model without values."""
    if model.product_values is None:
        raise SettingProblem(
            "the model does not know what its products are worth; train it with --value-column C, a column of prices or margins."
        )
    values = np.asarray(model.product_values, np.float64)
    worth: Doubles = np.log(values / np.median(values))
    return worth


def product_candidates(model: TasteModel) -> Candidates:
    """Pack a model's products for `top_k`."""
    return Candidates.of(model.product_vectors, model.product_bias)


def similarity_candidates(model: TasteModel, similarity: Similarity = "dot") -> tuple[Floats, Candidates]:
    """Return the product vectors among which neighbours are sought, scaled to length 1 for cosine, and packed."""
    vectors = np.asarray(model.product_vectors)
    if similarity == "cosine":
        vectors = _of_length_one(vectors)
    elif similarity != "dot":
        raise SettingProblem(f"similarity is {similarity!r}; it must be 'dot' or 'cosine'.")
    return vectors, Candidates.of(vectors)


def _of_length_one(vectors: Floats) -> Floats:
    """Return ``vectors[P, D]`` divided by their lengths; a vector of zeros stays one."""
    scaled = np.empty(vectors.shape, np.float32)
    for low in range(0, len(vectors), SCALED_AT_ONCE):
        some = vectors[low : low + SCALED_AT_ONCE]
        lengths = np.sqrt(np.einsum("pd,pd->p", some, some, dtype=np.float64))
        scaled[low : low + len(some)] = some / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return scaled
