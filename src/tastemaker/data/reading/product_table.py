"""`ProductTable`: what a catalogue says of each product of a model, such as its name, price, brand and category."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import polars as pl

from tastemaker.data.identifiers import integers_if_all, normalise_ids
from tastemaker.data.reading.catalogues import Catalogue, id_column
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.sources import open_source, translated
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem
from tastemaker.types import Rows

__all__ = ["Part", "ProductTable", "as_guessed", "empty_table", "read_product_table"]

Part = Literal["name", "price", "image", "category", "brand", "stock"]

USUAL_NAMES: Final[dict[Part, tuple[str, ...]]] = {
    "name": ("name", "productname", "title", "producttitle", "description", "productdescription"),
    "price": ("price", "unitprice", "currentprice", "saleprice", "listprice", "amount"),
    "image": ("image", "imageurl", "imageuri", "picture", "pictureurl", "thumbnail", "thumbnailurl", "img"),
    "category": (
        "category", "categoryname", "producttype", "producttypename", "productgroup", "productgroupname",
        "categoryid", "department", "departmentname",
    ),
    "brand": ("brand", "brandname", "label", "manufacturer", "vendor"),
    "stock": ("instock", "available", "availability", "isavailable", "stock", "stocklevel", "inventory"),
}  # fmt: skip
"""The usual names of the columns that a shop's page shows, the likeliest first."""


FROM_HERE_OF_PRODUCTS: Final = 0.5
"""How much more than by chance the lines of a product must agree, of what they could, for a column of a log to describe products"""


@dataclass(frozen=True, slots=True, eq=False)
class ProductTable:
    """The columns of a catalogue, one line for each product row of a model; null where the catalogue is silent."""

    frame: pl.DataFrame
    """P lines; without the ids"""
    ids: pl.Series
    """The model's product ids, length P"""
    strangers: pl.DataFrame
    """The lines of products that the model does not know, with their ids as text in the column ``id``"""
    label: str
    """What messages call the catalogue"""
    repeats: int = 0
    """Lines of products that an earlier line describes already: they count for nothing"""
    of_purchases: tuple[str, ...] = ()
    """Columns of a log that was given as a catalogue, which say something of purchases and not of products: they are left out"""
    _codes: dict[str, Rows] = field(default_factory=dict, repr=False)

    def column(self, name: str) -> pl.Series:
        """Return one column, length P; raise `ColumnProblem`, which lists the columns there are."""
        if name not in self.frame.columns:
            columns = ", ".join(map(repr, self.frame.columns)) or "none; give a catalogue"
            raise ColumnProblem(f"{self.label} has no column {name!r}. Its columns are: {columns}.")
        return self.frame.get_column(name)

    def named(self, part: Part) -> str | None:
        """Return the column that plays this part by its usual name, ``None`` where none does."""
        plain = {name.lower().translate(_IGNORED): name for name in reversed(self.frame.columns)}
        return next((plain[name] for name in USUAL_NAMES[part] if name in plain), None)

    def codes(self, name: str) -> Rows:
        """Return a number for each product, the same for equal values of a column, ``int32[P]``; -1 for null.

        Computed once for a column. Raises `ColumnProblem`.
        """
        if name not in self._codes:
            values = self.column(name)
            if values.dtype.is_nested():
                raise ColumnProblem(
                    f"the column {name!r} of {self.label} holds lists; it must hold one value a product to be grouped by."
                )
            codes = (values.rank("dense") - 1).cast(pl.Int32).fill_null(-1)
            self._codes[name] = np.ascontiguousarray(codes.to_numpy(), np.int32)
        return self._codes[name]


