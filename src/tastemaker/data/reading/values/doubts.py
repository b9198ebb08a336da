"""Doubts: what a reader should look at before trusting a log that was read, a sentence each with numbers and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.columns import Chosen, plays_a_role
from tastemaker.data.reading.sources import Source
from tastemaker.data.reading.values.spellings import spelling_of
from tastemaker.data.summary import PER_STEP, TimeUnit
from tastemaker.errors import DataError
from tastemaker.types import Times

__all__ = ["doubts_of_columns", "doubts_of_rows", "doubts_of_times"]

SAMPLE: Final = 5_000
"""How many rows of the unused columns are looked at."""

MOST_COLUMNS: Final = 60
"""How many of the unused columns are looked at, the first ones."""

MOST_KINDS: Final = 25
"""A column that tells kinds apart has at most this many distinct words."""


MOST_CODES: Final = 10
"""Numbers that tell kinds apart are at most so many"""


MOST_REPEATED: Final = 0.005
"""So small a share of the rows may repeat others as a whole before it is said."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OTHER_EVENTS: Final = _words(
    "view views viewed pageview page_view pdp detail detail_page_view click clicks clicked impression cart carts "
    "addtocart add_to_cart add-to-cart basket removefromcart remove_from_cart wishlist wish fav favorite favourite "
    "like search session_start begin_checkout checkout pv pending cancelled canceled cancel cancellation refunded "
    "refund returned return returns voided void failed declined rejected expired abandoned unpaid chargeback storno "
    "storniert draft on-hold on_hold partially_refunded"
)  # fmt: skip
"""Words of kinds of events, and of states of orders, that are no purchase."""

PURCHASES: Final = _words(
    "purchase purchases purchased buy bought order ordered transaction sale sold paid complete completed shipped "
    "delivered fulfilled success successful ok approved"
)

EVENT_NAMES: Final = re.compile(r"event|status|action|behaviou?r|(^|_)(state|type|kind)$", re.IGNORECASE)
KIND_NAMES: Final = re.compile(
    r"^(event|event_?(type|name|kind)|action(_?type)?|behaviou?r(_?type)?|status|order_?status|interaction(_?type)?)$",
    re.IGNORECASE,
)
UNDONE_NAMES: Final = re.compile(r"cancel|refund|return(ed|s)?([ _]|$)|void|chargeback|storn", re.IGNORECASE)
ID_NAMES: Final = re.compile(
    r"customer|user|client|member|account|buyer|visitor|person|household|shopper|email|kunde|order|invoice|basket|session|receipt|"
    r"(^|[_ ])id$|[a-z]I[dD]$", re.IGNORECASE
)  # fmt: skip
MOMENT_NAMES: Final = re.compile(r"time|date|day|stamp|epoch|moment|([ _]|^)(at|on|ts|when)$", re.IGNORECASE)
PEOPLE: Final = re.compile(
    r"customer|user|client|member|account|buyer|person|household|shopper|email|kunde", re.IGNORECASE
)


def doubts_of_columns(
    source: Source, chosen: Chosen, *, used: Sequence[str], reads_times: bool
) -> Iterator[str]:
    """Doubt columns that are not used: kinds of events, states of orders, another id, dates while no time is read."""
    sample = _sample(source, [name for name in source.names if name not in used][:MOST_COLUMNS])
    unused = sample.columns
    for name in unused:
        doubt = _kinds_doubt(source, name, sample[name]) or _undone_doubt(source, name, sample[name])
        if doubt:
            yield doubt
    if reads_times and chosen.time is None:
        dated = [name for name in unused if _holds_dates(sample[name]) or _holds_moments(sample[name])]
        if dated:
            names = ", ".join(map(repr, dated[:3]))
            hold = f"columns {names} hold" if len(dated) > 1 else f"column {names} holds"
            yield (
                f"no times are read, though {hold} dates; "
                f"name one with --time-column '{dated[0]}', or say that there is none with --time-column ''."
            )
    for name in unused:
        may_be_ids = sample[name].dtype == pl.String or sample[name].dtype.is_integer()
        if may_be_ids and ID_NAMES.search(name) and not plays_a_role(name, "product"):
            yield from _id_doubt(source, chosen, name)


