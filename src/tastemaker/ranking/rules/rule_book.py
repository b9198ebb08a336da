"""`RuleBook`: rules compiled against a model's products and their catalogue, once for many rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from msgspec import Struct

from tastemaker.data.reading.product_table import ProductTable
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem, SettingProblem
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.rules.named import NamedRule
from tastemaker.ranking.rules.rules import Condition, Id, Rules, Value
from tastemaker.types import AnyArray, Booleans, Floats, Rows

__all__ = [
    "REPACKED_FROM",
    "Cap",
    "IdlePin",
    "Removal",
    "RuleBook",
    "compile_rules",
    "open_book",
    "sold_counts",
]

REPACKED_FROM = 16
"""Where the rules allow at most one candidate in this many, the allowed ones are packed again and nothing else is read"""

PINNED_BY_CONDITION = 3
"""How many products a pin with conditions puts first, where it does not say"""


class Removal(Struct, frozen=True):
    """How many candidates a rule removed that no rule before it had removed."""

    rule: str
    """``allow``, ``deny``, ``where.COLUMN``, ``minimum_price``, ``rules.NAME``, ``at_most.COLUMN``, ``purchased``"""
    removed: int


@dataclass(frozen=True, slots=True)
class IdlePin:
    """A pin that puts its product into no list."""

    product: Id
    rule: str | None
    """The rule that removes the product; ``None`` where the model does not know it"""


@dataclass(frozen=True, slots=True, eq=False)
class Cap:
    """At most n products of a list have the same value of one column."""

    column: str
    most: int
    groups: Rows
    """``int32[P]``, the number of each product's value; -1 where it has none, and no limit"""


@dataclass(frozen=True, slots=True, eq=False)
class RuleBook:
    """What rules come to for one model: which rows may be shown, which are first, and how many alike."""

    allowed: Booleans | None
    """``bool[P]``; ``None`` when every product may be shown"""
    remaining: int
    """How many products may be shown"""
    removals: tuple[Removal, ...]
    """In the order of application: a candidate that several rules remove counts for the first"""
    caps: tuple[Cap, ...]
    pinned: Rows
    """Rows that may be shown, first to last"""
    unknown: tuple[Id, ...]
    """Ids in the rules that the model does not know"""
    include_purchased: bool | None
    where: tuple[Condition, ...] = ()
    """All conditions on columns, those of a request before those of the file"""
    boosts: Floats | None = None
    """``float32[P]``, what is added to each product's score; ``None`` where nothing is"""
    places: Rows | None = None
    """``int32[P]``, by how many places each product is moved up (below 0: down) in its list; ``None`` where none is"""
    idle: tuple[IdlePin, ...] = ()
    """The pins without effect"""
    idle_rules: tuple[str, ...] = ()
    """The named rules that are about no product"""

    @property
    def candidates(self) -> int:
        """Return how many products there are, P."""
        return self.remaining if self.allowed is None else len(self.allowed)

    @property
    def leaves_few(self) -> bool:
        """Return whether few enough candidates are allowed to score them alone."""
        return self.allowed is not None and self.remaining * REPACKED_FROM <= len(self.allowed)

    @property
    def is_empty(self) -> bool:
        """Return whether ranking by this book is plain ranking."""
        plain = self.allowed is None and self.boosts is None and self.places is None
        return plain and not self.caps and not len(self.pinned)

    @property
    def reach(self) -> int:
        """Return from how many places beyond the end of a list a moved product may come."""
        places = self.places
        if places is None or not len(places):
            return 0
        return int(max(places.max(), 0)) + int(max(-int(places.min()), 0))


def compile_rules(
    rules: Sequence[Rules],
    products: Vocabulary,
    table: ProductTable,
    *,
    moment: datetime | None = None,
    sold: AnyArray | None = None,
) -> RuleBook:
    """Compile one or several sets of rules, all of which hold; pins of the later ones come first.

    Rules with a schedule are those of ``moment``, by default of now. ``sold``, ``int[P]``, says how often each product was
    bought, which is the order of a pin that has conditions; without it, the catalogue's. Raises `ColumnProblem` for a column
    that the catalogue lacks, and `SettingProblem` for a value that its column cannot hold.
    Unknown ids are no error: a catalogue changes more often than rules do. They are listed.

    >>> from tastemaker.data.reading.product_table import read_product_table
    >>> hats = Vocabulary.of(["bowler", "fez", "top"], noun="product")
    >>> table = read_product_table(pl.DataFrame({"product": ["bowler", "fez", "top"], "price": [20, 8, 90]}), hats)
    >>> book = compile_rules([Rules.from_json({"deny": ["top", "cap"], "where": {"price": {"min": 10}}})], hats, table)
    >>> book.allowed.tolist(), book.removals[1], book.unknown
    ([True, False, False], Removal(rule='where.price', removed=1), ('cap',))
    """
    sheet, moves = _Sheet(products), _Moves(len(products))
    rules = [each.standing(moment) for each in rules]
    for each in rules:
        _keep_plain(each, sheet, table)
        _keep_named(each, sheet, moves, table)
    caps = [Cap(column, most, table.codes(column)) for each in rules for column, most in _limits(each)]
    pins = _pins([*reversed(rules)], sheet, table, sold)  # those of the later sets come first
    allowed = sheet.allowed
    include = [each.include_purchased for each in rules if each.include_purchased is not None]
    return RuleBook(
        allowed,
        len(products) if allowed is None else int(allowed.sum()),
        tuple(sheet.removals),
        tuple(caps),
        pins if allowed is None else pins[allowed[pins]],
        tuple(dict.fromkeys(sheet.unknown)),
        include[-1] if include else None,
        tuple(condition for each in reversed(rules) for condition in each.where),
        moves.boosts,
        moves.places,
        sheet.idle(pins),
        tuple(dict.fromkeys(sheet.idle_rules)),
    )


