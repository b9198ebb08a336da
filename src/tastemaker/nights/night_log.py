"""The log of a night: all sources and the server's live events, each read once, as one table of purchases and other events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.catalogues import id_column
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.product_table import as_guessed
from tastemaker.data.reading.readers import open_rows, purchases_of, read_purchases
from tastemaker.data.reading.rows import Rows
from tastemaker.data.reading.sources import open_source
from tastemaker.data.reading.values.refunds import REFUND
from tastemaker.data.summary import ReadSummary
from tastemaker.data.vocabulary import Noun
from tastemaker.errors import DataError, NoPurchases
from tastemaker.model.forgotten import Forgotten
from tastemaker.nights.shop_file import ShopFile
from tastemaker.serving.answering.event_store import EVENT, read_events
from tastemaker.types import AnyArray, Times

__all__ = ["NightLog", "read_night"]

KIND = "event"


@dataclass(frozen=True, slots=True, eq=False)
class NightLog:
    """What a night learns from."""

    table: pl.DataFrame
    """user_id, product_id, time, event, and quantity, contexts and features where there are some; in an order of its own"""
    summary: ReadSummary
    """What the sources held"""
    live: int
    """Live events that count"""
    live_before: int
    """Live events that do not, since the log reaches beyond them"""
    forgotten: int
    """Rows of users who are to be forgotten"""
    forgotten_users: Forgotten
    users: pl.DataFrame | None
    products: pl.DataFrame | None
    shop: ShopFile

    def purchases(self, *, until: int | None = None, after: int | None = None) -> Purchases:
        """Return the purchases, those up to a moment, or those later than one, over the ids that are known by then."""
        table = self.table
        moment = pl.col("time").dt.epoch("us")
        if until is not None:
            table = table.filter(moment <= until)
        if after is not None:
            table = table.filter(moment > after)
        kinds = [kind for kind in table[KIND].unique().sort() if kind != "purchase"]
        log = self.shop.log
        there = set(table.columns) - {"user_id", "product_id", "time", KIND}
        reading = Reading(
            event_column=KIND if kinds else None,
            events={kind: (kind,) for kind in ("purchase", *kinds)} if kinds else {},
            context=tuple(name for name in log.context if name in there),
            user_features=self.shop.users.features or "none",
            product_features=self.shop.products.features or "none",
            weight_column=log.weight_column if log.weight_column in there else None,
            value_column=log.value_column,
        )
        columns = Columns("user_id", "product_id", "time", "quantity" if "quantity" in there else "")
        users, products = (
            _whole(frame, noun, table[f"{noun}_id"])
            for noun, frame in (("user", self.users), ("product", self.products))
        )
        return read_purchases(table, users=users, products=products, columns=columns, reading=reading)


def read_night(shop: ShopFile) -> NightLog:
    """Read all sources of a shop and its live events.

    Raises what `read_purchases` raises, and `DataError` for a log without dates.
    """
    sources = [shop.place(source) for source in shop.log.sources]
    rows = open_rows(sources if len(sources) > 1 else sources[0], shop.log.columns(), shop.reading())
    log = purchases_of(rows)
    if log.times is None or log.time_unit != "calendar":
        raise DataError(
            f"{rows.source.label} has no dates; a night needs them, to ask the model of last night for what was bought since. "
            "Name the column: time_column in [log]."
        )
    table = _table(log, rows)
    events, before = _live(shop, int(log.times.max()))
    count = 0 if events is None else len(events)
    if events is not None and count:
        table = _together(table, events)
    forgotten = Forgotten.of(shop.folder)
    table, gone = forgotten.without(table)
    if table.is_empty():
        raise NoPurchases(f"{rows.source.label} has rows of users who are to be forgotten, and no others.")
    table = _ordered(table)
    users, products = (_catalogue(shop, noun) for noun in ("user", "product"))
    if users is not None:
        users = forgotten.without_ids(users, table["user_id"])
    summary = _counted(rows, log)
    return NightLog(table, summary, count, before, gone, forgotten, users, products, shop)


def _counted(rows: Rows, log: Purchases) -> ReadSummary:
    return replace(rows.summary(), users=len(log.users), products=len(log.products))


def _table(log: Purchases, rows: Rows) -> pl.DataFrame:
    beside = rows.beside.filter(pl.Series(rows.bought)) if rows.beside.width else rows.beside
    if rows.source.is_text and beside.width:
        beside = pl.DataFrame([as_guessed(column) for column in beside.iter_columns()])
    bought = _ids(log, log.user_rows, log.product_rows).with_columns(
        _moments(log.times), pl.lit("purchase").alias(KIND)
    )
    if log.quantities is not None:
        bought = bought.with_columns(pl.Series("quantity", log.quantities, pl.Float64))
    bought = bought.with_columns(
        column for column in beside.iter_columns() if column.name not in bought.columns
    )
    if log.events is None or not len(log.events):
        return bought
    others = log.events
    kinds = pl.Series(list(others.names)).gather(others.kinds.astype("int64")).alias(KIND)
    seen = _ids(log, others.user_rows, others.product_rows).with_columns(_moments(others.times), kinds)
    return pl.concat([bought, seen], how="diagonal_relaxed")


def _ids(log: Purchases, users: AnyArray, products: AnyArray) -> pl.DataFrame:
    return pl.DataFrame(
        [
            log.users.original(log.users.at(users)).alias("user_id"),
            log.products.original(log.products.at(products)).alias("product_id"),
        ]
    )


def _moments(times: Times | None) -> pl.Series:
    return pl.Series("time", times, pl.Int64).cast(pl.Datetime("us", "UTC"))


def _live(shop: ShopFile, last: int) -> tuple[pl.DataFrame | None, int]:
    """Return the live events that count, and how many do not."""
    if shop.live.events is None:
        return None, 0
    file = Path(shop.place(shop.live.events))
    if not file.is_file():
        return None, 0  # no server has kept one yet
    events = read_events(file).drop("number")
    if EVENT not in events.columns:
        events = events.with_columns(pl.lit("purchase").alias(EVENT))
    wanted = {"user_id", "product_id", "time", "quantity", KIND, *shop.log.context}
    events = events.select(name for name in events.columns if name in wanted)
    known = {"purchase", REFUND, *shop.log.events}
    events = events.filter(pl.col(EVENT).is_in(known))
    kept = events.filter(pl.col("time").dt.epoch("us") > last) if shop.live.after_log else events
    return kept, len(events) - len(kept)


def _together(table: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return the log with the live events, ids in the log's type wherever they fit it."""
    for name in ("user_id", "product_id"):
        wanted = table[name].dtype
        if events[name].dtype == wanted:
            continue
        cast = events[name].cast(wanted, strict=False)
        if cast.null_count() == events[name].null_count():
            events = events.with_columns(cast)
        else:
            events = events.with_columns(pl.col(name).cast(pl.String))
            table = table.with_columns(pl.col(name).cast(pl.String))
    if "quantity" not in table.columns:
        events = events.drop("quantity", strict=False)
    return pl.concat([table, events], how="diagonal_relaxed")


