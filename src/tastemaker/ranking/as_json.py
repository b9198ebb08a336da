"""Lists as JSON: the one place that says how a list, its reasons and its rules are written.

The API, the page, the command line and Python all write a list as these structs say; the API's description is made from them.
The command line writes the names of its files' columns in the place of some of theirs (`COMMAND_LINE`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from tastemaker.ranking.rank import VisitorList
from tastemaker.ranking.rules.rule_book import Removal, RuleBook
from tastemaker.ranking.visitors import Visitor
from tastemaker.ranking.why import Reason
from tastemaker.types import AnyArray, Floats, Rows

__all__ = [
    "API_NAMES",
    "COMMAND_LINE",
    "Explained",
    "FactSaid",
    "FoundByIndex",
    "Id",
    "Listed",
    "Names",
    "Product",
    "RulesSaid",
    "Speaker",
    "list_json",
    "plain",
    "products_json",
    "rules_json",
]

Id: TypeAlias = str | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An id as the shop's files have it: text or an integer"""
Ids: TypeAlias = Sequence[Any] | AnyArray


# What is declared -------------------------------------------------------------------------------------------


class Speaker(Struct):
    """What one purchase says for a product."""

    product: Id
    taste: float
    memory: float
    together: Annotated[int, Meta(description="How many users bought both.")]


class FactSaid(Struct):
    """What an attribute, a context or an event that is no purchase says for a product."""

    fact: Annotated[str, Meta(description="The attribute or context in words, or the kind of the event.")]
    weight: float
    product: Id | UnsetType = UNSET


class Explained(Struct):
    """What a score is made of: all numbers but `together` add up to it."""

    popularity: float
    taste: Annotated[float, Meta(description="Of a user with a vector of their own.")]
    repeat: Annotated[float, Meta(description="For having been bought before.")]
    purchases: list[Speaker]
    others_taste: Annotated[float, Meta(description="Of all other purchases together.")]
    others_memory: float
    facts: (
        Annotated[list[FactSaid], Meta(description="What attributes, context and other events say.")]
        | UnsetType
    ) = UNSET
    others_facts: float | UnsetType = UNSET
    rules: (
        Annotated[
            float, Meta(description="What boosts and burials of the rules add; left out where none does.")
        ]
        | UnsetType
    ) = UNSET


class Product(Struct):
    """One product of a list."""

    product: Id
    rank: int
    score: float
    pinned: bool | UnsetType = UNSET
    reasons: Explained | UnsetType = UNSET
    about: dict[str, Any] | UnsetType = UNSET


class RulesSaid(Struct):
    """What the rules came to."""

    candidates: Annotated[int, Meta(description="How many products the model has.")]
    allowed: Annotated[
        int, Meta(description="How many of them the rules allow, before purchased ones are removed.")
    ]
    removed: list[Removal]
    unknown: Annotated[list[Id], Meta(description="Ids in the rules that the model does not know.")]


FoundByIndex: TypeAlias = (
    Annotated[
        bool,
        Meta(description="False where an approximate index found the products; it may have missed some."),
    ]
    | UnsetType
)


class Listed(Struct, kw_only=True):
    """One list and what it rests on."""

    model: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    user: Id | UnsetType = UNSET
    basket: list[Id] | UnsetType = UNSET
    source: Literal["personal", "basket", "category best sellers", "best sellers", "context"]
    filled: Annotated[
        int, Meta(description="How many products at the end are best sellers of other categories.")
    ]
    recommendations: list[Product]
    rules: RulesSaid
    unknown: (
        Annotated[
            list[Id], Meta(description="Ids, contexts and attributes asked for that the model does not know.")
        ]
        | UnsetType
    ) = UNSET
    exact: FoundByIndex = UNSET
    list_id: (
        Annotated[str, Meta(description="The list's id, for its outcomes; the same list has the same one.")]
        | UnsetType
    ) = UNSET
    experiment: Annotated[str, Meta(description="The experiment that chose the version.")] | UnsetType = UNSET
    arm: Literal["control", "treatment", "holdout"] | UnsetType = UNSET
    explored: (
        Annotated[
            list[int],
            Meta(
                description="The ranks at which `serve --explore` put another product than the ranking has there."
            ),
        ]
        | UnsetType
    ) = UNSET


# How it is made from lists ----------------------------------------------------------------------------------

Names: TypeAlias = Mapping[str, str]
"""Other names for fields of the structs above"""

