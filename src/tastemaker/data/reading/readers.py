"""Reading a log of purchases, or a held-out part of one, from a file or a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tastemaker.data.identifiers import IdForm, integers_if_all, normalise_ids
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.catalogues import Catalogue, adopt, read_catalogue
from tastemaker.data.reading.columns import FLAGS, Chosen, Columns, Role, choose_columns
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.sources import Readable, Source, open_source, translated
from tastemaker.data.reading.timestamps import moment, quantity
from tastemaker.data.summary import ReadSummary
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import ColumnProblem, NoPurchases
from tastemaker.types import AnyArray

__all__ = ["HeldOut", "read_held_out", "read_purchases"]

SEED = 7
"""Of the hashes by which ids are joined; they never leave the process."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Purchases read against the vocabularies of a model, and how many it could not know."""

    purchases: Purchases
    """The rows whose user and product the model knows, over the model's vocabularies."""

    to_measure: Purchases
    """The same and the rows of known users with an unknown product, numbered from P on: no list can hold it, so it is missed."""

    unknown_user_rows: int
    """Rows left out because the model does not know their user."""

    unknown_product_rows: int
    """Rows whose user the model knows, but not their product."""


@dataclass(frozen=True, slots=True)
class _Log:
    """The kept rows of an opened log, unread: ``user``, ``product`` and perhaps ``time``, ``quantity``."""

    frame: pl.LazyFrame
    source: Source
    chosen: Chosen


@dataclass(frozen=True, slots=True)
class _Ids:
    """The distinct ids of one column: as the file holds them and as a vocabulary does."""

    raw: pl.Series
    ids: pl.Series
    form: IdForm


@dataclass(frozen=True, slots=True)
class _RowTable:
    """The row of each distinct id of one column, by a key that the whole log can be joined on."""

    key: pl.Expr
    rows: pl.LazyFrame


def read_purchases(
    source: Readable,
    *,
    users: Catalogue | None = None,
    products: Catalogue | None = None,
    columns: Columns = Columns(),  # noqa: B008  (a frozen value)
    reading: Reading = Reading(),  # noqa: B008
) -> Purchases:
    """Read a log of purchases, in the order of its file.

    ``source`` is the path of a Parquet, CSV, TSV or JSON lines file, or a frame: Polars, pandas, or any other
    with the Arrow PyCapsule interface. It is read in streams, several times over, so that a file may be
    larger than memory: kept are distinct ids, and ``int32`` rows, ``int64`` times and ``float32`` quantities
    of each purchase.

    ``users`` and ``products`` are catalogues (see `read_catalogue`): their ids have a row each, in their
    order, whether bought or not. Without one, the ids of the log are sorted. CSV ids are text unless all are
    integers. Columns are found by their usual names or named by ``columns``; a CSV without a header has user,
    product and, if its third column reads as times, time. `ReadSummary` states which rows are dropped.

    Raises `UnreadableFile`, `ColumnProblem`, `CatalogueMismatch` (ids in the log that a catalogue lacks) and
    `NoPurchases`.

    >>> log = pl.DataFrame({"user_id": ["b", "a", None], "sku": [7, 7, 8]})
    >>> purchases = read_purchases(log)
    >>> purchases.user_rows.tolist(), purchases.product_rows.tolist(), purchases.users.ids.to_list()
    ([1, 0], [0, 0], ['a', 'b'])
    >>> purchases.summary.sentence()
    '3 rows read, 2 kept; dropped 1 without a user id.'
    """
    log, summary = _open(source, columns, reading)
    with translated(log.source.label):
        all_users, user_table = _learn(log, "user", users)
        all_products, product_table = _learn(log, "product", products)
        rows = _rows(log, user_table, product_table)
    purchases = _purchases(rows, all_users, all_products, summary)
    return replace(purchases, summary=replace(summary, repeats=_repeats(purchases)))


def read_held_out(
    source: Readable,
    train_users: Vocabulary,
    train_products: Vocabulary,
    columns: Columns = Columns(),  # noqa: B008  (a frozen value)
    *,
    reading: Reading = Reading(),  # noqa: B008
) -> HeldOut:
    """Read a log against the vocabularies of a model; rows that it cannot know are counted.

    Rows of unknown users are left out, for nobody can be ranked for; unknown products count as missed when lists are measured.
    Raises what `read_purchases` raises, and `NoPurchases` when the model knows no row.
    """
    log, summary = _open(source, columns, reading)
    with translated(log.source.label):
        user_table = _row_table(_distinct(log, "user"), train_users, "user")
        products = _distinct(log, "product")
        product_table = _row_table(products, train_products, "product", beyond=len(train_products))
        rows = _rows(log, user_table, product_table)
    strange_user = rows["user_row"].is_null()
    strange_product = ~strange_user & (rows["product_row"] >= len(train_products))
    purchases = _purchases(
        rows.filter(~strange_user & ~strange_product), train_users, train_products, summary
    )
    held_out = HeldOut(
        replace(purchases, summary=replace(summary, repeats=_repeats(purchases))),
        _purchases(rows.filter(~strange_user), train_users, train_products, summary),
        int(strange_user.sum()),
        int(strange_product.sum()),
    )
    if not len(purchases):
        raise NoPurchases(
            f"the model knows no row of {log.source.label}: {held_out.unknown_user_rows:,} rows have an "
            f"unknown user, {held_out.unknown_product_rows:,} more an unknown product; "
            f"a user here is {_example(log, 'user')!r}, one of the model {train_users.ids.first()!r}."
        )
    return held_out


