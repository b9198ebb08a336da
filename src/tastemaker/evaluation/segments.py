"""Segments: users by history or column, products by popularity or column, and what a model is worth in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.ragged import offsets_of
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import ColumnProblem, DataError, SettingProblem
from tastemaker.evaluation.intervals import Interval, bootstrap_mean
from tastemaker.evaluation.metrics import USER_METRICS, check_cutoffs, find_hits
from tastemaker.evaluation.popularity import LABELS, popularity
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.lists import RankedLists
from tastemaker.types import AnyArray, Booleans, Counts, Rows

__all__ = [
    "HABITS",
    "POPULARITY",
    "MeasuredSegment",
    "Segments",
    "buyers_of",
    "by_column",
    "by_history_length",
    "by_popularity",
    "measure_segments",
]

HABITS = "products bought before"
"""The name of the segments by `by_history_length`."""

POPULARITY = "popularity of the product"
"""The name of the segments by `by_popularity`."""


OTHERS = "all others"
"""The label of values too rare for one of their own; a shop may well have a category that is called other."""


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """A way to part users or products: a label for each."""

    name: str
    """What parts them, for people, such as ``products bought before``"""
    noun: Noun
    """Whether users or products are parted"""
    labels: tuple[str, ...]
    """In the order of a report"""
    codes: Rows
    """Of users: ``int32[Q]``, the label of the user of each list, as a position in ``labels``. Of products: ``int32[P]``, that of
    each product row. -1 for none"""
    beyond: int = -1
    """The label of product rows of P and above: products that the model does not know"""

    def of_products(self, rows: AnyArray) -> Rows:
        """Return the labels of product rows, of which some may lie beyond those known, as ``int32[n]``."""
        return np.append(self.codes, np.int32(self.beyond))[np.minimum(rows, len(self.codes))]


@dataclass(frozen=True, slots=True)
class MeasuredSegment:
    """What the lists are worth in one segment."""

    label: str
    users: int
    """How many users were measured: of the segment, or with a held-out product of the segment"""
    products: int
    """How many (user, product) pairs held out were asked for"""
    metrics: dict[str, Interval]
    """``{"recall@10": Interval, …}``; empty where no user was measured"""


def by_history_length(
    model: TasteModel | Histories, users: AnyArray, *, medium: int = 5, heavy: int = 10
) -> Segments:
    """Part the users at these rows, ``int32[Q]``, by how many distinct products each bought in train.

    *New* users bought none, *light* ones fewer than ``medium``, *medium* ones fewer than ``heavy``, *heavy* ones the rest. A row of
    -1 is a user that train does not know, who is new. Raises `SettingProblem` unless ``1 < medium < heavy``.

    >>> histories = Histories(np.int64([0, 0, 2, 9]), np.arange(9, dtype=np.int32))
    >>> segments = by_history_length(histories, [0, 1, 2, -1])
    >>> segments.labels
    ('new: 0', 'light: 1–4', 'medium: 5–9', 'heavy: 10 and more')
    >>> segments.codes.tolist()
    [0, 1, 2, 0]
    """
    if not 1 < medium < heavy:
        raise SettingProblem(
            f"medium histories from {medium} products and heavy ones from {heavy} were asked for; "
            "medium must be above 1, and heavy above medium."
        )
    histories = model if isinstance(model, Histories) else model.histories
    lengths = np.append(np.diff(histories.offsets), 0)[np.asarray(users, np.int64)]
    codes = np.searchsorted([1, medium, heavy], lengths, side="right")
    labels = ("new: 0", f"light: {_span(1, medium)}", f"medium: {_span(medium, heavy)}", f"heavy: {heavy} and more")  # fmt: skip
    return Segments(HABITS, "user", labels, codes.astype(np.int32))


def by_popularity(
    model: TasteModel | Histories | Purchases,
    *,
    products: int | None = None,
    head: float = 1 / 3,
    middle: float = 1 / 3,
) -> Segments:
    """Part the products by how many users bought each in train: few make up a third of all purchases, many the last third.

    *Head*, *middle* and *tail* are as in `popularity`. Products that had no buyer or that the model does not know are *never
    bought*.

    A model or log says how many products there are; with bare `Histories` give ``products``. Raises what `popularity` does.

    >>> histories = Histories(np.int64([0, 3, 4, 6]), np.int32([0, 1, 2, 0, 0, 3]))
    >>> segments = by_popularity(histories, products=5)
    >>> segments.labels
    ('head', 'middle', 'tail', 'never bought')
    >>> segments.codes.tolist()
    [0, 1, 1, 1, 3]
    """
    codes = popularity(buyers_of(model, products=products), head=head, middle=middle)
    return Segments(POPULARITY, "product", LABELS, codes, beyond=LABELS.index("never bought"))


def by_column(
    catalogue: pl.DataFrame,
    column: str,
    ids: Vocabulary | pl.Series,
    *,
    noun: Noun = "product",
    id_column: str | None = None,
    most: int = 8,
) -> Segments:
    """Part users or products by a column of their catalogue.

    ``ids`` says whom each code is for: the model's products (``model.products``), or the users of the lists in their order
    (``model.users.at(rows)``). The catalogue's ids stand in ``id_column``, in a column with a usual name, or in the only other
    one. The ``most`` most frequent values get a label each, the rest are *all others*; a column of more than ``most`` different
    numbers is cut at its quartiles. *Unknown* are those with no value, or whom the catalogue does not name. Raises
    `ColumnProblem`.

    >>> shop = pl.DataFrame({"product_id": ["hat", "sock", "kilt"], "kind": ["head", "feet", None]})
    >>> segments = by_column(shop, "kind", Vocabulary.of(["hat", "kilt", "sock"], noun="product"))
    >>> segments.labels, segments.codes.tolist()
    (('feet', 'head', 'unknown'), [1, 2, 0])
    """
    from tastemaker.data.reading.product_table import read_product_table

    vocabulary = ids if isinstance(ids, Vocabulary) else Vocabulary.of(ids, noun=noun, keep_order=True)
    if len(vocabulary) != len(ids):
        raise DataError(f"some of the {len(ids):,} {noun} ids are the same; each may have one label only.")
    if noun == "user":
        id_column = id_column or _user_column(catalogue)
    values = read_product_table(catalogue, vocabulary, column=id_column).column(column)
    if values.dtype.is_nested():
        raise ColumnProblem(f"the column {column!r} holds lists; it must hold one value for each {noun}.")
    labels, codes = _parted(values, most)
    return Segments(column, noun, labels, codes, beyond=len(labels) - 1)


def _user_column(catalogue: pl.DataFrame) -> str:
    from tastemaker.data.reading.catalogues import id_column
    from tastemaker.data.reading.sources import open_source

    return id_column(open_source(catalogue), "user", None)


def _parted(values: pl.Series, most: int) -> tuple[tuple[str, ...], Rows]:
    """Return the labels, ``unknown`` last, and the label of each value."""
    if values.dtype.is_numeric() and values.drop_nulls().n_unique() > most:
        numbers = values.cast(pl.Float64)
        cuts = np.unique(np.quantile(numbers.drop_nulls().to_numpy(), [0.25, 0.5, 0.75]))
        named = [f"{cut:,.6g}" for cut in cuts]
        between = [f"{low} to {high}" for low, high in pairwise(named)]
        labels = [f"up to {named[0]}", *between, f"above {named[-1]}"]
        codes = np.searchsorted(cuts, numbers.fill_null(0).to_numpy(), side="left")
    else:
        texts = values.cast(pl.String)
        counted = texts.drop_nulls().value_counts().sort(["count", texts.name], descending=[True, False])
        frequent = sorted(counted[texts.name].head(most).to_list())
        labels = [*frequent, *([OTHERS] if len(counted) > most else [])]
        place = {text: code for code, text in enumerate(frequent)}
        codes = np.array([place.get(text, len(frequent)) for text in texts.to_list()], np.int64)
    codes = np.where(values.is_null().to_numpy(), len(labels), codes)
    return (*labels, "unknown"), codes.astype(np.int32)


def measure_segments(
    lists: RankedLists,
    held_out: Histories,
    segments: Segments,
    *,
    at: Sequence[int],
    metrics: Sequence[str] = ("recall", "ndcg"),
    seed: int = 0,
) -> tuple[MeasuredSegment, ...]:
    """Measure Q ranked lists in each segment, with 95 % intervals over its users; segments without users are in, with no metrics.

    Of users: each metric at each k, the mean over the users of the segment with a held-out product. Of products: ``recall@k`` only,
    as if nothing but the products of the segment had been held out: the mean over the users with such a product of the share of
    these that stand within the first k places. (Places taken by a hit of another segment would count against ndcg.)

    Raises `SettingProblem` for an unknown metric or an unusable ``at``, and `DataError` as `find_hits` does, or when segments of
    users are not of these Q users.

    >>> lists = RankedLists(np.int64([0, 2, 4]), np.int32([0, 1, 0, 2]), np.float32([2, 1, 2, 1]))
    >>> held_out = Histories(np.int64([0, 1, 3]), np.int32([1, 0, 3]))
    >>> kinds = Segments("kind", "product", ("shoe", "hat"), np.int32([0, 0, 1, 1]))
    >>> for found in measure_segments(lists, held_out, kinds, at=[2]):
    ...     print(found.label, found.users, found.products, found.metrics["recall@2"].mean)
    shoe 2 2 1.0
    hat 1 1 0.0
    """
    cutoffs = check_cutoffs(at)
    unknown = [name for name in metrics if name not in USER_METRICS]
    if unknown:
        raise SettingProblem(f"{unknown[0]!r} is no metric of a user; the metrics are {', '.join(USER_METRICS)}.")  # fmt: skip
    users = held_out.owners()
    if segments.noun == "product":
        metrics, codes = ("recall",), segments.of_products(held_out.products)
    elif len(segments.codes) == len(held_out.offsets) - 1:
        codes = segments.codes[users]
    else:
        raise DataError(
            f"the segments are of {len(segments.codes):,} users and the held-out products of {len(held_out.offsets) - 1:,}; "
            "make the segments for the users of the lists, in their order."
        )
    return tuple(
        _measured(label, lists, _only(held_out, users, codes == code), metrics, cutoffs, seed)
        for code, label in enumerate(segments.labels)
    )


def _only(held_out: Histories, users: AnyArray, chosen: Booleans) -> Histories:
    """Return what is held out, the other pairs left out; users may be left with nothing."""
    lengths = np.bincount(users[chosen], minlength=len(held_out))
    return Histories(offsets_of(lengths), held_out.products[chosen])


def _measured(
    label: str,
    lists: RankedLists,
    held_out: Histories,
    metrics: Sequence[str],
    cutoffs: Sequence[int],
    seed: int,
) -> MeasuredSegment:
    hits = find_hits(lists, held_out)
    if not len(hits.queries):
        return MeasuredSegment(label, 0, 0, {})
    values = {f"{name}@{k}": USER_METRICS[name](hits, k) for name in metrics for k in cutoffs}
    ends = bootstrap_mean(np.stack(list(values.values()), axis=1), rng=np.random.default_rng(seed))
    found = {
        name: Interval(float(mean), float(low), float(high))
        for name, mean, low, high in zip(values, *ends, strict=True)
    }
    return MeasuredSegment(label, len(hits.queries), len(held_out.products), found)


def buyers_of(model: TasteModel | Histories | Purchases, *, products: int | None = None) -> Counts:
    """Return how many users bought each product in train, ``int32[P]``.

    >>> buyers_of(Histories(np.int64([0, 2, 3]), np.int32([0, 2, 2])), products=4).tolist()
    [1, 0, 2, 0]
    """
    if isinstance(model, Histories):
        histories, known = model, int(model.products.max(initial=-1)) + 1
    elif isinstance(model, Purchases):
        histories, known = model.histories(), len(model.products)
    else:
        histories, known = model.histories, len(model.products)
    return np.bincount(histories.products, minlength=known if products is None else products).astype(np.int32)


def _span(first: int, beyond: int) -> str:
    return f"{first}" if beyond == first + 1 else f"{first}–{beyond - 1}"
