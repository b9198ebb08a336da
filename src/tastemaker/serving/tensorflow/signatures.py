"""The signatures of a model on the TensorFlow-shaped routes: their inputs, their outputs, and what they compute."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tastemaker.errors import RulesProblem
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.serving.answering.batcher import Engine, Ranked, Ranking
from tastemaker.serving.answering.lists import lists_for, neighbours_for
from tastemaker.serving.answering.state import ApiState
from tastemaker.serving.answering.visitors import count_unknown, visitors_of
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.tensorflow.tensors import DataType

__all__ = ["SIGNATURES", "Call", "Input", "Signature", "dtype_of", "metadata"]

NOTEBOOK_K = 100
"""How many ids and scores the workshop's ``call_item_item`` answers."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input: what it holds, its rank and, if optional, its default."""

    name: str
    of: str
    """``product``, ``user``, ``number``, ``flag`` or ``word``"""
    deepest: int = 1
    """The deepest list that is accepted: 0 a value, 1 a list of values, 2 a list of lists"""
    default: Any = None
    aliases: tuple[str, ...] = ()
    by_rules: bool = False
    """Whether the rules in force may set another default"""

    @property
    def required(self) -> bool:
        """Return whether a request must have it."""
        return self.default is None

    @property
    def unsaid(self) -> Any:
        """Return the value where a request does not say it; ``None`` leaves it to the rules."""
        return None if self.by_rules else self.default


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a signature, its types checked."""

    loaded: LoadedModel
    values: Mapping[str, Any]
    settings: Settings
    engine: Engine
    metrics: Metrics
    api: ApiState
    """The rules in force and the live purchases"""


Lists: TypeAlias = tuple[bool, list[Ranked]]
"""Whether there is a single list, answered without an outer list, and the lists"""


@dataclass(frozen=True, slots=True)
class Signature:
    """A function of a model that clients call by name."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, str]
    """The names of the ids and of the scores"""
    answer: Callable[[Call], Awaitable[Lists]]
    length: int | None = None
    """How long a list is where no input says so"""
    batches: bool = True

    @property
    def main(self) -> Input:
        """Return the one input that must be there."""
        return next(declared for declared in self.inputs if declared.required)


def dtype_of(declared: Input, loaded: LoadedModel) -> DataType:
    """Return the type of an input's values; ids have the type of the model's."""
    if declared.of in ("product", "user"):
        return (loaded.product_ids if declared.of == "product" else loaded.user_ids).dtype
    return {"number": "DT_INT32", "flag": "DT_BOOL", "word": "DT_STRING"}[declared.of]


async def _item_item(call: Call) -> Lists:
    """Answer as the notebook's function: the nearest by dot product, including the product itself; rules do not apply."""
    asked = call.values["item"]
    products = asked if isinstance(asked, list) else [asked]
    if len(products) != 1:
        raise Refusal(
            400, f"call_item_item takes one item and received {len(products)}; similar_products takes many."
        )
    rows = _known_products(call, products)
    return True, await call.engine.nearest(Ranking(call.loaded, include_own=True), rows, NOTEBOOK_K)


async def _similar(call: Call) -> Lists:
    asked = call.values["product"]
    products = asked if isinstance(asked, list) else [asked]
    rows = _known_products(call, products)
    how = Ranking(call.loaded, call.values["include_self"], book=_book(call))
    lists, _ = await neighbours_for(rows, how, call.engine, call.metrics, k=_length(call))
    return not isinstance(asked, list), lists


async def _user(call: Call) -> Lists:
    """Answer for users, with their live purchases; unknown users get best sellers."""
    asked = call.values["user"]
    users = asked if isinstance(asked, list) else [asked]
    _check_count(call, users, "users")
    return not isinstance(asked, list), await _lists(call, [(user, ()) for user in users])


async def _basket(call: Call) -> Lists:
    """Answer for baskets; unknown products are left out, and a basket with no known product gets best sellers."""
    asked = call.values["basket"]
    asked = asked if isinstance(asked, list) else [asked]
    is_single = not (asked and isinstance(asked[0], list))
    baskets = [asked] if is_single else asked
    _check_count(call, baskets, "baskets")
    most = call.settings.most_basket
    for basket in baskets:
        if len(basket) > most:
            raise Refusal(400, f"a basket holds {len(basket):,} products; at most {most:,} are allowed.")
    return is_single, await _lists(call, [(None, basket) for basket in baskets])