def _open(source: Readable, columns: Columns, reading: Reading) -> tuple[_Log, ReadSummary]:
    opened = open_source(source, columns=columns, reading=reading, asks=True)
    label = opened.label
    chosen = _choose(opened, columns)
    with translated(label):
        frame = opened.select(list(dict.fromkeys(chosen.present().values())))
        schema = frame.collect_schema()
        expressions: dict[str, pl.Expr] = {
            noun: _id(name, schema[name], noun) for noun, name in _id_columns(chosen)
        }
        if chosen.time is not None:
            expressions["time"] = moment(chosen.time, frame, label=label)
        if chosen.quantity is not None:
            expressions["quantity"] = quantity(chosen.quantity, frame, label=label)
        present = {
            f"{role} given": _given(name, schema[name])
            for role, name in chosen.present().items()
            if role in ("time", "quantity")
        }
        everything = frame.select(**expressions, **present)
        summary = _count(everything, chosen, columns, label)
    if not summary.kept:
        raise NoPurchases(f"no purchase is left of {label}: {summary.sentence()}")
    kept = everything.filter(_is_kept(chosen)).select(list(expressions))
    return _Log(kept, opened, chosen), summary


def _id_columns(chosen: Chosen) -> tuple[tuple[Noun, str], tuple[Noun, str]]:
    return ("user", chosen.user), ("product", chosen.product)


def _choose(source: Source, columns: Columns) -> Chosen:
    if source.has_header or columns.user is not None or columns.product is not None:
        return choose_columns(source.names, columns, label=source.label)
    if len(source.names) == 2 or (len(source.names) == 3 and _reads_as_times(source)):
        time = "3" if len(source.names) == 3 and columns.time is None else columns.time
        return choose_columns(
            source.names, replace(columns, user="1", product="2", time=time), label=source.label
        )
    raise ColumnProblem(
        f"{source.label} has no header that names a user or a product, and {len(source.names)} columns; its "
        f"first line is {', '.join(map(repr, source.head[0]))}. Name the columns by header or by position: "
        "--user-column 1 --product-column 2."
    )


def _reads_as_times(source: Source) -> bool:
    third = pl.DataFrame(
        {"time": [row[2] for row in source.head if len(row) == 3]}, schema={"time": pl.String}
    )
    times = third.select(moment("time", third.lazy(), label=source.label)).to_series()
    earliest, latest = (pl.datetime(year, 1, 1, time_unit="us") for year in (1980, 2100))
    inside = pl.select(pl.lit(times).cast(pl.Datetime("us")).is_between(earliest, latest)).to_series()
    return bool(inside.fill_null(False).all())


def _id(name: str, dtype: pl.DataType, noun: Noun) -> pl.Expr:
    """Return the ids of a column as the file holds them, null where there is none."""
    value = pl.col(name)
    if dtype in (pl.Categorical, pl.Enum):
        value, dtype = value.cast(pl.String), pl.String()
    if dtype == pl.String:
        return pl.when(value != "").then(value)
    if dtype == pl.Binary:
        return pl.when(value.bin.size() > 0).then(value)
    if dtype.is_float():
        return value.fill_nan(None)
    normalise_ids(pl.Series(name, [], dtype=dtype), noun=noun)  # raises for types that cannot be ids
    return value


def _given(name: str, dtype: pl.DataType) -> pl.Expr:
    present = pl.col(name).is_not_null()
    return present & (pl.col(name).str.strip_chars() != "") if dtype == pl.String else present


def _flaws(chosen: Chosen) -> dict[str, pl.Expr]:
    """Return, for each rule of `ReadSummary` in order, the expression of the rows that break it."""
    flaws = {"without_user": pl.col("user").is_null(), "without_product": pl.col("product").is_null()}
    if chosen.time is not None:
        flaws["without_time"] = pl.col("time").is_null()
    if chosen.quantity is not None:
        flaws["non_positive_quantity"] = pl.col("quantity").is_null() | (pl.col("quantity") <= 0)
    return flaws


def _is_kept(chosen: Chosen) -> pl.Expr:
    return ~pl.any_horizontal(*_flaws(chosen).values())


