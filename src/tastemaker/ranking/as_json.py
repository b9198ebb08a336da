"""Lists as JSON: the one place that says how a list, its reasons and its rules are written.

The API, the page, the command line and Python all write a list this way. They differ in what `Form` says: the command line uses
the names of its files' columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tastemaker.ranking.rank import VisitorList
from tastemaker.ranking.rules.rule_book import Removal, RuleBook
from tastemaker.ranking.why import Reason
from tastemaker.types import AnyArray, Floats, Rows

__all__ = ["COMMAND_LINE", "PYTHON", "Form", "list_json", "products_json", "rules_json"]


Ids: TypeAlias = Sequence[Any] | AnyArray


@dataclass(frozen=True, slots=True)
class Form:
    """What a product and the products of a list are called, and how scores are given."""

    product: str
    products: str
    scores: Callable[[Floats], Sequence[float]] = lambda scores: scores.tolist()
    """Turns ``float32[n]`` into what is written: Python's floats, or the API's shortest spelling"""


PYTHON = Form("product", "recommendations")
COMMAND_LINE = Form("product_id", "products")


def list_json(
    found: VisitorList,
    book: RuleBook,
    ids: Callable[[Rows], Ids],
    *,
    named: Mapping[str, Any],
    unknown: Sequence[object] | None = None,
    form: Form = PYTHON,
) -> dict[str, Any]:
    """Return one list with what it is made from, its products, their reasons where there are some, and what the rules removed.

    ``ids`` gives the ids of products at some rows; ``named`` says whom the list is for and stands first, ``unknown`` which of
    it the model does not know. ``exact`` is there only where it is false.
    """
    products = products_json(ids(found.rows), form.scores(found.scores), name=form.product)
    for product in products[: found.pinned]:
        product["pinned"] = True
    if found.reasons is not None:
        for product, reason in zip(products, found.reasons, strict=True):
            product["reasons"] = _reason(reason, ids, form)
    content = {
        **named,
        "source": found.source,
        "filled": found.filled,
        form.products: products,
        "rules": rules_json(book, (*book.removals, *found.removals)),
    }
    if unknown is not None:
        content["unknown"] = list(unknown)
    if not found.exact:
        content["exact"] = False
    return content


def products_json(ids: Ids, scores: Iterable[Any], *, name: str) -> list[dict[str, Any]]:
    """Return products with rank, from 1, and score."""
    return [
        {name: product, "rank": rank, "score": score}
        for rank, (product, score) in enumerate(zip(_plain(ids), scores, strict=True), start=1)
    ]


def rules_json(book: RuleBook, removals: Sequence[Removal]) -> dict[str, Any]:
    """Return what rules came to: how many products there are, how many may be shown, and what each rule removed."""
    return {
        "candidates": book.candidates,
        "allowed": book.remaining,
        "removed": [{"rule": removal.rule, "removed": removal.removed} for removal in removals],
        "unknown": list(book.unknown),
    }


def _plain(ids: Ids) -> Sequence[Any]:
    return ids.tolist() if isinstance(ids, np.ndarray) else ids


def _reason(reason: Reason, ids: Callable[[Rows], Ids], form: Form) -> dict[str, Any]:
    speakers = _plain(ids(np.array([spoken.row for spoken in reason.purchases], np.int32)))
    return {
        "popularity": reason.popularity,
        "taste": reason.taste,
        "repeat": reason.repeat,
        "purchases": [
            {
                form.product: product,
                "taste": spoken.taste,
                "memory": spoken.memory,
                "together": spoken.together,
            }
            for product, spoken in zip(speakers, reason.purchases, strict=True)
        ],
        "others_taste": reason.others_taste,
        "others_memory": reason.others_memory,
    }
