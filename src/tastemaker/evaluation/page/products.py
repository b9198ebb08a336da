"""What the page says of products: what is shown beside what is bought, a map of them, and users' lists by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.given import seen_by
from tastemaker.data.reading.product_table import ProductTable
from tastemaker.evaluation.comparison.entries import Comparison
from tastemaker.evaluation.comparison.list_samples import SHOWN
from tastemaker.evaluation.page.charts import Cloud, Point, Stack, Stacks
from tastemaker.evaluation.page.models import colours, ranked
from tastemaker.evaluation.page.product_map import product_map
from tastemaker.evaluation.segments import buyers_of, by_popularity
from tastemaker.types import AnyArray, Offsets, Rows

__all__ = ["Example", "Listed", "Names", "examples", "exposure", "product_cloud"]

CATEGORIES = 7
"""The number of categories with a colour of their own; the others share one."""

NAMED = 8
"""The number of a user's purchases that are named."""


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """What products are called, by their rows in TRAIN."""

    table: ProductTable
    """A catalogue, perhaps without columns"""

    def of(self, row: int) -> str:
        """Return a product's name, or its id where it has none."""
        column = self.table.named("name")
        name = None if column is None else self.table.column(column)[row]
        return str(self.table.ids[row]) if name is None else str(name)

    def categories(self, rows: AnyArray) -> list[str] | None:
        """Return the categories of products, ``None`` where the catalogue has none; all but the most frequent are *other*."""
        column = self.table.named("category")
        if column is None:
            return None
        values = self.table.column(column).gather(rows.tolist()).to_list()
        texts = ["unknown" if value is None else str(value) for value in values]
        kinds, counts = np.unique(texts, return_counts=True)
        frequent = set(kinds[np.argsort(-counts, kind="stable")][:CATEGORIES].tolist())
        return [text if text in frequent else "other" for text in texts]


@dataclass(frozen=True, slots=True)
class Listed:
    """A product in an example."""

    name: str
    hit: bool
    """Whether the user bought it later"""


@dataclass(frozen=True, slots=True)
class Example:
    """What a user bought, and what models show them."""

    user: str
    bought: tuple[str, ...]
    more: int
    """How many purchases are not named"""
    later: tuple[str, ...]
    lists: tuple[tuple[str, tuple[Listed, ...]], ...]
    """``(model, products)``"""


def exposure(found: Comparison, train: Purchases, held_out: Purchases) -> Stacks:
    """Draw what share of their places models give to best sellers and to the rest, beside what was bought."""
    parts = by_popularity(train)
    labels = parts.of_products(seen_by(held_out, train.users, train.products).product_rows)
    bought = np.bincount(labels, minlength=len(parts.labels))
    rows = [_stack("bought later", "bought", bought)]
    for entry in ranked(found):
        assert entry.samples is not None
        counts = np.bincount(parts.codes, weights=entry.samples.shown, minlength=len(parts.labels))
        rows.append(_stack(entry.name, colours(found)[entry.name], counts))
    sizes = np.bincount(parts.codes, minlength=len(parts.labels))
    legend = tuple(f"{label}: {size:,} products" for label, size in zip(parts.labels, sizes, strict=True))
    note = (
        f"The first {SHOWN} places of all lists, by popularity of the product. Head, middle and tail each make up a third of what "
        "was bought in train; a list of best sellers shows the head alone."
    )
    return Stacks("What is recommended, beside what is bought", note, tuple(rows), parts.labels, legend)


def _stack(name: str, colour: str, counts: AnyArray) -> Stack:
    total = max(float(counts.sum()), 1.0)
    return Stack(name, colour, tuple(float(count) / total for count in counts))


