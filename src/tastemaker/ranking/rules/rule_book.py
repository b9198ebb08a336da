"""`RuleBook`: rules compiled against a model's products and their catalogue, once for many rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tastemaker.data.reading.product_table import ProductTable
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import ColumnProblem, SettingProblem
from tastemaker.ranking.rules.rules import Condition, Id, Rules, Value
from tastemaker.types import Booleans, Rows

__all__ = ["REPACKED_FROM", "Cap", "Removal", "RuleBook", "compile_rules", "open_book"]

REPACKED_FROM = 16
"""Where the rules allow at most one candidate in this many, the allowed ones are packed again and nothing else is read"""


@dataclass(frozen=True, slots=True)
class Removal:
    """How many candidates one rule removed that no rule before it had removed."""

    rule: str
    """``allow``, ``deny``, ``where.COLUMN``, ``minimum_price``, ``at_most.COLUMN``, ``purchased``"""
    removed: int


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
        return self.allowed is None and not self.caps and not len(self.pinned)


def compile_rules(rules: Sequence[Rules], products: Vocabulary, table: ProductTable) -> RuleBook:
    """Compile one or several sets of rules, all of which hold; pins of the later ones come first.

    Raises `ColumnProblem` for a column that the catalogue lacks, and `SettingProblem` for a value that its column cannot hold.
    Unknown ids are no error: a catalogue changes more often than rules do. They are listed.

    >>> from tastemaker.data.reading.product_table import read_product_table
    >>> hats = Vocabulary.of(["bowler", "fez", "top"], noun="product")
    >>> table = read_product_table(pl.DataFrame({"product": ["bowler", "fez", "top"], "price": [20, 8, 90]}), hats)
    >>> book = compile_rules([Rules.from_json({"deny": ["top", "cap"], "where": {"price": {"min": 10}}})], hats, table)
    >>> book.allowed.tolist(), book.removals[1], book.unknown
    ([True, False, False], Removal(rule='where.price', removed=1), ('cap',))
    """
    sheet = _Sheet(products)
    for each in rules:
        if each.allow is not None:
            sheet.keep("allow", sheet.mask_of(each.allow))
        if each.deny:
            sheet.keep("deny", ~sheet.mask_of(each.deny))
        for condition in each.where:
            sheet.keep(f"where.{condition.column}", holds(condition, table))
        if each.minimum_price is not None:
            price = table.named("price")
            if price is None:
                columns = ", ".join(map(repr, table.frame.columns)) or "none; give a catalogue"
                raise ColumnProblem(
                    f"minimum_price needs a column of prices, and {table.label} has none with a usual name. "
                    f"Its columns are: {columns}."
                )
            sheet.keep("minimum_price", holds(Condition(price, minimum=each.minimum_price), table))
    caps = tuple(Cap(column, most, table.codes(column)) for each in rules for column, most in each.at_most)
    pins = np.concatenate([sheet.rows_of(each.pin) for each in reversed(rules)] or [np.zeros(0, np.int32)])
    _, first = np.unique(pins, return_index=True)
    pins = pins[np.sort(first)]
    allowed = sheet.allowed
    include = [each.include_purchased for each in rules if each.include_purchased is not None]
    return RuleBook(
        allowed,
        len(products) if allowed is None else int(allowed.sum()),
        tuple(sheet.removals),
        caps,
        pins if allowed is None else pins[allowed[pins]],
        tuple(dict.fromkeys(sheet.unknown)),
        include[-1] if include else None,
        tuple(condition for each in reversed(rules) for condition in each.where),
    )


def open_book(products: int) -> RuleBook:
    """Return the book without rules, for a model of this many products."""
    return RuleBook(None, products, (), (), np.zeros(0, np.int32), (), None)


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


class _Sheet:
    """Where the rules of one book are applied, one after another."""

    def __init__(self, products: Vocabulary) -> None:
        self._products = products
        self.allowed: Booleans | None = None
        self.removals: list[Removal] = []
        self.unknown: list[Id] = []

    def keep(self, rule: str, mask: Booleans) -> None:
        """Let only the products under the mask stay."""
        before = len(mask) if self.allowed is None else int(self.allowed.sum())
        self.allowed = mask if self.allowed is None else self.allowed & mask
        self.removals.append(Removal(rule, before - int(self.allowed.sum())))

    def rows_of(self, ids: Sequence[Id]) -> Rows:
        """Return the rows of those ids that are known, and note the others."""
        if not ids:
            return np.zeros(0, np.int32)
        found = self._products.find(pl.Series("id", [str(product) for product in ids], dtype=pl.String))
        self.unknown += [ids[place] for place in np.flatnonzero(found.is_null().to_numpy()).tolist()]
        return found.drop_nulls().to_numpy().astype(np.int32)

    def mask_of(self, ids: Sequence[Id]) -> Booleans:
        """Return which products have one of these ids, ``bool[P]``."""
        mask = np.zeros(len(self._products), np.bool_)
        mask[self.rows_of(ids)] = True
        return mask
