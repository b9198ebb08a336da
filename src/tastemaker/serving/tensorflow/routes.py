"""The routes of TensorFlow Serving's REST API: clients of the workshop's model there call it here unchanged.

Status codes, bodies and the order of checks are those of TensorFlow Serving's own code (``http_rest_api_handler.cc``,
``json_tensor.cc``). One thing is added: a request that names no version gets the version labelled ``stable`` once an operator has
set that label, and until then the largest, as there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import unquote

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from tastemaker.errors import NotServed
from tastemaker.serving.answering.batcher import Ranked
from tastemaker.serving.front.api_keys import Need
from tastemaker.serving.front.middleware import check_role
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.answers import send_bytes
from tastemaker.serving.operations.endpoint import content_of
from tastemaker.serving.operations.json_depth import check_depth
from tastemaker.serving.operations.service import Service
from tastemaker.serving.tensorflow.json_bodies import json_of
from tastemaker.serving.tensorflow.signatures import SIGNATURES, Call, Input, Signature, dtype_of, metadata
from tastemaker.serving.tensorflow.tensors import checked, debug, is_base64, parse_object

__all__ = ["OPERATIONS", "TensorFlowOperation", "TensorFlowRoutes"]

_FLAGS = re.IGNORECASE | re.ASCII
_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
LARGEST_VERSION = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """The model that a path names, and the version or label."""

    name: str
    version: int | None
    label: str | None


@dataclass(frozen=True, slots=True)
class TensorFlowOperation:
    """One method of the paths that match a pattern; who may call it must be said."""

    method: Literal["GET", "POST"]
    path: str
    """How documentation, the log and the counters name these paths"""
    pattern: re.Pattern[str]
    """Its groups are the name, the version and the label"""
    handler: Callable[[Scope, Wanted, bytes], Awaitable[bytes]]
    """Gets the body, too, and answers with JSON"""
    _: KW_ONLY
    role: Need


class TensorFlowRoutes(BaseRoute):
    """Everything under ``/v1/``, in upper or lower case."""

    path = "/v1/"

    def __init__(self) -> None:
        self.operations = OPERATIONS

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Take every path under ``/v1/``, and no other."""
        mine = scope["type"] == "http" and scope["path"][:4].lower() == "/v1/"
        return (Match.FULL, {}) if mine else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; refusals are answered by the middleware around it."""
        body = await content_of(receive) if scope["method"] == "POST" else b""
        await send_bytes(await self._answer(scope, body), b"application/json", 200, [], scope, send)

    async def _answer(self, scope: Scope, body: bytes) -> bytes:
        method, path = scope["method"], (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        state = scope["state"]
        state["route"] = self.path
        for operation in self.operations:
            found = operation.pattern.fullmatch(path) if operation.method == method else None
            if found is not None:
                state["route"] = operation.path
                check_role(state["role"], operation.role)
                return await operation.handler(scope, _wanted(*found.groups()), body)
        raise Refusal(400, f"Malformed request: {method} {path[:1000]}")


def _wanted(name: str | None, version: str | None, label: str | None) -> Wanted:
    if name is None:
        raise Refusal(400, "Missing model name in request.")
    return Wanted(unquote(name), _number(version), label and unquote(label))


def _number(version: str | None) -> int | None:
    if version is None:
        return None
    number = int(version) if len(version) < 100 else LARGEST_VERSION + 1
    if number > LARGEST_VERSION:
        raise Refusal(400, f"Failed to convert version: {version[:100]} to numeric.")
    return number


def _find(scope: Scope, wanted: Wanted) -> LoadedModel:
    """Return what a request is for, and note it for the log; refuse in the words of TensorFlow Serving."""
    name, version, label = wanted.name, wanted.version, wanted.label
    service: Service = scope["app"].state.service
    try:
        loaded = service.registry.get(name, version, label)
    except NotServed:
        if label is not None:
            raise Refusal(400, f"Unrecognized servable version label: {label}") from None
        which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise Refusal(404, f"Servable not found for request: {which}") from None
    scope["state"]["model"] = loaded
    return loaded


async def _metadata(scope: Scope, wanted: Wanted, _: bytes) -> bytes:
    return json_of(metadata(_find(scope, wanted)))


async def _status(scope: Scope, wanted: Wanted, _: bytes) -> bytes:
    service: Service = scope["app"].state.service
    name, version = wanted.name, wanted.version
    served = service.registry.models.get(name)
    if served is None:
        which = "any versions" if version is None else f"version {version}"
        raise Refusal(404, f"Could not find {which} of model {name}")
    states = dict.fromkeys(served.loading, ("LOADING", "OK", ""))
    states |= {number: ("END", "DATA_LOSS", error) for number, error in served.refused.items()}
    states |= dict.fromkeys(served.ready, ("AVAILABLE", "OK", ""))
    if version is not None and version not in states:
        raise Refusal(404, f"Could not find version {version} of model {name}")
    return json_of(
        {
            "model_version_status": [
                {
                    "version": str(number),
                    "state": state,
                    "status": {"error_code": code, "error_message": message},
                }
                for number, (state, code, message) in sorted(states.items(), reverse=True)
                if version in (None, number)
            ]
        }
    )


async def _predict(verb: str, scope: Scope, wanted: Wanted, body: bytes) -> bytes:
    service: Service = scope["app"].state.service
    check_depth(body, service.settings.json_depth)
    document = parse_object(body)
    signature_name = document.get("signature_name", "serving_default")
    if type(signature_name) is not str:
        raise Refusal(
            400,
            f"JSON Value: {debug(document)} not formatted correctly. 'signature_name' key must be a string value.",
        )
    loaded = _find(scope, wanted)
    signature = SIGNATURES.get(signature_name or "serving_default")
    if signature is None:
        raise Refusal(400, f'Serving signature name: "{signature_name[:1000]}" not found in signature def')
    if verb != "predict":
        raise Refusal(
            400,
            f"Expected {'classification' if verb == 'classify' else 'regression'} signature method_name to be "
            f"tensorflow/serving/{verb}. Was: tensorflow/serving/predict",
        )
    values, by_row = _values(document, signature, loaded)
    call = Call(loaded, values, service.settings, service.engine, service.metrics, service.state)
    single, lists = await signature.answer(call)
    if by_row:
        return _rows(signature, loaded, single, lists)
    return _columns(signature, loaded, single, lists)


def _values(
    document: dict[str, Any], signature: Signature, loaded: LoadedModel
) -> tuple[dict[str, Any], bool]:
    """Return the value of each input, and whether they came in rows (``instances``)."""
    if "instances" in document:
        if "inputs" in document:
            raise Refusal(
                400,
                f"JSON Value: {debug(document)} Not formatted correctly expecting only one of "
                "'inputs' or 'instances' keys to exist ",
            )
        instances = document["instances"]
        if type(instances) is not list:
            raise Refusal(400, f"JSON Value: {debug(document)} Expecting 'instances' to be an list/array")
        if not instances:
            raise Refusal(400, f"JSON Value: {debug(document)} No values in 'instances' array")
        return _from_rows(instances, signature, loaded), True
    if "inputs" in document:
        return _from_columns(document["inputs"], signature, loaded), False
    raise Refusal(400, "Missing 'inputs' or 'instances' key")


def _from_columns(inputs: Any, signature: Signature, loaded: LoadedModel) -> dict[str, Any]:
    if type(inputs) is not dict or is_base64(inputs):
        inputs = {signature.main.name: inputs}
    values = {}
    for declared in signature.inputs:
        key = next((name for name in (declared.name, *declared.aliases) if name in inputs), None)
        if key is not None:
            values[declared.name] = _tensor(
                inputs[key], declared, dtype_of(declared, loaded), declared.deepest
            )
        elif declared.required:
            raise Refusal(400, f"Missing named input: {declared.name} in 'inputs' object.")
        else:
            values[declared.name] = declared.unsaid
    return values


def _from_rows(instances: list[Any], signature: Signature, loaded: LoadedModel) -> dict[str, Any]:
    """Return the values of all instances: a list of the main input's, and what they all say of the others."""
    named = _is_named(instances[0])
    main = signature.main
    asked: list[Any] = []
    options: list[dict[str, Any]] = []
    for number, instance in enumerate(instances):
        if _is_named(instance) != named:
            found = "list at item" if named else "object at item"
            wanted = "object but got" if named else "value/list but got"
            raise Refusal(400, f"Expecting {wanted} {found} {number} of input list")
        given = _instance(instance, number, signature, loaded) if named else {}
        if not named:
            try:
                given = {main.name: _tensor(instance, main, dtype_of(main, loaded), max(main.deepest - 1, 1))}
            except Refusal as refusal:
                raise _in_row(number, "", refusal) from None
        asked.append(given.pop(main.name))
        options.append(given)
        if given != options[0]:
            raise Refusal(400, f"all instances must agree on {', '.join(sorted(given | options[0]))}.")
    if main.deepest < 2 or not signature.batches:
        asked = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in asked]
        if any(isinstance(row, list) for row in asked):
            raise Refusal(400, f"an instance holds one {main.name}; send more of them as more instances.")
    else:
        asked = [row if isinstance(row, list) else [row] for row in asked]
    defaults = {declared.name: declared.unsaid for declared in signature.inputs if not declared.required}
    return {**defaults, **options[0], main.name: asked}