def _ordered(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows in an order that does not depend on the order in which a database returned them."""
    first = ["time", "user_id", "product_id", KIND]
    return table.sort([*first, *(name for name in table.columns if name not in first)], nulls_last=True)


def _catalogue(shop: ShopFile, noun: Noun) -> pl.DataFrame | None:
    given = shop.users if noun == "user" else shop.products
    if given.source is None:
        return None
    source = open_source(shop.place(given.source))
    name = id_column(source, noun, None)
    wanted = [
        name,
        *(
            column
            for column in dict.fromkeys([*given.features, shop.log.value_column or ""])
            if column in source.names
        ),
    ]
    frame = source.select(list(dict.fromkeys(wanted))).collect().rename({name: f"{noun}_id"})
    frame = frame.filter(pl.col(f"{noun}_id").is_not_null()).unique(
        f"{noun}_id", keep="first", maintain_order=True
    )
    if source.is_text:
        frame = pl.DataFrame([as_guessed(column) for column in frame.iter_columns()])
    return frame.sort(f"{noun}_id")


def _whole(catalogue: pl.DataFrame | None, noun: str, ids: pl.Series) -> pl.DataFrame | None:
    """Return a catalogue with the ids that only the log knows; nothing is known of them."""
    if catalogue is None:
        return None
    name = f"{noun}_id"
    known = catalogue[name]
    found = ids.unique()
    kind = known.dtype if known.dtype == found.dtype else pl.String
    catalogue = catalogue.with_columns(pl.col(name).cast(kind))
    missing = found.cast(kind).filter(~found.cast(kind).is_in(catalogue[name].implode())).sort()
    return pl.concat([catalogue, missing.alias(name).to_frame()], how="diagonal_relaxed").sort(name)