async def _lists(call: Call, asked: list[tuple[Any, Sequence[Any]]]) -> list[Ranked]:
    """Rank for users and baskets, under the rules in force."""
    book, said = _book(call), call.values["include_purchased"]
    visitors = await visitors_of(call.api, call.loaded, asked)
    count_unknown(visitors, call.metrics, call.loaded.name)
    standing = await call.api.standing(call.loaded, None)
    how = Ranking(standing, bool(book.include_purchased if said is None else said), book=book)
    lists = await lists_for(visitors, how, call.engine, call.metrics, k=_length(call))
    return [(found.rows, found.scores) for found in lists]


def _book(call: Call) -> RuleBook:
    try:
        return call.api.rules.book(call.loaded)
    except RulesProblem as error:
        # rules that cannot hold for this version; TensorFlow Serving has no status for that
        raise Refusal(400, str(error)) from None


def _known_products(call: Call, products: list[Any]) -> list[int]:
    _check_count(call, products, "products")
    rows = [call.loaded.product_ids.row(product) for product in products]
    unknown = [product for product, row in zip(products, rows, strict=True) if row is None]
    if unknown:
        call.metrics.unknown_ids(call.loaded.name, "product", len(unknown))
        some = ", ".join(str(product)[:100] for product in unknown[:3]) + (", …" if len(unknown) > 3 else "")
        count = len(call.loaded.model.products)
        raise Refusal(400, f"not among the {count:,} products of this model: {some}.")
    return [row for row in rows if row is not None]


def _check_count(call: Call, queries: list[Any], what: str) -> None:
    most = call.settings.most_queries
    if not 1 <= len(queries) <= most:
        raise Refusal(400, f"received {len(queries):,} {what}; a request may hold 1 to {most:,}.")


def _length(call: Call) -> int:
    k, most = call.values["k"], call.settings.most_k
    if not 1 <= k <= most:
        raise Refusal(400, f"k is {k}; it must be from 1 to {most:,}.")
    return int(k)


_K = Input("k", "number", 0, default=10)
_INCLUDE = Input("include_purchased", "flag", 0, default=False, by_rules=True)
_OUTPUTS = ("product_ids", "scores")
_ITEM = (Input("item", "product", aliases=("product",)),)
_NOTEBOOK = Signature(
    "call_item_item", _ITEM, ("output_0", "output_1"), _item_item, NOTEBOOK_K, batches=False
)

SIGNATURES: dict[str, Signature] = {
    "call_item_item": _NOTEBOOK,
    "serving_default": _NOTEBOOK,
    "recommend_user": Signature("recommend_user", (Input("user", "user"), _K, _INCLUDE), _OUTPUTS, _user),
    "recommend_basket": Signature(
        "recommend_basket", (Input("basket", "product", 2), _K, _INCLUDE), _OUTPUTS, _basket
    ),
    "similar_products": Signature(
        "similar_products",
        (Input("product", "product"), _K, Input("include_self", "flag", 0, default=False)),
        _OUTPUTS,
        _similar,
    ),
}


def metadata(loaded: LoadedModel) -> dict[str, Any]:
    """Return what ``/metadata`` answers: every signature, in the envelope of TensorFlow Serving."""
    described = {name: _described(name, signature, loaded) for name, signature in SIGNATURES.items()}
    return {
        "model_spec": {"name": loaded.name, "signature_name": "", "version": str(loaded.version)},
        "metadata": {"signature_def": {"signature_def": described}},
    }


def _described(name: str, signature: Signature, loaded: LoadedModel) -> dict[str, Any]:
    length = -1 if signature.length is None else min(signature.length, len(loaded.model.products))
    product = dtype_of(Input("", "product"), loaded)
    outputs = zip(signature.outputs, (product, "DT_FLOAT"), strict=True)
    shape = [length] if not signature.batches else [-1, length]
    return {
        "inputs": {
            declared.name: _tensor(
                dtype_of(declared, loaded), [-1] * declared.deepest, f"{name}_{declared.name}:0"
            )
            for declared in signature.inputs
        },
        "outputs": {
            output: _tensor(dtype, shape, f"StatefulPartitionedCall:{number}")
            for number, (output, dtype) in enumerate(outputs)
        },
        "method_name": "tensorflow/serving/predict",
        "defaults": {
            declared.name: _constant(dtype_of(declared, loaded), declared.default)
            for declared in signature.inputs
            if not declared.required
        },
    }


def _tensor(dtype: DataType, shape: list[int], name: str) -> dict[str, Any]:
    dim = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": dim, "unknown_rank": False}, "name": name}


def _constant(dtype: DataType, value: Any) -> dict[str, Any]:
    field = {"DT_INT32": "int_val", "DT_BOOL": "bool_val"}[dtype]
    return {"dtype": dtype, "tensor_shape": {"dim": [], "unknown_rank": False}, field: [value]}