def read_product_table(source: Catalogue, products: Vocabulary, *, column: str | None = None) -> ProductTable:
    """Read a catalogue of products with all its columns, in the order of ``products``.

    ``source`` is a path or a frame as of `read_catalogue`; the ids stand in ``column``, or in the one with a usual name. Of a
    repeated id the first line counts. The columns of a CSV are numbers or truth values where all their values are. Raises
    `UnreadableFile`, `ColumnProblem`.

    >>> shop = pl.DataFrame({"product_id": ["hat", "kilt"], "price": [9.5, 40.0]})
    >>> table = read_product_table(shop, Vocabulary.of(["hat", "sock"], noun="product"))
    >>> table.column("price").to_list(), table.strangers["id"].to_list(), table.named("price")
    ([9.5, None], ['kilt'], 'price')
    """
    noun = products.noun  # columns that describe users are read the same way
    opened = open_source(
        source, columns=Columns(product=column) if noun == "product" else Columns(user=column)
    )
    name = id_column(opened, noun, column)
    with translated(opened.label):
        frame = opened.select(list(opened.names)).collect()
    ids, _ = normalise_ids(frame.get_column(name), noun=noun)
    if opened.is_text:
        frame = frame.with_columns([as_guessed(series) for series in frame.drop(name).iter_columns()])
    frame = frame.drop(name).with_columns(pl.selectors.float().fill_nan(None))
    first = ids.is_first_distinct() & ids.is_not_null()
    repeats = int(ids.is_not_null().sum()) - int(first.sum())
    of_purchases: tuple[str, ...] = ()
    if repeats >= first.sum() > 1:
        of_purchases = _of_purchases(frame, ids, first)
        frame = frame.drop(of_purchases)
    frame, ids = frame.filter(first), ids.filter(first)
    rows = products.find(ids)
    unknown = rows.is_null()
    places = np.full(len(products), -1, np.int64)
    places[rows.drop_nulls().to_numpy()] = np.flatnonzero(~unknown.to_numpy())
    index = pl.Series(places)
    index = index.set(index < 0, None)
    strangers = frame.filter(unknown).with_columns(ids.filter(unknown).cast(pl.String).alias("id"))
    return ProductTable(_gathered(frame, index), products.ids, strangers, opened.label, repeats, of_purchases)


def empty_table(products: Vocabulary) -> ProductTable:
    """Return the table of a model that came without a catalogue: it has no columns."""
    nothing = pl.DataFrame({"id": pl.Series([], dtype=pl.String)})
    return ProductTable(pl.DataFrame(), products.ids, nothing, "the catalogue")


def _of_purchases(frame: pl.DataFrame, ids: pl.Series, first: pl.Series) -> tuple[str, ...]:
    """Return the columns that say no more of a product's line than of any: whether an order's number, its time, or its buyer.

    How often a later line of a product says what its first one says, beyond how often two lines agree by chance, as a share of what
    could be: κ = (a − c) / (1 − c). Source: Cohen 1960, eq. 1.
    """
    lines = pl.DataFrame({"id": ids, "line": np.arange(len(ids))})
    firsts = lines.filter(first).rename({"line": "first"})
    pairs = lines.filter(~first).join(firsts, on="id", how="inner")
    found = []
    for series in frame.iter_columns():
        if series.dtype.is_nested():
            continue
        same = series.gather(pairs["line"]).eq_missing(series.gather(pairs["first"]))
        agree = int(same.sum()) / len(same)
        counts = series.value_counts()["count"].to_numpy()
        chance = float(np.square(counts / len(series)).sum())
        if chance < 1 and agree - chance < FROM_HERE_OF_PRODUCTS * (1 - chance):
            found.append(series.name)
    return tuple(found)


def _gathered(frame: pl.DataFrame, index: pl.Series) -> pl.DataFrame:
    return pl.DataFrame([series.gather(index) for series in frame.iter_columns()])


def as_guessed(series: pl.Series) -> pl.Series:
    """Give a column of text the type that all its values have."""
    if series.dtype != pl.String or series.null_count() == len(series):
        return series
    known = series.drop_nulls()
    if integers_if_all(known).dtype != pl.String:
        return series.cast(pl.Int64)
    spelled = known.str.to_lowercase().is_in(["true", "false"])
    if bool(spelled.all()):
        return series.str.to_lowercase() == "true"
    leading_zero = known.str.contains(r"^-?0\d").any()  # a code, no number
    numbers = series.cast(pl.Float64, strict=False)
    return series if leading_zero or numbers.null_count() != series.null_count() else numbers


_IGNORED = str.maketrans("", "", "_- .")
