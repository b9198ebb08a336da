"""From a request to a checked value: queries, bodies and limits, by the declarations that OpenAPI is made from."""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from typing import Any, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Struct

from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.operations.json_depth import check_depth
from tastemaker.serving.operations.operation import LINES, Lines

__all__ = ["body_of", "components", "lines_of", "query_of", "schema_of"]

T = TypeVar("T", bound=Struct)

REF = "#/components/schemas/{name}"

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
MOST_PARAMETERS = 5_000
SHORT, MOST_KNOWN = 256, 1_024
"""Bytes of a query string that is remembered with what it says, and how many are"""


def components(types: list[type[Struct]]) -> dict[str, Any]:
    """Return the JSON schemas of these declarations and of all that they refer to, by name."""
    return msgspec.json.schema_components(types, ref_template=REF)[1]


@cache
def schema_of(kind: type[Struct]) -> dict[str, Any]:
    """Return the JSON schema of one declaration."""
    return cast("dict[str, Any]", components([kind])[kind.__name__])


def query_of(text: bytes, kind: type[T], settings: Settings) -> T:
    """Return a query string as the declaration says; refuse (400) what is unknown, given twice or of another type."""
    # most requests of a shop say the same beside their user
    found, limited = _parsed(text, kind) if len(text) <= SHORT else _parsed.__wrapped__(text, kind)
    for name, value, schema in limited:
        _check_limit(name, value, schema, settings)
    return cast("T", found)


Limited: TypeAlias = list[tuple[str, object, dict[str, Any]]]
"""The names and values of what is held to a limit that the operator set, and their schemas"""


@lru_cache(MOST_KNOWN)
def _parsed(text: bytes, kind: type[Struct]) -> tuple[Struct, Limited]:
    """Return what a query string says, which depends on nothing else and is never changed, and what of it has a limit."""
    fields = schema_of(kind)["properties"]
    values: dict[str, Any] = {}
    for name, value in _pairs(text):
        if name not in fields:
            known = f"there are {', '.join(fields)}" if fields else "there are none"
            raise Refusal(400, f"there is no parameter {name[:100]!r} here; {known}.", parameter=name[:100])
        if fields[name].get("type") == "array":
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Refusal(400, f"the parameter {name} is given twice.", parameter=name)
        else:
            values[name] = _typed(name, value, fields[name].get("type"))
    try:
        found = msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"the query does not fit: {str(error)[:300]}.") from None
    return found, _limited(found)


def body_of(body: bytes, media: bytes | None, kind: type[T], settings: Settings) -> T:
    """Return a JSON body as the declaration says; refuse (400) what does not fit, and (415) what says it is no JSON."""
    said = _media(media, "application/json")
    if said != "application/json" and not said.endswith("+json"):
        raise Refusal(415, f"the body must be application/json, not {said[:100]}.")
    return _value_of(body, kind, settings, "body")


def lines_of(body: bytes, media: bytes | None, kind: type[T], settings: Settings) -> Lines[T]:
    """Return a body of JSON lines as the declaration says: each line is taken or refused by itself, and empty ones are passed over.

    Refuses (400) more lines than there may be and a body without a line that can be taken, and (415) what says it is no JSON lines.
    """
    said = _media(media, LINES)
    if said not in (LINES, "application/jsonl", "application/json-lines"):
        raise Refusal(415, f"the body must be {LINES}, one JSON object a line, not {said[:100]}.")
    lines = body.split(b"\n")
    most = settings.most_lines
    if len(lines) > most + 1 or (len(lines) > most and lines[-1].strip()):
        raise Refusal(400, f"the body has {len(lines):,} lines; it may have {most:,}.", limit=most)
    found: Lines[T] = Lines([], [])
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.taken.append(_value_of(line, kind, settings, "line"))
        except Refusal as refusal:
            found.refused.append((number, refusal.detail))
    if not found.taken:
        first = f"line {found.refused[0][0]}: {found.refused[0][1]}" if found.refused else "it is empty."
        raise Refusal(400, f"no line of the body can be taken; {first}")
    return found


