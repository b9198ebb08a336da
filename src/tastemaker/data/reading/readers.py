"""Reading a log of purchases, or a held-out part of one, from a file or a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from tastemaker.data.events import Events
from tastemaker.data.identifiers import sorted_ids
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.catalogues import Catalogue, adopt, open_catalogue, read_catalogue
from tastemaker.data.reading.columns import Chosen, Columns, choose_columns
from tastemaker.data.reading.options import Reading, with_flags
from tastemaker.data.reading.product_table import as_guessed
from tastemaker.data.reading.remedies import summary_for_caller, told_to_caller
from tastemaker.data.reading.rows import Rows, read_rows
from tastemaker.data.reading.sources import Readable, Source, open_source, translated
from tastemaker.data.reading.values.doubts import doubts_of_columns, doubts_of_rows, doubts_of_times
from tastemaker.data.reading.values.ids import CodedIds, typed
from tastemaker.data.reading.values.kinds import beside, features, further_columns, not_learned
from tastemaker.data.reading.values.pictures import buyers, first_rows, over_time
from tastemaker.data.reading.values.times import plan_times, settle_times
from tastemaker.data.reading.values.worth import values_of_products, weights_of_rows
from tastemaker.data.summary import IdKind, ReadSummary, TimeSummary
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.display import counted, quoted
from tastemaker.errors import ColumnProblem, NoPurchases, TimesUndecided
from tastemaker.types import AnyArray

__all__ = ["HeldOut", "open_rows", "purchases_of", "read_held_out", "read_purchases"]


@dataclass(frozen=True, slots=True, repr=False)
class HeldOut:
    """Purchases read against the vocabularies of a model, and how many it could not know."""

    purchases: Purchases
    """What a model is measured by: all rows of users whom it knows. An unknown product has a row of P or above: no list can
    hold it, so it is missed."""

    known: Purchases
    """Those of products that the model knows, too."""

    unknown_user_rows: int
    """Rows left out because the model does not know their user."""

    unknown_product_rows: int
    """Rows whose user the model knows, but not their product."""

    def __repr__(self) -> str:
        return (
            f"HeldOut({counted(len(self.purchases), 'purchase')} to measure with, {self.unknown_product_rows:,} of them of unknown "
            f"products; {self.unknown_user_rows:,} more of unknown users left out)"
        )


def read_purchases(
    source: Readable,
    *,
    users: Catalogue | None = None,
    products: Catalogue | None = None,
    columns: Columns = Columns(),  # noqa: B008  (a frozen value)
    reading: Reading = Reading(),  # noqa: B008
    **flags: Any,
) -> Purchases:
    """Read a log of purchases, in the order of its file.

    ``source`` is the path of a Parquet, CSV, TSV or JSON lines file, or a frame: Polars, pandas, any other
    with the Arrow PyCapsule interface, or a dictionary of columns. It is read in streams, several times over, so that a file may be
    larger than memory: kept are distinct ids, and ``int32`` rows, ``int64`` times and ``float32`` quantities
    of each purchase.

    ``users`` and ``products`` are catalogues (see `read_catalogue`): their ids have a row each, in their
    order, whether bought or not. Without one, the ids of the log are sorted. CSV ids are text unless all are
    integers. Columns are found by their usual names or named by ``columns``; a CSV without a header has user,
    product and, if its third column reads as times, time. `ReadSummary` states which rows are dropped.
    Every flag of the command line is an argument, too: ``user_column="Client"``, ``where="status = paid"``,
    ``day_first=True``; ``columns`` and ``reading`` hold the same as values that several calls can share.

    Raises `UnreadableFile`, `ColumnProblem`, `CatalogueMismatch` (ids in the log that a catalogue lacks) and
    `NoPurchases`.

    >>> log = pl.DataFrame({"user_id": ["b", "a", None], "sku": [7, 7, 8]})
    >>> purchases = read_purchases(log)
    >>> purchases.user_rows.tolist(), purchases.product_rows.tolist(), purchases.users.ids.to_list()
    ([1, 0], [0, 0], ['a', 'b'])
    >>> purchases.summary.sentence()
    '3 rows read, 2 kept; dropped 1 without a user id.'
    """
    with told_to_caller():
        columns, reading = with_flags(columns, reading, flags)
        rows = open_rows(source, columns, reading)
        users, products = open_catalogue(users), open_catalogue(products)
        log = purchases_of(rows, users=users, products=products)
        log = _with_features(log, rows, reading, users=users, products=products)
        aside = (
            not_learned(users, reading.user_features, "user"),
            not_learned(products, reading.product_features, "product"),
        )
        summary = replace(_summary(log, rows), not_learned=tuple(filter(None, aside)))
        return replace(log, summary=summary)


def read_held_out(
    source: Readable,
    train_users: Vocabulary,
    train_products: Vocabulary,
    columns: Columns = Columns(),  # noqa: B008  (a frozen value)
    *,
    reading: Reading = Reading(),  # noqa: B008
    needs_times: bool = True,
    **flags: Any,
) -> HeldOut:
    """Read a log against the vocabularies of a model; rows that it cannot know are counted.

    Rows of unknown users are left out, since no list can be made for them; unknown products count as missed when lists are
    measured. ``flags`` are those of `read_purchases`. Raises what it raises, and `NoPurchases` when the model knows no row.
    """
    with told_to_caller():
        columns, reading = with_flags(columns, reading, flags)
        rows = open_rows(source, columns, reading, needs_times=needs_times)
        return _held_out(rows, train_users, train_products)


def _held_out(rows: Rows, users: Vocabulary, products: Vocabulary) -> HeldOut:
    known_users, _, _ = _found(rows, "user", users)
    known_products, beyond, _ = _found(rows, "product", products)
    everything = replace(rows, bought=rows.bought & (known_users >= 0))
    strange_user = rows.bought & (known_users < 0)
    strange_product = everything.bought & (known_products < 0)
    both = replace(
        everything,
        bought=everything.bought & ~strange_product,
        other=rows.other & (known_users >= 0) & (known_products >= 0),
    )
    known = _purchases(both, users, products, known_users, known_products)
    purchases = _purchases(
        replace(everything, other=both.other),
        users,
        products,
        known_users,
        np.where(known_products < 0, beyond, known_products),
    )
    summary = _summary(known, rows)
    held_out = HeldOut(
        replace(purchases, summary=summary),
        replace(known, summary=summary),
        int(strange_user.sum()),
        int(strange_product.sum()),
    )
    if not len(known):
        found = rows.ids["user"]
        example = found.ids[int(found.codes[rows.bought][0])]
        raise NoPurchases(
            f"the model knows no row of {rows.source.label}: {held_out.unknown_user_rows:,} rows have an "
            f"unknown user, {held_out.unknown_product_rows:,} more an unknown product; "
            f"a user here is {example!r}, one of the model {users.ids.first()!r}."
        )
    return held_out


def open_rows(source: Readable, columns: Columns, reading: Reading, *, needs_times: bool = True) -> Rows:
    """Open a log and return its rows as they were understood; raise what `read_purchases` raises."""
    opened = open_source(source, columns=columns, reading=reading, asks=True)
    with translated(opened.label):
        chosen = _choose(opened, columns, reading)
        further = further_columns(opened, reading)
        rows = read_rows(
            opened, chosen, further=further, columns=columns, reading=reading, needs_times=needs_times
        )
        used = [*rows.chosen.present().values(), *further]
        said = any(warning.startswith("no times are read") for warning in rows.warnings)
        reads_times = columns.time != "" and not said
        doubts = tuple(doubts_of_columns(opened, rows.chosen, used=used, reads_times=reads_times))
    return replace(rows, warnings=rows.warnings + doubts)


def _choose(source: Source, columns: Columns, reading: Reading) -> Chosen:
    if source.has_header or columns.user is not None or columns.product is not None:
        return choose_columns(source.names, columns, label=source.label)
    dated = any(_reads_as_times(source, reading, place) for place in range(min(2, len(source.names))))
    if not dated and (
        len(source.names) == 2 or (len(source.names) == 3 and _reads_as_times(source, reading, 2))
    ):
        time = "3" if len(source.names) == 3 and columns.time is None else columns.time
        return choose_columns(
            source.names, replace(columns, user="1", product="2", time=time), label=source.label
        )
    raise ColumnProblem(
        f"{source.label} has no header that names a user or a product, and {counted(len(source.names), 'column')}; its "
        f"first line is {quoted(source.head[0][:30])}. Name the columns by header or by position: "
        "--user-column 1 --product-column 2."
    )


def _reads_as_times(source: Source, reading: Reading, place: int) -> bool:
    """Tell whether a column of a file without a header holds times; small numbers would be ids, quantities or ratings."""
    width = len(source.names)
    cells = [row[place] for row in source.head if len(row) == width and row[place].strip()]
    if place < 2 and all(cell.strip().isdigit() for cell in cells):
        return False
    head = pl.DataFrame({"time": cells}, schema={"time": pl.String})
    try:
        plan = plan_times("time", head.lazy(), label=source.label, reading=reading)
        settled = settle_times(
            plan, head.lazy(), head.select(**plan.parts), label=source.label, reading=reading
        )
    except TimesUndecided:
        return True
    except ColumnProblem:
        return False
    return bool(cells) and settled.counts_from == "calendar" and bool(settled.known.all())


def _codes_kept(rows: Rows, noun: Noun) -> AnyArray:
    """Return the distinct codes of rows that are kept, as purchases or other events, ascending."""
    codes = rows.ids[noun].codes
    if rows.bought.all():
        return np.arange(len(rows.ids[noun].ids))
    kept = np.zeros(len(rows.ids[noun].ids) + 1, np.bool_)
    kept[codes[rows.bought]] = True
    if rows.kinds is not None:
        kept[codes[rows.other]] = True
    return np.flatnonzero(kept[:-1])


def purchases_of(
    rows: Rows, *, users: Catalogue | None = None, products: Catalogue | None = None
) -> Purchases:
    """Return the purchases among rows, over the ids that they hold or those of catalogues; raise `CatalogueMismatch`."""
    all_users, user_rows = _learned(rows, "user", users)
    all_products, product_rows = _learned(rows, "product", products)
    return _purchases(rows, all_users, all_products, user_rows, product_rows)


def _learned(rows: Rows, noun: Noun, catalogue: Catalogue | None) -> tuple[Vocabulary, AnyArray]:
    """Return the vocabulary of a log's ids, or its catalogue, and the row of each of the log's rows, ``int32[rows]``."""
    found, used = rows.ids[noun], _codes_kept(rows, noun)
    ids, form, _ = typed(found, used, noun, "")
    if catalogue is None:
        vocabulary = Vocabulary(sorted_ids(ids, form).alias("id"), noun, form, form != "integers and text")
    else:
        vocabulary = adopt(read_catalogue(catalogue, noun=noun), ids, form)
    return vocabulary, _placed(found, used, vocabulary.find(ids))


def _found(rows: Rows, noun: Noun, vocabulary: Vocabulary) -> tuple[AnyArray, AnyArray, pl.Series]:
    """Return for each row its row in a vocabulary, -1 where it has none, and numbers beyond the vocabulary for strangers."""
    found, used = rows.ids[noun], _codes_kept(rows, noun)
    ids, _, _ = typed(found, used, noun, "")
    places = vocabulary.find(ids)
    unknown = places.is_null()
    beyond = (unknown.cum_sum() * unknown).cast(pl.Int32) + (len(vocabulary) - 1)
    return _placed(found, used, places.fill_null(-1)), _placed(found, used, beyond), ids


def _placed(found: CodedIds, used: AnyArray, places: pl.Series) -> AnyArray:
    if len(used) == len(found.ids) and bool((places.to_numpy() == used).all()):
        return found.codes  # which are the rows already
    table = np.full(len(found.ids) + 1, -1, np.int32)
    table[used] = places.to_numpy()
    rows: AnyArray = table[found.codes]
    return rows


def _purchases(
    rows: Rows, users: Vocabulary, products: Vocabulary, user_rows: AnyArray, product_rows: AnyArray
) -> Purchases:
    bought, other = rows.bought, rows.other
    whole = bool(bought.all())

    def kept(column: AnyArray) -> AnyArray:
        return column if whole else column[bought]

    events = None
    if rows.kinds is not None:
        events = Events(
            user_rows[other],
            product_rows[other],
            (rows.kinds.places[other] - 1).astype(np.int16),
            rows.kinds.names[1:],
            None if rows.times is None else rows.times.times[other],
        )
    context = [name for name in rows.context if name in rows.beside.columns]
    weight = rows.weight
    return Purchases(
        users,
        products,
        kept(user_rows),
        kept(product_rows),
        None if rows.times is None else kept(rows.times.times),
        None if rows.quantities is None else kept(rows.quantities.values),
        context=beside(_beside(rows), context, is_text=rows.source.is_text),
        events=events,
        time_unit="calendar" if rows.times is None else rows.times.counts_from,
        weights=None if weight is None else weights_of_rows(_beside(rows)[weight]),
    )


def _beside(rows: Rows) -> pl.DataFrame:
    return rows.beside.filter(pl.Series(rows.bought)) if rows.beside.width else rows.beside


def _with_features(
    log: Purchases, rows: Rows, reading: Reading, *, users: Catalogue | None, products: Catalogue | None
) -> Purchases:
    mine = _beside(rows)
    if rows.source.is_text and mine.width:
        mine = pl.DataFrame([as_guessed(column) for column in mine.iter_columns()])
    values = None
    if reading.value_column is not None:
        values = values_of_products(products, reading.value_column, log.products, mine, log.product_rows)
    return replace(
        log,
        product_values=values,
        user_features=features(users, reading.user_features, log.users, mine, log.user_rows),
        product_features=features(products, reading.product_features, log.products, mine, log.product_rows),
    )


def _summary(log: Purchases, rows: Rows) -> ReadSummary:
    """Return the whole summary of a log that was read."""
    said: list[str] = []
    for noun, found in rows.ids.items():
        if found.written == "with types" or found.ids.dtype != pl.String:
            continue  # nothing was guessed of their type
        said += typed(found, _codes_kept(rows, noun), noun, rows.chosen.present()[noun])[2]
    time = None
    if log.times is not None and rows.times is not None:
        said += doubts_of_times(log.times, rows.times.counts_from, rows.chosen.time or "")
        low, high = (int(log.times.min()), int(log.times.max())) if len(log) else (0, 0)
        time = TimeSummary(low, high, rows.times.written_as, rows.times.unit, rows.times.counts_from)
    events = None
    if rows.kinds is not None:
        events = {
            name: int((rows.kinds.places == place).sum()) for place, name in enumerate(rows.kinds.names)
        }
    pairs = log.pairs()
    said += doubts_of_rows(log, rows.chosen.user, pairs)
    summary = rows.summary()
    summary = replace(
        summary,
        repeats=len(log) - pairs,
        users=len(log.users),
        products=len(log.products),
        pairs=pairs,
        user_ids=_kind(log.users),
        product_ids=_kind(log.products),
        time=time,
        events=events,
        first_rows=first_rows(rows),
        over_time=over_time(log),
        buyers=buyers(log),
        warnings=summary.warnings + tuple(said),
    )
    return summary_for_caller(summary)


def _kind(vocabulary: Vocabulary) -> IdKind:
    integers = vocabulary.ids.dtype.is_integer() or vocabulary.form == "integers and text"
    return "integer" if integers else "text"
