"""What the page says of products: what is shown beside what is bought, what is taken for alike, and users' lists by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.given import seen_by
from tastemaker.data.reading.product_table import ProductTable
from tastemaker.evaluation.comparison.entries import Comparison
from tastemaker.evaluation.comparison.list_samples import SHOWN
from tastemaker.evaluation.curves.tail_curve import MARGIN, TailPoint, best_tail
from tastemaker.evaluation.page.charts import Chart, Line, Stack, Stacks, line_chart
from tastemaker.evaluation.page.models import colours, ranked
from tastemaker.evaluation.page.scales import linear
from tastemaker.evaluation.segments import buyers_of, by_popularity
from tastemaker.ranking.packed import pack
from tastemaker.ranking.rank import rank_neighbours
from tastemaker.types import AnyArray

__all__ = ["Alike", "Example", "NamedProduct", "Names", "alike", "examples", "exposure", "tails"]

ALIKE, NEAREST = 10, 4
"""The number of best sellers whose nearest products are named, and of those."""

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


@dataclass(frozen=True, slots=True)
class NamedProduct:
    """A product in an example."""

    name: str
    hit: bool
    """Whether the user bought it later"""


@dataclass(frozen=True, slots=True)
class Alike:
    """A product and those that a model takes for nearest to it."""

    name: str
    near: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """What a user bought, and what models show them."""

    user: str
    bought: tuple[str, ...]
    more: int
    """How many purchases are not named"""
    later: tuple[str, ...]
    more_later: int
    """How many of what was bought later are not named"""
    lists: tuple[tuple[str, tuple[NamedProduct, ...]], ...]
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


def tails(found: Comparison) -> Chart | None:
    """Draw what the chosen model's lists find and show as the dial of the tail rises; ``None`` where it was not measured."""
    points = found.of(found.chosen).tails
    if not points:
        return None
    first = points[0]
    k, bought = first.k, first.bought_beyond_head
    lines = [
        Line(name, colour, tuple((point.tail, getattr(point, field) / (whole or 1.0)) for point in points))
        for name, colour, field, whole in (
            (f"ndcg@{k}, to that at 0", "hue0", "ndcg", first.ndcg),
            (f"recall@{k} of middle and tail, to that at 0", "hue1", "tail_recall", first.tail_recall),
            (f"share of middle and tail in the first {SHOWN}", "hue2", "beyond_head", 1.0),
        )
    ]
    note = (
        f"{found.chosen} with --tail from 0 on. Of what was bought later, {bought:.0%} is of the middle and the tail: "
        f"lists that show as much of them as people buy are calibrated. {_named(points)}"
    )
    axis = linear([point.tail for point in points])
    return line_chart(
        "What the long tail costs", note, lines, axis, x_name="--tail", columns=[p.tail for p in points]
    )


def _named(points: tuple[TailPoint, ...]) -> str:
    """Return in a sentence which dial finds most of the tail at no cost that shows."""
    first, best = points[0], best_tail(points)
    if best is first:
        return (
            f"No dial finds more of them with an ndcg@{first.k} that is surely less than {MARGIN:.0%} lower."
        )
    changes = []
    for change, before in ((best.tail_recall_change, first.tail_recall), (best.ndcg_change, first.ndcg)):
        low, mean, high = (
            f"{100 * one / before:+.1f}" if before else "–" for one in (change.low, change.mean, change.high)
        )
        changes.append(f"{mean} % ({low} to {high})")
    return (
        f"With --tail {best.tail:g} recall@{first.k} of middle and tail changes by {changes[0]}, ndcg@{first.k} by {changes[1]}. "
        f"Of the dials whose ndcg@{first.k} is surely less than {MARGIN:.0%} lower it finds most; "
        f"train --set popularity.tail={best.tail:g} makes it the model's own."
    )


def _stack(name: str, colour: str, counts: AnyArray) -> Stack:
    total = max(float(counts.sum()), 1.0)
    return Stack(name, colour, tuple(float(count) / total for count in counts))


def alike(found: Comparison, train: Purchases, names: Names) -> list[Alike]:
    """Return what the chosen model takes for nearest, by cosine, to each of the products with the most buyers.

    Empty for a model without vectors, and for one of another catalogue, whose products have no names here.
    """
    model = found.of(found.chosen).model
    if model is None or not model.dimensions or not model.products.ids.equals(train.products.ids):
        return []
    buyers = buyers_of(train)
    rows = np.argsort(-buyers, kind="stable")[:ALIKE]
    lists = rank_neighbours(pack(model), rows.astype(np.int32), None, k=NEAREST, similarity="cosine")
    return [
        Alike(names.of(int(row)), tuple(names.of(int(other)) for other in near))
        for row, (near, _) in zip(rows, lists, strict=True)
        if len(near)
    ]


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
                max(0, len(known) - NAMED),
                tuple((name, _listed(lists.get(row, ()), wanted, train, names)) for name, lists in shown),
            )
        )
    return told


def _listed(
    ids: tuple[object, ...], wanted: set[int], train: Purchases, names: Names
) -> tuple[NamedProduct, ...]:
    rows = train.products.find(list(ids)).to_list()
    return tuple(
        NamedProduct(str(product) if row is None else names.of(row), row in wanted)
        for row, product in zip(rows, ids, strict=True)
    )