API_NAMES: Final[Names] = {}
COMMAND_LINE: Final[Names] = {"product": "product_id", "recommendations": "products"}


def list_json(
    found: VisitorList,
    book: RuleBook,
    ids: Callable[[Rows], Ids],
    *,
    visitor: Visitor | None = None,
    scores: Callable[[Floats], Sequence[float]] = lambda scores: scores.tolist(),
    answer: Callable[..., Listed] = Listed,
) -> Listed:
    """Return one list with its products, their reasons where there are some, what it is made from and what the rules removed.

    ``ids`` gives the ids of products at some rows; of ``visitor`` the list says the user, the basket and the unknown ids;
    ``scores`` turns ``float32[n]`` into what is written, and ``answer`` makes the answer of what it says. ``exact`` is there only
    where it is false.
    """
    products = products_json(ids(found.rows), scores(found.scores))
    for product in products[: found.pinned]:
        product.pinned = True
    if found.reasons is not None:
        for product, explained in zip(products, _reasons(found.reasons, ids), strict=True):
            product.reasons = explained
    named: Mapping[str, Any] = {} if visitor is None else visitor.named
    return answer(
        user=named.get("user", UNSET),
        basket=named.get("basket", UNSET),
        source=found.source,
        filled=found.filled,
        recommendations=products,
        rules=rules_json(book, (*book.removals, *found.removals)),
        unknown=UNSET if visitor is None else list(visitor.unknown),
        exact=UNSET if found.exact else False,
    )


def products_json(ids: Ids, scores: Sequence[float]) -> list[Product]:
    """Return products with rank, from 1, and score."""
    return [
        Product(product, rank, score)
        for rank, (product, score) in enumerate(zip(_listed(ids), scores, strict=True), start=1)
    ]


def rules_json(book: RuleBook, removals: Sequence[Removal]) -> RulesSaid:
    """Return what rules came to: how many products there are, how many may be shown, and what each rule removed."""
    return RulesSaid(book.candidates, book.remaining, list(removals), list(book.unknown))


def plain(value: Struct, names: Names = API_NAMES) -> dict[str, Any]:
    """Return a struct as dictionaries and lists, its fields under other names where ``names`` has one.

    >>> plain(Removal("deny", 2)), plain(Removal("deny", 2), {"removed": "gone"})
    ({'rule': 'deny', 'removed': 2}, {'rule': 'deny', 'gone': 2})
    """
    content: dict[str, Any] = _renamed(msgspec.to_builtins(value), names)
    return content


def _renamed(value: Any, names: Names) -> Any:
    if isinstance(value, list):
        return [_renamed(entry, names) for entry in value]
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(entry, names) for key, entry in value.items()}
    return value


def _listed(ids: Ids) -> Sequence[Any]:
    return ids.tolist() if isinstance(ids, np.ndarray) else ids


def _reasons(reasons: Sequence[Reason], ids: Callable[[Rows], Ids]) -> list[Explained]:
    """Return the reasons of a list; the ids of all purchases that they name are looked up at once."""
    rows = [spoken.row for reason in reasons for spoken in reason.purchases]
    names = iter(_listed(ids(np.array(rows, np.int32))))
    return [_explained(reason, names, ids) for reason in reasons]


def _explained(reason: Reason, names: Iterator[Any], ids: Callable[[Rows], Ids]) -> Explained:
    """Return one product's reasons; ``names`` gives the ids of its purchases in their order."""
    facts, others = _facts(reason, ids)
    return Explained(
        popularity=reason.popularity,
        taste=reason.taste,
        repeat=reason.repeat,
        purchases=[
            Speaker(next(names), spoken.taste, spoken.memory, spoken.together) for spoken in reason.purchases
        ],
        others_taste=reason.others_taste,
        others_memory=reason.others_memory,
        facts=facts,
        others_facts=others,
        rules=reason.rules or UNSET,
    )


def _facts(
    reason: Reason, ids: Callable[[Rows], Ids]
) -> tuple[list[FactSaid], float] | tuple[UnsetType, UnsetType]:
    """Return what is known beside purchases that says something; unset for a model that knows nothing but purchases."""
    if reason.facts is None:
        return UNSET, UNSET
    facts = [
        FactSaid(
            fact.name,
            fact.weight,
            UNSET if fact.row is None else _listed(ids(np.array([fact.row], np.int32)))[0],
        )
        for fact in reason.facts
    ]
    return facts, reason.others_facts