def _instance(
    instance: dict[str, Any], number: int, signature: Signature, loaded: LoadedModel
) -> dict[str, Any]:
    """Return the values of one named instance, which has the names of the inputs and no others."""
    names = {name: declared for declared in signature.inputs for name in (declared.name, *declared.aliases)}
    values: dict[str, Any] = {}
    for key, value in instance.items():
        try:
            if key not in names:
                raise Refusal(400, f"JSON object: does not have named input: {key[:100]}")
            declared = names[key]
            deepest = max(declared.deepest - 1, 1) if declared.required else 0
            values[declared.name] = _tensor(value, declared, dtype_of(declared, loaded), deepest)
        except Refusal as refusal:
            raise _in_row(number, f" key: {key[:100]}", refusal) from None
    if signature.main.name not in values:
        wanted = ",".join(sorted(declared.name for declared in signature.inputs if declared.required))
        raise Refusal(
            400,
            f"Failed to process element: {number} of 'instances' list. JSON object: {debug(instance)} "
            f"keys must be equal to: {wanted}",
        )
    return values


def _is_named(instance: Any) -> bool:
    return type(instance) is dict and not is_base64(instance)


def _in_row(number: int, key: str, refusal: Refusal) -> Refusal:
    return Refusal(
        400,
        f"Failed to process element: {number}{key} of 'instances' list. Error: INVALID_ARGUMENT: {refusal.detail}",
    )