def sold_counts(model: TasteModel, *rules: Rules) -> AnyArray | None:
    """Return how many users bought each product, ``int[P]``, where a rule asks for it: one that pins the best sellers of some."""
    if not any(each.pins_by_condition for each in rules):
        return None
    return np.bincount(np.asarray(model.histories.products), minlength=len(model.products))


def open_book(products: int) -> RuleBook:
    """Return the book without rules, for a model of this many products."""
    return RuleBook(None, products, (), (), np.zeros(0, np.int32), (), None)


def _keep_plain(each: Rules, sheet: _Sheet, table: ProductTable) -> None:
    """Apply the rules by id and by column."""
    if each.allow is not None:
        sheet.keep("allow", sheet.mask_of(each.allow))
    if each.deny:
        sheet.keep("deny", ~sheet.mask_of(each.deny))
    for condition in each.where:
        sheet.keep(f"where.{condition.column}", holds(condition, table))
    if each.minimum_price is None:
        return
    price = table.named("price")
    if price is None:
        columns = ", ".join(map(repr, table.frame.columns)) or "none; give a catalogue"
        raise ColumnProblem(
            f"minimum_price needs a column of prices, and {table.label} has none with a usual name. "
            f"Its columns are: {columns}."
        )
    sheet.keep("minimum_price", holds(Condition(price, minimum=each.minimum_price), table))


def _keep_named(each: Rules, sheet: _Sheet, moves: _Moves, table: ProductTable) -> None:
    """Apply the named rules that ban, allow, boost or bury."""
    for place, rule in enumerate(each.named, start=1):
        if rule.do in ("pin", "at_most"):
            continue
        target = _target(rule, sheet, table)
        if not target.any():
            sheet.idle_rules.append(rule.title(place))
        if rule.do in ("boost", "bury"):
            moves.add(rule, target)
        else:
            sheet.keep(f"rules.{rule.title(place)}", target if rule.do == "only" else ~target)


def _limits(each: Rules) -> list[tuple[str, int]]:
    """Return the columns of which a list may have only so many alike."""
    named = [(rule.column, rule.most) for rule in each.named if rule.do == "at_most"]
    return [
        *each.at_most,
        *((column, most) for column, most in named if column is not None and most is not None),
    ]


def _pins(rules: Sequence[Rules], sheet: _Sheet, table: ProductTable, sold: AnyArray | None) -> Rows:
    """Return what is pinned, first to last, whether it may be shown or not; each product once."""
    lists = [np.zeros(0, np.int32)]
    for each in rules:
        lists.append(sheet.rows_of(each.pin, pins=True))
        for place, rule in enumerate(each.named, start=1):
            if rule.do == "pin":
                lists.append(_pins_of(rule, sheet, table, sold))
                if not len(lists[-1]):
                    sheet.idle_rules.append(rule.title(place))
    pins = np.concatenate(lists).astype(np.int32)
    _, first = np.unique(pins, return_index=True)
    return pins[np.sort(first)]


def holds(condition: Condition, table: ProductTable) -> Booleans:
    """Return for each product whether a condition holds, ``bool[P]``; an empty cell satisfies none."""
    values = table.column(condition.column)
    if condition.among is not None:
        mask = _among(values, condition.among, condition, table.label)
    elif condition.excluded is not None:
        mask = ~_among(values, condition.excluded, condition, table.label) & values.is_not_null()
    else:
        if not values.dtype.is_numeric():
            raise SettingProblem(
                f"the column {condition.column!r} of {table.label} is of type {values.dtype}; 'min' and 'max' need numbers."
            )
        mask = pl.Series(np.ones(len(values), np.bool_)) & values.is_not_null()
        if condition.minimum is not None:
            mask &= values >= condition.minimum
        if condition.maximum is not None:
            mask &= values <= condition.maximum
    return mask.fill_null(False).to_numpy()