def product_cloud(found: Comparison, train: Purchases, names: Names) -> Cloud | None:
    """Draw the product vectors of the chosen model in two dimensions, coloured by category or popularity.

    ``None`` for a model without vectors, and for one of another catalogue, whose products have no names here.
    """
    model = found.of(found.chosen).model
    if model is None or not model.products.ids.equals(train.products.ids):
        return None
    buyers = buyers_of(train).astype(np.int64)
    drawn = product_map(np.asarray(model.product_vectors), buyers)
    if drawn is None:
        return None
    by, kinds, order = _kinds(drawn.rows, buyers, names)
    hue = {kind: f"{'kind' if by == 'category' else 'ramp'}{place}" for place, kind in enumerate(order)}
    low, high = drawn.places.min(axis=0), drawn.places.max(axis=0)
    places = 2 + 96 * (drawn.places - low) / np.where(high > low, high - low, 1.0)
    points = [
        Point(
            float(x),
            float(100 - y),
            hue[kind],
            names.of(int(row)),
            kind if by == "category" else "",
            int(buyers[row]),
        )
        for row, kind, (x, y) in zip(drawn.rows, kinds, places, strict=True)
    ]
    note = (
        f"The {len(points):,} products with the most buyers; near ones have vectors of like direction. Two dimensions hold "
        f"{drawn.explained:.0%} of the variance of {model.dimensions}: much is flattened. Point at one to read its name."
    )
    legend = tuple((hue[kind], kind, kinds.count(kind)) for kind in order)
    return Cloud(f"Map of the products, by {by}", note, tuple(reversed(points)), legend)


def _kinds(rows: Rows, buyers: Offsets, names: Names) -> tuple[str, list[str], list[str]]:
    """Return what colours the map, the kind of each product, and the kinds in the order of the legend."""
    kinds = names.categories(rows)
    if kinds is None:
        cuts = np.unique(np.quantile(buyers[rows], [0.75, 0.5, 0.25], method="nearest"))[::-1].tolist()
        ends = [None, *(cut - 1 for cut in cuts)]
        labels = [_span(low, high) for low, high in zip([*cuts, 1], ends, strict=True)]
        kinds = [
            labels[next((n for n, cut in enumerate(cuts) if buyers[row] >= cut), len(cuts))] for row in rows
        ]
        return "popularity", kinds, [label for label in labels if label in kinds]

    def place(kind: str) -> tuple[bool, int, str]:
        return kind in ("other", "unknown"), -kinds.count(kind), kind

    return "category", kinds, sorted(set(kinds), key=place)


def _span(low: int, high: int | None) -> str:
    if high is None:
        return f"{low:,} buyers and more"
    return f"{low:,} buyers" if low >= high else f"{low:,}–{high:,} buyers"


def examples(found: Comparison, train: Purchases, held_out: Purchases, names: Names) -> list[Example]:
    """Return a few users with what the chosen model and its strongest rival show them."""
    models = [found.of(found.chosen), *(entry for entry in ranked(found) if entry.name != found.chosen)]
    shown = [(entry.name, entry.samples.examples) for entry in models if entry.samples is not None][:2]
    histories = train.histories()
    later = seen_by(held_out, train.users, train.products).histories()
    told = []
    for row in shown[0][1] if shown else ():
        bought, wanted = histories.of(row), set(later.of(row).tolist())
        known = sorted(place for place in wanted if place < len(train.products))
        told.append(
            Example(
                str(train.users.ids[row]),
                tuple(names.of(int(place)) for place in bought[:NAMED]),
                max(0, len(bought) - NAMED),
                tuple(names.of(place) for place in known[:NAMED]),
                tuple((name, _listed(lists.get(row, ()), wanted, train, names)) for name, lists in shown),
            )
        )
    return told


def _listed(ids: tuple[object, ...], wanted: set[int], train: Purchases, names: Names) -> tuple[Listed, ...]:
    rows = train.products.find(list(ids)).to_list()
    return tuple(
        Listed(str(product) if row is None else names.of(row), row in wanted)
        for row, product in zip(rows, ids, strict=True)
    )