def doubts_of_rows(log: Purchases, user_column: str, pairs: int) -> Iterator[str]:
    """Doubt one user with an implausible share of the rows, and rows that repeat as a whole; ``pairs`` of them are distinct."""
    bought = np.bincount(log.user_rows, minlength=1)
    top, users = int(bought.max()), int(np.count_nonzero(bought))
    share, mean = top / max(len(log), 1), len(log) / max(users, 1)
    usual = float(np.median(bought[bought > 0])) if users else 0.0
    if (
        top >= 20
        and users >= 5
        and ((share >= 0.2 and top >= 5 * usual) or (share >= 0.02 and top >= 50 * mean))
    ):
        heaviest = log.users.ids[int(bought.argmax())]
        yield (
            f"user {heaviest!r} has {top:,} of {len(log):,} purchases ({share:.0%}), a usual user {usual:,.0f}: "
            f"guests under one id? Leave them out with --where '{user_column} != {heaviest}'."
        )
    if log.times is None or len(log) - pairs <= MOST_REPEATED * len(log):
        return  # what repeats as a whole repeats its pair
    parts = {"user": log.user_rows, "product": log.product_rows, "time": log.times}
    if log.quantities is not None:
        parts["quantity"] = log.quantities
    repeated = len(log) - pl.DataFrame(parts).hash_rows(seed=0).n_unique()
    if repeated >= 2 and repeated > MOST_REPEATED * len(log):
        yield (
            f"{repeated:,} of {len(log):,} rows repeat another one as a whole ({', '.join(parts)}); they are kept as purchases "
            "made again. If a file was exported twice, give it once."
        )