def _among(values: pl.Series, among: tuple[Value, ...], condition: Condition, label: str) -> pl.Series:
    dtype = values.dtype
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        wanted = [_fitting(value, pl.Series(dtype=inner).dtype, condition, label) for value in among]
        return values.list.eval(pl.element().is_in(wanted)).list.any()
    wanted = [_fitting(value, dtype, condition, label) for value in among]
    if dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype.is_numeric():
        values = values.cast(pl.Float64)
    return values.is_in(wanted)


def _fitting(value: Value, dtype: pl.DataType, condition: Condition, label: str) -> Value:
    """Return a value as its column holds such; texts of a query string become numbers and truth values."""
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return (
            value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
        )
    if dtype == pl.Boolean:
        known = {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())
        if known is not None:
            return known
    elif dtype.is_numeric() and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise SettingProblem(
        f"{value!r} is no value of the column {condition.column!r} of {label}, which is of type {dtype}."
    )


def _target(rule: NamedRule, sheet: _Sheet, table: ProductTable) -> Booleans:
    """Return which products a rule is about, ``bool[P]``."""
    mask = np.ones(sheet.count, np.bool_) if not rule.products else sheet.mask_of(rule.products)
    for condition in rule.where:
        mask &= holds(condition, table)
    return mask


def _pins_of(rule: NamedRule, sheet: _Sheet, table: ProductTable, sold: AnyArray | None) -> Rows:
    """Return what a rule pins, first to last: its products as listed, or the best sellers that satisfy its conditions."""
    if rule.products:
        rows = sheet.rows_of(rule.products, pins=True)
        if rule.where:
            rows = rows[_target(rule, sheet, table)[rows]]
    else:
        rows = np.flatnonzero(_target(rule, sheet, table)).astype(np.int32)
        if sold is not None:
            rows = rows[np.argsort(-np.asarray(sold)[rows], kind="stable")]
    return rows[: PINNED_BY_CONDITION if rule.most is None and not rule.products else rule.most]


class _Moves:
    """What boosts and burials of one book come to: they add up."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.boosts: Floats | None = None
        self.places: Rows | None = None

    def add(self, rule: NamedRule, target: Booleans) -> None:
        """Add one rule for the products under the mask."""
        if rule.factor is not None:
            if self.boosts is None:
                self.boosts = np.zeros(self._count, np.float32)
            self.boosts[target] += np.float32(np.log(rule.factor))
        elif rule.places is not None:
            if self.places is None:
                self.places = np.zeros(self._count, np.int32)
            self.places[target] += rule.places if rule.do == "boost" else -rule.places


class _Sheet:
    """Where the rules of one book are applied, one after another."""

    def __init__(self, products: Vocabulary) -> None:
        self._products = products
        self.allowed: Booleans | None = None
        self.removals: list[Removal] = []
        self.unknown: list[Id] = []
        self.idle_rules: list[str] = []
        self._masks: list[tuple[str, Booleans]] = []
        self._unknown_pins: list[Id] = []

    @property
    def count(self) -> int:
        """Return how many products there are, P."""
        return len(self._products)

    def idle(self, pins: Rows) -> tuple[IdlePin, ...]:
        """Return which pins, unknown ones and those at some rows, put nothing into any list, and why."""
        found = [IdlePin(product, None) for product in dict.fromkeys(self._unknown_pins)]
        allowed = self.allowed
        if allowed is not None:
            for row in pins[~allowed[pins]].tolist():
                rule = next(rule for rule, mask in self._masks if not mask[row])
                found.append(IdlePin(self._products.ids[row], rule))
        return tuple(found)

    def keep(self, rule: str, mask: Booleans) -> None:
        """Let only the products under the mask stay."""
        before = len(mask) if self.allowed is None else int(self.allowed.sum())
        self.allowed = mask if self.allowed is None else self.allowed & mask
        self.removals.append(Removal(rule, before - int(self.allowed.sum())))
        self._masks.append((rule, mask))

    def rows_of(self, ids: Sequence[Id], *, pins: bool = False) -> Rows:
        """Return the rows of those ids that are known, and note the others."""
        if not ids:
            return np.zeros(0, np.int32)
        found = self._products.find(pl.Series("id", [str(product) for product in ids], dtype=pl.String))
        strange = [ids[place] for place in np.flatnonzero(found.is_null().to_numpy()).tolist()]
        self.unknown += strange
        self._unknown_pins += strange if pins else []
        return found.drop_nulls().to_numpy().astype(np.int32)

    def mask_of(self, ids: Sequence[Id]) -> Booleans:
        """Return which products have one of these ids, ``bool[P]``."""
        mask = np.zeros(len(self._products), np.bool_)
        mask[self.rows_of(ids)] = True
        return mask