def _count(frame: pl.LazyFrame, chosen: Chosen, columns: Columns, label: str) -> ReadSummary:
    counts = {"rows": pl.len()}
    earlier = pl.lit(False)
    for rule, breaks in _flaws(chosen).items():
        counts[rule] = (breaks & ~earlier).sum()
        earlier = earlier | breaks
    for role in ("time", "quantity"):
        if role in chosen.present():
            counts[f"{role} missing"] = pl.col(role).is_null().sum()
            counts[f"{role} unusable"] = (pl.col(role).is_null() & pl.col(f"{role} given")).sum()
    found = frame.select(**counts).collect(engine="streaming").row(0, named=True)
    for role in ("time", "quantity"):
        if role in chosen.present():
            _refuse_unusable(role, chosen, columns, found, label)
    return ReadSummary(**{name: count for name, count in found.items() if " " not in name})


def _refuse_unusable(role: Role, chosen: Chosen, columns: Columns, found: dict[str, int], label: str) -> None:
    """Raise `ColumnProblem` when a named column has an unusable value, or a found one hardly any."""
    named = columns.named(role) is not None
    unusable, missing, rows = found[f"{role} unusable"], found[f"{role} missing"], found["rows"]
    if rows and (unusable if named else 2 * missing > rows):
        count = unusable if named else missing
        what = f"a value that is no {role}" if named else f"no {role}"
        raise ColumnProblem(
            f"in {count:,} of {rows:,} rows of {label}, column {chosen.present()[role]!r} holds {what}; mend "
            f"them, name another column with {FLAGS[role]}, or read none with {FLAGS[role]} ''."
        )


def _distinct(log: _Log, noun: Noun) -> _Ids:
    raw = log.frame.select(noun).unique().collect(engine="streaming").to_series()
    ids, form = normalise_ids(raw, noun=noun)
    if log.source.is_text:
        ids = integers_if_all(ids)
    return _Ids(raw, ids, form)


def _learn(log: _Log, noun: Noun, catalogue: Catalogue | None) -> tuple[Vocabulary, _RowTable]:
    found = _distinct(log, noun)
    if catalogue is None:
        vocabulary = Vocabulary(found.ids.sort().alias("id"), noun, found.form, True)
    else:
        vocabulary = adopt(read_catalogue(catalogue, noun=noun), found.ids, found.form)
    return vocabulary, _row_table(found, vocabulary, noun)


def _row_table(found: _Ids, vocabulary: Vocabulary, noun: Noun, *, beyond: int | None = None) -> _RowTable:
    """Return the row of each distinct id; unknown ids have none, or the numbers from ``beyond`` on."""
    key = _key(found.raw.alias(noun))
    numbers = vocabulary.find(found.ids)
    if beyond is not None:
        unknown = numbers.is_null()
        numbers = numbers.fill_null(beyond - 1) + (unknown.cum_sum() * unknown).cast(pl.Int32)
    rows = pl.DataFrame([found.raw.alias(noun), numbers.alias(f"{noun}_row")])
    return _RowTable(key, rows.select(key.alias(f"{noun}_key"), f"{noun}_row").lazy())


def _key(raw: pl.Series) -> pl.Expr:
    """Return what a log is joined on: the hash of long ids, which is faster, unless two of them share one."""
    ids = pl.col(raw.name)
    if raw.dtype in (pl.String, pl.Binary) and raw.hash(SEED).n_unique() == len(raw):
        return ids.hash(SEED)
    return ids


def _rows(log: _Log, users: _RowTable, products: _RowTable) -> pl.DataFrame:
    """Return the rows, times and quantities of the whole log, in its order."""
    frame = log.frame.with_columns(user_key=users.key, product_key=products.key).drop("user", "product")
    for noun, rows in (("user", users.rows), ("product", products.rows)):
        frame = frame.join(rows, on=f"{noun}_key", how="left", maintain_order="left").drop(f"{noun}_key")
    return frame.collect(engine="streaming")


def _purchases(
    rows: pl.DataFrame, users: Vocabulary, products: Vocabulary, summary: ReadSummary
) -> Purchases:
    def column(name: str, dtype: type[np.generic]) -> AnyArray:
        return rows[name].to_numpy().astype(dtype, copy=False)

    return Purchases(
        users,
        products,
        column("user_row", np.int32),
        column("product_row", np.int32),
        column("time", np.int64) if "time" in rows.columns else None,
        column("quantity", np.float32) if "quantity" in rows.columns else None,
        summary,
    )


def _repeats(purchases: Purchases) -> int:
    return len(purchases) - len(purchases.histories().products)


def _example(log: _Log, noun: Noun) -> object:
    return normalise_ids(log.frame.select(noun).head(1).collect().to_series(), noun=noun)[0].first()
