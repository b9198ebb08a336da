"""`ShopFile`: the one file that describes a shop, read strictly: an unknown key is an error, and so is a value that cannot be."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from tastemaker.data.databases.address import address_of, is_address, without_secrets
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.options import Reading
from tastemaker.errors import SettingProblem, TastemakerError

__all__ = [
    "Bounds",
    "Learn",
    "Lists",
    "LiveEvents",
    "Log",
    "Publish",
    "Replay",
    "ShopFile",
    "Table",
    "Watch",
    "read_shop_file",
]

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Where the log lies, and how it is read: the flags of reading, with underscores."""

    sources: Texts
    query: str | None = None
    table: str | None = None
    user_column: str | None = None
    product_column: str | None = None
    time_column: str | None = None
    quantity_column: str | None = None
    where: Texts = ()
    join: Texts = ()
    on: str | None = None
    day_first: bool | None = None
    time_format: str | None = None
    time_unit: str | None = None
    keep_null_words: bool = False
    event_column: str | None = None
    events: Mapping[str, Texts] = field(default_factory=lambda: MappingProxyType({}))
    context: Texts = ()
    weight_column: str | None = None
    value_column: str | None = None

    def columns(self) -> Columns:
        """Return the columns that are named."""
        return Columns(self.user_column, self.product_column, self.time_column, self.quantity_column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A catalogue of users or products, and which of its columns describe them."""

    source: str | None = None
    features: Texts = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEvents:
    """The purchases that a server kept."""

    events: str | None = None
    """The file of `serve --events`"""
    after_log: bool = True
    """Whether only those count that are later than the log's last purchase, since the log has the others"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learn:
    """What is learned."""

    preset: str = "default"
    effort: str = "standard"
    seed: int = 0
    threads: int | None = None
    workers: str = "local"
    """Who learns and makes the lists: ``local``, ``local:PROCESSES``, ``ray`` or ``ray://HOST:PORT``, to the same bytes"""
    settings: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far a night's log may be from that of the last run; beyond, the run stops."""

    fewest_rows: float = 0.98
    """Of the last run's purchases: a log that shrinks has lost something"""
    most_rows: float = 2.0
    fewest_users: float = 0.98
    fewest_products: float = 0.95
    most_products: float = 2.0
    most_dropped: float = 0.05
    """By so much the share of rows that are dropped may rise"""
    oldest_days: float | None = None
    """How old the last purchase may be; ``None`` lets it be of any age"""
    most_new_users: float = 0.95
    """Of the new purchases, those by users whom the last run did not know"""
    most_new_products: float = 0.5
    """Of the new purchases, those of products that the last run did not know"""
    lowest_quality: float = 0.5
    """How well the night's purchases are foreseen, as a part of the median of the last nights: scrambled ones are not"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The test of the night: what is asked, and when a worse model stops the run."""

    days: float = 7.0
    """Of the end of the log, where no version is in service"""
    metric: str = "ndcg@10"
    fewest_questions: int = 50
    """With fewer nothing is tested"""
    include_purchased: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Where versions go."""

    models: str = "models"
    name: str = "recommender"
    label: str = "stable"
    keep: int = 5
    state: str | None = None
    """The database of `serve --state`, where hosts share labels"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What is written beside the model, each a file or a table of a database."""

    users: str | None = None
    similar: str | None = None
    vectors: str | None = None
    """A folder for `users.parquet` and `products.parquet`, or a PostgreSQL database for the tables NAME_users and NAME_products"""
    k: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the service is watched after the switch."""

    url: str | None = None
    minutes: float = 10.0
    fewest_requests: int = 100
    most_errors: float = 0.01
    """Of the new version's answers, those with a status of 500 and above"""
    most_empty: float = 0.05
    """Of the answers, those without a product"""
    most_p99_ms: float | None = None
    least_clicks: float | None = None
    """How much of the click rate of the week before must be left, by the outcomes in `[publish] state`, else in `[live] events`"""
    key: str = "TASTEMAKER_KEY"
    """The environment variable that holds a key which may read /metrics"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopFile:
    """A shop, as its file describes it; paths are meant from the file's folder."""

    path: Path
    log: Log
    users: Table = Table()
    products: Table = Table()
    live: LiveEvents = LiveEvents()
    learn: Learn = Learn()
    bounds: Bounds = Bounds()
    replay: Replay = Replay()
    publish: Publish = Publish()
    lists: Lists = Lists()
    watch: Watch = Watch()

    @property
    def folder(self) -> Path:
        """Return the folder of the model's versions."""
        return Path(self.place(self.publish.models)) / self.publish.name

    @property
    def state(self) -> Path:
        """Return the folder in which runs keep what they remember."""
        return self.path.with_suffix(".nights")

    def place(self, source: str) -> str:
        """Return a file's path as seen from here, or a URI as it is."""
        return source if is_address(source) or source == "-" else str(self.path.parent / source)

    def reading(self) -> Reading:
        """Return how the log is read; raise `SettingProblem` where the file contradicts itself."""
        log = self.log
        return Reading(
            where=log.where, join=tuple(map(self.place, log.join)), on=log.on, day_first=log.day_first,
            time_format=log.time_format, time_unit=log.time_unit,  # type: ignore[arg-type]
            keep_null_words=log.keep_null_words, event_column=log.event_column, events=log.events, context=log.context,
            user_features=self.users.features or "none", product_features=self.products.features or "none",
            weight_column=log.weight_column, value_column=log.value_column, query=log.query, table=log.table,
        )  # fmt: skip


def read_shop_file(file: str | Path) -> ShopFile:
    """Read a shop's file; ``${NAME}`` in a text is the environment's value. Raises `SettingProblem` for all that cannot be."""
    path = Path(file)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingProblem(f"cannot read {path}: {(error.strerror or str(error)).lower()}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingProblem(f"{path} is no TOML: {error}; mend it there.") from None
    sections = {section.name: section for section in fields(ShopFile) if section.name != "path"}
    _check_keys(content, sections, f"{path}", "section")
    if "log" not in content:
        raise SettingProblem(
            f"{path} has no section [log]; `tastemaker init LOG --out shop.toml` writes a whole file."
        )
    kinds = get_type_hints(ShopFile)
    values = {name: _section(kinds[name], content[name], f"{path} [{name}]") for name in content}
    shop = ShopFile(path=path, **values)
    try:
        shop.reading()
        _checked(shop)
    except TastemakerError as error:
        raise SettingProblem(f"{path}: {error}") from None
    return shop


def _checked(shop: ShopFile) -> None:
    """Raise `SettingProblem` for values that cannot work."""
    from tastemaker.model.config import preset
    from tastemaker.scale.where import executor_of

    executor_of(shop.learn.workers)
    preset(shop.learn.preset, effort=shop.learn.effort).changed(dict(shop.learn.settings))  # type: ignore[arg-type]
    if not re.fullmatch(r"(ndcg|hit_rate|mrr)@[1-9][0-9]*", shop.replay.metric):
        raise SettingProblem(f"metric is {shop.replay.metric!r}; it must be ndcg@K, hit_rate@K or mrr@K.")
    if shop.publish.keep < 2:
        raise SettingProblem(
            f"keep is {shop.publish.keep}; keep at least 2 versions, one in service and one to go back to."
        )
    if not re.fullmatch(r"[A-Za-z0-9][\w.\-]*", shop.publish.name, re.ASCII):
        raise SettingProblem(f"name is {shop.publish.name!r}; use letters, digits, '-', '_' and '.'.")
    if shop.watch.least_clicks is not None and shop.live.events is None and shop.publish.state is None:
        raise SettingProblem(
            "least_clicks needs the outcomes that servers keep: name the file of events in [live], or the database of several "
            "hosts, state in [publish]."
        )
    vectors = shop.lists.vectors
    if vectors is not None and is_address(vectors) and address_of(vectors).kind != "postgresql":
        raise SettingProblem(
            "vectors names a database that is no PostgreSQL; name a folder, or postgresql://…#vectors."
        )


def _check_keys(given: Mapping[str, Any], known: Mapping[str, object], where: str, what: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
            raise SettingProblem(f"{where} has an unknown {what} {name!r}; {hint}")


def _section(kind: type, given: object, where: str) -> Any:
    if not isinstance(given, dict):
        raise SettingProblem(f"{where} must be a section of keys and values.")
    known = {("from" if key.name in ("sources", "source") else key.name): key for key in fields(kind)}
    _check_keys(given, known, where, "key")
    hints = get_type_hints(kind)
    values = {}
    for key, value in given.items():
        one = known[key]
        values[one.name] = _value(hints[one.name], _filled(value, f"{where} {key}"), f"{where} {key}")
    for key, one in known.items():
        if key not in given and _is_needed(one):
            raise SettingProblem(
                f"{where} has no key {key!r}; `tastemaker init LOG --out shop.toml` writes a whole file."
            )
    return kind(**values)


def _is_needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _filled(value: Any, where: str) -> Any:
    """Put the environment's values in place of ``${NAME}``; secrets need not stand in the file."""
    if isinstance(value, list):
        return [_filled(item, where) for item in value]
    if isinstance(value, dict):
        return {name: _filled(one, where) for name, one in value.items()}
    if not isinstance(value, str):
        return value

    def of_environment(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise SettingProblem(f"{where} needs the environment variable {found[1]}, which is not set.")
        return os.environ[found[1]]

    return re.sub(r"\$\{(\w+)\}", of_environment, value)


def _value(hint: Any, given: Any, where: str) -> Any:
    text = str(hint).replace(" | None", "")
    if text.startswith("tuple"):
        if isinstance(given, str):
            return (given,)
        if isinstance(given, list) and all(isinstance(item, str) for item in given):
            return tuple(given)
        raise _unfit(where, given, "a text, or a list of texts")
    if "Mapping" in text:
        if not isinstance(given, dict):
            raise _unfit(where, given, "a table")
        inner = tuple[str, ...] if "tuple" in text else None
        return {
            name: given[name] if inner is None else _value(inner, given[name], f"{where}.{name}")
            for name in given
        }
    wanted, said = {
        "<class 'bool'>": (bool, "true or false"), "bool": (bool, "true or false"),
        "<class 'int'>": (int, "a whole number"), "int": (int, "a whole number"),
        "<class 'float'>": (float, "a number"), "float": (float, "a number"),
    }.get(text, (str, "a text"))  # fmt: skip
    if wanted is float and isinstance(given, int) and not isinstance(given, bool):
        given = float(given)
    if not isinstance(given, wanted) or (isinstance(given, bool) and wanted is not bool):
        raise _unfit(where, given, said)
    if isinstance(given, int | float) and given < 0:
        raise _unfit(where, given, f"{said} of 0 or more")
    return given


def _unfit(where: str, given: object, wanted: str) -> SettingProblem:
    return SettingProblem(f"{where} is {without_secrets(repr(given))}; it must be {wanted}.")
