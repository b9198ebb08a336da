"""`Columns`: which column of a log is the user, the product, the time and the quantity."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tastemaker.display import quoted
from tastemaker.errors import ColumnProblem

__all__ = [
    "USUAL_NAMES", "Chosen", "Columns", "Role", "choose_columns", "distinct_names", "find_column", "plays_a_role",
]  # fmt: skip

Role = Literal["user", "product", "time", "quantity"]


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


USUAL_NAMES: dict[Role, frozenset[str]] = {
    "user": _names(
        "user userid userids dummyuserid uid customer customerid customerno customernumber dummycustomerid "
        "visitor visitorid member memberid client clientid shopper shopperid buyer buyerid household "
        "householdid householdkey reviewer reviewerid accountid"
    ),
    "product": _names(
        "product productid productids dummyproductid productno productcode productkey pid item itemid "
        "itemids itemcode itemno article articleid articleno articlecode stockcode sku skuid asin parentasin "
        "isbn movie movieid businessid artist artistid trackid songid bookid "
        "gameid animeid recipeid"
    ),
    "time": _names(
        "time timestamp date datetime tdat ts unixtime epoch invoicedate reviewdate reviewtime "
        "unixreviewtime eventtime eventdate eventtimestamp createdat createdon purchasedat purchasedate "
        "purchasetime orderdate ordertime orderedat transactiondate transactiontime transactiondt "
        "transactiontimestamp soldat saledate rentaldate ratingtimestamp"
    ),
    "quantity": _names(
        "quantity qty quantities units amountofunits purchasequantity orderquantity quantityordered "
        "itemcount unitssold"
    ),
}
"""The usual names of each role, in lower case and without ``_``, ``-``, spaces and dots, and without a type behind a colon."""

LESSER_NAMES: dict[Role, frozenset[str]] = {
    "user": frozenset(),
    "product": frozenset(),
    "time": _names(
        "day daynumber dayno dayindex week weekno yearmonth yyyymm step timestep orderday purchaseday "
        "transactionday invoiceday datepurchased createddate"
    ),
    "quantity": frozenset(),
}
"""Names that mean a role only where no column has a usual name for it, and none of ``PARTS_OF_DATES`` stands beside it."""

PARTS_OF_DATES = frozenset({"year", "yr", "month", "jahr", "monat"})
"""Beside them a day is a day of the month, which orders nothing."""

FLAGS: dict[Role, str] = {
    "user": "--user-column",
    "product": "--product-column",
    "time": "--time-column",
    "quantity": "--quantity-column",
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that the caller names; those left ``None`` are found by their usual names.

    A name is that of a column or, where no column has that name, a position counted from 1 (``"2"``), which
    is how a file without a header is spoken of. An empty ``time`` or ``quantity`` means: read none.
    """

    user: str | None = None
    product: str | None = None
    time: str | None = None
    quantity: str | None = None

    def named(self, role: Role) -> str | None:
        """Return what the caller named for this role."""
        name: str | None = getattr(self, role)
        return name


@dataclass(frozen=True, slots=True)
class Chosen:
    """The columns in which a log's roles were found; time and quantity may be absent."""

    user: str
    product: str
    time: str | None = None
    quantity: str | None = None

    def present(self) -> dict[Role, str]:
        """Return the roles that have a column, and its name."""
        roles: dict[Role, str | None] = {
            "user": self.user,
            "product": self.product,
            "time": self.time,
            "quantity": self.quantity,
        }
        return {role: name for role, name in roles.items() if name is not None}


def plays_a_role(name: str, role: Role | None = None) -> bool:
    """Tell whether this is a usual name of the role, or of any role.

    >>> plays_a_role("Customer ID", "user"), plays_a_role("t_dat"), plays_a_role("PIXcm7Ru5KmntCy0yA1K")
    (True, True, False)
    >>> plays_a_role("item_id:token", "product"), plays_a_role("item_id:token_seq:1")
    (True, False)
    """
    plain = _plain(name)
    return any(plain in USUAL_NAMES[each] for each in ([role] if role else USUAL_NAMES))