def _media(said: bytes | None, default: str) -> str:
    return (said or default.encode()).partition(b";")[0].strip().lower().decode("latin-1")


def _value_of(body: bytes, kind: type[T], settings: Settings, what: str) -> T:
    check_depth(body, settings.json_depth)
    try:
        found = _decoded(body, kind)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"the {what} does not fit: {str(error)[:300]}.") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refusal(400, f"the {what} is not JSON: {str(error)[:300]}.") from None
    if _has_names(kind):
        json.loads(body, object_pairs_hook=_once_each, parse_int=str, parse_float=str)
    _check_limits(found, settings)
    return found


@cache
def _has_names(kind: type[Struct]) -> bool:
    """Return whether a body names things of its own, such as contexts: there the last of two values would pass for both."""
    return any(
        isinstance(field.get("additionalProperties"), dict)
        for schema in components([kind]).values()
        for field in schema.get("properties", {}).values()
    )


def _once_each(pairs: list[tuple[str, Any]]) -> None:
    """Refuse (400) an object that gives one name two values."""
    if len(pairs) > 1 and len({name for name, _ in pairs}) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(400, f"the body gives {twice[:100]!r} twice; give it one value.", parameter=twice[:100])


def _decoded(body: bytes, kind: type[T]) -> T:
    """Decode a body; ``3.0`` is an integer, as JSON Schema has it, among ids too."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        try:
            return msgspec.convert(_whole(msgspec.json.decode(body)), kind)
        except msgspec.ValidationError:
            raise error from None


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return {key: _whole(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _pairs(text: bytes) -> list[tuple[str, str]]:
    if not text:
        return []
    try:
        return parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=False,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError:
        raise Refusal(400, "the query is not URL-encoded UTF-8, or has too many parameters.") from None


def _typed(name: str, text: str, kind: str | None) -> object:
    if kind == "integer" and _INTEGER.fullmatch(text) and len(text) < 25:
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text):
        return float(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind in ("integer", "number", "boolean"):
        wanted = {"integer": "an integer", "number": "a number", "boolean": "true or false"}[kind]
        raise Refusal(400, f"the parameter {name} is {text[:100]!r}; it must be {wanted}.", parameter=name)
    return text


@cache
def _limits_of(kind: type[Struct]) -> list[tuple[str, dict[str, Any]]]:
    """Return the fields that have a limit, or may have one within."""
    properties = schema_of(kind)["properties"]
    return [
        (name, schema)
        for name, schema in properties.items()
        if "x-limit" in schema or "$ref" in schema or "anyOf" in schema
    ]


def _check_limits(value: Struct, settings: Settings) -> None:
    """Refuse (400) what exceeds a limit that the operator set; the schema carries its name."""
    for name, found, schema in _limited(value):
        _check_limit(name, found, schema, settings)


def _limited(value: Struct) -> Limited:
    limited: Limited = []
    for name, schema in _limits_of(type(value)):
        found = getattr(value, name)
        if isinstance(found, Struct):
            limited += _limited(found)
        elif found is not UNSET and found != []:
            limited.append((name, found, schema))
    return limited


def _check_limit(name: str, found: object, schema: dict[str, Any], settings: Settings) -> None:
    limit = schema.get("x-limit")
    if limit is None:
        return
    most: int = getattr(settings, limit)
    if isinstance(found, list):
        if len(found) > most:
            raise Refusal(
                400, f"{name} has {len(found):,} entries; it may have {most:,}.", parameter=name, limit=most
            )
        for part in found:
            if isinstance(part, list):
                _check_limit(name, part, schema["items"], settings)
    elif isinstance(found, int) and found > most:
        raise Refusal(400, f"{name} is {found:,}; it may be {most:,}.", parameter=name, limit=most)