def doubts_of_times(times: Times, counts_from: TimeUnit, column: str) -> Iterator[str]:
    """Doubt times outside 1990 to next year, and a few that lie far from all others."""
    if not len(times):
        return
    strange = 0
    if counts_from == "calendar":
        low, high = (_moment(year) for year in (1990, datetime.now(UTC).year + 2))
        if times.min() < low or times.max() >= high:
            outside = (times < low) | (times >= high)
            strange = int(outside.sum())
            lie = "lies" if strange == 1 else "lie"
            yield (
                f"{strange:,} of {len(times):,} times in column {column!r} {lie} outside 1990 to {datetime.now(UTC).year + 1} "
                f"({_examples(times[outside], counts_from)}); mend them, or leave them out with --where."
            )
    if len(times) < 20 or strange:
        return
    some = np.sort(times[:: max(1, len(times) // 1_000_000)])
    edge = max(1, len(some) // 200)
    first, last = int(some[edge]), int(some[-1 - edge])
    gap = max(2 * (last - first), 30 * PER_STEP["days"] if counts_from != "steps" else 10 * PER_STEP["steps"])
    if times.min() >= first - gap and times.max() <= last + gap:
        return
    far = (times < first - gap) | (times > last + gap)
    count, lie = int(far.sum()), "lies" if far.sum() == 1 else "lie"
    yield (
        f"{count:,} of {len(times):,} times in column {column!r} {lie} far from all others "
        f"({_examples(times[far], counts_from)}); mend them, or leave them out with --where."
    )


def _examples(times: Times, counts_from: TimeUnit) -> str:
    from tastemaker.data.summary import TimeSummary

    told = TimeSummary(0, 0, "", "", counts_from)
    return ", ".join(
        dict.fromkeys(told.spell(int(time)).removesuffix("T00:00:00+00:00") for time in times[:3])
    )


def _moment(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def _sample(source: Source, names: Sequence[str]) -> pl.DataFrame:
    """Return the first rows of columns that are not used; those that no frame can hold (Python objects) are passed over."""
    if not names:
        return pl.DataFrame()
    try:
        return source.select(names).head(SAMPLE).collect()
    except (pl.exceptions.PolarsError, DataError, TypeError, ValueError):
        if len(names) == 1:
            return pl.DataFrame()
        parts = [_sample(source, [name]) for name in names]
        return pl.DataFrame([column for part in parts for column in part.iter_columns()])


def _kinds_doubt(source: Source, name: str, sample: pl.Series) -> str | None:
    is_kind = KIND_NAMES.match(name.replace(" ", "_"))
    if sample.dtype not in (pl.String, pl.Categorical, pl.Enum) and not (
        sample.dtype.is_integer() and is_kind
    ):
        return None
    words = {str(value).strip().lower() for value in sample.drop_nulls().unique().to_list()} - {""}
    if not 1 <= len(words) <= MOST_KINDS:
        return None
    other, known = words & OTHER_EVENTS, words & (OTHER_EVENTS | PURCHASES)
    named = EVENT_NAMES.search(name) is not None
    few_words = len(words) > 1 and (
        all(re.fullmatch(r"[\w -]{2,30}", word) and not word.isdigit() for word in words)
        or (len(words) <= MOST_CODES and all(map(str.isdigit, words)))
    )
    if not ((other and (named or len(known) > 1)) or (is_kind and few_words)):
        return None
    column = source.select([name]).select(pl.col(name).cast(pl.String).alias("kind"))
    counts = column.group_by("kind").len().sort(["len", "kind"], descending=[True, False]).head(MOST_KINDS)
    found = counts.collect(engine="streaming").rows()
    shown = ", ".join(f"{kind} {many:,}" for kind, many in found[:6] if kind is not None)
    kinds = [kind for kind, _ in found if kind and kind.strip()]
    bought = next((kind for kind in kinds if kind.strip().lower() in PURCHASES), "")
    if not bought:
        unknown = [kind for kind in kinds if kind.strip().lower() not in OTHER_EVENTS and not kind.isdigit()]
        bought = unknown[0] if len(unknown) == 1 else "WORD"
    return (
        f"column {name!r} looks like a kind of event or a status ({shown}) and is not used, so that every row counts "
        f"as a purchase; read purchases alone with --where '{name} = {bought}', or the kinds with --event-column '{name}' "
        f"--event 'purchase={bought}'."
    )


def _undone_doubt(source: Source, name: str, sample: pl.Series) -> str | None:
    if not UNDONE_NAMES.search(name):
        return None
    value = pl.col(name)
    text = value.cast(pl.String).str.strip_chars().str.to_lowercase()
    none = ["", "false", "0", "no", "n", "f", "null", "none", "nan", "nat", "0.0"]
    if sample.dtype.is_nested():
        return None
    given = source.select([name]).select((~text.is_in(none)).fill_null(False).sum(), pl.len())
    undone, rows = given.collect(engine="streaming").row(0)
    if not undone:
        return None
    return (
        f"column {name!r} is filled in {undone:,} of {rows:,} rows, which look cancelled or given back but count as "
        f"purchases; take them out of the log, or read a column that tells them with --where."
    )


def _holds_dates(sample: pl.Series) -> bool:
    if isinstance(sample.dtype, pl.Datetime) or sample.dtype == pl.Date:
        return sample.null_count() < len(sample)
    if sample.dtype != pl.String:
        return False
    given = [text for text in sample.drop_nulls().head(50).str.strip_chars().to_list() if text]
    return bool(given) and sum(
        spelling_of(text) is not None and not text.isdigit() for text in given
    ) >= 0.9 * len(given)


def _holds_moments(sample: pl.Series) -> bool:
    """Tell whether a column that is called so holds seconds or milliseconds since 1970, of 2001 to 2033."""
    if (not sample.dtype.is_integer() and sample.dtype != pl.String) or not MOMENT_NAMES.search(sample.name):
        return False
    numbers = sample.drop_nulls().cast(pl.Int64, strict=False)
    if not len(numbers) or numbers.null_count():
        return False
    return any(bool(((numbers >= 10**digits) & (numbers < 2 * 10**digits)).all()) for digits in (9, 12))


def _id_doubt(source: Source, chosen: Chosen, name: str) -> Iterator[str]:
    """Doubt the user's column where every user of it belongs to one value of another id column, which has fewer."""
    columns = source.select([chosen.user, name]).drop_nulls()
    found = columns.select(
        taken=pl.col(chosen.user).n_unique(), other=pl.col(name).n_unique(), both=pl.struct(chosen.user, name).n_unique()
    ).collect(engine="streaming").row(0, named=True)  # fmt: skip
    taken, other, both = found["taken"], found["other"], found["both"]
    if both > taken or not (max(2, 0.05 * taken) <= other <= 0.9 * taken):
        return
    if PEOPLE.search(name) or not PEOPLE.search(chosen.user):
        yield (
            f"column {chosen.user!r} is taken for the user and has {taken:,} ids; column {name!r} has {other:,}, each with one or "
            f"several of those: an id per order beside an id per customer? Take it with --user-column '{name}'."
        )