def _tensor(value: Any, declared: Input, dtype: str, deepest: int) -> Any:
    """Return a value, or a list, or a list of lists, with every value of the type; an option may be a list of one."""
    if type(value) is not list:
        return checked(value, dtype)
    if not declared.required:
        if len(value) != 1 or type(value[0]) is list:
            raise Refusal(400, f"{declared.name} is one value; received {debug(value)}")
        return checked(value[0], dtype)
    nested = [type(child) is list for child in value]
    if any(nested):
        if not all(nested):
            raise Refusal(
                400, f"the lists of {declared.name} must all be equally deep; received {debug(value)}"
            )
        if deepest < 2:
            raise Refusal(400, f"Encountered list at unexpected level: {deepest} expected < {deepest}")
        if any(type(leaf) is list for child in value for leaf in child):
            raise Refusal(400, "Encountered list at unexpected level: 2 expected < 2")
        return [[checked(leaf, dtype) for leaf in child] for child in value]
    return [checked(child, dtype) for child in value]


def _columns(signature: Signature, loaded: LoadedModel, single: bool, lists: list[Ranked]) -> bytes:
    ids, scores = signature.outputs
    products = [loaded.product_ids.at(rows) for rows, _ in lists]
    values = [score for _, score in lists]
    if single:
        return json_of({"outputs": {ids: products[0], scores: values[0]}})
    return json_of({"outputs": {ids: products, scores: values}})


def _rows(signature: Signature, loaded: LoadedModel, single: bool, lists: list[Ranked]) -> bytes:
    """Write predictions: one object for each instance, or, as TensorFlow Serving does, for each element of the one list."""
    ids, scores = signature.outputs
    if single:
        rows, values = lists[0]
        pairs = zip(loaded.product_ids.at(rows), values, strict=True)
        return json_of({"predictions": [{ids: product, scores: score} for product, score in pairs]})
    return json_of(
        {"predictions": [{ids: loaded.product_ids.at(rows), scores: values} for rows, values in lists]}
    )


_NAMED = r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?"
OPERATIONS = (
    *(
        TensorFlowOperation(
            "POST", f"/v1/models:{verb}", re.compile(rf"{_MODEL}:{verb}", _FLAGS),
            partial(_predict, verb), role="read",
        )
        for verb in ("predict", "classify", "regress")
    ),
    TensorFlowOperation("GET", "/v1/models", re.compile(_NAMED, _FLAGS), _status, role="read"),
    TensorFlowOperation(
        "GET", "/v1/models/metadata", re.compile(f"{_NAMED}/metadata", _FLAGS), _metadata, role="read"
    ),
)  # fmt: skip
