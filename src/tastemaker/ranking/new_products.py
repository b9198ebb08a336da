"""`add_products`: products that nobody has bought yet join a model by what the catalogue says of them, without training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from tastemaker.data.reading.catalogues import Catalogue
from tastemaker.data.reading.product_table import ProductTable, read_product_table
from tastemaker.data.tokens.bags import Bags
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import SettingProblem
from tastemaker.model.beside.live import Live
from tastemaker.model.beside.order import Kinds
from tastemaker.model.beside.sums import token_sums
from tastemaker.model.memory import Memory
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.fold_in import grown
from tastemaker.types import Floats

__all__ = ["Added", "add_products", "describes_products", "with_new"]


@dataclass(frozen=True, slots=True)
class Added:
    """What `add_products` did."""

    products: int
    """How many joined"""
    silent: int
    """Of how many of them the model understands nothing: they rank by the rate of what never sold alone"""
    columns: tuple[str, ...]
    """The columns that speak for them"""
    absent: tuple[str, ...]
    """The columns that the model learned from and the catalogue lacks"""
    strange: dict[str, int] = field(default_factory=dict)
    """Of each column, how many of the new products have a value there of which the model knows nothing"""


def add_products(
    model: TasteModel, catalogue: Catalogue | ProductTable, *, dial: float | None = None
) -> tuple[TasteModel, Added]:
    """Return the model with the catalogue's new products in it, and what was added.

    v_p = Σ over its attributes of v_a, and the bias of a product that never sold

    A product that the model knows stays as it was learned. ``dial`` is what products without a sale in train gain from now on
    (`Live.dial`); ``None`` leaves it. Raises `SettingProblem` for a model without attributes of products, or for a dial without
    live rates, and `ColumnProblem` where the ids, or a column that the model learned from, are of another type than in train.

    >>> import polars as pl
    >>> import tastemaker as tm
    >>> from tastemaker.ranking.new_products import add_products
    >>> model = tm.best_sellers(tm.read_purchases(pl.DataFrame({"user": ["a"], "product": ["hat"]})))
    >>> add_products(model, pl.DataFrame({"product": ["sock"], "colour": ["red"]}))
    Traceback (most recent call last):
    tastemaker.errors.SettingProblem: the model learned from no column that describes products, ...
    """
    if not describes_products(model):
        raise SettingProblem(
            "the model learned from no column that describes products, so nothing can be said of new ones; "
            "train with a catalogue of products (--products F)."
        )
    if dial is not None and model.live is None:
        raise SettingProblem("the model has no live rates, and so no dial for new products; leave it out.")
    if not isinstance(catalogue, ProductTable):
        catalogue = read_product_table(catalogue, model.products)
    if dial is not None:
        model = _dialled(model, dial)
    return with_new(model, catalogue)


def describes_products(model: TasteModel) -> bool:
    """Return whether a model learned from columns that describe products."""
    return model.tokens is not None and model.tokens.products.size > 0


def with_new(model: TasteModel, table: ProductTable) -> tuple[TasteModel, Added]:
    """Return the model with the products that the table knows and the model does not."""
    tokens = model.tokens
    assert tokens is not None
    strangers, count = table.strangers, len(table.strangers)
    columns = tuple(name for name in tokens.products.names if name in strangers.columns)
    absent = tuple(name for name in tokens.products.names if name not in strangers.columns)
    bags = tokens.products.encode(strangers, count)
    silent = int((np.diff(bags.offsets) == 0).sum())
    added = Added(count, silent, columns, absent, tokens.products.strange(strangers))
    if not count:
        return model, added
    ids = Vocabulary.of(strangers.get_column("id"), noun="product", keep_order=True)
    products, _ = grown(model.products, ids)
    vectors = np.concatenate([np.asarray(model.product_vectors), token_sums(bags, tokens.vectors)])
    tied = model.basket_vectors is model.product_vectors
    basket = model.basket_vectors
    if basket is not None:
        basket = vectors if tied else np.concatenate([basket, vectors[len(basket) :]])
    longer = dataclasses.replace(
        model,
        products=products,
        product_vectors=vectors,
        product_bias=_longer(model.product_bias, _never_sold(model), count),
        basket_vectors=basket,
        memory=None if model.memory is None else Memory.stacked([model.memory, Memory.empty(count)]),
        repeat_bias=None
        if model.repeat_bias is None
        else _longer(model.repeat_bias, float(np.median(model.repeat_bias)), count),
        tokens=dataclasses.replace(tokens, of_products=_below(tokens.of_products, bags)),
        product_values=None
        if model.product_values is None
        else _longer(model.product_values, float(np.median(model.product_values)), count),
        kinds=None if model.kinds is None else _more_rows(model.kinds, len(model.products), count),
        live=None if model.live is None else _for_more(model.live, len(model.products), count),
    )
    return longer, added


def _dialled(model: TasteModel, dial: float) -> TasteModel:
    """Return the model with another dial, in the bias of what never sold, too."""
    if not 0 <= dial <= 100:
        raise SettingProblem(f"the dial is {dial}; it must be from 0 to 100.")
    assert model.live is not None
    sold = np.bincount(model.histories.products, minlength=len(model.products)) > 0
    bias = np.array(model.product_bias)
    bias[~sold] += np.float32(dial - model.live.dial)
    return dataclasses.replace(model, product_bias=bias, live=dataclasses.replace(model.live, dial=dial))


def _never_sold(model: TasteModel) -> float:
    """Return the bias of a product without a sale: by the rate, else as that of those with the fewest buyers."""
    live = model.live
    if live is not None:
        return float(live.weight * np.log(live.kappa / len(model.products) + 1e-12) + live.dial)
    buyers = np.bincount(model.histories.products, minlength=len(model.products))
    fewest = buyers[buyers > 0].min(initial=len(model.users) + 1)
    return float(np.median(model.product_bias[buyers == fewest])) if (buyers == fewest).any() else 0.0


def _for_more(live: Live, products: int, count: int) -> Live:
    """Return rates that begin for each product as before, however many there are."""
    fold_in = live.fold_in
    if fold_in is not None:
        fold_in = dataclasses.replace(fold_in, buyers=_longer(fold_in.buyers, 0.0, count))
    return dataclasses.replace(live, kappa=live.kappa * (products + count) / products, fold_in=fold_in)


def _more_rows(kinds: Kinds, products: int, count: int) -> Kinds:
    """Return the kinds with empty rows for new products, behind those of each kind."""
    memory = kinds.memory
    if memory is None:
        return kinds
    lengths = np.diff(memory.offsets).reshape(len(kinds.names), products)
    padded = np.pad(lengths, ((0, 0), (0, count))).reshape(-1)
    offsets = np.concatenate(([0], np.cumsum(padded))).astype(np.int64)
    return dataclasses.replace(kinds, memory=Memory(offsets, memory.products, memory.weights))


def _below(first: Bags, second: Bags) -> Bags:
    return Bags(
        np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]).astype(np.int64),
        np.concatenate([first.tokens, second.tokens]),
        np.concatenate([first.weights, second.weights]),
    )


def _longer(values: Floats, more: float, count: int) -> Floats:
    longer: Floats = np.concatenate([values, np.full(count, more, np.float32)])
    return longer
