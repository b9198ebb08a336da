"""`fold_in`: newer purchases join the histories of a model, without training."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from tastemaker.data.events import Events
from tastemaker.data.identifiers import as_form, integers_if_all
from tastemaker.data.past import joined_past
from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.ragged import gather_lists
from tastemaker.data.reading.given import AnyLog, log_given
from tastemaker.data.repeats import times_bought
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.asking import last_moment
from tastemaker.ranking.queries import basket_queries
from tastemaker.types import AnyArray, Counts, Floats

__all__ = ["fold_in", "grown", "joined", "unknown_products"]


def fold_in(model: TasteModel, purchases: AnyLog) -> TasteModel:
    """Return the model with these purchases in its histories: lists, scores and memory use them at once.

    Users who are new are added after the others; their basket is what they bought. Purchases of products that the model does
    not know (`unknown_products`) are left out. What was bought before counts once more (once a day, where the newer purchases
    have times). Nothing is learned. In a model of free users, users with earlier purchases keep their vectors: newer purchases
    are only left out of their lists. A user without earlier purchases gets the mean of their products' vectors. Raises
    `ColumnProblem` when ids of new users cannot stand among the model's.

    >>> import tastemaker as tm
    >>> model = tm.best_sellers(tm.read_purchases(pl.DataFrame({"user": ["a", "b"], "product": ["hat", "sock"]})))
    >>> newer = tm.read_purchases(pl.DataFrame({"user": ["a", "zoe"], "product": ["sock", "hat"]}))
    >>> [len(products) for products, _ in tm.recommend(fold_in(model, newer), ["a", "b", "zoe"]).lists]
    [0, 1, 1]
    """
    purchases = log_given(purchases)
    users, user_rows = grown(model.users, purchases.users)
    product_rows = model.products.find(purchases.products.ids).fill_null(-1).to_numpy()
    rows = product_rows[purchases.product_rows]
    known = rows >= 0
    newer = Purchases(
        users,
        model.products,
        user_rows[purchases.user_rows[known]].astype(np.int32),
        rows[known].astype(np.int32),
        None if purchases.times is None else purchases.times[known],
        events=_known_events(purchases, user_rows, product_rows),
        weights=None if purchases.weights is None else purchases.weights[known],
    )
    histories, times = _longer(model, newer)
    vectors = model.user_vectors
    if vectors is not None:
        vectors = _with_means(vectors, model, histories)
    return dataclasses.replace(
        model,
        users=users,
        histories=histories,
        history_times=times,
        user_vectors=vectors,
        past=joined_past(model.past, _dated(newer, model)),
        tokens=None if model.tokens is None else model.tokens.for_users(len(users)),
    )


joined = fold_in
"""The name of `fold_in` in earlier versions"""


def unknown_products(model: TasteModel, purchases: Purchases) -> tuple[pl.Series, int]:
    """Return the ids of the products that the model does not know, and how many of the purchases are of them."""
    unknown = model.products.find(purchases.products.ids).is_null()
    return purchases.products.ids.filter(unknown), int(unknown.to_numpy()[purchases.product_rows].sum())


def grown(known: Vocabulary, newer: Vocabulary) -> tuple[Vocabulary, AnyArray]:
    """Return the vocabulary with the newer ids after its own, and the row of each newer id."""
    rows = known.find(newer.ids)
    strangers = newer.ids.filter(rows.is_null())
    if not len(strangers):
        return known, rows.to_numpy()
    if known.ids.dtype.is_integer() and strangers.dtype == pl.String and newer.form == "integers and text":
        known = Vocabulary(known.ids.cast(pl.String), known.noun, "integers and text", False)
    ids = pl.concat([known.ids, _fitting(strangers, known)])
    numbers = rows.is_null().cum_sum() + (len(known) - 1)
    return Vocabulary(ids, known.noun, known.form, False), rows.fill_null(numbers).to_numpy()


def _dated(newer: Purchases, model: TasteModel) -> Purchases:
    """Return purchases without times as made after all that the model knows, where it knows of age."""
    if newer.times is not None or model.order is None:
        return newer
    return dataclasses.replace(newer, times=np.full(len(newer), last_moment(model) + 1))


def _known_events(purchases: Purchases, users: AnyArray, products: AnyArray) -> Events | None:
    """Return the events of known products as rows of the model; ``users`` and ``products`` are the rows of the log's."""
    events = purchases.events
    if events is None:
        return None
    kept = events.take(products[events.product_rows] >= 0)
    return dataclasses.replace(
        kept,
        user_rows=users[kept.user_rows].astype(np.int32),
        product_rows=products[kept.product_rows].astype(np.int32),
    )


def _longer(model: TasteModel, newer: Purchases) -> tuple[Histories, Counts | None]:
    """Return the histories with newer purchases, whose users may be more, and how many times each product was bought."""
    whole = Purchases(
        newer.users,
        model.products,
        np.concatenate([model.histories.owners(), newer.user_rows]),
        np.concatenate([model.histories.products, newer.product_rows]),
    )
    histories, later = whole.histories(), newer.histories()
    times = np.zeros(len(histories.products), np.int32)
    pairs = histories.keys(len(model.products))
    for part, counts in ((model.histories, model.history_times), (later, times_bought(newer))):
        places = np.searchsorted(pairs, part.keys(len(model.products)))
        times[places] += 1 if counts is None else counts
    return histories, None if (times == 1).all() else times


def _fitting(ids: pl.Series, known: Vocabulary) -> pl.Series:
    """Give new ids the type of the known ones; raise `ColumnProblem` when they have none."""
    wanted = known.ids.dtype
    numbers = integers_if_all(ids) if ids.dtype == pl.String and wanted != pl.String else ids
    try:
        if wanted != pl.String and not numbers.dtype.is_integer():
            raise ValueError(ids[0])
        fitting = numbers.cast(wanted).alias(known.ids.name)
        as_form(fitting, known.form)
    except (ValueError, pl.exceptions.PolarsError) as error:
        kind = "UUIDs" if known.form != "plain" else f"of type {wanted}"
        raise ColumnProblem(
            f"the {known.noun} ids of the model are {kind}, and {ids[0]!r} cannot stand among them; "
            f"name the column of the {known.noun} ids."
        ) from error
    return fitting


def _with_means(vectors: Floats, model: TasteModel, histories: Histories) -> Floats:
    """Return the free vectors of all users; a user who had bought nothing has no learned vector and gets their query instead."""
    before, now = np.diff(model.histories.offsets), np.diff(histories.offsets)
    first = np.flatnonzero((np.pad(before, (0, len(now) - len(before))) == 0) & (now > 0))
    grown = np.zeros((len(now), vectors.shape[1]), vectors.dtype)
    grown[: len(vectors)] = vectors
    offsets, places = gather_lists(histories.offsets, first)
    grown[first] = basket_queries(model, Histories(offsets, histories.products[places])).vectors
    return grown
