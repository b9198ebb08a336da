"""The routes of TensorFlow Serving's REST API: whoever called the workshop's model there calls it here unchanged.

Status codes, bodies and the order of checks are those of TensorFlow Serving's own code (``http_rest_api_handler.cc``,
``json_tensor.cc``). One thing is added: a request that names no version gets the version labelled ``stable`` once an operator has
set that label, and until then the largest, as there.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from tastemaker.errors import NotServed
from tastemaker.serving.answering.batcher import Ranked
from tastemaker.serving.front.problems import Refusal, refuse
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Served
from tastemaker.serving.tensorflow.json_bodies import check_depth, json_answer
from tastemaker.serving.tensorflow.signatures import SIGNATURES, Call, Input, Signature, dtype_of, metadata
from tastemaker.serving.tensorflow.tensors import checked, debug, is_base64, parse_object

__all__ = ["TensorFlowRoutes"]

_FLAGS = re.IGNORECASE | re.ASCII
_POST = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)", _FLAGS
)
_GET = re.compile(r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata)?", _FLAGS)
LARGEST_VERSION = 2**63 - 1


class TensorFlowRoutes(BaseRoute):
    """Everything under ``/v1/``, in upper or lower case."""

    path = "/v1/"

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Take every path under ``/v1/``, and no other."""
        mine = scope["type"] == "http" and scope["path"][:4].lower() == "/v1/"
        return (Match.FULL, {}) if mine else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            answer = await _answer(request)
        except Refusal as refusal:
            answer = refuse(scope["path"], refusal)
        await answer(scope, receive, send)