def choose_columns(names: Sequence[str], columns: Columns, *, label: str) -> Chosen:
    """Find the column of each role among ``names``; ``label`` is what messages call the log.

    Raises `ColumnProblem` when a named column does not exist, when the user or the product has no column,
    when two columns could be meant, or when one column was given two roles.
    """
    user = find_column(
        names, "user", columns.user, label=label, taken=_named_elsewhere(names, columns, "user")
    )
    product = find_column(
        names, "product", columns.product, label=label, taken=_named_elsewhere(names, columns, "product")
    )
    if user is None or product is None:
        role: Role = "user" if user is None else "product"
        raise ColumnProblem(
            f"{label} has no column with a usual name for the {role} id; name it with {FLAGS[role]}. "
            f"{_list(names)}"
        )
    optional: dict[Role, str | None] = {}
    for role in ("time", "quantity"):
        taken = {user, product, *_named_elsewhere(names, columns, role)}
        optional[role] = find_column(names, role, columns.named(role), label=label, taken=taken)
    chosen = Chosen(user, product, optional["time"], optional["quantity"])
    _refuse_shared(chosen, label)
    return chosen


def distinct_names(titles: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns, numbered where several share one, so that none is taken for another.

    >>> distinct_names(["user", "item", "item"])
    ('user', 'item (1)', 'item (2)')
    """
    counts, seen = Counter(titles), Counter[str]()
    names = []
    for title in titles:
        seen[title] += 1
        names.append(title if counts[title] == 1 else f"{title} ({seen[title]})".strip())
    return tuple(names) if len(set(names)) == len(names) else distinct_names(names)


def find_column(
    names: Sequence[str], role: Role, named: str | None, *, label: str, taken: set[str] | None = None
) -> str | None:
    """Return the column that plays one role, ``None`` where none does; ``taken`` ones play another.

    Raises `ColumnProblem` when the named column does not exist or when two could be meant.
    """
    if named is not None:
        return _resolve(names, role, named, label)
    free = [name for name in names if name not in (taken or ())]
    for title in [name.removesuffix(" (1)") for name in free if name.endswith(" (1)")]:
        if plays_a_role(title, role):
            _resolve(names, role, title, label)
    found = [name for name in free if plays_a_role(name, role)]
    if not found and not PARTS_OF_DATES & set(map(_plain, names)):
        found = [name for name in free if _plain(name) in LESSER_NAMES[role]][:1]
    if len(found) > 1:
        raise ColumnProblem(
            f"{label} has {len(found)} columns that may be the {role}: {quoted(found[:30])}; "
            f"choose one with {FLAGS[role]}."
        )
    return found[0] if found else None


def _resolve(names: Sequence[str], role: Role, named: str, label: str) -> str | None:
    if named == "" and role in ("time", "quantity"):
        return None
    if named in names:
        return named
    if f"{named} (1)" in names:
        same = [name for name in names if re.fullmatch(re.escape(named) + r" \(\d+\)", name)]
        raise ColumnProblem(
            f"{label} has {len(same)} columns called {named!r}; say which one: {FLAGS[role]} '{same[0]}' is the first."
        )
    if named.isdecimal() and 1 <= int(named) <= len(names):
        return names[int(named) - 1]
    raise ColumnProblem(f"{label} has no column {named!r} ({FLAGS[role]}). {_list(names)}")


def _named_elsewhere(names: Sequence[str], columns: Columns, role: Role) -> set[str]:
    others = [columns.named(other) for other in USUAL_NAMES if other != role]
    return {other for other in others if other is not None and other in names}


def _refuse_shared(chosen: Chosen, label: str) -> None:
    seen: dict[str, Role] = {}
    for role, name in chosen.present().items():
        if name in seen:
            raise ColumnProblem(
                f"column {name!r} of {label} cannot be both the {seen[name]} and the {role}; "
                f"give {FLAGS[seen[name]]} and {FLAGS[role]} different columns."
            )
        seen[name] = role


def _plain(name: str) -> str:
    return _TYPED.sub("", name.lower()).translate(_IGNORED)


def _list(names: Sequence[str]) -> str:
    shown = quoted(names[:30])
    more = f" and {len(names) - 30} more" if len(names) > 30 else ""
    return f"Its columns are {shown}{more}."


_IGNORED = str.maketrans("", "", "_- .\u00a0\u200b\ufeff")
_TYPED = re.compile(r":(token|float)(_seq)?$")
"""The types that RecBole's files write behind their names, as in ``user_id:token``"""
