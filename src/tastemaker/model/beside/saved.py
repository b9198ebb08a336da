"""What stands beside pairs, as arrays and JSON values of a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tastemaker.data.tokens.bags import Bags
from tastemaker.model.beside.live import FoldIn, Live
from tastemaker.model.beside.order import Fading, Kinds, Order
from tastemaker.model.beside.tokens import Tokens
from tastemaker.model.memory import Memory
from tastemaker.types import AnyArray

__all__ = ["Parts", "arrays_of", "facts_of", "parts_of"]

BAG = ("offsets", "tokens", "weights")
FOLD = ("basis", "pull", "eigenvalues", "mean", "buyers")


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The parts of a model that stand beside its pairs."""

    tokens: Tokens | None = None
    order: Order | None = None
    kinds: Kinds | None = None
    live: Live | None = None


def arrays_of(parts: Parts) -> dict[str, AnyArray | None]:
    """Return the arrays by the names of their files."""
    arrays: dict[str, AnyArray | None] = {}
    tokens, kinds, live = parts.tokens, parts.kinds, parts.live
    if tokens is not None:
        arrays["token_vectors"] = tokens.vectors
        for noun, bags in (("user", tokens.of_users), ("product", tokens.of_products)):
            arrays |= {f"{noun}_token_{name}": getattr(bags, name) for name in BAG}
    if kinds is not None and kinds.memory is not None:
        memory = kinds.memory
        arrays["kind_offsets"], arrays["kind_products"] = memory.offsets, memory.products
        arrays["kind_weights"] = memory.weights
    if live is not None and live.fold_in is not None:
        arrays |= {f"fold_{name}": getattr(live.fold_in, name) for name in FOLD}
    return arrays


def facts_of(parts: Parts) -> dict[str, Any]:
    """Return the rest as JSON values; empty where nothing stands beside the pairs."""
    facts: dict[str, Any] = {}
    tokens, order, kinds, live = parts.tokens, parts.order, parts.kinds, parts.live
    if tokens is not None:
        facts["tokens"] = tokens.to_json()
    if order is not None:
        facts["order"] = {"taste": asdict(order.taste), "memory": asdict(order.memory), "end": order.end}
    if kinds is not None:
        facts["kinds"] = {
            "names": list(kinds.names),
            "own": list(kinds.own),
            "taste": list(kinds.taste),
            "fading": asdict(kinds.fading),
        }
    if live is not None:
        names = ("half_life", "weight", "kappa", "dial")
        facts["live"] = {name: float(getattr(live, name)) for name in names}
        facts["live"] |= {
            name: float(getattr(live, name))
            for name in ("young", "value_dial", "tail")
            if getattr(live, name)
        }
    return facts


def parts_of(facts: Mapping[str, Any], arrays: Mapping[str, AnyArray], products: int) -> Parts:
    """Return the parts from what `facts_of` and `arrays_of` gave; raise `ValueError`, `KeyError` or `TypeError` for others."""
    tokens = order = kinds = live = None
    if "tokens" in facts:
        columns = Tokens.columns_from_json(facts["tokens"])
        bags = [Bags(*(arrays[f"{noun}_token_{name}"] for name in BAG)) for noun in ("user", "product")]
        tokens = Tokens(*columns, arrays["token_vectors"], *bags)
    if "order" in facts:
        taste, memory = (Fading(**facts["order"][name]) for name in ("taste", "memory"))
        order = Order(taste, memory, int(facts["order"]["end"]))
    if "kinds" in facts:
        kinds = _kinds(facts["kinds"], arrays, products)
    if "live" in facts:
        fold_in = FoldIn(*(arrays[f"fold_{name}"] for name in FOLD)) if "fold_basis" in arrays else None
        live = Live(**facts["live"], fold_in=fold_in)
    return Parts(tokens, order, kinds, live)


def _kinds(facts: Mapping[str, Any], arrays: Mapping[str, AnyArray], products: int) -> Kinds:
    names = tuple(facts["names"])
    memory = None
    if "kind_offsets" in arrays:
        memory = Memory(arrays["kind_offsets"], arrays["kind_products"], arrays["kind_weights"])
        if len(memory.offsets) != len(names) * products + 1:
            raise ValueError(f"kind_offsets.npy has {len(memory.offsets):,} rows")
    own, taste = tuple(map(float, facts["own"])), tuple(map(float, facts["taste"]))
    if not len(own) == len(taste) == len(names) or not np.isfinite([*own, *taste]).all():
        raise ValueError("the kinds of events do not fit each other")
    return Kinds(names, own, taste, Fading(**facts["fading"]), memory)