async def _answer(request: Request) -> Response:
    scope = request.scope
    method, path = scope["method"], (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    state = scope["state"]
    state["route"] = "/v1/"
    if method == "POST" and (post := _POST.fullmatch(path)):
        name, version, label, verb = post.groups()
        state["route"] = f"/v1/models:{verb.lower()}"
        return await _predict(
            request, unquote(name), _number(version), label and unquote(label), verb.lower()
        )
    if method == "GET" and (get := _GET.fullmatch(path)):
        name, version, label, wants_metadata = get.groups()
        state["route"] = "/v1/models/metadata" if wants_metadata else "/v1/models"
        if name is None:
            raise Refusal(400, "Missing model name in request.")
        if wants_metadata:
            loaded = _find(request, unquote(name), _number(version), label and unquote(label))
            return json_answer(metadata(loaded))
        return _status(request, unquote(name), _number(version))
    raise Refusal(400, f"Malformed request: {method} {path[:1000]}")


def _number(version: str | None) -> int | None:
    if version is None:
        return None
    number = int(version) if len(version) < 100 else LARGEST_VERSION + 1
    if number > LARGEST_VERSION:
        raise Refusal(400, f"Failed to convert version: {version[:100]} to numeric.")
    return number


def _find(request: Request, name: str, version: int | None, label: str | None) -> LoadedModel:
    """Return what a request is for, and note it for the log; refuse in the words of TensorFlow Serving."""
    try:
        loaded: LoadedModel = request.app.state.shelf.get(name, version, label)
    except NotServed:
        if label is not None:
            raise Refusal(400, f"Unrecognized servable version label: {label}") from None
        which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise Refusal(404, f"Servable not found for request: {which}") from None
    request.scope["state"]["model"] = loaded
    return loaded


def _status(request: Request, name: str, version: int | None) -> Response:
    served: Served | None = request.app.state.shelf.models.get(name)
    if served is None:
        which = "any versions" if version is None else f"version {version}"
        raise Refusal(404, f"Could not find {which} of model {name}")
    states = dict.fromkeys(served.loading, ("LOADING", "OK", ""))
    states |= {number: ("END", "DATA_LOSS", error) for number, error in served.refused.items()}
    states |= dict.fromkeys(served.ready, ("AVAILABLE", "OK", ""))
    if version is not None and version not in states:
        raise Refusal(404, f"Could not find version {version} of model {name}")
    return json_answer(
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


async def _predict(
    request: Request, name: str, version: int | None, label: str | None, verb: str
) -> Response:
    state = request.app.state
    body = await request.body()
    document = parse_object(body)
    check_depth(body, document, state.settings.json_depth)
    wanted = document.get("signature_name", "serving_default")
    if type(wanted) is not str:
        raise Refusal(
            400,
            f"JSON Value: {debug(document)} not formatted correctly. 'signature_name' key must be a string value.",
        )
    loaded = _find(request, name, version, label)
    signature = SIGNATURES.get(wanted or "serving_default")
    if signature is None:
        raise Refusal(400, f'Serving signature name: "{wanted[:1000]}" not found in signature def')
    if verb != "predict":
        raise Refusal(
            400,
            f"Expected {'classification' if verb == 'classify' else 'regression'} signature method_name to be "
            f"tensorflow/serving/{verb}. Was: tensorflow/serving/predict",
        )
    values, by_row = _values(document, signature, loaded)
    call = Call(loaded, values, state.settings, state.engine, state.metrics, state.api)
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
    for one in signature.inputs:
        key = next((name for name in (one.name, *one.aliases) if name in inputs), None)
        if key is not None:
            values[one.name] = _tensor(inputs[key], one, dtype_of(one, loaded), one.deepest)
        elif one.required:
            raise Refusal(400, f"Missing named input: {one.name} in 'inputs' object.")
        else:
            values[one.name] = one.unsaid
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
        asked = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in asked]
        if any(isinstance(one, list) for one in asked):
            raise Refusal(400, f"an instance holds one {main.name}; send more of them as more instances.")
    else:
        asked = [one if isinstance(one, list) else [one] for one in asked]
    defaults = {one.name: one.unsaid for one in signature.inputs if not one.required}
    return {**defaults, **options[0], main.name: asked}


def _instance(
    instance: dict[str, Any], number: int, signature: Signature, loaded: LoadedModel
) -> dict[str, Any]:
    """Return the values of one named instance, which has the names of the inputs and no others."""
    names = {name: one for one in signature.inputs for name in (one.name, *one.aliases)}
    values: dict[str, Any] = {}
    for key, value in instance.items():
        try:
            if key not in names:
                raise Refusal(400, f"JSON object: does not have named input: {key[:100]}")
            one = names[key]
            deepest = max(one.deepest - 1, 1) if one.required else 0
            values[one.name] = _tensor(value, one, dtype_of(one, loaded), deepest)
        except Refusal as refusal:
            raise _in_row(number, f" key: {key[:100]}", refusal) from None
    if signature.main.name not in values:
        wanted = ",".join(sorted(one.name for one in signature.inputs if one.required))
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


def _tensor(value: Any, one: Input, dtype: str, deepest: int) -> Any:
    """Return a value, or a list, or a list of lists, with every value of the type; an option may be a list of one."""
    if type(value) is not list:
        return checked(value, dtype)
    if not one.required:
        if len(value) != 1 or type(value[0]) is list:
            raise Refusal(400, f"{one.name} is one value; received {debug(value)}")
        return checked(value[0], dtype)
    nested = [type(child) is list for child in value]
    if any(nested):
        if not all(nested):
            raise Refusal(400, f"the lists of {one.name} must all be equally deep; received {debug(value)}")
        if deepest < 2:
            raise Refusal(400, f"Encountered list at unexpected level: {deepest} expected < {deepest}")
        if any(type(leaf) is list for child in value for leaf in child):
            raise Refusal(400, "Encountered list at unexpected level: 2 expected < 2")
        return [[checked(leaf, dtype) for leaf in child] for child in value]
    return [checked(child, dtype) for child in value]


def _columns(signature: Signature, loaded: LoadedModel, single: bool, lists: list[Ranked]) -> Response:
    ids, scores = signature.outputs
    products = [loaded.product_ids.at(rows) for rows, _ in lists]
    values = [score for _, score in lists]
    if single:
        return json_answer({"outputs": {ids: products[0], scores: values[0]}})
    return json_answer({"outputs": {ids: products, scores: values}})


def _rows(signature: Signature, loaded: LoadedModel, single: bool, lists: list[Ranked]) -> Response:
    """Write predictions: one object for each instance, or, as TensorFlow Serving does, for each element of the one list."""
    ids, scores = signature.outputs
    if single:
        rows, values = lists[0]
        pairs = zip(loaded.product_ids.at(rows), values, strict=True)
        return json_answer({"predictions": [{ids: product, scores: score} for product, score in pairs]})
    return json_answer(
        {"predictions": [{ids: loaded.product_ids.at(rows), scores: values} for rows, values in lists]}
    )
